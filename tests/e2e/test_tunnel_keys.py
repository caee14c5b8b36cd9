# SPDX-License-Identifier: Apache-2.0
"""Keys as people have them: every kind and format, alone and behind others, in files, sealed, in agents; and
servers that end a login."""

import base64
import itertools
import os
import shutil
import socket
import struct
import threading

import kit
import product
import pytest

from tunnel_kit import ADDRESS, EMPTY_ENV, Server, Sshd, Terminal, echo

KINDS = {
    "ed25519": ("ed25519", 256),
    "ecdsa256": ("ecdsa", 256),
    "ecdsa384": ("ecdsa", 384),
    "ecdsa521": ("ecdsa", 521),
    "rsa2048": ("rsa", 2048),
    "rsa3072": ("rsa", 3072),
    "rsa4096": ("rsa", 4096),
}
FORMATS = {"openssh": "RFC4716", "pem": "PEM", "pkcs8": "PKCS8"}
FAMILIES = ["ed25519", "ecdsa256", "rsa2048"]
SEALS = ["aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com"]


def keygen(*arguments):
    done = kit.run("ssh-keygen", "-q", *arguments)
    assert done.returncode == 0, done.stderr


class World:
    """A bastion and a plain sshd, keys of every kind, and one user a kind."""

    def __init__(self, work, spawn):
        self.work, self.spawn = work, spawn
        self.keys, self.public = {}, {}
        for kind, (name, bits) in KINDS.items():
            keygen("-t", name, "-b", str(bits), "-N", "", "-C", kind, "-f", work / kind)
            self.keys[kind, "openssh"] = work / kind
            self.public[kind] = (work / f"{kind}.pub").read_text()
            for form in ("pem", "pkcs8") if name != "ed25519" else ():
                copy = self.keys[kind, form] = work / f"{kind}-{form}"
                shutil.copy(work / kind, copy)
                keygen("-p", "-P", "", "-N", "", "-m", FORMATS[form], "-f", copy)
        self.product = product.Product(work, spawn, services=())
        self.target = Server(echo, "127.10.1.11", self.product.http)
        (work / "dev.pub").write_text("".join(self.public.values()))
        config = work / "bastion.yaml"
        users = "".join(f"  - {{name: {kind}, keys: {kind}.pub, groups: [developers]}}\n" for kind in KINDS)
        config.write_text(config.read_text().replace("users:\n", f"users:\n{users}"))
        done = kit.run(kit.binary("smpl-bastion"), "reload", "-c", "bastion.yaml", cwd=work)
        assert done.returncode == 0, done.stderr
        self.authority, public = kit.keygen(work / "ca")
        self.sshd = Sshd(work, f"TrustedUserCAKeys {public}")

    def hasty(self, grace):
        """A second bastion that does not wait long for a login; its port."""
        port = kit.free_port("127.0.0.1")
        config = (self.work / "bastion.yaml").read_text()
        config = (
            config.replace(f":{self.product.ssh}", f":{port}")
            .replace("audit.jsonl", "hasty.jsonl")
            .replace("bastion.sock", "hasty.sock")
        )
        (self.work / "hasty.yaml").write_text(config + f"limits: {{login_grace: {grace}}}\n")
        host_key = " ".join((self.work / "host_ed25519.pub").read_text().split()[:2])
        with open(self.work / "known_hosts", "a") as f:
            f.write(f"[127.0.0.1]:{port} {host_key}\n")
        self.spawn(kit.binary("smpl-bastion"), "-c", "hasty.yaml").wait_ready()
        return port

    def bastion(self, user="dev", port=None):
        return [
            "--bastion",
            f"{user}@127.0.0.1:{port or self.product.ssh}",
            "--known-hosts",
            self.work / "known_hosts",
        ]

    def plain(self, *kinds):
        """sshd, which lets in these kinds."""
        (self.sshd.folder / "authorized").write_text("".join(self.public[kind] for kind in kinds))
        arguments = self.sshd.arguments()
        return [*arguments[:2], "--known-hosts", self.sshd.known_hosts]

    def run(self, server, *keys, agent=None, arguments=()):
        """Signs in, with -v, and asks who it is: which only a bastion knows."""
        files = [word for key in keys for word in ("-i", key)]
        env = dict(os.environ, **EMPTY_ENV, HOME=str(self.work))
        if agent:
            env["SSH_AUTH_SOCK"] = str(agent)
        return kit.run(
            kit.binary("smpl-tunnel"), "-v", "-F", "none", *server, *files, *arguments, "whoami", env=env
        )

    def print_of(self, kind):
        return kit.run("ssh-keygen", "-lf", self.work / f"{kind}.pub").stdout.split()[1]

    def close(self):
        self.sshd.close()
        self.target.close()


@pytest.fixture(scope="module")
def world(shared_work, shared_spawn):
    w = World(shared_work, shared_spawn)
    yield w
    w.close()


