# SPDX-License-Identifier: Apache-2.0
"""smpl-tunnel against Debian's sshd: what it promises without a bastion of ours at the other end."""

import hashlib
import json
import os
import pathlib
import re
import signal
import socket
import threading
import time

import kit
import pytest

from tunnel_kit import (
    ADDRESS,
    EMPTY_ENV,
    TARGET,
    Server,
    Sshd,
    Terminal,
    digest_then_answer,
    echo,
    rss_kb,
    sshd,
    transfers,
)  # noqa: F401 (sshd is a fixture)


@pytest.fixture
def tunnel(spawn, sshd):
    """tunnel(target port) -> (program, local port), once it is ready."""

    def start(port, *more):
        program = spawn(
            kit.binary("smpl-tunnel"), *sshd.arguments(), *more, f"0:{TARGET}:{port}", env=EMPTY_ENV
        )
        line = program.wait_line(r"^http://", stream="out")
        return program, int(re.search(r"localhost:(\d+)", line)[1])

    return start


def tunnel_end(*arguments, env=None):
    return kit.run(kit.binary("smpl-tunnel"), *arguments, env={**os.environ, **EMPTY_ENV, **(env or {})})


@pytest.mark.short
def test_carries_a_connection_on_both_families_of_localhost(tunnel):
    server = Server(echo)
    _, port = tunnel(server.port)
    for address in ("127.0.0.1", "::1"):
        with socket.create_connection((address, port), timeout=kit.PATIENCE) as s:
            s.sendall(b"hello")
            assert s.recv(5) == b"hello"


@pytest.mark.short
def test_half_close_arrives_and_the_answer_comes_back(tunnel):
    server = Server(digest_then_answer)
    _, port = tunnel(server.port)
    body = os.urandom(3_000_001)
    with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
        s.sendall(body)
        s.shutdown(socket.SHUT_WR)
        assert kit.recv_all(s).decode() == f"{len(body)} {hashlib.sha256(body).hexdigest()}"


def test_the_servers_half_close_arrives_while_the_client_still_sends(tunnel):
    got = []

    def end_first(connection):
        connection.shutdown(socket.SHUT_WR)
        got.append(kit.recv_all(connection))

    server = Server(end_first)
    _, port = tunnel(server.port)
    with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
        assert s.recv(1) == b""
        s.sendall(b"late")
        time.sleep(0.1)
        s.sendall(b" words")
    kit.wait_until(lambda: got[-1:] == [b"late words"], "what was sent after the server's end")


def test_64_parallel_transfers_both_ways_keep_their_bytes(tunnel):
    _, port = tunnel(Server(echo).port)
    assert transfers(port, 64) == []


def test_readers_that_stall_cost_bounded_memory_and_hold_up_nobody(tunnel):
    sent = [0]

    def flood(connection):
        block = bytes(262144)
        while True:
            sent[0] += connection.send(block)

    stalled = []
    program, port = tunnel(Server(flood).port)
    for _ in range(8):
        s = socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.append(s)
    kit.wait_still(lambda: sent[0], "nothing more is taken from the servers")
    with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
        got = 0
        while got < 20_000_000:
            got += len(s.recv(1 << 20))
    kit.wait_still(lambda: sent[0], "nothing more is taken from the servers")
    if not kit.SANITIZED:
        assert rss_kb(program.pid) < 20_000 + 8 * 4608, "grows although nobody reads"
    for s in stalled:
        s.close()


def test_senders_whose_target_stalls_cost_bounded_memory(tunnel):
    release = threading.Event()
    digests = []

    def stall(connection):
        release.wait(kit.PATIENCE)
        state = hashlib.sha256()
        while data := connection.recv(1 << 20):
            state.update(data)
        digests.append(state.hexdigest())

    server = Server(stall)
    program, port = tunnel(server.port)
    sent = hashlib.sha256()
    with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
        block = os.urandom(1 << 20)
        s.settimeout(1)
        with pytest.raises(TimeoutError):
            while True:
                sent.update(block[: s.send(block)])
        if not kit.SANITIZED:
            assert rss_kb(program.pid) < 25_000
        release.set()
        s.shutdown(socket.SHUT_WR)
        kit.wait_until(lambda: sent.hexdigest() in digests, "the rest arrives, and nothing else")


