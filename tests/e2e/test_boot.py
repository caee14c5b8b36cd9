# SPDX-License-Identifier: Apache-2.0
"""Addresses that are not there yet when a program starts, as at boot: it starts, says so, and serves once
they are."""

import os
import re

import pytest

import kit
from four_programs import PROGRAMS

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or kit.run("unshare", "--net", "true").returncode != 0,
    reason="only root can make a network without addresses",
)

METRICS = {
    "smpl-resolver": "metrics: {at}:{port}\n",
    "smpl-bastion": "metrics: {at}:{port}\n",
    "smpl-app": "",
}
HERE = {"smpl-resolver": "127.41.0.1", "smpl-bastion": "127.42.0.1", "smpl-app": "127.42.1.21"}
AT = "10.99.0.41"  # which no machine of the tests has


# A network of its own, in which there is no address but loopback's.
ALONE = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]


def inside(program, *argv):
    return kit.run("nsenter", "-t", program.pid, "-n", *argv)


def elsewhere(name, argv):
    """The same configuration, listening at an address that is not there."""
    text = argv[-1].read_text()
    assert HERE[name] in text
    argv[-1].write_text(text.replace(HERE[name], AT))
    return argv


@needs_root
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_starts_before_its_addresses_are_there_and_serves_once_they_are(work, spawn, name):
    metrics = kit.free_port("127.0.0.1")
    argv = elsewhere(name, PROGRAMS[name](work, spawn, METRICS[name].format(at=AT, port=metrics)))
    program = spawn(*ALONE, *argv).wait_ready()
    absent = set(re.findall(rf"warning: {AT}:(\d+): this machine has no such address yet", program.stderr))
    listens = set(re.findall(rf"{AT}:(\d+)", next(line for line in program.err if "ready" in line)))
    assert listens <= absent and (not METRICS[name] or str(metrics) in absent)
    (port,) = listens - {str(metrics)}
    assert inside(program, "ip", "addr", "add", f"{AT}/32", "dev", "lo").returncode == 0
    if name == "smpl-resolver":
        for transport in ("+notcp", "+tcp"):
            done = inside(
                program,
                kit.tool("dig"),
                "-b",
                "127.10.0.9",
                f"@{AT}",
                "-p",
                port,
                "config.internal.smplkit.local",
                "+short",
                transport,
            )
            assert done.stdout.strip() == "127.10.1.11"
    elif name == "smpl-bastion":
        done = inside(
            program,
            "bash",
            "-c",
            f"exec 3<>/dev/tcp/{AT}/{port}; read -t {kit.PATIENCE:.0f} line <&3; echo $line",
        )
        assert done.stdout.startswith("SSH-2.0")
    else:
        done = inside(
            program,
            kit.tool("curl"),
            "-sS",
            "--interface",
            "127.42.0.9",
            f"http://{AT}:{port}/internal/v1/health",
        )
        assert done.stdout.startswith("{")
    if METRICS[name]:
        assert "# HELP" in inside(program, kit.tool("curl"), "-sS", f"http://{AT}:{metrics}/metrics").stdout


@needs_root
@pytest.mark.parametrize("name", PROGRAMS)
def test_who_does_not_want_that_says_so_and_a_missing_address_ends_the_start(work, spawn, name):
    argv = elsewhere(name, PROGRAMS[name](work, spawn, "free_bind: false\n"))
    done = kit.run(*ALONE, *argv)
    assert done.returncode == 1 and re.search(rf"{AT}:\d+.*(no such address|[Cc]annot assign)", done.stderr)


@needs_root
@pytest.mark.parametrize("name", PROGRAMS)
def test_check_warns_of_an_address_that_is_not_there_and_calls_it_no_fault(work, spawn, name):
    argv = PROGRAMS[name](work, spawn)
    assert "no such address" not in kit.run(argv[0], "check", *argv[1:]).stdout
    done = kit.run(argv[0], "check", *elsewhere(name, argv)[1:])
    assert done.returncode == 0 and "this machine has no such address now" in done.stdout


@needs_root
def test_an_ipv6_address_too(work, spawn):
    argv = PROGRAMS["smpl-resolver"](work, spawn)
    text = (
        argv[-1]
        .read_text()
        .replace('"127.41.0.1"', '"2001:db8::1"')
        .replace("[127.10.0.0/16]", '["::/0"]')
        .replace('["0.0.0.0/0", "::/0"]', '["0.0.0.0/0"]')
    )
    argv[-1].write_text(text)
    program = spawn(*ALONE, *argv).wait_ready()
    assert "[2001:db8::1]" in program.stderr
    port = re.search(r"\[2001:db8::1\]:(\d+)", program.stderr)[1]
    assert inside(program, "ip", "addr", "add", "2001:db8::1/128", "dev", "lo").returncode == 0
    ask = lambda: inside(
        program, kit.tool("dig"), "@2001:db8::1", "-p", port, "config.internal.smplkit.local", "+short"
    ).stdout.strip()
    kit.wait_until(lambda: ask() == "127.10.1.11", "it answers")


@needs_root
def test_a_reload_of_the_bastion_opens_a_listener_before_its_address_is_there(work, spawn):
    argv = PROGRAMS["smpl-bastion"](work, spawn)
    program = spawn(*argv).wait_ready()
    text = argv[-1].read_text()
    argv[-1].write_text(text.replace('listen: ["', 'listen: ["198.51.100.77:2222", "'))
    assert kit.run(argv[0], "reload", *argv[1:]).returncode == 0
    program.wait_line(r"warning: 198\.51\.100\.77:2222: this machine has no such address yet")
