# SPDX-License-Identifier: Apache-2.0
"""./dev up --balanced as its user. Uses the fixed addresses of the loopback set-up, as test_dev.py does."""

import os
import re
import signal

import pytest

import kit

PROGRAMS = {"resolver", "public", "internal", "bastion"} | {
    f"{s}-{i}" for s in ("accounts", "config", "flags") for i in (1, 2)
}
ADDRESSES = [("127.0.0.1", 5300), ("127.0.0.1", 2222)] + [
    (f"127.{net}.{n}.{host}", 8000)
    for net, n in ((10, 1), (10, 2), (10, 3), (20, 1))
    for host in (10, 11, 12)
]

pytestmark = [
    pytest.mark.skipif(kit.SANITIZED, reason="./dev up runs the release build"),
    pytest.mark.skipif(
        any(kit.port_open(*a) for a in ADDRESSES),
        reason="the loopback set-up's ports are in use (./dev up runs?)",
    ),
]


def dev(*argv, timeout=4 * kit.PATIENCE):  # it starts ten programs, one after the other
    return kit.run("./dev", *argv, cwd=kit.ROOT, timeout=timeout)


@pytest.fixture
def down():
    yield
    dev("down")
    assert not [a for a in ADDRESSES if kit.port_open(*a)]


def pids():
    return {
        m.group(1): int(m.group(2))
        for m in re.finditer(r"^([\w-]+) +up +pid (\d+)", dev("status").stdout, re.M)
    }


def curl(*argv):
    return kit.run(
        kit.tool("curl"), "-sS", "--max-time", kit.PATIENCE, "-o", "-", "-w", "\n%{http_code}", *argv
    ).stdout.rpartition("\n")[::2]


def test_up_balanced_runs_two_instances_of_each_behind_both_balancers(down):
    done = dev("up", "-d", "--balanced")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        re.search(r"public +127\.20\.1\.\S+ haproxy", done.stdout)
        and "127.10.3.11:8000 internal" in done.stdout
    )
    first = pids()
    assert set(first) == PROGRAMS
    key = re.search(r"SMPLKIT_API_KEY=(sk_api_\w+)", dev("env").stdout).group(1)
    call = ["-H", f"Authorization: Bearer {key}", "http://127.20.1.11:8000/api/v1/configs"]
    assert curl(*call)[1] == "200"
    # the commands that the screen shows mean the same as without balancers
    assert curl("http://127.20.1.11:8000/internal/v1/health")[1] == "404"
    assert curl("--interface", "127.20.0.9", "http://127.10.1.11:8000/docs")[1] == "000"
    assert (
        kit.run(
            kit.tool("dig"),
            "+short",
            "-b",
            "127.10.0.9",
            "@127.0.0.1",
            "-p",
            "5300",
            "config.internal.smplkit.local",
        ).stdout
        == "127.10.1.11\n"
    )
    port = kit.free_port("127.0.0.1")
    tunnel = kit.Program(
        [kit.binary("smpl-tunnel"), f"{port}:config.internal"],
        env={"SMPL_TUNNEL_CONFIG": str(kit.ROOT / "build/run/tunnel/tunnel.yaml")},
    )
    try:
        tunnel.wait_line(f"localhost:{port}", stream="out")
        body, status = curl(f"http://localhost:{port}/docs")
        assert status == "200" and "swagger" in body.lower()
    finally:
        tunnel.signal(signal.SIGINT)
        tunnel.wait()
    # one instance of each dies: nobody notices; all die, balancers too: up brings them back
    for service in ("accounts", "config", "flags"):
        os.kill(first[f"{service}-1"], signal.SIGKILL)
    assert [curl(*call)[1] for _ in range(8)] == ["200"] * 8
    assert dev("status").returncode == 1
    for name, pid in first.items():
        if not name.endswith("-1"):
            os.kill(pid, signal.SIGKILL)
    again = dev("up", "-d", "--balanced")
    assert again.returncode == 0, again.stdout + again.stderr
    second = pids()
    assert set(second) == PROGRAMS and not set(second.values()) & set(first.values())
    assert curl(*call)[1] == "200"
    other = dev("up", "-d")
    assert other.returncode == 1 and "already runs, balanced" in other.stderr
    workers = [w for name in ("public", "internal") for w in kit.children(second[name])]
    assert workers
    assert dev("down").returncode == 0
    kit.wait_until(
        lambda: not any(kit.alive(p) for p in [*second.values(), *workers]),
        "the workers follow their masters",
    )
    assert set(pids()) == set()


def test_a_port_that_haproxy_cannot_have_is_one_clear_line(down):
    import socket

    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.20.1.12", 8000))
        holder.listen()
        done = dev("up", "-d", "--balanced")
    assert done.returncode == 1
    assert "public: 127.20.1.12:8000 is in use" in done.stderr, done.stderr
    assert pids() == {}
