# SPDX-License-Identifier: Apache-2.0
"""smpl-tunnel and the real bastion's smpl-control: lists, reasons, suggestions, limits, SOCKS by name."""

import json
import os
import re
import socket

import pytest

import kit
from product import bastion
from tunnel_kit import local_port, place


def ask(place, *arguments, **env):
    return kit.run(
        kit.binary("smpl-tunnel"),
        *arguments,
        env={
            **os.environ,
            "SMPL_TUNNEL_CONFIG": str(place.work / "tunnel.yaml"),
            "HOME": str(place.work),
            "XDG_CACHE_HOME": str(place.work / "cache"),
            "SMPL_BASTION": "",
            "SSH_AUTH_SOCK": "",
            **env,
        },
    )


def limits(place, text):
    config = place.work / "bastion.yaml"
    config.write_text(re.sub(r"idle: 20m\n    session: 8h", text, config.read_text()))
    bastion(place, "reload")


def grant(place, targets, networks):
    config = place.work / "bastion.yaml"
    text = re.sub(r"targets: \[.*\]", f"targets: [{targets}]", config.read_text())
    config.write_text(re.sub(r"networks: \[.*\]", f"networks: [{networks}]", text))
    bastion(place, "reload")


@pytest.mark.short
def test_ls_shows_what_i_may_reach_with_port_and_limits(place):
    done = ask(place, "ls")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert re.match(rf"config\.internal\.smplkit\.local +{place.http} +idle 20m, session 8h", lines[0])
    rows = [json.loads(line) for line in ask(place, "ls", "--json").stdout.splitlines()]
    assert [r["target"] for r in rows] == ["config.internal.smplkit.local", "app.internal.smplkit.local"]
    assert rows[0]["ports"] == [place.http] and rows[0]["idle_s"] == 1200
    targets = ask(place, "completion", "targets").stdout.splitlines()
    assert sorted(targets) == ["app.internal.smplkit.local", "config.internal.smplkit.local"]


def test_a_tunnel_keeps_the_targets_for_completion(place):
    assert ask(place, "completion", "targets").stdout == ""
    local_port(place.tunnel("0:config.internal", env={"XDG_CACHE_HOME": str(place.work / "cache")}))
    kit.wait_until(lambda: "config.internal" in ask(place, "completion", "targets").stdout, "they are kept")


@pytest.mark.short
def test_whoami_shows_user_groups_key_and_limits(place):
    done = ask(place, "whoami")
    print_ = kit.run("ssh-keygen", "-lf", f"{place.key}.pub").stdout.split()[1]
    assert done.returncode == 0 and re.search(r"user +dev\n", done.stdout) and "developers" in done.stdout
    assert print_ in done.stdout and "session 8h, idle 20m" in done.stdout
    assert json.loads(ask(place, "whoami", "--json").stdout.splitlines()[0])["user"] == "dev"


@pytest.mark.short
@pytest.mark.parametrize(
    "target, status, words",
    [
        ("config.internal", 0, "it leads to config.internal.smplkit.local port"),
        ("flags.internal", 7, "flags.internal: no grant covers this target"),
        ("config.internal:22", 7, "the grant covers this name, not this port"),
        ("confg.internal", 7, "did you mean config.internal.smplkit.local?"),
        ("config", 7, "did you mean config.internal.smplkit.local?"),
        ("a:b:c", 2, "expected TARGET[:PORT]"),
        ("fd00::1:80", 2, "an IPv6 address stands in brackets"),
    ],
)
def test_why_says_why(place, target, status, words):
    done = ask(place, "why", target)
    assert done.returncode == status
    assert words in done.stdout + done.stderr


@pytest.mark.short
def test_an_unknown_target_suggests_the_nearest_granted_name(place):
    for target in ("confg.internal", "config"):
        program = place.tunnel(f"0:{target}")
        assert program.wait() == 7
        assert "did you mean config.internal.smplkit.local?" in program.stderr and len(program.err) == 1


def test_the_port_that_is_missing_is_asked_for_in_a_way_that_is_accepted(place):
    grant(place, "'[::1]:*', '127.10.1.11:*'", "'::1/128', 127.10.0.0/16")
    for target in ("[::1]", "127.10.1.11"):
        program = place.tunnel(f"8080:{target}")
        assert program.wait() in (7, 8)
        advice = re.search(r"say it, as in (\S+)", program.stderr)[1]
        assert advice == f"8080:{target}:PORT"
        again = place.tunnel(advice.replace("PORT", "x"))
        assert again.wait() == 2 and "'x' is not a port" in again.stderr  # the rest of it is understood


@pytest.mark.short
def test_socks_looks_names_up_at_the_bastion(place):
    http = kit.HttpServer("127.10.1.10", place.http, "by name")
    program = place.tunnel("-D", "0")
    port = int(re.search(r":(\d+) ->", program.wait_line("^socks5h://", stream="out"))[1])
    done = kit.run(
        kit.tool("curl"),
        "-sS",
        "--noproxy",
        "",
        "-x",
        f"socks5h://127.0.0.1:{port}",
        f"http://app.internal.smplkit.local:{place.http}/docs",
    )
    assert done.stdout == "by name", done.stderr
    done = kit.run(
        kit.tool("curl"),
        "-sS",
        "--noproxy",
        "",
        "-x",
        f"socks5h://127.0.0.1:{port}",
        f"http://flags.internal.smplkit.local:{place.http}/",
    )
    assert done.returncode == 97, "answered by SOCKS, not broken off"
    program.wait_line(f"flags.internal.smplkit.local:{place.http}: no grant covers this target")
    http.close()


def test_a_line_says_that_a_limit_comes_near_and_the_end_has_its_reason(place):
    limits(place, f"idle: {kit.ample(3)}s\n    session: 8h")
    program = place.tunnel("0:config.internal")
    local_port(program)
    program.wait_line(r"nothing has been carried for long: the bastion ends the session in \d+ s")
    assert program.wait() == 9
    assert "the grant's idle time" in program.stderr


def test_events_of_limits_in_json(place):
    limits(place, "idle: 20m\n    session: 4s")
    program = place.tunnel("--json", "0:config.internal")
    assert program.wait() == 9
    events = [json.loads(line) for line in program.out]
    expiring = next(e for e in events if e["event"] == "expiring")
    assert expiring["reason"] == "session-limit" and 0 <= expiring["left_s"] <= 4
    assert (
        events[-1]["event"] == "end" and events[-1]["code"] == 9 and events[-1]["reason"] == "session-limit"
    )


def test_time_left_shows_on_the_terminal(place):
    from tunnel_kit import Terminal

    terminal = Terminal(
        "0:config.internal",
        env={"TERM": "xterm", "HOME": str(place.work)},
        over={"SMPL_TUNNEL_CONFIG": str(place.work / "tunnel.yaml")},
    )
    terminal.until(b"7 h 59 min left")
    terminal.type(b"\x03")
    assert terminal.end() == 0


def test_stdio_reaches_a_target_whose_port_is_learnt(place):
    done = ask(place, "--stdio", "config.internal")
    assert done.returncode == 0, done.stderr


def test_the_oldest_session_does_not_keep_a_new_one_out(place):
    """After a change of network the bastion still counts the session whose path died."""
    config = place.work / "bastion.yaml"
    config.write_text(config.read_text() + "limits: {sessions_per_user: 1}\n")
    place.programs["bastion"].stop()
    place.start("bastion")
    program = place.tunnel("0:config.internal")
    port = local_port(program)
    place.programs["bastion"].kill9()
    place.start("bastion")
    with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
