#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Stands in for smpl-bastion-worker beside a copy of smpl-bastion: template and worker in one process, and
each worker does what the file `scenario` beside it says when it is forked. It keeps to the contract until the
scenario breaks it, and writes what it sees to the file `seen`. It has no walls: for those see
test_bastion_rogue.py, whose worker is the product's."""

import ctypes
import json
import os
import pathlib
import socket
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "lib"))  # beside the copy of smpl-bastion
sys.dont_write_bytecode = True
import fake_broker as fb  # noqa: E402

SIZES = {
    fb.HELLO: 4,
    fb.SIGN: 140,
    fb.VERIFY: 8 + 1536 + 4096,
    fb.PROBE: 64 + 128 + 4 + 2048,
    fb.LOGIN: 64 + 128 + 4 + 2048,
    fb.OPEN: 8 + 256 + 4 + 256 + 4,
    fb.TRAFFIC: 24,
    fb.CHANNEL_END: 24,
    fb.NOTE: 4 + 512,
    fb.BYE: 4 + 512,
    fb.CRASHED: 4 + 512,
}


def say(**what):
    with open(HERE / "seen", "a") as seen:
        seen.write(json.dumps(what) + "\n")


class Contract:
    """What a worker says to the broker; put() sends a packet, receive() gives the next one's kind and
    body."""

    number, request = 0, 0

    def send(self, kind, body=b"", *, version=fb.VERSION, number=None, raw=None, fds=()):
        self.put(self.packet(kind, body, version=version, number=number) if raw is None else raw, fds)

    def packet(self, kind, body=b"", *, version=fb.VERSION, number=None):
        self.request += 1
        size = SIZES.get(kind, len(body))
        message = fb.HEADER.pack(version, kind, self.request, self.number if number is None else number)
        message += body + bytes(size - len(body))
        return message + bytes(-len(message) % 8)

    def hello(self, walls=3):
        self.send(fb.HELLO, struct.pack("=I", walls))

    def sign(self, data=b"h" * 32, key=0, digest=0):
        self.send(
            fb.SIGN,
            struct.pack("=II", key, len(data)) + data + bytes(128 - len(data)) + struct.pack("=I", digest),
        )
        kind, body = self.receive()
        return body[8 : 8 + 64] if kind == fb.SIGNED and struct.unpack_from("=I", body)[0] else None

    def verify(self, data, signature):
        self.send(
            fb.VERIFY,
            struct.pack("=II", len(signature), len(data)) + signature + bytes(1536 - len(signature)) + data,
        )
        kind, body = self.receive()
        return kind == fb.VERIFIED and struct.unpack_from("=I", body)[0] == 1

    def login(self, user, blob, kind=fb.LOGIN):
        self.send(
            kind, fb.text(user, 64) + fb.text("SSH-2.0-fake", 128) + struct.pack("=I", len(blob)) + blob
        )
        return self.receive()

    def open(self, host, port):
        ask_open(self, host, port)
        return self.receive()

    def traffic(self, channel, up, down, kind=fb.TRAFFIC):
        self.send(kind, struct.pack("=IIQQ", channel, 0, up, down))


class Worker(Contract):
    """The worker's side of a pair, with the calls a scenario is made of."""

    def __init__(self, pair, number, client):
        self.pair, self.number, self.client = pair, number, client

    def put(self, message, fds):
        anc = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))] if fds else []
        self.pair.sendmsg([message], anc)

    def receive(self):
        message, anc, _, _ = self.pair.recvmsg(65536, 1024)
        if not message:
            say(pair="closed")
            return None, b""
        kind = fb.HEADER.unpack_from(message)[1]
        say(got=kind, fds=len(anc))
        return kind, message[fb.HEADER.size :]

    def wait_end(self):
        while self.receive()[0] not in (None, fb.END):
            pass


