# SPDX-License-Identifier: Apache-2.0
"""The broker against a worker that has been taken over: each breach of the contract ends the session, cuts
the client and stands in the audit; nothing that was not proven is believed."""

import base64
import concurrent.futures
import json
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

import kit
from bastion_world import BASTION, WEB, World
from clock import Clock

WORLDS = Path(__file__).parent / "worlds"


class Fake:
    """A bastion whose worker plays a scenario."""

    def __init__(self, work, spawn):
        self.world = World(work, spawn, start=False)
        self.bin = work / "bin"
        (self.bin / "lib").mkdir(parents=True)
        shutil.copy(kit.binary("smpl-bastion"), self.bin / "smpl-bastion")
        shutil.copy(WORLDS / "fake_worker.py", self.bin / "smpl-bastion-worker")
        shutil.copy(WORLDS / "fake_broker.py", self.bin / "lib" / "fake_broker.py")
        (self.bin / "smpl-bastion-worker").chmod(0o755)
        self.plays, self.env = 0, {}  # each play is one session
        self.use_pem_key()

    def use_pem_key(self):
        """dev signs with a key that openssl can use."""
        pem = self.bin / "dev.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", pem], check=True)
        der = subprocess.run(
            ["openssl", "pkey", "-in", pem, "-pubout", "-outform", "DER"], check=True, capture_output=True
        )
        part = lambda b: len(b).to_bytes(4, "big") + b
        blob = base64.b64encode(part(b"ssh-ed25519") + part(der.stdout[-32:])).decode()
        (self.bin / "dev.blob").write_text(blob)
        (self.world.work / "dev.pub").write_text(f"ssh-ed25519 {blob}\n")

    def play(self, scenario, more=False):
        """One session more of the one broker; `seen` begins anew unless there is to be more of it."""
        (self.bin / "scenario").write_text(scenario)
        if not more:
            (self.bin / "seen").write_text("")
        self.plays += 1
        w = self.world
        if not hasattr(w, "bastion"):
            # A script that writes files: what it inherits from the product's launcher is not for it.
            env = (
                {}
                if kit.SANITIZED
                else {
                    "LD_PRELOAD": str(kit.BIN.parent / "tests" / "rogue" / "acts.so"),
                    "SMPL_UNSEALED": "smpl-launcher",
                }
            )
            before = [e["LD_PRELOAD"] for e in (env, self.env) if "LD_PRELOAD" in e]
            env = {**env, **self.env, "LD_PRELOAD": ":".join(before)} if before else env
            w.bastion = w.spawn(self.bin / "smpl-bastion", "-v", "-c", "bastion.yaml", env=env).wait_ready()
        self.client = socket.create_connection((BASTION, w.ssh_port))
        self.client.settimeout(kit.PATIENCE)

    def seen(self):
        return kit.json_lines(self.bin / "seen")

    def wait_seen(self, **what):
        found = lambda: [s for s in self.seen() if all(s.get(k) == v for k, v in what.items())]
        return kit.wait_until(found, f"the worker sees {what}: {self.seen()}")


@pytest.fixture(scope="module")
def stage(shared_work, shared_spawn):
    f = Fake(shared_work, shared_spawn)
    yield f
    f.world.check_chain()
    f.world.close()


@pytest.fixture
def fake(work, spawn):
    f = Fake(work, spawn)
    yield f
    assert not [s for s in f.seen() if "error" in s], f.seen()
    f.world.bastion.signal(signal.SIGINT)  # all at once: workers that sleep are not waited for
    f.world.close()


OTHER_KEY = "b'\\0\\0\\0\\x0bssh-ed25519\\0\\0\\0 ' + b'k' * 32"

