# SPDX-License-Identifier: Apache-2.0
"""smpl-tunnel among other people's keys and servers: ssh_config, agents, certificates, jumps, dropbear."""

import base64
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

import kit
import pytest

from tunnel_kit import ADDRESS, EMPTY_ENV, TARGET, Server, Sshd, echo, sshd  # noqa: F401 (sshd is a fixture)


def user():
    return pathlib.Path.home().owner() if os.geteuid() else "root"


@pytest.fixture
def tunnel(spawn, sshd, work):
    """tunnel(arguments...) with nothing but an ssh_config to go by."""
    server = Server(echo)

    def start(*arguments, **env):
        return spawn(
            kit.binary("smpl-tunnel"),
            *arguments,
            f"0:{TARGET}:{server.port}",
            env=dict(EMPTY_ENV, HOME=str(work), **env),
        )

    return start


def carries(program):
    port = int(re.search(r"localhost:(\d+)", program.wait_line("^http://", stream="out"))[1])
    with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
        s.sendall(b"hello")
        return s.recv(5) == b"hello"


RELAY = """\
import os, socket, sys, threading
s = socket.create_connection((sys.argv[-2], int(sys.argv[-1])))
def up():
    while data := os.read(0, 65536):
        s.sendall(data)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=up, daemon=True).start()
while data := s.recv(65536):
    os.write(1, data)
"""


def ssh_config(work, text):
    (work / "ssh_config").write_text(text)
    return ["-F", work / "ssh_config"]


# ---- ssh_config ----


def test_ssh_config_gives_host_port_user_key_and_known_hosts(tunnel, sshd, work):
    config = ssh_config(
        work,
        f"""\
Host work
  HostName {ADDRESS}
  Port {sshd.port}
  User {user()}
  IdentityFile {sshd.identity}
  UserKnownHostsFile {sshd.known_hosts}
""",
    )
    program = tunnel(*config, "--bastion", "work")
    assert carries(program)
    assert f"by way of {user()}@work:{sshd.port}" in program.stdout


def test_the_usual_ssh_config_is_heeded_and_none_leaves_it_out(tunnel, sshd, work):
    (work / ".ssh").mkdir(mode=0o700)
    (work / ".ssh" / "config").write_text(
        f"Match host work\n HostName {ADDRESS}\n Port {sshd.port}\n User {user()}\n"
        f" IdentityFile {sshd.identity}\n"
        f" UserKnownHostsFile {sshd.known_hosts}\n"
    )
    # ssh takes the home folder from the user database, so the file is named
    assert carries(tunnel("-F", work / ".ssh" / "config", "--bastion", "work"))
    program = tunnel("-F", "none", "--bastion", "work.invalid")
    assert program.wait() == 4 and "cannot be found" in program.stderr


def test_the_command_line_stands_above_ssh_config(tunnel, sshd, work):
    config = ssh_config(
        work, f"Host *\n Port 1\n User nobody\n IdentityFile /nonexistent\n UserKnownHostsFile /dev/null\n"
    )
    assert carries(tunnel(*config, *sshd.arguments()))


def test_host_key_alias(tunnel, sshd, work):
    (work / "known").write_text(f"[the-bastion]:{sshd.port} {sshd.host_line}\nthe-bastion {sshd.host_line}\n")
    config = ssh_config(work, f"Host *\n HostKeyAlias the-bastion\n UserKnownHostsFile {work}/known\n")
    arguments = sshd.arguments()
    assert carries(tunnel(*config, *arguments[:4]))


def test_a_broken_ssh_config_is_said(tunnel, sshd, work):
    program = tunnel(*ssh_config(work, "Host *\n Nonsense yes\n"), *sshd.arguments())
    assert program.wait() == 1
    assert "option: nonsense" in program.stderr and "ssh_config cannot be read" in program.stderr


def test_proxy_command(tunnel, sshd, work):
    config = ssh_config(
        work,
        "Host far\n HostName nowhere.invalid\n HostKeyAlias far\n"
        f" ProxyCommand /usr/bin/python3 {work}/relay.py "
        f"%h %p {ADDRESS} {sshd.port}\n",
    )
    (work / "relay.py").write_text(
        'import sys\nassert sys.argv[1:3] == ["nowhere.invalid", "77"], sys.argv\n' + RELAY
    )
    (work / "known").write_text(f"far,[far]:77 {sshd.host_line}\n")
    program = tunnel(
        *config, "--bastion", f"{user()}@far:77", "-i", sshd.identity, "--known-hosts", work / "known"
    )
    assert carries(program)
    children = kit.children(program.pid)
    assert program.stop() == 0
    kit.wait_until(lambda: not any(kit.alive(pid) for pid in children), "the proxy ends too")


