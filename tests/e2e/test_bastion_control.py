# SPDX-License-Identifier: Apache-2.0
"""smpl-control beyond whoami, resolve and why: what a user may reach, what is left of the session, who else
is there, the nearest name, and the events before an end. And the grants' hours, max_sessions and
description."""

import time

import pytest

import kit
from bastion_world import BASTION, WEB, grants, held_connection, world


@pytest.mark.short
def test_targets_lists_what_a_user_may_reach_and_nothing_else(world):
    w = world()
    w.write(
        grants=grants(
            w,
            "  - {users: [dev], targets: ['*.elsewhere.local:*', 'db.example.com:5432,5433', "
            "'10.0.0.0/8:22'], "
            "networks: [10.0.0.0/8], hours: [Mon-Fri 08:00-18:00, Sat 09:00-12:00]}\n",
            "  - {users: [other], targets: ['secret.smplkit.local:1'], networks: [10.0.0.0/8]}\n",
            idle="5m",
            session="2h",
            description="'Internal tier of the services'",
        ),
        users="  - {name: dev, keys: dev.pub, groups: [developers]}\n  - {name: other, keys: stranger.pub}\n",
    )
    w.command("reload")
    (answer,) = w.ask({"cmd": "targets"})
    first, second, third, fourth, fifth = answer["targets"]
    assert answer["ok"] is True and "truncated" not in answer
    # `app` stands there with a port that is not granted, `astray` and `nothing` lead nowhere,
    # `host.elsewhere` is another domain's
    assert first == {
        "target": "*.internal.smplkit.local",
        "ports": [w.port, w.ssh_port],
        "any_port": False,
        "description": "Internal tier of the services",
        "idle_s": 300,
        "session_s": 7200,
        "hours": None,
        "in_force": True,
        "names": [{"name": f"{n}.internal.smplkit.local", "port": w.port} for n in ("config", "other")],
    }
    assert second["names"] == [{"name": WEB, "port": w.port}]
    assert (third["any_port"], third["ports"], third["names"]) == (True, [], [])  # no such PTR records there
    assert third["hours"] == "Mon-Fri 08:00-18:00, Sat 09:00-12:00" and third["description"] is None
    assert [n["port"] for n in fourth["names"]] == [5432, 5433] and fourth["names"][0][
        "name"
    ] == "db.example.com"
    assert (fifth["target"], fifth["names"]) == ("10.0.0.0/8", [])


def test_why_tells_of_each_channel_by_its_own_number(world):
    w = world()
    closed = kit.free_port(WEB)
    w.write(
        grants=grants(
            w, f"  - {{groups: [developers], targets: ['{WEB}:{closed}'], networks: [127.42.0.0/16]}}\n"
        )
    )
    w.command("reload")
    path = w.work / "mux"
    ssh = w.spawn(*w.ssh_argv("-N", "-M", "-S", path))
    kit.wait_until(lambda: path.exists() or not ssh.running(), "the master")
    for target in (f"{WEB}:{closed}", "www.example.com:80", f"{WEB}:{closed}", "x" * 300 + ":1"):
        assert (
            kit.run(kit.tool("ssh"), "-F", "none", "-S", path, "-W", target, f"dev@{BASTION}").returncode != 0
        )
    control = w.control("-S", path)

    def last(target, port, channel):
        found = control.ask(cmd="why", target=target, port=port, channel=channel)["last"]
        return found and found["reason"]

    assert [last(WEB, closed, n) for n in (1, 2, 3, 4, 5)] == [
        "connection-refused",
        None,
        "connection-refused",
        None,
        None,
    ]
    assert [last("www.example.com", 80, n) for n in (1, 2, 3)] == [None, "not-granted", None]
    odd = [control.ask(cmd="why", target=WEB, channel=n) for n in (0, -1, "1", 2**32)]
    assert all(not answer["ok"] and '"channel"' in answer["text"] for answer in odd)


