# SPDX-License-Identifier: Apache-2.0
"""Databases that were lost or restored: sisters are told again by themselves, and nothing is lost or comes
back unnoticed."""

import shutil
import sqlite3
import uuid

import kit
from app_client import Customer, call, config, flag, lose, product


def copy_of(work, service, to):
    """What an operator without our backup would have: the file, taken while the service is stopped."""
    shutil.copy(work / f"{service}.db", work / to)


def put_back(work, service, copy):
    lose(work, service)
    shutil.copy(work / copy, work / f"{service}.db")


def told(product, customer):
    return call(product, "accounts", "GET", f"/internal/v1/accounts/{customer.id}", internal=True).json[
        "meta"
    ]


def test_a_sister_that_lost_its_database_is_told_of_every_account_again(product, work):
    customers = [Customer(product, f"A{i}") for i in range(12)]
    assert all(c("GET", "config", "/configs").status == 200 for c in customers)
    product.programs["config"].kill9()
    lose(work, "config")
    product.start("config")
    for customer in customers:
        kit.wait_until(lambda: customer("GET", "config", "/configs").status == 200, "it is told again")
        assert customer("GET", "flags", "/flags").status == 200
    kit.wait_until(lambda: all(told(product, c)["pending"] == [] for c in customers), "all is told")


def test_a_sister_with_an_older_database_is_told_what_it_does_not_know_any_more(product, work):
    old = Customer(product, "Old")
    product.programs["flags"].stop()
    copy_of(work, "flags", "flags.copy")
    product.start("flags")
    new = [Customer(product, f"New{i}") for i in range(3)]
    product.programs["flags"].stop()
    put_back(work, "flags", "flags.copy")
    product.start("flags")
    for customer in [old] + new:
        kit.wait_until(
            lambda: customer("POST", "flags", "/flags", flag("x")).status in (201, 409), "it is known again"
        )


def test_what_was_deleted_meanwhile_is_deleted_in_an_older_database_too(product, work):
    stays, goes = Customer(product, "Stays"), Customer(product, "Goes")
    assert goes("POST", "config", "/configs", config("secret")).status == 201
    product.programs["config"].stop()
    copy_of(work, "config", "config.copy")
    product.start("config")
    path = f"/internal/v1/accounts/{goes.id}"
    assert call(product, "accounts", "DELETE", path, internal=True, key="").status == 401
    assert call(product, "accounts", "DELETE", path, internal=True).status == 204
    assert call(product, "accounts", "DELETE", path, internal=True).status == 404
    assert goes("GET", "accounts", "/accounts/current").status == 401
    gone = lambda: call(product, "config", "GET", path, internal=True).status == 404
    kit.wait_until(gone, "the sister forgot it")
    product.programs["config"].stop()
    put_back(work, "config", "config.copy")
    assert sqlite3.connect(work / "config.db").execute(
        "SELECT count(*) FROM configs WHERE id = 'secret'"
    ).fetchone() == (1,)
    product.start("config")
    kit.wait_until(gone, "it is told of that again")
    assert call(product, "config", "GET", f"/internal/v1/accounts/{stays.id}", internal=True).status == 200
    product.programs["config"].stop()
    assert sqlite3.connect(work / "config.db").execute(
        "SELECT count(*) FROM configs WHERE id = 'secret'"
    ).fetchone() == (0,)


def test_two_instances_of_a_sister_on_one_database_are_one_database(product, work):
    text = (
        (work / "config.yaml")
        .read_text()
        .replace("127.10.1.11:", "127.10.1.21:")
        .replace("127.20.1.11:", "127.20.1.21:")
    )
    (work / "second.yaml").write_text(text)
    reports = []
    product.spawn(kit.binary("smpl-app"), "-c", "second.yaml").wait_ready()
    Customer(product)
    for address in ("127.10.1.11", "127.10.1.21"):
        status, reply = product.api("GET", address, "/internal/v1/accounts?size=0")
        assert status == 200 and reply["data"] == [], reply
        reports.append(reply["meta"])
    assert product.api("GET", "127.10.1.11", "/internal/v1/accounts?size=1000")[0] == 200
    assert product.api("GET", "127.10.1.11", "/internal/v1/accounts?size=1001")[0] == 400
    assert reports[0] == reports[1] and reports[0]["heard"] == 1
    assert uuid.UUID(reports[0]["epoch"]) != uuid.UUID(reports[0]["database"])


def put_account(product, service, id, name):
    return call(
        product,
        service,
        "PUT",
        f"/internal/v1/accounts/{id}",
        {"data": {"type": "account", "id": id, "attributes": {"name": name, "key": name.lower()}}},
        internal=True,
    )


def test_accounts_that_only_sisters_know_are_listed_and_stay(product, work):
    """An account database that lost its newest accounts."""
    Customer(product, "Known")
    product.programs["accounts"].stop()
    copy_of(work, "accounts", "accounts.copy")
    product.start("accounts")
    lost = Customer(product, "Lost")
    assert lost("POST", "config", "/configs", config("precious")).status == 201
    product.programs["accounts"].stop()
    put_back(work, "accounts", "accounts.copy")
    product.start("accounts")
    ready = lambda: call(product, "accounts", "GET", "/internal/v1/ready", internal=True)
    kit.wait_until(lambda: len(ready().json.get("notices", [])) == 2, "both sisters are compared")
    assert ready().status == 200 and ready().json["status"] == "ready"
    for notice, sister in zip(ready().json["notices"], ("config", "flags")):
        assert notice == (
            f"http://{sister}.internal.smplkit.local knows 1 account that this database does not: {lost.id}"
        )
    metrics = product.curl("127.10.1.10", "/internal/v1/metrics")[1]
    assert "smpl_app_accounts_unknown 2\n" in metrics
    assert "smpl_app_accounts_untold 0\n" in metrics
    assert call(product, "config", "GET", f"/internal/v1/accounts/{lost.id}", internal=True).status == 200
    product.programs["config"].stop()
    assert sqlite3.connect(work / "config.db").execute(
        "SELECT count(*) FROM configs WHERE id = 'precious'"
    ).fetchone() == (1,)
