# SPDX-License-Identifier: Apache-2.0
"""What is noticed when one of two hosts is switched off, frozen or killed, and when it comes back: ./dev lab
outages [HOST...]. Prints a table, in milliseconds, and writes build/report/lab-outages.json."""

import fcntl
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    os.environ["SMPL_LAB"] = "lab-outages"
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "e2e")]
import kit  # noqa: E402
import lab  # noqa: E402
from conftest import inside  # noqa: E402

HOSTS = ("resolver", "bastion", "accounts", "config", "flags", "public", "internal")
FAULTS = {"link": "link down", "freeze": "SIGSTOP", "kill": "kill -9"}
# What is asked of a host: what each of these streams notices is what its outage is.
NOTICED = {
    "resolver": ["names inside", "names outside", "fresh keys", "new tunnels"],
    "bastion": ["new tunnels", "tunnel"],
    "accounts": ["fresh keys"],
    "config": ["public, new", "public, kept", "writes", "internal, new"],
    "flags": ["flags, new", "flags, kept"],
    "public": ["public, new", "public, kept", "writes"],
    "internal": ["internal, new", "fresh keys"],
}
GOALS = {"new": 1000, "new at a balancer": 2000, "at a frozen host": 5000, "tunnel": 10000}
WINDOW, BACK, CALM = 6, 4, 2  # seconds of load that are judged after a fault, after a repair, and left before
WINDOW_TUNNEL = 14
FRESH = 2  # keys a second that nobody has heard of


# --- faults ---


def holder(host):
    """Which of the two is at work."""
    if host in lab.MOVING:
        return next((h for h in (host, lab.twin(host)) if lab.has_addresses(h)), host)
    return f"{host}-1" if f"{host}-1" in lab.HOSTS else host


def programs(host):
    """Our program on a host and its children, some of which have networks of their own; keepalived and what
    it asks stay."""
    found = [p for p in lab.pids(host) if lab.executable(p).startswith(("smpl-", "haproxy"))]
    for pid in found:
        found += [c for c in kit.children(pid) if c not in found]
    return found


def send(host, number):
    for pid in programs(host):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def break_it(host, fault):
    if fault == "link":
        lab.pull(host)
    else:
        send(host, signal.SIGSTOP if fault == "freeze" else signal.SIGKILL)


def mend(host, fault):
    """Power back: what was stopped goes on, what has ended is started anew."""
    if fault == "link":
        lab.pull(host, back=True)
    elif fault == "freeze":
        send(host, signal.SIGCONT)
    if not programs(host):
        (lab.WORK / host / "log").write_text("")
        lab.start(host)
    lab.wait_ready(host)


# --- load ---


def accounts(count):
    """Keys of accounts that nobody has used."""
    keys = []
    with inside("insider"):
        c = http.client.HTTPConnection("10.20.0.10", 80, timeout=lab.PATIENCE)
        for i in range(count):
            c.request(
                "POST",
                "/internal/v1/accounts",
                json.dumps({"data": {"type": "account", "attributes": {"name": f"Load {i}"}}}),
                {
                    "Host": "app.internal.smplkit.local",
                    "Content-Type": "application/json",
                    "Authorization": f"Bearer {lab.internal_key('operator').strip()}",
                },
            )
            text = c.getresponse().read().decode()
            keys.append("sk_api_" + text.split('"sk_api_')[1].split('"')[0])
        c.close()
    return keys


def document(key, name, text):
    """A configuration of that account, made or replaced."""
    body = lambda: json.dumps(
        {"data": {"type": "config", "id": name, "attributes": {"name": name, "description": text}}}
    )
    with inside("laptop"):
        c = http.client.HTTPConnection("203.0.113.11", 80, timeout=lab.PATIENCE)
        headers = {
            "Host": "config.smplkit.com",
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/vnd.api+json",
        }

        def post():
            c.request("POST", "/api/v1/configs", body(), headers)
            reply = c.getresponse()
            reply.read()
            return reply.status == 201

        kit.wait_until(post, f"{name} is made")  # a new account is known to its sisters a moment later
        c.close()


