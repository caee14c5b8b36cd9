# SPDX-License-Identifier: Apache-2.0
"""What outside may not see: private names, internal paths, ungranted targets, internal listeners. Everything
here is an attack; the comment at each says what it would have gained."""

import itertools
import json
import random
import socket
import struct

import pytest

import kit
from dns_query import TYPES, query
from product import OUTSIDE, Product, SERVICES, alone


@pytest.fixture(scope="module")
def product():
    with alone(Product) as made:
        yield made


def ask(product, message, tcp, source):
    kind = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as s:
        s.settimeout(kit.PATIENCE)
        s.bind((source, 0))
        s.connect(("127.0.0.1", product.dns))
        if not tcp:
            s.send(message)
            return s.recv(65535)
        s.sendall(struct.pack(">H", len(message)) + message)
        size = struct.unpack(">H", s.recv(2, socket.MSG_WAITALL))[0]
        return s.recv(size, socket.MSG_WAITALL)


NAMES = [
    "internal.smplkit.local",
    "config.internal.smplkit.local",
    "secret.internal.smplkit.local",
    "nosuch.internal.smplkit.local",
    "x.wild.internal.smplkit.local",
    "wild.internal.smplkit.local",
    "alias.internal.smplkit.local",
    "txt.internal.smplkit.local",
    "_http._tcp.config.internal.smplkit.local",
    "_tcp.config.internal.smplkit.local",
    "a.b.c.d.internal.smplkit.local",
    "smplkit.local",
    "local",
    "nobody.example",
    "11.1.10.127.in-addr.arpa",
]


@pytest.mark.short
@pytest.mark.parametrize("edns", [False, True])
@pytest.mark.parametrize("tcp", [False, True])
def test_every_private_name_gets_the_same_refusal_byte_for_byte(product, tcp, edns):
    """A difference would tell which private names, types or zones exist."""
    seen = set()
    for name, rtype in itertools.product(NAMES, TYPES):
        ident = random.randrange(65536)
        message, question = query(name, rtype, ident=ident, edns=edns)
        reply = ask(product, message, tcp, OUTSIDE)
        assert reply[:2] == message[:2] and reply[12 : 12 + question] == message[12 : 12 + question], (
            name,
            rtype,
        )
        assert reply[3] & 15 == 5, (name, rtype)
        seen.add(reply[2:12] + reply[12 + question :])
    assert len(seen) == 1


def test_the_other_opcodes_and_classes_tell_an_outsider_nothing_either(product):
    """UPDATE and NOTIFY would be answered by who holds the zone."""
    for opcode, rclass in itertools.product((4, 5), (1, 3, 254, 255)):
        seen = set()
        for name in NAMES:
            message, question = query(name, 6, rclass, flags=opcode << 11, edns=False)
            reply = ask(product, message, False, OUTSIDE)
            seen.add(reply[2:12] + reply[12 + question :])
        assert len(seen) == 1, (opcode, rclass, seen)


@pytest.mark.short
def test_every_internal_path_on_the_public_listener_is_the_same_404(product):
    """A difference would tell which internal calls exist; a 200 would be the call itself."""
    for service, (_, host) in SERVICES.items():
        status, text = product.curl(f"127.10.1.{host}", "/openapi.json")
        assert status == 200
        paths = [p for p in json.loads(text)["paths"] if not p.startswith("/api/")]
        assert "/internal/v1/health" in paths
        paths += [
            "/",
            "/docs",
            "/openapi.json",
            "/internal",
            "/internal/v1/nosuch",
            "/favicon.ico",
            "/api",
            "/api/v1",
            "/API/v1/configs",
            "/api/v2/configs",
            "/x/api/v1/configs",
            "/metrics",
            "/docs/swagger-ui.css",
        ]
        seen = set()
        for path in paths:
            path = path.replace("{id}", "x")
            for method in ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"):
                with socket.create_connection(
                    (f"127.20.1.{host}", product.http), timeout=kit.PATIENCE, source_address=(OUTSIDE, 0)
                ) as s:
                    s.sendall(f"{method} {path} HTTP/1.1\r\nHost: {service}.smplkit.com\r\n\r\n".encode())
                    reply = kit.recv_all(s)
                assert reply.startswith(b"HTTP/1.1 404"), (method, path, reply[:100])
                if method != "HEAD":
                    seen.add(reply)
        assert len(seen) == 1, seen


