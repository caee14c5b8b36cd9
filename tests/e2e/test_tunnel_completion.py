# SPDX-License-Identifier: Apache-2.0
"""Completion in bash, zsh and fish, with real targets; the manual page."""

import os
import pathlib
import pty
import re
import select
import shutil
import time

import kit
import pytest


@pytest.fixture
def env(work):
    """An environment in which the bastion has listed two targets and tunnel.yaml has a set."""
    (work / "cache" / "smplkit").mkdir(parents=True)
    (work / "cache" / "smplkit" / "targets").write_text(
        "config.internal.smplkit.local\napp.internal.smplkit.local\n"
    )
    (work / "tunnel.yaml").write_text('bastion: h\nsets:\n  - {name: backend, forwards: "0:x"}\n')
    path = f"{pathlib.Path(kit.binary('smpl-tunnel')).parent}:{os.environ['PATH']}"
    return {
        **os.environ,
        "PATH": path,
        "XDG_CACHE_HOME": str(work / "cache"),
        "SMPL_TUNNEL_CONFIG": str(work / "tunnel.yaml"),
        "HOME": str(work),
        "XDG_CONFIG_HOME": str(work),
        "XDG_DATA_HOME": str(work),
        "TERM": "dumb",
    }


def shell(name):
    path = shutil.which(name)
    if not path:
        pytest.skip(f"{name} is not installed")
    return path


CASES = [
    (["8080:conf"], "config.internal.smplkit.local"),
    (["why", "app"], "app.internal.smplkit.local"),
    (["sta"], "status"),
    (["up", "back"], "backend"),
    (["--known"], "--known-hosts"),
    (["completion", "fi"], "fish"),
]


@pytest.mark.parametrize("words, expected", CASES)
def test_bash(env, words, expected):
    script = (
        'eval "$(smpl-tunnel completion bash)"; COMP_WORDS=(smpl-tunnel "$@"); COMP_CWORD=$#; '
        "COMP_WORDBREAKS=$' \\t\\n:'; "
        '_smpl_tunnel; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = kit.run(shell("bash"), "-c", script, "bash", *words, env=env)
    assert done.stdout.splitlines() == [expected], done.stderr


@pytest.mark.parametrize("words, expected", CASES)
def test_fish(env, words, expected):
    done = kit.run(
        shell("fish"),
        "-c",
        f"smpl-tunnel completion fish | source; complete -C 'smpl-tunnel {' '.join(words)}'",
        env=env,
    )
    found = [line.split("\t")[0] for line in done.stdout.splitlines()]
    assert found in ([expected], [f"8080:{expected}"]), done.stderr


@pytest.mark.parametrize("words, expected", CASES)
def test_zsh(env, words, expected):
    """On a terminal, since zsh completes nowhere else: the line is completed, and then echoed instead of
    run."""
    zsh = shell("zsh")
    pid, master = pty.fork()
    if pid == 0:
        os.execvpe(zsh, ["zsh", "-f", "-i"], env)
    seen = b""

    def until(words_):
        nonlocal seen
        end = time.monotonic() + kit.PATIENCE
        while words_ not in seen:
            assert time.monotonic() < end, seen
            if select.select([master], [], [], 0.5)[0]:
                seen += os.read(master, 4096)

    os.write(
        master,
        b'PS1="> "; autoload -U compinit; compinit -u -D; eval "$(smpl-tunnel completion zsh)"; echo '
        b'rea""dy\n',
    )
    until(b"ready")
    os.write(master, b"echo got smpl; : smpl-tunnel\n")
    until(b"got smpl\r\n")
    os.write(master, f"smpl-tunnel {' '.join(words)}\t\x01echo is: \x05\n".encode())
    until(b"is: smpl-tunnel")
    until(expected.encode())
    os.close(master)
    os.waitpid(pid, 0)


def test_the_cache_is_no_way_into_the_shell(env, work):
    """A bastion's names that a shell would take for more than names are not kept."""
    done = kit.run(kit.binary("smpl-tunnel"), "completion", "bash", env=env)
    assert kit.run(shell("bash"), "-n", "-c", done.stdout).returncode == 0


def test_the_manual_page_is_built():
    page = pathlib.Path(kit.binary("smpl-tunnel")).parent.parent / "man" / "smpl-tunnel.1"
    text = page.read_text()
    assert '.TH "smpl-tunnel" "1"' in text and "--known-hosts" in text
    shown = kit.run(kit.binary("smpl-tunnel"), "--help").stdout
    options = re.findall(r"--([a-z-]+)", shown.split("in its environment.")[1])
    commands = re.findall(r"^  ([a-z]+)\b", shown.split("Makes services")[0], re.M)
    assert len(options) > 10 and "why" in commands
    for option in options:
        assert f"--{option}" in text, option
    for command in commands:
        assert command in text, command
