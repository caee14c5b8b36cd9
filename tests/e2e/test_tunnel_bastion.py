# SPDX-License-Identifier: Apache-2.0
"""smpl-tunnel and stock ssh through the real bastion: names, ports, reasons, limits, bytes."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

import kit
import product
from product import bastion
from security_key import token
from tunnel_kit import Server, echo, local_port, place, rss_kb, transfers


def audit(place):
    return kit.json_lines(place.work / "audit.jsonl")


@pytest.mark.short
def test_name_and_port_are_learnt_and_the_ready_line_has_the_url(place):
    program = place.tunnel("0:config.internal")
    port = local_port(program)
    assert program.out[0].startswith(
        f"http://localhost:{port} -> config.internal.smplkit.local:{place.http} by way of "
        f"dev@127.0.0.1:{place.ssh}"
    )
    for address in ("127.0.0.1", "::1"):
        with socket.create_connection((address, port), timeout=kit.PATIENCE) as s:
            s.sendall(b"hello")
            assert s.recv(5) == b"hello"


@pytest.mark.short
@pytest.mark.parametrize(
    "forward, status, words",
    [
        ("0:flags.internal", 7, "flags.internal: no grant covers this target"),
        ("0:config.internal:22", 7, "config.internal:22: the grant covers this name, not this port"),
        ("0:127.10.1.11:80", 7, "127.10.1.11:80: no grant covers this target"),
        (
            "0:127.10.1.11",
            8,
            r"127.10.1.11: the name has no SRV record that says its port: say it, as in \d+:127.10.1.11:PORT",
        ),
        ("0:app.internal", 8, "the target refused the connection"),
    ],
)
def test_a_target_that_is_refused_says_why(place, forward, status, words):
    program = place.tunnel(forward)
    assert program.wait() == status
    assert re.search(words, program.stderr) and len(program.err) == 1 and program.stdout == ""


def test_a_dead_target_is_called_dead_every_time(place):
    """The name is learnt while the target is tried: the bastion is asked about the channel, and not about a
    name."""
    for _ in range(20):
        program = place.tunnel(f"0:app.internal:{place.http}")
        assert program.wait() == 8 and "the target refused the connection" in program.stderr, program.stderr


def test_several_forwards_at_once(place):
    other = Server(lambda c: c.sendall(b"account service"), "127.10.1.10", place.http)
    program = place.tunnel(
        "0:config.internal", "127.0.0.3:0:app.internal", f"[::1]:0:config.internal:{place.http}"
    )
    ports = [local_port(program, i) for i in range(3)]
    with socket.create_connection(("127.0.0.3", ports[1]), timeout=kit.PATIENCE) as s:
        assert kit.recv_all(s) == b"account service"
    with socket.create_connection(("::1", ports[2]), timeout=kit.PATIENCE) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
    other.close()


def test_64_parallel_transfers_keep_their_bytes_and_the_audit_counts_them(place):
    program = place.tunnel("0:config.internal")
    assert transfers(local_port(program), 64) == []
    count = lambda event: sum(r["event"] == event for r in audit(place))
    # What is still on its way to a client that goes makes the kernel reset the connection under its goodbye.
    kit.wait_until(lambda: count("channel-end") == count("channel-open"), "every connection has ended")
    program.signal(signal.SIGINT)
    assert program.wait() == 0
    kit.wait_until(lambda: audit(place)[-1]["event"] == "session-end", "the record of the end")
    end = audit(place)[-1]
    assert end["reason"] == "client-closed"
    assert end["bytes_up"] == end["bytes_down"] == 64 * 16 * 131072
    counted = [r for r in audit(place) if r["event"] == "channel-end" and r["bytes_up"]]
    assert len(counted) == 64 and {r["bytes_up"] for r in counted} == {16 * 131072}


def ended(ssh):
    """By SIGTERM, more than one if need be: OpenSSH 9.2 looks whether one has come and then polls, without
    blocking signals between the two (strace shows no rt_sigprocmask), so one that arrives there while
    channels are being closed waits for the next event."""

    def again():
        ssh.terminate()
        try:
            return ssh.wait(1) is not None
        except subprocess.TimeoutExpired:
            return False

    kit.wait_until(again, "ssh ends")


def test_stock_ssh_carries_64_parallel_transfers(place):
    port = kit.free_port("127.0.0.1")
    process = subprocess.Popen(
        [str(a) for a in place.ssh_args("-N", "-L", f"{port}:config.internal:{place.http}")],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        kit.wait_until(lambda: kit.port_open("127.0.0.1", port), "ssh listens")
        assert transfers(port, 64) == []
    finally:
        ended(process)


def test_stock_ssh_asks_smpl_control(place):
    done = subprocess.run(
        [str(a) for a in place.ssh_args("-s")] + ["smpl-control"],
        capture_output=True,
        timeout=kit.PATIENCE,
        input=b'{"cmd":"whoami","id":7}\n{"cmd":"resolve","target":"config.internal"}\n',
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert any(a.get("user") == "dev" and a["id"] == 7 for a in answers)
    assert any(a.get("port") == place.http for a in answers)


def test_an_administrator_ends_the_session_and_the_tunnel_says_so(place):
    program = place.tunnel("0:config.internal")
    with socket.create_connection(("127.0.0.1", local_port(program)), timeout=kit.PATIENCE) as s:
        s.sendall(b"x")
        s.recv(1)
        bastion(place, "terminate", "--user", "dev", "--reason", "maintenance tonight")
        assert program.wait() == 9
        assert kit.recv_all(s) == b""
    assert "maintenance tonight" in program.stderr and len(program.err) == 1


def test_a_user_who_is_blocked_is_told_so_and_not_connected_again(place):
    place.programs["bastion"].stop()
    (place.work / "state").mkdir(mode=0o700)
    config = place.work / "bastion.yaml"
    config.write_text(config.read_text() + "state: state\n")
    place.start("bastion")
    program = place.tunnel("0:config.internal")
    with socket.create_connection(("127.0.0.1", local_port(program)), timeout=10) as s:
        s.sendall(b"x")
        s.recv(1)
        bastion(place, "block", "dev", "--reason", "left the company")
        assert program.wait() == 9
        assert kit.recv_all(s) == b""
    assert "an administrator has blocked this user or key" in program.stderr and len(program.err) == 1
    assert "left the company" not in program.stderr


def test_connections_above_the_rate_are_refused_in_words_and_the_tunnel_goes_on(place):
    place.programs["bastion"].stop()
    config = place.work / "bastion.yaml"
    config.write_text(config.read_text() + "limits: {connection_rate: {connections: 1, burst: 5}}\n")
    place.start("bastion")
    program = place.tunnel("0:config.internal")
    port = local_port(program)

    def is_answered():
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
                s.sendall(b"there?")
                return s.recv(6) == b"there?"
        except ConnectionError:
            return False

    kit.wait_until(lambda: not is_answered(), "one too many")
    program.wait_line("the user opens more connections a second than the limit allows")
    kit.wait_until(is_answered, "one comes back each second", step=0.5)
    assert program.running()


def test_a_login_that_is_refused_by_a_limit_is_told_at_once_in_the_bastions_words(place):
    place.programs["bastion"].stop()
    config = place.work / "bastion.yaml"
    config.write_text(
        config.read_text() + "limits: {connection_rate: {connections: 1, burst: 2}, sessions_per_user: 1}\n"
    )
    place.start("bastion")
    first = place.tunnel("0:config.internal")
    local_port(first)
    second = place.tunnel("0:config.internal")
    place.programs["bastion"].wait_line("login of dev refused")
    second.wait(15)  # not when the patience with a silent server is over: SESSION_STEP_MS are 20 s
    assert second.process.returncode == 6
    assert re.search(
        "is not let in at 127.0.0.1: the user (has reached the limit of sessions|opens more connections)",
        second.stderr,
    ), second.stderr


def answers(port):
    with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
        s.sendall(b"there?")
        return s.recv(6) == b"there?"


@pytest.mark.short
def test_a_bastion_that_is_restarted_is_found_again_on_the_same_port(place):
    program = place.tunnel("0:config.internal")
    port = local_port(program)
    assert place.programs["bastion"].stop() == 0
    program.wait_line("the bastion is stopping; connecting again, the local ports stay")
    place.start("bastion")
    assert answers(port)
    program.wait_line("connected again")


def test_a_bastion_that_is_killed_is_found_again(place):
    program = place.tunnel("0:config.internal")
    port = local_port(program)
    workers = kit.children(place.programs["bastion"].pid)
    place.programs["bastion"].kill9()
    program.wait_line("the connection to the bastion broke")
    kit.wait_until(lambda: not any(kit.alive(pid) for pid in workers), "template and workers end")
    place.start("bastion")
    assert answers(port)


def test_a_port_that_changes_in_dns_is_learnt_again(place):
    program = place.tunnel("0:config.internal")
    port = local_port(program)
    place.target.close()
    place.programs["bastion"].stop()
    config = place.work / "bastion.yaml"
    old, place.http = place.http, kit.free_port(*product.ADDRESSES)
    config.write_text(config.read_text().replace(f"smplkit.local:{old}", f"smplkit.local:{place.http}"))
    (place.work / "internal.zone").write_text(place.zone())
    place.reload_resolver()
    place.target = Server(echo, "127.10.1.11", place.http)
    place.start("bastion")
    program.wait_line("connected again")
    kit.wait_until(lambda: quietly(answers, port), "the new port is used")


def quietly(function, *arguments):
    try:
        return function(*arguments)
    except ConnectionResetError:
        return False


def test_a_grant_that_is_taken_away_ends_it_for_good(place):
    program = place.tunnel("0:config.internal")
    local_port(program)
    place.programs["bastion"].stop()
    config = place.work / "bastion.yaml"
    config.write_text(config.read_text().replace(f'"config.internal.smplkit.local:{place.http}", ', ""))
    place.start("bastion")
    assert program.wait() == 7
    assert "no grant covers this target" in program.stderr


def test_an_unknown_key_is_not_let_in(place):
    other, _ = kit.keygen(place.work / "other")
    program = place.tunnel("-i", str(other), "0:config.internal")
    assert program.wait() == 6
    assert str(other) in program.stderr


def test_another_host_key_is_not_trusted(place):
    _, other = kit.keygen(place.work / "other")
    (place.work / "known_hosts").write_text(f"[127.0.0.1]:{place.ssh} {other.read_text()}")
    program = place.tunnel("0:config.internal")
    assert program.wait() == 5
    assert program.stderr.count("SHA256:") == 2 and "CHANGED" in program.stderr


def test_a_target_that_dies_later_is_said_with_its_reason(place):
    program = place.tunnel("0:config.internal")
    port = local_port(program)
    place.target.close()
    with pytest.raises(ConnectionResetError):
        with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
            s.recv(1)
    program.wait_line(f"config.internal.smplkit.local:{place.http}: the target refused the connection")
    assert program.running()


@pytest.mark.short
def test_ctrl_c_is_immediate_and_the_bastion_learns_it(place):
    program = place.tunnel("0:config.internal")
    with socket.create_connection(("127.0.0.1", local_port(program)), timeout=kit.PATIENCE) as s:
        s.sendall(b"x")
        s.recv(1)
        program.signal(signal.SIGINT)
        assert program.wait() == 0  # though the connection stays open
    kit.wait_until(lambda: audit(place)[-1]["event"] == "session-end", "the record of the end")
    assert audit(place)[-1]["reason"] == "client-closed"


def test_stalled_readers_cost_worker_and_client_bounded_memory_and_hold_up_nobody(place):
    place.target.handler = lambda c: flood(c) if c.recv(1) == b"f" else echo(c)
    sent = [0]

    def flood(connection):
        block = bytes(262144)
        while True:
            sent[0] += connection.send(block)

    program = place.tunnel("0:config.internal")
    port = local_port(program)
    stalled = []
    for _ in range(8):
        s = socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall(b"f")
        stalled.append(s)
    kit.wait_still(lambda: sent[0], "nothing more is taken from the target")
    worker = kit.children(place.programs["bastion"].pid)[-1]
    if not kit.SANITIZED:
        assert rss_kb(program.pid) < 20_000 + 8 * 4608
        assert rss_kb(worker) < 20_000 + 8 * 4608
    with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
        s.sendall(b"e")
        for _ in range(50):
            s.sendall(b"ping")
            assert s.recv(4) == b"ping"
    for s in stalled:
        s.close()


def test_a_new_connection_a_request_hundreds_of_times(place):
    program = place.tunnel("0:config.internal")
    port = local_port(program)
    for _ in range(400 if not kit.SANITIZED else 100):
        with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
            s.sendall(b"hi")
            assert s.recv(2) == b"hi"
    worker = kit.children(place.programs["bastion"].pid)[-1]
    kit.wait_until(
        lambda: len(os.listdir(f"/proc/{worker}/fd")) <= 5, "the worker gives all descriptors back"
    )


def test_thirty_at_once_are_served_while_one_of_them_stalls(place):
    """As a browser opens them: none waits for another."""
    release = threading.Event()

    def handler(connection):
        if connection.recv(4) == b"hang":
            release.wait(kit.PATIENCE)
        connection.sendall(b"answer")

    place.target.handler = handler
    port = local_port(place.tunnel("0:config.internal"))
    connections = [socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) for _ in range(30)]
    connections[0].sendall(b"hang")
    for s in connections[1:]:
        s.sendall(b"good")
    for s in connections[1:]:
        assert kit.recv_all(s) == b"answer"
    release.set()
    assert kit.recv_all(connections[0]) == b"answer"
    for s in connections:
        s.close()


@pytest.mark.full
def test_thousands_of_short_connections_are_all_served(place):
    """How many a second is printed, not judged. A user's rate is off: it would refuse most of them."""
    place.programs["bastion"].stop()
    config = place.work / "bastion.yaml"
    config.write_text(config.read_text() + "limits: {connection_rate: {connections: 0}}\n")
    place.start("bastion")
    port = local_port(place.tunnel("0:config.internal"))
    served = []

    def run():
        for i in range(625):
            with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
                s.sendall(b"hi")
                assert s.recv(2) == b"hi"
            served.append(i)

    threads = [threading.Thread(target=run) for _ in range(16)]
    start = time.monotonic()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print(f"{len(served) / (time.monotonic() - start):.0f} connections/s")
    assert len(served) == 10_000
    kit.wait_until(
        lambda: sum(r["event"] == "channel-end" for r in audit(place)) >= 10_000, "each has its end on record"
    )


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_a_security_key_signs_through_the_agent(place, token, kind):
    """A software one behind an agent of ours: libssh passes its flags and counter on, and the bastion checks
    the touch."""
    agent = token(kind)
    (place.work / "dev.pub").write_text(agent.key.line + "\n")
    bastion(place, "reload")
    (place.work / "tunnel.yaml").write_text(f"bastion: dev@127.0.0.1:{place.ssh}\nknown_hosts: known_hosts\n")
    env = {"SSH_AUTH_SOCK": str(agent.path)}
    program = place.tunnel("-v", "0:config.internal", env=env)
    with socket.create_connection(("127.0.0.1", local_port(program)), timeout=kit.PATIENCE) as s:
        s.sendall(b"touched")
        assert s.recv(7) == b"touched"
    assert re.search(r"offering agent key \S+ SHA256:\S+ \(token\)", program.stderr)
    agent.key.flags = 0  # nobody touched it
    program = place.tunnel("0:config.internal", env=env)
    assert program.wait() == 6
    assert re.search(r"agent key \S+ SHA256:\S+ \(token\)", program.stderr)


