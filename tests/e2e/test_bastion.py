# SPDX-License-Identifier: Apache-2.0
"""smpl-bastion with OpenSSH's client: what is forwarded, what is refused, what is written down, what ends
when."""

import concurrent.futures
import hashlib
import json
import os
import resource
import select
import signal
import socket
import time

import pytest

import kit
from bastion_world import BASTION, DNS, SOURCE, WEB, held_connection, world


# --- forwarding ---


@pytest.mark.short
def test_stock_ssh_forwards_and_each_step_is_on_record(world):
    w = world()
    ssh, local = w.forward()
    assert w.get(local).stdout == "hello from inside"
    start = w.wait_record("session-start", user="dev")
    carried = lambda: [
        r for r in w.records("channel-end") if r["bytes_down"] > 0
    ]  # not the probe for the open port
    ended = kit.wait_until(carried, "the end of the channel that carried the page")[0]
    assert ended["reason"] == "channel-closed"
    assert ended["bytes_up"] > 50 and ended["bytes_down"] > len("hello from inside")
    (opened,) = w.records("channel-open", channel=ended["channel"])
    assert (opened["target"], opened["port"], opened["address"]) == (
        "config.internal",
        w.port,
        f"{WEB}:{w.port}",
    )
    assert opened["name"] == "config.internal.smplkit.local"
    assert start["seq"] < opened["seq"] < ended["seq"]
    (session,) = w.sessions()
    assert session["id"] == start["session"] and session["bytes_down"] == ended["bytes_down"]
    ssh.signal(signal.SIGTERM)
    ssh.wait()
    end = w.wait_record("session-end", session=start["session"])
    assert end["reason"] in ("client-closed", "client-vanished") and end["channels"] >= 1
    assert (end["bytes_up"], end["bytes_down"]) >= (ended["bytes_up"], ended["bytes_down"])
    assert w.sessions() == []
    w.check_chain()


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_other_kinds_of_keys_sign_in(world, kind):
    w = world(start=False)
    key, public = kit.keygen(w.work / kind, kind)
    (w.work / "dev.pub").write_text(
        "# several keys\n" + (w.work / "dev.pub").read_text() + public.read_text()
    )
    w.start()
    assert w.ssh("-W", f"{WEB}:{w.port}", key=key).returncode == 0
    start = w.wait_record("session-start")
    assert start["key"] in kit.run(kit.tool("ssh-keygen"), "-lf", public).stdout


def test_many_parallel_connections_pass(world):
    w = world()
    _, local = w.forward()
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda _: w.get(local, 30).stdout, range(128)))
    assert answers == ["hello from inside"] * 128
    kit.wait_until(lambda: len(w.records("channel-end")) >= 128, "every channel has its end on record")
    w.check_chain()


def test_connections_come_from_the_configured_address(world):
    w = world()
    seen = []
    with socket.create_server((WEB, 0)) as server:
        w.write(
            grants=f"  - {{users: [dev], targets: ['{WEB}:{server.getsockname()[1]}'], networks: "
            f"[127.42.0.0/16]}}\n"
        )
        w.command("reload")
        client = w.spawn(*w.ssh_argv("-W", f"{WEB}:{server.getsockname()[1]}"))
        server.settimeout(kit.PATIENCE)
        connection, address = server.accept()
        seen.append(address[0])
        connection.close()
        client.wait()
    assert seen == [SOURCE]


# --- refusals ---


@pytest.mark.parametrize(
    "target, reason",
    [
        ("secret.smplkit.local.:{port}", "not-granted"),
        ("localhost:{port}", "not-granted"),
        ("127.0.0.1:{port}", "not-granted"),
        (f"{DNS}:{{dns}}", "not-granted"),
        ("config.internal:22", "port-not-granted"),
        ("no such name:{port}", "bad-target"),
        ("nothing.internal:{port}", "unknown-name"),
        ("empty.internal:{port}", "no-address"),
        ("outside.internal:{port}", "address-not-granted"),
        ("partly.internal:{port}", "address-not-granted"),
        ("metadata.internal:{port}", "address-not-granted"),
        ("unspecified.internal:{port}", "address-not-granted"),
        ("self.internal:{ssh}", "address-not-granted"),
        ("away.internal:{port}", "no-address"),  # an alias to what this resolver does not have
        ("away2.internal:{port}", "name-leaves-domain"),
        ("down.internal:{port}", "connection-refused"),
    ],
)
def test_what_is_not_granted_or_not_there_is_refused_and_written_down(world, target, reason):
    w = world()
    target = target.format(port=w.port, dns=w.dns, ssh=w.ssh_port)
    done = w.ssh("-W", target)
    assert done.returncode != 0 and "administratively prohibited" in done.stderr
    record = w.wait_record("channel-refused")
    assert record["reason"] == reason, record
    assert f"{record['target']}:{record['port']}" == target
    assert not w.records("channel-open")


