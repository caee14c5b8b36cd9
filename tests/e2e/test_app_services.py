# SPDX-License-Identifier: Apache-2.0
"""The services' API through real processes: shapes as smplkit's clients expect them, errors that name the
place, and one account never seeing another's."""

import json
import re

import pytest

import kit
from app_client import Customer, call, config, flag, product, resource
from app_schema import Document

DOCUMENTS = {"accounts": Document("app"), "config": Document("config"), "flags": Document("flags")}
# What these services implement of the documents.
CALLS = {
    "accounts": {
        ("POST", "/api/v1/api_keys"),
        ("GET", "/api/v1/api_keys"),
        ("GET", "/api/v1/api_keys/{id}"),
        ("PUT", "/api/v1/api_keys/{id}"),
        ("DELETE", "/api/v1/api_keys/{id}"),
        ("POST", "/api/v1/api_keys/{id}/actions/revoke"),
        ("GET", "/api/v1/accounts/current"),
    },
    "config": {
        ("POST", "/api/v1/configs"),
        ("GET", "/api/v1/configs"),
        ("GET", "/api/v1/configs/{id}"),
        ("PUT", "/api/v1/configs/{id}"),
        ("DELETE", "/api/v1/configs/{id}"),
    },
    "flags": {
        ("POST", "/api/v1/flags"),
        ("GET", "/api/v1/flags"),
        ("GET", "/api/v1/flags/{id}"),
        ("PUT", "/api/v1/flags/{id}"),
        ("DELETE", "/api/v1/flags/{id}"),
    },
}


class Checked:
    """A customer each of whose calls is checked, request and reply, against the published document."""

    def __init__(self, customer):
        self.customer = customer
        self.seen = {service: set() for service in DOCUMENTS}

    def __call__(self, status, method, service, path, document=None, query="", **ids):
        doc, template = DOCUMENTS[service], f"/api/v1{path}"
        if document is not None:
            doc.check(document, doc.request_schema(method, template), "request")
        for name, value in ids.items():
            path = path.replace("{%s}" % name, value)
        reply = self.customer(method, service, path + query, document)
        assert reply.status == status, reply
        schema = doc.response_schema(method, template, status)
        if schema is None:
            assert reply.text == "" and "content-type" not in reply.headers
        else:
            assert reply.headers["content-type"] == "application/vnd.api+json"
            doc.check(reply.json, schema, f"{method} {template} {status}")
        self.seen[service].add((method, template))
        return reply