def key_of_dev():
    """dev's key, signed with by openssl: (blob, sign)."""
    import base64
    import subprocess

    pem = HERE / "dev.pem"
    blob = base64.b64decode((HERE / "dev.blob").read_text())

    def sign(data):
        (HERE / "data").write_bytes(data)
        return subprocess.run(
            ["/usr/bin/openssl", "pkeyutl", "-sign", "-inkey", pem, "-rawin", "-in", HERE / "data"],
            check=True,
            capture_output=True,
        ).stdout

    return blob, sign


def request_data(session_hash, user, blob):
    s = fb.ssh_string
    return (
        s(session_hash)
        + b"\x32"
        + s(user.encode())
        + s(b"ssh-connection")
        + s(b"publickey")
        + b"\x01"
        + s(b"ssh-ed25519")
        + s(blob)
    )


def signed_in(w, session_hash=b"h" * 32):
    """Plays by the contract until the welcome."""
    blob, sign = key_of_dev()
    w.hello()
    assert w.sign(session_hash)
    data = request_data(session_hash, "dev", blob)
    assert w.verify(data, sign(data))
    kind, _ = w.login("dev", blob)
    assert kind == fb.WELCOME, kind
    return blob, data, sign(data)


def opening(host, port):
    """The body of fb.OPEN."""
    return (
        struct.pack("=II", 1, 0)
        + fb.text(host, 256)
        + struct.pack("=I", port)
        + fb.text("127.0.0.1", 256)
        + struct.pack("=I", 1)
    )


def ask_open(w, host, port):
    """Without waiting for the answer."""
    w.send(fb.OPEN, opening(host, port))


def keep_open(w, host, port):
    """Opens a connection; its descriptor stays here."""
    ask_open(w, host, port)
    message, anc, _, _ = w.pair.recvmsg(65536, 64)
    assert fb.HEADER.unpack_from(message)[1] == fb.OPENED
    return struct.unpack("i", anc[0][2])[0]


def ask(w, line):
    raw = (
        fb.HEADER.pack(1, fb.CONTROL, 5, w.number) + struct.pack("=II", 1, len(line)) + line.encode() + b"\0"
    )
    w.pair.send(raw)


def main():
    template = socket.socket(fileno=3)
    template.setblocking(True)
    template.send(fb.HEADER.pack(1, fb.TEMPLATE_READY, 0, 0) + struct.pack("=Ixxxx", 0))
    client, number, children = None, None, {}
    while True:
        message, anc, _, _ = template.recvmsg(65536, 64)
        if not message:
            return
        _, kind, _, session = fb.HEADER.unpack_from(message)
        fd = struct.unpack("i", anc[0][2][:4])[0] if anc else -1
        if kind == fb.SPAWN:
            client, number = fd, session
        elif kind == fb.KILL:
            say(killed=session)
        elif kind == fb.SPAWN_PAIR:
            pid = os.fork()
            if pid == 0:
                template.close()
                w = Worker(socket.socket(fileno=fd), number, client)
                w.pair.setblocking(True)
                assert w.receive()[0] == fb.START
                try:
                    scenario = compile((HERE / "scenario").read_text(), "scenario", "exec")
                    exec(scenario, {**globals(), "w": w})
                    w.wait_end()
                except (BrokenPipeError, ConnectionResetError):
                    say(pair="closed")
                except BaseException as e:  # what went wrong belongs into the test's output
                    say(error=repr(e))
                os._exit(0)
            children[session] = pid
            os.close(client)
            os.close(fd)
            template.send(fb.HEADER.pack(1, fb.SPAWNED, 0, session) + struct.pack("=ii", pid, 0))


if __name__ == "__main__":
    if sys.argv[1:] == ["--version"]:  # the broker asks which libssh it would load
        library = ctypes.CDLL("libssh.so.4")
        library.ssh_version.restype = ctypes.c_char_p
        print(f"smpl-bastion-worker 0\nlibssh {library.ssh_version(0).decode().split('/')[0]}")
    else:
        main()
