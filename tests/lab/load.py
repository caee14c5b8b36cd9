# SPDX-License-Identifier: Apache-2.0
"""Load on a host, for outages.py: starts requests by the clock, whatever became of those before, and writes
what became of each.
Usage: load.py STREAMS OUT   both files; ends on SIGTERM. A line of OUT is [stream, began, ended, outcome,
detail], in monotonic seconds."""

import asyncio
import json
import os
import random
import signal
import socket
import struct
import sys
import time

GIVE_UP = 30  # seconds after which a request counts as without an answer
ASK_NEXT = 0.2  # seconds before the next resolver is asked too
now = time.monotonic


class Out:
    def __init__(self, path):
        self.file = open(path, "w", buffering=1 << 16)

    def say(self, stream, began, outcome, detail=""):
        self.file.write(json.dumps([stream, began, now(), outcome, str(detail)[:300]]) + "\n")

    async def flush(self):
        while True:
            await asyncio.sleep(0.1)
            self.file.flush()


async def by_the_clock(rate, start):
    """Calls start() rate times a second; it makes a task of its own."""
    at = now()
    tasks = set()
    while True:
        task = asyncio.ensure_future(start())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        at = max(at + 1 / rate, now() - 1)
        await asyncio.sleep(max(0, at - now()))


# --- HTTP ---


def message(s, method, path, body=None, kept=False, key=None):
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {s['host']}\r\n"
        f"Connection: {'keep-alive' if kept else 'close'}\r\n"
    )
    if key:
        head += f"Authorization: Bearer {key}\r\n"
    if body is not None:
        head += f"Content-Type: application/vnd.api+json\r\nContent-Length: {len(body)}\r\n"
    return (head + "\r\n" + (body or "")).encode()


class Connection:
    def __init__(self, s):
        self.s, self.reader, self.writer = s, None, None

    async def ask(self, request):
        """(status, body); OSError or EOFError when there is no answer. A kept connection that has gone is
        replaced once."""
        used = self.writer is not None
        try:
            return await asyncio.wait_for(self.once(request), GIVE_UP)
        except (OSError, EOFError, TimeoutError, asyncio.TimeoutError):
            self.close()
            if not used:
                raise
            return await asyncio.wait_for(self.once(request), GIVE_UP)

    async def once(self, request):
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection(
                self.s["address"], self.s.get("port", 80)
            )
        self.writer.write(request)
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.split("content-length:")[1].split("\r\n")[0]) if "content-length:" in head else 0
        body = await self.reader.readexactly(length)
        if "connection: close" in head or b"connection: close" in request.lower():
            self.close()
        return int(head.split()[1]), body.decode()

    def close(self):
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


def judge(s, status, body):
    """'ok', 'failed' (an answer that says so) or 'wrong'."""
    if status in (429, 502, 503, 504) and s["expect"] not in (429, 502, 503, 504):
        return "failed", status
    if status != s["expect"] or (s.get("text") and s["text"] not in body):
        return "wrong", f"{status} {body}"
    return "ok", ""


async def one_http(s, out, connection=None, key=None):
    own = connection is None
    connection = connection or Connection(s)
    began = now()
    try:
        status, body = await connection.ask(
            message(s, "GET", s["path"], kept=not own, key=key or s.get("key"))
        )
        out.say(s["name"], began, *judge(s, status, body))
    except (OSError, EOFError, asyncio.TimeoutError) as e:
        out.say(s["name"], began, "failed", repr(e))
    finally:
        if own:
            connection.close()


async def new_connections(s, out):
    await by_the_clock(s["rate"], lambda: one_http(s, out))


async def kept_connections(s, out):
    async def worker():
        connection = Connection(s)
        while True:
            began = now()
            await one_http(s, out, connection)
            await asyncio.sleep(max(0, began + s["workers"] / s["rate"] - now()))

    await asyncio.gather(*(worker() for _ in range(s["workers"])))


async def fresh_keys(s, out):
    """Each key is used once: nobody has heard of it before."""
    keys = iter(s["keys"])

    async def use():
        key = next(keys, None)
        if key is not None:
            await one_http(s, out, key=key)

    await by_the_clock(s["rate"], use)


