# SPDX-License-Identifier: Apache-2.0
"""Who may sign in: several keys of a user, keys that expire or are bound to addresses, and security keys,
which a software one behind an agent of ours stands in for. And what a bad signature costs."""

import subprocess
import time

import pytest

import kit
from bastion_world import BASTION, world
from security_key import token


def sign_in(w, agent):
    """ssh with the agent's key alone, to a smpl-control that ends at once."""
    return kit.run(
        kit.tool("ssh"),
        "-F",
        "none",
        "-p",
        w.ssh_port,
        "-o",
        f"IdentityAgent={agent.path}",
        "-o",
        "IdentityFile=none",
        "-o",
        f"UserKnownHostsFile={w.work}/known_hosts",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "BatchMode=yes",
        "-s",
        f"dev@{BASTION}",
        "smpl-control",
    )


def signs_in(w, agent):
    done = sign_in(w, agent)
    assert done.returncode in (0, 255), done.stderr
    story = f"ssh: {done.stderr}\nagent: {agent.log}\naudit: {w.audit()[-3:]}"
    if done.returncode == 255:
        assert "Permission denied (publickey)" in done.stderr, story
    print(story)  # seen if the test fails
    return done.returncode == 0


@pytest.mark.short
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_a_security_key_signs_in_with_its_touch_and_not_without(world, token, kind):
    w = world()
    agent = token(kind)
    (w.work / "dev.pub").write_text(agent.key.line + "\n")
    w.command("reload")
    assert signs_in(w, agent)
    (start,) = w.records("session-start")
    assert start["key"].startswith("SHA256:") and start["key_comment"] == "token"
    agent.key.flags = 0  # nobody touched it
    assert not signs_in(w, agent)
    assert w.wait_record("login-failed", signed=True)["reason"] == "bad-signature"
    (w.work / "dev.pub").write_text("no-touch-required " + agent.key.line + "\n")
    w.command("reload")
    assert signs_in(w, agent)
    (w.work / "dev.pub").write_text("verify-required " + agent.key.line + "\n")
    w.command("reload")
    agent.key.flags = 1  # touched, but no PIN
    assert not signs_in(w, agent)
    agent.key.flags = 5
    assert signs_in(w, agent)
    agent.key.broken = True  # a signature of something else
    assert not signs_in(w, agent)
    assert len(w.records("session-start")) == 3


def test_a_security_key_that_is_not_on_file_is_refused(world, token):
    w = world()
    done = sign_in(w, token("ed25519"))
    assert done.returncode == 255
    failed = w.wait_record("login-failed")
    assert (failed["reason"], failed["signed"]) == ("unknown-key", False)


@pytest.mark.short
def test_each_key_of_a_user_has_its_own_conditions(world):
    w = world()
    keys = {}
    for name in ("open", "expired", "afar", "here", "later"):
        keys[name], _ = kit.keygen(w.work / name, comment=name)
    line = lambda name: (w.work / f"{name}.pub").read_text()
    (w.work / "dev.pub").write_text(
        line("open")
        + 'expiry-time="20200101" '
        + line("expired")
        + 'from="10.0.0.0/8,!127.0.0.0/8" '
        + line("afar")
        + 'from="127.0.0.0/8,::1" '
        + line("here")
        + 'expiry-time="20990101Z",restrict '
        + line("later")
    )
    w.command("reload")
    for name, reason in (
        ("open", None),
        ("expired", "key-expired"),
        ("afar", "source-not-allowed"),
        ("here", None),
        ("later", None),
    ):
        done = w.ssh("-s", key=keys[name], command=["smpl-control"])
        assert (done.returncode == 0) == (reason is None), (name, done.stderr)
        if reason:
            assert w.wait_record("login-failed", reason=reason)["user"] == "dev"
    assert [r["key_comment"] for r in w.records("session-start")] == ["open", "here", "later"]


def test_a_reload_ends_sessions_whose_key_may_not_be_used_any_more(world):
    w = world()
    control = w.control()
    control.ask(cmd="whoami")
    (w.work / "dev.pub").write_text('from="10.0.0.0/8" ' + (w.work / "dev.pub").read_text())
    w.command("reload")
    assert control.event("ending")["reason"] == "policy-changed"
    assert w.wait_record("session-end")["reason"] == "policy-changed"


@pytest.mark.full
def test_a_session_ends_when_its_key_expires(world):
    w = world()
    soon = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + kit.ample(3)))
    (w.work / "dev.pub").write_text(f'expiry-time="{soon}" ' + (w.work / "dev.pub").read_text())
    w.command("reload")
    control = w.control()
    control.ask(cmd="whoami")
    record = kit.wait_until(lambda: w.records("session-end"), "the next minute ends it")[0]
    assert record["reason"] == "key-expired"


def test_certificates_are_refused(world):
    w = world()
    ca, _ = kit.keygen(w.work / "ca", comment="ca")
    subprocess.run(
        [kit.tool("ssh-keygen"), "-q", "-s", ca, "-I", "dev", "-n", "dev", f"{w.work}/dev.pub"], check=True
    )
    done = w.ssh(
        "-s", "-o", f"CertificateFile={w.work}/dev-cert.pub", "-o", "LogLevel=ERROR", command=["smpl-control"]
    )
    assert done.returncode in (0, 255)  # the plain key, if the client tries it after
    assert any("cert" in r.get("what", "") for r in w.records("refused", reason="key-not-accepted"))


def test_a_host_key_is_rotated_and_no_client_notices(world):
    """As smpl-bastion(8) has it, "Rotating a host key": both public halves are with the clients before the
    key moves."""
    w = world()
    known = w.work / "known_hosts"
    kit.keygen(w.work / "next")
    old = known.read_text()
    new = f"{old.split()[0]} {' '.join((w.work / 'next.pub').read_text().split()[:2])}\n"
    known.write_text(old + new)
    control = w.control()
    assert control.ask(cmd="whoami")["user"] == "dev"
    assert w.ssh("-s", command=["smpl-control"]).returncode == 0
    before = w.status()["template"]["pid"]
    (w.work / "next").rename(w.work / "host")
    w.command("reload")
    kit.wait_until(
        lambda: w.status()["template"]["ready"] and w.status()["template"]["pid"] != before,
        "the template with the new key",
    )
    assert w.ssh("-s", command=["smpl-control"]).returncode == 0
    known.write_text(new)
    assert w.ssh("-s", command=["smpl-control"]).returncode == 0
    assert control.ask(cmd="whoami")["user"] == "dev"  # it began with the old key, and goes on
    known.write_text(old)
    assert "HOST IDENTIFICATION HAS CHANGED" in w.ssh("-s", command=["smpl-control"]).stderr