def test_a_target_that_resets_ends_its_connection_and_no_other(tunnel):
    def rude(connection):
        if connection.recv(1) == b"x":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        else:
            echo(connection)

    server = Server(rude)
    _, port = tunnel(server.port)
    with socket.create_connection(
        ("127.0.0.1", port), timeout=kit.PATIENCE
    ) as polite, socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
        polite.sendall(b"y")
        s.sendall(b"x" + bytes(1000))
        assert kit.recv_all(s) == b""
        polite.sendall(b"still here")
        assert polite.recv(10) == b"still here"


def test_a_thousand_short_connections_leave_nothing_behind(tunnel):
    server = Server(echo)
    program, port = tunnel(server.port)
    before = len(os.listdir(f"/proc/{program.pid}/fd"))
    for _ in range(1000 if not kit.SANITIZED else 100):
        with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
            s.sendall(b"hi")
            assert s.recv(2) == b"hi"
    kit.wait_until(lambda: len(os.listdir(f"/proc/{program.pid}/fd")) == before, "descriptors are given back")


def test_too_few_descriptors_let_connections_wait_and_not_the_processor_run(sshd, spawn):
    server = Server(echo)
    program = spawn(
        kit.tool("prlimit"),
        "--nofile=40:40",
        kit.binary("smpl-tunnel"),
        *sshd.arguments(),
        f"0:{TARGET}:{server.port}",
        env=EMPTY_ENV,
    )
    port = int(re.search(r"localhost:(\d+)", program.wait_line("^http://", stream="out"))[1])
    held = [socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) for _ in range(50)]
    held[0].sendall(b"first")
    assert held[0].recv(5) == b"first"

    def ticks():
        return sum(
            int(x)
            for x in pathlib.Path(f"/proc/{program.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
        )

    before = ticks()
    time.sleep(1)
    assert ticks() - before < 30
    for s in held[:30]:
        s.close()
    held[-1].sendall(b"last")
    assert held[-1].recv(4) == b"last"
    for s in held[30:]:
        s.close()


@pytest.mark.short
def test_ctrl_c_ends_at_once_with_status_0_and_frees_the_port(tunnel):
    server = Server(echo)
    program, port = tunnel(server.port)
    with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
        s.sendall(b"busy")
        s.recv(4)
        program.signal(signal.SIGINT)
        assert program.wait() == 0  # though the connection stays open
        assert kit.recv_all(s) == b""
    with socket.create_server(("127.0.0.1", port)):
        pass
    assert program.stderr == ""


def test_ctrl_c_ends_at_once_while_the_bastion_does_not_answer(spawn, work, sshd):
    with socket.create_server((ADDRESS, 0)) as deaf:
        program = spawn(
            kit.binary("smpl-tunnel"),
            "-v",
            *sshd.arguments(),
            "--bastion",
            f"x@{ADDRESS}:{deaf.getsockname()[1]}",
            f"0:{TARGET}:1",
            env=EMPTY_ENV,
        )
        program.wait_line("connected to")
        program.signal(signal.SIGINT)
        assert program.wait() == 0


def test_ctrl_c_ends_at_once_while_the_bastion_has_stalled_in_mid_transfer(tunnel, sshd):
    program, port = tunnel(Server(digest_then_answer).port)
    with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
        s.sendall(b"x")
        stopped = sshd.sessions()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            s.settimeout(0.5)
            with pytest.raises(TimeoutError):
                while True:
                    s.send(bytes(1 << 20))
            program.signal(signal.SIGINT)
            assert program.wait() == 0
            assert "no sign of life" not in program.stderr  # which would have ended the wait for the bastion
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)


def test_an_idle_tunnel_to_a_living_server_stays(tunnel):
    server = Server(echo)
    program, port = tunnel(server.port)
    time.sleep(17)
    assert program.running()
    with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
        s.sendall(b"there?")
        assert s.recv(6) == b"there?"


# ---- exit statuses and their messages ----


