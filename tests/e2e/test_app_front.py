# SPDX-License-Identifier: Apache-2.0
"""The http front of smpl-app over real sockets: a service whose handlers echo, dawdle and leak stands behind
it."""

import json
import re
import socket
import time
from pathlib import Path

import pytest

import internal_keys
import kit
from app_client import call, services
from boundary import ABSENT, JSON_TYPE, MALFORMED, get, post, put
from echo_front import Answer, CLIENT, ECHO, Front, INTERNAL, PUBLIC, STRANGER, check_refusals, front
from front_cases import (  # noqa: F401: tests that hold for any front
    KEY,
    test_a_head_request_gets_the_refusal_without_its_body,
    test_a_request_may_come_byte_by_byte,
    test_a_slow_reader_gets_a_big_answer_whole,
    test_after_a_refusal_nothing_more_is_read_as_a_request,
    test_bodies_are_bounded_in_bytes_depth_and_values,
    test_connections_are_kept_or_closed_as_asked,
    test_expect_continue_is_answered_before_the_body,
    test_head_is_get_without_its_body,
    test_pages_of_other_sites_are_refused_but_links_work,
    test_parameters_headers_and_bodies_reach_the_handler_decoded,
    test_pipelined_requests_are_answered_in_order,
    test_refusals_behind_a_public_route_say_what_is_wrong,
    test_request_ids_are_taken_over_if_well_formed,
    test_the_handler_that_leaks_is_reached_on_the_internal_listener_alone,
    test_the_internal_listener_answers_for_its_own_hosts,
    test_thousands_of_pipelined_requests_are_answered,
    test_what_the_internal_listener_serves_is_kept_from_other_sites,
)


# Refusals


@pytest.mark.short
def test_what_is_outside_the_rules_gets_the_same_404_and_is_closed(front):
    assert len(ABSENT) >= 30
    check_refusals(front, ABSENT, 404)


@pytest.mark.short
def test_what_could_be_read_in_two_ways_gets_the_same_400_and_is_closed(front):
    assert len(MALFORMED) >= 100
    answer = check_refusals(front, MALFORMED, 400)
    assert b"Date" not in answer
    # a request cut short by its sender, too
    check_refusals_half_closed(front, answer)


def check_refusals_half_closed(front, answer):
    for part in (
        b"GET /api/v1/ec",
        b"GET /api/v1/echo/x HTTP/1.1\r\nHost: h\r\n",
        post(b"Content-Length: 10\r\n", b"{}"),
    ):
        assert front.raw(part, half_close=True) == answer, part


@pytest.mark.short
def test_the_internal_listener_says_what_is_wrong(front):
    expected = {
        "/x/": (404, "final /"),
        "/a//b": (400, "empty segment"),
        "/" + "a" * 8200: (414, "8 KiB"),
        "/a%2fb": (400, "percent"),
    }
    for target, (status, text) in expected.items():
        answer = front.ask(target, INTERNAL)
        assert answer.status == status and text in answer.json["errors"][0]["detail"], target
    chunked = front.ask("/internal/v1/echo", INTERNAL, method="POST", headers=["Transfer-Encoding: chunked"])
    assert chunked.status == 411
    crowded = front.ask("/internal/v1/health", INTERNAL, headers=["X: y"] * 100)
    assert crowded.status == 431
    for part in (
        b"GET /x",
        b"POST /internal/v1/echo HTTP/1.1\r\nHost: localhost\r\n" + JSON_TYPE + b"Content-Length: 9\r\n\r\n{",
    ):
        cut = Answer(front.raw(part, INTERNAL, half_close=True))
        assert cut.status == 400 and "ends before" in cut.json["errors"][0]["detail"]


def test_a_refused_peer_that_goes_on_sending_is_cut_off(front):
    """What it sends is thrown away for a while, so that it can read the refusal, but not for ever."""
    sent = 0
    with front.connect() as s:
        s.sendall(post(b"Transfer-Encoding: chunked\r\n"))
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while sent < 64 << 20:
                sent += s.send(b"0" * 65536)
    assert 4 << 20 <= sent < 64 << 20


