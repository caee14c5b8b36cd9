# SPDX-License-Identifier: Apache-2.0
"""The same raw requests through our public listener, nginx and HAProxy. Behind the two stands a backend that
reads paths in all the ways that servers have been known to read them. What it would take for an internal path
ours must not admit."""

import os
import random
import re
import socket
import threading
from urllib.parse import unquote_to_bytes

import pytest

import kit
from boundary import ABSENT, MALFORMED, get, post
from echo_front import CLIENT, Front, PUBLIC

FULL = os.environ.get("SMPL_TEST_FULL") == "1"
COUNT = 6000 if FULL else 600  # made-up requests, besides the list
BACKEND, NGINX, HAPROXY = "127.44.3.1", "127.44.3.2", "127.44.3.3"


# How a path may be read. Each reading is some server's: raw (prefix routers), decoded (Starlette, Rails),
# decoded twice (behind a decoding proxy), with dots resolved, slashes merged, backslashes turned (IIS),
# parameters cut (Tomcat, Jetty), cut at NUL, '#' or '?' after decoding, and overlong UTF-8 taken for what it
# stands for.


def resolve(path):
    out = []
    for part in path.split(b"/"):
        if part == b"..":
            if out:
                out.pop()
        elif part not in (b"", b"."):
            out.append(part)
    return b"/" + b"/".join(out)


def overlong(path):
    return path.replace(b"\xc0\xae", b".").replace(b"\xc0\xaf", b"/").replace(b"\xe0\x80\xae", b".")


def readings(target):
    path = re.sub(rb"^[a-z]+://[^/?#]*", b"", target, flags=re.I)
    found, todo = set(), [path, path.split(b"?")[0]]
    steps = (
        unquote_to_bytes,
        resolve,
        overlong,
        lambda p: p.replace(b"\\", b"/"),
        lambda p: re.sub(rb";[^/]*", b"", p),
        lambda p: re.split(rb"[\x00#?]", p)[0],
        lambda p: re.sub(rb"/+", b"/", p),
        bytes.lower,
        lambda p: p.strip(),
    )
    for _ in range(4):
        fresh = [p for p in todo if p not in found]
        found.update(fresh)
        todo = [step(p) for p in fresh for step in steps]
    return found


def is_internal(target):
    return any(re.match(rb"/*(internal|docs|openapi\.json)(/|$)", p) for p in readings(target))


class Backend:
    """Takes requests apart as leniently as it can, keeps their targets, answers each."""

    def __init__(self, port):
        self.targets = []
        self.listener = socket.create_server((BACKEND, port))
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def close(self):
        """accept() must have ended before the descriptor's number can be another's."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        data = b""
        with connection:
            while True:
                head = re.match(rb"(.*?)\r?\n\r?\n", data, re.S)
                if not head:
                    try:
                        part = connection.recv(65536)
                    except OSError:
                        return
                    if not part:
                        return
                    data += part
                    continue
                line = head[1].split(b"\n")[0].strip()
                self.targets.append(re.sub(rb"^\S+\s+|\s+HTTP/\S*$", b"", line))
                data = data[head.end() :]
                length = re.search(rb"\ncontent-length:\s*(\d+)", head[1], re.I)
                if re.search(rb"\ntransfer-encoding:.*chunked", head[1], re.I):
                    end = re.search(rb"(^|\r\n)0\r\n.*?\r\n", data, re.S)
                    data = data[end.end() :] if end else b""
                elif length:
                    data = data[int(length[1]) :]
                try:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                except OSError:
                    return


def start_nginx(work, spawn, backend, port):
    """As many write it: a prefix, and everything behind it passed on as it came."""
    (work / "nginx.conf").write_text(
        f"""\
{"user root;" if os.geteuid() == 0 else ""}
worker_processes 1; pid {work}/nginx.pid; error_log stderr crit; daemon off;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {work}/b; proxy_temp_path {work}/p; fastcgi_temp_path {work}/f;
  uwsgi_temp_path {work}/u; scgi_temp_path {work}/s; merge_slashes off;
  upstream app {{ server {BACKEND}:{backend}; keepalive 4; }}
  server {{
    listen {NGINX}:{port};
    location /api/v1/ {{
      proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_ignore_client_abort on;
    }}
    location / {{ return 404; }}
  }}
}}
"""
    )
    spawn(kit.tool("nginx"), "-p", work, "-c", work / "nginx.conf", "-e", "stderr")
    kit.wait_until(lambda: kit.port_open(NGINX, port), "nginx listens")


def start_haproxy(work, spawn, backend, port):
    (work / "haproxy.cfg").write_text(
        f"""\