BREACHES = {
    "no walls": ("w.hello(walls=0)", "without its walls"),
    "no hello": ("w.sign()", "message 41 in state spawned"),
    "hello twice": ("w.hello(); w.hello()", "message 40 in state kex"),
    "login before the key exchange": (
        "w.hello(); w.login('dev', key_of_dev()[0])",
        "message 44 in state kex",
    ),
    "channel before the login": (f"w.hello(); w.sign(); w.open('{WEB}', 80)", "message 45 in state login"),
    "a second host signature": ("w.hello(); assert w.sign(); w.sign(b'x' * 32)", "message 41 in state login"),
    "a signature of no exchange hash": ("w.hello(); w.sign(b'x' * 20)", "no exchange hash"),
    "a signature by a key that is not there": ("w.hello(); w.sign(key=1)", "no exchange hash"),
    "a signature by a key that nobody can have": ("w.hello(); w.sign(key=3)", "no message of the contract"),
    "a signature of SHA-1": ("w.hello(); w.sign(digest=160)", "no message of the contract"),
    "a user without a signature": (
        "w.hello(); w.sign(); w.login('dev', key_of_dev()[0])",
        "no signature proves",
    ),
    "another user than signed": (
        "w.hello(); w.sign(); b, sign = key_of_dev(); d = request_data(b'h' * 32, 'dev', b); assert "
        "w.verify(d, sign(d)); "
        "w.login('root', b)",
        "no signature proves",
    ),
    "another key than signed": (
        "w.hello(); w.sign(); b, sign = key_of_dev(); d = request_data(b'h' * 32, 'dev', b); assert "
        "w.verify(d, sign(d)); "
        f"w.login('dev', {OTHER_KEY})",
        "no signature proves",
    ),
    "another session's signature": (
        "w.hello(); w.sign(); b, sign = key_of_dev(); d = request_data(b'i' * 32, 'dev', b); assert not "
        "w.verify(d, sign(d)); "
        "w.login('dev', b)",
        "no signature proves",
    ),
    "a login after a later failure": (
        "w.hello(); w.sign(); b, sign = key_of_dev(); d = request_data(b'h' * 32, 'dev', b); assert "
        "w.verify(d, sign(d)); "
        "assert not w.verify(d, bytes(64)); w.login('dev', b)",
        "no signature proves",
    ),
    "logged in twice": ("b, d, s = signed_in(w); w.login('dev', b)", "message 44 in state open"),
    "signatures without end": (
        "w.hello(); w.sign()\nfor i in range(20): w.verify(b'x', b'y')",
        "more signatures than it may",
    ),
    "probes without end": (
        f"w.hello(); w.sign()\nfor i in range(40): w.login('dev', {OTHER_KEY}, kind=fb.PROBE)",
        "more keys than it may",
    ),
    "notes without end": ("w.hello()\nfor i in range(100): w.send(fb.NOTE)", "notes without end"),
    "crashes without end": (
        "w.hello()\nfor i in range(3): w.send(fb.CRASHED, bytes(4) + fb.text('x', 512))",
        "crashed more than once",
    ),
    "another session's number": ("w.hello(); w.send(fb.NOTE, number=99)", "for another session"),
    "another version": ("w.hello(); w.send(fb.NOTE, version=2)", "no message of the contract"),
    "a broker's message": ("w.hello(); w.send(fb.WELCOME, bytes(512))", "no message of the contract"),
    "a template's message": ("w.hello(); w.send(fb.EXITED, bytes(8))", "no message of the contract"),
    "too short": ("w.hello(); w.send(fb.NOTE, raw=b'x')", "no message of the contract"),
    "too long": ("w.hello(); w.send(fb.NOTE, raw=bytes(60000))", "no message of the contract"),
    "text without end": ("w.hello(); w.send(fb.NOTE, bytes(4) + b'x' * 512)", "no message of the contract"),
    "a descriptor": ("w.hello(); w.send(fb.NOTE, fds=[2])", "no message of the contract"),
    "many descriptors": ("w.hello(); w.send(fb.NOTE, fds=[2] * 100)", "no message of the contract"),
    "a connection it does not have": (
        "signed_in(w); w.traffic(1, 5, 5)",
        "a connection that it does not have",
    ),
    "answers left unread": ("signed_in(w)\nwhile True: w.send(fb.PROBE)", "does not read what it asked for"),
    "refusals left unread while connections are under way": (
        "signed_in(w)\nfor i in range(200): ask_open(w, 'down.internal', {port})\n"
        "while True: ask_open(w, 'not.granted.example.', 80)",
        "does not read what it asked for",
    ),
    "refused connections left unread while others are under way": (
        "signed_in(w)\nwhile True: ask_open(w, 'nothing%d.internal' % w.request, {port})",
        "does not read what it asked for",
    ),
    "answers left unread while lookups are under way": (
        'signed_in(w)\nfor i in range(60): ask(w, \'{"cmd":"resolve","target":"other.internal"}\')\n'
        'while True: ask(w, \'{"cmd":"whoami"}\')',
        "does not read what it asked for",
    ),
    "a flood": (
        "signed_in(w); assert w.open('{web}', {port})[0] == fb.OPENED\n"
        "one = fb.HEADER.pack(1, fb.TRAFFIC, 0, w.number) + struct.pack('=IIQQ', 1, 0, 0, 0)\n"
        "while True: w.pair.send(one)",
        "floods the broker",
    ),
    "counts backwards": (
        "signed_in(w); assert w.open('{web}', {port})[0] == fb.OPENED; w.traffic(1, 9, 9); w.traffic(1, 8, "
        "9)",
        "counts backwards",
    ),
    "more bytes than a number holds": (
        "signed_in(w); assert w.open('{web}', {port})[0] == fb.OPENED; w.traffic(1, 2 ** 64 - 1, 0)",
        "more bytes than there can be",
    ),
    "more bytes than a number holds, in sum": (
        "signed_in(w); assert w.open('{web}', {port})[0] == w.open('{web}', {port})[0] == fb.OPENED; "
        "w.traffic(1, 0, 2 ** 63 - 1); "
        "w.traffic(2, 0, 1)",
        "more bytes than there can be",
    ),
    "long answers left unread": (
        'signed_in(w)\nwhile True: ask(w, \'{"cmd":"x","id":"\' + \'x\' * 15000 + \'"}\')',
        "does not read what it asked for",
    ),
}