def test_names_that_are_not_granted_are_never_looked_up(world):
    w = world()
    before = json.loads(
        kit.run(kit.binary("smpl-resolver"), "stats", "--json", "-c", "resolver.yaml", cwd=w.work).stdout
    )
    for target in ("nothing.smplkit.local.", "www.example.com.", "a.b.internal"):
        w.ssh("-W", f"{target}:{w.port}")
    w.ssh("-W", "config.internal:1")
    kit.wait_until(lambda: len(w.records("channel-refused")) == 4, "all four are on record")
    after = json.loads(
        kit.run(kit.binary("smpl-resolver"), "stats", "--json", "-c", "resolver.yaml", cwd=w.work).stdout
    )
    assert count_queries(after) == count_queries(before)


def count_queries(stats):
    """Every number under a key that speaks of queries."""
    total = 0
    for key, value in stats.items():
        if isinstance(value, dict):
            total += count_queries(value)
        elif isinstance(value, int) and "quer" in key:
            total += value
    return total


def test_aliases_within_the_domain_are_followed(world):
    w = world()
    _, local = w.forward("alias.internal")
    assert w.get(local).stdout == "hello from inside"


@pytest.mark.short
@pytest.mark.parametrize(
    "argv, command, what",
    [
        ((), (), "shell"),
        ((), ("id",), "exec"),
        (("-tt",), (), "pty"),
        (("-s",), ("sftp",), "subsystem"),
    ],
)
def test_nothing_but_forwarding_is_offered(world, argv, command, what):
    w = world()
    done = w.ssh(*argv, command=command)
    assert done.returncode != 0 and "uid=" not in done.stdout
    kit.wait_until(
        lambda: any(what in r["what"] for r in w.records("refused", reason="not-offered")),
        f"{what} is on record",
    )


def test_remote_forwarding_and_agents_are_refused(world):
    w = world()
    done = w.ssh("-N", "-o", "ExitOnForwardFailure=yes", "-R", "9999:127.0.0.1:22")
    assert done.returncode != 0 and "remote port forwarding failed" in done.stderr
    kit.wait_until(lambda: any("tcpip-forward" in r["what"] for r in w.records("refused")), "it is on record")


@pytest.mark.short
def test_unknown_keys_and_users_are_refused_and_written_down(world):
    w = world()
    done = w.ssh("-N", key=w.other_key)
    assert done.returncode == 255 and "Permission denied (publickey)" in done.stderr
    record = w.wait_record("login-failed", user="dev", reason="unknown-key")
    assert record["key"] in kit.run(kit.tool("ssh-keygen"), "-lf", f"{w.other_key}.pub").stdout
    w.ssh("-N", user="root")
    w.wait_record("login-failed", user="root", reason="unknown-user")
    w.ssh("-N", user="d\u00e9v\u202e")
    w.wait_record("login-failed", user="d\\xc3\\xa9v\\xe2\\x80\\xae", reason="unknown-user")
    assert not w.records("session-start")
    w.check_chain()
    assert w.status()["counts"]["login_failures"] >= 3


def test_passwords_are_not_offered(world):
    w = world()
    done = w.ssh(
        "-N",
        "-o",
        "BatchMode=no",
        "-o",
        "PreferredAuthentications=password,keyboard-interactive",
        "-o",
        "PubkeyAuthentication=no",
    )
    assert done.returncode == 255 and "Permission denied (publickey)" in done.stderr
    assert not w.records("session-start")


# --- smpl-control ---


def test_smpl_control_says_who_what_and_why(world):
    w = world()
    whoami, found, given, refused, srv_port, astray, why_not, why, unknown, odd = w.ask(
        {"cmd": "whoami"},
        {"cmd": "resolve", "target": "config.internal"},
        {"cmd": "resolve", "target": "app.internal.smplkit.local.", "port": w.port},
        {"cmd": "resolve", "target": "www.example.com."},
        {"cmd": "resolve", "target": "app.internal"},
        {"cmd": "resolve", "target": "astray.internal"},
        {"cmd": "why", "target": "config.internal", "port": 22},
        {"cmd": "why", "target": "config.internal"},
        {"cmd": "dance"},
        {"cmd": "resolve", "target": "config.internal", "port": 70000},
    )
    assert (whoami["ok"], whoami["user"], whoami["groups"]) == (True, "dev", ["developers"])
    assert whoami["session"] == w.records("session-start")[-1]["session"]
    assert found == {
        "ok": True,
        "target": "config.internal",
        "name": "config.internal.smplkit.local",
        "host": "config.internal.smplkit.local.",
        "addresses": [WEB],
        "port": w.port,
    }
    assert given["addresses"] == ["127.42.1.12"] and given["port"] == w.port
    assert (refused["ok"], refused["reason"]) == (False, "not-granted") and "www.example.com" in refused[
        "text"
    ]
    assert srv_port["reason"] == "port-not-granted"  # a service record never widens a grant
    assert astray["reason"] == "not-granted"
    assert (why_not["allowed"], why_not["reason"], why_not["last"]) == (False, "port-not-granted", None)
    assert why["allowed"] and why["grant"] == f"*.internal.smplkit.local:{w.port},{w.ssh_port}"
    assert unknown["ok"] is False and "whoami" in unknown["text"]
    assert odd["reason"] == "bad-target"


