"""Greedy neighbours: what one account queues costs another one turn, and no answer. Counted, not timed."""

import contextlib
import json
import resource
import signal
import socket
import sqlite3
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
    made = [socket.create_connection((PUBLIC, product.http), timeout=60, source_address=(source, 0)) for _ in range(count)]
    try:
        yield made
    finally:
        for s in made:
            s.close()


def put(customer, id, document):
    body = json.dumps(document)
    return (f"PUT /api/v1/configs/{id} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {customer.key}\r\nContent-Type: {MEDIA}\r\n"
            f"X-Request-Id: {customer.name}\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode()


def get(customer, target):
    return (f"HEAD {target} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {customer.key}\r\n"
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
            s.sendall(get(greedy, f"/api/v1/configs/big?n={i}"))
        for i, s in enumerate(few):
            s.sendall(get(quiet, f"/api/v1/configs/big?n={i}"))
        program.signal(signal.SIGCONT)
        ours, theirs = [status_of(s) for s in few], [status_of(s) for s in many]
    assert ours == [200] * 5, ours
    assert 503 in theirs
    log = [(id, status) for id, status in answered(product, "HEAD") if status == 200]
    last = max(i for i, (id, _) in enumerate(log) if id == "quiet")
    assert len(log) - last > PLACES // 2, (last, len(log))  # most of those that came before were answered after
