# SPDX-License-Identifier: Apache-2.0
"""A broker of a hundred lines for the worker's own tests: it speaks bastion/contract/msg.h over the pair,
signs and verifies with openssl, resolves nothing and connects where a test tells it to. It also records every
message, which the real one would not show."""

import base64
import os
import pathlib
import socket
import struct
import subprocess
import threading

VERSION = 1
HEADER = struct.Struct("=HHIQ")
(HOST_KEY, SPAWN, SPAWN_PAIR, KILL) = range(1, 5)
(TEMPLATE_READY, SPAWNED, EXITED) = range(20, 23)
(HELLO, SIGN, VERIFY, PROBE, LOGIN, OPEN, CHANNEL_END, TRAFFIC, CONTROL, NOTE, BYE, CRASHED) = range(40, 52)
(START, SIGNED, VERIFIED, PROBED, WELCOME, OPENED, REFUSED, CONTROL_REPLY, EVENT, END, SAY) = range(60, 71)
WALLS = {
    "seccomp": 1,
    "no_new_privs": 2,
    "empty_root": 4,
    "own_uid": 8,
    "rlimits": 16,
    "landlock": 32,
    "user_namespace": 64,
    "sanitizer": 128,
}


def text(data, size):
    raw = data.encode()[: size - 1]
    return raw + bytes(size - len(raw))


def untext(raw):
    return raw.split(b"\0", 1)[0].decode()


def ssh_string(data):
    return struct.pack(">I", len(data)) + data


class HostKey:
    """An ed25519 key whose private half stays here; hollow() is what the worker gets."""

    def __init__(self, folder):
        self.path = pathlib.Path(folder) / "host.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", self.path], check=True)
        der = subprocess.run(
            ["openssl", "pkey", "-in", self.path, "-pubout", "-outform", "DER"],
            check=True,
            capture_output=True,
        ).stdout
        self.public = der[-32:]
        self.blob = ssh_string(b"ssh-ed25519") + ssh_string(self.public)

    def hollow(self):
        check = struct.pack(">II", 7, 7)
        private = check + self.blob + ssh_string(bytes(32) + self.public) + ssh_string(b"")
        private += bytes(range(1, 1 + (-len(private)) % 8))
        body = b"openssh-key-v1\0" + ssh_string(b"none") + ssh_string(b"none") + ssh_string(b"")
        body += struct.pack(">I", 1) + ssh_string(self.blob) + ssh_string(private)
        lines = base64.encodebytes(body).decode()
        return f"-----BEGIN OPENSSH PRIVATE KEY-----\n{lines}-----END OPENSSH PRIVATE KEY-----\n"

    def sign(self, data):
        out = pathlib.Path(f"{self.path}.{threading.get_ident()}")
        out.write_bytes(data)
        done = subprocess.run(
            ["openssl", "pkeyutl", "-sign", "-inkey", self.path, "-rawin", "-in", out],
            check=True,
            capture_output=True,
        )
        return done.stdout

    def known_hosts(self, host, port):
        return f"[{host}]:{port} ssh-ed25519 {base64.b64encode(self.blob).decode()}\n"