def test_resolve_tells_missing_names_from_missing_ports(world):
    w = world()
    other, missing, no_srv, down = w.ask(
        {"cmd": "resolve", "target": "other.internal"},
        {"cmd": "resolve", "target": "nothing.internal"},
        {"cmd": "resolve", "target": "down.internal"},
        {"cmd": "resolve", "target": "down.internal", "port": w.port},
    )
    assert (other["name"], other["port"]) == ("config.internal.smplkit.local", w.port)
    assert missing["reason"] == "unknown-name" and no_srv["reason"] == "no-service-port" and down["ok"]
    w.resolver.kill9()
    (dead,) = w.ask({"cmd": "resolve", "target": "config.internal", "port": w.port})
    assert dead["reason"] == "resolver-failed"


# --- administration ---


def reload_error(w):
    """What the broker says; with -c the command itself would stumble over the configuration."""
    done = kit.run(kit.binary("smpl-bastion"), "reload", "--socket", w.work / "bastion.sock")
    assert done.returncode == 1
    return done.stderr


@pytest.mark.short
def test_terminate_cuts_live_connections_and_tells_the_client_why(world):
    w = world()
    ssh, local = w.forward()
    held = held_connection(w, local)
    kit.wait_until(lambda: len(w.sessions()[0]["channels"]) == 1, "the probe of the port is over")
    (session,) = w.sessions()
    assert [c["name"] for c in session["channels"]] == ["config.internal.smplkit.local"]
    assert "config.internal.smplkit.local" in w.command("sessions").stdout
    done = w.command("terminate", session["id"][:8], "--reason", "lunch\x1b[31m")
    kit.recv_all(held)
    ssh.wait()
    assert session["id"] in done.stdout
    assert "an administrator ended the session: lunch" in ssh.stderr
    end = w.wait_record("session-end", session=session["id"])
    assert end["reason"] == "terminated"
    assert w.wait_record("terminate", session=session["id"])["by_uid"] == os.getuid()
    assert w.wait_record("channel-end")["reason"] == "session-ended"
    assert w.sessions() == []
    assert (
        w.command("terminate", session["id"], status=1).stderr
        == f"smpl-bastion: '{session['id']}': no such session\n"
    )
    assert "terminated" in w.command("history", "--user", "dev", "--since", "1h").stdout


def test_reload_ends_what_is_no_longer_granted_and_nothing_else(world):
    w = world()
    _, local = w.forward()
    held = held_connection(w, local)
    template = w.template()
    assert "0 sessions" in w.command("reload").stdout
    kit.wait_until(lambda: w.template() not in (0, template), "a fresh template")
    held.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert held.recv(100)
    bad = (w.work / "bastion.yaml").read_text()
    (w.work / "bastion.yaml").write_text(bad.replace("search:", "serch:"))
    assert "bastion.yaml:5:1: unknown key 'serch'" in reload_error(w)
    (w.work / "bastion.yaml").write_text(bad)
    held.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert held.recv(100)
    w.write(
        grants=f"  - {{groups: [developers], targets: ['app.internal.smplkit.local:*'], networks: "
        f"[127.42.0.0/16]}}\n"
    )
    w.bastion.signal(signal.SIGHUP)
    kit.recv_all(held)
    assert w.wait_record("session-end")["reason"] == "policy-changed"