class Load:
    """Streams of requests from insider and laptop, and a tunnel that stays."""

    def __init__(self, seconds):
        self.folder = lab.WORK / "load"
        self.folder.mkdir(exist_ok=True)
        one, other, *fresh = accounts(2 + int(seconds * FRESH))
        for key, text in ((one, "mine"), (other, "theirs")):
            document(key, "seed", text)
        for i in range(4):
            document(one, f"w{i}", "0")
        self.programs = {}
        self.tunnel = self.start_tunnel()
        self.start("insider", self.inside_streams())
        self.start("laptop", self.outside_streams(one, other, fresh))

    def start_tunnel(self):
        argv = self.tunnel_argv()
        return subprocess.Popen(
            lab.enter("laptop", *argv, "--json", "8080:config.internal"),
            env=self.environment(),
            cwd=lab.WORK / "laptop",
            stdin=subprocess.DEVNULL,
            stdout=open(self.folder / "tunnel.out", "w"),
            stderr=subprocess.STDOUT,
        )

    def environment(self):
        return dict(os.environ, SMPL_TUNNEL_CONFIG=str(lab.WORK / "laptop" / "tunnel.yaml"))

    def tunnel_argv(self):
        return [lab.BIN / "smpl-tunnel", "--bastion", "dev@bastions.smplkit.com"]

    def start(self, host, streams):
        path = self.folder / f"{host}.json"
        path.write_text(json.dumps(streams))
        self.programs[host] = subprocess.Popen(
            lab.enter(
                host,
                "/usr/bin/python3",
                Path(__file__).with_name("load.py"),
                path,
                self.folder / f"{host}.out",
            ),
            cwd=lab.WORK / host,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stderr=open(self.folder / f"{host}.err", "w"),
        )

    @staticmethod
    def inside_streams():
        there = [(f"{n}.internal.smplkit.local", a) for n, a in lab.INTERNAL_NAMES.items()]
        health = {
            "host": "config.internal.smplkit.local",
            "path": "/internal/v1/health",
            "expect": 200,
            "text": '"config"',
            "address": "10.20.0.11",
        }
        return [
            {"name": "internal, new", "kind": "new", "rate": 30, **health},
            {
                "name": "names inside",
                "kind": "names",
                "rate": 30,
                "names": there,
                "servers": ["10.20.0.2", "10.20.0.3"],
            },
            {"name": "names by the system", "kind": "system names", "rate": 5, "names": there},
        ]

    def outside_streams(self, one, other, fresh):
        there = [(f"{n}.smplkit.com", a) for n, a in lab.PUBLIC_NAMES.items()]
        absent = [(f"{n}.internal.smplkit.local", None) for n in (*lab.INTERNAL_NAMES, "nosuch")]
        seed = {
            "host": "config.smplkit.com",
            "path": "/api/v1/configs/seed",
            "expect": 200,
            "address": "203.0.113.11",
        }
        flags = {
            "host": "flags.smplkit.com",
            "path": "/api/v1/flags",
            "expect": 200,
            "address": "203.0.113.12",
            "key": one,
        }
        inner = {"path": "/internal/v1/health", "expect": 404}
        health = {
            "address": "127.0.0.1",
            "port": 8080,
            "host": "localhost:8080",
            "path": "/internal/v1/health",
            "expect": 200,
            "text": '"config"',
        }
        return [
            {"name": "public, new", "kind": "new", "rate": 40, "key": one, "text": '"mine"', **seed},
            {
                "name": "public, kept",
                "kind": "kept",
                "rate": 40,
                "workers": 4,
                "key": other,
                "text": '"theirs"',
                **seed,
            },
            {"name": "writes", "kind": "writes", "rate": 30, "workers": 4, **seed, "key": one},
            {
                "name": "fresh keys",
                "kind": "fresh",
                "rate": FRESH,
                "keys": fresh,
                **seed,
                "path": "/api/v1/configs",
            },
            {"name": "flags, new", "kind": "new", "rate": 20, **flags},
            {"name": "flags, kept", "kind": "kept", "rate": 20, "workers": 2, **flags},
            {
                "name": "attack, balancer",
                "kind": "new",
                "rate": 10,
                "host": "config.smplkit.com",
                "address": "203.0.113.11",
                **inner,
            },
            {
                "name": "attack, listener",
                "kind": "new",
                "rate": 10,
                "host": "flags.smplkit.com",
                "address": "203.0.113.12",
                **inner,
            },
            {
                "name": "names outside",
                "kind": "names",
                "rate": 20,
                "names": there + absent,
                "servers": ["203.0.113.2", "203.0.113.3"],
            },
            {"name": "tunnel", "kind": "new", "rate": 20, **health},
            {"name": "tunnel, kept", "kind": "kept", "rate": 10, "workers": 1, **health},
            {
                "name": "new tunnels",
                "kind": "tunnels",
                "ports": [8081, 8082],
                "argv": [str(a) for a in self.tunnel_argv()],
            },
        ]

    def bastion(self):
        """The one that the tunnel goes through."""
        shown = lab.on("laptop", "ss", "-Htnp", "state", "established", "dport", "=", ":22").stdout
        mine = [line for line in shown.splitlines() if f"pid={self.tunnel.pid}," in line]
        return next(
            (
                h
                for h in ("bastion", "bastion-2")
                if any(
                    f"{a}]:22" in m or f"{a}:22" in m
                    for m in mine
                    for a in (*lab.HOSTS[h][lab.INET], lab.v6(lab.HOSTS[h][lab.INET][0]))
                )
            ),
            "bastion",
        )

    def records(self):
        """[(stream, began, ended, outcome, detail)] of all that has ended so far."""
        for host, program in self.programs.items():
            if program.poll() is not None:
                raise lab.LabError(
                    f"the load on {host} has ended: " + (self.folder / f"{host}.err").read_text()[-500:]
                )
        if self.tunnel.poll() is not None:
            raise lab.LabError("the tunnel has ended: " + (self.folder / "tunnel.out").read_text()[-500:])
        return [tuple(r) for host in self.programs for r in kit.json_lines(self.folder / f"{host}.out")]

    def wait_for(self, streams, since, count=3):
        """Until each of the streams has had so many right answers to what began after that."""

        def all_answered():
            good = [s for s, began, _, outcome, _ in self.records() if began >= since and outcome == "ok"]
            return all(good.count(s) >= count for s in streams)

        kit.wait_until(all_answered, f"{', '.join(streams)}: answers", step=0.2)

    def end(self):
        for program in self.programs.values():
            program.terminate()
            program.wait(lab.PATIENCE)
        self.tunnel.send_signal(signal.SIGINT)
        self.tunnel.wait(lab.PATIENCE)


