# SPDX-License-Identifier: Apache-2.0
"""A worker that has been taken over, before the login and after it: the product's own, behind its own walls,
doing what the attacker who is its client tells it. Whatever it tries is refused and on record, and others are
served as if nothing were."""

import concurrent.futures
import errno
import platform
import re
import socket
import struct
import subprocess
import time

import pytest

import kit

pytest.importorskip("paramiko", reason="python3-paramiko is not installed")
import fake_broker as fb  # noqa: E402
import paramiko  # noqa: E402
from fake_worker import opening  # noqa: E402
from rogue import GONE, Key, Rogue, RogueWorld, executable  # noqa: E402
from ssh_client import Client, Target, Wire, echo  # noqa: E402
from bastion_world import BASTION, WEB, World  # noqa: E402

STAGES = {"before the login": False, "after the login": True}
USERS = (
    "  - {name: dev, keys: dev.pub, groups: [developers]}\n"
    "  - {name: ops, keys: ops.pub, groups: [operators]}\n"
)
LIMITS = (
    "startups: '500:30:500', startups_per_source: 500, sessions_per_user: 500, drain: 1s, login_grace: 10m"
)


class Place:
    """One bastion of rogue workers for all tests, and a developer whose connection lasts through all of
    them."""

    def __init__(self, work, spawn, kind="filtered"):
        self.target = Target(WEB, echo)
        grants = f"""\
  - groups: [developers]
    targets: ["*.internal.smplkit.local:{self.target.port}", "{WEB}:{self.target.port}"]
    networks: [127.42.0.0/16]
  - {{groups: [operators], targets: ["127.42.1.12:{self.target.port}"], networks: [127.42.0.0/16]}}
"""
        self.world = RogueWorld(work, spawn, kind, grants=grants, users=USERS, limits=LIMITS)
        self.dev, self.stranger, self.ops = (Key(work / name) for name in ("dev", "stranger", "ops"))
        self.bystander = Client(self.world)
        self.kept = self.bystander.open(WEB, self.target.port)

    def check(self):
        """Others are served: those who are in, and those who come."""
        self.kept.sendall(b"ping")
        assert self.kept.recv(4) == b"ping"
        with Client(self.world) as client:
            channel = client.open("config.internal", self.target.port)
            channel.sendall(b"pong")
            assert channel.recv(4) == b"pong"

    def mark(self):
        return len(self.world.audit())

    def since(self, mark, **keys):
        return [r for r in self.world.audit()[mark:] if all(r.get(k) == v for k, v in keys.items())]

    def misbehaved(self, mark, count=1):
        """The records of so many ends of this kind."""

        def found():
            records = self.since(mark, reason="worker-misbehaved")
            return records if len(records) >= count else None

        return kit.wait_until(found, f"{count} breaches are on record: {self.since(mark)}")

    def close(self):
        self.bystander.close()
        self.world.close()
        self.target.close()


@pytest.fixture(scope="module")
def place(shared_work, shared_spawn):
    p = Place(shared_work, shared_spawn)
    yield p
    p.check()
    p.close()
    p.world.check_chain()


# --- the walls ---

SOCKADDR = (
    "#"
    + (
        struct.pack("=H", socket.AF_INET) + struct.pack(">H", 80) + socket.inet_aton("127.0.0.1") + bytes(8)
    ).hex()
)
AT_FDCWD, MSG_FASTOPEN, IPC = -100, 0x20000000, 0
CALLS = {  # of x86-64
    "open a file": (2, "@/etc/passwd", 0),
    "open a file by another call": (257, AT_FDCWD, "@/etc/passwd", 0),
    "make a file": (85, "@/tmp/x", 0o600),
    "look at a file": (4, "@/etc/passwd", 0),
    "read a descriptor": (0, 0, 0, 0),
    "write to standard error": (1, 2, "@x", 1),
    "make a socket": (41, socket.AF_INET, socket.SOCK_STREAM, 0),
    "make a local socket": (41, socket.AF_UNIX, socket.SOCK_STREAM, 0),
    "make a pair of sockets": (53, socket.AF_UNIX, socket.SOCK_STREAM, 0, "#" + "00" * 8),
    "connect its client's socket again": (42, 4, SOCKADDR, 16),
    "send to an address of its own choice": (44, 4, "@x", 1, MSG_FASTOPEN, SOCKADDR, 16),
    "pass messages on its client's socket": (46, 4, "#" + "00" * 56, 0),
    "accept": (43, 4, 0, 0),
    "execute": (59, "@/bin/sh", 0, 0),
    "execute a descriptor": (322, 4, "@", 0, 0, 0x1000),
    "fork": (57,),
    "clone": (56, 17, 0, 0, 0, 0),
    "clone by another call": (435, "#" + "00" * 88, 88),
    "trace its parent": (101, 16, "{parent}", 0, 0),
    "signal its parent": (62, "{parent}", 9),
    "read another's memory": (310, "{parent}", 0, 0, 0, 0, 0),
    "take another's descriptor": (438, 4, 0, 0),
    "make memory that can be executed": (9, 0, 4096, 7, 0x22, -1, 0),
    "make its memory executable": (10, 0, 4096, 7),
    "leave its root": (161, "@.."),
    "become root": (105, 0),
    "leave its namespace": (308, 4, 0),
    "make a namespace": (272, 0x10000000),
    "use a ring": (425, 8, "#" + "00" * 120),
    "call by the numbers of x32": (0x40000000 + 41, socket.AF_INET, socket.SOCK_STREAM, 0),
}


