# SPDX-License-Identifier: Apache-2.0
"""Customers beside one that takes what it can, before it has a key and with one, straight at the service's
public listener and through real
balancers: no other customer is refused."""

import datetime
import http.client
import json
import socket

import pytest

import kit
from app_client import Customer, made_up_key
from balanced import BalancedProduct
from product import OUTSIDE, Product, alone, public_name

pytestmark = pytest.mark.skipif(kit.SANITIZED, reason="counts what the release build does")

PUBLIC = "127.20.1.11"
ATTACKER = "127.20.0.66"
CONNECTIONS = 700  # more than the questions that one source ever had places for
CUSTOMERS = 40
BURST = 60
WAIT_MS = 2900  # KEYCHECK_QUEUE_MS, KEYCHECK_TIMEOUT_MS, and a timer's inexactness
TURNS = 128  # KEYCHECK_ASKED_MAX at each of two instances


class Limited(Product):
    """With a rate limit that a test can reach however slow the machine is."""

    RATE_LIMIT = f"rate_limit: {{requests: 1, burst: {BURST}}}\n"


class LimitedBehindBalancers(Limited, BalancedProduct):
    pass


@pytest.fixture(scope="module", params=["direct", "balanced"])
def product(request):
    make = {"direct": Limited, "balanced": LimitedBehindBalancers}[request.param]
    with (
        alone(make, ends=kit.Program.kill9, services=("accounts", "config"), bastion=False) as made,
        made.unwatched(),
    ):
        yield made


def get(key):
    return (
        f"GET /api/v1/configs HTTP/1.1\r\nHost: {public_name('config')}\r\n"
        f"Authorization: Bearer {key}\r\n"
        "\r\n"
    ).encode()


def connect(product, source):
    return socket.create_connection((PUBLIC, product.http), timeout=kit.PATIENCE, source_address=(source, 0))


def status_of(s):
    return int(s.recv(65536).split(b" ", 2)[1])


def config_programs(product):
    return [p for name, p in product.programs.items() if name.startswith("config")]


def log(product):
    return [
        json.loads(line) for p in config_programs(product) for line in list(p.out) if line.startswith("{")
    ]


def came(line):
    """When the service had it, in seconds."""
    answered = datetime.datetime.fromisoformat(line["time"].replace("Z", "+00:00")).timestamp()
    return answered - line["ms"] / 1000


def was_late(product, source):
    """Whether the source was refused because the machine is slow: the service had its request for as long as
    one may wait, and in that time asked about no more keys of the attacker than its turns allow."""
    line = kit.wait_until(
        lambda: [l for l in log(product) if (l["client"] or "").startswith(f"{source}:")], "it is logged"
    )[-1]
    answered = came(line) + line["ms"] / 1000
    others = [l for l in log(product) if l["status"] == 401]
    meanwhile = sum(came(line) <= came(l) + l["ms"] / 1000 <= answered for l in others)
    return line["ms"] >= WAIT_MS and meanwhile <= TURNS


def new_keys(product, count):
    customer = Customer(product, wait=False)  # flags does not run here
    body = {"data": {"type": "api_key", "attributes": {"name": "one of many"}}}
    replies = [customer("POST", "accounts", "/api_keys", body) for _ in range(count)]
    return [reply.json["data"]["attributes"]["key"] for reply in replies]


def test_made_up_keys_cost_customers_of_other_addresses_no_answer(product):
    """Each customer's key is one that this service has never asked about."""
    keys = new_keys(product, CUSTOMERS)
    attack = [connect(product, ATTACKER) for _ in range(CONNECTIONS)]
    try:
        for round in range(3):
            for s in attack:
                s.sendall(get(made_up_key()))
            sources = {f"127.20.{10 + i}.1": keys[i] for i in range(round, CUSTOMERS, 3)}
            customers = {source: connect(product, source) for source in sources}
            for source, s in customers.items():
                s.sendall(get(sources[source]))
            statuses = {source: status_of(s) for source, s in customers.items()}
            refused = [source for source, status in statuses.items() if status != 200]
            assert {statuses[source] for source in refused} <= {503}, statuses
            assert all(was_late(product, source) for source in refused), statuses
            for s in customers.values():
                s.close()
            assert {status_of(s) for s in attack} <= {401, 503}
    finally:
        for s in attack:
            s.close()
    seen = [line for line in log(product) if line["status"] == 401]
    assert seen and all(line["client"].split(":")[0] == ATTACKER for line in seen)


def ask(product, key, count, source=OUTSIDE):
    """So many requests on one connection; (status, headers, body) of each."""
    connection = http.client.HTTPConnection(
        PUBLIC, product.http, timeout=kit.PATIENCE, source_address=(source, 0)
    )
    answers = []
    for _ in range(count):
        connection.request(
            "GET",
            "/api/v1/configs/common",
            headers={"Host": public_name("config"), "Authorization": f"Bearer {key}"},
        )
        response = connection.getresponse()
        answers.append((response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()))
    connection.close()
    return answers


def test_a_key_over_its_rate_gets_429_and_no_other_key_notices(product):
    """Counted by instance: behind the balancers, which ask two in turn, twice as many pass."""
    instances = len(config_programs(product))
    customer = Customer(product, wait=False)
    greedy, modest = customer.key, new_keys(product, 1)[0]
    answers = ask(product, greedy, (BURST + 40) * instances)
    passed = [headers for status, headers, _ in answers if status == 200]
    refused = [(headers, json.loads(body)) for status, headers, body in answers if status == 429]
    assert len(passed) + len(refused) == len(answers) and len(passed) >= BURST * instances and refused
    first = passed[0]
    assert (first["ratelimit-limit"], first["ratelimit-remaining"], first["ratelimit-reset"]) == (
        str(BURST),
        str(BURST - 1),
        "1",
    )
    for headers, document in refused:
        assert headers["ratelimit-limit"] == str(BURST) and headers["ratelimit-remaining"] == "0"
        assert 1 <= int(headers["retry-after"]) <= 1 and 1 <= int(headers["ratelimit-reset"]) <= BURST
        assert (
            document["errors"][0]["status"] == "429" and document["errors"][0]["title"] == "Too many requests"
        )
    for status, headers, _ in ask(product, modest, 10):
        assert status == 200 and int(headers["ratelimit-remaining"]) >= BURST - 11


def test_what_has_no_key_or_no_route_is_never_429(product):
    """A public refusal stays one 400 and one 404 until a route has matched, and a key that nobody knows has
    no rate."""
    key = Customer(product, wait=False).key
    assert 429 in [status for status, _, _ in ask(product, key, (BURST + 40) * len(config_programs(product)))]
    for path, sent, wanted in (
        ("/api/v1/nothing", key, 404),
        ("/internal/v1/health", key, 404),
        ("/api/v1/configs", None, 401),
        ("/api/v1/configs", made_up_key(), 401),
        ("/api/v1/configs/%2e%2e/common", key, 400),
    ):
        headers = ["-H", f"Authorization: Bearer {sent}"] if sent else []
        status, _ = product.curl(PUBLIC, path, "-H", f"Host: {public_name('config')}", *headers)
        assert status == wanted, (path, status)
