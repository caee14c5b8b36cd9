# SPDX-License-Identifier: Apache-2.0
"""Running the bastion: metrics, the audit's proof and its second sink, roles at the control socket, the live
table, penalties, the service manager, and stopping with notice."""

import concurrent.futures
import hashlib
import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request

import pytest

import kit
from bastion_world import BASTION, as_user, held_connection, world


def metrics(address):
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=kit.PATIENCE) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        lines = answer.read().decode().splitlines()
    return {
        line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")
    }


@pytest.mark.short
def test_metrics_say_what_happens_and_the_audits_head(world):
    w = world(start=False)
    address = f"{BASTION}:{kit.free_port(BASTION)}"
    w.write(extra=f"metrics: {address}\n")
    w.start()
    ssh, local = w.forward()
    assert w.get(local).returncode == 0
    w.ssh("-W", "config.internal:1")
    w.ssh("-s", user="nobody", command=["smpl-control"])
    w.wait_record("login-failed")
    kit.wait_until(lambda: metrics(address)["smpl_bastion_channels"] == 0, "the connections have ended")
    m = metrics(address)
    assert m["smpl_bastion_sessions"] == 1 and m["smpl_bastion_logins_total"] == 2
    assert m["smpl_bastion_channels_opened_total"] >= 1 and m["smpl_bastion_channels_refused_total"] == 1
    assert m["smpl_bastion_login_failures_total"] >= 1
    assert m['smpl_bastion_forwarded_bytes_total{direction="down"}'] > 0
    assert m["smpl_bastion_audit_writable"] == 1 and m["smpl_bastion_template_ready"] == 1
    head = [k for k in m if k.startswith("smpl_bastion_audit_head")][0]
    last = (w.work / "audit.jsonl").read_bytes().splitlines()[int(m[head]) - 1]
    assert head == f'smpl_bastion_audit_head{{hash="{hashlib.sha256(last).hexdigest()}"}}'
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"http://{address}/", timeout=kit.PATIENCE)
    rebound = urllib.request.Request(
        f"http://{address}/metrics", headers={"Host": "rebound.attacker.example"}
    )
    with pytest.raises(urllib.error.HTTPError, match="421"):
        urllib.request.urlopen(rebound, timeout=kit.PATIENCE)
    for other in (
        f"metrics: {BASTION}:1\n",
        f"metrics: {{address: '{address}', hosts: [metrics.internal.example]}}\n",
    ):
        w.write(extra=other)
        done = kit.run(kit.binary("smpl-bastion"), "reload", "--socket", w.work / "bastion.sock")
        assert done.returncode == 1 and "metrics: a change needs a restart" in done.stderr
    (w.work / "audit.jsonl").unlink()
    kit.wait_until(lambda: metrics(address)["smpl_bastion_audit_writable"] == 0, "a removed audit shows")


def test_a_reload_that_fails_is_told_to_who_asked_and_to_the_log(world):
    w = world()
    good = (w.work / "bastion.yaml").read_text()
    (w.work / "bastion.yaml").write_text(good + "nonsense: 1\n")
    for ask in (lambda: w.command("reload", status=1).stderr, lambda: w.bastion.signal(signal.SIGHUP)):
        seen = len(w.bastion.err)
        told = ask()
        w.bastion.wait_line(
            r"error: not reloaded, the configuration before stays in force: .*bastion.yaml:\d+:1: unknown "
            r"key",
            start=seen,
        )
        assert told is None or (
            told.count("\n") == 1 and told.endswith("; the configuration before stays in force\n")
        ), told
    assert "unknown key 'nonsense'" in w.status()["configuration"]["reload_error"]
    (w.work / "bastion.yaml").write_text(good)
    w.command("reload")
    assert w.status()["configuration"]["reload_error"] is None


def test_a_wrong_option_is_one_line():
    for argv, says in (
        (["reload", "-c"], "a value is missing after -c"),
        (["reload", "--socket"], "a value is missing after --socket"),
        (["status", "--bogus"], "unknown option --bogus"),
        (["-x"], "unknown option -x"),
    ):
        done = kit.run(kit.binary("smpl-bastion"), *argv)
        assert (
            done.returncode == 2 and done.stderr == f"smpl-bastion: {says}; try: smpl-bastion --help\n"
        ), done.stderr