def test_a_refusal_does_not_wait_for_the_rest_of_the_bytes(front):
    """Bytes that can no longer become a request are refused before their head ends."""
    for start in (b"\x16\x03\x01", b"GET /x HTTP/1.1\nHost", b"\r\n", b"GET / HTTP/1.1\r\nX: \x00"):
        with front.connect() as s:
            s.sendall(start)
            assert kit.recv_all(s).startswith(b"HTTP/1.1 400 "), start


# Clients, hosts, sites


@pytest.mark.short
def test_the_internal_listener_closes_on_strangers_before_reading(front):
    with front.connect(INTERNAL, STRANGER) as s:
        assert kit.recv_all(s) == b""
    closed = kit.wait_until(
        lambda: [l for l in front.log() if l["reason"] == "client-not-admitted"], "its log line"
    )
    assert closed[0]["listener"] == "internal" and closed[0]["client"].startswith(STRANGER)
    assert front.ask("/internal/v1/health", INTERNAL).status == 200


# Requests and answers


def test_a_client_that_leaves_early_harms_nobody(front):
    for _ in range(20):
        s = front.connect()
        s.sendall(get(b"/api/v1/echo/later?ms=100"))
        s.close()
    assert front.ask("/api/v1/echo/x").status == 200
    kit.wait_until(
        lambda: len([l for l in front.log() if "later" in l.get("target", "")]) == 20, "their log lines"
    )
    assert front.program.running()


@pytest.mark.short
def test_what_cannot_be_an_api_key_is_refused_before_the_body_is_read(front):
    for key in (
        None,
        "hello",
        "sk_api_" + "a" * 35,
        "sk_api_" + "a" * 37,
        "sk_api_" + "a" * 35 + "-",
        "tk_api_" + "a" * 36,
    ):
        with front.connect() as s:
            s.sendall(put(key, 1 << 20, b"Expect: 100-continue\r\n"))
            answer = Answer(kit.recv_all(s))
        assert answer.status == 401 and answer.headers["www-authenticate"] == "Bearer", key
        assert (
            answer.headers["connection"] == "close"
            and answer.headers["content-type"] == "application/vnd.api+json"
        )
        detail = (
            "send an API key: Authorization: Bearer sk_api_..."
            if key is None
            else "this is no API key, or it was mistyped: its checksum does not fit"
        )
        assert answer.json == {"errors": [{"status": "401", "title": "Unauthorized", "detail": detail}]}
    assert Answer(front.raw(put(KEY, 2, b"Connection: close\r\n") + b"{}")).status == 200


def test_a_key_is_judged_before_a_byte_of_the_body_is_read(front):
    """Also when judging takes a while; whoever has no good key never gets a body parsed, and is closed."""
    for kind in "bd":
        key = "sk_api_" + kind * 36
        with front.connect() as s:
            s.sendall(put(key, 1 << 20, b"Expect: 100-continue\r\n"))
            answer = Answer(kit.recv_all(s))
        assert (
            answer.status == 401
            and answer.headers["connection"] == "close"
            and "no such key" in answer.json["errors"][0]["detail"]
        )
        pipelined = front.raw(put(key, 5) + b"{ bad" + get(b"/api/v1/echo/x"))  # 400 if it were parsed
        assert pipelined.startswith(b"HTTP/1.1 401 ") and pipelined.count(b"HTTP/1.1") == 1
        with front.connect() as s:  # no reset by bytes still coming, for it would lose the answer
            s.sendall(put(key, 3 << 18))
            for _ in range(3):
                s.sendall(b" " * (1 << 18))
                time.sleep(0.2)
            assert kit.recv_all(s).startswith(b"HTTP/1.1 401 ")
    late = "sk_api_" + "c" * 36
    with front.connect() as s:
        s.sendall(put(late, 2, b"Expect: 100-continue\r\nConnection: close\r\n"))
        assert s.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        s.sendall(b"{}")
        assert Answer(kit.recv_all(s)).status == 200
    data = front.raw(
        put(late, 2)
        + b"{}"
        + get(b"/api/v1/echo/x")
        + put(late, 7)
        + b'{"a":1}'
        + get(b"/api/v1/echo/y", b"Connection: close\r\n")
    )
    assert data.count(b"HTTP/1.1 200 OK") == 4
    assert Answer(front.raw(put(late, 6, b"Connection: close\r\n") + b"{ bad ")).status == 400


