# SPDX-License-Identifier: Apache-2.0
"""The bastion as a service of a system that rotates, limits and locks away: rotated audits, an audit that
vanished, limits that cannot hold, no writable /tmp, folders that systemd makes."""

import json
import os
import re
import shutil
import signal

import pytest

import kit
from bastion_world import World
from four_programs import PROGRAMS

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can do that")


@pytest.fixture
def world(work, spawn):
    made = []

    def make(**kw):
        (work / "state").mkdir(mode=0o700, exist_ok=True)
        made.append(World(work, spawn, extra="state: state\n", **kw))
        return made[-1]

    yield make
    for w in made:
        w.close()


def sign_in(w):
    assert w.ssh("-s", command=["smpl-control"]).returncode == 0


def records(w, name="audit.jsonl"):
    return kit.json_lines(w.work / name)


def wait_kept(w):
    """Until the head that is kept is the file's."""

    def same():
        seen = records(w)
        kept = (
            (w.work / "state" / "audit-head").read_text().split()
            if (w.work / "state" / "audit-head").exists()
            else ["0"]
        )
        return seen and int(kept[0]) == seen[-1]["seq"] and seen[-1]["event"] != "session-start"

    kit.wait_until(same, "the head is kept")


def history(w, *more):
    return kit.run(kit.binary("smpl-bastion"), "history", "-c", w.work / "bastion.yaml", *more)


def rotate(w, name):
    (w.work / "audit.jsonl").rename(w.work / name)
    w.command("reload")


def all_ended(w):
    """The sessions of the history, once each of them has its end on record."""

    def rows():
        found = json.loads(history(w, "--json").stdout)
        return all(r["ended"] for r in found) and found

    return kit.wait_until(rows, "all have ended")


def test_history_reads_the_files_that_the_audit_was_rotated_into(world):
    w = world()
    sign_in(w)
    all_ended(w)  # in the file that is put aside
    rotate(w, "audit.jsonl.2")
    sign_in(w)
    stays = w.control()  # open over the rotation
    stays.ask(cmd="whoami")
    rotate(w, "audit.jsonl-20261129")
    stays.close()
    sign_in(w)
    rows = all_ended(w)
    signed_in = [r for r in rows if r["session"]]
    assert len({r["session"] for r in signed_in}) == len(signed_in) >= 3
    assert [r["started"] for r in rows] == sorted(r["started"] for r in rows)
    (w.work / "audit.jsonl.3.gz").write_bytes(b"\x1f\x8b")
    (w.work / "audit.jsonl.new").write_text("not the audit's")
    again = history(w, "--json")
    assert (
        json.loads(again.stdout) == rows
        and "note: 1 compressed files of the audit are not read" in again.stderr
    )
    (w.work / "audit.jsonl.2").unlink()
    assert len(json.loads(history(w, "--json").stdout)) == len(rows) - 1


def restart(w, between=lambda: None, how=signal.SIGTERM):
    wait_kept(w)
    if how == signal.SIGKILL:
        w.bastion.kill9()
    else:
        assert w.bastion.stop() == 0
    last = records(w)[-1]
    between()
    w.start()
    return last


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_an_audit_that_vanished_while_it_was_stopped_is_noticed(world, how):
    w = world()
    sign_in(w)
    last = restart(w, (w.work / "audit.jsonl").unlink, how)
    assert re.search(
        rf"error: audit: .*audit\.jsonl was removed while no bastion had it: records up to number "
        rf"{last['seq']} are lost",
        w.bastion.stderr,
    )
    sign_in(w)
    first = kit.wait_until(lambda: records(w), "the new file has records")[0]
    assert (first["seq"], first["event"], first["before"]) == (last["seq"] + 1, "audit-continued", "removed")
    status = w.status()
    assert status["audit"]["lost"] is True
    restart(w)  # and that is told once
    assert "lost" not in w.bastion.stderr and w.status()["audit"]["lost"] is False


