# SPDX-License-Identifier: Apache-2.0
"""The query log of a running resolver."""

import json

import pytest

import kit
from resolver_world import PRIVATE, PUBLIC, Resolver, query


def with_log(spawn, work, sample=""):
    r = Resolver(spawn, work)
    r.log = work / "queries.json"
    r.write_config(more=f"query_log: {{file: queries.json{sample}}}\n")
    return r


def lines(r):
    return kit.json_lines(r.log)


def status(r):
    return json.loads(r.command("status", "--json", "--socket", r.socket).stdout)


@pytest.mark.short
def test_each_answer_is_a_line(spawn, work):
    r = with_log(spawn, work).start()
    r.dig("config.internal.smplkit.local")
    r.dig("nope.internal.smplkit.local", "SRV", "+tcp")
    r.dig("config.internal.smplkit.local", source=PUBLIC)
    kit.wait_until(lambda: len(lines(r)) == 3, "three lines")
    seen = [
        (x["listener"], x["client"], x["transport"], x["view"], x["name"], x["type"], x["rcode"])
        for x in lines(r)
    ]
    at = f"{r.server}:{r.port}"
    assert sorted(seen) == sorted(
        [
            (at, PRIVATE, "udp", "vpc", "config.internal.smplkit.local.", "A", "NOERROR"),
            (at, PRIVATE, "tcp", "vpc", "nope.internal.smplkit.local.", "SRV", "NXDOMAIN"),
            (at, PUBLIC, "udp", "world", "config.internal.smplkit.local.", "A", "REFUSED"),
        ]
    )
    assert status(r)["query_log"] == {"written": 3, "dropped": 0}
    assert "query log      3 lines written, 0 dropped" in r.command("status", "--socket", r.socket).stdout
    assert r.command("reload", "--socket", r.socket).returncode == 0
    r.dig("config.internal.smplkit.local")
    kit.wait_until(lambda: len(lines(r)) == 4, "a line after the reload")


@pytest.mark.short
def test_the_last_answers_are_written_at_the_end(spawn, work):
    r = with_log(spawn, work).start()
    session = r.session(PRIVATE, False)
    for i in range(500):
        session.ask(query("config.internal.smplkit.local", 1, ident=i))
    assert r.program.stop() == 0
    assert len(lines(r)) == 500


def test_a_sample_is_every_nth(spawn, work):
    r = with_log(spawn, work, ", sample: 10")
    r.config.write_text(r.config.read_text() + "workers: 1\n")
    r.start()
    session = r.session(PRIVATE, False)
    for i in range(100):
        session.ask(query("config.internal.smplkit.local", 1, ident=i))
    assert r.program.stop() == 0
    assert len(lines(r)) == 10


@pytest.mark.short
def test_bad_query_logs_are_refused_with_their_place(spawn, work):
    r = with_log(spawn, work)
    for bad, text in (
        ("{file: /nonexistent/x}", "No such file"),
        ("{file: /dev/null}", "is not a regular file"),
        ("{sample: 2}", "file"),
        ("{file: q, sample: 0}", "sample"),
        ("{file: q, sample: 1000001}", "sample"),
    ):
        r.write_config(more=f"query_log: {bad}\n")
        for argv in ([], ["check"]):
            done = r.command(*argv, "-c", r.config)
            assert (
                done.returncode == 1 and "resolver.yaml:11:" in done.stderr and text in done.stderr
            ), done.stderr
    r.write_config(more="query_log: {file: q}\n")
    r.start()
    r.write_config(more="query_log: {file: q, sample: 2}\n")
    assert "query_log: a change needs a restart" in r.command("reload", "--socket", r.socket).stderr