def test_a_client_that_leaves_while_its_key_is_judged_harms_nobody(front):
    for kind in "cd" * 10:
        s = front.connect()
        s.sendall(put("sk_api_" + kind * 36, 2))
        s.close()
    with front.connect() as s:
        s.sendall(put("sk_api_" + "c" * 36, 2) + b"{}")
        front.ask("/api/v1/echo/x")  # once it is answered, what came before has been read
        front.program.signal(15)
        assert b"HTTP/1.1 200 OK" in kit.recv_all(s)
    assert front.program.wait() == 0


def test_the_front_and_the_services_say_the_same_of_a_bad_key(work, spawn):
    product = services(work, spawn)
    for service, path in (
        ("accounts", "/api/v1/accounts/current"),
        ("config", "/api/v1/configs"),
        ("flags", "/api/v1/flags"),
    ):
        by_front, by_service = (
            call(product, service, "GET", path, key=key) for key in ("hello", "sk_api_" + "0" * 36)
        )
        assert by_front.status == by_service.status == 401 and by_front.text == by_service.text
        assert set(by_front.headers) == set(by_service.headers)


# What every service has


def test_the_openapi_document_describes_what_is_routed(front):
    answer = front.ask("/openapi.json", INTERNAL)
    document = answer.json
    assert document["openapi"] == "3.1.0" and document["servers"] == [{"url": "/"}]
    assert set(document["paths"]) == {
        "/api/v1/echo/{word}",
        "/api/v1/echo",
        "/api/v1/echo/later",
        "/api/v1/echo/hold",
        "/api/v1/echo/release",
        "/api/v1/echo/big",
        "/api/v1/missing/{word}",
        "/internal/v1/secret",
        "/internal/v1/echo/{word}",
        "/internal/v1/echo",
        "/internal/v1/health",
        "/internal/v1/ready",
    }
    put = document["paths"]["/api/v1/echo/{word}"]["put"]
    assert put["operationId"] == "put_word" and put["security"] == [{"HTTPBearer": []}]
    assert list(put["requestBody"]["content"]) == ["application/vnd.api+json", "application/json"]
    assert [p["name"] for p in document["paths"]["/api/v1/missing/{word}"]["get"]["parameters"]] == ["word"]

    def references(node):
        if isinstance(node, dict):
            yield from ([node["$ref"]] if "$ref" in node else [])
            node = list(node.values())
        for item in node if isinstance(node, list) else []:
            yield from references(item)

    for reference in references(document):
        assert reference.rpartition("/")[2] in document["components"]["schemas"], reference
    # every documented path is routed: none answers 404 as unknown, none as an unknown method
    for path, item in document["paths"].items():
        for method in item:
            assert (
                front.ask(path.replace("{word}", "x"), INTERNAL, method=method.upper()).status
                not in (404, 405)
                or "missing" in path
            )
    printed = kit.run(ECHO, "openapi", "-c", front.file)
    assert printed.returncode == 0 and json.loads(printed.stdout) == document
    printed = kit.run(ECHO, "openapi", "--service", "accounts")
    assert json.loads(printed.stdout) == document
    again = front.ask("/openapi.json", INTERNAL, headers=[f"If-None-Match: {answer.headers['etag']}"])
    assert again.status == 304 and again.body == b""


def test_health_tells_the_service_and_the_page_is_linked_from_the_root(front):
    health = front.ask("/internal/v1/health", INTERNAL)
    assert health.status == 200 and health.headers["content-type"] == "application/json"
    assert (
        health.json["status"] == "ok"
        and health.json["service"] == "accounts"
        and health.json["storage"] == "ok"
    )
    root = front.ask("/", INTERNAL)
    assert root.status == 307 and root.headers["location"] == "/docs"


def metrics(front):
    answer = front.ask("/internal/v1/metrics", INTERNAL)
    assert (
        answer.status == 200 and answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    )
    return dict(line.rsplit(" ", 1) for line in answer.body.decode().splitlines() if not line.startswith("#"))


