# SPDX-License-Identifier: Apache-2.0
"""TLS on the http listeners: what is spoken, certificates that change, clients that dawdle or speak something
else."""

import os
import re
import resource
import select
import socket
import ssl
import threading
import time

import pytest

import kit
from boundary import ABSENT, MALFORMED, SECRET, get, post
from echo_front import Answer, CLIENT, ECHO, INTERNAL, PUBLIC
from tls_front import Front, LAST, NAME, certificate, recv_all, settings


@pytest.fixture
def front(work, spawn):
    return Front(work, spawn)


@pytest.mark.short
@pytest.mark.parametrize("kind", ["ec", "rsa"])
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_requests_are_served_on_either_listener(work, spawn, version, kind):
    front = Front(work, spawn, kind=kind)
    assert "https public on" in front.program.stderr
    for address in (PUBLIC, INTERNAL):
        with front.connect(
            address, maximum_version=ssl.TLSVersion[version], minimum_version=ssl.TLSVersion[version]
        ) as s:
            assert s.version() == version.replace("_", ".")
            for i in range(3):
                s.sendall(get(b"/api/v1/echo/%d" % i).replace(b"Host: h", b"Host: localhost"))
                assert b'"word":"%d"' % i in s.recv(65536)
            s.sendall(get(b"/api/v1/echo/x", LAST).replace(b"Host: h", b"Host: localhost"))
            assert b"200 OK" in recv_all(s)
    secret = front.raw(get(b"/internal/v1/secret", LAST).replace(b"Host: h", b"Host: localhost"), INTERNAL)
    assert SECRET in secret
    origin = get(b"/internal/v1/secret", LAST + b"Origin: https://localhost:8443\r\n").replace(
        b"Host: h", b"Host: localhost:8443"
    )
    assert b"200 OK" in front.raw(origin, INTERNAL)


@pytest.mark.short
def test_bodies_pipelines_and_slow_readers_work_encrypted(front):
    body = b'{"a":"' + b"x" * ((1 << 20) - 8) + b'"}'
    data = front.raw(
        post(b"Content-Length: %d\r\n" % len(body), body)
        + get(b"/api/v1/echo/later?ms=200")
        + get(b"/api/v1/echo/1")
        + post(b"Content-Length: 2\r\n", b"{}")
        + get(b"/api/v1/echo/last", LAST)
    )
    assert (
        data.count(b"HTTP/1.1 200 OK") == 5
        and data.endswith(b'"word":"last","query":{}}')
        and body[7:-2] in data
    )
    with front.connect() as s:
        s.sendall(post(b"Content-Length: 2\r\nExpect: 100-continue\r\n" + LAST))
        assert s.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        s.sendall(b"{}")
        assert b"200 OK" in recv_all(s)
    with front.connect() as s:
        s.sendall(get(b"/api/v1/echo/big?kb=20000", LAST))
        time.sleep(0.5)
        assert len(Answer(recv_all(s)).json["text"]) == 20000 * 1024
    for _ in range(5):  # clients that leave in the middle
        s = front.connect()
        s.sendall(get(b"/api/v1/echo/big?kb=20000"))
        s.recv(1000)
        s.close()
    assert b"200 OK" in front.raw(get(b"/api/v1/echo/x", LAST))


