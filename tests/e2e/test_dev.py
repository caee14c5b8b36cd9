# SPDX-License-Identifier: Apache-2.0
"""./dev up as its user: what it starts, what it says, what it leaves. Uses the fixed addresses of the
loopback set-up, so it is skipped, visibly, where something else already holds them."""

import os
import re
import signal
import socket

import pytest

import kit

ADDRESSES = [("127.0.0.1", 5300), ("127.0.0.1", 2222)] + [
    (f"127.{net}.1.{host}", 8000) for net in (10, 20) for host in (10, 11, 12)
]

pytestmark = [
    pytest.mark.skipif(kit.SANITIZED, reason="./dev up runs the release build"),
    pytest.mark.skipif(
        any(kit.port_open(*a) for a in ADDRESSES),
        reason="the loopback set-up's ports are in use (./dev up runs?)",
    ),
]


def dev(*argv, timeout=kit.PATIENCE):
    return kit.run("./dev", *argv, cwd=kit.ROOT, timeout=timeout)


@pytest.fixture
def down():
    yield
    dev("down")
    assert not [a for a in ADDRESSES if kit.port_open(*a)]


def pids(status):
    return {m.group(1): int(m.group(2)) for m in re.finditer(r"^(\w+) +up +pid (\d+)", status, re.M)}


def test_up_starts_everything_and_brings_back_what_was_killed(down):
    done = dev("up", "-d")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "smpl-tunnel 8080:config.internal" in done.stdout
    first = pids(dev("status").stdout)
    assert set(first) == {"resolver", "accounts", "config", "flags", "bastion"}
    env = dev("env").stdout
    key = re.search(r"SMPLKIT_API_KEY=(sk_api_\w+)", env).group(1)
    caller = re.search(r"SMPL_INTERNAL_KEY=(sk_int_\w+)", env).group(1)
    for header, status in ((f"Authorization: Bearer {caller}", "201"), ("X-None: 1", "401")):
        made = kit.run(
            kit.tool("curl"),
            "-sS",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--interface",
            "127.10.0.9",
            "-H",
            header,
            "-H",
            "Content-Type: application/json",
            "-d",
            '{"data":{"type":"account","attributes":{"name":"Acme"}}}',
            "http://127.10.1.10:8000/internal/v1/accounts",
        )
        assert made.stdout == status, made.stdout + made.stderr
    put = kit.run(
        kit.tool("curl"),
        "-sS",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-H",
        f"Authorization: Bearer {key}",
        "-H",
        "Content-Type: application/json",
        "-X",
        "PUT",
        "-d",
        '{"data":{"id":"common","type":"config","attributes":{"name":"Kept"}}}',
        "http://127.20.1.11:8000/api/v1/configs/common",
    )
    assert put.stdout == "200", put.stdout + put.stderr
    for name, pid in first.items():
        os.kill(pid, signal.SIGKILL)
    again = dev("up", "-d")
    assert again.returncode == 0, again.stdout + again.stderr
    second = pids(dev("status").stdout)
    assert set(second) == set(first) and not set(second.values()) & set(first.values())
    got = kit.run(
        kit.tool("curl"),
        "-sS",
        "-H",
        f"Authorization: Bearer {key}",
        "http://127.20.1.11:8000/api/v1/configs/common",
    )
    assert '"Kept"' in got.stdout, got.stdout
    assert dev("down").returncode == 0
    assert not any(kit.alive(p) for p in second.values())


def test_ctrl_c_stops_everything_that_up_started(down):
    up = kit.Program(["./dev", "up"], cwd=kit.ROOT)
    try:
        up.wait_line("Ctrl-C stops all of it", stream="out")
        running = kit.children(up.pid)
        assert dev("status").returncode == 0
        os.killpg(up.pid, signal.SIGINT)
        assert up.wait() == 0, up.stderr
        assert "stopped" in up.stdout
        assert not [a for a in ADDRESSES if kit.port_open(*a)]
        kit.wait_until(lambda: not any(kit.alive(p) for p in running), "no process is left")
    finally:
        if up.running():
            up.kill9()


def test_a_busy_port_is_one_clear_line_and_leaves_nothing_running(down):
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.20.1.12", 8000))
        holder.listen()
        done = dev("up", "-d")
    assert done.returncode == 1
    assert "flags: 127.20.1.12:8000 is in use" in done.stderr, done.stderr
    assert dev("status").stdout.count("down") == 5


def test_unknown_words_are_refused_with_the_usage():
    assert dev("frobnicate").returncode == 2
    assert "unknown option '--what'" in dev("up", "--what").stderr
    assert "unknown preset 'fast'" in dev("build", "fast").stderr
