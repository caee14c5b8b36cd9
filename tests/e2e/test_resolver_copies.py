# SPDX-License-Identifier: Apache-2.0
"""One bad zone does not take the others away at a start: its last good copy is served, or nothing, and never
somebody else's data."""

import json
import os
import re
import signal
from pathlib import Path

import pytest

import kit
from resolver_world import COM_ZONE, INTERNAL_ZONE, PRIVATE, PUBLIC, Resolver, query, rcode, split

NAMES = [
    "internal.smplkit.local",
    "config.internal.smplkit.local",
    "_http._tcp.config.internal.smplkit.local",
    "alias.internal.smplkit.local",
    "x.wild.internal.smplkit.local",
    "nope.internal.smplkit.local",
    "big.internal.smplkit.local",
]
COPIES = ["internal.smplkit.local.copy", "smplkit.com@vpc.copy", "smplkit.com@world.copy"]
TYPES = [1, 2, 6, 15, 16, 28, 33, 255]


class World(Resolver):
    def __init__(self, spawn, work, more="state: state\nwatch: true\nmetrics: 127.41.0.1:{metrics}\n"):
        super().__init__(spawn, work)
        self.metrics_port = kit.free_port("127.41.0.1")
        self.state = self.work / "state"
        self.state.mkdir(mode=0o700, exist_ok=True)
        self.more = more.format(metrics=self.metrics_port)
        self.write_config(more=self.more)

    def keep(self):
        """Waits until all copies are there and whole."""
        kit.wait_until(lambda: all((self.state / name).exists() for name in COPIES), "copies are kept")

    def stop(self):
        assert self.program.stop() == 0

    def ask(self, name, kind=1, source=PRIVATE):
        with self.udp(source) as s:
            s.send(query(name, kind))
            return s.recv(65535)

    def all_answers(self):
        return {(name, kind): split(self.ask(name, kind)) for name in NAMES for kind in TYPES}

    def metric(self, name):
        text = kit.run(kit.tool("curl"), "-sS", f"http://127.41.0.1:{self.metrics_port}/metrics").stdout
        return float(re.search(rf"^{name} (\S+)$", text, re.M)[1])

    def status(self):
        return json.loads(self.command("status", "-c", self.config, "--json").stdout)

    def check(self):
        return self.command("check", "-c", self.config)


@pytest.fixture
def world(spawn, work):
    return World(spawn, work)


BAD = {
    "syntax": "$TTL 60\n@ SOA broken\n",
    "empty": "",
    "missing": None,
    "no NS": "$TTL 60\n@ SOA a b 1 1 1 1 1\n",
}


def spoil(world, name="internal.zone", how="syntax"):
    if BAD[how] is None:
        (world.work / name).unlink()
    else:
        (world.work / name).write_text(BAD[how])


def refused(world, name):
    """As outside always was: byte for byte."""
    return (
        split(world.ask(name, source=PUBLIC)) == split(world.ask("no.such.name", source=PUBLIC))
        and rcode(world.ask(name, source=PUBLIC)) == 5
    )


@pytest.mark.parametrize("how", BAD)
def test_without_a_copy_the_others_are_served_and_the_bad_one_is_servfail(spawn, work, how):
    world = World(spawn, work, more="")
    spoil(world, how=how)
    world.start()
    assert re.search(
        r"error: zone 'internal\.smplkit\.local' is not available.*no copy can be served: none is kept "
        r"\(state:\)",
        world.program.stderr,
    )
    assert world.dig("app.smplkit.com", "+short") == "127.10.1.10"
    assert world.dig("app.smplkit.com", "+short", source=PUBLIC) == "127.20.1.10"
    for name in NAMES:
        assert rcode(world.ask(name)) == 2  # never NXDOMAIN: nobody knows whether it is there
        assert refused(world, name)
    assert "EDE: 14" in world.dig(NAMES[1])
    assert "status: SERVFAIL" in world.dig("metrics.smplkit.com")  # whose CNAME leads there
    assert "status: NOERROR" in world.dig("metrics.smplkit.com", source=PUBLIC)
    status = world.status()
    assert [(z["name"], z["source"]) for z in status["bad_zones"]] == [("internal.smplkit.local", "none")]
    assert (
        "BAD ZONE       internal.smplkit.local: not available"
        in world.command("status", "-c", world.config).stdout
    )
    check = world.check()
    assert (
        check.returncode == 1
        and "a start would answer SERVFAIL for zone 'internal.smplkit.local'" in check.stderr
    )
    why = world.command("explain", NAMES[1], "--from", PRIVATE, "--socket", world.socket).stdout
    assert "SERVFAIL" in why and "could not be read at the start" in why