# --- the audit's proof ---


def verify(w, *argv, status=0):
    done = w.command("audit", "verify", *argv, status=status)
    return done.stdout if status == 0 else done.stderr


@pytest.mark.short
def test_audit_verify_finds_what_was_cut_changed_or_reordered(world):
    w = world()
    for _ in range(3):
        w.ask({"cmd": "whoami"})
    kit.wait_until(lambda: len(w.records("session-end")) == 3, "the ends are on record")
    path = w.work / "audit.jsonl"

    def head():  # told once its record is on the disk
        last = hashlib.sha256(path.read_bytes().splitlines()[-1]).hexdigest()
        return w.status()["audit"]["head"] == last and last

    kept = kit.wait_until(head, "the head is the last record's")
    w.ask({"cmd": "whoami"})
    kit.wait_until(lambda: len(w.records("session-end")) == 4, "the end is on record")
    w.bastion.stop()
    good = path.read_bytes()
    lines = good.splitlines(keepends=True)
    assert f"ok: records 1 to {len(lines)}, head {hashlib.sha256(lines[-1][:-1]).hexdigest()}" in verify(w)
    assert "is record 6; 2 records follow it" in verify(w, "--head", kept)
    found = json.loads(verify(w, "--head", kept.upper(), "--json"))
    assert (found["last"], found["head_found_at"]) == (len(lines), 6)
    path.write_bytes(b"".join(lines[:5]))  # a whole chain, but shorter than what was seen
    assert "ok: records 1 to 5" in verify(w)
    assert "no record has the hash" in verify(w, "--head", kept, status=1)
    for spoiled, saying in (
        (good.replace(b'"user":"dev"', b'"user":"eve"', 1), ":2: the record before record 2 was changed"),
        (b"".join(lines[:2] + lines[3:]), ":3: record 4 stands where 3 must"),
        (b"".join(lines[1:]), ":1: record 2 stands where 1 must"),
        (b"".join(lines[:2] + [lines[3], lines[2]] + lines[4:]), ":3: record 4 stands where 3 must"),
        (good[:-20], "the last record was only partly written"),
        (b"hello\n" + good, ":1: no record of an audit"),
        (good + b'{"seq":9}\n', ":9: no record of an audit"),
    ):
        path.write_bytes(spoiled)
        assert saying in verify(w, status=1), saying
    assert "cannot be opened" in verify(w, "nothing.jsonl", status=1)
    for argv in (["audit"], ["audit", "prove"], ["audit", "verify", "--head", "abc"]):
        assert w.command(*argv, status=2).stderr.endswith("(see --help)\n")


def test_rotated_files_are_verified_in_one_chain(world):
    w = world()
    w.ask({"cmd": "whoami"})
    kit.wait_until(lambda: w.records("session-end"), "the end is on record")
    (w.work / "audit.jsonl").rename(w.work / "audit.1")
    w.command("reload")
    w.ask({"cmd": "whoami"})
    w.bastion.stop()
    both = [w.work / "audit.1", w.work / "audit.jsonl"]
    assert "ok: records 1 to" in verify(w, *both)
    assert "ok: records" in verify(w, both[1])  # alone it proves what it has
    assert "stands where" in verify(w, *reversed(both), status=1)


@pytest.mark.short
@pytest.mark.parametrize("kind", ["syslog", "journald"])
def test_the_audits_head_goes_to_a_second_place(world, kind):
    w = world(start=False)
    sink = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sink.settimeout(kit.PATIENCE)
    w.write(extra=f"audit_sink: '{kind}:{w.work}/sink'\n")
    w.start()
    w.ask({"cmd": "whoami"})
    kit.wait_until(lambda: "does not take the audit's head" in w.bastion.stderr, "a dead sink is told")
    with sink:
        sink.bind(str(w.work / "sink"))
        first = sink.recv(4096).decode()  # it is tried again
        assert first.startswith("<85>smpl-bastion[" if kind == "syslog" else "MESSAGE=audit head seq="), first
        kit.wait_until(lambda: "takes the audit's head again" in w.bastion.stderr, "and that it works again")
        w.bastion.stop()
        sink.settimeout(0.5)
        last = first
        try:
            while True:
                last = sink.recv(4096).decode()
        except OSError:
            pass
    head = last.split("hash=")[1].split()[0]
    assert f"is record {len(w.audit())}; 0 records follow it" in verify(w, "--head", head)


