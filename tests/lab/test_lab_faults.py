# SPDX-License-Identifier: Apache-2.0
"""Faults across the network: a slow and lossy link, a bastion out of reach, a resolver restarted, a service
killed, a link cut one way, and limits of a day shortened to seconds."""

import json
import os
import signal
import statistics
import threading
import time

import pytest

import index
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
        self.program = kit.Program(
            lab.enter(host, lab.BIN / "smpl-tunnel", *options, *targets), env=environment, cwd=lab.WORK / host
        )

    def ready(self, timeout=kit.PATIENCE):
        self.program.wait_line("http://localhost", stream="out", timeout=timeout)
        return self

    def get(self, path="/internal/v1/health", seconds=kit.PATIENCE, port=None):
        """(status, seconds it took)"""
        done = self.lab.on(
            self.host,
            "curl",
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code} %{time_total} %{size_download}",
            "--max-time",
            seconds,
            f"http://localhost:{port or self.port}{path}",
            timeout=seconds + 20,
        )
        status, took, size = done.stdout.split()
        return int(status), float(took), int(size)

    def events(self):
        """What --json has told so far, without the steps of a single try."""
        return [json.loads(line)["event"] for line in self.program.out if line.startswith("{")]

    def wait_event(self, event, timeout=kit.PATIENCE, since=0):
        kit.wait_until(
            lambda: event in self.events()[since:],
            f"the tunnel tells '{event}'; it told {self.events()[since:]}",
            timeout=timeout,
        )

    def call(self, seconds=90):
        """A call in a thread, for times when nothing answers at once; calling it gives the answer."""
        answers = []
        thread = threading.Thread(target=lambda: answers.append(self.get(seconds=seconds)), daemon=True)
        thread.start()

        def answer():
            thread.join(seconds + 20)
            return answers[0]

        answer.pending = thread.is_alive
        return answer

    def works(self):
        return self.get()[0] == 200

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


@pytest.mark.short
def test_a_slow_and_lossy_link(lab, link, tunnel):
    """100 ms there and back, 2 % of the frames lost each way."""
    link("delay", 50)
    link("loss", 20)
    t = tunnel("far", "8080:config.internal").ready()
    for _ in range(10 if os.environ.get("SMPL_TEST_FULL") else 3):
        status, took, _ = t.get(seconds=30)
        assert status == 200 and took >= 0.1  # the link does delay
    assert t.end() == 0


@pytest.mark.full
def test_throughput_on_that_link_beside_openssh(lab, link, tunnel, bulk):
    """Measured, not judged: the figures go into the report. By turns, medians."""
    link("delay", 50)
    link("loss", 20)
    ours = tunnel("far", "8080:bulk.internal:80").ready()
    ssh = kit.Program(
        lab.enter(
            "far",
            "ssh",
            "-F",
            "none",
            "-i",
            "dev",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "UserKnownHostsFile=known_hosts",
            "-o",
            "BatchMode=yes",
            "-N",
            "-L",
            "8081:bulk.internal:80",
            "dev@bastion.smplkit.com",
        ),
        cwd=lab.WORK / "far",
    )
    taken = {"smpl-tunnel": [], "ssh -L": []}
    try:
        kit.wait_until(lambda: ours.get(seconds=60, port=8081)[0] == 200, "ssh -L forwards", step=1)
        for _ in range(25):
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
    (folder / "lab-throughput.json").write_text(
        json.dumps({"rtt_ms": 100, "loss": 0.02, "KiB_per_s": report, "runs": taken}) + "\n"
    )
    index.write(folder)


# instead of 7 s until a path counts as dead
QUICK = f"Host *\n  ServerAliveInterval {kit.ample(1)}\n  ServerAliveCountMax 2\n"


def replaced(lab, link, t, cut, dead):
    """Cuts the link until the tunnel gives its session up, heals it; a call that came meanwhile is held and
    answered."""
    assert t.works()
    link("cut", cut)
    t.wait_event("lost", timeout=dead)
    held = t.call()
    time.sleep(1)
    assert held.pending() and t.program.running()
    link("cut", "none")
    assert held()[0] == 200 and t.works()
    t.wait_event("restored")
    events = [e for e in t.events() if e in ("ready", "lost", "restored")]
    assert events == ["ready", "lost", "restored"]
    assert t.end() == 0


@pytest.mark.parametrize(
    "cut", ["ab", pytest.param("ba", marks=pytest.mark.full), pytest.param("both", marks=pytest.mark.full)]
)
def test_a_path_that_carries_one_way_only_is_noticed_and_replaced_on_the_same_port(lab, link, tunnel, cut):
    """One end goes on hearing the other, and must not believe that all is well for ever."""
    (lab.WORK / "far" / "ssh_config").write_text(QUICK)
    t = tunnel("far", "8080:config.internal", options=("--json", "-F", "ssh_config")).ready()
    replaced(lab, link, t, cut, kit.PATIENCE)


@pytest.mark.full
@pytest.mark.parametrize("cut", ["ab", "ba", "both"])
def test_the_same_as_it_comes_without_a_word_in_any_configuration(lab, link, tunnel, cut):
    t = tunnel("far", "8080:config.internal", options=("--json",)).ready()
    replaced(lab, link, t, cut, kit.PATIENCE)


