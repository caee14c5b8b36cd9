"""Faults across the network: a slow and lossy link, a bastion out of reach, a resolver restarted, a service killed, a link
cut one way, and limits of a day shortened to seconds."""

import json
import os
import signal
import statistics
import subprocess
import threading
import time

import pytest

import kit
from conftest import inside


@pytest.fixture
def link(lab):
    yield lab.link
    for word, value in (("delay", 0), ("loss", 0), ("cut", "none")):
        lab.link(word, value)


class Tunnel:
    """smpl-tunnel on a host, ended after the test; get() asks through it."""

    def __init__(self, lab, host, *targets, port=8080, options=()):
        self.lab, self.host, self.port = lab, host, port
        environment = dict(os.environ, SMPL_TUNNEL_CONFIG=str(lab.WORK / host / "tunnel.yaml"))
        self.program = kit.Program(lab.enter(host, lab.BIN / "smpl-tunnel", *options, *targets), env=environment, cwd=lab.WORK / host)

    def ready(self, timeout=kit.PATIENCE):
        self.program.wait_line("http://localhost", stream="out", timeout=timeout)
        return self

    def get(self, path="/internal/v1/health", seconds=10, port=None):
        """(status, seconds it took)"""
        done = self.lab.on(self.host, "curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %{time_total} %{size_download}", "--max-time", seconds,
                           f"http://localhost:{port or self.port}{path}", timeout=seconds + 20)
        status, took, size = done.stdout.split()
        return int(status), float(took), int(size)

    def works(self):
        return self.get(seconds=5)[0] == 200

    def end(self):
        if self.program.running():
            self.program.signal(signal.SIGINT)
        return self.program.wait()


@pytest.fixture
def tunnel(lab):
    made = []

    def open_one(*argv, **kw):
        made.append(Tunnel(lab, *argv, **kw))
        return made[-1]

    yield open_one
    for t in made:
        t.end()


@pytest.fixture
def bulk(lab):
    """Something big on a host inside."""
    with inside("insider"):
        server = kit.HttpServer("10.20.0.9", 80, "x" * 400_000)
    yield server
    server.close()


def test_a_slow_and_lossy_link(lab, link, tunnel):
    """100 ms there and back, 2 % of the frames lost each way."""
    link("delay", 50)
    link("loss", 20)
    t = tunnel("far", "8080:config.internal").ready()
    for _ in range(10):
        status, took, _ = t.get(seconds=30)
        assert status == 200 and took >= 0.1  # the link does delay
    assert t.end() == 0


@pytest.mark.full
def test_throughput_on_that_link_beside_openssh(lab, link, tunnel, bulk):
    """Measured, not judged: the figures go into the report. By turns, medians."""
    link("delay", 50)
    link("loss", 20)
    ours = tunnel("far", "8080:bulk.internal:80").ready(60)
    ssh = kit.Program(lab.enter("far", "ssh", "-F", "none", "-i", "dev", "-o", "IdentitiesOnly=yes", "-o", "UserKnownHostsFile=known_hosts",
                                "-o", "BatchMode=yes", "-N", "-L", "8081:bulk.internal:80", "dev@bastion.smplkit.com"), cwd=lab.WORK / "far")
    taken = {"smpl-tunnel": [], "ssh -L": []}
    try:
        kit.wait_until(lambda: ours.get(seconds=60, port=8081)[0] == 200, "ssh -L forwards", timeout=90, step=1)
        for _ in range(5):
            for name, port in (("smpl-tunnel", 8080), ("ssh -L", 8081)):
                status, took, size = ours.get(seconds=100, port=port)
                assert status == 200 and size == 400_000
                taken[name].append(size / took / 1024)
    finally:
        ssh.stop()
    report = {name: round(statistics.median(rates)) for name, rates in taken.items()}
    print("KiB/s:", report)
    folder = lab.ROOT / "build" / "report"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lab-throughput.json").write_text(json.dumps({"rtt_ms": 100, "loss": 0.02, "KiB_per_s": report, "runs": taken}) + "\n")


