# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end tests."""

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "worlds")]
for helper in (HERE / "worlds").glob("*.py"):  # so that an assertion in there says as much as one of a test
    pytest.register_assert_rewrite(helper.stem)
import kit  # noqa: E402


def pytest_configure(config):
    # A shell without job control starts what it puts in the background with SIGINT ignored, and every program
    # started from here would inherit that: Ctrl-C would end none of them. A handler is set back to the
    # default at exec; "ignored" is not.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "short: also run on the sanitizer build by ./dev test")
    config.addinivalue_line("markers", "full: takes long; run by ./dev test full only")
    config.addinivalue_line("markers", "walls: about process walls, meaningful on the release build only")


def pytest_collection_modifyitems(config, items):
    full = os.environ.get("SMPL_TEST_FULL") == "1"
    left_out = [
        i
        for i in items
        if (i.get_closest_marker("full") and not full)
        or (kit.SANITIZED and not full and not i.get_closest_marker("short"))
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [i for i in items if i not in left_out]
    for item in items:
        if (kit.SANITIZED or kit.COUNTED) and item.get_closest_marker("walls"):
            item.add_marker(pytest.mark.skip(reason="walls are tested on the release build"))


def folder():
    """A fresh folder with a short path (unix sockets have at most 107 bytes), removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix="smpl-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def starter(cwd):
    """spawn(argv...) -> kit.Program, ended after the test. A sanitizer's report fails the test, and so does a
    worker that needed a system call which it may not make."""
    programs = []

    def start(*argv, **kw):
        kw.setdefault("cwd", cwd)
        program = kit.Program(argv, **kw)
        programs.append(program)
        return program

    yield start
    for program in reversed(programs):
        if program.running():
            program.stop()
        else:
            program.wait()
    for program in programs:
        assert "AddressSanitizer" not in program.stderr, program.stderr
        assert "LeakSanitizer" not in program.stderr, program.stderr
        assert "runtime error:" not in program.stderr, program.stderr
        assert program.rogue or "was killed for a system call" not in program.stderr, program.stderr


@pytest.fixture
def work():
    yield from folder()


@pytest.fixture
def spawn(work):
    yield from starter(work)


# The same for programs that all tests of a file share.


@pytest.fixture(scope="module")
def shared_work():
    yield from folder()


@pytest.fixture(scope="module")
def shared_spawn(shared_work):
    yield from starter(shared_work)
