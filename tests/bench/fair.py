#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what a victim notices of a greedy neighbour, for each thing that is shared: usage in
tests/bench/README.md.

The programs run on processor 0; attacker, its sink and the victim on processor 1. "Quiet" is not idle: there
the attacker sends the same bytes to the sink. Quiet and attack take turns, RUNS times SECONDS each; medians
over the turns. A victim calls 100 times a second (5 for logins, 20 for first calls) and waits for each
answer. A call that was refused counts as one that was never answered."""

import argparse
import base64
import contextlib
import json
import os
import random
import resource
import select
import shutil
import signal
import socket
import statistics
import string
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

HERE = Path(__file__).resolve()
SERVER, LOAD = {0}, {max(os.sched_getaffinity(0))}
TIMEOUT = 10.0  # s that a victim waits for one answer
# new connections a second of an attacker that only holds them, once it has had all: a sink closes none
AGAIN = 500
TWICE, FLOOR = 2.0, 0.010  # what an attack may do to p99: twice the quiet value, or 10 ms
VICTIM_ADDRESS = "127.62.1.1"  # not of the attacker's network
ATTACKERS = ["127.61.1.1"]


# --- the three roles, each a process of its own: spec in, as JSON ---


class Peer:
    """One connection of the attacker."""

    def __init__(self, loop, number):
        self.loop, self.number, self.turn = loop, number, number
        self.open()

    def open(self):
        spec = self.loop.spec
        self.socket = socket.socket(socket.AF_INET)
        self.socket.setblocking(False)
        self.answer = b""
        self.socket.setsockopt(
            socket.IPPROTO_IP, 24, 1
        )  # IP_BIND_ADDRESS_NO_PORT: the port is found in connect, and fast
        with contextlib.suppress(OSError):
            self.socket.bind((self.loop.sources[self.number % len(self.loop.sources)], 0))
            self.socket.connect_ex((spec["address"], spec["port"]))
        self.left = memoryview(self.loop.say())
        self.loop.peers[self.socket.fileno()] = self
        self.loop.poll.register(self.socket, select.EPOLLIN | select.EPOLLOUT)

    def close(self):
        self.loop.poll.unregister(self.socket)
        del self.loop.peers[self.socket.fileno()]
        self.socket.close()
        self.loop.closed.append(self)

    def write(self):
        try:
            self.left = self.left[self.socket.send(self.left) :]
        except BlockingIOError:
            return
        if not self.left:
            self.loop.poll.modify(self.socket, select.EPOLLIN)

    def read(self):
        part = self.socket.recv(65536)
        if not part:
            raise ConnectionResetError
        if not self.loop.spec["again"]:
            return
        self.answer = (self.answer + part)[-65536:]
        head, end, body = self.answer.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        if end and len(body) >= length:
            if b"connection: close" in head.lower():
                raise ConnectionResetError
            self.answer = b""
            self.left = memoryview(self.loop.say())
            self.loop.poll.modify(self.socket, select.EPOLLIN | select.EPOLLOUT)


class Attack:
    """Holds so many connections; each says its bytes, and where spec.again is true says more after each
    answer. What is closed comes again."""

    def __init__(self, spec):
        self.spec, self.sources = spec, spec["sources"]
        self.say_list, self.at = [base64.b64decode(s) for s in spec["say"]], 0
        self.poll, self.peers, self.closed = select.epoll(), {}, []

    def say(self):
        self.at += 1
        return self.say_list[self.at % len(self.say_list)]

    def run(self):
        waiting, again = self.spec["connections"], 0
        while True:
            for _ in range(min(waiting, 200)):
                Peer(self, waiting)
                waiting -= 1
                if waiting == 0:
                    print("all", flush=True)
            for fd, what in self.poll.poll(0.01 if waiting or self.closed else 1):
                peer = self.peers[fd]
                try:
                    if what & (select.EPOLLERR | select.EPOLLHUP):
                        raise ConnectionResetError
                    if what & select.EPOLLIN:
                        peer.read()
                    if what & select.EPOLLOUT and peer.left:
                        peer.write()
                except BlockingIOError:
                    pass
                except OSError:
                    peer.close()
            while self.closed and (self.spec["again"] or time.monotonic() > again):
                again = max(again, time.monotonic() - 1) + 1 / self.spec.get("pace", AGAIN)
                self.closed.pop().open()


def sink(spec):
    """Takes the bytes and answers after each portion of them, as short as can be; where nobody waits for
    answers it says nothing."""
    poll, peers = select.epoll(), {}
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(4096)
        listener.setblocking(False)
        print(listener.getsockname()[1], flush=True)
        poll.register(listener, select.EPOLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == listener.fileno():
                    with contextlib.suppress(BlockingIOError):
                        s, _ = listener.accept()
                        s.setblocking(False)
                        peers[s.fileno()] = [s, 0]
                        poll.register(s, select.EPOLLIN)
                    continue
                s = peers[fd][0]
                try:
                    part = s.recv(1 << 20)
                    if not part:
                        raise ConnectionResetError
                    peers[fd][1] += len(part)
                    while spec["again"] and peers[fd][1] >= spec["portion"]:
                        peers[fd][1] -= spec["portion"]
                        s.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                except BlockingIOError:
                    pass
                except OSError:
                    poll.unregister(fd)
                    peers.pop(fd)[0].close()


def read_answer(s):
    data = b""
    while True:
        head, end, body = data.partition(b"\r\n\r\n")
        if end:
            length = next(
                (
                    int(line[15:])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length:")
                ),
                0,
            )
            if len(body) >= length:
                return int(head[9:12]), b"connection: close" in head.lower()
        part = s.recv(65536)
        if not part:
            raise ConnectionResetError
        data += part


class HttpVictim:
    def __init__(self, spec):
        self.spec, self.requests = spec, [base64.b64decode(s) for s in spec["say"]]
        self.socket, self.at = None, 0

    def call(self):
        request = self.requests[self.at % len(self.requests)]
        self.at += 1
        try:
            if self.socket is None:
                self.socket = socket.create_connection(
                    (self.spec["address"], self.spec["port"]),
                    timeout=TIMEOUT,
                    source_address=(VICTIM_ADDRESS, 0),
                )
            self.socket.sendall(request)
            status, ends = read_answer(self.socket)
        except OSError:
            self.socket = None
            return False
        if ends or self.spec.get("fresh"):
            self.socket.close()
            self.socket = None
        return 200 <= status < 300


class DnsVictim:
    """One question by TCP in two segments."""

    def __init__(self, spec):
        self.spec, self.question = spec, base64.b64decode(spec["say"][0])

    def call(self):
        try:
            with socket.create_connection(
                (self.spec["address"], self.spec["port"]), timeout=TIMEOUT, source_address=(VICTIM_ADDRESS, 0)
            ) as s:
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                s.sendall(self.question[:7])
                time.sleep(0.001)
                s.sendall(self.question[7:])
                answer = b""
                while len(answer) < 2 or len(answer) < 2 + int.from_bytes(answer[:2], "big"):
                    part = s.recv(4096)
                    if not part:
                        return False
                    answer += part
            return answer[5] & 15 == 0
        except OSError:
            return False


class LoginVictim:
    """A whole login by ssh, up to a forwarded connection's first answer."""

    def __init__(self, spec):
        self.spec = spec

    def call(self):
        done = subprocess.run(
            self.spec["argv"],
            input=base64.b64decode(self.spec["say"][0]),
            capture_output=True,
            timeout=3 * TIMEOUT,
        )
        return b" 200 OK" in done.stdout


