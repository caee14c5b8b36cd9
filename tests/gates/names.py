#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Where a test stands and what it is called: no end-to-end test imports another. A unit test bears the name
of a module of its program, or its first comment names the module's file. usage: names.py [TREE]"""

import re
import sys
from pathlib import Path

import tree

PROGRAMS = ("app", "bastion", "common", "resolver", "tunnel")
PREFIXES = ("test_front_", "test_svc_", "test_")  # test_front_gate.c is gate.c's


def imports(top, names):
    for name in names:
        if not name.startswith(("tests/e2e/", "tests/lab/")):
            continue
        for number, line in enumerate((top / name).read_text().split("\n"), 1):
            if re.match(r"\s*(from|import) test_", line):
                yield f"{name}:{number}: what tests share stands in tests/e2e/worlds"


def homeless(top, names):
    for name in names:
        test = Path(name)
        program = test.parent.name
        if not name.startswith(f"tests/unit/{program}/test_") or program not in PROGRAMS:
            continue
        modules = {Path(n).stem for n in names if n.startswith(f"{program}/")}
        said = (top / name).read_text(errors="replace").partition("#include")[0]
        bears = any(test.stem.removeprefix(p) in modules for p in PREFIXES if test.stem.startswith(p))
        if not bears and not any((top / f).exists() for f in re.findall(rf"{program}/[\w/]+\.[ch]", said)):
            yield f"{name}: no module of {program}/ has this name, and its first comment names none"


def main(top):
    names = tree.files(top)
    faults = [*imports(top, names["python"]), *homeless(top, names["c"])]
    tests = [n for n in names["c"] if n.startswith("tests/unit/") and "/test_" in n]
    tree.end("names", faults, f"{len(tests)} unit tests are found from their module")


if __name__ == "__main__":
    main(tree.top_of(sys.argv))
