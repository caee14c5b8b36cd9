# SPDX-License-Identifier: Apache-2.0
"""A program's clocks in the hands of a test."""

import contextlib
import mmap
import struct
import time

import pytest

import kit

SHIM = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static volatile long *ahead; /* seconds of the wall clock; if not 0, where the other one stands, in ns */
__attribute__((constructor)) static void start(void)
{
  int fd = open(getenv("CLOCK_AHEAD"), O_RDONLY);
  ahead = mmap(NULL, 2 * sizeof *ahead, PROT_READ, MAP_SHARED, fd, 0);
}
int clock_gettime(clockid_t id, struct timespec *ts)
{
  int rc = (int)syscall(SYS_clock_gettime, id, ts);
  if (id == CLOCK_REALTIME && ahead != NULL)
    ts->tv_sec += ahead[0];
  if ((id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_COARSE) && ahead != NULL && ahead[1] != 0)
    *ts = (struct timespec){ahead[1] / 1000000000, ahead[1] % 1000000000};
  return rc;
}
"""


class Clock:
    """The wall clock of a program that is started with `env`: seconds that it is ahead of ours. And the clock
    that waits are measured by, which the test may stop."""

    def __init__(self, work):
        if kit.SANITIZED:
            pytest.skip("no library goes before a sanitizer's")
        (work / "clock.c").write_text(SHIM)
        done = kit.run(kit.tool("cc"), "-shared", "-fPIC", "-o", work / "clock.so", work / "clock.c")
        assert done.returncode == 0, done.stderr
        (work / "ahead").write_bytes(bytes(16))
        with (work / "ahead").open("r+b") as f:
            self.page = mmap.mmap(f.fileno(), 16)
        self.env = {"LD_PRELOAD": str(work / "clock.so"), "CLOCK_AHEAD": str(work / "ahead")}

    def set(self, seconds):
        self.page[:8] = struct.pack("l", seconds)

    @contextlib.contextmanager
    def stopped(self):
        """No wait of the program ends in here."""
        self.page[8:] = struct.pack("l", time.monotonic_ns())
        try:
            yield
        finally:
            self.page[8:] = bytes(8)