def test_metrics_count_what_prometheus_wants_to_know(front):
    assert front.ask("/internal/v1/metrics").status == 404
    for _ in range(3):
        front.ask("/api/v1/echo/x")
    front.raw(get(b"/api/v1/../internal/v1/secret"))
    front.ask("/internal/v1/secret")
    front.ask("/api/v1/missing/it")
    with front.connect(INTERNAL, STRANGER) as s:
        assert kit.recv_all(s) == b""
    got = metrics(front)
    assert got['smpl_app_requests_total{listener="public",code="200"}'] == "3"
    assert got['smpl_app_requests_total{listener="public",code="404"}'] == "3"
    assert got['smpl_app_refused_total{listener="public",class="ambiguous",reason="dot-segment"}'] == "1"
    assert got['smpl_app_refused_total{listener="public",class="compliant",reason="no-rule"}'] == "2"
    assert got['smpl_app_closed_total{listener="internal",reason="client-not-admitted"}'] == "1"
    assert got['smpl_app_request_seconds_count{listener="public"}'] == "4"
    assert got['smpl_app_request_seconds_bucket{listener="public",le="+Inf"}'] == "4"
    assert (
        got['smpl_app_connections{listener="internal"}'] == "1"
        and int(got['smpl_app_accepted_total{listener="public"}']) == 7
    )
    assert got["smpl_app_draining"] == "0" and float(got["process_cpu_seconds_total"]) >= 0
    assert int(got["process_resident_memory_bytes"]) > 1 << 20
    for name in got:  # text format: name, labels, nothing else
        assert re.fullmatch(r'[a-z_]+(\{[a-z]+="[^"\\\n]*"(,[a-z]+="[^"\\\n]*")*\})?', name), name


