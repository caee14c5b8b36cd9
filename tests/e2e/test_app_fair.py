# SPDX-License-Identifier: Apache-2.0
"""Greedy neighbours: what one account queues costs another one turn, and no answer, straight at the service's
public listener and through a real balancer. Counted, not timed."""

import contextlib
import datetime
import json
import re
import resource
import signal
import socket
import sqlite3
import threading
import time

import pytest

import kit
from app_client import Customer, MEDIA, big, config, number
from balanced import BalancedProduct, ask as ask_balancer
from product import Product, alone, public_name

PUBLIC = "127.20.1.11"
PLACES = 1024  # STORAGE_QUEUE_MAX, PRODUCT_READS_MAX
GROUP = 256  # STORAGE_GROUP_MAX
GREEDY = ["127.20.1.9", "127.20.2.9", "127.20.3.9"]
QUIET = ["127.20.0.8"]
HOST = public_name("config")
NAMES = ("greedy", "quiet")


@pytest.fixture(scope="module")
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def connections(product, count, sources=GREEDY):
    """The public balancer has a limit of connections by source: the greedy one has several, and one key."""
    made = [
        socket.create_connection(
            (PUBLIC, product.http), timeout=kit.PATIENCE, source_address=(sources[i % len(sources)], 0)
        )
        for i in range(count)
    ]
    try:
        yield made
    finally:
        for s in made:
            s.close()


def put(customer, id, document):
    body = json.dumps(document)
    return (
        f"PUT /api/v1/configs/{id} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {customer.key}\r\n"
        f"Content-Type: {MEDIA}\r\n"
        f"X-Request-Id: {customer.name}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def ask(customer, target, method="HEAD"):
    return (
        f"{method} {target} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {customer.key}\r\n"
        f"X-Request-Id: {customer.name}\r\n\r\n"
    ).encode()


def status_of(connection):
    return int(connection.recv(65536).split(b" ", 2)[1])


def customer(product, name):
    made = Customer(product, name)
    made.name = name
    assert made("GET", "config", "/configs/common").status == 200  # its key is known from now on
    return made


class Direct(Product):
    """With a log that is a file, which a slow reader cannot make it lose lines of."""

    CONFIG, LONG_READS = "config", PLACES + 500

    def write_service(self, service):
        super().write_service(service)
        for file in self.work.glob(f"{service}*.yaml"):
            file.write_text(file.read_text() + f"access_log: {service}.log\n")

    @contextlib.contextmanager
    def stopped(self):
        """While its program stands still; a function that waits until so many requests are kept for it."""
        self.programs[self.CONFIG].signal(signal.SIGSTOP)
        try:
            yield lambda count: None
        finally:
            self.programs[self.CONFIG].signal(signal.SIGCONT)


class Balanced(Direct, BalancedProduct):
    """One instance, so that whatever is counted is in one place."""

    NETS = (2,)
    CONFIG, LONG_READS = (
        "config-1",
        1000,
    )  # with the quiet one's no more than the kernel keeps (LIMIT_BACKLOG)

    @contextlib.contextmanager
    def stopped(self):
        with super().stopped():
            yield lambda count: kit.wait_until(
                lambda: self.under_way() >= count, "the balancer has passed them on"
            )

    def under_way(self):
        """Requests that its instance has from the public balancer (scur)."""
        rows = [
            line.split(",") for line in ask_balancer(self.folder / "public.sock", "show stat").splitlines()
        ]
        return sum(int(r[4]) for r in rows if r[:2] == ["config", self.label("config-1")])


@pytest.fixture(scope="module", params=["direct", "balanced"])
def product(request, many_files):
    make = {"direct": Direct, "balanced": Balanced}[request.param]
    with alone(make, ends=kit.Program.kill9, bastion=False) as made, made.unwatched():
        yield made


def answered(product, method):
    """Who was answered with what, in order: (name, status)."""
    lines = kit.json_lines(product.work / "config.log", f'"method":"{method}"')
    lines = [l for l in lines if l["id"] in NAMES]
    assert all(l["client"].startswith("127.20.") for l in lines)  # never the balancer
    return [(l["id"], l["status"]) for l in lines]


def fill_and_ask(product, greedy, quiet, hold):
    """The greedy one fills the queue of writes while another process holds the database; then the quiet one
    comes. The statuses of both, or None if that took too long to mean anything."""
    with connections(product, PLACES + 100) as many, connections(product, 20, QUIET) as few:
        began = time.monotonic()
        hold.execute("BEGIN IMMEDIATE")
        for s in many:
            s.sendall(put(greedy, "common", config(name="Greedy")))
        kit.wait_until(
            lambda: number(product, "config", "smpl_app_writes_waiting") >= PLACES, "the queue is full"
        )
        for s in few:
            s.sendall(put(quiet, "common", config(name="Quiet")))
        kit.wait_until(
            lambda: number(product, "config", "smpl_app_requests_under_way") >= PLACES, "all have come"
        )
        time.sleep(0.1)
        hold.execute("ROLLBACK")
        held = time.monotonic() - began
        return ([status_of(s) for s in many], [status_of(s) for s in few]) if held < 4 else None


def test_who_fills_the_queue_of_writes_leaves_another_account_its_answers(product):
    greedy, quiet = customer(product, "greedy"), customer(product, "quiet")
    hold = sqlite3.connect(product.work / "config.db", isolation_level=None)
    for _ in range(5):
        seen = len(answered(product, "PUT"))
        if (found := fill_and_ask(product, greedy, quiet, hold)) is not None:
            break
    theirs, ours = found
    assert ours == [200] * 20, ours
    assert set(theirs) == {200, 503} and theirs.count(503) >= 80
    log = [(id, status) for id, status in answered(product, "PUT")[seen:] if status == 200]
    last = max(i for i, (id, _) in enumerate(log) if id == "quiet")
    assert last < GROUP, last  # all of them in the first group, whatever waited before them
    hold.close()


def test_who_fills_the_queue_of_long_reads_leaves_another_account_its_answers(product):
    greedy, quiet = customer(product, "greedy"), customer(product, "quiet")
    big(greedy, size=200000)
    big(quiet, size=200000)
    seen = len(answered(product, "HEAD"))
    with connections(product, product.LONG_READS) as many, connections(product, 5, QUIET) as few:
        with product.stopped() as passed_on:
            for i, s in enumerate(many):
                s.sendall(ask(greedy, f"/api/v1/configs/big?n={i}"))
            passed_on(len(many))
            for i, s in enumerate(few):
                s.sendall(ask(quiet, f"/api/v1/configs/big?n={i}"))
            passed_on(len(many) + len(few))
        ours, theirs = [status_of(s) for s in few], [status_of(s) for s in many]
    assert ours == [200] * 5, ours
    assert (503 in theirs) == (product.LONG_READS > PLACES)
    log = [(id, status) for id, status in answered(product, "HEAD")[seen:] if status == 200]
    last = max(i for i, (id, _) in enumerate(log) if id == "quiet")
    assert len(log) - last > PLACES // 2, (
        last,
        len(log),
    )  # most of those that came before were answered after


