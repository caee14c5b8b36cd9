# SPDX-License-Identifier: Apache-2.0
"""smpl-resolver as its operator meets it: commands, reload, bad input, ends and restarts."""

import json
import os
import shutil
import signal
import socket
import struct
import threading

import pytest

import kit
from resolver_world import INTERNAL_ZONE, PRIVATE, PUBLIC, Resolver, query, rcode


@pytest.fixture
def resolver(spawn, work):
    return Resolver(spawn, work).start()


def control(resolver, *argv):
    return resolver.command(*argv, "-c", resolver.config)


def replies_of(path, line, timeout=kit.PATIENCE):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(timeout)
        s.connect(str(path))
        s.sendall(line)
        return kit.recv_all(s)


@pytest.mark.short
def test_check_says_what_each_view_sees(spawn, work):
    r = Resolver(spawn, work)
    done = control(r, "check")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith(f"{r.config}: ok: 1 dns listeners, 2 views, 3 zones\n")
    assert "view vpc: clients 127.10.0.0/16" in done.stdout
    assert "zone internal.smplkit.local: serial 1, " in done.stdout
    assert "warning" not in done.stdout, "both views on one listener are fine on loopback"
    r.write_config(address="192.0.2.1")
    done = control(r, "check")
    assert (
        done.returncode == 0
        and "warning" in done.stdout
        and "private view 'vpc' and public view 'world'" in done.stdout
    )


@pytest.mark.short
@pytest.mark.parametrize(
    "change, place, expected",
    [
        (
            ("internal.zone", INTERNAL_ZONE + "x A 300.1.1.1\n"),
            "internal.zone:12: ",
            "expected an IPv4 address",
        ),
        (("internal.zone", INTERNAL_ZONE + 'x TXT "open\n'), "internal.zone:12: ", "closing quote"),
        (("internal.zone", INTERNAL_ZONE + "x A ( 127.0.0.1\n"), "internal.zone:12: ", "'(' is never closed"),
        (
            ("internal.zone", INTERNAL_ZONE + "config CNAME app\n"),
            "internal.zone:12: ",
            "expected a CNAME to stand alone",
        ),
        (("internal.zone", INTERNAL_ZONE + "@ SOA a b 1 2 3 4 5\n"), "internal.zone:12: ", "a second one"),
        (
            ("internal.zone", INTERNAL_ZONE + "x.example.org. A 127.0.0.1\n"),
            "internal.zone:12: ",
            "outside the zone",
        ),
        (
            ("internal.zone", INTERNAL_ZONE + "app A 127.10.1.10\n"),
            "internal.zone:12: ",
            "the same record twice",
        ),
        (("internal.zone", "$TTL 60\n@ NS ns\nns A 127.0.0.1\n"), "internal.zone: ", "no SOA record"),
        (("internal.zone", "$TTL 99999999999\n"), "internal.zone:1: ", "expected a TTL from 0 to 2147483647"),
        (("internal.zone", None), "internal.zone", "No such file"),
        (("resolver.yaml", "listener: []\n"), "resolver.yaml:1:1: ", "listener"),
        (("resolver.yaml", "listeners: [\n"), "resolver.yaml:", ""),
        (("resolver.yaml", None), "resolver.yaml", "No such file"),
    ],
)
def test_bad_input_is_one_line_with_place_and_expectation(spawn, work, change, place, expected):
    r = Resolver(spawn, work)
    name, text = change
    if text is None:
        (work / name).unlink()
    else:
        r.write_zone(name, text)
    starts = name != "resolver.yaml"  # one bad zone does not take the others away: test_resolver_copies.py
    for argv in [["check", "-c", r.config]] + ([] if starts else [["-c", r.config]]):
        done = r.command(*argv)
        assert done.returncode == 1
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("smpl-resolver: ") and place in lines[0] and expected in lines[0]
        assert done.stdout == ""


@pytest.mark.short
def test_check_refuses_a_control_socket_that_cannot_be(spawn, work):
    r = Resolver(spawn, work)
    text = r.config.read_text()
    (work / "plain").write_text("")
    for path, expected in (
        ("/nonexist/x.sock", "folder '/nonexist': No such file"),
        ("plain/x.sock", "is not a folder"),
        ("plain", "exists and is not a socket"),
        ("x" * 108, "at most 107 bytes"),
    ):
        r.config.write_text(text.replace("r.sock", path))
        done = control(r, "check")
        assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1
        assert "resolver.yaml:10:10: control: " in done.stderr and expected in done.stderr, done.stderr