# --- judging ---


def of_stream(records, stream, start, end):
    """What this stream noticed between two moments: the longest time without a right answer, the longest wait
    for one, how many failed."""
    ends = sorted(
        e for s, _, e, outcome, _ in records if s == stream and outcome == "ok" and start <= e <= end
    )
    marks = [start, *ends, end]
    waits = [
        e - b
        for s, b, e, outcome, _ in records
        if s == stream and outcome == "ok" and start <= e <= end + WINDOW_TUNNEL
    ]
    failed = [
        d for s, b, e, outcome, d in records if s == stream and outcome == "failed" and start <= e <= end
    ]
    in_vain = [
        e - b for s, b, e, outcome, _ in records if s == stream and outcome == "failed" and start <= b <= end
    ]
    gap = max(b - a for a, b in zip(marks, marks[1:])) - (
        1 / FRESH if stream == "fresh keys" else 0
    )  # which are far apart anyway
    return {
        "gap_ms": round(max(gap, 0) * 1000),
        "wait_ms": round(max(waits, default=end - start) * 1000),
        "failed": len(failed),
        "vain_ms": round(max(in_vain, default=0) * 1000),
        "why": sorted(set(failed))[:5],
    }


def wrong(records, start=0.0):
    return [r for r in records if r[3] == "wrong" and r[2] >= start]


def window(host):
    return WINDOW_TUNNEL if host == "bastion" else WINDOW


def measure(load, host, fault):
    """One of the two of a kind breaks and comes back. {"fault": {stream: ...}, "back": {...}}"""
    target = load.bastion() if host == "bastion" else holder(host)
    time.sleep(CALM)
    at = time.monotonic()
    break_it(target, fault)
    time.sleep(window(host))
    back_at = time.monotonic()
    mend(target, fault)
    time.sleep(BACK)
    end = time.monotonic()
    load.wait_for(NOTICED[host], end)
    records = load.records()
    row = {"host": host, "target": target, "fault": fault, "wrong": wrong(records, at)}
    for name, a, b in (("gone", at, back_at), ("back", back_at, end)):
        row[name] = {s: of_stream(records, s, a, b) for s in sorted({r[0] for r in records})}
    return row


