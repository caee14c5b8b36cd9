# SPDX-License-Identifier: Apache-2.0
"""smpl-resolver over real sockets: who is told what, over UDP and TCP. The Resolver here serves the other
resolver tests too."""

import socket
import struct
import threading
import time

import pytest

import kit
from resolver_world import PRIVATE, PUBLIC, Resolver, SERVER, name_wire, query, rcode, split


NAMES_INSIDE = [
    "internal.smplkit.local",
    "config.internal.smplkit.local",
    "app.internal.smplkit.local",
    "_http._tcp.config.internal.smplkit.local",
    "alias.internal.smplkit.local",
    "x.wild.internal.smplkit.local",
    "ns.internal.smplkit.local",
]
NAMES_NOWHERE = [
    "nope.internal.smplkit.local",
    "smplkit.local",
    "local",
    ".",
    "example.com",
    "x.config.internal.smplkit.local",
    "11.1.10.127.in-addr.arpa",
    "version.bind",
]


@pytest.fixture
def resolver(spawn, work):
    return Resolver(spawn, work).start()


@pytest.mark.short
def test_private_client_gets_addresses_and_ports(resolver):
    assert resolver.dig("config.internal.smplkit.local", "+short") == "127.10.1.11"
    assert (
        resolver.dig("_http._tcp.config.internal.smplkit.local", "SRV", "+short")
        == "0 0 8000 config.internal.smplkit.local."
    )
    assert resolver.dig("config.internal.smplkit.local", "+short", "+tcp") == "127.10.1.11"
    assert resolver.dig("x.wild.internal.smplkit.local", "+short") == "127.10.9.9"
    assert resolver.dig("alias.internal.smplkit.local", "+short").split() == [
        "config.internal.smplkit.local.",
        "127.10.1.11",
    ]


@pytest.mark.short
def test_split_zone_differs_by_client(resolver):
    assert resolver.dig("app.smplkit.com", "+short", source=PRIVATE) == "127.10.1.10"
    assert resolver.dig("app.smplkit.com", "+short", source=PUBLIC) == "127.20.1.10"
    assert "REFUSED" in resolver.dig("config.internal.smplkit.local", source=PUBLIC)


@pytest.mark.short
def test_negative_answers_carry_the_soa(resolver):
    out = resolver.dig("nope.internal.smplkit.local")
    assert "status: NXDOMAIN" in out and " aa" in out
    assert "internal.smplkit.local.	30	IN	SOA" in out
    out = resolver.dig("config.internal.smplkit.local", "AAAA")
    assert "status: NOERROR" in out and "ANSWER: 0" in out and "SOA" in out


@pytest.mark.short
@pytest.mark.parametrize("tcp", [False, True])
def test_refusals_to_outsiders_are_byte_identical(resolver, tcp):
    """Class: private names through any door. Existing or not, every type, class and opcode, ID and question
    aside."""
    types = list(range(1, 66)) + [99, 249, 250, 251, 252, 253, 254, 255, 256, 257, 32768, 65280, 65535]
    types.remove(41)
    session = resolver.session(PUBLIC, tcp)
    for opcode in (0, 4, 5):
        seen = {}
        for name in NAMES_INSIDE + NAMES_NOWHERE:
            for kind in types:
                for klass in (1, 3, 255):
                    reply = session.ask(query(name, kind, klass=klass, opcode=opcode))
                    header, rest = split(reply)
                    seen.setdefault(header + rest, (name, kind, klass))
        assert len(seen) == 1, seen
        (only,) = seen
        assert only[1] & 15 == 5, "REFUSED"
        # an OPT whose only option is EDE 20, Not Authoritative
        assert only[10:] == b"\0\0\x29\x04\xd0\0\0\0\0\0\x06\0\x0f\0\x02\0\x14"


def test_refusals_without_edns_are_byte_identical(resolver):
    session = resolver.session(PUBLIC, False)
    seen = {
        b"".join(split(session.ask(query(n, t, edns=False))))
        for n in NAMES_INSIDE + NAMES_NOWHERE
        for t in (1, 6, 252, 255)
    }
    assert seen == {b"\x80\x05\0\x01\0\0\0\0\0\0"}