def test_stop_during_a_reload_is_told_to_who_waits(resolver):
    resolver.write_zone("internal.zone", INTERNAL_ZONE + "$GENERATE 0-900000 slow$ A 127.0.0.1\n")
    before = resolver.rss_mb()
    waiting = resolver.spawn(kit.binary("smpl-resolver"), "reload", "-c", resolver.config)
    kit.wait_until(lambda: resolver.rss_mb() > before + 10, "loading has begun")
    resolver.program.signal(signal.SIGTERM)
    assert waiting.wait() == 1
    assert "the resolver is stopping: it did not reload" in waiting.stderr
    assert resolver.program.wait() == 0


@pytest.mark.short
def test_usage_errors_are_one_line_and_status_2(work):
    for argv in (
        [],
        ["-x"],
        ["-c"],
        ["serve", "-c", "x"],
        ["check"],
        ["status", "extra", "words"],
        ["--nope"],
    ):
        done = kit.run(kit.binary("smpl-resolver"), *argv, cwd=work)
        assert done.returncode == 2, argv
        assert done.stderr.startswith("smpl-resolver: ") and done.stderr.count("\n") == 1
    done = kit.run(kit.binary("smpl-resolver"), "--help")
    assert done.returncode == 0 and "usage: smpl-resolver -c FILE" in done.stdout
    done = kit.run(kit.binary("smpl-resolver"), "--version")
    assert done.returncode == 0 and done.stdout.startswith("smpl-resolver ")


def test_asking_nobody_says_so(work):
    done = kit.run(kit.binary("smpl-resolver"), "status", cwd=work)
    assert done.returncode == 3 and "resolver.sock" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.short
@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_busy_port_names_the_address_and_the_way_out(spawn, work, kind):
    r = Resolver(spawn, work)
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind((r.server, r.port))
        if kind == socket.SOCK_STREAM:
            other.listen()
        done = r.command("-c", r.config)
        assert done.returncode == 1
        assert f"{r.server}:{r.port}: address in use" in done.stderr and "choose another port" in done.stderr
    r.start()


def test_second_instance_does_not_share_the_port_unnoticed(resolver, work):
    other = work / "other.yaml"
    other.write_text(resolver.config.read_text().replace("r.sock", "o.sock"))
    done = resolver.command("-c", other)
    assert done.returncode == 1 and "address in use" in done.stderr


def reload_by_signal(resolver, expect):
    start = len(resolver.program.err)
    resolver.program.signal(signal.SIGHUP)
    return resolver.program.wait_line(expect, start=start)


@pytest.mark.short
def test_reload_by_signal_and_control_socket_takes_new_data(resolver):
    resolver.write_zone("internal.zone", INTERNAL_ZONE + "fresh A 127.10.5.5\n")
    assert "NXDOMAIN" in resolver.dig("fresh.internal.smplkit.local")
    reload_by_signal(resolver, "reloaded")
    assert resolver.dig("fresh.internal.smplkit.local", "+short") == "127.10.5.5"
    resolver.write_zone("internal.zone", INTERNAL_ZONE + "fresh A 127.10.6.6\n")
    done = control(resolver, "reload")
    assert done.returncode == 0 and done.stdout.startswith("reloaded: 3 zones")
    assert resolver.dig("fresh.internal.smplkit.local", "+short") == "127.10.6.6"


@pytest.mark.short
def test_bad_reload_is_named_and_changes_nothing(resolver):
    resolver.write_zone("internal.zone", INTERNAL_ZONE + "config A 127.10.9.9\nx A nonsense\n")
    line = reload_by_signal(resolver, "error: reload")
    assert "internal.zone:13: expected an IPv4 address, got 'nonsense'; the old data stays in force" in line
    done = control(resolver, "reload")
    assert (
        done.returncode == 1
        and "internal.zone:13: expected an IPv4 address" in done.stderr
        and done.stderr.count("\n") == 1
    )
    assert resolver.dig("config.internal.smplkit.local", "+short") == "127.10.1.11"
    status = json.loads(control(resolver, "status", "--json").stdout)
    assert (
        status["failed_reloads"] == 2
        and status["reloads"] == 0
        and "internal.zone:13" in status["last_error"]
    )
    resolver.write_zone("internal.zone", INTERNAL_ZONE)
    assert control(resolver, "reload").returncode == 0
    status = json.loads(control(resolver, "status", "--json").stdout)
    assert status["reloads"] == 1 and status["last_error"] == ""