@pytest.fixture
def agent(spawn, work):
    """agent(arguments of ssh-add...); agent.path. Whoever is asked for consent says no."""
    process = spawn(
        kit.tool("ssh-agent"),
        "-D",
        "-a",
        work / "agent",
        env={"SSH_ASKPASS": "/bin/false", "DISPLAY": ":none"},
    )
    kit.wait_until((work / "agent").exists, "the agent")

    def add(*arguments):
        done = kit.run("ssh-add", *arguments, env={**os.environ, "SSH_AUTH_SOCK": str(work / "agent")})
        assert done.returncode == 0, done.stderr

    add.path = work / "agent"
    return add


def offered(done):
    return [line.split("offering ", 1)[1] for line in done.stderr.splitlines() if "offering " in line]


def let_in_by(done, key):
    """Whether it was this key, and none behind it."""
    return "signed in as" in done.stderr and str(key) in offered(done)[-1]


# ---- kinds and orders ----


@pytest.mark.short
def test_every_kind_of_key_in_every_format_lets_in_alone(world):
    for server in (world.bastion(), world.plain(*KINDS)):
        for (kind, form), key in world.keys.items():
            done = world.run(server, key)
            assert let_in_by(done, key), (kind, form, done.stderr)


def test_every_kind_lets_in_behind_others_in_every_order(world):
    """The server takes the last one alone. Before any answer of the server libssh would sign for RSA with
    SHA-1, which nobody takes."""
    for count in (2, 3):
        for order in itertools.permutations(FAMILIES, count):
            files = [world.keys[kind, "openssh"] for kind in order]
            for server in (world.bastion(order[-1]), world.plain(order[-1])):
                done = world.run(server, *files)
                assert let_in_by(done, files[-1]) and len(offered(done)) == count, (order, done.stderr)
            done = world.run(world.bastion(), *files)
            assert let_in_by(done, files[0]) and len(offered(done)) == 1, (order, done.stderr)


def test_every_kind_lets_in_from_an_agent_in_every_order(world, agent):
    for order in itertools.permutations(FAMILIES):
        agent("-D")
        for kind in order:
            agent(world.work / kind)
        for server in (world.bastion(order[-1]), world.plain(order[-1])):
            done = world.run(server, agent=agent.path)
            assert let_in_by(done, world.print_of(order[-1])), (order, done.stderr)
    agent("-D")
    for kind in ("rsa4096", "rsa3072", "ecdsa521", "ecdsa384"):
        agent(world.work / kind)
        done = world.run(world.bastion(kind), agent=agent.path)
        assert let_in_by(done, world.print_of(kind)), (kind, done.stderr)


def test_an_rsa_key_with_a_certificate_lets_in_first(world, work, agent):
    """At a server that takes the certificate, and at ours, which takes the key behind it."""
    key = work / "mine"
    shutil.copy(world.work / "rsa2048", key)
    shutil.copy(world.work / "rsa2048.pub", work / "mine.pub")
    user = world.sshd.arguments()[1].split("@")[0]
    keygen("-s", world.authority, "-I", "me", "-n", user, work / "mine.pub")
    done = world.run(world.plain(), key)
    assert let_in_by(done, "with its certificate"), done.stderr
    done = world.run(world.bastion("rsa2048"), key)
    assert let_in_by(done, key), done.stderr
    agent(key)  # ssh-add takes the certificate too
    for server in (world.plain(), world.bastion("rsa2048")):
        done = world.run(server, agent=agent.path)
        assert let_in_by(done, "agent key"), done.stderr


# ---- sealed files ----


@pytest.mark.parametrize("seal", SEALS)
def test_a_key_under_a_seal_that_libssh_cannot_open_lets_in(world, work, seal):
    key = work / "sealed"
    shutil.copy(world.work / "ed25519", key)
    keygen("-p", "-P", "", "-N", "the words", "-Z", seal, "-a", "2", "-f", key)
    done = world.run(world.bastion("ed25519"), key)
    assert done.returncode == 6 and "needs its passphrase" in done.stderr
    terminal = Terminal("-F", "none", *world.bastion("ed25519"), "-i", key, "whoami", env={"HOME": str(work)})
    terminal.until(b"Passphrase for ")
    terminal.type(b"other words\n")
    terminal.until(b"that is not the passphrase")
    terminal.until(b"Passphrase for ")
    terminal.type(b"the words\n")
    terminal.until(b"user      ed25519")
    assert terminal.end() == 0


# ---- a login that the server ends ----


class FakeAgent:
    """Has one key, and does what it is told when it is to sign with it."""

    def __init__(self, path, line, sign):
        self.key, self.sign, self.asked = base64.b64decode(line.split()[1]), sign, threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.one, args=(connection,), daemon=True).start()

    def one(self, connection):
        while len(head := connection.recv(5, socket.MSG_WAITALL)) == 5:
            size = struct.unpack("!I", head[:4])[0] - 1
            if size:
                connection.recv(size, socket.MSG_WAITALL)
            if head[4] == 11:
                body = b"\x0c" + struct.pack("!II", 1, len(self.key)) + self.key + struct.pack("!I", 0)
            elif head[4] == 13:
                self.asked.set()
                body = self.sign()
            else:
                body = b"\x05"
            try:
                connection.sendall(struct.pack("!I", len(body)) + body)
            except OSError:  # nobody waits for it any more
                return

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def fill(agent, work, count):
    for i in range(count):
        key, _ = kit.keygen(work / f"other{i}")
        agent(key)