def test_client_without_any_view_is_refused_alike(spawn, work):
    r = Resolver(spawn, work)
    r.write_config(world="[127.99.0.0/16]")
    r.start()
    outside = r.session(PUBLIC, False)
    world = r.session("127.99.0.1", False)
    a = outside.ask(query("app.smplkit.com", 1))
    b = outside.ask(query("config.internal.smplkit.local", 1))
    c = world.ask(query("config.internal.smplkit.local", 1))
    assert split(a) == split(b) == split(c)
    assert rcode(world.ask(query("app.smplkit.com", 1))) == 0


def test_private_source_on_a_public_listener_gets_nothing_private(spawn, work):
    r = Resolver(spawn, work)
    r.write_config(second_listener=True)
    r.start()
    assert "REFUSED" in r.dig("config.internal.smplkit.local", source=PRIVATE, server="127.41.0.2")
    assert r.dig("app.smplkit.com", "+short", source=PRIVATE, server="127.41.0.2") == "127.20.1.10"
    assert r.dig("config.internal.smplkit.local", "+short", source=PRIVATE) == "127.10.1.11"


def test_alias_out_of_the_view_is_not_followed(resolver):
    out = resolver.dig("metrics.smplkit.com", source=PUBLIC)
    assert "app.internal.smplkit.local." in out and "127.10.1.10" not in out
    assert "127.10.1.10" in resolver.dig("metrics.smplkit.com", source=PRIVATE)


def test_transfers_and_updates_are_refused_to_everybody(resolver):
    for source in (PRIVATE, PUBLIC):
        assert "Transfer failed" in resolver.dig("internal.smplkit.local", "AXFR", source=source)
        session = resolver.session(source, True)
        for kind, opcode in ((252, 0), (251, 0), (6, 5), (6, 4)):
            assert rcode(session.ask(query("internal.smplkit.local", kind, opcode=opcode))) == 5


@pytest.mark.short
def test_big_answers_are_cut_over_udp_and_whole_over_tcp(resolver):
    session = resolver.session(PRIVATE, False)
    reply = session.ask(query("big.internal.smplkit.local", 1, size=4096))
    assert reply[2] & 2 and reply[6:8] == b"\0\0" and len(reply) <= 1232
    reply = session.ask(query("middle.internal.smplkit.local", 1, edns=False))
    assert reply[2] & 2 and len(reply) <= 512
    reply = session.ask(query("middle.internal.smplkit.local", 1))
    assert not reply[2] & 2 and reply[6:8] == struct.pack(">H", 60)
    assert len(resolver.dig("big.internal.smplkit.local", "+short").split()) == 200, "dig asks again over TCP"


def test_case_of_the_question_is_kept(resolver):
    reply = resolver.session(PRIVATE, False).ask(query("CoNfIg.InTeRnAl.SmPlKiT.LoCaL", 1))
    assert (
        name_wire("CoNfIg.InTeRnAl.SmPlKiT.LoCaL") in reply
        and rcode(reply) == 0
        and b"\x7f\x0a\x01\x0b" in reply
    )


def test_tcp_queries_are_pipelined_and_answered_in_order(resolver):
    with resolver.tcp(PRIVATE) as s:
        asked = [query("config.internal.smplkit.local", 1, ident=i) for i in range(500)]
        s.sendall(b"".join(struct.pack(">H", len(q)) + q for q in asked))
        stream = s.makefile("rb")
        for i in range(500):
            (size,) = struct.unpack(">H", stream.read(2))
            reply = stream.read(size)
            assert reply[:2] == struct.pack(">H", i)


def test_tcp_query_may_come_byte_by_byte(resolver):
    with resolver.tcp(PRIVATE) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        q = query("config.internal.smplkit.local", 1)
        for byte in struct.pack(">H", len(q)) + q:
            s.sendall(bytes([byte]))
        assert rcode(s.recv(4096)[2:]) == 0


