# SPDX-License-Identifier: Apache-2.0
"""smpl-tunnel's two processes: what the one that speaks SSH holds, and what becomes of the tunnel when it is
killed, stands still, or its supervisor is gone."""

import base64
import os
import pathlib
import re
import signal
import socket

import kit
import pytest

from tunnel_kit import EMPTY_ENV, TARGET, Server, Sshd, echo, sshd  # noqa: F401 (sshd is a fixture)


@pytest.fixture
def tunnel(spawn, sshd):
    """tunnel() -> (program, local port), once it is ready."""

    def start(*more):
        argv = [kit.binary("smpl-tunnel"), *sshd.arguments(), *more, f"0:{TARGET}:{Server(echo).port}"]
        program = spawn(*argv, env=EMPTY_ENV)
        line = program.wait_line(r"^http://|ready", stream="out")
        return program, int(re.search(r"localhost:(\d+)", line)[1])

    return start


def named(program, name):
    def is_it(pid):
        try:
            return pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == name
        except OSError:
            return False

    return [pid for pid in kit.children(program.pid) if is_it(pid)]


def speaker_of(program):
    [pid] = named(program, "smpl-speaker")
    return pid


def connect(port):
    s = socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE)
    s.sendall(b"x")
    assert s.recv(1) == b"x"
    return s


def descriptors(pid):
    return sorted(os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))


def memory(pid):
    """All that the process could read of itself."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            first, last = (int(n, 16) for n in line.split()[0].split("-"))
            if line.split()[1].startswith("r") and not re.search(r"\[v(var|syscall)", line):
                try:
                    mem.seek(first)
                    found.append(mem.read(last - first))
                except OSError:
                    pass
    return b"".join(found)


def seed(path):
    """The private half of an ed25519 key without a passphrase (OpenSSH's PROTOCOL.key)."""
    body = base64.b64decode("".join(pathlib.Path(path).read_text().splitlines()[1:-1]))
    at = body.rindex(b"ssh-ed25519") + len(b"ssh-ed25519") + 4 + 32 + 4
    return body[at : at + 32]


@pytest.mark.skipif(os.geteuid() != 0, reason="as root another process's memory can be read")
def test_the_speaker_holds_sockets_and_nothing_else(tunnel, sshd):
    program, port = tunnel()
    pid = speaker_of(program)
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    assert re.search(r"^Seccomp:\s+2$", status, re.M) and re.search(r"^NoNewPrivs:\s+1$", status, re.M)
    with connect(port):
        held = descriptors(pid)
        assert {name for name in held if not name.startswith("socket:")} == {"/dev/null"}
        assert len([name for name in held if name.startswith("socket:")]) == 3  # supervisor, bastion, program
    kit.wait_until(lambda: len(descriptors(pid)) == len(held) - 1, "what has ended is let go")
    secret = seed(sshd.identity)
    assert secret in memory(program.pid), "the supervisor keeps it for the next session"
    assert secret not in memory(pid)
    [template] = named(program, "smpl-template")
    assert secret not in memory(template)


@pytest.mark.short
def test_a_speaker_that_is_killed_is_replaced_and_what_it_carried_is_reset(tunnel):
    program, port = tunnel()
    first = speaker_of(program)
    with connect(port) as cut:
        os.kill(first, signal.SIGKILL)
        with pytest.raises(ConnectionResetError):  # cut in the middle: it must not look like an end
            cut.recv(1)
    connect(port).close()
    program.wait_line("connected again")
    assert "the process that speaks SSH has ended" in program.stderr
    assert speaker_of(program) != first and not kit.alive(first)
    assert program.stop() == 0


def test_a_speaker_that_stands_still_is_a_dead_path(tunnel):
    program, port = tunnel()
    first = speaker_of(program)
    os.kill(first, signal.SIGSTOP)
    held = socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE)
    held.sendall(b"wait")
    program.wait_line("the path to the bastion is dead")
    assert held.recv(4) == b"wait", "the next one serves it"
    held.close()
    assert not kit.alive(first)


@pytest.mark.short
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_when_the_supervisor_is_gone(tunnel, number):
    program, port = tunnel()
    others = named(program, "smpl-speaker") + named(program, "smpl-template")
    assert len(others) == 2
    open_one = connect(port)
    program.signal(number)
    program.wait()
    program.rogue = number == signal.SIGKILL
    kit.wait_until(lambda: not any(kit.alive(pid) for pid in others), "they end with it")
    open_one.close()


def test_without_a_template_the_tunnel_ends_and_says_so(tunnel):
    program, _ = tunnel()
    [template] = named(program, "smpl-template")
    os.kill(template, signal.SIGKILL)
    assert program.wait() == 1
    assert "no process can be made that speaks SSH" in program.stderr