def test_one_that_was_rotated_meanwhile_is_not_lost(world):
    w = world()
    sign_in(w)
    last = restart(w, lambda: (w.work / "audit.jsonl").rename(w.work / "audit.jsonl.1"))
    assert (
        "was moved away while no bastion had it" in w.bastion.stderr
        and "error: audit" not in w.bastion.stderr
    )
    sign_in(w)
    first = kit.wait_until(lambda: records(w), "the new file has records")[0]
    assert (first["seq"], first["before"]) == (last["seq"] + 1, "moved")
    w.command("audit", "verify", "audit.jsonl.1", "audit.jsonl")
    assert w.status()["audit"]["lost"] is False


def test_what_is_no_file_among_the_rotated_ones_is_said_and_not_waited_for(world):
    w = world()
    sign_in(w)
    odd = w.work / "audit.jsonl.5"
    for make, remove in (
        (os.mkfifo, os.unlink),
        (os.mkdir, os.rmdir),
        (lambda path: os.symlink("/dev/zero", path), os.unlink),
    ):
        make(odd)
        for done in (history(w), kit.run(kit.binary("smpl-bastion"), "audit", "verify", odd)):
            assert done.returncode == 1 and f"{odd}: not a regular file" in done.stderr
        remove(odd)
    assert history(w).returncode == 0


@pytest.mark.parametrize("left", ["", "x y z\n", None], ids=["empty", "garbled", "a link"])
def test_a_kept_head_that_cannot_be_read_is_a_warning(world, left):
    w = world()
    head = w.work / "state" / "audit-head"
    sign_in(w)

    def spoil():
        head.unlink()
        head.symlink_to("elsewhere") if left is None else head.write_text(left)

    restart(w, spoil)
    assert (
        "warning: state: state/audit-head cannot be read: whether records of the audit were lost meanwhile "
        "is not known" in w.bastion.stderr
    )
    sign_in(w)
    kit.wait_until(
        lambda: head.exists() and re.fullmatch(r"\d+ [0-9a-f]{64}\n", head.read_text()), "it is kept anew"
    )
    restart(w)
    assert "cannot be read" not in w.bastion.stderr


def cut(path):
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))


def change(path):
    text = path.read_text()
    head, tail = text[:-60], text[-60:]
    path.write_text(head + tail.replace("0", "1") if "0" in tail else head + tail.replace("1", "2"))


@pytest.mark.parametrize("harm", [cut, change])
def test_one_that_was_cut_or_changed_while_it_was_stopped_is_noticed(world, harm):
    w = world()
    sign_in(w)
    last = restart(w, lambda: harm(w.work / "audit.jsonl"))
    assert f"record {last['seq']} is not there as it was written" in w.bastion.stderr
    (lost,) = kit.wait_until(lambda: [r for r in records(w) if r["event"] == "audit-lost"], "it is on record")
    assert lost["kept_seq"] == last["seq"] and w.status()["audit"]["lost"] is True


def test_what_was_not_touched_is_not_complained_of(world):
    w = world()
    for how in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        sign_in(w)
        restart(w, how=how)
        assert "error: audit" not in w.bastion.stderr and w.status()["audit"]["lost"] is False
    rotate(w, "audit.jsonl.1")
    sign_in(w)
    w.bastion.kill9()
    w.start()
    assert "error: audit" not in w.bastion.stderr and w.status()["audit"]["lost"] is False


def test_limits_that_cannot_hold_end_the_start_and_not_one_session_after_the_other(world, spawn):
    w = world(start=False)
    few = [kit.tool("prlimit"), "--nofile=256:256", kit.binary("smpl-bastion"), "-c", "bastion.yaml"]
    done = kit.run(*few, cwd=w.work)
    assert done.returncode == 1
    assert re.search(
        r"limits: 512 connections and 256 channels need 2312 open files, and this process may have 256: "
        r".*LimitNOFILE=",
        done.stderr,
    )
    if not kit.SANITIZED:  # a sanitizer needs terabytes of it
        small = [kit.tool("prlimit"), "--as=900000000:900000000", *few[2:]]
        done = kit.run(*small, cwd=w.work)
        assert done.returncode == 1 and re.search(
            r"256 channels needs 960 MiB of address space.*LimitAS=", done.stderr
        )
    w.write(limits="connections: 3, channels: 60", extra="state: state\n")
    w.bastion = spawn(kit.tool("prlimit"), "--nofile=300:300", *few[2:]).wait_ready()
    sign_in(w)
    w.write(limits="connections: 40, channels: 60", extra="state: state\n")
    done = w.command("reload", status=1)
    assert "40 connections and 60 channels need 424 open files" in done.stderr
    sign_in(w)


