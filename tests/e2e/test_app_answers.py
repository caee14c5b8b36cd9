# SPDX-License-Identifier: Apache-2.0
"""Answers that are kept ready: what they answer is what a read of the database would answer, whoever has
written to it."""

import http.client
import os
import random
import re
import resource
import socket
import sqlite3
import threading

import pytest

import kit
from app_client import Customer, big, call, config, flag, number, resource as document, services

FULL = os.environ.get("SMPL_TEST_FULL") == "1"
SECOND = {"config": (".1.11:", ".1.14:"), "flags": (".1.12:", ".1.15:")}


def second_instance(product, service):
    """Another process on the same database file; a function that calls it as a customer."""
    old, new = SECOND[service]
    (product.work / "second.yaml").write_text(
        (product.work / f"{service}.yaml").read_text().replace(old, new)
    )
    program = product.spawn(kit.binary("smpl-app"), "-c", "second.yaml").wait_ready()
    return program, f"127.20{new.rstrip(':')}"


def fetch(product, address, path, key, *argv):
    """Status line, headers and body as they came, without what differs by design: the date and the request's
    id."""
    status, text = product.curl(address, path, "-i", "-H", f"Authorization: Bearer {key}", *argv)
    assert status != 0, text
    assert "X-Request-Id: " in text
    return status, re.sub(r"(Date|X-Request-Id): [^\r\n]*", r"\1: ?", text)


def test_a_kept_answer_is_byte_for_byte_what_was_made_of_the_database(work, spawn):
    """Every route that reads: made by one process, made by another, and kept."""
    product = services(work, spawn)
    customer = Customer(product)
    for i in range(3):
        assert (
            customer(
                "POST",
                "config",
                "/configs",
                config(
                    f"c{i}",
                    items={"n": {"value": 0.1 + i, "type": "NUMBER"}},
                    description='Ä \u2028 " \\ /',
                    environments={"prod": {"n": 1e300}},
                ),
            ).status
            == 201
        )
        assert (
            customer(
                "POST",
                "flags",
                "/flags",
                flag(
                    f"f{i}",
                    environments={
                        "prod": {
                            "enabled": True,
                            "rules": [{"logic": {"==": [{"var": "user.plan"}, "pro"]}, "value": True}],
                        }
                    },
                ),
            ).status
            == 201
        )
    ways = [[], ["-H", "Accept: application/json"], ["-I"], ["--http1.0"]]
    lists = [
        "",
        "?meta[total]=true",
        "?sort=-name&page[size]=2",
        "?page[number]=2&page[size]=1",
        "?filter[search]=C1",
        "?filter[managed]=false",
    ]
    paths = {
        "config": [f"/configs{q}" for q in lists] + ["/configs/c1", "/configs/c%31", "/configs/common"],
        "flags": [
            f"/flags{q}" for q in lists + ["?filter[type]=BOOLEAN", "?filter[references_context_type]=user"]
        ]
        + ["/flags/f1"],
    }
    for service, host in (("config", 11), ("flags", 12)):
        program, other = second_instance(product, service)
        used, asked = number(product, service, "smpl_app_answers_used_total"), 0
        for path in paths[service]:
            for argv in ways if path == paths[service][-1] else ways[:1]:
                made = fetch(product, other, f"/api/v1{path}", customer.key, *argv)
                first = fetch(product, f"127.20.1.{host}", f"/api/v1{path}", customer.key, *argv)
                kept = fetch(product, f"127.20.1.{host}", f"/api/v1{path}", customer.key, *argv)
                assert made[0] == 200 and first == made and kept == made, path
                asked += 1
        assert number(product, service, "smpl_app_answers_used_total") >= used + asked
        for path in (
            f"/api/v1/{service.rstrip('s')}s/none",
            f"/api/v1/{service.rstrip('s')}s?sort=none",
        ):  # refusals are made anew
            before = number(product, service, "smpl_app_answers_used_total")
            assert fetch(product, f"127.20.1.{host}", path, customer.key) == fetch(
                product, f"127.20.1.{host}", path, customer.key
            )
            assert number(product, service, "smpl_app_answers_used_total") == before
        program.stop()


