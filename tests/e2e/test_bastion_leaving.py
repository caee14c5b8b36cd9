# SPDX-License-Identifier: Apache-2.0
"""Whoever left is out: by the configuration, whatever else is wrong in it."""

import re
import signal

import pytest

import kit
from bastion_world import world
from company import ANN, Company, EVE


def group_emptied(c):
    c.users(ANN + EVE.replace("[visitors]", "[]"))


def group_struck_out(c):
    """Its one line was taken out, and the key stayed."""
    c.users(ANN + "  - name: eve\n    keys: eve.pub\n    groups:\n      # - visitors\n")


def keys_emptied(c):
    c.keys_file("eve", "")


def keys_gone(c):
    (c.w.work / "eve.pub").unlink()


def keys_writable(c):
    (c.w.work / "eve.pub").chmod(0o666)


def keys_of_another(c):
    """eve goes the ordinary way; somebody mistyped a line for ann on the same day."""
    c.users(ANN + "  - {name: bob, keys: bob.pub}\n")
    c.keys_file("bob", f"{c.lines['ann']}ssh-ed25519 AAAA bob\n")


def user_gone(c):
    """She is named in a grant still."""
    c.users(ANN)


# what was done; what the reload's exit status is; what it says
LEAVING = {
    "the last of a group": (
        group_emptied,
        0,
        r"warning: bastion.yaml:\d+:\d+: groups: no user is in a group 'visitors'",
    ),
    "the last of a group, struck out": (
        group_struck_out,
        0,
        r"bastion.yaml:\d+:\d+: groups: no user is in a group 'visitors'",
    ),
    "keys file empty": (keys_emptied, 0, r"warning: eve.pub: no key in the file: eve cannot sign in"),
    "keys file gone": (
        keys_gone,
        1,
        r"bastion.yaml:\d+:\d+: keys: .*eve.pub: cannot be opened: .*\(eve has no key",
    ),
    "keys file that others can write": (keys_writable, 1, r"eve.pub: others can write it \(mode 666\)"),
    "a line of another": (
        keys_of_another,
        1,
        r"bob.pub:2: the key is malformed \(the line counts as absent\)",
    ),
    "taken out of the users": (
        user_gone,
        0,
        r"bastion.yaml:\d+:\d+: groups: no user is in a group 'visitors'",
    ),
}


@pytest.mark.short
def test_who_left_is_out_and_nobody_else_whatever_else_is_wrong(world):
    c = Company(world)
    for name, (leave, status, says) in LEAVING.items():
        c.hire()
        assert c.gets_in("ann") and c.gets_in("eve"), name
        stays, goes = c.session("ann"), c.session("eve")
        leave(c)
        done = kit.run(kit.binary("smpl-bastion"), "reload", "-c", "bastion.yaml", cwd=c.w.work)
        assert not c.gets_in("eve"), name
        assert done.returncode == status, (name, done.stderr)
        assert re.search(says, done.stderr), (name, done.stderr)
        assert "reloaded" in done.stdout, name
        check = c.w.command("check", status=status)
        assert re.search(says, check.stderr), (name, check.stderr)
        assert c.gets_in("ann"), name
        assert stays.ask(cmd="whoami")["user"] == "ann", name
        if not name.startswith("the last of a group"):  # she can sign in still, and reach nothing
            assert goes.event("ending")["reason"] == "policy-changed", name
        told = c.w.status()["configuration"]
        assert (told["absent"], told["reload_error"]) == (status, None), name
        assert any(re.search(says, line) for line in told["lines"]), name
        assert c.metric("config_absent") == status and c.metric("last_reload_successful") == 1, name
        assert re.search(says, c.w.command("status").stdout), name
    c.hire()
    told = c.w.status()["configuration"]
    assert (told["absent"], told["warnings"], told["lines"], c.metric("config_absent")) == (0, 0, [], 0)
    assert [r["absent"] for r in c.w.records("reload")].count(1) == 3


def test_by_a_signal_too_and_a_start_on_such_files_says_so_and_serves(world):
    c = Company(world)
    stays = c.session("ann")
    keys_gone(c)
    c.keys_file("ann", f"no key at all\n{c.lines['ann']}")
    seen = len(c.w.bastion.err)
    c.w.bastion.signal(signal.SIGHUP)
    c.w.bastion.wait_line(r'ann.pub:1: expected a key|ann.pub:1: option "no" is not known', start=seen)
    c.w.bastion.wait_line(r"eve has no key and cannot sign in", start=seen)
    assert c.w.status()["configuration"]["absent"] == 2 and c.metric("config_absent") == 2
    assert not c.gets_in("eve") and c.gets_in("ann")
    assert stays.ask(cmd="whoami")["user"] == "ann"
    (c.w.work / "bastion.yaml").write_text(
        "listen: ["
    )  # what cannot be read at all changes nothing, and is told too
    c.w.bastion.signal(signal.SIGHUP)
    kit.wait_until(lambda: c.metric("last_reload_successful") == 0, "the reload fails")
    for argv in (["-c", "bastion.yaml"], ["--socket", "bastion.sock"]):
        told = kit.run(kit.binary("smpl-bastion"), "status", *argv, cwd=c.w.work).stdout
        assert re.search(
            r"THE LAST RELOAD FAILED, the one before is in force: .*bastion.yaml:\d+:\d+: ", told
        ), told
    c.users(ANN + EVE)
    c.w.bastion.stop()
    c.w.start()
    assert "eve has no key and cannot sign in" in c.w.bastion.stderr and "ann.pub:1: " in c.w.bastion.stderr
    assert not c.gets_in("eve") and c.gets_in("ann")
