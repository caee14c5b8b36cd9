# SPDX-License-Identifier: Apache-2.0
"""How split horizons have leaked elsewhere, each class of it a test here, named after the class.

An outsider must never see an address, a name or a difference that only the inside has. Classes that need what
this server does not have (caches, forwarding, keys) are met as far as answering from zones can meet them.
"""

import random
import struct
import time

import pytest

import kit
from resolver_world import PRIVATE, PUBLIC, name_wire, query, rcode, split
from zones import SOA, make

A, NS, CNAME, TXT, MX, AAAA, SRV, DNAME, HTTPS, AXFR, IXFR, ANY, PTR = (
    1,
    2,
    5,
    16,
    15,
    28,
    33,
    39,
    65,
    252,
    251,
    255,
    12,
)
SECRET = b"\x0a\x42\x4d"  # every private address is 10.66.77.x

ZONES = {
    "internal.test": SOA
    + "app A 10.66.77.1\napp TXT hidden\nalias CNAME app\n*.wild A 10.66.77.2\n_s._tcp SRV 0 0 80 app\n"
    "x.ent A 10.66.77.3\n@ MX 10 app\n",
    "sub.internal.test": SOA + "app A 10.66.77.4\n",
    "77.66.10.in-addr.arpa": SOA + "1 PTR app.internal.test.\n",
    "com.test@vpc": (
        SOA + "app A 10.66.77.5\ndb A 10.66.77.6\nmine CNAME login\n",
        ", on_missing: base, base: com.test@world",
    ),
    "com.test@world": SOA
    + "app A 192.0.2.1\nlogin CNAME app.internal.test.\nghost CNAME nope.internal.test.\n"
    "chain CNAME login\n*.wild CNAME app.internal.test.\ndn DNAME internal.test.\n"
    "mail MX 10 app.internal.test.\n_s._tcp SRV 0 0 80 app.internal.test.\n"
    "_g._tcp SRV 0 0 80 nope.internal.test.\n"
    "h HTTPS 0 app.internal.test.\nh2 HTTPS 1 app.internal.test. alpn=h2\ndel NS app.internal.test.\n"
    "own MX 10 app\n",
}
INSIDE = [z for z in ZONES if z != "com.test@world"]
EXIST = [
    "app.internal.test",
    "alias.internal.test",
    "q.wild.internal.test",
    "ent.internal.test",
    "_s._tcp.internal.test",
    "internal.test",
    "app.sub.internal.test",
    "sub.internal.test",
    "1.77.66.10.in-addr.arpa",
]
MISSING = [
    "nope.internal.test",
    "q.app.internal.test",
    "nope.sub.internal.test",
    "2.77.66.10.in-addr.arpa",
    "test",
    "unrelated.test",
]
TYPES = [
    A,
    NS,
    CNAME,
    6,
    PTR,
    MX,
    TXT,
    AAAA,
    SRV,
    DNAME,
    43,
    46,
    47,
    48,
    50,
    64,
    HTTPS,
    IXFR,
    AXFR,
    ANY,
    65280,
]


@pytest.fixture
def world(spawn, work):
    return make(
        spawn,
        work,
        ZONES,
        {
            "vpc": ("127.10.0.0/16", INSIDE, ""),
            "world": ("0.0.0.0/0", ["com.test@world"], ", public: true, rate_limit: 1000000"),
        },
    ).start()


def option(message, code, data):
    """The query with one more option in its OPT, which stands last and has none."""
    return message[:-2] + struct.pack(">HHH", 4 + len(data), code, len(data)) + data


def outsiders(world):
    return [world.session(PUBLIC, False), world.session(PUBLIC, True)]


def test_cache_crosses_acl(world):
    """The same question by turns from inside and outside: nobody gets what the other was told."""
    inside, outside = world.session(PRIVATE, False), world.session(PUBLIC, False)
    refusals = set()
    for _ in range(50):
        for name, private, public in (
            ("app.com.test", b"\x0a\x42\x4d\x05", b"\xc0\x00\x02\x01"),
            ("app.internal.test", b"\x0a\x42\x4d\x01", None),
        ):
            told = inside.ask(query(name, A))
            assert private in told and (public is None or public not in told)
            told = outside.ask(query(name, A))
            assert SECRET not in told
            if public:
                assert public in told
            else:
                refusals.add(split(told))
    assert len(refusals) == 1


