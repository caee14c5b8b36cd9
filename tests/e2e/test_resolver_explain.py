# SPDX-License-Identifier: Apache-2.0
"""explain and matrix, live and of a configuration alone: what they say is what the server does."""

import json
import os
import pty
import subprocess

import pytest

import kit
from resolver_world import PRIVATE, PUBLIC, Resolver

NAMES = [
    "app.smplkit.com",
    "metrics.smplkit.com",
    "nope.smplkit.com",
    "config.internal.smplkit.local",
    "alias.internal.smplkit.local",
    "x.y.wild.internal.smplkit.local",
    "wild.internal.smplkit.local",
    "big.internal.smplkit.local",
    "elsewhere.test",
]


@pytest.fixture
def resolver(spawn, work):
    return Resolver(spawn, work).start()


def explain(resolver, *argv, live=True):
    where = ["--socket", resolver.socket] if live else ["-c", resolver.config]
    done = resolver.command("explain", *argv, *where, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["listeners"][0]


@pytest.mark.short
def test_explain_ends_in_the_answer_that_dig_gets(resolver):
    for name in NAMES:
        for source in (PRIVATE, PUBLIC):
            for kind in ("A", "TXT"):
                said = explain(resolver, name, kind, "--from", source)
                assert said == explain(resolver, name, kind, "--from", source, live=False)
                got = resolver.dig(name, kind, "+noall", "+comments", "+answer", source=source)
                assert f"status: {said['answer']['rcode']}," in got
                lines = [line.split() for line in got.splitlines() if line and not line.startswith(";")]
                assert sorted(lines) == sorted(line.split() for line in said["answer"]["answer"])


@pytest.mark.short
def test_explain_tells_the_view_at_each_hop_and_what_to_change(resolver):
    done = resolver.command("explain", "metrics.smplkit.com", "--from", PRIVATE, "--socket", resolver.socket)
    assert done.returncode == 0
    for part in (
        f"dns listener {resolver.server}:{resolver.port}",
        "127.10.0.0/16",
        "smplkit.com@vpc (view vpc)",
        "internal.smplkit.local (view vpc)",
        "NOERROR, authoritative",
    ):
        assert part in done.stdout
    done = resolver.command(
        "explain", "config.internal.smplkit.local", "--from", PUBLIC, "-c", resolver.config
    )
    assert (
        "REFUSED" in done.stdout
        and "view 'vpc' has zone 'internal.smplkit.local' for this name" in done.stdout
    )
    said = explain(resolver, "big.internal.smplkit.local", "--from", PRIVATE)
    assert said["answer"]["truncated_over_udp"] is True and len(said["answer"]["answer"]) == 200


@pytest.mark.short
def test_explain_takes_its_words_apart_with_clear_errors(resolver):
    for argv, status, text in (
        (["explain"], 2, "too few arguments"),
        (["explain", "a"], 2, "--from ADDR"),
        (["explain", "a", "A", "b", "--from", "::1"], 2, "'b' is too much"),
        (["status", "--from", "::1"], 2, "goes with explain"),
        (["zones", "--expect", "x"], 2, "goes with matrix"),
        (["explain", "a", "--from", "::1", "--socket", "s", "-c", "x"], 2, "exclude each other"),
        (["explain", "a", "WHAT", "--from", "::1", "-c", resolver.config], 1, "expected a record type"),
        (
            ["explain", "a", "--from", "::1", "--listener", "1.2.3.4:53", "--socket", resolver.socket],
            1,
            "no dns listener 1.2.3.4:53; there is",
        ),
    ):
        done = resolver.command(*argv)
        assert done.returncode == status and text in done.stderr and done.stderr.count("\n") == 1, (
            argv,
            done.stderr,
        )


@pytest.mark.short
def test_matrix_live_and_offline_agree_with_expectations(resolver):
    live = resolver.command("matrix", "--json", "--socket", resolver.socket)
    assert live.returncode == 0, live.stderr
    table = json.loads(live.stdout)
    assert table["views"] == ["vpc", "world"]
    assert table["names"]["app.smplkit.com."] == {"vpc": ["A 127.10.1.10"], "world": ["A 127.20.1.10"]}
    assert table["names"]["app.internal.smplkit.local."] == {"vpc": ["A 127.10.1.10"], "world": "refused"}
    expected = resolver.work / "expected.json"
    expected.write_text(live.stdout)
    assert resolver.command("matrix", "-c", resolver.config, "--expect", expected).returncode == 0
    table["names"]["app.smplkit.com."]["world"] = "refused"
    expected.write_text(json.dumps(table))
    done = resolver.command("matrix", "--socket", resolver.socket, "--expect", expected)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "1 differences" in done.stderr
    assert done.stdout == "app.smplkit.com. in view 'world': expected refused; is A 127.20.1.10\n"
    for text in ("{", "[]", '{"names": {"a.": 1}}'):
        expected.write_text(text)
        done = resolver.command("matrix", "-c", resolver.config, "--expect", expected)
        assert done.returncode == 1 and str(expected) in done.stderr and done.stderr.count("\n") == 1


def test_matrix_is_coloured_on_a_terminal_only(resolver):
    plain = resolver.command("matrix", "-c", resolver.config).stdout
    assert "\033" not in plain and plain.startswith("NAME ")
    outer, inner = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    process = subprocess.Popen(
        [kit.binary("smpl-resolver"), "matrix", "-c", str(resolver.config)], stdout=inner, env=env
    )
    os.close(inner)
    shown = b""
    try:
        while part := os.read(outer, 65536):
            shown += part
    except OSError:
        pass
    assert process.wait(timeout=kit.PATIENCE) == 0
    os.close(outer)
    assert b"\033[2mrefused" in shown and b"\033[33mA 127.20.1.10" in shown


@pytest.mark.short
def test_explaining_and_tables_count_as_no_queries(resolver):
    explain(resolver, "app.smplkit.com", "--from", PRIVATE)
    resolver.command("matrix", "--socket", resolver.socket)
    stats = json.loads(resolver.command("stats", "--json", "--socket", resolver.socket).stdout)
    assert stats["all"]["udp"] == 0 and stats["all"]["tcp"] == 0


@pytest.mark.short
def test_zone_that_takes_what_it_lacks_from_another_is_told_so(resolver):
    text = resolver.config.read_text()
    resolver.config.write_text(
        text.replace("file: com.vpc.zone}", "file: com.vpc.zone, on_missing: base, base: smplkit.com@world}")
    )
    resolver.write_zone(
        "com.world.zone", (resolver.work / "com.world.zone").read_text() + "only A 127.20.1.77\n"
    )
    assert resolver.command("reload", "--socket", resolver.socket).returncode == 0
    said = explain(resolver, "only.smplkit.com", "--from", PRIVATE)
    assert said["view"] == "vpc" and said["steps"][0]["zone"] == "smplkit.com@world"
    assert said["answer"]["answer"] == ["only.smplkit.com. 300 IN A 127.20.1.77"]
    table = json.loads(resolver.command("matrix", "--json", "--socket", resolver.socket).stdout)["names"]
    assert table["only.smplkit.com."] == {"vpc": ["A 127.20.1.77"], "world": ["A 127.20.1.77"]}
    assert table["app.smplkit.com."] == {"vpc": ["A 127.10.1.10"], "world": ["A 127.20.1.10"]}
