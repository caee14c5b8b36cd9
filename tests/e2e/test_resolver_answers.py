# SPDX-License-Identifier: Apache-2.0
"""What smpl-resolver answers where a message gets long, leads on or says more than was asked, over real
sockets."""

import json
import os
import shutil
import signal
import struct

import pytest

import kit
from resolver_world import PRIVATE, PUBLIC, query, rcode, split
from zones import SOA, make


def one_view(spawn, work, **zones):
    names = {name.replace("_", "."): text for name, text in zones.items()}
    return make(spawn, work, names, {"all": ("0.0.0.0/0", list(names), "")}).start()


def test_ds_behind_an_alias_to_the_zones_own_name(spawn, work):
    r = one_view(spawn, work, example_com=SOA + "sub NS ns.sub\n", sub_example_com=SOA + "x CNAME @\n")
    out = r.dig("x.sub.example.com", "DS")
    assert "status: NOERROR" in out and "Warning" not in out and "malformed" not in out
    assert "example.com.\t\t30\tIN\tSOA" in out


def test_referral_over_tcp_is_never_cut(spawn, work):
    servers = "".join(f"deep NS s{i}.deep\ns{i}.deep A 10.0.{i // 256}.{i % 256}\n" for i in range(900))
    r = one_view(spawn, work, z_test=SOA + servers)
    reply = r.session(PRIVATE, True).ask(query("x.deep.z.test", 1))
    assert not reply[2] & 2 and struct.unpack(">HHHH", reply[4:12]) == (1, 0, 900, 901)
    out = r.dig("x.deep.z.test", "+tcp")
    assert out.count("\tA\t10.0.") == 900 and "s899.deep.z.test." in out


def test_byte_order_mark_of_a_zone_file_is_passed_over(spawn, work):
    r = one_view(spawn, work, z_test="\ufeff" + SOA)
    assert r.dig("ns.z.test", "+short") == "127.41.0.1"


@pytest.mark.short
def test_queries_before_a_bad_one_are_answered(spawn, work):
    r = one_view(spawn, work, z_test=SOA)
    good = query("ns.z.test", 1)
    good = struct.pack(">H", len(good)) + good
    for bad in (b"\0\0", b"\0\x01x"):
        with r.tcp(PRIVATE) as s:
            s.sendall(good * 3 + bad + good)
            stream = s.makefile("rb")
            for _ in range(3):
                (size,) = struct.unpack(">H", stream.read(2))
                assert rcode(stream.read(size)) == 0
            assert stream.read() == b""


def test_additional_data_is_of_the_clients_view(spawn, work):
    """A service record says where its target lives, as the asking client sees it, and nothing where it may
    not."""
    com = SOA + "_http._tcp SRV 0 0 80 app\n@ MX 10 mail.private.test.\n@ HTTPS 1 app alpn=h2\n"
    r = make(
        spawn,
        work,
        {
            "com.test@vpc": com + "app A 10.0.0.1\n",
            "com.test@world": com + "app A 192.0.2.1\n",
            "private.test": SOA + "mail A 10.0.0.2\n",
        },
        {
            "vpc": ("127.10.0.0/16", ["com.test@vpc", "private.test"], ""),
            "world": ("0.0.0.0/0", ["com.test@world"], ""),
        },
    )
    r.start()
    for name, kind, target, inside, outside in (
        ("_http._tcp.com.test", "SRV", "app.com.test.", "10.0.0.1", "192.0.2.1"),
        ("com.test", "HTTPS", "app.com.test.", "10.0.0.1", "192.0.2.1"),
        ("com.test", "MX", "mail.private.test.", "10.0.0.2", None),
    ):
        assert f"{target}\t" in r.dig(name, kind) and f"\tA\t{inside}" in r.dig(name, kind)
        out = r.dig(name, kind, source=PUBLIC)
        assert f"\tA\t{outside}" in out if outside else "ADDITIONAL: 1" in out
        assert "\tA\t10." not in out