# --- control socket ---


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to play others")
def test_roles_say_who_may_look_and_who_may_end(world):
    w = world(start=False)
    w.write(extra="roles: {read: ['61001', '@61009'], terminate: ['61002']}\n")
    w.start()
    (w.work / "bastion.sock").chmod(0o666)  # a folder's group lets them in otherwise
    control = w.control()
    session = control.ask(cmd="whoami")["session"]
    for uid, gid, looks, ends in (
        (61001, 1, True, False),
        (1, 61009, True, False),
        (61003, 1, False, False),
        (61002, 1, True, True),
    ):
        assert as_user(w, uid, gid, cmd="status")["ok"] is looks
        assert as_user(w, uid, gid, cmd="sessions")["ok"] is looks
        assert as_user(w, uid, gid, cmd="explain", user="dev", target="config.internal")["ok"] is looks
        answer = as_user(w, uid, gid, cmd="reload")
        assert answer["ok"] is ends
        if not ends:
            assert "reload needs the role terminate" in answer["error"]
            assert (
                "terminate needs the role terminate"
                in as_user(w, uid, gid, cmd="terminate", id=session)["error"]
            )
            assert f"uid {uid} (role {'read' if looks else 'none'}) may not terminate" in w.bastion.stderr
    assert as_user(w, 61002, 1, cmd="terminate", id=session)["ok"]
    assert w.wait_record("terminate")["by_uid"] == 61002
    assert w.sessions() == [] or w.sessions()[0]["ending"]  # root may, whatever the roles say


def test_accounts_that_a_reload_names_first_need_a_restart(world):
    """They are not there for nobody to see: the folder with them lies behind the walls."""
    w = world()
    w.write(extra="roles: {read: [daemon]}\n")
    said = w.command("reload", status=1).stderr
    assert "roles: read: cannot be looked up, since the start named none: that needs a restart" in said
    w.bastion.stop()
    w.start()
    assert w.status()["configuration"]["absent"] == 0
    w.write(extra="roles: {read: [daemon, smpl-nobody]}\n")
    said = w.command("reload", status=1).stderr
    assert "roles: read: there is no such account or group on this system" in said


def test_sessions_as_a_live_table(world):
    w = world()
    ssh, local = w.forward()
    watch = w.spawn(kit.binary("smpl-bastion"), "sessions", "--watch=1", "-c", "bastion.yaml")
    with held_connection(w, local):
        kit.wait_until(lambda: sum("SESSION " in line for line in watch.out) >= 2, "it is printed again")
        kit.wait_until(
            lambda: any(f"config.internal.smplkit.local:{w.port}" in line for line in watch.out),
            "with its connections",
        )
    watch.signal(signal.SIGINT)
    watch.wait()
    assert w.command("sessions", "--watch=0", status=2).stderr.startswith(
        "smpl-bastion: --watch takes seconds"
    )


@pytest.mark.short
def test_sessions_are_ended_by_what_they_reach(world):
    w = world()
    ssh, local = w.forward()
    other = w.control()
    other.ask(cmd="whoami")
    assert (
        "no session has a connection to it"
        in w.command("terminate", "--target", "config.internal", status=1).stderr
    )
    held = held_connection(w, local)
    for wrong in (f"config.internal:{w.port + 1}", "app.internal", "127.42.1.12"):
        assert "no session has" in w.command("terminate", "--target", wrong, status=1).stderr
    assert w.command("terminate", "--target", f"config.internal.smplkit.local:{w.port}").stdout.startswith(
        "ended "
    )
    kit.recv_all(held)  # cut
    assert ssh.wait(kit.PATIENCE) == 255
    assert other.ask(cmd="whoami")["ok"]  # has no connection there
    assert w.command("terminate", "x", "--target", "y", status=2)