@pytest.mark.full
@pytest.mark.parametrize("cut", ["ab", "ba", "both"])
def test_a_short_break_costs_no_session(lab, link, tunnel, cut):
    """Three seconds: TCP sends again what was lost, and the connection that waited for it goes on."""
    t = tunnel("far", "8080:config.internal", options=("--json",)).ready()
    assert t.works()
    link("cut", cut)
    call = t.call()
    time.sleep(3)
    link("cut", "none")
    assert call()[0] == 200 and t.events() == ["ready"]
    assert t.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.short)])
def test_a_bastion_that_ends_and_comes_back(lab, tunnel, number):
    t = tunnel("laptop", "8080:config.internal", options=("--json",)).ready()
    assert t.works()
    lab.stop("bastion", number)
    t.wait_event("lost")
    held = t.call()
    time.sleep(0.3)
    assert held.pending()
    lab.restart("bastion")
    assert held()[0] == 200 and t.works()
    t.wait_event("restored")
    assert t.end() == 0


def test_a_bastion_that_moves_to_another_address(lab, tunnel):
    """The name is looked up anew: what stood in DNS when the tunnel began is not where the bastion is now."""
    policy, zone = lab.WORK / "bastion" / "bastion.yaml", lab.WORK / "resolver" / "world.zone"
    here, there = "203.0.113.5", "203.0.113.6"
    before = policy.read_text(), zone.read_text()

    def move(old, new, policy_text, zone_text, serial):
        lab.stop("bastion")
        for a, prefix in ((old, 24), (lab.v6(old), 64)):
            lab.run("ip", "-n", lab.netns("bastion"), "addr", "del", f"{a}/{prefix}", "dev", "inet")
        for a, prefix in ((new, 24), (lab.v6(new), 64)):
            lab.run(
                "ip",
                "-n",
                lab.netns("bastion"),
                "addr",
                "add",
                f"{a}/{prefix}",
                "dev",
                "inet",
                *(["nodad"] if ":" in a else []),
            )
        policy.write_text(policy_text)
        zone.write_text(zone_text.replace("SOA ns hostmaster 1 ", f"SOA ns hostmaster {serial} "))
        lab.reload_resolvers()
        lab.restart("bastion")

    t = tunnel("laptop", "8080:config.internal", options=("--json",)).ready()
    assert t.works()
    try:
        move(
            here,
            there,
            *(text.replace(here, there).replace(lab.v6(here), lab.v6(there)) for text in before),
            serial=2,
        )
        t.wait_event("restored")
        assert t.works()
    finally:
        move(there, here, *before, serial=3)
    kit.wait_until(t.works, "and back again", step=0.5)
    assert t.events().count("restored") == 2 and t.end() == 0


@pytest.mark.full
def test_the_bastion_out_of_reach_for_half_a_minute(lab, link, tunnel):
    """Who calls meanwhile waits, and is answered; who gave up is not in the way."""
    t = tunnel("far", "8080:config.internal", options=("--json",)).ready()
    link("cut", "both")
    end = time.monotonic() + 30
    while time.monotonic() < end:
        assert t.get(seconds=3)[0] != 200 and t.program.running()
    held = t.call()
    time.sleep(1)
    link("cut", "none")
    assert held()[0] == 200 and t.works()
    t.wait_event("restored")
    assert t.end() == 0


def test_a_resolver_restarted_during_a_tunnel(lab, tunnel):
    t = tunnel("laptop", "8080:config.internal").ready()
    assert t.works()
    for number in (signal.SIGTERM, signal.SIGKILL):
        lab.restart("resolver", number)
        kit.wait_until(t.works, "names are found again", step=0.3)
    assert t.end() == 0


def test_a_service_killed_behind_the_balancers(lab, tunnel):
    """Customers outside and a developer inside: nobody notices that one of two instances has gone."""
    t = tunnel("laptop", "8080:config.internal").ready()
    key = (lab.WORK / "laptop" / "api_key").read_text().strip()
    answers, ending = [], threading.Event()

    def customers():
        while not ending.is_set():
            done = lab.on(
                "laptop",
                "curl",
                "-s",
                "-w",
                "%{http_code}\n",
                "--max-time",
                str(kit.PATIENCE),
                "-H",
                f"Authorization: Bearer {key}",
                *["-o", "/dev/null", "http://config.smplkit.com/api/v1/configs"] * 20,
            )
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
    kit.wait_until(lambda: all(lab.balancer_up(h) for h in lab.BALANCERS), "all instances are back")


def test_limits_of_a_day_shortened_to_seconds(lab, tunnel):
    """A session that has used up its time, and one that nobody uses, end by themselves; the user is told
    which it was."""
    policy = lab.WORK / "bastion" / "bastion.yaml"
    text = policy.read_text()
    reload = [lab.BIN / "smpl-bastion", "reload", "-c", policy]
    records = lambda: kit.json_lines(lab.WORK / "bastion" / "audit.jsonl")
    before = len(records())
    ends = lambda: [r.get("reason") for r in records()[before:] if r["event"] == "session-end"]

    try:
        for limit, reason in (("session: 3s", "session-limit"), ("idle: 2s", "idle")):
            policy.write_text(text.replace("{groups: [developers],", f"{{groups: [developers], {limit},"))
            assert lab.on("bastion", *reload).returncode == 0
            t = tunnel("laptop", "8080:config.internal").ready()
            assert t.works()
            kit.wait_until(
                lambda: reason in ends(), f"the bastion ends the session: {reason}; there is {ends()}"
            )
            t.end()
    finally:
        policy.write_text(text)
        assert lab.on("bastion", *reload).returncode == 0