def test_overlay_takes_what_it_lacks_from_its_base(spawn, work):
    """A private zone over the public one: private names win, the rest is public, and outside nothing of it is
    seen."""
    zones = {
        "com.test@vpc": (
            SOA + "app A 10.0.0.1\ndb A 10.0.0.2\nshop CNAME www\n",
            ", on_missing: base, base: com.test@world",
        ),
        "com.test@world": SOA
        + "app A 192.0.2.1\napp AAAA 2001:db8::1\nwww A 192.0.2.2\nlogin CNAME app\n@ MX 10 www\n",
    }
    r = make(
        spawn,
        work,
        zones,
        {"vpc": ("127.10.0.0/16", ["com.test@vpc"], ""), "world": ("0.0.0.0/0", ["com.test@world"], "")},
    )
    done = r.command("check", "-c", r.config)
    assert done.returncode == 0 and "what it lacks from com.test@world" in done.stdout, (
        done.stdout + done.stderr
    )
    r.start()
    for name, inside, outside in (
        ("app", "10.0.0.1", "192.0.2.1"),
        ("db", "10.0.0.2", ""),
        ("www", "192.0.2.2", "192.0.2.2"),
        ("login", "app.com.test. 10.0.0.1", "app.com.test. 192.0.2.1"),
        ("shop", "www.com.test. 192.0.2.2", ""),
    ):
        assert " ".join(r.dig(f"{name}.com.test", "+short").split()) == inside
        assert " ".join(r.dig(f"{name}.com.test", "+short", source=PUBLIC).split()) == outside
    assert r.dig("app.com.test", "AAAA", "+short") == "", "a private name is private in all its types"
    assert "192.0.2.2" in r.dig("com.test", "MX")
    assert "status: NXDOMAIN" in r.dig("nope.com.test")
    out = r.dig("db.com.test", source=PUBLIC)
    assert "status: NXDOMAIN" in out and "10.0.0" not in out
    explained = r.command("explain", "www.com.test", "--from", PRIVATE, "-c", r.config)
    assert explained.returncode == 0 and "com.test@world (view vpc)" in explained.stdout, (
        explained.stdout + explained.stderr
    )


def test_overlay_without_its_base_is_refused_with_the_place(spawn, work):
    r = make(
        spawn,
        work,
        {"com.test@vpc": (SOA, ", on_missing: base, base: com.test@world")},
        {"vpc": ("127.10.0.0/16", ["com.test@vpc"], "")},
    )
    done = r.command("check", "-c", r.config)
    assert (
        done.returncode == 1
        and "resolver.yaml:6:" in done.stderr
        and "no zone 'com.test@world' under zones" in done.stderr
    )


def with_cookie(message, cookie):
    """The query with a COOKIE option in its OPT, which stands last."""
    return message[:-2] + struct.pack(">HHH", 4 + len(cookie), 10, len(cookie)) + cookie


def cookie_of(reply):
    assert reply[-28:-24] == b"\0\x0a\0\x18", reply
    return reply[-24:]


@pytest.mark.short
@pytest.mark.parametrize("tcp", [False, True])
def test_cookies_come_back_and_are_renewed(spawn, work, tcp):
    r = one_view(spawn, work, z_test=SOA)
    session = r.session(PRIVATE, tcp)
    q = query("ns.z.test", 1)
    cookie = cookie_of(session.ask(with_cookie(q, b"client01")))
    assert cookie[:8] == b"client01" and cookie[8:12] == b"\x01\0\0\0"
    for sent in (cookie, b"client01" + bytes(16), b"client01" + b"x" * 32):
        reply = session.ask(with_cookie(q, sent))
        assert rcode(reply) == 0 and b"\x7f\x29\0\x01" in reply, "answered whatever the cookie is worth"
        assert cookie_of(reply)[:12] == cookie[:12]
    assert rcode(session.ask(with_cookie(q, b"short"))) == 1
    alone = struct.pack(">HHHHHH", 7, 0, 0, 0, 0, 1) + b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0)
    reply = session.ask(with_cookie(alone, b"client02"))
    assert rcode(reply) == 0 and cookie_of(reply)[:8] == b"client02"


def test_dig_takes_the_cookie_for_good(spawn, work):
    r = one_view(spawn, work, z_test=SOA)
    out = r.dig("ns.z.test", "+cookie=0123456789abcdef")
    assert "COOKIE: 0123456789abcdef01000000" in out and "(good)" in out


def test_cookies_of_one_client_are_those_of_all_workers_and_of_nobody_else(spawn, work):
    """Made from one secret: whichever worker a datagram reaches. In one second the cookie is the same."""
    r = make(spawn, work, {"z.test": SOA}, {"all": ("0.0.0.0/0", ["z.test"], "")}, more="workers: 4\n")
    r.start()
    for _ in range(5):
        got = {
            cookie_of(r.session(PRIVATE, False).ask(with_cookie(query("ns.z.test", 1), b"client01")))
            for _ in range(32)
        }
        if len(got) == 1:
            break
    assert len(got) == 1, "five times over a second's end?"
    other = cookie_of(r.session(PUBLIC, False).ask(with_cookie(query("ns.z.test", 1), b"client01")))
    assert other[16:] not in {c[16:] for c in got}


LIMITED = ", public: true, rate_limit: 10"


def flood_all(r, source, messages, hold=True):
    """Sends them all and returns what comes back. The resolver finds them at once, on however slow a
    machine."""
    replies = []
    with r.udp(source) as s:
        if hold:
            r.program.signal(signal.SIGSTOP)
        for message in messages:
            s.send(message)
        r.program.signal(signal.SIGCONT)
        r.session(PRIVATE, False).ask(
            query("ns.private.test", 1)
        )  # its one worker has answered what came before
        s.setblocking(False)
        try:
            while True:
                replies.append(s.recv(65535))
        except BlockingIOError:
            return replies


