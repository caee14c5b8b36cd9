# SPDX-License-Identifier: Apache-2.0
"""What other name servers agree on is right: random zones, every question, compared with nsd and knot."""

import os
import random
import shutil
import struct

import pytest

import kit
from resolver_world import PRIVATE, Resolver, query, rcode

A, NS, CNAME, SOA, MX, TXT, DS, DNAME, ANY = 1, 2, 5, 6, 15, 16, 43, 39, 255
ORIGIN = "example.org"
ROUNDS = int(os.environ.get("SMPL_PEER_ROUNDS", "100"))


def read_name(msg, at):
    labels, after = [], None
    while msg[at]:
        if msg[at] >= 0xC0:
            after = after or at + 2
            at = (msg[at] & 0x3F) << 8 | msg[at + 1]
            continue
        labels.append(msg[at + 1 : at + 1 + msg[at]].decode("latin-1").lower())
        at += 1 + msg[at]
    return ".".join(labels) + ".", after or at + 1


def read_data(msg, kind, at, size):
    if kind in (NS, CNAME, DNAME):
        return read_name(msg, at)[0]
    if kind == MX:
        return struct.unpack(">H", msg[at : at + 2])[0], read_name(msg, at + 2)[0]
    if kind == SOA:
        mname, at2 = read_name(msg, at)
        rname, at2 = read_name(msg, at2)
        return mname, rname, msg[at2 : at2 + 20].hex()
    return msg[at : at + size].hex()


def meaning(msg):
    """(rcode, AA, TC, answers in order of owners, authority, additional)"""
    _, flags, qd, *counts = struct.unpack(">HHHHHH", msg[:12])
    at = 12
    for _ in range(qd):
        at = read_name(msg, at)[1] + 4
    sections = []
    for count in counts:
        records = set()
        for _ in range(count):
            owner, at = read_name(msg, at)
            kind, klass, ttl, size = struct.unpack(">HHIH", msg[at : at + 10])
            at += 10
            if kind != 41:
                records.add((owner, kind, ttl, read_data(msg, kind, at, size)))
            at += size
        sections.append(records)
    assert at == len(msg)
    return flags & 15, bool(flags & 0x400), bool(flags & 0x200), *sections


LABELS = ["a", "b", "*", "c"]


def random_names(rng, depth=3):
    return ".".join(rng.choice(LABELS) for _ in range(rng.randint(1, depth)))


def random_zone(rng):
    """{name relative to the origin: {type: data}}; only what all three load and RFCs define."""
    zone = {}
    for _ in range(rng.randint(3, 14)):
        name = random_names(rng)
        kind = rng.choice([A, A, A, TXT, CNAME, CNAME, NS, DNAME, MX])
        target = rng.choice([random_names(rng).replace("*", "b"), random_names(rng).replace("*", "d"), "ns"])
        if kind in (NS, DNAME) and "*" in name:
            continue
        if kind == DNAME:  # never below itself: where that ends is everybody's own limit
            target = rng.choice(["d", "a.d", "elsewhere.net."])
        there = zone.setdefault(name, {})
        if there and (kind in (CNAME, NS, DNAME) or CNAME in there or NS in there or DNAME in there):
            continue
        there[kind] = target
    # nothing below a DNAME or a delegation, where servers differ in what they load and in what they call glue
    walls = [n for n, data in zone.items() if DNAME in data or NS in data]
    return {n: d for n, d in zone.items() if d and not any(n != w and n.endswith("." + w) for w in walls)}


def zone_text(zone):
    lines = [
        f"$ORIGIN {ORIGIN}.",
        "$TTL 60",
        "@ SOA ns hostmaster 1 3600 600 604800 30",
        "@ NS ns",
        "ns A 127.0.0.1",
    ]
    for name, data in zone.items():
        for kind, target in data.items():
            lines.append(
                {
                    A: f"{name} A 127.1.0.{len(name)}",
                    TXT: f'{name} TXT "{len(name)}"',
                    MX: f"{name} MX 5 {target}",
                    CNAME: f"{name} CNAME {target}",
                    NS: f"{name} NS ns.elsewhere.net.",
                    DNAME: f"{name} DNAME {target}",
                }[kind]
            )
    return "\n".join(lines) + "\n"


