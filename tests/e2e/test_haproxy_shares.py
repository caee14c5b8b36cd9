# SPDX-License-Identifier: Apache-2.0
"""The public balancer in front of a greedy client: what one source may hold, and that the others do not
notice. Counted, not timed."""

import contextlib
import http.client
import json
import os
import resource
import select
import socket
import sys
import time
from pathlib import Path

import pytest

import kit
from balanced import ask, render, start_balancers, wait_up

pytestmark = pytest.mark.skipif(kit.SANITIZED, reason="no program of ours runs here")

PUBLIC, INTERNAL, INSTANCE = "127.49.1.1", "127.49.2.1", "127.49.3.1"
GREEDY, VICTIM = "127.61.1.1", "127.62.1.1"  # of different /16s
NEAR, BESIDE = "127.61.1.2", "127.61.2.1"  # of the greedy one's /24, and of its /16 only
THREADS = os.cpu_count()  # a share may be exceeded by one for each thread that asks at the same time
HEAD = b"GET /api/v1/x HTTP/1.1\r\nHost: h\r\n"


class World:
    """The public balancer over one dumb instance, with limits as given."""

    def __init__(self, work, spawn, limits="", listen=PUBLIC, edit=None):
        self.port, behind = kit.free_port(PUBLIC, INTERNAL), kit.free_port(INSTANCE)
        self.folder = work / "haproxy"
        at = f"[{listen}]" if ":" in listen else listen
        (work / "balancers.yaml").write_text(
            f"""\
public: {{listen: ["{at}:{self.port}"], from: 127.49.0.7{limits and ', limits: ' + limits}}}
internal: {{listen: ["{INTERNAL}:{self.port}"], clients: [127.49.0.0/16], from: 127.49.0.8}}
services:
  - {{name: x, public: {{names: [h]}}, internal: {{names: [x.internal]}}, instances: ["{INSTANCE}:{behind}"]}}
"""
        )
        done = render(work / "balancers.yaml", self.folder)
        assert done.returncode == 0, done.stderr
        if edit:
            path = self.folder / "public.cfg"
            path.write_text(edit(path.read_text()))
        self.server = kit.HttpServer(INSTANCE, behind, "ok")
        self.server.server.handle_error = lambda *args: None  # the balancer leaves when a client does
        self.balancer = start_balancers(spawn, self.folder, ["public"])["public"]
        wait_up(self.folder, ["public"])

    def calls(self):
        return sum(path.startswith("/api/") for path in self.server.requests)

    def connect(self, source, address=PUBLIC):
        return socket.create_connection(
            (address, self.port), timeout=kit.PATIENCE, source_address=(source, 0)
        )

    def head(self, source, address=PUBLIC):
        """A connection with an unfinished head; None if it ended at once."""
        try:
            s = self.connect(source, address)
        except (ConnectionResetError, BrokenPipeError):
            return None
        try:
            s.sendall(HEAD)
        except OSError:
            s.close()
            return None
        return s

    def get(self, source, address=PUBLIC):
        """The status of a call on a connection of its own; None if it was closed without a byte."""
        s = self.head(source, address)
        if s is None:
            return None
        with s:
            try:
                s.sendall(b"Connection: close\r\n\r\n")
            except OSError:
                return None
            answer = kit.recv_all(s)
        return int(answer[9:12]) if answer else None

    def tracked(self, level, what):
        """{key: value} of a table of the balancer."""
        rows = (
            line.split()
            for line in ask(self.folder / "public.sock", f"show table _{level}").splitlines()
            if "key=" in line
        )
        return {
            r[1]
            .removeprefix("key=")
            .removeprefix("::ffff:"): int(next(w for w in r if w.startswith(what + "=")).split("=")[1])
            for r in rows
        }

    def close(self):
        self.server.close()


@pytest.fixture
def world(work, spawn):
    made = []

    def make(limits="", **kw):
        made.append(World(work, spawn, limits, **kw))
        return made[-1]

    yield make
    for w in made:
        w.close()


def still_open(sockets):
    """Those that were not closed; whatever one was told instead of nothing fails."""
    poller = select.poll()
    by_number = {s.fileno(): s for s in sockets}
    for number in by_number:
        poller.register(number, select.POLLIN)
    for number, _ in poller.poll(0):
        s = by_number.pop(number)
        assert kit.recv_all(s) == b"", "refused with a byte"
        s.close()
    return list(by_number.values())


def settle(sockets, most):
    """Waits until no more than that many are open."""
    left = list(filter(None, sockets))

    def few():
        left[:] = still_open(left)
        return len(left) <= most

    kit.wait_until(few, f"of {len(sockets)} connections {most} are left, not {len(left)}")
    return left


# Connections


