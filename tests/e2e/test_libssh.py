# SPDX-License-Identifier: Apache-2.0
"""Programs that link libssh do not start on one with known holes. dpkg's records are another file to them
here."""

import os

import pytest

import kit
from bastion_world import BASTION, World

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="another file in the place of dpkg's records needs root"
)
RECORD = "Package: libssh-4\nStatus: install ok installed\nVersion: {}\n"
LOADED = kit.libssh_version()
# Debian's version with holes and the first without, and whether upstream's of that number has them.
VULNERABLE, FIXED, UPSTREAM_TOO = {
    "0.10": ("0.10.6-0+deb12u2", "0.10.6-0+deb12u3", True),
    "0.11": ("0.11.5-0", "0.11.5-0+deb13u1", False),
}[LOADED[:4]]
HOLES = (
    f"libssh {VULNERABLE} has known holes, {FIXED} has not: upgrade the package libssh-4, or accept "
    "them "
    f"with libssh: {{accept_vulnerable: true}} in "
)


def behind(records, *argv):
    """argv where dpkg has these records."""
    return [
        "unshare",
        "-m",
        "sh",
        "-c",
        'mount --bind "$0" /var/lib/dpkg/status && exec "$@"',
        records,
        *argv,
    ]


@pytest.fixture
def records(work):
    path = work / "status"
    path.write_text(RECORD.format(VULNERABLE))
    return path


def test_a_bastion_refuses_to_start_on_a_libssh_with_known_holes(work, spawn, records):
    w = World(work, spawn, start=False)
    for argv in (["check", "-c", "bastion.yaml"], ["-c", "bastion.yaml"]):
        done = kit.run(*behind(records, kit.binary("smpl-bastion"), *argv), cwd=work)
        assert done.returncode == 1 and done.stderr.strip().endswith(HOLES + "bastion.yaml"), done.stderr
    records.write_text("")  # dpkg knows nothing: what the library says of itself decides
    done = kit.run(*behind(records, kit.binary("smpl-bastion"), "check", "-c", "bastion.yaml"), cwd=work)
    said = (
        f"libssh {LOADED} has known holes" if UPSTREAM_TOO else f"libssh {LOADED}: dpkg knows nothing of it"
    )
    assert done.returncode == (1 if UPSTREAM_TOO else 0) and said in done.stderr + done.stdout
    records.write_text(RECORD.format(VULNERABLE))
    (work / "bastion.yaml").write_text(
        (work / "bastion.yaml").read_text() + "libssh: {accept_vulnerable: true}\n"
    )
    program = spawn(*behind(records, kit.binary("smpl-bastion"), "-c", "bastion.yaml")).wait_ready()
    assert f"libssh {VULNERABLE} has known holes, {FIXED} has not; accepted by bastion.yaml" in program.stderr
    w.close()


def test_a_tunnel_refuses_to_start_on_a_libssh_with_known_holes(work, records):
    env = dict(os.environ, SMPL_TUNNEL_CONFIG=str(work / "tunnel.yaml"), SSH_AUTH_SOCK="")
    argv = behind(
        records, kit.binary("smpl-tunnel"), "--bastion", f"dev@{BASTION}:{kit.free_port(BASTION)}", "ls"
    )
    (work / "tunnel.yaml").write_text("read_ahead: true\n")
    done = kit.run(*argv, cwd=work, env=env)
    assert done.returncode == 1 and HOLES + "tunnel.yaml" in done.stderr
    (work / "tunnel.yaml").write_text("libssh: {accept_vulnerable: true}\n")
    done = kit.run(*argv, cwd=work, env=env)
    assert done.returncode == 4 and "accepted by tunnel.yaml" in done.stderr  # nobody listens there