def test_history_has_filters(world):
    w = world(start=False)
    w.write(
        users="  - {name: dev, keys: dev.pub, groups: [developers]}\n"
        "  - {name: other, keys: stranger.pub, groups: [developers]}\n",
        grants=f"  - {{groups: [developers], targets: ['*.internal.smplkit.local:{w.port}'], networks: "
        f"[127.42.0.0/16]}}\n",
    )
    w.start()
    ssh, local = w.forward()
    assert w.get(local).returncode == 0
    w.ssh("-s", user="other", key=w.other_key, command=["smpl-control"])
    w.ssh("-s", user="other", key=w.key, command=["smpl-control"])
    w.wait_record("login-failed")
    rows = lambda *argv: json.loads(w.command("history", "--json", *argv).stdout)
    assert [r["user"] for r in rows()] == ["dev", "other", "other"]
    assert [r["user"] for r in rows("--user", "other")] == ["other", "other"]
    (reached,) = rows("--target", "config.internal")
    assert reached["user"] == "dev" and "matched" not in reached
    assert (
        rows("--target", f"config.internal.smplkit.local:{w.port}") == [reached]
        and rows("--target", "app.internal") == []
    )
    assert len(rows("--since", "1h")) == 3 and rows("--since", "2099-01-01") == []
    assert len(rows("--until", "2099-01-01")) == 3
    assert (
        rows("--until", "2020-01-01") == []
        and len(rows("--until", time.strftime("%Y-%m-%d", time.gmtime()))) == 3
    )
    assert "expected a duration" in w.command("history", "--until", "soon", status=1).stderr


# --- penalties ---


@pytest.mark.short
def test_failed_logins_keep_their_source_out_for_a_while(world):
    w = world(start=False)
    w.write(extra="penalties: {exempt: [10.0.0.0/8]}\n")
    w.start()

    # PENALTY_AUTH_MS is 5 s each, PENALTY_MIN_MS 15 s; the time between them takes some off, so many at once
    def fail(_):
        assert w.ssh("-N", user="nobody").returncode == 255
        return w.status()["counts"]["dropped_by"]["penalties"] > 0

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        kit.wait_until(lambda: any(pool.map(fail, range(6))), "the source is refused")
    done = w.ssh("-v", "-s", command=["smpl-control"])  # with the right key even
    assert done.returncode == 255 and "too many failed logins from here, try again later" in done.stderr
    with socket.create_connection((BASTION, w.ssh_port), source_address=("127.42.7.7", 0)) as s:
        s.settimeout(kit.PATIENCE)
        assert s.recv(8).startswith(b"SSH-2.0-")  # another source is let in
    w.bastion.wait_line(r"too many failed logins from 127.0.0.1/32 \(penalties; ")
    w.write(extra="penalties: {enabled: false}\n")
    w.command("reload")
    assert w.ssh("-s", command=["smpl-control"]).returncode == 0


def test_who_tries_no_login_is_counted_apart_and_locks_no_colleague_out(world):
    """A health check and a developer behind one address."""
    w = world(start=False)
    w.write(extra="penalties: {exempt: [10.0.0.0/8], silent: {rate: 1, burst: 30}}\n")
    w.start()

    for _ in range(20):  # more than the seconds of penalty that close the door
        with socket.create_connection((BASTION, w.ssh_port), source_address=("127.0.0.1", 0)) as s:
            s.settimeout(kit.PATIENCE)
            assert kit.recv_all(s, limit=8).startswith(b"SSH-2.0-")
    kit.wait_until(lambda: w.status()["connections"] == 0, "they have ended")
    assert w.ssh("-s", command=["smpl-control"]).returncode == 0  # the colleague
    assert (
        w.ssh("-N", user="nobody").returncode == 255 and w.ssh("-s", command=["smpl-control"]).returncode == 0
    )

    def flood():
        for s in [
            socket.create_connection((BASTION, w.ssh_port), source_address=("127.0.0.1", 0))
            for _ in range(60)
        ]:
            s.close()
        return w.status()["counts"]["dropped"] > 0

    kit.wait_until(flood, "there are too many")
    assert w.status()["counts"]["dropped_by"]["penalties.silent"] == w.status()["counts"]["dropped"] > 0
    w.bastion.wait_line(
        r"connection from 127.0.0.1:\d+: too many connections that try no login from 127.0.0.1/32 "
        r"\(penalties.silent;"
    )
    w.write(extra="penalties: {exempt: [127.0.0.0/8]}\n")
    w.command("reload")
    assert w.ssh("-s", command=["smpl-control"]).returncode == 0


