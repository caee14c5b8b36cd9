# SPDX-License-Identifier: Apache-2.0
"""A lab of network namespaces: two networks, vpc and inet, two of each program, and a host of its own for
each (see README.md)."""

import fcntl
import functools
import hashlib
import ipaddress
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("SMPL_BIN", ROOT / "build" / "release" / "bin"))
KIND = os.environ.get("SMPL_LAB", "lab")  # the tests have a lab of their own beside the one of ./dev lab up
WORK = ROOT / "build" / KIND
TAG = (
    f"smpl-{KIND}-" + hashlib.sha256(str(ROOT).encode()).hexdigest()[:6]
)  # other checkouts have other namespaces

PATIENCE = 150 * float(
    os.environ.get("SMPL_PATIENCE", "1")
)  # seconds that anything may take before it counts as hanging

VPC, INET = "vpc", "inet"
NETWORKS = {VPC: ("10.20.0.0/16", "fd20::/64"), INET: ("203.0.113.0/24", "2001:db8:113::/64")}
# host: its own addresses in each network it has a leg in; the IPv6 ones follow from these
HOSTS = {
    "resolver": {VPC: ["10.20.0.2"], INET: ["203.0.113.2"]},
    "resolver-2": {VPC: ["10.20.0.3"], INET: ["203.0.113.3"]},
    "accounts-1": {VPC: ["10.20.2.10"]},
    "accounts-2": {VPC: ["10.20.3.10"]},
    "config-1": {VPC: ["10.20.2.11"]},
    "config-2": {VPC: ["10.20.3.11"]},
    "flags": {VPC: ["10.20.2.12"], INET: []},
    "flags-2": {VPC: ["10.20.3.12"], INET: []},  # with a public listener of their own
    "public": {VPC: ["10.20.0.7"], INET: []},
    "public-2": {VPC: ["10.20.0.17"], INET: []},
    "internal": {VPC: ["10.20.0.8"]},
    "internal-2": {VPC: ["10.20.0.18"]},
    "bastion": {VPC: ["10.20.0.5"], INET: ["203.0.113.5"]},
    "bastion-2": {VPC: ["10.20.0.6"], INET: ["203.0.113.7"]},
    "insider": {VPC: ["10.20.0.9"]},
    "laptop": {INET: ["203.0.113.50"]},
    "far": {INET: ["203.0.113.51"]},  # a laptop behind a link that delays, loses and breaks
    "attacker": {INET: ["203.0.113.66"]},
}
# What keepalived moves between two hosts: the first has it until it fails.
MOVING = {
    "public": {INET: ["203.0.113.10", "203.0.113.11"]},
    "internal": {VPC: ["10.20.0.10", "10.20.0.11"]},
    "flags": {VPC: ["10.20.1.12"], INET: ["203.0.113.12"]},
}
LINKED = "far"
SERVICES = {"accounts": "app", "config": "config", "flags": "flags"}
INSTANCES = {
    "accounts-1": "accounts",
    "accounts-2": "accounts",
    "config-1": "config",
    "config-2": "config",
    "flags": "flags",
    "flags-2": "flags",
}
BALANCERS = ["public", "public-2", "internal", "internal-2"]
PROGRAMS = ["resolver", "resolver-2", *INSTANCES, *BALANCERS, "bastion", "bastion-2"]
INTERNAL_NAMES = {"app": "10.20.0.10", "config": "10.20.0.11", "flags": "10.20.1.12", "bastion": "10.20.0.5"}
PUBLIC_NAMES = {
    "app": "203.0.113.10",
    "config": "203.0.113.11",
    "flags": "203.0.113.12",
    "bastion": "203.0.113.5",
}
# Two bastions behind one name; the names above have one address each, for whoever wants to know which one it
# is.
BASTIONS = {"bastions": ["203.0.113.5", "203.0.113.7"]}
RESOLVERS = ["10.20.0.2:53", "10.20.0.3:53"]
# Tests may run on a slow and busy machine, where what is only late must not count as dead. What is measured
# has the real times.
LATE_IS_DEAD = KIND in ("lab", "lab-outages")
WATCHDOG_S, ALIVE_S = (
    (2, 0.5) if LATE_IS_DEAD else (20, 10)
)  # without a sign of life a service, without an answer what has moving addresses


