# SPDX-License-Identifier: Apache-2.0
"""Listeners that a service manager opened (LISTEN_FDS) are taken instead of new ones: no connection is
refused while a service starts."""

import re
import socket

import pytest

import kit
from four_programs import PROGRAMS

HERE = {"smpl-bastion": "127.42.0.1", "smpl-app": "127.42.1.21"}
# Descriptor 3 is the listener; the process that execs is the one that LISTEN_PID names.
START = 'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"'


@pytest.mark.parametrize("name", HERE)
def test_a_listener_that_was_handed_over_is_taken(work, spawn, name):
    argv = PROGRAMS[name](work, spawn)
    text = argv[-1].read_text()
    with socket.socket() as listener:
        listener.bind((HERE[name], 0))
        listener.listen(64)
        port = listener.getsockname()[1]
        old = re.search(rf'"{HERE[name]}:(\d+)"', text)[1]
        argv[-1].write_text(text.replace(f"{HERE[name]}:{old}", f"{HERE[name]}:{port}"))
        early = socket.create_connection(
            (HERE[name], port), kit.PATIENCE, ("127.42.0.9", 0)
        )  # before the program is there
        early.settimeout(kit.PATIENCE)
        fd = listener.fileno()
        program = spawn("bash", "-c", f"exec 3<&{fd}; {START}", "bash", *argv, pass_fds=(fd,)).wait_ready()
    if name == "smpl-bastion":
        assert early.recv(100).startswith(b"SSH-2.0")
    else:
        early.sendall(b"GET /internal/v1/health HTTP/1.1\r\nHost: config\r\nConnection: close\r\n\r\n")
        assert kit.recv_all(early).startswith(b"HTTP/1.1 200 ")
    early.close()
    assert kit.port_open(HERE[name], port)
    assert program.running()


def test_what_was_meant_for_another_process_or_address_is_left_alone(work, spawn):
    argv = PROGRAMS["smpl-bastion"](work, spawn)
    with socket.socket() as listener:
        listener.bind(("127.42.0.9", 0))
        listener.listen(1)
        fd = listener.fileno()
        for start in (
            START,
            'export LISTEN_PID=1 LISTEN_FDS=1; exec "$@"',
            'export LISTEN_PID=$$ LISTEN_FDS=x; exec "$@"',
        ):
            program = spawn(
                "bash", "-c", f"exec 3<&{fd}; {start}", "bash", *argv, pass_fds=(fd,)
            ).wait_ready()
            assert "127.42.0.1" in program.stderr
            assert program.stop() == 0
