# SPDX-License-Identifier: Apache-2.0
"""Mixed load for minutes in a lab of its own, with reloads going on: ./dev lab soak [SECONDS]. Ends with a
verdict and a page, build/report/soak.html: rates, latencies, memory and descriptors over time."""

import fcntl
import html
import http.client
import json
import os
import random
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

if __name__ == "__main__":
    os.environ["SMPL_LAB"] = "lab-soak"
sys.path[:0] = [
    str(Path(__file__).parent),
    str(Path(__file__).parents[1] / "e2e"),
    str(Path(__file__).parents[1] / "e2e" / "worlds"),
    str(Path(__file__).parents[1] / "coverage"),
]
import index  # noqa: E402
import kit  # noqa: E402
import lab  # noqa: E402
from conftest import set_namespace  # noqa: E402

CONFIGS = 40  # that the customers write to
CUSTOMERS = 4
GROWTH = 0.10  # of memory between the second and the last quarter, beyond which it is not flat
GROWTH_KB = 4096  # and what is never counted as growth
MORE_FILES = 8
FLAT_FROM = 60  # seconds of soak from which memory and descriptors are judged
LIMIT = 24 * 3600


class Soak:
    def __init__(self, seconds):
        self.seconds = seconds
        self.start = time.monotonic()
        self.ending = threading.Event()
        self.lock = threading.Lock()
        self.calls = {}  # kind -> [(second, latency in ms)]
        self.wrong = []  # answers that were not right, calls that failed
        self.acknowledged = {}  # config -> the last number that was acknowledged
        self.serial = 1  # of the zone, as the last acknowledged reload left it
        self.reloads = {"zone": 0, "policy": 0}
        self.samples = []  # (second, {host: (rss KiB, descriptors)})
        self.threads = []

    def now(self):
        return time.monotonic() - self.start

    def done(self, kind, began):
        with self.lock:
            self.calls.setdefault(kind, []).append((int(self.now()), (time.monotonic() - began) * 1000))

    def fault(self, kind, what):
        with self.lock:
            self.wrong.append(f"{self.now():.1f} s, {kind}: {what}")

    def on(self, host, work):
        def body():
            set_namespace(f"/run/netns/{lab.netns(host)}")
            try:
                work()
            except Exception as e:  # a thread that dies unseen would make the soak easier
                self.fault(work.__name__, repr(e))

        self.threads.append(threading.Thread(target=body, daemon=True))
        self.threads[-1].start()

    # --- load ---

    def ask(self, kind, server, name, check, tcp=False):
        ident = random.randrange(65536)
        labels = b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\0"
        message = struct.pack(">6H", ident, 0x0100, 1, 0, 0, 0) + labels + struct.pack(">2H", 1, 1)
        began = time.monotonic()
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as s:
            s.settimeout(lab.PATIENCE)
            try:
                s.connect((server, 53))
                s.sendall((struct.pack(">H", len(message)) if tcp else b"") + message)
                reply = s.recv(4096)
                reply = reply[2:] if tcp else reply
            except OSError as e:
                return self.fault(kind, f"{name}: {e!r}")
        self.done(kind, began)
        if reply[:2] != message[:2] or not check(reply):
            self.fault(kind, f"{name}: {reply.hex()}")

    def inside_dns(self):
        fixed = {f"{n}.internal.smplkit.local": socket.inet_aton(a) for n, a in lab.INTERNAL_NAMES.items()}
        while not self.ending.is_set():
            for name, address in fixed.items():
                self.ask(
                    "dns inside",
                    "10.20.0.2",
                    name,
                    lambda r: r[3] & 15 == 0 and r.endswith(address),
                    tcp=random.random() < 0.05,
                )
            least = self.serial
            self.ask(
                "dns inside",
                "10.20.0.2",
                "turn.internal.smplkit.local",
                lambda r: r[3] & 15 == 0 and int.from_bytes(r[-2:], "big") >= least,
            )  # never older than what was acknowledged
            time.sleep(0.01)

    def outside_dns(self):
        while not self.ending.is_set():
            for name in (
                "config.internal.smplkit.local",
                "turn.internal.smplkit.local",
                "nosuch.internal.smplkit.local",
            ):
                self.ask("dns outside", "203.0.113.2", name, lambda r: r[3] & 15 == 5 and r[6:12] == bytes(6))
            self.ask(
                "dns outside",
                "203.0.113.2",
                "config.smplkit.com",
                lambda r: r.endswith(socket.inet_aton("203.0.113.11")),
            )
            time.sleep(0.01)

    def customer(self, own, address, name):
        """PUT and GET of its own configs: what is read is what was acknowledged last."""
        key = (lab.WORK / "laptop" / "api_key").read_text().strip()
        headers = {"Host": name, "Authorization": f"Bearer {key}", "Content-Type": "application/vnd.api+json"}
        connection, n = None, 0
        while not self.ending.is_set():
            n += 1
            config = own[n % len(own)]
            last = self.acknowledged.get(config)
            method = (
                "GET" if last is not None and random.random() < 0.7 else "POST" if last is None else "PUT"
            )
            body = (
                None
                if method == "GET"
                else json.dumps(
                    {
                        "data": {
                            "type": "config",
                            "id": config,
                            "attributes": {"name": config, "description": str(n)},
                        }
                    }
                )
            )
            began = time.monotonic()
            try:
                connection = connection or http.client.HTTPConnection(address, 80, timeout=lab.PATIENCE)
                connection.request(
                    method, "/api/v1/configs" + ("" if method == "POST" else f"/{config}"), body, headers
                )
                reply = connection.getresponse()
                text = reply.read()
            except (OSError, http.client.HTTPException) as e:
                self.fault("http", f"{method} {config}: {e!r}")
                connection = None
                continue
            self.done("http read" if method == "GET" else "http write", began)
            if reply.status not in (200, 201):
                self.fault("http", f"{method} {config}: {reply.status} {text[:200]!r}")
            elif method != "GET":
                self.acknowledged[config] = str(n)
            elif json.loads(text)["data"]["attributes"]["description"] != last:
                self.fault("http", f"{config} is not what was acknowledged: {text[:200]!r}")
            time.sleep(0.005)

    def tunnels(self):
        """A tunnel that lives for a while, with short and big calls through it, then another one."""
        while not self.ending.is_set():
            program = subprocess.Popen(
                [str(lab.BIN / "smpl-tunnel"), "--bastion", "dev@203.0.113.5", "8080:config.internal"],
                cwd=lab.WORK / "laptop",
                env=dict(os.environ, SMPL_TUNNEL_CONFIG=str(lab.WORK / "laptop" / "tunnel.yaml")),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            try:
                if "http://" not in program.stdout.readline():
                    self.fault("tunnel", program.stderr.readline())
                    continue
                until = time.monotonic() + random.uniform(5, 15)
                while time.monotonic() < until and not self.ending.is_set():
                    for path in ("/internal/v1/health", "/docs/swagger-ui-bundle.js"):
                        began = time.monotonic()
                        c = http.client.HTTPConnection("127.0.0.1", 8080, timeout=lab.PATIENCE)
                        try:
                            c.request("GET", path, None, {"Connection": "close"})
                            reply = c.getresponse()
                            size = len(reply.read())
                            if reply.status != 200 or (path.startswith("/docs") and size < 100000):
                                self.fault("tunnel", f"{path}: {reply.status}, {size} bytes")
                            self.done("tunnel", began)
                        except (OSError, http.client.HTTPException) as e:
                            self.fault("tunnel", f"{path}: {e!r}")
                        finally:
                            c.close()
                    time.sleep(0.05)
            finally:
                program.send_signal(signal.SIGINT)
                status = program.wait(lab.PATIENCE)
                if status != 0:
                    self.fault("tunnel", f"ended with {status}: {program.stderr.read()}")

    def reload(self):
        """The zone and the policy, again and again; each reload acknowledged counts at once."""
        zone, policy = lab.WORK / "resolver" / "internal.zone", lab.WORK / "bastion" / "bastion.yaml"
        text, grants = zone.read_text(), policy.read_text()
        n = 1
        while not self.ending.is_set():
            n += 1
            zone.write_text(
                text.replace("hostmaster 1 ", f"hostmaster {n} ").replace(
                    "turn A 10.20.0.1\n", f"turn A 10.20.{n >> 8}.{n & 255}\n"
                )
            )
            done = subprocess.run(
                [lab.BIN / "smpl-resolver", "reload", "-c", lab.WORK / "resolver" / "resolver.yaml"],
                capture_output=True,
                text=True,
            )
            if done.returncode == 0:
                self.serial = n
                self.reloads["zone"] += 1
            else:
                self.fault("zone reload", done.stderr)
            policy.write_text(grants.replace("{groups: [night]", f"{{groups: [night], idle: {60 + n % 60}s"))
            done = subprocess.run(
                [lab.BIN / "smpl-bastion", "reload", "-c", policy], capture_output=True, text=True
            )
            if done.returncode == 0:
                self.reloads["policy"] += 1
            else:
                self.fault("policy reload", done.stderr)
            self.ending.wait(0.5)

    def sample(self):
        row = {}
        for host in lab.PROGRAMS:
            rss = files = 0
            own = lab.pids(host)
            for pid in {
                *own,
                *(child for p in own for child in kit.children(p)),
            }:  # a bastion's workers have networks of their own
                try:
                    status = Path(f"/proc/{pid}/status").read_text()
                    rss += int(status.split("VmRSS:")[1].split()[0]) if "VmRSS:" in status else 0
                    files += len(os.listdir(f"/proc/{pid}/fd"))
                except OSError:
                    pass
            row[host] = (rss, files)
        self.samples.append((self.now(), row))

    # --- running and judging ---

    def run(self):
        names = [f"soak-{i}" for i in range(CONFIGS)]
        self.on("insider", self.inside_dns)
        self.on("attacker", self.outside_dns)
        for i in range(CUSTOMERS):
            own = names[i::CUSTOMERS]
            self.on("laptop", lambda own=own: self.customer(own, "203.0.113.11", "config.smplkit.com"))
        self.on("laptop", self.tunnels)
        self.on("resolver", self.reload)
        while self.now() < self.seconds:
            self.sample()
            time.sleep(min(1, max(0, self.seconds - self.now())))
        self.ending.set()
        for t in self.threads:
            t.join(2 * lab.PATIENCE)
            if t.is_alive():
                self.fault("soak", "a load did not end")
        self.read_back()

    def read_back(self):
        """Every write that was acknowledged, read once more after both instances were killed."""
        for host in ("config-1", "config-2"):
            lab.restart(host, signal.SIGKILL)
        end = time.monotonic() + lab.PATIENCE
        while not lab.balancer_up("public") and time.monotonic() < end:
            time.sleep(0.1)
        key = (lab.WORK / "laptop" / "api_key").read_text().strip()
        for config, n in sorted(self.acknowledged.items()):
            done = lab.on(
                "laptop",
                "curl",
                "-s",
                "-H",
                f"Authorization: Bearer {key}",
                f"http://config.smplkit.com/api/v1/configs/{config}",
            )
            if f'"description":"{n}"' not in done.stdout:
                self.fault("lost write", f"{config}: acknowledged {n}, there is {done.stdout[:200]}")

    def growth(self, host, what):
        """(median of the second quarter, of the last quarter)"""
        rows = [row[host][what] for _, row in self.samples]
        n = len(rows)
        return statistics.median(rows[n // 4 : n // 2]), statistics.median(rows[-(n // 4) :])

    def not_flat(self):
        if self.seconds < FLAT_FROM:
            return []
        out = []
        for host in lab.PROGRAMS:
            a, b = self.growth(host, 0)
            if b > a * (1 + GROWTH) + GROWTH_KB:
                out.append(f"{host}: memory grew from {a:.0f} to {b:.0f} KiB")
            a, b = self.growth(host, 1)
            if b > a + MORE_FILES:
                out.append(f"{host}: descriptors grew from {a:.0f} to {b:.0f}")
        return out


# --- the page ---


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0


def plot(title, unit, lines, width=640, height=160):
    """Lines of (x, y) as SVG."""
    top = max((y for points in lines.values() for _, y in points), default=0) or 1
    right = max((x for points in lines.values() for x, _ in points), default=0) or 1
    colours = [
        "#1f5fa8",
        "#c0392b",
        "#2d8a4e",
        "#8e44ad",
        "#b9770e",
        "#16a085",
        "#7f8c8d",
        "#d35400",
        "#2c3e50",
        "#a93226",
    ]
    out = [
        f'<h3>{html.escape(title)} <small>{html.escape(unit)}, top {top:.1f}</small></h3><svg viewBox="0 0 '
        f'{width} {height}" width="{width}" height="{height}">'
        f'<rect width="{width}" height="{height}" fill="#f7f7f7"/>'
    ]
    legend = []
    for (name, points), colour in zip(lines.items(), colours * 3):
        path = " ".join(f"{x / right * width:.1f},{height - y / top * (height - 6):.1f}" for x, y in points)
        out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.4" points="{path}"/>')
        legend.append(f'<span style="color:{colour}">&#9632; {html.escape(name)}</span>')
    marks = "".join(
        f'<span style="display:inline-block;width:{width // 5}px;text-align:left">{right * i / 5:.0f} '
        "s</span>"
        for i in range(5)
    )
    return (
        "".join(out)
        + f'</svg><div style="width:{width}px;color:#777;font-size:12px">{marks}</div><p>'
        + " ".join(legend)
        + "</p>"
    )


def page(soak, verdict):
    seconds = range(int(soak.now()) + 1)
    rates, p50, p99 = {}, {}, {}
    for kind, calls in sorted(soak.calls.items()):
        by_second = {}
        for second, ms in calls:
            by_second.setdefault(second, []).append(ms)
        rates[kind] = [(s, len(by_second.get(s, []))) for s in seconds if s < soak.seconds]
        p50[kind] = [(s, percentile(v, 0.5)) for s, v in sorted(by_second.items())]
        p99[kind] = [(s, percentile(v, 0.99)) for s, v in sorted(by_second.items())]
    memory = {h: [(t, row[h][0] / 1024) for t, row in soak.samples] for h in lab.PROGRAMS}
    files = {h: [(t, row[h][1]) for t, row in soak.samples] for h in lab.PROGRAMS}
    rows = "".join(
        f"<tr><td>{k}<td>{len(c)}<td>{len(c) / soak.seconds:.0f}"
        f"<td>{percentile([m for _, m in c], 0.5):.1f}<td>{percentile([m for _, m in c], 0.99):.1f}"
        for k, c in sorted(soak.calls.items())
    )
    faults = "".join(f"<li>{html.escape(w)}" for w in verdict["faults"][:200]) or "<li>none"
    return f"""<!doctype html><meta charset="utf-8"><title>Soak</title>
<style>body{{font:14px system-ui;margin:2em;max-width:700px}}table{{border-collapse:collapse}}
td,th{{padding:2px 12px;text-align:right}}small{{color:#777}}</style>
<h1>Soak of {soak.seconds} s: {'passed' if verdict['passed'] else 'FAILED'}</h1>
<p>{soak.reloads['zone']} zone reloads, {soak.reloads['policy']} policy reloads,
{len(soak.acknowledged)} configs written, all read back after kill -9 of both instances.</p>
<table><tr><th>load<th>calls<th>a second<th>p50 ms<th>p99 ms{rows}</table>
<h2>Wrong answers, failures, growth</h2><ul>{faults}</ul>
{plot("Rates", "calls a second", rates)}{plot("Latency, median", "ms", p50)}{plot("Latency, p99", "ms", p99)}
{plot("Memory", "MiB, sum of a host's processes", memory)}{plot("Descriptors", "open files", files)}
"""


def main(argv):
    seconds = int(argv[0]) if argv and argv[0].isdigit() else 300 if not argv else 0
    if not 5 <= seconds <= LIMIT or len(argv) > 1:
        print(
            f"soak: expected 5 to {LIMIT} seconds, got {' '.join(argv)}\n"
            "     Usage: ./dev lab soak [SECONDS]",
            file=sys.stderr,
        )
        return 2
    if os.geteuid() != 0:
        print("soak: network namespaces need root\n     sudo ./dev lab soak", file=sys.stderr)
        return 1
    (lab.ROOT / "build").mkdir(exist_ok=True)
    lock = open(lab.ROOT / "build" / f".{lab.KIND}.lock", "w")  # held until this process ends
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("soak: waiting for another one in this folder", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        lab.up()
        zone = lab.WORK / "resolver" / "internal.zone"
        zone.write_text(zone.read_text() + "turn A 10.20.0.1\n")
        lab.restart("resolver")
        soak = Soak(seconds)
        print(f"soak: {seconds} s of mixed load; the page will be build/report/soak.html", flush=True)
        soak.run()
    except lab.LabError as e:
        print(f"soak: {e}", file=sys.stderr)
        return 1
    finally:
        lab.down()
    faults = soak.wrong + soak.not_flat()
    idle = [
        k for k in ("dns inside", "dns outside", "http read", "http write", "tunnel") if not soak.calls.get(k)
    ]
    faults += [f"no call of {k} succeeded" for k in idle]
    verdict = {
        "passed": not faults,
        "seconds": seconds,
        "faults": faults,
        "reloads": soak.reloads,
        "calls": {k: len(v) for k, v in soak.calls.items()},
        "memory_kib": {h: soak.growth(h, 0) for h in lab.PROGRAMS} if len(soak.samples) >= 8 else {},
        "descriptors": {h: soak.growth(h, 1) for h in lab.PROGRAMS} if len(soak.samples) >= 8 else {},
    }
    folder = Path(os.environ.get("SMPL_REPORT", lab.ROOT / "build" / "report"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "soak.html").write_text(page(soak, verdict))
    (folder / "soak.json").write_text(json.dumps(verdict, indent=1) + "\n")
    index.write(folder)
    print(
        f"soak: {'passed' if not faults else 'FAILED'}; calls {verdict['calls']}, reloads {soak.reloads}, "
        f"faults {len(faults)}"
    )
    for line in faults[:20]:
        print("  " + line)
    return 0 if not faults else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
