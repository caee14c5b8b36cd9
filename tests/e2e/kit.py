# SPDX-License-Identifier: Apache-2.0
"""What end-to-end tests share: starting the real programs on free ports, waiting, cleaning up.

The programs are taken from $SMPL_BIN (default: build/release/bin of this tree). Everything a test starts it
stops by its own pid; nothing is looked up by name. Times here bound how long a hanging program can hold up
the suite; no test measures speed. A test waits for what it wants (wait_until), or counts; it never sleeps and
then hopes.
"""

import ctypes
import array
import contextlib
import fcntl
import functools
import json
import math
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import termios
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("SMPL_BIN", ROOT / "build" / "release" / "bin"))
SANITIZED = "asan" in str(BIN)
if SANITIZED:
    SUPPRESSIONS = Path(__file__).with_name("libssh.supp")
    os.environ.setdefault("LSAN_OPTIONS", f"suppressions={SUPPRESSIONS}:print_suppressions=0")
COUNTED = "coverage" in str(BIN)  # by ./dev coverage
# Seconds that anything may take before it counts as hanging: for a processor shared with others, a fifth as
# fast as ours. SMPL_PATIENCE multiplies it.
PATIENCE = (300.0 if SANITIZED or COUNTED else 150.0) * float(os.environ.get("SMPL_PATIENCE", "1"))


def binary(name):
    """Path of one of our programs; fails with a clear message if it is not built."""
    path = BIN / name
    assert path.exists(), f"{path} is not built; try: ./dev build"
    return str(path)


def tool(name):
    """Path of a client the tests use (dig, ssh, curl); Debian's sbin folders included."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    assert path, f"{name} is not installed; ./dev test installs it"
    return path


def wait_until(condition, what, timeout=PATIENCE, step=0.02):
    """Polls until condition() is true and returns its value."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited {timeout:.0f} s in vain: {what}"
        time.sleep(step)


def whole_lines(path):
    """The lines of a file that a running program writes, as text: one that is not at its end yet is left for
    the next look."""
    text = Path(path).read_text(errors="replace")
    return text[: text.rfind("\n") + 1].splitlines()


def json_lines(path, containing=""):
    """What the whole lines of a file say that have this text in them; none where the file is not there
    yet."""
    return (
        [json.loads(line) for line in whole_lines(path) if containing in line] if Path(path).exists() else []
    )


@functools.cache
def slowness():
    """How many times as long as on a quiet machine a program of ours takes here and now, from 1 to 20."""
    began = time.monotonic()
    for _ in range(20):
        subprocess.run([binary("smpl-app"), "--version"], check=True, stdout=subprocess.DEVNULL)
    return min(20.0, max(1.0, (time.monotonic() - began) / 0.1))


def ample(seconds):
    """A configured limit in whole seconds that whoever does things right keeps on this machine, where so many
    are ample on a quiet one."""
    return math.ceil(seconds * slowness())


def wait_still(value, what, still=1.0, timeout=PATIENCE):
    """Waits until value() has not changed for a while, and returns it. What comes after must hold of any
    value: on a machine that pauses, it may still change."""
    seen, since, end = value(), time.monotonic(), time.monotonic() + timeout
    while time.monotonic() - since < still:
        assert time.monotonic() < end, f"waited {timeout:.0f} s in vain: {what}; it is {seen}"
        time.sleep(0.05)
        now = value()
        if now != seen:
            seen, since = now, time.monotonic()
    return seen


_ports_given = set()


def free_port(*addresses):
    """A port free for TCP and UDP on every given address, not given out before in this run."""
    for _ in range(200):
        with socket.socket() as probe:
            probe.bind((addresses[0], 0))
            port = probe.getsockname()[1]
        if port in _ports_given:
            continue
        taken = []
        try:
            for address in addresses:
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    s = socket.socket(family, kind)
                    taken.append(s)
                    s.bind((address, port))
        except OSError:
            continue
        finally:
            for s in taken:
                s.close()
        _ports_given.add(port)
        return port
    raise AssertionError(f"no free port on {addresses}")


def has_empty_root(pid):
    """Whether a process sees no file: its root has none, or is the folder of a process that has ended."""
    with contextlib.suppress(ProcessLookupError):
        if os.listdir(f"/proc/{pid}/root"):
            return False
    return not os.path.exists(f"/proc/{pid}/root/etc") and not os.path.exists(f"/proc/{pid}/root/status")


def port_open(address, port):
    try:
        with socket.create_connection((address, port), timeout=PATIENCE):
            return True
    except OSError:
        return False


def run(*argv, timeout=PATIENCE, **kw):
    """Runs to the end, output captured as text."""
    argv = [str(a) for a in argv]
    kw.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run(argv, capture_output=True, text=True, timeout=timeout, **kw)