# --- the service manager, and the end ---


def test_the_service_manager_is_told(world):
    w = world(start=False)
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.settimeout(kit.PATIENCE)
    with manager:
        manager.bind(str(w.work / "notify"))
        w.start(env={"NOTIFY_SOCKET": str(w.work / "notify"), "WATCHDOG_USEC": "2000000"})
        told = lambda what: kit.wait_until(lambda: what in manager.recv(4096).decode(), what)
        told("READY=1")
        told("WATCHDOG=1")
        w.command("reload")
        told("RELOADING=1")
        told("READY=1")
        w.bastion.signal(signal.SIGTERM)
        told("STOPPING=1")
        assert w.bastion.wait() == 0


@pytest.mark.short
def test_sigterm_lets_open_connections_finish_and_tells_their_clients(world):
    w = world(limits="drain: 5m")
    shared = w.work / "mux"
    ssh, local = w.forward(extra=("-M", "-S", shared))
    held = held_connection(w, local)
    control, idle = w.control("-S", shared), w.control()
    control.ask(cmd="whoami"), idle.ask(cmd="whoami")
    w.bastion.signal(signal.SIGTERM)
    notice = control.event("expiring")
    assert (
        notice["reason"] == "shutdown"
        and 0 < notice["left_s"] <= 300
        and "the bastion is stopping" in notice["text"]
    )
    assert idle.event("ending")["reason"] == "shutdown"  # nothing to finish there
    held.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert held.recv(65536)  # goes on
    assert control.ask(cmd="limits")["channels_open"] == 1
    assert w.get(local).returncode != 0  # nothing new
    w.bastion.signal(signal.SIGHUP)
    assert "the bastion is stopping" in w.command("reload", status=1).stderr
    assert not kit.port_open(BASTION, w.ssh_port)  # a reload opens no listener again
    held.close()
    assert control.event("ending")["reason"] == "shutdown"
    assert w.bastion.wait() == 0
    w.check_ends()
    w.check_chain()


def test_sigterm_waits_no_longer_than_drain(world):
    w = world(limits="drain: 1s")
    ssh, local = w.forward()
    with held_connection(w, local) as held:
        began = time.monotonic()
        w.bastion.signal(signal.SIGTERM)
        kit.recv_all(held)
        assert w.bastion.wait() == 0 and 0.7 < time.monotonic() - began
    assert w.wait_record("session-end")["reason"] == "shutdown"


# --- seen from outside ---


@pytest.mark.full
def test_ssh_audit_finds_nothing_to_warn_of(world):
    w = world()
    done = kit.run(kit.tool("ssh-audit"), "-n", "-p", w.ssh_port, BASTION)
    assert "(kex) curve25519-sha256" in done.stdout, done.stderr
    told = [line for line in done.stdout.splitlines() if "[fail]" in line or "[warn]" in line]
    strict = [line for line in told if "kex-strict-s-v00@openssh.com" in line and "unknown algorithm" in line]
    assert (
        told == strict
    ), done.stdout  # Debian's ssh-audit is older than strict kex, and does not know its name
    assert "kex-strict-s-v00@openssh.com" in done.stdout


def test_the_host_key_is_rotated_as_the_readme_says(world):
    """Clients learn the new key beside the old one first; the bastion then changes with a reload."""
    w = world()
    kit.keygen(w.work / "next", comment="next")
    known = w.work / "known_hosts"
    new = " ".join((w.work / "next.pub").read_text().split()[:2])
    known.write_text(known.read_text() + f"[{BASTION}]:{w.ssh_port} {new}\n")
    assert w.ssh("-s", command=["smpl-control"]).returncode == 0  # before
    ssh, local = w.forward()
    (w.work / "next").rename(w.work / "host")
    w.command("reload")
    assert w.ssh("-s", command=["smpl-control"]).returncode == 0  # after
    assert w.get(local).returncode == 0  # what was open goes on
    known.write_text(f"[{BASTION}]:{w.ssh_port} {new}\n")
    assert w.ssh("-s", command=["smpl-control"]).returncode == 0