@pytest.mark.parametrize("name", ["smpl-resolver", "smpl-app"])
def test_other_programs_do_not_start_with_too_few_open_files_either(work, spawn, name):
    done = kit.run(kit.tool("prlimit"), "--nofile=100:100", *PROGRAMS[name](work, spawn))
    assert done.returncode == 1 and re.search(
        r"need \d+ open files, and this process may have 100: raise its limit \(LimitNOFILE=", done.stderr
    )


# What lies below the test's folder, and nothing else in /tmp, can be written.
READ_ONLY_TMP = (
    'mount --bind /tmp /tmp && mount --bind "$0" "$0" && mount -o remount,bind,ro /tmp && cd '
    '"$0" && exec "$@"'
)


@pytest.mark.skipif(
    os.geteuid() != 0 or kit.run("unshare", "--mount", "true").returncode != 0, reason="only root can mount"
)
def test_no_folder_but_its_own_has_to_be_writable(world, spawn):
    w = world(start=False)
    w.bastion = spawn(
        "unshare",
        "--mount",
        "sh",
        "-c",
        READ_ONLY_TMP,
        w.work,
        kit.binary("smpl-bastion"),
        "-v",
        "-c",
        "bastion.yaml",
    ).wait_ready()
    sign_in(w)
    walls = w.command("status").stdout
    assert "empty-root" in walls and "seccomp" in walls


@needs_root
@pytest.mark.walls
def test_user_works_with_the_folders_that_systemd_makes_for_root(work, spawn):
    """RuntimeDirectory=, LogsDirectory= and StateDirectory= of a unit without User=: root's, and root's again
    at each start."""
    folders = {
        "RUNTIME_DIRECTORY": work / "run",
        "LOGS_DIRECTORY": work / "log",
        "STATE_DIRECTORY": work / "state",
    }
    for folder in folders.values():
        folder.mkdir(mode=0o755)
    (work / "state").chmod(0o700)
    secret = work / "secret"
    secret.write_text("root's\n")
    (work / "log" / "planted").symlink_to(secret)
    os.link(secret, work / "log" / "linked")
    w = World(work, spawn, start=False, extra="user: nobody\nstate: state\n")
    text = (work / "bastion.yaml").read_text()
    (work / "bastion.yaml").write_text(
        text.replace("audit: audit.jsonl", "audit: log/audit.jsonl").replace(
            "control: bastion.sock", "control: run/bastion.sock"
        )
    )
    shutil.chown(work / "host", "nobody")
    env = {name: str(folder) for name, folder in folders.items()}
    try:
        for _ in range(2):
            w.start(env=env)
            sign_in(w)
            assert (work / "log" / "audit.jsonl").stat().st_uid == (work / "run").stat().st_uid == 65534
            assert secret.stat().st_uid == 0
            assert w.bastion.stop() == 0
            assert not (work / "run" / "bastion.sock").exists()
            for folder in folders.values():  # as systemd does before it starts a unit of root's
                for path in [folder, *folder.iterdir()]:
                    if not path.is_symlink():
                        os.chown(path, 0, 0)
    finally:
        w.close()


@needs_root
def test_the_resolver_s_user_too(work, spawn):
    argv = PROGRAMS["smpl-resolver"](work, spawn, "user: nobody\nstate: state\n")
    text = argv[-1].read_text()
    argv[-1].write_text(text.replace("control: r.sock", "control: run/r.sock"))
    for name in ("run", "state"):
        (work / name).mkdir(mode=0o700)
    env = {"RUNTIME_DIRECTORY": str(work / "run"), "STATE_DIRECTORY": str(work / "state")}
    program = spawn(*argv, env=env).wait_ready()
    kit.wait_until(lambda: list((work / "state").glob("*.copy")), "it keeps copies")
    assert (work / "run").stat().st_uid == (work / "state").stat().st_uid == 65534
    assert program.stop() == 0 and not (work / "run" / "r.sock").exists()