def test_a_zone_that_is_broken_at_a_start_is_served_from_its_last_good_copy_and_everybody_is_told(world):
    world.start().keep()
    before = world.all_answers()
    assert world.status()["bad_zones"] == [] and world.status()["copies_kept"] is True
    world.stop()
    spoil(world)
    check = world.check()
    assert check.returncode == 1
    assert (
        re.search(r"internal\.zone:2: ", check.stderr)
        and "a start would serve its last good copy, serial 1" in check.stderr
    )
    world.start()
    assert re.search(
        r"error: zone 'internal\.smplkit\.local' is served from its last good copy \(serial 1, of "
        r"\d{4}-.*internal\.zone:2: ",
        world.program.stderr,
    )
    assert world.all_answers() == before
    assert all(refused(world, name) for name in NAMES)
    (bad,) = world.status()["bad_zones"]
    assert (bad["name"], bad["source"], bad["serial"]) == (
        "internal.smplkit.local",
        "copy",
        1,
    ) and "internal.zone:2" in bad["why"]
    assert "served from its last good copy" in world.command("status", "-c", world.config).stdout
    assert (
        world.metric("smpl_resolver_zones_from_copy"),
        world.metric("smpl_resolver_zones_unavailable"),
        world.metric("smpl_resolver_copies_kept"),
    ) == (1, 0, 1)
    # a reload is as strict as ever, and what mends the file ends it
    done = world.command("reload", "-c", world.config)
    assert done.returncode == 1 and "internal.zone:2" in done.stderr
    assert world.all_answers() == before
    world.write_zone("internal.zone", INTERNAL_ZONE.replace("hostmaster 1", "hostmaster 2"))
    kit.wait_until(lambda: world.status()["bad_zones"] == [], "the mended file was noticed")
    assert world.metric("smpl_resolver_zones_from_copy") == 0
    assert "internal.smplkit.local. 60 IN SOA" in world.dig("internal.smplkit.local", "SOA").replace(
        "\t", " "
    )


def test_every_bad_zone_is_told_of_and_each_has_its_own_copy(world):
    world.start().keep()
    world.stop()
    spoil(world)
    spoil(world, "com.vpc.zone", "missing")
    spoil(world, "com.world.zone", "empty")
    check = world.check()
    assert (
        check.returncode == 1
        and check.stderr.count("a start would serve its last good copy") == 3
        and len(check.stderr.splitlines()) == 3
    )
    world.start()
    assert world.dig("app.smplkit.com", "+short") == "127.10.1.10"
    assert world.dig("app.smplkit.com", "+short", source=PUBLIC) == "127.20.1.10"
    assert len(world.status()["bad_zones"]) == 3


def swap(text, a, b):
    return text.replace(a, "\0").replace(b, a).replace("\0", b)


def test_a_copy_never_comes_to_a_view_that_did_not_have_it(world):
    """Zones change places in the configuration, then both files are bad: private data would be public."""
    world.start().keep()
    world.stop()
    spoil(world, "com.vpc.zone")
    spoil(world, "com.world.zone")
    text = world.config.read_text()
    views, zones = text.split("zones:\n", 1)
    world.config.write_text(swap(views, "smplkit.com@vpc", "smplkit.com@world") + "zones:\n" + zones)
    world.start()
    for source in (PRIVATE, PUBLIC):
        assert rcode(world.ask("app.smplkit.com", source=source)) == 2
    assert "view 'world' did not have the zone when its last good copy was made" in world.program.stderr
    world.stop()
    world.config.write_text(text)
    world.start()  # and where it stands as it stood it is served
    assert world.dig("app.smplkit.com", "+short") == "127.10.1.10"


