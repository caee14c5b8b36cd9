# SPDX-License-Identifier: Apache-2.0
"""The manual pages: every command, option and key that a program takes stands in its page."""

import os
import pathlib
import re

import pytest

import kit

PAGES = pathlib.Path(kit.binary("smpl-app")).parent.parent / "man"
PROGRAMS = {"smpl-resolver": "8", "smpl-bastion": "8", "smpl-app": "8", "smpl-tunnel": "1"}

# A file with an unknown key, by the place where it stands.
PLACES = {
    "smpl-resolver": (
        "{x}: 1",
        "listeners: [{{{x}: 1}}]",
        "views: [{{{x}: 1}}]",
        "zones: [{{{x}: 1}}]",
        "query_log: {{{x}: 1}}",
    ),
    "smpl-bastion": (
        "{x}: 1",
        "limits: {{{x}: 1}}",
        "penalties: {{{x}: 1}}",
        "grants: [{{{x}: 1}}]",
        "users: [{{{x}: 1}}]",
        "roles: {{{x}: 1}}",
        "resolver: {{{x}: 1}}",
    ),
    "smpl-app": (
        "{x}: 1",
        "listeners: [{{{x}: 1}}]",
        "rate_limit: {{{x}: 1}}",
        "drain: {{{x}: 1}}",
        "internal_keys: [{{{x}: 1}}]",
        "resolver: {{{x}: 1}}",
    ),
    "smpl-tunnel": ("{x}: 1", "libssh: {{{x}: 1}}", "sets: [{{{x}: 1}}]"),
}


def page(name):
    """What a page says, without its markup."""
    text = (PAGES / name).read_text()
    return re.sub(r"\\f.|\\&", "", text).replace("\\-", "-")


def known_keys(program, work, text):
    """The keys that a program says it takes where it finds one that it does not take."""
    file = work / "file.yaml"
    file.write_text(text.format(x="no-such-key") + "\n")
    if program == "smpl-tunnel":
        done = kit.run(kit.binary(program), "-c", file, "ls", env={**os.environ, "HOME": str(work)})
    else:
        done = kit.run(kit.binary(program), "check", "-c", file)
    found = re.search(r"unknown key 'no-such-key' in .*; known keys: (.*)", done.stderr + done.stdout)
    assert found, (text, done.stderr)
    return found.group(1).split(", ")


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_key_stands_in_the_page_of_its_file(program, work):
    shown = page(f"{program}.yaml.5")
    for text in PLACES[program]:
        for key in known_keys(program, work, text):
            assert re.search(rf"\b{key}\b", shown), f"{program}.yaml(5) lacks {key}, of {text}"


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_option_that_help_shows_stands_in_the_page(program):
    shown = page(f"{program}.{PROGRAMS[program]}")
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", kit.run(kit.binary(program), "--help").stdout))
    assert len(options) > 2
    for option in options - {"--help", "--version"}:
        assert re.search(rf"(?<![\w-]){option}\b", shown), f"{program}({PROGRAMS[program]}) lacks {option}"


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_command_that_help_shows_stands_in_the_page(program):
    shown = page(f"{program}.{PROGRAMS[program]}")
    usage = kit.run(kit.binary(program), "--help").stdout
    commands = set(re.findall(rf"(?m)^(?:(?:[uU]sage: | +)?{program} |  )([a-z][a-z-]+)", usage))
    assert commands
    for command in commands:
        assert re.search(rf"\b{command}\b", shown), f"{program}({PROGRAMS[program]}) lacks {command}"
