"""What the tests of smpl-tunnel share: a plain sshd, servers to reach, a terminal."""

import hashlib
import os
import pathlib
import pty
import select
import signal
import socket
import subprocess
import threading

import kit

ADDRESS = "127.43.1.1"
TARGET = "127.43.1.2"
EMPTY_ENV = {"SMPL_BASTION": "", "SMPL_TUNNEL_CONFIG": "", "SSH_AUTH_SOCK": "", "XDG_CONFIG_HOME": "/nonexistent"}


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
        lines = [f"ListenAddress {self.address}:{self.port}", f"HostKey {self.host_key}", "StrictModes no", "UsePAM no",
                 f"AuthorizedKeysFile {self.folder / 'authorized'}", f"PidFile {self.folder / 'pid'}",
                 "PermitRootLogin yes", "MaxStartups 100", "MaxSessions 100", *options]
        (self.folder / "config").write_text("\n".join(lines) + "\n")
        if os.geteuid() == 0:
            pathlib.Path("/run/sshd").mkdir(exist_ok=True)
        self.start()

    def start(self):
        self.process = subprocess.Popen([kit.tool("sshd"), "-D", "-e", "-f", self.folder / "config"],
                                        stderr=subprocess.DEVNULL)
        kit.wait_until(lambda: kit.port_open(self.address, self.port), "sshd listens")

    def arguments(self):
        user = pathlib.Path.home().owner() if os.geteuid() else "root"
        return ["--bastion", f"{user}@{self.address}:{self.port}", "-i", self.identity, "--known-hosts", self.known_hosts]

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

    def __init__(self, handler):
        self.listener = socket.create_server((TARGET, 0), backlog=256)
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


class Terminal:
    """smpl-tunnel on a terminal of its own."""

    def __init__(self, *argv, env=None, over=None):
        self.seen, self.at = b"", 0
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execvpe(kit.binary("smpl-tunnel"), ["smpl-tunnel", *map(str, argv)], {**os.environ, **EMPTY_ENV, **(env or {}), **(over or {})})

    def until(self, words):
        """Reads until these words come after those waited for last."""
        while words not in self.seen[self.at:]:
            assert select.select([self.master], [], [], kit.PATIENCE)[0], (words, self.seen)
            self.seen += os.read(self.master, 4096)
        self.at = self.seen.index(words, self.at) + len(words)

    def type(self, text):
        os.write(self.master, text)

    def end(self):
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.master)
        return status