@pytest.mark.short
@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "what to forward is missing"),
        (["8080"], "'8080' is not a forward: its target is missing, as in 8080:config.internal"),
        (["config.internal"], "its local port is missing, as in 8080:config.internal"),
        (["config"], "neither a forward"),
        (["8080:x", "dev@h:2222"], "--bastion dev@h:2222"),
        (["8080:http://x"], "a name, not a URL"),
        (["8080:x", "8080:y"], "another forward has port 8080"),
        (["8080:x", "[::1]:8080:y"], "another forward has port 8080"),
        (["-p", "22", "8080:x"], "--bastion HOST:PORT"),
        (["-L", "8080:x:80", "h"], "no option before it"),
        (["-i"], "option -i needs a value"),
        (["--bastion"], "option --bastion needs a value"),
        (["--json=yes", "8080:x"], "option --json takes no value"),
        (["8080:config.internal"], "no bastion is known"),
        (["0.0.0.0:8080:config.internal"], "not a loopback address"),
        (["--bastion", "h:0", "8080:x"], "not a port"),
        (["-D", "x"], "'x' is not a port"),
        (["-W", "x"], "--stdio TARGET"),
        (["up"], "which set"),
        (["why"], "one target"),
        (["ls", "x"], "no words behind it"),
        (["ls", "--", "true"], "forwards nothing"),
        (["8080:x", "--"], "the command to run is missing"),
        (["up", "x"], "there is no"),
        (["--open=docs", "8080:x"], "a path begins with '/'"),
        (["--stdio", "x", "8080:x"], "'8080:x' is too much"),
        (["/tmp/x"], "neither a forward"),
        (["--nonsense"], "option --nonsense is unknown"),
        (["-z"], "option -z is unknown"),
    ],
)
def test_status_2_usage(arguments, words):
    done = tunnel_end(*arguments)
    assert done.returncode == 2
    assert words in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.short
def test_the_source_of_a_bad_setting_is_named():
    done = tunnel_end("8080:x", env={"SMPL_BASTION": "a:b"})
    assert done.returncode == 2 and "$SMPL_BASTION: bastion 'a:b': 'b' is not a port" in done.stderr
    done = tunnel_end("8080:x", env={"SMPL_TUNNEL_CONFIG": "/nonexistent/tunnel.yaml"})
    assert done.returncode == 1
    assert "$SMPL_TUNNEL_CONFIG names /nonexistent/tunnel.yaml: No such file" in done.stderr
    done = tunnel_end("8080:x")
    assert (
        done.returncode == 2 and "/nonexistent/smplkit/tunnel.yaml" in done.stderr
    )  # where it was looked for


@pytest.mark.short
def test_json_tells_of_a_bad_command_line_too():
    done = tunnel_end("--json", "8080")
    event = json.loads(done.stdout)
    assert done.returncode == 2 and event["event"] == "end" and event["code"] == 2 and "8080" in event["text"]


@pytest.mark.short
@pytest.mark.parametrize(
    "option, words",
    [
        ("-h", "Usage: smpl-tunnel"),
        ("--help", "Exit status"),
        ("-V", "smpl-tunnel "),
        ("--version", "smpl-tunnel "),
    ],
)
def test_help_and_version(option, words):
    done = tunnel_end(option)
    assert done.returncode == 0 and words in done.stdout and done.stderr == ""


def test_status_2_when_a_plain_server_cannot_be_asked_for_the_port(sshd):
    done = tunnel_end(*sshd.arguments(), "0:config.internal")
    assert done.returncode == 2
    assert "no smplkit bastion" in done.stderr and ":PORT" in done.stderr


@pytest.mark.short
def test_status_3_names_who_holds_the_port(sshd):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        done = tunnel_end(*sshd.arguments(), f"{port}:{TARGET}:80")
    assert done.returncode == 3
    assert f"127.0.0.1:{port}: address in use" in done.stderr and f"(pid {os.getpid()})" in done.stderr


def test_status_4_bastion_not_there(sshd):
    closed = kit.free_port(ADDRESS)
    done = tunnel_end(*sshd.arguments(), "--bastion", f"u@{ADDRESS}:{closed}", f"0:{TARGET}:80")
    assert done.returncode == 4
    assert "Connection refused" in done.stderr and ADDRESS in done.stderr


def test_status_4_not_an_ssh_server(sshd):
    server = Server(lambda c: c.sendall(b"HTTP/1.0 400 no\r\n\r\n"))
    done = tunnel_end(*sshd.arguments(), "--bastion", f"u@{TARGET}:{server.port}", f"0:{TARGET}:80")
    assert done.returncode == 4
    assert "it says: HTTP/1.0 400 no" in done.stderr