def attack(place, arguments, signed_in):
    with Rogue(place.world, signed_in) as w:
        parent = str(place.world.bastion.pid)
        assert w.call(*(parent if a == "{parent}" else a for a in arguments)) is GONE, arguments
        w.ended()
        return w.pid


@pytest.mark.walls
@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of system calls are x86-64's")
@pytest.mark.parametrize("stage", STAGES)
def test_a_system_call_that_a_worker_has_no_use_for_is_its_last_and_on_record(place, stage):
    mark = place.mark()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        pids = list(pool.map(lambda name: attack(place, CALLS[name], STAGES[stage]), CALLS))
    records = place.misbehaved(mark, len(CALLS))
    assert len(records) == len(CALLS)
    for r in records:
        assert r["event"] == ("session-end" if STAGES[stage] else "login-failed")
        assert r["text"] == "made a system call that it may not make"
    for pid in pids:
        kit.wait_until(lambda: not kit.alive(pid), "it is gone")
        assert f"(pid {pid}) was killed for a system call" in place.world.bastion.stderr
    place.check()


ALLOWED = {3, 7, 11, 12, 15, 25, 28, 39, 45, 48, 96, 202, 219, 228, 231, 318}
OF_THE_KERNEL = {
    335,
    336,
}  # uretprobe and uprobe: Linux lets them past any filter, and they do nothing where no probe is
NARROWED = {9, 44, 46, 47}  # by their arguments: mmap, sendto, sendmsg, recvmsg


@pytest.mark.full
@pytest.mark.walls
@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of system calls are x86-64's")
def test_there_is_no_other_system_call_left(place):
    """Each number that there is, of both tables, and some beyond."""
    numbers = [n for n in range(0, 480) if n not in ALLOWED | NARROWED | OF_THE_KERNEL] + [
        0x40000000 + n for n in range(0, 550, 7)
    ]
    mark = place.mark()
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: attack(place, (n, 0, 0, 0, 0, 0, 0), False), numbers))
    assert len(place.misbehaved(mark, len(numbers))) == len(numbers)
    place.check()


@pytest.mark.walls
def test_what_a_worker_may_call_gets_it_nowhere(place):
    """Its own memory is bounded, a granted connection stays the one it is, no descriptor is to be had by
    asking."""
    with Rogue(place.world, True) as w:
        channels = 256
        assert int(w.tell("eat")) < 192 + 3 * channels
        w.send(fb.OPEN, opening(WEB, place.target.port))
        assert w.receive()[0] == fb.OPENED and w.fd > 4
        assert w.call(44, w.fd, "@ping", 4, 0, 0, 0) == (4, 0)
        assert w.call(7, "#" + struct.pack("=ihh", w.fd, 1, 0).hex(), 1, 100_000) == (1, 0)  # the echo
        assert w.call(48, w.fd, 2) == (0, 0)  # shut down: what a worker does, and no way to connect anew
        assert w.call(44, w.fd, "@x", 1, 0, 0, 0)[1] == errno.EPIPE
        assert w.receive(50)[0] == "silence"
    place.check()


def address(host, port):
    return (
        "#"
        + (
            struct.pack("=H", socket.AF_INET) + struct.pack(">H", port) + socket.inet_aton(host) + bytes(8)
        ).hex()
    )


