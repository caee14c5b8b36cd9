# SPDX-License-Identifier: Apache-2.0
"""What holds of the services' front, and of balancers before it: tests for both."""

import json
import socket
import threading
import time

import pytest

import kit
from boundary import ABSENT, MALFORMED, SECRET, get, post
from echo_front import Answer, INTERNAL, PUBLIC, front

KEY = "sk_api_" + "a" * 36  # of the right form: the echo service believes every such key


def test_a_head_request_gets_the_refusal_without_its_body(front):
    answer = front.raw(b"HEAD /internal/v1/secret HTTP/1.1\r\nHost: h\r\n\r\n")
    whole = front.raw(get(b"/internal/v1/secret"))
    assert whole.startswith(answer) and answer.endswith(b"\r\n\r\n")


@pytest.mark.short
def test_the_handler_that_leaks_is_reached_on_the_internal_listener_alone(front):
    assert front.ask("/internal/v1/secret", INTERNAL).body.find(SECRET) > 0
    assert front.ask("/internal/v1/secret").status == 404
    for request in ABSENT + MALFORMED:
        assert SECRET not in front.raw(request), request


def test_after_a_refusal_nothing_more_is_read_as_a_request(front):
    good = get(b"/api/v1/echo/x")
    answer = front.raw(good + get(b"/internal/v1/secret") + good)
    assert answer.count(b"HTTP/1.1 200") == 1 and answer.count(b"HTTP/1.1") == 2


def test_the_internal_listener_answers_for_its_own_hosts(front):
    for host in (
        "app.internal.smplkit.local",
        "app.internal.smplkit.local:8080",
        "localhost:8080",
        "x.localhost",
        "127.0.0.1",
        "[::1]:80",
        INTERNAL,
    ):
        assert front.ask("/internal/v1/health", INTERNAL, host=host).status == 200, host
    for host in (
        "evil.example",
        "app.internal.smplkit.local.evil.example",
        "127.0.0.2",
        PUBLIC,
        "localhost.evil.example",
    ):
        answer = front.ask("/internal/v1/health", INTERNAL, host=host)
        assert answer.status == 421 and "errors" in answer.json, host


def test_pages_of_other_sites_are_refused_but_links_work(front):
    def status(*headers, method="GET"):
        return front.ask(
            "/internal/v1/health", INTERNAL, method=method, headers=headers, host="localhost:8080"
        ).status

    assert status("Sec-Fetch-Site: same-origin", "Origin: http://localhost:8080") == 200
    assert status("Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document") == 200
    assert status("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document") == 200
    assert (
        status(
            "Sec-Fetch-Site: cross-site",
            "Sec-Fetch-Mode: navigate",
            "Sec-Fetch-Dest: document",
            method="POST",
        )
        == 403
    )
    assert status("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe") == 403
    assert status("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors") == 403
    assert status("Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image") == 403
    assert status("Origin: http://evil.example") == 403
    assert status("Origin: null") == 403
    assert status("Origin: http://localhost:8080") == 200


def test_what_the_internal_listener_serves_is_kept_from_other_sites(front):
    headers = front.ask("/docs", INTERNAL).headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    preflight = front.ask(
        "/internal/v1/echo", INTERNAL, method="OPTIONS", headers=["Origin: http://" + INTERNAL]
    )
    assert preflight.status == 405
    for answer in (headers, preflight.headers):
        assert not [name for name in answer if name.startswith("access-control")]


@pytest.mark.short
def test_parameters_headers_and_bodies_reach_the_handler_decoded(front):
    answer = front.ask(
        "/api/v1/echo/a%20%C3%A9?page[number]=2&q=a+b%26c&empty",
        method="PUT",
        headers=["Content-Type: application/vnd.api+json", f"authorization:  bearer  {KEY}"],
        body='{"ä": [1, 12345678901234567, null]}'.encode(),
    )
    assert answer.status == 200 and answer.headers["content-type"] == "application/vnd.api+json"
    assert answer.json == {
        "word": "a é",
        "query": {"page[number]": "2", "q": "a b&c", "empty": ""},
        "bearer": KEY,
        "body": {"ä": [1, 12345678901234567, None]},
    }
    assert answer.headers["x-echo"] == "yes"


def test_a_request_may_come_byte_by_byte(front):
    request = post(b"Content-Length: 8\r\nConnection: close\r\n", b'{"a": 1}')
    with front.connect() as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(request)):
            s.sendall(request[i : i + 1])
            time.sleep(0.001)
        assert Answer(kit.recv_all(s)).json["body"] == {"a": 1}


def test_pipelined_requests_are_answered_in_order(front):
    targets = [
        "/api/v1/echo/later?ms=200",
        "/api/v1/echo/1",
        "/api/v1/echo/2",
        "/api/v1/echo/later?ms=10",
        "/api/v1/echo/3",
    ]
    requests = b"".join(get(t.encode()) for t in targets)
    requests += post(b"Content-Length: 2\r\n", b"{}") + get(b"/api/v1/echo/last", b"Connection: close\r\n")
    data = front.raw(requests)
    answers = [json.loads(part.partition(b"\r\n\r\n")[2]) for part in data.split(b"HTTP/1.1 200 OK")[1:]]
    assert [a.get("word") for a in answers] == [None, "1", "2", None, "3", None, "last"]
    assert answers[0]["query"] == {"ms": "200"} and answers[5]["body"] == {}