@pytest.mark.short
def test_the_audit_rotates_at_a_reload_and_the_chain_goes_on(world):
    w = world()
    ssh, local = w.forward()
    (session,) = w.sessions()
    w.get(local)
    kit.wait_until(
        lambda: w.status()["audit"]["waiting"] == 0 and not w.sessions()[0]["channels"], "all is written"
    )
    (w.work / "audit.jsonl").rename(w.work / "audit.1")
    assert w.get(local).stdout == "hello from inside"  # between the two
    (w.work / "bastion.yaml").write_text((w.work / "bastion.yaml").read_text().replace("search:", "serch:"))
    assert "unknown key" in reload_error(w)  # no configuration is too bad for it
    w.write()
    continued = w.wait_record("audit-continued")
    assert w.wait_record("session-continued")["session"] == session["id"]
    assert w.get(local).stdout == "hello from inside"
    ssh.kill9()  # a client may miss a SIGTERM that comes while it is busy
    w.wait_record("session-end", session=session["id"])
    before = (w.work / "audit.1").read_bytes().splitlines()
    assert continued["before"] == "moved" and continued["seq"] == len(before) + 1
    assert continued["prev"] == hashlib.sha256(before[-1]).hexdigest()
    for earlier, later in zip(before[1:], before[2:]):
        assert json.loads(later)["prev"] == hashlib.sha256(earlier).hexdigest()
    (row,) = [r for r in json.loads(w.command("history", "--json").stdout) if r["session"] == session["id"]]
    assert row["reason"] in ("client-closed", "client-vanished")
    assert w.bastion.stop() == 0
    last = w.audit()[-1]["seq"]
    w.start()
    assert w.status()["audit"]["records"] == last


@pytest.mark.short
def test_a_removed_audit_lets_nobody_in_until_a_reload(world):
    w = world()
    _, local = w.forward()
    (w.work / "audit.jsonl").unlink()
    done = w.ssh("-W", f"config.internal:{w.port}")
    assert done.returncode != 0 and "audit" in done.stderr
    assert w.get(local).returncode != 0
    assert "CANNOT BE WRITTEN" in w.command("status").stdout
    assert "the file was removed; reload to go on in a new one" in w.bastion.stderr
    w.command("reload")
    assert w.wait_record("audit-continued")["before"] == "removed"
    kit.wait_until(lambda: w.ssh("-W", f"config.internal:{w.port}").returncode == 0, "sessions start again")


@pytest.mark.short
def test_files_that_others_can_write_decide_nothing(world):
    w = world()
    (w.work / "bastion.yaml").chmod(0o666)
    assert (
        f"bastion.yaml: others can write it (mode 666); try: chmod go-w {w.work}/bastion.yaml; the "
        "configuration before stays in force\n" in reload_error(w)
    )
    assert kit.run(kit.binary("smpl-bastion"), "check", "-c", "bastion.yaml", cwd=w.work).returncode == 1
    (w.work / "bastion.yaml").chmod(0o644)
    w.work.chmod(0o777)
    assert f"try: chmod go-w {w.work}" in reload_error(w)
    w.work.chmod(0o755)
    w.command("reload")


def test_another_host_key_is_for_new_sessions_and_old_ones_rekey_with_theirs(world):
    w = world()
    w.web.close()
    w.web = kit.HttpServer(WEB, w.port, "x" * 2_000_000)
    ssh, local = w.forward(extra=("-o", "RekeyLimit=300K"))
    assert len(w.get(local).stdout) == 2_000_000
    old = (w.work / "host").read_bytes()
    for name in ("host", "host.pub"):
        (w.work / name).unlink()
    kit.keygen(w.work / "host")
    w.command("reload")
    kit.wait_until(lambda: w.status()["template"]["ready"], "the template with the new key")
    assert len(w.get(local).stdout) == 2_000_000 and ssh.running()
    done = w.ssh("-W", f"config.internal:{w.port}")
    assert done.returncode == 255 and "HOST IDENTIFICATION HAS CHANGED" in done.stderr
    host_key = " ".join((w.work / "host.pub").read_text().split()[:2])
    (w.work / "known_hosts").write_text(f"[{BASTION}]:{w.ssh_port} {host_key}\n")
    assert w.ssh("-W", f"config.internal:{w.port}").returncode == 0
    assert old != (w.work / "host").read_bytes()


def test_reload_moves_the_listener_and_keeps_the_sessions(world):
    w = world()
    _, local = w.forward()
    old, w.ssh_port = w.ssh_port, kit.free_port(BASTION)
    w.write()
    w.command("reload")
    assert not kit.port_open(BASTION, old)
    kit.wait_until(lambda: kit.port_open(BASTION, w.ssh_port), "the new listener")
    assert w.get(local).stdout == "hello from inside"
    with socket.create_server((BASTION, 0)) as taken:
        text = (w.work / "bastion.yaml").read_text()
        (w.work / "bastion.yaml").write_text(
            text.replace(f"{BASTION}:{w.ssh_port}", f"{BASTION}:{taken.getsockname()[1]}")
        )
        assert "address in use" in w.command("reload", status=1).stderr
    assert kit.port_open(BASTION, w.ssh_port)


