# SPDX-License-Identifier: Apache-2.0
"""Slow and idle clients: slowhttptest's three attacks, at the public listener and through a real balancer,
and ten thousand kept connections."""

import http.client
import json
import resource
import socket
import threading
from pathlib import Path

import pytest

import kit
from app_client import Customer, config
from balanced import BalancedProduct, ask, render, start_balancers, wait_up
from boundary import get
from echo_front import CLIENT, ECHO, Front, PUBLIC
from product import Product

IDLE = 10000


BALANCER = "127.44.0.7"


class BalancedFront(Front):
    """One internal listener, and the public balancer in front of it: its address and port are those to
    ask."""

    def __init__(self, work, spawn):
        self.port = kit.free_port(PUBLIC)
        target = f"127.44.2.1:{kit.free_port('127.44.2.1')}"
        (work / "echo.yaml").write_text(
            f"service: accounts\ndatabase: echo.db\nbalancers: [{BALANCER}]\nlisteners:\n"
            f'  - {{name: internal, address: "{target}", rules: ["/*"], clients: [127.44.0.0/16], hosts: '
            f"[app.test, app.internal, {PUBLIC}]}}\n"
        )
        self.program = spawn(ECHO, "-c", "echo.yaml").wait_ready()
        (work / "balancers.yaml").write_text(
            f'public: {{listen: ["{PUBLIC}:{self.port}"], from: {BALANCER}}}\n'
            f'internal: {{listen: ["127.44.3.1:{kit.free_port("127.44.3.1")}"], clients: [127.44.0.0/16], '
            f"from: 127.44.0.8}}\n"
            f"services:\n  - {{name: accounts, public: {{names: [app.test], address: {PUBLIC}}}, internal: "
            f"{{names: [app.internal]}}, "
            f'instances: ["{target}"]}}\n'
        )
        done = render(work / "balancers.yaml", work / "haproxy")
        assert done.returncode == 0, done.stderr
        start_balancers(spawn, work / "haproxy", ("public",))
        wait_up(work / "haproxy", ("public",))
        # however slowly it answers, the balancer does not take it for dead
        assert ask(work / "haproxy" / "public.sock", f"disable health accounts/{target}").strip() == ""


@pytest.fixture(params=[Front, BalancedFront], ids=["direct", "balanced"])
def front(work, spawn, request):
    return request.param(work, spawn)


def resident_mib(pid):
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


@pytest.mark.skipif(kit.SANITIZED, reason="measures memory")
def test_ten_thousand_idle_connections_take_less_than_100_mib(work, spawn):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < IDLE + 1000:
        pytest.skip(f"only {hard} open files are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    front, kept = (
        Front.__new__(Front),
        [],
    )  # with one listener, which then has all the open files that there are
    front.port = kit.free_port(PUBLIC)
    (work / "one.yaml").write_text(
        "service: accounts\ndatabase: echo.db\nlisteners:\n"
        f'  - {{name: public, address: "{PUBLIC}:{front.port}", rules: ["/api/v1/*"]}}\n'
    )
    front.program = spawn(ECHO, "-c", "one.yaml").wait_ready()
    try:
        for i in range(IDLE):
            s = socket.create_connection(
                (PUBLIC, front.port), timeout=kit.PATIENCE, source_address=(f"127.44.9.{i % 4 + 1}", 0)
            )
            s.sendall(get(b"/api/v1/echo/x"))
            kept.append(s)
        for s in kept:
            assert b"200 OK" in s.recv(4096)
        assert resident_mib(front.program.pid) < 100
        print(f"{resident_mib(front.program.pid):.0f} MiB with {IDLE} idle connections")
        assert front.ask("/api/v1/echo/x").status == 200
        for s in kept[::100]:  # they are kept indeed
            s.sendall(get(b"/api/v1/echo/again"))
            assert b"200 OK" in s.recv(4096)
    finally:
        for s in kept:
            s.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def served_beside(attack_stands, address, port, path="/api/v1/echo/x", key=None):
    """Asks on one kept connection for as long as the attack stands: how many answers there were meanwhile.
    Times are measured by ./dev bench fair."""
    headers, served = {"Authorization": f"Bearer {key}"} if key else {}, 0
    connection = http.client.HTTPConnection(address, port, timeout=kit.PATIENCE, source_address=(CLIENT, 0))
    while True:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        response.read()
        assert response.status == 200
        if not attack_stands() or served == 1000:
            break
        served += 1
    connection.close()
    return served