def test_rewrite_after_check(world):
    """An alias is judged again at every hop: outside it ends bare, whether its target exists inside or
    not."""
    for session in outsiders(world):
        for name in ("login", "chain", "q.wild", "app.dn", "_s._tcp.dn"):
            reply = session.ask(query(f"{name}.com.test", A))
            assert rcode(reply) == 0 and SECRET not in reply and reply[8:10] == b"\0\0"
    out = world.dig("app.dn.com.test", source=PUBLIC)
    assert "CNAME\tapp.internal.test." in out and "hidden" not in out
    assert "10.66.77.1" in world.dig("app.dn.com.test", "+short")


def test_proxy_address(world):
    """No transport lets the client say who it is: the PROXY protocol's headers are no queries."""
    q = query("app.internal.test", A)
    text = b"PROXY TCP4 127.10.0.9 127.41.0.1 4000 53\r\n"
    binary = (
        b"\r\n\r\n\0\r\nQUIT\n"
        + b"\x21\x11\0\x0c"
        + bytes([127, 10, 0, 9, 127, 41, 0, 1])
        + struct.pack(">HH", 4000, 53)
    )
    datagram = binary[:13] + b"\x12" + binary[14:]
    for header in (text, binary):
        with world.tcp(PUBLIC) as s:
            s.sendall(header + struct.pack(">H", len(q)) + q)
            s.shutdown(1)
            assert SECRET not in s.makefile("rb").read()
    with world.udp(PUBLIC) as s:
        for header in (text, datagram):
            s.send(header + q)
        s.send(q)
        while True:
            reply = s.recv(4096)
            assert SECRET not in reply
            if reply[:2] == q[:2] and rcode(reply) == 5:
                break


def test_ecs(world):
    """EDNS Client Subnet never chooses: a private network in it changes no byte, nor do options nobody
    knows."""
    ecs = struct.pack(">HBB", 1, 24, 0) + bytes([127, 10, 0])
    for session in outsiders(world):
        for name in ("app.com.test", "app.internal.test", "nope.internal.test"):
            plain = session.ask(query(name, A))
            for code, data in (
                (8, ecs),
                (8, struct.pack(">HBB", 1, 0, 0)),
                (65001, b"127.10.0.9"),
                (20292, b"vpc"),
            ):
                assert session.ask(option(query(name, A), code, data)) == plain
    inside = world.session(PRIVATE, False)
    outward = struct.pack(">HBB", 1, 24, 0) + bytes([192, 0, 2])
    assert b"\x0a\x42\x4d\x05" in inside.ask(option(query("app.com.test", A), 8, outward))


def test_transport_skips_auth(world):
    """UDP and TCP tell the same client the same, byte for byte."""
    for source in (PRIVATE, PUBLIC):
        udp, tcp = world.session(source, False), world.session(source, True)
        for name in (
            EXIST + MISSING + ["app.com.test", "login.com.test", "mail.com.test", "nope.com.test", "com.test"]
        ):
            for kind in TYPES:
                assert udp.ask(query(name, kind)) == tcp.ask(query(name, kind)), (name, kind)


def test_transfer_policy(world):
    """Transfers are refused to everybody, of parents, children and whatever case; nothing is streamed."""
    for source in (PRIVATE, PUBLIC):
        for tcp in (False, True):
            session = world.session(source, tcp)
            for name in (
                "internal.test",
                "sub.internal.test",
                "SUB.internal.test",
                "com.test",
                "cOm.TeSt",
                "nope.test",
            ):
                for kind in (AXFR, IXFR):
                    reply = session.ask(query(name, kind))
                    assert rcode(reply) == 5 and reply[6:10] == b"\0\0\0\0" and SECRET not in reply
    assert "Transfer failed" in world.dig("internal.test", "AXFR")


def test_acl_inheritance(spawn, work, world):
    """Nothing is open unless it says so: check prints who is in which view at which listener, and no match is
    refused."""
    done = world.command("check", "-c", world.config)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    vpc = next(i for i, text in enumerate(lines) if text.strip() == "view vpc: clients 127.10.0.0/16")
    public = next(
        i for i, text in enumerate(lines) if text.strip().startswith("view world: clients 0.0.0.0/0")
    )
    assert any("internal.test" in text for text in lines[vpc:public]) and not any(
        "internal.test" in t for t in lines[public:]
    )
    closed = make(spawn, work, ZONES, {"vpc": ("127.10.0.0/16", INSIDE, "")})
    closed.config.write_text(closed.config.read_text().replace("r.sock", "closed.sock"))
    closed.start()
    reply = closed.session(PUBLIC, False).ask(query("app.com.test", A))
    assert rcode(reply) == 5 and split(reply) == split(
        closed.session(PUBLIC, False).ask(query("nope.test", A))
    )
    closed.config.write_text(closed.config.read_text().replace("clients: [127.10.0.0/16], ", ""))
    done = closed.command("check", "-c", closed.config)
    assert done.returncode == 1 and "clients" in done.stderr