@pytest.mark.short
def test_every_call_takes_and_gives_what_the_published_documents_say(product):
    do = Checked(Customer(product))
    web = {
        "name": "Web",
        "description": "d",
        "parent": "common",
        "items": {
            "host": {"value": "db", "type": "STRING", "description": "h"},
            "n": {"value": 1.5, "type": "NUMBER"},
            "on": {"value": True, "type": "BOOLEAN"},
            "j": {"value": {"a": [1, None]}, "type": "JSON"},
            "cleared": {"value": None, "type": "NUMBER"},
        },
        "environments": {"prod": {"host": "db-prod", "n": 2}},
    }
    reply = do(201, "POST", "config", "/configs", config("web", **web))
    given = {k: v for k, v in reply.attributes.items() if k in web}
    web["items"]["n"]["description"] = web["items"]["on"]["description"] = web["items"]["j"][
        "description"
    ] = None
    web["items"]["cleared"]["description"] = None
    assert given == web and reply.attributes["managed"] is True
    assert do(200, "GET", "config", "/configs/{id}", id="web").json == reply.json
    reply = do(200, "PUT", "config", "/configs/{id}", config(name="Web 2", environments=None), id="web")
    assert reply.attributes["items"] == {} and reply.attributes["parent"] is None
    reply = do(200, "GET", "config", "/configs", query="?meta[total]=true&sort=-key&page[size]=1")
    assert [c["id"] for c in reply.json["data"]] == ["web"]
    assert reply.json["meta"] == {"pagination": {"page": 1, "size": 1, "total": 2, "total_pages": 2}}
    do(204, "DELETE", "config", "/configs/{id}", id="web")

    values = [{"name": "on", "value": True}, {"name": "off", "value": False}]
    rule = {"description": "beta", "logic": {"==": [{"var": "customer.beta"}, True]}, "value": True}
    reply = do(
        201,
        "POST",
        "flags",
        "/flags",
        flag(
            "dark",
            name="Dark",
            values=values,
            environments={"production": {"enabled": True, "default": False, "rules": [rule]}},
        ),
    )
    assert (
        reply.attributes["environments"]["production"]["rules"] == [rule]
        and reply.attributes["values"] == values
    )
    assert do(200, "GET", "flags", "/flags/{id}", id="dark").json == reply.json
    assert (
        do(200, "PUT", "flags", "/flags/{id}", flag("light", name="Light"), id="dark").json["data"]["id"]
        == "light"
    )
    assert do(200, "GET", "flags", "/flags").json["meta"] == {"pagination": {"page": 1, "size": 1000}}
    do(204, "DELETE", "flags", "/flags/{id}", id="light")

    reply = do(
        201,
        "POST",
        "accounts",
        "/api_keys",
        resource(
            "api_key",
            None,
            {"name": "CI", "scopes": {"environments": []}, "expires_at": "2099-01-01T00:00:00Z"},
        ),
    )
    key = reply.json["data"]["id"]
    assert reply.attributes["key"].startswith("sk_api_") and reply.attributes["status"] == "ACTIVE"
    assert do(200, "GET", "accounts", "/api_keys/{id}", id=key).attributes["key"] is None
    assert (
        do(
            200, "PUT", "accounts", "/api_keys/{id}", resource("api_key", key, {"name": "CI 2"}), id=key
        ).attributes["expires_at"]
        is None
    )
    assert len(do(200, "GET", "accounts", "/api_keys", query="?filter[status]=ACTIVE").json["data"]) == 2
    assert (
        do(200, "POST", "accounts", "/api_keys/{id}/actions/revoke", id=key).attributes["status"] == "REVOKED"
    )
    do(204, "DELETE", "accounts", "/api_keys/{id}", id=key)
    assert do(200, "GET", "accounts", "/accounts/current").json["data"]["id"] == do.customer.id
    assert do.seen == CALLS


def test_the_published_examples_are_taken(product):
    customer = Customer(product)
    for service, name, path in (
        ("config", "ConfigCreateResource", "/configs"),
        ("flags", "FlagCreateResource", "/flags"),
    ):
        example = DOCUMENTS[service].doc["components"]["schemas"][name]["example"]
        assert customer("POST", service, path, {"data": example}).status == 201
    for service, name, path in (
        ("config", "ConfigResource", "/configs/user-service"),
        ("flags", "FlagResource", "/flags/checkout-v2"),
    ):
        example = dict(DOCUMENTS[service].doc["components"]["schemas"][name]["example"])
        del example["id"]
        reply = customer("PUT", service, path, {"data": example})
        assert reply.status == 200, reply


@pytest.mark.parametrize("service", ["accounts", "config", "flags"])
def test_try_it_out_works_with_the_example_that_the_page_shows(product, service):
    customer = Customer(product)
    document = call(product, service, "GET", "/openapi.json", internal=True).json
    tried = 0
    for path, operations in document["paths"].items():
        for method in ("post", "put"):
            operation = operations.get(method, {})
            content = operation.get("requestBody", {}).get("content", {})
            example = next((c["example"] for c in content.values() if "example" in c), None)
            if example is None:
                assert not content, f"{method} {path} has a body without an example"
                continue
            real = {
                "/api/v1/api_keys/{id}": customer.key_id,
                "/internal/v1/accounts/{id}/api_keys": customer.id,
                "/internal/v1/accounts/{id}": customer.id,
            }.get(path)
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path":
                    value = real or parameter["schema"]["example"]
                    path = path.replace("{%s}" % parameter["name"], value)
            key = {"HTTPBearer": customer.key, "InternalKey": product.internal_key}[
                list(operation["security"][0])[0]
            ]
            reply = call(product, service, method.upper(), path, example, key=key, internal=True)
            assert 200 <= reply.status < 300, f"{method} {path}: {reply}"
            tried += 1
    assert tried >= 3


