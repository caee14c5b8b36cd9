# SPDX-License-Identifier: Apache-2.0
"""The files that a gate looks at, and how it ends."""

import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]


def listed(top):
    """Paths below top of what git has, or would take up, but for pages of others (app/docs)."""
    argv = ["git", "-c", "safe.directory=*", "-C", str(top), "ls-files", "-co", "--exclude-standard", "-z"]
    names = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split("\0")
    return [
        n for n in sorted(set(names) - {""}) if (Path(top) / n).is_file() and not n.startswith("app/docs/")
    ]


def files(top):
    """The same by kind: c, python, shell."""
    kinds = {"c": [], "python": [], "shell": []}
    for name in listed(top):
        if kind := kind_of(Path(top) / name):
            kinds[kind].append(name)
    return kinds


def kind_of(path):
    by_ending = {".c": "c", ".h": "c", ".py": "python", ".sh": "shell"}
    if path.suffix:
        return by_ending.get(path.suffix)
    with path.open("rb") as f:
        first = f.readline(80)
    if not first.startswith(b"#!"):
        return None
    return "python" if b"python" in first else "shell" if first.rstrip().endswith(b"sh") else None


def end(gate, faults, what):
    """Says what is wrong, a line each, and ends."""
    for fault in faults:
        print(fault)
    print(f"{gate}: {len(faults)} to mend" if faults else f"{gate}: {what}")
    sys.exit(1 if faults else 0)


def top_of(argv):
    return Path(argv[1]).resolve() if len(argv) > 1 else TOP