@pytest.mark.parametrize(
    "order", [("narrow", "wide", "empty"), ("empty", "wide", "narrow"), ("wide", "empty", "narrow")]
)
def test_empty_or_misordered_view(spawn, work, order):
    """The most specific network decides, not the order; a view without zones refuses instead of falling
    through."""
    views = {
        "narrow": ("127.10.1.0/24", ["internal.test"], ""),
        "wide": ("127.0.0.0/8", ["com.test@world"], ""),
        "empty": ("127.10.0.0/16", [], ""),
    }
    r = make(spawn, work, ZONES, {name: views[name] for name in order}).start()
    for source, name, want in (
        ("127.10.1.9", "app.internal.test", 0),
        ("127.10.1.9", "app.com.test", 5),
        ("127.10.2.9", "app.internal.test", 5),
        ("127.10.2.9", "app.com.test", 5),
        ("127.20.0.9", "app.com.test", 0),
        ("127.20.0.9", "app.internal.test", 5),
    ):
        assert rcode(r.session(source, False).ask(query(name, A))) == want, (source, name)
    r.config.write_text(r.config.read_text().replace("127.10.1.0/24", "127.10.0.0/16"))
    done = r.command("check", "-c", r.config)
    assert done.returncode == 1 and "could not choose" in done.stderr


def test_cname_out_of_public_zone(world):
    """Aliases are followed inside the view and no further: what they lead to outside makes no difference."""
    for session in outsiders(world):
        there, missing = (session.ask(query(f"{name}.com.test", A)) for name in ("login", "ghost"))
        assert rcode(there) == rcode(missing) == 0
        assert there[2:12] == missing[2:12], "flags and counts alike"
        assert len(there) - len(missing) == len("login") - len("ghost") + len("app") - len("nope")
    assert "10.66.77.1" in world.dig(
        "mine.com.test", "+short"
    ), "inside through overlay, base and private zone"


def test_cname_into_private_zone(world):
    """A public alias into a private zone is answered from the asking view's zones; the target asked outside
    is refused."""
    assert world.dig("login.com.test", "+short").split() == ["app.internal.test.", "10.66.77.1"]
    assert world.dig("login.com.test", "+short", source=PUBLIC).split() == ["app.internal.test."]
    session = world.session(PUBLIC, False)
    assert split(session.ask(query("app.internal.test", A))) == split(
        session.ask(query("nope.internal.test", A))
    )


def test_additional_data(world):
    """Targets, glue and service bindings bring no address that the view does not have, nor a difference."""
    for session in outsiders(world):
        for name, kind in (
            ("mail", MX),
            ("_s._tcp", SRV),
            ("h", HTTPS),
            ("h2", HTTPS),
            ("x.del", A),
            ("del", NS),
        ):
            reply = session.ask(query(f"{name}.com.test", kind))
            assert rcode(reply) == 0 and SECRET not in reply and reply[10:12] == b"\0\x01", name
        there, missing = (session.ask(query(f"{name}._tcp.com.test", SRV)) for name in ("_s", "_g"))
        assert there[2:12] == missing[2:12]
        assert b"\xc0\x00\x02\x01" in session.ask(query("own.com.test", MX))
    assert "10.66.77.1" in world.dig("mail.com.test", "MX") and "10.66.77.5" in world.dig(
        "own.com.test", "MX"
    )


def test_any_and_nsec_walk(world):
    """ANY, DNSSEC's types and the DO bit lead an outsider nowhere; inside ANY is one rrset."""
    do = query("app.internal.test", A)[:-4] + b"\x80\0\0\0"
    for session in outsiders(world):
        seen = {
            split(session.ask(query(name, kind)))
            for name in EXIST + MISSING
            for kind in (ANY, 43, 46, 47, 48, 50, 51)
        }
        assert len(seen) == 1
        assert split(session.ask(do))[0] == seen.pop()[0]
        reply = session.ask(query("app.com.test", ANY))
        assert SECRET not in reply and reply[6:8] == b"\0\x01"