global
  maxconn 64
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 5s
frontend public
  bind {HAPROXY}:{port}
  http-request deny deny_status 404 unless {{ path_beg /api/v1/ }}
  default_backend app
backend app
  http-reuse always
  server app {BACKEND}:{backend}
"""
    )
    spawn(kit.tool("haproxy"), "-db", "-f", work / "haproxy.cfg")
    kit.wait_until(lambda: kit.port_open(HAPROXY, port), "haproxy listens")


def exchange(address, port, request, source=CLIENT):
    """Sends it with our half closed behind it, and reads to the end."""
    with socket.create_connection((address, port), timeout=kit.PATIENCE, source_address=(source, 0)) as s:
        try:
            s.sendall(request)
            s.shutdown(socket.SHUT_WR)
            kit.recv_all(s)
        except (OSError, TimeoutError):
            pass


PIECES = [
    b"/",
    b"/",
    b"/",
    b"//",
    b"/api/v1/",
    b"/api/v1",
    b"api",
    b"v1",
    b"/internal/v1/secret",
    b"/internal",
    b"internal",
    b"secret",
    b"echo",
    b"x",
    b"..",
    b".",
    b"/../",
    b"/./",
    b"%2e",
    b"%2E%2e",
    b"%2f",
    b"%5c",
    b"\\",
    b"%252e%252e",
    b"%252f",
    b";",
    b"..;",
    b";a=b",
    b"%3b",
    b"?",
    b"%3f",
    b"#",
    b"%23",
    b"%00",
    b"%0a",
    b"\t",
    b" ",
    b"%c0%ae",
    b"%c0%af",
    b"%e0%80%ae",
    b"%ff",
    b"\xff",
    b"%",
    b"%zz",
    b"%69nternal",
    b"%61pi",
    b"API",
    b"docs",
    b"openapi.json",
    b"*",
    b"http://h",
    b"@",
    b":80",
    b"~",
    b"+",
    b"%20",
    b"..%00/",
    b"%u002e",
]
HIDDEN = b"GET /internal/v1/secret HTTP/1.1\r\nHost: h\r\n\r\n"
FRAMES = [
    b"Content-Length: %d\r\n",
    b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 0\r\nContent-Length: %d\r\n",
    b"Content-Length: +%d\r\n",
    b"Transfer-Encoding: x\r\n",
    b"Content_Length: %d\r\n",
    b"Content-Length:\t%d\r\n",
    b"X: y\r\n Content-Length: %d\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n",
    b"Content-Length: 0\r\n",
    b"",
]


def made_up(rng):
    if rng.random() < 0.15:
        frame = rng.choice(FRAMES)
        body = rng.choice([HIDDEN, b"0\r\n\r\n" + HIDDEN, b"{}" + HIDDEN, b""])
        return post(frame % len(body) if b"%d" in frame else frame, body)
    start = rng.choice(
        [b"/api/v1/", b"/api/v1/", b"/api/v1/", b"/internal/../api/v1/", b"/api/v1/../../internal/", b""]
    )
    target = start + b"".join(rng.choice(PIECES) for _ in range(rng.randint(1, 6)))
    return rng.choice(
        [get, get, get, lambda t: b"POST " + t + b" HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"]
    )(target)


KNOWN = [
    get(t)
    for t in (
        b"/internal/../api/v1/flags",
        b"/internal/v1/secret/../../../api/v1/x",
        b"/api/v1/../../internal/v1/secret",
        b"/api/v1/%2e%2e/%2e%2e/internal",
        b"/api/v1/..%2f..%2finternal",
        b"/api/v1/..%5c..%5cinternal",
        b"/api/v1/..;/..;/internal",
        b"/api/v1/%252e%252e/%252e%252e/internal",
        b"/%69nternal/%2e%2e/api/v1/x",
        b"/internal/%2e%2e/api/v1/x",
        b"/api/v1/x/..%2f..%2f..%2finternal",
        b"/internal/./../api/v1/x",
        b"/internal//../../api/v1/x",
        b"/docs/../api/v1/x",
        b"/openapi.json/../api/v1/x",
        b"/docs/%2e%2E/api/v1/",
    )
] + [
    post(b"Transfer-Encoding: chunked\r\nContent-Length: 60\r\n", b"0\r\n\r\n" + HIDDEN),
    post(b"Content-Length: 0\r\n", HIDDEN),
]
HARMLESS = [
    get(b"/api/v1/echo/" + word)
    for word in (b"x", b"a%20b", b"%C3%A9", b"a~b", b"internal", b"docs", b"..x", b"x..", b"x?y=/internal/v1")
]


@pytest.fixture
def fronts(work, spawn):
    backend_port, nginx_port, haproxy_port = (
        kit.free_port(BACKEND),
        kit.free_port(NGINX),
        kit.free_port(HAPROXY),
    )
    backend = Backend(backend_port)
    start_nginx(work, spawn, backend_port, nginx_port)
    start_haproxy(work, spawn, backend_port, haproxy_port)
    yield Front(work, spawn), backend, {"nginx": (NGINX, nginx_port), "haproxy": (HAPROXY, haproxy_port)}
    backend.close()


def test_nothing_is_admitted_that_a_backend_of_nginx_or_haproxy_would_take_for_internal(fronts):
    ours, backend, others = fronts
    seed = int(os.environ.get("SMPL_SEED", "0")) or random.randrange(1, 1 << 32)
    rng = random.Random(seed)
    requests = (
        HARMLESS
        + KNOWN
        + ABSENT
        + [r for r in MALFORMED if len(r) < 2000]
        + [made_up(rng) for _ in range(COUNT)]
    )
    leaks = {name: set() for name in others}
    passed = {name: set() for name in others}
    by_source = {}  # each request comes from an address of its own, by which its log line is found
    for i, request in enumerate(requests):
        for name, (address, port) in others.items():
            del backend.targets[:]
            exchange(address, port, request)
            seen = list(backend.targets)
            if seen:
                passed[name].add(i)
            if any(is_internal(target) for target in seen):
                leaks[name].add(i)
        source = f"127.44.{100 + i // 250}.{i % 250 + 1}"
        by_source[source] = i
        exchange(PUBLIC, ours.port, request, source)
    lines = kit.wait_until(
        lambda: [l for l in ours.log()] if len(ours.program.out) >= len(requests) else None,
        "a log line for each",
    )
    admitted = set()
    for line in lines:
        if line["listener"] == "public" and line["rule"] is not None:
            admitted.add(by_source[line["client"].rpartition(":")[0]])
            assert not is_internal(line["target"].encode()), (seed, line)
    for name in others:
        both = admitted & leaks[name]
        assert not both, (seed, name, [requests[i] for i in both])
        # the comparison has something to compare: the naive rule leaks, and what is harmless passes
        # everywhere
        assert len(leaks[name]) >= 5, (seed, name, len(leaks[name]))
        assert set(range(len(HARMLESS))) <= passed[name] & admitted
    print(
        f"of {len(requests)}: admitted {len(admitted)}, "
        + ", ".join(f"{name} passed {len(passed[name])} and leaked {len(leaks[name])}" for name in others)
    )


def test_the_readings_know_the_old_tricks():
    for target in (
        b"/internal/x",
        b"/api/v1/../../internal",
        b"/api/v1/%2e%2e/%2e%2e/internal/x",
        b"/api/v1/..;/..;/internal",
        b"/api/v1/%252e%252e/%252e%252e/internal",
        b"/api/v1/..%2f..%2finternal",
        b"/api/v1/..%5c..%5cinternal",
        b"//internal",
        b"/%69nternal",
        b"/api/v1/%c0%ae%c0%ae/%c0%ae%c0%ae/internal",
        b"http://h/internal",
        b"/INTERNAL/v1",
    ):
        assert is_internal(target), target
    for target in (b"/api/v1/internal", b"/api/v1/x?/internal", b"/api/v1/configs/..x", b"/internals"):
        assert not is_internal(target), target
