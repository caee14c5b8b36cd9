# SPDX-License-Identifier: Apache-2.0
"""Two instances behind the balancers: one is killed, drained, slow to become ready or joins, under load."""

import contextlib
import http.client
import http.server
import json
import os
import signal
import socket
import ssl
import threading
import time
import warnings
from pathlib import Path

import pytest

import kit
from app_client import Customer, config
from balanced import BalancedProduct, ask, instances, render, start_balancers, wait_up
from product import OUTSIDE, public_name

pytestmark = pytest.mark.skipif(
    kit.SANITIZED, reason="the programs behind it are tested on the sanitizer build without it"
)


@pytest.fixture
def product(work, spawn):
    made = BalancedProduct(work, spawn, services=("accounts", "config"), bastion=False)
    yield made
    for program in made.programs.values():
        program.kill9()  # nobody waits for their lag


CUSTOMERS = 8


class Load:
    """Customers that call the config service by keep-alive connections until told to end."""

    def __init__(self, product, key, methods, customers=CUSTOMERS):
        self.product, self.key, self.methods = product, key, methods
        self.ending = threading.Event()
        self.answers, self.failures, self.acknowledged = 0, [], {}
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(customers)]
        for t in self.threads:
            t.start()

    def run(self, i):
        connection = None
        n = 0
        while not self.ending.is_set():
            method = self.methods[n % len(self.methods)]
            n += 1
            name = f"c{i}" if method == "PUT" else f"p{i}-{n}"
            body = json.dumps(config(name, description=str(n))) if method in ("PUT", "POST") else None
            path = (
                "/api/v1/configs"
                if method == "POST"
                else f"/api/v1/configs/{name if method == 'PUT' else 'seed'}"
            )
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(
                        "127.20.1.11", self.product.http, timeout=kit.PATIENCE, source_address=(OUTSIDE, 0)
                    )
                connection.request(
                    method,
                    path,
                    body,
                    {
                        "Host": public_name("config"),
                        "Authorization": f"Bearer {self.key}",
                        "Content-Type": "application/vnd.api+json",
                    },
                )
                reply = connection.getresponse()
                text = reply.read()
                with self.lock:
                    self.answers += 1
                    if reply.status not in (200, 201):
                        self.failures.append((method, reply.status, text[:200]))
                    elif method != "GET":
                        self.acknowledged[name] = str(n)
                if reply.getheader("Connection", "").lower() == "close":
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as e:
                with self.lock:
                    self.failures.append((method, repr(e), n))
                connection = None

    def more(self, n=100):
        """Waits until so many more calls were answered."""
        start = self.answers
        kit.wait_until(lambda: self.answers - start >= n or self.failures, "the load goes on")

    def end(self):
        self.ending.set()
        for t in self.threads:
            t.join(kit.PATIENCE)
        return self.failures


def seed(product):
    customer = Customer(product, wait=False)
    for name in ["seed", *(f"c{i}" for i in range(CUSTOMERS))]:
        assert customer("POST", "config", "/configs", config(name)).status == 201
    return customer


def status_of(product, name):
    return instances(product.folder / "public.sock", "config").get(product.label(name))


def check_acknowledged(customer, load):
    """On one connection: a fast machine acknowledged more names than a source may open connections for."""
    kept = http.client.HTTPConnection(
        "127.20.1.11", load.product.http, timeout=kit.PATIENCE, source_address=(OUTSIDE, 0)
    )
    for name, n in load.acknowledged.items():
        reply = kit.wait_until(
            lambda: (lambda r: r.status != 503 and r)(
                customer("GET", "config", f"/configs/{name}", connection=kept)
            ),
            f"{name} is read",
        )
        # a write whose answer was lost may have happened too, and after it the next one was acknowledged:
        # never less
        assert reply.status == 200 and int(reply.attributes["description"]) >= int(n), (name, n, reply)


def test_an_instance_killed_under_load_loses_no_request_that_may_be_retried(product):
    customer = seed(product)
    load = Load(product, customer.key, ("GET", "PUT", "GET"))
    for round in range(3):
        name = f"config-{1 + round % 2}"
        load.more()
        product.programs[name].kill9()
        kit.wait_until(lambda: status_of(product, name) == "DOWN", "the balancer notices")
        load.more()
        product.programs[name] = product.spawn(*product.command(name)).wait_ready()
        kit.wait_until(lambda: status_of(product, name) == "UP", "the balancer takes it back")
    load.more()
    assert load.end() == []
    check_acknowledged(customer, load)


