# SPDX-License-Identifier: Apache-2.0
"""Workers that crash: the next connection gets one of a fresh template, whoever crashes them answers for it,
and nobody else waits for long."""

import re
import time
from pathlib import Path

import pytest

import kit

pytest.importorskip("paramiko", reason="python3-paramiko is not installed")
import paramiko  # noqa: E402
from rogue import GONE, Rogue, RogueWorld, message  # noqa: E402

FRESH_MS = 100  # SPAWNER_FRESH_MS
USERS = (
    "  - {name: dev, keys: dev.pub, groups: [developers]}\n"
    "  - {name: ops, keys: ops.pub, groups: [developers]}\n"
)


@pytest.fixture
def world(work, spawn):
    made = []

    def make(**kw):
        made.append(RogueWorld(work, spawn, users=USERS, **kw))
        return made[-1]

    yield make
    for w in made:
        w.close()


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def crash(w, how, signed_in=False, source="127.42.9.9"):
    """One connection whose worker ends so; the template that it was of."""
    with Rogue(w, signed_in, source) as client:
        template = parent(client.pid)
        assert client.tell(how) is GONE
        client.ended()
    return template


def renewed(w, times):
    """Until the broker has heard of so many crashes: their clients may see the end before it does."""
    kit.wait_until(lambda: w.status()["template"]["renewed"] == times, "it takes no worker of that template")


@pytest.mark.short
@pytest.mark.parametrize("signed_in", [False, True], ids=["before the login", "after the login"])
@pytest.mark.parametrize("how, signal", [("crash segv", 11), ("crash ill", 4), ("call 41 1 1 0", 31)])
def test_after_a_crash_the_next_connection_has_a_worker_of_another_template(world, how, signal, signed_in):
    if kit.SANITIZED and signal != 31:
        pytest.skip("the sanitizer catches the fault and ends the process with a status")
    w = world()
    with Rogue(w, source="127.42.9.1") as before, Rogue(w, source="127.42.9.2") as other:
        first = parent(before.pid)
        assert parent(other.pid) == first  # without a crash they share one
        assert crash(w, how, signed_in) == first
        renewed(w, 1)
        with Rogue(w, source="127.42.9.3") as after:
            assert parent(after.pid) != first
            assert w.status()["template"]["renewed"] == 1
            assert before.tell("who") is not GONE  # those that were there stay, and so does their template
    if signal != 31 and not (
        kit.SANITIZED and signal == 11
    ):  # which a sanitizer catches, and the walls end it there
        name = {11: "SIGSEGV at address 0x0", 4: "SIGILL at address 0x[0-9a-f]+"}[signal]
        w.bastion.wait_line(
            f"error: session [0-9a-f]+: smpl-bastion-worker crashed: {name}, in .*\\+0x[0-9a-f]+, build "
            f"[0-9a-f]{{40}}$"
        )
        w.bastion.wait_line(f"killed by signal {signal}")
    kit.wait_until(lambda: not kit.alive(first), "the old template ends with its last worker")
    kit.wait_until(lambda: w.status()["template"]["living"] == 1, "the broker has heard of it")


def test_a_breach_of_the_contract_is_as_bad_as_a_crash_and_an_ordinary_end_is_not(world):
    w = world()
    with Rogue(w) as client:
        first = parent(client.pid)
        client.put(b"x")  # no message
        client.ended()
    renewed(w, 1)
    with Rogue(w) as client:
        second = parent(client.pid)
        assert second != first
    for user in ("dev", "nobody"):
        w.ssh("-N", "-o", "ConnectTimeout=5", user=user, command=()) if user == "nobody" else w.ssh(
            "-s", command=["smpl-control"]
        )
    with Rogue(w) as client:
        assert parent(client.pid) == second
    assert w.status()["template"]["renewed"] == 1


def test_who_crashes_workers_at_will_closes_the_door_to_nobody(world):
    """Crashes from ever other addresses, and between them others sign in. Counted: who was turned away, and
    how many templates."""
    w = world()
    began, started = time.monotonic(), w.status()["template"]["started"]
    for i in range(30):
        crash(w, "crash segv", source=f"127.50.{i}.1")
        if i % 10 == 0:
            assert w.ssh("-W", f"config.internal:{w.port}").returncode == 0
    clients = [Rogue(w, source=f"127.51.{i}.1") for i in range(8)]  # of one template, and they crash together
    before = w.status()["template"]["renewed"]
    for client in clients:
        client.transport._send_message(
            message(b"\x32", "dev", "ssh-connection", "password", False, "rogue crash segv")
        )
    for client in clients:
        client.ended()
        client.close()
    assert w.ssh("-W", f"config.internal:{w.port}").returncode == 0
    template, elapsed = w.status()["template"], (time.monotonic() - began) * 1000
    assert template["renewed"] == before + 1
    assert template["renewed"] - 1 <= elapsed / FRESH_MS
    assert template["started"] - started == template["renewed"]
    counts = w.status()["counts"]
    assert (counts["dropped"], counts["gave_way"]) == (0, 0)


def test_a_source_answers_for_crashes_before_the_login_and_a_user_for_those_after_it(world):
    w = world(extra="penalties: {exempt: [10.0.0.0/8]}\n")
    crash(w, "crash segv", source="127.42.9.1")
    with pytest.raises((paramiko.SSHException, EOFError, OSError)):
        Rogue(w, source="127.42.9.1")
    w.bastion.wait_line(r"too many failed logins from 127.42.9.1/32 \(penalties; ")
    for i in range(2):
        crash(w, "crash segv", signed_in=True, source=f"127.42.{i}.9")
    with pytest.raises(paramiko.SSHException):
        Rogue(w, signed_in=True, source="127.42.5.9")
    assert w.wait_record("login-failed", reason="too-many-crashes")["user"] == "dev"
    assert (
        w.ssh("-s", command=["smpl-control"], user="ops", key=w.work / "ops").returncode == 0
    )  # of the address that dev had
    assert not [
        r for r in w.records("login-failed", reason="worker-died") if not re.match("127.42.9.1:", r["source"])
    ]