def test_ptr(world):
    """Reverse zones belong to views as any zone does."""
    assert world.dig("1.77.66.10.in-addr.arpa", "PTR", "+short") == "app.internal.test."
    for session in outsiders(world):
        seen = {split(session.ask(query(f"{i}.77.66.10.in-addr.arpa", PTR))) for i in range(256)}
        seen |= {
            split(session.ask(query(name, PTR)))
            for name in ("10.in-addr.arpa", "1.2.0.192.in-addr.arpa", "unrelated.test")
        }
        assert len(seen) == 1
        assert name_wire("app.internal.test") not in session.ask(query("1.77.66.10.in-addr.arpa", PTR))


def test_overlay_reveals_nothing_of_itself(world):
    """Who sees the base sees no name of the overlay: denials are those of the base alone."""
    for session in outsiders(world):
        there, missing = (session.ask(query(f"{name}.com.test", A)) for name in ("db", "zz"))
        assert rcode(there) == rcode(missing) == 3 and split(there) == split(missing)
        assert (
            SECRET not in session.ask(query("app.com.test", A))
            and rcode(session.ask(query("mine.com.test", A))) == 3
        )


def test_spoofed_source(spawn, work, world):
    """A private source at a listener with public views alone gets nothing private, and a stranger's cookie is
    nobody else's."""
    text = (
        world.config.read_text()
        .replace("views: [vpc, world]", "views: [world]")
        .replace("127.10.0.0/16", "127.10.0.0/24")
    )
    other = make(
        spawn,
        work,
        ZONES,
        {"vpc": ("127.10.0.0/16", INSIDE, ""), "world": ("0.0.0.0/0", ["com.test@world"], "")},
    )
    other.config.write_text(text.replace(str(world.port), str(other.port)).replace("r.sock", "other.sock"))
    other.start()
    inside, outside = other.session(PRIVATE, False), other.session(PUBLIC, False)
    for name in EXIST + MISSING + ["app.com.test", "db.com.test", "login.com.test"]:
        for kind in (A, ANY, MX, SRV):
            reply = inside.ask(query(name, kind))
            assert reply == outside.ask(query(name, kind)) and SECRET not in reply
    cookie = outside.ask(option(query("app.com.test", A), 10, b"client01"))[-24:]
    plain, forged = (inside.ask(option(query("app.internal.test", A), 10, c)) for c in (b"client01", cookie))
    assert rcode(plain) == rcode(forged) == 5 and len(plain) == len(forged) and forged[-16:] != cookie[8:]


def test_refusals_are_byte_identical(world):
    """Whatever is asked: existing or not, every type and transport, with a cookie and without, ID and
    question aside."""
    for session in outsiders(world):
        assert len({split(session.ask(query(name, kind))) for name in EXIST + MISSING for kind in TYPES}) == 1
        for _ in range(5):  # a cookie holds the second in which it was made
            seen = {split(session.ask(option(query(name, A), 10, b"client01"))) for name in EXIST + MISSING}
            if len(seen) == 1:
                break
        assert len(seen) == 1


@pytest.mark.full
def test_timing(world):
    """A refusal takes as long for an existing name as for a missing one.

    Round trips by turns in random order; the chance that one of the first kind is shorter than one of the
    second must be one half. With 4,000 each its standard deviation is 0.65 % on a quiet machine; 10 % leaves
    room for a busy one."""
    rounds = 400 if kit.SANITIZED else 4000
    names = ["app.internal.test", "apq.internal.test", "app.unknownx.test"]
    session = world.session(PUBLIC, False)
    queries = {name: query(name, A) for name in names}
    assert len({len(q) for q in queries.values()}) == 1
    taken = {name: [] for name in names}
    rng = random.Random(1)
    for i in range(rounds + 100):
        for name in rng.sample(names, len(names)):
            begun = time.perf_counter_ns()
            session.ask(queries[name])
            if i >= 100:
                taken[name].append(time.perf_counter_ns() - begun)
    bound = 0.2 if kit.SANITIZED else 0.1
    for name in names[1:]:
        ranked = sorted([(t, 0) for t in taken[names[0]]] + [(t, 1) for t in taken[name]])
        shorter = waiting = 0
        for _, which in ranked:
            if which == 0:
                waiting += 1
            else:
                shorter += waiting
        chance = shorter / len(taken[name]) / len(taken[names[0]])
        assert abs(chance - 0.5) < bound, (name, chance)