def test_targets_are_bounded(world):
    w = world()
    many = ", ".join(f"'host{i}.example.com:1'" for i in range(70))
    w.write(grants=f"  - {{users: [dev], targets: [{many}], networks: [10.0.0.0/8]}}\n")
    w.command("reload")
    (answer,) = w.ask({"cmd": "targets"})
    assert len(answer["targets"]) <= 64 and answer["truncated"] is True
    long = ", ".join(f"'{'x' * 60}.{'y' * 60}.{i}.example.com:1'" for i in range(60))
    w.write(grants=f"  - {{users: [dev], targets: [{long}], networks: [10.0.0.0/8]}}\n")
    w.command("reload")
    (answer,) = w.ask({"cmd": "targets"})
    assert 10 < len(answer["targets"]) < 60 and answer["truncated"] is True


def test_a_dead_resolver_does_not_keep_targets_waiting(world):
    w = world()
    w.resolver.kill9()
    (answer,) = w.ask({"cmd": "targets"})
    assert [row["names"] for row in answer["targets"]] == [[], [{"name": WEB, "port": w.port}]]


def test_why_and_resolve_name_what_may_have_been_meant(world):
    w = world()
    w.write(
        grants=grants(w, "  - {users: [dev], targets: ['db.example.com:5432'], networks: [10.0.0.0/8]}\n")
    )
    w.command("reload")
    short, typo, swapped, far, foreign, final, port, right = w.ask(
        {"cmd": "resolve", "target": "config"},
        {"cmd": "resolve", "target": "confg.internal"},
        {"cmd": "why", "target": "cofnig.internl.smplkit.local."},
        {"cmd": "resolve", "target": "billing.internal"},
        {"cmd": "why", "target": "www.example.org."},
        {"cmd": "why", "target": "dbs.example.com."},
        {"cmd": "why", "target": "config.internal", "port": 1},
        {"cmd": "why", "target": "config.internal"},
    )
    assert short["nearest"] == "config.internal.smplkit.local"
    assert (typo["reason"], typo["nearest"]) == ("unknown-name", "config.internal.smplkit.local")
    assert (swapped["reason"], swapped["nearest"]) == ("not-granted", "config.internal.smplkit.local")
    assert (final["reason"], final["nearest"]) == ("not-granted", "db.example.com")
    assert not any("nearest" in answer for answer in (far, foreign, port, right))


@pytest.mark.short
def test_limits_and_sessions_say_how_things_stand(world):
    w = world(limits="channels: 9, sessions_per_user: 3")
    shared = w.work / "mux"
    ssh, local = w.forward(extra=("-M", "-S", shared))
    alone = w.control()
    assert alone.ask(cmd="whoami")["ok"]
    with held_connection(w, local):
        mine = w.control("-S", shared)
        limits = mine.ask(cmd="limits")
        assert limits["session"] == mine.ask(cmd="whoami")["session"]
        assert {
            k: limits[k]
            for k in (
                "ok",
                "idle_s",
                "session_s",
                "channels_open",
                "channels_max",
                "sessions_open",
                "sessions_max",
                "keepalive_s",
            )
        } == {
            "ok": True,
            "idle_s": 1200,
            "session_s": 28800,
            "channels_open": 1,
            "channels_max": 9,
            "sessions_open": 2,
            "sessions_max": 3,
            "keepalive_s": None,
        }
        assert 1100 < limits["idle_left_s"] <= 1200 and 28700 < limits["session_left_s"] <= 28800
        kit.wait_until(lambda: mine.ask(cmd="sessions")["sessions"][0]["bytes_down"] > 0, "traffic is told")
        first, second = mine.ask(cmd="sessions")["sessions"]
        assert (first["current"], second["current"]) == (True, False) and first["session"] == limits[
            "session"
        ]
        assert (
            first["key"].startswith("SHA256:")
            and "OpenSSH" in first["client"]
            and first["source"].startswith("127.")
        )
        (channel,) = first["channels"]
        assert (channel["target"], channel["name"], channel["port"]) == (
            "config.internal",
            "config.internal.smplkit.local",
            w.port,
        )
        assert (
            channel["address"] == f"{WEB}:{w.port}"
            and channel["bytes_down"] > 0
            and channel["opened"].endswith("Z")
        )
        assert second["channels"] == [] and second["started"] >= first["started"]


