# SPDX-License-Identifier: Apache-2.0
"""The bastion's worker with a recording broker at its other end and OpenSSH as its client: the walls, the
messages, and what is refused. The worker is told things here that the real broker never would."""

import contextlib
import hashlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading

import fake_broker as fb
import kit
import pytest

from tunnel_kit import Server, echo, transfers

ADDRESS, TARGET = "127.43.2.1", "127.43.2.2"


@pytest.fixture
def broker(work):
    b = fb.Broker(kit.binary("smpl-bastion-worker"), work, ADDRESS)
    b.identity, public = kit.keygen(work / "id")
    b.add_user_key(public)
    (work / "known_hosts").write_text(b.host_key.known_hosts(ADDRESS, b.port))
    yield b
    b.close()


def ssh(broker, *arguments, user="dev", identity=None, options=()):
    argv = [
        kit.tool("ssh"),
        "-F",
        "none",
        "-o",
        f"UserKnownHostsFile={broker.folder / 'known_hosts'}",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "IdentityAgent=none",
        "-o",
        "BatchMode=yes",
        "-i",
        identity or broker.identity,
        "-p",
        str(broker.port),
    ]
    for option in options:
        argv += ["-o", option]
    return [*map(str, argv), f"{user}@{ADDRESS}", *arguments]


def target(broker, name, handler):
    server = Server(handler, TARGET)
    broker.targets[(name, 80)] = server.listener.getsockname()
    return server.listener