@pytest.mark.walls
@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of system calls are x86-64's")
def test_behind_the_filter_the_other_walls_stand_alone(work, spawn):
    """A worker whose filter was never loaded: no file, no process but its own, no network, no privileges."""
    p = Place(work, spawn, "unfiltered")
    if "own-uid" not in p.world.command("status").stdout:
        pytest.skip("without root the other walls are fewer")
    parent = p.world.bastion.pid
    with Rogue(p.world, True) as w:
        refused = lambda *call: (lambda rc, error: rc == -1 and errno.errorcode[error])(*w.call(*call))
        for path in ("/etc/passwd", "/proc/self/status", f"/proc/{parent}/mem", "/dev/null", "/", ".", ".."):
            assert refused(2, "@" + path, 0) in ("EACCES", "ENOENT", "ESRCH"), path
        for path in ("/x", "x", "/tmp/x"):
            assert refused(85, "@" + path, 0o600) in ("EACCES", "ENOENT", "ESRCH"), path
        assert refused(59, "@/bin/sh", 0, 0) in ("EACCES", "ENOENT", "ESRCH")
        assert refused(57) == refused(56, 17, 0, 0, 0, 0) == "EAGAIN"  # no process more
        for target, port in (
            (BASTION, p.world.ssh_port),
            (WEB, p.target.port),
            ("127.42.0.53", p.world.dns),
            ("127.0.0.1", 22),
        ):
            s, _ = w.call(41, socket.AF_INET, socket.SOCK_STREAM, 0)
            assert refused(42, s, address(target, port), 16) in ("ENETUNREACH", "EACCES")
            assert w.call(3, s) == (0, 0)
        s, _ = w.call(41, socket.AF_INET, socket.SOCK_DGRAM, 0)
        assert refused(44, s, "@x", 1, 0, address("127.42.0.53", p.world.dns), 16) == "ENETUNREACH"
        assert refused(42, 4, address(WEB, 22), 16) in ("EISCONN", "EACCES")
        assert refused(62, parent, 9) == refused(101, 16, parent, 0, 0) == "EPERM"
        local = "#" + struct.pack("=QQ", 0x400000, 8).hex()
        assert refused(310, parent, local, 1, local, 1, 0) == "EPERM"
        assert refused(105, 0) == refused(117, 0, 0, 0) == "EPERM"  # root
        for namespace in (0x10000000, 0x40000000, 0x00020000):
            assert refused(272, namespace) == "EPERM"
        assert refused(165, "@none", "@/", "@tmpfs", 0, 0) in ("EPERM", "EACCES")
        assert refused(161, "@..") in ("EPERM", "EACCES", "ESRCH")
    p.check()
    p.close()


# --- the contract ---