class Program:
    """A running program of ours (or a client). Standard error is collected line by line; standard output too:
    whoever looks at them sees all that the program has written by then."""

    rogue = False  # its workers are told to misbehave

    def __init__(self, argv, cwd=None, env=None, name=None, pass_fds=()):
        self.argv = [str(a) for a in argv]
        self.name = name or Path(self.argv[0]).name
        self.lines, self.taken = {"err": [], "out": []}, {"err": 0, "out": 0}  # and how many bytes that was
        self.changed = threading.Condition()
        full_env = dict(os.environ, NO_COLOR="1")
        full_env.update(env or {})
        self.process = subprocess.Popen(
            self.argv,
            cwd=cwd,
            env=full_env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=pass_fds,
        )
        self.streams = {"err": self.process.stderr, "out": self.process.stdout}
        self.readers = []
        for name in self.streams:
            t = threading.Thread(target=self._collect, args=(name,), daemon=True)
            t.start()
            self.readers.append(t)

    def _collect(self, name):
        fd, rest, more = self.streams[name].fileno(), b"", select.poll()
        more.register(fd, select.POLLIN)
        while True:
            more.poll()
            with self.changed:
                data = os.read(fd, 1 << 16)
                self.taken[name] += len(data)
                *whole, rest = (rest + data).split(b"\n")
                whole += [rest] if rest and not data else []
                self.lines[name] += [line.rstrip(b"\r").decode(errors="backslashreplace") for line in whole]
                self.changed.notify_all()
                if not data:
                    return

    def _seen(self, name):
        """The lines, once what waits in the pipe now has been taken."""
        waiting = array.array("i", [0])
        with self.changed:
            if not self.streams[name].closed:
                fcntl.ioctl(self.streams[name], termios.FIONREAD, waiting)
            wanted = self.taken[name] + waiting[0]
            assert self.changed.wait_for(lambda: self.taken[name] >= wanted, PATIENCE)
        return self.lines[name]

    @property
    def err(self):
        return self._seen("err")

    @property
    def out(self):
        return self._seen("out")

    @property
    def pid(self):
        return self.process.pid

    @property
    def stderr(self):
        return "\n".join(self.err)

    @property
    def stdout(self):
        return "\n".join(self.out)

    def wait_line(self, pattern, timeout=PATIENCE, stream="err", start=0):
        """Waits for a line that matches the regular expression, from line number start on; returns the
        line."""
        lines = self.lines[stream]
        end = time.monotonic() + timeout
        with self.changed:
            while True:
                for line in lines[start:]:
                    if re.search(pattern, line):
                        return line
                left = end - time.monotonic()
                dead = self.process.poll() is not None and not any(t.is_alive() for t in self.readers)
                assert left > 0 and not dead, (
                    f"{self.name}: no line like /{pattern}/ "
                    f"({'ended with %s' % self.process.poll() if dead else 'still running'});"
                    f" stderr:\n{self.stderr}\nstdout:\n{self.stdout}"
                )
                self.changed.wait(min(left, 0.2))

    def wait_ready(self, timeout=PATIENCE):
        self.wait_line(r"\bready\b", timeout)
        return self

    def running(self):
        return self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=PATIENCE):
        """Waits for the end; returns the exit status with all output collected."""
        status = self.process.wait(timeout)
        for t in self.readers:
            t.join(PATIENCE)
            assert (
                not t.is_alive()
            ), f"{self.name} has ended, and something that it started holds its output open"
        return status

    def stop(self, timeout=PATIENCE):
        """SIGTERM, then the end. Returns the status (0 for our programs)."""
        if self.running():
            self.signal(signal.SIGTERM)
            try:
                return self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill9()
                raise AssertionError(f"{self.name} did not end on SIGTERM; stderr:\n{self.stderr}")
        return self.wait(timeout)

    def kill9(self):
        if self.running():
            self.signal(signal.SIGKILL)
        return self.wait()


def children(pid):
    """Pids of all descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except (OSError, IndexError):
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        for child in parents.get(todo.pop(), []):
            found.append(child)
            todo.append(child)
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def recv_all(sock, limit=1 << 24):
    """Reads to the peer's end or reset."""
    data = bytearray()
    try:
        while len(data) < limit:
            part = sock.recv(65536)
            if not part:
                break
            data += part
    except ConnectionResetError:
        pass
    return bytes(data)


def closed_unread(address, port, source, timeout=PATIENCE):
    """True if a connection from source ends before it was sent or answered anything."""
    try:
        with socket.create_connection((address, port), timeout=timeout, source_address=(source, 0)) as s:
            return recv_all(s) == b""
    except ConnectionResetError:  # as early as in connect
        return True


def keygen(path, kind="ed25519", comment="test"):
    """A throw-away SSH key pair without passphrase; returns (private, public) paths."""
    path = Path(path)
    done = run(tool("ssh-keygen"), "-q", "-t", kind, "-N", "", "-C", comment, "-f", path)
    assert done.returncode == 0, done.stderr
    return path, Path(f"{path}.pub")


class HttpServer:
    """A tiny HTTP server in this process: answers every GET with its text, counts requests."""

    def __init__(self, address, port, text):
        import http.server

        outer = self
        self.requests = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.requests.append(self.path)
                body = text.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer((address, port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def libssh_version():
    """ "0.10.6": what the library says of itself."""
    library = ctypes.CDLL("libssh.so.4")
    library.ssh_version.restype = ctypes.c_char_p
    return library.ssh_version(0).decode().split("/")[0]