def test_a_frozen_instance_gets_nothing_more_and_what_waits_there_is_sent_elsewhere_once_it_is_killed(
    product,
):
    """As a service manager kills what gives no sign of life. Until then nobody knows whether it will still
    carry a write out."""
    customer = seed(product)
    load = Load(product, customer.key, ("GET", "PUT", "GET"))
    load.more()
    product.programs["config-1"].signal(signal.SIGSTOP)
    kit.wait_until(lambda: status_of(product, "config-1") == "DOWN", "the balancer notices")
    for _ in range(4):
        assert customer("GET", "config", "/configs/seed").status == 200
    product.programs["config-1"].kill9()
    load.more()
    assert load.end() == []
    check_acknowledged(customer, load)


def test_an_instance_drained_under_load_loses_no_request_at_all(product):
    """POST too, which is never sent twice."""
    customer = seed(product)
    load = Load(product, customer.key, ("POST", "GET", "PUT"))
    for name in ("config-1", "config-2"):
        load.more()
        assert product.programs[name].stop() == 0
        load.more()
        product.programs[name] = product.spawn(*product.command(name)).wait_ready()
        kit.wait_until(lambda: status_of(product, name) == "UP", "the balancer takes it back")
    load.more()
    assert load.end() == []
    check_acknowledged(customer, load)


def test_an_operator_drains_and_readies_an_instance_by_the_socket(product):
    customer = seed(product)
    load = Load(product, customer.key, ("POST", "GET"), customers=4)
    for side in ("public", "internal"):
        ask(product.folder / f"{side}.sock", f"set server config/{product.label('config-1')} state drain")
    load.more()
    before = len(product.programs["config-1"].out)
    load.more()
    calls = [line for line in product.programs["config-1"].out[before:] if "/api/" in line]
    assert len(calls) <= len(load.threads), calls  # what was under way at the most
    for side in ("public", "internal"):
        ask(product.folder / f"{side}.sock", f"set server config/{product.label('config-1')} state ready")
    kit.wait_until(
        lambda: [line for line in product.programs["config-1"].out[before:] if "/api/" in line],
        "it is used again",
    )
    assert load.end() == []


def test_what_both_instances_acknowledge_is_one_truth(product):
    """Both write into one file: a key made through one works through the other, and each reads what the other
    wrote."""
    customer = seed(product)
    used = set()
    for n in range(20):
        assert customer(
            "PUT" if n else "POST",
            "config",
            "/configs/shared" if n else "/configs",
            config("shared", description=str(n)),
        ).status == (200 if n else 201)
        assert customer("GET", "config", "/configs/shared").attributes["description"] == str(n)
    for i in (1, 2):
        used.update(
            {i} if any("/configs/shared" in line for line in product.programs[f"config-{i}"].out) else set()
        )
    assert used == {1, 2}


def test_with_no_instance_left_the_answer_is_503_and_says_when_to_come_again(product):
    customer = seed(product)
    for i in (1, 2):
        product.programs[f"config-{i}"].kill9()
    reply = customer("GET", "config", "/configs/seed")
    assert reply.status == 503 and reply.headers["retry-after"] and reply.error["status"] == "503"


# Instances made for the test


