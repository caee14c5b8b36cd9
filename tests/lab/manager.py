# SPDX-License-Identifier: Apache-2.0
"""Plays the service manager: kills a service that promised signs of life and gives none. Usage: manager.py
SOCKET SECONDS

A service says READY=1 and then WATCHDOG=1 now and then, to $NOTIFY_SOCKET (sd_notify(3)). systemd does the
same with WatchdogSec=2 and WatchdogSignal=SIGKILL; no other signal ends a process that is stopped."""

import os
import signal
import socket
import struct
import sys
import time


def sender(ancillary):
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            return struct.unpack("3i", data)[0]
    return None


def hear(s, alive):
    message, ancillary, _, _ = s.recvmsg(4096, 200)
    pid = sender(ancillary)
    words = message.decode(errors="replace").splitlines()
    if pid and ("READY=1" in words or "WATCHDOG=1" in words):
        alive[pid] = time.monotonic()
    elif pid and "STOPPING=1" in words:
        alive.pop(pid, None)


def main(path, seconds):
    alive = {}  # pid -> when it was last heard of
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(path)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        s.settimeout(0.1)
        while True:
            try:
                hear(s, alive)
            except TimeoutError:
                pass
            now = time.monotonic()
            for pid in [p for p, heard in alive.items() if now - heard > seconds]:
                del alive[pid]
                try:
                    os.kill(pid, signal.SIGKILL)
                    print(f"{pid} gave no sign of life for {seconds} s and was killed", flush=True)
                except ProcessLookupError:
                    pass


main(sys.argv[1], float(sys.argv[2]))
