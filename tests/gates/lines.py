#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Lines of C, Python and shell have at most 110 columns, comments too, and no blanks at their ends; the first
line, or the one after #!, says the license. usage: lines.py [TREE]"""

import sys

import tree

WIDTH = 110
LICENSE = "SPDX-License-Identifier: Apache-2.0"
FIRST = {"c": f"/* {LICENSE} */", "python": f"# {LICENSE}", "shell": f"# {LICENSE}"}


def main(top):
    faults, count = [], 0
    for kind, names in tree.files(top).items():
        for name in names:
            lines = (top / name).read_text(errors="replace").split("\n")
            count += 1
            place = 1 if lines[0].startswith("#!") else 0
            if FIRST[kind] not in lines[place : place + 1]:
                faults.append(f"{name}:{place + 1}: this line must be: {FIRST[kind]}")
            for number, line in enumerate(lines, 1):
                if len(line) > WIDTH:
                    faults.append(f"{name}:{number}: {len(line)} columns, more than {WIDTH}")
                if line != line.rstrip():
                    faults.append(f"{name}:{number}: blanks at its end")
    tree.end("lines", faults, f"{count} files")


if __name__ == "__main__":
    main(tree.top_of(sys.argv))
