# SPDX-License-Identifier: Apache-2.0
"""Host keys of several kinds, and the clients that need `algorithms: compatible`: libssh2, JSch, net-ssh,
FIPS."""

import os
import shutil
import socket
from pathlib import Path

import pytest

import kit
from bastion_world import BASTION, WEB, world

LOCAL = "127.42.9.9"
KINDS = {"host": "ssh-ed25519", "host_ecdsa": "ecdsa-sha2-nistp256", "host_rsa": "ssh-rsa"}
RESTRICTED = (
    "-o",
    "KexAlgorithms=ecdh-sha2-nistp256,ecdh-sha2-nistp384",
    "-o",
    "Ciphers=aes256-ctr,aes128-ctr",
    "-o",
    "MACs=hmac-sha2-256,hmac-sha2-512",
    "-o",
    "HostKeyAlgorithms=ecdsa-sha2-nistp256,rsa-sha2-512,rsa-sha2-256",
)


def public(w, name):
    return " ".join((w.work / f"{name}.pub").read_text().split()[:2])


def know(w, *names):
    """The clients know these host keys and no others."""
    (w.work / "known_hosts").write_text(
        "".join(f"[{BASTION}]:{w.ssh_port} {public(w, name)}\n" for name in names)
    )


@pytest.fixture
def several(world):
    """A bastion with a host key of each kind, and a developer who has an ECDSA key too."""

    def make(algorithms="compatible", **kw):
        w = world(start=False)
        kit.keygen(w.work / "host_ecdsa", kind="ecdsa")
        kit.keygen(w.work / "host_rsa", kind="rsa")
        w.ecdsa, _ = kit.keygen(w.work / "dev_ecdsa", kind="ecdsa")
        with open(w.work / "dev.pub", "a") as keys:
            keys.write((w.work / "dev_ecdsa.pub").read_text())
        w.several = dict(host_keys=", ".join(KINDS), extra=f"algorithms: {algorithms}\n", **kw)
        w.write(**w.several)
        know(w, *KINDS)
        w.start()
        return w

    return make


def signs_in(w, *options, key=None):
    return w.ssh("-s", *options, key=key, command=["smpl-control"])


def carries(w, local, program):
    kit.wait_until(lambda: kit.port_open(LOCAL, local) or not program.running(), "it listens")
    assert program.running(), program.stderr
    return w.get(local).stdout == "hello from inside"


# --- host keys ---


def test_each_client_gets_the_host_key_that_it_knows(several):
    w = several("modern")
    for name in KINDS:
        know(w, name)
        done = signs_in(w)
        assert done.returncode == 0, (name, done.stderr)
        local = kit.free_port("127.0.0.1")
        tunnel = w.spawn(
            kit.binary("smpl-tunnel"),
            "--bastion",
            f"dev@{BASTION}:{w.ssh_port}",
            "-i",
            w.key,
            "-F",
            "none",
            "-v",
            "--known-hosts",
            w.work / "known_hosts",
            f"{local}:config.internal",
            env={"HOME": str(w.work)},
        )
        tunnel.wait_line("^http://", stream="out")
        assert f"host key {KINDS[name]} SHA256:" in tunnel.stderr
        assert "hello from inside" in kit.run(kit.tool("curl"), "-sS", f"http://127.0.0.1:{local}/").stdout
        tunnel.stop()
    know(w, "host_ecdsa")
    (w.work / "known_hosts").write_text(
        (w.work / "known_hosts").read_text().replace("ecdsa-sha2-nistp256 AAAA", "ecdsa-sha2-nistp256 AAAB")
    )
    assert signs_in(w).returncode == 255


def test_all_host_keys_are_listed_wherever_one_was(several):
    w = several()
    lines = [
        f"{kind} {kit.run(kit.tool('ssh-keygen'), '-lf', w.work / f'{name}.pub').stdout.split()[1]}"
        for name, kind in KINDS.items()
    ]
    assert w.status()["host_keys"] == lines and w.status()["algorithms"] == "compatible"
    checked = w.command("check").stdout
    assert [line.split("host key   ")[1] for line in checked.splitlines() if "host key" in line] == lines
    assert "algorithms compatible" in checked
    assert ", ".join(lines) in w.command("status").stdout
    assert f"host key {', '.join(lines)}" in w.bastion.stderr
    w.write(extra="algorithms: compatible\n")
    assert "need a host key of kind ecdsa or rsa too" in w.command("check").stdout


