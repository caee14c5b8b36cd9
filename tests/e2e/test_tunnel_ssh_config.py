# SPDX-License-Identifier: Apache-2.0
"""smpl-tunnel obeys a user's ssh_config as ssh does, or says once what it does not heed; known_hosts with and
without ports."""

import base64
import os
import pathlib
import re
import socket
import subprocess

import kit
import pytest

from tunnel_kit import ADDRESS, EMPTY_ENV, TARGET, Server, Sshd, Terminal, echo

BOUND = "127.43.1.77"


def user():
    return pathlib.Path.home().owner() if os.geteuid() else "root"


class Place:
    """A server with host keys of two kinds, and clients with nothing but an ssh_config to go by."""

    def __init__(self, work, *options):
        self.work = work
        kit.keygen(work / "host_ecdsa", kind="ecdsa")
        self.sshd = Sshd(work, f"HostKey {work}/host_ecdsa", *options)
        self.ecdsa_line = (work / "host_ecdsa.pub").read_text().rsplit(" ", 1)[0]
        self.echo = Server(echo)

    def config(self, text="", known=None):
        known = known or self.sshd.known_hosts
        (self.work / "ssh_config").write_text(
            f"""\
{text}
Host *
  HostName {ADDRESS}
  Port {self.sshd.port}
  User {user()}
  IdentityFile {self.sshd.identity}
  UserKnownHostsFile {known}
  GlobalKnownHostsFile /dev/null
"""
        )
        return ["-F", self.work / "ssh_config", "--bastion", "bast", f"0:{TARGET}:{self.echo.port}"]

    def known(self, text):
        (self.work / "known").write_text(text)
        return self.work / "known"


@pytest.fixture
def place(work):
    p = Place(work)
    yield p
    p.sshd.close()


@pytest.fixture
def tunnel(spawn, work):
    return lambda *arguments, **env: spawn(
        kit.binary("smpl-tunnel"), *arguments, env=dict(EMPTY_ENV, HOME=str(work), **env)
    )


def carries(program):
    port = int(re.search(r"localhost:(\d+)", program.wait_line("^http://", stream="out"))[1])
    with socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) as s:
        s.sendall(b"hello")
        return s.recv(5) == b"hello"


def refused(program, status, words):
    assert program.wait() == status, program.stderr
    assert words in program.stderr, program.stderr
    return True


# ---- names and files ----


def test_a_host_with_capitals_is_found_and_known_in_lower_case(place, tunnel):
    (place.work / "ssh_config").write_text(
        f"""\
Host Bast
  HostName {ADDRESS}
  Port {place.sshd.port}
  HostKeyAlias TheBastion
  User {user()}
  IdentityFile {place.sshd.identity}
  UserKnownHostsFile {place.known('thebastion ' + place.sshd.host_line)}
"""
    )
    assert carries(
        tunnel("-F", place.work / "ssh_config", "--bastion", "Bast", f"0:{TARGET}:{place.echo.port}")
    )
    other = tunnel("-F", place.work / "ssh_config", "--bastion", "BAST.invalid", f"0:{TARGET}:80")
    assert refused(other, 4, "bast.invalid cannot be found")


def test_tokens_variables_and_spaces_in_paths(place, tunnel, spawn):
    folder = place.work / "my keys"
    folder.mkdir()
    (folder / f"id_bast_{ADDRESS}").write_text(place.sshd.identity.read_text())
    (folder / f"id_bast_{ADDRESS}").chmod(0o600)
    known = folder / "known hosts"
    known.write_text(place.sshd.known_hosts.read_text())
    identity = place.sshd.identity
    config = place.config(f'IdentityFile "${{SMPL_KEYS}}/id_%n_%h"\nUserKnownHostsFile /absent "{known}"')
    (place.work / "ssh_config").write_text(
        (place.work / "ssh_config").read_text().replace(f"  IdentityFile {identity}\n", "")
    )
    assert carries(tunnel(*config, SMPL_KEYS=str(folder)))
    assert refused(
        tunnel(*config), 1, "IdentityFile"
    )  # the variable is not set: nothing else is taken in its place
    agent = spawn(kit.tool("ssh-agent"), "-D", "-a", folder / "agent bast")
    kit.wait_until((folder / "agent bast").exists, "the agent")
    assert (
        kit.run(
            "ssh-add", identity, env=dict(os.environ, SSH_AUTH_SOCK=str(folder / "agent bast"))
        ).returncode
        == 0
    )
    config = place.config(f'IdentityFile /absent\nIdentityAgent "{folder}/agent %n"')
    (place.work / "ssh_config").write_text(
        (place.work / "ssh_config").read_text().replace(f"  IdentityFile {identity}\n", "")
    )
    assert carries(tunnel(*config))
    agent.stop()


# ---- algorithms ----


