# SPDX-License-Identifier: Apache-2.0
"""Every program's metrics keep the same rules, and say the same of the program itself."""

import urllib.request

import pytest

import kit
import metric_rules
import tls_front as tls
from app_client import Customer
from boundary import get
from echo_front import INTERNAL
from product import Product


def page(address):
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=kit.PATIENCE) as reply:
        return reply.read().decode()


@pytest.fixture
def product(work, spawn):
    """Resolver and bastion with metrics, and services that have had something to do."""
    product = Product(work, spawn, services=("accounts", "config"))
    for name, host in (("bastion", "127.10.0.5"), ("resolver", "127.10.0.2")):
        product.programs[name].stop()
        port = kit.free_port(host)
        (work / f"{name}.yaml").open("a").write(f"metrics: {host}:{port}\n")
        product.start(name)
        setattr(product, name, f"{host}:{port}")
    return product


@pytest.mark.short
def test_every_program_keeps_the_rules_of_prometheus(product):
    customer = Customer(product, wait=False)  # one of the sisters is not there
    kit.wait_until(
        lambda: customer("GET", "config", "/configs").status == 200, "the other one knows the account"
    )
    product.dig("config.internal.smplkit.local")
    assert (
        product.ssh_args
        and kit.run(*product.ssh_args("-W", f"config.internal:{product.http}")).returncode is not None
    )
    metric_rules.check(page(product.resolver), "smpl_resolver")
    metric_rules.check(page(product.bastion), "smpl_bastion")
    for host in ("127.10.1.10", "127.10.1.11"):
        status, text = product.curl(host, "/internal/v1/metrics")
        assert status == 200
        metric_rules.check(text[: text.rindex("\n") + 1] if not text.endswith("\n") else text, "smpl_app")


@pytest.mark.short
def test_reloads_are_counted_by_result_in_every_program(product, work):
    def counts(name, prefix):
        found = metric_rules.read(page(getattr(product, name)))
        by = {labels: value for _, labels, value in found[f"{prefix}_reloads_total"][2]}
        return (
            by['{result="ok"}'],
            by['{result="failed"}'],
            found[f"{prefix}_last_reload_successful"][2][0][2],
        )

    for name, program in (("resolver", "smpl-resolver"), ("bastion", "smpl-bastion")):
        prefix = program.replace("-", "_")
        file = work / f"{name}.yaml"
        good = file.read_text()
        assert counts(name, prefix) == (0, 0, 1)
        assert kit.run(kit.binary(program), "reload", "-c", file).returncode == 0
        assert counts(name, prefix) == (1, 0, 1)
        for broken in (
            good + "nonsense: 1\n",
            good + "other: [\n",
        ):  # of the second, no reader makes anything
            file.write_text(broken)
            done = kit.run(kit.binary(program), "reload", "-c", file)
            assert (
                done.returncode == 1 and f"{name}.yaml:" in done.stderr and done.stderr.count("\n") == 1
            ), done
            told = kit.run(
                kit.binary(program), "status", "-c", file
            )  # the program has heard of it, not the client alone
            assert told.returncode == 0 and f"{name}.yaml:" in told.stdout.split("ailed", 1)[1], told
            assert counts(name, prefix)[2] == 0
        assert counts(name, prefix)[:2] == (1, 2)
        product.programs[name].stop()
        done = kit.run(kit.binary(program), "reload", "-c", file)
        assert (
            done.returncode == 3
            and "no running program answers" in done.stderr
            and f"{name}.yaml:" in done.stderr
        ), done
        file.write_text(good)
        done = kit.run(kit.binary(program), "reload", "-c", file)
        assert done.returncode == 3 and done.stderr.count("\n") == 1, done
        product.start(name)


def test_a_certificates_metric_keeps_them_too(work, spawn):
    front = tls.Front(work, spawn, extra="balancers: [127.44.8.8]\n")
    answer = front.raw(
        get(b"/internal/v1/metrics", tls.LAST).replace(b"Host: h", b"Host: localhost"), INTERNAL
    ).decode()
    families = metric_rules.check(answer.partition("\r\n\r\n")[2], "smpl_app")
    assert len(families["smpl_app_certificate_expiry_timestamp_seconds"][2]) == 2


def test_the_rules_find_what_they_are_for():
    def faults(text):
        try:
            metric_rules.check(text, "smpl_x")
        except AssertionError as e:
            return str(e)
        return ""

    fine = "".join(
        f"# HELP smpl_x_{n} A sentence.\n# TYPE smpl_x_{n} {k}\n"
        + (
            f'smpl_x_{n}{{version="1"}} 1\n'
            if n == "build_info"
            else f'smpl_x_{n}{{result="ok"}} 0\nsmpl_x_{n}{{result="failed"}} 0\n'
            if n == "reloads_total"
            else f"smpl_x_{n} 1\n"
        )
        for n, k in metric_rules.COMMON.items()
    )
    assert faults(fine) == ""
    for name, kind, why in (
        ("certificate_days", "gauge", "days is no base unit"),
        ("took_ms", "gauge", "ms is no base unit"),
        ("asked", "counter", "counters end in _total"),
        ("asked_total", "gauge", "counters end in _total"),
        ("some_count", "gauge", "a histogram's name"),
        ("a_gauge", "gauge", "names its type"),
        ("kilobytes", "gauge", "kilobytes is no base unit"),
        ("seconds_spent", "gauge", "belongs to the end"),
        ("camelCase", "gauge", "not in snake_case"),
    ):
        assert why in faults(
            fine + f"# HELP smpl_x_{name} A sentence.\n# TYPE smpl_x_{name} {kind}\nsmpl_x_{name} 1\n"
        ), name
    assert "no sentence" in faults(fine + "# HELP smpl_x_a lower\n# TYPE smpl_x_a gauge\nsmpl_x_a 1\n")
    assert "twice" in faults(fine + "# HELP smpl_x_a A.\n# TYPE smpl_x_a gauge\nsmpl_x_a 1\nsmpl_x_a 2\n")
    assert "smpl_x_build_info: every program has it" in faults(fine.replace("build_info", "info"))
