# SPDX-License-Identifier: Apache-2.0
"""Whose a request is: the peer's, or, from a balancer that the configuration names, the last element of
X-Forwarded-For."""

import http.client

import pytest

import kit
from echo_front import ECHO, Front, INTERNAL, PUBLIC

BALANCER, OTHER = "127.44.0.7", "127.44.0.9"


@pytest.fixture
def front(work, spawn):
    return Front(work, spawn, f"balancers: [{BALANCER}]\n")


def ask(front, source, *forwarded, address=PUBLIC, connection=None):
    own = connection or http.client.HTTPConnection(
        address, front.port, timeout=kit.PATIENCE, source_address=(source, 0)
    )
    own.putrequest("GET", "/api/v1/echo/x")
    for value in forwarded:
        own.putheader("X-Forwarded-For", value)
    own.endheaders()
    response = own.getresponse()
    response.read()
    assert response.status == 200
    if connection is None:
        own.close()


def log(front, lines):
    kit.wait_until(lambda: len(front.log()) >= lines, f"{lines} lines of the access log")
    return [(line["client"], line.get("peer")) for line in front.log()]


def test_a_balancer_names_the_source_of_each_request_and_nobody_else_does(front):
    kept = http.client.HTTPConnection(PUBLIC, front.port, timeout=kit.PATIENCE, source_address=(BALANCER, 0))
    ask(front, BALANCER, "203.0.113.1", connection=kept)
    ask(front, BALANCER, "1.2.3.4, 2001:db8::1", connection=kept)
    peer = f"{BALANCER}:{kept.sock.getsockname()[1]}"
    ask(front, BALANCER, "1.2.3.4", "203.0.113.2", connection=kept)
    kept.close()
    ask(front, OTHER, "203.0.113.3")
    ask(front, BALANCER, "203.0.113.4", address=INTERNAL)
    lines = log(front, 5)
    assert lines[:3] == [("203.0.113.1", peer), ("2001:db8::1", peer), ("203.0.113.2", peer)]
    assert lines[3][0].startswith(f"{OTHER}:") and lines[3][1] is None
    assert lines[4][0] == "203.0.113.4" and lines[4][1].startswith(f"{BALANCER}:")


def test_what_a_balancer_sends_without_a_plain_address_is_its_own_and_counted(front):
    ask(front, BALANCER)
    for value in ("203.0.113.1:80", "unknown", "203.0.113.1,"):
        ask(front, BALANCER, value)
    ask(front, OTHER, "unknown")
    assert all(
        client.startswith((f"{BALANCER}:", f"{OTHER}:")) and peer is None for client, peer in log(front, 5)
    )
    metrics = front.ask("/internal/v1/metrics", INTERNAL).body.decode()
    assert 'smpl_app_unnamed_sources_total{listener="public",reason="missing"} 1\n' in metrics
    assert 'smpl_app_unnamed_sources_total{listener="public",reason="malformed"} 3\n' in metrics
    said = [line for line in front.program.err if "X-Forwarded-For" in line]
    assert len(said) == 1 and BALANCER in said[0]


def test_the_peer_must_be_a_client_whomever_it_names(front):
    with front.connect(INTERNAL, source="127.45.9.9") as s:
        s.sendall(b"GET /api/v1/echo/x HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 127.44.9.9\r\n\r\n")
        assert kit.recv_all(s) == b""


def test_check_says_who_the_balancers_are_and_refuses_everybody(front):
    done = kit.run(ECHO, "check", "-c", front.file)
    assert done.returncode == 0 and f"believed: {BALANCER}" in done.stdout
    text = front.file.read_text()
    for wrong, words in (
        ("0.0.0.0/0", "everybody could name a source"),
        ("::/0", "everybody could name a source"),
        ("127.44.0.7/16", "127.44.0.7/16"),
        ("lb1", "lb1"),
        ("127.44.0.7:80", "127.44.0.7:80"),
    ):
        front.file.write_text(text.replace(f"balancers: [{BALANCER}]", f'balancers: ["{wrong}"]'))
        done = kit.run(ECHO, "check", "-c", front.file)
        assert done.returncode == 1 and "echo.yaml:7:" in done.stderr and words in done.stderr, done.stderr
