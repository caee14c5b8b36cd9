# SPDX-License-Identifier: Apache-2.0
"""A lab for the tests, made once, and ways to act on its hosts."""

import contextlib
import ctypes
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

os.environ.setdefault("SMPL_LAB", "lab-test")
sys.path[:0] = [
    str(Path(__file__).parent),
    str(Path(__file__).parents[1] / "e2e"),
    str(Path(__file__).parents[1] / "e2e" / "worlds"),
    str(Path(__file__).parents[1] / "coverage"),
]
import lab as the_lab  # noqa: E402

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


def pytest_configure(config):
    config.addinivalue_line("markers", "short: run by ./dev test too")
    config.addinivalue_line(
        "markers", "full: takes long; run by ./dev lab test full and ./dev test full only"
    )


def not_here():
    """Why there can be no lab here; the words are known to tests/CMakeLists.txt."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode != 0:
        return "network namespaces need root with CAP_SYS_ADMIN (a container without it?)"
    return (
        None
        if os.path.exists("/dev/net/tun")
        else "network namespaces need root and /dev/net/tun for the link between them"
    )


def pytest_collection_modifyitems(config, items):
    if os.environ.get("SMPL_TEST_FULL") != "1":
        short = os.environ.get("SMPL_LAB_SHORT") == "1"
        left_out = [
            i for i in items if i.get_closest_marker("full") or (short and not i.get_closest_marker("short"))
        ]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [i for i in items if i not in left_out]
    missing = not_here()
    for item in items if missing else ():
        item.add_marker(pytest.mark.skip(reason=missing))


def set_namespace(path):
    with open(path) as f:
        if libc.setns(f.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {path}")


@contextlib.contextmanager
def inside(host):
    """Sockets made and programs started here by this thread belong to that host. Names are looked up outside:
    give addresses."""
    home = f"/proc/{os.getpid()}/task/{libc.gettid()}/ns/net"
    back = os.open(home, os.O_RDONLY)
    try:
        set_namespace(f"/run/netns/{the_lab.netns(host)}")
        yield
    finally:
        if libc.setns(back, CLONE_NEWNET) != 0:
            os._exit(70)  # a test that went on elsewhere would prove nothing
        os.close(back)


@pytest.fixture(scope="session")
def lab():
    with open(the_lab.ROOT / "build" / f".{the_lab.KIND}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            the_lab.up()
            yield the_lab
        finally:
            the_lab.down()