def test_connections_above_the_limit_are_refused_with_their_reason_and_the_rest_go_on(place):
    config = place.work / "bastion.yaml"
    config.write_text(config.read_text() + "limits: {channels: 8}\n")
    place.programs["bastion"].stop()
    place.start("bastion")
    program = place.tunnel("0:config.internal")
    port = local_port(program)
    held = []
    with pytest.raises(ConnectionResetError):
        for _ in range(9):
            s = socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE)
            held.append(s)
            s.sendall(b"x")
            s.recv(1)
    program.wait_line("the session has reached its limit of connections")
    held[0].sendall(b"y")
    assert held[0].recv(1) == b"y"
    for s in held:
        s.close()
    opened = sum(r["event"] == "channel-open" for r in audit(place))
    kit.wait_until(lambda: sum(r["event"] == "channel-end" for r in audit(place)) == opened, "they end")
    assert transfers(port, 4) == []


@pytest.mark.short
def test_a_bastion_that_is_full_is_heard(place):
    config = place.work / "bastion.yaml"
    config.write_text(config.read_text() + 'limits: {startups: "1:100:1", connections: 1}\n')
    place.programs["bastion"].stop()
    place.start("bastion")
    with socket.create_connection(("127.0.0.1", place.ssh)) as silent:
        assert silent.recv(4) == b"SSH-"  # it counts now, and gives way
        local_port(place.tunnel("0:config.internal"))
    program = place.tunnel("0:config.internal")
    assert program.wait() == 4
    assert (
        "it says: smplkit bastion: too many connections, try again later" in program.stderr
        and len(program.err) == 1
    )


def test_the_example_configuration_is_read(place, spawn):
    example = kit.ROOT / "tunnel" / "example" / "tunnel.yaml"
    text = example.read_text().replace("127.0.0.1:2222", f"127.0.0.1:{place.ssh}")
    (place.work / "tunnel.yaml").write_text(text)
    local_port(place.tunnel("0:config.internal"))


@pytest.mark.walls
def test_the_real_brokers_worker_is_sealed(place):
    program = place.tunnel("0:config.internal")
    local_port(program)
    worker = kit.children(place.programs["bastion"].pid)[-1]
    status = pathlib.Path(f"/proc/{worker}/status").read_text()
    assert re.search(r"^Seccomp:\s+2$", status, re.M) and re.search(r"^NoNewPrivs:\s+1$", status, re.M)
    if os.geteuid() == 0:
        assert not re.search(r"^Uid:\s+0\s", status, re.M)
        assert kit.has_empty_root(worker)
