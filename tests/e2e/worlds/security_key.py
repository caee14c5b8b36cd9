# SPDX-License-Identifier: Apache-2.0
"""A security key, and the ssh-agent that has it."""

import base64
import socket
import struct
import subprocess
import threading

import pytest

import kit

APPLICATION = b"ssh:"


def part(data):
    return struct.pack(">I", len(data)) + data


def openssl(*argv, data=None):
    return subprocess.run(
        ["openssl", *[str(a) for a in argv]], input=data, check=True, capture_output=True
    ).stdout


def der_integers(der):
    """r and s of an ECDSA signature."""
    assert der[0] == 0x30
    at, out = 2, []
    for _ in range(2):
        assert der[at] == 2
        out.append(der[at + 2 : at + 2 + der[at + 1]])
        at += 2 + der[at + 1]
    return out


class SecurityKey:
    """What a FIDO token does, in software: signs hash of the application, flags, counter, hash of the
    data."""

    def __init__(self, folder, kind):
        self.kind, self.pem, self.flags, self.counter, self.broken = (
            kind,
            folder / f"sk-{kind}.pem",
            1,
            0,
            False,
        )
        if kind == "ed25519":
            openssl("genpkey", "-algorithm", "ed25519", "-out", self.pem)
            point = openssl("pkey", "-in", self.pem, "-pubout", "-outform", "DER")[-32:]
            self.name = b"sk-ssh-ed25519@openssh.com"
            self.blob = part(self.name) + part(point) + part(APPLICATION)
        else:
            openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", self.pem)
            point = openssl("pkey", "-in", self.pem, "-pubout", "-outform", "DER")[-65:]
            self.name = b"sk-ecdsa-sha2-nistp256@openssh.com"
            self.blob = part(self.name) + part(b"nistp256") + part(point) + part(APPLICATION)
        self.line = f"{self.name.decode()} {base64.b64encode(self.blob).decode()} token"

    def sign(self, data):
        sha = lambda d: openssl("dgst", "-sha256", "-binary", data=d)
        self.counter += 1
        tail = bytes([self.flags]) + struct.pack(">I", self.counter)
        signed = sha(APPLICATION) + tail + sha(data)
        if self.broken:
            signed = signed[:-1] + bytes([signed[-1] ^ 1])
        path = self.pem.with_suffix(".data")
        path.write_bytes(signed)
        if self.kind == "ed25519":
            raw = openssl("pkeyutl", "-sign", "-inkey", self.pem, "-rawin", "-in", path)
        else:
            raw = b"".join(part(i) for i in der_integers(openssl("dgst", "-sha256", "-sign", self.pem, path)))
        return part(self.name) + part(raw) + tail


class Agent:
    """ssh-agent with one key (draft-miller-ssh-agent): lists it and signs."""

    def __init__(self, path, key):
        self.key, self.path, self.log = key, path, []
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(path))
        self.server.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.talk_or_say, args=(connection,), daemon=True).start()

    def talk_or_say(self, connection):
        try:
            self.talk(connection)
        except BaseException as e:  # what went wrong belongs into the test's output
            self.log.append(repr(e))

    def talk(self, connection):
        with connection, connection.makefile("rb") as f:
            while head := f.read(4):
                message = f.read(struct.unpack(">I", head)[0])
                answer = b"\x05"  # SSH_AGENT_FAILURE
                if message[0] == 11:
                    self.log.append(f"lists {self.key.blob.hex()}")
                    answer = b"\x0c" + struct.pack(">I", 1) + part(self.key.blob) + part(b"token")
                elif message[0] == 13:
                    at = 5 + struct.unpack_from(">I", message, 1)[0]
                    data = message[at + 4 : at + 4 + struct.unpack_from(">I", message, at)[0]]
                    answer = b"\x0e" + part(self.key.sign(data))
                    self.log.append(f"signs: {answer.hex()}")
                connection.sendall(part(answer))

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)  # wakes the thread, which would keep the socket
        self.thread.join(kit.PATIENCE)
        self.server.close()


@pytest.fixture
def token(work):
    agents = []

    def make(kind):
        agents.append(Agent(work / f"agent-{kind}", SecurityKey(work, kind)))
        return agents[-1]

    yield make
    for agent in agents:
        agent.close()