def attack_with(spawn, kind, url, *argv):
    return spawn(
        kit.tool("slowhttptest"),
        kind,
        "-c",
        "500",
        "-r",
        "250",
        "-l",
        "15",
        "-i",
        "1",
        "-x",
        "24",
        "-p",
        "5",
        "-k",
        "1",
        "-w",
        "512",
        "-y",
        "1024",
        "-n",
        "1",
        "-z",
        "32",
        "-u",
        url,
        *argv,
    )


@pytest.mark.full
@pytest.mark.parametrize("attack", ["-H", "-B", "-X"])
def test_slowhttptest_leaves_other_clients_alone(front, spawn, attack):
    """Slow heads, slow bodies, slow readers."""
    target = "/api/v1/echo/big?kb=100" if attack == "-X" else "/api/v1/echo"
    attack_with(
        spawn,
        attack,
        f"http://{PUBLIC}:{front.port}{target}",
        "-t",
        "POST" if attack == "-B" else "GET",
        "-f",
        "application/json",
    )
    kit.wait_until(lambda: connections(front.port) > 100, "the attack is under way")
    assert served_beside(lambda: connections(front.port) > 100, PUBLIC, front.port) > 2


@pytest.mark.full
@pytest.mark.parametrize("kind", [Product, BalancedProduct], ids=["direct", "balanced"])
@pytest.mark.parametrize("changing", [False, True])
def test_slow_readers_of_big_answers_leave_other_customers_alone(work, spawn, changing, kind):
    """Five hundred slow readers of 1 MB each, with a good key. Where the database changes all the while, no
    kept answer helps: the big ones are made again and again, on the reading thread."""
    product = kind(work, spawn, bastion=False)
    heavy, other = Customer(product, "Heavy"), Customer(product, "Other")
    assert (
        heavy(
            "POST",
            "config",
            "/configs",
            config("big", items={"a": {"value": "x" * 1000000, "type": "STRING"}}),
        ).status
        == 201
    )
    public, ending = "127.20.1.11", threading.Event()

    def change():
        while not ending.is_set():
            assert heavy("PUT", "config", "/configs/common", config(name="Common")).status == 200
            ending.wait(0.05)

    with product.unwatched():
        attack_with(
            spawn,
            "-X",
            f"http://{public}:{product.http}/api/v1/configs/big",
            "-j",
            f"a=b\r\nAuthorization: Bearer {heavy.key}",
        )
        kit.wait_until(lambda: connections(product.http) > 100, "the attack is under way")
        writer = threading.Thread(target=change)
        if changing:
            writer.start()
        try:
            served = served_beside(
                lambda: connections(product.http) > 100,
                public,
                product.http,
                "/api/v1/configs/common",
                other.key,
            )
        finally:
            ending.set()
        if changing:
            writer.join()
    assert served > 2  # how many is the speed of this machine
    logs = [
        [json.loads(line) for line in p.stdout.splitlines() if line.startswith("{")]
        for name, p in product.programs.items()
        if name.startswith("config")
    ]
    big = [line for log in logs for line in log if line.get("target") == "/api/v1/configs/big"]
    assert sum(1 for line in big if line["status"] == 200 and line["bytes"] > 1000000) > 100, big[-3:]
    between = [n for log in logs for n in answers_between(log)]
    assert max(between) <= 500, "each of the attack's connections has had a turn, and some another"


def answers_between(log):
    """How many of the attack's answers were between two of the other customer's, each time."""
    asked = {("GET", "/api/v1/configs/big"), ("GET", "/api/v1/configs/common")}
    order = [line["target"] for line in log if (line.get("method"), line.get("target")) in asked]
    between, other = [], None
    for i, target in enumerate(order):
        if target == "/api/v1/configs/common":
            between += [i - other - 1] if other is not None else []
            other = i
    return between


def connections(port):
    """Of the attack: established ones of the listener, as the kernel counts them."""
    port = f"{port:04X}"
    return sum(
        1
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[1].endswith(":" + port) and line.split()[3] == "01"
    )
