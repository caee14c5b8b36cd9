# SPDX-License-Identifier: Apache-2.0
"""What all users of a bastion share, and one who takes all he can: counted, what he gets and who is
refused."""

import os
import socket
import struct
import threading

import pytest

import kit

pytest.importorskip("paramiko", reason="python3-paramiko is not installed")
import paramiko  # noqa: E402
from ssh_client import Client, Target, stall  # noqa: E402
from bastion_world import BASTION, DNS, WEB, World  # noqa: E402

USERS = (
    "  - {name: dev, keys: dev.pub, groups: [developers]}\n"
    "  - {name: ops, keys: ops.pub, groups: [developers]}\n"
)


@pytest.fixture
def world(work, spawn):
    made = []
    kit.keygen(work / "ops", comment="ops")

    def make(**kw):
        made.append(World(work, spawn, users=USERS, **kw))
        return made[-1]

    yield make
    for w in made:
        w.close()


def as_ops(w, **kw):
    return dict(user="ops", key=w.work / "ops", **kw)


def test_the_last_connections_are_not_for_who_has_many_sessions(world):
    w = world(limits="connections: 8, sessions_per_user: 8, startups: '2:30:2'")
    sessions = [Client(w) for _ in range(7)]  # a quarter of them is 1, as many as are left
    with pytest.raises(paramiko.SSHException):
        Client(w)
    assert w.wait_record("login-failed")["reason"] == "too-many-connections"
    assert w.ssh("-s", command=["smpl-control"], **as_ops(w)).returncode == 0
    for s in sessions:
        s.close()


def test_forwarded_connections_of_one_user_leave_descriptors_for_the_others(world):
    w = world(limits="connections: 16, startups: '8:30:16'", start=False)
    target = Target(WEB, stall)
    w.write(
        users=USERS,
        limits="connections: 16, startups: '8:30:16'",
        grants=f"  - {{groups: [developers], targets: ['{WEB}:{target.port}'], networks: [127.42.0.0/16]}}\n",
    )
    w.bastion = w.spawn(
        "/bin/sh", "-c", f"ulimit -n 420; exec {kit.binary('smpl-bastion')} -v -c bastion.yaml"
    ).wait_ready()
    most = (420 - 200 - 4 * 16) // 4
    greedy, opened, refused = Client(w), [], 0
    for _ in range(250):
        try:
            opened.append(greedy.open(WEB, target.port))
        except paramiko.ChannelException:
            refused += 1
    assert len(opened) == (most + 2) // 3  # a third of all
    assert len(opened) + refused == 250
    assert w.wait_record("channel-refused", reason="too-many-channels")
    others = Client(w, user="ops")
    assert others.open(WEB, target.port)
    opened.pop().close()
    greedy.close()
    kit.wait_until(lambda: len(w.sessions()) == 1, "the greedy one has gone")
    with Client(w) as again:  # what he held is free
        assert [again.open(WEB, target.port) for _ in range(len(opened))]
    others.close()
    target.close()


class HalfDeafDns:
    """Answers for config.internal..., and for no other name."""

    def __init__(self, port):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((DNS, port))
        self.asked = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                query, peer = self.sock.recvfrom(2048)
            except OSError:
                return
            end = query.index(0, 12) + 5
            question = query[12:end]
            if not question.lower().startswith(b"\x06config\x08internal"):
                self.asked += 1
                continue
            is_a = question[-4:-2] == b"\0\1"
            answer = b"\xc0\x0c\0\1\0\1\0\0\0\2\0\4" + socket.inet_aton(WEB) if is_a else b""
            self.sock.sendto(
                query[:2] + struct.pack(">HHHHH", 0x8580, 1, is_a, 0, 0) + question + answer, peer
            )

    def close(self):
        self.sock.close()


def test_one_users_names_that_nobody_answers_for_do_not_keep_the_others_from_asking(world):
    w = world(start=False, limits="sessions_per_user: 32")
    port = kit.free_port(DNS)
    dns = HalfDeafDns(port)
    path = w.work / "bastion.yaml"
    path.write_text(path.read_text().replace(f"{DNS}:{w.dns}", f"{DNS}:{port}"))
    w.start()

    greedy = [Client(w) for _ in range(5)]
    for k, client in enumerate(greedy):
        for i in range(250):
            client.open_unasked(i, f"n{k}x{i}.internal", w.port)
    kit.wait_until(
        lambda: w.status()["counts"]["channels_refused"] >= 1250 - 1024, "he has asked for all that he may"
    )
    found = w.control(**as_ops(w)).ask(cmd="resolve", target="config.internal", port=w.port)
    assert (found["ok"], found.get("addresses")) == (True, [WEB]), found
    kit.wait_until(
        lambda: w.status()["counts"]["channels_refused"] >= 1250 - 1024 // 9, "he has no more than his part"
    )
    w.wait_record("channel-refused", user="dev", reason="too-many-lookups")
    for client in greedy:
        client.close()
    dns.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
def test_more_addresses_than_can_be_kept_off_are_an_error_and_no_way_in(world):
    w = world(start=False)
    path = w.work / "bastion.yaml"
    path.write_text(path.read_text().replace(f"{BASTION}:{w.ssh_port}", "0.0.0.0:2222"))
    batch = "".join(f"addr add 10.9.{i // 250}.{i % 250 + 1}/32 dev lo\n" for i in range(1024))
    done = kit.run(
        kit.tool("unshare"),
        "-n",
        "/bin/sh",
        "-c",
        f"ip link set lo up; ip -batch - ; {kit.binary('smpl-bastion')} check -c bastion.yaml",
        cwd=w.work,
        stdin=None,
        input=batch,
    )
    assert done.returncode == 1 and "bastion.yaml:1:11" in done.stderr, (done.stdout, done.stderr)
    assert "listen: this machine has more than 1024 addresses; name those to listen at" in done.stderr
