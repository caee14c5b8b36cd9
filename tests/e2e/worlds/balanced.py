# SPDX-License-Identifier: Apache-2.0
"""Real HAProxy in front of services that have a single internal listener each: what ./dev up --balanced
runs."""

import contextlib
import json
import socket

import kit
from product import Product, SERVICES, internal_name, public_name

RENDER = kit.ROOT / "app" / "haproxy" / "render"


def render(list_file, out, *argv):
    return kit.run("/usr/bin/python3", RENDER, "-c", list_file, "-o", out, *argv)


def start_balancers(spawn, folder, sides=("public", "internal")):
    """Both HAProxies over a rendered folder; they run, but may not have checked their instances yet."""
    programs = {}
    for side in sides:
        programs[side] = spawn(
            kit.tool("haproxy"), "-db", "-f", f"{side}.cfg", cwd=folder, name=f"haproxy-{side}"
        )
        kit.wait_until(
            lambda: (folder / f"{side}.sock").exists() and ask(folder / f"{side}.sock", "show info"),
            f"{side} balancer runs",
        )
    return programs


def ask(path, command):
    """A command on HAProxy's socket; the text of the answer, empty when nobody listens."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(kit.PATIENCE)
        try:
            s.connect(str(path))
            s.sendall(command.encode() + b"\n")
            return kit.recv_all(s).decode()
        except ConnectionRefusedError:
            return ""


def instances(path, service=None):
    """{name: status} of a balancer's instances, as it sees them."""
    rows = [
        line.split(",") for line in ask(path, "show stat").splitlines() if line and not line.startswith("#")
    ]
    return {r[1]: r[17] for r in rows if r[1] not in ("FRONTEND", "BACKEND") and service in (None, r[0])}


def wait_up(folder, sides=("public", "internal")):
    for side in sides:
        kit.wait_until(
            lambda: (lambda seen: seen and all(s == "UP" for s in seen.values()))(
                instances(folder / f"{side}.sock")
            ),
            f"all instances are up for the {side} balancer",
        )


# A fast machine has more connections and requests than a source may have, and tests of other things count on
# neither.
NO_RATES = "{%s}" % ", ".join(
    f"{level}: {{connection_rate: 0, request_rate: 0}}" for level in ("source", "network", "provider")
)


class BalancedProduct(Product):
    """The product with two instances of each service on one database, and balancers where their listeners
    were."""

    NETS = (2, 3)  # 127.10.2.x has the first instances, 127.10.3.x the second

    def __init__(self, work, spawn, drain="drain: {lag: 3s}\n", limits=NO_RATES, **kw):
        self.drain = drain
        self.limits = f", limits: {limits}"
        super().__init__(work, spawn, **kw)

    def instance(self, service, i):
        return f"127.10.{self.NETS[i]}.{SERVICES[service][1]}"

    def label(self, name):
        """What the balancers call the instance that is called config-1 here."""
        service, _, number = name.rpartition("-")
        return f"{self.instance(service, int(number) - 1)}:{self.http}"

    def write_service(self, service):
        super().write_service(service)
        first = self.work / f"{service}.yaml"
        text = first.read_text()
        first.unlink()
        listeners, rest = text.index("listeners:"), text.index("database:")
        host = SERVICES[service][1]
        hosts = f"{internal_name(service)}, {public_name(service)}, 127.10.1.{host}, 127.20.1.{host}"
        for i in range(len(self.NETS)):
            own = self.instance(service, i)
            (self.work / f"{service}-{i + 1}.yaml").write_text(
                text[:listeners] + "listeners:\n"
                f'  - {{name: internal, address: "{own}:{self.http}", rules: ["/*"], clients: '
                f"[127.10.0.0/16], hosts: [{hosts}]}}\n"
                + "balancers: [127.10.0.7, 127.10.0.8]\n"
                + self.drain
                + text[rest:].replace(f"source: 127.10.1.{host}", f"source: {own}")
            )

    def command(self, name):
        if name.rpartition("-")[0] in SERVICES:
            return [kit.binary("smpl-app"), "-c", f"{name}.yaml"]
        return super().command(name)

    def start(self, name):
        if name not in SERVICES:
            return super().start(name)
        for i in range(len(self.NETS)):
            super().start(f"{name}-{i + 1}")
        self.started = getattr(self, "started", []) + [name]
        if self.started == self.services:
            self.start_balancers()
        return None

    def each_health(self, order):
        """Gives the order to both balancers for every instance."""
        for side in ("public", "internal"):
            for service in self.services:
                for i in range(len(self.NETS)):
                    label = self.label(f"{service}-{i + 1}")
                    said = ask(self.folder / f"{side}.sock", f"{order} health {service}/{label}").strip()
                    assert said == "", said

    @contextlib.contextmanager
    def unwatched(self):
        wait_up(self.folder)
        self.each_health("disable")
        yield
        self.each_health("enable")

    def start_balancers(self):
        self.folder = self.work / "haproxy"
        (self.work / "balancers.yaml").write_text(self.balancers())
        done = render(self.work / "balancers.yaml", self.folder)
        assert done.returncode == 0, done.stderr
        self.programs.update((f"haproxy-{k}", p) for k, p in start_balancers(self.spawn, self.folder).items())
        wait_up(self.folder)

    def balancers(self):
        def listen(net):
            return json.dumps([f"127.{net}.1.{SERVICES[s][1]}:{self.http}" for s in self.services])

        text = (
            f"public: {{listen: {listen(20)}, from: 127.10.0.7{self.limits}}}\n"
            f"internal: {{listen: {listen(10)}, clients: [127.10.0.0/16], from: 127.10.0.8}}\nservices:\n"
        )
        for s in self.services:
            host = SERVICES[s][1]
            at = json.dumps([f"{self.instance(s, i)}:{self.http}" for i in range(len(self.NETS))])
            text += (
                f"  - {{name: {s}, public: {{names: [{public_name(s)}], address: 127.20.1.{host}}},\n"
                f"     internal: {{names: [{internal_name(s)}], address: 127.10.1.{host}}}, instances: "
                f"{at}}}\n"
            )
        return text
