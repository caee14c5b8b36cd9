# SPDX-License-Identifier: Apache-2.0
"""Holds no test: a bastion with a resolver of ours behind it, on addresses of its own: 127.42.0.0/16 plays
the private network."""

import json
import socket
import subprocess
import threading

import pytest

import kit

BASTION = "127.42.0.1"
SOURCE = "127.42.0.5"
DNS = "127.42.0.53"
WEB = "127.42.1.11"
ZONE = """\
$ORIGIN internal.smplkit.local.
$TTL 2
@ SOA ns hostmaster 1 3600 600 86400 1
@ NS ns
ns A {dns}
config A {web}
_http._tcp.config SRV 0 0 {port} config
app A 127.42.1.12
_http._tcp.app SRV 0 0 22 app
other A {web}
_http._tcp.other SRV 0 0 {port} config
astray A 127.42.1.13
_http._tcp.astray SRV 0 0 {port} secret.smplkit.local.
alias CNAME config
_http._tcp PTR _http._tcp.config
_http._tcp PTR _http._tcp.app
_http._tcp PTR _http._tcp.other
_http._tcp PTR _http._tcp.astray
_http._tcp PTR _http._tcp.nothing
_http._tcp PTR _http._tcp.host.elsewhere.local.
away CNAME www.example.com.
away2 CNAME host.elsewhere.local.
partly A {web}
partly A 127.43.0.1
outside A 127.43.0.1
metadata A 169.254.169.254
unspecified A 0.0.0.0
empty TXT "no address"
self A {bastion}
down A 127.42.1.99
pair A {web}
pair A 127.42.1.12
twofold A {web}
twofold AAAA ::1
"""