def v6(address):
    """fd20::2:10 for 10.20.2.10, 2001:db8:113::50 for 203.0.113.50."""
    a, b, c, d = address.split(".")
    return f"fd20::{c}:{d}" if a == "10" else f"2001:db8:113::{d}"


def role(host):
    """What runs there: config for config-1, public for public and public-2."""
    return host[:-2] if host[-2:] in ("-1", "-2") else host


def twin(host):
    """The other one of the two."""
    return next(h for h in HOSTS if h != host and role(h) == role(host))


def addresses(host, network):
    """Its own and those that may come to it."""
    return HOSTS[host].get(network, []) + MOVING.get(role(host), {}).get(network, [])


def netns(host):
    return f"{TAG}-{host}"


class LabError(Exception):
    pass


def run(*argv, check=True, **kw):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, **kw)
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(map(str, argv))}: {done.stderr.strip() or done.returncode}")
    return done


def enter(host, *argv):
    """The command line that runs argv on a host: its network, and the resolver that it would have in
    /etc/resolv.conf."""
    if not Path(f"/run/netns/{netns(host)}").exists():
        raise LabError(
            f"there is no host {host}; ./dev lab up makes: {' '.join(HOSTS)}"
            if host not in HOSTS
            else "the lab is not up; first: ./dev lab up"
        )
    return [
        "nsenter",
        f"--net=/run/netns/{netns(host)}",
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount --bind "$0" /etc/resolv.conf && exec "$@"',
        str(resolv_conf(host)),
        *map(str, argv),
    ]


def on(host, *argv, **kw):
    """Runs to the end on a host; output as text."""
    kw.setdefault("timeout", PATIENCE)
    kw.setdefault("check", False)
    return run(*enter(host, *argv), **kw)


def resolv_conf(host):
    return WORK / ("resolv.conf.vpc" if VPC in HOSTS[host] else "resolv.conf.inet")


# --- networks ---


def existing():
    names = [line.split()[0] for line in run("ip", "netns", "list").stdout.splitlines() if line.strip()]
    return [n for n in names if n.startswith(TAG + "-")]


def add_namespace(name):
    run("ip", "netns", "add", name)
    run("ip", "-n", name, "link", "set", "lo", "up")


def connect(host, network, number):
    """A leg: a veth pair from the host to the network's bridge."""
    ns, bridge = netns(host), netns(network)
    if host == LINKED:
        start_link(network, number)
    else:
        run(
            "ip",
            "link",
            "add",
            network,
            "netns",
            ns,
            "type",
            "veth",
            "peer",
            "name",
            f"p{number}",
            "netns",
            bridge,
        )
    run("ip", "-n", bridge, "link", "set", f"p{number}", "master", "bridge", "up")
    prefixes = [ipaddress.ip_network(n).prefixlen for n in NETWORKS[network]]
    for address in HOSTS[host][network]:
        run("ip", "-n", ns, "addr", "add", f"{address}/{prefixes[0]}", "dev", network)
        run("ip", "-n", ns, "addr", "add", f"{v6(address)}/{prefixes[1]}", "dev", network, "nodad")
    run("ip", "-n", ns, "link", "set", network, "up")


def pull(host, networks=None, back=False):
    """Pulls a host's cables, of these networks or of all, or puts them back."""
    for network in networks or HOSTS[host]:
        run(
            "ip", "-n", netns(network), "link", "set", f"p{list(HOSTS).index(host)}", "up" if back else "down"
        )


