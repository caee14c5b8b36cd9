# SPDX-License-Identifier: Apache-2.0
"""Blocking: somebody is out at once and for good, without anybody editing a file; on record; and strangers do
not learn of it."""

import json
import os
import re
import shutil

import pytest

import kit
from bastion_world import as_user, world
from company import Company

STATE = "state: state\n"


@pytest.fixture
def company(world, work):
    (work / "state").mkdir(mode=0o700)
    return Company(world, STATE)


def fingerprint(c, name):
    return kit.run(kit.tool("ssh-keygen"), "-lf", c.w.work / f"{name}.pub").stdout.split()[1]


def blocks(c):
    return json.loads(c.w.command("blocks", "--json").stdout)


def restart(c):
    c.w.bastion.kill9()
    c.w.start()


@pytest.mark.short
def test_who_is_blocked_is_out_at_once_and_after_a_restart_until_unblocked(company):
    c = company
    stays, goes = c.session("ann"), c.session("eve")
    done = c.w.command("block", "eve", "--reason", "left\x1b[31m today")
    assert (
        "eve is blocked, and stays so until: smpl-bastion unblock eve; 1 sessions were ended" in done.stdout
    )
    (record,) = c.w.records("block")  # before it was acknowledged
    assert (record["user"], record["by_uid"], record["ended"]) == ("eve", os.getuid(), 1)
    assert goes.event("ending")["reason"] == "blocked"
    assert "an administrator has blocked this user or key" in goes.end() and "today" not in "".join(
        goes.errors
    )
    assert c.w.wait_record("session-end", user="eve")["reason"] == "blocked"
    assert not c.gets_in("eve") and c.gets_in("ann") and stays.ask(cmd="whoami")["user"] == "ann"
    assert c.w.wait_record("login-failed", user="eve", reason="blocked")["signed"] is True
    c.w.command("reload")
    assert not c.gets_in("eve")
    restart(c)
    assert not c.gets_in("eve") and c.gets_in("ann")
    (listed,) = blocks(c)
    assert (listed["who"], listed["reason"], listed["by_uid"], listed["known"]) == (
        "eve",
        "left\\x1b[31m today",
        os.getuid(),
        True,
    )
    assert re.search(r"^20\S+Z +\d+  eve: left", c.w.command("blocks").stdout, re.M)
    assert (
        re.search(r"^blocked +1 users and keys$", c.w.command("status").stdout, re.M)
        and c.metric("blocks") == 1
    )
    done = kit.run(
        kit.binary("smpl-bastion"),
        "explain",
        "eve",
        f"config.internal:{c.w.port}",
        "--socket",
        c.w.work / "bastion.sock",
    )
    assert (
        done.returncode == 1
        and "eve may reach nothing: an administrator has blocked this user or key" in done.stdout
    )
    assert "eve is blocked already" in c.w.command("block", "eve", "--reason", "again").stdout
    assert "blocked" in c.w.command("history", "--user", "eve").stdout
    assert c.w.command("unblock", "eve", "--reason", "a mistake").stdout == "eve is not blocked any more\n"
    assert c.w.records("unblock")[0]["text"] == "a mistake"
    assert c.gets_in("eve")
    restart(c)
    assert c.gets_in("eve") and c.w.command("blocks").stdout == "nobody is blocked\n"
    assert c.w.command("unblock", "eve", status=1).stderr == "smpl-bastion: 'eve' is not blocked\n"
    c.w.check_chain()


def test_a_key_is_blocked_for_whoever_has_it(company):
    c = company
    c.keys_file("ann", c.lines["ann"] + c.lines["eve"])  # eve's key is good for both names
    c.w.command("reload")
    by_key = c.w.control(user="ann", key=c.keys["eve"])
    assert by_key.ask(cmd="whoami")["user"] == "ann"
    own, other = c.session("ann"), c.session("eve")
    done = c.w.command("block", fingerprint(c, "eve"), "--reason", "laptop stolen")
    assert "2 sessions were ended" in done.stdout and "note" not in done.stdout
    assert by_key.event("ending")["reason"] == other.event("ending")["reason"] == "blocked"
    assert own.ask(cmd="whoami")["user"] == "ann" and c.gets_in("ann") and not c.gets_in("eve")
    assert c.w.ssh("-W", f"config.internal:{c.w.port}", user="ann", key=c.keys["eve"]).returncode == 255
    assert c.w.records("block")[0]["key"] == fingerprint(c, "eve")
    restart(c)
    assert not c.gets_in("eve")
    for who in ("bob", "SHA256:" + "A" * 43):  # who is not there can be blocked too: they may come
        assert (
            f"note: {who} is not in the configuration now"
            in c.w.command("block", who, "--reason", "x").stdout
        )
    assert [b["known"] for b in blocks(c)] == [True, False, False]


def test_strangers_do_not_learn_who_is_blocked(company):
    """Somebody with a key of his own, and somebody with the public half of hers, see the same before and
    after."""
    c = company
    other, _ = kit.keygen(c.w.work / "other")
    half = c.w.work / "half"
    half.mkdir()
    shutil.copy(c.w.work / "eve.pub", half / "id.pub")

    def seen(user, key):
        done = c.w.ssh("-v", "-W", f"config.internal:{c.w.port}", user=user, key=key)
        told = [
            line
            for line in done.stderr.splitlines()
            if re.search("accepts key|Permission denied|Authentications|disconnect", line)
        ]
        return done.returncode, told

    def view():
        return [seen(user, key) for user in ("eve", "ann", "nobody") for key in (other, half / "id.pub")]

    before = view()
    assert any("accepts key" in line for _, told in before for line in told)
    c.w.command("block", "eve", "--reason", "x")
    assert view() == before
    assert not c.w.records("login-failed", reason="blocked")  # nor is it a try of hers
    assert not c.gets_in("eve")
    assert seen("eve", c.keys["eve"])[1][-1] == before[0][1][-1]  # who has it is told no more


