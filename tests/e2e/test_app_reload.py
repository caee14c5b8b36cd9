# SPDX-License-Identifier: Apache-2.0
"""What a running service takes from its file without a restart, what it names as needing one, and how the
result is told."""

import json
import re
import signal
import subprocess
import threading
import time

import pytest

import internal_keys
import kit
import tls_front as tls
from app_client import Customer, product
from boundary import get, post
from echo_front import CLIENT, ECHO, Front, INTERNAL, PUBLIC, STRANGER

APP = kit.binary("smpl-app")


@pytest.fixture
def front(work, spawn):
    return Front(work, spawn, extra="control: echo.sock\naccess_log: access.log\n")


def ask(cmd, file, *argv):
    return kit.run(ECHO, cmd, "-c", file, *argv)


def rewrite(front, *changes):
    text = front.file.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    front.file.write_text(text)


def reload(front, *changes):
    """Writes the file with the changes and has it read; the answer."""
    rewrite(front, *changes)
    done = ask("reload", front.file, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def needed(front, *whats):
    """What needs a restart, as it is told: each what with the place of a text in the file."""
    lines = front.file.read_text().split("\n")
    told = []
    for what, text in whats:
        number, line = next((i, line) for i, line in enumerate(lines, 1) if text in line)
        told.append(f"{front.file}:{number}:{line.index(text) + 1}: {what}")
    return told


def status(front):
    return json.loads(ask("status", front.file, "--json").stdout)


def logged(path, *containing, count):
    """That many lines of the access log, which are written once a turn of the loop."""
    kit.wait_until(
        lambda: path.exists() and len(kit.json_lines(path, *containing)) >= count, f"{count} lines in {path}"
    )
    lines = kit.json_lines(path, *containing)
    assert len(lines) == count, lines
    return lines


def alive(connection, target="/internal/v1/health", host=INTERNAL):
    """Whether a kept connection still answers."""
    try:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        return connection.recv(65536).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def closed(connection):
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.short
def test_connections_of_a_network_that_was_taken_out_end_and_the_others_go_on(front):
    removed = [front.connect(INTERNAL, CLIENT) for _ in range(3)]
    assert all(alive(c) for c in removed)
    removed[1].sendall(b"GET /internal/v1/health HTTP/1.1\r\nHo")  # in the middle of a head
    removed[2].sendall(b"POST /internal/v1/x HTTP/1.1\r\nHost: app.internal.smplkit.local\r\n")
    reply = reload(front, ("clients: [127.44.0.0/16]", "clients: [127.46.0.0/16, 127.44.9.8/32]"))
    assert reply["ended"] == 3 and reply["restart"] == [], reply
    assert all(closed(c) for c in removed)
    assert kit.closed_unread(INTERNAL, front.port, CLIENT)
    stays = front.connect(INTERNAL, "127.46.0.1")
    assert alive(stays) and front.ask("/api/v1/x").status is not None  # the public listener has no clients
    reply = reload(front, ("127.44.9.8/32", "127.44.9.0/24"))
    assert reply["ended"] == 0 and alive(stays) and alive(front.connect(INTERNAL, CLIENT))
    lines = logged(front.file.parent / "access.log", "client-not-admitted", count=4)
    assert {line["verdict"] for line in lines} == {"closed"}


def test_hosts_rates_and_the_access_log_change_while_it_runs(front, work):
    wanted = "elsewhere.internal.smplkit.local"
    assert front.ask("/internal/v1/health", INTERNAL, host=wanted).status == 421
    reload(front, ("hosts: [app.internal.smplkit.local]", f"hosts: [{wanted}]"), ("access.log", "other.log"))
    assert front.ask("/internal/v1/health", INTERNAL, host=wanted).status == 200
    assert front.ask("/internal/v1/health", INTERNAL, host="app.internal.smplkit.local").status == 421
    logged(work / "access.log", "/internal/v1/health", count=1)
    logged(work / "other.log", "/internal/v1/health", count=2)
    (work / "other.log").rename(work / "other.log.1")
    reload(front)  # rotation, as by SIGHUP
    assert front.ask("/internal/v1/health", INTERNAL, host=wanted).status == 200
    logged(work / "other.log", count=1)


def test_who_is_a_balancer_changes_and_no_request_is_believed_by_half(front, work):
    seen_lines = [0]

    def seen(connection):
        connection.sendall(
            f"GET /internal/v1/health HTTP/1.1\r\nHost: {INTERNAL}\r\nX-Forwarded-For: 203.0.113.7\r\n"
            "\r\n".encode()
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        seen_lines[0] += 1
        return logged(work / "access.log", "/internal/v1/health", count=seen_lines[0])[-1]

    before = front.connect(INTERNAL, CLIENT)
    assert seen(before)["client"].startswith(CLIENT)
    assert reload(front, ("access_log:", f"balancers: [{CLIENT}]\naccess_log:"))["ended"] == 1 and closed(
        before
    )
    after = front.connect(INTERNAL, CLIENT)
    assert seen(after)["client"] == "203.0.113.7"
    assert reload(front, (f"balancers: [{CLIENT}]\n", ""))["ended"] == 1 and closed(after)
    assert seen(front.connect(INTERNAL, CLIENT))["client"].startswith(CLIENT)


def test_a_request_of_a_peer_that_becomes_a_balancer_is_answered_and_ends_its_connection(front):
    c = front.connect(PUBLIC, CLIENT)
    c.sendall(post(b"Content-Length: 2\r\nExpect: 100-continue\r\n", b""))
    assert c.recv(65536).startswith(b"HTTP/1.1 100 ")  # it is under way, and waits for its body
    assert reload(front, ("access_log:", f"balancers: [{CLIENT}]\naccess_log:"))["ended"] == 0
    c.sendall(b"{}")
    answer = kit.recv_all(c)
    assert answer.startswith(b"HTTP/1.1 200") and b"\r\nConnection: close\r\n" in answer, answer


def test_the_time_that_is_left_at_the_end_is_that_of_the_last_reload(front):
    reload(front, ("access_log:", "drain: {lag: 7s}\naccess_log:"))
    front.program.signal(signal.SIGTERM)
    front.program.wait_line("ending: still serving for 7s")
    front.program.signal(signal.SIGTERM)
    front.program.wait()


def test_a_control_socket_that_cannot_be_is_found_by_check_and_start(front, work):
    good = front.file.read_text()
    (work / "plain").write_text("")
    for path, why in (
        ("plain", "exists and is not a socket"),
        ("nowhere/a.sock", "control: there is no folder"),
        ("x" * 200, "a socket's path has at most 107 bytes"),
    ):
        front.file.write_text(good.replace("echo.sock", path))
        for argv in (["check"], []):
            done = kit.run(ECHO, *argv, "-c", front.file)
            assert (
                done.returncode == 1
                and re.search(r"echo.yaml:\d+:\d+: control: ", done.stderr)
                and why in done.stderr
            ), done
    port = kit.free_port(PUBLIC, INTERNAL)  # of two with one socket the first keeps it
    front.file.write_text(good.replace(f":{front.port}", f":{port}"))
    second = kit.run(ECHO, "-c", front.file)
    assert second.returncode == 1 and "another running program answers" in second.stderr, second
    assert status(front)["pid"] == front.program.pid


def test_what_needs_a_restart_is_named_and_the_rest_takes_effect(front, work):
    rewrite(
        front,
        ("database: echo.db", "database: other.db"),
        ("access.log", "late.log"),
        ("name: public", "name: renamed"),
    )
    done = ask("reload", front.file)
    assert done.returncode == 0 and "reloaded" in done.stdout, done.stderr
    wanted = needed(
        front,
        ("database", "other.db"),
        ("the end of http listener public", "listeners:"),
        ("the new http listener renamed", "renamed"),
    )
    for what in wanted:
        line = f"{what}: needs a restart; until then it stays as it was"
        assert f"smpl-app: {line}\n" in done.stderr
        front.program.wait_line(re.escape(line))
    assert front.ask("/internal/v1/health", INTERNAL).status == 200
    logged(work / "late.log", count=1)  # the rest
    assert not (work / "other.db").exists() and front.ask("/api/v1/x").status is not None
    assert status(front)["restart"] == wanted
    assert f"needs a restart: {wanted[0]}\n" in ask("status", front.file).stdout
    metrics = front.ask("/internal/v1/metrics", INTERNAL).body.decode()
    assert (
        "\nsmpl_app_restart_needed 1\n" in metrics and '\nsmpl_app_reloads_total{result="ok"} 1\n' in metrics
    )
    assert reload(front, ("name: renamed", "name: public"), ("other.db", "echo.db"))["restart"] == []
    assert "\nsmpl_app_restart_needed 0\n" in front.ask("/internal/v1/metrics", INTERNAL).body.decode()


def test_an_internal_listener_that_the_file_makes_public_is_not_opened_by_half(front):
    """Its new rules wait for a restart: its missing clients must, too, or the internal routes would be
    everybody's."""
    reply = reload(
        front,
        (
            'rules: ["/*"], clients: [127.44.0.0/16],\n     hosts: [app.internal.smplkit.local]}',
            'rules: ["/api/v1/*"]}',
        ),
    )
    assert [told.split(": ", 1)[1] for told in reply["restart"]] == ["rules of http listener internal"]
    assert kit.closed_unread(INTERNAL, front.port, STRANGER)
    assert front.ask("/internal/v1/health", INTERNAL, host="app.internal.smplkit.local").status == 200
    # and one that is another by address keeps what it has, even where an older reload gave it that
    reload(front, ('rules: ["/api/v1/*"]}\ndatabase', 'rules: ["/*"], clients: [127.44.9.9/32]}\ndatabase'))
    reply = reload(
        front,
        (
            f'"{INTERNAL}:{front.port}", rules: ["/*"], clients: [127.44.9.9/32]',
            f'"127.44.2.2:{front.port}", rules: ["/*"], clients: [127.45.0.0/16]',
        ),
    )
    assert reply["restart"] == needed(front, ("address of http listener internal", "127.44.2.2:"))
    for _ in range(3):  # its owner is an older file: kept as long as it is used
        reload(front)
    assert kit.closed_unread(INTERNAL, front.port, STRANGER) and kit.closed_unread(
        INTERNAL, front.port, "127.44.9.8"
    )
    assert alive(front.connect(INTERNAL, CLIENT))


@pytest.mark.short
def test_a_broken_file_changes_nothing_and_says_where(front, work):
    good = front.file.read_text()
    first = f"{front.file}:2:1: "
    for bad, why in (
        (good.replace("listeners:", "nonsense: 1\nlisteners:"), first + "unknown key 'nonsense'"),
        (good.replace("clients: [127.44.0.0/16]", "clients: [127.44.0.1/16]"), ":4:"),
        (good.replace("service: accounts", 'service: config\naccounts: {url: "http://127.44.2.1"}'), ""),
        (good + "database: [\n", ""),
    ):
        front.file.write_text(bad)
        done = ask("reload", front.file)
        assert (
            done.returncode == 1
            and why in done.stderr
            and "the configuration before stays in force" in done.stderr
        ), done
        assert front.ask("/internal/v1/health", INTERNAL).status == 200
        assert status(front)["last_error"] in done.stderr
    text = front.ask("/internal/v1/metrics", INTERNAL).body.decode()
    assert (
        '\nsmpl_app_reloads_total{result="failed"} 4\n' in text
        and "\nsmpl_app_last_reload_successful 0\n" in text
    )
    assert "last reload    failed: " in ask("status", front.file).stdout
    # the file of the log was moved away all the same
    (work / "access.log").rename(work / "access.log.1")
    start = len(front.program.err)
    front.program.signal(signal.SIGHUP)
    front.program.wait_line("not reloaded, the configuration before stays in force: .*echo.yaml", start=start)
    front.program.wait_line("access log opened anew", start=start)
    front.ask("/internal/v1/health", INTERNAL)
    logged(work / "access.log", count=1)
    front.file.write_text(good)
    assert ask("reload", front.file).returncode == 0 and status(front)["last_error"] == ""


def test_another_service_is_for_another_start(front):
    rewrite(front, ("service: accounts", "service: accounts2"))
    done = ask("reload", front.file)
    assert done.returncode == 1 and f"{front.file}:1:10: no service 'accounts2'" in done.stderr, done.stderr


@pytest.mark.walls
def test_what_lies_outside_the_folders_of_the_start_needs_a_restart(front, work, tmp_path):
    good = front.file.read_text()
    rewrite(front, ("access.log", str(tmp_path / "access.log")))
    done = ask("reload", front.file)
    assert done.returncode == 1 and "that needs a restart" in done.stderr, done.stderr
    front.file.write_text(good)
    internal_keys.make(tmp_path / "k.key")
    rewrite(front, ("control:", f"internal_key_file: {tmp_path / 'k.key'}\ncontrol:"))
    done = ask("reload", front.file)
    assert done.returncode == 1 and re.search(
        r"echo.yaml:\d+:\d+: internal_key_file: .*that needs a restart", done.stderr
    ), done.stderr


def test_reload_and_status_of_what_does_not_run_say_so(front, work):
    front.program.stop()
    good = front.file.read_text()
    for cmd in ("reload", "status"):
        done = ask(cmd, front.file)
        assert (
            done.returncode == 3
            and done.stderr.count("\n") == 1
            and "no running program answers" in done.stderr
        ), done
    front.file.write_text(good + "nonsense: 1\n")
    done = ask("reload", front.file)
    assert (
        done.returncode == 3
        and "unknown key 'nonsense'" in done.stderr
        and "no running program answers" in done.stderr
    )
    assert kit.run(ECHO, "reload", "--socket", work / "echo.sock").returncode == 3
    front.file.write_text(good.replace("control: echo.sock\n", ""))
    done = ask("reload", front.file)
    assert done.returncode == 1 and "names no control socket: add control: PATH" in done.stderr
    front.file.unlink()
    done = ask("reload", front.file)
    assert (
        done.returncode == 1
        and done.stderr.count("\n") == 1
        and "so the control socket is not known" in done.stderr
    )
    for wrong in (
        ["reload"],
        ["reload", "-c"],
        ["check", "--json", "-c", front.file],
        ["reload", "-c", front.file, "--service", "x"],
    ):
        assert kit.run(ECHO, *wrong).returncode == 2


def test_while_it_ends_it_does_not_reload(work, spawn):
    front = Front(work, spawn, extra="control: echo.sock\ndrain: {lag: 60s}\n")
    front.program.signal(signal.SIGTERM)
    front.program.wait_line("ending: still serving")
    done = ask("reload", front.file)
    assert done.returncode == 1 and "the service is ending" in done.stderr and status(front)["ending"]
    front.program.signal(signal.SIGTERM)
    front.program.wait()


def test_no_call_is_lost_or_answered_by_half_during_many_reloads(front):
    """Two files in turn, each of which has one host: each answer is one of the two, and every call has
    one."""
    a, b = "a.internal.smplkit.local", "b.internal.smplkit.local"
    rewrite(front, ("app.internal.smplkit.local", a))
    over, wrong, calls = threading.Event(), [], [0]

    def caller():
        connection = front.connect(INTERNAL, CLIENT)
        reader = connection.makefile("rb")
        while not over.is_set():
            connection.sendall(f"GET /internal/v1/health HTTP/1.1\r\nHost: {INTERNAL}\r\n\r\n".encode())
            line = reader.readline()
            length = 0
            while (head := reader.readline()) not in (b"\r\n", b""):
                if head.lower().startswith(b"content-length:"):
                    length = int(head.split(b":")[1])
            reader.read(length)
            calls[0] += 1
            if not line.startswith(b"HTTP/1.1 200"):
                wrong.append(line)
                return

    threads = [threading.Thread(target=caller) for _ in range(2)]
    for t in threads:
        t.start()
    try:
        for i in range(60):
            done = subprocess.run(
                [ECHO, "reload", "-c", front.file], capture_output=True, timeout=kit.PATIENCE
            )
            assert done.returncode == 0, done.stderr
            rewrite(front, (a, b) if i % 2 == 0 else (b, a))
    finally:
        over.set()
        for t in threads:
            t.join()
    assert wrong == [] and calls[0] > 0 and status(front)["reloads"] == 60


def test_those_who_ask_at_once_are_all_answered(front):
    asked = [
        subprocess.Popen([ECHO, "reload", "-c", front.file], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(8)
    ]
    assert [p.wait(kit.PATIENCE) for p in asked] == [0] * 8
    for p in asked:
        p.stdout.close()
        p.stderr.close()
    assert 1 <= status(front)["reloads"] <= 8


# Calls between services


def with_control(product, service, change=lambda text: text):
    """Starts the service anew with a control socket."""
    product.programs[service].stop()
    file = product.work / f"{service}.yaml"
    file.write_text(change(file.read_text()) + f"control: {service}.sock\n")
    product.start(service)
    return file


def reload_service(file, change):
    text = change(file.read_text())
    file.write_text(text)
    done = kit.run(APP, "reload", "-c", file)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.short
def test_a_new_sister_serves_all_accounts_after_a_reload(product):
    flags = '"http://flags.internal.smplkit.local"'
    file = with_control(product, "accounts", lambda t: t.replace(f", {flags}", ""))
    customer = Customer(product)
    assert customer("GET", "config", "/configs").status == 200
    assert customer("GET", "flags", "/flags").status == 503  # nobody has told it of the account
    reload_service(file, lambda t: t.replace("sisters: [", f"sisters: [{flags}, "))
    kit.wait_until(
        lambda: customer("GET", "flags", "/flags").status == 200, "the new sister knows the account"
    )
    assert Customer(product, "Later")("GET", "flags", "/flags").status == 200
    reload_service(file, lambda t: t.replace(f"sisters: [{flags}, ", "sisters: ["))
    assert Customer(product, "Last")("GET", "flags", "/flags").status == 503


def test_resolver_account_service_key_and_rate_follow_a_reload(product, work):
    file = with_control(
        product,
        "config",
        lambda t: t.replace('resolver: {servers: ["127.0.0.1:', 'resolver: {servers: ["127.0.0.3:'),
    )
    customer = Customer(product)
    assert customer("GET", "config", "/configs").status == 503  # nobody answers there
    reload_service(file, lambda t: t.replace("127.0.0.3:", "127.0.0.1:"))
    kit.wait_until(lambda: customer("GET", "config", "/configs").status == 200, "by the other resolver")
    assert "ratelimit-limit" not in customer("GET", "config", "/configs").headers
    reload_service(file, lambda t: t.replace("rate_limit: 0", "rate_limit: {requests: 1, burst: 7}"))
    assert customer("GET", "config", "/configs").headers["ratelimit-limit"] == "7"
    (work / "config.key").write_text(
        internal_keys.make() + "\n"
    )  # one that the account service does not know
    reload_service(file, lambda t: t.replace("rate_limit: {requests: 1, burst: 7}", "rate_limit: 0"))
    assert Customer(product, "Other")("GET", "config", "/configs").status == 503
    assert "ratelimit-limit" not in customer("GET", "config", "/configs").headers


@pytest.mark.walls
def test_a_sister_at_a_port_that_the_walls_do_not_know_needs_a_restart(product, work):
    file = with_control(
        product,
        "accounts",
        lambda t: re.sub(r"sisters: .*", f'sisters: ["http://127.10.1.11:{product.http}"]', t),
    )
    text = file.read_text()
    for sister, why in (
        (
            f"http://127.10.1.12:{product.http + 1}",
            f"TCP port {product.http + 1} of a sister or resolver was not named at the start",
        ),
        ("http://flags.internal.smplkit.local", "a sister's URL without a port"),
    ):
        file.write_text(text.replace("sisters: [", f'sisters: ["{sister}", '))
        done = kit.run(APP, "reload", "-c", file)
        if done.returncode == 0:
            pytest.skip("Landlock knows no ports here")
        assert (
            done.returncode == 1 and f"{file.name}: {why}" in done.stderr and "needs a restart" in done.stderr
        ), done.stderr
    reload_service(
        file, lambda _: text.replace("sisters: [", f'sisters: ["http://127.10.1.12:{product.http}", ')
    )
    customer = Customer(product)
    assert customer("GET", "flags", "/flags").status == 200  # the same port, another address


# Certificates


def test_a_reload_serves_another_certificate_and_open_connections_stay(work, spawn):
    front = tls.Front(work, spawn, extra="control: echo.sock\n")
    kept = front.connect()
    tls.certificate(work, "second")
    rewrite(front, ("server.pem, key: server.key", "second.pem, key: second.key"))
    assert ask("reload", front.file).returncode == 0
    with front.connect(ca=work / "second.pem") as fresh:
        fresh.sendall(get(b"/api/v1/echo/1", tls.LAST))
        assert b"200 OK" in tls.recv_all(fresh)
    kept.sendall(get(b"/api/v1/echo/2", tls.LAST))
    assert b"200 OK" in tls.recv_all(kept)
    # a pair that does not fit changes nothing, and neither does a listener that is to be without TLS
    good = front.file.read_text()
    rewrite(front, ("second.pem, key: second.key", "server.pem, key: second.key"))
    done = ask("reload", front.file)
    assert done.returncode == 1 and "not the key of the certificate" in done.stderr, done.stderr
    front.file.write_text(good.replace(", tls: {certificate: second.pem, key: second.key}", "", 1))
    assert [told.split(": ", 1)[1] for told in reload(front)["restart"]] == ["tls of http listener public"]
    front.connect(ca=work / "second.pem").close()
    front.file.write_text(good)
    for _ in range(140):  # more often than OpenSSL has numbers for kinds of streams to give
        assert ask("reload", front.file).returncode == 0
    front.connect(ca=work / "second.pem").close()
    with front.connect(INTERNAL, ca=work / "second.pem") as s:
        s.sendall(get(b"/internal/v1/metrics", tls.LAST).replace(b"Host: h", b"Host: localhost"))
        text = tls.recv_all(s).decode()
    expiry = float(
        re.search(
            r'\nsmpl_app_certificate_expiry_timestamp_seconds\{listener="public"\} (\d+)\n', text
        ).group(1)
    )
    assert 29 * 86400 < expiry - time.time() < 31 * 86400