def test_the_service_manager_is_told(work, spawn):
    path = str(work / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(kit.PATIENCE)
        front = Front(
            work, lambda *argv: spawn(*argv, env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"})
        )
        ready = manager.recv(4096).decode()
        assert ready.startswith("READY=1\nSTATUS=http public on"), ready
        assert manager.recv(4096) == b"WATCHDOG=1" and manager.recv(4096) == b"WATCHDOG=1"
        front.program.signal(15)
        while (said := manager.recv(4096)) == b"WATCHDOG=1":
            pass
        assert said == b"STOPPING=1"
        assert front.program.wait() == 0


# Limits


def test_slow_heads_are_cut_off_while_others_are_served(front):
    start = time.monotonic()
    slow = [front.connect() for _ in range(50)]
    for s in slow:
        s.sendall(b"GET /api/v1/echo/x HTTP/1.1\r\nHost: h\r\n")
    ended, served = [], 0
    while len(ended) < len(slow):
        assert front.ask("/api/v1/echo/x").status == 200
        served += not ended  # while all of them go on
        for s in slow:
            if s in ended:
                continue
            try:
                s.sendall(b"X: y\r\n")
                s.setblocking(False)
                if s.recv(100) == b"":
                    ended.append(s)
            except BlockingIOError:
                pass
            except (BrokenPipeError, ConnectionResetError):
                ended.append(s)
            s.setblocking(True)
        time.sleep(0.25)
    assert time.monotonic() - start > 9 and served > 0
    for s in slow:
        s.close()
    kit.wait_until(
        lambda: len([l for l in front.log() if l["reason"] == "head-timeout"]) == 50, "their log lines"
    )


def test_few_open_files_mean_fewer_connections_not_a_deaf_listener(work, spawn):
    def limited(argv0, *argv):
        return spawn("/bin/bash", "-c", 'ulimit -n 300; exec "$0" "$@"', argv0, *argv)

    front = Front(work, limited)
    front.program.wait_line("75 connections for each http listener instead of 16384")
    idle = [front.connect() for _ in range(400)]
    for _ in range(3):
        assert front.ask("/api/v1/echo/x").status == 200
        assert front.ask("/internal/v1/health", INTERNAL).status == 200
    for s in idle:
        s.close()


@pytest.mark.skipif(kit.SANITIZED, reason="measures memory")
def test_memory_of_big_bodies_goes_back_to_the_system(front):
    def resident():
        status = Path(f"/proc/{front.program.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) >> 10

    before = resident()
    body = b"[" + b",".join([b"{}"] * 49999) + b"]"
    for _ in range(10):
        assert (
            front.ask(
                "/api/v1/echo", method="POST", headers=["Content-Type: application/json"], body=body
            ).status
            == 200
        )
    kit.wait_until(lambda: resident() < before + 8, f"{before} MB and a little more")


@pytest.mark.full
def test_slow_bodies_are_cut_off(front):
    with front.connect() as s:
        start = time.monotonic()
        s.sendall(post(b"Content-Length: 1000\r\n"))
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while time.monotonic() - start < kit.PATIENCE:
                s.sendall(b" ")
                time.sleep(0.5)
        assert 29 < time.monotonic() - start


# The log


def test_the_access_log_has_one_json_line_a_request(front):
    front.ask("/api/v1/echo/x?a=%22", headers=["X-Request-Id: my-id"])
    front.raw(b'GET /"\\\xff\x80 HTTP/1.1\r\nHost: h\r\n\r\n')
    front.raw(b"\x16\x03\x01\x00\xee")
    front.raw(get(b"/" + b"a" * 5000))
    lines = kit.wait_until(lambda: front.log() if len(front.program.out) == 4 else None, "four lines")
    first, second, third, fourth = lines
    assert (
        first["listener"] == "public"
        and first["client"].startswith(CLIENT + ":")
        and first["verdict"] == "admitted"
    )
    assert (
        first["rule"] == "/api/v1/*"
        and first["method"] == "GET"
        and first["target"] == "/api/v1/echo/x?a=%22"
    )
    assert first["status"] == 200 and first["id"] == "my-id" and first["bytes"] > 0 and first["ms"] >= 0
    assert first["class"] == "compliant" and second["class"] == "ambiguous" and third["class"] == "severe"
    assert (
        second["reason"] == "path-byte" and second["target"] == '/"\\\\\\xff\\x80' and second["status"] == 400
    )
    assert (
        third["reason"] == "control-byte"
        and third["method"] == ""
        and third["target"] == "\\x16\\x03\\x01\\x00\\xee"
    )
    assert fourth["reason"] == "no-rule" and len(fourth["target"]) == 1024


def test_the_access_log_can_be_a_file_and_be_rotated(work, spawn):
    front = Front(work, spawn, "access_log: access.log\n")
    log, old = work / "access.log", work / "access.log.1"
    front.ask("/api/v1/echo/1")
    kit.wait_until(lambda: "/echo/1" in log.read_text(), "the line")
    log.rename(old)
    front.program.signal(1)
    front.program.wait_line("access log opened anew")
    front.ask("/api/v1/echo/2")
    kit.wait_until(lambda: "/echo/2" in log.read_text(), "the line in the new file")
    assert "/echo/2" not in old.read_text() and front.program.stdout == ""


# Starting and ending


@pytest.mark.short
def test_requests_under_way_are_finished_on_sigterm(front):
    idle, busy = front.connect(), front.connect()
    idle.sendall(get(b"/api/v1/echo/x"))
    assert b"200 OK" in idle.recv(4096)
    busy.sendall(get(b"/api/v1/echo/later?ms=2000"))
    front.ask("/api/v1/echo/x")  # once it is answered, what came before has been read
    front.program.signal(15)
    assert kit.recv_all(idle) == b""
    with pytest.raises(ConnectionRefusedError):
        front.connect()
    answer = Answer(kit.recv_all(busy))
    assert answer.status == 200 and answer.headers["connection"] == "close"
    assert front.program.wait() == 0


def test_ready_says_no_at_once_and_the_service_goes_on_for_the_lag(work, spawn):
    """What a load balancer needs to take an instance out without losing a request."""
    lag = 1000 * kit.ample(1.5)
    front = Front(work, spawn, f"drain: {{lag: {lag}ms, finish: 10m}}\n")
    ready = front.ask("/internal/v1/ready", INTERNAL)
    assert ready.status == 200 and ready.json["status"] == "ready" and ready.json["storage"] == "ok"
    assert front.ask("/internal/v1/ready").status == 404
    kept, busy = front.connect(), front.connect()
    kept.sendall(get(b"/api/v1/echo/x"))
    assert b"200 OK" in kept.recv(4096)
    busy.sendall(get(b"/api/v1/echo/later?ms=%d" % (lag + 1000)))
    front.ask("/api/v1/echo/x")  # once it is answered, what came before has been read
    front.program.signal(15)
    front.program.wait_line("still serving for ")
    asked = front.ask("/internal/v1/ready", INTERNAL)
    assert asked.status == 503 and asked.json["status"] == "draining"
    assert front.ask("/internal/v1/health", INTERNAL).status == 200
    kept.sendall(get(b"/api/v1/echo/x"))  # a connection that was open, and the new ones above
    answer = Answer(kit.recv_all(kept))
    assert answer.status == 200 and answer.headers["connection"] == "close"

    def refused():
        try:
            front.connect().close()
        except ConnectionRefusedError:
            return True

    kit.wait_until(refused, "the listener is closed after the lag")
    answer = Answer(kit.recv_all(busy))
    assert answer.status == 200 and answer.headers["connection"] == "close"
    assert front.program.wait() == 0


def test_who_is_connected_already_when_the_listener_closes_is_answered(front):
    """Connections and requests that wait in the kernel while the program is busy or stopped."""
    kept = front.connect()
    kept.sendall(get(b"/api/v1/echo/x"))
    assert b"200 OK" in kept.recv(4096)
    front.program.signal(19)
    front.program.signal(15)
    kept.sendall(get(b"/api/v1/echo/kept"))
    fresh = [front.connect() for _ in range(50)]
    for s in fresh:
        s.sendall(get(b"/api/v1/echo/fresh"))
    front.program.signal(18)
    for s in [kept] + fresh:
        assert Answer(kit.recv_all(s)).status == 200
    assert front.program.wait() == 0


def test_a_second_signal_ends_at_once(work, spawn):
    front = Front(work, spawn, "drain: {lag: 10m}\n")
    front.program.signal(15)
    front.program.wait_line("still serving for 10m")
    front.program.signal(15)
    assert front.program.wait() == 1


def test_a_busy_address_is_named_with_the_way_out(front, work):
    done = kit.run(ECHO, "-c", front.file)
    assert done.returncode == 1
    assert done.stderr.strip().endswith(
        f"smpl-app: {PUBLIC}:{front.port}: address in use; find the program with: ss -ltnp 'sport = "
        f":{front.port}'"
    ), done.stderr


GOOD = """service: accounts
listeners:
  - {name: public, address: "127.44.1.1:8000", rules: ["/api/v1/*"]}
  - {name: internal, address: "127.44.2.1:8000", rules: ["/*"], clients: [127.44.0.0/16]}
database: echo.db
"""


def row(name="a", sha256="a" * 64, operations="[provision]"):
    return f"  - {{name: {name}, sha256: {sha256}, operations: {operations}}}\n"


def caller(**kw):
    return "internal_keys:\n" + row(**kw)


BAD = [  # what to replace, with what, where the error is, what it says
    ("service: accounts", "service: acounts", "1:10", "no service 'acounts'; there is: accounts"),
    ("service: accounts\n", "", "", "service"),
    ('rules: ["/api/v1/*"]', 'rule: ["/api/v1/*"]', "3:48", "unknown key 'rule'"),
    (', rules: ["/api/v1/*"]', "", "3:", "rules"),
    ('"/api/v1/*"', '"/api/v1*"', "3:57", "expected a path like"),
    ('"/api/v1/*"', "", "3:", "rules"),
    ("127.44.1.1:8000", "127.44.1.1", "3:30", "127.44.1.1"),
    ("127.44.1.1:8000", "127.44.1.1:0", "3:30", "port 0"),
    ("127.44.2.1:8000", "127.44.1.1:8000", "4:32", "same address"),
    ("name: internal", "name: public", "4:12", "two http listeners are named public"),
    ("127.44.2.1:8000", "0.0.0.0:8000", "4:32", "needs one private address"),
    ("127.44.2.1:8000", "[::]:8000", "4:32", "needs one private address"),
    ("127.44.2.1:8000", "203.0.113.1:8000", "4:32", "its address must be private"),
    (", clients: [127.44.0.0/16]", "", "4:12", "'clients' is missing"),
    ("127.44.0.0/16", "127.44.0.0/8", "4:", "127.44.0.0/8"),
    ("127.44.0.0/16", "everybody", "4:", "everybody"),
    (
        "clients: [127.44.0.0/16]",
        'clients: [127.44.0.0/16], hosts: ["a:80"]',
        "4:",
        "a host name without port",
    ),
    ("database: echo.db\n", "", "", "database"),
    (
        "database: echo.db",
        'database: echo.db\naccounts: {url: "http://app"}',
        "6:18",
        "the account service itself has no 'accounts'",
    ),
    ("database: echo.db", 'database: echo.db\nsisters: ["http://config/x"]', "6:12", "expected a URL like"),
    ("database: echo.db", 'database: echo.db\nsisters: ["http://config"]', "6:", "'resolver' is missing"),
    (
        "database: echo.db",
        'database: echo.db\nresolver: {servers: ["127.0.0.1:53"]}\n'
        'sisters: ["http://a", "http://203.0.113.5:80"]',
        "7:24",
        "'http://203.0.113.5:80': not a private address",
    ),
    (
        "database: echo.db",
        'database: echo.db\nresolver: {servers: ["127.0.0.1:53"]}\nsisters: ["http://[2001:db8::1]"]',
        "7:12",
        "'http://[2001:db8::1]': not a private address",
    ),
    (
        "database: echo.db",
        "database: nowhere/echo.db",
        "5:11",
        "folder must be there and be writable, for its journal too: ",
    ),
    ("database: echo.db", "database: a.yaml/echo.db", "5:11", "a.yaml: not a folder"),
    ("database: echo.db", "database: /", "5:11", "must be a file that can be written: /: not a regular file"),
    ("database: echo.db", "database: echo.db\nresolver: {servers: []}", "6:", "servers"),
    ("database: echo.db", "database: echo.db\ndatabase: b.db", "6:1", "duplicate key"),
    ("database: echo.db", "database: echo.db\ndrain: {lag: 11m}", "6:14", "lag: must be from 0 to 10m"),
    ("database: echo.db", "database: echo.db\ndrain: {lag: soon}", "6:14", "a duration such as"),
    (
        "database: echo.db",
        f"database: echo.db\n{caller(sha256='ab')}",
        "7:23",
        "expected the SHA-256 of a key, 64 hexadecimal digits",
    ),
    (
        "database: echo.db",
        f"database: echo.db\n{caller(sha256='g' * 64)}",
        "7:23",
        "expected the SHA-256 of a key",
    ),
    (
        "database: echo.db",
        f"database: echo.db\n{caller(operations='[everything]')}",
        "7:102",
        "expected an operation of: provision introspect, got 'everything'",
    ),
    (
        "database: echo.db",
        f"database: echo.db\n{caller(operations='[]')}",
        "7:",
        "operations: the list is empty",
    ),
    ("database: echo.db", f"database: echo.db\n{caller(name='a b')}", "7:12", "a name of up to 32 letters"),
    (
        "database: echo.db",
        f"database: echo.db\n{caller()}{row(name='b')}",
        "8:",
        "internal key b: the key of a again",
    ),
    (
        "database: echo.db",
        f"database: echo.db\n{caller()}{row(sha256='b' * 64)}{row(sha256='c' * 64)}",
        "9:12",
        "internal key a: more than 2 of one name",
    ),
    ("database: echo.db", "database: echo.db\ninternal_key_file: nowhere.key", "6:20", "internal_key_file: "),
    ("database: echo.db", "database: echo.db\ninternal_key_file: readable.key", "6:20", "readable.key"),
    (
        "database: echo.db",
        "database: echo.db\ninternal_key_file: customer.key",
        "6:20",
        "expected one internal key",
    ),
    (
        "database: echo.db",
        "database: echo.db\ninternal_key_file: two.key",
        "6:20",
        "expected one internal key",
    ),
]


@pytest.mark.parametrize(
    "old,new,place,text", BAD, ids=[b[1][:40] or "without " + b[0][:30].strip() for b in BAD]
)
def test_a_configuration_error_is_one_line_with_its_place(work, old, new, place, text):
    file = work / "a.yaml"
    assert old in GOOD
    for name, mode, lines in (
        ("readable", 0o644, [internal_keys.make()]),
        ("customer", 0o600, ["sk_api_" + "0" * 36]),
        ("two", 0o600, [internal_keys.make()] * 2),
    ):
        if f"{name}.key" in new:
            (work / f"{name}.key").write_text("\n".join(lines) + "\n")
            (work / f"{name}.key").chmod(mode)
    file.write_text(GOOD.replace(old, new))
    for argv in (("check", "-c", file), ("-c", file)):
        done = kit.run(ECHO, *argv)
        assert done.returncode == 1 and done.stdout == "", done
        assert (
            done.stderr.count("\n") == 1
            and done.stderr.startswith(f"smpl-app: {file}:{place}")
            and text in done.stderr
        ), done.stderr


def test_lists_in_the_configuration_are_bounded(work):
    file = work / "a.yaml"
    lists = {
        "rules": (64, lambda n: GOOD.replace('"/api/v1/*"', ", ".join(f'"/api/v1/{i}"' for i in range(n)))),
        "clients": (
            1024,
            lambda n: GOOD.replace(
                "127.44.0.0/16", ", ".join(f"10.{i // 256}.{i % 256}.0/24" for i in range(n))
            ),
        ),
        "hosts": (
            64,
            lambda n: GOOD.replace(
                "clients:", "hosts: [" + ", ".join(f"h{i}" for i in range(n)) + "], clients:"
            ),
        ),
        "sisters": (
            16,
            lambda n: GOOD
            + 'resolver: {servers: ["127.0.0.1:5300"]}\nsisters: ['
            + ", ".join(f'"http://s{i}"' for i in range(n))
            + "]\n",
        ),
        "listeners": (
            16,
            lambda n: GOOD.replace(
                "database",
                "".join(
                    f'  - {{name: l{i}, address: "127.44.3.{i + 1}:80", rules: ["/api/v1/*"]}}\n'
                    for i in range(n - 2)
                )
                + "database",
            ),
        ),
        "servers": (
            4,
            lambda n: GOOD
            + "resolver: {servers: ["
            + ", ".join(f'"127.0.0.1:{i + 1}"' for i in range(n))
            + "]}\n",
        ),
    }
    for name, (limit, write) in lists.items():
        for n, status in ((limit, 0), (limit + 1, 1)):
            file.write_text(write(n))
            done = kit.run(ECHO, "check", "-c", file)
            assert done.returncode == status, (name, n, done.stderr)
            assert status == 0 or (name in done.stderr and str(limit) in done.stderr), done.stderr


def test_check_says_what_follows_from_the_file(work):
    file = work / "a.yaml"
    file.write_text(GOOD)
    done = kit.run(ECHO, "check", "-c", file)
    assert done.returncode == 0 and done.stdout.startswith(f"{file}: ok"), done
    assert "public: 127.44.1.1:8000, public, rules /api/v1/*: 9 routes" in done.stdout
    assert "internal: 127.44.2.1:8000, internal, rules /*" in done.stdout
    file.write_text(GOOD.replace("/api/v1/*", "/api/v2/*"))
    done = kit.run(ECHO, "check", "-c", file)
    assert done.returncode == 0 and "admit no route" in done.stdout


def test_usage_errors_have_status_2(work):
    for argv in (
        (),
        ("-c",),
        ("--nonsense",),
        ("check",),
        ("frobnicate",),
        ("openapi",),
        ("check", "--service", "x", "-c", "y"),
    ):
        done = kit.run(ECHO, *argv)
        assert (
            done.returncode == 2 and done.stderr.count("\n") == 1 and done.stderr.startswith("smpl-app: ")
        ), argv
    assert kit.run(ECHO, "--help").stdout.startswith("usage: smpl-app")
    assert kit.run(ECHO, "--version").stdout.startswith("smpl-app ")
    missing = kit.run(ECHO, "-c", work / "none.yaml")
    assert missing.returncode == 1 and "none.yaml" in missing.stderr and "No such file" in missing.stderr


@pytest.mark.parametrize("service", ["accounts", "config", "flags"])
def test_every_service_documents_itself(service):
    printed = kit.run(kit.binary("smpl-app"), "openapi", "--service", service)
    assert printed.returncode == 0, printed.stderr
    document = json.loads(printed.stdout)
    operations = [
        (path, method, op) for path, item in document["paths"].items() for method, op in item.items()
    ]
    ids = [op["operationId"] for _, _, op in operations]
    assert len(set(ids)) == len(ids) and "health" in ids
    assert {path.split("/")[1] for path, _, _ in operations} == {"api", "internal"}
    for path, _, op in operations:
        assert op["summary"] and op["responses"], path
        named = {p["name"] for p in op.get("parameters", []) if p["in"] == "path"}
        assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}, path


@pytest.mark.parametrize("service", ["accounts", "config", "flags"])
def test_the_example_configurations_are_fine(service):
    done = kit.run(
        kit.binary("smpl-app"), "check", "-c", kit.ROOT / "app" / "examples" / f"{service}-service.yaml"
    )
    assert done.returncode == 0 and "internal, rules /*" in done.stdout, done.stderr