def start_link(network, number):
    """The linked host's leg: two TAP interfaces and a program between them, which lives on that host's
    side."""
    with open(WORK / LINKED / "link.log", "wb") as log:
        process = subprocess.Popen(
            enter(
                LINKED,
                BIN.parent / "tests" / "smpl-lab-link",
                f"/run/netns/{netns(LINKED)}",
                network,
                f"/run/netns/{netns(network)}",
                f"p{number}",
                "link.sock",
            ),
            cwd=WORK / LINKED,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    end = time.monotonic() + PATIENCE
    while "ready" not in (WORK / LINKED / "link.log").read_text():
        if process.poll() is not None or time.monotonic() > end:
            raise LabError("the link does not run: " + (WORK / LINKED / "link.log").read_text())
        time.sleep(0.02)


def link(word, value):
    """delay MS, loss PERMILLE, cut none|ab|ba|both (a is the far laptop)."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(PATIENCE)
        try:
            s.connect(os.path.relpath(WORK / LINKED / "link.sock"))
            s.sendall(f"{word} {value}\n".encode())
            answer = s.recv(200).decode().strip()
        except OSError as e:
            raise LabError(f"the link does not answer ({e.strerror}); is the lab up?")
    if answer != "ok":
        raise LabError(f"link {word} {value}: {answer}")


def make_networks():
    for network in NETWORKS:
        add_namespace(netns(network))
        run("ip", "-n", netns(network), "link", "add", "name", "bridge", "type", "bridge")
        run("ip", "-n", netns(network), "link", "set", "bridge", "up")
    for number, host in enumerate(HOSTS):
        add_namespace(netns(host))
        if role(host) in MOVING:  # programs listen on addresses that are the other one's now
            on_net = ["ip", "netns", "exec", netns(host), "sysctl", "-qw"]
            run(*on_net, "net.ipv4.ip_nonlocal_bind=1", "net.ipv6.ip_nonlocal_bind=1")
        for network in HOSTS[host]:
            connect(host, network, number)
    add_namespace(netns(MANAGER))


# --- configuration ---


def write(path, text, mode=0o644):
    path = WORK / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def both(*addresses):
    """The addresses and their IPv6 kin with port 80, as a YAML list."""
    return json.dumps([f"{a}:80" for a in addresses] + [f"[{v6(a)}]:80" for a in addresses])


def records(names):
    return "".join(f"{n} A {a}\n{n} AAAA {v6(a)}\n" for n, a in names.items())


def write_resolver():
    services = "".join(
        f"_http._tcp PTR _http._tcp.{n}\n_http._tcp.{n} SRV 0 0 80 {n}\n" for n in SERVICES.values()
    )
    head = "$TTL 5\n@ SOA ns hostmaster 1 3600 600 86400 5\n@ NS ns\n"
    write(
        "resolver/internal.zone",
        head
        + records({"ns": "10.20.0.2", **INTERNAL_NAMES})
        + services
        + "bulk A 10.20.0.9\nsecret A 10.20.9.9\n*.wild A 10.20.9.8\nalias CNAME config\n"
        + f"other A {INTERNAL_NAMES['config']}\nother AAAA {v6(INTERNAL_NAMES['config'])}\n",
    )
    write(
        "resolver/world.zone",
        head
        + records({"ns": "203.0.113.2", **PUBLIC_NAMES})
        + "".join(records({name: a}) for name, both_of_it in BASTIONS.items() for a in both_of_it),
    )
    for host in ("resolver", "resolver-2"):
        listeners = "".join(
            f'  - {{address: "{a}", port: 53, views: [{view}]}}\n'
            for view, network in (("vpc", VPC), ("world", INET))
            for a in (HOSTS[host][network][0], v6(HOSTS[host][network][0]))
        )
        write(
            f"{host}/resolver.yaml",
            f"""\
listeners:
{listeners}views:
  - {{name: vpc, clients: {json.dumps(NETWORKS[VPC])}, zones: [internal.smplkit.local, smplkit.com]}}
  - {{name: world, clients: ["0.0.0.0/0", "::/0"], zones: [smplkit.com], public: true, rate_limit: 100000}}
zones:
  - {{name: internal.smplkit.local, file: ../resolver/internal.zone}}
  - {{name: smplkit.com, file: ../resolver/world.zone}}
control: resolver.sock
""",
        )


def write_service(host):
    service = INSTANCES[host]
    name, own = SERVICES[service], HOSTS[host][VPC][0]
    moving = MOVING.get(service, {})
    hosts = [
        f"{name}.internal.smplkit.local",
        f"{name}.smplkit.com",
        INTERNAL_NAMES[name],
        PUBLIC_NAMES[name],
        v6(INTERNAL_NAMES[name]),
        v6(PUBLIC_NAMES[name]),
    ]
    listeners = [("internal", own, "/*", VPC)]  # where balancers and keepalived ask
    for a in moving.get(VPC, []):
        listeners += [("moving", a, "/*", VPC), ("moving6", v6(a), "/*", VPC)]
    for a in moving.get(INET, []):
        listeners += [("public", a, "/api/v1/*", INET), ("public6", v6(a), "/api/v1/*", INET)]
    text = f"service: {service}\nlisteners:\n"
    for listener, address, rule, network in listeners:
        at = f"[{address}]:80" if ":" in address else f"{address}:80"
        inside = (
            f", clients: {json.dumps(NETWORKS[VPC])}, hosts: {json.dumps(hosts[:1] if moving else hosts[:4])}"
        )
        text += (
            f'  - {{name: {listener}, address: "{at}", rules: '
            f'["{rule}"]{inside if network == VPC else ""}}}\n'
        )
    text += (
        f"database: ../{service}.db\ndrain: {{lag: 2s}}\n"
        f"resolver: {{servers: {json.dumps(RESOLVERS)}, source: {own}}}\n"
    )
    if service == "accounts":
        text += 'sisters: ["http://config.internal.smplkit.local", "http://flags.internal.smplkit.local"]\n'
    else:
        text += 'accounts: {url: "http://app.internal.smplkit.local"}\n'
    write(f"{host}/internal.key", internal_key(service), 0o600)
    write(f"{host}/service.yaml", text + internal_callers(service) + "internal_key_file: internal.key\n")


@functools.cache
def internal_key(caller):
    """What a service shows its sisters (one key for all its instances), and insider as the operator."""
    return run(BIN / "smpl-app", "internal-key").stdout


def internal_callers(service):
    callers = (
        {"config": "introspect", "flags": "introspect"}
        if service == "accounts"
        else {"accounts": "provision"}
    )
    return "internal_keys:\n" + "".join(
        f"  - {{name: {name}, sha256: {hashlib.sha256(internal_key(name).strip().encode()).hexdigest()}, "
        f"operations: [{operation}]}}\n"
        for name, operation in {**callers, "operator": "provision"}.items()
    )


def write_balancers():
    services = ""
    for service in ("accounts", "config"):
        name = SERVICES[service]
        at = json.dumps([f"{HOSTS[h][VPC][0]}:80" for h, s in INSTANCES.items() if s == service])
        sides = [
            f"{{names: [{name}.{tail}], address: {json.dumps([a, v6(a)])}}}"
            for tail, a in (
                ("smplkit.com", PUBLIC_NAMES[name]),
                ("internal.smplkit.local", INTERNAL_NAMES[name]),
            )
        ]
        services += f"  - {{name: {service}, public: {sides[0]}, internal: {sides[1]}, instances: {at}}}\n"
    for number in ("", "-2"):  # the two of a kind differ in the address they come from alone
        write(
            f"balancers{number}.yaml",
            f"public: {{listen: {both(*MOVING['public'][INET])}, from: {HOSTS['public' + number][VPC][0]}}}\n"
            f"internal: {{listen: {both(*MOVING['internal'][VPC])}, clients: {json.dumps(NETWORKS[VPC])}, "
            f"from: {HOSTS['internal' + number][VPC][0]}}}\n"
            f"services:\n{services}",
        )
        made = WORK / f"balancers{number}"
        run(
            "/usr/bin/python3",
            ROOT / "app" / "haproxy" / "render",
            "-c",
            WORK / f"balancers{number}.yaml",
            "-o",
            made,
            "--run-as",
            "haproxy",
        )
        for side, other in (
            ("public", "internal"),
            ("internal", "public"),
        ):  # a host of its own each, with nothing of the other's
            shutil.copytree(
                made,
                WORK / f"{side}{number}",
                ignore=lambda _, names, other=other: [n for n in names if n.startswith(other + ".")],
            )
        shutil.rmtree(made)


def keepalived_example(host):
    """What app/haproxy/keepalived/ has for this host: the examples are the first of two."""
    example = {"flags": "service"}.get(role(host), role(host))
    text = (ROOT / "app" / "haproxy" / "keepalived" / f"{example}.conf").read_text()
    first, second = (HOSTS[h][VPC][0] for h in (role(host), role(host) + "-2"))
    return (
        text
        if host == role(host)
        else text.replace(first, "OWN").replace(second, first).replace("OWN", second)
    )


def write_keepalived():
    for host in HOSTS:
        if role(host) in MOVING:
            write(f"{host}/keepalived.conf", here(host, keepalived_example(host)))
            # the program and its children, at once
            write(
                f"{host}/kill",
                f"#!/bin/sh\np=$(cat {WORK / host / 'pid'})\nkill -9 $p $(cat /proc/$p/task/$p/children)\n",
                0o755,
            )


def here(host, text):
    """An example with the lab's paths. Without systemd its kill is a file, and a checkout may belong to
    others than root."""
    text = text.replace("/etc/smpl-balancer/", f"{WORK / host}/").replace(
        "/usr/share/smpl-balancer/", f"{ROOT / 'app' / 'haproxy' / 'keepalived'}/"
    )
    if not LATE_IS_DEAD:
        text = text.replace("advert_int 0.25", "advert_int 0.5").replace(
            "  timeout 2\n", f"  timeout {ALIVE_S + 5}\n"
        )
    return re.sub("'systemctl kill [^']*'", str(WORK / host / "kill"), text).replace(
        "  enable_script_security\n", ""
    )


def key(name, folder):
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", WORK / folder / name)


def write_bastion():
    for folder in ("bastion", "bastion-2", "laptop", "attacker", "far"):
        (WORK / folder).mkdir(exist_ok=True)
    for name, folder in (
        ("dev", "laptop"),
        ("night", "laptop"),
        ("late", "laptop"),
        ("stranger", "attacker"),
    ):
        key(name, folder)
    known = ""
    for host in ("bastion", "bastion-2"):
        key("host_ed25519", host)  # each has its own: who takes one over is not the other
        known += write_one_bastion(host)
    write("laptop/known_hosts", known)
    write(
        "laptop/tunnel.yaml", "bastion: dev@bastion.smplkit.com\nidentity: [dev]\nknown_hosts: known_hosts\n"
    )
    for name in ("dev", "dev.pub", "known_hosts", "tunnel.yaml"):
        shutil.copy(WORK / "laptop" / name, WORK / "far" / name)


def write_one_bastion(host):
    """Returns its line for known_hosts."""
    for name, options in (("dev", ""), ("night", ""), ("late", 'expiry-time="20200101" ')):
        write(f"{host}/{name}.pub", options + (WORK / "laptop" / f"{name}.pub").read_text())
    networks = json.dumps(NETWORKS[VPC])
    (inner,), (outer,) = HOSTS[host][VPC], HOSTS[host][INET]
    write(
        f"{host}/bastion.yaml",
        f"""\
listen: ["{outer}:22", "[{v6(outer)}]:22"]
host_keys: [host_ed25519]
resolver: {{servers: {json.dumps(RESOLVERS)}, source: {inner}}}
connect_from: [{inner}, "{v6(inner)}"]
search: [smplkit.local]
users:
  - {{name: dev, keys: dev.pub, groups: [developers]}}
  - {{name: night, keys: night.pub, groups: [night]}}
  - {{name: late, keys: late.pub, groups: [developers]}}
grants:
  - {{groups: [developers], networks: {networks},
     targets: ["config.internal.smplkit.local:80", "app.internal.smplkit.local:80",
               "moving.internal.smplkit.local:80", "bulk.internal.smplkit.local:80"]}}
  - {{groups: [night], targets: ["config.internal.smplkit.local:80"], networks: {networks},
     hours: [{closed_hours()}]}}
audit: audit.jsonl
control: bastion.sock
""",
    )
    host_key = " ".join((WORK / host / "host_ed25519.pub").read_text().split()[:2])
    names = ",".join(f"{n}.smplkit.com" for n in (host, *BASTIONS))
    return f"{names},{outer},{v6(outer)} {host_key}\n"


def closed_hours():
    """Hours of a day that is not today, so that a key has no hours now."""
    return ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][
        (time.localtime().tm_wday + 3) % 7
    ] + " 03:00-04:00"


def write_all():
    for (
        network
    ) in NETWORKS:  # the system's own lookups wait 5 s for a server that is silent, unless told otherwise
        servers = "".join(f"nameserver {HOSTS[h][network][0]}\n" for h in ("resolver", "resolver-2"))
        write(f"resolv.conf.{network}", servers + "options timeout:1 attempts:3\n")
    write_resolver()
    for host in INSTANCES:
        write_service(host)
    write_balancers()
    write_keepalived()
    write_bastion()
    (WORK / "insider").mkdir(exist_ok=True)


# --- programs ---

MANAGER = "manager"  # a namespace without legs, where what plays the service manager lives


def command(host):
    if host in INSTANCES:
        return [BIN / "smpl-app", "-c", "service.yaml"]
    if host in BALANCERS:
        return [
            shutil.which("haproxy", path="/usr/sbin:/usr/bin") or "haproxy",
            "-W",
            "-f",
            f"{role(host)}.cfg",
        ]
    return [BIN / f"smpl-{role(host)}", "-c", f"{role(host)}.yaml"]


def spawn(host, argv, environment=None):
    with open(WORK / host / "log", "ab") as log:
        return subprocess.Popen(
            enter(host, *argv),
            cwd=WORK / host,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=environment,
        )


def start(host, addresses_too=True):
    """Starts a host's program, and keepalived where addresses move; the log is build/lab/HOST/log."""
    environment = None
    if host in INSTANCES:
        environment = dict(
            os.environ, NOTIFY_SOCKET=str(WORK / MANAGER / "socket"), WATCHDOG_USEC=str(int(WATCHDOG_S * 1e6))
        )
    process = spawn(host, command(host), environment)
    (WORK / host / "pid").write_text(str(process.pid))
    if (
        addresses_too
        and role(host) in MOVING
        and not [p for p in pids(host) if executable(p) == "keepalived"]
    ):
        start_keepalived(host)
    return process


def start_keepalived(host):
    """Each has all its pid files to itself: it locks even those of parts that it does not start, and two that
    start at once would take the other for one that runs already."""
    program = shutil.which("keepalived", path="/usr/sbin:/usr/bin")
    if program is None:
        raise LabError("keepalived is not installed")
    spawn(
        host,
        [
            program,
            "--dont-fork",
            "--log-console",
            "--vrrp",
            "-f",
            "keepalived.conf",
            *(f"--{kind}pid=keepalived.{kind}pid" for kind in ("", "vrrp_", "checkers_", "bfd_")),
        ],
        dict(os.environ, ALIVE_SECONDS=str(ALIVE_S)),
    )


def executable(pid):
    try:
        return os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return ""


def start_manager():
    """What systemd does on real hosts: kills a service that gives no sign of life (WatchdogSec=2,
    WatchdogSignal=SIGKILL)."""
    (WORK / MANAGER).mkdir()
    log = open(WORK / MANAGER / "log", "wb")
    process = subprocess.Popen(
        [
            "nsenter",
            f"--net=/run/netns/{netns(MANAGER)}",
            "/usr/bin/python3",
            str(Path(__file__).with_name("manager.py")),
            "socket",
            str(WATCHDOG_S),
        ],
        cwd=WORK / MANAGER,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    log.close()
    end = time.monotonic() + PATIENCE
    while not (WORK / MANAGER / "socket").exists():
        if process.poll() is not None or time.monotonic() > end:
            raise LabError("the service manager does not run: " + (WORK / MANAGER / "log").read_text())
        time.sleep(0.02)


def has_addresses(host):
    """Whether the addresses that move are here."""
    here = run("ip", "-n", netns(host), "-o", "addr", check=False).stdout
    return all(f" {a}/" in here for legs in MOVING[role(host)].values() for a in legs)


def wait_addresses(host, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not has_addresses(host):
        if time.monotonic() > end:
            tail = (WORK / host / "log").read_text(errors="replace").splitlines()[-12:]
            raise LabError(f"{host} does not get its addresses:\n  " + "\n  ".join(tail))
        time.sleep(0.05)


def ready(host):
    if host in BALANCERS:
        return (WORK / host / f"{role(host)}.sock").exists() and balancer_up(host)
    return " ready" in (WORK / host / "log").read_text(errors="replace")


def balancer_up(host):
    rows = [
        line.split(",") for line in ask_balancer(host, "show stat").splitlines() if line and line[0] != "#"
    ]
    seen = [r[17] for r in rows if r[1] not in ("FRONTEND", "BACKEND")]
    return bool(seen) and all(s == "UP" for s in seen)


def ask_balancer(host, text):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(PATIENCE)
        try:
            s.connect(os.path.relpath(WORK / host / f"{role(host)}.sock"))
            s.sendall(text.encode() + b"\n")
            return s.makefile().read()
        except OSError:
            return ""


def wait_ready(host, process=None, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not ready(host):
        if (process and process.poll() is not None) or time.monotonic() > end:
            tail = (WORK / host / "log").read_text(errors="replace").splitlines()[-3:]
            raise LabError(
                f"{host} did not start:\n  "
                + "\n  ".join(tail or ["it said nothing"])
                + f"\n  its log: build/{KIND}/{host}/log"
            )
        time.sleep(0.05)


def pids(host):
    return [int(p) for p in run("ip", "netns", "pids", netns(host), check=False).stdout.split()]


def end_processes(host, number=signal.SIGTERM):
    for pid in pids(host):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


# --- verbs ---


def up():
    down()
    WORK.mkdir(parents=True)
    WORK.chmod(0o755)
    write_all()
    make_networks()
    start_manager()
    for host in PROGRAMS:
        wait = start(host, addresses_too=False)
        if host in ("resolver", "bastion"):
            wait_ready(host, wait)
    for host in PROGRAMS:
        wait_ready(host)
    for host in MOVING:
        start_keepalived(host)
    for host in MOVING:
        wait_addresses(host)
    for host in MOVING:
        start_keepalived(twin(host))
    customer()


def customer():
    """An account with a key, made as a sister would."""
    write("insider/authorization", f"Authorization: Bearer {internal_key('operator')}", 0o600)
    done = on(
        "insider",
        "curl",
        "-sS",
        "--max-time",
        str(PATIENCE),
        "-H",
        "Content-Type: application/json",
        "-H",
        f"@{WORK / 'insider' / 'authorization'}",
        "-d",
        '{"data":{"type":"account","attributes":{"name":"Lab"}}}',
        "http://app.internal.smplkit.local/internal/v1/accounts",
    )
    if '"sk_api_' not in done.stdout:
        raise LabError(f"the account service did not make an account: {done.stdout}{done.stderr}")
    write("laptop/api_key", "sk_api_" + done.stdout.split('"sk_api_')[1].split('"')[0] + "\n", 0o600)


def down():
    """Ends what runs in our namespaces, removes them and all that was written. Fine when nothing or only half
    of it is there."""
    names = existing()
    hosts = [n[len(TAG) + 1 :] for n in names]
    for number, patience in (
        (signal.SIGTERM, 0.5),
        (signal.SIGKILL, PATIENCE),
    ):  # nobody is left for whom a service would linger
        for host in hosts:
            end_processes(host, number)
        end = time.monotonic() + patience
        while any(pids(h) for h in hosts) and time.monotonic() < end:
            time.sleep(0.05)
    for name in names:
        run("ip", "netns", "del", name)
    shutil.rmtree(WORK, ignore_errors=True)
    return bool(names)


def describe():
    lines = []
    for host, legs in HOSTS.items():
        where = "  ".join(f"{n} {', '.join(a)}" for n, a in legs.items())
        running = "up" if host not in PROGRAMS else "up" if pids(host) else "down"
        lines.append((host, where, running))
    return lines


def show():
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    bold, dim, end = ("\033[1m", "\033[2m", "\033[0m") if colour else ("", "", "")
    print(
        f"\n{bold}the lab is up{end}  {dim}vpc {' '.join(NETWORKS[VPC])}, inet {' '.join(NETWORKS[INET])}; "
        f"no forwarding between them{end}\n"
    )
    for host, where, running in describe():
        note = {
            "laptop": "a developer's",
            "far": "the same far away: ./dev lab link",
            "attacker": "anybody's",
            "insider": "a bare host inside",
        }.get(host, f"build/{KIND}/{host}/log" if running == "up" else "DOWN")
        print(f"  {host:<11} {where:<52} {dim}{note}{end}")
    tries = (
        (
            "shell laptop",
            "smpl-tunnel 8080:config.internal &   curl http://localhost:8080/internal/v1/health",
        ),
        (
            "shell attacker",
            "dig config.internal.smplkit.local    curl http://config.smplkit.com/internal/v1/health",
        ),
        (
            "shell insider",
            "dig config.internal.smplkit.local    curl http://config.internal.smplkit.local/docs",
        ),
        ("test", "every attack, and what it would have gained"),
    )
    print(f"\n{bold}Try{end}")
    for command, what in tries:
        print(f"  ./dev lab {command:<18} {dim}# {what}{end}")
    print("  ./dev lab down\n")


def status():
    if not existing():
        print("the lab is not up")
        return 1
    broken = 0
    for host, where, running in describe():
        broken |= running != "up"
        print(f"{host:<11} {running:<5} {where}")
    return int(broken)


def shell(host, argv):
    if host not in HOSTS:
        raise LabError(f"there is no host '{host}'; there are: {' '.join(HOSTS)}")
    line = enter(host, *(argv or ["bash", "--norc", "-i"]))
    folder = WORK / host
    environment = dict(
        os.environ, PATH=f"{BIN}:{os.environ.get('PATH', '')}", PS1=f"{host} $ ", debian_chroot=host
    )
    if host in ("laptop", "far"):
        environment |= {
            "SMPL_TUNNEL_CONFIG": str(folder / "tunnel.yaml"),
            "SMPLKIT_API_KEY": (WORK / "laptop" / "api_key").read_text().strip(),
        }
    os.chdir(folder)
    os.execvpe(line[0], line, environment)


USAGE = (
    "Usage: ./dev lab up | status | shell HOST [COMMAND...] | link delay MS|loss PERMILLE|cut "
    "none|ab|ba|both | test [full] | outages [HOST...] | soak [SECONDS] | down"
)
VERBS = {"up": (0, 0), "status": (0, 0), "down": (0, 0), "link": (2, 2), "shell": (1, 1000)}


def stop(host, number=signal.SIGTERM):
    """Ends a host's program; returns once it has gone."""
    end_processes(host, number)
    end = time.monotonic() + PATIENCE
    while pids(host):
        if time.monotonic() > end:
            raise LabError(f"{host} does not end")
        time.sleep(0.02)


def reload_resolvers():
    for host in ("resolver", "resolver-2"):
        run(*enter(host, BIN / "smpl-resolver", "reload", "-c", WORK / host / "resolver.yaml"))


def restart(host, number=signal.SIGTERM):
    """Ends a host's program and starts it anew; what it logged before is gone."""
    stop(host, number)
    (WORK / host / "log").write_text("")
    wait_ready(host, start(host))


def main(argv):
    verb = argv[0] if argv else ""
    least, most = VERBS.get(verb, (1, 0))
    if not least <= len(argv) - 1 <= most:
        print(
            f"lab: {'what shall be done?' if not argv else 'not understood: ' + ' '.join(argv)}\n"
            f"     {USAGE}",
            file=sys.stderr,
        )
        return 2
    if os.geteuid() != 0:
        print(f"lab: network namespaces need root\n     sudo ./dev lab {' '.join(argv)}", file=sys.stderr)
        return 1
    try:
        if verb == "shell":
            shell(argv[1], argv[2:])
        if verb == "status":
            return status()
        if verb == "link":
            link(argv[1], argv[2])
            return 0
        (ROOT / "build").mkdir(exist_ok=True)
        with open(ROOT / "build" / f".{KIND}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if verb == "down":
                print("the lab is down" if down() else "there was no lab")
            else:
                try:
                    up()
                except BaseException:
                    if "SMPL_LAB_KEEP" not in os.environ:
                        keep = {
                            h: (WORK / h / "log").read_text(errors="replace")
                            for h in PROGRAMS
                            if (WORK / h / "log").exists()
                        }
                        down()
                        for host, text in keep.items():  # what a failed start said
                            write(f"{host}/log", text)
                    raise
                show()
    except LabError as e:
        print(f"lab: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # who reads what we say has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