class Session:
    """The broker's side of one worker."""

    def __init__(self, broker, number, client):
        self.broker, self.number, self.messages, self.pid = broker, number, [], None
        self.changed = threading.Condition()
        self.closed = False
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock = ours
        broker.send(SPAWN, number, b"", client.fileno())
        broker.send(SPAWN_PAIR, number, b"", theirs.fileno())
        client.close()
        theirs.close()
        self.send(START, 0, text("test-%d" % number, 32) + struct.pack("=III", broker.channels_max, 6, 20))
        threading.Thread(target=self.run, daemon=True).start()

    def send(self, kind, request, body=b"", fd=None):
        message = HEADER.pack(VERSION, kind, request, self.number) + body
        message += bytes(-len(message) % 8) if kind not in (CONTROL_REPLY, EVENT) else b""
        fds = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fd))]
        self.sock.sendmsg([message], fds)

    def run(self):
        while True:
            try:
                message = self.sock.recv(65536)
            except ConnectionResetError:
                continue  # the worker left something unread; what it has sent still waits
            except OSError:
                message = b""
            with self.changed:
                if not message:
                    self.closed = True
                    self.changed.notify_all()
                    return
                _, kind, request, _ = HEADER.unpack_from(message)
                body = message[HEADER.size :]
                self.messages.append((kind, body))
                self.changed.notify_all()
            try:
                self.answer(kind, request, body)
            except OSError:
                pass  # the worker has gone; what it said before still waits to be read

    def wait(self, kind, seconds=150, count=1):
        with self.changed:
            found = self.changed.wait_for(lambda: self.count(kind) >= count or self.closed, seconds)
            assert found and self.count(kind) >= count, (kind, [k for k, _ in self.messages])
            return [body for k, body in self.messages if k == kind][-1]

    def count(self, kind):
        return sum(1 for k, _ in self.messages if k == kind)

    def notes(self):
        return [untext(body[4:]) for kind, body in self.messages if kind == NOTE]

    def answer(self, kind, request, body):
        if kind == SIGN:
            length = struct.unpack_from("=I", body, 4)[0]
            signature = self.broker.host_key.sign(body[8 : 8 + length])
            self.send(
                SIGNED,
                request,
                struct.pack("=II", 1, len(signature)) + signature + bytes(1536 - len(signature)),
            )
        elif kind == VERIFY:
            self.send(VERIFIED, request, struct.pack("=I", self.broker.verify(self, body)))
        elif kind in (PROBE, LOGIN):
            length = struct.unpack_from("=I", body, 64 + 128)[0]
            known = untext(body[:64]) == "dev" and body[196 : 196 + length] in self.broker.user_keys
            if kind == LOGIN and known:
                self.send(WELCOME, request, text("welcome, dev\r\n", 512))
            else:
                self.send(PROBED, request, struct.pack("=II", int(known), 0))
        elif kind == OPEN:
            turned_away = struct.unpack_from("=I", body, 4)[0]
            if not turned_away:
                self.broker.open(self, request, untext(body[8:264]), struct.unpack_from("=I", body, 264)[0])
        elif kind == CONTROL:
            control, length = struct.unpack_from("=II", body)
            reply = self.broker.control(body[8 : 8 + length].decode()).encode()
            self.send(CONTROL_REPLY, request, struct.pack("=II", control, len(reply)) + reply + b"\0")


class Broker:
    def __init__(self, worker, folder, address, channels_max=64, uid=None):
        self.folder, self.channels_max, self.sessions, self.targets = (
            pathlib.Path(folder),
            channels_max,
            [],
            {},
        )
        self.host_key, self.user_keys, self.lock = HostKey(folder), set(), threading.Lock()
        self.signature_good = 1
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

        def on_three():
            os.dup2(theirs.fileno(), 3, inheritable=True)
            if uid is not None:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)

        self.template = subprocess.Popen([worker], preexec_fn=on_three, close_fds=False)
        theirs.close()
        self.sock, self.template_messages = ours, []
        ready = self.sock.recv(65536)
        assert HEADER.unpack_from(ready)[1] == TEMPLATE_READY
        self.send(HOST_KEY, 0, text(self.host_key.hollow(), 4096))
        self.listener = socket.create_server((address, 0))
        self.address, self.port = self.listener.getsockname()[:2]
        threading.Thread(target=self.accept, daemon=True).start()
        threading.Thread(target=self.read_template, daemon=True).start()

    def send(self, kind, session, body, fd=None):
        fds = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fd))]
        self.sock.sendmsg([HEADER.pack(VERSION, kind, 0, session) + body], fds)

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.sessions.append(Session(self, len(self.sessions) + 1, client))

    def read_template(self):
        while True:
            try:
                message = self.sock.recv(65536)
            except OSError:
                return
            if not message:
                return
            _, kind, _, session = HEADER.unpack_from(message)
            pid, status = struct.unpack_from("=ii", message, HEADER.size)
            self.template_messages.append((kind, session, pid, status))
            with self.lock:
                if kind == SPAWNED:
                    self.sessions[session - 1].pid = pid

    def last(self):
        return self.sessions[-1]

    def add_user_key(self, public_file):
        self.user_keys.add(base64.b64decode(pathlib.Path(public_file).read_text().split()[1]))

    def verify(self, session, body):
        assert struct.unpack_from("=II", body)[1] > 0
        return self.signature_good

    def control(self, line):
        return '{"ok":true,"echo":%s}' % line

    def open(self, session, request, host, port):
        target = self.targets.get((host, port))
        if target is None:
            session.send(REFUSED, request, struct.pack("=I", 21))
            return
        connection = socket.create_connection(target)
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session.send(OPENED, request, struct.pack("=I", request), connection.fileno())
        connection.close()

    def close(self):
        self.listener.close()
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        for session in self.sessions:
            session.sock.close()
        self.template.wait(150)
