#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Whether the manual pages say what the programs' tables say. usage: manuals.py [--write] BUILD [TREE];
--write makes it so.

BUILD/tests/manual-PROGRAM prints parts of pages, each from "; begin PART" to "; end". The same lines stand in
PROGRAM's *.scd, and between them what the tables say."""

import re
import subprocess
import sys
from pathlib import Path

import tree

PART = re.compile(r"^; begin (\w+)\n(.*?)^; end\n", re.S | re.M)


def parts(tool):
    """What a program's tables say, by the name of the part."""
    said = subprocess.run([tool], check=True, capture_output=True, text=True).stdout
    return dict(PART.findall(said))


def mend(text, want):
    return PART.sub(lambda m: f"; begin {m[1]}\n{want.get(m[1], m[2])}; end\n", text)


def main(argv):
    write = "--write" in argv
    build, *more = [a for a in argv[1:] if a != "--write"]
    top = tree.top_of(["", *more])
    faults, count = [], 0
    for tool in sorted(Path(build, "tests").glob("manual-*")):
        program = tool.name.removeprefix("manual-")
        want, shown = parts(tool), set()
        for page in sorted((top / program).glob("*.scd")):
            text = page.read_text()
            shown |= {m[1] for m in PART.finditer(text)}
            count += 1
            if mend(text, want) == text:
                continue
            if write:
                page.write_text(mend(text, want))
            else:
                faults.append(f"{program}/{page.name}: not as the tables have it; ./dev fmt")
        faults += [f"{program}: no page has the part {part}" for part in sorted(set(want) - shown)]
        faults += [f"{program}: a page has a part {part}, and no table" for part in sorted(shown - set(want))]
    if not count:
        faults.append(f"{build}/tests has no manual-PROGRAM: build it first")
    if not write or faults:
        tree.end("manuals", faults, f"{count} pages say what the tables say")


if __name__ == "__main__":
    main(sys.argv)