def test_reload_that_would_need_a_restart_says_so(resolver):
    text = resolver.config.read_text()
    for change in (
        text.replace(f"port: {resolver.port}", f"port: {kit.free_port(resolver.server)}"),
        text + "workers: 1\n",
        text.replace("r.sock", "other.sock"),
    ):
        resolver.config.write_text(change)
        done = resolver.command("reload", "--socket", resolver.socket)
        assert done.returncode == 1 and "needs a restart; the old data stays in force" in done.stderr
    assert resolver.dig("config.internal.smplkit.local", "+short") == "127.10.1.11"


def test_reload_moves_a_network_to_another_view(resolver):
    assert resolver.dig("config.internal.smplkit.local", "+short") == "127.10.1.11"
    resolver.write_config(vpc="[127.20.0.0/16]")
    assert control(resolver, "reload").returncode == 0
    assert "REFUSED" in resolver.dig("config.internal.smplkit.local", source=PRIVATE)
    assert resolver.dig("config.internal.smplkit.local", "+short", source=PUBLIC) == "127.10.1.11"


def reload_under_load(resolver, rounds, zone):
    """The record of `config` moves back and forth with each reload; every answer is one of the two, none is
    missing: a lost datagram would be waited for in vain. Returns how many were asked."""
    stop = threading.Event()
    seen, errors, asked = set(), [], []

    def ask(tcp):
        session = resolver.session(PRIVATE, tcp)
        session.sock.settimeout(kit.PATIENCE)
        i = 0
        try:
            while not stop.is_set():
                i += 1
                reply = session.ask(query("config.internal.smplkit.local", 1, ident=i % 65536))
                assert reply[:2] == struct.pack(">H", i % 65536) and rcode(reply) == 0
                seen.add(reply[12 + 35 + 10 :][:6])
        except Exception as e:  # noqa: BLE001 - reported by the test's thread
            errors.append(e)
        asked.append(i)

    threads = [threading.Thread(target=ask, args=(tcp,)) for tcp in (False, False, True)]
    for t in threads:
        t.start()
    for i in range(rounds):
        resolver.write_zone("internal.zone", zone.replace("127.10.1.11", f"127.10.1.{11 + i % 2}", 1))
        assert control(resolver, "reload").returncode == 0
    stop.set()
    for t in threads:
        t.join()
    assert not errors
    assert len(seen) == 2, seen
    status = json.loads(control(resolver, "status", "--json").stdout)
    assert status["reloads"] == rounds
    return sum(asked)


def test_no_query_is_lost_or_wrong_while_reloading(resolver):
    assert reload_under_load(resolver, 20 if kit.SANITIZED else 60, INTERNAL_ZONE) > 100


@pytest.mark.full
def test_no_query_is_lost_during_a_hundred_reloads_of_a_hundred_thousand_names(spawn, work):
    zone = INTERNAL_ZONE + "".join(f"svc{i} A 10.1.{i // 256 % 256}.{i % 256}\n" for i in range(100000))
    r = Resolver(spawn, work)
    r.write_zone("internal.zone", zone)
    r.start()
    assert reload_under_load(r, 100, zone) > 10000


def test_reloads_do_not_leak_memory_or_counters(resolver):
    for _ in range(5):
        control(resolver, "reload")
    before = resolver.rss_mb()
    session = resolver.session(PRIVATE, False)
    for i in range(50):
        session.ask(query("config.internal.smplkit.local", 1))
        control(resolver, "reload")
    if not kit.SANITIZED:
        assert resolver.rss_mb() < before + 8
    stats = json.loads(control(resolver, "stats", "--json").stdout)
    vpc = next(v for v in stats["views"] if v["view"] == "vpc")
    assert vpc["udp"] == 50 and vpc["rcodes"] == {"NOERROR": 50}