def test_an_internal_listener_closes_on_a_foreigner_before_reading(product):
    """Any byte of an answer would show that the listener is there."""
    for _, host in SERVICES.values():
        assert kit.closed_unread(f"127.10.1.{host}", product.http, OUTSIDE)


def reasons(product, start=0):
    return [r.get("reason") for r in product.audit()[start:]]


def test_the_bastion_refuses_shell_and_exec_and_writes_it_down(product):
    """A shell on the bastion is a foot in the private network."""
    for argv in ([], ["id"]):
        before = len(product.audit())
        done = kit.run(*product.ssh_args("-T"), *argv)
        assert done.returncode != 0
        assert "uid=" not in done.stdout
        kit.wait_until(lambda: "not-offered" in reasons(product, before), "the refusal is audited")


@pytest.mark.parametrize(
    "target,reason",
    [
        ("flags.internal:{http}", "not-granted"),  # the user has no grant for this service
        ("config.internal:22", "port-not-granted"),  # another port of a granted host
        ("127.10.1.12:{http}", "not-granted"),  # the address behind an ungranted name
        (
            "127.10.1.11:{http}",
            "not-granted",
        ),  # the address behind a granted name: names are granted, not addresses
        ("localhost:{dns}", "not-granted"),  # the bastion's own machine
        ("127.0.0.1:{dns}", "not-granted"),
        ("169.254.169.254:80", "not-granted"),  # a cloud's metadata
    ],
)
def test_the_bastion_opens_only_what_is_granted_and_tells_smpl_tunnel_why(product, target, reason):
    target = target.format(http=product.http, dns=product.dns)
    before = len(product.audit())
    port = kit.free_port("127.0.0.1")
    tunnel = product.tunnel(f"{port}:{target}")
    assert tunnel.wait() == 7, tunnel.stderr
    assert target.split(":")[0] in tunnel.stderr
    kit.wait_until(
        lambda: "session-end" in [r.get("event") for r in product.audit()[before:]],
        "the session's end is audited",
    )
    ssh = product.spawn(*product.ssh_args("-W", target))
    assert ssh.wait() != 0
    kit.wait_until(lambda: reason in reasons(product, before), f"{reason} is audited")


def test_an_unknown_key_and_an_unknown_user_are_refused_alike_and_audited(product):
    """A difference toward the client would tell which users exist."""
    stranger, _ = kit.keygen(product.work / f"stranger{random.randrange(10**9)}")
    messages = set()
    for user, reason in (("dev", "unknown-key"), ("nobody", "unknown-user")):
        before = len(product.audit())
        argv = [a if a != product.key else stranger for a in product.ssh_args("-N")]
        argv[-1] = f"{user}@127.0.0.1"
        done = kit.run(*argv)
        assert done.returncode == 255
        messages.add(done.stderr.replace(user, "USER"))
        kit.wait_until(lambda: reason in reasons(product, before), f"{reason} is audited")
    assert len(messages) == 1, messages


def test_remote_forwarding_and_agent_are_refused(product):
    """A remote forward would let a laptop answer for a private address."""
    port = kit.free_port("127.10.0.5")
    ssh = product.spawn(
        *product.ssh_args("-N", "-o", "ExitOnForwardFailure=yes", "-R", f"127.10.0.5:{port}:127.0.0.1:1")
    )
    assert ssh.wait() == 255
    assert not kit.port_open("127.10.0.5", port)


def test_terminating_a_session_cuts_its_live_connections(product):
    port = kit.free_port("127.0.0.1")
    tunnel = product.tunnel(f"{port}:config.internal")
    tunnel.wait_line("http://localhost", stream="out")
    with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
        s.sendall(b"GET /internal/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert s.recv(12) == b"HTTP/1.1 200"
        done = kit.run(
            kit.binary("smpl-bastion"),
            "terminate",
            "--user",
            "dev",
            "--reason",
            "lunch",
            "-c",
            "bastion.yaml",
            cwd=product.work,
        )
        assert done.returncode == 0, done.stderr
        kit.recv_all(s)  # returns: the connection has ended
    assert tunnel.wait() == 9
    assert "administrator" in tunnel.stderr or "lunch" in tunnel.stderr
