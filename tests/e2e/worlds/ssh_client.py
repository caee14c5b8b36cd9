# SPDX-License-Identifier: Apache-2.0
"""Holds no test: an SSH client that can be told to misbehave (paramiko, with the library's good manners taken
off), and targets that do."""

import logging
import socket
import threading
import time

import paramiko
from paramiko.common import cMSG_CHANNEL_DATA, cMSG_CHANNEL_OPEN

import kit
from bastion_world import BASTION

logging.getLogger("paramiko").setLevel(logging.CRITICAL)


class Wire:
    """The client's socket. While `deaf` is set nothing more is read from it, though the library would."""

    def __init__(self, port, receive_buffer=None, source="127.42.9.9"):
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.bind((source, 0))
        self.sock.connect((BASTION, port))
        self.deaf = threading.Event()

    def recv(self, size):
        while self.deaf.is_set():
            time.sleep(0.02)
        return self.sock.recv(size)

    def __getattr__(self, name):
        return getattr(self.sock, name)


class Client:
    """A session of user dev, or of another whose key has his name. Channels are paramiko's."""

    def __init__(self, world, receive_buffer=None, user="dev", **options):
        self.wire = Wire(world.ssh_port, receive_buffer)
        self.transport = paramiko.Transport(self.wire, **options)
        self.transport.banner_timeout = (
            self.transport.handshake_timeout
        ) = self.transport.auth_timeout = kit.PATIENCE
        self.transport.start_client(timeout=kit.PATIENCE)
        self.transport.auth_publickey(user, paramiko.Ed25519Key.from_private_key_file(str(world.work / user)))

    def open(self, target, port, timeout=kit.PATIENCE):
        return self.transport.open_channel("direct-tcpip", (target, port), ("127.0.0.1", 1), timeout=timeout)

    def open_unasked(self, number, target, port):
        """Asks for a channel and does not wait for the answer."""
        self.transport.channels_seen[number] = True  # or the library ends with the first message for it
        m = paramiko.Message()
        m.add_byte(cMSG_CHANNEL_OPEN)
        m.add_string("direct-tcpip")
        for n in (number, 1 << 21, 1 << 15):
            m.add_int(n)
        m.add_string(target)
        m.add_int(port)
        m.add_string("127.0.0.1")
        m.add_int(1)
        self.transport.channels_seen[
            number
        ] = True  # what comes for it is passed over, not the end of the session
        self.transport._send_user_message(m)

    def send_beyond_the_window(self, channel, data):
        m = paramiko.Message()
        m.add_byte(cMSG_CHANNEL_DATA)
        m.add_int(channel.remote_chanid)
        m.add_string(data)
        self.transport._send_user_message(m)

    def alive(self):
        return self.transport.is_active()

    def close(self):
        self.wire.deaf.clear()
        self.transport.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


class Target:
    """A TCP server on an address of the private network; handler(connection) runs in a thread each. It stays
    reachable in `connections`, whatever the handler does with it."""

    def __init__(self, address, handler, receive_buffer=None, port=0):
        self.listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.listener.bind((address, port))
        self.listener.listen(1024)
        self.port = self.listener.getsockname()[1]
        self.handler = handler
        self.connections = []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection):
        try:
            self.handler(connection)
        except OSError:
            pass

    def close(self):
        """Nothing of it goes on waiting: a thread that still waits in accept() for a descriptor that is
        closed, and whose number the next listener gets, would take that one's connections."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join(kit.PATIENCE)
        self.listener.close()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # closed by its handler, or by the peer
                pass
            connection.close()


def echo(connection):
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


def stall(connection):
    """Accepted, and that was all: it is kept open and never read."""
