# SPDX-License-Identifier: Apache-2.0
"""One of two hosts is switched off, frozen or killed under load, and comes back: whoever asks is answered by
the other one, and no answer is wrong. How long it takes is measured by ./dev lab outages, and not judged
here."""

import os
import shutil
import socket
import struct
import subprocess
import time

import pytest

import kit
import outages
from conftest import inside


@pytest.fixture(scope="module")
def load(lab):
    made = outages.Load(seconds=120 if os.environ.get("SMPL_LAB_SHORT") == "1" else 750)
    made.wait_for(sorted({s for streams in outages.NOTICED.values() for s in streams}), time.monotonic())
    yield made
    made.end()


# None of them in ./dev test: who holds an address follows from checks in time, which a machine that does much
# else at once does not keep.
CASES = [
    pytest.param(
        host,
        fault,
        id=f"{host}-{fault}",
        marks=[pytest.mark.full] if fault == "link" and host not in ("public", "config") else [],
    )
    for host in outages.HOSTS
    for fault in outages.FAULTS
]


@pytest.mark.parametrize("host,fault", CASES)
def test_one_of_two_breaks_and_the_other_answers(lab, load, host, fault):
    streams = outages.NOTICED[host]
    target = load.bastion() if host == "bastion" else outages.holder(host)
    began = time.monotonic()
    outages.break_it(target, fault)
    load.wait_for(streams, began)
    broken = load.records()
    outages.mend(target, fault)
    load.wait_for(streams, time.monotonic())
    records = load.records()
    assert outages.wrong(records) == []
    assert [r for r in broken if r[0] in streams and r[3] == "ok" and r[1] >= began]
    if host in lab.MOVING:
        assert lab.has_addresses(lab.twin(target)) and not lab.has_addresses(target)  # and they stay there


def test_only_the_outer_link_of_the_public_balancer_is_lost(lab, load):
    """Its private leg still works, and it could say that all is well."""
    target = outages.holder("public")
    began = time.monotonic()
    lab.pull(target, ["inet"])
    try:
        load.wait_for(outages.NOTICED["public"], began + 1)
        assert lab.has_addresses(lab.twin(target))
    finally:
        lab.pull(target, ["inet"], back=True)
    assert outages.wrong(load.records()) == []


@pytest.mark.short
@pytest.mark.parametrize("host", ["public", "public-2", "internal", "internal-2", "flags", "flags-2"])
def test_keepalived_accepts_the_examples(lab, host):
    """Those of app/haproxy/keepalived/, and what the second of two makes of them, at the place where they say
    their check is."""
    example = lab.keepalived_example(host)
    lab.write(f"{host}/example.conf", example)
    check = lab.ROOT / "app" / "haproxy" / "keepalived" / "alive"
    done = lab.on(
        host,
        "sh",
        "-c",
        f"cp {check} /tmp/alive.$$ && mount -t tmpfs -o mode=755 none /usr/share && install -D -m 755 "
        "/tmp/alive.$$ /usr/share/smpl-balancer/alive &&"
        f" rm /tmp/alive.$$ && exec {shutil.which('keepalived', path='/usr/sbin:/usr/bin')} -t -f "
        f"{lab.WORK / host / 'example.conf'}",
    )
    assert done.returncode == 0 and done.stderr == "", done.stdout + done.stderr
    assert "advert_int 0.25" in example and "enable_script_security" in example
    assert (lab.WORK / host / "keepalived.conf").read_text() == lab.here(
        host, example
    )  # and the lab runs no other


@pytest.mark.short
def test_adverts_stay_off_the_public_network(lab):
    """Whoever hears them there learns the pair's numbers, and says with a higher one that the addresses are
    his."""
    for host in ("public", "public-2", "flags", "flags-2"):
        text = (lab.WORK / host / "keepalived.conf").read_text()
        assert "interface vpc" in text and "unicast_peer" in text
    heard = subprocess.run(
        lab.enter(
            "attacker",
            "timeout",
            "3",
            "/usr/bin/python3",
            "-c",
            """
import socket
ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
ear.settimeout(2)
try:
    while True:
        frame = ear.recv(2000)
        if frame[12:14] == b"\\x08\\x00" and frame[23] == 112: print("advert")
except TimeoutError:
    pass
""",
        ),
        capture_output=True,
        text=True,
    )
    assert "advert" not in heard.stdout


