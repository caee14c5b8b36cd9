# SPDX-License-Identifier: Apache-2.0
"""The internal balancer keeps foreign names and pages of other sites from every application behind it, as
smpl-app's own internal listener does: the same table of cases through both, with an application behind the
balancer that checks nothing."""

import json
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

import echo_front as direct
import kit
from balanced import render, start_balancers, wait_up

pytestmark = pytest.mark.skipif(
    kit.SANITIZED, reason="the listener is tested on the sanitizer build without it"
)

PUBLIC, BALANCER, INSTANCE = "127.44.5.1", "127.44.6.1", "127.44.7.1"  # beside smpl-app's, 127.44.2.1
CLIENT = direct.CLIENT
NAME = "app.internal.smplkit.local"


class Dumb(kit.HttpServer):
    """Answers any method with 200 and keeps what it was asked."""

    def __init__(self, address, port):
        super().__init__(address, port, "ok")
        self.server.handle_error = lambda *args: None  # clients here leave after the status line
        handler = self.server.RequestHandlerClass
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"):
            setattr(handler, f"do_{method}", self.answer)

    @staticmethod
    def answer(request):
        request.rfile.read(int(request.headers.get("Content-Length", 0)))
        request.send_response(200)
        request.send_header("Content-Length", "0")
        request.end_headers()


class Both:
    def __init__(self, work, spawn):
        self.front = direct.Front(work, spawn)
        self.port, behind, self.metrics = (
            kit.free_port(BALANCER, PUBLIC),
            kit.free_port(INSTANCE),
            kit.free_port(BALANCER),
        )
        (work / "balancers.yaml").write_text(
            f"""\
public: {{listen: ["{PUBLIC}:{self.port}"], from: 127.44.0.7}}
internal: {{listen: ["{BALANCER}:{self.port}"], clients: [127.44.0.0/16], from: 127.44.0.8,
  metrics: {{address: "{BALANCER}:{self.metrics}", hosts: [lb.internal]}}}}
services:
  - {{name: any, public: {{names: [h]}}, internal: {{names: [{NAME}], address: {BALANCER}}},
     instances: ["{INSTANCE}:{behind}"]}}
"""
        )
        done = render(work / "balancers.yaml", work / "haproxy")
        assert done.returncode == 0, done.stderr
        self.server = Dumb(INSTANCE, behind)
        start_balancers(spawn, work / "haproxy", ["internal"])
        wait_up(work / "haproxy", ["internal"])
        self.ends = {
            "listener": (direct.INTERNAL, self.front.port),
            "balancer": (BALANCER, self.port),
            "metrics": (BALANCER, self.metrics),
        }

    def status(self, end, request):
        """{own} stands for the address that is called. None: closed without an answer."""
        address, port = self.ends[end]
        with socket.create_connection((address, port), timeout=kit.PATIENCE, source_address=(CLIENT, 0)) as s:
            s.sendall(request.replace("{own}", address).encode("latin-1"))
            answer = s.recv(65536)
        return int(answer[9:12]) if answer else None


@pytest.fixture(scope="module")
def both():
    work, programs, made = Path(tempfile.mkdtemp(prefix="smpl-", dir="/tmp")), [], None

    def spawn(*argv, **kw):
        kw.setdefault("cwd", work)
        programs.append(kit.Program(argv, **kw))
        return programs[-1]

    try:
        made = Both(work, spawn)
        yield made
    finally:
        if made:
            made.server.close()
        for program in reversed(programs):
            program.stop()
        shutil.rmtree(work, ignore_errors=True)


def compare(both, cases):
    """Each case is (expected, request). Through both, with the same outcome."""
    wrong = []
    for expected, request in cases:
        seen = {end: both.status(end, request) for end in ("listener", "balancer")}
        if seen != {"listener": expected, "balancer": expected}:
            wrong.append((expected, seen, request))
    assert not wrong, "\n".join(map(str, wrong))


def ask(*headers, method="GET", host="localhost:8080", version="HTTP/1.1"):
    head = [f"{method} /internal/v1/health {version}", *([] if host is None else [f"Host: {host}"]), *headers]
    return "\r\n".join(head) + "\r\n\r\n"


def test_both_answer_for_the_same_hosts(both):
    known = [
        NAME,
        f"{NAME}:8080",
        NAME.upper(),
        "{own}",
        "{own}:1",
        "localhost",
        "localhost:8080",
        "LOCALHOST:1",
        "x.localhost",
        "a.b.localhost:3",
        "127.0.0.1",
        "127.0.0.1:8080",
        "[::1]",
        "[::1]:80",
        NAME + ":65535",
    ]
    foreign = [
        "evil.example",
        f"{NAME}.evil.example",
        f"x.{NAME}",
        NAME + ".",
        "127.0.0.2",
        "127.44.9.9",
        "localhost.evil.example",
        "localhost.",
        "xlocalhost",
        ".localhost",
        "[::2]",
        "[::1",
        "[127.0.0.1]",
        "{own}.",
        "0.0.0.0",
        "2130706433",
        "0x7f.1",
        "internal",
        NAME + ":",
    ]
    cases = [(200, ask(host=h)) for h in known]
    for h in foreign:  # a name that is none is 400 at both, else 421
        cases.append((400 if h in (".localhost", "[::1", NAME + ":") else 421, ask(host=h)))
    compare(both, cases)