@pytest.mark.parametrize(
    "said, words",
    [
        (
            b"smplkit bastion: too many connections, try again later\r\n",
            "it says: smplkit bastion: too many connections, try again later\n",
        ),
        (b"one\r\ntwo\n", "it says: one / two\n"),
        (b"a\x1b[2J\xe2\x80\xae\r\n", "it says: a\\x1b[2J\\xe2\\x80\\xae\n"),
        (b"x" * 100 + b"\r\n" + b"y\r\n" * 2000, "x / y / y"),  # bounded
        (b"", "closes the connection without a word\n"),
    ],
)
def test_status_4_what_a_server_says_that_turns_everybody_away_is_shown(sshd, said, words):
    def turn_away(connection):
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        kit.recv_all(connection)

    server = Server(turn_away)
    done = tunnel_end(*sshd.arguments(), "--bastion", f"u@{TARGET}:{server.port}", f"0:{TARGET}:80")
    assert done.returncode == 4
    assert words in done.stderr and len(done.stderr) < 500 and done.stderr.count("\n") == 1


def test_a_server_may_speak_before_its_version(sshd, spawn):
    """RFC 4253, section 4.2: such lines are passed over when a version follows."""

    def relay(connection):
        connection.sendall(b"welcome\r\nto this server\r\n")
        with socket.create_connection((ADDRESS, sshd.port)) as far:
            threading.Thread(target=copy, args=(connection, far), daemon=True).start()
            copy(far, connection)

    def copy(source, sink):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)

    server, target = Server(relay), Server(echo)
    sshd.known_hosts.write_text(f"[{TARGET}]:{server.port} {sshd.host_line}\n")
    program = spawn(
        kit.binary("smpl-tunnel"),
        *sshd.arguments(),
        "--bastion",
        f"{sshd.arguments()[1].split('@')[0]}@{TARGET}:{server.port}",
        f"0:{TARGET}:{target.port}",
        env=EMPTY_ENV,
    )
    program.wait_line(r"^http://", stream="out")
    assert "welcome" not in program.stderr


def test_status_5_unknown_host_shows_the_fingerprint(sshd, work):
    done = tunnel_end(*sshd.arguments(), "--known-hosts", work / "none", f"0:{TARGET}:80")
    print_ = kit.run("ssh-keygen", "-lf", f"{sshd.host_key}.pub").stdout.split()[1]
    assert done.returncode == 5
    assert print_ in done.stderr and not (work / "none").exists()


def test_status_5_changed_key_shows_both_fingerprints(sshd, work):
    _, other = kit.keygen(work / "other")
    known = work / "known"
    known.write_text(f"# comment\n[{ADDRESS}]:{sshd.port} {other.read_text()}")
    done = tunnel_end(*sshd.arguments(), "--known-hosts", known, f"0:{TARGET}:80")
    assert done.returncode == 5
    for key in (f"{sshd.host_key}.pub", other):
        assert kit.run("ssh-keygen", "-lf", key).stdout.split()[1] in done.stderr
    assert f"{known}, line 2" in done.stderr


def test_status_5_revoked_key(sshd, work):
    known = work / "known"
    known.write_text(sshd.known_hosts.read_text() + f"@revoked * {sshd.host_line}\n")
    done = tunnel_end(*sshd.arguments(), "--known-hosts", known, f"0:{TARGET}:80")
    assert done.returncode == 5 and "@revoked" in done.stderr


@pytest.mark.parametrize("line", ["@revoked *,!elsewhere KEY", "@revoked * KEY " + "x" * 20000])
def test_status_5_a_revoked_key_whose_line_is_unusual(sshd, work, line):
    known = work / "known"
    known.write_text(sshd.known_hosts.read_text() + line.replace("KEY", sshd.host_line) + "\n")
    done = tunnel_end(*sshd.arguments(), "--known-hosts", known, f"0:{TARGET}:80")
    assert done.returncode == 5 and "@revoked" in done.stderr


def test_hashed_known_hosts_are_read(sshd, tunnel):
    assert kit.run("ssh-keygen", "-H", "-f", sshd.known_hosts).returncode == 0
    assert "|1|" in sshd.known_hosts.read_text()
    tunnel(Server(echo).port)


def test_a_terminal_is_asked_about_an_unknown_host_and_the_answer_is_kept(sshd, work):
    known = work / "folder" / "known"
    server = Server(echo)
    terminal = Terminal(*sshd.arguments(), "--known-hosts", known, f"0:{TARGET}:{server.port}")
    terminal.until(b"fingerprint)?")
    terminal.type(b"yes\n")
    terminal.until(b"http://localhost")
    terminal.type(b"\x03")
    assert terminal.end() == 0
    assert sshd.host_line in known.read_text()


