# SPDX-License-Identifier: Apache-2.0
"""What goes wrong around smpl-bastion: targets, resolvers, clients, disks and processes that fail, stall or
misbehave. One session suffers at most; the others, the audit and the broker go on."""

import concurrent.futures
import hashlib
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest

import kit
from bastion_world import BASTION, DNS, WEB, World

paramiko = pytest.importorskip("paramiko", reason="python3-paramiko is not installed")
from ssh_client import Client, Target, echo, stall  # noqa: E402
from bastion_targets import Unanswering, ping

FULL = os.environ.get("SMPL_TEST_FULL") == "1"
GRANT = f"""\
  - groups: [developers]
    targets: ["*.internal.smplkit.local:*", "{WEB}:*"]
    networks: [127.42.0.0/16]
"""


class Place:
    """A bastion whose developer may reach every port of the private network, clients and targets that are
    closed at the end."""

    def __init__(self, work, spawn):
        self.open, self.world = [], World(work, spawn, start=False)
        self.world.write(grants=GRANT)

    def start(self, **keys):
        self.world.write(grants=GRANT, **keys)
        self.world.start()
        return self.world

    def target(self, handler, address=WEB, **keys):
        self.open.append(Target(address, handler, **keys))
        return self.open[-1]

    def client(self, **keys):
        self.open.append(Client(self.world, **keys))
        return self.open[-1]

    def session_of(self, client):
        """The bastion's view of a client's session."""
        source = "%s:%d" % client.wire.sock.getsockname()
        return next((s for s in self.world.sessions() if s["source"] == source), None)

    def close(self):
        for thing in reversed(self.open):
            thing.close()
        self.world.close()


@pytest.fixture
def place(work, spawn):
    p = Place(work, spawn)
    yield p
    p.close()