def test_a_key_that_leaves_the_file_takes_its_sessions_with_it(world):
    w = world()
    ssh, _ = w.forward()
    (w.work / "dev.pub").write_text((w.work / "stranger.pub").read_text())
    assert "1 sessions" in w.command("reload").stdout
    ssh.wait()
    assert "the policy no longer grants this session" in ssh.stderr


@pytest.mark.walls
def test_status_says_which_walls_stand(world):
    w = world()
    w.forward()
    status = w.status()
    assert {"seccomp", "no_new_privs", "rlimits"} <= set(status["worker_walls"])
    assert "sanitizer" not in status["worker_walls"]
    assert status["sessions"] == 1 and status["audit"]["writable"]
    text = w.command("status").stdout
    assert "seccomp" in text and "writable" in text


def test_explain_and_check_need_no_running_bastion(world):
    w = world(start=False)
    assert w.command("check").stdout.startswith("bastion.yaml: ok")
    assert w.command("explain", "dev", f"config.internal:{w.port}").stdout.startswith("allowed: ")
    assert "not this port" in w.command("explain", "dev", "config.internal:22", status=1).stdout
    assert "no user 'eve'" in w.command("explain", "eve", "config.internal", status=1).stderr
    w.start()
    done = kit.run(
        kit.binary("smpl-bastion"),
        "explain",
        "dev",
        f"config.internal:{w.port}",
        "--socket",
        w.work / "bastion.sock",
    )
    assert done.returncode == 0 and done.stdout.startswith("allowed: ")


def test_explain_tells_all_of_the_grant_that_decides_or_comes_nearest(world):
    w = world(start=False)
    w.write(
        grants=f"""\
  - groups: [developers]
    targets: ["**.internal.smplkit.local:{w.port}"]
    networks: [127.42.0.0/16, 10.0.0.0/8]
    description: Internal tier
    hours: ["Mon-Sun 00:00-24:00"]
    max_sessions: 3
    idle: 5m
    session: 2h
  - {{users: [dev], targets: ["10.0.0.1:80"], networks: [10.0.0.0/8]}}
""",
        users="  - {name: dev, keys: dev.pub, groups: [developers]}\n",
    )
    text = w.command("explain", "dev", f"config.internal:{w.port}").stdout
    for line in (
        "by grant 1 (bastion.yaml:",
        "described as: Internal tier",
        "must lie in 127.42.0.0/16, 10.0.0.0/8",
        "idle 5m, session 2h, at most 3 sessions of one user at once",
        "in these hours: Mon-Sun 00:00-24:00",
    ):
        assert line in text
    denied = w.command("explain", "dev", "config.internal:22", status=1).stdout
    assert "nearest to it is grant 1" in denied and "described as: Internal tier" in denied
    plain = w.command("explain", "dev", "10.0.0.1:80").stdout
    assert (
        "by grant 2" in plain
        and "in force at any hour" in plain
        and "described" not in plain
        and "at most" not in plain
    )
    told = json.loads(w.command("explain", "dev", f"config.internal:{w.port}", "--json").stdout)
    assert (
        told["grant"]["description"] == "Internal tier"
        and told["grant"]["max_sessions"] == 3
        and told["nearest"] is None
    )
    assert (
        told["grant"]["hours"] == "Mon-Sun 00:00-24:00"
        and told["grant"]["idle"] == "5m"
        and told["grant"]["session"] == "2h"
    )
    told = json.loads(w.command("explain", "dev", "10.0.0.1:80", "--json").stdout)["grant"]
    assert told["description"] is told["hours"] is told["max_sessions"] is None
    told = json.loads(w.command("explain", "dev", "elsewhere.local.", "--json", status=1).stdout)
    assert told["grant"] is told["nearest"] is None


@pytest.mark.parametrize(
    "argv, status, saying",
    [
        ((), 2, "a configuration is needed"),
        (("dance",), 2, "unknown command 'dance'"),
        (("check",), 2, "check needs -c FILE"),
        (("-c", "absent.yaml"), 1, "absent.yaml"),
        (("terminate", "-c", "bastion.yaml"), 2, "terminate needs"),
        (("sessions", "-c", "bastion.yaml"), 3, "bastion.sock"),
        (("sessions", "--socket", "nothing.sock"), 3, "nothing.sock"),
        (
            ("explain", "dev", "-c", "bastion.yaml"),
            2,
            "explain: too few arguments; usage: smpl-bastion explain USER TARGET[:PORT]",
        ),
        (("--frobnicate",), 2, "frobnicate"),
    ],
)
def test_mistakes_on_the_command_line_get_one_clear_line(world, argv, status, saying):
    w = world(start=False)
    done = kit.run(kit.binary("smpl-bastion"), *argv, cwd=w.work)
    assert done.returncode == status and saying in done.stderr, done
    assert done.stderr.count("\n") <= 2 and done.stdout == ""