def test_proxy_jump(tunnel, sshd, work):
    inner = Sshd(work / "inner", address="127.43.1.4") if (work / "inner").mkdir() is None else None
    try:
        config = ssh_config(
            work,
            f"""\
Host jump
  HostName {ADDRESS}
  Port {sshd.port}
  User {user()}
  IdentityFile {sshd.identity}
Host inner
  HostName 127.43.1.4
  Port {inner.port}
  User {user()}
  IdentityFile {inner.identity}
  ProxyJump jump
Host *
  UserKnownHostsFile {work}/known
""",
        )
        (work / "known").write_text(f"* {sshd.host_line}\n* {inner.host_line}\n")
        program = tunnel("-v", *config, "--bastion", "inner")
        assert carries(program)
        program.wait_line("connected by: ssh -F")
    finally:
        inner.close()


def test_server_alive_is_the_users_own(tunnel, sshd, work):
    config = ssh_config(work, "Host *\n ServerAliveInterval 1\n ServerAliveCountMax 2\n")
    program = tunnel(*config, *sshd.arguments())
    usual = tunnel(*sshd.arguments())
    assert carries(program) and carries(usual)
    stopped = sshd.sessions()
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        program.wait_line("no sign of life")
        assert "no sign of life" not in usual.stderr  # which has 12 s more
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


# ---- agents ----


@pytest.fixture
def agent(spawn, work):
    process = spawn(kit.tool("ssh-agent"), "-D", "-a", work / "agent")
    kit.wait_until((work / "agent").exists, "the agent")

    def add(*paths):
        done = kit.run("ssh-add", *paths, env={**os.environ, "SSH_AUTH_SOCK": str(work / "agent")})
        assert done.returncode == 0, done.stderr

    yield add
    process.signal(signal.SIGTERM)
    process.wait()


def without_identity(sshd):
    return [a for a in sshd.arguments() if a not in ("-i", sshd.identity)]


def test_a_refused_agent_lists_the_keys_tried(tunnel, sshd, work, agent):
    prints = []
    for name in ("one", "two"):
        private, public = kit.keygen(work / name, comment=f"comment of {name}")
        agent(private)
        prints.append(kit.run("ssh-keygen", "-lf", public).stdout.split()[1])
    program = tunnel(*without_identity(sshd), SSH_AUTH_SOCK=str(work / "agent"))
    assert program.wait() == 6
    for print_ in prints:
        assert print_ in program.stderr
    assert "comment of one" in program.stderr


def test_identities_only_leaves_the_agents_other_keys_out(tunnel, sshd, work, agent):
    other, _ = kit.keygen(work / "other")
    agent(other, sshd.identity)
    public = work / "wanted"
    shutil.copy(f"{sshd.identity}.pub", f"{public}.pub")  # the private half is in the agent alone
    config = ssh_config(work, f"Host *\n IdentitiesOnly yes\n IdentityFile {public}\n")
    program = tunnel("-v", *config, *without_identity(sshd), SSH_AUTH_SOCK=str(work / "agent"))
    assert carries(program)
    offered = program.wait_line("offering agent key")
    assert kit.run("ssh-keygen", "-lf", f"{other}.pub").stdout.split()[1] not in offered
    config = ssh_config(work, f"Host *\n IdentitiesOnly yes\n IdentityFile {other}\n")
    program = tunnel(*config, *without_identity(sshd), SSH_AUTH_SOCK=str(work / "agent"))
    assert program.wait() == 6