def test_a_client_may_end_its_half_after_the_request(front):
    """As `openssl s_client` does when its input ends: close_notify comes right behind the request."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=front.work / "server.pem")
    link = context.wrap_bio(incoming, outgoing, server_hostname=NAME)
    with front.tcp() as s:
        while True:
            try:
                link.do_handshake()
                break
            except ssl.SSLWantReadError:
                s.sendall(outgoing.read())
                incoming.write(s.recv(65536))
        link.write(get(b"/api/v1/echo/later?ms=300"))
        try:
            link.unwrap()
        except ssl.SSLWantReadError:
            pass
        for byte in outgoing.read():  # and all of it byte by byte
            s.sendall(bytes([byte]))
        data = b""
        while part := s.recv(65536):
            incoming.write(part)
            try:
                while piece := link.read():
                    data += piece
            except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                pass
        assert b"HTTP/1.1 200 OK" in data


@pytest.mark.short
def test_refusals_are_the_same_bytes_as_without_tls(front):
    for requests, status in ((ABSENT, b"404"), (MALFORMED[:60], b"400")):
        answers = {front.raw(request) for request in requests}
        assert len(answers) == 1
        answer = answers.pop()
        assert answer.startswith(b"HTTP/1.1 " + status) and SECRET not in answer


def test_only_tls_1_2_and_later_with_forward_secrecy_is_spoken(front):
    openssl = kit.tool("openssl")

    def handshake(*options):
        return kit.run(
            openssl,
            "s_client",
            "-connect",
            f"{PUBLIC}:{front.port}",
            "-bind",
            CLIENT,
            "-servername",
            NAME,
            *options,
        )

    assert handshake("-tls1_2").returncode == 0 and handshake("-tls1_3").returncode == 0
    assert handshake("-tls1_1", "-cipher", "ALL:@SECLEVEL=0").returncode != 0
    assert handshake("-tls1_2", "-cipher", "AES128-GCM-SHA256:AES256-SHA").returncode != 0
    assert handshake("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA").returncode != 0
    assert "ALPN protocol: http/1.1" in handshake("-alpn", "h2,http/1.1").stdout
    assert handshake("-alpn", "h2").returncode != 0
    assert "Secure Renegotiation IS supported" in handshake("-tls1_2").stdout
    with front.connect() as s:
        resumed = s.session
    assert resumed is not None
    reasons = [line for line in front.program.out if '"tls-handshake"' in line]
    assert any("unsupported protocol" in r for r in reasons) and any(
        "no shared cipher" in r for r in reasons
    ), reasons


def test_what_speaks_something_else_is_closed_and_logged(front):
    for garbage in (
        get(b"/api/v1/echo/x"),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x16\x03\x01\xff\xff" + b"\x00" * 600,
        b"\x00" * 3000,
    ):
        with front.tcp() as s:
            s.sendall(garbage)
            answer = kit.recv_all(s)
            assert b"HTTP" not in answer and len(answer) < 20  # an alert at most
    lines = kit.wait_until(
        lambda: [l for l in front.program.out if '"reason":"tls-handshake"' in l][3:], "their lines"
    )
    assert any('"detail":"http request"' in l for l in front.program.out), lines
    front.tcp().close()  # a port scan is not worth a line
    assert b"200 OK" in front.raw(get(b"/api/v1/echo/x", LAST))


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_a_certificate_that_changes_is_served_without_a_restart(front, work, kind):
    old = (work / "server.pem").read_bytes()
    (work / "old.pem").write_bytes(old)
    kept = front.connect()
    certificate(work, "next", subject="next." + NAME, kind=kind)

    def put(name, suffix, mode):
        (work / "part").write_bytes((work / f"{name}.{suffix}").read_bytes())
        (work / "part").chmod(mode)
        os.replace(work / "part", work / f"server.{suffix}")

    put("next", "pem", 0o644)  # the key is still the old one's
    front.program.wait_line("keeps its certificate: .*server.key: not the key of the certificate")
    front.connect(ca=work / "old.pem").close()
    put("next", "key", 0o600)
    front.program.wait_line(r"http listener public: new certificate of next\.config")
    front.connect(check=False).close()
    with pytest.raises(ssl.SSLCertVerificationError):
        front.connect(ca=work / "old.pem")
    kept.sendall(get(b"/api/v1/echo/x", LAST))  # who is connected notices nothing
    assert b"200 OK" in recv_all(kept)
    for bad, text in (
        (b"nonsense", "no certificate in PEM form"),
        (old[:200], "no certificate"),
        (b"", "no certificate"),
    ):
        start = len(front.program.err)
        (work / "server.pem").write_bytes(bad)
        front.program.wait_line(text, start=start)
        front.connect(ca=work / "next.pem", check=False).close()
    start = len(front.program.err)
    (work / "server.pem").unlink()
    front.program.wait_line("server.pem: ", start=start)
    front.connect(ca=work / "next.pem", check=False).close()
    start = len(front.program.err)
    put("next", "pem", 0o644)
    front.program.wait_line("new certificate", start=start)


def test_a_new_certificate_that_cannot_be_opened_for_now_is_tried_again(front, work):
    """No file is left to open: nothing changes later but that there are some again."""
    soft, hard = resource.prlimit(front.program.pid, resource.RLIMIT_NOFILE)
    certificate(work, "next", subject="next." + NAME)
    resource.prlimit(front.program.pid, resource.RLIMIT_NOFILE, (1, hard))
    os.replace(work / "next.key", work / "server.key")
    os.replace(work / "next.pem", work / "server.pem")
    front.program.wait_line("keeps its certificate: .*: Too many open files")
    time.sleep(1.2)  # it is tried again, and that is not said each time
    resource.prlimit(front.program.pid, resource.RLIMIT_NOFILE, (soft, hard))
    front.program.wait_line(r"http listener public: new certificate of next\.config")
    assert (
        len([line for line in front.program.err if "public keeps its certificate" in line]) <= 2
    )  # of key and certificate, at most
    with front.connect(ca=work / "server.pem", check=False) as s:
        s.sendall(get(b"/api/v1/echo/x", LAST))
        assert b"200 OK" in recv_all(s)


def closed(sockets):
    """Those of them that the front has closed."""
    poll, by_number = select.poll(), {s.fileno(): s for s in sockets}
    for s in sockets:
        poll.register(s, select.POLLIN)
    readable = {number for number, _ in poll.poll(0)}
    return [s for number, s in by_number.items() if number in readable and s.recv(1, socket.MSG_PEEK) == b""]


SOURCE_HANDSHAKES, HANDSHAKES = 256, 1024  # app/limits.h


def test_handshakes_under_way_are_bounded_for_each_source_and_for_all(front):
    """Connections that say nothing: 43 KB each once they do."""

    def dial(source, count):
        return [
            socket.create_connection((PUBLIC, front.port), timeout=kit.PATIENCE, source_address=(source, 0))
            for _ in range(count)
        ]

    def served(source):
        context = ssl._create_unverified_context()
        with context.wrap_socket(dial(source, 1)[0], suppress_ragged_eofs=False) as s:
            s.sendall(get(b"/api/v1/echo/x", LAST))
            return b"200 OK" in recv_all(s)

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    flood = []
    try:
        flood += dial("127.44.9.1", SOURCE_HANDSHAKES)
        assert front.program.running() and not closed(flood)
        flood += dial("127.44.9.1", 5)
        kit.wait_until(lambda: len(closed(flood)) == 5, "the source's oldest gave way")
        assert closed(flood) == flood[:5]
        assert served("127.44.9.1")  # its own newcomer is served in place of the oldest
        assert closed(flood) == flood[:6]
        for i in (2, 3, 4):
            flood += dial(f"127.44.9.{i}", SOURCE_HANDSHAKES)
        kit.wait_until(
            lambda: front_number(front, "smpl_app_handshakes") == HANDSHAKES - 1, "all are counted"
        )
        assert len(closed(flood)) == 6
        other = dial("127.44.9.9", 2)
        kit.wait_until(lambda: len(closed(flood)) == 7, "one of those with the most gave way")
        assert not closed(other) and served("127.44.9.10")
        assert sum('"reason":"too-many-handshakes"' in line for line in front.program.out) == len(
            closed(flood)
        )
    finally:
        for s in flood:
            s.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    kit.wait_until(lambda: front_number(front, "smpl_app_handshakes") <= 2, "they are counted off")


def front_number(front, name):
    """One of the public listener's numbers in the metrics."""
    text = front.raw(
        get(b"/internal/v1/metrics", LAST).replace(b"Host: h", b"Host: localhost"), INTERNAL
    ).decode()
    return int(re.search(rf'^{name}{{listener="public"}} (\d+)$', text, re.M).group(1))


