# SPDX-License-Identifier: Apache-2.0
"""The whole product on loopback, on free ports: what `./dev up` runs, for tests that need more than one
program."""

import contextlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import internal_keys
import kit

INSIDE = "127.10.0.9"  # a client on the network that plays the private one
OUTSIDE = "127.20.0.9"  # a client on the internet
SERVICES = {"accounts": ("app", 10), "config": ("config", 11), "flags": ("flags", 12)}
ADDRESSES = [f"127.{net}.1.{host}" for net in (10, 20) for _, host in SERVICES.values()]


def internal_name(service):
    return f"{SERVICES[service][0]}.internal.smplkit.local"


def public_name(service):
    return f"{SERVICES[service][0]}.smplkit.com"


class Product:
    RATE_LIMIT = "rate_limit: 0\n"  # a fast machine has more requests than a key may have a second

    def __init__(
        self, work, spawn, services=("accounts", "config", "flags"), bastion=True, resolvers_before=()
    ):
        """resolvers_before: ports of other resolvers that everybody is told of before ours."""
        self.work, self.spawn, self.services = work, spawn, list(services)
        self.dns = kit.free_port("127.0.0.1")
        self.servers = json.dumps([f"127.0.0.1:{port}" for port in (*resolvers_before, self.dns)])
        self.http = kit.free_port(*ADDRESSES)
        self.ssh = kit.free_port("127.0.0.1")
        self.programs = {}
        self.write_resolver()
        self.internal_key = internal_keys.make(work / "operator.key")
        self.internal_keys = {service: internal_keys.make(work / f"{service}.key") for service in SERVICES}
        for service in services:
            self.write_service(service)
        if bastion:
            self.write_bastion()
        self.start("resolver")
        for service in services:
            self.start(service)
        if bastion:
            self.start("bastion")

    def unwatched(self):
        """While no balancer takes an instance for dead, however slowly it answers."""
        return contextlib.nullcontext()

    # --- configuration ---

    def zone(self, **moved):
        """The private zone; moved maps a host name to another address."""
        lines = [
            "$ORIGIN internal.smplkit.local.",
            "$TTL 2",
            "@ SOA ns hostmaster 1 3600 600 86400 1",
            "@ NS ns",
            "ns A 127.10.0.2",
        ]
        for name, host in SERVICES.values():
            lines += [
                f"{name} A {moved.get(name, f'127.10.1.{host}')}",
                f"_http._tcp.{name} SRV 0 0 {self.http} {name}",
            ]
        lines += [
            "secret A 127.10.1.99",
            "*.wild A 127.10.1.98",
            "alias CNAME config",
            'txt TXT "inside only"',
        ]
        return "\n".join(lines) + "\n"

    def write_resolver(self):
        (self.work / "internal.zone").write_text(self.zone())
        public = [
            "$ORIGIN smplkit.com.",
            "$TTL 60",
            "@ SOA ns hostmaster 1 3600 600 86400 60",
            "@ NS ns",
            "ns A 127.20.0.2",
        ]
        public += [f"{name} A 127.20.1.{host}" for name, host in SERVICES.values()]
        (self.work / "world.zone").write_text("\n".join(public) + "\n")
        (self.work / "resolver.yaml").write_text(
            f"""\
listeners:
  - {{address: 127.0.0.1, port: {self.dns}, views: [vpc, world]}}
views:
  - {{name: vpc, clients: [127.10.0.0/16], zones: [internal.smplkit.local, smplkit.com]}}
  - {{name: world, clients: ["0.0.0.0/0", "::/0"], zones: [smplkit.com]}}
zones:
  - {{name: internal.smplkit.local, file: internal.zone}}
  - {{name: smplkit.com, file: world.zone}}
control: resolver.sock
"""
        )

    def callers(self, service):
        """internal_keys and internal_key_file of a service: its sisters by name, and the tests themselves as
        the operator."""
        everybody = [
            (name, self.internal_keys[name], ["provision"] if name == "accounts" else ["introspect"])
            for name in SERVICES
            if (name == "accounts") != (service == "accounts")
        ]
        everybody.append(("operator", self.internal_key, ["provision", "introspect"]))
        return internal_keys.accepted(everybody) + f"internal_key_file: {service}.key\n"

    def write_service(self, service):
        name, host = SERVICES[service]
        tail = (
            f"""\
accounts: {{url: "http://app.internal.smplkit.local"}}
"""
            if service != "accounts"
            else """\
sisters: ["http://config.internal.smplkit.local", "http://flags.internal.smplkit.local"]
"""
        )
        (self.work / f"{service}.yaml").write_text(
            f"""\
service: {service}
listeners:
  - {{name: public, address: "127.20.1.{host}:{self.http}", rules: ["/api/v1/*"]}}
  - {{name: internal, address: "127.10.1.{host}:{self.http}", rules: ["/*"], clients: [127.10.0.0/16],
     hosts: [{name}.internal.smplkit.local]}}
database: {service}.db
resolver: {{servers: {self.servers}, source: 127.10.1.{host}}}
{tail}{self.RATE_LIMIT}{self.callers(service)}"""
        )

    def write_bastion(self):
        kit.keygen(self.work / "host_ed25519", comment="bastion")
        self.key, _ = kit.keygen(self.work / "dev", comment="dev")
        (self.work / "bastion.yaml").write_text(
            f"""\
listen: ["127.0.0.1:{self.ssh}"]
host_keys: [host_ed25519]
resolver: {{servers: {self.servers}, source: 127.10.0.5}}
connect_from: [127.10.0.5]
search: [smplkit.local]
users:
  - {{name: dev, keys: dev.pub, groups: [developers]}}
grants:
  - groups: [developers]
    targets: ["config.internal.smplkit.local:{self.http}", "app.internal.smplkit.local:{self.http}"]
    networks: [127.10.0.0/16]
    idle: 20m
    session: 8h
audit: audit.jsonl
control: bastion.sock
"""
        )
        host_key = " ".join((self.work / "host_ed25519.pub").read_text().split()[:2])
        (self.work / "known_hosts").write_text(f"[127.0.0.1]:{self.ssh} {host_key}\n")
        (self.work / "tunnel.yaml").write_text(
            f"bastion: dev@127.0.0.1:{self.ssh}\nidentity: [dev]\nknown_hosts: known_hosts\n"
        )

    # --- running ---

    def command(self, name):
        program = {"resolver": "smpl-resolver", "bastion": "smpl-bastion"}.get(name, "smpl-app")
        return [kit.binary(program), "-c", f"{name}.yaml"]

    def start(self, name):
        self.programs[name] = self.spawn(*self.command(name)).wait_ready()
        return self.programs[name]

    def reload_resolver(self):
        done = kit.run(kit.binary("smpl-resolver"), "reload", "-c", "resolver.yaml", cwd=self.work)
        assert done.returncode == 0, done.stderr

    def tunnel(self, *argv, **kw):
        env = dict(kw.pop("env", {}), SMPL_TUNNEL_CONFIG=str(self.work / "tunnel.yaml"), HOME=str(self.work))
        return self.spawn(kit.binary("smpl-tunnel"), *argv, env=env, **kw)

    def ssh_args(self, *argv):
        return [
            kit.tool("ssh"),
            "-F",
            "none",
            "-p",
            self.ssh,
            "-i",
            self.key,
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            f"UserKnownHostsFile={self.work / 'known_hosts'}",
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            "BatchMode=yes",
            *argv,
            "dev@127.0.0.1",
        ]

    # --- asking ---

    def dig(self, name, *argv, source=INSIDE):
        return kit.run(
            kit.tool("dig"), "-b", source, "@127.0.0.1", "-p", self.dns, "+tries=2", "+time=3", name, *argv
        )

    def curl(self, address, path, *argv, source=None, port=None):
        """(status, body) or (0, error) if no answer came."""
        source = source or (INSIDE if address.startswith("127.10.") else OUTSIDE)
        done = kit.run(
            kit.tool("curl"),
            "-sS",
            "--noproxy",
            "*",
            "--path-as-is",
            "-g",
            "--max-time",
            str(kit.PATIENCE),
            "--interface",
            source,
            "-w",
            "\n%{http_code}",
            *argv,
            f"http://{address}:{port or self.http}{path}",
        )
        body, _, status = done.stdout.rpartition("\n")
        return (int(status), body) if done.returncode == 0 else (0, done.stderr)

    def api(self, method, address, path, document=None, key=None):
        """A JSON call; (status, parsed body or None). Inside, the operator calls unless another key is
        given."""
        argv = ["-X", method]
        if key is None and path.startswith("/internal/"):
            key = self.internal_key
        if key:
            argv += ["-H", f"Authorization: Bearer {key}"]
        if document is not None:
            argv += ["-H", "Content-Type: application/vnd.api+json", "--data-binary", json.dumps(document)]
        status, body = self.curl(address, path, *argv)
        assert status != 0, body
        return status, (json.loads(body) if body.strip() else None)

    def new_account(self, name="Acme"):
        """Creates an account as a sister would; (account id, API key)."""
        status, reply = self.api(
            "POST",
            "127.10.1.10",
            "/internal/v1/accounts",
            {"data": {"type": "account", "attributes": {"name": name}}},
        )
        assert status == 201, reply
        key = next(v for v in walk(reply) if isinstance(v, str) and v.startswith("sk_api_"))
        return reply["data"]["id"], key

    def audit(self):
        return kit.json_lines(self.work / "audit.jsonl")


def walk(value):
    """Every value in a JSON document."""
    yield value
    if isinstance(value, dict):
        for v in value.values():
            yield from walk(v)
    elif isinstance(value, list):
        for v in value:
            yield from walk(v)


def build_folder():
    path = os.path.join(kit.ROOT, "build", "screenshots")
    os.makedirs(path, exist_ok=True)
    return path


def bastion(place, *arguments):
    done = kit.run(kit.binary("smpl-bastion"), *arguments, "-c", "bastion.yaml", cwd=place.work)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def alone(make, ends=kit.Program.stop, **kw):
    """A product for all tests of a file, in a folder of its own: make(folder, spawn, ...). Its programs are
    ended so."""
    work, programs = Path(tempfile.mkdtemp(prefix="smpl-", dir="/tmp")), []

    def spawn(*argv, **options):
        options.setdefault("cwd", work)
        programs.append(kit.Program(argv, **options))
        return programs[-1]

    try:
        yield make(work, spawn, **kw)
    finally:
        for program in reversed(programs):
            if program.running():
                ends(program)
        shutil.rmtree(work, ignore_errors=True)
    for program in programs:
        assert "Sanitizer" not in program.stderr and "runtime error:" not in program.stderr, program.stderr