def test_an_agent_that_lists_and_never_signs_is_no_hang_for_ctrl_c(tunnel, sshd, work, spawn):
    """It stands for a token that nobody touches."""
    key = base64.b64decode((sshd.folder / "id.pub").read_text().split()[1])
    (work / "deaf.py").write_text(
        f"""\
import socket, struct, threading, time
key = {key!r}
s = socket.socket(socket.AF_UNIX); s.bind({str(work / 'agent')!r}); s.listen()
body = b"\\x0c" + struct.pack("!I", 1) + struct.pack("!I", len(key)) + key + struct.pack("!I", 0)
def serve(c):
    while head := c.recv(5, socket.MSG_WAITALL):
        if head[4] == 11:
            c.sendall(struct.pack("!I", len(body)) + body)
        else:
            open({str(work / 'asked')!r}, "w").close()
            time.sleep(600)
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
"""
    )
    spawn("/usr/bin/python3", work / "deaf.py")
    kit.wait_until((work / "agent").exists, "the agent")
    program = tunnel("-v", *without_identity(sshd), SSH_AUTH_SOCK=str(work / "agent"))
    program.wait_line("offering agent key")
    kit.wait_until((work / "asked").exists, "the agent is asked to sign")
    program.signal(signal.SIGINT)
    assert program.wait() == 0
    assert "does not answer" not in program.stderr  # which would have ended the wait for the agent


# ---- certificates ----


@pytest.fixture
def certified(work):
    """An sshd that knows no key, only who signs them."""
    authority, public = kit.keygen(work / "ca")
    server = Sshd(work, f"TrustedUserCAKeys {public}")
    (server.folder / "authorized").write_text("")
    yield server, authority
    server.close()


def sign(authority, key):
    done = kit.run("ssh-keygen", "-q", "-s", authority, "-I", "me", "-n", user(), f"{key}.pub")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_certificate_beside_its_key_lets_in(spawn, work, certified, kind):
    server, authority = certified
    key, _ = kit.keygen(work / "mine", kind)
    sign(authority, key)
    target = Server(echo)
    program = spawn(
        kit.binary("smpl-tunnel"),
        "-v",
        *server.arguments()[:2],
        "-i",
        key,
        "--known-hosts",
        server.known_hosts,
        f"0:{TARGET}:{target.port}",
        env=EMPTY_ENV,
    )
    assert carries(program)
    program.wait_line("with its certificate")


def test_certificate_file_of_ssh_config(spawn, work, certified):
    server, authority = certified
    key, _ = kit.keygen(work / "mine")
    sign(authority, key)
    shutil.move(f"{key}-cert.pub", work / "elsewhere.pub")
    config = ssh_config(work, f"Host *\n IdentityFile {key}\n CertificateFile {work}/elsewhere.pub\n")
    program = spawn(
        kit.binary("smpl-tunnel"),
        *config,
        *server.arguments()[:2],
        "--known-hosts",
        server.known_hosts,
        f"0:{TARGET}:{Server(echo).port}",
        env=EMPTY_ENV,
    )
    assert carries(program)


def test_a_certificate_in_the_agent_lets_in(spawn, work, certified, agent):
    server, authority = certified
    key, _ = kit.keygen(work / "mine")
    sign(authority, key)
    agent(key)  # ssh-add takes the certificate too
    program = spawn(
        kit.binary("smpl-tunnel"),
        *server.arguments()[:2],
        "--known-hosts",
        server.known_hosts,
        f"0:{TARGET}:{Server(echo).port}",
        env=dict(EMPTY_ENV, HOME=str(work), SSH_AUTH_SOCK=str(work / "agent")),
    )
    assert carries(program)


# ---- known hosts ----


@pytest.fixture
def vouched(work):
    """An sshd whose host key can be given a certificate of an authority; known_hosts has that authority
    alone."""
    authority, public = kit.keygen(work / "host_ca")
    folder = work / "vouched"
    folder.mkdir()
    server = Sshd(folder, f"HostCertificate {folder}/sshd/host-cert.pub")
    server.known_hosts.write_text(f"@cert-authority {ADDRESS},[{ADDRESS}]:* {public.read_text()}")
    server.authority = public.read_text().rsplit(" ", 1)[0]

    def certify(*options, by=authority):
        done = kit.run("ssh-keygen", "-q", "-s", by, "-h", "-I", "host", *options, f"{server.host_key}.pub")
        assert done.returncode == 0, done.stderr
        server.close()
        server.start()

    yield server, certify
    server.close()