def test_a_record_of_which_a_part_has_come_counts_with_what_its_source_holds(front):
    def held():
        text = front.raw(
            get(b"/internal/v1/metrics", LAST).replace(b"Host: h", b"Host: localhost"), INTERNAL
        ).decode()
        return int(re.search(r'^smpl_app_held_bytes{kind="heads"} (\d+)$', text, re.M).group(1))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(front.work / "server.pem")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    link = context.wrap_bio(incoming, outgoing, server_hostname=NAME)
    with front.tcp() as s:
        while True:
            try:
                link.do_handshake()
                break
            except ssl.SSLWantReadError:
                s.sendall(outgoing.read())
                incoming.write(s.recv(65536))
        s.sendall(outgoing.read())
        link.write(get(b"/api/v1/echo/x"))
        record = outgoing.read()
        s.sendall(record[:-1])
        kit.wait_until(lambda: held() > 16 << 10, "OpenSSL's buffer is counted")
        s.sendall(record[-1:])
        incoming.write(s.recv(65536))
        kit.wait_until(lambda: held() == 0, "and is given back")


def test_what_cannot_be_used_is_one_line_with_its_place(work):
    certificate(work)
    certificate(work, "other")
    certificate(work, "another", kind="rsa")
    (work / "empty.pem").write_text("")
    kit.run(
        kit.tool("openssl"),
        "ec",
        "-in",
        work / "server.key",
        "-aes128",
        "-passout",
        "pass:x",
        "-out",
        work / "locked.key",
    )
    (work / "locked.key").chmod(0o600)
    (work / "open.key").write_bytes((work / "server.key").read_bytes())
    (work / "open.key").chmod(0o640)
    (work / "loose.pem").write_bytes((work / "server.pem").read_bytes())
    (work / "loose.pem").chmod(0o666)
    (work / "many.pem").write_bytes((work / "server.pem").read_bytes() * 17)
    cases = {
        ("server.pem", "other.key"): "other.key: not the key of the certificate",
        ("server.pem", "another.key"): "another.key: not the key of the certificate",
        ("another.pem", "server.key"): "server.key: not the key of the certificate",
        ("empty.pem", "server.key"): "empty.pem: no certificate in PEM form",
        ("server.key", "server.key"): "server.key: no certificate in PEM form",
        ("server.pem", "server.pem"): "server.pem",
        ("server.pem", "locked.key"): "locked.key: keys with a passphrase are not supported",
        ("server.pem", "open.key"): "open.key",
        ("loose.pem", "server.key"): "loose.pem",
        ("many.pem", "server.key"): "more than 16 certificates",
        ("server.pem", "none.key"): "none.key",
    }
    file = work / "echo.yaml"
    for (cert, key), text in cases.items():
        file.write_text(settings(8000, f"{{certificate: {cert}, key: {key}}}"))
        for argv in (("check", "-c", file), ("-c", file)):
            done = kit.run(ECHO, *argv)
            assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1, done
            assert (
                re.match(rf"smpl-app: {file}:3:\d+: http listener public: ", done.stderr)
                and text in done.stderr
            ), done.stderr
    file.write_text(settings(8000, "{certificate: server.pem}"))
    done = kit.run(ECHO, "check", "-c", file)
    assert done.returncode == 1 and "key" in done.stderr
    (work / "many.pem").write_bytes((work / "server.pem").read_bytes() * 16)
    file.write_text(settings(8000, "{certificate: many.pem, key: server.key}"))
    assert kit.run(ECHO, "check", "-c", file).returncode == 0


