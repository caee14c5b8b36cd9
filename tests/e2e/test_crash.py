# SPDX-License-Identifier: Apache-2.0
"""Crashes, behind the walls as they stand: one line that says which signal, where and of which build; then
the signal's own end. Core dumps where the configuration wants them. What all programs say in the journal."""

import os
import re
import signal
import subprocess
import threading
from pathlib import Path

import pytest

import kit
from four_programs import PROGRAMS, bastion, resolver

pytestmark = pytest.mark.walls  # a sanitizer's run time reports by itself

PLACE = r", in [\w.+-]+\+0x[0-9a-f]+, build [0-9a-f]{40}$"


def comm(pid):
    return Path(f"/proc/{pid}/comm").read_text().strip()


def wait_gone(pids):
    for pid in pids:
        kit.wait_until(lambda: not kit.alive(pid), "what it started ends with it")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT], ids=lambda n: n.name)
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_crashes_says_so_and_ends_by_that_signal(work, spawn, name, number):
    program = spawn(*PROGRAMS[name](work, spawn)).wait_ready()
    started = kit.children(program.pid)
    program.signal(number)
    assert program.wait() == -number
    said = [line for line in program.err if "crashed: " in line]
    assert len(said) == 1
    assert re.match(rf"{name} crashed: {number.name} sent by process {os.getpid()}{PLACE}", said[0])
    build = re.search(
        r"Build ID: ([0-9a-f]{40})", kit.run(kit.tool("readelf"), "-n", kit.binary(name)).stdout
    )[1]
    assert said[0].endswith(build)
    wait_gone(started)


def test_tunnel_and_launcher_say_so_too(work, spawn):
    program = spawn(*bastion(work, spawn)).wait_ready()
    (launcher,) = [pid for pid in kit.children(program.pid) if comm(pid) == "smpl-launcher"]
    os.kill(launcher, signal.SIGSEGV)
    program.wait_line(rf"^smpl-launcher crashed: SIGSEGV sent by process {os.getpid()}{PLACE}")
    assert program.wait() != 0
    env = {
        "SMPL_BASTION": "",
        "SMPL_TUNNEL_CONFIG": "",
        "SSH_AUTH_SOCK": "",
        "XDG_CONFIG_HOME": "/nonexistent",
    }
    silent = kit.socket.socket()
    silent.bind(("127.42.0.1", 0))
    silent.listen()
    tunnel = spawn(
        kit.binary("smpl-tunnel"),
        "-v",
        "--bastion",
        f"dev@127.42.0.1:{silent.getsockname()[1]}",
        "-F",
        "none",
        "0:config.internal:80",
        env=env,
    )
    met, _ = silent.accept()
    met.sendall(b"SSH-2.0-silent\r\n")  # whoever says nothing at all is soon given up
    tunnel.signal(signal.SIGABRT)
    assert tunnel.wait() == -signal.SIGABRT
    assert [
        line
        for line in tunnel.err
        if re.match(rf"smpl-tunnel crashed: SIGABRT sent by process \d+{PLACE}", line)
    ]
    met.close()
    silent.close()


@pytest.mark.parametrize(
    "wanted, limit",
    [("", ("0", "0")), ("core_dumps: true\n", ("4096", "4096"))],
    ids=["not wanted", "wanted"],
)
@pytest.mark.parametrize("name", PROGRAMS)
def test_core_dumps_are_for_who_asks_for_them(work, spawn, name, wanted, limit):
    argv = [
        "sh",
        "-c",
        'ulimit -Hc 8; exec "$@"',
        "sh",
        *PROGRAMS[name](work, spawn, wanted),
    ]  # blocks of 512 bytes
    program = spawn(*argv).wait_ready()
    limits = Path(f"/proc/{program.pid}/limits").read_text()
    assert re.search(r"Max core file size +(\d+) +(\d+)", limits).groups() == limit
    assert program.stop() == 0


def test_what_cannot_leave_a_core_dump_says_so(work, spawn):
    argv = ["sh", "-c", 'ulimit -Hc 0; exec "$@"', "sh", *resolver(work, spawn, "core_dumps: true\n")]
    spawn(*argv).wait_line("core_dumps: this process can leave none")


class InJournal:
    """A program whose standard error is what JOURNAL_STREAM names."""

    def __init__(self, argv):
        ours, theirs = os.pipe()
        st = os.fstat(theirs)
        env = dict(os.environ, JOURNAL_STREAM=f"{st.st_dev}:{st.st_ino}")
        self.lines, self.changed = [], threading.Condition()
        self.process = subprocess.Popen(
            [str(a) for a in argv], stderr=theirs, stdout=subprocess.DEVNULL, env=env
        )
        os.close(theirs)
        self.reader = threading.Thread(target=self.read, args=(os.fdopen(ours),), daemon=True)
        self.reader.start()

    def read(self, stream):
        for line in stream:
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                self.changed.notify_all()

    def wait_line(self, pattern):
        with self.changed:
            assert self.changed.wait_for(
                lambda: any(re.search(pattern, line) for line in self.lines), kit.PATIENCE
            ), self.lines

    def end(self):
        self.process.wait(kit.PATIENCE)
        self.reader.join(kit.PATIENCE)
        return self.lines


@pytest.mark.parametrize("name", PROGRAMS)
def test_in_the_journal_each_line_has_its_priority_and_no_second_time(work, spawn, name):
    argv = PROGRAMS[name](work, spawn)
    program = InJournal(argv)
    try:
        program.wait_line(r"^<6>ready\b")
        Path(argv[-1]).write_text("nonsense: true\n")
        program.process.send_signal(signal.SIGHUP)
        program.wait_line("^<3>.*nonsense")
    finally:
        program.process.kill()
    lines = program.end()
    assert all(re.match(r"<[3467]>(?!\d{4}-)", line) for line in lines), lines
    program = InJournal(argv)
    lines = program.end()
    assert program.process.returncode == 1
    assert lines and all(line.startswith("<3>") for line in lines) and "nonsense" in lines[0]


def test_the_journal_hears_of_a_crash_as_critical(work, spawn):
    program = InJournal(resolver(work, spawn))
    program.wait_line(r"^<6>ready\b")
    program.process.send_signal(signal.SIGABRT)
    assert re.match(r"<2>smpl-resolver crashed: SIGABRT", program.end()[-1])
    assert program.process.returncode == -signal.SIGABRT


@pytest.mark.parametrize("name", ["smpl-app", "smpl-bastion", "smpl-resolver", "smpl-tunnel"])
def test_h_is_help(name):
    short, long = kit.run(kit.binary(name), "-h"), kit.run(kit.binary(name), "--help")
    assert (short.returncode, short.stdout, short.stderr) == (0, long.stdout, "")
    assert re.search(r"-h\b", short.stdout)