def test_a_copy_of_a_private_view_is_not_served_once_the_view_is_open_to_strangers(world):
    world.start().keep()
    world.stop()
    spoil(world)
    world.write_config(vpc="[127.10.0.0/16, 198.51.100.0/24]", more=world.more)
    world.start()
    assert rcode(world.ask(NAMES[1])) == 2
    assert "view 'vpc' was private when the last good copy was made" in world.program.stderr


@pytest.mark.parametrize("harm", ["cut", "changed", "another zone's", "empty", "a folder"])
def test_a_copy_that_is_not_whole_is_not_served(world, harm):
    world.start().keep()
    world.stop()
    spoil(world)
    copy, other = world.state / COPIES[0], world.state / COPIES[2]
    text = copy.read_bytes()
    if harm == "a folder":
        copy.unlink()
        copy.mkdir()
    else:
        copy.write_bytes(
            {
                "cut": text[:-70],
                "changed": text.replace(b"7f0a010b", b"7f0a010c"),
                "another zone's": other.read_bytes(),
                "empty": b"",
            }[harm]
        )
    world.start()
    assert rcode(world.ask(NAMES[1])) == 2 and all(refused(world, name) for name in NAMES)
    assert world.metric("smpl_resolver_zones_unavailable") == 1
    assert world.dig("app.smplkit.com", "+short") == "127.10.1.10"


def test_kill_9_at_any_instant_leaves_a_whole_copy(world):
    """Reloads that change the zone, and kill -9 of the resolver, or of the process that writes, while copies
    are written."""
    world.start().keep()
    for serial in range(2, 14):
        world.write_zone(
            "internal.zone",
            INTERNAL_ZONE.replace("hostmaster 1", f"hostmaster {serial}")
            + f"$GENERATE 0-3000 g{serial}-$ A 127.13.0.1\n",
        )
        assert world.command("reload", "-c", world.config).returncode == 0
        if serial % 3 == 0:
            (keeper,) = kit.children(world.program.pid)
            os.kill(keeper, signal.SIGKILL)
        world.program.kill9()
        spoil(world)
        world.start()
        kept = world.status()["bad_zones"][0]
        assert kept["source"] == "copy" and 1 <= kept["serial"] <= serial
        assert world.dig("config.internal.smplkit.local", "+short") == "127.10.1.11"
    assert not [name for name in os.listdir(world.state) if name not in [*COPIES, "lock", COPIES[0] + ".new"]]


def test_when_the_writer_is_gone_that_is_said_and_queries_go_on(world):
    world.start().keep()
    (keeper,) = kit.children(world.program.pid)
    assert Path(f"/proc/{keeper}/comm").read_text() == "smpl-keeper\n"
    os.kill(keeper, signal.SIGKILL)
    world.write_zone("internal.zone", INTERNAL_ZONE.replace("hostmaster 1", "hostmaster 2"))
    world.program.wait_line("error: state: .*no more copies of zones are kept until a restart")
    kit.wait_until(
        lambda: world.metric("smpl_resolver_copies_kept") == 0 and world.status()["copies_kept"] is False,
        "it is said there too",
    )
    assert "CANNOT BE KEPT" in world.command("status", "-c", world.config).stdout
    assert world.dig("config.internal.smplkit.local", "+short") == "127.10.1.11"
    world.write_zone("internal.zone", INTERNAL_ZONE.replace("hostmaster 1", "hostmaster 3"))
    kit.wait_until(lambda: " 3 3600" in world.dig("internal.smplkit.local", "SOA"), "reloads go on as well")


def test_two_resolvers_with_one_folder_the_second_does_not_start(world, work, spawn):
    world.start().keep()
    (work / "second").mkdir()
    second = World(spawn, work / "second")
    second.write_config(address="127.41.0.2", more=f"state: {world.state}\n")
    program = spawn(kit.binary("smpl-resolver"), "-c", second.config)
    assert program.wait() == 1 and re.search(
        r"resolver\.yaml:\d+:\d+: state: another resolver keeps its copies in", program.stderr
    )
    world.program.kill9()
    world.start()  # the lock ends with its owner