async def writes(s, out):
    """Each worker counts up in a document of its own, and reads back: never less than what was
    acknowledged."""

    async def worker(i):
        name, acknowledged, n, connection = f"w{i}", 0, 0, Connection(s)
        while True:
            n += 1
            began = now()
            body = json.dumps(
                {"data": {"type": "config", "id": name, "attributes": {"name": name, "description": str(n)}}}
            )
            try:
                status, text = await connection.ask(
                    message(s, "PUT", f"/api/v1/configs/{name}", body, True, s["key"])
                )
                out.say(s["name"], began, *judge(s, status, text))
                acknowledged = n if status == 200 else acknowledged
                began = now()
                status, text = await connection.ask(
                    message(s, "GET", f"/api/v1/configs/{name}", None, True, s["key"])
                )
                outcome, detail = judge(s, status, text)
                if outcome == "ok":
                    there = int(json.loads(text)["data"]["attributes"]["description"] or 0)
                    if not acknowledged <= there <= n:
                        outcome, detail = "wrong", f"{name} is {there}; acknowledged {acknowledged}, sent {n}"
                out.say(s["name"], began, outcome, detail)
            except (OSError, EOFError, asyncio.TimeoutError) as e:
                out.say(s["name"], began, "failed", repr(e))
            await asyncio.sleep(max(0, began + 2 * s["workers"] / s["rate"] - now()))

    await asyncio.gather(*(worker(i) for i in range(s["workers"])))


# --- names ---


class Asker(asyncio.DatagramProtocol):
    def __init__(self, reply):
        self.reply = reply

    def datagram_received(self, data, peer):
        if not self.reply.done():
            self.reply.set_result(data)

    def error_received(self, exc):  # refused: the next one is asked soon
        pass


async def one_name(s, out):
    """As our own programs do it: the first server, and a little later the second one too."""
    name, address = random.choice(s["names"])
    ident = random.randrange(65536)
    labels = b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\0"
    question = struct.pack(">6H", ident, 0x0100, 1, 0, 0, 0) + labels + struct.pack(">2H", 1, 1)
    loop, began, reply = asyncio.get_running_loop(), now(), asyncio.get_running_loop().create_future()
    used = []
    try:
        for server in s["servers"]:
            transport, _ = await loop.create_datagram_endpoint(lambda: Asker(reply), remote_addr=(server, 53))
            used.append(transport)
            transport.sendto(question)
            done, _ = await asyncio.wait([reply], timeout=ASK_NEXT)
            if done:
                break
        data = await asyncio.wait_for(reply, 5)
        rcode = data[3] & 15
        if rcode == 2:
            out.say(s["name"], began, "failed", "SERVFAIL")
        elif (
            (rcode == 5 and data[6:12] == bytes(6))
            if address is None
            else (rcode == 0 and data.endswith(socket.inet_aton(address)))
        ):
            out.say(s["name"], began, "ok")
        else:
            out.say(s["name"], began, "wrong", f"{name}: {data.hex()}")
    except (OSError, asyncio.TimeoutError) as e:
        out.say(s["name"], began, "failed", repr(e))
    finally:
        for transport in used:
            transport.close()


async def names(s, out):
    await by_the_clock(s["rate"], lambda: one_name(s, out))


async def system_names(s, out):
    """As the system does it, with what is in resolv.conf."""

    async def one():
        began = now()
        name, address = random.choice(s["names"])
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                name, 80, family=socket.AF_INET, type=socket.SOCK_STREAM
            )
            right = [f[4][0] for f in found] == [address]
            out.say(s["name"], began, "ok" if right else "wrong", "" if right else f"{name}: {found}")
        except socket.gaierror as e:  # EAI_NONAME would be somebody's word that the name is not there
            out.say(s["name"], began, "wrong" if e.errno == socket.EAI_NONAME else "failed", e)

    await by_the_clock(s["rate"], one)


# --- tunnels ---

running = set()


async def tunnels(s, out):
    """One after another: opened until it is ready, and ended. As many side by side as there are ports."""

    async def worker(port):
        while True:
            began = now()
            p = await asyncio.create_subprocess_exec(
                *s["argv"],
                f"{port}:config.internal",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            running.add(p)
            try:
                line = await asyncio.wait_for(p.stdout.readline(), GIVE_UP)
                out.say(
                    s["name"],
                    began,
                    "ok" if b"http://" in line else "failed",
                    b"" if line else (await p.stderr.read()).decode(),
                )
            except asyncio.TimeoutError:
                out.say(s["name"], began, "failed", "not ready")
            if p.returncode is None:
                p.send_signal(signal.SIGINT)
            await p.communicate()
            running.discard(p)
            await asyncio.sleep(0.2)

    await asyncio.gather(*(worker(port) for port in s["ports"]))


KINDS = {
    "new": new_connections,
    "kept": kept_connections,
    "fresh": fresh_keys,
    "writes": writes,
    "names": names,
    "system names": system_names,
    "tunnels": tunnels,
}


async def main(streams, path):
    out = Out(path)
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    tasks = [asyncio.ensure_future(KINDS[s["kind"]](s, out)) for s in json.load(open(streams))] + [
        asyncio.ensure_future(out.flush())
    ]
    stopped = asyncio.ensure_future(ending.wait())
    done, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
    for task in done - {stopped}:
        task.result()  # a stream that ended by itself says why
    out.file.close()
    for p in [p for p in running if p.returncode is None]:
        p.kill()
    os._exit(0)  # nothing that is under way is waited for


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
