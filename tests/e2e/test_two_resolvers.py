# SPDX-License-Identifier: Apache-2.0
"""Two resolvers, of which the first is of no use: it is silent, frozen, or nobody listens there. Everything
goes on."""

import json
import re
import signal
import socket

import pytest

import kit
from app_client import call, made_up_key
from product import Product

CALLS = 20
# questions that a call with a fresh key takes: the account service's port, and its addresses of both families
NAMES = 3


class Place:
    """The product, and a port of a resolver that everybody is told of first."""

    def __init__(self, work, spawn):
        self.first = kit.free_port("127.0.0.1")
        self.product = Product(work, spawn, services=("accounts", "config"), resolvers_before=[self.first])

    def start_anew(self):
        """Nobody remembers what the resolvers did."""
        for name in ("config", "bastion"):
            self.product.programs[name].stop()
            self.product.start(name)

    def start_first(self):
        text = (self.product.work / "resolver.yaml").read_text()
        (self.product.work / "first.yaml").write_text(
            text.replace(f"port: {self.product.dns}", f"port: {self.first}").replace(
                "resolver.sock", "first.sock"
            )
        )
        return self.product.spawn(kit.binary("smpl-resolver"), "-c", "first.yaml").wait_ready()

    def check_calls(self, count=CALLS):
        """Each with a key that the account service, found by its name, must be asked about."""
        for _ in range(count):
            reply = call(self.product, "config", "GET", "/api/v1/configs", key=made_up_key())
            assert reply.status == 401, (reply.status, reply.json)

    def told(self, what, *names):
        """Whether each of these programs has said so of the first resolver."""
        line = f"resolver: 127.0.0.1:{self.first} {what}"
        return all(line in self.product.programs[name].stderr for name in names)

    def wait_told(self, what):
        kit.wait_until(
            lambda: self.told(what, "config", "bastion"), f"both say that the first resolver {what}"
        )

    def check_tunnel(self, count=CALLS):
        port = kit.free_port("127.0.0.1")
        tunnel = self.product.tunnel(f"{port}:config.internal")
        tunnel.wait_line("http://localhost", stream="out")
        for _ in range(count):
            assert (
                self.product.curl("127.0.0.1", "/internal/v1/health", source="127.0.0.1", port=port)[0] == 200
            )
        tunnel.signal(signal.SIGINT)
        assert tunnel.wait(kit.PATIENCE) == 0


@pytest.fixture(scope="module")
def place(shared_work, shared_spawn):
    return Place(shared_work, shared_spawn)


def count_packets(sock):
    packets = 0
    sock.setblocking(False)
    while True:
        try:
            sock.recv(2048)
        except BlockingIOError:
            return packets
        packets += 1


def test_a_silent_first_resolver_costs_no_answer_and_is_soon_asked_no_more(place):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", place.first))
        place.start_anew()
        place.check_calls()
        place.check_tunnel()
        assert 0 < count_packets(silent) < NAMES * CALLS / 2
        place.wait_told("does not answer")


def test_a_first_resolver_that_is_not_there_costs_no_answer(place):
    place.start_anew()
    place.check_calls()
    place.check_tunnel()
    place.wait_told("does not answer")


def test_a_first_resolver_that_freezes_costs_no_answer_and_serves_when_it_is_back(place):
    first = place.start_first()
    place.start_anew()
    place.check_calls(2)
    first.signal(signal.SIGSTOP)
    try:
        place.check_calls()
        place.check_tunnel()
        place.wait_told("does not answer")
    finally:
        first.signal(signal.SIGCONT)
    kit.wait_until(
        lambda: place.check_calls(1) or place.told("answers again", "config"),
        "it is asked now and then",
        step=0.5,
    )
    place.product.programs["resolver"].kill9()
    place.check_calls()
    place.check_tunnel()


BAD = [
    ["10.0.0.1:53", "10.0.0.2:53", "10.0.0.3:53", "10.0.0.4:53", "10.0.0.5:53"],
    ["10.0.0.1:0"],
    ["10.0.0.1:53", "10.0.0.1:53"],
]


@pytest.mark.parametrize("servers", BAD, ids=["five", "port 0", "twice"])
def test_checking_and_starting_either_program_says_the_same_of_bad_servers(place, servers):
    said = set()
    for program, name in [("smpl-app", "config"), ("smpl-bastion", "bastion")]:
        text = (
            (place.product.work / f"{name}.yaml")
            .read_text()
            .replace(place.product.servers, json.dumps(servers))
        )
        (place.product.work / "bad.yaml").write_text(text)
        for command in [], ["check"]:
            done = kit.run(kit.binary(program), *command, "-c", "bad.yaml", cwd=place.product.work)
            assert done.returncode != 0, done.stdout
            said.add(re.search(r"bad\.yaml:\d+:\d+: (.*)", done.stderr)[1])
    assert len(said) == 1, said
