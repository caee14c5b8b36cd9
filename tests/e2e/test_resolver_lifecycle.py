# SPDX-License-Identifier: Apache-2.0
"""How smpl-resolver lives under a service manager: told when it is ready, reloading, stopping, alive; files
that change; ends."""

import json
import os
import signal
import socket
import struct
import threading
import time

import pytest

import kit
from resolver_world import INTERNAL_ZONE, PRIVATE, Resolver, query, rcode


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.settimeout(kit.PATIENCE)

    def hear(self, wanted):
        """The next message but for signs of life."""
        while True:
            fields = dict(line.split("=", 1) for line in self.socket.recv(4096).decode().splitlines())
            if wanted in fields:
                return fields
            assert set(fields) == {"WATCHDOG"}, (wanted, fields)


def start(resolver, **env):
    resolver.program = resolver.spawn(
        kit.binary("smpl-resolver"), "-c", resolver.config, env=env
    ).wait_ready()
    return resolver


def write_aside(resolver, name, text):
    aside = resolver.work / "aside.tmp"
    aside.write_text(text)
    aside.rename(resolver.work / name)


@pytest.mark.short
@pytest.mark.parametrize("abstract", [False, True])
def test_service_manager_is_told_of_each_stage(spawn, work, abstract):
    name = f"@smpl-{os.getpid()}" if abstract else str(work / "notify")
    manager = Manager("\0" + name[1:] if abstract else name)
    r = start(Resolver(spawn, work), NOTIFY_SOCKET=name)
    assert manager.hear("READY")["STATUS"] == "serving 3 zones to 2 views"
    assert r.command("reload", "-c", r.config).returncode == 0
    reloading = manager.hear("RELOADING")
    assert abs(int(reloading["MONOTONIC_USEC"]) / 1e6 - time.monotonic()) < 60
    manager.hear("READY")
    r.write_zone("internal.zone", "nonsense")
    assert r.command("reload", "-c", r.config).returncode == 1
    manager.hear("RELOADING")
    assert "the last reload failed" in manager.hear("READY")["STATUS"]
    r.program.signal(signal.SIGTERM)
    manager.hear("STOPPING")
    assert r.program.wait() == 0


@pytest.mark.short
def test_watchdog_hears_signs_of_life_while_all_goes_well(spawn, work):
    manager = Manager(str(work / "notify"))
    r = start(Resolver(spawn, work), NOTIFY_SOCKET=str(work / "notify"), WATCHDOG_USEC="200000")
    manager.hear("READY")
    for _ in range(8):
        manager.hear("WATCHDOG")
    r.program.signal(signal.SIGSTOP)
    time.sleep(0.3)
    manager.socket.setblocking(False)
    try:
        while True:
            manager.socket.recv(4096)
    except BlockingIOError:
        pass
    time.sleep(0.3)
    with pytest.raises(BlockingIOError):
        manager.socket.recv(4096)
    r.program.signal(signal.SIGCONT)
    manager.socket.settimeout(kit.PATIENCE)
    manager.hear("WATCHDOG")


def test_watchdog_of_another_process_is_not_ours(spawn, work):
    manager = Manager(str(work / "notify"))
    start(Resolver(spawn, work), NOTIFY_SOCKET=str(work / "notify"), WATCHDOG_USEC="100000", WATCHDOG_PID="1")
    manager.hear("READY")
    manager.socket.settimeout(0.5)
    with pytest.raises(TimeoutError):
        manager.socket.recv(4096)


def test_unreachable_service_manager_is_a_warning(spawn, work):
    for path in (str(work / "nobody"), "relative", "@", "/" + "x" * 200):
        r = start(Resolver(spawn, work), NOTIFY_SOCKET=path)
        r.program.wait_line("cannot be reached: the service manager is told nothing")
        assert r.program.stop() == 0


