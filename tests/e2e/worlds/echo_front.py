# SPDX-License-Identifier: Apache-2.0
"""A program with the services' front and a handler that echoes, or leaks."""

import json
import socket

import pytest

import kit
from boundary import SECRET

PUBLIC, INTERNAL = "127.44.1.1", "127.44.2.1"

CLIENT, STRANGER = "127.44.9.9", "127.45.9.9"

ECHO = kit.BIN.parent / "tests" / "smpl-app-echo"


class Front:
    def __init__(self, work, spawn, extra=""):
        self.port = kit.free_port(PUBLIC, INTERNAL)
        self.file = work / "echo.yaml"
        self.file.write_text(
            "service: accounts\n"
            "listeners:\n"
            f'  - {{name: public, address: "{PUBLIC}:{self.port}", rules: ["/api/v1/*"]}}\n'
            f'  - {{name: internal, address: "{INTERNAL}:{self.port}", rules: ["/*"], clients: '
            "[127.44.0.0/16],\n"
            "     hosts: [app.internal.smplkit.local]}\n"
            f"database: echo.db\n{extra}"
        )
        self.program = spawn(ECHO, "-c", self.file).wait_ready()

    def connect(self, address=PUBLIC, source=CLIENT, timeout=kit.PATIENCE):
        return socket.create_connection((address, self.port), timeout=timeout, source_address=(source, 0))

    def raw(self, data, address=PUBLIC, half_close=False):
        """Sends bytes, returns everything that comes until the front closes."""
        with self.connect(address) as s:
            try:
                s.sendall(data)
                if half_close:
                    s.shutdown(socket.SHUT_WR)
            except (ConnectionResetError, BrokenPipeError):
                pass
            return kit.recv_all(s)

    def ask(self, target, address=PUBLIC, method="GET", headers=(), body=b"", host=None, version="1.1"):
        head = [f"{method} {target} HTTP/{version}", f"Host: {host or address}"]
        head += list(headers) + ([f"Content-Length: {len(body)}"] if body else []) + ["Connection: close"]
        return Answer(self.raw("\r\n".join(head).encode() + b"\r\n\r\n" + body, address))

    def log(self):
        return [json.loads(line) for line in self.program.out]


class Answer:
    def __init__(self, data):
        head, _, self.body = data.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self.status = int(lines[0].split(" ")[1]) if lines[0] else None
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            self.headers[name.lower()] = value

    @property
    def json(self):
        return json.loads(self.body)


@pytest.fixture
def front(work, spawn):
    return Front(work, spawn)


def check_refusals(front, requests, status):
    answers = {}
    for request in requests:
        answers.setdefault(front.raw(request), []).append(request[:120])
    assert len(answers) == 1, f"not the same bytes: {answers}"
    answer = next(iter(answers))
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    assert answer.count(b"HTTP/1.1") == 1 and b"Connection: close\r\n" in answer and SECRET not in answer
    return answer
