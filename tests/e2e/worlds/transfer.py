# SPDX-License-Identifier: Apache-2.0
"""Holds no test: a target that takes or gives so many mebibytes and says their SHA-256, and the other end of
it."""

import hashlib
import socket
import threading

MIB = 1 << 20


def blocks(mebibytes):
    """Mebibytes of which no two are alike."""
    for i in range(mebibytes):
        yield hashlib.sha256(b"%d" % i).digest() * (MIB // 32)


def digest(mebibytes):
    whole = hashlib.sha256()
    for block in blocks(mebibytes):
        whole.update(block)
    return whole.hexdigest()


def serve(connection):
    """A target's handler. "u\\n": takes all until the end and answers with the digest; "d N\\n": gives N
    mebibytes."""
    with connection:
        line = b""
        while not line.endswith(b"\n"):
            part = connection.recv(1)
            if not part:
                return
            line += part
        if line.startswith(b"d"):
            for block in blocks(int(line[1:])):
                connection.sendall(block)
            return
        whole, view = hashlib.sha256(), memoryview(bytearray(MIB))
        while n := connection.recv_into(view):
            whole.update(view[:n])
        connection.sendall(whole.hexdigest().encode())


def upload(sock, mebibytes):
    """The digest of what arrived at the target."""
    sock.sendall(b"u\n")
    for block in blocks(mebibytes):
        sock.sendall(block)
    sock.shutdown(socket.SHUT_WR)
    return read(sock).decode()


def download(sock, mebibytes):
    """The digest of what arrived here."""
    sock.sendall(b"d %d\n" % mebibytes)
    whole = hashlib.sha256()
    while data := sock.recv(MIB):
        whole.update(data)
    return whole.hexdigest()


def read(sock):
    data = b""
    while part := sock.recv(65536):
        data += part
    return data


def both_ways(connect, mebibytes):
    """Up and down at the same time on connections of their own; asserts that every byte arrived as it was
    sent."""
    got = {}

    def one(name, move):
        with connect() as sock:
            got[name] = move(sock, mebibytes)

    threads = [threading.Thread(target=one, args=(m.__name__, m)) for m in (upload, download)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    want = digest(mebibytes)
    assert got == {"upload": want, "download": want}, (got, want)