def test_what_was_acknowledged_survives_a_kill(company):
    c = company
    for i in range(3):
        c.w.command("block", f"u{i}", "--reason", "x")
        restart(c)
        assert [b["who"] for b in blocks(c)] == [f"u{n}" for n in range(i + 1)]
    assert [r["user"] for r in c.w.records("block")] == ["u0", "u1", "u2"]


def test_a_file_of_blocks_that_cannot_be_read_lets_nobody_in(company):
    c = company
    c.w.command("block", "eve", "--reason", "x")
    c.w.bastion.stop()
    path = c.w.work / "state" / "blocks"
    whole = path.read_text()
    path.write_text(whole.replace('"who"', '"whom"'))
    bastion = c.w.spawn(kit.binary("smpl-bastion"), "-c", "bastion.yaml")
    assert bastion.wait() == 1
    assert re.search(r"state/blocks:2: .*users who are blocked there would get in", bastion.stderr)
    assert re.search(r"state/blocks:2: ", c.w.command("check", status=1).stderr)
    (c.w.work / "state").chmod(0o755)
    assert "must not be open to others (mode 755); try: chmod 700" in c.w.command("check", status=1).stderr
    (c.w.work / "state").chmod(0o700)
    path.write_text(whole)
    assert "blocked    1 users and keys" in c.w.command("check").stdout
    c.w.start()
    assert not c.gets_in("eve")


def test_a_block_that_cannot_be_kept_or_recorded_holds_and_says_so(company):
    c = company
    shutil.rmtree(c.w.work / "state")
    assert (
        "'eve' is blocked only until the bastion ends"
        in c.w.command("block", "eve", "--reason", "x", status=1).stderr
    )
    assert not c.gets_in("eve")
    assert "NOT KEPT YET" in c.w.command("status").stdout
    assert "'eve' stays blocked" in c.w.command("unblock", "eve", status=1).stderr
    assert c.w.records("block", user="eve") and not c.gets_in("eve")
    c.w.bastion.stop()
    (c.w.work / "state").mkdir(mode=0o700)
    c.w.start()
    goes = c.session("eve")
    (c.w.work / "audit.jsonl").unlink()
    assert (
        "'eve' is blocked, but this is not on record"
        in c.w.command("block", "eve", "--reason", "x", status=1).stderr
    )
    assert goes.event("ending")["reason"] == "blocked"
    assert "stays blocked: the audit cannot be written" in c.w.command("unblock", "eve", status=1).stderr
    c.w.command("reload")
    c.w.wait_record("block", user="eve")  # as soon as it can be
    assert not c.gets_in("eve")
    restart(c)
    assert not c.gets_in("eve")


def test_who_may_block_and_what_it_needs(world, work):
    c = Company(world)
    error = c.w.command("block", "eve", "--reason", "x", status=1).stderr
    assert re.search(
        r"put `state: FOLDER` into .*bastion.yaml \(a folder of its own, mode 700\) and restart", error
    )
    assert c.w.command("blocks").stdout == "nobody is blocked\n"
    (work / "state").mkdir(mode=0o700)
    c.extra += STATE + "roles: {read: ['61001'], terminate: ['61002']}\n"
    c.users("  - {name: eve, keys: eve.pub, groups: [developers, visitors]}\n")
    assert "state: a change needs a restart" in c.w.command("reload", status=1).stderr
    restart(c)
    for argv in (
        ("block", "eve"),
        ("block", "--reason", "x"),
        ("unblock",),
        ("block", "eve", "ann", "--reason", "x"),
    ):
        assert (
            kit.run(kit.binary("smpl-bastion"), *argv, "-c", "bastion.yaml", cwd=work).returncode == 2
        ), argv
    for who in ("eve smith", "SHA256:short", "a/b"):
        assert (
            "neither a user's name nor a key's fingerprint"
            in c.w.command("block", who, "--reason", "x", status=1).stderr
        )
    goes = c.session("eve")
    assert (
        "this is no block: eve can sign in again; smpl-bastion block eve --reason TEXT"
        in c.w.command("terminate", "--user", "eve").stdout
    )
    goes.event("ending")
    assert c.gets_in("eve")
    if os.geteuid() == 0:
        (work / "bastion.sock").chmod(0o666)
        for cmd in ("block", "unblock"):
            assert (
                f"{cmd} needs the role terminate"
                in as_user(c.w, 61001, 1, cmd=cmd, who="eve", reason="x")["error"]
            )
        assert as_user(c.w, 61001, 1, cmd="blocks")["ok"] and not as_user(c.w, 61003, 1, cmd="blocks")["ok"]
        assert as_user(c.w, 61002, 1, cmd="no-such-command")["error"].startswith(
            "unknown command 'no-such-command': expected "
        )
        assert as_user(c.w, 61002, 1, cmd="block", who="eve", reason="x")["ok"] and not c.gets_in("eve")
