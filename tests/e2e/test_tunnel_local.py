# SPDX-License-Identifier: Apache-2.0
"""smpl-tunnel's local side: sockets, SOCKS, who may connect, programs it runs, status and stop."""

import json
import os
import re
import signal
import socket
import stat
import struct
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
    Terminal,
    digest_then_answer,
    echo,
    sshd,
)  # noqa: F401 (sshd is a fixture)

NOBODY = 65534


@pytest.fixture
def run(spawn, sshd, work):
    """run(arguments...) -> the program, with a folder of its own for control sockets."""
    (work / "run").mkdir(mode=0o700)
    env = dict(EMPTY_ENV, XDG_RUNTIME_DIR=str(work / "run"), XDG_CACHE_HOME=str(work / "cache"))

    def start(*arguments, **kw):
        return spawn(
            kit.binary("smpl-tunnel"), *sshd.arguments(), *arguments, env=dict(env, **kw.pop("env", {})), **kw
        )

    start.env = env
    return start


def end(run, sshd, *arguments, more=True, **kw):
    return kit.run(
        kit.binary("smpl-tunnel"),
        *(sshd.arguments() if more else ()),
        *arguments,
        env={**os.environ, **run.env},
        **kw,
    )


def port_of(program, index=0, stream="out"):
    kit.wait_until(lambda: len(program.out) > index or not program.running(), "ready")
    assert len(program.out) > index, program.stderr
    return int(re.search(r":(\d+) ->", program.out[index])[1])


def says(sock, text=b"hello"):
    with sock as s:
        s.sendall(text)
        return s.recv(len(text)) == text


def exactly(sock, count):
    data = b""
    while len(data) < count and (part := sock.recv(count - len(data))):
        data += part
    return data


def unix(path):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(kit.PATIENCE)
    s.connect(str(path))
    return s


# ---- listeners ----


@pytest.mark.short
def test_ports_of_both_families_and_a_unix_socket_at_once(run, work):
    target = f"{TARGET}:{Server(echo).port}"
    program = run(f"0:{target}", f"127.0.0.9:0:{target}", f"[::1]:0:{target}", f"{work}/x.sock:{target}")
    ports = [port_of(program, i) for i in range(3)]
    kit.wait_until(lambda: len(program.out) == 4, "four lines")
    assert program.out[3].startswith(f"{work}/x.sock -> {target} by way of")
    for where, port in (
        ("127.0.0.1", ports[0]),
        ("::1", ports[0]),
        ("127.0.0.9", ports[1]),
        ("::1", ports[2]),
    ):
        assert says(socket.create_connection((where, port), timeout=kit.PATIENCE))
    assert says(unix(work / "x.sock"))
    assert stat.S_IMODE((work / "x.sock").stat().st_mode) == 0o600
    assert program.stop() == 0
    assert not (work / "x.sock").exists()


def test_a_socket_file_that_was_left_behind_is_replaced_and_a_living_one_is_not(run, sshd, work):
    target = f"{TARGET}:{Server(echo).port}"
    program = run(f"{work}/x.sock:{target}")
    program.wait_line("x.sock ->", stream="out")
    done = end(run, sshd, f"{work}/x.sock:{target}")
    assert done.returncode == 3 and "is there already" in done.stderr
    program.kill9()
    assert (work / "x.sock").exists()
    program = run(f"{work}/x.sock:{target}")
    program.wait_line("x.sock ->", stream="out")
    assert says(unix(work / "x.sock"))
    (work / "file").write_text("mine")
    done = end(run, sshd, f"{work}/file:{target}")
    assert done.returncode == 3 and (work / "file").read_text() == "mine"


def test_other_machines_reach_a_port_only_where_that_was_said(run, sshd):
    done = end(run, sshd, f"0.0.0.0:0:{TARGET}:80")
    assert done.returncode == 2 and "not a loopback address" in done.stderr and "-g" in done.stderr
    program = run("-g", f"0.0.0.0:0:{TARGET}:{Server(echo).port}")
    assert says(socket.create_connection(("127.0.0.77", port_of(program)), timeout=kit.PATIENCE))
    assert "other machines can reach this port" in program.stderr


# ---- who may connect ----

CONNECT = """
import os, socket, sys
os.setgroups([]); os.setgid({uid}); os.setuid({uid})
family = socket.AF_UNIX if '/' in sys.argv[1] else socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
s = socket.socket(family)
s.settimeout(150)
try:
    s.connect(sys.argv[1] if family == socket.AF_UNIX else (sys.argv[1], int(sys.argv[2])))
    s.sendall(b"hello")
    print(s.recv(5).decode())
except OSError as e:
    print(type(e).__name__)
"""