def forwarding(broker, name="svc", *options):
    """A running `ssh -N -L`; returns the process and the local port, once it carries."""
    port = kit.free_port("127.0.0.1")
    process = subprocess.Popen(
        ssh(broker, "-N", "-L", f"127.0.0.1:{port}:{name}:80", options=options),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    kit.wait_until(lambda: kit.port_open("127.0.0.1", port), "ssh listens")
    return process, port


def stop(process):
    process.terminate()
    return process.communicate(timeout=kit.PATIENCE)


def test_refuses_to_run_by_hand():
    done = kit.run(kit.binary("smpl-bastion-worker"))
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "smpl-bastion-worker: started by smpl-bastion for its sessions, not by hand\n"


@pytest.mark.short
def test_bytes_go_through_and_are_counted(broker):
    target(broker, "svc", echo)
    done = subprocess.run(
        ssh(broker, "-W", "svc:80"), input=b"hello\n", capture_output=True, timeout=kit.PATIENCE
    )
    assert done.returncode == 0 and done.stdout == b"hello\n" and b"welcome, dev" in done.stderr
    end = broker.last().wait(fb.CHANNEL_END)
    channel, reason, up, down = fb.struct.unpack("=IIQQ", end[:24])
    assert (up, down) == (6, 6)
    assert broker.last().wait(fb.BYE)


@pytest.mark.short
def test_both_signatures_are_the_brokers(broker):
    target(broker, "svc", echo)
    subprocess.run(
        ssh(broker, "-W", "svc:80"), input=b"x", capture_output=True, timeout=kit.PATIENCE, check=True
    )
    session = broker.last()
    assert session.count(fb.SIGN) == 1 and session.count(fb.VERIFY) == 1 and session.count(fb.LOGIN) == 1
    kinds = [kind for kind, _ in session.messages]
    assert kinds.index(fb.HELLO) < kinds.index(fb.SIGN) < kinds.index(fb.VERIFY) < kinds.index(fb.LOGIN)
    assert b"ssh-connection" in session.wait(fb.VERIFY)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_every_kind_of_user_key_reaches_the_broker(broker, work, kind):
    identity, public = kit.keygen(work / kind, kind)
    broker.add_user_key(public)
    target(broker, "svc", echo)
    subprocess.run(
        ssh(broker, "-W", "svc:80", identity=identity),
        input=b"x",
        capture_output=True,
        timeout=kit.PATIENCE,
        check=True,
    )
    assert broker.last().count(fb.VERIFY) == 1


@pytest.mark.short
def test_a_bad_signature_is_answered_and_hangs_nobody(broker):
    broker.signature_good = 0
    done = subprocess.run(ssh(broker, "-W", "svc:80"), capture_output=True, timeout=kit.PATIENCE)
    assert done.returncode == 255 and b"Permission denied (publickey)" in done.stderr
    assert broker.last().count(fb.LOGIN) == 0


def test_an_unknown_key_and_an_unknown_user_are_denied(broker, work):
    other, _ = kit.keygen(work / "other")
    for options in ({"identity": other}, {"user": "nobody"}, {"user": "x" * 100}, {"user": "aüb"}):
        done = subprocess.run(
            ssh(broker, "-W", "svc:80", **options), capture_output=True, timeout=kit.PATIENCE
        )
        assert done.returncode == 255 and b"Permission denied (publickey)" in done.stderr
    assert fb.untext(broker.last().wait(fb.PROBE)[:64]) == "a\\xc3\\xbcb"


def test_too_many_keys_end_the_session_with_words(broker, work):
    arguments = []
    for i in range(25):
        private, _ = kit.keygen(work / f"k{i}")
        arguments += ["-i", private]
    done = subprocess.run(
        ssh(broker, *map(str, arguments), "-W", "svc:80", identity=arguments[1]),
        capture_output=True,
        timeout=kit.PATIENCE,
    )
    assert b"too many keys offered" in done.stderr
    assert broker.last().wait(fb.BYE)


def test_passwords_are_refused_and_told(broker):
    done = subprocess.run(
        ssh(broker, "-W", "svc:80", options=("PubkeyAuthentication=no",)),
        capture_output=True,
        timeout=kit.PATIENCE,
    )
    assert b"Permission denied (publickey)" in done.stderr


@pytest.mark.parametrize(
    "arguments, note",
    [
        (["id"], "exec id"),
        ([], "shell"),
        (["-s", "sftp"], "subsystem sftp"),
        (["-N", "-R", "127.0.0.1:0:127.0.0.1:80"], "remote forwarding"),
        (["-tt"], "pty"),
    ],
)
def test_what_is_not_offered_is_refused_and_told(broker, arguments, note):
    process = subprocess.Popen(
        ssh(broker, *arguments, options=("ExitOnForwardFailure=yes",)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.wait(kit.PATIENCE) == 255
    kit.wait_until(lambda: any(note in n for n in broker.last().notes()), "the note")


def test_a_refused_target_is_told_the_client(broker):
    done = subprocess.run(ssh(broker, "-W", "nothing:1"), capture_output=True, timeout=kit.PATIENCE)
    assert done.returncode == 255 and b"administratively prohibited" in done.stderr


@pytest.mark.short
def test_smpl_control_answers_lines_before_it_ends(broker):
    lines = b"".join(b'{"n":%d}\n' % i for i in range(10))
    done = subprocess.run(
        ssh(broker, "-s", "smpl-control"), input=lines, capture_output=True, timeout=kit.PATIENCE
    )
    assert done.returncode == 0
    assert done.stdout == b"".join(b'{"ok":true,"echo":{"n":%d}}\n' % i for i in range(10))


def test_a_line_without_end_ends_the_control_channel_alone(broker):
    done = subprocess.run(
        ssh(broker, "-s", "smpl-control"), input=b"x" * 100_000, capture_output=True, timeout=kit.PATIENCE
    )
    assert done.stdout == b""
    assert broker.last().count(fb.CONTROL) == 0


def test_events_reach_every_control_channel(broker):
    process = subprocess.Popen(
        ssh(broker, "-s", "smpl-control"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    process.stdin.write(b"1\n")
    process.stdin.flush()
    assert process.stdout.readline() == b'{"ok":true,"echo":1}\n'
    event = b'{"event":"expiring"}'
    broker.last().send(fb.EVENT, 0, fb.struct.pack("=II", 0, len(event)) + event + b"\0")
    assert process.stdout.readline() == event + b"\n"
    process.stdin.close()
    assert process.wait(kit.PATIENCE) == 0


def test_an_event_that_comes_before_a_control_channel_is_told_to_the_first_one(broker):
    path, event = broker.folder / "mux", b'{"event":"expiring"}'
    master = subprocess.Popen(ssh(broker, "-N", "-M", "-S", path), stderr=subprocess.DEVNULL)
    kit.wait_until(path.exists, "the session is there")
    broker.last().send(fb.EVENT, 0, fb.struct.pack("=II", 0, len(event)) + event + b"\0")
    heard = []
    for _ in range(2):
        asks = ssh(broker, "-S", path, "-s", "smpl-control")
        done = subprocess.run(asks, input=b"1\n", capture_output=True, timeout=kit.PATIENCE)
        heard.append(done.stdout.splitlines())
    answer = b'{"ok":true,"echo":1}'
    assert heard == [[event, answer], [answer]]
    stop(master)


@pytest.mark.short
def test_the_end_comes_with_words_and_cuts_connections(broker):
    target(broker, "svc", echo)
    process, port = forwarding(broker)
    with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
        broker.last().send(fb.END, 0, fb.struct.pack("=I", 8) + fb.text("an administrator ended it", 512))
        assert process.wait(kit.PATIENCE) == 255
        assert kit.recv_all(s) == b""
    assert b"an administrator ended it" in process.stderr.read()
    session = broker.last()
    assert session.wait(fb.CHANNEL_END) and session.wait(fb.BYE)
    kinds = [kind for kind, _ in session.messages]
    assert kinds.index(fb.CHANNEL_END) < kinds.index(fb.BYE)


def test_the_worker_ends_at_once_when_the_broker_is_gone(broker):
    target(broker, "svc", echo)
    process, port = forwarding(broker)
    with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
        s.sendall(b"x")
        s.recv(1)
        pid = broker.last().pid
        broker.last().sock.shutdown(socket.SHUT_RDWR)
        kit.wait_until(lambda: not kit.alive(pid), "the worker ends")
    process.wait(kit.PATIENCE)
    stop(process)


def reason_of_bye(session):
    return fb.struct.unpack_from("=I", session.wait(fb.BYE))[0]


def test_a_client_that_says_goodbye_is_told_from_one_that_vanishes(broker):
    closed, vanished = 1, 2  # common/ssh/reason.h
    target(broker, "svc", echo)
    process, _ = forwarding(broker)
    stop(process)
    assert reason_of_bye(broker.last()) == closed
    process, _ = forwarding(broker)
    process.kill()
    process.communicate()
    assert reason_of_bye(broker.last()) == vanished


def test_the_clients_socket_never_blocks_the_worker(broker):
    target(broker, "svc", echo)
    process, _ = forwarding(broker)
    flags = re.search(r"flags:\s+(\d+)", pathlib.Path(f"/proc/{broker.last().pid}/fdinfo/4").read_text())[1]
    assert int(flags, 8) & os.O_NONBLOCK
    stop(process)


def test_kill_ends_a_worker_and_tells(broker):
    target(broker, "svc", echo)
    process, _ = forwarding(broker)
    session = broker.last()
    broker.send(fb.KILL, session.number, b"")
    kit.wait_until(
        lambda: (fb.EXITED, session.number, session.pid, signal.SIGKILL) in broker.template_messages,
        "its end",
    )
    process.wait(kit.PATIENCE)
    stop(process)


def test_64_parallel_transfers_keep_their_bytes(broker):
    target(broker, "svc", echo)
    broker.channels_max = 200
    process, port = forwarding(broker)
    assert transfers(port, 64) == []
    stop(process)


def test_bytes_survive_many_new_key_exchanges(broker):
    target(broker, "svc", echo)
    process, port = forwarding(broker, "svc", "RekeyLimit=1M")
    body = os.urandom(1 << 20) * 12
    got = hashlib.sha256()
    with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:

        def send():
            s.sendall(body)
            s.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        while data := s.recv(1 << 16):
            got.update(data)
        sender.join()
    stop(process)
    assert got.digest() == hashlib.sha256(body).digest()
    assert broker.last().count(fb.SIGN) > 5, "a signature for every exchange"


def rss_kb(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])


def test_a_target_that_stalls_costs_bounded_memory_and_holds_up_nobody(broker):
    released = threading.Event()
    target(broker, "stall", lambda c: released.wait())
    target(broker, "svc", echo)
    port, good = kit.free_port("127.0.0.1"), kit.free_port("127.0.0.1")
    process = subprocess.Popen(
        ssh(broker, "-N", "-L", f"127.0.0.1:{port}:stall:80", "-L", f"127.0.0.1:{good}:svc:80"),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    kit.wait_until(lambda: kit.port_open("127.0.0.1", good), "ssh listens")
    stalled = []
    for _ in range(4):
        s = socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE)
        s.setblocking(False)
        stalled.append(s)
    block, sent = bytes(1 << 20), [0]

    def push():
        for s in stalled:
            with contextlib.suppress(BlockingIOError):
                sent[0] += s.send(block)
        return sent[0]

    kit.wait_still(push, "nothing more is taken")
    if not kit.SANITIZED:
        assert rss_kb(broker.last().pid) < 12_000 + 4 * 4608
    with socket.create_connection(("127.0.0.1", good), timeout=kit.PATIENCE) as s:
        s.sendall(b"through")
        assert s.recv(7) == b"through"
    released.set()
    for s in stalled:
        s.close()
    stop(process)


def test_the_limit_of_channels_refuses_one_more_and_no_less(work):
    b = fb.Broker(kit.binary("smpl-bastion-worker"), work, ADDRESS, channels_max=3)
    try:
        b.identity, public = kit.keygen(work / "id")
        b.add_user_key(public)
        (work / "known_hosts").write_text(b.host_key.known_hosts(ADDRESS, b.port))
        target(b, "svc", echo)
        process, port = forwarding(b)
        held = []
        b.last().wait(fb.CHANNEL_END)  # of the connection that asked whether ssh listens
        for _ in range(3):
            s = socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE)
            s.sendall(b"x")
            assert s.recv(1) == b"x"
            held.append(s)
        with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
            assert kit.recv_all(s) == b""
        kit.wait_until(lambda: "svc" in b.last().notes(), "it is told")
        for _ in range(100):
            with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
                assert kit.recv_all(s) == b""
        kit.wait_until(lambda: b.last().notes().count("svc") == 16, "so many are told")
        held.pop().close()
        kit.wait_until(lambda: b.last().count(fb.CHANNEL_END) >= 2, "one ends")

        # the broker hears of the end before the client has closed its side, which gives the place free
        def echoes():
            with contextlib.suppress(ConnectionError), socket.create_connection(
                ("127.0.0.1", port), timeout=kit.PATIENCE
            ) as s:
                s.sendall(b"y")
                return s.recv(1) == b"y"

        kit.wait_until(echoes, "there is a place again")
        stop(process)
    finally:
        b.close()


# ---- walls ----


@pytest.fixture
def sealed(broker):
    """Pid of a worker that has a client which has not said a word yet."""
    with socket.create_connection((ADDRESS, broker.port), timeout=kit.PATIENCE) as client:
        kit.wait_until(lambda: broker.sessions, "the session")
        hello = broker.last().wait(fb.HELLO)
        kit.wait_until(lambda: broker.last().pid, "its pid")
        yield broker.last().pid, fb.struct.unpack_from("=I", hello)[0]
        client.close()


@pytest.mark.walls
def test_the_walls_stand_before_the_first_byte_of_the_peer(sealed):
    pid, walls = sealed
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.M)
    assert re.search(r"^Seccomp:\s+2$", status, re.M)
    for name in ("seccomp", "no_new_privs", "rlimits"):
        assert walls & fb.WALLS[name], name
    assert not walls & fb.WALLS["sanitizer"]
    limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
    for name, value in (
        ("Max processes", 0),
        ("Max file size", 0),
        ("Max core file size", 0),
        ("Max open files", 5 + 64),
    ):
        assert re.search(rf"^{name}\s+{value}\s+{value}\s", limits, re.M), name
    assert re.search(r"^Max address space\s+\d", limits, re.M)
    assert len(os.listdir(f"/proc/{pid}/fd")) <= 5


@pytest.mark.walls
@pytest.mark.skipif(os.geteuid() != 0, reason="own uid and empty root without namespaces need root")
def test_as_root_each_worker_has_its_own_uid_and_an_empty_root(sealed, broker):
    pid, walls = sealed
    assert walls & fb.WALLS["own_uid"] and walls & fb.WALLS["empty_root"]
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    uids = set(re.search(r"^Uid:\s+(.*)$", status, re.M)[1].split())
    assert len(uids) == 1 and uids.pop() not in ("0", str(os.getuid()))
    assert re.search(r"^Groups:\s*$", status, re.M)
    assert set(re.search(r"^Cap(?:Eff|Prm):\s+(\w+)$", status, re.M)[1]) == {"0"}
    assert kit.has_empty_root(pid)
    assert "(deleted)" in os.readlink(f"/proc/{pid}/root")
    with socket.create_connection((ADDRESS, broker.port), timeout=kit.PATIENCE):
        kit.wait_until(lambda: len(broker.sessions) == 2 and broker.last().pid, "a second session")
        broker.last().wait(fb.HELLO)
        other = pathlib.Path(f"/proc/{broker.last().pid}/status").read_text()
        assert re.search(r"^Uid:.*$", other, re.M)[0] != re.search(r"^Uid:.*$", status, re.M)[0]


@pytest.mark.walls
def test_without_root_the_worker_shuts_itself_in_as_far_as_the_system_lets_it(work):
    # Away from a folder that only its owner may enter.
    worker = work / "smpl-bastion-worker"
    shutil.copy(kit.binary("smpl-bastion-worker"), worker)
    b = fb.Broker(str(worker), work, ADDRESS, uid=65534 if os.geteuid() == 0 else None)
    try:
        b.identity, public = kit.keygen(work / "id")
        b.add_user_key(public)
        (work / "known_hosts").write_text(b.host_key.known_hosts(ADDRESS, b.port))
        target(b, "svc", echo)
        process, port = forwarding(b)
        with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
            s.sendall(b"x")
            assert s.recv(1) == b"x"
            walls = fb.struct.unpack_from("=I", b.last().wait(fb.HELLO))[0]
            for name in ("seccomp", "no_new_privs", "rlimits"):
                assert walls & fb.WALLS[name], name
            assert not walls & fb.WALLS["own_uid"]
            assert bool(walls & fb.WALLS["empty_root"]) == bool(walls & fb.WALLS["user_namespace"])
            status = pathlib.Path(f"/proc/{b.last().pid}/status").read_text()
            assert re.search(r"^Seccomp:\s+2$", status, re.M)
            assert re.search(r"^CapEff:\s+0+$", status, re.M)
        stop(process)
        if not walls & (fb.WALLS["user_namespace"] | fb.WALLS["landlock"]):
            pytest.skip("this system has neither user namespaces nor Landlock: seccomp alone stood")
    finally:
        b.close()


@pytest.mark.walls
def test_a_hundred_clients_that_say_nothing_or_nonsense_are_each_shut_in_and_forgotten(broker):
    for i in range(100):
        with socket.create_connection((ADDRESS, broker.port), timeout=kit.PATIENCE) as s:
            s.sendall(b"SSH-2.0-x\r\n" + os.urandom(3000) if i % 2 else b"GET / HTTP/1.0\r\n\r\n")
            kit.recv_all(s)
    kit.wait_until(lambda: sum(m[0] == fb.EXITED for m in broker.template_messages) == 100, "all are reaped")
    for kind, _, _, status in broker.template_messages:
        assert kind == fb.SPAWNED or os.waitstatus_to_exitcode(status) == 0
    assert kit.children(broker.template.pid) == []