@pytest.mark.short
def test_the_pages_say_every_status_that_a_wrong_account_gives(product):
    nobody = "00000000-0000-4000-8000-000000000001"
    notice = resource("account", "00000000-0000-4000-8000-000000000002", {"name": "x"})
    for service, method, path, body, status in (
        (
            "accounts",
            "POST",
            "/internal/v1/accounts/{id}/api_keys",
            resource("api_key", None, {"name": "x"}),
            404,
        ),
        ("config", "PUT", "/internal/v1/accounts/{id}", notice, 409),
        ("flags", "PUT", "/internal/v1/accounts/{id}", notice, 409),
    ):
        assert (
            call(product, service, method, path.replace("{id}", nobody), body, internal=True).status == status
        )
        operation = call(product, service, "GET", "/openapi.json", internal=True).json["paths"][path][
            method.lower()
        ]
        assert str(status) in operation["responses"]


@pytest.mark.parametrize("service", ["accounts", "config", "flags"])
def test_every_id_in_a_path_has_an_example(product, service):
    document = call(product, service, "GET", "/openapi.json", internal=True).json
    ids = [
        (path, parameter)
        for path, operations in document["paths"].items()
        for operation in operations.values()
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "path"
    ]
    assert ids and [path for path, parameter in ids if "example" not in parameter["schema"]] == []


def test_accounts_never_see_each_other(product):
    one, two = Customer(product, "One"), Customer(product, "Two")
    for customer, value in ((one, "ones"), (two, "twos")):
        assert (
            customer("POST", "config", "/configs", config("shared", items={"v": {"value": value}})).status
            == 201
        )
        assert customer("POST", "flags", "/flags", flag("shared", name=value)).status == 201
    assert one("POST", "config", "/configs", config("mine")).status == 201
    assert one("GET", "config", "/configs/shared").attributes["items"]["v"]["value"] == "ones"
    assert two("GET", "config", "/configs/shared").attributes["items"]["v"]["value"] == "twos"
    assert two("GET", "flags", "/flags/shared").attributes["name"] == "twos"
    assert two("GET", "config", "/configs/mine").status == 404
    assert two("PUT", "config", "/configs/mine", config(name="stolen")).status == 404
    assert two("DELETE", "config", "/configs/mine").status == 404
    assert two("POST", "config", "/configs", config("x", parent="mine")).pointer == "/data/attributes/parent"
    assert {c["id"] for c in two("GET", "config", "/configs").json["data"]} == {"common", "shared"}
    assert (
        two("GET", "config", "/configs?filter[search]=mine&meta[total]=true").json["meta"]["pagination"][
            "total"
        ]
        == 0
    )
    assert two("GET", "accounts", f"/api_keys/{one.key_id}").status == 404
    assert two("DELETE", "accounts", f"/api_keys/{one.key_id}").status == 404
    assert two("POST", "accounts", f"/api_keys/{one.key_id}/actions/revoke").status == 404
    assert one("GET", "config", "/configs/mine").attributes["name"] == "mine"


@pytest.mark.parametrize(
    "service,path",
    [
        ("config", "/api/v1/configs"),
        ("flags", "/api/v1/flags"),
        ("accounts", "/api/v1/api_keys"),
        ("accounts", "/api/v1/accounts/current"),
    ],
)
def test_without_a_valid_key_there_is_401_and_nothing_else(product, service, path):
    customer = Customer(product)
    typo = customer.key[:20] + ("x" if customer.key[20] != "x" else "y") + customer.key[21:]
    for key in (None, "hello", typo, "sk_api_" + "0" * 36):
        reply = call(product, service, "GET", path, key=key)
        assert reply.status == 401 and reply.headers["www-authenticate"] == "Bearer", reply
    assert customer("GET", service, path.removeprefix("/api/v1")).status == 200