def test_sessions_of_every_host_key_rekey_and_outlive_a_rotation_of_another(several):
    w = several()
    w.web.close()
    w.web = kit.HttpServer(WEB, w.port, "x" * 2_000_000)
    forwards = {}
    for name, kind in KINDS.items():
        algorithm = "rsa-sha2-512" if kind == "ssh-rsa" else kind
        forwards[name] = w.forward(extra=("-o", f"HostKeyAlgorithms={algorithm}", "-o", "RekeyLimit=1M"))
    get = lambda name: len(w.get(forwards[name][1]).stdout)
    assert [get(name) for name in KINDS] == [2_000_000] * 3
    for name in ("host_ecdsa", "host_ecdsa.pub"):
        (w.work / name).unlink()
    kit.keygen(w.work / "host_ecdsa", kind="ecdsa")
    w.command("reload")
    kit.wait_until(lambda: w.status()["template"]["ready"], "the template with the new key")
    assert [get(name) for name in KINDS] == [
        2_000_000
    ] * 3  # the one that is gone signs on for who began with it
    know(w, "host_ecdsa")
    assert signs_in(w).returncode == 0
    know(w, "host")
    assert signs_in(w).returncode == 0
    w.write(host_keys="host, host_rsa", extra="algorithms: compatible\n")
    w.command("reload")
    kit.wait_until(lambda: w.status()["template"]["ready"], "the template without a key")
    know(w, "host_ecdsa")
    assert "host_ecdsa" not in w.status()["host_keys"] and signs_in(w).returncode == 255
    know(w, "host_rsa")
    assert signs_in(w).returncode == 0
    assert all(ssh.running() for ssh, _ in forwards.values())


def test_a_bad_set_of_host_keys_changes_nothing(several):
    w = several()
    kit.keygen(w.work / "second", kind="ecdsa")
    before = w.status()["host_keys"]
    for keys, words in (
        ("host, host_ecdsa, second", "there is a host key of kind ecdsa already"),
        ("host, dev.pub", "dev.pub"),
        ("host, host_ecdsa, host_rsa, second", "more than the limit of 3"),
    ):
        w.write(host_keys=keys, extra="algorithms: compatible\n")
        assert words in w.command("reload", status=1).stderr
    w.write(**w.several)
    assert w.status()["host_keys"] == before


# --- algorithms ---


def test_what_is_offered_changes_with_a_reload(several):
    w = several("modern")
    options = (*RESTRICTED, "-o", "HostKeyAlgorithms=ecdsa-sha2-nistp256")
    assert signs_in(w, *options).returncode == 255
    w.write(**dict(w.several, extra="algorithms: compatible\n"))
    w.command("reload")
    assert signs_in(w, *options).returncode == 0
    w.write(**dict(w.several, extra=""))
    w.command("reload")
    assert signs_in(w, *options).returncode == 255
    assert w.status()["algorithms"] == "modern" and len(w.records("session-start")) == 1


def test_compatible_adds_what_modern_leaves_out_and_nothing_old(several):
    w, cipher = several(), ("-o", "Ciphers=aes256-ctr")  # one without a MAC of its own
    for option in (
        "KexAlgorithms=ecdh-sha2-nistp256",
        "KexAlgorithms=ecdh-sha2-nistp384",
        "MACs=hmac-sha2-256",
        "MACs=hmac-sha2-512",
    ):
        assert signs_in(w, "-o", option, *cipher).returncode == 0, option
    for old in ("KexAlgorithms=diffie-hellman-group14-sha1", "MACs=hmac-sha1", "HostKeyAlgorithms=ssh-rsa"):
        assert signs_in(w, "-o", old, *cipher).returncode == 255, old


def test_a_client_restricted_as_by_fips_forwards(several):
    w = several()
    know(w, "host_ecdsa")
    local = kit.free_port(LOCAL)
    ssh = w.spawn(
        *w.ssh_argv("-N", "-L", f"{LOCAL}:{local}:config.internal:{w.port}", *RESTRICTED, key=w.ecdsa)
    )
    assert carries(w, local, ssh), ssh.stderr


# --- clients ---


def test_curl_with_libssh2_signs_in(several):
    w = several()
    if "libssh2" not in kit.run(kit.tool("curl"), "-V").stdout:
        pytest.skip("this curl has no libssh2")
    done = kit.run(
        kit.tool("curl"),
        "-sSv",
        "--max-time",
        kit.PATIENCE,
        "--insecure",
        "--key",
        w.ecdsa,
        "--pubkey",
        f"{w.ecdsa}.pub",
        "-u",
        "dev:",
        f"sftp://{BASTION}:{w.ssh_port}/",
    )
    assert "Authentication complete" in done.stderr and "SFTP" in done.stderr, done.stderr
    assert "libssh2" in w.wait_record("session-start")["client"]
    assert w.wait_record("refused")["what"] == "subsystem sftp"


def test_paramiko_with_nist_curves_alone_forwards(several):
    paramiko = pytest.importorskip("paramiko", reason="python3-paramiko is not installed")
    w = several()
    with socket.create_connection((BASTION, w.ssh_port), timeout=kit.PATIENCE) as sock:
        transport = paramiko.Transport(sock)
        options = transport.get_security_options()
        options.kex, options.ciphers = ("ecdh-sha2-nistp256",), ("aes256-ctr",)
        options.digests, options.key_types = ("hmac-sha2-256",), ("ecdsa-sha2-nistp256",)
        transport.connect(username="dev", pkey=paramiko.ECDSAKey.from_private_key_file(str(w.ecdsa)))
        channel = transport.open_channel("direct-tcpip", (WEB, w.port), (LOCAL, 1), timeout=kit.PATIENCE)
        channel.settimeout(kit.PATIENCE)
        channel.sendall(b"GET / HTTP/1.0\r\n\r\n")
        got = b""
        while data := channel.recv(4096):
            got += data
        assert got.endswith(b"hello from inside")
        transport.close()