def refused(server, *options):
    done = kit.run(
        kit.binary("smpl-tunnel"),
        *server.arguments(),
        *options,
        f"0:{TARGET}:80",
        env={**os.environ, **EMPTY_ENV},
    )
    assert done.returncode == 5, (done.returncode, done.stderr)
    return done.stderr


def test_a_host_certificate_of_an_authority_on_file_is_trusted(tunnel, vouched):
    server, certify = vouched
    certify("-n", f"somebody.else,{ADDRESS}", "-V", "+1h")
    program = tunnel("-v", *server.arguments())
    assert carries(program)
    assert "is vouched for by a @cert-authority" in program.stderr
    for pid in server.sessions():  # a new session asks again
        os.kill(pid, signal.SIGKILL)
    program.wait_line("connected again")
    assert server.known_hosts.read_text().count("\n") == 1  # nothing was written to it


@pytest.mark.parametrize(
    "options, why",
    [
        (("-n", "somebody.else"), "its certificate is for other names"),
        (("-n", ADDRESS, "-V", "20200101:20200102"), "its certificate has expired"),
        ((), "its certificate is for other names"),
    ],
)
def test_a_host_certificate_that_is_not_for_this_says_why(vouched, options, why):
    server, certify = vouched
    certify(*options)
    assert f"a @cert-authority is on file for it, but {why}" in refused(server)


def test_a_host_certificate_of_another_or_a_revoked_authority_is_not_trusted(vouched, work):
    server, certify = vouched
    other, _ = kit.keygen(work / "other_ca")
    certify("-n", ADDRESS, by=other)
    assert "its certificate is signed by another authority" in refused(server)
    certify("-n", ADDRESS)
    with server.known_hosts.open("a") as f:
        f.write(f"@revoked * {server.authority}\n")
    assert "its certificate is signed by another authority" in refused(server)


def test_a_revoked_host_key_is_refused_whoever_vouches_for_it(vouched):
    server, certify = vouched
    certify("-n", ADDRESS)
    with server.known_hosts.open("a") as f:
        f.write(f"@revoked * {server.host_line}\n")
    assert "is marked @revoked" in refused(server)


@pytest.mark.parametrize("form", ["lines", "list of keys", "list of serials"])
def test_a_host_certificate_or_authority_in_revoked_host_keys_vouches_for_nobody(vouched, work, form):
    server, certify = vouched
    certify("-n", ADDRESS, "-z", "7")
    revoked, spec = work / "revoked", work / "spec"
    spec.write_text("serial: 7\n")
    if form == "lines":
        revoked.write_text(f"{server.authority}\n")
    else:
        what = [f"{work}/host_ca.pub"] if form == "list of keys" else ["-s", f"{work}/host_ca.pub", spec]
        assert kit.run("ssh-keygen", "-q", "-k", "-f", revoked, *what).returncode == 0
    config = work / "revoking"
    config.write_text(f"Host *\n  RevokedHostKeys {revoked}\n")
    assert "is in RevokedHostKeys" in refused(server, "-F", config)


def with_scanner(server, work, script):
    """What the tunnel says when ssh-keyscan is this script, and it trusts nobody."""
    scan = work / "bin" / "ssh-keyscan"
    scan.parent.mkdir()
    scan.write_text(f"#!/bin/sh\n{script}\n")
    scan.chmod(0o755)
    done = kit.run(
        kit.binary("smpl-tunnel"),
        *server.arguments(),
        f"0:{TARGET}:80",
        env={**os.environ, **EMPTY_ENV, "PATH": f"{scan.parent}:{os.environ['PATH']}"},
    )
    assert done.returncode == 5
    return done.stderr


def test_a_certificate_whose_signature_is_wrong_is_not_trusted(vouched, work):
    """The scanner in PATH is ours: it shows the right certificate with one bit of its signature turned."""
    server, certify = vouched
    certify("-n", ADDRESS)
    kind, text = (server.folder / "host-cert.pub").read_text().split()[:2]
    blob = bytearray(base64.b64decode(text))
    blob[-1] ^= 1
    said = with_scanner(server, work, f"echo {kind} {base64.b64encode(blob).decode()}")
    assert "its certificate's signature is wrong" in said


def test_a_host_that_did_not_answer_in_time_is_not_said_to_have_no_certificate(vouched, work):
    """The scanner in PATH is ours: it ends as ssh-keyscan does when its time is up."""
    server, certify = vouched
    certify("-n", ADDRESS)
    assert "or did not answer in time" in with_scanner(server, work, "exit 1")