@pytest.mark.short
def test_the_judge_of_outages():
    """A silence, a failure and a wrong answer are seen; what is fine is not."""
    records = [("internal, new", t / 10, t / 10 + 0.01, "ok", "") for t in range(100) if not 20 <= t < 45]
    seen = outages.of_stream(records, "internal, new", 0, 10)
    assert 2500 <= seen["gap_ms"] <= 2700 and seen["wait_ms"] == 10 and seen["failed"] == 0
    row = {
        "host": "internal",
        "fault": "kill",
        "wrong": [],
        "gone": {s: dict(seen) for s in outages.NOTICED["internal"]},
        "back": {
            s: {"gap_ms": 100, "wait_ms": 10, "failed": 0, "vain_ms": 0, "why": []}
            for s in outages.NOTICED["internal"]
        },
    }
    assert [m for m in outages.missed(row) if "internal, new 2600 ms, goal 2000" in m]
    row["gone"] = row["back"]
    assert outages.missed(row) == []
    for host in outages.HOSTS:
        fine = {
            s: {"gap_ms": 100, "wait_ms": 10, "failed": 0, "vain_ms": 0, "why": []}
            for s in (*outages.NOTICED[host], "tunnel")
        }
        assert f"| {host} | SIGSTOP | 100 | 10 | 0 | 100 | 100 | 0 |" in outages.table(
            [{"host": host, "fault": "freeze", "gone": fine, "back": fine}]
        )
    row["wrong"] = [("internal, new", 1, 2, "wrong", "404")]
    assert len(outages.missed(row)) == 1
    seen = outages.of_stream([*records, ("internal, new", 1, 31, "failed", "x")], "internal, new", 0, 40)
    assert seen["failed"] == 1 and seen["vain_ms"] == 30000


def advert(source, target, number):
    """A VRRPv3 advert (RFC 5798 §5) of the highest priority, with the IPv4 head that carries it."""

    def checksum(data):
        total = sum(struct.unpack(f">{len(data) // 2}H", data))
        while total > 0xFFFF:
            total = (total >> 16) + (total & 0xFFFF)
        return ~total & 0xFFFF

    ends = socket.inet_aton(source) + socket.inet_aton(target)
    body = (
        lambda sum_: struct.pack(">BBBBHH", 0x31, number, 255, 2, 25, sum_)
        + socket.inet_aton("203.0.113.10")
        + socket.inet_aton("203.0.113.11")
    )
    body = body(checksum(ends + struct.pack(">BBH", 0, 112, 16) + body(0)))
    return struct.pack(">BBHHHBBH", 0x45, 0xC0, 20 + len(body), 1, 0, 255, 112, 0) + ends + body


def send_adverts(source, target, to):
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as s:
        for _ in range(20):
            s.sendto(advert(source, target, 10), (to, 0))
            time.sleep(0.05)


def test_an_advert_from_the_public_network_takes_no_address_away(lab):
    """With a source and a number as the other balancer's: the attacker would silence the public balancer, or
    be it."""

    def state():
        target = outages.holder("public")
        own, other = (lab.HOSTS[h]["vpc"][0] for h in (target, lab.twin(target)))
        log = lab.WORK / target / "log"
        return target, own, other, lambda: log.read_text(errors="replace").count("Entering BACKUP STATE")

    def outside_stands():
        target, own, other, backups = state()
        before = backups()
        lab.run("ip", "-n", lab.netns("attacker"), "route", "replace", "10.20.0.0/16", "via", "203.0.113.10")
        try:
            with inside("attacker"):
                send_adverts(other, "203.0.113.10", "203.0.113.10")
                send_adverts(other, own, own)
        finally:
            lab.run("ip", "-n", lab.netns("attacker"), "route", "del", "10.20.0.0/16", check=False)
        return lab.has_addresses(target) and backups() == before

    # on a busy machine the pair may change sides by itself; what an advert does it does each time
    kit.wait_until(outside_stands, "the addresses stay where they are")
    target, own, other, backups = state()
    before = backups()
    with inside("insider"):  # the same from vpc is heard: who is inside is trusted with this
        send_adverts(other, own, own)
    kit.wait_until(lambda: backups() > before, "the advert was one")
    kit.wait_until(
        lambda: lab.has_addresses(target) or lab.has_addresses(lab.twin(target)),
        "one of them has the addresses",
    )