def as_pem(key):
    """Older clients read no OpenSSH keys, or not all of them."""
    assert kit.run(kit.tool("ssh-keygen"), "-q", "-p", "-m", "PEM", "-N", "", "-f", key).returncode == 0


RUBY = """\
require 'net/ssh'
host, port, key, local, target, target_port = ARGV
Net::SSH.start(host, 'dev', port: port.to_i, keys: [key], keys_only: true, config: false,
               verify_host_key: :never, use_agent: false, non_interactive: true, kex: %w[ecdh-sha2-nistp256],
               hmac: %w[hmac-sha2-256], encryption: %w[aes256-ctr],
               host_key: %w[ecdsa-sha2-nistp256]) do |ssh|
  ssh.forward.local('127.42.9.9', local.to_i, target, target_port.to_i)
  ssh.loop { true }
end
"""


def test_ruby_net_ssh_forwards(several):
    ruby = shutil.which("ruby")
    if not ruby or kit.run(ruby, "-e", "require 'net/ssh'").returncode != 0:
        pytest.skip("ruby-net-ssh is not installed")
    w, local = several(), kit.free_port(LOCAL)
    as_pem(w.ecdsa)
    (w.work / "client.rb").write_text(RUBY)
    program = w.spawn(ruby, "client.rb", BASTION, w.ssh_port, w.ecdsa, local, "config.internal", w.port)
    assert carries(w, local, program), program.stderr
    assert "Ruby/Net::SSH" in w.wait_record("session-start")["client"]


JAVA = """\
import com.jcraft.jsch.*;
public class Client {
  public static void main(String[] a) throws Exception {
    JSch jsch = new JSch();
    jsch.addIdentity(a[2]);
    Session session = jsch.getSession("dev", a[0], Integer.parseInt(a[1]));
    session.setConfig("StrictHostKeyChecking", "no");
    session.connect();
    session.setPortForwardingL("127.42.9.9", Integer.parseInt(a[3]), a[4], Integer.parseInt(a[5]));
    Thread.sleep(600000);
  }
}
"""


def test_jsch_forwards(several):
    java, jar = shutil.which("java"), Path("/usr/share/java/jsch.jar")
    if not java or not shutil.which("javac") or not jar.exists():
        pytest.skip("libjsch-java or a JDK is not installed")
    w, local = several(), kit.free_port(LOCAL)
    as_pem(w.ecdsa)
    (w.work / "Client.java").write_text(JAVA)
    program = w.spawn(
        java, "-cp", jar, "Client.java", BASTION, w.ssh_port, w.ecdsa, local, "config.internal", w.port
    )
    assert carries(w, local, program), program.stderr
    assert "JSCH" in w.wait_record("session-start")["client"]


def test_plink_and_dbclient_forward_with_an_ecdsa_host_key(several):
    tools = {
        name: shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        for name in ("plink", "puttygen", "dbclient", "dropbearconvert")
    }
    if not all(tools.values()):
        pytest.skip("putty-tools or dropbear-bin is not installed")
    w, home = several(), {}
    w.write(host_keys="host_ecdsa", extra="algorithms: compatible\n")
    w.command("reload")
    home["HOME"] = str(w.work)
    fingerprint = kit.run(kit.tool("ssh-keygen"), "-lf", w.work / "host_ecdsa.pub").stdout.split()[1]
    assert kit.run(tools["puttygen"], w.ecdsa, "-O", "private", "-o", w.work / "dev.ppk").returncode == 0
    local = kit.free_port(LOCAL)
    program = w.spawn(
        tools["plink"],
        "-ssh",
        "-batch",
        "-N",
        "-P",
        w.ssh_port,
        "-i",
        w.work / "dev.ppk",
        "-hostkey",
        fingerprint,
        "-L",
        f"{LOCAL}:{local}:config.internal:{w.port}",
        f"dev@{BASTION}",
        env=home,
    )
    assert carries(w, local, program), program.stderr
    assert (
        kit.run(tools["dropbearconvert"], "openssh", "dropbear", w.ecdsa, w.work / "dev.dropbear").returncode
        == 0
    )
    local = kit.free_port(LOCAL)
    program = w.spawn(
        tools["dbclient"],
        "-y",
        "-y",
        "-N",
        "-p",
        w.ssh_port,
        "-i",
        w.work / "dev.dropbear",
        "-L",
        f"{LOCAL}:{local}:config.internal:{w.port}",
        f"dev@{BASTION}",
        env=home,
    )
    assert carries(w, local, program), program.stderr
