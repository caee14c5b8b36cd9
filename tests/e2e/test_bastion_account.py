# SPDX-License-Identifier: Apache-2.0
"""`user:` the account that the broker becomes once its ports are bound, what it keeps of root, and what the
launcher keeps."""

import os
import pwd
import re
import shutil
import signal
from pathlib import Path

import pytest

import kit
from bastion_world import BASTION, held_connection, world

USER = "nobody"
NET_BIND_SERVICE, CHOWN, DAC_OVERRIDE, NET_ADMIN, SYS_PTRACE, SYS_MODULE = 10, 0, 1, 12, 19, 16

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")


def status_of(pid):
    return dict(re.findall(r"^(\w+):\s*(.*)$", Path(f"/proc/{pid}/status").read_text(), re.M))


def prepare(w, user=USER, folder=True):
    """Files as the README has it: the host key is the user's, and a folder for audit and control socket."""
    uid, gid = pwd.getpwnam(USER)[2:4]
    run = w.work / "run"
    run.mkdir(mode=0o700, exist_ok=True)
    if folder:
        os.chown(run, uid, gid)
    os.chown(w.work / "host", uid, gid)
    path = w.work / "bastion.yaml"
    text = (
        path.read_text()
        .replace("audit: audit", "audit: run/audit")
        .replace("control: bastion", "control: run/bastion")
    )
    path.write_text(text + f"user: {user}\n")
    for name in ("audit.jsonl", "bastion.sock"):  # where the helpers look
        link = w.work / name
        if not link.is_symlink():
            link.symlink_to(run / name)


@pytest.mark.short
def test_the_broker_serves_as_the_user_with_one_capability_left(world):
    w = world(start=False)
    w.write()
    prepare(w)
    assert f"{USER}, who can read and write what it needs" in w.command("check").stdout
    w.start()
    uid, gid = pwd.getpwnam(USER)[2:4]
    broker = status_of(w.bastion.pid)
    assert set(broker["Uid"].split()) == {str(uid)} and set(broker["Gid"].split()) == {str(gid)}
    for kind in ("CapPrm", "CapEff"):
        assert int(broker[kind], 16) == 1 << NET_BIND_SERVICE
    assert int(broker["CapInh"], 16) == int(broker["CapAmb"], 16) == 0
    assert broker["NoNewPrivs"] == "1"
    for task in Path(f"/proc/{w.bastion.pid}/task").iterdir():  # the audit's thread too
        assert (
            status_of(task.name)["CapEff"] == broker["CapEff"]
            and status_of(task.name)["Uid"] == broker["Uid"]
        )
    ssh, local = w.forward()
    assert w.get(local).stdout == "hello from inside"
    (session,) = w.sessions()
    worker = status_of(session["pid"])
    assert worker["Uid"].split()[0] not in (str(uid), "0") and int(worker["CapPrm"], 16) == 0
    assert "own-uid" in w.status()["worker_walls"] and w.status()["uid"] == uid
    assert os.stat(w.work / "run" / "audit.jsonl").st_uid == uid
    launcher = next(p for p in kit.children(w.bastion.pid) if status_of(p)["Name"] == "smpl-launcher")
    bounds = int(status_of(launcher)["CapBnd"], 16)
    assert not any(
        bounds >> c & 1 for c in (NET_BIND_SERVICE, CHOWN, DAC_OVERRIDE, NET_ADMIN, SYS_PTRACE, SYS_MODULE)
    )
    w.bastion.signal(signal.SIGTERM)
    assert w.bastion.wait() == 0
    kit.wait_until(lambda: not kit.alive(launcher) and not kit.alive(session["pid"]), "all of it ends")
    w.check_ends()
    w.check_chain()


def test_after_giving_up_root_it_still_reloads_binds_low_ports_and_replaces_templates(world):
    w = world(start=False)
    w.write()
    prepare(w)
    w.start()
    ssh, local = w.forward()
    held = held_connection(w, local)
    template = w.template()
    os.kill(template, signal.SIGKILL)
    kit.wait_until(lambda: w.template() not in (0, template), "another template")
    w.wait_record("template-died", pid=template)
    path = w.work / "bastion.yaml"
    text = path.read_text()
    low = next(p for p in range(600, 1000) if not kit.port_open(BASTION, p))
    path.write_text(text.replace('listen: ["', f'listen: ["{BASTION}:{low}", "'))
    w.command("reload")
    assert kit.port_open(BASTION, low)
    path.write_text(text.replace(f"user: {USER}", "user: daemon"))
    done = kit.run(kit.binary("smpl-bastion"), "reload", "--socket", w.work / "run" / "bastion.sock")
    assert done.returncode == 1 and re.search(
        r"bastion\.yaml:\d+:\d+: .*user: a change needs a restart", done.stderr
    )
    path.write_text(text)
    os.rename(w.work / "run" / "audit.jsonl", w.work / "run" / "audit.1")
    w.command("reload")
    assert w.wait_record("audit-continued")
    held.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"hello from inside" in kit.recv_all(held)