def test_an_end_that_comes_near_is_told_and_told_again_after_it_was_averted(world):
    w, idle = world(), 3 * kit.ample(1) + 1
    w.write(grants=grants(w, idle=f"{idle}s"))
    w.command("reload")
    shared = w.work / "mux"
    ssh, local = w.forward(extra=("-M", "-S", shared, "-v"))
    control = w.control("-S", shared)
    assert control.ask(cmd="whoami")["ok"]
    first = kit.wait_until(
        lambda: control.ask(cmd="limits")["idle_left_s"] <= idle // 3, "it comes near", step=0.2
    )
    assert w.get(local).returncode == 0  # averted
    second = control.event("expiring")
    assert (
        second["reason"] == "idle"
        and 0 < second["left_s"] <= idle
        and "unless bytes are forwarded" in second["text"]
    )
    ending = control.event("ending")
    assert ending["reason"] == "idle" and f"{idle}s" in ending["text"]
    assert first
    assert ssh.wait(kit.PATIENCE) == 255
    assert "Remote: session" in ssh.stderr  # stock ssh, in words
    assert (
        ssh.stderr.count("unless bytes are forwarded") == 2
    )  # at the start, for the limit is short, and again
    assert w.wait_record("session-end")["reason"] == "idle"


@pytest.mark.short
def test_the_end_is_told_before_it_comes(world):
    w, most = world(), kit.ample(2)
    w.write(grants=grants(w, session=f"{most}s"))
    w.command("reload")
    control = w.control()
    session = control.ask(cmd="whoami")["session"]
    warning = control.event("expiring")
    assert warning["reason"] == "session-limit" and 0 < warning["left_s"] <= most
    assert control.event("ending")["reason"] == "session-limit"
    assert f"the grant's session time of {most}s is over" in control.end()
    assert w.wait_record("session-end", session=session)["reason"] == "session-limit"
    control = w.control()
    session = control.ask(cmd="whoami")["session"]
    w.command("terminate", session, "--reason", "go home")
    ending = control.event("ending")
    assert ending["reason"] == "terminated" and "go home" in ending["text"]


# --- hours, max_sessions ---


def hours_that_exclude_now():
    """A window of an hour, six hours from now."""
    at = time.localtime(time.time() + 6 * 3600)
    return f"[{time.strftime('%a %H', at)}:00-{(at.tm_hour + 1):02}:00]"


def test_a_grant_holds_in_its_hours_only(world):
    w = world()
    w.write(grants=grants(w, hours="00:00-24:00"))
    w.command("reload")
    ssh, local = w.forward()
    held = held_connection(w, local)
    w.write(grants=grants(w, hours=hours_that_exclude_now()))
    w.command("reload")
    kit.recv_all(held)  # cut
    assert "policy" in (ssh.wait(kit.PATIENCE) and ssh.stderr)
    control = w.control()
    why = control.ask(cmd="why", target="config.internal", port=w.port)
    assert (why["allowed"], why["reason"]) == (False, "outside-hours") and "hour" in why["text"]
    assert control.ask(cmd="resolve", target="config.internal")["reason"] == "outside-hours"
    assert control.ask(cmd="targets")["targets"][0]["in_force"] is False
    done = w.ssh("-W", f"config.internal:{w.port}")
    assert done.returncode != 0 and w.wait_record("channel-refused", reason="outside-hours")
    assert (
        "not in force at this hour"
        in w.command("explain", "dev", f"config.internal:{w.port}", status=1).stdout
    )