def test_check_says_whose_certificate_it_is_and_how_long_it_is_good(work):
    certificate(work, days=5)
    file = work / "echo.yaml"
    file.write_text(settings(8000))
    done = kit.run(ECHO, "check", "-c", file)
    assert done.returncode == 0 and f"TLS: certificate of {NAME}, good until 20" in done.stdout, done


@pytest.mark.full
def test_a_slow_handshake_is_cut_off_and_disturbs_nobody(front):
    start = time.monotonic()
    slow = [front.tcp() for _ in range(50)]
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    for s in slow[:25]:
        s.sendall(hello)

    def dribble():
        while time.monotonic() - start < 8:
            for s in slow[:25]:
                s.sendall(b"\x00")
            time.sleep(0.5)

    thread = threading.Thread(target=dribble)
    thread.start()
    assert b"200 OK" in front.raw(get(b"/api/v1/echo/x", LAST))
    for s in slow:
        assert len(kit.recv_all(s)) < 20
    assert 8 < time.monotonic() - start
    thread.join()
    kit.wait_until(
        lambda: len([l for l in front.program.out if '"reason":"handshake-timeout"' in l]) == 50,
        "their log lines",
    )


@pytest.mark.short
def test_requests_under_way_are_finished_on_sigterm(front):
    idle, busy = front.connect(), front.connect()
    idle.sendall(get(b"/api/v1/echo/x"))
    assert b"200 OK" in idle.recv(4096)
    busy.sendall(get(b"/api/v1/echo/later?ms=2000"))
    front.raw(get(b"/api/v1/echo/x", LAST))  # once it is answered, what came before has been read
    front.program.signal(15)
    assert Answer(recv_all(busy)).headers["connection"] == "close"
    assert front.program.wait() == 0


def test_curl_verifies_and_is_served(front):
    done = kit.run(
        kit.tool("curl"),
        "-sS",
        "--noproxy",
        "*",
        "--cacert",
        front.work / "server.pem",
        "--interface",
        CLIENT,
        "--resolve",
        f"{NAME}:{front.port}:{PUBLIC}",
        f"https://{NAME}:{front.port}/api/v1/echo/x",
    )
    assert done.returncode == 0 and '"word":"x"' in done.stdout, done