def test_a_server_that_has_seen_too_many_keys_is_heard(world, work, agent):
    fill(agent, work, 25)
    for server, words in (
        (world.plain("ed25519"), "Too many authentication failures"),
        (world.bastion(), "too many keys offered"),
    ):
        done = world.run(server, agent=agent.path)
        assert done.returncode == 6 and f": {words}" in done.stderr, done.stderr
    # and when a locked file would come next
    locked = work / "locked"
    shutil.copy(world.work / "ed25519", locked)
    shutil.copy(world.work / "ed25519.pub", work / "locked.pub")
    keygen("-p", "-P", "", "-N", "the words", "-f", locked)
    done = world.run(world.bastion(), locked, agent=agent.path)
    assert (
        done.returncode == 6 and ": too many keys offered" in done.stderr and "no terminal" not in done.stderr
    ), done.stderr


def test_a_file_behind_the_last_try_of_a_server_is_not_offered_in_silence(world, work):
    """MaxAuthTries of sshd are 6: files are signed with at once, and the seventh has no chance."""
    files = [kit.keygen(work / f"other{i}")[0] for i in range(6)]
    done = world.run(world.plain("ed25519"), *files, world.work / "ed25519")
    assert done.returncode == 6 and "Too many authentication failures" in done.stderr, done.stderr


def test_a_server_that_ends_the_login_while_somebody_is_waited_for_is_heard(world, work):
    """A token that nobody touches, and a passphrase that nobody types: the bastion's grace is over before."""
    port = world.hasty("2s")
    never = threading.Event()
    deaf = FakeAgent(work / "deaf", world.public["ed25519"], lambda: never.wait() and b"\x05")
    try:
        done = world.run(world.bastion("ed25519", port), agent=work / "deaf")
    finally:
        never.set()
        deaf.close()
    assert done.returncode == 6 and "no login within the grace time" in done.stderr, done.stderr
    assert "did not sign" not in done.stderr
    locked = work / "locked"
    shutil.copy(world.work / "ed25519", locked)
    keygen("-p", "-P", "", "-N", "the words", "-f", locked)
    terminal = Terminal(
        "-F", "none", *world.bastion("ed25519", port), "-i", locked, "whoami", env={"HOME": str(work)}
    )
    terminal.until(b"no login within the grace time")  # nobody has typed anything
    assert terminal.end() == 6


# ---- agents ----


def test_a_key_restricted_to_some_hosts_lets_in_there_and_nowhere_else(world, agent):
    restrict = ["-H", world.work / "known_hosts", "-H", world.sshd.known_hosts, "-h"]
    agent(*restrict, f"[127.0.0.1]:{world.product.ssh}", world.work / "rsa2048")
    done = world.run(world.bastion(), agent=agent.path)
    assert let_in_by(done, "agent key"), done.stderr
    done = world.run(world.plain("rsa2048"), agent=agent.path)
    assert done.returncode == 6 and "the agent refuses to sign with it" in done.stderr, done.stderr
    agent("-D")
    agent(
        *restrict,
        f"{world.sshd.arguments()[1].split('@')[0]}@[{ADDRESS}]:{world.sshd.port}",
        world.work / "ed25519",
    )
    done = world.run(world.plain("ed25519"), agent=agent.path)
    assert let_in_by(done, "agent key"), done.stderr


def test_a_refusal_of_the_agent_is_called_the_agents_and_the_next_key_is_tried(world, agent):
    agent("-c", world.work / "rsa2048")
    done = world.run(world.bastion(), agent=agent.path)
    assert done.returncode == 6 and "no key was accepted" not in done.stderr, done.stderr
    assert f"the server would take agent key ssh-rsa {world.print_of('rsa2048')}" in done.stderr
    assert "the agent refuses to sign with it" in done.stderr
    agent(world.work / "ed25519")
    done = world.run(world.bastion(), agent=agent.path)
    assert let_in_by(done, world.print_of("ed25519")) and len(offered(done)) == 2, done.stderr


def test_a_public_file_names_a_key_of_the_agent(world, work, agent):
    fill(agent, work, 8)
    agent(world.work / "rsa2048")
    done = world.run(world.plain("rsa2048"), world.work / "rsa2048.pub", agent=agent.path)
    assert (
        let_in_by(done, world.print_of("rsa2048")) and len(offered(done)) == 1
    ), done.stderr  # before the agent's others
    assert "is a public key" not in done.stderr
    shutil.copy(world.work / "rsa2048.pub", work / "elsewhere.pub")
    done = world.run(
        world.plain("rsa2048"), work / "elsewhere", agent=agent.path
    )  # as with a token: only FILE.pub is there
    assert (
        let_in_by(done, world.print_of("rsa2048")) and str(work) not in done.stderr.split("offering")[0]
    ), done.stderr
    done = world.run(world.plain("ed25519"), world.work / "ed25519.pub", agent=agent.path)
    assert "is a public key; give the private one" in done.stderr