def victim(spec):
    """Prints the seconds that each call took, or null for one that failed."""
    with contextlib.suppress(OSError):
        os.nice(-10)  # it is not the load beside it that is measured
    v = {"http": HttpVictim, "dns": DnsVictim, "login": LoginVictim}[spec["kind"]](spec)
    v.at = spec.get("first", 0)
    times, start = [], time.monotonic()
    for i in range(int(spec["rate"] * spec["seconds"])):
        due = start + i / spec["rate"]
        time.sleep(max(0, due - time.monotonic()))
        if time.monotonic() > start + spec["seconds"]:
            break
        began = time.monotonic()
        ok = v.call()
        times.append(time.monotonic() - began if ok else None)
    print(json.dumps({"times": times}))


# --- the rows ---


def b64(data):
    return base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()


def request(method, host, path, key=None, body=b"", more=""):
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}"
    head += f"Authorization: Bearer {key}\r\n" if key else ""
    head += f"Content-Type: application/vnd.api+json\r\nContent-Length: {len(body)}\r\n" if body else ""
    return head.encode() + b"\r\n" + body


def made_up_key():
    """Never given out; its checksum, which anybody can compute, is right."""
    letters = string.digits + string.ascii_uppercase + string.ascii_lowercase
    body = "sk_api_" + "".join(random.choices(letters, k=30))
    checksum, tail = zlib.crc32(body.encode()), ""
    for _ in range(6):
        checksum, digit = divmod(checksum, 62)
        tail = letters[digit] + tail
    return body + tail