def test_thousands_of_pipelined_requests_are_answered(front):
    count = 5000
    with front.connect() as s:
        sender = threading.Thread(
            target=s.sendall,
            args=(get(b"/api/v1/echo/x") * count + get(b"/api/v1/echo/x", b"Connection: close\r\n"),),
        )
        sender.start()
        data = kit.recv_all(s)
        sender.join()
    assert data.count(b"HTTP/1.1 200 OK") == count + 1


def test_connections_are_kept_or_closed_as_asked(front):
    with front.connect() as s:
        for _ in range(3):
            s.sendall(get(b"/api/v1/echo/x"))
            assert b"200 OK" in s.recv(4096)
        s.sendall(get(b"/api/v1/echo/x", version=b"HTTP/1.0"))
        assert b"Connection: close" in kit.recv_all(s)
    with front.connect() as s:
        s.sendall(get(b"/api/v1/echo/x", b"Connection: keep-alive\r\n", b"HTTP/1.0"))
        assert b"Connection: keep-alive" in s.recv(4096)
        s.sendall(get(b"/api/v1/echo/x", b"Connection: close\r\n"))
        assert b"Connection: close" in kit.recv_all(s)


def test_a_slow_reader_gets_a_big_answer_whole(front):
    with front.connect() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        s.sendall(get(b"/api/v1/echo/big?kb=20000", b"Connection: close\r\n"))
        time.sleep(0.5)
        answer = Answer(kit.recv_all(s, 1 << 26))
    assert len(answer.json["text"]) == 20000 * 1024


def test_head_is_get_without_its_body(front):
    got = front.ask("/api/v1/echo/x")
    head = front.ask("/api/v1/echo/x", method="HEAD")
    assert (
        head.status == 200
        and head.body == b""
        and head.headers["content-length"] == got.headers["content-length"]
    )


def test_expect_continue_is_answered_before_the_body(front):
    with front.connect() as s:
        s.sendall(post(b"Content-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n"))
        assert s.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        s.sendall(b"{}")
        assert Answer(kit.recv_all(s)).status == 200


def test_refusals_behind_a_public_route_say_what_is_wrong(front):
    def ask(body, type="application/json", target="/api/v1/echo", method="POST", *headers):
        return front.ask(target, method=method, headers=[f"Content-Type: {type}", *headers], body=body)

    assert ask(b"{}").status == 200
    assert ask(b"{}", "text/plain").status == 415
    assert ask(b"").status == 400
    assert ask(b"{}", "application/json", "/api/v1/echo", "POST", "Accept: text/html").status == 406
    answer = front.ask("/api/v1/echo", method="DELETE")
    assert answer.status == 405 and answer.headers["allow"] == "POST"
    for body in (
        b"{",
        b"nonsense",
        b'{"a": 1, "a": 2}',
        b'{"a": "\\u0000"}',
        b"{} {}",
        b'{"a": 1e999}',
        b'"\xff"',
        b"5",
    ):
        answer = ask(body)
        assert answer.status == 400 and answer.json["errors"][0]["source"] == {"pointer": ""}, body
    missing = front.ask("/api/v1/missing/it")
    assert missing.status == 404 and missing.json["errors"] == [
        {"status": "404", "title": "Not Found", "detail": "no it here", "source": {"parameter": "word"}}
    ]


def test_bodies_are_bounded_in_bytes_depth_and_values(front):
    def ask(body):
        return front.ask("/api/v1/echo", method="POST", headers=["Content-Type: application/json"], body=body)

    def status(body):
        return ask(body).status

    for more, expected in ((-1, 200), (0, 200), (1, 413)):
        assert status(b'{"a":"' + b"x" * ((1 << 20) - 8 + more) + b'"}') == expected
        depth = 64 + more
        assert status(b"[" * depth + b"]" * depth) == (400 if more > 0 else 200)
        assert status(b"[" + b",".join([b"{}"] * (49999 + more)) + b"]") == (400 if more > 0 else 200)
    assert ask(b"[" + b",".join([b"{}"] * 50000) + b"]").json["errors"] == [
        {
            "status": "400",
            "title": "Body too complex",
            "detail": "the body is not acceptable JSON: more than 50000 values",
            "source": {"pointer": ""},
        }
    ]


def test_request_ids_are_taken_over_if_well_formed(front):
    assert (
        front.ask("/api/v1/echo/x", headers=["X-Request-Id: abc-1_2.Z"]).headers["x-request-id"]
        == "abc-1_2.Z"
    )
    ok, long = "a" * 64, "a" * 65
    assert front.ask("/api/v1/echo/x", headers=[f"X-Request-Id: {ok}"]).headers["x-request-id"] == ok
    for bad in ("", "a b", long, 'a"b', "ä"):
        assert front.ask("/api/v1/echo/x", headers=[f"X-Request-Id: {bad}"]).headers["x-request-id"] not in (
            "",
            bad,
        )