BREACHES = {  # by whether the user has signed in: what the worker says, and what the record says of it
    False: {
        "a user without a signature": (lambda p, w: w.login("dev", p.dev.blob), "no signature proves"),
        "a user by another session's signature": (lambda p, w: replay(p, w), "no signature proves"),
        "a user by a key that is not on file": (
            lambda p, w: claim(p, w, p.stranger, "dev"),
            "no signature proves",
        ),
        "a user by another user's key": (lambda p, w: claim(p, w, p.ops, "dev"), "no signature proves"),
        "another user than the one who signed": (
            lambda p, w: proven(p, w) and w.login("ops", p.dev.blob),
            "no signature proves",
        ),
        "another user and that one's key": (
            lambda p, w: proven(p, w) and w.login("ops", p.ops.blob),
            "no signature proves",
        ),
        "a user of the policy's making": (
            lambda p, w: proven(p, w) and w.login("root", p.dev.blob),
            "no signature proves",
        ),
        "a user twice": (
            lambda p, w: proven(p, w) and w.login("dev", p.dev.blob) and w.login("dev", p.dev.blob),
            "message 44 in state",
        ),
        "a user, then another": (
            lambda p, w: proven(p, w) and w.login("dev", p.dev.blob) and w.login("ops", p.ops.blob),
            "message 44 in state",
        ),
        "a signature that was good before a bad one": (
            lambda p, w: proven(p, w)
            and not w.verify(p.dev.request(w.session_hash), bytes(64))
            and w.login("dev", p.dev.blob),
            "no signature proves",
        ),
        "a second host signature": (lambda p, w: w.sign(b"x" * 32), "message 41 in state login"),
        "a second beginning": (lambda p, w: w.hello(), "message 40 in state login"),
        "a connection": (lambda p, w: w.open(WEB, p.target.port), "message 45 in state login"),
        "the end of a connection": (
            lambda p, w: w.traffic(1, 0, 0, kind=fb.CHANNEL_END),
            "message 46 in state login",
        ),
        "traffic": (lambda p, w: w.traffic(1, 5, 5), "message 47 in state login"),
        "a question": (lambda p, w: w.put(question(w, '{"cmd":"targets"}')), "message 48 in state login"),
        "probes without end": (
            lambda p, w: w.put(
                w.packet(fb.PROBE, fb.text("dev", 64) + fb.text("x", 128) + bytes(4) + bytes(2048))
            )
            and [w.login("dev", p.stranger.blob, kind=fb.PROBE) for _ in range(23)],
            "more keys than it may",
        ),
        "signatures without end": (
            lambda p, w: [w.verify(b"x", b"y") for _ in range(9)],
            "more signatures than it may",
        ),
    },
    True: {
        "another user": (lambda p, w: w.login("ops", p.ops.blob), "message 44 in state open"),
        "itself again": (lambda p, w: w.login("dev", p.dev.blob), "message 44 in state open"),
        "another user by a good signature": (
            lambda p, w: not w.verify(
                p.ops.request(w.session_hash, "ops"), p.ops.sign(p.ops.request(w.session_hash, "ops"))
            )
            and w.login("ops", p.ops.blob),
            "message 44 in state open",
        ),
        "a second beginning": (lambda p, w: w.hello(), "message 40 in state open"),
        "a signature of what is no exchange hash": (lambda p, w: w.sign(b"x" * 100), "no exchange hash"),
        "a signature by a key that is not there": (lambda p, w: w.sign(key=1), "no exchange hash"),
        "a connection that is not its own": (
            lambda p, w: w.traffic(1, 5, 5),
            "a connection that it does not have",
        ),
        "the end of a connection that is not its own": (
            lambda p, w: w.traffic(7, 0, 0, kind=fb.CHANNEL_END),
            "a connection that it does not have",
        ),
        "fewer bytes than before": (
            lambda p, w: opened(p, w) and w.traffic(1, 9, 9) or w.traffic(1, 8, 9),
            "counts backwards",
        ),
        "more bytes than there are": (
            lambda p, w: opened(p, w) and w.traffic(1, 1 << 63, 0),
            "more bytes than there can be",
        ),
        "traffic without end": (
            lambda p, w: opened(p, w) and flood(w, w.packet(fb.TRAFFIC, struct.pack("=IIQQ", 1, 0, 0, 0))),
            "floods the broker|no message of the contract",
        ),
        "keys without end, answers unread": (
            lambda p, w: w.put(w.packet(fb.PROBE), times=200_000),
            "floods the broker|does not read",
        ),
        "questions without end, answers unread": (
            lambda p, w: w.put(question(w, '{"cmd":"whoami"}'), times=200_000),
            "floods the broker|does not read",
        ),
        "connections without end, answers unread": (
            lambda p, w: w.put(w.packet(fb.OPEN, opening("not.granted.example.", 80)), times=200_000),
            "floods the broker|does not read",
        ),
    },
}
MALFORMED = {  # the same before the login and after it
    "nothing": lambda w: w.put(b""),
    "a byte": lambda w: w.put(b"x"),
    "a header alone": lambda w: w.put(w.packet(fb.NOTE)[:16]),
    "a byte too few": lambda w: w.put(w.packet(fb.NOTE)[:-1]),
    "a byte too many": lambda w: w.put(w.packet(fb.NOTE) + b"x"),
    "sixty kilobytes": lambda w: w.put(w.packet(fb.NOTE), size=60_000),
    "a hundred kilobytes": lambda w: w.put(w.packet(fb.NOTE), size=100_000),
    "version 0": lambda w: w.send(fb.NOTE, version=0),
    "version 2": lambda w: w.send(fb.NOTE, version=2),
    "the version in another order of bytes": lambda w: w.send(fb.NOTE, version=256),
    "a type of nobody": lambda w: w.put(fb.HEADER.pack(1, 51, 1, w.number)),
    "the last type of all": lambda w: w.put(fb.HEADER.pack(1, 65535, 1, w.number)),
    "a broker's message": lambda w: w.send(fb.WELCOME, bytes(512)),
    "a message to the template": lambda w: w.send(fb.KILL),
    "a message of the template": lambda w: w.send(fb.EXITED, bytes(8)),
    "a text without end": lambda w: w.send(fb.NOTE, bytes(4) + b"x" * 512),
    "a user without end": lambda w: w.send(fb.PROBE, b"x" * 64),
    "a key longer than its room": lambda w: w.send(fb.PROBE, bytes(64 + 128) + struct.pack("=I", 2049)),
    "a key of four gigabytes": lambda w: w.send(fb.PROBE, bytes(64 + 128) + struct.pack("=I", 0xFFFFFFFF)),
    "signed data longer than its room": lambda w: w.send(fb.VERIFY, struct.pack("=II", 64, 4097)),
    "a signature longer than its room": lambda w: w.send(fb.VERIFY, struct.pack("=II", 1537, 0)),
    "an exchange hash longer than its room": lambda w: w.send(fb.SIGN, struct.pack("=II", 0, 129)),
    "a port beyond 65535": lambda w: w.send(fb.OPEN, opening(WEB, 65_536 + 80)),
    "a question longer than it is": lambda w: w.put(
        fb.HEADER.pack(1, fb.CONTROL, 1, w.number) + struct.pack("=II", 1, 16_383) + b"{}\0"
    ),
    "a question without end": lambda w: w.put(
        fb.HEADER.pack(1, fb.CONTROL, 1, w.number) + struct.pack("=II", 1, 2) + b"{}}"
    ),
    "a descriptor": lambda w: w.send(fb.NOTE, fds=[0]),
    "a descriptor with its goodbye": lambda w: w.send(fb.BYE, struct.pack("=I", 1), fds=[0]),
    "two descriptors": lambda w: w.send(fb.NOTE, fds=[0] * 2),
    "a hundred descriptors": lambda w: w.send(fb.NOTE, fds=[0] * 100),
    "a broker's message with its descriptor": lambda w: w.send(fb.OPENED, bytes(4), fds=[0]),
}


