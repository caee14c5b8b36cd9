# SPDX-License-Identifier: Apache-2.0
"""smpl-bastion with the SSH clients that people have: OpenSSH's ways of forwarding, PuTTY, dropbear,
paramiko, asyncssh, Go."""

import os
import re
import shutil
import socket
import time
from pathlib import Path

import pytest

import kit
import transfer
from bastion_world import BASTION, WEB, World

LOCAL = "127.42.9.9"


@pytest.fixture
def world(work, spawn):
    w = World(work, spawn)
    yield w
    w.close()


def client(name):
    """Path of a client of others; SKIP without it."""
    path = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if not path:
        pytest.skip(f"{name} is not installed")
    return path


def serve_transfers(w):
    """Puts the target of transfers in the web server's place."""
    from ssh_client import Target

    w.web.close()
    target = Target(WEB, transfer.serve)
    w.write(
        grants=f"""\
  - groups: [developers]
    targets: ["*.internal.smplkit.local:{target.port}", "{WEB}:{target.port}"]
    networks: [127.42.0.0/16]
"""
    )
    w.command("reload")
    return target


def listening(w, program, local):
    kit.wait_until(lambda: kit.port_open(LOCAL, local) or not program.running(), "it listens")
    assert program.running(), program.stderr
    return program


# --- OpenSSH ---


def test_openssh_socks_reaches_what_is_granted_by_name_and_nothing_else(world):
    w, port = world, kit.free_port(LOCAL)
    ssh = listening(w, w.spawn(*w.ssh_argv("-N", "-D", f"{LOCAL}:{port}")), port)
    get = lambda url: kit.run(
        kit.tool("curl"), "-sS", "--max-time", kit.PATIENCE, "--proxy", f"socks5h://{LOCAL}:{port}", url
    )
    assert get(f"http://config.internal.smplkit.local:{w.port}/").stdout == "hello from inside"
    assert get(f"http://{WEB}:{w.port}/").stdout == "hello from inside"
    for url in (
        f"http://secret.smplkit.local:{w.port}/",
        f"http://127.0.0.1:{w.ssh_port}/",
        "http://config.internal.smplkit.local:22/",
    ):
        assert get(url).returncode != 0
    kit.wait_until(
        lambda: len(w.records("channel-refused")) == 3, "each refusal is on record"
    )  # written without waiting
    assert {r["reason"] for r in w.records("channel-refused")} == {"not-granted", "port-not-granted"}
    assert ssh.running()


def test_openssh_multiplexing_shares_one_session_and_survives_its_users(world):
    w, socket_path = world, world.work / "mux"
    master = w.spawn(*w.ssh_argv("-N", "-M", "-S", socket_path))
    kit.wait_until(socket_path.exists, "the master")
    slave = lambda *argv: kit.run(*w.ssh_argv("-S", socket_path, *argv))
    for _ in range(3):
        assert slave("-W", f"config.internal:{w.port}").returncode == 0
    first, second = kit.free_port(LOCAL), kit.free_port(LOCAL)
    assert slave("-O", "forward", "-L", f"{LOCAL}:{first}:config.internal:{w.port}").returncode == 0
    assert slave("-O", "forward", "-D", f"{LOCAL}:{second}").returncode == 0
    assert w.get(first).stdout == "hello from inside"
    assert slave("-O", "cancel", "-L", f"{LOCAL}:{first}:config.internal:{w.port}").returncode == 0
    assert not kit.port_open(LOCAL, first) and kit.port_open(LOCAL, second)
    done = slave("-W", "secret.smplkit.local.:80")
    assert done.returncode != 0
    assert len(w.sessions()) == 1 and len(w.records("session-start")) == 1
    assert slave("-O", "exit").returncode == 0
    master.wait()
    assert w.wait_record("session-end")["reason"] in ("client-closed", "client-vanished")


def test_openssh_keepalives_are_answered_and_keep_nothing_from_being_idle(world):
    w, interval = world, kit.ample(1) + 1
    w.write(
        grants=f"  - {{groups: [developers], targets: ['{WEB}:{w.port}'], networks: [127.42.0.0/16], idle: "
        f"{4 * interval}s}}\n"
    )
    w.command("reload")
    began = time.monotonic()
    ssh = w.spawn(*w.ssh_argv("-N", "-o", f"ServerAliveInterval={interval}", "-o", "ServerAliveCountMax=1"))
    ssh.wait()
    assert time.monotonic() - began > 3 * interval, ssh.stderr  # not for want of an answer
    assert "idle" in ssh.stderr and w.wait_record("session-end")["reason"] == "idle"


