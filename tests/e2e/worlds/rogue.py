# SPDX-License-Identifier: Apache-2.0
"""Holds no test: the attacker who has taken a worker over. The worker is tests/rogue's, the product's but for
doing what its client tells it, behind the product's own walls; the broker is the product's. What is said here
to the broker is said by that worker on its end of the pair."""

import queue
import shutil
import socket
import struct
import time

import paramiko

import fake_broker as fb
import kit
from bastion_world import World
from fake_worker import Contract
from ssh_client import Wire

GONE = None  # what a worker answers that is no more


def executable(kind="filtered"):
    path = kit.BIN.parent / "tests" / "rogue" / kind / "smpl-bastion-worker"
    assert path.exists(), f"{path} is not built; try: ./dev build"
    return path


class RogueWorld(World):
    """A bastion all of whose workers can be told to misbehave. Until they are, they do what the product's
    do."""

    def __init__(self, work, spawn, kind="filtered", **kw):
        super().__init__(work, spawn, start=False, **kw)
        folder = work / "bin"
        folder.mkdir()
        shutil.copy(kit.binary("smpl-bastion"), folder / "smpl-bastion")
        shutil.copy(executable(kind), folder / "smpl-bastion-worker")
        kit.keygen(work / "ops", comment="ops")
        # The launcher's filter is inherited; who asks what stands behind all filters is without that one too.
        unsealed = {
            "LD_PRELOAD": str(kit.BIN.parent / "tests" / "rogue" / "acts.so"),
            "SMPL_UNSEALED": "smpl-launcher",
        }
        env = unsealed if kind == "unfiltered" and not kit.SANITIZED else {}
        self.bastion = self.spawn(folder / "smpl-bastion", "-v", "-c", "bastion.yaml", env=env).wait_ready()
        self.bastion.rogue = True


class Transport(paramiko.Transport):
    """Hands SSH_MSG_DEBUG on."""

    def __init__(self, *argv):
        self.told = queue.Queue()
        super().__init__(*argv)

    def _parse_debug(self, m):
        m.get_boolean()
        self.told.put(m.get_text())


def message(*parts):
    m = paramiko.Message()
    for part in parts:
        add = {bytes: m.add_bytes, str: m.add_string, bool: m.add_boolean, int: m.add_int}[type(part)]
        add(part)
    return m


class Rogue(Contract):
    """One client and the worker that does its bidding, before the login or after it."""

    def __init__(self, world, signed_in=False, source="127.42.9.9"):
        self.world, self.signed_in = world, False
        wire = Wire(world.ssh_port, source=source)
        wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.transport = Transport(wire)
        self.transport.banner_timeout = (
            self.transport.handshake_timeout
        ) = self.transport.auth_timeout = kit.PATIENCE
        self.transport.start_client(timeout=kit.PATIENCE)
        if signed_in:
            self.transport.auth_publickey("dev", paramiko.Ed25519Key.from_private_key_file(str(world.key)))
            self.signed_in = True
            while not self.transport.told.empty():
                self.transport.told.get()
        else:
            self.transport._send_message(message(b"\x05", "ssh-userauth"))
        self.number, self.pid = (int(word) for word in self.tell("who").split())
        self.session_hash, self.fd = self.transport.session_id, -1

    def tell(self, command):
        """The worker's answer; GONE if it has none to give any more."""
        command = "rogue " + command
        try:
            if self.signed_in:
                self.transport._send_message(
                    message(b"\x5a", "direct-tcpip", 4000, 1 << 20, 1 << 15, command, 1, "rogue", 1)
                )
            else:
                self.transport._send_message(
                    message(b"\x32", "dev", "ssh-connection", "password", False, command)
                )
        except (OSError, EOFError, paramiko.SSHException):
            return GONE
        end = time.monotonic() + kit.PATIENCE
        while time.monotonic() < end:
            try:
                return self.transport.told.get(timeout=0.05)
            except queue.Empty:
                if not self.transport.is_active():
                    return GONE
        raise AssertionError(f"no answer to {command[:60]}; the broker says:\n{self.world.bastion.stderr}")

    def call(self, number, *arguments):
        """A system call's result and errno; GONE if it was the worker's last."""
        words = self.tell(" ".join(["call", str(number), *map(str, arguments)]))
        return words if words is GONE else tuple(int(word) for word in words.split())

    def put(self, packet, fds=(), size=0, times=1):
        return self.tell(f"send {packet.hex() or '-'} {size} {len(fds)} {times}")

    def sign_many(self, times):
        """As sign, so often at once; whether each was given."""
        self.put(self.packet(fb.SIGN, struct.pack("=II", 0, 32) + bytes(32)), times=times)
        return [
            kind == fb.SIGNED and struct.unpack_from("=I", body)[0] != 0
            for kind, body in (self.receive() for _ in range(times))
        ]

    def receive(self, ms=100_000):
        words = self.tell(f"hear {ms}")
        if words in (GONE, "closed", "silence"):
            return words, b""
        fd, packet = words.split()
        packet = bytes.fromhex(packet)
        self.fd = int(fd)
        return fb.HEADER.unpack_from(packet)[1], packet[fb.HEADER.size :]

    def ended(self):
        """Until the client has been cut."""
        kit.wait_until(lambda: not self.transport.is_active(), "the client is cut")
        return True

    def close(self):
        self.transport.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


class Key:
    """A user's key, in the attacker's hands: what it signs and for which session is up to the test."""

    def __init__(self, path):
        self.key = paramiko.Ed25519Key.from_private_key_file(str(path))
        self.blob = self.key.asbytes()

    def request(self, session_hash, user="dev", key=None):
        s = fb.ssh_string
        return (
            s(session_hash)
            + b"\x32"
            + s(user.encode())
            + s(b"ssh-connection")
            + s(b"publickey")
            + b"\x01"
            + s(b"ssh-ed25519")
            + s(key or self.blob)
        )

    def sign(self, data):
        signature = self.key.sign_ssh_data(data)
        signature.rewind()
        signature.get_text()
        return signature.get_binary()
