# SPDX-License-Identifier: Apache-2.0
"""What the services do when things fail: processes killed, sisters down, names moved, databases broken."""

import http.client
import json
import os
import socket
import sqlite3
import struct
import threading
import time

import pytest

import kit
from app_client import Customer, MEDIA, Writer, call, config, flag, made_up_key, product, resource, services
from product import OUTSIDE, SERVICES

ROUNDS = 30 if os.environ.get("SMPL_TEST_FULL") == "1" else 4
WRITERS = 8


def test_acknowledged_writes_survive_kill_9_at_any_instant(product):
    customer = Customer(product)
    total = 0
    for turn in range(ROUNDS):
        writers = [Writer(product, customer.key, f"r{turn}w{i}") for i in range(WRITERS)]
        for w in writers:
            w.start()
        kit.wait_until(lambda: sum(len(w.acknowledged) for w in writers) > WRITERS, "they write")
        time.sleep(0.037 * turn % 0.4)
        product.programs["config"].kill9()
        for w in writers:
            w.join(kit.PATIENCE)
        product.start("config")
        stored, page = {}, 1
        while True:
            reply = customer(
                "GET", "config", f"/configs?filter[search]=r{turn}w&page[size]=1000&page[number]={page}"
            )
            assert reply.status == 200, reply
            for c in reply.json["data"]:
                stored[c["id"]] = int(c["attributes"]["items"]["v"]["value"].split()[1])
            if len(reply.json["data"]) < 1000:
                break
            page += 1
        for w in writers:
            for id, value in w.acknowledged.items():
                # Equal, or the next write of this writer, which was stored and not told any more.
                assert stored[id] >= int(value.split()[1]), (id, value, stored[id])
            total += len(w.acknowledged)
    assert total > ROUNDS * WRITERS


def test_an_acknowledged_account_is_told_to_its_sisters_even_if_the_account_service_is_killed(product):
    product.programs["flags"].kill9()
    customer = Customer(product, wait=False)
    meta = customer.reply.json["meta"]
    assert "flags.internal.smplkit.local" in meta["pending"]
    assert sorted(meta["provisioned"] + meta["pending"]) == [
        "config.internal.smplkit.local",
        "flags.internal.smplkit.local",
    ]
    product.programs["accounts"].kill9()
    assert customer("POST", "config", "/configs", config("web")).status == 503  # nobody can check the key now
    product.start("accounts")
    kit.wait_until(lambda: customer("GET", "config", "/configs").status == 200, "the key can be checked")
    product.start("flags")
    path = f"/internal/v1/accounts/{customer.id}"
    kit.wait_until(
        lambda: call(product, "accounts", "GET", path, internal=True).json["meta"]["pending"] == [],
        "the sister is told after all",
    )
    assert call(product, "flags", "GET", path, internal=True).json["data"]["attributes"]["name"] == "Acme"
    assert customer("POST", "flags", "/flags", flag("dark")).status == 201


def test_a_sister_that_comes_back_is_told_of_every_account_in_the_meantime(product):
    product.programs["flags"].stop()
    customers = [Customer(product, f"A{i}", wait=False) for i in range(3)]
    product.start("flags")
    last = Customer(product, "Last")  # told at once, whatever pause the sister is in
    for customer in customers + [last]:
        kit.wait_until(lambda: customer("GET", "flags", "/flags").status == 200, "the account is known")


def test_a_sister_new_in_the_configuration_is_told_of_old_accounts(work, spawn):
    product = services(work, spawn, services=("accounts", "config", "flags"))
    text = (work / "accounts.yaml").read_text()
    product.programs["accounts"].stop()
    (work / "accounts.yaml").write_text(text.replace(', "http://flags.internal.smplkit.local"', ""))
    product.start("accounts")
    customer = Customer(product)
    assert customer.reply.json["meta"]["provisioned"] == ["config.internal.smplkit.local"]
    assert customer("GET", "flags", "/flags").status == 503
    assert customer("GET", "flags", "/flags").headers["retry-after"] == "1"
    product.programs["accounts"].stop()
    (work / "accounts.yaml").write_text(text)
    product.start("accounts")
    kit.wait_until(lambda: customer("GET", "flags", "/flags").status == 200, "the new sister is told")


