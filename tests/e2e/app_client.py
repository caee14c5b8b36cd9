# SPDX-License-Identifier: Apache-2.0
"""Calls to the running services: as a customer on the public listeners, as a sister on the internal ones."""

import http.client
import json
import random
import string
import zlib
from urllib.parse import quote

import kit
from product import INSIDE, OUTSIDE, SERVICES, Product

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