class World:
    """What the rows attack: the product of the tree that is measured, by that tree's own helpers."""

    def __init__(self, work, tree):
        sys.path[:0] = [str(tree / "tests" / "e2e"), str(tree / "tests" / "e2e" / "worlds")]
        os.environ.setdefault("SMPL_BIN", str(tree / "build" / "release" / "bin"))
        import app_client
        import balanced
        import kit
        import product

        self.kit, self.client, self.work, self.programs = kit, app_client, work, []
        self.product_kind, self.balanced_kind = product.Product, balanced.BalancedProduct
        self.public_name, self.product, self.behind = product.public_name, None, None

    def spawn(self, *argv, **kw):
        kw.setdefault("cwd", self.cwd)
        self.programs.append(self.kit.Program(argv, **kw))
        return self.programs[-1]

    def plain(self):
        if self.product is None:
            self.stop()
            self.cwd = self.work / "plain"
            self.cwd.mkdir()
            kit, ssh_user = self.kit, "greedy"

            class WithTwoUsers(self.product_kind):
                def write_bastion(self):
                    super().write_bastion()
                    kit.keygen(self.work / ssh_user, comment=ssh_user)
                    path = self.work / "bastion.yaml"
                    path.write_text(
                        path.read_text().replace(
                            "users:\n",
                            f"users:\n  - {{name: {ssh_user}, keys: {ssh_user}.pub, groups: [developers]}}\n",
                        )
                    )

            self.product = WithTwoUsers(self.cwd, self.spawn)
        return self.product

    def balanced(self):
        if self.behind is None:
            self.stop()
            self.cwd = self.work / "balanced"
            self.cwd.mkdir()
            self.behind = self.balanced_kind(self.cwd, self.spawn, bastion=False)
        return self.behind

    def customer(self, product, configs=1):
        customer = self.client.Customer(product)
        for i in range(configs):
            reply = customer("POST", "config", "/configs", self.client.config(f"c{i}"))
            assert reply.status == 201, reply
        return customer

    def stop(self):
        for program in reversed(self.programs):
            program.signal(signal.SIGTERM) if program.running() else None
        for program in reversed(self.programs):
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.wait(15)
            program.kill9()
        self.programs.clear()
        self.product = self.behind = None


def config_at(w, p, **spec):
    return {"address": "127.20.1.11", "port": p.http, **spec}


def attack(spec, connections, say, again=True, sources=ATTACKERS):
    return {
        **spec,
        "connections": connections,
        "say": [b64(s) for s in say],
        "again": again,
        "sources": sources,
        "portion": len(say[0]),
    }


def reads(w, p, **more):
    key = w.customer(p).key
    return config_at(
        w,
        p,
        kind="http",
        rate=100,
        say=[b64(request("GET", w.public_name("config"), "/api/v1/configs/c0", key))],
        **more,
    )


def row_bodies(w):
    p, host = w.plain(), w.public_name("config")
    members = ",".join(
        f'"k{i}":{{"value":1}}' for i in range(24000)
    )  # parsed whole, and then refused: they lack a type
    body = f'{{"data":{{"type":"config","attributes":{{"name":"x","items":{{{members}}}}}}}}}'.encode()
    put = request("PUT", host, "/api/v1/configs/c0", w.customer(p).key, body)
    return attack(config_at(w, p), 4, [put]), reads(w, p)