class World:
    def __init__(self, work, spawn, *, start=True, **kw):
        self.work, self.spawn, self.clients = work, spawn, []
        self.dns = kit.free_port(DNS)
        self.ssh_port = kit.free_port(BASTION)
        self.port = kit.free_port(WEB, "127.42.1.12", "127.42.1.99")
        self.options = kw
        kit.keygen(work / "host", comment="bastion")
        self.key, _ = kit.keygen(work / "dev", comment="dev")
        self.other_key, _ = kit.keygen(work / "stranger", comment="stranger")
        host_key = " ".join((work / "host.pub").read_text().split()[:2])
        (work / "known_hosts").write_text(f"[{BASTION}]:{self.ssh_port} {host_key}\n")
        (work / "zone").write_text(ZONE.format(dns=DNS, web=WEB, port=self.port, bastion=BASTION))
        (work / "elsewhere").write_text(
            "$ORIGIN elsewhere.local.\n$TTL 2\n@ SOA ns hostmaster 1 3600 600 86400 1\n"
            f"@ NS ns\nns A {DNS}\nhost A {WEB}\n"
        )
        (work / "resolver.yaml").write_text(
            f"""\
listeners: [{{address: {DNS}, port: {self.dns}, views: [vpc]}}]
views: [{{name: vpc, clients: [127.42.0.0/16], zones: [internal.smplkit.local, elsewhere.local]}}]
zones: [{{name: internal.smplkit.local, file: zone}}, {{name: elsewhere.local, file: elsewhere}}]
control: resolver.sock
"""
        )
        self.write(**kw)
        self.resolver = spawn(kit.binary("smpl-resolver"), "-c", "resolver.yaml").wait_ready()
        self.web = kit.HttpServer(WEB, self.port, "hello from inside")
        if start:
            self.start()

    def write(self, *, grants=None, limits="", users=None, extra="", host_keys="host"):
        if grants is None:
            grants = f"""\
  - groups: [developers]
    targets: ["*.internal.smplkit.local:{self.port},{self.ssh_port}", "{WEB}:{self.port}"]
    networks: [127.42.0.0/16]
"""
        users = users or "  - {name: dev, keys: dev.pub, groups: [developers]}\n"
        (self.work / "bastion.yaml").write_text(
            f"""\
listen: ["{BASTION}:{self.ssh_port}"]
host_keys: [{host_keys}]
resolver: {{servers: ["{DNS}:{self.dns}"], source: {SOURCE}}}
connect_from: [{SOURCE}]
search: [smplkit.local]
users:
{users}grants:
{grants}limits: {{{limits}}}
{extra}audit: audit.jsonl
control: bastion.sock
"""
        )

    def start(self, **kw):
        self.bastion = self.spawn(kit.binary("smpl-bastion"), "-v", "-c", "bastion.yaml", **kw).wait_ready()
        return self.bastion

    def close(self):
        self.web.close()
        for client in self.clients:
            client.close()

    # --- commands ---

    def command(self, *argv, status=0):
        done = kit.run(kit.binary("smpl-bastion"), *argv, "-c", "bastion.yaml", cwd=self.work)
        assert done.returncode == status, (argv, done.returncode, done.stdout, done.stderr)
        return done

    def sessions(self):
        return json.loads(self.command("sessions", "--json").stdout)

    def status(self):
        return json.loads(self.command("status", "--json").stdout)

    # --- the client ---

    def ssh_argv(self, *argv, user="dev", key=None):
        return [
            kit.tool("ssh"),
            "-F",
            "none",
            "-p",
            self.ssh_port,
            "-i",
            key or self.key,
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            f"UserKnownHostsFile={self.work}/known_hosts",
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentityAgent=none",
            *argv,
            f"{user}@{BASTION}",
        ]

    def ssh(self, *argv, user="dev", key=None, command=(), **kw):
        return kit.run(*self.ssh_argv(*argv, user=user, key=key), *command, **kw)

    def forward(self, target="config.internal", port=None, extra=()):
        """ssh -N -L in the background; returns (program, local port) once the session is there."""
        local = kit.free_port("127.42.9.9")
        before = set(self.workers())  # some may be ending
        program = self.spawn(
            *self.ssh_argv(
                "-N",
                "-o",
                "ExitOnForwardFailure=yes",
                "-L",
                f"127.42.9.9:{local}:{target}:{port or self.port}",
                *extra,
            )
        )
        kit.wait_until(
            lambda: set(self.workers()) - before
            and kit.port_open("127.42.9.9", local)
            or not program.running(),
            "the session starts",
        )
        assert program.running(), program.stderr
        return program, local

    def get(self, local, seconds=kit.PATIENCE):
        return kit.run(kit.tool("curl"), "-sS", "--max-time", seconds, f"http://127.42.9.9:{local}/")

    def ask(self, *questions):
        """smpl-control: answers by the order of the questions."""
        lines = "".join(json.dumps(dict(q, id=i)) + "\n" for i, q in enumerate(questions))
        ssh = subprocess.Popen(
            [str(a) for a in self.ssh_argv("-s")] + ["smpl-control"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            ssh.stdin.write(lines)
            ssh.stdin.flush()
            answers = [json.loads(ssh.stdout.readline()) for _ in questions]
        finally:
            ssh.stdin.close()
            ssh.wait(kit.PATIENCE)
            ssh.stdout.close()
            ssh.stderr.close()
        return [{k: v for k, v in a.items() if k != "id"} for a in sorted(answers, key=lambda a: a["id"])]

    def control(self, *argv, **kw):
        """A smpl-control channel that stays open, in a session of its own or (-S SOCKET) in one that is
        there."""
        self.clients.append(Control(self.ssh_argv(*argv, "-s", **kw) + ["smpl-control"]))
        return self.clients[-1]

    # --- the audit ---

    def audit(self):
        return kit.json_lines(self.work / "audit.jsonl")

    def records(self, event, **keys):
        return [
            r for r in self.audit() if r["event"] == event and all(r.get(k) == v for k, v in keys.items())
        ]

    def wait_record(self, event, **keys):
        return kit.wait_until(
            lambda: self.records(event, **keys), f"audit record {event} {keys}: {self.audit()[-3:]}"
        )[-1]

    def check_chain(self):
        """Sequence without gaps, hashes of the lines before, every start with exactly one end."""
        import hashlib

        head, lines = hashlib.sha256(b"").hexdigest(), (self.work / "audit.jsonl").read_bytes().split(b"\n")
        assert lines.pop() == b""
        for number, line in enumerate(lines, 1):
            record = json.loads(line)
            assert (record["seq"], record["prev"]) == (number, head), record
            head = hashlib.sha256(line).hexdigest()

    def check_ends(self):
        """Every start has exactly one end; the last may be on its way to the file."""
        of = lambda event: sorted(r["session"] for r in self.records(event))
        kit.wait_until(
            lambda: len(of("session-end")) >= len(of("session-start")), "each session's end is on record"
        )
        assert of("session-start") == of("session-end")

    def workers(self):
        """Pids of living workers, as the sessions say."""
        return [s["pid"] for s in self.sessions()]

    def template(self):
        return self.status()["template"]["pid"]


class Control:
    """A client's end of smpl-control."""

    def __init__(self, argv):
        self.process = subprocess.Popen(
            [str(a) for a in argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines, self.errors, self.number, self.changed = [], [], 0, threading.Condition()
        self.threads = [
            threading.Thread(target=self._read, args=a, daemon=True)
            for a in ((self.process.stdout, self.lines, json.loads), (self.process.stderr, self.errors, str))
        ]
        for thread in self.threads:
            thread.start()

    def _read(self, stream, lines, take):
        for line in stream:
            with self.changed:
                lines.append(take(line))
                self.changed.notify_all()

    def wait(self, matches, what):
        """The first line not taken yet that matches."""
        with self.changed:
            found = lambda: next((line for line in self.lines if matches(line)), None)
            assert self.changed.wait_for(lambda: found() is not None, kit.PATIENCE), (
                what,
                self.lines,
                self.errors,
            )
            line = found()
            self.lines.remove(line)
            return line

    def ask(self, **question):
        self.number += 1
        self.process.stdin.write(json.dumps(dict(question, id=self.number)) + "\n")
        self.process.stdin.flush()
        answer = self.wait(lambda line: line.get("id") == self.number, question)
        return {k: v for k, v in answer.items() if k != "id"}

    def ask_at_once(self, *questions):
        """Up to 16, WORKER_CONTROL_PENDING_MAX."""
        numbers = range(self.number + 1, self.number + 1 + len(questions))
        self.number += len(questions)
        self.process.stdin.write(
            "".join(json.dumps(dict(q, id=n)) + "\n" for n, q in zip(numbers, questions))
        )
        self.process.stdin.flush()
        return [self.wait(lambda line: line.get("id") == n, n) for n in numbers]

    def event(self, kind):
        return self.wait(lambda line: line.get("event") == kind, kind)

    def end(self):
        """What it says on standard error until it is over by itself."""
        self.process.wait(kit.PATIENCE)
        for thread in self.threads:
            thread.join(kit.PATIENCE)
        return "".join(self.errors)

    def close(self):
        try:
            # the answer to which is the end; a multiplexed one that is killed holds its master up
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.end()
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture
def world(work, spawn):
    made = []

    def make(**kw):
        made.append(World(work, spawn, **kw))
        return made[-1]

    yield make
    for w in made:
        w.close()


def held_connection(w, local):
    """A connection through the tunnel that stays open and is answered once."""
    s = socket.create_connection(("127.42.9.9", local), timeout=kit.PATIENCE)
    s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert s.recv(100).startswith(b"HTTP/1.1 200")
    return s


def grants(w, *more, **keys):
    """One grant for config and its like with these keys, then others as they stand."""
    text = "".join(f"    {k}: {v}\n" for k, v in keys.items())
    return (
        f"  - groups: [developers]\n    targets: ['*.internal.smplkit.local:{w.port},{w.ssh_port}', "
        f"'{WEB}:{w.port}']\n"
        f"    networks: [127.42.0.0/16]\n{text}"
    ) + "".join(more)


def as_user(w, uid, gid, **request):
    """The answer to a request of somebody else's."""
    script = (
        f"import os,socket,sys; os.setgroups([]); os.setgid({gid}); os.setuid({uid}); "
        "s=socket.socket(socket.AF_UNIX); "
        "s.connect(sys.argv[1]); s.sendall((sys.argv[2]+chr(10)).encode()); print(s.makefile().readline())"
    )
    done = kit.run("/usr/bin/python3", "-c", script, w.work / "bastion.sock", json.dumps(request))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