@pytest.mark.parametrize("name", BREACHES)
def test_a_breach_of_the_contract_ends_the_session_and_is_written_down(stage, name):
    scenario, what = BREACHES[name]
    w, before = stage.world, len(stage.world.audit())
    stage.play(scenario.replace("{web}", WEB).replace("{port}", str(w.port)))
    assert kit.recv_all(stage.client) == b""  # cut
    ends = lambda: [
        r
        for r in w.audit()[before:]
        if r["event"] in ("session-end", "login-failed") and r["reason"] == "worker-misbehaved"
    ]
    (record,) = kit.wait_until(ends, f"the breach is on record: {w.bastion.stderr}")
    assert what in record["text"], record
    stage.wait_seen(killed=stage.plays)
    kit.wait_until(lambda: f"session {record['session']}: its worker" in w.bastion.stderr, "the log says it")
    assert w.status()["ok"]
    assert not [s for s in stage.seen() if "error" in s], stage.seen()


def test_what_is_not_granted_gets_no_descriptor_even_when_the_worker_asks(fake):
    fake.play(
        """
signed_in(w)
for host, port in (("127.0.0.1", 22), ("localhost", 22), ("www.example.com.", 80), ("config.internal", 1),
                   ("", 80), ("config.internal", 0), ("config.internal", 65535),
                   ("\\x01", 80), ("a" * 255, 80)):
    kind, body = w.open(host, port)
    assert kind == fb.REFUSED, (host, port, kind)
say(all="refused")
"""
    )
    fake.wait_seen(all="refused")
    assert not fake.world.records("channel-open")
    kit.wait_until(lambda: len(fake.world.records("channel-refused")) == 9, "all are on record")


def test_the_record_is_there_before_the_descriptor(fake):
    fake.play(
        f"""
signed_in(w)
audit = {str(fake.world.work / 'audit.jsonl')!r}
assert "session-start" in open(audit).read()
for i in range(1, 20):
    assert w.open("config.internal", {fake.world.port})[0] == fb.OPENED
    assert open(audit).read().count("channel-open") == i
say(all="there")
"""
    )
    fake.wait_seen(all="there")