def row_puts(w):
    p, host = w.plain(), w.public_name("config")

    def put(key):
        return request("PUT", host, "/api/v1/configs/c0", key, json.dumps(w.client.config("c0")).encode())

    return (
        attack(config_at(w, p), 1000, [put(w.customer(p).key)]),
        config_at(w, p, kind="http", rate=100, say=[b64(put(w.customer(p).key))]),
    )


def row_keys(w, customers=600):
    """The victims are customers whom this service has not seen before."""
    p, host = w.plain(), w.public_name("config")
    fresh = [w.client.Customer(p).key for _ in range(customers)]
    said = [request("GET", host, "/api/v1/configs", made_up_key()) for _ in range(20000)]
    return (
        attack(config_at(w, p), 64, said),
        config_at(
            w,
            p,
            kind="http",
            rate=20,
            advance=True,
            say=[b64(request("GET", host, "/api/v1/configs", key)) for key in fresh],
        ),
    )


def row_heads(w):
    p = w.plain()
    return attack(
        config_at(w, p),
        16000,
        [b"GET /api/v1/configs HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 20000],
        again=False,
    ), reads(w, p, fresh=True)


def row_balancer(w):
    p = w.balanced()
    return attack(
        config_at(w, p), 11500, [b"GET /api/v1/configs HTTP/1.1\r\nHost: h\r\n"], again=False
    ), reads(w, p, fresh=True)


def logins(w, p):
    say = (
        f"GET /internal/v1/health HTTP/1.1\r\nHost: {'config.internal.smplkit.local'}\r\n"
        "Connection: close\r\n\r\n"
    )
    argv = [str(a) for a in p.ssh_args("-W", f"config.internal.smplkit.local:{p.http}", "-b", VICTIM_ADDRESS)]
    return {"kind": "login", "rate": 5, "argv": argv, "say": [b64(say)]}


def row_logins(w):
    p = w.plain()
    return attack({"address": "127.0.0.1", "port": p.ssh, "pace": 50}, 64, [b""], again=False), logins(w, p)


def row_audit(w):
    p = w.plain()
    (p.work / "greedy.yaml").write_text(
        f"bastion: greedy@127.0.0.1:{p.ssh}\nidentity: [greedy]\nknown_hosts: known_hosts\n"
    )
    port = w.kit.free_port("127.0.0.1")
    w.spawn(
        w.kit.binary("smpl-tunnel"),
        f"{port}:config.internal",
        env={"SMPL_TUNNEL_CONFIG": str(p.work / "greedy.yaml"), "HOME": str(p.work)},
    ).wait_line(f"localhost:{port}", stream="out")
    say = f"GET /internal/v1/health HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode()
    return attack({"address": "127.0.0.1", "port": port}, 32, [say], sources=["127.0.0.1"]), logins(w, p)


def row_queries(w):
    p = w.plain()
    name = b"".join(bytes([len(part)]) + part for part in b"config.smplkit.com".split(b".")) + b"\0"
    question = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0" + name + b"\0\1\0\1"
    at = {"address": "127.0.0.1", "port": p.dns}
    sizes = [40000] * 6 + [4000, 400, 40, 4, 1, 1]  # all of what there is, not most of it
    return (
        attack(at, 5000, [b"\xff\xff" + b"a" * n for n in sizes], again=False),
        {**at, "kind": "dns", "rate": 100, "say": [b64(len(question).to_bytes(2, "big") + question)]},
    )


ROWS = {  # name: what does what to whom, and how it is made
    "bodies": ("4 connections of 0.5 MB JSON bodies, against another's GETs", row_bodies),
    "puts": ("1,000 connections of small PUTs of one account, against another's PUTs", row_puts),
    "keys": ("64 connections of made-up keys, against customers that come for the first time", row_keys),
    "heads": ("16,000 unfinished heads of 20 KB at smpl-app, against new connections", row_heads),
    "balancer": ("11,500 unfinished heads at the public balancer, against new connections", row_balancer),
    "logins": ("64 silent connections at the bastion, against logins", row_logins),
    "audit": ("32 connections at a time of one developer, against another's logins", row_audit),
    "queries": (
        "5,000 unfinished queries of up to 40 KB by TCP at the resolver, against queries in two segments",
        row_queries,
    ),
}


# --- measuring ---


def role(name, spec, cpus=LOAD):
    process = subprocess.Popen(
        [sys.executable, HERE, f"--{name}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),
    )
    process.stdin.write(json.dumps(spec))
    process.stdin.close()
    return process


def turn(attacker, target, seconds, lead):
    """One measurement: the attacker runs, against the real thing or its sink, and after a while the victim
    calls."""
    greedy = role("attack", attacker)
    try:
        if greedy.stdout.readline() != "all\n":
            raise SystemExit("fair: the attacker has ended by itself")
        time.sleep(lead)
        v = role("victim", {**target, "seconds": seconds})
        out = json.loads(v.stdout.read())
        v.wait()
    finally:
        greedy.kill()
        greedy.wait()
    times = sorted(float("inf") if t is None else t for t in out["times"])
    answered = sum(t < float("inf") for t in times)
    return (
        times[min(len(times) - 1, int(0.99 * len(times)))] if times else float("inf"),
        answered / seconds,
        len(times),
    )


def measure(w, make, seconds, runs, lead):
    attacker, target = make(w)
    hole = role("sink", attacker)
    try:
        elsewhere = {**attacker, "address": "127.0.0.1", "port": int(hole.stdout.readline())}
        results, at = {"quiet": [], "during": []}, 0
        for _ in range(runs):
            for kind, against in (("quiet", elsewhere), ("during", attacker)):
                if target.get("advance"):
                    target["first"] = at
                p99, rate, calls = turn(against, target, seconds, lead)
                at += calls
                results[kind].append((p99, rate))
                time.sleep(0.5)
    finally:
        hole.kill()
        hole.wait()
    return {kind: tuple(statistics.median(column) for column in zip(*rows)) for kind, rows in results.items()}


def ms(p99):
    return "never" if p99 == float("inf") else f"{p99 * 1000:.1f} ms"


def main():
    parser = argparse.ArgumentParser(prog="fair.py", description=__doc__.split("\n")[0])
    parser.add_argument("seconds", nargs="?", type=float, default=3)
    parser.add_argument("runs", nargs="?", type=int, default=3)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=" ".join(ROWS))
    parser.add_argument(
        "--tree",
        type=Path,
        default=HERE.parents[2],
        help="another checkout of this repository, built; default: this one",
    )
    parser.add_argument(
        "--lead", type=float, default=2, help="seconds that the attack lasts before the victim calls"
    )
    options = parser.parse_args()
    for name in options.rows:
        if name not in ROWS:
            parser.error(f"no row '{name}'; there is: {' '.join(ROWS)}")
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("fair: needs two processors")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setaffinity(0, SERVER)  # what is started from here on, the load aside
    work, failed = Path(tempfile.mkdtemp(prefix="smpl-fair-", dir="/tmp")), []
    work.chmod(0o755)
    w = World(work, options.tree.resolve())
    print(
        "| row | attack | victim quiet: p99, answers/s | during: p99, answers/s | within twice, or 10 ms |\n"
        "|---|---|---|---|---|",
        flush=True,
    )
    try:
        for name in options.rows or ROWS:
            text, make = ROWS[name]
            try:
                got = measure(w, make, options.seconds, options.runs, options.lead)
            finally:
                w.stop()
                shutil.rmtree(work / "plain", ignore_errors=True)
                shutil.rmtree(work / "balanced", ignore_errors=True)
            (quiet, rate_quiet), (during, rate_during) = got["quiet"], got["during"]
            fine = during < float("inf") and during <= max(TWICE * quiet, FLOOR)
            failed += [] if fine else [name]
            print(
                f"| {name} | {text} | {ms(quiet)}, {rate_quiet:.0f} | {ms(during)}, {rate_during:.0f} | "
                f"{'yes' if fine else '**no**'} |",
                flush=True,
            )
    finally:
        w.stop()
        shutil.rmtree(work, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1:] in (["--attack"], ["--sink"], ["--victim"]):
        spec = json.load(sys.stdin)
        {"--attack": lambda s: Attack(s).run(), "--sink": sink, "--victim": victim}[sys.argv[1]](spec)
        sys.exit(0)
    sys.exit(main())
