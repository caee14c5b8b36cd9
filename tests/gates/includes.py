#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Includes point one way: a program's files include their own program and common/, and a folder includes only
folders below it. usage: includes.py [TREE]"""

import re
import sys
from pathlib import PurePosixPath

import tree

# Each program's folders, from the top floor to the lowest. What stands in the program's folder itself
# (limits.h) is below them all. A folder may include any that comes after it.
FLOORS = {
    "common": "ssh net dns conf process base",
    "resolver": "cli control io answer view zone",
    "bastion": "cli broker session spawn worker policy audit contract",
    "app": "program accounts config flags services store/sqlite store http gate",
    "tunnel": "cli run local session trust speaker contract base",
}


def floor(folder):
    """(program, number); None for a folder that the table does not have."""
    program, _, rest = folder.partition("/")
    floors = FLOORS.get(program, "").split()
    if not floors or rest and rest not in floors:
        return None
    return program, floors.index(rest) if rest else len(floors)


def arrows(top):
    """(file, line number, folder of the included file) where the two folders differ."""
    for name in tree.files(top)["c"]:
        if not name.startswith(tuple(f"{program}/" for program in FLOORS)):
            continue
        for number, line in enumerate((top / name).read_text(errors="replace").split("\n"), 1):
            found = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if found and "/" in found[1]:
                yield name, number, str(PurePosixPath(found[1]).parent)
            elif found:
                yield name, number, None


def fault(name, target):
    """What is wrong with an include; None if nothing is."""
    if target is None:
        return "an include names the file's folder, from the top of the tree"
    own, other = floor(str(PurePosixPath(name).parent)), floor(target)
    if own is None or other is None:
        return f"no floor of tests/gates/includes.py has {target if own else PurePosixPath(name).parent}"
    if own[0] != other[0]:
        return None if other[0] == "common" else f"{own[0]} includes {other[0]}"
    return None if own[1] <= other[1] else f"{target} is above"


def main(top):
    faults, count = [], 0
    for name, number, target in arrows(top):
        count += 1
        if (why := fault(name, target)) is not None:
            faults.append(f"{name}:{number}: {why}")
    tree.end("includes", faults, f"{count} includes point down")


if __name__ == "__main__":
    main(tree.top_of(sys.argv))