def as_user(uid, address, port=0):
    done = kit.run("/usr/bin/python3", "-c", CONNECT.format(uid=uid), address, port)
    return done.stdout.strip()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be another user")
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_another_user_of_the_machine_is_not_served(run, address):
    heard = []  # the check of the target, which says nothing, may arrive at any time

    def answer(c):
        heard.append(c.recv(5))
        c.sendall(heard[-1])

    program = run(f"0:{TARGET}:{Server(answer).port}")
    port = port_of(program)
    for _ in range(3):
        assert as_user(NOBODY, address, port) == "ConnectionResetError"
    assert as_user(0, address, port) == "hello"
    assert [what for what in heard if what] == [b"hello"]
    program.wait_line(r"a local connection of nobody \(uid 65534\) is refused: the grant is to you")
    assert program.stderr.count("is refused") == 1, "not for each"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be another user")
def test_another_user_who_sends_and_goes_at_once_is_not_served(run):
    """The socket is nobody's by the time it is looked at."""
    got = []
    program = run(f"0:{TARGET}:{Server(lambda c: got.append(c.recv(5))).port}")
    port = port_of(program)
    got.clear()
    program.signal(signal.SIGSTOP)
    try:
        done = kit.run(
            "/usr/bin/python3",
            "-c",
            f"""
import os, socket
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
s = socket.create_connection(("127.0.0.1", {port}))
s.sendall(b"blind")
s.close()
""",
        )
        assert done.returncode == 0
    finally:
        program.signal(signal.SIGCONT)
    assert says(socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE), b"x") in (True, False)
    assert b"blind" not in got


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be another user")
def test_a_unix_socket_is_its_users_alone(run, work):
    program = run(f"{work}/x.sock:{TARGET}:{Server(echo).port}")
    program.wait_line("x.sock ->", stream="out")
    assert as_user(NOBODY, f"{work}/x.sock") == "PermissionError"
    (work / "x.sock").chmod(0o666)  # even then
    assert as_user(NOBODY, f"{work}/x.sock") in ("ConnectionResetError", "BrokenPipeError", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be another user")
def test_any_user_lifts_it(run, work):
    program = run(
        "--any-user", f"0:{TARGET}:{Server(echo).port}", f"{work}/x.sock:{TARGET}:{Server(echo).port}"
    )
    assert as_user(NOBODY, "127.0.0.1", port_of(program)) == "hello"
    kit.wait_until(lambda: len(program.out) == 2, "both lines")
    assert as_user(NOBODY, f"{work}/x.sock") == "hello"


# ---- SOCKS5 ----


def socks_port(program):
    line = program.wait_line("^socks5h://localhost:", stream="out")
    return int(re.search(r"localhost:(\d+)", line)[1])


def socks(port, request, greeting=b"\5\1\0"):
    """The answer's code, and the connection."""
    s = socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE)
    s.sendall(greeting)
    assert s.recv(2) == b"\5\0"
    s.sendall(request)
    answer = exactly(s, 10)
    return (answer[1] if len(answer) == 10 else None), s


def connect_request(host, port):
    if isinstance(host, bytes):
        return b"\5\1\0\3" + bytes([len(host)]) + host + struct.pack("!H", port)
    return b"\5\1\0\1" + socket.inet_aton(host) + struct.pack("!H", port)


@pytest.mark.short
def test_socks_connects_to_addresses_and_names(run):
    server = Server(echo)
    port = socks_port(run("-D", "0"))
    for host in (TARGET, TARGET.encode()):
        code, s = socks(port, connect_request(host, server.port))
        assert code == 0 and says(s)


def test_socks_answers_why_not(run):
    program = run("-v", "-D", "0")
    port = socks_port(program)
    for request, code in (
        (connect_request(TARGET, kit.free_port(TARGET)), 5),
        (connect_request(b"no.such.name.invalid", 80), 5),
        (b"\5\2\0\1\1\2\3\4\0\x50", 7),
        (b"\5\1\0\5\1\2\3\4\0\x50", 8),
        (b"\5\1\0\1\1\2\3\4\0\0", 1),
        (b"\5\1\0\3\0\0\x50", 1),
        (b"\5\1\0\3\3a\0b\0\x50", 1),
        (b"\5\1\0\3\3a@b\0\x50", 1),
    ):
        got, s = socks(port, request)
        assert got == code, request
        assert kit.recv_all(s) == b""
    assert program.running()