def question(w, line):
    return (
        fb.HEADER.pack(1, fb.CONTROL, 5, w.number) + struct.pack("=II", 1, len(line)) + line.encode() + b"\0"
    )


def claim(p, w, key, user):
    """A good signature over this very session, by a key that is not this user's."""
    data = key.request(w.session_hash, user)
    assert not w.verify(data, key.sign(data))
    return w.login(user, key.blob)


def proven(p, w):
    """dev's signature over this very session."""
    data = p.dev.request(w.session_hash)
    assert w.verify(data, p.dev.sign(data))
    return True


def replay(p, w):
    """What opens one session opens no other one, whatever name the other gives itself."""
    with Rogue(p.world) as other:
        data = p.dev.request(other.session_hash)
        signature = p.dev.sign(data)
        assert not w.verify(data, signature)
        assert not w.verify(p.dev.request(w.session_hash), signature)
        assert other.verify(data, signature)  # there it is good
    return w.login("dev", p.dev.blob)


def opened(p, w):
    assert w.open(WEB, p.target.port)[0] == fb.OPENED
    return True


def flood(w, packet):
    """More than SESSION_MESSAGE_BURST and _PER_SECOND are its last; where the machine is too slow for that,
    it ends otherwise."""
    began, count = time.monotonic(), 100_000
    taken = w.put(packet, times=count)
    if taken is not GONE and int(taken) == count:
        assert time.monotonic() - began > (count - 20_000) / 20_000
        w.put(b"")


def breach(place, name, act, signed_in, what):
    """One session that misbehaves; its record."""
    print(name)  # seen if it fails
    with Rogue(place.world, signed_in) as w:
        session = (
            kit.wait_until(lambda: [s for s in place.world.sessions() if s["pid"] == w.pid], "it is there")[
                0
            ]["id"]
            if signed_in
            else None
        )
        act(w)
        w.ended()
        pid = w.pid
    kit.wait_until(lambda: not kit.alive(pid), "its process is gone")
    log = kit.wait_until(
        lambda: re.findall(
            rf"session (\w+): its worker \(pid {pid}\) broke its contract: (.*)", place.world.bastion.stderr
        ),
        "the log says it",
    )
    assert len(log) == 1 and re.search(what, log[0][1]), log
    assert session in (None, log[0][0])
    (record,) = kit.wait_until(
        lambda: place.since(0, session=log[0][0], reason="worker-misbehaved"), "it is on record"
    )
    assert record["event"] == (
        "session-end" if signed_in or "user" in record else "login-failed"
    ) and re.search(what, record["text"]), record
    return record