def flood(r, source, message, count, hold=True):
    return flood_all(r, source, [message] * count, hold)


def limited_world(spawn, work):
    zones = {"com.test": SOA + "a A 192.0.2.1\n", "private.test": SOA}
    r = make(
        spawn,
        work,
        zones,
        {"vpc": ("127.10.0.0/16", list(zones), ""), "world": ("0.0.0.0/0", ["com.test"], LIMITED)},
        more="workers: 1\n",
    )
    return r.start()


@pytest.mark.short
def test_public_views_answer_one_network_at_a_bounded_rate(spawn, work):
    r = limited_world(spawn, work)
    q = query("a.com.test", 1)
    replies = flood(r, PUBLIC, q, 200)
    whole = [m for m in replies if not m[2] & 2]
    slipped = [m for m in replies if m[2] & 2]
    assert 10 <= len(whole) <= 20 and 80 <= len(slipped) <= 95
    assert {len(m) for m in slipped} == {len(q)}, "a short answer is no longer than the question"
    # over TCP it is answered, another network too, and in a view that is not public nobody is limited
    assert rcode(r.session(PUBLIC, True).ask(q)) == 0
    assert len([m for m in flood(r, "127.20.1.9", q, 5) if not m[2] & 2]) == 5
    assert len([m for m in flood(r, PRIVATE, q, 200) if not m[2] & 2]) == 200
    done = r.command("stats", "-c", r.config, "--json")
    views = {v["view"]: v for v in json.loads(done.stdout)["views"]}
    assert views["world"]["limited"] == 200 - len(whole) and views["vpc"]["limited"] == 0


def test_cookies_exempt_from_the_rate(spawn, work):
    r = limited_world(spawn, work)
    q = query("a.com.test", 1)
    replies = flood(r, PUBLIC, with_cookie(q, b"client01"), 100)
    bad = [m for m in replies if rcode(m) == 7 and m[-28 - 11 + 5] == 1]
    assert bad, "BADCOOKIE, 23, instead of TC"
    good = cookie_of(bad[-1])
    assert len(flood(r, PUBLIC, with_cookie(q, good), 100)) == 100
    # from another address of the same network it is worth nothing
    assert len([m for m in flood(r, "127.20.0.10", with_cookie(q, good), 100) if rcode(m) == 0]) <= 20


def test_refusals_are_limited_alike_for_every_name(spawn, work):
    """The private zone's names and made-up ones share one count: which ran out tells nothing."""
    r = limited_world(spawn, work)
    names = ["ns.private.test"] * 100 + [
        name for name in ("ns.private.test", "nope.private.test", "nowhere.test") for _ in range(20)
    ]
    replies = {}
    for m in flood_all(r, PUBLIC, [query(name, 1, ident=i) for i, name in enumerate(names)]):
        i = struct.unpack(">H", m[:2])[0]
        replies.setdefault((names[i], i >= 100), []).append(m)
    for name in names[100::20]:
        late = replies[name, True]
        assert sum(rcode(m) == 5 for m in late) <= 8 and len(late) >= 10
        assert {split(m) for m in late if rcode(m) != 5} == {
            (b"\x82\0\0\x01\0\0\0\0\0\x01", b"\0\0\x29\x04\xd0\0\0\0\0\0\0")
        }


def test_cookies_and_limits_cost_no_system_calls(spawn, work):
    strace = shutil.which("strace")
    if kit.SANITIZED:
        pytest.skip("the release build's system calls: sanitizers make their own")
    if strace is None or os.geteuid() != 0:
        pytest.skip("needs strace and root: the program may not be traced by its own user")
    r = limited_world(spawn, work)
    log = r.work / "strace"
    tracer = kit.Program([strace, "-f", "-o", str(log), "-p", str(r.program.pid)])
    try:
        tracer.wait_line("attached")
        cookie = cookie_of(r.session(PRIVATE, False).ask(with_cookie(query("a.com.test", 1), b"client01")))
        for message in (
            query("a.com.test", 1),
            with_cookie(query("x.private.test", 1), b"client01"),
            with_cookie(query("a.com.test", 1), cookie),
        ):
            flood(r, PUBLIC, message, 50, hold=False)
    finally:
        tracer.signal(signal.SIGINT)
        tracer.wait()
    lines = [line.split(None, 1) for line in log.read_text().splitlines()]
    workers = {thread for thread, text in lines if text.startswith("recvmmsg(")}
    calls, begun = set(), set()  # a worker may be traced before it has begun to wait
    for thread, text in lines:
        if text.startswith(("epoll_wait(", "epoll_pwait(", "recvmmsg(")):
            begun.add(thread)
        if thread in workers & begun and "(" in text and not text.startswith(("<", "---", "+++")):
            calls.add(text.split("(")[0])
    assert "recvmmsg" in calls and calls <= {
        "recvmmsg",
        "sendmmsg",
        "epoll_wait",
        "epoll_pwait",
        "restart_syscall",
    }, calls