@pytest.mark.parametrize("cut", [pytest.param("both", marks=pytest.mark.full), "ab", pytest.param("ba", marks=pytest.mark.full)])
def test_a_link_that_is_cut_for_a_while_and_then_heals(lab, link, tunnel, cut):
    """One way only, too: then one end goes on hearing the other and must not believe that all is well for ever."""
    t = tunnel("far", "8080:config.internal").ready()
    assert t.works()
    link("cut", cut)
    assert not t.works()
    link("cut", "none")
    kit.wait_until(t.works, "it works again on the same port", timeout=60, step=0.5)
    assert t.end() == 0


def test_a_bastion_that_is_killed_and_comes_back(lab, tunnel):
    t = tunnel("laptop", "8080:config.internal").ready()
    assert t.works()
    lab.restart("bastion", signal.SIGKILL)
    kit.wait_until(t.works, "the tunnel has found it again", timeout=30, step=0.5)
    assert t.end() == 0


@pytest.mark.full
def test_the_bastion_out_of_reach_for_half_a_minute(lab, link, tunnel):
    t = tunnel("far", "8080:config.internal").ready()
    link("cut", "both")
    end = time.monotonic() + 30
    while time.monotonic() < end:
        assert t.get(seconds=3)[0] != 200 and t.program.running()
    link("cut", "none")
    kit.wait_until(t.works, "it works again on the same port", timeout=90, step=0.5)
    assert t.end() == 0


def test_a_resolver_restarted_during_a_tunnel(lab, tunnel):
    t = tunnel("laptop", "8080:config.internal").ready()
    assert t.works()
    for number in (signal.SIGTERM, signal.SIGKILL):
        lab.restart("resolver", number)
        kit.wait_until(t.works, "names are found again", timeout=30, step=0.3)
    assert t.end() == 0


def test_a_service_killed_behind_the_balancers(lab, tunnel):
    """Customers outside and a developer inside: nobody notices that one of two instances has gone."""
    t = tunnel("laptop", "8080:config.internal").ready()
    key = (lab.WORK / "laptop" / "api_key").read_text().strip()
    answers, ending = [], threading.Event()

    def customers():
        while not ending.is_set():
            done = lab.on("laptop", "curl", "-s", "-w", "%{http_code}\n", "--max-time", "10", "-H", f"Authorization: Bearer {key}",
                          *["-o", "/dev/null", "http://config.smplkit.com/api/v1/configs"] * 20)
            answers.extend(done.stdout.split())
            answers.append(str(t.get()[0]))

    load = threading.Thread(target=customers)
    load.start()
    try:
        for host in ("config-1", "accounts-2"):
            kit.wait_until(lambda n=len(answers): len(answers) > n + 100, "calls are answered")
            lab.end_processes(host, signal.SIGKILL)
            kit.wait_until(lambda n=len(answers): len(answers) > n + 200, "calls are answered without it")
            (lab.WORK / host / "log").write_text("")
            lab.wait_ready(host, lab.start(host))
    finally:
        ending.set()
        load.join()
    assert set(answers) == {"200"} and len(answers) > 600, {a: answers.count(a) for a in set(answers)}
    kit.wait_until(lambda: lab.balancer_up("public") and lab.balancer_up("internal"), "all instances are back")


def test_limits_of_a_day_shortened_to_seconds(lab, tunnel):
    """A session that has used up its time, and one that nobody uses, end by themselves; the user is told which it was."""
    policy = lab.WORK / "bastion" / "bastion.yaml"
    text = policy.read_text()
    reload = [lab.BIN / "smpl-bastion", "reload", "-c", policy]
    before = len((lab.WORK / "bastion" / "audit.jsonl").read_text().splitlines())

    def ends():
        lines = (lab.WORK / "bastion" / "audit.jsonl").read_text().splitlines()[before:]
        return [r.get("reason") for r in map(json.loads, lines) if r["event"] == "session-end"]

    try:
        for limit, reason in (("session: 3s", "session-limit"), ("idle: 2s", "idle")):
            policy.write_text(text.replace("{groups: [developers],", f"{{groups: [developers], {limit},"))
            assert lab.on("bastion", *reload).returncode == 0
            t = tunnel("laptop", "8080:config.internal").ready()
            assert t.works()
            kit.wait_until(lambda: reason in ends(), f"the bastion ends the session: {reason}; there is {ends()}")
            t.end()
    finally:
        policy.write_text(text)
        assert lab.on("bastion", *reload).returncode == 0
