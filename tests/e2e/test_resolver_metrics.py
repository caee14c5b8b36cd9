# SPDX-License-Identifier: Apache-2.0
"""The metrics that a monitoring system reads over http."""

import re
import socket
import urllib.request

import pytest

import kit
from resolver_world import PRIVATE, PUBLIC, Resolver


def with_metrics(spawn, work):
    r = Resolver(spawn, work)
    r.metrics = ("127.41.0.1", kit.free_port("127.41.0.1"))
    r.write_config(more="metrics: 127.41.0.1:%d\n" % r.metrics[1])
    return r


def read(r):
    with urllib.request.urlopen("http://%s:%d/metrics" % r.metrics, timeout=kit.PATIENCE) as reply:
        assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return reply.read().decode()


def value(text, series):
    found = re.search("^" + re.escape(series) + " (.*)$", text, re.M)
    return float(found.group(1)) if found else None


@pytest.mark.short
def test_metrics_count_what_was_asked(spawn, work):
    r = with_metrics(spawn, work).start()
    assert "http on 127.41.0.1:%d (metrics)" % r.metrics[1] in r.program.wait_line("ready")
    r.dig("config.internal.smplkit.local")
    r.dig("nope.internal.smplkit.local", "+tcp")
    r.dig("config.internal.smplkit.local", source=PUBLIC)
    text = read(r)
    assert value(text, 'smpl_resolver_queries_total{view="vpc",transport="udp"}') == 1
    assert value(text, 'smpl_resolver_queries_total{view="vpc",transport="tcp"}') == 1
    assert value(text, 'smpl_resolver_answers_total{view="vpc",rcode="NXDOMAIN"}') == 1
    assert value(text, 'smpl_resolver_answers_total{view="world",rcode="REFUSED"}') == 1
    assert value(text, "smpl_resolver_udp_batch_seconds_count") == 2
    assert value(text, "smpl_resolver_zones") == 3
    assert r.command("reload", "-c", r.config).returncode == 0
    again = read(r)
    assert value(again, 'smpl_resolver_reloads_total{result="ok"}') == 1
    assert value(again, 'smpl_resolver_queries_total{view="vpc",transport="udp"}') == 1
    for line in text.splitlines():  # every line is of the format, every series is described
        assert re.fullmatch(
            r'# (HELP|TYPE) .+|smpl_resolver_[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.e+-]+', line
        ), line


@pytest.mark.short
def test_a_page_whose_name_points_here_reads_no_metrics(spawn, work):
    """DNS rebinding: the browser connects to this address and asks with the page's own name."""
    r = with_metrics(spawn, work)
    at = "%s:%d" % r.metrics
    r.write_config(more="metrics: {address: '%s', hosts: [metrics.internal.example]}\n" % at)
    r.start()

    def ask(*hosts, version="1.1"):
        with socket.create_connection(r.metrics) as s:
            s.sendall(
                (
                    "GET /metrics HTTP/%s\r\n%s\r\n" % (version, "".join(f"Host: {h}\r\n" for h in hosts))
                ).encode()
            )
            return kit.recv_all(s).decode()

    for host in (at, r.metrics[0], "localhost", "metrics.internal.example", "METRICS.internal.example:80"):
        assert ask(host).startswith("HTTP/1.1 200 ") and "smpl_resolver_zones 3" in ask(host), host
    for host in (
        "rebound.attacker.example:%d" % r.metrics[1],
        "127.0.0.1",
        "localhost:1",
        "internal.example",
    ):
        answer = ask(host)
        assert answer.startswith("HTTP/1.1 421 ") and "smpl_resolver" not in answer, host
        assert (
            f"Host must be {at}, localhost or a name of the configuration: metrics: {{address: ..., hosts: "
            f"[NAME]}}" in answer
        )
    for hosts in ((), (at, at), (at, "rebound.attacker.example")):
        assert ask(*hosts).startswith("HTTP/1.1 400 "), hosts


@pytest.mark.short
def test_metrics_address_is_checked(spawn, work):
    r = with_metrics(spawn, work)
    with socket.socket() as other:
        other.bind(r.metrics)
        other.listen()
        done = r.command("-c", r.config)
        assert done.returncode == 1 and "metrics: %s:%d: address in use" % r.metrics in done.stderr
        assert done.stderr.strip().count("\n") == 0
    r.start()
    r.write_config()
    done = r.command("reload", "--socket", r.socket)
    assert done.returncode == 1 and "metrics: a change needs a restart" in done.stderr
    for bad, text in (("127.0.0.1", "expected"), ("127.0.0.1:0", "expected a port from 1 to 65535")):
        r.write_config(more=f"metrics: {bad}\n")
        done = r.command("check", "-c", r.config)
        assert done.returncode == 1 and text in done.stderr and "resolver.yaml:11:10: " in done.stderr
    r.write_config(more="metrics: 192.0.2.1:9153\n")
    assert "metrics name views and zones to everybody" in r.command("check", "-c", r.config).stdout


def test_slow_readers_of_metrics_hold_up_nobody(spawn, work):
    r = with_metrics(spawn, work).start()
    held = []
    for _ in range(20):
        s = socket.create_connection(r.metrics)
        s.sendall(b"GET /metr")
        held.append(s)
    assert r.dig("config.internal.smplkit.local", "+short", source=PRIVATE) == "127.10.1.11"
    assert r.command("status", "-c", r.config).returncode == 0
    assert value(read(r), "smpl_resolver_zones") == 3  # the oldest gave way
    kit.wait_until(lambda: all(kit.recv_all(s) == b"" for s in held), "idle connections are ended")
    for s in held:
        s.close()
    assert value(read(r), "smpl_resolver_zones") == 3