def memory_kb(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def read_all(channel):
    channel.settimeout(kit.PATIENCE)
    data = []
    while part := channel.recv(1 << 16):
        data.append(part)
    return b"".join(data)


def blocks(megabytes):
    """Bytes that no two places of repeat, a mebibyte each."""
    for i in range(megabytes):
        yield hashlib.sha256(b"%d" % i).digest() * 32768


# --- targets ---


def test_a_target_that_accepts_and_stalls_costs_bounded_memory_and_holds_up_nobody(place):
    w = place.start()
    stalled, lively = place.target(stall, receive_buffer=4096), place.target(echo)
    client = place.client()
    stuck = client.open(WEB, stalled.port)
    stuck.settimeout(1)
    sent = 0
    bytes_up = lambda: next(
        c["bytes_up"] for c in place.session_of(client)["channels"] if c["port"] == stalled.port
    )
    while True:
        try:
            sent += stuck.send(b"x" * 32768)
            assert sent < 16 << 20, "somebody takes all that nobody reads"
        except socket.timeout:
            if kit.wait_still(bytes_up, "the target takes nothing more") < sent:
                break
    other = client.open(WEB, lively.port)
    for _ in range(100):
        ping(other)
    session = place.session_of(client)
    if not kit.SANITIZED:
        assert memory_kb(session["pid"]) < 20_000
    assert bytes_up() < 8 << 20  # what the two sockets hold
    stuck.close()
    stalled.connections[0].close()  # or the bastion would wait a while for it to take the rest
    assert w.wait_record("channel-end", port=stalled.port)["bytes_up"] < sent
    ping(other)


@pytest.mark.short
def test_a_target_that_resets_ends_its_channel_with_that_reason(place):
    def reset(connection):
        connection.recv(5)
        connection.sendall(b"partly")
        time.sleep(0.2)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    w = place.start()
    rude, lively = place.target(reset), place.target(echo)
    client = place.client()
    other = client.open(WEB, lively.port)
    channel = client.open(WEB, rude.port)
    channel.sendall(b"hello")
    assert read_all(channel) == b"partly"
    end = w.wait_record("channel-end", port=rude.port)
    assert (end["reason"], end["bytes_up"], end["bytes_down"]) == ("target-reset", 5, 6)
    ping(other)


@pytest.mark.short
def test_a_client_that_half_closes_still_gets_its_answer(place):
    def answer_at_the_end(connection):
        with connection:
            digest = hashlib.sha256()
            while data := connection.recv(65536):
                digest.update(data)
            connection.sendall(digest.hexdigest().encode())

    w = place.start()
    target = place.target(answer_at_the_end)
    channel = place.client().open(WEB, target.port)
    whole = hashlib.sha256()
    for block in blocks(4):
        channel.sendall(block)
        whole.update(block)
    channel.shutdown_write()
    assert read_all(channel).decode() == whole.hexdigest()
    end = w.wait_record("channel-end", port=target.port)
    assert (end["reason"], end["bytes_up"], end["bytes_down"]) == ("channel-closed", 4 << 20, 64)


@pytest.mark.short
def test_a_target_that_half_closes_still_gets_the_rest(place):
    got, done = hashlib.sha256(), threading.Event()

    def read_after_the_end(connection):
        connection.sendall(b"that is all")
        connection.shutdown(socket.SHUT_WR)
        while data := connection.recv(65536):
            got.update(data)
        done.set()
        connection.close()

    w = place.start()
    target = place.target(read_after_the_end)
    channel = place.client().open(WEB, target.port)
    assert read_all(channel) == b"that is all"
    whole = hashlib.sha256()
    for block in blocks(4):
        channel.sendall(block)
        whole.update(block)
    channel.shutdown_write()
    assert done.wait(kit.PATIENCE)
    assert got.digest() == whole.digest()
    end = w.wait_record("channel-end", port=target.port)
    assert (end["reason"], end["bytes_up"], end["bytes_down"]) == ("channel-closed", 4 << 20, 11)


def test_a_slow_target_loses_no_byte(place):
    got, done = hashlib.sha256(), threading.Event()

    def slow(connection):
        for i in range(20):
            connection.sendall(b"%d" % (i % 10))
            got.update(connection.recv(1000))
            time.sleep(0.05)
        while data := connection.recv(65536):
            got.update(data)
        connection.sendall(b"end")
        connection.close()
        done.set()

    place.start()
    target = place.target(slow, receive_buffer=4096)
    channel = place.client().open(WEB, target.port)
    whole = hashlib.sha256()

    def send():
        for block in blocks(6):
            channel.sendall(block)
            whole.update(block)
        channel.shutdown_write()

    sender = threading.Thread(target=send)
    sender.start()
    assert read_all(channel) == b"0123456789" * 2 + b"end"
    sender.join(kit.PATIENCE)
    assert done.wait(kit.PATIENCE) and got.digest() == whole.digest()


@pytest.mark.short
def test_connects_that_nobody_answers_hold_up_neither_other_connects_nor_the_end(place):
    w = place.start()
    mute, lively = Unanswering(WEB), place.target(echo)
    place.open.append(mute)
    client = place.client()
    for i in range(100):
        client.open_unasked(1000 + i, WEB, mute.port)
    ping(client.open(WEB, lively.port))
    session = place.session_of(client)
    w.command("terminate", session["id"])
    w.wait_record("session-end", reason="terminated")
    told = lambda reason: sum(r.get("repeated", 1) for r in w.records("channel-refused", reason=reason))
    assert (
        told("session-ended") > 0 and told("session-ended") + told("connect-timeout") == 100
    )  # the end did not wait for them
    w.check_chain()


@pytest.mark.full
def test_a_connect_that_nobody_answers_is_given_up(place):
    w = place.start()
    mute = Unanswering(WEB)
    place.open.append(mute)
    began = time.monotonic()
    done = w.ssh("-W", f"{WEB}:{mute.port}", timeout=kit.PATIENCE)
    assert done.returncode != 0 and 10 < time.monotonic() - began
    assert w.wait_record("channel-refused", port=mute.port)["reason"] == "connect-timeout"


# --- resolvers ---


def test_a_dead_resolver_fails_new_names_only_and_comes_back(place):
    w = place.start()
    lively = place.target(echo)
    client = place.client()
    named, literal = client.open("config.internal", lively.port), client.open(WEB, lively.port)
    w.resolver.kill9()
    time.sleep(2.5)  # above the zone's TTL
    with pytest.raises(paramiko.ChannelException):
        client.open("other.internal", lively.port)
    assert w.wait_record("channel-refused")["reason"] == "resolver-failed"
    ping(named)
    ping(literal)
    ping(client.open(WEB, lively.port))  # needs no name
    w.resolver = w.spawn(kit.binary("smpl-resolver"), "-c", "resolver.yaml").wait_ready()
    ping(client.open("other.internal", lively.port))


@pytest.mark.parametrize("manner", ["silent", "garbage"])
def test_a_resolver_that_is_of_no_use_holds_up_nobody(place, manner):
    w = place.world
    w.resolver.kill9()
    useless = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    useless.bind((DNS, w.dns))
    stop = threading.Event()

    def answer():
        useless.settimeout(0.1)
        while not stop.is_set():
            try:
                query, source = useless.recvfrom(4096)
            except socket.timeout:
                continue
            except OSError:
                return
            if (
                manner == "garbage"
            ):  # the right number, then noise; then the query itself, as if it were an answer
                useless.sendto(query[:2] + os.urandom(300), source)
                useless.sendto(query, source)

    threading.Thread(target=answer, daemon=True).start()
    try:
        place.start()
        lively = place.target(echo)
        client, other = place.client(), place.client()
        for i in range(
            100
            # fewer than a user may have asked at once: that refusal would take the places of those singly on
            # record
        ):
            client.open_unasked(1000 + i, f"n{i}.internal", lively.port)
        for c in (client, other):
            channel = c.open(WEB, lively.port)
            for _ in range(20):
                ping(channel)
        refused = lambda: sum(
            r.get("repeated", 1) for r in w.records("channel-refused", reason="resolver-failed")
        )
        kit.wait_until(lambda: refused() > 0, "the first is given up")
        assert w.status()["ok"] and client.alive()
    finally:
        stop.set()
        useless.close()


# --- clients ---


@pytest.mark.short
def test_a_client_that_ignores_the_window_is_cut_off(place):
    w = place.start()
    stalled, lively = place.target(stall, receive_buffer=4096), place.target(echo)
    client, other = place.client(), place.client()
    kept = other.open(WEB, lively.port)
    session = place.session_of(client)
    channel = client.open(WEB, stalled.port)
    sent = 0
    try:
        while client.alive():
            client.send_beyond_the_window(channel, b"x" * 32000)
            sent += 32000
            assert sent < 64 << 20, "nobody minds"
    except (OSError, EOFError, paramiko.SSHException):
        pass
    end = w.wait_record("session-end", session=session["id"])
    assert end["reason"] == "protocol-error" and "window" in end["text"], end
    ping(kept)
    w.check_chain()


def test_a_client_that_stops_reading_costs_bounded_memory_and_holds_up_nobody(place):
    def flood(connection):
        block = bytes(1 << 18)
        while True:
            connection.sendall(block)

    place.start()
    source, lively = place.target(flood), place.target(echo)
    client, other = place.client(receive_buffer=4096), place.client()
    channels = [client.open(WEB, source.port) for _ in range(16)]
    client.wire.deaf.set()
    kept = other.open(WEB, lively.port)
    pid = place.session_of(client)["pid"]
    bytes_down = lambda: sum(
        c["bytes_down"] for c in (place.session_of(client) or {"channels": []})["channels"]
    )
    assert kit.wait_still(bytes_down, "nothing more is taken from the targets") < 64 << 20
    for _ in range(50):
        ping(kept)
    assert (
        kit.SANITIZED or not kit.alive(pid) or memory_kb(pid) < 20_000 + 16 * 4608
    )  # it is given up after a while
    assert len(channels) == 16


@pytest.mark.full
def test_a_client_that_stops_reading_is_given_up(place):
    """USER_TIMEOUT_MS is 30 s."""
    w = place.start()
    source = place.target(lambda c: [c.sendall(bytes(1 << 18)) for _ in range(1000)])
    client = place.client(receive_buffer=4096)
    session = place.session_of(client)
    channel = client.open(WEB, source.port)
    client.wire.deaf.set()
    kit.wait_until(lambda: w.records("session-end", session=session["id"]), "it is given up", step=1)
    assert w.records("session-end")[-1]["reason"] == "client-vanished"
    assert channel is not None


@pytest.mark.short
def test_a_flood_of_channels_is_bounded_and_the_session_stays_of_use(place):
    w = place.start(limits="channels: 64")
    lively = place.target(echo)
    client, other = place.client(), place.client()
    kept = other.open(WEB, lively.port)
    for i in range(3000):
        client.open_unasked(10_000 + i, WEB, lively.port)
    for _ in range(20):
        ping(kept)
    session = kit.wait_until(lambda: place.session_of(client), "it lives")
    assert len(session["channels"]) <= 64
    assert descriptors(session["pid"]) <= 64 + 5
    kit.wait_until(
        lambda: len((place.session_of(client) or {"channels": []})["channels"]) in (0, 64), "they settle"
    )
    if client.alive():
        client.close()
    kit.wait_until(
        lambda: not [c for s in w.sessions() for c in s["channels"] if s["id"] == session["id"]],
        "its channels go",
    )
    ping(kept)
    assert len(w.records("channel-open")) <= 1 + 64 + 64
    w.check_chain()


def test_channels_opened_and_closed_without_end_leave_nothing_behind(place):
    """100,000 in the full run."""
    count, threads = (100_000, 32) if FULL and not kit.SANITIZED else (3_000, 32)
    w = place.start(limits="connection_rate: {connections: 0}")
    lively = place.target(lambda c: (c.recv(10), c.sendall(b"y"), c.close()))
    ssh, local = w.forward(WEB, lively.port)
    left, lock = [count], threading.Lock()

    def visits():
        done = 0
        while True:
            with lock:
                if left[0] == 0:
                    return done
                left[0] -= 1
            with socket.create_connection(("127.42.9.9", local), timeout=kit.PATIENCE) as s:
                s.sendall(b"x")
                assert s.recv(1) == b"y"
            done += 1

    def round_of(n):
        left[0] = n
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            assert sum(f.result() for f in [pool.submit(visits) for _ in range(threads)]) == n
        lively.connections.clear()
        kit.wait_until(lambda: w.sessions()[0]["channels"] == [], "all channels end")

    round_of(500)
    (session,) = w.sessions()
    pids = [session["pid"], w.bastion.pid]
    before = [(memory_kb(p), descriptors(p)) for p in pids]
    round_of(count)
    after = [(memory_kb(p), descriptors(p)) for p in pids]
    for (kb, fds), (kb_after, fds_after) in zip(before, after):
        assert fds_after <= fds + 2
        assert kit.SANITIZED or kb_after < kb + 4096, (before, after)
    assert ssh.running()
    kit.wait_until(lambda: w.status()["audit"]["waiting"] == 0, "the audit is written")
    opened = {r["channel"] for r in w.records("channel-open")}
    assert len(opened) >= count + 500 and opened == {r["channel"] for r in w.records("channel-end")}
    w.check_chain()


# --- the client's network ---


@pytest.fixture
def far(place):
    """A network namespace whose only way to the bastion is a cable that can be cut; SKIP without root."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    name, subnet = f"smpl{os.getpid()}", os.getpid() % 250 + 1
    here, there = f"sv{os.getpid()}a", f"sv{os.getpid()}b"
    ip = lambda *argv: subprocess.run([kit.tool("ip"), *argv], check=True, capture_output=True)
    try:
        ip("netns", "add", name)
        ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
        ip("addr", "add", f"10.213.{subnet}.1/30", "dev", here)
        ip("link", "set", here, "up")
        ip("-n", name, "addr", "add", f"10.213.{subnet}.2/30", "dev", there)
        ip("-n", name, "link", "set", there, "up")
        ip("-n", name, "link", "set", "lo", "up")
    except subprocess.CalledProcessError as e:
        subprocess.run([kit.tool("ip"), "netns", "del", name], capture_output=True)
        pytest.skip(f"no network namespace here: {e.stderr.decode().strip()}")
    place.cut = lambda: ip("-n", name, "link", "set", there, "down")
    yield name, f"10.213.{subnet}.1"
    subprocess.run([kit.tool("ip"), "netns", "del", name], capture_output=True)
    subprocess.run([kit.tool("ip"), "link", "del", here], capture_output=True)


def far_ssh(place, far, *argv):
    w, (name, address) = place.world, far
    text = (
        (w.work / "bastion.yaml").read_text().replace('listen: ["', f'listen: ["{address}:{w.ssh_port}", "')
    )
    (w.work / "bastion.yaml").write_text(text)
    w.start()
    argv = w.ssh_argv("-o", f"HostKeyAlias=[{BASTION}]:{w.ssh_port}", *argv)
    argv[-1] = f"dev@{address}"
    return w.spawn(kit.tool("ip"), "netns", "exec", name, *argv)


@pytest.mark.full
def test_a_client_that_vanishes_without_a_word_is_given_up_while_bytes_are_under_way(place, far):
    w = place.world
    w.write(grants=GRANT)
    source = place.target(lambda c: [c.sendall(bytes(1 << 18)) for _ in range(100_000)])
    ssh = far_ssh(place, far, "-N", "-L", f"9000:{WEB}:{source.port}")
    session = kit.wait_until(w.sessions, "the session")[0]
    reader = w.spawn(
        kit.tool("ip"),
        "netns",
        "exec",
        far[0],
        kit.tool("bash"),
        "-c",
        "exec 3<>/dev/tcp/127.0.0.1/9000; exec cat <&3 >/dev/null",
    )
    kit.wait_until(lambda: sum(c["bytes_down"] for c in w.sessions()[0]["channels"]) > 1 << 20, "bytes flow")
    place.cut()
    kit.wait_until(lambda: w.records("session-end", session=session["id"]), "it is given up", step=1)
    (end,) = w.records("session-end")
    assert end["reason"] == "client-vanished"
    kit.wait_until(lambda: not kit.alive(session["pid"]), "its worker has gone")
    for program in (reader, ssh):
        program.kill9()


@pytest.mark.full
def test_a_client_that_vanishes_while_nothing_flows_is_given_up_too(place, far):
    """KEEPALIVE_IDLE_S and the probes after it, which USER_TIMEOUT_MS cuts short: within two minutes."""
    w = place.world
    w.write(grants=GRANT)
    ssh = far_ssh(place, far, "-N")
    session = kit.wait_until(w.sessions, "the session")[0]
    place.cut()
    kit.wait_until(
        lambda: w.records("session-end", session=session["id"]),
        "it is given up",
        timeout=3 * kit.PATIENCE,
        step=1,
    )
    assert w.records("session-end")[-1]["reason"] == "client-vanished"
    ssh.kill9()


# --- processes ---


@pytest.mark.short
def test_kill_9_under_load_leaves_an_audit_that_the_next_start_completes(place):
    w = place.start(limits="sessions_per_user: 64")
    lively = place.target(echo)
    for _ in range(12 if FULL else 3):
        clients = [Client(w) for _ in range(4)]
        stop = threading.Event()

        def load(client):
            try:
                while not stop.is_set():
                    with client.open(WEB, lively.port) as channel:
                        ping(channel)
            except (OSError, EOFError, AssertionError, paramiko.SSHException):
                pass

        threads = [threading.Thread(target=load, args=(c,), daemon=True) for c in clients]
        for t in threads:
            t.start()
        time.sleep(0.3 + int.from_bytes(os.urandom(1), "big") / 512)
        pids = kit.children(w.bastion.pid)
        w.bastion.kill9()
        kit.wait_until(
            lambda: not any(kit.alive(p) for p in pids), "workers and template end with the broker"
        )
        stop.set()
        for c in clients:
            c.close()
        w.start()
        kit.wait_until(lambda: w.status()["audit"]["waiting"] == 0, "what the next start adds is written")
        w.check_chain()
        w.check_ends()
        channel_of = lambda r: (r["session"], r["channel"])
        opened = {channel_of(r) for r in w.records("channel-open")}
        assert opened >= {channel_of(r) for r in w.records("channel-end")}
    assert len(w.records("session-end", recovered=True)) >= 4
    with Client(w).open(WEB, lively.port) as channel:
        ping(channel)


def test_killed_templates_and_workers_under_load_cost_their_sessions_only(place):
    w = place.start(limits="sessions_per_user: 64")
    lively = place.target(echo)
    keeper = place.client()
    kept = keeper.open(WEB, lively.port)
    keeper_id = place.session_of(keeper)["id"]
    for _ in range(5):
        victim = place.client()
        channel = victim.open(WEB, lively.port)
        ping(channel)
        session = place.session_of(victim)
        template = kit.wait_until(w.template, "a template")
        os.kill(session["pid"], signal.SIGKILL)
        os.kill(template, signal.SIGKILL)
        assert read_all(channel) == b""
        end = w.wait_record("session-end", session=session["id"])
        assert end["reason"] == "worker-died"
        kit.wait_until(lambda: w.template() not in (0, template), "another template")
        w.wait_record("template-died", pid=template)
        ping(kept)
    assert {s["id"] for s in w.sessions()} == {keeper_id}
    w.check_chain()


# --- what runs out ---


def test_a_full_disk_stops_what_is_new_and_leaves_no_torn_record(place):
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    w = place.world
    disk = w.work / "disk"
    disk.mkdir(mode=0o700)
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "smpl-test", disk], capture_output=True
    ).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        w.write(grants=GRANT)
        text = (w.work / "bastion.yaml").read_text().replace("audit: audit.jsonl", "audit: disk/audit.jsonl")
        (w.work / "bastion.yaml").write_text(text)
        w.start()
        lively = place.target(echo)
        client = place.client()
        kept = client.open(WEB, lively.port)
        try:
            with (disk / "filler").open("wb", buffering=0) as f:
                while True:
                    f.write(bytes(512))
        except OSError:
            pass
        with pytest.raises((paramiko.SSHException, EOFError, OSError)):
            for _ in range(200):  # as many as the rest of the audit's last page takes
                place.client().close()
        assert w.status()["audit"]["writable"] is False
        assert "records cannot be written" in w.bastion.stderr
        ping(kept)  # what stands goes on
        assert (disk / "audit.jsonl").read_bytes().endswith(b"\n")
        (disk / "filler").unlink()
        kit.wait_until(lambda: w.status()["audit"]["writable"], "the audit comes back")
        ping(place.client().open(WEB, lively.port))
        assert w.bastion.stop() == 0
        shutil.copy(disk / "audit.jsonl", w.work / "audit.jsonl")
        w.check_chain()
        w.check_ends()
    finally:
        w.bastion.stop()
        subprocess.run(["umount", "-l", disk], capture_output=True)


def test_at_the_descriptor_limit_nothing_new_begins_and_nothing_old_ends(place):
    w = place.start()
    lively = place.target(echo)
    client = place.client()
    kept = client.open(WEB, lively.port)
    _, hard = resource.prlimit(w.bastion.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(w.bastion.pid, resource.RLIMIT_NOFILE, (descriptors(w.bastion.pid), hard))
    with pytest.raises(paramiko.ChannelException):
        client.open(WEB, lively.port)
    assert w.wait_record("channel-refused")["reason"] == "target-unreachable"
    late = [socket.create_connection((BASTION, w.ssh_port)) for _ in range(3)]
    ping(kept)
    w.bastion.wait_line("(cannot be accepted|no worker).*(open files|descriptors)")
    ping(kept)
    resource.prlimit(w.bastion.pid, resource.RLIMIT_NOFILE, (hard, hard))
    for s in late:
        s.close()
    ping(kept)
    kit.wait_until(lambda: w.ssh("-W", f"config.internal:{w.port}").returncode == 0, "sessions start again")
    ping(client.open(WEB, lively.port))
    w.check_chain()


SLOW = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>
int fdatasync(int fd)
{
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  int log = open("syncs", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (write(log, ".", 1) != 1)
    return -1;
  close(log);
  while (access("hold", F_OK) == 0)
    usleep(1000);
  return real(fd);
}
"""


@pytest.fixture
def slow_sync(work):
    """A library that makes each sync of a file take until there is no file `hold`, and counts them in the
    file `syncs`."""
    if kit.SANITIZED:
        pytest.skip("no library goes before a sanitizer's")
    (work / "slow.c").write_text(SLOW)
    done = kit.run(kit.tool("cc"), "-shared", "-fPIC", "-o", work / "slow.so", work / "slow.c", "-ldl")
    assert done.returncode == 0, done.stderr
    return {"LD_PRELOAD": str(work / "slow.so")}


def test_a_slow_audit_makes_only_those_wait_who_open(place, slow_sync):
    w = place.world
    w.write(grants=GRANT)
    w.bastion = w.spawn(kit.binary("smpl-bastion"), "-v", "-c", "bastion.yaml", env=slow_sync).wait_ready()
    lively = place.target(echo)
    client, other = place.client(), place.client()
    kept = other.open(WEB, lively.port)
    hold, syncs = w.work / "hold", lambda: (w.work / "syncs").stat().st_size
    hold.touch()
    before = syncs()
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        opened = [pool.submit(client.open, WEB, lively.port) for _ in range(40)]
        try:  # meanwhile nobody else waits, nor does the control socket
            kit.wait_until(lambda: w.status()["audit"]["waiting"] >= 40, "their records wait")
            for _ in range(100):
                ping(kept)
            assert not any(f.done() for f in opened)  # the records come first
        finally:
            hold.unlink()
        channels = [f.result() for f in opened]
    assert syncs() - before <= 5  # in groups
    for channel in channels:
        ping(channel)
    w.check_chain()