def test_reader_that_takes_nothing_costs_bounded_memory_and_hinders_nobody(resolver):
    with resolver.tcp(PRIVATE, receive_buffer=4096) as s:
        s.settimeout(1)
        q = query("big.internal.smplkit.local", 1)
        chunk = (struct.pack(">H", len(q)) + q) * 1000
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 64 << 20:
                sent += s.send(chunk)
        assert resolver.dig("config.internal.smplkit.local", "+short") == "127.10.1.11"
        assert resolver.dig("config.internal.smplkit.local", "+short", "+tcp") == "127.10.1.11"
        assert resolver.rss_mb() < (600 if kit.SANITIZED else 120)
        # it may still take all it asked for, in order and whole
        s.settimeout(kit.PATIENCE)
        stream = s.makefile("rb")
        for _ in range(min(2000, sent // len(chunk) * 1000)):
            (size,) = struct.unpack(">H", stream.read(2))
            assert stream.read(size)[:2] == q[:2]


def test_idle_tcp_connections_are_ended(resolver):
    start = time.monotonic()
    with resolver.tcp(PRIVATE) as s:
        s.settimeout(kit.PATIENCE)
        assert s.recv(1) == b""
        assert time.monotonic() - start > 8


@pytest.mark.short
def test_malformed_messages_harm_nobody(resolver):
    """Pointer loops, 65,535 bytes, cut and empty messages: FORMERR or silence, and the next client is
    answered."""
    q = query("config.internal.smplkit.local", 1)
    loop = struct.pack(">HHHHHH", 7, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\x01\0\x01"
    forward = struct.pack(">HHHHHH", 7, 0, 1, 0, 0, 0) + b"\xc0\x12\0\x01\0\x01\xc0\x0c"
    many = struct.pack(">HHHHHH", 7, 0, 1, 0, 0, 5000) + q[12:-11]
    at = len(many)
    many += b"\0\0\x10\0\x01\0\0\0\0\0\0"
    while len(many) + 12 <= 65535:  # records whose owners point at one another, backwards
        many += struct.pack(">H", 0xC000 | min(at, 0x3FFF)) + b"\0\x10\0\x01\0\0\0\0\0\0"
        at += 12
    with resolver.udp(PRIVATE) as s:
        s.settimeout(kit.PATIENCE)
        for message in (loop, forward, q[:20], q + b"x" * 2000, q + b"x" * 5000):
            s.send(message)
            assert rcode(s.recv(4096)) == 1
        for message in (b"", b"x", q[:11], b"\x80" * 40, bytes(60000)):
            s.send(message)
        s.send(q)
        while True:
            reply = s.recv(4096)
            if reply[:2] == q[:2]:
                break
        assert rcode(reply) == 0
    for message in (many[:65535], q.ljust(65535, b"\0"), loop):
        with resolver.tcp(PRIVATE) as s:
            s.settimeout(kit.PATIENCE)
            s.sendall(struct.pack(">H", len(message)) + message)
            reply = s.recv(4096)
            assert rcode(reply[2:]) == 1
    for message in (b"\0\0", b"\0\x01x", b"\0\x0c" + b"\x80" * 12):
        with resolver.tcp(PRIVATE) as s:
            s.settimeout(kit.PATIENCE)
            s.sendall(message)
            assert s.recv(10) == b""
    assert resolver.dig("config.internal.smplkit.local", "+short") == "127.10.1.11"


def test_answers_leave_from_the_address_that_was_asked(spawn, work):
    r = Resolver(spawn, work, free_on=("0.0.0.0",))
    r.write_config(address="0.0.0.0")
    r.start()
    for server in ("127.41.0.77", "127.41.3.3"):
        assert r.dig("config.internal.smplkit.local", "+short", server=server) == "127.10.1.11"


@pytest.mark.short
def test_ipv6_clients_have_their_views(spawn, work):
    r = Resolver(spawn, work, free_on=(SERVER, "::1"))
    r.write_config(address="::1", vpc='["::1"]')
    r.start()
    assert r.dig("config.internal.smplkit.local", "+short", source="::1", server="::1") == "127.10.1.11"
    r.write_config(address="::1", vpc='["fc00::/7"]')
    r.program.signal(1)
    r.program.wait_line("reloaded")
    assert "REFUSED" in r.dig("config.internal.smplkit.local", source="::1", server="::1")


def test_many_clients_at_once_over_both_transports(resolver):
    errors = []

    def client(tcp):
        try:
            session = resolver.session(PRIVATE, tcp)
            for i in range(300):
                reply = session.ask(query("config.internal.smplkit.local", 1, ident=i))
                assert rcode(reply) == 0 and reply[:2] == struct.pack(">H", i)
        except Exception as e:  # noqa: BLE001 - reported by the test's thread
            errors.append(e)

    threads = [threading.Thread(target=client, args=(i % 2 == 0,)) for i in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors
