# SPDX-License-Identifier: Apache-2.0
"""As a laptop and as an attacker, across real networks. The comment at each check says what an attacker would
have gained."""

import itertools
import json
import os
import random
import re
import select
import socket
import struct
import subprocess
import threading
import time

import pytest

import boundary
import kit
from conftest import inside
from dns_query import TYPES, query

INNER_DNS, OUTER_DNS = "10.20.0.2", "203.0.113.2"
SECRETS = [
    socket.inet_aton(a)
    for a in ("10.20.9.9", "10.20.9.8", "10.20.0.10", "10.20.0.11", "10.20.1.12", "10.20.0.5")
]
NAMES = [
    "internal.smplkit.local",
    "config.internal.smplkit.local",
    "secret.internal.smplkit.local",
    "nosuch.internal.smplkit.local",
    "x.wild.internal.smplkit.local",
    "alias.internal.smplkit.local",
    "_http._tcp.internal.smplkit.local",
    "_http._tcp.config.internal.smplkit.local",
    "bastion.internal.smplkit.local",
    "smplkit.local",
    "local",
    "nobody.example",
    "9.9.20.10.in-addr.arpa",
    "20.10.in-addr.arpa",
]


def ask(server, message, tcp=False, source=None, timeout=kit.PATIENCE):
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as s:
        s.settimeout(timeout)
        if source:
            s.bind((source, 0))
        s.connect((server, 53))
        if not tcp:
            s.send(message)
            return s.recv(65535)
        s.sendall(struct.pack(">H", len(message)) + message)
        size = struct.unpack(">H", s.recv(2, socket.MSG_WAITALL))[0]
        return s.recv(size, socket.MSG_WAITALL)


def closed(address, port=80):
    """Nobody answers there: refused, unreachable, silent, or closed before a byte."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(3 * kit.slowness())
        try:
            s.connect((address, port))
            s.sendall(b"GET /docs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return kit.recv_all(s) == b""
        except OSError:
            return True


def that_connect(addresses, port=80):
    """Those of the addresses that take a TCP connection, all tried at once."""
    trying = {}
    for address in addresses:
        s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        s.setblocking(False)
        s.connect_ex((address, port))
        trying[s] = address
    found, end = set(), time.monotonic() + kit.slowness()
    while trying and time.monotonic() < end:
        for s in select.select([], list(trying), [], 0.05)[1]:
            address = trying.pop(s)
            if s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                found.add(address)
            s.close()
    for s in trying:
        s.close()
    return found


# --- names ---


@pytest.mark.short
@pytest.mark.parametrize("host,view", [("insider", "vpc"), ("laptop", "world"), ("attacker", "world")])
def test_dig_tells_each_side_its_own_names(lab, host, view):
    """Where each internal service is, and that it is."""
    expected = {"vpc": ("10.20.0.11", "fd20::11"), "world": ("", "")}[view]
    for rtype, value in zip(("A", "AAAA"), expected):
        assert lab.on(host, "dig", "+short", "config.internal.smplkit.local", rtype).stdout.strip() == value
        assert (
            lab.on(host, "dig", "+short", "config.smplkit.com", rtype).stdout.strip()
            == {"A": "203.0.113.11", "AAAA": "2001:db8:113::11"}[rtype]
        )
    if view == "world":
        assert "status: REFUSED" in lab.on(host, "dig", "config.internal.smplkit.local").stdout


@pytest.mark.short
@pytest.mark.parametrize("protocol", ["+notcp", "+tcp"])
def test_the_listener_decides_and_not_the_address_that_is_asked_from(lab, protocol):
    """A private source at the outer listener: whoever can send such a packet would have the inside view."""
    asked = {}
    for server, source in itertools.product(
        (INNER_DNS, OUTER_DNS), ("10.20.0.5", "203.0.113.5")
    ):  # both are the bastion's own
        done = lab.on(
            "bastion",
            "dig",
            "+tries=2",
            "+time=2",
            protocol,
            "-b",
            source,
            f"@{server}",
            "config.internal.smplkit.local",
        )
        asked[server, source] = re.search(r"status: (\w+)", done.stdout)[1]
        assert ("10.20.0.11" in done.stdout) == (asked[server, source] == "NOERROR"), done.stdout
    assert asked == {
        (INNER_DNS, "10.20.0.5"): "NOERROR",
        (INNER_DNS, "203.0.113.5"): "REFUSED",
        (OUTER_DNS, "10.20.0.5"): "REFUSED",
        (OUTER_DNS, "203.0.113.5"): "REFUSED",
    }


@pytest.mark.short
@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("server", [OUTER_DNS, "2001:db8:113::2"])
def test_outside_every_private_name_gets_one_refusal_byte_for_byte(lab, server, tcp):
    """Which private names, types and zones exist: a map of the company."""
    seen = set()
    with inside("attacker"):
        for name, rtype in itertools.product(NAMES, TYPES):
            message, question = query(name, rtype, ident=random.randrange(65536))
            reply = ask(server, message, tcp)
            assert reply[3] & 15 == 5, (name, rtype)
            seen.add(reply[2:12] + reply[12 + question :])
    assert len(seen) == 1


@pytest.mark.short
def test_the_leak_catalogue(lab):
    """ECS, transfers, updates and answers to others' questions have each given inside data to outsiders
    elsewhere."""
    ecs = struct.pack(">HHHBB", 8, 7, 1, 24, 0) + socket.inet_aton("10.20.0.9")[:3]
    with inside("attacker"):
        for tcp, server in itertools.product((False, True), (OUTER_DNS, "2001:db8:113::2")):
            refusals = set()
            for name in NAMES:
                plain, question = query(name, 1)
                cases = {
                    "client subnet": plain[:-2]
                    + struct.pack(">H", len(ecs))
                    + ecs,  # "I am 10.20.0.9": the inside view
                    "cookie": plain[:-2]
                    + struct.pack(">HHH", 12, 10, 8)
                    + bytes(8),  # a cookie makes nobody an insider
                    "transfer": query(name, 252)[0],
                    "incremental transfer": query(name, 251)[0],  # the whole zone
                    "any": query(name, 255)[0],
                    "no recursion": query(name, 1, flags=0)[0],
                    "checking disabled": query(name, 1, flags=0x0110)[0],
                }
                for case, message in cases.items():
                    reply = ask(server, message, tcp)
                    assert reply[3] & 15 == 5 and not [s for s in SECRETS if s in reply], (case, name)
                    assert struct.unpack(">HHH", reply[6:12])[:2] == (0, 0), (case, name)
                for opcode in (2, 4, 5):  # STATUS, NOTIFY (makes it fetch a zone), UPDATE (writes one)
                    reply = ask(server, query(name, 6, flags=opcode << 11, edns=False)[0], tcp)
                    refusals.add((opcode, reply[2:12]))
            assert len(refusals) == 3, refusals  # one for each opcode, whatever the name
    with inside(
        "insider"
    ):  # the same question by turns: nothing of the inside answer is kept for the outside
        told = ask(INNER_DNS, query("config.internal.smplkit.local", 1)[0])
    assert socket.inet_aton("10.20.0.11") in told
    with inside("attacker"):
        assert socket.inet_aton("10.20.0.11") not in ask(
            OUTER_DNS, query("config.internal.smplkit.local", 1)[0]
        )


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data if len(data) % 2 == 0 else data[:-1])) + (
        data[-1] << 8 if len(data) % 2 else 0
    )
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF or 0xFFFF


def udp_packet(source, target, payload, sport=4444, dport=53):
    """An IP packet as the attacker writes it himself, whatever his address is."""
    udp = struct.pack(">HHHH", sport, dport, 8 + len(payload), 0) + payload
    if ":" not in source:
        head = struct.pack(
            ">BBHHHBBH4s4s",
            0x45,
            0,
            20 + len(udp),
            1,
            0,
            64,
            17,
            0,
            socket.inet_aton(source),
            socket.inet_aton(target),
        )
        return head + udp
    addresses = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target)
    sum_ = checksum(
        addresses + struct.pack(">II", len(udp), 17) + udp + bytes(len(udp) % 2)
    )  # IPv6 wants one
    return (
        struct.pack(">IHBB", 6 << 28, len(udp), 17, 64)
        + addresses
        + udp[:6]
        + struct.pack(">H", sum_)
        + payload
    )


@pytest.fixture
def routes_to_vpc(lab):
    """The attacker's own idea of the way into vpc: through one of the hosts that have a leg there."""
    added = []

    def by(gateway):
        gateway6 = lab.v6(gateway)
        for line in (
            ["-4", "route", "replace", "10.20.0.0/16", "via", gateway],
            ["-6", "route", "replace", "fd20::/64", "via", gateway6],
        ):
            lab.run("ip", *line[:1], "-n", lab.netns("attacker"), *line[1:])
            added.append(line)

    yield by
    for line in added:
        lab.run("ip", line[0], "-n", lab.netns("attacker"), "route", "del", line[3], check=False)


@pytest.mark.short
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def test_spoofed_private_sources_bring_nothing_back(lab, routes_to_vpc, family):
    """Being taken for 10.20.0.9: the inside view's answers, if they came back this way."""
    routes_to_vpc(OUTER_DNS)
    form = (lambda a: a) if family == socket.AF_INET else lab.v6
    outer, inner, victim = form(OUTER_DNS), form(INNER_DNS), form("10.20.0.9")
    udp_at = 14 + (20 if family == socket.AF_INET else 40)
    asked = [query(n, 1)[0] for n in NAMES]
    for host, server in (
        ("attacker", outer),
        ("insider", inner),
    ):  # neighbours know each other: nothing waits for that below
        with inside(host):
            kit.wait_until(lambda: ask(server, asked[0]), f"{host} is answered")
    with inside("attacker"):
        ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
        raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
    with inside("insider"):
        own = socket.socket(family, socket.SOCK_DGRAM)
        own.bind((victim, 4444))
        own.settimeout(0.3 * kit.slowness())
    with ear, raw, own:
        for target, message in itertools.product((outer, inner), asked):
            raw.sendto(udp_packet(victim, target, message), (target, 0))
        answers = []
        with pytest.raises(TimeoutError):
            while True:
                reply, sender = own.recvfrom(65535)
                answers.append((reply, sender[0]))
        assert [s for _, s in answers if s == outer]  # the packets did arrive, as from 10.20.0.9
        for reply, sender in answers:  # what went to the real one: from the outer listener refusals alone
            assert sender != outer or (reply[3] & 15 == 5 and not [s for s in SECRETS if s in reply])
        ear.setblocking(False)
        heard = []
        while True:
            try:
                heard.append(ear.recv(65535))
            except BlockingIOError:
                break
        replies = [
            f
            for f in heard
            if f[12:14] in (b"\x08\x00", b"\x86\xdd") and f[udp_at : udp_at + 2] == struct.pack(">H", 53)
        ]
        assert not [f for f in replies if any(s in f for s in SECRETS)]
        assert len(heard) >= len(asked)  # the ear works: it has heard what was sent


@pytest.mark.parametrize(
    "gateway",
    [
        "203.0.113.2",
        "203.0.113.3",
        "203.0.113.5",
        "203.0.113.7",
        "203.0.113.10",
        pytest.param("203.0.113.12", marks=pytest.mark.short),
    ],
)
def test_a_route_toward_vpc_leads_nowhere(lab, routes_to_vpc, gateway):
    """A host with two legs that forwards, or answers strangers on its inner address, is the way in."""
    targets = {x for host in lab.HOSTS for a in lab.addresses(host, "vpc") for x in (a, lab.v6(a))}
    with inside("insider"):  # from inside they are there
        assert len(that_connect(targets)) == 12 and not closed("10.20.0.11") and not closed("10.20.2.11")
    routes_to_vpc(gateway)
    with inside("attacker"):
        for address in that_connect(targets):
            # Linux answers for all addresses of a host on each of its legs: the program has to turn away who
            # comes
            assert gateway == "203.0.113.12" and address in (
                "10.20.1.12",
                "fd20::1:12",
                "10.20.2.12",
            ), address
            assert closed(address), address
        for a in (INNER_DNS, lab.v6(INNER_DNS)):
            for name in NAMES:  # the resolver's own host may answer on its inner address, but not as inside
                try:
                    reply = ask(a, query(name, 1)[0], timeout=0.05)
                    assert reply[3] & 15 == 5 and not [s for s in SECRETS if s in reply]
                except OSError:
                    pass


# what each host of inet offers there; everything else is closed
EXPECTED = {
    "203.0.113.2": {53},
    "203.0.113.3": {53},
    "203.0.113.5": {22},
    "203.0.113.7": {22},
    "203.0.113.10": {80},
    "203.0.113.11": {80},
    "203.0.113.12": {80},
    "203.0.113.50": set(),
    "203.0.113.51": set(),
}
EXPECTED_UDP = {address: {53} if 53 in EXPECTED[address] else set() for address in EXPECTED}


def nmap(lab, kind, ports, *targets, v6=False):
    """{address: ports that are not closed}"""
    done = lab.on(
        "attacker",
        "nmap",
        "-n",
        "-Pn",
        kind,
        "-T4",
        "--max-retries",
        "6",
        "--min-rate",
        "2000",
        "-p",
        ports,
        "-oG",
        "-",
        *(["-6"] if v6 else []),
        *targets,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    found = {}
    for line in done.stdout.splitlines():
        match = re.match(r"Host: (\S+) ", line)
        if match:  # open|filtered is what nmap says of silence on UDP
            found.setdefault(match[1], set()).update(
                int(p) for p in re.findall(r"(\d+)/open(?:\|filtered)?/", line)
            )
    return found


def scan(lab, kind, ports, expected):
    assert nmap(lab, kind, ports, *expected) == expected
    expected6 = {lab.v6(a): p for a, p in expected.items()}
    assert nmap(lab, kind, ports, *expected6, v6=True) == expected6


@pytest.fixture
def closed_ports_that_answer(lab):
    """A host says a thousandth as often as it is asked that a UDP port is closed, and silence is what an open
    one may give: without that limit each port of each host is seen as what it is."""
    files = ["ipv4/icmp_ratelimit", "ipv6/icmp/ratelimit", "ipv4/icmp_msgs_per_sec", "ipv4/icmp_msgs_burst"]
    hosts = [h for h, legs in lab.HOSTS.items() if "inet" in legs]
    before = {}
    for host, name in itertools.product(hosts, files):
        with inside(host):
            path = f"/proc/sys/net/{name}"
            before[host, path] = open(path).read()
            open(path, "w").write("0\n" if name.endswith("ratelimit") else "1000000\n")
    yield
    for (host, path), value in before.items():
        with inside(host):
            open(path, "w").write(value)


@pytest.mark.short
def test_nmap_finds_what_is_offered_and_nothing_else(lab):
    """A metrics page, a control socket, an instance's port: each more is one to attack."""
    scan(lab, "-sS", "1-1024,2222,5300,8000-8100,9000-9400", EXPECTED)


def test_nmap_finds_no_host_that_we_do_not_know(lab):
    """One that nobody looks after."""
    found = lab.on("attacker", "nmap", "-n", "-sn", "-oG", "-", "203.0.113.0/24").stdout
    assert set(re.findall(r"Host: (\S+)", found)) == {*EXPECTED, "203.0.113.66"}


@pytest.mark.short
def test_nmap_finds_no_udp_service_but_the_resolver(lab, closed_ports_that_answer):
    """A second DNS port that takes everybody for an insider, or a program's own socket that hears strangers'
    answers."""
    with inside("laptop"):
        canary = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        canary.bind(("203.0.113.50", 5300))
    with canary:  # a silent one would be seen
        assert nmap(lab, "-sU", "5299-5301", "203.0.113.50") == {"203.0.113.50": {5300}}
    scan(lab, "-sU", "1-200,2222,5300,5353,8000-8100,9000-9100", EXPECTED_UDP)


@pytest.mark.full
@pytest.mark.parametrize("kind,expected", [("-sS", EXPECTED), ("-sU", EXPECTED_UDP)])
def test_nmap_finds_nothing_on_any_port_of_either_family(lab, closed_ports_that_answer, kind, expected):
    """The same on the ports that nobody thought of."""
    scan(lab, kind, "1-65535", expected)


# --- the boundary, both fronts ---


def send(address, request):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(kit.PATIENCE)
        s.connect((address, 80))
        try:
            s.sendall(request)
        except (ConnectionResetError, BrokenPipeError):
            pass
        answer = b""
        while True:
            try:
                if answer and b"connection: close" not in answer.lower():
                    s.settimeout(0.15 * kit.slowness())
                part = s.recv(65536)
            except (ConnectionResetError, TimeoutError):
                return answer
            if not part:
                return answer
            answer += part


@pytest.mark.parametrize(
    "front,address,name",
    [
        pytest.param("listener", "203.0.113.12", "flags.smplkit.com", marks=pytest.mark.short),
        ("listener", "2001:db8:113::12", "flags.smplkit.com"),
        pytest.param("haproxy", "203.0.113.11", "config.smplkit.com", marks=pytest.mark.short),
        ("haproxy", "2001:db8:113::11", "config.smplkit.com"),
    ],
)
def test_the_boundary_suite_against_both_fronts(lab, front, address, name):
    """An internal call made from the internet: every customer's data."""

    def aim(request):
        return request.replace(b"Host: h\r\n", b"Host: " + name.encode() + b"\r\n").replace(
            b" http://h/", b" http://" + name.encode() + b"/"
        )

    service = "flags" if front == "listener" else "config-1"
    log = lab.WORK / service / "log"
    before = log.stat().st_size
    with inside("attacker"):
        outside = {send(address, aim(r)) for r in boundary.OUTSIDE}
        unrouted = {send(address, aim(r))[:13] for r in boundary.UNROUTED}
        malformed = [send(address, aim(r)) for r in boundary.MALFORMED]
    assert len(outside) == 1 and next(iter(outside)).startswith(b"HTTP/1.1 404 "), outside
    assert unrouted == {b"HTTP/1.1 404 "}
    # HAProxy repairs some (test_haproxy_front.py lists them); they are then ordinary calls of nothing
    assert all(
        a[9:12] in (b"", b"400", b"404") if front == "haproxy" else a[9:12] == b"400" for a in malformed
    ), malformed
    reached = [
        json.loads(line)
        for line in log.read_bytes()[before:].decode(errors="replace").rpartition("\n")[0].splitlines()
        if line.startswith('{"')
    ]
    # sisters and the internal balancer call inside all the time: what came by the public ones, or from
    # outside, counts
    inner = tuple(f"{a}:" for h in lab.HOSTS if lab.role(h) != "public" for a in lab.HOSTS[h].get("vpc", []))
    admitted = [
        r
        for r in reached
        if r.get("verdict") == "admitted"
        and r.get("target", "").startswith("/internal/")
        and r["target"] != "/internal/v1/ready"
        and not r["client"].startswith(inner)
    ]
    assert not admitted, admitted


# --- the bastion ---


def ssh(lab, *argv, user="dev", key="dev", host="laptop", address="203.0.113.5", check=None):
    return lab.on(
        host,
        "ssh",
        "-F",
        "none",
        "-i",
        lab.WORK / (host if key != "stranger" else "attacker") / key,
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        f"UserKnownHostsFile={lab.WORK / 'laptop' / 'known_hosts'}",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "BatchMode=yes",
        "-o",
        "ConnectTimeout=10",
        *argv,
        f"{user}@{address}",
    )


def audit(lab):
    return kit.json_lines(lab.WORK / "bastion" / "audit.jsonl")


def reload_bastion(lab):
    done = lab.on("bastion", lab.BIN / "smpl-bastion", "reload", "-c", lab.WORK / "bastion" / "bastion.yaml")
    assert done.returncode == 0, done.stderr


def wait_reason(lab, before, reason):
    kit.wait_until(
        lambda: reason in [r.get("reason") for r in audit(lab)[before:]],
        f"{reason} is audited; there is {audit(lab)[before:]}",
    )


@pytest.mark.short
@pytest.mark.parametrize("address", ["203.0.113.5", "2001:db8:113::5"])
def test_a_wrong_key_is_refused(lab, address):
    """The whole internal tier that a developer has."""
    before = len(audit(lab))
    assert ssh(lab, "-N", key="stranger", host="attacker", address=address).returncode == 255
    wait_reason(lab, before, "unknown-key")


@pytest.mark.short
def test_a_key_outside_its_hours_opens_nothing(lab):
    """A key that was lent for a night, or left in a script, would work for ever."""
    before = len(audit(lab))
    done = ssh(lab, "-W", "config.internal:80", user="night", key="night")
    assert done.returncode != 0
    wait_reason(lab, before, "outside-hours")


@pytest.mark.short
def test_an_expired_key_opens_nothing(lab):
    """What a former contractor still has in his folder."""
    before = len(audit(lab))
    keys = lab.WORK / "bastion" / "late.pub"
    text = keys.read_text()
    assert ssh(lab, "-W", "config.internal:80", user="late", key="late").returncode == 255
    wait_reason(lab, before, "key-expired")
    try:
        keys.write_text(text.replace("20200101", "20990101"))
        reload_bastion(lab)
        assert (
            ssh(lab, "-W", "config.internal:80", user="late", key="late").returncode == 0
        )  # the date alone was it
    finally:
        keys.write_text(text)
        reload_bastion(lab)
    assert ssh(lab, "-W", "config.internal:80", user="late", key="late").returncode == 255


@pytest.mark.short
def test_a_removed_key_opens_nothing_and_what_it_had_open_ends(lab):
    """Somebody who left the company."""
    before = len(audit(lab))
    keys = lab.WORK / "bastion" / "dev.pub"
    text = keys.read_text()
    tunnel = subprocess.Popen(
        lab.enter("laptop", lab.BIN / "smpl-tunnel", "0:config.internal"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ, SMPL_TUNNEL_CONFIG=str(lab.WORK / "laptop" / "tunnel.yaml")),
    )
    try:
        assert "http://localhost" in tunnel.stdout.readline()
        keys.write_text((lab.WORK / "bastion" / "night.pub").read_text())
        reload_bastion(lab)
        assert tunnel.wait(kit.PATIENCE) != 0
        wait_reason(lab, before, "policy-changed")
        before = len(audit(lab))
        assert ssh(lab, "-W", "config.internal:80").returncode == 255
        wait_reason(lab, before, "unknown-key")
    finally:
        keys.write_text(text)
        reload_bastion(lab)
        if tunnel.poll() is None:
            tunnel.terminate()
        tunnel.communicate()
    assert ssh(lab, "-W", "config.internal:80").returncode == 0


@pytest.mark.short
@pytest.mark.parametrize(
    "target,reason",
    [
        ("flags.internal:80", "not-granted"),  # a service without a grant
        ("config.internal:22", "port-not-granted"),  # another port of a granted one
        ("10.20.0.11:80", "not-granted"),  # the address behind a granted name
        ("alias.internal:80", "not-granted"),  # other names of the same address: a CNAME,
        ("other.internal:80", "not-granted"),  # an address record,
        ("config.smplkit.com:80", "not-granted"),
        ("config:80", "not-granted"),
        ("11.0.20.10.in-addr.arpa:80", "not-granted"),
        ("secret.internal:80", "not-granted"),
        ("[fd20::11]:80", "not-granted"),  # its IPv6 address
        ("[::ffff:10.20.0.11]:80", "not-granted"),
        ("[::ffff:a14:b]:80", "not-granted"),  # the address in IPv6 clothes
        ("[0:0:0:0:0:ffff:10.20.0.11]:80", "not-granted"),
        ("[::10.20.0.11]:80", "not-granted"),
        ("[64:ff9b::10.20.0.11]:80", "not-granted"),
        ("0x0a14000b:80", "not-granted"),
        ("169082891:80", "not-granted"),
        ("10.20.11:80", "not-granted"),  # and in those of inet_aton
        ("10.20.0.2:53", "not-granted"),  # the resolver, as an insider
        ("127.0.0.1:22", "not-granted"),
        ("localhost:22", "not-granted"),
        ("203.0.113.66:80", "not-granted"),
    ],
)
def test_the_bastion_opens_what_is_granted_and_nothing_else(lab, target, reason):
    """Any other host of vpc, seen from a laptop."""
    before = len(audit(lab))
    done = ssh(lab, "-W", target)
    assert done.returncode != 0 and "HTTP/" not in done.stdout
    kit.wait_until(
        lambda: [r for r in audit(lab)[before:] if r.get("reason") in (reason, "bad-target")],
        f"the refusal of {target} is audited",
    )
    assert not [r for r in audit(lab)[before:] if r.get("event") == "channel-open"]


# outside the grant's networks, as IPv4 and in IPv6 clothes
FORBIDDEN = (
    "203.0.113.66",
    "127.0.0.1",
    "169.254.169.254",
    "2001:db8:113::66",
    "::1",
    "::ffff:203.0.113.66",
    "::ffff:127.0.0.1",
    "64:ff9b::203.0.113.66",
    "2002:cb00:7142::1",
)


@pytest.mark.short
def test_a_name_that_is_pointed_elsewhere_after_the_check_leads_nowhere_else(lab):
    """DNS rebinding: a granted name whose TTL is 0 is answered with an address that may be reached, then with
    one that may not."""
    zone = lab.WORK / "resolver" / "internal.zone"
    text = zone.read_text()
    with inside("attacker"):
        trap = socket.create_server(("203.0.113.66", 80))
        trap.settimeout(0.1)
    before, outcomes = len(audit(lab)), set()
    with trap:
        try:
            for n, address in enumerate(
                ("10.20.0.11", *FORBIDDEN, "fd20::11", "10.20.0.5", "10.20.0.11", "127.0.0.1")
            ):
                kind = "AAAA" if ":" in address else "A"
                zone.write_text(
                    text.replace("SOA ns hostmaster 1 ", f"SOA ns hostmaster {n + 2} ")
                    + f"moving 0 {kind} {address}\n"
                )
                lab.reload_resolvers()
                done = ssh(lab, "-W", "moving.internal:80")
                outcomes.add((address, done.returncode == 0))
        finally:
            zone.write_text(text.replace("SOA ns hostmaster 1 ", "SOA ns hostmaster 99 "))
            lab.reload_resolvers()
        with pytest.raises(TimeoutError):
            trap.accept()
    assert outcomes == {(a, False) for a in FORBIDDEN} | {
        ("10.20.0.11", True),
        ("fd20::11", True),
        ("10.20.0.5", False),
    }
    opened = {r["address"] for r in audit(lab)[before:] if r.get("event") == "channel-open"}
    assert opened == {
        "10.20.0.11:80",
        "[fd20::11]:80",
    }, opened  # 10.20.0.5:80 is granted, and closed: nothing was opened there


class FlippingDns:
    """A name server on a host inside that answers each question for an address with the next of its answers,
    TTL 0."""

    def __init__(self, address, answers):
        self.answers, self.asked = answers, 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 53))
        self.socket.settimeout(0.1)
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.ending.is_set():
            try:
                message, peer = self.socket.recvfrom(4096)
            except TimeoutError:
                continue
            end = message.index(b"\0", 12) + 5
            records = []
            if message[end - 4 : end] == b"\0\1\0\1":
                records = self.answers[self.asked % len(self.answers)]
                self.asked += 1
            body = b"".join(struct.pack(">HHHIH", 0xC00C, 1, 1, 0, 4) + socket.inet_aton(a) for a in records)
            self.socket.sendto(
                message[:2] + struct.pack(">HHHHH", 0x8580, 1, len(records), 0, 0) + message[12:end] + body,
                peer,
            )

    def close(self):
        self.ending.set()
        self.thread.join()
        self.socket.close()


