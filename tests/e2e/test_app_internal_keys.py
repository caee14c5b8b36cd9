# SPDX-License-Identifier: Apache-2.0
"""Who calls inside: operations that make, change or reveal credentials need a named caller's key; all else
stays as it was."""

import hashlib
import http.client
import json
import re
import signal

import pytest

import internal_keys
import kit
from app_client import Customer, call, product, resource
from product import INSIDE, SERVICES

KEY_FORM = re.compile(r"sk_int_[0-9A-Za-z]{36}")
NOTICE = {"data": {"type": "account", "attributes": {"name": "A", "key": "a"}}}
NEW_KEY = resource("api_key", None, {"name": "minted"})


def guarded(product, service):
    """(method, path, body) of every operation that the document says needs an internal key."""
    document = call(product, service, "GET", "/openapi.json", internal=True).json
    assert document["components"]["securitySchemes"]["InternalKey"]["scheme"] == "bearer"
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if {"InternalKey": []} in operation.get("security", []):
                content = operation.get("requestBody", {}).get("content", {})
                body = next(iter(content.values()))["example"] if content else None
                yield method.upper(), path.replace("{id}", "00000000-0000-4000-8000-000000000001"), body


def lines_of(program, target):
    return [json.loads(line) for line in program.out if f'"target":"{target}"' in line]


@pytest.mark.short
def test_whoever_does_not_say_who_he_is_mints_no_key(product):
    """The developer behind the tunnel: he reaches the internal listener, and that is all he has."""
    customer = Customer(product)
    path = f"/internal/v1/accounts/{customer.id}/api_keys"
    for key in ("", customer.key, internal_keys.make(), "sk_int_x"):
        reply = call(product, "accounts", "POST", path, NEW_KEY, key=key, internal=True)
        assert reply.status == 401 and reply.headers["www-authenticate"] == "Bearer", reply
        assert reply.error["status"] == "401" and "internal key" in reply.error["detail"], reply
    reply = call(
        product, "accounts", "POST", path, NEW_KEY, key=product.internal_keys["config"], internal=True
    )
    assert (
        reply.status == 403 and reply.error["detail"] == "this internal key does not allow this operation"
    ), reply
    made = call(product, "accounts", "POST", path, NEW_KEY, internal=True)
    assert made.status == 201 and made.attributes["created_by"] == "operator", made
    keys = customer("GET", "accounts", "/api_keys?sort=created_at").json["data"]
    assert [k["attributes"]["created_by"] for k in keys] == [
        "operator",
        "operator",
    ]  # the first was made with the account
    own = customer("POST", "accounts", "/api_keys", NEW_KEY)
    assert own.status == 201 and own.attributes["created_by"] is None
    kit.wait_until(lambda: len(lines_of(product.programs["accounts"], path)) == 6, "all is in the access log")
    said = [
        (line["status"], line["reason"], line.get("caller"))
        for line in lines_of(product.programs["accounts"], path)
    ]
    assert said == [(401, "caller-missing", None)] + [(401, "caller-unknown", None)] * 3 + [
        (403, "caller-forbidden", "config"),
        (201, "admitted", "operator"),
    ]
    assert not any(
        k in "\n".join(product.programs["accounts"].out) for k in (product.internal_key, customer.key)
    )


def test_every_operation_that_needs_a_caller_is_refused_before_its_body_is_read(product):
    expected = {"accounts": 4, "config": 2, "flags": 2}
    for service in product.services:
        found = list(guarded(product, service))
        assert len(found) == expected[service], found
        for method, path, body in found:
            for key, status in (("", 401), (internal_keys.make(), 401)):
                assert (
                    call(product, service, method, path, body, key=key, internal=True).status == status
                ), path
            if body is None:
                continue
            connection = http.client.HTTPConnection(
                f"127.10.1.{SERVICES[service][1]}",
                product.http,
                timeout=kit.PATIENCE,
                source_address=(INSIDE, 0),
            )
            connection.putrequest(method, path)
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", "1000")  # none of which comes
            connection.endheaders()
            assert connection.getresponse().status == 401
            connection.close()
    # what reveals no secret is open to every client, and an internal key opens nothing of a customer's
    customer = Customer(product)
    for service, path in (
        ("accounts", "/internal/v1/accounts"),
        ("accounts", f"/internal/v1/accounts/{customer.id}"),
        ("config", f"/internal/v1/accounts/{customer.id}"),
        ("flags", "/internal/v1/health"),
        ("config", "/internal/v1/metrics"),
        ("config", "/docs"),
    ):
        host = f"127.10.1.{SERVICES[service][1]}"
        assert product.curl(host, path)[0] == 200, path
    assert call(product, "accounts", "GET", "/api/v1/api_keys", key=product.internal_key).status == 401