def questions(rng, zone):
    names = {ORIGIN, f"ns.{ORIGIN}", f"nope.{ORIGIN}"}
    for name in zone:
        for variant in (
            name,
            name.replace("*", "q"),
            "q." + name,
            "q.b." + name,
            name.partition(".")[2] or name,
        ):
            names.add(f"{variant}.{ORIGIN}")
    for _ in range(40):
        names.add(f"{random_names(rng, 4)}.{ORIGIN}")
    return [(name, kind) for name in sorted(names) for kind in (A, TXT, CNAME, NS, MX, DS, DNAME, SOA)]


def start_nsd(spawn, work, port, zone):
    (work / "nsd.conf").write_text(
        f'server:\n  server-count: 1\n  ip-address: 127.41.0.3@{port}\n  username: ""\n  zonesdir: "{work}"\n'
        f'  pidfile: "{work}/nsd.pid"\n  xfrdfile: "{work}/xfrd"\n  xfrdir: "{work}"\n'
        f'  zonelistfile: "{work}/list"\n'
        '  database: ""\n  rrl-ratelimit: 0\n  rrl-whitelist-ratelimit: 0\n  minimal-responses: yes\n'
        "  round-robin: no\n"
        "remote-control:\n  control-enable: no\n"
        f'zone:\n  name: {ORIGIN}\n  zonefile: "{zone}"\n'
    )
    return spawn(kit.tool("nsd"), "-d", "-c", work / "nsd.conf")


def start_knot(spawn, work, port, zone):
    (work / "knot.conf").write_text(
        f'server:\n  rundir: "{work}"\n  listen: 127.41.0.4@{port}\n  udp-workers: 1\n  tcp-workers: 1\n'
        f'  background-workers: 1\ndatabase:\n  storage: "{work}"\n'
        f'zone:\n  - domain: {ORIGIN}\n    file: "{zone}"\n    journal-content: none\n    zonefile-sync: -1\n'
        "    zonefile-load: whole\n    semantic-checks: off\n"
    )
    return spawn(kit.tool("knotd"), "-c", work / "knot.conf")


def ask_until_loaded(session):
    session.sock.settimeout(0.2)

    def loaded():
        try:
            return rcode(session.ask(query(ORIGIN, SOA))) == 0
        except OSError:
            return False

    kit.wait_until(loaded, "the peer answers for the zone")


def agree(ours, peers):
    """Where both peers mean the same, so must ours; where they differ, what one of them means.

    Additional sections are left out: servers choose freely."""
    if peers[0][:5] == peers[1][:5]:
        return ours[:5] == peers[0][:5]
    return any(ours[:5] == p[:5] for p in peers)


@pytest.mark.parametrize(
    "seed", [pytest.param(i, marks=[] if i < 3 else pytest.mark.full) for i in range(ROUNDS)]
)
def test_random_zones_are_answered_as_nsd_and_knot_do(spawn, work, seed):
    if not (shutil.which("nsd", path="/usr/sbin") and shutil.which("knotd", path="/usr/sbin")):
        pytest.skip("nsd and knot are not installed")
    rng = random.Random(seed)
    zone = random_zone(rng)
    path = work / "example.zone"
    path.write_text(zone_text(zone))
    r = Resolver(spawn, work, free_on=("127.41.0.1", "127.41.0.3", "127.41.0.4"))
    r.config.write_text(
        f"listeners:\n  - {{address: 127.41.0.1, port: {r.port}, views: [v]}}\nviews:\n"
        f"  - {{name: v, clients: [127.0.0.0/8], zones: [{ORIGIN}]}}\nzones:\n"
        f"  - {{name: {ORIGIN}, file: example.zone}}\n"
        "control: r.sock\n"
    )
    r.start()
    sessions = [r.session(PRIVATE, False)]
    for start, address in ((start_nsd, "127.41.0.3"), (start_knot, "127.41.0.4")):
        folder = work / start.__name__
        folder.mkdir()
        start(spawn, folder, r.port, path)
        r.server = address
        ask_until_loaded(r.session(PRIVATE, False))
        # from another port: answers to what was asked while waiting may still come
        sessions.append(r.session(PRIVATE, False))
    differences = []
    asked = questions(rng, zone)
    for name, kind in asked:
        ours, *peers = (meaning(s.ask(query(name, kind))) for s in sessions)
        if not agree(ours, peers):
            differences.append((name, kind, ours, *peers))
    assert not differences, f"{len(differences)} of {len(asked)}; zone:\n{path.read_text()}\n" + "\n".join(
        f"{d[0]} {d[1]}\n  ours {d[2]}\n  nsd  {d[3]}\n  knot {d[4]}" for d in differences[:5]
    )
