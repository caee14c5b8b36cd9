# SPDX-License-Identifier: Apache-2.0
"""What the tests of smpl-tunnel share: a plain sshd, resolver and bastion, servers to reach, a terminal."""

import hashlib
import os
import pathlib
import pty
import re
import select
import signal
import socket
import subprocess
import threading

import pytest

import kit
import product

ADDRESS = "127.43.1.1"
TARGET = "127.43.1.2"
EMPTY_ENV = {
    "SMPL_BASTION": "",
    "SMPL_TUNNEL_CONFIG": "",
    "SSH_AUTH_SOCK": "",
    "XDG_CONFIG_HOME": "/nonexistent",
}


class Sshd:
    """A plain sshd with throw-away keys that lets the present user in."""

    def __init__(self, folder, *options, address=ADDRESS):
        self.folder = pathlib.Path(folder) / "sshd"
        self.folder.mkdir(mode=0o700)
        self.address = address
        self.port = kit.free_port(address)
        self.host_key, host_public = kit.keygen(self.folder / "host")
        self.identity, public = kit.keygen(self.folder / "id")
        (self.folder / "authorized").write_text(public.read_text())
        self.known_hosts = self.folder / "known_hosts"
        self.host_line = host_public.read_text().rsplit(" ", 1)[0]
        self.known_hosts.write_text(f"[{self.address}]:{self.port} {self.host_line}\n")
        lines = [
            f"ListenAddress {self.address}:{self.port}",
            f"HostKey {self.host_key}",
            "StrictModes no",
            "UsePAM no",
            f"AuthorizedKeysFile {self.folder / 'authorized'}",
            f"PidFile {self.folder / 'pid'}",
            "PermitRootLogin yes",
            "MaxStartups 100",
            "MaxSessions 100",
            *options,
        ]
        (self.folder / "config").write_text("\n".join(lines) + "\n")
        if os.geteuid() == 0:
            pathlib.Path("/run/sshd").mkdir(exist_ok=True)
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [kit.tool("sshd"), "-D", "-e", "-f", self.folder / "config"], stderr=subprocess.DEVNULL
        )
        kit.wait_until(lambda: kit.port_open(self.address, self.port), "sshd listens")

    def arguments(self):
        user = pathlib.Path.home().owner() if os.geteuid() else "root"
        return [
            "--bastion",
            f"{user}@{self.address}:{self.port}",
            "-i",
            self.identity,
            "--known-hosts",
            self.known_hosts,
        ]

    def sessions(self):
        return [pid for pid in kit.children(self.process.pid)]

    def close(self):
        for pid in kit.children(self.process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.kill()
        self.process.wait()


class Server:
    """A TCP server in this process: handler(connection) in a thread each."""

    def __init__(self, handler, address=TARGET, port=0):
        self.listener = socket.create_server((address, port), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.handler = handler
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.one, args=(connection,), daemon=True).start()

    def one(self, connection):
        with connection:
            try:
                self.handler(connection)
            except OSError:
                pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)


def digest_then_answer(connection):
    """Reads to the end, and only then answers: needs a half-close that arrives."""
    state, size = hashlib.sha256(), 0
    while data := connection.recv(262144):
        state.update(data)
        size += len(data)
    connection.sendall(f"{size} {state.hexdigest()}".encode())


def transfers(port, count, blocks=16):
    """So many connections to an echo server at once, each with bytes of its own: those whose bytes did not
    come back."""
    failures = []

    def one(number):
        block = hashlib.sha256(str(number).encode()).digest() * 4096  # 128 KiB
        got = hashlib.sha256()
        with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:

            def send():
                for _ in range(blocks):
                    s.sendall(block)
                s.shutdown(socket.SHUT_WR)

            sender = threading.Thread(target=send)
            sender.start()
            while data := s.recv(65536):
                got.update(data)
            sender.join()
        if got.digest() != hashlib.sha256(block * blocks).digest():
            failures.append(number)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(kit.PATIENCE)
        assert not t.is_alive()
    return failures


def rss_kb(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])


def local_port(program, index=0):
    kit.wait_until(lambda: len(program.out) > index or not program.running(), "ready")
    assert len(program.out) > index, program.stderr
    return int(re.search(r"http://(?:localhost|[\d.]+|\[::1\]):(\d+)", program.out[index])[1])


@pytest.fixture
def sshd(work):
    server = Sshd(work)
    yield server
    server.close()


@pytest.fixture
def place(work, spawn):
    """Resolver and bastion; config.internal is an echo server, app.internal is granted and closed."""
    p = product.Product(work, spawn, services=())
    p.target = Server(echo, "127.10.1.11", p.http)
    yield p
    try:
        p.target.close()
    except OSError:
        pass


class Terminal:
    """smpl-tunnel on a terminal of its own."""

    def __init__(self, *argv, env=None, over=None):
        self.seen, self.at = b"", 0
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execvpe(
                kit.binary("smpl-tunnel"),
                ["smpl-tunnel", *map(str, argv)],
                {**os.environ, **EMPTY_ENV, **(env or {}), **(over or {})},
            )

    def until(self, words):
        """Reads until these words come after those waited for last."""
        while words not in self.seen[self.at :]:
            assert select.select([self.master], [], [], kit.PATIENCE)[0], (words, self.seen)
            self.seen += os.read(self.master, 4096)
        self.at = self.seen.index(words, self.at) + len(words)

    def type(self, text):
        os.write(self.master, text)

    def end(self):
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.master)
        return status