@pytest.mark.short
def test_status_zones_and_stats(resolver):
    resolver.dig("config.internal.smplkit.local")
    resolver.dig("nope.internal.smplkit.local", "+tcp")
    resolver.dig("config.internal.smplkit.local", source=PUBLIC)
    resolver.dig("big.internal.smplkit.local", "+ignore")
    stats = json.loads(control(resolver, "stats", "--json").stdout)
    views = {v["view"]: v for v in stats["views"]}
    assert views["vpc"]["udp"] == 2 and views["vpc"]["tcp"] == 1 and views["vpc"]["truncated"] == 1
    assert views["vpc"]["rcodes"] == {"NOERROR": 2, "NXDOMAIN": 1}
    assert views["world"]["rcodes"] == {"REFUSED": 1}
    assert stats["all"]["udp"] == 3
    text = control(resolver, "stats").stdout
    assert "vpc" in text and "NXDOMAIN 1" in text and "(no view)" in text
    zones = json.loads(control(resolver, "zones", "--json").stdout)["zones"]
    assert [z["name"] for z in zones] == ["internal.smplkit.local", "smplkit.com@vpc", "smplkit.com@world"]
    assert [z["queries"] for z in zones] == [3, 0, 0]
    assert control(resolver, "reload").returncode == 0
    assert json.loads(control(resolver, "zones", "--json").stdout)["zones"][0]["queries"] == 3
    assert zones[0]["views"] == ["vpc"] and zones[0]["serial"] == 1 and zones[2]["origin"] == "smplkit.com."
    assert "smplkit.com@world" in control(resolver, "zones").stdout
    status = json.loads(control(resolver, "status", "--json").stdout)
    assert status["pid"] == resolver.program.pid and status["data"]["zones"] == 3
    assert (
        f"dns listener   {resolver.server}:{resolver.port}, views vpc, world"
        in control(resolver, "status").stdout
    )
    assert resolver.command("status", "--socket", resolver.socket).returncode == 0


def test_control_socket_refuses_what_it_does_not_know(resolver):
    assert os.stat(resolver.socket).st_mode & 0o777 == 0o660
    for line in (b'{"cmd": "flush"}\n', b'{"cmd": 5}\n', b"{}\n", b"nonsense\n", b'"x"\n'):
        reply = json.loads(replies_of(resolver.socket, line))
        assert reply["ok"] is False and reply["error"]
    assert control(resolver, "status").returncode == 0


@pytest.mark.short
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_cleanly(resolver, number):
    resolver.program.signal(number)
    assert resolver.program.wait() == 0
    assert not resolver.socket.exists()
    assert not kit.port_open(resolver.server, resolver.port)


@pytest.mark.short
def test_kill_9_and_restart_serves_again(spawn, work):
    r = Resolver(spawn, work).start()
    with r.tcp(PRIVATE) as s:
        q = query("config.internal.smplkit.local", 1)
        s.sendall(struct.pack(">H", len(q)) + q)
        assert s.recv(10)
        r.program.kill9()
        assert r.socket.exists()
        r.start()
        assert r.dig("config.internal.smplkit.local", "+short") == "127.10.1.11"
        assert r.dig("config.internal.smplkit.local", "+short", "+tcp") == "127.10.1.11"


def test_idle_connections_give_way_when_descriptors_run_out(spawn, work):
    r = Resolver(spawn, work)
    r.write_config(more="workers: 1\n")
    r.program = spawn(
        kit.tool("prlimit"), "--nofile=200:200", kit.binary("smpl-resolver"), "-c", r.config
    ).wait_ready()
    held = []
    try:
        for i in range(300):
            held.append(r.tcp(PRIVATE))
            if i % 50 == 49:
                assert r.dig("config.internal.smplkit.local", "+short", "+tcp") == "127.10.1.11"
        count = json.loads(control(r, "status", "--json").stdout)["tcp_connections"]
        assert 16 <= count <= 72, "200 descriptors, 128 of them kept back"
        # the oldest had to go, the newest is served
        held[0].settimeout(kit.PATIENCE)
        assert held[0].recv(1) == b""
        q = query("config.internal.smplkit.local", 1)
        held[-1].sendall(struct.pack(">H", len(q)) + q)
        assert rcode(held[-1].recv(4096)[2:]) == 0
    finally:
        for s in held:
            s.close()


