# SPDX-License-Identifier: Apache-2.0
"""Several instances of one service on one machine, with one SQLite file between them."""

import http.client
import json
import os
import sqlite3
import threading

import pytest

import internal_keys
import kit
from app_client import Customer, call, services

ROUNDS = 30 if os.environ.get("SMPL_TEST_FULL") == "1" else 4
INSTANCES = 6
CLIENT = "127.46.9.9"
KEY = internal_keys.make()


def write(work, count, service="accounts"):
    """Configurations of that many instances, each with one internal listener and nothing else, as behind load
    balancers."""
    port = kit.free_port(*[f"127.46.0.{i + 1}" for i in range(count)])
    tail = (
        ""
        if service == "accounts"
        else (
            'accounts: {url: "http://app.internal.smplkit.local"}\nresolver: {servers: ["127.0.0.1:5300"]}\n'
        )
    )
    for i in range(count):
        (work / f"{i}.yaml").write_text(
            f"service: {service}\nlisteners:\n"
            f'  - {{name: internal, address: "127.46.0.{i + 1}:{port}", rules: ["/*"], clients: '
            f"[127.46.0.0/16]}}\n"
            f"database: shared.db\naccess_log: access.log\n{tail}"
            + internal_keys.accepted([("creator", KEY, ["provision"])])
        )
    return port


@pytest.mark.parametrize("service", ["accounts", "config"])
def test_instances_that_start_together_on_one_file_all_come_up(work, spawn, service):
    """On a file that is not there yet, and on one that is: one of them makes or migrates it, the others
    wait."""
    write(work, INSTANCES, service)
    for turn in range(ROUNDS):
        if turn % 2 == 0:
            for path in work.glob("shared.db*"):
                path.unlink()
        started = [spawn(kit.binary("smpl-app"), "-c", f"{i}.yaml") for i in range(INSTANCES)]
        for program in started:
            program.wait_ready()
        for program in started:
            assert program.stop() == 0, program.stderr
            assert "error" not in program.stderr, program.stderr


class Creator(threading.Thread):
    """Creates accounts at one instance until told to end or cut off; remembers what was acknowledged."""

    def __init__(self, address, port, name, count=None):
        super().__init__(daemon=True)
        self.address, self.port, self.name_, self.count = address, port, name, count
        self.ids, self.statuses = [], []
        self.ending = False

    def run(self):
        connection = http.client.HTTPConnection(
            self.address, self.port, timeout=kit.PATIENCE, source_address=(CLIENT, 0)
        )
        try:
            while not self.ending and (self.count is None or len(self.ids) < self.count):
                document = {
                    "data": {"type": "account", "attributes": {"name": f"{self.name_} {len(self.ids)}"}}
                }
                connection.request(
                    "POST",
                    "/internal/v1/accounts",
                    json.dumps(document),
                    {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"},
                )
                response = connection.getresponse()
                reply = json.loads(response.read())
                self.statuses.append(response.status)
                if response.status == 201:
                    self.ids.append(reply["data"]["id"])
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()


def known(address, port, id):
    connection = http.client.HTTPConnection(address, port, timeout=kit.PATIENCE, source_address=(CLIENT, 0))
    connection.request("GET", f"/internal/v1/accounts/{id}")
    status = connection.getresponse().status
    connection.close()
    return status == 200


def test_a_busy_instance_leaves_room_for_the_writes_of_another(work, spawn):
    port = write(work, 2)
    for i in range(2):
        spawn(kit.binary("smpl-app"), "-c", f"{i}.yaml").wait_ready()
    crowd = [Creator("127.46.0.1", port, f"crowd{i}") for i in range(16)]
    one = Creator("127.46.0.2", port, "one", count=100)
    for c in crowd + [one]:
        c.start()
    one.join(kit.PATIENCE * 2)
    for c in crowd:
        c.ending = True
    for c in crowd:
        c.join(kit.PATIENCE)
    assert one.statuses == [201] * 100
    assert all(set(c.statuses) <= {201} for c in crowd)
    for id in one.ids[-5:] + crowd[0].ids[-5:]:
        assert known("127.46.0.1", port, id) and known("127.46.0.2", port, id)


def test_what_a_killed_instance_acknowledged_is_there_at_the_other(work, spawn):
    port = write(work, 2)
    programs = [spawn(kit.binary("smpl-app"), "-c", f"{i}.yaml").wait_ready() for i in range(2)]
    for turn in range(ROUNDS):
        creators = [Creator(f"127.46.0.{i % 2 + 1}", port, f"{turn}-{i}") for i in range(8)]
        for c in creators:
            c.start()
        kit.wait_until(lambda: min(len(c.ids) for c in creators) >= 5, "all of them write")
        programs[0].kill9()
        before = sum(len(c.ids) for c in creators[1::2])
        kit.wait_until(lambda: sum(len(c.ids) for c in creators[1::2]) > before + 20, "the other one goes on")
        for c in creators:
            c.ending = True
        for c in creators:
            c.join(kit.PATIENCE)
        assert all(set(c.statuses) <= {201} for c in creators)
        with sqlite3.connect(work / "shared.db") as db:
            stored = {id for id, in db.execute("SELECT id FROM accounts")}
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        db.close()
        assert not [id for c in creators for id in c.ids if id not in stored]
        programs[0] = spawn(kit.binary("smpl-app"), "-c", "0.yaml").wait_ready()


def test_a_single_internal_listener_serves_both_tiers(work, spawn):
    """The shape behind two load balancers: no public listener at all."""
    port = write(work, 1)
    spawn(kit.binary("smpl-app"), "-c", "0.yaml").wait_ready()
    creator = Creator("127.46.0.1", port, "a", count=1)
    creator.start()
    creator.join(kit.PATIENCE)
    assert creator.statuses == [201]
    for path, status in (("/internal/v1/ready", 200), ("/api/v1/accounts/current", 401), ("/docs", 200)):
        connection = http.client.HTTPConnection(
            "127.46.0.1", port, timeout=kit.PATIENCE, source_address=(CLIENT, 0)
        )
        connection.request(
            "GET", path, headers={"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
        )
        assert connection.getresponse().status == status, path
        connection.close()


def test_an_account_told_to_one_instance_is_known_at_the_other(work, spawn):
    product = services(work, spawn)
    text = (work / "config.yaml").read_text()
    (work / "second.yaml").write_text(
        text.replace("127.10.1.11:", "127.10.1.14:").replace("127.20.1.11:", "127.20.1.14:")
    )
    spawn(kit.binary("smpl-app"), "-c", "second.yaml").wait_ready()
    customer = Customer(product)
    authorization = f"Authorization: Bearer {customer.key}"
    assert (
        call(
            product,
            "config",
            "POST",
            "/api/v1/configs",
            {"data": {"type": "config", "id": "web", "attributes": {"name": "Web"}}},
            key=customer.key,
        ).status
        == 201
    )
    assert product.curl("127.20.1.14", "/api/v1/configs/web", "-H", authorization)[0] == 200
    assert call(product, "config", "DELETE", "/api/v1/configs/web", key=customer.key).status == 204
    assert product.curl("127.20.1.14", "/api/v1/configs/web", "-H", authorization)[0] == 404
