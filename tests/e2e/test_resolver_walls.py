# SPDX-License-Identifier: Apache-2.0
"""What stands between a serving smpl-resolver and the system, and that it serves, reloads and watches behind
it."""

import json
import os
import pwd
import shutil
from pathlib import Path

import pytest

import kit
from resolver_world import INTERNAL_ZONE, PRIVATE, Resolver

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def task_fields(pid):
    """/proc's status of every thread."""
    tasks = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        tasks.append(
            dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
        )
    return tasks


def status(r):
    return json.loads(r.command("status", "--json", "--socket", r.socket).stdout)


@pytest.mark.walls
def test_seccomp_stands_in_every_thread(spawn, work):
    r = Resolver(spawn, work).start()
    tasks = task_fields(r.program.pid)
    assert len(tasks) > 2
    for task in tasks:
        assert task["Seccomp"] == "2" and task["NoNewPrivs"] == "1"
    walls = ["no_new_privs", "landlock", "seccomp"]
    if os.geteuid() == 0:  # a warning at start, and never out of sight
        walls.insert(0, "root (no user: is configured)")
        assert "serving as root: name an account in user:" in r.program.stderr
    assert status(r)["walls"] == walls
    assert f"walls          {', '.join(walls)}\n" in r.command("status", "--socket", r.socket).stdout
    assert r.command("reload", "--socket", r.socket).returncode == 0
    assert len(task_fields(r.program.pid)) == len(tasks), "a reload makes no threads"


@pytest.mark.walls
def test_a_reload_that_names_a_file_in_another_folder_says_that_it_needs_a_restart(spawn, work):
    r = Resolver(spawn, work).start()
    (work / "elsewhere").mkdir()
    (work / "elsewhere" / "more.zone").write_text((work / "internal.zone").read_text())
    r.write_config()
    r.config.write_text(r.config.read_text().replace("file: internal.zone", "file: elsewhere/more.zone"))
    assert (
        r.command("reload", "--socket", r.socket).returncode == 0
    ), "a folder below one of the start's is fine"
    outside = Path(f"/tmp/{work.name}-outside")
    outside.mkdir()
    try:
        (outside / "more.zone").write_text((work / "internal.zone").read_text())
        r.config.write_text(
            r.config.read_text().replace("file: elsewhere/more.zone", f"file: {outside}/more.zone")
        )
        done = r.command("reload", "--socket", r.socket)
        assert (
            done.returncode == 1
            and f"{outside}/more.zone: lies outside the folders that were named at the start" in done.stderr
        )
        assert "that needs a restart; the old data stays in force" in done.stderr
        assert r.dig("config.internal.smplkit.local", "+short", source=PRIVATE) == "127.10.1.11"
        r.program.stop()
        r.start()
        assert r.dig("config.internal.smplkit.local", "+short", source=PRIVATE) == "127.10.1.11"
        assert r.command("reload", "--socket", r.socket).returncode == 0
    finally:
        shutil.rmtree(outside)


def everything_works(r):
    """A reload asked for, one noticed, with records that ldns reads; TCP; an end with status 0."""
    text = (
        INTERNAL_ZONE
        + 'mixed TXT "a" "b"\nmixed CAA 0 issue "ca.example"\nmixed NAPTR 1 2 "u" "x" "!a!b!" .\n'
    )
    r.write_zone("internal.zone", text + "one A 127.10.5.1\n")
    kit.wait_until(lambda: r.dig("one.internal.smplkit.local", "+short") == "127.10.5.1", "the noticed zone")
    r.write_zone("internal.zone", text + "two A 127.10.5.2\n$GENERATE 0-20000 g$ A 127.10.5.3\n")
    done = r.command("reload", "--socket", r.socket)
    assert done.returncode == 0, done.stderr
    assert r.dig("two.internal.smplkit.local", "+short", "+tcp") == "127.10.5.2"
    r.write_zone("internal.zone", "nonsense\n")
    assert r.command("reload", "--socket", r.socket).returncode == 1
    assert r.dig("mixed.internal.smplkit.local", "CAA", "+short") == '0 issue "ca.example"'
    assert r.program.stop() == 0
    assert not r.socket.exists()


