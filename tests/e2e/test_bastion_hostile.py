# SPDX-License-Identifier: Apache-2.0
"""What an attacker sends to smpl-bastion: bytes that are no SSH, packets of every bad shape, floods of what
is allowed. Each is ended or bounded, and the next developer signs in as if nothing had been."""

import os
import re
import socket
import struct
import threading
import time
from pathlib import Path

import pytest

import kit
from bastion_world import BASTION, WEB, World

paramiko = pytest.importorskip("paramiko", reason="python3-paramiko is not installed")
from paramiko import common  # noqa: E402
from ssh_client import Client, Target, Wire, echo  # noqa: E402

GRACE = kit.ample(1)  # long enough for whoever signs in
LIMITS = f"login_grace: {GRACE}s, startups: '200:30:200', startups_per_source: 200, sessions_per_user: 64"


@pytest.fixture
def world(work, spawn):
    w = World(work, spawn, start=False)
    w.write(limits=LIMITS)
    w.start()
    yield w
    w.close()


def memory_kb(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])


def cpu_ms(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1000 // os.sysconf("SC_CLK_TCK")


def still_of_use(w):
    """The broker lives, has nobody of the attack left, and lets the developer in."""
    kit.wait_until(lambda: w.status()["connections"] == 0, "the attack's connections are gone")
    assert w.ssh("-W", f"config.internal:{w.port}").returncode == 0
    kit.wait_until(lambda: w.status()["connections"] == 0, "the session has ended")
    w.check_chain()


def connect(w, hello=b"SSH-2.0-attack\r\n"):
    s = socket.create_connection((BASTION, w.ssh_port))
    s.settimeout(kit.PATIENCE)
    s.sendall(hello)
    return s


def packet(payload, length=None):
    """A packet of before the keys (RFC 4253 §6); length overrides what stands in front."""
    padding = 8 - (5 + len(payload)) % 8
    padding += 8 if padding < 4 else 0
    return (
        struct.pack(">IB", 1 + len(payload) + padding if length is None else length, padding)
        + payload
        + bytes(padding)
    )


def text(data):
    return struct.pack(">I", len(data)) + data


def kexinit(
    kex=b"curve25519-sha256",
    host=b"ssh-ed25519",
    cipher=b"aes128-ctr",
    mac=b"hmac-sha2-256-etm@openssh.com",
    follows=0,
):
    lists = [kex, host, cipher, cipher, mac, mac, b"none", b"none", b"", b""]
    return b"\x14" + os.urandom(16) + b"".join(text(one) for one in lists) + bytes([follows]) + bytes(4)


STRICT = b"curve25519-sha256,kex-strict-c-v00@openssh.com"
BEFORE_THE_KEYS = {
    "no line's end": [b"x" * 100_000],
    "a line of another protocol": [b"GET / HTTP/1.1\r\nHost: bastion\r\n\r\n"],
    "another version": [b"SSH-1.5-old\r\n"],
    "a version without end": [b"SSH-2.0-" + b"v" * 100_000],
    "zeroes": [b"SSH-2.0-x\r\n", bytes(100_000)],
    "ones": [b"SSH-2.0-x\r\n", b"\xff" * 100_000],
    "noise": [b"SSH-2.0-x\r\n", os.urandom(100_000)],
    "a length of four gigabytes": [b"SSH-2.0-x\r\n", packet(kexinit(), 0xFFFFFFFF)],
    "a length just too long": [b"SSH-2.0-x\r\n", packet(kexinit(), 0x00FFFFFF), bytes(100_000)],
    "a length of nothing": [b"SSH-2.0-x\r\n", packet(b"", 0)],
    "padding longer than the packet": [b"SSH-2.0-x\r\n", struct.pack(">IB", 12, 255) + bytes(11)],
    "an empty payload": [b"SSH-2.0-x\r\n", packet(b"")],
    "lists that claim more than there is": [
        b"SSH-2.0-x\r\n",
        packet(b"\x14" + bytes(16) + struct.pack(">I", 0x7FFFFFFF) + b"curve"),
    ],
    "lists of a hundred kilobytes": [
        b"SSH-2.0-x\r\n",
        packet(kexinit(kex=b"a," * 15_000 + b"curve25519-sha256")),
    ],
    "nothing in common": [b"SSH-2.0-x\r\n", packet(kexinit(kex=b"none"))],
    "names with NULs and commas": [b"SSH-2.0-x\r\n", packet(kexinit(kex=b",,,\0,curve25519-sha256\0"))],
    "keys used before they are agreed": [b"SSH-2.0-x\r\n", packet(b"\x15")],
    "a login before the keys": [
        b"SSH-2.0-x\r\n",
        packet(b"\x32" + text(b"dev") + text(b"ssh-connection") + text(b"none")),
    ],
    "a channel before the keys": [b"SSH-2.0-x\r\n", packet(b"\x5a" + text(b"session") + bytes(12))],
    "the server's own answer": [
        b"SSH-2.0-x\r\n",
        packet(kexinit()),
        packet(b"\x1f" + text(b"key") + text(b"f") + text(b"sig")),
    ],
    "a point of small order": [b"SSH-2.0-x\r\n", packet(kexinit()), packet(b"\x1e" + text(bytes(32)))],
    "a point too short": [b"SSH-2.0-x\r\n", packet(kexinit()), packet(b"\x1e" + text(b"x"))],
    "a point too long": [b"SSH-2.0-x\r\n", packet(kexinit()), packet(b"\x1e" + text(b"x" * 30_000))],
    "an exponent of nothing": [
        b"SSH-2.0-x\r\n",
        packet(kexinit(kex=b"diffie-hellman-group16-sha512")),
        packet(b"\x1e" + text(b"")),
    ],
    "an exponent below zero": [
        b"SSH-2.0-x\r\n",
        packet(kexinit(kex=b"diffie-hellman-group16-sha512")),
        packet(b"\x1e" + text(b"\xff" * 512)),
    ],
    "an exponent of one": [
        b"SSH-2.0-x\r\n",
        packet(kexinit(kex=b"diffie-hellman-group16-sha512")),
        packet(b"\x1e" + text(b"\x01")),
    ],
    "an exponent too long": [
        b"SSH-2.0-x\r\n",
        packet(kexinit(kex=b"diffie-hellman-group16-sha512")),
        packet(b"\x1e" + text(b"\x01" + bytes(20_000))),
    ],
    "a message between, under strict rules": [
        b"SSH-2.0-x\r\n",
        packet(b"\x02" + text(b"ignored")),
        packet(kexinit(kex=STRICT)),
    ],
    "a wrong guess, then silence": [
        b"SSH-2.0-x\r\n",
        packet(kexinit(kex=b"ecdh-sha2-nistp256,curve25519-sha256", follows=1)),
    ],
    "two beginnings": [b"SSH-2.0-x\r\n", packet(kexinit()), packet(kexinit())],
    "types that nobody has": [b"SSH-2.0-x\r\n"] + [packet(bytes([t])) for t in range(192, 256)],
}


@pytest.mark.short
def test_what_is_no_ssh_ends_its_connection_alone(world):
    """All at once; each is ended at once or by the grace time."""
    w, ended = world, {}

    def attack(name):
        with socket.create_connection((BASTION, w.ssh_port)) as s:
            s.settimeout(kit.PATIENCE)
            try:
                for part in BEFORE_THE_KEYS[name]:
                    s.sendall(part)
            except (BrokenPipeError, ConnectionResetError):
                pass
            kit.recv_all(s)
        ended[name] = True

    threads = [threading.Thread(target=attack, args=(name,)) for name in BEFORE_THE_KEYS]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not set(BEFORE_THE_KEYS) - set(ended)
    assert not w.records("session-start")
    for r in w.records("login-failed"):
        assert r["reason"] in ("login-grace", "protocol-error"), r
    still_of_use(w)


def test_a_greeting_that_drips_is_ended_by_the_grace_time(world):
    w = world
    began = time.monotonic()
    s = socket.create_connection((BASTION, w.ssh_port))
    try:
        while True:
            s.sendall(b"S")
            time.sleep(GRACE / 20)  # or the greeting would be too long before
            assert time.monotonic() - began < kit.PATIENCE
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert time.monotonic() - began > 0.9 * GRACE
    assert w.wait_record("login-failed")["reason"] in ("login-grace", "protocol-error")
    still_of_use(w)


def test_a_flood_before_the_keys_costs_bounded_memory(world):
    """Messages that are to be ignored, without end, within the grace time."""
    w = world
    s = connect(w)
    ignore = packet(b"\x02" + text(bytes(30_000)))
    began, worst = time.monotonic(), 0
    try:
        while time.monotonic() - began < kit.PATIENCE:
            for _ in range(20):
                s.sendall(ignore)
            for pid in kit.children(w.bastion.pid):
                try:
                    worst = max(worst, memory_kb(pid))
                except (OSError, TypeError):
                    pass
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert time.monotonic() - began < kit.PATIENCE
    assert worst < (30_000 if not kit.SANITIZED else 600_000)
    still_of_use(w)


def unsigned_in(w):
    """A transport with its keys, before the login."""
    t = paramiko.Transport(Wire(w.ssh_port))
    t.banner_timeout = t.handshake_timeout = kit.PATIENCE
    t.start_client(timeout=kit.PATIENCE)
    return t


def message(*parts):
    m = paramiko.Message()
    for part in parts:
        if isinstance(part, bytes):
            m.add_bytes(part)
        elif isinstance(part, str):
            m.add_string(part)
        elif isinstance(part, bool):
            m.add_boolean(part)
        else:
            m.add_int(part)
    return m


def flood(transport, make, count):
    """Sends count messages, as far as they are taken; returns how many."""
    sent = 0
    try:
        for i in range(count):
            transport._send_message(make(i))
            sent += 1
            if not transport.is_active():
                break
    except (OSError, EOFError, paramiko.SSHException):
        pass
    return sent


ED25519 = text(b"ssh-ed25519") + text(b"k" * 32)
BEFORE_THE_LOGIN = {
    "channels": lambda i: message(b"\x5a", "direct-tcpip", i, 1 << 20, 1 << 15, WEB, 80, "x", 1),
    "global requests": lambda i: message(b"\x50", "tcpip-forward", True, "0.0.0.0", 0),
    "channel data": lambda i: message(b"\x5e", 0, "x" * 30_000),
    "logins without a service": lambda i: message(b"\x32", "dev", "ssh-connection", "none"),
    "services that nobody has": lambda i: message(b"\x05", "ssh-nothing"),
    "users by the hundred": lambda i: message(
        b"\x32", f"user{i}", "ssh-connection", "publickey", False, "ssh-ed25519", text(ED25519)
    ),
    "names of a hundred kilobytes": lambda i: message(
        b"\x32", "u" * 100_000, "ssh-connection", "publickey", False, "ssh-ed25519", text(ED25519)
    ),
    "keys that are no keys": lambda i: message(
        b"\x32", "dev", "ssh-connection", "publickey", False, "ssh-ed25519", text(os.urandom(200))
    ),
    "signatures that are none": lambda i: message(
        b"\x32",
        "dev",
        "ssh-connection",
        "publickey",
        True,
        "ssh-ed25519",
        text(ED25519),
        text(os.urandom(80)),
    ),
    "methods that nobody has": lambda i: message(b"\x32", "dev", "ssh-connection", "wishing", "x"),
    "passwords": lambda i: message(b"\x32", "dev", "ssh-connection", "password", False, "secret"),
    "another protocol's service": lambda i: message(b"\x32", "dev", "ssh-nothing", "none"),
    "the answer to itself": lambda i: message(b"\x34"),
    "messages cut short": lambda i: message(b"\x32", b"\0\0\0\xffdev"),
}


@pytest.mark.short
def test_floods_before_the_login_are_bounded_and_let_nobody_in(world):
    w, ended, few = world, {}, threading.Semaphore(4)

    def with_keys():
        with few:  # more at once would not be done within the grace time
            return unsigned_in(w)

    def attack(name):
        t = with_keys()
        if "service" not in name:
            t._send_message(message(b"\x05", "ssh-userauth"))
        flood(t, BEFORE_THE_LOGIN[name], 3000)
        kit.wait_until(lambda: not t.is_active(), "it is ended, by the grace time at the latest")
        t.close()
        ended[name] = True

    threads = [threading.Thread(target=attack, args=(name,)) for name in BEFORE_THE_LOGIN]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not set(BEFORE_THE_LOGIN) - set(ended)
    assert not w.records("session-start")
    still_of_use(w)
    assert len(w.audit()) < 400


# --- signed in ---


def worker_of(w):
    return kit.wait_until(lambda: [s["pid"] for s in w.sessions()], "the session")[0]


ODD_MESSAGES = {
    "data for nobody": lambda c: message(b"\x5e", 4711, "x" * 1000),
    "window for nobody": lambda c: message(b"\x5d", 4711, 0xFFFFFFFF),
    "end for nobody": lambda c: message(b"\x60", 4711),
    "close for nobody": lambda c: message(b"\x61", 4711),
    "request for nobody": lambda c: message(b"\x62", 4711, "shell", True),
    "window beyond 32 bits": lambda c: message(b"\x5d", c.remote_chanid, 0xFFFFFFFF),
    "data cut short": lambda c: message(b"\x5e", c.remote_chanid, b"\x7f\xff\xff\xffx"),
    "data on another stream": lambda c: message(b"\x5f", c.remote_chanid, 1, "x" * 100),
    "a success that was not asked for": lambda c: message(b"\x63", c.remote_chanid),
    "an opening that was not asked for": lambda c: message(b"\x5b", c.remote_chanid, 5, 5, 5),
    "a channel of no kind": lambda c: message(b"\x5a", "", 9, 1, 1),
    "a target of NULs": lambda c: message(b"\x5a", "direct-tcpip", 9, 1 << 20, 1 << 15, "a\0b", 80, "x", 1),
    "a target of escapes": lambda c: message(
        b"\x5a", "direct-tcpip", 9, 1 << 20, 1 << 15, '\x1b[31m\r\n{"event":1}\n', 80, "\n\x00\x1b", 1
    ),
    "a target of sixty kilobytes": lambda c: message(
        b"\x5a", "direct-tcpip", 9, 1 << 20, 1 << 15, "a" * 60_000, 80, "b" * 60_000, 1
    ),
    "a port beyond 16 bits": lambda c: message(
        b"\x5a", "direct-tcpip", 9, 1 << 20, 1 << 15, WEB, 0x10000 + 80, "x", 1
    ),
    "a target cut short": lambda c: message(
        b"\x5a", "direct-tcpip", 9, 1 << 20, 1 << 15, b"\xff\xff\xff\xff"
    ),
    "a second service": lambda c: message(b"\x05", "ssh-userauth"),
    "a second login": lambda c: message(b"\x32", "root", "ssh-connection", "none"),
    "types that nobody has": lambda c: message(b"\xf0", "x"),
    "a debug message": lambda c: message(b"\x04", True, "\x1b[2J", ""),
}


@pytest.mark.short
def test_odd_messages_of_one_session_are_its_own_trouble(world):
    w = world
    target = Target(WEB, echo)
    w.write(limits=LIMITS, grants=f"  - {{users: [dev], targets: ['{WEB}:*'], networks: [127.42.0.0/16]}}\n")
    w.command("reload")
    with Client(w) as other:
        kept = other.open(WEB, target.port)
        for name, odd in ODD_MESSAGES.items():
            with Client(w) as client:
                channel = client.open(WEB, target.port)
                flood(client.transport, lambda i: odd(channel), 200)
                for _ in range(5):
                    kept.sendall(b"ping")
                    assert kept.recv(4) == b"ping", name
    target.close()
    kit.wait_until(lambda: w.sessions() == [], "all have ended")
    for line in (w.work / "audit.jsonl").read_bytes().splitlines():
        assert all(b >= 0x20 for b in line)  # what others chose is escaped
    assert {r["reason"] for r in w.records("session-end")} <= {
        "client-closed",
        "client-vanished",
        "protocol-error",
    }
    w.check_chain()
    w.check_ends()


def test_data_after_the_close_of_a_channel_is_nobodys(world):
    w = world
    target = Target(WEB, echo)
    w.write(limits=LIMITS, grants=f"  - {{users: [dev], targets: ['{WEB}:*'], networks: [127.42.0.0/16]}}\n")
    w.command("reload")
    with Client(w) as client:
        for _ in range(50):
            channel = client.open(WEB, target.port)
            number = channel.remote_chanid
            for m in (
                message(b"\x60", number),
                message(b"\x61", number),
                message(b"\x5e", number, "x" * 1000),
                message(b"\x60", number),
                message(b"\x61", number),
                message(b"\x62", number, "shell", False),
            ):
                flood(client.transport, lambda i: m, 1)
        last = client.open(WEB, target.port)
        last.sendall(b"ping")
        assert last.recv(4) == b"ping"
    target.close()
    w.check_chain()


@pytest.mark.parametrize("most", [0, 1, 7])
def test_a_channel_that_takes_packets_of_next_to_nothing_spins_nobody(world, most):
    w = world
    target = Target(WEB, lambda c: [c.sendall(bytes(1 << 16)) for _ in range(1000)])
    w.write(limits=LIMITS, grants=f"  - {{users: [dev], targets: ['{WEB}:*'], networks: [127.42.0.0/16]}}\n")
    w.command("reload")
    with Client(w) as client, Client(w) as other:
        pid = worker_of(w)
        flood(
            client.transport,
            lambda i: message(b"\x5a", "direct-tcpip", 77, 1 << 30, most, WEB, target.port, "x", 1),
            1,
        )
        kit.wait_until(lambda: most == 0 or target.connections or not client.alive(), "the channel is open")
        other.open(WEB, target.port).close()
        assert w.status()["ok"]
        if most == 0:  # nothing can ever be sent
            kit.wait_still(lambda: kit.alive(pid) and cpu_ms(pid), "its worker comes to rest")
        w.command("terminate", "--user", "dev")
        kit.wait_until(lambda: w.sessions() == [], "they end whatever they do")
    target.close()


@pytest.mark.full
def test_answers_that_nobody_reads_are_bounded(world):
    """Requests are answered: a client that asks and asks and reads nothing must not fill the worker's memory
    with answers."""
    w = world
    with Client(w, receive_buffer=4096) as client:
        pid = worker_of(w)
        before, most = memory_kb(pid), [0]

        def watch():
            while kit.alive(pid):
                try:
                    most[0] = max(most[0], memory_kb(pid))
                except (OSError, TypeError):
                    return
                time.sleep(0.02)

        client.wire.deaf.set()
        watcher = threading.Thread(target=watch)
        watcher.start()
        ask = message(b"\x50", "keepalive@openssh.com", True)
        sent = flood(client.transport, lambda i: ask, 1_000_000)
        watcher.join(
            kit.PATIENCE
        )  # it may end before the worker has: one that is ending has no memory to tell of
        kit.wait_until(lambda: not kit.alive(pid), "the worker ends")
        assert sent < 1_000_000  # SSH_PUMP_UNSENT_MAX is 8 MB
        assert kit.SANITIZED or most[0] - before < 20_000, (before, most, sent)
    end = w.wait_record("session-end")
    # A client too slow to ask for 8 MB of answers in time is given up first, as one that takes no byte.
    assert end["reason"] == "client-vanished" or (
        end["reason"] == "protocol-error" and "does not read" in end["text"]
    )
    still_of_use(w)


def test_exchanges_of_keys_without_end_are_bounded(world):
    w = world
    target = Target(WEB, echo)
    w.write(limits=LIMITS, grants=f"  - {{users: [dev], targets: ['{WEB}:*'], networks: [127.42.0.0/16]}}\n")
    w.command("reload")
    with Client(w) as client, Client(w) as other:
        kept = other.open(WEB, target.port)
        done = 0
        try:
            for _ in range(50):
                client.transport.renegotiate_keys()
                done += 1
        except (OSError, EOFError, paramiko.SSHException):
            pass
        for _ in range(5):
            kept.sendall(b"ping")
            assert kept.recv(4) == b"ping"
        assert done >= 1
    target.close()
    assert w.bastion.stderr.count("a host signature was not given") <= 1
    w.check_chain()


# --- smpl-control and the control socket ---

BAD_LINES = {
    "a line without end": b"x" * 200_000,
    "nesting": b"[" * 8000 + b"\n",
    "nesting of objects": b'{"a":' * 3000 + b"\n",
    "a number of a thousand digits": b'{"cmd":"whoami","id":' + b"9" * 1000 + b"}\n",
    "bytes that are no UTF-8": b'{"cmd":"\xff\xfe"}\n',
    "NULs": b'{"cmd":"whoami"\0}\n',
    "nothing but ends of lines": b"\n" * 100_000,
    "half a pair": b'{"cmd":"\\ud800"}\n',
    "keys without end": b"{" + b",".join(b'"%d":1' % i for i in range(1500)) + b"}\n",
    "a target of control characters": b'{"cmd":"why","target":"\\u001b[31m\\n"}\n',
    "a port of another world": b'{"cmd":"resolve","target":"config.internal","port":1e999}\n',
    "an id of sixteen kilobytes": b'{"cmd":"whoami","id":"' + b"x" * 16_000 + b'"}\n',
}


@pytest.mark.short
def test_smpl_control_survives_what_is_no_question(world):
    w = world
    for name, line in BAD_LINES.items():
        with Client(w) as client:
            channel = client.transport.open_session()
            channel.invoke_subsystem("smpl-control")
            channel.settimeout(0.3)
            try:
                for _ in range(20):
                    channel.sendall(line)
                while channel.recv(65536):
                    pass
            except (OSError, socket.timeout):
                pass
            assert client.alive(), name
            again = client.transport.open_session()
            again.invoke_subsystem("smpl-control")
            again.settimeout(kit.PATIENCE)
            again.sendall(b'{"cmd":"whoami"}\n')
            assert b'"dev"' in again.recv(65536), name
    still_of_use(w)


@pytest.mark.short
def test_the_control_socket_survives_whoever_may_open_it(world):
    w = world
    path = str(w.work / "bastion.sock")

    def opened():
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(2)
        s.connect(path)
        return s

    held = []
    try:
        for _ in range(300):
            held.append(opened())
    except OSError:
        pass  # full
    for data in [
        b"\n",
        b"{}\n",
        b"[]\n",
        b"\xff" * 5000 + b"\n",
        b'{"cmd":' * 3000 + b"\n",
        b"x" * 1_000_000,
        b'{"cmd":"terminate"}\n',
        b'{"cmd":"terminate","id":"*"}\n',
        b'{"cmd":"sessions","json":[1]}\n',
        b'{"cmd":"status"}',
    ]:
        try:
            s = opened()
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            kit.recv_all(s)
            s.close()
        except OSError:
            pass
    assert w.ssh("-W", f"config.internal:{w.port}").returncode == 0  # developers do not care
    for s in held:
        s.close()
    kit.wait_until(
        lambda: kit.run(kit.binary("smpl-bastion"), "status", "-c", "bastion.yaml", cwd=w.work).returncode
        == 0,
        "the socket is of use again",
    )
    still_of_use(w)


# --- a developer who attacks: signed in, granted one name ---

GRANTED = [
    "config.internal",
    "CONFIG.Internal",
    "config.internal.smplkit.local",
    "Config.Internal.SMPLKIT.local.",
]
NOT_GRANTED = [
    "config.internal.smplkit.local..",
    "config.internal.",
    "config..internal",
    ".config.internal",
    "config.internal%2e",
    "config%2einternal",
    "%63onfig.internal",
    "config.internal ",
    " config.internal",
    "config.internal\n",
    "config.internal\\.smplkit.local",
    "config.internal/x",
    "config.internal:80",
    "user@config.internal",
    "[config.internal]",
    "c\u043enfig.internal",
    "config\uff0einternal",
    "xn--cnfig-ynf.internal",
    "config.internal.smplkit.local.evil.example",
    "*.internal",
    "a" * 64 + ".internal",
    "a" * 255,
    "a" * 256,
    "a." * 127 + "a",
    "a" * 5000,
    "",
    ".",
    WEB,
    WEB + ".",
    "2133459211",
    "0x7f2a010b",
    "0177.052.01.013",
    "0x7f.42.1.11",
    "127.42.267",
    "127.042.001.011",
    "::ffff:" + WEB,
    "::ffff:7f2a:10b",
    "::" + WEB,
    "64:ff9b::7f2a:10b",
    "2002:7f2a:10b::",
    "::1",
    "[::1]",
    "fe80::1%lo",
    "fe80::1%1",
    "localhost",
    "0",
    "0.0.0.0",
    "169.254.169.254",
    "255.255.255.255",
    "/run/bastion.sock",
    "file:///etc/passwd",
    "$(reboot)",
    "other.internal",
    "secret.smplkit.local.",
]


@pytest.fixture
def attacked(world):
    """dev may reach one name; others of dev's, with a connection each, see nothing of what is done to it."""
    w, target = world, Target(WEB, echo)
    w.write(
        limits=LIMITS,
        grants=f"  - {{users: [dev], targets: ['config.internal.smplkit.local:{target.port}'], networks: "
        f"[127.42.0.0/16]}}\n",
    )
    w.command("reload")
    w.target = target
    with Client(w) as other:
        kept = other.open("config.internal", target.port)
        yield w
        kept.sendall(b"ping")
        assert kept.recv(4) == b"ping"
    target.close()
    kit.wait_until(lambda: w.sessions() == [], "all have ended")
    w.check_chain()
    w.check_ends()


def test_a_target_is_the_granted_name_or_it_is_none(attacked):
    w = attacked
    with Client(w) as client:
        for host in GRANTED:
            channel = client.open(host, w.target.port)
            channel.sendall(b"ping")
            assert channel.recv(4) == b"ping", host
            channel.close()
        for host in NOT_GRANTED:
            with pytest.raises(paramiko.ChannelException):
                client.open(host, w.target.port)
        assert client.alive()
    longer = [
        host for host in NOT_GRANTED if host == "" or len(host) > 255
    ]  # refused by the worker, in a note
    assert w.status()["counts"]["channels_refused"] == len(NOT_GRANTED) - len(longer)
    assert {r["reason"] for r in w.records("channel-refused")} | {
        r["reason"] for r in w.records("refused")
    } <= {"not-granted", "bad-target"}
    assert {(r["name"], r["address"]) for r in w.records("channel-open")} == {
        ("config.internal.smplkit.local", f"{WEB}:{w.target.port}")
    }


CHANNELS = {
    "x11": ["127.0.0.1", 6000],
    "auth-agent@openssh.com": [],
    "forwarded-tcpip": [WEB, 80, "127.0.0.1", 1],
    "direct-streamlocal@openssh.com": ["/run/bastion.sock", "", 0],
    "forwarded-streamlocal@openssh.com": ["/x", ""],
    "tun@openssh.com": [1, 0],
    "direct-tcpip\0": [WEB, 80, "x", 1],
    "DIRECT-TCPIP": [WEB, 80, "x", 1],
}
GLOBALS = [
    "tcpip-forward",
    "cancel-tcpip-forward",
    "streamlocal-forward@openssh.com",
    "cancel-streamlocal-forward@openssh.com",
    "hostkeys-prove-00@openssh.com",
    "hostkeys-00@openssh.com",
    "no-more-sessions@openssh.com",
    "x" * 30_000,
    "",
]
# What only takes from the client; libssh grants it from 0.11 on.
HARMLESS = {"no-more-sessions@openssh.com"} if kit.libssh_version() >= "0.11" else set()
REQUESTS = {
    "pty-req": ["xterm", 80, 24, 0, 0, ""],
    "x11-req": [False, "MIT-MAGIC-COOKIE-1", "00", 0],
    "auth-agent-req@openssh.com": [],
    "env": ["LD_PRELOAD", "/x"],
    "shell": [],
    "exec": ["id"],
    "subsystem": ["sftp"],
    "signal": ["KILL"],
    "break": [1],
    "xon-xoff": [True],
    "window-change": [1, 1, 1, 1],
    "exit-status": [0],
    "exit-signal": ["KILL", False, "", ""],
    "x": [],
}


def answers(client, kinds):
    """wait(enough) -> types of the messages of these kinds, in order, once enough(types)."""
    seen, changed = [], threading.Condition()
    table = dict(client.transport._handler_table)

    def keep(kind):
        def handle(*_):  # paramiko 3 hands over the message alone, 2 the transport too
            with changed:
                seen.append(kind)
                changed.notify_all()

        return handle

    for kind in kinds:
        table[kind] = keep(kind)
    client.transport._handler_table = table

    def wait(enough):
        with changed:
            assert changed.wait_for(lambda: enough(seen), kit.PATIENCE), seen
            return list(seen)

    return wait


OPENED, FAILED, SUCCESS, FAILURE, GRANTED_REQUEST, REFUSED_REQUEST = 91, 92, 81, 82, 99, 100


def test_whatever_else_a_session_asks_for_is_refused(attacked):
    w = attacked
    with Client(w) as client:
        seen = answers(client, (OPENED, FAILED))
        for kind, more in CHANNELS.items():
            client.transport._send_message(message(b"\x5a", kind, 77, 1 << 20, 1 << 15, *more))
        assert set(seen(lambda got: len(got) == len(CHANNELS))) == {FAILED}
    for name in GLOBALS:
        with Client(w) as client:
            seen = answers(client, (SUCCESS, FAILURE))
            client.transport._send_message(message(b"\x50", name, True, "0.0.0.0", 0))
            assert seen(lambda got: len(got) == 1) == [SUCCESS if name in HARMLESS else FAILURE], name
    for kind, more in REQUESTS.items():
        with Client(w) as client:
            channel = client.transport.open_session()
            seen = answers(client, (GRANTED_REQUEST, REFUSED_REQUEST, FAILURE))
            client.transport._send_message(message(b"\x62", channel.remote_chanid, kind, True, *more))
            client.transport._send_message(
                message(b"\x50", "fence", True)
            )  # some requests are never answered, this one is
            assert [n for n in seen(lambda got: FAILURE in got) if n != FAILURE] in (
                [REFUSED_REQUEST],
                [],
            ), kind
    for what in (
        "x11 channel",
        "agent channel",
        "remote forwarding (tcpip-forward)",
        "shell",
        "exec id",
        "pty",
        "subsystem sftp",
        "env LD_PRELOAD",
    ):
        w.wait_record("refused", what=what)


def raw_open(client, number, window=1 << 20, packet=1 << 15):
    client.transport._send_message(
        message(
            b"\x5a", "direct-tcpip", number, window, packet, "config.internal", client.target_port, "x", 1
        )
    )


WINDOWS = {
    "no window, ever": lambda c: raw_open(c, 70, window=0),
    "no window, then all of it": lambda c: (
        raw_open(c, 70, window=0),
        time.sleep(0.2),
        [c.transport._send_message(message(b"\x5d", 0, 0xFFFFFFFF)) for _ in range(9)],
    ),
    "all of the window": lambda c: (
        raw_open(c, 70, window=0xFFFFFFFF, packet=0xFFFFFFFF),
        time.sleep(0.1),
        c.transport._send_message(message(b"\x5d", 0, 0xFFFFFFFF)),
        c.transport._send_message(message(b"\x5e", 0, "x" * 20_000)),
    ),
    "windows of a byte": lambda c: (
        raw_open(c, 70, window=1),
        [c.transport._send_message(message(b"\x5d", 0, 1)) for _ in range(2000)],
    ),
    "one number for many channels": lambda c: (
        [raw_open(c, 70) for _ in range(50)],
        time.sleep(0.1),
        [c.transport._send_message(message(b"\x5e", i, "x" * 1000)) for i in range(50)],
    ),
    "the highest number of all": lambda c: [raw_open(c, 0xFFFFFFFF) for _ in range(5)],
    "closed before it is open": lambda c: [
        (raw_open(c, 70 + i), c.transport._send_message(message(b"\x61", i))) for i in range(20)
    ],
    "exchanges of keys without end": lambda c: [
        c.transport._send_message(message(kexinit())) for _ in range(20)
    ],
    "an end of keys that never began": lambda c: c.transport._send_message(message(b"\x15")),
    "a disconnect of a hundred kilobytes": lambda c: c.transport._send_message(
        message(b"\x01", 11, "x" * 100_000, "")
    ),
}


def test_windows_and_numbers_of_channels_are_the_attackers_own_trouble(attacked):
    w = attacked
    for name, attack in WINDOWS.items():
        with Client(w) as client:
            client.target_port = w.target.port
            try:
                attack(client)
            except (OSError, EOFError, paramiko.SSHException):
                pass
            pids = [s["pid"] for s in w.sessions()]
            with Client(w) as other:
                channel = other.open("config.internal", w.target.port)
                channel.sendall(b"ping")
                assert channel.recv(4) == b"ping", name
            kit.wait_still(
                lambda: [kit.alive(pid) and cpu_ms(pid) for pid in pids],
                f"workers come to rest: {name}",
                still=0.3,
            )
    assert {r["reason"] for r in w.records("session-end")} <= {
        "client-closed",
        "client-vanished",
        "protocol-error",
    }


def test_a_user_is_who_signs_and_nobody_after_it(attacked):
    """Names change between the tries, and after the login."""
    w = attacked
    t = unsigned_in(w)
    key = paramiko.Ed25519Key.from_private_key_file(str(w.key))
    for user in ("root", "DEV", "dev ", "dev\0root", "../dev", ""):
        with pytest.raises(paramiko.AuthenticationException):
            t.auth_publickey(user, key)
        assert t.is_active(), user
    t.auth_publickey("dev", key)
    flood(
        t,
        lambda i: message(
            b"\x32",
            "root",
            "ssh-connection",
            "publickey",
            True,
            "ssh-ed25519",
            text(ED25519),
            text(os.urandom(80)),
        ),
        5,
    )
    t.close()
    assert {r["user"] for r in w.records("session-start")} == {"dev"}
    assert {"root", "DEV"} <= {r.get("user") for r in w.records("login-failed")}


def test_a_megabyte_of_greeting_costs_nothing_but_the_connection(attacked):
    w = attacked
    for greeting in (
        b"SSH-2.0-" + b"x" * (1 << 20) + b"\r\n",
        b"x" * (1 << 20) + b"\r\nSSH-2.0-x\r\n",
        b"line\r\n" * (1 << 17) + b"SSH-2.0-x\r\n",
    ):
        with socket.create_connection((BASTION, w.ssh_port)) as s:
            s.settimeout(kit.PATIENCE)
            try:
                s.sendall(greeting)
            except (BrokenPipeError, ConnectionResetError):
                pass
            assert len(kit.recv_all(s)) < 5000