def test_algorithms_are_those_of_ssh_config(place, tunnel):
    program = tunnel(
        "-v",
        *place.config("KexAlgorithms ecdh-sha2-nistp384\nCiphers aes192-ctr,aes256-ctr\nMACs hmac-sha2-512"),
    )
    assert carries(program)
    assert "key exchange ecdh-sha2-nistp384, cipher aes192-ctr" in program.stderr
    program = tunnel(
        "-v", *place.config("Ciphers -aes128-ctr")
    )  # ssh's own list without it: chacha20 is its first
    assert carries(program)
    assert "cipher chacha20-poly1305" in program.stderr
    usual = tunnel("-v", *place.config())
    assert carries(usual)
    assert "cipher aes128-gcm" in usual.stderr and "not heeded" not in usual.stderr


def test_host_key_algorithms_are_kept_to(place, tunnel):
    known = place.known(
        f"[{ADDRESS}]:{place.sshd.port} {place.sshd.host_line}\n"
        f"[{ADDRESS}]:{place.sshd.port} {place.ecdsa_line}\n"
    )
    program = tunnel("-v", *place.config("HostKeyAlgorithms ecdsa-sha2-nistp256", known))
    assert carries(program)
    assert "host key ecdsa-sha2-nistp256 SHA256:" in program.stderr
    assert refused(tunnel(*place.config("HostKeyAlgorithms rsa-sha2-512", known)), 4, "no SSH session")


def test_algorithms_of_which_none_is_known_are_an_error(place, tunnel):
    assert refused(
        tunnel(*place.config("Ciphers aes256-cbc\nMACs umac-64@openssh.com")),
        1,
        "leave nothing that is known here",
    )
    program = tunnel(*place.config("HostKeyAlgorithms sk-ssh-ed25519@openssh.com"))
    assert refused(program, 1, "HostKeyAlgorithms sk-ssh-ed25519@openssh.com of ssh_config leave nothing")
    assert "ssh_options_set" not in program.stderr


def test_the_kind_that_is_on_file_is_asked_for(place, tunnel):
    known = place.known(f"[{ADDRESS}]:{place.sshd.port} {place.ecdsa_line}\n")
    program = tunnel("-v", *place.config(known=known))
    assert carries(program)
    assert "host key ecdsa-sha2-nistp256 SHA256:" in program.stderr


# ---- addresses ----


def test_bind_address_and_address_family(work, tunnel):
    p = Place(work, f"AllowUsers {user()}@{BOUND}")
    try:
        assert refused(tunnel(*p.config()), 6, "not let in")
        assert carries(tunnel(*p.config(f"BindAddress {BOUND}")))
        assert refused(tunnel(*p.config(f"BindAddress {BOUND}\nAddressFamily inet6")), 4, "cannot be found")
        assert refused(
            tunnel(*p.config("BindAddress 192.0.2.77")),
            4,
            "from BindAddress 192.0.2.77: Cannot assign requested address",
        )
        assert refused(
            tunnel(*p.config("BindAddress nowhere.invalid")), 4, "BindAddress nowhere.invalid cannot be found"
        )
        assert refused(
            tunnel(*p.config("BindInterface absent0")), 4, "by BindInterface absent0: No such device"
        )
    finally:
        p.sshd.close()


# ---- known hosts ----


def test_a_line_without_a_port_counts_for_other_ports(place, tunnel):
    assert carries(tunnel(*place.config(known=place.known(f"{ADDRESS} {place.sshd.host_line}\n"))))
    other, public = kit.keygen(place.work / "other")
    known = place.known(
        f"{ADDRESS} {place.sshd.host_line}\n[{ADDRESS}]:{place.sshd.port} {public.read_text()}"
    )
    assert refused(tunnel(*place.config(known=known)), 5, "has CHANGED")


def test_an_alias_goes_without_a_port(place, tunnel):
    known = place.known(f"alias {place.sshd.host_line}\n")
    assert carries(tunnel(*place.config("HostKeyAlias alias", known)))
    known = place.known(f"[alias]:{place.sshd.port} {place.sshd.host_line}\n")
    assert refused(tunnel(*place.config("HostKeyAlias alias", known)), 5, "the bastion alias is not known")


def test_accept_new_takes_what_is_new_and_refuses_what_changed(place, tunnel):
    for word in ("accept-new", "no"):
        known = place.work / f"new_{word}"
        program = tunnel(*place.config(f"StrictHostKeyChecking {word}", known))
        assert carries(program)
        assert f"is written to {known}" in program.stderr
        assert known.read_text() == f"[{ADDRESS}]:{place.sshd.port} {place.sshd.host_line}\n"
        _, public = kit.keygen(place.work / f"other_{word}")
        known.write_text(f"[{ADDRESS}]:{place.sshd.port} {public.read_text()}")
        assert refused(tunnel(*place.config(f"StrictHostKeyChecking {word}", known)), 5, "has CHANGED")