@pytest.mark.short
def test_everything_works_behind_the_walls(spawn, work):
    r = Resolver(spawn, work)
    r.write_config(more="watch: true\npin: true\nmetrics: 127.41.0.1:%d\n" % kit.free_port("127.41.0.1"))
    everything_works(r.start())


@root_only
@pytest.mark.short
def test_root_becomes_the_named_user_for_good(spawn, work):
    nobody = pwd.getpwnam("nobody")
    r = Resolver(spawn, work)
    (work / "run").mkdir()
    os.chown(work / "run", nobody.pw_uid, nobody.pw_gid)
    r.write_config(more="watch: true\nuser: nobody\n")
    r.socket = work / "run" / "r.sock"
    r.config.write_text(r.config.read_text().replace("r.sock", "run/r.sock"))
    r.start()
    for task in task_fields(r.program.pid):
        assert set(task["Uid"].split()) == {str(nobody.pw_uid)} and set(task["Gid"].split()) == {
            str(nobody.pw_gid)
        }
        assert int(task["CapEff"], 16) == 0 and int(task["CapPrm"], 16) == 0
        assert set(task["Groups"].split()) <= {str(nobody.pw_gid)}
    assert status(r)["walls"][0] == "user nobody"
    owner = os.stat(r.socket)
    assert (owner.st_uid, owner.st_gid, owner.st_mode & 0o777) == (nobody.pw_uid, nobody.pw_gid, 0o660)
    everything_works(r)


@root_only
@pytest.mark.short
def test_user_that_cannot_read_a_zone_is_refused_at_start(spawn, work):
    r = Resolver(spawn, work)
    r.write_config(more="user: nobody\n")
    for name in ("internal.zone", "resolver.yaml"):
        (work / name).chmod(0o600)
        done = r.command("-c", r.config)
        assert (
            done.returncode == 1
            and f"user 'nobody' cannot read {work / name}: reloads would fail" in done.stderr
        )
        assert done.stderr.strip().count("\n") == 0 or "loaded" in done.stderr
        (work / name).chmod(0o644)
    r.start()
    done = r.command("status", "--socket", r.socket)
    assert done.returncode == 0
    r.write_config()
    assert "user: a change needs a restart" in r.command("reload", "--socket", r.socket).stderr


@pytest.mark.short
def test_unknown_user_is_named_by_check_and_start(spawn, work):
    r = Resolver(spawn, work)
    r.write_config(more="user: nobody-knows\n")
    for argv in (["check"], []):
        done = r.command(*argv, "-c", r.config)
        assert (
            done.returncode == 1
            and "resolver.yaml:11:7: user: there is no account 'nobody-knows' on this system" in done.stderr
        )


@root_only
def test_only_root_becomes_somebody_else(spawn, work):
    r = Resolver(spawn, work)
    os.chown(work, 65534, 65534)
    r.write_config(more="user: daemon\n")
    done = kit.run(kit.binary("smpl-resolver"), "-c", r.config, user=65534, group=65534, extra_groups=[])
    assert done.returncode == 1 and "user: only root can become 'daemon'" in done.stderr
    assert not r.socket.exists()
    r.write_config(more="user: nobody\n")
    program = spawn(
        kit.tool("setpriv"),
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        kit.binary("smpl-resolver"),
        "-c",
        r.config,
    )
    program.wait_ready()
    assert r.dig("config.internal.smplkit.local", "+short", source=PRIVATE) == "127.10.1.11"


def test_pinned_workers_have_a_cpu_each(spawn, work):
    r = Resolver(spawn, work)
    r.write_config(more="pin: true\nworkers: 2\n")
    r.start()
    cpus = sorted(os.sched_getaffinity(0))
    lists = [task["Cpus_allowed_list"] for task in task_fields(r.program.pid)]
    for worker in range(2):
        assert str(cpus[worker % len(cpus)]) in lists
    r.write_config(more="workers: 2\n")
    assert "pin: a change needs a restart" in r.command("reload", "--socket", r.socket).stderr
