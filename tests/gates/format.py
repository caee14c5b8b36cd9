#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Whether C, Python and shell look as clang-format, black and shfmt would have them. usage: format.py
[--write] [TREE]; --write makes it so.

The formatters differ from version to version, so those of Debian 12 decide. Where others are installed this
says so, and looks at nothing of theirs."""

import re
import subprocess
import sys

import tree

# How each is told to look, to write, and the version that decides.
TOOLS = {
    "c": (["clang-format"], ["--dry-run", "-Werror"], ["-i"], "14."),
    "python": (["black", "-q"], ["--check"], [], "23."),
    "shell": (["shfmt", "-i", "2"], ["-l"], ["-w"], "3.6."),
}


def version(tool):
    done = subprocess.run([tool, "--version"], capture_output=True, text=True)
    return re.search(r"\d[\d.]*", done.stdout)[0]


def wrong(top, command, look, names):
    """Those of the files that the formatter would change."""
    done = subprocess.run([*command, *look, *names], cwd=top, capture_output=True, text=True)
    if done.returncode == 0 and not done.stdout:
        return []
    one = lambda name: subprocess.run([*command, *look, name], cwd=top, capture_output=True, text=True)
    return [name for name in names if (said := one(name)).returncode != 0 or said.stdout]


def main(argv):
    write = "--write" in argv
    top = tree.top_of([a for a in argv if a != "--write"])
    faults, said = [], []
    for kind, names in tree.files(top).items():
        command, look, change, wanted = TOOLS[kind]
        have = version(command[0])
        if not have.startswith(wanted):
            said.append(f"{command[0]} is {have}, and {wanted}x decides: not looked at")
        elif write:
            subprocess.run([*command, *change, *names], cwd=top, check=True)
        else:
            faults += [
                f"{n}: not as {command[0]} has it; ./dev fmt" for n in wrong(top, command, look, names)
            ]
            said.append(f"{len(names)} files as {command[0]} has them")
    if not write or faults:
        tree.end("format", faults, "; ".join(said))


if __name__ == "__main__":
    main(sys.argv)
