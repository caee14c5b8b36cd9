# SPDX-License-Identifier: Apache-2.0
"""docs/operations.md: every command of it, as it stands there and in its order, against the whole product."""

import hashlib
import os
import re
import subprocess

import pytest

import internal_keys
import kit
from app_client import Customer, call, config, lose
from product import Product
from tls_front import certificate

PAGE = os.path.join(kit.ROOT, "docs", "operations.md")
PART = re.compile(r"^<!-- run: (?P<order>.*?) -->$|^(?P<indent> *)```sh\n(?P<text>.*?)^ *```$", re.M | re.S)


@pytest.fixture
def product(work, spawn):
    product = Product(work, spawn, services=(), bastion=False)
    product.services = ["accounts", "config", "flags"]
    for service in product.services:
        product.write_service(service)
        extra = f"control: {service}.sock\n"
        if service == "accounts":
            (work / "elsewhere").mkdir()
            extra += "revocations: elsewhere/revoked\n"
        with (work / f"{service}.yaml").open("a") as f:
            f.write(extra)
    tls = kit.free_port("127.20.1.12")
    os.rename(certificate(work, "old")[0], work / "flags-chain.pem")
    os.rename(work / "old.key", work / "flags-key.pem")
    os.rename(certificate(work, "next")[0], work / "new-chain.pem")
    os.rename(work / "next.key", work / "new-key.pem")
    text = (work / "flags.yaml").read_text()
    (work / "flags.yaml").write_text(
        text.replace(
            "listeners:\n",
            "listeners:\n"
            f'  - {{name: secure, address: "127.20.1.12:{tls}", rules: ["/api/v1/*"],'
            " tls: {certificate: flags-chain.pem, key: flags-key.pem}}\n",
        )
    )
    product.write_bastion()
    (work / "state").mkdir(mode=0o700)
    with (work / "bastion.yaml").open("a") as f:
        f.write("state: state\n")
    for name in product.services + ["bastion"]:
        product.start(name)
    return product


class Operator:
    """Does what the page leaves to the service manager and the editor."""

    def __init__(self, product, work, customer):
        self.product, self.work = product, work
        self.env = dict(
            os.environ,
            PATH=f"{os.path.dirname(kit.binary('smpl-app'))}:{os.environ['PATH']}",
            HOME=str(work),
            ACCOUNTS=f"http://127.20.1.10:{product.http}",
            ACCOUNTS_INTERNAL=f"http://127.10.1.10:{product.http}",
            OPERATOR_KEY=product.internal_key,
            API_KEY=customer.key,
            API_KEY_ID=customer.key_id,
            ACCOUNT_ID=customer.id,
        )
        (work / ".curlrc").write_text('interface = "127.10.0.9"\nnoproxy = "*"\n')

    def run(self, text):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.work,
            env=self.env,
            text=True,
            capture_output=True,
            timeout=kit.PATIENCE,
        )
        assert done.returncode == 0, (text, done)
        return done.stdout

    def stop(self, name):
        self.product.programs[name].stop()

    def start(self, name):
        self.product.start(name)

    def lose(self, name):
        self.product.programs[name].kill9()
        lose(self.work, name)

    def accept(self, file):
        self.old = self.line("config.key")
        text = (self.work / "accounts.yaml").read_text()
        assert self.old in text
        (self.work / "accounts.yaml").write_text(text.replace(self.old, self.old + "\n" + self.line(file)))

    def drop(self, _):
        text = (self.work / "accounts.yaml").read_text()
        (self.work / "accounts.yaml").write_text(text.replace(self.old + "\n", ""))

    def line(self, file):
        digest = hashlib.sha256((self.work / file).read_text().strip().encode()).hexdigest()
        text = internal_keys.accepted([("config", (self.work / file).read_text().strip(), ["introspect"])])
        return next(line for line in text.splitlines() if digest in line)


def test_every_command_of_the_runbook_does_what_it_says_as_it_stands_there(product, work):
    customer = Customer(product)
    assert customer("POST", "config", "/configs", config("kept")).status == 201
    operator = Operator(product, work, customer)
    with open(PAGE) as f:
        parts = list(PART.finditer(f.read()))
    assert sum(p["text"] is not None for p in parts) > 20 and sum(p["order"] is not None for p in parts) > 10
    said = ""
    for part in parts:
        if part["order"] is not None:
            verb, name = part["order"].split()
            getattr(operator, verb)(name)
        else:
            said += operator.run("\n".join(line[len(part["indent"]) :] for line in part["text"].splitlines()))
    for text in (
        "; checked",
        "what was there before",
        "revocations since the backup: 0",
        "API keys are enabled again",
        "is told of 1 accounts again",
        "nobody was blocked",
    ):
        assert text in said, text
    kit.wait_until(
        lambda: call(product, "config", "GET", f"/internal/v1/accounts/{customer.id}", internal=True).status
        == 200,
        "the sisters know the account in the end",
    )
    fresh = re.findall(r"sk_api_\w+", said)
    assert (
        len(fresh) == 2 and call(product, "config", "GET", "/api/v1/configs/kept", key=fresh[0]).status == 200
    )
    assert call(product, "accounts", "GET", "/api/v1/accounts/current", key=customer.key).status == 401
    with open(os.path.join(kit.ROOT, "README.md")) as f:
        assert "docs/operations.md" in f.read()