@pytest.mark.short
@pytest.mark.parametrize("stage", STAGES)
def test_a_claim_that_is_not_proven_is_the_workers_last_and_on_record(place, stage):
    breaches = BREACHES[STAGES[stage]]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda name: breach(
                    place, name, lambda w: breaches[name][0](place, w), STAGES[stage], breaches[name][1]
                ),
                breaches,
            )
        )
    place.check()
    assert not place.since(0, event="session-start", user="ops") and not place.since(
        0, event="session-start", user="root"
    )


@pytest.mark.short
@pytest.mark.parametrize("stage", STAGES)
def test_what_is_no_message_is_the_workers_last_and_on_record(place, stage):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda name: breach(
                    place, name, MALFORMED[name], STAGES[stage], "no message of the contract"
                ),
                MALFORMED,
            )
        )
    place.check()


# --- what is answered with a no, and goes on record too ---


def test_what_is_not_granted_is_refused_whoever_asks_and_is_on_record(place):
    asked = [
        ("127.0.0.1", 22),
        ("localhost", 22),
        ("www.example.com.", 80),
        (WEB, 22),
        (WEB, 0),
        ("127.42.1.12", place.target.port),
        ("127.42.0.53", place.world.dns),
        (BASTION, place.world.ssh_port),
        ("", 80),
        ("\x01\x1b[2J", 80),
        ("config.internal", 22),
        ("secret.smplkit.local.", place.target.port),
        ("a" * 255, 80),
        ("0x7f.1", 80),
        ("127.1", 80),
        ("::ffff:127.0.0.1", 22),
        ("[::1]", 22),
        ("169.254.169.254", 80),
    ]
    mark = place.mark()
    with Rogue(place.world, True, source="127.42.9.10") as w:  # each source has a budget of records
        (session,) = [s["id"] for s in place.world.sessions() if s["pid"] == w.pid]
        for host, port in asked:
            kind, body = w.open(host, port)
            assert kind == fb.REFUSED and w.fd == -1, (host, port)
        records = kit.wait_until(
            lambda: len(place.since(mark, session=session, event="channel-refused")) == len(asked)
            and place.since(mark, session=session, event="channel-refused"),
            "all are on record",
        )
    assert {r["reason"] for r in records} <= {"not-granted", "port-not-granted", "bad-target"}
    assert not place.since(mark, session=session, event="channel-open")
    place.check()


def test_claims_that_are_refused_before_the_login_are_on_record(place):
    mark = place.mark()
    with Rogue(place.world, source="127.42.9.11") as w:
        for key, user in (
            (place.stranger, "dev"),
            (place.ops, "dev"),
            (place.dev, "ops"),
            (place.dev, "nobody"),
        ):
            data = key.request(w.session_hash, user)
            assert not w.verify(data, key.sign(data))
            kind, body = w.login(user, key.blob, kind=fb.PROBE)
            assert kind == fb.PROBED and struct.unpack_from("=I", body)[0] == 0
        records = kit.wait_until(
            lambda: len(place.since(mark, event="login-failed")) >= 8
            and place.since(mark, event="login-failed"),
            "on record",
        )
        assert [(r["user"], r["reason"], r["signed"]) for r in records] == [
            (user, reason, signed)
            for user, reason in (
                ("dev", "unknown-key"),
                ("dev", "unknown-key"),
                ("ops", "unknown-key"),
                ("nobody", "unknown-user"),
            )
            for signed in (True, False)
        ]
    place.check()


def test_what_a_signed_in_worker_asks_out_of_turn_is_refused_and_on_record(place):
    mark = place.mark()
    with Rogue(place.world, True, source="127.42.9.12") as w:
        data = place.ops.request(w.session_hash, "ops")
        assert not w.verify(data, place.ops.sign(data))
        kind, body = w.login("ops", place.ops.blob, kind=fb.PROBE)
        assert kind == fb.PROBED and struct.unpack_from("=I", body)[0] == 0
        answers = w.sign_many(100)  # at once, so that next to no allowance comes back between them
        assert (
            False in answers and answers.index(False) >= 64
        )  # SESSION_SIGN_BURST, then SESSION_SIGN_PER_SECOND
        kit.wait_until(lambda: len(place.since(mark, event="refused")) == 3, "each is on record")
    assert {r["what"] for r in place.since(mark, event="refused")} == {
        "a signature after the login",
        "a key offered after the login",
        "a host signature was not given",
    }
    assert {(r["user"], r["reason"]) for r in place.since(mark, event="refused")} == {
        ("dev", "protocol-error")
    }
    place.check()