@pytest.mark.short
def test_written_and_replaced_files_are_taken_by_themselves(spawn, work):
    r = Resolver(spawn, work)
    r.write_config(more="watch: true\n")
    r.start()
    r.write_zone("internal.zone", INTERNAL_ZONE + "one A 127.10.5.1\n")
    kit.wait_until(lambda: r.dig("one.internal.smplkit.local", "+short") == "127.10.5.1", "the written zone")
    write_aside(r, "internal.zone", INTERNAL_ZONE + "two A 127.10.5.2\n")
    kit.wait_until(lambda: r.dig("two.internal.smplkit.local", "+short") == "127.10.5.2", "the replaced zone")
    r.write_zone("internal.zone", "nonsense\n")
    r.program.wait_line("error: reload: .*internal.zone:1")
    assert r.dig("two.internal.smplkit.local", "+short") == "127.10.5.2"
    # another folder, named by a changed configuration
    (work / "other").mkdir()
    (work / "other" / "i.zone").write_text(INTERNAL_ZONE + "three A 127.10.5.3\n")
    r.config.write_text(r.config.read_text().replace("internal.zone", "other/i.zone"))
    kit.wait_until(
        lambda: r.dig("three.internal.smplkit.local", "+short") == "127.10.5.3", "the new configuration"
    )
    (work / "other" / "i.zone").write_text(INTERNAL_ZONE + "four A 127.10.5.4\n")
    kit.wait_until(
        lambda: r.dig("four.internal.smplkit.local", "+short") == "127.10.5.4", "the zone in the other folder"
    )


def test_included_files_are_watched_and_a_mend_may_be_in_a_new_one(spawn, work):
    r = Resolver(spawn, work)
    r.write_config(more="watch: true\n")
    (work / "parts").mkdir()
    part = work / "parts" / "one.part"
    part.write_text("one A 127.10.5.1\n")
    r.write_zone("internal.zone", INTERNAL_ZONE + "$INCLUDE parts/one.part\n")
    r.start()
    part.write_text("one A 127.10.5.2\n")
    kit.wait_until(lambda: r.dig("one.internal.smplkit.local", "+short") == "127.10.5.2", "the included file")
    # a second include that does not load: what mends it is no file that is served yet
    (work / "parts" / "two.part").write_text("two A 127.10.5.x\n")
    r.write_zone("internal.zone", INTERNAL_ZONE + "$INCLUDE parts/one.part\n$INCLUDE parts/two.part\n")
    r.program.wait_line("error: reload: .*two.part:1")
    (work / "parts" / "two.part").write_text("two A 127.10.5.3\n")
    kit.wait_until(lambda: r.dig("two.internal.smplkit.local", "+short") == "127.10.5.3", "the mended file")


def test_folder_swapped_by_a_link_is_noticed(spawn, work):
    """As Kubernetes does it: resolver.zone -> ..data/resolver.zone, ..data -> a folder, replaced by
    rename."""
    r = Resolver(spawn, work)
    for version in ("v1", "v2"):
        (work / version).mkdir()
        (work / version / "internal.zone").write_text(INTERNAL_ZONE + f"{version} A 127.10.5.1\n")
    (work / "..data").symlink_to("v1")
    (work / "internal.zone").unlink()
    (work / "internal.zone").symlink_to("..data/internal.zone")
    r.write_config(more="watch: true\n")
    r.start()
    assert r.dig("v1.internal.smplkit.local", "+short") == "127.10.5.1"
    (work / "..next").symlink_to("v2")
    (work / "..next").rename(work / "..data")
    kit.wait_until(lambda: r.dig("v2.internal.smplkit.local", "+short") == "127.10.5.1", "the swapped folder")


def reloads(r):
    status = json.loads(r.command("status", "--json", "--socket", r.socket).stdout)
    return status["reloads"] + status["failed_reloads"]


def test_many_writes_are_few_reloads_and_other_files_none(spawn, work):
    r = Resolver(spawn, work)
    r.write_config(more="watch: true\n")
    r.start()
    for i in range(50):
        (work / f"other{i}").write_text("x")
    time.sleep(0.5)
    assert reloads(r) == 0
    r.program.signal(signal.SIGSTOP)  # so that it hears of all of them at once, however long they take
    for i in range(100):
        r.write_zone("internal.zone", INTERNAL_ZONE + f"x{i} A 127.10.5.1\n")
    r.program.signal(signal.SIGCONT)
    kit.wait_until(lambda: r.dig("x99.internal.smplkit.local", "+short") == "127.10.5.1", "the last write")
    assert reloads(r) <= 3


