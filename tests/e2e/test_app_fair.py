"""Greedy neighbours: what one account queues costs another one turn, and no answer. Counted, not timed."""

import contextlib
import json
import re
import resource
import signal
import socket
import sqlite3
import threading
import time

import kit
import pytest
from app_client import MEDIA, Customer, config, services
from test_app_answers import big, number

PUBLIC = "127.20.1.11"
PLACES = 1024  # STORAGE_QUEUE_MAX, PRODUCT_READS_MAX
GROUP = 256    # STORAGE_GROUP_MAX


@pytest.fixture(scope="module")
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def connections(product, count, source="127.20.0.9"):
    made = [socket.create_connection((PUBLIC, product.http), timeout=kit.PATIENCE, source_address=(source, 0)) for _ in range(count)]
    try:
        yield made
    finally:
        for s in made:
            s.close()


def put(customer, id, document):
    body = json.dumps(document)
    return (f"PUT /api/v1/configs/{id} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {customer.key}\r\nContent-Type: {MEDIA}\r\n"
            f"X-Request-Id: {customer.name}\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode()


def ask(customer, target, method="HEAD"):
    return (f"{method} {target} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {customer.key}\r\n"
            f"X-Request-Id: {customer.name}\r\n\r\n").encode()


def status_of(connection):
    return int(connection.recv(65536).split(b" ", 2)[1])


def customer(product, name):
    made = Customer(product, name)
    made.name = name
    assert made("GET", "config", "/configs/common").status == 200  # its key is known from now on
    return made


@pytest.fixture
def product(work, spawn, many_files):
    """With a log that is a file, which a slow reader cannot make it lose lines of."""
    made = services(work, spawn)
    made.programs["config"].signal(signal.SIGTERM)
    assert made.programs["config"].wait() == 0
    with open(work / "config.yaml", "a") as f:
        f.write("access_log: config.log\n")
    made.start("config")
    return made


def answered(product, method):
    """Who was answered with what, in order: (name, status)."""
    lines = [json.loads(l) for l in (product.work / "config.log").read_text().splitlines() if f'"method":"{method}"' in l]
    return [(l["id"], l["status"]) for l in lines]


def fill_and_ask(product, greedy, quiet, hold):
    """The greedy one fills the queue of writes while another process holds the database; then the quiet one comes. The statuses of
    both, or None if that took too long to mean anything."""
    with connections(product, PLACES + 100) as many, connections(product, 20, "127.20.0.8") as few:
        began = time.monotonic()
        hold.execute("BEGIN IMMEDIATE")
        for s in many:
            s.sendall(put(greedy, "common", config(name="Greedy")))
        kit.wait_until(lambda: number(product, "config", "smpl_app_writes_waiting") >= PLACES, "the queue is full")
        for s in few:
            s.sendall(put(quiet, "common", config(name="Quiet")))
        kit.wait_until(lambda: number(product, "config", "smpl_app_requests_under_way") >= PLACES, "all have come")
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
    program = product.programs["config"]
    with connections(product, PLACES + 500) as many, connections(product, 5, "127.20.0.8") as few:
        program.signal(signal.SIGSTOP)
        for i, s in enumerate(many):
            s.sendall(ask(greedy, f"/api/v1/configs/big?n={i}"))
        for i, s in enumerate(few):
            s.sendall(ask(quiet, f"/api/v1/configs/big?n={i}"))
        program.signal(signal.SIGCONT)
        ours, theirs = [status_of(s) for s in few], [status_of(s) for s in many]
    assert ours == [200] * 5, ours
    assert 503 in theirs
    log = [(id, status) for id, status in answered(product, "HEAD") if status == 200]
    last = max(i for i, (id, _) in enumerate(log) if id == "quiet")
    assert len(log) - last > PLACES // 2, (last, len(log))  # most of those that came before were answered after


def bodies_parsed(product):
    _, text = product.curl("127.10.1.11", "/internal/v1/metrics")
    return {by: int(count) for by, count in re.findall(r'^smpl_app_bodies_parsed_total\{by="(\w+)"\} (\d+)$', text, re.M)}


# Half a megabyte, as many values as a body may have: all of it is taken apart before the end is found wrong (400).
HOSTILE = (b'{"data":{"type":"config","attributes":{"name":"x","items":{' +
           b",".join(b'"%05d":{"value":1}' % i for i in range(24900)) + b'},"end":0}}}')


class Senders:
    """Connections of the greedy one that send a hostile body again and again, each as soon as the last one is answered."""

    def __init__(self, product, greedy, count, body=HOSTILE):
        self.product, self.ending, self.statuses = product, threading.Event(), []
        self.request = (f"PUT /api/v1/configs/common HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {greedy.key}\r\n"
                        f"Content-Type: {MEDIA}\r\nX-Request-Id: {greedy.name}\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body
        self.threads = [threading.Thread(target=self.send) for _ in range(count)]

    def send(self):
        with socket.create_connection((PUBLIC, self.product.http), timeout=120, source_address=("127.20.0.9", 0)) as s:
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


def answered_meanwhile(product, connection, request, name, times):
    """How many requests of name were answered between each of the requests and its answer."""
    def count():
        return (product.work / "config.log").read_text().count(f'"id":"{name}"')

    found = []
    for _ in range(times):
        before = count()
        connection.sendall(request)
        assert status_of(connection) == 200
        found.append(count() - before)
    return found


def test_hostile_bodies_hold_up_no_request_of_another_account(product):
    """Sixteen connections whose bodies are taken apart for nothing. A read of another account waits for none of them; a big write for
    the few that the threads have and one or two turns, not for all that wait."""
    greedy, quiet = customer(product, "greedy"), customer(product, "quiet")
    document = config(name="Quiet", items={"a": {"value": "x" * 8000, "type": "STRING"}})
    before = bodies_parsed(product)
    with Senders(product, greedy, 16) as senders, connections(product, 1, "127.20.0.8") as (s,):
        reads = answered_meanwhile(product, s, ask(quiet, "/api/v1/configs/common", "GET"), "greedy", 30)
        writes = answered_meanwhile(product, s, put(quiet, "common", document), "greedy", 10)
    print("answers to the greedy one during a read", reads, "during a big write", writes)
    assert set(senders.statuses) == {400}
    assert sum(reads) <= 30, reads
    assert sum(writes) <= 80, writes
    after = bodies_parsed(product)
    assert after["loop"] == before["loop"]  # none of these
    assert after["thread"] == before["thread"] + len(senders.statuses) + 10
    kit.wait_until(lambda: number(product, "config", "smpl_app_bodies_held") == 0, "nothing is left of them")