SITES = (None, "same-origin", "none", "same-site", "cross-site", "Same-Origin", "", "new-value")
ORIGINS = (
    None,
    "http://localhost:8080",
    "https://localhost:8080",
    "http://LOCALHOST:8080",
    "http://localhost",
    "http://localhost:8081",
    "null",
    "",
    "http://evil.example",
    "ftp://localhost:8080",
    "localhost:8080",
    "http://localhost:8080.evil.example",
    "http://evil.example/http://localhost:8080",
    "http://",
    "https://localhost:8080/",
)


def foreign(method, site, origin, mode, dest):
    """What a page of another site makes a browser send, in Python: neither of the two implementations."""
    if site is None:
        return origin is not None and origin.lower() not in (
            "http://localhost:8080",
            "https://localhost:8080",
        )
    return site not in ("same-origin", "none") and (
        method not in ("GET", "HEAD") or mode != "navigate" or dest != "document"
    )


def test_both_refuse_the_same_pages_of_other_sites(both):
    cases = []
    for method in ("GET", "HEAD", "POST"):
        for site in SITES:
            for mode, dest in (
                (None, None),
                ("navigate", "document"),
                ("navigate", "iframe"),
                ("cors", "empty"),
                ("Navigate", "document"),
                ("navigate", None),
            ):
                for origin in ORIGINS if site is None and mode is None else (None, "http://evil.example"):
                    headers = [
                        f"{k}: {v}"
                        for k, v in (
                            ("Sec-Fetch-Site", site),
                            ("Origin", origin),
                            ("Sec-Fetch-Mode", mode),
                            ("Sec-Fetch-Dest", dest),
                        )
                        if v is not None
                    ]
                    headers += ["Content-Length: 0"] if method == "POST" else []
                    refused = foreign(method, site, origin, mode, dest)
                    cases.append(
                        (403 if refused else (405 if method == "POST" else 200), ask(*headers, method=method))
                    )
    assert len(cases) > 200 and 50 < [c[0] for c in cases].count(403)
    wrong = []
    for expected, request in cases:
        seen = both.status("listener", request), both.status("balancer", request)
        if seen != (
            expected,
            200 if expected == 405 else expected,
        ):  # the application behind the balancer takes any method
            wrong.append((expected, seen, request))
    assert not wrong, "\n".join(map(str, wrong[:20]))


def test_nothing_of_a_refused_request_reaches_the_application(both):
    before = len(both.server.requests)
    for request in (
        ask("Sec-Fetch-Site: cross-site", method="POST"),
        ask("Origin: null", method="POST"),
        ask(host="evil.example"),
        ask(version="HTTP/9.9"),
        ask(
            "Sec-Fetch-Site: cross-site",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        ),
    ):
        assert both.status("balancer", request) in (400, 403, 421)
    calls = [p for p in both.server.requests[before:] if p != "/internal/v1/ready"]
    assert calls == []
    assert both.status("balancer", ask()) == 200


def test_what_could_be_read_in_two_ways_is_400_at_both(both):
    versions = [
        "HTTP/9.9",
        "HTTP/0.9",
        "HTTP/1.2",
        "HTTP/2.0",
        "HTTP/1.10",
        "HTTP/2",
        "http/1.1",
        "HTTP/1.1x",
        "HTP/1.1",
        "",
    ]
    cases = [(400, ask(version=v)) for v in versions]
    cases += [
        (400, ask(host=h, version=f"HTTP/{v}"))
        for v in ("1.0", "1.1")
        for h in (None, "", "a b", "h/x", "h:99999", "h:-1", "[]", "h@x", "\xff", "a,b", "h:8:9")
    ]
    cases += [(400, ask("Host: evil.example", version=f"HTTP/{v}")) for v in ("1.0", "1.1")]
    cases += [
        (400, ask(f"{name}: {value}", f"{name}: cross-site"))
        for name, value in (
            ("Sec-Fetch-Site", "none"),
            ("Sec-Fetch-Mode", "navigate"),
            ("Sec-Fetch-Dest", "document"),
            ("Origin", "http://localhost:8080"),
        )
    ]
    compare(both, cases)


def test_the_refusals_say_what_is_wrong(both):
    for request, status, word in (
        (ask(version="HTTP/9.9"), 400, "version"),
        (ask(host="evil.example"), 421, "Host"),
        (ask("Origin: null"), 403, "another site"),
    ):
        with socket.create_connection(
            (BALANCER, both.port), timeout=kit.PATIENCE, source_address=(CLIENT, 0)
        ) as s:
            s.sendall(request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").encode())
            head, _, body = kit.recv_all(s).partition(b"\r\n\r\n")
        (error,) = json.loads(body)["errors"]
        assert (
            head.startswith(b"HTTP/1.1 %d " % status)
            and error["status"] == str(status)
            and word in error["detail"]
        )


def test_the_metrics_answer_to_their_own_host_alone(both):
    """A page whose name was pointed at this address would read them."""

    def status(host):
        return both.status("metrics", f"GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")

    for host in ("{own}", "{own}:9302", "localhost:1", "lb.internal", "LB.internal:80"):
        assert status(host) == 200, host
    for host in ("evil.example", "127.0.0.1", "x.lb.internal", ""):
        assert status(host) == 421, host