def test_status_5_a_key_that_is_not_confirmed(sshd, work):
    known = work / "known"
    terminal = Terminal(*sshd.arguments(), "--known-hosts", known, f"0:{TARGET}:80")
    terminal.until(b"fingerprint)?")
    terminal.type(b"SHA256:another\n")
    terminal.until(b"was not confirmed")
    assert terminal.end() == 5
    assert not known.exists()


def test_a_terminal_is_asked_for_a_passphrase_that_does_not_show(sshd):
    assert kit.run("ssh-keygen", "-q", "-p", "-N", "secret words", "-f", sshd.identity).returncode == 0
    terminal = Terminal(*sshd.arguments(), f"0:{TARGET}:{Server(echo).port}")
    terminal.until(b"Passphrase for")
    terminal.type(b"wrong\n")
    terminal.until(b"not the passphrase")
    terminal.until(b"Passphrase for")  # what is typed before it is thrown away
    terminal.type(b"secret words\n")
    terminal.until(b"http://localhost")
    terminal.type(b"\x03")
    assert terminal.end() == 0
    assert b"secret" not in terminal.seen and b"wrong" not in terminal.seen


def test_ctrl_c_at_a_prompt_ends_at_once(sshd):
    assert kit.run("ssh-keygen", "-q", "-p", "-N", "secret words", "-f", sshd.identity).returncode == 0
    terminal = Terminal(*sshd.arguments(), f"0:{TARGET}:80")
    terminal.until(b"Passphrase for")
    terminal.type(b"\x03")
    assert terminal.end() == 0


def test_without_a_terminal_a_locked_key_says_what_to_do(sshd):
    assert kit.run("ssh-keygen", "-q", "-p", "-N", "secret words", "-f", sshd.identity).returncode == 0
    done = kit.run(
        kit.binary("smpl-tunnel"),
        *sshd.arguments(),
        f"0:{TARGET}:80",
        env={**os.environ, **EMPTY_ENV},
        start_new_session=True,
    )
    assert done.returncode == 6 and "ssh-add" in done.stderr


def test_status_6_wrong_key(sshd, work):
    other, _ = kit.keygen(work / "other")
    done = tunnel_end(*sshd.arguments()[:2], "-i", other, "--known-hosts", sshd.known_hosts, f"0:{TARGET}:80")
    assert done.returncode == 6
    assert str(other) in done.stderr


def test_status_6_a_public_key_is_told_from_the_private_one(sshd):
    done = tunnel_end(
        *sshd.arguments()[:2],
        "-i",
        f"{sshd.identity}.pub",
        "--known-hosts",
        sshd.known_hosts,
        f"0:{TARGET}:80",
    )
    assert done.returncode == 6 and "chmod" not in done.stderr
    assert f"{sshd.identity}.pub is a public key; give the private one, {sshd.identity}\n" in done.stderr


def test_status_6_no_key_at_all_says_where_it_looked(sshd, work):
    done = tunnel_end(
        *sshd.arguments()[:2], "--known-hosts", sshd.known_hosts, f"0:{TARGET}:80", env={"HOME": str(work)}
    )
    assert done.returncode == 6
    assert f"{work}/.ssh/id_ed25519" in done.stderr and "ssh-keygen" in done.stderr


def test_status_6_key_file_open_to_others(sshd):
    sshd.identity.chmod(0o644)
    done = tunnel_end(*sshd.arguments(), f"0:{TARGET}:80")
    assert done.returncode == 6
    assert "open to others" in done.stderr


def test_an_agent_signs(sshd, spawn, work):
    server = Server(echo)
    agent = spawn(kit.tool("ssh-agent"), "-D", "-a", work / "agent")
    env = dict(EMPTY_ENV, SSH_AUTH_SOCK=str(work / "agent"), HOME=str(work))
    kit.wait_until((work / "agent").exists, "the agent")
    assert kit.run("ssh-add", sshd.identity, env=dict(os.environ, **env)).returncode == 0
    arguments = [a for a in sshd.arguments() if a not in ("-i", sshd.identity)]
    program = spawn(kit.binary("smpl-tunnel"), *arguments, f"0:{TARGET}:{server.port}", env=env)
    program.wait_line("^http://", stream="out")
    agent.signal(signal.SIGTERM)
    agent.wait()