def test_openssh_forwards_unix_sockets_and_both_families_at_its_own_end(world):
    w, path, port = world, world.work / "local.sock", kit.free_port("127.0.0.1", "::1")
    ssh = w.spawn(
        *w.ssh_argv(
            "-N", "-L", f"{path}:config.internal:{w.port}", "-L", f"[::1]:{port}:config.internal:{w.port}"
        )
    )
    kit.wait_until(lambda: path.exists() and kit.port_open("::1", port), "it listens")
    curl = lambda *argv: kit.run(kit.tool("curl"), "-sS", "--max-time", kit.PATIENCE, *argv).stdout
    assert (
        curl("--unix-socket", path, "http://x/") == curl("-g", f"http://[::1]:{port}/") == "hello from inside"
    )
    assert ssh.running()


def test_openssh_jumps_through_the_bastion_to_a_server_behind_it(world):
    w, user = world, Path.home().owner() if os.geteuid() else "root"
    w.web.close()
    (w.work / "behind").mkdir(mode=0o700)
    host, host_public = kit.keygen(w.work / "behind" / "host")
    (w.work / "behind" / "config").write_text(
        f"""\
ListenAddress {WEB}:{w.port}
HostKey {host}
AuthorizedKeysFile {w.work}/dev.pub
StrictModes no
UsePAM no
PermitRootLogin yes
PidFile none
ForceCommand echo arrived
"""
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    w.spawn(kit.tool("sshd"), "-D", "-e", "-f", w.work / "behind" / "config")
    kit.wait_until(lambda: kit.port_open(WEB, w.port), "the server behind")
    known = (w.work / "known_hosts").read_text() + "behind " + host_public.read_text()
    (w.work / "known_hosts").write_text(known)
    proxy = " ".join(str(a) for a in w.ssh_argv("-W", f"config.internal:{w.port}"))
    argv = w.ssh_argv("-o", f"ProxyCommand={proxy}", "-o", "HostKeyAlias=behind", user=user)
    done = kit.run(*argv, "whoami")
    assert done.stdout == "arrived\n", done.stderr
    assert w.wait_record("channel-end")["bytes_down"] > 1000


@pytest.mark.parametrize(
    "option",
    [
        "Ciphers=chacha20-poly1305@openssh.com",
        "Ciphers=aes256-gcm@openssh.com",
        "Ciphers=aes192-ctr",
        "Ciphers=aes128-ctr",
        "MACs=hmac-sha2-512-etm@openssh.com",
        "KexAlgorithms=diffie-hellman-group16-sha512",
        "KexAlgorithms=diffie-hellman-group18-sha512",
        "KexAlgorithms=curve25519-sha256@libssh.org",
        "Compression=yes",
    ],
)
def test_openssh_agrees_on_each_algorithm_that_is_offered(world, option):
    w = world
    extra = ("-o", option) if not option.startswith("MACs") else ("-o", option, "-o", "Ciphers=aes128-ctr")
    _, local = w.forward(extra=extra)
    assert w.get(local).stdout == "hello from inside"


@pytest.mark.parametrize(
    "option",
    [
        "Ciphers=aes128-cbc",
        "MACs=hmac-sha1",
        "MACs=umac-64@openssh.com",
        "KexAlgorithms=diffie-hellman-group14-sha1",
        "KexAlgorithms=ecdh-sha2-nistp256",
        "KexAlgorithms=diffie-hellman-group-exchange-sha256",
        "HostKeyAlgorithms=ssh-rsa",
    ],
)
def test_openssh_finds_no_old_algorithm(world, option):
    extra = ("-o", option) if not option.startswith("MACs") else ("-o", option, "-o", "Ciphers=aes128-ctr")
    done = world.ssh("-N", *extra)
    assert done.returncode == 255  # by its own word, or by the bastion's, whichever comes first
    assert re.search("no matching|closed by|reset by", done.stderr), done.stderr
    assert not world.records("session-start")


def test_many_openssh_clients_at_once_all_get_in(world):
    w = world
    w.write(limits="sessions_per_user: 64, startups: '100:30:100', startups_per_source: 64")
    w.command("reload")
    clients = [w.spawn(*w.ssh_argv("-W", f"config.internal:{w.port}")) for _ in range(24)]
    for c in clients:
        assert c.wait() == 0, c.stderr
    assert len(w.records("session-start")) == 24
    w.check_chain()


# --- PuTTY ---


@pytest.fixture
def plink(world):
    w, program = world, client("plink")
    for kind in ("dev",):
        done = kit.run(client("puttygen"), w.work / kind, "-O", "private", "-o", w.work / f"{kind}.ppk")
        assert done.returncode == 0, done.stderr
    fingerprint = kit.run(kit.tool("ssh-keygen"), "-lf", w.work / "host.pub").stdout.split()[1]
    return lambda *argv: [
        program,
        "-ssh",
        "-batch",
        "-P",
        w.ssh_port,
        "-i",
        w.work / "dev.ppk",
        "-hostkey",
        fingerprint,
        *argv,
        f"dev@{BASTION}",
    ]


def test_plink_forwards_and_is_refused_what_is_not_granted(world, plink):
    w, port, other = world, kit.free_port(LOCAL), kit.free_port(LOCAL)
    env = {"HOME": str(w.work)}
    program = w.spawn(
        *plink("-N", "-L", f"{LOCAL}:{port}:config.internal:{w.port}", "-D", f"{LOCAL}:{other}"), env=env
    )
    listening(w, program, port)
    assert w.get(port).stdout == "hello from inside"
    curl = kit.run(
        kit.tool("curl"),
        "-sS",
        "--max-time",
        kit.PATIENCE,
        "--proxy",
        f"socks5h://{LOCAL}:{other}",
        f"http://other.internal.smplkit.local:{w.port}/",
    )
    assert curl.stdout == "hello from inside"
    done = kit.run(*plink("-nc", f"secret.smplkit.local.:{w.port}"), env=dict(os.environ, **env))
    assert done.returncode != 0
    assert w.wait_record("channel-refused")["reason"] == "not-granted"
    assert "PuTTY" in w.records("session-start")[0]["client"]
    assert program.running()


def test_plink_carries_transfers_both_ways(world, plink):
    w, port = world, kit.free_port(LOCAL)
    target = serve_transfers(w)
    program = w.spawn(*plink("-N", "-L", f"{LOCAL}:{port}:{WEB}:{target.port}"), env={"HOME": str(w.work)})
    listening(w, program, port)
    transfer.both_ways(lambda: socket.create_connection((LOCAL, port), timeout=kit.PATIENCE), 16)
    target.close()


# --- dropbear ---


@pytest.fixture
def dbclient(world):
    w, program = world, client("dbclient")
    converter = client("dropbearconvert")
    done = kit.run(converter, "openssh", "dropbear", w.work / "dev", w.work / "dev.dropbear")
    assert done.returncode == 0, done.stderr
    return lambda *argv: [
        program,
        "-y",
        "-y",
        "-p",
        w.ssh_port,
        "-i",
        w.work / "dev.dropbear",
        *argv,
        f"dev@{BASTION}",
    ]


def test_dbclient_forwards_and_is_refused_what_is_not_granted(world, dbclient):
    w, port = world, kit.free_port(LOCAL)
    program = w.spawn(
        *dbclient("-N", "-L", f"{LOCAL}:{port}:config.internal:{w.port}"), env={"HOME": str(w.work)}
    )
    listening(w, program, port)
    assert [w.get(port).stdout for _ in range(5)] == ["hello from inside"] * 5
    done = kit.run(*dbclient("-B", f"config.internal:{w.port}"), env=dict(os.environ, HOME=str(w.work)))
    assert done.returncode in (0, 1)  # the other end closes; which it counts as what differs by version
    kit.run(*dbclient("-B", f"secret.smplkit.local.:{w.port}"), env=dict(os.environ, HOME=str(w.work)))
    assert w.wait_record("channel-refused")["reason"] == "not-granted"
    assert "dropbear" in w.records("session-start")[0]["client"]
    assert program.running()


def test_dbclient_carries_transfers_both_ways(world, dbclient):
    w, port = world, kit.free_port(LOCAL)
    target = serve_transfers(w)
    program = w.spawn(*dbclient("-N", "-L", f"{LOCAL}:{port}:{WEB}:{target.port}"), env={"HOME": str(w.work)})
    listening(w, program, port)
    transfer.both_ways(lambda: socket.create_connection((LOCAL, port), timeout=kit.PATIENCE), 8)
    target.close()


# --- libraries ---


def test_paramiko_forwards_across_exchanges_of_keys(world):
    pytest.importorskip("paramiko", reason="python3-paramiko is not installed")
    from ssh_client import Client

    w = world
    target = serve_transfers(w)
    c = Client(w)
    c.transport.packetizer.REKEY_BYTES = 2 << 20

    class Channel:  # paramiko's has no with
        def __init__(self):
            self.channel = c.open(WEB, target.port)
            self.channel.settimeout(kit.PATIENCE)

        def __enter__(self):
            return self.channel

        def __exit__(self, *exception):
            self.channel.close()

    transfer.both_ways(Channel, 8)
    kit.wait_until(lambda: len(w.records("channel-end")) == 2, "both are on record")
    c.close()
    target.close()
    assert "paramiko" in w.records("session-start")[0]["client"]
    assert w.wait_record("session-end")["reason"] in ("client-closed", "client-vanished")


ASYNCSSH = """\
import asyncio, sys, warnings
warnings.simplefilter("ignore")
import asyncssh

async def main(bastion, port, key, known, target, target_port):
    async with asyncssh.connect(bastion, int(port), username="dev", client_keys=[key], known_hosts=known,
                                rekey_bytes=2 << 20, config=None, agent_path=None) as connection:
        async def one(number):
            reader, writer = await connection.open_connection(target, int(target_port))
            writer.write(b"d 4\\n")
            data = await reader.read()
            assert len(data) == 4 << 20, len(data)
            writer.close()
        await asyncio.gather(*(one(i) for i in range(8)))
        listener = await connection.forward_local_port("127.42.9.9", 0, target, int(target_port))
        reader, writer = await asyncio.open_connection("127.42.9.9", listener.get_port())
        writer.write(b"u\\n" + b"x" * (1 << 20))
        writer.write_eof()
        print((await reader.read()).decode())
        try:
            await connection.open_connection("secret.smplkit.local.", 80)
        except asyncssh.ChannelOpenError as e:
            print("refused", e.code)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.full
def test_asyncssh_forwards_across_exchanges_of_keys(world):
    import hashlib

    if kit.run("/usr/bin/python3", "-W", "ignore", "-c", "import asyncssh").returncode != 0:
        pytest.skip("python3-asyncssh is not installed")
    w = world
    target = serve_transfers(w)
    done = kit.run(
        "/usr/bin/python3",
        "-W",
        "ignore",
        "-c",
        ASYNCSSH,
        BASTION,
        w.ssh_port,
        w.key,
        w.work / "known_hosts",
        WEB,
        target.port,
        timeout=kit.PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [hashlib.sha256(b"x" * (1 << 20)).hexdigest(), "refused", "1"]
    assert "AsyncSSH" in w.records("session-start")[0]["client"]
    target.close()


GO = """\
// Dials through the bastion with golang.org/x/crypto/ssh: both ways at once, over several exchanges of keys.
package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net"
	"os"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	address, keyFile, known, target := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	pem, err := os.ReadFile(keyFile)
	must(err)
	key, err := ssh.ParsePrivateKey(pem)
	must(err)
	check, err := knownhosts.New(known)
	must(err)
	config := &ssh.ClientConfig{User: "dev", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: check}
	config.RekeyThreshold = 2 << 20
	config.HostKeyAlgorithms = []string{"ssh-ed25519"}
	client, err := ssh.Dial("tcp", address, config)
	must(err)
	done := make(chan string)
	for i := 0; i < 8; i++ {
		go func() {
			c, err := client.Dial("tcp", target)
			must(err)
			_, err = c.Write([]byte("d 4\\n"))
			must(err)
			n, err := io.Copy(io.Discard, c)
			must(err)
			c.Close()
			done <- fmt.Sprint(n)
		}()
	}
	for i := 0; i < 8; i++ {
		if n := <-done; n != "4194304" {
			log.Fatal("short: ", n)
		}
	}
	data := bytes.Repeat([]byte("x"), 8<<20)
	c, err := client.Dial("tcp", target)
	must(err)
	_, err = c.Write(append([]byte("u\\n"), data...))
	must(err)
	must(c.(interface{ CloseWrite() error }).CloseWrite())
	answer, err := io.ReadAll(c)
	must(err)
	if string(answer) != fmt.Sprintf("%x", sha256.Sum256(data)) {
		log.Fatal("not what was sent: ", string(answer))
	}
	_, err = client.Dial("tcp", net.JoinHostPort("secret.smplkit.local.", "80"))
	fmt.Println(err)
	must(client.Close())
}
"""


@pytest.mark.full
def test_go_dials_across_exchanges_of_keys(world):
    go, w = client("go"), world
    if not os.path.isdir("/usr/share/gocode/src/golang.org/x/crypto/ssh"):
        pytest.skip("golang-golang-x-crypto-dev is not installed")
    target = serve_transfers(w)
    (w.work / "dial.go").write_text(GO)
    env = dict(
        os.environ,
        GO111MODULE="off",
        GOPATH="/usr/share/gocode",
        GOCACHE=str(w.work / "cache"),
        HOME=str(w.work),
    )
    built = kit.run(go, "build", "-o", w.work / "dial", w.work / "dial.go", env=env, timeout=3 * kit.PATIENCE)
    assert built.returncode == 0, built.stderr
    done = kit.run(
        w.work / "dial",
        f"{BASTION}:{w.ssh_port}",
        w.key,
        w.work / "known_hosts",
        f"{WEB}:{target.port}",
        timeout=kit.PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert "administratively prohibited" in done.stdout
    assert "Go" in w.records("session-start")[0]["client"]
    target.close()