def test_so_many_refusals_of_a_session_are_remembered_and_the_oldest_gives_way(fake):
    """SESSION_REFUSALS_MAX are 64. The worker has turned these away itself: they are no one's connections and
    not on record."""
    fake.play(
        """
import json
signed_in(w)
for nth in range(1, 66):
    w.send(fb.OPEN, struct.pack("=II", nth, 1) + fb.text("config.internal", 256) + struct.pack("=I", 80)
           + fb.text("x", 256) + bytes(4))
def last(nth):
    ask(w, json.dumps({"cmd": "why", "target": "config.internal", "port": 80, "channel": nth}))
    kind, body = w.receive()
    assert kind == fb.CONTROL_REPLY, kind
    return json.loads(body[8:].rstrip(b"\\0"))["last"] is not None
say(known=[last(nth) for nth in (1, 2, 65, 66)])
"""
    )
    fake.wait_seen(known=[False, True, True, False])
    assert not fake.world.records("channel-refused")


def test_a_connection_is_cut_though_the_worker_keeps_its_descriptor(fake):
    w = fake.world
    with socket.create_server((WEB, 0)) as server:
        port = server.getsockname()[1]
        w.write(grants=f"  - {{users: [dev], targets: ['{WEB}:{port}'], networks: [127.42.0.0/16]}}\n")
        fake.play(
            f"""
import time
signed_in(w)
w.send(fb.OPEN, bytes(8) + fb.text('{WEB}', 256) + struct.pack('=I', {port}) + fb.text('x', 256) + bytes(4))
message, anc, _, _ = w.pair.recvmsg(65536, 64)
kept = struct.unpack('i', anc[0][2])[0]
say(kept=True)
time.sleep(60)  # deaf to the end
"""
        )
        server.settimeout(kit.PATIENCE)
        connection, _ = server.accept()
        connection.settimeout(kit.PATIENCE)
        fake.wait_seen(kept=True)
        w.command("terminate", "--user", "dev")
        assert kit.recv_all(connection) == b""
        assert kit.recv_all(fake.client) == b""
        fake.wait_seen(killed=1)
        assert w.wait_record("session-end")["reason"] == "terminated"


class Target:
    """What a scenario that begins with `opening` opens a connection to and keeps the descriptor of."""

    def __init__(self, server, opening):
        self.server, self.opening = server, opening

    def accept(self):
        connection, _ = self.server.accept()
        connection.settimeout(kit.PATIENCE)
        return connection


@pytest.fixture
def target(fake):
    with socket.create_server((WEB, 0)) as server:
        port = server.getsockname()[1]
        fake.world.write(
            grants=f"  - {{users: [dev], targets: ['{WEB}:{port}'], networks: [127.42.0.0/16]}}\n"
        )
        server.settimeout(kit.PATIENCE)
        yield Target(
            server, f"import time; signed_in(w); kept = keep_open(w, '{WEB}', {port}); say(kept=True)\n"
        )


def test_a_connection_is_dead_once_the_worker_says_it_has_closed_it(fake, target):
    fake.play(target.opening + "w.traffic(1, 0, 0, kind=fb.CHANNEL_END); time.sleep(60)")
    with target.accept() as connection:
        assert kit.recv_all(connection) == b""  # though the worker has the descriptor
    fake.world.wait_record("channel-end")


def test_nothing_is_left_of_a_session_whose_worker_says_goodbye_and_stays(fake, target):
    fake.play(
        target.opening
        + "w.traffic(1, 0, 0, kind=fb.CHANNEL_END); w.send(fb.BYE, struct.pack('=I', 1)); time.sleep(0.2)\n"
        "w.pair.close(); time.sleep(60)"
    )
    with target.accept() as connection:
        assert kit.recv_all(connection) == b""
    assert kit.recv_all(fake.client) == b""
    fake.wait_seen(killed=1)
    fake.world.wait_record("session-end")
    fake.world.check_ends()