def test_an_agent_that_hangs_is_passed_over(sshd, spawn, work):
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(work / "agent"))
        deaf.listen()
        env = dict(EMPTY_ENV, SSH_AUTH_SOCK=str(work / "agent"), HOME=str(work))
        arguments = [a for a in sshd.arguments() if a not in ("-i", sshd.identity)]
        done = kit.run(
            kit.binary("smpl-tunnel"), "-v", *arguments, f"0:{TARGET}:80", env=dict(os.environ, **env)
        )
    assert done.returncode == 6 and "does not answer" in done.stderr


def test_status_7_server_that_forbids_forwarding(work):
    server = Sshd(work, "AllowTcpForwarding no")
    try:
        done = tunnel_end(*server.arguments(), f"0:{TARGET}:80")
    finally:
        server.close()
    assert done.returncode == 7
    assert "does not allow it" in done.stderr


def test_status_8_target_refuses(sshd):
    closed = kit.free_port(TARGET)
    done = tunnel_end(*sshd.arguments(), f"0:{TARGET}:{closed}")
    assert done.returncode == 8
    assert f"{TARGET}:{closed}: Connection refused" in done.stderr


def test_a_target_that_goes_away_later_resets_connections_and_is_said(tunnel):
    server = Server(echo)
    program, port = tunnel(server.port)
    server.listener.shutdown(socket.SHUT_RDWR)
    server.listener.close()
    for _ in range(3):
        with pytest.raises(ConnectionResetError):
            with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
                s.recv(1)
    program.wait_line(f"{TARGET}:{server.port}: Connection refused")
    assert program.running() and len(program.err) == 1, "said once, not thrice"


# ---- configuration ----


def test_configuration_file_gives_bastion_key_and_known_hosts(sshd, spawn, work):
    user = sshd.arguments()[1].split("@")[0]
    config = work / "tunnel.yaml"
    config.write_text(
        f"bastion: {ADDRESS}:{sshd.port}\nuser: {user}\nidentity: [sshd/id]\nknown_hosts: sshd/known_hosts\n"
    )
    program = spawn(
        kit.binary("smpl-tunnel"),
        f"0:{TARGET}:{Server(echo).port}",
        env=dict(EMPTY_ENV, SMPL_TUNNEL_CONFIG=str(config)),
    )
    program.wait_line("^http://", stream="out")


@pytest.mark.parametrize(
    "text, words",
    [
        ("bastion: h\nidentty: x\n", ":2:1: unknown key 'identty'"),
        ("bastion: h:99999\n", ":1:10: bastion 'h:99999': '99999' is not a port"),
        ("bastion: [h\n", "tunnel.yaml:"),
    ],
)
def test_a_bad_configuration_file_is_named_with_its_line(work, text, words):
    config = work / "tunnel.yaml"
    config.write_text(text)
    done = tunnel_end("0:x:1", env={"SMPL_TUNNEL_CONFIG": str(config)})
    assert done.returncode == 1
    assert words in done.stderr


def test_json_prints_events_one_a_line(sshd, spawn):
    server = Server(echo)
    program = spawn(
        kit.binary("smpl-tunnel"), *sshd.arguments(), "--json", f"0:{TARGET}:{server.port}", env=EMPTY_ENV
    )
    ready = json.loads(program.wait_line("ready", stream="out"))
    assert ready["event"] == "ready" and ready["target"] == TARGET and ready["target_port"] == server.port
    assert ready["url"] == f"http://localhost:{ready['port']}"
    program.signal(signal.SIGINT)
    assert program.wait() == 0
    assert json.loads(program.out[-1]) == {"event": "end", "code": 0, "reason": "none", "text": ""}


def test_quiet_prints_nothing(sshd, spawn):
    server = Server(echo)
    port = kit.free_port("127.0.0.1", "::1")
    program = spawn(
        kit.binary("smpl-tunnel"), *sshd.arguments(), "-q", f"{port}:{TARGET}:{server.port}", env=EMPTY_ENV
    )

    def answers():
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
                s.sendall(b"q")
                return s.recv(1) == b"q"
        except OSError:
            return False

    kit.wait_until(answers, "the tunnel carries")
    assert program.stop() == 0 and program.stdout == "" and program.stderr == ""
