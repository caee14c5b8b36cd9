# SPDX-License-Identifier: Apache-2.0
"""./dev lab as its user: what up makes, what a killed one leaves, what down leaves behind."""

import os
import re
import signal
import subprocess
from pathlib import Path

import kit

ENVIRONMENT = dict(
    os.environ, SMPL_LAB="lab-life"
)  # a third lab, beside that of the tests and that of ./dev lab up
ROOT = kit.ROOT


def verb(*argv, timeout=300):
    return subprocess.run(
        ["./dev", "lab", *argv], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=timeout
    )


def start(*argv):
    return subprocess.Popen(
        ["/usr/bin/python3", "tests/lab/lab.py", *argv],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def traces():
    names = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    here = [line for line in names.splitlines() if "smpl-lab-life-" in line]
    running = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                running += (
                    [entry.name]
                    if os.readlink(entry / "cwd").startswith(str(ROOT / "build" / "lab-life"))
                    else []
                )
            except OSError:
                pass
    mounts = [
        line
        for line in Path("/proc/self/mounts").read_text().splitlines()
        if "smpl-lab-life-" in line or "/build/lab-life/" in line
    ]
    return here + running + mounts + (["build/lab-life"] if (ROOT / "build" / "lab-life").exists() else [])


def links():
    """Interfaces of this machine itself; those of others' tests come and go, ours are named after networks or
    ports."""
    shown = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True).stdout
    return [line.split()[0] for line in shown.splitlines() if re.match(r"(vpc|inet|bridge|p\d+)\b", line)]


def test_up_down_and_everything_between_leaves_nothing():
    assert traces() == [] and links() == []
    try:
        assert verb("status").returncode == 1 and "not up" in verb("status").stdout
        assert verb("shell", "laptop").returncode == 1
        # killed on its way, twice: while it makes the networks, and once programs run in them
        log = ROOT / "build" / "lab-life" / "resolver" / "log"
        for reached in (
            lambda: [t for t in traces() if "smpl-lab-life-" in t],
            lambda: log.exists() and " ready" in log.read_text(),
        ):
            up = start("up")
            kit.wait_until(reached, "it is on its way")
            up.send_signal(signal.SIGKILL)
            up.wait()
            assert traces()
        done = verb("up")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "shell attacker" in done.stdout and "203.0.113.66" in done.stdout
        status = verb("status")
        assert status.returncode == 0 and status.stdout.count(" up ") == 18, status.stdout
        # a prompt with tools, names and tunnel ready
        done = verb(
            "shell",
            "laptop",
            "sh",
            "-c",
            "dig +short config.smplkit.com; echo key ${#SMPLKIT_API_KEY}; smpl-tunnel -q "
            "8080:config.internal & "
            "curl -s --retry 40 --retry-connrefused --retry-delay 0 "
            "http://localhost:8080/internal/v1/health; kill $!; wait",
        )
        assert done.stdout.startswith("203.0.113.11\nkey 43\n") and '"service":"config"' in done.stdout, done
        unknown = verb("shell", "printer")
        assert (
            unknown.returncode == 1
            and "there is no host 'printer'" in unknown.stderr
            and "laptop" in unknown.stderr
        )
        assert verb("shell").returncode == 2 and verb("dance").returncode == 2
        # what dies is shown
        pid = int(
            subprocess.run(
                ["ip", "netns", "pids", next(line.split()[0] for line in traces() if "bastion" in line)],
                capture_output=True,
                text=True,
            ).stdout.split()[0]
        )
        os.kill(pid, signal.SIGKILL)
        kit.wait_until(lambda: verb("status").returncode == 1, "status tells of the dead one")
    finally:
        done = verb("down")
    assert done.returncode == 0 and done.stdout == "the lab is down\n", done.stdout + done.stderr
    assert traces() == [] and links() == []
    assert verb("down").stdout == "there was no lab\n"
