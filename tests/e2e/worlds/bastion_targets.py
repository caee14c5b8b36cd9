# SPDX-License-Identifier: Apache-2.0
"""Addresses and channels behind a bastion: one where nobody answers, one that echoes."""

import socket
import time

import kit


def ping(channel, word=b"ping"):
    """One round through an echo target."""
    channel.settimeout(kit.PATIENCE)
    channel.sendall(word)
    got = b""
    while len(got) < len(word):
        part = channel.recv(len(word) - len(got))
        assert part, "the channel ended"
        got += part
    assert got == word


class Unanswering:
    """An address and port where no connection is ever completed: the backlog is full."""

    def __init__(self, address):
        self.listener = socket.socket()
        self.listener.bind((address, 0))
        self.listener.listen(0)
        self.port = self.listener.getsockname()[1]
        self.fillers = []
        for _ in range(4):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex((address, self.port))
            self.fillers.append(s)
        time.sleep(0.1)

    def close(self):
        for s in [self.listener, *self.fillers]:
            s.close()
