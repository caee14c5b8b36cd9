# SPDX-License-Identifier: Apache-2.0
"""A gigabyte each way through smpl-bastion, over several exchanges of keys, byte for byte; a short form
without SMPL_TEST_FULL."""

import os
import re
import shutil
import signal
import socket

import pytest

import kit
import transfer
from bastion_world import WEB, World

FULL = os.environ.get("SMPL_TEST_FULL") == "1" and not kit.SANITIZED
MEBIBYTES = 1024 if FULL else 24
REKEY = f"{MEBIBYTES // 8}M"  # OpenSSH's RekeyLimit: two directions at once make more than three of them


@pytest.fixture
def world(work, spawn):
    from ssh_client import Target

    w = World(work, spawn, start=False)
    w.target = Target(WEB, transfer.serve)
    w.write(grants=f"  - {{groups: [developers], targets: ['{WEB}:*'], networks: [127.42.0.0/16]}}\n")
    w.start()
    yield w
    w.target.close()
    w.close()


def connect(local):
    return lambda: socket.create_connection(("127.42.9.9", local), timeout=kit.PATIENCE)


@pytest.mark.short
@pytest.mark.parametrize(
    "cipher",
    ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr"],
)
def test_every_byte_arrives_across_exchanges_of_keys(world, cipher):
    if cipher != "aes128-gcm@openssh.com" and kit.SANITIZED:
        pytest.skip("one cipher is enough for the sanitizers")
    w = world
    ssh, local = w.forward(WEB, w.target.port, extra=("-v", "-c", cipher, "-o", f"RekeyLimit={REKEY}"))
    transfer.both_ways(connect(local), MEBIBYTES)
    assert ssh.stderr.count("SSH2_MSG_NEWKEYS received") >= 1 + 3, ssh.stderr[-2000:]
    kit.wait_until(
        lambda: len(
            [r for r in w.records("channel-end") if max(r["bytes_up"], r["bytes_down"]) > transfer.MIB]
        )
        == 2,
        "both are on record",
    )
    up, down = sorted(
        (r for r in w.records("channel-end") if max(r["bytes_up"], r["bytes_down"]) > transfer.MIB),
        key=lambda r: r["bytes_down"],
    )
    assert (up["bytes_up"], up["bytes_down"]) == (MEBIBYTES * transfer.MIB + 2, 64)
    assert (down["bytes_up"], down["bytes_down"]) == (len(f"d {MEBIBYTES}\n"), MEBIBYTES * transfer.MIB)


def test_many_at_once_over_exchanges_of_keys_lose_nothing(world):
    import concurrent.futures

    w, each = world, 24 if FULL else 2
    ssh, local = w.forward(WEB, w.target.port, extra=("-v", "-o", "RekeyLimit=4M"))
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        done = [pool.submit(transfer.both_ways, connect(local), each) for _ in range(16)]
        for f in done:
            f.result()
    assert ssh.stderr.count("SSH2_MSG_NEWKEYS received") >= 1 + 3


def test_a_worker_reads_much_at_once(world):
    """What libssh reads by itself is 4 KiB at a time: for these bytes alone that would be 2,048 reads and as
    many polls."""
    strace = shutil.which("strace")
    if strace is None or os.geteuid() != 0:
        pytest.skip("needs strace and root: a worker may not be traced by its own user")
    w, mebibytes = world, 8
    ssh, local = w.forward(WEB, w.target.port)
    (worker,) = w.workers()
    log = w.work / "strace"
    tracer = kit.Program([strace, "-f", "-e", "trace=recvfrom,read,poll", "-o", str(log), "-p", str(worker)])
    try:
        tracer.wait_line("attached")
        transfer.both_ways(connect(local), mebibytes)
    finally:
        tracer.signal(signal.SIGINT)
        tracer.wait()
    text = log.read_text()
    reads = [int(size) for size in re.findall(r"recvfrom\(\d+, .*?, (\d+), 0, NULL, NULL\)", text)]
    assert reads and set(reads) == {128 << 10}, set(reads)
