# SPDX-License-Identifier: Apache-2.0
"""What each process may do, tried from inside it: SECURITY.md's table is what is expected. The acts are those
of tests/rogue/acts.c, each in a child that has the process's own walls (tests/rogue/preload.c,
worker_acts.c)."""

import os
import re
import shutil
import socket

import pytest

import kit
from bastion_world import World
from resolver_world import Resolver
from tunnel_kit import EMPTY_ENV, Server, Sshd, TARGET

pytestmark = [
    pytest.mark.walls,
    pytest.mark.skipif(os.geteuid() != 0, reason="as root the acts fail for the walls alone"),
]

ROGUE = kit.BIN.parent / "tests" / "rogue"
BEGIN, END = "<!-- what-each-process-may-do:begin -->", "<!-- what-each-process-may-do:end -->"
NOT_IN_EVERY_KERNEL = {"load a kernel module", "load another kernel"}


def acts_in(process):
    assert (ROGUE / "acts.so").exists(), "tests/rogue is not built; try: ./dev build"
    return {"LD_PRELOAD": str(ROGUE / "acts.so"), "SMPL_ACTS": process}


def reported(program, process):
    """{act: result} once all were tried."""
    program.wait_line(rf"acts {process}: all were tried")
    lines = re.findall(rf"acts {process}: (.*=.*; )", program.stderr)
    return dict(entry.split("=") for line in lines for entry in line.split("; ") if entry)


def table():
    """{process: {act: result}}"""
    text = (kit.ROOT / "SECURITY.md").read_text()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.split(BEGIN)[1].split(END)[0].strip().splitlines()
    ]
    head, body = rows[0], rows[2:]
    assert all(len(row) == len(head) for row in body)
    return {
        process: {row[0]: row[column] for row in body} for column, process in enumerate(head) if column > 0
    }


def resolver(work, spawn, process="smpl-resolver"):
    r = Resolver(spawn, work)
    (work / "state").mkdir(mode=0o700)
    r.write_config(more="state: state\n")
    return spawn(kit.binary("smpl-resolver"), "-c", r.config, env=acts_in(process))


def keeper(work, spawn):
    return resolver(work, spawn, "smpl-keeper")


def broker(work, spawn, process="smpl-bastion"):
    w = World(work, spawn, start=False)
    return spawn(kit.binary("smpl-bastion"), "-c", "bastion.yaml", env=acts_in(process))


def launcher(work, spawn):
    return broker(work, spawn, "smpl-launcher")


def template(work, spawn):
    w = World(work, spawn, start=False)
    folder = work / "bin"
    folder.mkdir()
    shutil.copy(kit.binary("smpl-bastion"), folder / "smpl-bastion")
    shutil.copy(ROGUE / "acts" / "smpl-bastion-worker", folder / "smpl-bastion-worker")
    w.bastion = spawn(folder / "smpl-bastion", "-c", "bastion.yaml").wait_ready()
    w.bastion.rogue = True
    return w.bastion


def worker(work, spawn):
    program = template(work, spawn)
    address = re.search(r"ready: ssh on ([\d.]+):(\d+)", program.stderr)
    w = kit.run("bash", "-c", f"exec 3<>/dev/tcp/{address[1]}/{address[2]}; read -t 20 line <&3; echo $line")
    assert w.stdout.startswith("SSH-2.0"), "the worker serves behind its walls"
    return program


def app(work, spawn):
    (work / "app.yaml").write_text(
        f"""\
service: config
listeners:
  - {{name: internal, address: "127.42.1.21:{kit.free_port("127.42.1.21")}", rules: ["/*"],
     clients: [127.42.0.0/16], hosts: [config]}}
database: config.db
accounts: {{url: "http://127.42.1.22:8000"}}
resolver: {{servers: ["127.42.0.53:5300"]}}
"""
    )
    return spawn(kit.binary("smpl-app"), "-c", "app.yaml", env=acts_in("smpl-app"))


def tunnel(work, spawn, process="smpl-tunnel", port=None):
    env = dict(
        acts_in(process),
        SMPL_BASTION="",
        SMPL_TUNNEL_CONFIG="",
        SSH_AUTH_SOCK="",
        XDG_CONFIG_HOME="/nonexistent",
    )
    return spawn(
        kit.binary("smpl-tunnel"),
        "--bastion",
        f"dev@127.42.0.1:{port or kit.free_port('127.42.0.1')}",
        "-F",
        "none",
        "0:config.internal:80",
        env=env,
    )


def speaker(work, spawn):
    """It waits for a bastion that says nothing."""
    silent = socket.create_server(("127.42.0.1", 0))
    program = tunnel(work, spawn, "smpl-speaker", silent.getsockname()[1])
    program.silent = silent
    return program


PROCESSES = {
    "resolver": ("smpl-resolver", resolver),
    "keeper": ("smpl-keeper", keeper),
    "broker": ("smpl-bastion", broker),
    "launcher": ("smpl-launcher", launcher),
    "template": ("template", template),
    "worker": ("worker", worker),
    "app": ("smpl-app", app),
    "tunnel": ("smpl-tunnel", tunnel),
    "speaker": ("smpl-speaker", speaker),
}


@pytest.mark.parametrize("process", PROCESSES)
def test_each_process_may_do_what_the_table_says_and_nothing_more(work, spawn, process):
    name, start = PROCESSES[process]
    program = start(work, spawn)
    found, expected = reported(program, name), table()[process]
    program.rogue = True
    wrong = {
        act: (found.get(act), "expected", result)
        for act, result in expected.items()
        if found.get(act) != result
    }
    assert not wrong and found.keys() == expected.keys()


def test_every_process_of_the_table_is_tried():
    assert set(table()) == set(PROCESSES)


def test_without_walls_the_acts_can_be_done():
    """An act that fails everywhere would say nothing of any wall."""
    done = kit.run("/bin/true", env=dict(os.environ, **acts_in("nobody")))
    results = dict(
        entry.split("=")
        for line in re.findall(r"acts nobody: (.*=.*; )", done.stderr)
        for entry in line.split("; ")
        if entry
    )
    assert results.keys() == table()["resolver"].keys()
    assert {act for act, result in results.items() if result != "yes"} <= NOT_IN_EVERY_KERNEL


def test_the_program_behind_a_tunnel_has_none_of_its_walls(work):
    """It may be any program, sudo and a debugger too; a ProxyCommand has them."""
    sshd, target = Sshd(work), Server(lambda connection: connection.close())
    status = ["grep", "-hE", "^(Seccomp|NoNewPrivs):", "/proc/self/status"]
    env = dict(os.environ, **EMPTY_ENV)
    try:
        argv = [kit.binary("smpl-tunnel"), *sshd.arguments(), f"0:{TARGET}:{target.port}"]
        done = kit.run(*argv, "--", *status, env=env)
        assert done.stdout.split() == ["NoNewPrivs:", "0", "Seccomp:", "0"], done.stderr
        config = work / "ssh_config"
        config.write_text(
            f"Host *\n  ProxyCommand {' '.join(status[:2])} '{status[2]}' {status[3]} >{work}/proxy; exec nc "
            "%h %p\n"
        )
        done = kit.run(*argv, "-F", config, "--", "true", env=env)
        assert (work / "proxy").read_text().split() == ["NoNewPrivs:", "1", "Seccomp:", "2"], done.stderr
    finally:
        sshd.close()