class Instance:
    """An instance whose readiness the test decides. Counts checks and calls; answers or breaks as told."""

    def __init__(self, address, port, ready=True):
        outer = self
        self.ready, self.log, self.behave = ready, [], None

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                check = self.path == "/internal/v1/ready"
                status = 200 if outer.ready or not check else 503
                outer.log.append(("check", status) if check else ("call", self.command))
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if not check and outer.behave:
                    return outer.behave(self)
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(b"ok")

            do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = answer

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *args):
                pass

        self.server = Server((address, port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def calls(self):
        return [what for kind, what in self.log if kind == "call"]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


PUBLIC, INTERNAL, ONE, TWO = "127.47.1.1", "127.47.2.1", "127.47.3.1", "127.47.4.1"


@pytest.fixture
def pair(work, spawn):
    """A balancer over two made-up instances, the second of which is not ready yet; call(method) -> status."""

    class Pair:
        port = kit.free_port(PUBLIC, INTERNAL, ONE, TWO)

        def call(self, method="GET", body=None):
            c = http.client.HTTPConnection(PUBLIC, self.port, timeout=kit.PATIENCE)
            try:
                c.request(method, "/api/v1/x", body, {"Host": "h", "Connection": "close"})
                return c.getresponse().status
            finally:
                c.close()

        def both_up(self):
            self.second.ready = True
            wait_up(self.folder, ["public"])

    p = Pair()
    p.folder = work / "haproxy"
    (work / "balancers.yaml").write_text(
        f"""\
public: {{listen: ["{PUBLIC}:{p.port}"], from: 127.47.0.7}}
internal: {{listen: ["{INTERNAL}:{p.port}"], clients: [127.47.0.0/16], from: 127.47.0.8}}
services:
  - {{name: x, public: {{names: [h]}}, internal: {{names: [x.internal]}},
     instances: ["{ONE}:{p.port}", "{TWO}:{p.port}"]}}
"""
    )
    assert render(work / "balancers.yaml", p.folder).returncode == 0
    p.first, p.second = Instance(ONE, p.port), Instance(TWO, p.port, ready=False)
    p.balancer = start_balancers(spawn, p.folder, ["public"])["public"]
    kit.wait_until(
        lambda: instances(p.folder / "public.sock")[f"{ONE}:{p.port}"] == "UP", "the first instance is up"
    )
    yield p
    p.first.close()
    p.second.close()


def test_a_new_instance_takes_traffic_after_one_passed_check_and_not_before(pair):
    kit.wait_until(lambda: len(pair.second.log) >= 3, "some checks have failed")
    for _ in range(20):
        assert pair.call() == 200
    assert pair.second.calls() == []
    pair.second.ready = True
    kit.wait_until(lambda: pair.call() == 200 and pair.second.calls(), "the second instance is used")
    first_call = pair.second.log.index(("call", "GET"))
    passed = pair.second.log[:first_call].count(("check", 200))
    assert passed >= 1, pair.second.log  # one; others may have run before this test called again


def test_an_instance_that_says_it_is_not_ready_gets_nothing_more(pair):
    pair.both_up()
    pair.first.ready = False
    kit.wait_until(
        lambda: instances(pair.folder / "public.sock")[f"{ONE}:{pair.port}"] == "DOWN",
        "the balancer has noticed",
    )
    before = len(pair.first.calls())
    for _ in range(10):
        assert pair.call() == 200
    assert len(pair.first.calls()) == before


def hang_up(request):
    """The connection breaks after the request was read and before anything of an answer."""
    request.connection.shutdown(socket.SHUT_RDWR)


def test_what_may_run_twice_is_sent_again_when_an_instance_breaks_down_and_nothing_else(pair):
    """A POST sent twice would be two accounts."""
    pair.both_up()
    pair.first.behave = pair.second.behave = hang_up
    for method, more_than_once in (
        ("GET", True),
        ("HEAD", True),
        ("PUT", True),
        ("DELETE", True),
        ("OPTIONS", True),
        ("POST", False),
        ("PATCH", False),
    ):
        before = len(pair.first.calls()) + len(pair.second.calls())
        assert pair.call(method, b"{}" if method in ("PUT", "POST", "PATCH") else None) == 502, method
        times = len(pair.first.calls()) + len(pair.second.calls()) - before
        assert (times > 1) if more_than_once else (times == 1), (method, times)
        kit.wait_until(
            lambda: all(s == "UP" for s in instances(pair.folder / "public.sock").values()), "both are up"
        )


def test_a_request_that_never_left_is_sent_elsewhere_whatever_it_is(pair):
    pair.both_up()
    pair.first.close()  # and before any check notices:
    assert [pair.call("POST", b"{}") for _ in range(6)] == [200] * 6


def test_a_body_that_trickles_in_holds_no_instance(pair):
    """A thousand of them would hold a thousand of its connections."""
    pair.both_up()
    with socket.create_connection((PUBLIC, pair.port), timeout=kit.PATIENCE) as s:
        s.sendall(b"POST /api/v1/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 8\r\n\r\nhalf")
        time.sleep(0.5)
        assert pair.first.calls() == pair.second.calls() == []
        s.sendall(b"done")
        assert kit.recv_all(s).startswith(b"HTTP/1.1 200")
    assert pair.first.calls() + pair.second.calls() == ["POST"]


def test_the_socket_that_keepalived_asks_answers_while_haproxy_works_and_not_while_it_is_frozen(pair):
    def asked(seconds):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(seconds)
            s.connect(os.path.relpath(pair.folder / "public.check"))
            s.sendall(b"GET /internal/v1/health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            return kit.recv_all(s)

    answer = asked(kit.PATIENCE)
    assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(
        b"\r\n\r\nok"
    )  # whatever is asked: nothing else is there
    assert (pair.folder / "public.check").stat().st_mode & 0o777 == 0o600
    pair.balancer.signal(signal.SIGSTOP)
    try:
        kit.wait_until(
            lambda: all(
                stat.read_text().rsplit(")")[1].split()[0] == "T"
                for stat in Path(f"/proc/{pair.balancer.pid}/task").glob("*/stat")
            ),
            "it is frozen",
        )
        with pytest.raises(TimeoutError):
            asked(1)
    finally:
        pair.balancer.signal(signal.SIGCONT)
    assert asked(kit.PATIENCE).startswith(b"HTTP/1.1 200")


# TLS


def test_tls_on_both_balancers(work, spawn):
    def key_pair(name):
        done = kit.run(
            kit.tool("openssl"),
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            f"/CN={name}",
            "-addext",
            f"subjectAltName=DNS:{name}",
            "-keyout",
            work / "key",
            "-out",
            work / "crt",
        )
        assert done.returncode == 0, done.stderr
        path = work / f"{name}.pem"
        path.write_text((work / "crt").read_text() + (work / "key").read_text())
        path.chmod(0o600)
        return path

    for name in ("x.example", "x.internal", "y.example", "y.internal"):
        key_pair(name)
    port = kit.free_port(PUBLIC, INTERNAL, ONE, TWO)
    text = f"""\
public: {{tls: ["{PUBLIC}:{port}"], from: 127.47.0.7}}
internal: {{tls: ["{INTERNAL}:{port}"], clients: [127.47.0.0/16], from: 127.47.0.8}}
services:
"""
    for s, address in (("x", ONE), ("y", TWO)):
        text += (
            f"  - {{name: {s}, public: {{names: [{s}.example], certificate: {s}.example.pem}},\n"
            f"     internal: {{names: [{s}.internal], certificate: {s}.internal.pem}}, instances: "
            f'["{address}:{port}"]}}\n'
        )
    (work / "balancers.yaml").write_text(text)
    done = render(work / "balancers.yaml", work / "haproxy")
    assert done.returncode == 0, done.stderr
    servers = [Instance(ONE, port), Instance(TWO, port)]
    try:
        start_balancers(spawn, work / "haproxy")
        wait_up(work / "haproxy")
        for address, tail in ((PUBLIC, "example"), (INTERNAL, "internal")):
            for s in "xy":
                context = ssl.create_default_context(cafile=work / f"{s}.{tail}.pem")
                with context.wrap_socket(
                    socket.create_connection(
                        (address, port), timeout=kit.PATIENCE, source_address=("127.47.9.9", 0)
                    ),
                    server_hostname=f"{s}.{tail}",
                ) as c:
                    assert c.version() == "TLSv1.3" and c.selected_alpn_protocol() in (None, "http/1.1")
                    c.sendall(
                        f"GET /api/v1/x HTTP/1.1\r\nHost: {s}.{tail}\r\nConnection: close\r\n\r\n".encode()
                    )
                    assert kit.recv_all(c).startswith(b"HTTP/1.1 200")
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the ssl module's own: these versions are old
            old.maximum_version = ssl.TLSVersion.TLSv1_1
            old.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            old.wrap_socket(
                socket.create_connection((PUBLIC, port), timeout=kit.PATIENCE), server_hostname="x.example"
            )
        (work / "x.example.pem").chmod(0o644)
        refused = render(work / "balancers.yaml", work / "haproxy")
        assert (
            refused.returncode == 1
            and "balancers.yaml:4:" in refused.stderr
            and "can be read by others" in refused.stderr
        )
    finally:
        for s in servers:
            s.close()


# Adding an instance to a running balancer


def reloaded(spawn, folder, old):
    """The public balancer anew over what was rendered, taking the listeners over; the one before finishes
    what it has."""
    return spawn(
        kit.tool("haproxy"),
        "-db",
        "-f",
        "public.cfg",
        "-x",
        "public.sock",
        "-sf",
        old.pid,
        cwd=folder,
        name="haproxy-public",
    )


def test_a_reload_takes_in_a_new_instance_without_losing_a_request(work, spawn, product):
    customer = seed(product)
    load = Load(product, customer.key, ("GET", "POST"), customers=4)
    load.more()
    old = product.programs["haproxy-public"]
    list_file = product.work / "balancers.yaml"
    third = f'"127.10.4.11:{product.http}"'
    list_file.write_text(
        list_file.read_text().replace(
            f'"127.10.3.11:{product.http}"]', f'"127.10.3.11:{product.http}", {third}]'
        )
    )
    assert render(list_file, product.folder).returncode == 0
    ops = {
        line.split()[3]: line.split()[5]
        for line in (product.folder / "public.state").read_text().splitlines()[2:]
    }
    assert ops.pop(third.strip('"')) == "0" and set(ops.values()) == {
        "2"
    }, "the new one is down until its check, the others go on"
    new = reloaded(spawn, product.folder, old)
    assert old.wait() == 0, new.stderr
    kit.wait_until(
        lambda: list(instances(product.folder / "public.sock").values()).count("UP") == 4,
        "the four known ones are up",
    )
    assert new.running()
    load.more()
    assert load.end() == []


def test_a_kept_connection_outlives_a_reload_by_one_answer_that_says_so(pair, spawn):
    """Closing it while a request is on its way loses that request, and a POST may not be sent again (RFC
    9112, 9.3.1)."""
    pair.both_up()
    kept = http.client.HTTPConnection(PUBLIC, pair.port, timeout=kit.PATIENCE)
    fresh = http.client.HTTPConnection(
        PUBLIC, pair.port, timeout=kit.PATIENCE
    )  # connected ahead of its first request
    with contextlib.closing(kept), contextlib.closing(fresh):
        fresh.connect()
        kept.request("POST", "/api/v1/x", b"{}", {"Host": "h"})
        reply = kept.getresponse()
        assert reply.status == 200 and reply.read() == b"ok" and reply.getheader("Connection") is None
        assert (
            render(pair.folder.parent / "balancers.yaml", pair.folder).returncode == 0
        )  # what is up is handed on
        new = reloaded(spawn, pair.folder, pair.balancer)
        pair.balancer.wait_line("Proxy public stopped")
        for connection in (kept, fresh):
            assert pair.balancer.running()
            connection.request("POST", "/api/v1/x", b"{}", {"Host": "h"})
            reply = connection.getresponse()
            assert reply.status == 200 and reply.read() == b"ok" and reply.getheader("Connection") == "close"
        assert pair.balancer.wait() == 0 and new.running()
    assert pair.call("POST", b"{}") == 200


def test_sigusr1_lets_a_balancer_finish_what_it_has(pair, spawn):
    pair.both_up()

    def slow(request):
        time.sleep(1)
        request.send_response(200)
        request.send_header("Content-Length", "2")
        request.end_headers()
        request.wfile.write(b"ok")

    pair.first.behave = pair.second.behave = slow
    answers = []
    caller = threading.Thread(target=lambda: answers.append(pair.call()), daemon=True)
    caller.start()
    kit.wait_until(lambda: pair.first.calls() or pair.second.calls(), "the call is under way")
    pid = int(
        next(
            line.split(": ")[1]
            for line in ask(pair.folder / "public.sock", "show info").splitlines()
            if line.startswith("Pid:")
        )
    )
    os.kill(pid, signal.SIGUSR1)
    caller.join(kit.PATIENCE)
    assert answers == [200]