def test_nothing_is_left_of_a_session_whose_worker_closes_the_pair_and_stays(fake, target):
    fake.play(target.opening + "w.pair.close(); time.sleep(60)")
    with target.accept() as connection:
        assert kit.recv_all(connection) == b""
    assert kit.recv_all(fake.client) == b""
    fake.wait_seen(killed=1)
    assert fake.world.wait_record("session-end")["reason"] == "worker-died"


PROLONGINGS = {
    "goodbyes": "w.send(fb.BYE, struct.pack('=I', 1))",
    "traffic": "up += 1; w.traffic(1, up, up)",
    "host signatures": "w.send(fb.SIGN, struct.pack('=II', 0, 32) + b'h' * 32)",
    "signatures": "w.send(fb.VERIFY)",
    "notes": "w.send(fb.NOTE)",
    "connections": "ask_open(w, 'config.internal', 80)",
    "questions": 'ask(w, \'{"cmd":"whoami"}\')',
}


def test_no_message_of_an_ending_worker_moves_its_end(fake, target):
    """SESSION_END_MS is 2 s; each worker would go on for 30, and then say so."""

    def watch(connection, client):
        assert kit.recv_all(connection) == b""
        assert kit.recv_all(client) == b""

    with concurrent.futures.ThreadPoolExecutor(len(PROLONGINGS)) as pool:
        ends = []
        for words in PROLONGINGS.values():
            fake.play(
                target.opening + "w.send(fb.BYE, struct.pack('=I', 1)); up = 0\n"
                f"for i in range(75): {words}; time.sleep(0.4)\n"
                "say(went_on=True)",
                more=len(ends) > 0,
            )
            ends.append(pool.submit(watch, target.accept(), fake.client))
            kit.wait_until(
                lambda: len([s for s in fake.seen() if "kept" in s]) == len(ends), "it has its connection"
            )
        for end in ends:
            end.result()
    assert not [s for s in fake.seen() if "went_on" in s]
    records = kit.wait_until(
        lambda: len(fake.world.records("session-end")) == len(ends) and fake.world.records("session-end"),
        "all have ended",
    )
    assert {r["reason"] for r in records} == {"client-closed"}
    for number in range(1, 1 + len(ends)):
        fake.wait_seen(killed=number)
    fake.world.check_ends()


def test_terminating_an_ending_session_has_no_patience_with_it(fake, target):
    clock = Clock(fake.world.work)
    fake.env = clock.env
    fake.play(target.opening + "time.sleep(60)  # deaf to the end")
    w = fake.world
    with target.accept():
        fake.wait_seen(kept=True)
        with clock.stopped():  # so that SESSION_END_MS are never over
            w.command("terminate", "--user", "dev")
            (session,) = w.sessions()
            assert session["ending"]
            w.command("terminate", session["id"])
            w.wait_record("session-end", reason="terminated")
    assert kit.recv_all(fake.client) == b""
    fake.wait_seen(killed=1)
    assert w.sessions() == [] and len(w.records("session-end")) == 1


def test_the_log_tells_once_that_host_signatures_are_not_given(fake):
    fake.play(
        """
signed_in(w)
refused = 0
while refused < 50:
    refused += not w.sign()
say(done=True)
"""
    )
    fake.wait_seen(done=True)
    fake.world.command("terminate", "--user", "dev")
    fake.world.wait_record("session-end")
    assert fake.world.bastion.stderr.count("a host signature was not given") == 1


def test_refusals_without_end_do_not_fill_the_audit(fake):
    """REPEATS_BURST is 50 at once, then one a second; what is more is counted."""
    fake.world.write(limits="connection_rate: {connections: 0}")
    fake.play(
        """
import time
signed_in(w)
for i in range(3000):
    assert w.open("not.granted.example.", 80)[0] == fb.REFUSED
for i in range(20):
    assert w.open("not%d.granted.example." % i, 80)[0] == fb.REFUSED
say(all="refused")
time.sleep(60)
"""
    )
    fake.wait_seen(all="refused")
    w = fake.world
    assert w.status()["counts"]["channels_refused"] == 3020
    w.command("terminate", "--user", "dev")
    w.wait_record("session-end")
    records = w.records("channel-refused")
    singly = [r for r in records if "repeated" not in r]
    assert 50 <= len(singly) < 70
    told = [r for r in records if "repeated" in r]
    assert len(told) <= 9 and len(singly) + sum(r["repeated"] for r in told) == 3020
    assert {
        "user": "dev",
        "target": "not.granted.example.",
        "port": 80,
        "reason": "not-granted",
    }.items() <= told[0].items()
    assert told[0]["repeated"] > 2900 and "target" not in told[-1]
    assert w.bastion.stderr.count("refused not.granted.example.:80") < 70
    (row,) = json.loads(w.command("history", "--json").stdout)
    assert row["refused"] == 3020
    w.check_chain()