def test_wrong_bodies_are_refused_at_the_exact_place_and_change_nothing(product):
    customer = Customer(product)
    assert customer("POST", "config", "/configs", config("web", items={"n": {"value": 1}})).status == 201
    before = customer("GET", "config", "/configs/web").json
    for document, status, pointer in (
        ({}, 400, "/data"),
        ({"data": {"type": "flag", "attributes": {}}}, 409, "/data/type"),
        (config(items={"n": {"value": "one"}}), 400, "/data/attributes/items/n/value"),
        (config(items={"n": {"type": "STRING"}}), 400, "/data/attributes/items/n/type"),
        (config(name="x" * 256), 400, "/data/attributes/name"),
        (config(description="x" * 1001), 400, "/data/attributes/description"),
        (config(parent="web"), 400, "/data/attributes/parent"),
        (config(nmae="x"), 400, "/data/attributes/nmae"),
        (config(environments={"a/b": {"no~pe": 1}}), 400, "/data/attributes/environments/a~1b/no~0pe"),
        (config("other"), 409, "/data/id"),
    ):
        reply = customer("PUT", "config", "/configs/web", document)
        assert (reply.status, reply.pointer) == (status, pointer), reply
        assert reply.error["status"] == str(status) and reply.error["title"] and reply.error["detail"]
    assert customer("GET", "config", "/configs/web").json == before
    for id, status in (
        ("", 400),
        ("a/b", 400),
        ("..", 400),
        ("x" * 256, 400),
        ("x" * 255, 201),
        ("web", 409),
    ):
        reply = customer("POST", "config", "/configs", config(id, name="x"))
        assert reply.status == status and (status == 201 or reply.pointer == "/data/id"), reply
    assert customer("DELETE", "config", "/configs/common").status == 409


def test_lists_hold_their_limits_and_name_a_wrong_parameter(product):
    customer = Customer(product)
    for query, parameter in (
        ("page[size]=0", "page[size]"),
        ("page[size]=1001", "page[size]"),
        ("page[number]=0", "page[number]"),
        ("sort=colour", "sort"),
        ("meta[total]=2", "meta[total]"),
        ("filter[managed]=maybe", "filter[managed]"),
        ("filter[colour]=x", "filter[colour]"),
    ):
        for service, path in (("config", "/configs"), ("flags", "/flags")):
            reply = customer("GET", service, f"{path}?{query}")
            assert (reply.status, reply.parameter) == (400, parameter), reply
    assert customer("GET", "config", "/configs?page[size]=1000").status == 200
    reply = customer("GET", "config", "/configs?page[number]=7")
    assert reply.status == 200 and reply.json["data"] == []


def test_a_list_of_big_configs_is_walked_page_by_page_as_the_replies_say(product):
    customer = Customer(product)
    for i in range(8):
        items = {"a": {"value": "x" * 400_000, "type": "STRING"}}
        assert customer("POST", "config", "/configs", config(f"big{i}", items=items)).status == 201
    reply, ids = customer("GET", "config", "/configs"), []
    while True:
        assert reply.status == 200, reply
        ids += [c["id"] for c in reply.json["data"]]
        pagination = reply.json["meta"]["pagination"]
        if len(reply.json["data"]) < pagination["size"]:
            break
        assert len(ids) == pagination["page"] * pagination["size"]
        reply = customer(
            "GET", "config", f"/configs?page[size]={pagination['size']}&page[number]={pagination['page'] + 1}"
        )
    assert ids == [f"big{i}" for i in range(8)] + ["common"]


def test_numbers_come_back_as_they_were_sent(product):
    customer = Customer(product)
    items = {
        f"n{i}": {"value": v}
        for i, v in enumerate((0.5, -1, 2**53, 2**63 - 1, 1e300, 1.25e-7, 0.1, 1 / 3))
    }
    assert customer("POST", "config", "/configs", config("n", items=items)).status == 201
    got = customer("GET", "config", "/configs/n").attributes["items"]
    assert {k: v["value"] for k, v in got.items()} == {k: v["value"] for k, v in items.items()}


def test_a_key_is_shown_once_and_only_its_hash_is_stored(product):
    customer = Customer(product)
    assert customer("GET", "accounts", "/accounts/current").status == 200
    assert customer("GET", "config", "/configs").status == 200
    for reply in (
        customer("GET", "accounts", "/api_keys"),
        customer("GET", "accounts", f"/api_keys/{customer.key_id}"),
        call(product, "accounts", "GET", f"/internal/v1/accounts/{customer.id}", internal=True),
    ):
        assert customer.key not in reply.text
    files = [f for f in product.work.iterdir() if re.search(r"\.db(-wal|-shm)?$", f.name)]
    assert len(files) >= 3
    for file in files:
        assert file.stat().st_mode & 0o777 == 0o600
        assert customer.key.encode() not in file.read_bytes()
        assert customer.key[7:37].encode() not in file.read_bytes()
    for program in product.programs.values():
        assert customer.key not in program.stderr


