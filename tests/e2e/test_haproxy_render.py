# SPDX-License-Identifier: Apache-2.0
"""app/haproxy/render: what it makes of a list of services, and what it says about a wrong one."""

import re

import pytest

import kit
from balanced import render

pytestmark = pytest.mark.skipif(kit.SANITIZED, reason="no program of ours runs here")

EXAMPLE = kit.ROOT / "app" / "haproxy" / "example" / "balancers.yaml"
GOOD = """\
public: {listen: ["127.48.1.1:80"], from: 127.48.0.7}
internal: {listen: ["127.48.2.1:80"], clients: [127.48.0.0/16], from: 127.48.0.8}
services:
  - name: one
    public: {names: [one.example], address: 127.48.1.1}
    internal: {names: [one.internal], address: 127.48.2.1}
    instances: ["127.48.3.1:8000", "127.48.4.1:8000"]
  - {name: two, internal: {names: [two.internal]}, instances: ["[fd00::1]:8000"]}
"""


def check(work, text, name="list.yaml"):
    (work / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return kit.run(
        "/usr/bin/python3", kit.ROOT / "app" / "haproxy" / "render", "-c", name, "-o", "out", cwd=work
    )


def test_the_example_is_right_and_haproxy_takes_what_is_made_of_it(work):
    done = render(EXAMPLE, work / "out")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    for side in ("public", "internal"):
        assert kit.run(kit.tool("haproxy"), "-c", "-f", f"{side}.cfg", cwd=work / "out").returncode == 0
    assert (work / "out").stat().st_mode & 0o777 == 0o700


def test_the_public_balancer_knows_nothing_of_a_service_without_public_names(work):
    (work / "list.yaml").write_text(GOOD)
    assert render(work / "list.yaml", work / "out").returncode == 0
    public, internal = ((work / "out" / f"{s}.cfg").read_text() for s in ("public", "internal"))
    assert not re.search(r"\btwo\b", public.replace("read in two ways", "")) and "fd00::1" not in public
    assert (work / "out/rules/public.names").read_text() == "one.example one\n127.48.1.1 one\n"
    assert "backend two" in internal and "server fd00::1.8000 [fd00::1]:8000" in internal
    assert "one.internal" not in public.replace(
        "hdr Host one.internal", ""
    )  # but in the health check, which asks as an insider
    assert not re.search(r"^ *default_backend", public, re.M)


def test_every_rule_of_the_public_balancer_is_above_the_first_route(work):
    (work / "list.yaml").write_text(GOOD)
    assert render(work / "list.yaml", work / "out").returncode == 0
    text = (work / "out" / "public.cfg").read_text()
    front = text[text.index("frontend public") : text.index("\nbackend one")]
    assert front.rindex("http-request deny") < front.index("use_backend")
    for line in front.splitlines():
        if "use_backend" in line:
            assert line == "  use_backend %[var(txn.service)] if below_rule", line


def test_what_edits_break_is_said_with_line_and_column_and_changes_nothing(work):
    (work / "list.yaml").write_text(GOOD)
    assert render(work / "list.yaml", work / "out").returncode == 0
    before = {p: p.read_bytes() for p in (work / "out").rglob("*") if p.is_file()}
    wrong = {
        ("from: 127.48.0.7}", "fromm: 127.48.0.7}"): (1, "unknown key 'fromm'"),
        (", from: 127.48.0.7}", "}"): (1, "lacks 'from'"),
        ('listen: ["127.48.1.1:80"], ', ""): (1, "lacks 'listen' or 'tls'"),
        ("clients: [127.48.0.0/16]", "clients: [0.0.0.0/0]"): (2, "not private"),
        ("clients: [127.48.0.0/16]", "clients: [127.48.0.1/16]"): (2, "host bits"),
        ("clients: [127.48.0.0/16]", "clients: []"): (2, "1 to 64 entries"),
        ('"127.48.2.1:80"', '"203.0.113.7:80"'): (2, "not private"),
        ('"127.48.2.1:80"', '"0.0.0.0:80"'): (2, "not private"),
        ('"127.48.2.1:80"', '"127.48.1.1:80"'): (2, "given before, in line 1"),
        ("from: 127.48.0.8", "from: 8.8.8.8"): (2, "not private"),
        ("name: one\n", "name: One\n"): (4, "lower-case"),
        ("names: [one.example]", "names: [one example]"): (5, "no host name"),
        ("names: [one.example]", 'names: ["one.example\' or 1"]'): (5, "no host name"),
        ("names: [one.example]", "names: [x.localhost]"): (5, "own machine"),
        ("names: [one.example]", "names: []"): (5, "1 to 16 entries"),
        ("address: 127.48.1.1", "address: 127.48.1.9"): (5, "does not listen on 127.48.1.9"),
        ("names: [one.internal]", "names: [one.example]"): (6, "given before, in line 5"),
        ('"127.48.3.1:8000"', '"8.8.8.8:8000"'): (7, "not private"),
        ('"127.48.3.1:8000"', '"127.48.3.1:0"'): (7, "expected ADDRESS:PORT"),
        ('"127.48.3.1:8000"', '"127.48.3.1:65536"'): (7, "expected ADDRESS:PORT"),
        ('"127.48.3.1:8000"', '"127.48.3.1"'): (7, "expected ADDRESS:PORT"),
        ('"127.48.3.1:8000"', '"127.48.4.1:8000"'): (7, "given before, in line 7"),
        ('"127.48.3.1:8000"', '"127.48.1.1:80"'): (7, "given before, in line 1"),
        ("name: two,", "name: one,"): (8, "given before, in line 4"),
        ("name: two,", "name: two, name: three,"): (8, "stands twice"),
        ("[two.internal]", "[ONE.internal]"): (8, "given before, in line 6"),
        ("{names: [two.internal]}", "two.internal"): (8, "must be a mapping"),
        ("name: two,", "name: &a two,"): (8, "anchors"),
        ("services:\n", "services: {\n"): (4, "expected"),
        ("names: [one.example]", "names: [one.example], certificate: none.pem"): (5, "No such file"),
        ("from: 127.48.0.7}", "from: 127.48.0.7, metrics: {hosts: [m]}}"): (1, "lacks 'address'"),
        ("from: 127.48.0.7}", "from: 127.48.0.7, metrics: {address: 8.8.8.8:9301}}"): (1, "not private"),
        ("from: 127.48.0.7}", "from: 127.48.0.7, metrics: {address: 127.48.0.7:9301, hosts: [a b]}}"): (
            1,
            "no host name",
        ),
        ("from: 127.48.0.7}", "from: 127.48.0.7, metrics: {address: 127.48.0.7:9301, hosts: []}}"): (
            1,
            "1 to 16 entries",
        ),
        ("from: 127.48.0.8}", "from: 127.48.0.8, metrics: 127.48.1.1:80}"): (2, "given before, in line 1"),
        ('public: {listen: ["127.48.1.1:80"]', 'public: {tls: ["127.48.1.1:80"]'): (5, "lacks 'certificate'"),
    }
    for (old, new), (line, text) in wrong.items():
        assert old in GOOD, old
        broken = GOOD.replace(old, new, 1)
        done = check(work, broken)
        assert done.returncode == 1 and re.match(
            rf"list\.yaml:{line}:\d+: error: .*{re.escape(text)}", done.stderr
        ), (new, done.stderr)
        assert done.stderr.count("\n") == 1, done.stderr

    def limited(limits):
        return GOOD.replace("from: 127.48.0.7}", f"from: 127.48.0.7, limits: {limits}}}", 1)

    for limits, text in {
        "7": "limits must be a mapping with source, network, provider, exempt",
        "{source: 7}": "limits.source must be a mapping with connections, connection_rate, request_rate",
        "{sources: {}}": "unknown key 'sources' in limits; it takes source, network, provider, exempt",
        "{source: {connection: 1}}": "unknown key 'connection' in limits.source",
        "{source: {connections: 1, connections: 2}}": "stands twice",
        "{source: {connections: -1}}": "limits.source.connections: expected a number from 0 to 1000000, got "
        "'-1'",
        "{source: {connections: 1000001}}": "from 0 to 1000000",
        "{source: {connections: 1.5}}": "from 0 to 1000000",
        "{source: {connections: many}}": "from 0 to 1000000",
        "{source: {connections: 010}}": "from 0 to 1000000",
        "{source: {connections: [1]}}": "must be a text",
        "{source: {connections: 2001}}": "limits.source.connections: 2001 is more than the network's 2000",
        "{network: {request_rate: 20001}}": "limits.network.request_rate: 20001 is more than the provider's "
        "20000",
        "{provider: {connection_rate: 1}}": "limits.network.connection_rate: 1000 is more than the "
        "provider's 1",
        "{exempt: []}": "1 to 64 entries",
        "{exempt: [127.0.0.1/8]}": "host bits",
        "{exempt: [everybody]}": "everybody",
        "{exempt: [" + ", ".join(f"10.{i}.0.0/16" for i in range(65)) + "]}": "1 to 64 entries, not 65",
    }.items():
        done = check(work, limited(limits))
        assert done.returncode == 1 and re.match(
            rf"list\.yaml:1:\d+: error: .*{re.escape(text)}", done.stderr
        ), (limits, done.stderr)
        assert done.stderr.count("\n") == 1, done.stderr
    inside = check(work, GOOD.replace("from: 127.48.0.8}", "from: 127.48.0.8, limits: {}}"))
    assert inside.returncode == 1 and "unknown key 'limits' in internal" in inside.stderr
    for text in (b"", b"\xff\xfe", b"a\0b", b"[" * 3000, b"a: 1\n---\nb: 2\n", b"x" * (1 << 20) + b"x"):
        done = check(work, text)
        assert done.returncode == 1 and "list.yaml" in done.stderr and "Traceback" not in done.stderr, (
            text[:20],
            done.stderr,
        )
    assert {p: p.read_bytes() for p in (work / "out").rglob("*") if p.is_file()} == before


def test_the_limits_that_are_not_given_have_their_defaults(work):
    def rules(limits):
        assert (
            check(work, GOOD.replace("from: 127.48.0.7}", f"from: 127.48.0.7{limits}}}", 1)).returncode == 0
        )
        text = (work / "out/public.cfg").read_text()
        return re.findall(r"(?:table_(\w+)\(_(\w+)\)|(gpc0_rate)\((\d)\)) ge (\d+)", text)

    plain = rules("")
    assert plain == rules(", limits: {}") and len(plain) == 9
    assert (
        ("conn_cur", "source", "", "", "1000") in plain
        and ("conn_rate", "network", "", "", "10000") in plain
        and ("", "", "gpc0_rate", "2", "200000") in plain
    )
    changed = rules(", limits: {source: {connections: 7, request_rate: 0}, provider: {connections: 0}}")
    assert set(plain) - set(changed) == {
        ("conn_cur", "source", "", "", "1000"),
        ("conn_cur", "provider", "", "", "4000"),
        ("", "", "gpc0_rate", "0", "50000"),
    }
    assert set(changed) - set(plain) == {("conn_cur", "source", "", "", "7")}


def test_lists_are_bounded(work):
    for least, most, make in (
        (
            1,
            64,
            lambda n: GOOD.replace(
                'instances: ["127.48.3.1:8000", "127.48.4.1:8000"]',
                "instances: [" + ", ".join(f'"127.48.5.{i + 1}:8000"' for i in range(n)) + "]",
            ),
        ),
        (
            1,
            16,
            lambda n: GOOD.replace("[one.example]", "[" + ", ".join(f"n{i}.example" for i in range(n)) + "]"),
        ),
    ):
        for n, status in ((0, 1), (least, 0), (most, 0), (most + 1, 1)):
            done = check(work, make(n))
            assert done.returncode == status, (n, done.stderr)


def test_the_biggest_list_is_taken_by_haproxy(work):
    """64 services with 16 names a side, 64 addresses on each balancer, 64 networks: no line grows with
    them."""
    text = (
        "public: {listen: [" + ", ".join(f'"127.48.1.{i}:80"' for i in range(64)) + "], from: 127.48.0.7}\n"
    )
    text += (
        "internal: {listen: ["
        + ", ".join(f'"127.48.2.{i}:80"' for i in range(64))
        + "], from: 127.48.0.8, clients: ["
    )
    text += ", ".join(f"10.{i}.0.0/16" for i in range(64)) + "]}\nservices:\n"
    for s in range(64):
        sides = [
            f"{side}: {{names: [{', '.join(f's{s}n{n}.{side}' for n in range(16))}]"
            + (f", address: [{', '.join(f'127.48.{net}.{i}' for i in range(16))}]}}" if s == 0 else "}")
            for side, net in (("public", 1), ("internal", 2))
        ]
        text += f"  - {{name: s{s}, {', '.join(sides)}, instances: [\"127.48.3.{s}:8000\"]}}\n"
    done = check(work, text)
    assert done.returncode == 0, done.stderr
    assert len((work / "out/rules/public.names").read_text().splitlines()) == 64 * 16 + 16
    done = check(work, text.replace("10.63.0.0/16]", "10.63.0.0/16, 10.64.0.0/16]"))
    assert done.returncode == 1 and "list.yaml:2:" in done.stderr and "1 to 64 entries, not 65" in done.stderr


def test_a_missing_file_and_wrong_options_are_one_line(work):
    done = kit.run("/usr/bin/python3", kit.ROOT / "app" / "haproxy" / "render", "-c", "none.yaml", cwd=work)
    assert done.returncode == 1 and done.stderr == "render: none.yaml: No such file or directory\n"
    (work / "list.yaml").write_text(GOOD)
    assert render(work / "list.yaml", work / "out", "--run-as", "x y").returncode == 2
    assert render(work / "list.yaml", "/proc/nowhere").returncode == 1
