# SPDX-License-Identifier: Apache-2.0
"""What the wall clock ends, with a clock that the test sets: hours that are over, keys that expire. And what
a reload ends."""

import json
import time

import pytest

import kit
from bastion_world import WEB, grants, held_connection, world
from clock import Clock


@pytest.fixture
def clock(work):
    return Clock(work)


def hours_until(ahead=7200):
    """Windows without a gap from today's midnight on, that end in about two hours."""
    now = time.time()
    end = time.localtime(now + ahead)
    windows = (
        [f"{time.strftime('%a', time.localtime(now))} 00:00-24:00"]
        if end.tm_mday != time.localtime(now).tm_mday
        else []
    )
    windows.append(f"{time.strftime('%a', end)} 00:00-{end.tm_hour:02}:{max(end.tm_min, 1):02}")
    return json.dumps(windows)


def start(world, clock, **keys):
    w = world(start=False)
    w.write(**keys)
    w.start(env=clock.env)
    return w


def test_the_end_of_hours_ends_what_no_other_grant_takes_over(world, clock):
    w = start(world, clock)
    w.write(grants=grants(w, hours=hours_until()))
    w.command("reload")
    ssh, local = w.forward()
    held, control = held_connection(w, local), w.control()
    assert control.ask(cmd="limits")["session_left_s"] <= 7260
    clock.set(7300)
    kit.recv_all(held)  # cut
    assert w.wait_record("session-end", reason="outside-hours")
    assert control.event("ending")["reason"] == "outside-hours"


def test_a_grant_that_takes_over_at_the_end_of_hours_takes_so_many_sessions_only(world, clock):
    w = start(world, clock)
    w.write(
        grants=grants(
            w,
            f"  - {{users: [dev], targets: ['*.internal.smplkit.local:{w.port}'], networks: [127.42.0.0/16], "
            "max_sessions: 1}\n",
            hours=hours_until(),
        )
    )
    w.command("reload")
    _, local = w.forward()
    older = held_connection(w, local)
    _, local = w.forward()
    newer = held_connection(w, local)
    clock.set(7300)
    kit.recv_all(newer)  # cut
    assert w.wait_record("session-end", reason="too-many-sessions")
    kit.wait_until(lambda: len(w.sessions()) == 1, "one stays")
    older.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"hello from inside" in kit.recv_all(older)
    assert len(w.records("session-end")) == 1


def test_a_key_that_expires_ends_the_sessions_it_opened(world, clock):
    w = start(world, clock)
    plain = (w.work / "dev.pub").read_text()
    soon = lambda s: time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + s))
    (w.work / "dev.pub").write_text(
        f'expiry-time="{soon(9000)}",expiry-time="{soon(600)}",expiry-time="{soon(8000)}" {plain}'
    )
    w.command("reload")
    control = w.control()
    control.ask(cmd="whoami")
    clock.set(300)
    time.sleep(0.6)  # a sweep or two
    assert control.ask(cmd="whoami")["ok"]
    clock.set(700)
    assert w.wait_record("session-end", reason="key-expired")
    assert w.ssh("-s", command=["smpl-control"]).returncode == 255
    assert w.wait_record("login-failed", reason="key-expired")


def test_a_reload_ends_what_is_no_longer_granted(world):
    """Of many sessions, of which some keep what they have."""
    w = world(limits="sessions_per_user: 64")
    kept = [held_connection(w, w.forward("127.42.1.11")[1]) for _ in range(2)]
    cut = [held_connection(w, w.forward()[1]) for _ in range(6)]
    w.write(grants=f"  - {{users: [dev], targets: ['{WEB}:{w.port}'], networks: [127.42.0.0/16]}}\n")
    assert "6 sessions are no longer granted" in w.command("reload").stdout
    for held in cut:
        kit.recv_all(held)
    kit.wait_until(
        lambda: len(w.records("session-end", reason="policy-changed")) == 6, "their ends are on record"
    )
    kit.wait_until(lambda: len(w.sessions()) == 2, "only the others are left")
    for held in kept:
        held.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"hello from inside" in kit.recv_all(held)