@pytest.mark.parametrize("state", ["nowhere", "internal.zone"])
def test_a_folder_that_cannot_be_used_is_told_and_keeps_nothing_from_starting(spawn, work, state):
    world = World(spawn, work, more=f"state: {state}\nmetrics: 127.41.0.1:{{metrics}}\n")
    world.start()
    assert re.search("error: state: .*: no copies of zones are kept", world.program.stderr)
    kit.wait_until(
        lambda: world.metric("smpl_resolver_copies_kept") == 0 and world.status()["copies_kept"] is False,
        "it is said there too",
    )
    assert world.dig("config.internal.smplkit.local", "+short") == "127.10.1.11"


def test_serials_that_go_back_and_other_data_with_the_same_one_are_warnings(world):
    world.write_zone("internal.zone", INTERNAL_ZONE.replace("hostmaster 1", "hostmaster 5"))
    world.start().keep()
    world.write_zone("internal.zone", INTERNAL_ZONE.replace("hostmaster 1", "hostmaster 4"))
    world.program.wait_line(r"warning: zone 'internal\.smplkit\.local': its serial went back from 5 to 4$")
    world.write_zone(
        "internal.zone", INTERNAL_ZONE.replace("hostmaster 1", "hostmaster 4") + "more A 127.10.1.12\n"
    )
    world.program.wait_line(
        r"warning: zone 'internal\.smplkit\.local': other data with the same serial 4 as before$"
    )
    kit.wait_until(
        lambda: world.dig("more.internal.smplkit.local", "+short") == "127.10.1.12",
        "it is served all the same",
    )
    kit.wait_until(lambda: b"more.internal" in (world.state / COPIES[0]).read_bytes(), "and kept")
    world.stop()
    world.write_zone("internal.zone", INTERNAL_ZONE.replace("hostmaster 1", "hostmaster 3"))
    check = world.check()
    assert check.returncode == 0 and "serial went back from 4 to 3 (of its last good copy)" in check.stdout
    world.start()  # a restart remembers
    assert "serial went back from 4 to 3 (of its last good copy)" in world.program.stderr
    mark = len(world.program.err)
    (world.work / "com.vpc.zone").write_text(COM_ZONE.format(app="127.10.1.10") + "; the same records\n")
    kit.wait_until(lambda: world.status()["reloads"] >= 1, "a comment is no other data")
    assert not [line for line in world.program.err[mark:] if "warning" in line]


def test_only_what_changed_is_written_again(world):
    world.start().keep()
    before = {name: (world.state / name).stat().st_mtime_ns for name in COPIES}
    world.stop()
    world.start()
    world.write_zone("com.world.zone", COM_ZONE.format(app="127.20.1.99"))
    kit.wait_until(
        lambda: (world.state / COPIES[2]).stat().st_mtime_ns != before[COPIES[2]], "the changed one is kept"
    )
    assert {name: (world.state / name).stat().st_mtime_ns for name in COPIES[:2]} == {
        name: before[name] for name in COPIES[:2]
    }


@pytest.mark.walls
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_copies_belong_to_the_user_and_no_other_process_may_write_them(world):
    os.chown(world.state, 65534, 65534)
    (world.work / "run").mkdir()
    os.chown(world.work / "run", 65534, 65534)
    world.config.write_text(
        world.config.read_text().replace("control: r.sock", "control: run/r.sock") + "user: nobody\n"
    )
    world.start().keep()
    (keeper,) = kit.children(world.program.pid)
    for pid in (world.program.pid, keeper):
        status = Path(f"/proc/{pid}/status").read_text()
        assert (
            re.search(r"^Uid:\t65534\t65534\t65534\t65534$", status, re.M)
            and re.search(r"^Seccomp:\t2$", status, re.M)
            and "NoNewPrivs:\t1" in status
        )
    assert all(
        (world.state / name).stat().st_uid == 65534 and (world.state / name).stat().st_mode & 0o777 == 0o600
        for name in COPIES
    )
    assert len(os.listdir(f"/proc/{keeper}/fd")) <= 7  # standard ones, its socket, the folder, the lock
    world.stop()
    kit.wait_until(lambda: not kit.alive(keeper), "it ends with the resolver")
    spoil(world)
    world.start()
    assert world.dig("config.internal.smplkit.local", "+short") == "127.10.1.11"