def test_strict_asks_nobody(place):
    terminal = Terminal(
        *place.config("StrictHostKeyChecking yes", place.work / "none"), over={"HOME": str(place.work)}
    )
    terminal.until(b"is not known")
    assert terminal.end() == 5
    assert b"yes/no" not in terminal.seen and not (place.work / "none").exists()


SCRIPT = """\
#!/bin/sh
echo "$@" >> "$0.seen"
[ "$1" = "ORDER" ] && exit 0
[ "$2" = "[{address}]:{port}" ] && [ "$4" = "a b" ] && echo "$2 {line}"
{end}
"""


def test_known_hosts_command_is_asked_with_the_key(place, tunnel):
    script = place.work / "command"
    write = lambda end: (
        script.write_text(
            SCRIPT.format(address=ADDRESS, port=place.sshd.port, line=place.sshd.host_line, end=end)
        ),
        script.chmod(0o755),
    )
    write("exit 0")
    config = place.config(f'KnownHostsCommand {script} %I %H %t "a b" %K', place.work / "none")
    assert carries(tunnel(*config))
    first, second = (place.work / "command.seen").read_text().splitlines()
    assert first == f"ORDER [{ADDRESS}]:{place.sshd.port} NONE a b NONE"
    assert (
        second == f"HOSTNAME [{ADDRESS}]:{place.sshd.port} ssh-ed25519 a b {place.sshd.host_line.split()[1]}"
    )
    write("exit 3")
    assert refused(tunnel(*config), 5, f"KnownHostsCommand {script} failed")
    config = place.config(f"KnownHostsCommand {script} %I elsewhere", place.work / "none")
    write("exit 0")
    assert refused(tunnel(*config), 5, "is not known")


def test_revoked_host_keys_are_refused_by_either_kind_of_list(place, tunnel):
    revoked, other = place.work / "revoked", kit.keygen(place.work / "other")[1]
    config = place.config(f"RevokedHostKeys {revoked}")
    public = f"{place.sshd.host_key}.pub"
    assert refused(tunnel(*config), 5, "no host key is trusted")  # the file is not there
    revoked.write_text(f"# none of ours\n{other.read_text()}")
    assert carries(tunnel(*config))
    revoked.write_text(f"{other.read_text()}{pathlib.Path(public).read_text()}")
    assert refused(tunnel(*config), 5, "is in RevokedHostKeys")
    for keys, words in (([other], None), ([other, public], "is in RevokedHostKeys")):
        assert kit.run("ssh-keygen", "-q", "-k", "-f", revoked, *keys).returncode == 0
        program = tunnel(*config)
        assert refused(program, 5, words) if words else carries(program)
    revoked.write_bytes(revoked.read_bytes()[:20])
    assert refused(tunnel(*config), 5, "no host key is trusted")


# ---- the rest ----


def test_what_is_not_heeded_is_said_once(place, tunnel):
    program = tunnel(*place.config("Compression yes\nVerifyHostKeyDNS yes\nRekeyLimit 1G"))
    assert carries(program)
    for pid in place.sshd.sessions():
        os.kill(pid, 9)
    program.wait_line("again|restored|back")
    assert carries(program)
    assert program.stderr.count("not heeded here") == 1
    assert (
        "not heeded here, though ssh_config says it: VerifyHostKeyDNS, RekeyLimit, Compression"
        in program.stderr
    )


# ---- other forms of keys and files ----


@pytest.mark.parametrize("locked", [False, True])
def test_an_ed25519_key_of_openssl_signs_in(place, tunnel, locked):
    key = place.work / "pkcs8"
    assert (
        kit.run(
            "openssl",
            "genpkey",
            "-algorithm",
            "ed25519",
            "-out",
            key,
            *(["-aes256", "-pass", "pass:secret"] if locked else []),
        ).returncode
        == 0
    )
    key.chmod(0o600)
    der = subprocess.run(
        ["openssl", "pkey", "-in", key, "-passin", "pass:secret", "-pubout", "-outform", "DER"],
        check=True,
        capture_output=True,
    )
    part = lambda b: len(b).to_bytes(4, "big") + b
    blob = base64.b64encode(part(b"ssh-ed25519") + part(der.stdout[-32:])).decode()
    (place.sshd.folder / "authorized").write_text(f"ssh-ed25519 {blob}\n")
    arguments = ["--known-hosts", place.sshd.known_hosts, "-i", key, *place.config()]
    if not locked:
        assert carries(tunnel(*arguments))
        return
    terminal = Terminal(*arguments, over={"HOME": str(place.work)})
    terminal.until(b"Passphrase for")
    terminal.type(b"secret\n")
    terminal.until(b"http://")
    terminal.type(b"\x03")
    assert terminal.end() == 0


def test_an_empty_tunnel_yaml_is_fine(place, tunnel):
    for text in ("", "# bastion: nobody@nowhere\n"):
        (place.work / "tunnel.yaml").write_text(text)
        assert carries(tunnel(*place.config(), SMPL_TUNNEL_CONFIG=str(place.work / "tunnel.yaml")))
