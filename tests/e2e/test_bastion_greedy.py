# SPDX-License-Identifier: Apache-2.0
"""One developer who opens connections as fast as he can, beside another who works: he gets his rate, and when
the audit's disk is nearly full he is the one who gives way. Counted: who is refused, who is ended, what is on
record."""

import os
import re
import socket
import time

import pytest

import kit
from bastion_world import BASTION, world
from company import ANN, Company, EVE, GRANTS

HERE = "127.42.9.9"


def forward(c, name):
    """ssh -L of this user, whose port is not tried: every connection is the test's own. Returns the local
    port."""
    local = kit.free_port(HERE)
    program = c.w.spawn(
        *c.w.ssh_argv(
            "-N",
            "-o",
            "ExitOnForwardFailure=yes",
            "-L",
            f"{HERE}:{local}:config.internal:{c.w.port}",
            user=name,
            key=c.keys[name],
        )
    )
    kit.wait_until(
        lambda: any(s["user"] == name for s in c.w.sessions()) or not program.running(), "the session starts"
    )
    kit.wait_until(lambda: listens(local) or not program.running(), "ssh listens")
    assert program.running(), program.stderr
    return local


def listens(port):
    with open("/proc/net/tcp") as table:
        return any(
            line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"
            for line in table.readlines()[1:]
        )


def get(port):
    """Whether one connection is answered; False if it was closed unanswered."""
    with socket.create_connection((HERE, port), timeout=kit.PATIENCE) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        try:
            return b"200 OK" in kit.recv_all(s)
        except ConnectionResetError:
            return False


def write_limits(c, limits, extra=""):
    c.w.write(users=ANN + EVE, grants=GRANTS.format(web=c.w.port), extra=c.extra + extra, limits=limits)


@pytest.mark.short
def test_a_greedy_user_is_held_to_his_rate_and_told_and_nobody_else_notices(world):
    c = Company(world)
    c.w.bastion.stop()
    write_limits(c, "connection_rate: {connections: 1, burst: 20}")
    c.w.start()
    began = time.monotonic()
    eve, ann = forward(c, "eve"), forward(c, "ann")
    opened = sum(get(eve) for _ in range(10))
    assert opened == 10
    refused, hers = 0, []
    while refused < 60 + 1.5 * (time.monotonic() - began):  # more than may be written singly meanwhile
        assert refused < 3000, "he never comes to an end"
        round_of = [get(eve) for _ in range(10)]
        opened, refused = opened + round_of.count(True), refused + round_of.count(False)
        if len(hers) < 13:
            hers.append(get(ann))
    assert hers == [True] * len(hers)
    assert (
        opened <= 20 + (time.monotonic() - began) + 1
    ), opened  # the burst and what has come back, his login among them
    assert c.metric("connection_rate_refused_total") == refused
    control = c.w.control("-S", "none", user="ann", key=c.keys["ann"])
    assert control.ask(cmd="why", target="config.internal", port=c.w.port)["last"] is None
    for s in c.w.sessions():
        if s["user"] == "eve":
            c.w.command("terminate", s["id"])
    c.w.wait_record("session-end", user="eve")
    singly = c.w.records("channel-refused", user="eve", reason="connection-rate")
    assert sum(r.get("repeated", 1) for r in singly) == refused
    assert len(singly) < refused  # the refusals do not fill the disk either


def test_why_tells_of_the_rate(world):
    c = Company(world)
    c.w.bastion.stop()
    write_limits(c, "connection_rate: {connections: 1, burst: 3}")
    c.w.start()
    path = c.w.work / "mux"
    ssh = c.w.spawn(*c.w.ssh_argv("-N", "-M", "-S", path, user="eve", key=c.keys["eve"]))
    kit.wait_until(lambda: path.exists() or not ssh.running(), "the master")
    for _ in range(20):
        done = kit.run(
            kit.tool("ssh"), "-F", "none", "-S", path, "-W", f"config.internal:{c.w.port}", f"eve@{BASTION}"
        )
        if done.returncode:
            break
    control = c.w.control("-S", path, user="eve", key=c.keys["eve"])
    last = control.ask(cmd="why", target="config.internal", port=c.w.port)["last"]
    assert (last["reason"], last["text"]) == (
        "connection-rate",
        "the user opens more connections a second than the limit allows",
    )