def test_a_busy_port_and_a_busy_audit_are_named(world):
    w = world()
    done = kit.run(kit.binary("smpl-bastion"), "-c", "bastion.yaml", cwd=w.work)
    assert done.returncode == 1
    assert (
        f"{BASTION}:{w.ssh_port}: address in use" in done.stderr
        and "change listen in bastion.yaml" in done.stderr
    )
    text = (
        (w.work / "bastion.yaml")
        .read_text()
        .replace(f"{BASTION}:{w.ssh_port}", f"{BASTION}:{kit.free_port(BASTION)}")
    )
    (w.work / "second.yaml").write_text(text)
    done = kit.run(kit.binary("smpl-bastion"), "-c", "second.yaml", cwd=w.work)
    assert done.returncode == 1 and "audit.jsonl: in use by another process" in done.stderr


# --- limits ---


@pytest.mark.short
def test_one_source_does_not_lock_the_others_out(world):
    w = world(limits='startups_per_source: 3, startups: "5:100:5", connections: 6')
    held = [silent(w, "127.42.0.77") for _ in range(3)]
    kit.wait_until(lambda: w.status()["connections"] == 3, "as many wait as one source may have")
    for _ in range(20):  # each is let in, and the oldest of its own source goes
        held.append(silent(w, "127.42.0.77"))
        assert held[-1].recv(4) == b"SSH-"
        kit.recv_all(held.pop(0))
    assert w.ssh("-W", f"config.internal:{w.port}").returncode == 0  # from another address
    counts = w.status()["counts"]
    assert (counts["dropped"], counts["gave_way"], counts["gave_way_by"]["startups_per_source"]) == (
        0,
        20,
        20,
    )
    assert "gave way        20 by startups_per_source," in w.command("status").stdout
    assert w.wait_record("login-failed", reason="too-many-connections")["text"].endswith(
        "4 of them from 127.42.0.77: the oldest of these gives way"
    )


def silent(w, source):
    s = socket.create_connection((BASTION, w.ssh_port), source_address=(source, 0))
    s.settimeout(kit.PATIENCE)
    return s


@pytest.mark.short
def test_silent_connections_of_one_address_or_of_ten_turn_nobody_away(world):
    """At the limits that stand without configuration: ten of one address, then ten of each of ten
    networks."""
    w = world()
    held = [silent(w, "127.50.0.1") for _ in range(10)]
    kit.wait_until(lambda: w.status()["connections"] == 10, "they wait")
    for _ in range(3):
        assert w.ssh("-W", f"config.internal:{w.port}").returncode == 0
    held += [silent(w, f"127.50.{i}.{k}") for i in range(10) for k in range(10)]
    kit.wait_until(lambda: w.status()["counts"]["accepted"] == 113, "all were accepted")
    for _ in range(3):
        assert w.ssh("-W", f"config.internal:{w.port}").returncode == 0
    counts = w.status()["counts"]
    assert (counts["dropped"], counts["logins"]) == (0, 6)
    assert {r["source"].rsplit(".", 2)[0] for r in w.records("login-failed")} <= {
        "127.50"
    }  # nobody else gave way
    w.bastion.wait_line(
        r"gives way \(startups; 0 newcomers closed and \d+ that gave way by this rule so far\)"
    )
    for s in held:
        s.close()


def grant(w, **keys):
    more = "".join(f", {k}: {v}" for k, v in keys.items())
    return (
        f"  - {{users: [dev], targets: ['*.internal.smplkit.local:{w.port}'], networks: "
        f"[127.42.0.0/16]{more}}}\n"
    )


def test_idle_sessions_end_and_forwarded_bytes_keep_them(world):
    w, idle = world(start=False), kit.ample(1) + 2
    w.write(grants=grant(w, idle=f"{idle}s"))
    w.start()
    ssh, local = w.forward(extra=("-o", "ServerAliveInterval=1"))
    began = time.monotonic()
    while time.monotonic() - began < 2 * idle:
        assert w.get(local).stdout == "hello from inside"
        time.sleep(0.3)
    ssh.wait()
    assert f"no bytes were forwarded for {idle}s, the grant's idle time" in ssh.stderr
    assert w.wait_record("session-end")["reason"] == "idle"


def test_sessions_end_when_their_time_is_over(world):
    w, most = world(start=False), kit.ample(1)
    w.write(grants=grant(w, session=f"{most}s"))
    w.start()
    ssh, local = w.forward()
    held = held_connection(w, local)
    kit.recv_all(held)
    ssh.wait()
    assert f"session time of {most}s is over" in ssh.stderr
    assert w.wait_record("session-end")["reason"] == "session-limit"


