# SPDX-License-Identifier: Apache-2.0
"""A target with several addresses: they race (RFC 8305), the first that stands is taken, the others leave
nothing behind. Bounds are generous; without the race each of these would take five seconds at least."""

import os
import time

import pytest

import kit
from bastion_world import SOURCE, WEB, world

paramiko = pytest.importorskip("paramiko", reason="python3-paramiko is not installed")
from ssh_client import Client, Target, echo  # noqa: E402
from bastion_targets import Unanswering, ping  # noqa: F401 (a fixture)

SECOND = "127.42.1.12"
GRANT = """\
  - groups: [developers]
    targets: ["*.internal.smplkit.local:*"]
    networks: [127.42.0.0/16, "::1/128"]
"""


@pytest.fixture
def both(world):
    """A bastion that connects by both families, and things to close at the end."""
    w = world(start=False)
    w.write(grants=GRANT, users="  - {name: dev, keys: dev.pub, groups: [developers]}\n")
    path = w.work / "bastion.yaml"
    path.write_text(path.read_text().replace(f"connect_from: [{SOURCE}]", f'connect_from: [{SOURCE}, "::1"]'))
    w.start()
    things = []
    yield w, things
    for thing in reversed(things):
        thing.close()


def target_at(address, port, things):
    """An echo target at a port that another address has too."""
    try:
        things.append(Target(address, echo, port=port))
    except OSError as e:
        pytest.skip(f"[{address}]:{port} cannot be listened on: {e}")
    return things[-1]


def open_and_ping(w, things, name, port):
    """The address that a channel stands at."""
    things.append(Client(w))
    before = sockets(w)
    channel = things[-1].open(f"{name}.internal", port)
    ping(channel)
    kit.wait_until(lambda: sockets(w) == before + 1, "only the winner's socket stays")
    return w.records("channel-open")[-1]["address"]


def sockets(w):
    folder = f"/proc/{w.bastion.pid}/fd"
    links = []
    for fd in os.listdir(folder):
        try:
            links.append(os.readlink(f"{folder}/{fd}"))
        except OSError:
            pass
    return sum(link.startswith("socket:") for link in links)


@pytest.mark.short
def test_an_address_that_says_nothing_holds_up_the_other_family_for_a_moment_only(both):
    w, things = both
    things.append(Unanswering(WEB))
    served = target_at("::1", things[0].port, things)
    began = time.monotonic()
    assert open_and_ping(w, things, "twofold", served.port) == f"[::1]:{served.port}"
    assert time.monotonic() - began > 0.2


def test_an_address_that_refuses_holds_up_the_other_family_not_at_all(both):
    w, things = both
    port = kit.free_port(WEB, "::1")
    target_at("::1", port, things)
    assert open_and_ping(w, things, "twofold", port) == f"[::1]:{port}"


def test_of_one_family_the_second_address_serves_when_the_first_says_nothing_or_refuses(both):
    w, things = both
    mute = Unanswering(WEB)
    things.append(mute)
    target_at(SECOND, mute.port, things)
    assert open_and_ping(w, things, "pair", mute.port) == f"{SECOND}:{mute.port}"
    port = kit.free_port(WEB, SECOND)
    target_at(SECOND, port, things)
    assert open_and_ping(w, things, "pair", port) == f"{SECOND}:{port}"


def test_a_target_whose_addresses_all_refuse_is_refused_at_once(both):
    w, things = both
    port = kit.free_port(WEB, SECOND)
    things.append(Client(w))
    with pytest.raises(paramiko.ChannelException):
        things[-1].open("pair.internal", port)
    assert w.wait_record("channel-refused")["reason"] == "connection-refused"


def test_a_session_that_ends_takes_its_connects_under_way_with_it(both):
    w, things = both
    mute = [Unanswering(WEB)]
    things.append(mute[0])
    before = sockets(w)
    client = Client(w)
    things.append(client)
    kit.wait_until(lambda: len(w.sessions()) == 1, "the session")
    for i in range(20):
        client.open_unasked(100 + i, "config.internal", mute[0].port)
    kit.wait_until(lambda: sockets(w) >= before + 20, "connects are under way")
    client.close()
    kit.wait_until(lambda: sockets(w) <= before, "nothing is left of them")


def test_a_target_of_a_family_that_connect_from_leaves_out_is_refused_with_that_reason(world):
    """And so is one that is to be reached from an address that this machine has not."""
    w = world()
    path = w.work / "bastion.yaml"
    usual = f"connect_from: [{SOURCE}]"
    w.write(
        grants=f"  - {{groups: [developers], targets: ['[::1]:{w.port}', '{WEB}:{w.port}'], networks: "
        f"['::1/128', 127.42.0.0/16]}}\n"
    )
    w.command("reload")
    for wrong, target in (
        (usual, "::1"),
        ("connect_from: ['::1']", WEB),
        ("connect_from: [192.0.2.77]", WEB),
    ):
        path.write_text(path.read_text().replace(usual, wrong))
        w.command("reload")
        before = len(w.records("channel-refused"))
        assert w.ssh("-W", f"[{target}]:{w.port}").returncode != 0
        kit.wait_until(lambda: len(w.records("channel-refused")) > before, "the refusal is on record")
        assert w.records("channel-refused")[-1]["reason"] == "no-source-address", wrong
        path.write_text(path.read_text().replace(wrong, usual))
    w.command("reload")
    assert w.ssh("-W", f"{WEB}:{w.port}").returncode == 0
