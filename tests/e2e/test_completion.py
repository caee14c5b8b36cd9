# SPDX-License-Identifier: Apache-2.0
"""Completion of the servers' commands in bash, zsh and fish. test_tunnel_completion.py has smpl-tunnel's."""

import os
import pathlib
import shutil

import pytest

import kit

CASES = [
    ("smpl-resolver", ["expl"], "explain"),
    ("smpl-resolver", ["matrix", "--exp"], "--expect"),
    ("smpl-resolver", ["completion", "fi"], "fish"),
    ("smpl-app", ["inter"], "internal-key"),
    ("smpl-app", ["backup", "--fo"], "--force"),
    ("smpl-app", ["back"], "backup"),
    ("smpl-app", ["restore", "--tr"], "--trust-keys"),
    ("smpl-bastion", ["unb"], "unblock"),
    ("smpl-bastion", ["audit", "ver"], "verify"),
    ("smpl-bastion", ["block", "--rea"], "--reason"),
    ("smpl-bastion", ["check", "-c", "bas"], "bastion.yaml"),
]
PROGRAMS = sorted({program for program, _, _ in CASES})


@pytest.fixture
def env(work):
    (work / "bastion.yaml").touch()
    path = f"{pathlib.Path(kit.binary('smpl-bastion')).parent}:{os.environ['PATH']}"
    own = {"PATH": path, "HOME": str(work), "XDG_CONFIG_HOME": str(work), "XDG_DATA_HOME": str(work)}
    return {**os.environ, **own, "TERM": "dumb"}


def shell(name):
    path = shutil.which(name)
    if not path:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.mark.parametrize("program, words, expected", CASES)
def test_bash(env, work, program, words, expected):
    name = program.replace("-", "_")
    script = (
        f'eval "$({program} completion bash)"; COMP_WORDS=({program} "$@"); COMP_CWORD=$#; '
        f'_{name}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = kit.run(shell("bash"), "-c", script, "bash", *words, env=env, cwd=work)
    assert done.stdout.splitlines() == [expected], done.stderr


@pytest.mark.parametrize("program, words, expected", CASES)
def test_fish(env, work, program, words, expected):
    line = f"{program} {' '.join(words)}"
    script = f"{program} completion fish | source; complete -C '{line}'"
    done = kit.run(shell("fish"), "-c", script, env=env, cwd=work)
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [expected], done.stderr


@pytest.mark.parametrize("program", PROGRAMS)
def test_zsh_takes_the_script(env, work, program):
    script = kit.run(kit.binary(program), "completion", "zsh").stdout
    assert f"compdef _{program.replace('-', '_')} {program}" in script
    assert kit.run(shell("zsh"), "-n", "-c", script, env=env).returncode == 0


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_unknown_shell_is_one_clear_line(program):
    done = kit.run(kit.binary(program), "completion", "ksh")
    assert done.returncode in (1, 2) and done.stdout == ""
    assert "no completion for 'ksh': bash, zsh and fish are known" in done.stderr
