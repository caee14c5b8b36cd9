#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""clang-tidy on what has changed since the last release; on all of the programs' C files with --all.
usage: tidy.py [--all] BUILD-FOLDER"""

import os
import subprocess
import sys

import tree


def git(*argv):
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", "-C", tree.TOP, *argv], capture_output=True, text=True
    )
    return done.stdout.strip() if done.returncode == 0 else None


def changed():
    """Names of files, and since when; a clone without a release has none to look at."""
    base = git("describe", "--tags", "--abbrev=0", "--match", "v*")
    if base is None:
        return set(), "there is no release to compare with"
    return set((git("diff", "--name-only", base) or "").split("\n")), f"changed since {base[:12]}"


def main(argv):
    build, names = argv[-1], tree.files(tree.TOP)["c"]
    names = [n for n in names if n.endswith(".c") and not n.startswith("tests/")]
    since = "all of them"
    if "--all" not in argv:
        wanted, since = changed()
        names = [n for n in names if n in wanted]
    if names:
        batch = ["xargs", "-0", "-P", str(os.cpu_count()), "-n", "4", "clang-tidy", "-p", build, "--quiet"]
        done = subprocess.run(
            batch,
            input="\0".join(names),
            cwd=tree.TOP,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        print(done.stdout, end="")
        if done.returncode != 0:
            sys.exit(1)
    tree.end("tidy", [], f"{len(names)} files, {since}")


if __name__ == "__main__":
    main(sys.argv)