@pytest.mark.full
def test_the_end_of_a_grants_hours_ends_what_it_let_in(world):
    """Waits for the next minute but one at most."""
    w = world()
    end = time.localtime(time.time() + 65)
    w.write(
        grants=grants(
            w, hours=f"['{end.tm_hour:02}:{end.tm_min:02}-23:59', '00:00-{end.tm_hour:02}:{end.tm_min:02}']"
        )
    )
    w.command("reload")  # no end: the next window follows
    ssh, local = w.forward()
    control = w.control()
    assert control.ask(cmd="limits")["session_left_s"] > 80
    w.write(grants=grants(w, hours=f"['00:00-{end.tm_hour:02}:{end.tm_min:02}']"))
    w.command("reload")
    held = held_connection(w, local)
    held.settimeout(kit.PATIENCE)
    assert control.ask(cmd="limits")["session_left_s"] <= 120
    kit.recv_all(held)  # cut
    assert control.event("ending")["reason"] == "outside-hours"
    assert w.wait_record("session-end", reason="outside-hours")
    assert time.time() >= time.mktime(end) - end.tm_sec - 2


def test_a_grant_takes_so_many_sessions_of_a_user(world):
    w = world()
    w.write(grants=grants(w, max_sessions=1))
    w.command("reload")
    ssh, local = w.forward()
    held = held_connection(w, local)
    other, other_local = w.forward()
    assert w.get(other_local).returncode != 0
    assert w.wait_record("channel-refused", reason="too-many-sessions")
    assert w.get(local).returncode == 0  # the first may have more connections
    held.close()
    kit.wait_until(lambda: not w.sessions()[0]["channels"], "its connection is closed")
    held = held_connection(w, other_local)
    assert w.get(local).returncode != 0
    w.write(grants=grants(w, max_sessions=2))
    w.command("reload")
    second = held_connection(w, local)
    w.write(grants=grants(w, max_sessions=1))
    w.command("reload")  # the older session stays
    kit.recv_all(held)  # cut
    assert w.wait_record("session-end", reason="policy-changed")
    second.sendall(b"x")
    second.close()


def test_a_reload_that_renumbers_grants_ends_nobody(world):
    w = world()
    other = kit.HttpServer("127.42.1.12", w.port, "other")
    one = (
        f"  - {{users: [dev], targets: ['127.42.1.12:{w.port}'], networks: [127.42.0.0/16], max_sessions: "
        f"1}}\n"
    )
    two = f"  - {{users: [dev], targets: ['{WEB}:{w.port}'], networks: [127.42.0.0/16]}}\n"
    w.write(grants=one + two)
    w.command("reload")
    _, first = w.forward(WEB)
    held = held_connection(w, first)
    _, second = w.forward("127.42.1.12")
    other_held = held_connection(w, second)
    w.write(grants="  - {users: [dev], targets: ['10.0.0.1:1'], networks: [10.0.0.0/8]}\n" + one + two)
    assert "0 sessions are no longer granted" in w.command("reload").stdout
    held.close()
    other_held.close()
    other.close()


def test_questions_are_bounded(world):
    w = world()
    answers = w.ask(*[{"cmd": "whoami"}] * 15)
    assert all(a["ok"] for a in answers)
    control = w.control()
    answered = []
    while (
        False not in answered and len(answered) < 3000
    ):  # many at once: faster than the allowance comes back
        answered += [a["ok"] for a in control.ask_at_once(*[{"cmd": "whoami"}] * 15)]
    assert False in answered and answered.index(False) >= 200  # SESSION_QUESTION_BURST
    kit.wait_until(lambda: control.ask(cmd="whoami")["ok"], "it comes back", step=0.1)


@pytest.mark.parametrize(
    "keys, saying",
    [
        ({"hours": "Mon-Fry 08:00-18:00"}, "hours: expected DAYS HH:MM-HH:MM"),
        ({"hours": "[]"}, "hours"),
        ({"max_sessions": 0}, "max_sessions: must be from 1"),
        ({"description": "'two\x01lines'"}, "bastion.yaml"),
        ({"description": "x" * 201}, "description: expected one line of up to 200 bytes"),
    ],
)
def test_mistakes_in_them_are_named(world, keys, saying):
    w = world(start=False)
    w.write(grants=grants(w, **keys))
    assert saying in w.command("check", status=1).stderr