@pytest.mark.short
def test_a_name_that_changes_between_two_questions_is_asked_once(lab):
    """Checked with one answer, connected to with the next: any host of vpc, or the bastion's own loopback."""
    policy = lab.WORK / "bastion" / "bastion.yaml"
    text = policy.read_text()
    with inside("attacker"):
        trap = socket.create_server(("203.0.113.66", 80))
        trap.settimeout(0.1)
    with inside("insider"):
        dns = FlippingDns(
            "10.20.0.9",
            [["10.20.0.11"], ["203.0.113.66"], ["10.20.0.11"], ["127.0.0.1"], ["10.20.0.11", "203.0.113.66"]],
        )
    before = len(audit(lab))
    try:
        policy.write_text(text.replace(f"servers: {json.dumps(lab.RESOLVERS)}", 'servers: ["10.20.0.9:53"]'))
        reload_bastion(lab)
        worked = [ssh(lab, "-W", "moving.internal:80").returncode == 0 for _ in range(10)]
        with pytest.raises(TimeoutError):
            trap.accept()
    finally:
        policy.write_text(text)
        reload_bastion(lab)
        dns.close()
        trap.close()
    assert worked == [True, False, True, False, False] * 2 and dns.asked == 10
    assert [r["address"] for r in audit(lab)[before:] if r.get("event") == "channel-open"] == [
        "10.20.0.11:80"
    ] * 4