def test_writes_without_pause_are_read_all_the_same(spawn, work):
    r = Resolver(spawn, work)
    r.write_config(more="watch: true\n")
    r.start()
    read = threading.Event()

    def write():
        while not read.wait(0.05):
            r.write_zone("internal.zone", INTERNAL_ZONE)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        kit.wait_until(lambda: reloads(r) > 0, "what is written all the time is read")
    finally:
        read.set()
        writer.join()


def test_watch_can_be_switched_by_a_reload(spawn, work):
    r = Resolver(spawn, work).start()
    r.write_zone("internal.zone", INTERNAL_ZONE + "x A 127.10.5.1\n")
    time.sleep(0.6)
    assert reloads(r) == 0
    r.write_config(more="watch: true\n")
    assert r.command("reload", "--socket", r.socket).returncode == 0
    r.write_zone("internal.zone", INTERNAL_ZONE + "y A 127.10.5.1\n")
    kit.wait_until(lambda: r.dig("y.internal.smplkit.local", "+short") == "127.10.5.1", "the watched zone")
    before = kit.wait_still(lambda: reloads(r), "all that was written is read")
    r.write_config(more="watch: false\n")  # the change of the configuration is the last one noticed
    kit.wait_until(lambda: reloads(r) > before, "the configuration that switches it off")
    before = kit.wait_still(lambda: reloads(r), "it is read once or twice")
    r.write_zone("internal.zone", INTERNAL_ZONE)
    time.sleep(0.6)
    assert reloads(r) == before


@pytest.mark.short
def test_stop_answers_what_was_asked_over_tcp(spawn, work):
    r = Resolver(spawn, work).start()
    q = query("config.internal.smplkit.local", 1)
    framed = struct.pack(">H", len(q)) + q
    idle, asked, half = r.tcp(PRIVATE), r.tcp(PRIVATE), r.tcp(PRIVATE)
    half.sendall(framed[:10])
    kit.wait_until(
        lambda: json.loads(r.command("status", "--json", "-c", r.config).stdout)["tcp_connections"] == 3,
        "connections",
    )
    r.program.signal(signal.SIGSTOP)  # so that the questions and the signal arrive together
    asked.sendall(framed * 100)
    r.program.signal(signal.SIGTERM)
    r.program.signal(signal.SIGCONT)
    data = kit.recv_all(asked)
    count = 0
    while data:
        (size,) = struct.unpack(">H", data[:2])
        assert rcode(data[2 : 2 + size]) == 0
        data = data[2 + size :]
        count += 1
    assert count == 100
    assert kit.recv_all(idle) == b""
    kit.wait_until(lambda: not kit.port_open(r.server, r.port), "no new connections")
    assert r.program.running(), "a query is unfinished"
    half.sendall(framed[10:])
    reply = kit.recv_all(half)
    assert rcode(reply[2:]) == 0
    assert r.program.wait() == 0
    assert "cut off" not in r.program.stderr


def test_stop_waits_for_unfinished_queries_no_longer_than_its_limit(spawn, work):
    for second_signal in (False, True):
        r = Resolver(spawn, work).start()
        half = r.tcp(PRIVATE)
        half.sendall(b"\0\x30ab")
        kit.wait_until(
            lambda: json.loads(r.command("status", "--json", "-c", r.config).stdout)["tcp_connections"] == 1,
            "it",
        )
        begun = time.monotonic()
        r.program.signal(signal.SIGTERM)
        r.program.wait_line("stopping")
        if second_signal:
            r.program.signal(signal.SIGTERM)
        assert r.program.wait() == 0
        assert second_signal or time.monotonic() - begun > 2.5
        assert (
            "1 tcp connections with unfinished queries are cut off" in r.program.stderr
        ) is not second_signal


@pytest.mark.short
def test_stop_answers_datagrams_that_had_arrived(spawn, work):
    r = Resolver(spawn, work).start()
    session = r.session(PRIVATE, False)
    r.program.signal(signal.SIGSTOP)
    for i in range(200):
        session.sock.send(query("config.internal.smplkit.local", 1, ident=i))
    r.program.signal(signal.SIGTERM)
    r.program.signal(signal.SIGCONT)
    seen = {session.sock.recv(4096)[:2] for _ in range(200)}
    assert len(seen) == 200
    assert r.program.wait() == 0