NOT_NEW = ("public, kept", "writes", "flags, kept", "tunnel", "new tunnels")


def worst(row, when, of):
    """Over the streams that notice this host. A few connections that all wait at one host answer nothing
    meanwhile, and a tunnel is opened after the one before: of these the longest wait is said, not the time
    without an answer."""
    noticed = [s for s in NOTICED[row["host"]] if s != "tunnel"]
    if of == "gap_ms":
        noticed = [s for s in noticed if s not in NOT_NEW] or noticed
    return max(row[when][s][of] for s in noticed)


def missed(row):
    """The goals that this row does not reach."""
    host, out = row["host"], []
    most = GOALS["new at a balancer" if host in lab.MOVING else "new"]
    for when in ("gone", "back"):
        for stream in NOTICED[host]:
            goal = (
                GOALS["tunnel"]
                if stream == "tunnel"
                else GOALS["at a frozen host"]
                if stream in NOT_NEW
                else most
            )
            got = row[when][stream]["wait_ms" if stream in NOT_NEW and stream != "tunnel" else "gap_ms"]
            if got > goal:
                out.append(f"{host}, {FAULTS[row['fault']]}, {when}: {stream} {got} ms, goal {goal}")
            for of, text in (("wait_ms", "one waited"), ("vain_ms", "one failed after")):
                if row[when][stream][of] > max(goal, GOALS["at a frozen host"]):
                    out.append(
                        f"{host}, {FAULTS[row['fault']]}, {when}: {stream}, {text} {row[when][stream][of]} ms"
                    )
    return out + [f"{host}, {FAULTS[row['fault']]}: wrong {w}" for w in row["wrong"][:5]]


def table(rows):
    lines = [
        "| one of two | what happens | without an answer | longest wait | failed | tunnel | back: without an "
        "answer | failed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        failed = [sum(r[w][s]["failed"] for s in NOTICED[r["host"]]) for w in ("gone", "back")]
        lines.append(
            f"| {r['host']} | {FAULTS[r['fault']]} | {worst(r, 'gone', 'gap_ms')} | "
            f"{worst(r, 'gone', 'wait_ms')} | {failed[0]} "
            f"| {r['gone']['tunnel']['gap_ms']} | {worst(r, 'back', 'gap_ms')} | {failed[1]} |"
        )
    return "\n".join(lines)


def main(argv):
    hosts = [a for a in argv if a in HOSTS] or HOSTS
    if [a for a in argv if a not in HOSTS]:
        print(
            f"outages: expected of {' '.join(HOSTS)}, got {' '.join(argv)}\n"
            "     Usage: ./dev lab outages [HOST...]",
            file=sys.stderr,
        )
        return 2
    if os.geteuid() != 0:
        print("outages: network namespaces need root\n     sudo ./dev lab outages", file=sys.stderr)
        return 1
    (lab.ROOT / "build").mkdir(exist_ok=True)
    rows = []
    with open(lab.ROOT / "build" / f".{lab.KIND}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            lab.up()
            load = Load(seconds=60 + len(hosts) * len(FAULTS) * 40)
            load.wait_for(sorted({s for n in NOTICED.values() for s in n}), time.monotonic())
            for host in hosts:
                for fault in FAULTS:
                    print(f"outages: {host}, {FAULTS[fault]}", file=sys.stderr, flush=True)
                    rows.append(measure(load, host, fault))
            load.end()
        except Exception:
            print(table(rows))
            raise
        finally:
            if "SMPL_LAB_KEEP" not in os.environ:
                lab.down()
    folder = Path(os.environ.get("SMPL_REPORT", lab.ROOT / "build" / "report"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lab-outages.json").write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))
    misses = [m for r in rows for m in missed(r)]
    print(
        "\n".join(
            ["", "Missed:", *misses] if misses else ["", "Every goal was reached, and no answer was wrong."]
        )
    )
    return int(bool(misses))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