def test_without_the_account_service_only_keys_just_checked_open_the_door(product):
    known, unknown = Customer(product), Customer(product)
    assert known("GET", "config", "/configs").status == 200
    product.programs["accounts"].kill9()
    assert known("GET", "config", "/configs").status == 200
    for _ in range(2):
        reply = unknown("GET", "config", "/configs")
        assert reply.status == 503 and reply.headers["retry-after"] == "1", reply
    assert known("GET", "flags", "/flags").status == 503  # flags never asked about this key
    assert (
        call(product, "config", "GET", "/api/v1/configs", key="sk_api_" + "0" * 36).status == 401
    )  # needs no question
    product.start("accounts")
    assert unknown("GET", "config", "/configs").status == 200


def test_a_stopped_account_service_costs_a_bounded_wait(product):
    import signal

    customer = Customer(product)
    product.programs["accounts"].signal(signal.SIGSTOP)
    try:
        assert customer("GET", "config", "/configs").status == 503
    finally:
        product.programs["accounts"].signal(signal.SIGCONT)
    kit.wait_until(lambda: customer("GET", "config", "/configs").status == 200, "it answers again")


def test_many_requests_with_one_unknown_key_are_one_question(product, work):
    product.programs["accounts"].stop()
    with (work / "accounts.yaml").open("a") as f:
        f.write("access_log: access.jsonl\n")
    product.start("accounts")
    customer = Customer(product)
    statuses = []

    def ask():
        statuses.append(customer("GET", "config", "/configs").status)

    threads = [threading.Thread(target=ask) for _ in range(24)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(kit.PATIENCE)
    assert statuses == [200] * 24
    asked = lambda: kit.json_lines(work / "access.jsonl", "/internal/v1/keys/introspect")
    kit.wait_until(asked, "the log line")
    assert len(asked()) == 1, asked()


def test_made_up_keys_cost_customers_no_answer(product):
    customer = Customer(product)
    assert customer("GET", "config", "/configs").status == 200
    statuses = []

    def flood():
        for _ in range(25):
            statuses.append(call(product, "config", "GET", "/api/v1/configs", key=made_up_key()).status)

    threads = [threading.Thread(target=flood) for _ in range(100)]
    for t in threads:
        t.start()
    fresh = Customer(product)
    while any(t.is_alive() for t in threads):
        assert customer("GET", "config", "/configs").status == 200
        assert fresh("GET", "config", "/configs").status == 200
    # On a slow machine some of them waited in vain for the account service; none of them got in.
    assert 401 in statuses and set(statuses) <= {401, 503}


def test_a_made_up_key_gets_no_body_read(product):
    """Its checksum is right, so only the account service can tell; the body would be refused as malformed if
    it were parsed."""
    customer = Customer(product)
    for service, path in (("config", "/configs"), ("flags", "/flags"), ("accounts", "/api_keys")):
        for key, status in ((made_up_key(), b"401"), (customer.key, b"400")):
            with socket.create_connection(
                (f"127.20.1.{SERVICES[service][1]}", product.http),
                timeout=kit.PATIENCE,
                source_address=(OUTSIDE, 0),
            ) as s:
                s.sendall(
                    f"POST /api/v1{path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\n"
                    "Content-Type: application/json\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"
                    f"{{ bad".encode()
                )
                assert kit.recv_all(s).split(b" ")[1] == status, (service, key)


@pytest.mark.full
def test_a_revoked_key_is_refused_everywhere_after_at_most_30_seconds(product):
    customer = Customer(product)
    second = customer("POST", "accounts", "/api_keys", resource("api_key", None, {"name": "second"})).json[
        "data"
    ]
    key = second["attributes"]["key"]
    assert call(product, "config", "GET", "/api/v1/configs", key=key).status == 200
    assert customer("POST", "accounts", f"/api_keys/{second['id']}/actions/revoke").status == 200
    kit.wait_until(
        lambda: call(product, "config", "GET", "/api/v1/configs", key=key).status == 401,
        "it is refused",
        step=0.5,
    )


def test_moving_a_sisters_record_redirects_what_she_is_told(product, work):
    moved = "127.10.1.14"
    text = (work / "config.yaml").read_text()
    (work / "second.yaml").write_text(
        text.replace("127.10.1.11", moved)
        .replace("127.20.1.11", "127.20.1.14")
        .replace("config.db", "second.db")
    )
    product.spawn(kit.binary("smpl-app"), "-c", "second.yaml").wait_ready()
    first = Customer(product, "First")
    (work / "internal.zone").write_text(product.zone(config=moved).replace(" 1 3600", " 2 3600"))
    product.reload_resolver()
    second = Customer(product, "Second")

    def known_at(address, account):
        return product.curl(address, f"/internal/v1/accounts/{account}")[0]

    assert known_at("127.10.1.11", first.id) == 200
    kit.wait_until(
        lambda: known_at(moved, first.id) == 200, "another database is told what the first one was told"
    )
    assert known_at(moved, second.id) == 200 and known_at("127.10.1.11", second.id) == 404


def test_a_name_that_the_resolver_refuses_is_no_open_door_and_told_later(product, work):
    """The service asks from an address that is in no private view."""
    product.programs["config"].stop()
    text = (work / "config.yaml").read_text()
    (work / "config.yaml").write_text(text.replace("source: 127.10.1.11", "source: 127.20.0.77"))
    product.start("config")
    customer = Customer(product)
    assert customer("GET", "config", "/configs").status == 503
    product.programs["config"].wait_line("refuses")
    product.programs["resolver"].kill9()
    other = Customer(product, "Other", wait=False)
    assert len(other.reply.json["meta"]["pending"]) == 2
    product.start("resolver")
    kit.wait_until(lambda: other("GET", "flags", "/flags").status == 200, "told once names are found again")


def test_two_instances_share_one_file(product, work):
    text = (work / "config.yaml").read_text()
    (work / "second.yaml").write_text(
        text.replace("127.10.1.11:", "127.10.1.14:").replace("127.20.1.11:", "127.20.1.14:")
    )
    product.spawn(kit.binary("smpl-app"), "-c", "second.yaml").wait_ready()
    customer = Customer(product)
    statuses = []

    def write(address, name):
        connection = http.client.HTTPConnection(
            address, product.http, timeout=kit.PATIENCE, source_address=(OUTSIDE, 0)
        )
        for n in range(40):
            connection.request(
                "POST",
                "/api/v1/configs",
                json.dumps(config(f"{name}{n}")),
                {"Authorization": f"Bearer {customer.key}", "Content-Type": MEDIA},
            )
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
        connection.close()

    threads = [
        threading.Thread(target=write, args=(f"127.20.1.{11 if i % 2 else 14}", f"w{i}-")) for i in range(4)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join(kit.PATIENCE)
    assert statuses == [201] * 160
    for address in ("127.20.1.11", "127.20.1.14"):
        status, body = product.curl(
            address, "/api/v1/configs?meta%5Btotal%5D=true", "-H", f"Authorization: Bearer {customer.key}"
        )
        assert status == 200 and json.loads(body)["meta"]["pagination"]["total"] == 161


def refused_start(product, work, name="config"):
    program = product.spawn(*product.command(name))
    assert program.wait() == 1
    lines = [l for l in program.err if l.strip()]
    assert len(lines) == 1, program.stderr
    return lines[0]


def test_a_broken_database_is_one_clear_line_at_start(product, work):
    Customer(product)
    for name in ("config", "flags"):
        product.programs[name].stop()
    database = work / "config.db"
    good = database.read_bytes()
    database.write_bytes(b"not a database, surely" * 400)
    assert "config.db" in refused_start(product, work) and "not a database" in refused_start(product, work)
    database.write_bytes(good[:4096] + b"\xff" * 4096 + good[8192:])
    assert "corrupt" in refused_start(product, work)
    database.write_bytes(good)
    with sqlite3.connect(database) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    assert "newer" in refused_start(product, work)
    database.write_bytes((work / "flags.db").read_bytes())
    assert "not a database of the config service" in refused_start(product, work)
    database.write_bytes(good)
    product.start("config")


def test_an_account_service_at_a_public_address_is_refused_at_start(product, work):
    product.programs["config"].stop()
    text = (work / "config.yaml").read_text()
    (work / "config.yaml").write_text(text.replace("http://app.internal.smplkit.local", "http://8.8.8.8"))
    assert "'http://8.8.8.8': not a private address" in refused_start(product, work)


def test_a_database_that_another_process_locks_is_busy_and_then_well(product, work):
    customer = Customer(product)
    assert customer("POST", "config", "/configs", config("a")).status == 201
    lock = sqlite3.connect(work / "config.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    reply = customer("POST", "config", "/configs", config("b"))
    assert reply.status == 503 and reply.headers["retry-after"] == "1"
    assert customer("GET", "config", "/configs/a").status == 200  # reading goes on
    lock.execute("ROLLBACK")
    lock.close()
    assert customer("POST", "config", "/configs", config("b")).status == 201


def test_sigterm_under_load_loses_no_acknowledged_write_and_ends_with_0(product):
    customer = Customer(product)
    writers = [Writer(product, customer.key, f"w{i}") for i in range(WRITERS)]
    for w in writers:
        w.start()
    kit.wait_until(lambda: sum(len(w.acknowledged) for w in writers) > WRITERS, "they write")
    assert product.programs["config"].stop() == 0
    for w in writers:
        w.join(kit.PATIENCE)
    product.start("config")
    assert sum(len(w.acknowledged) for w in writers) > 0
    for w in writers:
        for id, value in w.acknowledged.items():
            got = customer("GET", "config", f"/configs/{id}").attributes["items"]["v"]["value"]
            assert int(got.split()[1]) >= int(value.split()[1])


def gauge(product, service, name):
    _, text = product.curl(f"127.10.1.{SERVICES[service][1]}", "/internal/v1/metrics")
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith(f"{name} ")))


def leave_before_the_answer(product, service, head, body=""):
    """Sends a request and resets the connection."""
    with socket.create_connection(
        (f"127.20.1.{SERVICES[service][1]}", product.http), timeout=kit.PATIENCE, source_address=(OUTSIDE, 0)
    ) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.sendall(f"{head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


def test_whoever_leaves_before_the_answer_leaves_nothing_behind(product):
    """Answers come by callbacks: pages of keys from the reading thread, the word on unknown keys from the
    account service, writes once they are committed. A request is held until then, and let go."""
    customer = Customer(product)
    idle = {
        service: gauge(product, service, "smpl_app_requests_under_way") for service in ("accounts", "config")
    }
    for i in range(100):
        for service, line, key in (
            ("accounts", "GET /api/v1/api_keys", customer.key),
            ("config", "GET /api/v1/configs", made_up_key()),
            ("config", "DELETE /api/v1/configs/none", customer.key),
        ):
            host = f"Host: {'app' if service == 'accounts' else service}.smplkit.com"
            head = f"{line} HTTP/1.1\r\n{host}\r\nAuthorization: Bearer {key}"
            leave_before_the_answer(product, service, head)
    for service, before in idle.items():
        kit.wait_until(
            lambda: gauge(product, service, "smpl_app_requests_under_way") == before, f"{service} holds none"
        )
    assert customer("GET", "accounts", "/api_keys").status == 200
    assert customer("GET", "config", "/configs").status == 200