def test_the_numbers_that_security_md_gives_are_those_of_the_broker(place):
    """SECURITY.md, "A bastion worker that was taken over"."""
    page = (kit.ROOT / "SECURITY.md").read_text()
    first = page[page.index("### A bastion worker") : page.index("### A handler")]
    number = lambda pattern: int(re.search(pattern, " ".join(first.split()))[1].replace(",", ""))
    count = lambda w, act: next(n for n in range(1000) if act(w) in (GONE, "closed"))
    probe = lambda w: w.login("dev", place.stranger.blob, kind=fb.PROBE)[0]
    with Rogue(place.world) as w:
        assert count(w, probe) == number(r"ask up to ([\d,]+) times whether a key")
    with Rogue(place.world) as w:
        assert count(w, lambda w: w.verify(b"x", b"y") if w.transport.is_active() else GONE) >= number(
            r"up to ([\d,]+) signatures"
        )
    with Rogue(place.world) as w:
        w.put(w.packet(fb.NOTE), times=number(r"share of notes \(([\d,]+)\)"))
        assert w.tell("who")
        w.put(w.packet(fb.NOTE))
        w.ended()


STAYS = {
    "says goodbye": lambda p, w, session: w.send(fb.BYE, struct.pack("=I", 1)),
    "closes its end of the pair": lambda p, w, session: w.call(3, 3),
    "is told to end": lambda p, w, session: p.world.command("terminate", session),
}


def stay(p, w, how, session):
    STAYS[how](p, w, session)
    w.ended()
    kit.wait_until(lambda: not kit.alive(w.pid), "it is killed")


def test_nothing_is_left_of_a_session_whose_worker_stays(place):
    """SESSION_END_MS is 2 s. The worker, which has a granted connection, would stay for ever."""
    mark, rogues, peers = place.mark(), {}, {}
    for how in STAYS:
        rogues[how] = Rogue(place.world, True, source="127.42.9.13")
        assert opened(place, rogues[how])
        peers[how] = place.target.connections[-1]
    sessions = {s["pid"]: s["id"] for s in place.world.sessions()}
    with concurrent.futures.ThreadPoolExecutor(len(STAYS)) as pool:
        ends = [pool.submit(stay, place, w, how, sessions[w.pid]) for how, w in rogues.items()]
        for end in ends:
            end.result()
    for how, w in rogues.items():
        assert peers[how].fileno() == -1 or kit.recv_all(peers[how]) == b"", how
        kit.wait_until(
            lambda: place.since(mark, session=sessions[w.pid], event="session-end"), "it is on record"
        )
        assert [r["event"] for r in place.since(mark, session=sessions[w.pid])] == [
            "session-start",
            "channel-open",
        ] + (["terminate"] if how == "is told to end" else []) + ["channel-end", "session-end"]
        w.close()
    place.check()


# --- the product has none of it ---


def test_the_products_worker_takes_no_orders(work, spawn):
    """They are a wrong password to it, and a target that nobody grants."""
    w = World(work, spawn)
    transport = paramiko.Transport(Wire(w.ssh_port))
    transport.start_client(timeout=kit.PATIENCE)
    with pytest.raises(paramiko.AuthenticationException):
        transport.auth_password("dev", "rogue who")
    transport.close()
    assert w.wait_record("refused")["what"] == "password"
    with Client(w) as client:
        client.open_unasked(7, "rogue who", 1)
        assert w.wait_record("channel-refused")["target"] == "rogue who"
        assert client.alive()
    w.close()


def test_nothing_of_the_rogue_is_in_the_product():
    text = lambda *argv: subprocess.run(argv, check=True, capture_output=True).stdout.decode(errors="replace")
    mark = lambda path: {
        word
        for word in ("rogue.c", "__wrap_", "silence", "taken_over")
        if word in text("nm", path) + text("strings", path)
    }
    assert mark(executable()) == {"rogue.c", "__wrap_", "silence", "taken_over"}  # it would be seen
    for name in ("smpl-bastion", "smpl-bastion-worker"):
        assert mark(kit.binary(name)) == set()