def test_answers_are_the_accounts_own_and_nobodys_without_a_good_key(work, spawn):
    product = services(work, spawn)
    one, two = Customer(product, "One"), Customer(product, "Two")
    for customer, name in ((one, "of one"), (two, "of two")):
        assert customer("POST", "config", "/configs", config("web", name=name)).status == 201
    for _ in range(3):
        assert one("GET", "config", "/configs/web").attributes["name"] == "of one"
        assert two("GET", "config", "/configs/web").attributes["name"] == "of two"
    reply = one("POST", "accounts", "/api_keys", document("api_key", None, {"name": "second"}))
    assert one("POST", "accounts", f"/api_keys/{reply.json['data']['id']}/actions/revoke").status == 200
    for key in (None, reply.attributes["key"], one.key[:-1] + ("a" if one.key[-1] != "a" else "b")):
        assert call(product, "config", "GET", "/api/v1/configs/web", key=key).status == 401


class Pair:
    """Two instances of the config service on one file, and what they should say."""

    def __init__(self, work, spawn):
        self.product = services(work, spawn)
        self.customer = Customer(self.product)
        self.program, other = second_instance(self.product, "config")
        self.addresses = ["127.20.1.11", other]
        self.connections = {}

    def ask(self, address, method, path, document=None):
        if address not in self.connections:
            self.connections[address] = http.client.HTTPConnection(
                address, self.product.http, timeout=kit.PATIENCE, source_address=("127.20.0.9", 0)
            )
        return call(
            self.product,
            "config",
            method,
            f"/api/v1{path}",
            document,
            key=self.customer.key,
            connection=self.connections[address],
        )


def test_each_instance_answers_with_what_either_has_acknowledged(work, spawn):
    """A random walk: writes at one or the other, or by sqlite3 itself, and every read must say what a
    dictionary says."""
    pair, rng, said = Pair(work, spawn), random.Random(6), {"common": "Common"}
    for step in range(2000 if FULL else 250):
        address, id = rng.choice(pair.addresses), f"c{rng.randrange(4)}"
        act = rng.random()
        if act < 0.15:
            status = pair.ask(address, "POST", "/configs", config(id, name=f"v{step}")).status
            assert status == (409 if id in said else 201)
            said.setdefault(id, f"v{step}")
        elif act < 0.25 and id in said:
            assert pair.ask(address, "PUT", f"/configs/{id}", config(name=f"v{step}")).status == 200
            said[id] = f"v{step}"
        elif act < 0.32:
            assert pair.ask(address, "DELETE", f"/configs/{id}").status == (204 if id in said else 404)
            said.pop(id, None)
        elif act < 0.36 and id in said:  # an operator with the command line
            with sqlite3.connect(work / "config.db", timeout=kit.PATIENCE) as db:
                db.execute("UPDATE configs SET name = ? WHERE id = ?", (f"v{step}", id))
            db.close()
            said[id] = f"v{step}"
        elif act < 0.8:
            reply = pair.ask(address, "GET", f"/configs/{id}")
            assert (reply.attributes["name"] if reply.status == 200 else None) == said.get(id), step
        else:
            reply = pair.ask(address, "GET", "/configs?meta[total]=true")
            assert {d["id"]: d["attributes"]["name"] for d in reply.json["data"]} == said, step
            assert reply.json["meta"]["pagination"]["total"] == len(said)
    assert number(pair.product, "config", "smpl_app_answers_used_total") > 5