def bodies_parsed(product):
    _, text = product.curl("127.10.1.11", "/internal/v1/metrics")
    return {
        by: int(count)
        for by, count in re.findall(r'^smpl_app_bodies_parsed_total\{by="(\w+)"\} (\d+)$', text, re.M)
    }


# Half a megabyte, as many values as a body may have: all of it is taken apart before the end is found wrong
# (400).
HOSTILE = (
    b'{"data":{"type":"config","attributes":{"name":"x","items":{'
    + b",".join(b'"%05d":{"value":1}' % i for i in range(24900))
    + b'},"end":0}}}'
)


class Senders:
    """Connections of the greedy one that send a hostile body again and again, each as soon as the last one is
    answered."""

    def __init__(self, product, greedy, count, body=HOSTILE):
        self.product, self.ending, self.statuses = product, threading.Event(), []
        self.request = (
            f"PUT /api/v1/configs/common HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {greedy.key}\r\n"
            f"Content-Type: {MEDIA}\r\nX-Request-Id: {greedy.name}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        self.threads = [threading.Thread(target=self.send) for _ in range(count)]

    def send(self):
        with socket.create_connection(
            (PUBLIC, self.product.http), timeout=120, source_address=(GREEDY[0], 0)
        ) as s:
            while not self.ending.is_set():
                s.sendall(self.request)
                self.statuses.append(status_of(s))

    def __enter__(self):
        for t in self.threads:
            t.start()
        kit.wait_until(lambda: len(self.statuses) > 4, "they are being answered")
        return self

    def __exit__(self, *_):
        self.ending.set()
        for t in self.threads:
            t.join()


def milliseconds(line):
    """When it was answered."""
    return datetime.datetime.fromisoformat(line["time"].replace("Z", "+00:00")).timestamp() * 1000


def answered_meanwhile(product, connection, request, method, times):
    """How many requests of the greedy one the service answered while it had each of these of the quiet one.
    Its own log tells, so that a client that is late itself counts nothing."""

    def lines():
        return [l for l in kit.json_lines(product.work / "config.log", '"id":"') if l["id"] in NAMES]

    def ours(log):
        return [i for i, l in enumerate(log) if l["id"] == "quiet" and l["method"] == method]

    seen = len(ours(lines()))
    for _ in range(times):
        connection.sendall(request)
        assert status_of(connection) == 200
    kit.wait_until(lambda: len(ours(lines())) >= seen + times, "the log has them")
    log, found = lines(), []
    for i in ours(log)[seen : seen + times]:
        came = milliseconds(log[i]) - log[i]["ms"]
        found.append(sum(l["id"] == "greedy" and milliseconds(l) >= came for l in log[:i]))
    return found


def test_hostile_bodies_hold_up_no_request_of_another_account(product):
    """Sixteen connections whose bodies are taken apart for nothing. A read of another account waits for none
    of them; a big write for the few that the threads have and one or two turns, not for all that wait."""
    greedy, quiet = customer(product, "greedy"), customer(product, "quiet")
    document = config(name="Quiet", items={"a": {"value": "x" * 8000, "type": "STRING"}})
    before = bodies_parsed(product)
    with Senders(product, greedy, 16) as senders, connections(product, 1, QUIET) as (s,):
        reads = answered_meanwhile(product, s, ask(quiet, "/api/v1/configs/common", "GET"), "GET", 30)
        writes = answered_meanwhile(product, s, put(quiet, "common", document), "PUT", 10)
    print("answers to the greedy one during a read", reads, "during a big write", writes)
    assert set(senders.statuses) == {400}
    assert sum(reads) <= 30, reads
    assert sum(writes) <= 80, writes
    after = bodies_parsed(product)
    assert after["loop"] == before["loop"]  # none of these
    assert after["thread"] == before["thread"] + len(senders.statuses) + 10
    kit.wait_until(lambda: number(product, "config", "smpl_app_bodies_held") == 0, "nothing is left of them")