def test_who_has_no_internal_keys_refuses_everybody_and_says_so(work, spawn):
    port = kit.free_port("127.10.1.10")
    (work / "a.yaml").write_text(
        "service: accounts\ndatabase: a.db\n"
        f'listeners: [{{name: internal, address: "127.10.1.10:{port}", rules: ["/*"], clients: '
        f"[127.10.0.0/16]}}]\n"
    )
    warnings = [
        f"nobody may {what}: no internal key in internal_keys has the operation {name}"
        for name, what in (
            ("provision", "create and delete accounts, create API keys"),
            ("introspect", "ask whose an API key is"),
        )
    ]
    warnings[0] = warnings[0].replace(": no", ", and tell a service of an account: no")
    done = kit.run(kit.binary("smpl-app"), "check", "-c", "a.yaml", cwd=work)
    assert done.returncode == 0 and all(f"warning: {w}" in done.stdout for w in warnings), done.stdout
    program = spawn(kit.binary("smpl-app"), "-c", "a.yaml").wait_ready()
    assert all(w in program.stderr for w in warnings), program.stderr
    connection = http.client.HTTPConnection(
        "127.10.1.10", port, timeout=kit.PATIENCE, source_address=(INSIDE, 0)
    )
    for key in (internal_keys.make(), ""):
        connection.request(
            "POST",
            "/internal/v1/accounts",
            json.dumps(NOTICE),
            {"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
        )
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 401
    connection.close()


def test_keys_are_exchanged_by_sighup_and_a_mistake_changes_nothing(product, work):
    file, program = work / "accounts.yaml", product.programs["accounts"]
    before = file.read_text()
    row = next(line for line in before.splitlines() if "name: operator" in line)
    fresh = internal_keys.make()

    def hup(text, line):
        start = len(program.err)
        file.write_text(text)
        program.signal(signal.SIGHUP)
        return program.wait_line(line, start=start)

    def status(key):
        return call(
            product,
            "accounts",
            "POST",
            "/internal/v1/accounts",
            {"data": {"type": "account", "attributes": {"name": "R"}}},
            key=key,
            internal=True,
        ).status

    both = before.replace(
        row,
        row
        + "\n"
        + re.sub('sha256: "[0-9a-f]+"', f'sha256: "{hashlib.sha256(fresh.encode()).hexdigest()}"', row),
    )
    assert (status(product.internal_key), status(fresh)) == (201, 401)
    hup(both, "reloaded .*: 4 internal keys accepted")
    assert (status(product.internal_key), status(fresh)) == (201, 201)
    hup(both.replace(row + "\n", ""), "reloaded .*: 3 internal keys accepted")
    assert (status(product.internal_key), status(fresh)) == (401, 201)
    for bad, place in (
        (
            both.replace("operations: [provision, introspect]", "operations: [all]"),
            r"accounts\.yaml:\d+:\d+: operations: expected",
        ),
        (
            before.replace("service: accounts", "service: accounts\nnonsense: 1"),
            "accounts.yaml:2:1: unknown key 'nonsense'",
        ),
    ):
        hup(bad, "not reloaded, the configuration before stays in force: .*" + place)
        assert (status(product.internal_key), status(fresh)) == (401, 201)
    mistaken = before.replace(hashlib.sha256(product.internal_key.encode()).hexdigest(), product.internal_key)
    assert product.internal_key in mistaken and "got something else" in hup(
        mistaken, "not reloaded, the configuration before stays in force: .*sha256: expected"
    )
    hup(
        before.replace("internal_key_file: accounts.key", f"internal_key_file: {product.internal_key}"),
        "internal_key_file: .*the key itself",
    )
    assert product.internal_key not in program.stderr  # put where its hash or its file belongs
    (work / "accounts.key").chmod(0o644)
    hup(before, "not reloaded, the configuration before stays in force: .*internal_key_file: ")
    assert (status(product.internal_key), status(fresh)) == (401, 201)
    (work / "accounts.key").chmod(0o600)
    hup(
        re.sub("(?m)^internal_keys:\\n(  - .*\\n)+", "", before),
        "warning: nobody may ask whose an API key is",
    )
    assert (status(product.internal_key), status(fresh)) == (401, 401)


def test_a_sister_whose_key_is_not_accepted_hears_and_is_told_nothing(product, work):
    customer = Customer(product)
    assert customer("GET", "config", "/configs").status == 200
    for service in ("accounts", "config"):
        product.programs[service].stop()
    internal_keys.make(work / "config.key")  # no key that the account service accepts
    internal_keys.make(work / "accounts.key")  # nor one that the sisters do
    for service in ("accounts", "config"):
        product.start(service)
    assert customer("GET", "config", "/configs").status == 503  # never an open door
    assert "does not accept this service's internal key" in product.programs["config"].wait_line(
        "keys cannot be checked"
    )
    late = Customer(product, "Late", wait=False)
    assert late.reply.json["meta"]["pending"] != []
    product.programs["accounts"].wait_line(
        "config.internal.smplkit.local: status 401: it does not accept this service's internal key"
    )
    assert call(product, "config", "GET", f"/internal/v1/accounts/{late.id}", internal=True).status == 404


def test_the_command_makes_keys_that_the_configuration_takes(work):
    made = [kit.run(kit.binary("smpl-app"), "internal-key") for _ in range(2)]
    for done in made:
        assert (
            done.returncode == 0 and KEY_FORM.fullmatch(done.stdout.strip()) and done.stdout.count("\n") == 1
        )
        line = re.search(r"internal_keys: \[\{.*\}\]", done.stderr).group(0)
        assert (
            hashlib.sha256(done.stdout.strip().encode()).hexdigest() in line
            and done.stdout.strip() not in done.stderr
        )
        (work / "a.yaml").write_text(
            'service: accounts\ndatabase: a.db\nlisteners: [{name: public, address: "127.20.1.10:8000", '
            'rules: ["/api/v1/*"]}]\n' + line + "\n"
        )
        checked = kit.run(kit.binary("smpl-app"), "check", "-c", "a.yaml", cwd=work)
        assert checked.returncode == 0 and "internal key of NAME: provision" in checked.stdout
    assert made[0].stdout != made[1].stdout
    assert kit.run(kit.binary("smpl-app"), "internal-key", "-c", "a.yaml", cwd=work).returncode == 2