def test_a_read_that_begins_after_a_write_was_acknowledged_finds_it(work, spawn):
    """Writers at one instance, readers at both, and the writers' instance is killed again and again: versions
    never go back, and never stay behind what was acknowledged before the read began."""
    pair = Pair(work, spawn)
    acknowledged, failures, ending = [0], [], threading.Event()
    assert pair.ask(pair.addresses[0], "POST", "/configs", config("v", name="0")).status == 201

    def write():
        version = 0
        while not ending.is_set():
            version += 1
            try:
                reply = call(
                    pair.product,
                    "config",
                    "PUT",
                    "/api/v1/configs/v",
                    config(name=str(version)),
                    key=pair.customer.key,
                )
                if reply.status == 200:
                    acknowledged[0] = version
            except (
                OSError,
                http.client.HTTPException,
                ValueError,
            ):  # killed: what was under way may be there or not
                ending.wait(0.02)

    def read(address):
        seen, reads = 0, 0
        while not ending.is_set():
            least = acknowledged[0]
            status, text = pair.product.curl(
                address, "/api/v1/configs/v", "-H", f"Authorization: Bearer {pair.customer.key}"
            )
            if status != 200:
                continue
            version = int(re.search(r'"name":"(\d+)"', text).group(1))
            if version < max(least, seen):
                failures.append((address, version, least, seen))
            seen, reads = version, reads + 1
        if reads == 0:
            failures.append(f"{address} was never read")

    threads = [threading.Thread(target=write)] + [
        threading.Thread(target=read, args=(a,)) for a in pair.addresses
    ]
    for t in threads:
        t.start()
    try:
        for _ in range(20 if FULL else 3):
            before = acknowledged[0]
            kit.wait_until(lambda: acknowledged[0] > before + 20 or failures, "writes go on")
            pair.product.programs["config"].kill9()
            pair.product.start("config")
    finally:
        ending.set()
        for t in threads:
            t.join(kit.PATIENCE)
    assert not failures, failures[:5]


def test_a_long_read_is_answered_as_a_short_one_is(work, spawn):
    product = services(work, spawn)
    customer = Customer(product)
    made = big(customer)
    for path in ("/configs/big", "/configs?sort=key"):
        replies = [customer("GET", "config", path) for _ in range(3)]
        assert all(r.status == 200 and r.text == replies[0].text for r in replies)
        assert made.json["data"] in (
            replies[0].json["data"],
            replies[0].json["data"][0] if "?" in path else None,
        )
    assert (
        customer("GET", "config", "/configs/none").error["detail"]
        == "there is no config 'none' in this account"
    )
    # clients that go away while theirs is being made
    gone = [
        http.client.HTTPConnection("127.20.1.11", product.http, source_address=("127.20.0.9", 0))
        for _ in range(20)
    ]
    for i, connection in enumerate(gone):
        connection.request(
            "GET", f"/api/v1/configs/big?n={i}", headers={"Authorization": f"Bearer {customer.key}"}
        )
    for connection in gone:
        connection.close()
    assert customer("GET", "config", "/configs/big").text == customer("GET", "config", "/configs/big").text
    kit.wait_until(
        lambda: number(product, "config", "smpl_app_reads_waiting") == 0, "what nobody waits for is over too"
    )


WAITING = 1024  # PRODUCT_READS_MAX


@pytest.mark.full
def test_so_many_long_reads_wait_and_no_more(work, spawn):
    product = services(work, spawn)
    customer = Customer(product)
    big(customer, size=200000)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    connections = [
        socket.create_connection(("127.20.1.11", product.http), source_address=("127.20.0.9", 0))
        for _ in range(WAITING + 100)
    ]
    # each asks for another thing, or one answer would do for all of them
    requests = [
        f"HEAD /api/v1/configs/big?n={i} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {customer.key}\r\n"
        "\r\n".encode()
        for i in range(len(connections))
    ]
    program = product.programs["config"]
    try:
        program.signal(19)
        for s, request in zip(connections, requests):
            s.sendall(request)
        program.signal(18)
        answers = [s.recv(4096).decode() for s in connections]
    finally:
        for s in connections:
            s.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    served, refused = [a for a in answers if " 200 OK" in a], [a for a in answers if " 503 " in a]
    assert len(served) + len(refused) == len(connections) and len(served) >= WAITING
    assert refused and all("Retry-After: 1\r\n" in a for a in refused)
    assert customer("GET", "config", "/configs/big").status == 200
