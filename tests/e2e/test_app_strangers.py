"""Customers beside a source that takes what it can before it has a key, straight at the service's public listener and through real
balancers: no customer is refused."""

import json
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

import kit
from app_client import Customer, made_up_key
from balanced import BalancedProduct
from product import Product, public_name

pytestmark = pytest.mark.skipif(kit.SANITIZED, reason="counts what the release build does")

PUBLIC = "127.20.1.11"
ATTACKER = "127.20.0.66"
CONNECTIONS = 700  # more than the questions that one source ever had places for
CUSTOMERS = 40


@pytest.fixture(scope="module", params=["direct", "balanced"])
def product(request):
    work = Path(tempfile.mkdtemp(prefix="smpl-", dir="/tmp"))
    programs = []

    def spawn(*argv, **kw):
        kw.setdefault("cwd", work)
        programs.append(kit.Program(argv, **kw))
        return programs[-1]

    try:
        made = {"direct": Product, "balanced": BalancedProduct}[request.param]
        yield made(work, spawn, services=("accounts", "config"), bastion=False)
    finally:
        for program in reversed(programs):
            program.kill9()
        shutil.rmtree(work, ignore_errors=True)


def get(key):
    return f"GET /api/v1/configs HTTP/1.1\r\nHost: {public_name('config')}\r\nAuthorization: Bearer {key}\r\n\r\n".encode()


def connect(product, source):
    return socket.create_connection((PUBLIC, product.http), timeout=kit.PATIENCE, source_address=(source, 0))


def status(s):
    return int(s.recv(65536).split(b" ", 2)[1])


def config_programs(product):
    return [p for name, p in product.programs.items() if name.startswith("config")]


def log(product):
    return [json.loads(line) for p in config_programs(product) for line in list(p.out) if line.startswith("{")]


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
            customers = [(connect(product, f"127.20.{10 + i}.1"), keys[i]) for i in range(round, CUSTOMERS, 3)]
            for s, key in customers:
                s.sendall(get(key))
            assert [status(s) for s, _ in customers] == [200] * len(customers)
            for s, _ in customers:
                s.close()
            assert {status(s) for s in attack} <= {401, 503}
    finally:
        for s in attack:
            s.close()
    seen = [line for line in log(product) if line["status"] == 401]
    assert seen and all(line["client"].split(":")[0] == ATTACKER for line in seen)