@pytest.fixture
def small_disk(work):
    """A disk of 1 MiB for the audit."""
    folder = work / "disk"
    folder.mkdir()
    done = kit.run("mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", folder)
    assert done.returncode == 0, done.stderr
    yield folder
    assert kit.run("umount", "-l", folder).returncode == 0


def free(folder):
    fs = os.statvfs(folder)
    return fs.f_bavail * fs.f_frsize


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
def test_when_the_disk_is_nearly_full_who_wrote_most_gives_way_and_the_others_go_on(world, small_disk):
    (small_disk.parent / "state").mkdir(mode=0o700)
    c = Company(world, "audit_reserve: 256KiB\nstate: state\n")
    c.w.bastion.stop()
    write_limits(c, "connection_rate: {connections: 0}")
    path = c.w.work / "bastion.yaml"
    path.write_text(path.read_text().replace("audit: audit.jsonl", "audit: disk/audit.jsonl"))
    (c.w.work / "audit.jsonl").unlink()
    (c.w.work / "audit.jsonl").symlink_to(small_disk / "audit.jsonl")  # where the world reads it
    c.w.start()
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * (free(small_disk) - (256 + 64) * 1024))
    eve, ann = forward(c, "eve"), forward(c, "ann")
    assert get(ann) and not c.w.status()["audit"]["space"]["low"]
    mine = 0
    while mine < 2000:
        try:
            if not get(eve):
                break
        except ConnectionRefusedError:  # ssh has gone with its session
            break
        mine += 1
    assert mine > 64 * 1024 // 2 // 1000, "the reserve was whole for a while"
    end = c.w.wait_record("session-end", user="eve")
    assert (end["reason"], end["text"] if "text" in end else None) == ("audit-reserve", None)
    (record,) = c.w.records("audit-reserve")
    assert record["user"] == "eve" and record["ended"] == 1
    assert free(small_disk) > 128 * 1024  # of the reserve more than half is left for the others
    space = c.w.status()["audit"]["space"]
    assert space["low"] and space["out"] == ["eve"] and c.metric("audit_low") == 1
    assert re.search(r"^kept out by it +eve$", c.w.command("status").stdout, re.M)
    assert not c.gets_in("eve")  # and does not come back
    c.w.bastion.wait_line(
        "login of eve refused: the audit's disk is nearly full, and this user wrote most of late"
    )
    stranger, _ = kit.keygen(c.w.work / "mallory")
    failures = c.w.status()["counts"]["login_failures"]
    for _ in range(6):
        assert c.w.ssh("-W", f"config.internal:{c.w.port}", user="ann", key=stranger).returncode == 255
    assert c.w.status()["counts"]["login_failures"] >= failures + 6
    assert not [
        r for r in c.w.records("login-failed") if "repeated" not in r
    ]  # strangers are only counted now
    assert get(ann) and c.gets_in("ann")  # whoever works notices nothing
    c.w.command("block", "mallory", "--reason", "the reserve is for this")
    assert c.w.records("block", user="mallory")
    assert c.w.status()["audit"]["writable"]
    filler.unlink()
    kit.wait_until(lambda: not c.w.status()["audit"]["space"]["low"], "the room is noticed")
    assert c.gets_in("eve")
    c.w.ssh("-W", f"config.internal:{c.w.port}", user="ann", key=stranger)
    assert c.w.wait_record("login-failed", user="ann")["reason"] == "unknown-key"
    assert "there is room on the disk again" in c.w.bastion.stderr
    assert c.w.bastion.stop() == 0
    assert (
        sum(r["repeated"] for r in c.w.records("login-failed", source="others")) >= 6
    )  # and none goes uncounted
    c.w.check_chain()