def test_unfinished_queries_of_one_network_close_nobody_else(spawn, work):
    """One /24 fills the 64 MiB of both workers to the last byte; neighbours whose queries come in two
    segments are answered."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    r = Resolver(spawn, work)
    r.write_config(more="workers: 2\n")
    r.start()
    message = query("config.internal.smplkit.local", 1)
    framed = struct.pack(">H", len(message)) + message
    held = []

    def dial(source):
        return socket.create_connection((r.server, r.port), timeout=kit.PATIENCE, source_address=(source, 0))

    def grab(count, size):
        for i in range(count):
            held.append(dial(f"127.41.8.{i % 200 + 1}"))
            try:
                held[-1].sendall(b"\xff\xff" + bytes(size - 2))
            except OSError:
                pass  # it gave way

    def connections():
        return json.loads(control(r, "status", "--json").stdout)["tcp_connections"]

    grab(1400, 60000)  # 80 MiB
    kit.wait_until(lambda: connections() < 1200, "the memory is full")
    for size in (500, 20, 3):
        grab(150, size)
    neighbours = [dial(f"127.10.{i}.9") for i in range(10)]
    for s in neighbours:
        s.sendall(framed[:7])
    grab(50, 60000)
    for s in neighbours:
        s.sendall(framed[7:])
        assert rcode(s.recv(4096)[2:]) == 0
    for s in neighbours + held:
        s.close()


@pytest.mark.parametrize("count", [2000, pytest.param(10000, marks=pytest.mark.full)])
def test_thousands_of_idle_connections_cost_little(resolver, count):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(count, hard - 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 200), hard))
    before = resolver.rss_mb()
    held = []
    try:
        for _ in range(count):
            held.append(resolver.tcp(PRIVATE))
        assert resolver.dig("config.internal.smplkit.local", "+short", "+tcp") == "127.10.1.11"
        assert resolver.dig("config.internal.smplkit.local", "+short") == "127.10.1.11"
        status = json.loads(control(resolver, "status", "--json").stdout)
        assert count <= status["tcp_connections"] <= count + 1
        if not kit.SANITIZED:
            assert resolver.rss_mb() < before + 4
    finally:
        for s in held:
            s.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_example_configuration_runs(work):
    example = kit.ROOT / "resolver" / "example" / "resolver.yaml"
    done = kit.run(kit.binary("smpl-resolver"), "check", "-c", example)
    assert done.returncode == 0, done.stderr
    assert "zone internal.smplkit.local:" in done.stdout and "warning" not in done.stdout


def test_hot_path_makes_no_other_system_calls(resolver):
    """Under load a worker only waits and moves batches: counted by strace, allocations seen as brk or
    mmap."""
    strace = shutil.which("strace")
    if strace is None or os.geteuid() != 0:
        pytest.skip("needs strace and root: the program may not be traced by its own user")
    log = resolver.work / "strace"
    tracer = kit.Program([strace, "-f", "-o", str(log), "-p", str(resolver.program.pid)])
    try:
        tracer.wait_line("attached")
        session = resolver.session(PRIVATE, False)
        for i in range(200):
            session.ask(query(f"x{i}.wild.internal.smplkit.local", 1))
    finally:
        tracer.signal(signal.SIGINT)
        tracer.wait()
    by_thread, begun = {}, set()  # a worker may be traced before it has begun to wait
    for line in log.read_text().splitlines():
        thread, text = line.split(None, 1)
        if text.startswith(("epoll_wait(", "epoll_pwait(", "recvmmsg(")):
            begun.add(thread)
        if thread in begun and "(" in text and not text.startswith(("<", "---", "+++")):
            by_thread.setdefault(thread, set()).add(text.split("(")[0])
    workers = [calls for calls in by_thread.values() if "recvmmsg" in calls]
    assert workers
    calls = set().union(*workers)
    assert calls <= {"recvmmsg", "sendmmsg", "epoll_wait", "epoll_pwait", "restart_syscall"}, calls