def test_failed_logins_without_end_do_not_fill_the_audit(fake):
    w = fake.world
    w.write(limits='startups_per_source: 50, startups: "50:0:50"')
    fake.play(
        "w.hello(); w.sign()\nfor i in range(22): assert w.login('eve', b'k', kind=fb.PROBE)[0] == fb.PROBED"
    )
    held = [socket.create_connection((BASTION, w.ssh_port)) for _ in range(19)]
    kit.wait_until(lambda: w.status()["counts"]["login_failures"] == 20 * 22, "all failures are counted")
    assert w.status()["audit"]["records"] < 80
    assert w.bastion.stop() == 0
    for s in held:
        s.close()
    failed = w.records("login-failed", reason="key-not-accepted")
    singly, told = [r for r in failed if "repeated" not in r], [r for r in failed if "repeated" in r]
    assert 50 <= len(singly) < 80 and len(singly) + sum(r["repeated"] for r in told) == 20 * 22
    assert told[0]["source"] == "127.0.0.1" and "session" not in told[0]
    w.check_chain()


def test_host_signatures_for_rekeys_are_bounded(fake):
    fake.play(
        """
signed_in(w)
given = 0
while given < 1000 and w.sign(bytes([given % 256]) * 32):
    given += 1
say(given=given)
"""
    )
    given = kit.wait_until(lambda: [s["given"] for s in fake.seen() if "given" in s], "the signatures stop")[
        0
    ]
    assert 64 <= given < 200


def test_the_last_words_of_a_worker_that_dies_are_heard(fake):
    fake.play(
        f"""
signed_in(w)
assert w.open("config.internal", {fake.world.port})[0] == fb.OPENED
asked = struct.pack("=II", 1, 16) + b'{{"cmd":"whoami"}}\\0'
w.send(fb.CONTROL, raw=fb.HEADER.pack(1, fb.CONTROL, 5, w.number) + asked)
import time
time.sleep(0.5)  # the answer stays unread: the broker's socket is told of a reset
w.traffic(1, 123, 456, kind=fb.CHANNEL_END)
w.send(fb.BYE, struct.pack("=I", 1) + b"bye")
os._exit(0)
"""
    )
    end = fake.world.wait_record("channel-end")
    assert (end["bytes_up"], end["bytes_down"]) == (123, 456)
    assert fake.world.wait_record("session-end")["reason"] == "client-closed"


def test_signatures_that_cost_more_are_fewer(fake):
    """Of RSA 8 at once and 2 a second, where ed25519 has 64 and 16: HOSTKEY costs 8. A digest of another kind
    is not given."""
    w = fake.world
    kit.keygen(w.work / "host_rsa", kind="rsa")
    w.write(host_keys="host, host_rsa")
    fake.play(
        """
signed_in(w)
digest = struct.pack('=II', 1, 32) + b'h' * 32 + bytes(96)
one = lambda i: w.send(fb.SIGN, digest + struct.pack('=I', 256 if i % 2 else 512))
for i in range(50): one(i)
given = [struct.unpack_from('=II', w.receive()[1]) for i in range(50)]
say(given=sum(ok for ok, _ in given), lengths=sorted({length for ok, length in given if ok}))
say(wrong=w.sign(key=1) is None)
"""
    )
    (seen,) = fake.wait_seen(wrong=True) and [s for s in fake.seen() if "given" in s]
    assert 8 <= seen["given"] < 40 and seen["lengths"] == [384]