def test_a_cert_authority_makes_no_plain_key_trusted_and_is_told(sshd, work):
    known = work / "known"
    _, authority = kit.keygen(work / "ca")
    for key in (authority.read_text(), sshd.host_line):
        known.write_text(f"@cert-authority * {key}\n")
        assert (
            "a @cert-authority is on file for it, but it shows no certificate, or did not answer in time"
            in refused(sshd, "--known-hosts", known)
        )


def test_behind_a_proxy_a_cert_authority_cannot_be_asked_and_is_told(vouched, work):
    server, certify = vouched
    certify("-n", ADDRESS)
    (work / "relay.py").write_text(RELAY)
    config = ssh_config(
        work, f"Host *\n ProxyCommand /usr/bin/python3 {work}/relay.py {ADDRESS} {server.port}\n"
    )
    assert "behind a proxy it cannot be asked for its certificate" in refused(server, *config)


# ---- dropbear ----


@pytest.fixture
def dropbear(work):
    """dropbear on the same keys as an sshd would have; skipped where it is not installed."""
    program = shutil.which("dropbear", path=os.environ["PATH"] + ":/usr/sbin")
    if not program or os.geteuid() != 0:
        pytest.skip("needs dropbear, and root, whose authorized_keys are lent to it")
    folder = work / "dropbear"
    folder.mkdir(mode=0o700)
    home = folder / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    kit.run("dropbearkey", "-t", "ed25519", "-f", folder / "host")
    host = next(
        line
        for line in kit.run("dropbearkey", "-y", "-f", folder / "host").stdout.splitlines()
        if line.startswith("ssh-")
    )
    identity, public = kit.keygen(folder / "id")
    port = kit.free_port(ADDRESS)
    (folder / "known").write_text(f"[{ADDRESS}]:{port} {' '.join(host.split()[:2])}\n")
    (home / ".ssh" / "authorized_keys").write_text(public.read_text())
    passwd = folder / "passwd"
    passwd.write_text(
        re.sub(
            r"^root:x:0:0:([^:]*):[^:]*:",
            rf"root:x:0:0:\1:{home}:",
            pathlib.Path("/etc/passwd").read_text(),
            flags=re.M,
        )
    )
    for path in (folder, home, home / ".ssh"):
        path.chmod(0o700)
    processes = []

    def start(*options):
        process = subprocess.Popen(
            [
                "unshare",
                "-m",
                "sh",
                "-c",
                f'mount --bind {passwd} /etc/passwd && exec "$@"',
                "sh",
                program,
                "-F",
                "-E",
                "-s",
                "-r",
                str(folder / "host"),
                "-p",
                f"{ADDRESS}:{port}",
                "-P",
                str(folder / "pid"),
                *options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        processes.append(process)
        kit.wait_until(lambda: kit.port_open(ADDRESS, port), "dropbear listens")
        return ["--bastion", f"root@{ADDRESS}:{port}", "-i", identity, "--known-hosts", folder / "known"]

    yield start
    for process in processes:
        for pid in kit.children(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.kill()
        process.wait()


def test_dropbear_carries_connections(dropbear, spawn):
    arguments = dropbear()
    program = spawn(
        kit.binary("smpl-tunnel"), *arguments, f"0:{TARGET}:{Server(echo).port}", "-D", "0", env=EMPTY_ENV
    )
    assert carries(program)
    done = kit.run(
        kit.binary("smpl-tunnel"),
        *arguments,
        f"0:{TARGET}:{kit.free_port(TARGET)}",
        env={**os.environ, **EMPTY_ENV},
    )
    assert done.returncode == 8
    done = kit.run(kit.binary("smpl-tunnel"), *arguments, "ls", env={**os.environ, **EMPTY_ENV})
    assert done.returncode == 1 and "no smplkit bastion" in done.stderr


def test_dropbear_that_forbids_forwarding_is_said_so(dropbear):
    arguments = dropbear("-j")
    done = kit.run(
        kit.binary("smpl-tunnel"),
        *arguments,
        f"0:{TARGET}:{Server(echo).port}",
        env={**os.environ, **EMPTY_ENV},
    )
    assert done.returncode == 7 and "does not allow" in done.stderr