# --- what is allowed works ---


def test_docs_in_a_browser_on_the_laptop_through_the_tunnel(lab, tmp_path):
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By

    tunnel = subprocess.Popen(
        lab.enter("laptop", lab.BIN / "smpl-tunnel", "8080:config.internal"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ, SMPL_TUNNEL_CONFIG=str(lab.WORK / "laptop" / "tunnel.yaml")),
    )
    try:
        assert "http://localhost:8080" in tunnel.stdout.readline()
        options = Options()
        options.binary_location = "/usr/bin/chromium"
        for flag in (
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={tmp_path}/chromium",
        ):
            options.add_argument(flag)
        with inside("laptop"):
            browser = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
            try:
                browser.get("http://localhost:8080/docs")
                kit.wait_until(
                    lambda: len(browser.find_elements(By.CSS_SELECTOR, ".opblock")) >= 5,
                    "the page lists the calls",
                )
                text = browser.find_element(By.TAG_NAME, "body").text
                assert "/internal/v1/health" in text and "/api/v1/configs" in text
                browser.get("http://203.0.113.11/docs")
                assert (
                    "Not Found" in browser.page_source
                )  # and in front of it, where customers are, there is no such page
            finally:
                browser.quit()
    finally:
        tunnel.send_signal(2)
        tunnel.communicate()
    assert tunnel.returncode == 0


@pytest.mark.short
def test_a_customer_and_a_developer_get_what_is_theirs(lab):
    key = (lab.WORK / "laptop" / "api_key").read_text().strip()
    for family, name in itertools.product(("-4", "-6"), ("config", "flags")):
        done = lab.on(
            "laptop",
            "curl",
            "-sS",
            family,
            "--max-time",
            str(kit.PATIENCE),
            "-H",
            f"Authorization: Bearer {key}",
            f"http://{name}.smplkit.com/api/v1/{name.rstrip('s')}s",
        )
        assert '"data":' in done.stdout, done.stdout + done.stderr


# --- the lab itself ---


@pytest.mark.short
def test_nothing_forwards_between_the_networks(lab):
    for host, legs in lab.HOSTS.items():
        for family in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            with inside(host):
                assert open(f"/proc/sys/net/{family}").read() == "0\n", host
        addresses = json.loads(lab.run("ip", "-n", lab.netns(host), "-j", "addr").stdout)
        assert {a["ifname"] for a in addresses} == {"lo", *legs}, host
        assert not [
            r
            for r in json.loads(lab.run("ip", "-n", lab.netns(host), "-j", "route").stdout)
            if r["dst"] == "default"
        ], host