def test_a_user_has_so_many_sessions_and_a_session_so_many_channels(world):
    w = world(limits="sessions_per_user: 2, channels: 3")
    _, local = w.forward()
    w.forward()
    done = w.ssh("-W", f"config.internal:{w.port}")
    assert done.returncode != 0 and "limit of sessions" in done.stderr
    assert w.wait_record("login-failed")["reason"] == "too-many-sessions"
    held = [held_connection(w, local) for _ in range(3)]
    assert w.get(local).returncode != 0
    # the worker itself knows the limit and may refuse before the broker is asked
    kit.wait_until(
        lambda: w.records("channel-refused", reason="too-many-channels")
        or w.records("refused", reason="too-many-channels"),
        "the refusal is on record",
    )
    held.pop().close()
    kit.wait_until(lambda: w.get(local).stdout == "hello from inside", "a channel that ended makes room")


def test_connections_that_never_sign_in_are_ended_and_bounded(world):
    w = world(limits=f'login_grace: {kit.ample(2)}s, startups: "3:100:4", connections: 6')
    held = [socket.create_connection((BASTION, w.ssh_port)) for _ in range(3)]
    kit.wait_until(lambda: w.status()["connections"] == 3, "three wait for their login")
    held.append(silent(w, "127.42.0.77"))
    assert held[-1].recv(4) == b"SSH-"
    kit.recv_all(held[0])  # the oldest goes
    assert w.status()["counts"]["gave_way_by"]["startups"] == 1
    for s in held[1:]:
        s.settimeout(kit.PATIENCE)
        kit.recv_all(s)
    kit.wait_until(
        lambda: len(w.records("login-failed", reason="login-grace")) == 3, "the grace time is on record"
    )
    assert w.ssh("-W", f"config.internal:{w.port}").returncode == 0