def test_unfinished_heads_of_one_address_leave_the_others_their_places(world):
    """By default: an address has a thousand places; what is beyond is closed on before a byte is read."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        w, held, victims = world(), [], 0
        for _ in range(23):
            held = settle(held + [w.head(GREEDY) for _ in range(500)], 1000 + THREADS)
            victims += w.get(VICTIM) == 200
        assert victims == 23 and w.calls() == 23
        assert w.tracked("source", "conn_cur")[GREEDY] <= 1000 + THREADS
        for s in held:
            s.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_connections_are_counted_by_address_by_network_and_by_provider(world):
    w = world("{source: {connections: 20}, network: {connections: 30}, provider: {connections: 35}}")
    held = []
    for source, most in ((GREEDY, 20), (NEAR, 30), (BESIDE, 35)):
        held = settle(held + [w.head(source) for _ in range(40)], most + THREADS)
        assert len(held) >= most
    assert w.get("127.61.3.1") is None and w.get(VICTIM) == 200
    for s in held:
        s.close()
    kit.wait_until(lambda: w.get(GREEDY) == 200, "places that were given back can be had again")


def test_tls_handshakes_that_nobody_begins_hold_places_of_the_same_share(world, work):
    done = kit.run(
        kit.tool("openssl"),
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=h",
        "-keyout",
        work / "key",
        "-out",
        work / "crt",
    )
    assert done.returncode == 0, done.stderr
    (work / "h.pem").write_text((work / "crt").read_text() + (work / "key").read_text())
    port = kit.free_port(PUBLIC)
    w = world(
        "{source: {connections: 20}}",
        edit=lambda text: text.replace(
            "  errorfile 408 /dev/null",
            f"  bind {PUBLIC}:{port} ssl crt {work / 'h.pem'}\n  errorfile 408 /dev/null",
            1,
        ),
    )
    held = []
    for _ in range(40):
        with contextlib.suppress(ConnectionResetError):
            held.append(
                socket.create_connection((PUBLIC, port), timeout=kit.PATIENCE, source_address=(GREEDY, 0))
            )
    held = settle(held, 20 + THREADS)
    assert len(held) >= 20 and w.get(GREEDY) is None and w.get(VICTIM) == 200
    for s in held:
        s.close()


def test_connections_a_second_are_limited_and_what_was_refused_does_not_count(world):
    w = world("{source: {connection_rate: 3}}")  # 30 in ten seconds
    start = time.monotonic()
    answers = [w.get(GREEDY) for _ in range(300)]
    most = 30 + 3 * (time.monotonic() - start) + 1
    assert 30 <= answers.count(200) <= most, answers.count(200)
    assert set(answers) == {200, None} and answers[:30] == [200] * 30
    assert w.get(VICTIM) == 200 and w.get(NEAR) == 200
    assert w.tracked("source", "conn_rate(10000)")[GREEDY] <= most


def test_an_exempt_network_has_no_limits(world):
    w = world("{source: {connections: 2, connection_rate: 1, request_rate: 1}, exempt: [127.61.1.0/24]}")
    held = [w.head(GREEDY) for _ in range(40)]
    assert (
        [w.get(GREEDY) for _ in range(20)] == [200] * 20 and None not in held and len(still_open(held)) == 40
    )
    assert [w.get(BESIDE) for _ in range(11)].count(200) == 10
    assert set(w.tracked("source", "conn_cur")) == {BESIDE}
    for s in held:
        s.close()


def test_zero_is_no_limit(world):
    w = world(
        "{source: {connections: 0, connection_rate: 0, request_rate: 0}, network: {connections: 0, "
        "connection_rate: 0, request_rate: 0},"
        " provider: {connections: 0, connection_rate: 0, request_rate: 0}}"
    )
    text = (w.folder / "public.cfg").read_text()
    assert "reject" not in text and "429 if" not in text and w.get(GREEDY) == 200


# Requests


def calls(w, source, paths):
    """(statuses, last reply's headers and body) of calls on one kept connection, opened anew when it was
    closed."""
    out, last = [], None
    with contextlib.closing(
        http.client.HTTPConnection(PUBLIC, w.port, timeout=kit.PATIENCE, source_address=(source, 0))
    ) as c:
        for path in paths:
            c.request("GET", path, headers={"Host": "h"})
            reply = c.getresponse()
            last = (reply.headers, reply.read())
            out.append(reply.status)
    return out, last


def test_too_many_requests_are_429_once_a_public_rule_has_matched(world):
    w = world("{source: {request_rate: 2}}")  # 20 in ten seconds
    start = time.monotonic()
    statuses, (headers, body) = calls(w, GREEDY, ["/api/v1/x"] * 100)
    most = 20 + 2 * (time.monotonic() - start) + 1
    assert set(statuses) == {200, 429} and statuses[:20] == [200] * 20 and statuses.count(200) <= most
    assert w.calls() == statuses.count(200)  # the instance sees nothing of the others
    assert (
        headers["Retry-After"] == "1"
        and headers["Content-Type"] == "application/vnd.api+json"
        and "Connection" not in headers
    )
    assert json.loads(body) == {"errors": [{"status": "429", "title": "Too Many Requests"}]}
    # what no rule admits gets the same as from anybody else, and does not count
    for path, status in (("/internal/v1/secret", 404), ("/api/v1/a%2fb", 400)):
        for source in (GREEDY, VICTIM):
            assert calls(w, source, [path])[0] == [status]
    assert calls(w, VICTIM, ["/api/v1/x"] * 20)[0] == [200] * 20
    assert calls(w, NEAR, ["/api/v1/x"])[0] == [200]
    line = kit.wait_until(
        lambda: [json.loads(line) for line in w.balancer.out if '"status":429' in line], "the log line"
    )[0]
    assert (
        line["reason"] == "too-many-of-source"
        and line["client"].startswith(GREEDY)
        and line["instance"] == "<NOSRV>"
    )


def test_requests_are_counted_by_network_and_by_provider_too(world):
    w = world("{source: {request_rate: 1}, network: {request_rate: 1}, provider: {request_rate: 2}}")
    start = time.monotonic()
    seen = [
        calls(w, source, ["/api/v1/x"] * 15)[0].count(200) for source in (GREEDY, NEAR, BESIDE, "127.61.3.1")
    ]
    more = 2 * (time.monotonic() - start) + 1
    assert seen[0] >= 10 and sum(seen[:2]) <= 10 + more and seen[2] >= 5 and sum(seen) <= 20 + more, seen
    assert calls(w, VICTIM, ["/api/v1/x"])[0] == [200]


# Tables


def test_the_tables_are_bounded_and_those_in_use_cannot_fill_them(world):
    """An entry of a connection is never evicted, and there are more entries than there can be connections: an
    attacker with many networks pushes out what is remembered of those that hold nothing."""
    w = world()
    text = (w.folder / "public.cfg").read_text()
    limit = int(next(line.split()[1] for line in text.splitlines() if "fd-hard-limit" in line))
    tables = [line.split() for line in text.splitlines() if "stick-table" in line]
    assert len(tables) == 3
    for t in tables:
        assert int(t[t.index("size") + 1]) > limit and t[t.index("expire") + 1] == "30s"


def test_the_oldest_source_without_a_connection_is_forgotten_when_a_table_is_full(world):
    w = world("{source: {connections: 1}}", edit=lambda text: text.replace("size 131072", "size 16"))
    holder = w.head(GREEDY)
    kit.wait_until(lambda: w.tracked("source", "conn_cur").get(GREEDY) == 1, "it holds its place")
    for i in range(1, 100):
        assert w.get(f"127.63.{i}.1") == 200
    known = w.tracked("source", "conn_cur")
    assert len(known) <= 16 and known[GREEDY] == 1
    assert w.get(GREEDY) is None and w.get(VICTIM) == 200
    holder.close()


# IPv6, in a network of its own


def test_ipv6_addresses_count_by_64_and_48_and_ipv4_on_the_same_socket_by_address(work):
    if kit.run(kit.tool("unshare"), "-rn", "true").returncode != 0:
        pytest.skip("this user may not make a network namespace")
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))  # it finds worlds/ as a test does
    argv = [kit.tool("unshare"), "-rn", sys.executable, __file__, work]
    done = kit.run(*argv, timeout=3 * kit.PATIENCE, env=env)
    assert done.returncode == 0, done.stdout + done.stderr


def inside(work):
    kit.run(kit.tool("ip"), "link", "set", "lo", "up", check=True)
    for address in ("fd00::1", "fd00:1:1:1::1", "fd00:1:1:1:2::1", "fd00:1:1:2::1", "fd00:1:2:1::1"):
        kit.run(kit.tool("ip"), "-6", "address", "add", f"{address}/128", "dev", "lo", check=True)
    programs, kept = [], []

    def spawn(*argv, **kw):
        programs.append(kit.Program(argv, **kw))
        return programs[-1]

    try:
        w = World(
            work,
            spawn,
            "{source: {connections: 20}, network: {connections: 30}, provider: {connections: 200}}",
            listen="::",
        )
        for groups in (
            [
                ("fd00:1:1:1::1", 20),
                ("fd00:1:1:1:2::1", 20),
                ("fd00:1:1:2::1", 30),
            ],  # a /64, the same one, another of its /48
            [("fd00:1:2:1::1", 20)],
            [("127.61.1.1", 20)],
            [("127.63.1.1", 20)],
        ):
            held = []
            for source, most in groups:
                held = settle(
                    held + [w.head(source, "fd00::1" if ":" in source else PUBLIC) for _ in range(40)],
                    most + THREADS,
                )
                assert len(held) >= most, (source, len(held))
            kept += held
        assert len(kept) >= 90
    finally:
        for program in programs:
            program.stop()


if __name__ == "__main__":
    inside(Path(sys.argv[1]))
