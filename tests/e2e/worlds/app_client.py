# SPDX-License-Identifier: Apache-2.0
"""Calls to the running services: as a customer on the public listeners, as a sister on the internal ones."""

import http.client
import json
import random
import re
import string
import threading
import zlib
from urllib.parse import quote

import pytest

import kit
from product import INSIDE, OUTSIDE, Product, SERVICES

MEDIA = "application/vnd.api+json"


class Reply:
    def __init__(self, response):
        self.status = response.status
        self.headers = {k.lower(): v for k, v in response.getheaders()}
        self.text = response.read().decode()
        self.json = json.loads(self.text) if self.text else None

    @property
    def error(self):
        return self.json["errors"][0]

    @property
    def pointer(self):
        return self.error.get("source", {}).get("pointer")

    @property
    def parameter(self):
        return self.error.get("source", {}).get("parameter")

    @property
    def attributes(self):
        return self.json["data"]["attributes"]

    def __repr__(self):
        return f"{self.status} {self.text}"


def call(
    product,
    service,
    method,
    path,
    document=None,
    key=None,
    internal=False,
    connection=None,
    timeout=kit.PATIENCE,
):
    host = f"127.{10 if internal else 20}.1.{SERVICES[service][1]}"
    own = connection is None
    if own:
        connection = http.client.HTTPConnection(
            host, product.http, timeout=timeout, source_address=(INSIDE if internal else OUTSIDE, 0)
        )
    headers = {"Accept": "application/json"}
    if key is None and path.startswith("/internal/"):
        key = product.internal_key  # "": none at all
    if key:
        headers["Authorization"] = f"Bearer {key}"
    if document is not None:
        headers["Content-Type"] = "application/json" if internal else MEDIA
    try:
        connection.request(
            method,
            quote(path, safe="/?&=%-_.~,:"),
            json.dumps(document) if document is not None else None,
            headers,
        )
        return Reply(connection.getresponse())
    finally:
        if own:
            connection.close()


class Customer:
    """One account with its first key."""

    def __init__(self, product, name="Acme", wait=True):
        self.product = product
        reply = call(
            product,
            "accounts",
            "POST",
            "/internal/v1/accounts",
            {"data": {"type": "account", "attributes": {"name": name}}},
            internal=True,
        )
        assert reply.status == 201, reply
        self.reply = reply
        self.id = reply.json["data"]["id"]
        self.key_id = reply.json["included"][0]["id"]
        self.key = reply.json["included"][0]["attributes"]["key"]
        if wait and reply.json["meta"]["pending"]:  # a sister that answers late is told again
            kit.wait_until(
                lambda: call(
                    product, "accounts", "GET", f"/internal/v1/accounts/{self.id}", internal=True
                ).json["meta"]["pending"]
                == [],
                f"the sisters know {reply}",
            )

    def __call__(self, method, service, path, document=None, **kw):
        return call(self.product, service, method, f"/api/v1{path}", document, key=self.key, **kw)


def made_up_key():
    """One that was never given out; its checksum is right."""
    letters = string.digits + string.ascii_uppercase + string.ascii_lowercase
    body = "sk_api_" + "".join(random.choices(letters, k=30))
    checksum, tail = zlib.crc32(body.encode()), ""
    for _ in range(6):
        checksum, digit = divmod(checksum, 62)
        tail = letters[digit] + tail
    return body + tail


def config(id=None, **attributes):
    return resource("config", id, attributes)


def flag(id=None, **attributes):
    attributes.setdefault("type", "BOOLEAN")
    attributes.setdefault("default", False)
    return resource("flag", id, attributes)


def resource(kind, id, attributes):
    attributes.setdefault("name", id or "x")
    data = {"type": kind, "attributes": attributes}
    if id is not None:
        data["id"] = id
    return {"data": data}


def services(work, spawn, **kw):
    return Product(work, spawn, bastion=False, **kw)


@pytest.fixture
def product(work, spawn):
    return services(work, spawn)


class Writer(threading.Thread):
    """Writes configs one after the other until its connection dies; remembers each acknowledgement."""

    def __init__(self, product, key, name):
        super().__init__(daemon=True)
        self.product, self.key, self.name_ = product, key, name
        self.acknowledged = {}

    def run(self):
        connection = http.client.HTTPConnection(
            "127.20.1.11", self.product.http, timeout=kit.PATIENCE, source_address=(OUTSIDE, 0)
        )
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": MEDIA}
        try:
            for n in range(100000):
                id, value = f"{self.name_}-{n // 2}", f"{self.name_} {n}"
                document = json.dumps(config(id, items={"v": {"value": value}}))
                if n % 2 == 0:
                    connection.request("POST", "/api/v1/configs", document, headers)
                else:
                    connection.request("PUT", f"/api/v1/configs/{id}", document, headers)
                response = connection.getresponse()
                response.read()
                if response.status in (200, 201):
                    self.acknowledged[id] = value
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()


def number(product, service, name):
    """One of the numbers in the metrics."""
    host = {"config": 11, "flags": 12}[service]
    _, text = product.curl(f"127.10.1.{host}", "/internal/v1/metrics")
    return float(re.search(rf"^{name} (\S+)$", text, re.M).group(1))


def big(customer, id="big", size=900000):
    """A config that takes too long to read for the loop; what POST said of it."""
    reply = customer(
        "POST", "config", "/configs", config(id, items={"a": {"value": "x" * size, "type": "STRING"}})
    )
    assert reply.status == 201
    return reply


def lose(work, service):
    for tail in ("", "-wal", "-shm"):
        (work / f"{service}.db{tail}").unlink(missing_ok=True)