def test_the_end_of_the_launcher_ends_the_bastion(world):
    w = world(start=False)
    w.write()
    prepare(w)
    w.start()
    ssh, local = w.forward()
    everybody = kit.children(w.bastion.pid)
    launcher = next(p for p in everybody if status_of(p)["Name"] == "smpl-launcher")
    os.kill(launcher, signal.SIGKILL)
    assert w.bastion.wait() == 1 and "the launcher process ended by itself" in w.bastion.stderr
    kit.wait_until(lambda: not any(kit.alive(p) for p in everybody), "nothing is left")
    w.check_ends()


@pytest.mark.parametrize(
    "spoil, says",
    [
        (lambda w, run: None, None),
        (
            lambda w, run: os.chown(run, 0, 0),
            "audit: user 'nobody' cannot make files in run; try: chown nobody run",
        ),
        (lambda w, run: os.chown(w.work / "host", 0, 0), r"bastion.yaml:\d+:\d+: .*host_keys: .*host"),
        (
            lambda w, run: (run / "audit.jsonl").touch(0o600),
            "audit: user 'nobody' cannot write .*audit.jsonl",
        ),
    ],
)
def test_what_the_user_cannot_read_or_write_is_named_by_check_and_at_start(world, spoil, says):
    w = world(start=False)
    w.write()
    prepare(w)
    spoil(w, w.work / "run")
    if says is None:
        w.command("check")
        return
    assert re.search(says, w.command("check", status=1).stderr)
    bastion = w.spawn(kit.binary("smpl-bastion"), "-c", "bastion.yaml")
    assert bastion.wait() == 1 and re.search(says, bastion.stderr)
    assert not (w.work / "run" / "bastion.sock").exists()


def test_a_keys_file_that_the_user_cannot_read_has_no_key_and_is_named_by_check_and_at_start(world):
    w = world(start=False)
    w.write()
    prepare(w)
    (w.work / "dev.pub").chmod(0o600)
    says = r"bastion.yaml:\d+:\d+: keys: .*dev\.pub: cannot be opened: Permission denied \(dev has no key"
    assert re.search(says, w.command("check", status=1).stderr)
    w.start()
    assert re.search(says, w.bastion.stderr)
    assert w.ssh("-W", f"config.internal:{w.port}").returncode == 255
    assert w.wait_record("login-failed")["reason"] == "unknown-key"


def test_who_is_blocked_is_kept_by_the_user_in_a_folder_of_its_own(world):
    w = world(start=False)
    w.write(extra="state: state\n")
    prepare(w)
    (w.work / "state").mkdir(mode=0o700)
    says = (
        f"state: .*belongs to uid 0, not to the user running this; try: chown|state: user '{USER}' "
        "cannot "
        "make files in state"
    )
    assert re.search(says, w.command("check", status=1).stderr)
    bastion = w.spawn(kit.binary("smpl-bastion"), "-c", "bastion.yaml")
    assert bastion.wait() == 1 and re.search(says, bastion.stderr)
    os.chown(w.work / "state", *pwd.getpwnam(USER)[2:4])
    w.command("check")
    w.start()
    w.command("block", "dev", "--reason", "x")
    w.bastion.kill9()
    w.start()
    assert w.ssh("-W", f"config.internal:{w.port}").returncode == 255
    assert w.wait_record("login-failed")["reason"] == "blocked"
    w.command("unblock", "dev")
    assert w.ssh("-W", f"config.internal:{w.port}").returncode == 0


def test_an_account_that_does_not_exist_is_named_with_its_place(world):
    w = world(start=False)
    w.write(extra="user: no-such-account\n")
    assert re.search(
        r"bastion\.yaml:\d+:\d+: .*there is no account 'no-such-account'", w.command("check", status=1).stderr
    )


def test_who_is_not_root_is_told_what_check_could_not_see_and_cannot_start(world):
    """As another account, which owns all the files."""
    w = world(start=False)
    w.write(extra=f"user: {USER}\n")
    other = pwd.getpwnam("daemon")
    for path in [w.work, *w.work.iterdir()]:
        os.chown(path, other.pw_uid, other.pw_gid)
    setpriv = [
        kit.tool("setpriv"),
        "--reuid",
        str(other.pw_uid),
        "--regid",
        str(other.pw_gid),
        "--clear-groups",
    ]
    programs = w.work / "bin"
    programs.mkdir()
    for name in ("smpl-bastion", "smpl-bastion-worker"):
        shutil.copy(kit.binary(name), programs)
    done = kit.run(*setpriv, programs / "smpl-bastion", "check", "-c", "bastion.yaml", cwd=w.work)
    assert done.returncode == 0 and f"only root can tell whether user {USER}" in done.stdout, done.stderr
    done = kit.run(*setpriv, programs / "smpl-bastion", "-c", "bastion.yaml", cwd=w.work)
    assert done.returncode == 1 and re.search(
        rf"bastion\.yaml:\d+:\d+: .*only root can become '{USER}'", done.stderr
    )