def test_socks_turns_away_what_is_none_and_says_why(run):
    program = run("-v", "-D", "0")
    port = socks_port(program)
    for hello, answer, words in (
        (b"\4\1\0\x50\1\2\3\4\0", b"", "SOCKS 4"),
        (b"GET / HTTP/1.1\r\n\r\n", b"", "no SOCKS 5"),
        (b"\5\1\2", b"\5\xff", "user and a password"),
        (b"\5\0", b"", "without methods"),
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
            s.sendall(hello)
            assert kit.recv_all(s) == answer
        program.wait_line(words)


def test_socks_with_its_bytes_in_pieces_or_all_at_once(run):
    server = Server(echo)
    port = socks_port(run("-D", "0"))
    whole = b"\5\1\0" + connect_request(TARGET.encode(), server.port)
    with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
        for byte in whole:
            s.sendall(bytes([byte]))
            time.sleep(0.01)
        assert exactly(s, 12) == b"\5\0" + b"\5\0\0\1" + bytes(6)
        assert says(s)
    with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
        s.sendall(whole + b"early")
        assert exactly(s, 17)[12:] == b"early"


def test_who_never_says_a_target_is_ended(run):
    port = socks_port(run("-D", "0"))
    with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
        s.sendall(b"\5")
        start = time.monotonic()
        assert kit.recv_all(s) == b""
        assert 8 < time.monotonic() - start  # SOCKS_HANDSHAKE_MS


def test_curl_goes_through_socks_with_names_looked_up_at_the_other_end(run):
    http = kit.HttpServer(TARGET, kit.free_port(TARGET), "through socks")
    port = socks_port(run("-D", "0"))
    done = kit.run(
        kit.tool("curl"),
        "-sS",
        "--noproxy",
        "",
        "-x",
        f"socks5h://127.0.0.1:{port}",
        f"http://{TARGET}:{http.server.server_address[1]}/docs",
    )
    assert done.stdout == "through socks", done.stderr
    http.close()


# ---- programs ----


@pytest.mark.short
def test_a_program_finds_the_tunnel_in_its_environment_and_its_status_is_ours(run, sshd):
    http = kit.HttpServer(TARGET, kit.free_port(TARGET), "for the program")
    target = f"{TARGET}:{http.server.server_address[1]}"
    done = end(
        run,
        sshd,
        f"0:{target}",
        f"127.0.0.9:0:{target}",
        "--",
        "sh",
        "-c",
        'curl -sS --noproxy "*" "$SMPL_TUNNEL_URL/x" && [ "$SMPL_TUNNEL_URL" = '
        '"http://$SMPL_TUNNEL_HOST:$SMPL_TUNNEL_PORT" ] '
        '&& curl -sS --noproxy "*" "$SMPL_TUNNEL_URL_2/y" && exit 42',
    )
    assert (done.returncode, done.stdout) == (42, "for the program" * 2), done.stderr
    assert sorted(http.requests) == ["/x", "/y"]
    http.close()


@pytest.mark.parametrize(
    "command, status",
    [
        (["true"], 0),
        (["false"], 1),
        (["sh", "-c", "kill -9 $$"], 137),
        (["/nonexistent"], 127),
        (["/etc/passwd"], 126),
    ],
)
def test_status_of_a_program(run, sshd, command, status):
    done = end(run, sshd, f"0:{TARGET}:{Server(echo).port}", "--", *command)
    assert done.returncode == status


def test_status_125_for_failures_of_the_tunnel(run, sshd, work):
    closed = kit.free_port(TARGET)
    for arguments in (
        [f"0:{TARGET}:{closed}"],
        ["nonsense"],
        ["--known-hosts", work / "none", f"0:{TARGET}:80"],
    ):
        done = end(run, sshd, *arguments, "--", "touch", work / "ran")
        assert done.returncode == 125 and done.stderr, arguments
    assert not (work / "ran").exists()


def test_a_program_is_told_of_the_end_and_waited_for(run):
    program = run(
        f"0:{TARGET}:{Server(echo).port}",
        "--",
        "sh",
        "-c",
        "trap 'echo told; exit 5' TERM; echo up; while :; do sleep 0.05; done",
    )
    program.wait_line("^up$", stream="out")
    program.signal(signal.SIGTERM)
    assert program.wait() == 5
    assert program.out[-1] == "told"


def test_a_program_is_ended_with_a_tunnel_that_is_refused_for_good(run, sshd):
    program = run(f"0:{TARGET}:{Server(echo).port}", "--", "sh", "-c", "echo up; exec sleep 600")
    program.wait_line("^up$", stream="out")
    (sshd.folder / "authorized").write_text("")
    for pid in sshd.sessions():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    assert program.wait() == 125


@pytest.mark.short
def test_stdio_connects_standard_input_and_output(run, sshd):
    body = os.urandom(300_001)
    server = Server(digest_then_answer)
    done = subprocess.run(
        [kit.binary("smpl-tunnel"), *map(str, sshd.arguments()), "--stdio", f"{TARGET}:{server.port}"],
        input=body,
        capture_output=True,
        timeout=kit.PATIENCE,
        env={**os.environ, **run.env},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == str(len(body)).encode() and done.stderr == b""


def test_stdio_serves_as_the_proxy_command_of_ssh(run, sshd, work):
    """Through the tunnel to the very same sshd."""
    command = " ".join(map(str, [kit.binary("smpl-tunnel"), *sshd.arguments(), "--stdio", "%h:%p"]))
    done = kit.run(
        kit.tool("ssh"),
        "-F",
        "none",
        "-i",
        sshd.identity,
        "-o",
        f"ProxyCommand={command}",
        "-o",
        "BatchMode=yes",
        "-o",
        f"UserKnownHostsFile={sshd.known_hosts}",
        "-p",
        sshd.port,
        sshd.arguments()[1].rsplit(":", 1)[0],
        "echo inside",
        env={**os.environ, **run.env},
    )
    assert done.stdout == "inside\n", done.stderr


def test_stdio_says_what_failed(run, sshd):
    done = end(run, sshd, "--stdio", f"{TARGET}:{kit.free_port(TARGET)}", stdin=subprocess.DEVNULL)
    assert done.returncode == 8 and "Connection refused" in done.stderr and done.stdout == ""


def test_open_starts_the_browser_with_the_url(run, work):
    browser = work / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >{work}/opened\n')
    browser.chmod(0o755)
    program = run("--open=/docs", f"0:{TARGET}:{Server(echo).port}", env={"BROWSER": str(browser)})
    port = port_of(program)
    kit.wait_until((work / "opened").exists, "the browser")
    kit.wait_until(lambda: (work / "opened").read_text() == f"http://localhost:{port}/docs\n", "the URL")


def test_open_without_a_browser_says_the_url(run):
    program = run(
        "--open", f"0:{TARGET}:{Server(echo).port}", env={"BROWSER": "/nonexistent", "PATH": "/nonexistent"}
    )
    program.wait_line(rf"open http://localhost:{port_of(program)}/ yourself")
    assert program.running()


# ---- status and stop ----


def test_status_and_stop_find_running_tunnels(run, sshd, work):
    target = f"{TARGET}:{Server(echo).port}"
    assert "no tunnel of yours runs" in end(run, sshd, "status", more=False).stdout
    first = run(f"0:{target}", f"{work}/x.sock:{target}")
    second = run("-D", "0")
    port = port_of(first)
    second_port = socks_port(second)
    assert says(socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE))
    shown = end(run, sshd, "status", more=False).stdout
    assert f"pid {first.pid} " in shown and f"localhost:{port} -> {target}" in shown and "SOCKS5" in shown
    rows = [json.loads(line) for line in end(run, sshd, "status", "--json", more=False).stdout.splitlines()]
    row = next(r for r in rows if r["pid"] == first.pid)
    assert row["state"] == "up" and row["carried"] == 1 and row["bytes_up"] == row["bytes_down"] == 5
    done = end(run, sshd, "stop", more=False)
    assert done.returncode == 2 and "say which" in done.stderr
    assert end(run, sshd, "stop", second_port, more=False).returncode == 0
    assert second.wait() == 0
    assert end(run, sshd, "stop", more=False).stdout == f"stopped pid {first.pid}\n"
    assert first.wait() == 0
    assert list((work / "run" / "smpl-tunnel").iterdir()) == []


def test_status_forgets_what_kill_9_left_behind(run, sshd, work):
    program = run(f"0:{TARGET}:{Server(echo).port}")
    port_of(program)
    program.kill9()
    assert "no tunnel of yours runs" in end(run, sshd, "status", more=False).stdout
    assert list((work / "run" / "smpl-tunnel").iterdir()) == []
    done = end(run, sshd, "stop", program.pid, more=False)
    assert done.returncode == 1 and "no tunnel of yours has pid or port" in done.stderr


def test_a_folder_that_others_can_enter_is_not_used(run, work):
    (work / "run" / "smpl-tunnel").mkdir()
    (work / "run" / "smpl-tunnel").chmod(0o755)
    program = run(f"0:{TARGET}:{Server(echo).port}")
    program.wait_line("nobody else can enter")
    port_of(program)


# ---- sets ----


def test_a_named_set_brings_its_forwards(run, sshd, spawn, work):
    server = Server(echo)
    user = sshd.arguments()[1].split("@")[0]
    config = work / "tunnel.yaml"
    config.write_text(
        f"""\
bastion: {user}@{ADDRESS}:{sshd.port}
identity: sshd/id
known_hosts: sshd/known_hosts
sets:
  - {{name: backend, forwards: ["0:{TARGET}:{server.port}", "127.0.0.9:0:{TARGET}:{server.port}"]}}
  - {{name: web, socks: "0"}}
"""
    )
    env = dict(run.env, SMPL_TUNNEL_CONFIG=str(config))
    program = spawn(kit.binary("smpl-tunnel"), "up", "backend", "web", env=env)
    assert says(socket.create_connection(("127.0.0.1", port_of(program)), timeout=kit.PATIENCE))
    socks_port(program)
    done = kit.run(kit.binary("smpl-tunnel"), "up", "backnd", env={**os.environ, **env})
    assert (
        done.returncode == 2
        and "no set is named 'backnd'" in done.stderr
        and "there are: backend, web" in done.stderr
    )
    assert (
        kit.run(kit.binary("smpl-tunnel"), "completion", "sets", env={**os.environ, **env}).stdout
        == "backend\nweb\n"
    )


@pytest.mark.parametrize(
    "sets, words",
    [
        ('  - {name: a, forwards: ["80"]}', ":3:27: '80' is not a forward"),
        ('  - {name: a, forwards: ["80:x", "80:y"]}', ":3:35: '80:y': another forward has port 80"),
        ("  - {name: a}", "has neither forwards nor socks"),
        ('  - {name: a, socks: "1"}\n  - {name: a, socks: "2"}', ":4:12: another set is named 'a'"),
        ('  - {name: a, forward: "1"}', "unknown key 'forward'"),
    ],
)
def test_a_bad_set_is_named_with_its_place(run, work, sets, words):
    config = work / "tunnel.yaml"
    config.write_text(f"bastion: h\nsets:\n{sets}\n")
    done = kit.run(
        kit.binary("smpl-tunnel"), "up", "a", env={**os.environ, **run.env, "SMPL_TUNNEL_CONFIG": str(config)}
    )
    assert done.returncode == 1 and words in done.stderr


# ---- the terminal ----


def test_a_live_line_shows_on_a_terminal_and_not_in_a_pipe(run, sshd):
    target = f"0:{TARGET}:{Server(echo).port}"
    terminal = Terminal(*sshd.arguments(), target, env={"TERM": "xterm"})
    terminal.until(b"connected, 0 connections, up 0 B/s, down 0 B/s")
    terminal.type(b"\x03")
    assert terminal.end() == 0
    assert b"\x1b[2m" in terminal.seen
    plain = Terminal(*sshd.arguments(), target, env={"TERM": "xterm", "NO_COLOR": "1"})
    plain.until(b"connected, 0 connections")
    plain.type(b"\x03")
    assert plain.end() == 0
    assert b"\x1b[2m" not in plain.seen and b"\x1b[31m" not in plain.seen
    program = run(target)
    port_of(program)
    time.sleep(1.2)
    assert program.stop() == 0 and program.stderr == ""


# ---- many connections ----


def test_thirty_connections_at_once_of_which_one_stalls(run):
    """As a browser does; a thousand short ones beside a reader that takes nothing."""

    def handler(connection):
        if connection.recv(1) == b"f":
            while True:
                connection.sendall(bytes(262144))
        connection.sendall(b"page")

    port = port_of(run(f"0:{TARGET}:{Server(handler).port}"))
    stalled = socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE)
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stalled.sendall(b"f")
    failures = []

    def fetch(count):
        for _ in range(count):
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
                    s.sendall(b"g")
                    if kit.recv_all(s) != b"page":
                        failures.append("not all of it")
            except OSError as e:
                failures.append(e)

    threads = [threading.Thread(target=fetch, args=(34 if not kit.SANITIZED else 4,)) for _ in range(30)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(kit.PATIENCE * 2)
        assert not t.is_alive(), "one waits for another"
    stalled.close()
    assert failures == []