def test_keys_end_by_revocation_deletion_and_expiry(product):
    from datetime import datetime, timedelta, timezone

    customer = Customer(product)
    soon = (datetime.now(timezone.utc) + timedelta(seconds=kit.ample(2))).isoformat().replace("+00:00", "Z")
    keys = [
        customer(
            "POST", "accounts", "/api_keys", resource("api_key", None, {"name": f"k{i}", "expires_at": e})
        ).json["data"]
        for i, e in enumerate((None, None, soon))
    ]
    text = [k["attributes"]["key"] for k in keys]
    assert call(product, "accounts", "GET", "/api/v1/accounts/current", key=text[2]).status == 200
    assert call(product, "config", "GET", "/api/v1/configs", key=text[2]).status == 200
    assert (
        customer("POST", "accounts", f"/api_keys/{keys[0]['id']}/actions/revoke").attributes["status"]
        == "REVOKED"
    )
    assert customer("DELETE", "accounts", f"/api_keys/{keys[1]['id']}").status == 204
    for service, path in (("accounts", "/api/v1/accounts/current"), ("config", "/api/v1/configs")):
        assert call(product, service, "GET", path, key=text[0]).status == 401
        assert call(product, service, "GET", path, key=text[1]).status == 401
        kit.wait_until(
            lambda: call(product, service, "GET", path, key=text[2]).status == 401, "the key expires"
        )
    past = customer(
        "POST",
        "accounts",
        "/api_keys",
        resource("api_key", None, {"name": "x", "expires_at": "2020-01-01T00:00:00Z"}),
    )
    assert (past.status, past.pointer) == (400, "/data/attributes/expires_at")
    scoped = customer(
        "POST",
        "accounts",
        "/api_keys",
        resource("api_key", None, {"name": "x", "scopes": {"environments": ["prod"]}}),
    )
    assert (scoped.status, scoped.pointer) == (400, "/data/attributes/scopes/environments")


def test_the_internal_tier_lists_accounts_and_mends_one_that_lost_its_keys(product):
    customer = Customer(product, "Lost & Found")
    assert customer("DELETE", "accounts", f"/api_keys/{customer.key_id}").status == 204
    assert customer("GET", "accounts", "/accounts/current").status == 401
    found = call(product, "accounts", "GET", "/internal/v1/accounts?filter[search]=LOST", internal=True).json[
        "data"
    ]
    assert [(a["id"], a["attributes"]["key"]) for a in found] == [(customer.id, "lost_found")]
    reply = call(
        product,
        "accounts",
        "POST",
        f"/internal/v1/accounts/{customer.id}/api_keys",
        resource("api_key", None, {"name": "New"}),
        internal=True,
    )
    assert (
        call(product, "accounts", "GET", "/api/v1/accounts/current", key=reply.attributes["key"]).status
        == 200
    )
    assert (
        call(
            product,
            "accounts",
            "POST",
            "/internal/v1/accounts/nobody/api_keys",
            resource("api_key", None, {"name": "New"}),
            internal=True,
        ).status
        == 404
    )
    again = Customer(product, "Lost & Found")
    assert (
        call(product, "accounts", "GET", f"/internal/v1/accounts/{again.id}", internal=True).attributes["key"]
        == "lost_found_2"
    )


def test_a_sister_can_be_told_of_an_account_again_and_again(product):
    customer = Customer(product)
    path = f"/internal/v1/accounts/{customer.id}"
    first = call(product, "config", "GET", path, internal=True).json
    told = {
        "data": {"type": "account", "attributes": {"name": "Acme", "key": first["data"]["attributes"]["key"]}}
    }
    for _ in range(3):
        reply = call(product, "config", "PUT", path, told, internal=True)
        assert reply.status == 200 and reply.json["data"] == first["data"]
    renamed = json.loads(json.dumps(told).replace("Acme", "Acme 2"))
    assert call(product, "config", "PUT", path, renamed, internal=True).attributes["name"] == "Acme 2"
    assert (
        call(product, "config", "PUT", "/internal/v1/accounts/NOT-A-UUID", told, internal=True).status == 400
    )
    assert (
        call(
            product,
            "flags",
            "GET",
            "/internal/v1/accounts/00000000-0000-4000-8000-000000000000",
            internal=True,
        ).status
        == 404
    )
