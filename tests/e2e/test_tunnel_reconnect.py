# SPDX-License-Identifier: Apache-2.0
"""smpl-tunnel is never dead but listening: lost sessions are replaced behind the same local ports."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
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
    echo,
    sshd,
)  # noqa: F401 (sshd is a fixture)

OTHER = "127.43.1.3"


@pytest.fixture
def tunnel(spawn, sshd):
    """tunnel(target port) -> (program, local port), once it is ready."""

    def start(port, *more, bastion=None, argv=(), env=EMPTY_ENV):
        arguments = (bastion or sshd).arguments()
        program = spawn(*argv, kit.binary("smpl-tunnel"), *arguments, *more, f"0:{TARGET}:{port}", env=env)
        line = program.wait_line(r"^http://|ready", stream="out")
        return program, int(re.search(r"localhost:(\d+)", line)[1])

    return start


def answers(port, patience=kit.PATIENCE):
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as s:
        s.sendall(b"there?")
        return s.recv(6) == b"there?"


def kill(pids, number=signal.SIGKILL):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


@pytest.mark.short
def test_a_session_that_is_cut_is_replaced_behind_the_same_port(tunnel, sshd):
    program, port = tunnel(Server(echo).port)
    with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as cut:
        cut.sendall(b"x")
        assert cut.recv(1) == b"x"
        kill(sshd.sessions())
        with pytest.raises(ConnectionResetError):  # cut in the middle: it must not look like an end
            cut.recv(1)
    assert answers(port)
    program.wait_line("connected again")
    assert "the connection to the bastion broke" in program.stderr and "local ports stay" in program.stderr


def test_local_connections_are_held_while_the_bastion_is_away(tunnel, sshd):
    program, port = tunnel(Server(echo).port)
    sshd.close()
    program.wait_line("connecting again")
    held = [socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) for _ in range(20)]
    for s in held:
        s.sendall(b"wait")
    time.sleep(1.5)
    sshd.start()
    for s in held:
        assert s.recv(4) == b"wait"
        s.close()
    assert program.running()


def test_no_more_than_the_limit_are_held(tunnel, sshd, work):
    (work / "run").mkdir(mode=0o700)
    env = dict(EMPTY_ENV, XDG_RUNTIME_DIR=str(work / "run"))
    program, port = tunnel(Server(echo).port, env=env)
    sshd.close()
    program.wait_line("connecting again")
    held = []
    for _ in range(256):  # TUNNEL_HELD_MAX
        held.append(socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE))
    held[-1].setblocking(False)
    time.sleep(0.3)
    with pytest.raises(BlockingIOError):
        held[-1].recv(1)
    with pytest.raises(ConnectionResetError):
        with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as above:
            above.recv(1)
    program.wait_line("no more local connections are held")
    for s in held[:10]:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.close()  # they give up: room again

    def count():
        status = kit.run(kit.binary("smpl-tunnel"), "status", "--json", env={**os.environ, **env}).stdout
        return json.loads(status)["held"]

    with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as late:
        kit.wait_until(lambda: count() == 247, "it is held, and those that gave up are not")
        late.sendall(b"late")
        sshd.start()
        assert late.recv(4) == b"late"
    for s in held:
        s.close()


def test_a_path_that_goes_dead_is_noticed_in_time_and_replaced(tunnel, sshd):
    program, port = tunnel(Server(echo).port)
    stopped = sshd.sessions()
    kill(stopped, signal.SIGSTOP)
    try:
        program.wait_line("no sign of life")  # when: tests/unit/tunnel/test_alive.c
        assert answers(port)
    finally:
        kill(stopped, signal.SIGCONT)


def test_after_sleep_a_dead_path_is_noticed_at_once(tunnel, sshd):
    program, port = tunnel(Server(echo).port)
    awake, _ = tunnel(Server(echo).port)
    stopped = sshd.sessions()
    kill(stopped, signal.SIGSTOP)
    program.signal(signal.SIGSTOP)
    time.sleep(1)
    try:
        program.signal(signal.SIGCONT)
        program.wait_line("no sign of life")
        assert "no sign of life" not in awake.stderr, "it waited for as long as one that did not sleep"
        assert answers(port)
    finally:
        kill(stopped, signal.SIGCONT)


def test_after_sleep_a_session_that_was_cut_meanwhile_is_replaced_at_once(tunnel, sshd):
    program, port = tunnel(Server(echo).port)
    program.signal(signal.SIGSTOP)
    kill(sshd.sessions())
    time.sleep(1)
    program.signal(signal.SIGCONT)
    assert answers(port)
    program.wait_line("connected again")


def test_a_bastion_that_was_restarted_is_found_again(tunnel, sshd):
    program, port = tunnel(Server(echo).port)
    for sessions in (1, 2):
        sshd.close()
        sshd.start()
        assert answers(port)
        # The next restart is another one only if this one was noticed.
        kit.wait_until(lambda: program.stderr.count("connected again") == sessions, "a new session")


def test_a_target_that_was_restarted_is_reached_again(tunnel):
    server = Server(echo)
    program, port = tunnel(server.port)
    server.listener.shutdown(socket.SHUT_RDWR)
    server.listener.close()
    with pytest.raises(ConnectionResetError):
        answers(port)
    program.wait_line(f"{TARGET}:{server.port}: Connection refused")
    server.listener = socket.create_server((TARGET, server.port))
    threading.Thread(target=server.serve, daemon=True).start()
    assert answers(port)
    assert "connecting again" not in program.stderr


def two_addresses(work):
    """Servers on two addresses and one port, with the same host key and user key."""
    first = Sshd(work)
    config = (first.folder / "config").read_text()
    (first.folder / "config2").write_text(config.replace(f"{ADDRESS}:", f"{OTHER}:").replace("/pid", "/pid2"))
    second = subprocess.Popen(
        [kit.tool("sshd"), "-D", "-e", "-f", first.folder / "config2"], stderr=subprocess.DEVNULL
    )
    kit.wait_until(lambda: kit.port_open(OTHER, first.port), "the second sshd listens")
    first.known_hosts.write_text(f"* {first.host_line}\n")
    return first, second


def test_an_address_that_ssh_config_changes_is_followed(work, spawn):
    first, second = two_addresses(work)
    try:
        config = work / "ssh_config"
        config.write_text(
            f"Host here\n HostName {ADDRESS}\n Port {first.port}\n IdentityFile {first.identity}\n"
        )
        user = first.arguments()[1].split("@")[0]
        program = spawn(
            kit.binary("smpl-tunnel"),
            "-v",
            "-F",
            config,
            "--bastion",
            f"{user}@here",
            "--known-hosts",
            first.known_hosts,
            f"0:{TARGET}:{Server(echo).port}",
            env=EMPTY_ENV,
        )
        port = int(re.search(r"localhost:(\d+)", program.wait_line("^http://", stream="out"))[1])
        program.wait_line(f"connected to {ADDRESS} port {first.port}")
        config.write_text(config.read_text().replace(ADDRESS, OTHER))
        first.close()
        assert answers(port)
        program.wait_line(f"connected to {OTHER} port {first.port}")
    finally:
        first.close()
        second.kill()
        second.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to have an /etc/hosts of its own")
def test_an_address_that_changes_in_the_name_service_is_followed(work, spawn):
    first, second = two_addresses(work)
    try:
        hosts = work / "hosts"
        hosts.write_text(f"{ADDRESS} moving.test\n")
        user = first.arguments()[1].split("@")[0]
        program = spawn(
            "unshare",
            "-m",
            "sh",
            "-c",
            f'mount --bind {hosts} /etc/hosts && exec "$@"',
            "sh",
            kit.binary("smpl-tunnel"),
            "-v",
            "--bastion",
            f"{user}@moving.test:{first.port}",
            "-i",
            first.identity,
            "--known-hosts",
            first.known_hosts,
            f"0:{TARGET}:{Server(echo).port}",
            env=EMPTY_ENV,
        )
        port = int(re.search(r"localhost:(\d+)", program.wait_line("^http://", stream="out"))[1])
        hosts.write_text(f"{OTHER} moving.test\n")
        first.close()
        assert answers(port)
        assert program.wait_line("connected again")
    finally:
        first.close()
        second.kill()
        second.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to have an /etc/hosts of its own")
@pytest.mark.parametrize("speaks", [b"", b"closes"])
def test_of_two_bastions_behind_one_name_the_one_that_hangs_or_hangs_up_is_passed_over(
    sshd, work, spawn, speaks
):
    """The kernel of a frozen one still takes connections; one that is full, or just ending, closes them
    without a word."""
    hosts = work / "hosts"
    hosts.write_text(f"{OTHER} two.test\n{ADDRESS} two.test\n")
    sshd.known_hosts.write_text(f"* {sshd.host_line}\n")
    user, held = sshd.arguments()[1].split("@")[0], []
    with socket.create_server((OTHER, sshd.port)) as dead:

        def take():
            while True:
                try:
                    held.append(dead.accept()[0])
                except OSError:
                    return
                if speaks:
                    held[-1].close()

        threading.Thread(target=take, daemon=True).start()
        program = spawn(
            "unshare",
            "-m",
            "sh",
            "-c",
            f'mount --bind {hosts} /etc/hosts && exec "$@"',
            "sh",
            kit.binary("smpl-tunnel"),
            "-v",
            "--bastion",
            f"{user}@two.test:{sshd.port}",
            "-i",
            sshd.identity,
            "--known-hosts",
            sshd.known_hosts,
            f"0:{TARGET}:{Server(echo).port}",
            env=EMPTY_ENV,
        )
        port = int(re.search(r"localhost:(\d+)", program.wait_line("^http://", stream="out"))[1])
        assert answers(port) and held
        dead.shutdown(socket.SHUT_RDWR)


class Staller:
    """A way to a server that carries so many bytes toward it and then goes silent, for the first who comes.
    The others are carried."""

    def __init__(self, address, port, to, most=None):
        self.listener = socket.create_server((address, port))
        self.to, self.most, self.carried, self.stalled = to, most, 0, threading.Event()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        first = True
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            server = socket.create_connection(self.to)
            for ends in ((client, server, first), (server, client, False)):
                threading.Thread(target=self.carry, args=ends, daemon=True).start()
            first = False

    def carry(self, source, sink, counted):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if counted and self.most is not None and self.carried + len(data) > self.most:
                    self.stalled.set()
                    return
                self.carried += len(data) if counted else 0
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


def test_a_bastion_that_falls_silent_while_the_tunnel_is_made_is_replaced_before_it_is_ready(
    sshd, work, spawn
):
    """Signed in, and no answer to the first question: whoever has just opened it waits seconds, and does not
    open it again."""
    sshd.known_hosts.write_text(f"* {sshd.host_line}\n")
    user, target = sshd.arguments()[1].split("@")[0], Server(echo)

    def opened(way):
        program = spawn(
            kit.binary("smpl-tunnel"),
            "-v",
            "--bastion",
            f"{user}@{OTHER}:{way.listener.getsockname()[1]}",
            "-i",
            sshd.identity,
            "--known-hosts",
            sshd.known_hosts,
            f"0:{TARGET}:{target.port}",
            env=EMPTY_ENV,
        )
        return program, int(re.search(r"localhost:(\d+)", program.wait_line("^http://", stream="out"))[1])

    whole = Staller(OTHER, 0, (ADDRESS, sshd.port))
    opened(whole)
    most, silent = whole.carried, 0
    while silent < 2:  # somewhere in what comes behind the login; how much that is differs from time to time
        most -= 60
        way = Staller(OTHER, 0, (ADDRESS, sshd.port), most)
        program, port = opened(way)
        assert answers(port)
        silent += way.stalled.is_set()
        program.stop()
        assert most > whole.carried // 2, "no session fell silent"


# ---- giving up ----


def test_another_host_key_after_a_restart_is_refused_for_good(tunnel, sshd, work):
    program, port = tunnel(Server(echo).port)
    sshd.close()
    other, _ = kit.keygen(work / "other")
    sshd.host_key.write_text(other.read_text())
    sshd.start()
    assert program.wait() == 5
    assert "CHANGED" in program.stderr


def test_a_key_that_is_taken_away_is_refused_for_good(tunnel, sshd):
    program, port = tunnel(Server(echo).port)
    (sshd.folder / "authorized").write_text("")
    kill(sshd.sessions())
    assert program.wait() == 6
    assert str(sshd.identity) in program.stderr


@pytest.mark.short
def test_ctrl_c_ends_at_once_while_it_waits_for_the_bastion(tunnel, sshd):
    program, port = tunnel(Server(echo).port)
    sshd.close()
    program.wait_line("Connection refused")
    program.signal(signal.SIGINT)
    assert program.wait() == 0
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_before_it_was_ever_ready_it_does_not_try_again(sshd, spawn):
    closed = kit.free_port(ADDRESS)
    done = kit.run(
        kit.binary("smpl-tunnel"),
        *sshd.arguments(),
        "--bastion",
        f"u@{ADDRESS}:{closed}",
        f"0:{TARGET}:80",
        env={**os.environ, **EMPTY_ENV},
    )
    assert done.returncode == 4 and done.stderr.count("\n") == 1


def test_a_key_with_a_passphrase_is_asked_for_once(sshd):
    assert kit.run("ssh-keygen", "-q", "-p", "-N", "secret words", "-f", sshd.identity).returncode == 0
    terminal = Terminal(*sshd.arguments(), f"0:{TARGET}:{Server(echo).port}")
    terminal.until(b"Passphrase for")
    terminal.type(b"secret words\n")
    terminal.until(b"http://localhost:")
    kill(sshd.sessions())
    terminal.until(b"connected again")
    terminal.type(b"\x03")
    assert terminal.end() == 0
    assert terminal.seen.count(b"Passphrase") == 1


def test_json_tells_each_change(tunnel, sshd):
    program, port = tunnel(Server(echo).port, "--json")
    kill(sshd.sessions())
    kit.wait_until(lambda: any('"restored"' in line for line in program.out), "restored")
    events = [json.loads(line)["event"] for line in program.out]
    assert events[0] == "ready" and events.index("lost") < events.index("waiting") < events.index("restored")


def test_a_tunnel_that_waits_can_be_stopped_at_once(tunnel, sshd):
    program, port = tunnel(Server(echo).port)
    sshd.close()
    program.wait_line("Connection refused")
    done = kit.run(kit.binary("smpl-tunnel"), "stop", program.pid, env={**os.environ, **EMPTY_ENV})
    assert done.returncode == 0 and program.wait() == 0


def test_sessions_that_are_lost_at_once_are_not_sought_without_end(tunnel, sshd):
    program, port = tunnel(Server(echo).port)
    end = time.monotonic() + 6
    while time.monotonic() < end:
        kill(sshd.sessions())
        time.sleep(0.05)
    assert program.running() and program.stderr.count("ports stay") <= 8


def test_a_bastion_that_stays_away_is_not_hammered(tunnel, sshd):
    """Each try is a connection; the server that accepts and closes counts them."""
    program, port = tunnel(Server(echo).port)
    sshd.close()
    tries = []
    with socket.create_server((ADDRESS, sshd.port)) as deaf:
        deaf.settimeout(0.2)
        end = time.monotonic() + 6
        while time.monotonic() < end or len(tries) < 2:
            try:
                deaf.accept()[0].close()
                tries.append(time.monotonic())
            except TimeoutError:
                pass
    assert 2 <= len(tries) <= 8
    assert program.running()
    said = [line for line in program.err if "without a word" in line]
    assert len(said) <= 2, "the same words are said once"