@pytest.mark.parametrize("refuse", ["start", "channel"])
def test_no_audit_record_no_session(world, refuse):
    w = world()
    if refuse == "channel":
        ssh, local = w.forward()
    size = (w.work / "audit.jsonl").stat().st_size
    resource.prlimit(w.bastion.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    if refuse == "channel":
        assert w.get(local).returncode != 0
        ssh.wait()
        assert "the audit record could not be written" in ssh.stderr
    else:
        done = w.ssh("-W", f"config.internal:{w.port}")
        assert done.returncode == 255 and "the audit record could not be written" in done.stderr
    assert w.status()["audit"]["writable"] is False
    assert "records cannot be written" in w.bastion.stderr
    assert w.web.requests == []
    resource.prlimit(w.bastion.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    kit.wait_until(lambda: w.status()["audit"]["writable"], "the audit comes back")
    assert w.ssh("-W", f"config.internal:{w.port}").returncode == 0
    if refuse == "channel":
        assert w.wait_record("session-end", reason="audit-failed")
    w.check_chain()


# --- what dies ---


@pytest.mark.short
def test_kill_9_of_the_broker_takes_the_workers_and_leaves_a_sound_audit(world):
    w = world()
    ssh, local = w.forward()
    held = held_connection(w, local)
    pids = w.workers() + [w.template()]
    w.bastion.kill9()
    kit.wait_until(lambda: not any(kit.alive(p) for p in pids), "workers and template end with the broker")
    kit.recv_all(held)
    ssh.wait()
    with (w.work / "audit.jsonl").open("ab") as f:
        f.write(b'{"seq":99,"prev":"torn')
    w.start()
    assert w.wait_record("session-end", recovered=True)["reason"] == "bastion-died"
    assert w.wait_record("audit-recovered")["torn_start"] == '{"seq":99,"prev":"torn'
    w.check_chain()
    w.check_ends()
    _, local = w.forward()
    assert w.get(local).stdout == "hello from inside"


def test_a_killed_template_is_replaced_and_sessions_go_on(world):
    w = world()
    _, local = w.forward()
    before = w.template()
    os.kill(before, signal.SIGKILL)
    kit.wait_until(lambda: w.template() not in (0, before), "another template")
    assert w.get(local).stdout == "hello from inside"
    ssh, local = w.forward()
    assert w.get(local).stdout == "hello from inside"
    for session in w.sessions():
        w.command("terminate", session["id"])
    ssh.wait()
    kit.wait_until(lambda: w.sessions() == [], "both end, the orphan too")


def stopped_template(w, count, sources, sent):
    """Connections from these sources, one after the other, while the template makes no worker."""
    template = w.template()
    os.kill(template, signal.SIGSTOP)
    held = [silent(w, sources[i % len(sources)]) for i in range(count)]
    kit.wait_until(lambda: w.status()["counts"]["accepted"] == count, "the broker has accepted all")
    late = sent()
    os.kill(template, signal.SIGCONT)
    return template, held, late


EXEMPT = "penalties: {exempt: [127.0.0.0/8]}\n"


def test_connections_that_come_faster_than_the_template_makes_workers_wait_in_turns(world):
    """None is lost. Counted: how many of one network get their worker before one of another who came last."""
    limits = 'startups: "1000:0:1000", startups_per_source: 1000, connections: 1024'
    w, many = world(limits=limits, extra=EXEMPT), 400
    template, held, late = stopped_template(w, many, ["127.50.0.77"], lambda: silent(w, "127.51.0.1"))
    assert late.recv(4) == b"SSH-"
    before = [s for s in held if select.select([s], [], [], 0)[0]]
    assert len(before) < many // 4, len(before)
    assert [s.recv(4) for s in held] == [b"SSH-"] * many
    assert w.template() == template and "no worker for a connection" not in w.bastion.stderr
    for s in [*held, late]:
        s.close()


def test_a_template_that_stands_still_holds_up_nobody_once_another_is_there(world):
    w = world(extra=EXEMPT)
    template, held = w.template(), []
    os.kill(template, signal.SIGSTOP)
    held = [silent(w, f"127.50.{i}.1") for i in range(30)]  # more than one template is asked for at a time
    kit.wait_until(lambda: w.status()["counts"]["accepted"] == 30, "they wait")
    w.command("reload")
    kit.wait_until(lambda: w.template() not in (0, template), "another template")
    assert w.ssh("-W", f"config.internal:{w.port}").returncode == 0
    os.kill(template, signal.SIGCONT)
    assert [s.recv(4) for s in held] == [b"SSH-"] * 30
    for s in held:
        s.close()


def test_a_flood_of_connections_that_give_way_costs_nobody_a_worker(world):
    """They come and go faster than the template makes workers. It lives on, and who signs in is served."""
    w = world(limits='startups: "20:100:40", connections: 200', extra=EXEMPT)
    networks = [f"127.50.{i}.1" for i in range(15)]
    local = kit.free_port("127.42.9.9")
    ssh = w.ssh_argv("-N", "-L", f"127.42.9.9:{local}:config.internal:{w.port}")
    template, held, _ = stopped_template(w, 1500, networks, lambda: w.spawn(*ssh))
    kit.wait_until(lambda: kit.port_open("127.42.9.9", local), "the session starts")
    assert w.get(local).stdout == "hello from inside"
    assert w.template() == template and "no worker for a connection" not in w.bastion.stderr
    assert w.status()["template"]["started"] == 1 and not w.records("login-failed", reason="worker-died")
    for s in held:
        s.close()


def test_a_killed_worker_is_on_record_and_cuts_only_its_session(world):
    w = world()
    ssh, local = w.forward()
    _, other = w.forward()
    victim = next(s for s in reversed(w.sessions()) if s["pid"])
    victim = w.sessions()[0]
    os.kill(victim["pid"], signal.SIGKILL)
    end = w.wait_record("session-end", session=victim["id"])
    assert end["reason"] == "worker-died" and "signal 9" in end["text"]
    ssh.wait()
    assert w.get(other).stdout == "hello from inside"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopping_ends_sessions_with_their_reason(world, number):
    w = world()
    ssh, local = w.forward()
    held_connection(w, local)
    pids = w.workers() + [w.template()]
    w.bastion.signal(number)
    assert w.bastion.wait() == 0
    ssh.wait()
    assert "the bastion is stopping" in ssh.stderr
    assert w.wait_record("session-end")["reason"] == "shutdown"
    w.check_chain()
    w.check_ends()
    assert not (w.work / "bastion.sock").exists()
    kit.wait_until(lambda: not any(kit.alive(p) for p in pids), "no process stays")


def test_a_dead_control_socket_is_replaced(world):
    w = world()
    w.bastion.kill9()
    assert (w.work / "bastion.sock").exists()
    w.start()
    assert w.status()["ok"]


@pytest.mark.full
def test_templates_are_renewed_after_a_thousand_workers(world):
    w = world(limits='startups: "4000:0:4000", startups_per_source: 4000, connections: 4096')
    first = w.template()
    for _ in range(1010):
        with socket.create_connection((BASTION, w.ssh_port)) as s:
            s.recv(1)
    kit.wait_until(lambda: w.template() not in (0, first), "a fresh template")
    kit.wait_until(lambda: not kit.alive(first), "the old one ends with its last worker")
    kit.wait_until(lambda: w.status()["template"]["living"] == 1, "the broker has heard of it")
