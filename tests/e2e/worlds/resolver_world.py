# SPDX-License-Identifier: Apache-2.0
"""A resolver with two views: of the private network, and of everybody else."""

import socket
import struct
from pathlib import Path

import kit

SERVER = "127.41.0.1"
PRIVATE = "127.10.0.9"
PUBLIC = "127.20.0.9"
INTERNAL_ZONE = """$TTL 60
@ SOA ns hostmaster 1 3600 600 604800 30
@ NS ns
ns A 127.41.0.1
app A 127.10.1.10
config A 127.10.1.11
_http._tcp.config SRV 0 0 8000 config
alias CNAME config
*.wild A 127.10.9.9
$GENERATE 0-199 big A 127.11.0.$
$GENERATE 0-59 middle A 127.12.0.$
"""

COM_ZONE = """$TTL 300
@ SOA ns hostmaster 1 3600 600 604800 60
@ NS ns
ns A 127.41.0.1
app A {app}
metrics CNAME app.internal.smplkit.local.
"""


def name_wire(name):
    return b"".join(bytes([len(p)]) + p.encode() for p in name.split(".") if p) + b"\0"


def query(name, kind, klass=1, opcode=0, edns=True, size=1232, ident=0x1234):
    head = struct.pack(">HHHHHH", ident, opcode << 11, 1, 0, 0, 1 if edns else 0)
    opt = b"\0" + struct.pack(">HHIH", 41, size, 0, 0) if edns else b""
    return head + name_wire(name) + struct.pack(">HH", kind, klass) + opt


def rcode(reply):
    return reply[3] & 15


def split(reply):
    """Flags and counts, and what follows the question: all that a refusal may tell."""
    at = 12
    while reply[at]:
        at += reply[at] + 1
    return reply[2:12], reply[at + 5 :]


class Session:
    """Asks one question after the other over one socket."""

    def __init__(self, sock, tcp):
        self.sock, self.tcp = sock, tcp
        self.stream = sock.makefile("rb") if tcp else None

    def ask(self, message):
        if not self.tcp:
            self.sock.send(message)
            return self.sock.recv(65535)
        self.sock.sendall(struct.pack(">H", len(message)) + message)
        (size,) = struct.unpack(">H", self.stream.read(2))
        return self.stream.read(size)


class Resolver:
    def __init__(self, spawn, work, free_on=(SERVER, "127.41.0.2")):
        self.spawn, self.work, self.server = spawn, Path(work), SERVER
        self.port = kit.free_port(*free_on)
        self.config = self.work / "resolver.yaml"
        self.socket = self.work / "r.sock"
        self.sessions = []
        self.program = None
        self.write_zone("internal.zone", INTERNAL_ZONE)
        self.write_zone("com.vpc.zone", COM_ZONE.format(app="127.10.1.10"))
        self.write_zone("com.world.zone", COM_ZONE.format(app="127.20.1.10"))
        self.write_config()

    def write_zone(self, name, text):
        (self.work / name).write_text(text)

    def write_config(
        self,
        address=None,
        vpc="[127.10.0.0/16]",
        world='["0.0.0.0/0", "::/0"]',
        second_listener=False,
        more="",
    ):
        second = (
            f"  - {{address: 127.41.0.2, port: {self.port}, views: [world]}}\n" if second_listener else ""
        )
        self.config.write_text(
            f'listeners:\n  - {{address: "{address or self.server}", port: {self.port}, views: [vpc, '
            f"world]}}\n{second}"
            "views:\n"
            f"  - {{name: vpc, clients: {vpc}, zones: [internal.smplkit.local, smplkit.com@vpc]}}\n"
            f"  - {{name: world, clients: {world}, zones: [smplkit.com@world]}}\n"
            "zones:\n"
            "  - {name: internal.smplkit.local, file: internal.zone}\n"
            "  - {name: smplkit.com@vpc, file: com.vpc.zone}\n"
            "  - {name: smplkit.com@world, file: com.world.zone}\n"
            f"control: r.sock\n{more}"
        )

    def start(self):
        self.program = self.spawn(kit.binary("smpl-resolver"), "-c", self.config).wait_ready()
        return self

    def command(self, *argv):
        return kit.run(kit.binary("smpl-resolver"), *argv)

    def dig(self, name, *argv, source=PRIVATE, server=None):
        done = kit.run(
            kit.tool("dig"),
            "-b",
            source,
            f"@{server or self.server}",
            "-p",
            self.port,
            name,
            "+time=5",
            "+tries=2",
            *argv,
        )
        return done.stdout.strip()

    def udp(self, source):
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        s = socket.socket(family, socket.SOCK_DGRAM)
        s.bind((source, 0))
        s.connect((self.server, self.port))
        s.settimeout(kit.PATIENCE)
        return s

    def tcp(self, source, receive_buffer=None):
        s = socket.socket()
        if receive_buffer:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        s.bind((source, 0))
        s.settimeout(kit.PATIENCE)
        s.connect((self.server, self.port))
        return s

    def session(self, source, tcp):
        session = Session(self.tcp(source) if tcp else self.udp(source), tcp)
        self.sessions.append(session)
        return session

    def rss_mb(self):
        for line in Path(f"/proc/{self.program.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS")
