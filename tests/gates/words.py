#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One word for one thing. The table "Words" of CONTRIBUTING.md has, behind each word, those that are not
written for it. None of them stands in a page, a comment, or a message of a program. What stands between
backticks, or on a line that begins with four blanks, may be somebody else's word. usage: words.py [TREE]"""

import re
import sys

import tree

TABLE = "CONTRIBUTING.md"
PAGES = (".md", ".scd")


def glossary(top):
    """(word, one that is not written for it), from the rows of three cells."""
    for line in (top / TABLE).read_text().split("\n"):
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) != 3 or cells[0] == "word" or set(cells[0]) == {"-"}:
            continue
        yield from ((cells[0], wrong.strip()) for wrong in cells[2].split(",") if wrong.strip())


def pattern(wrong):
    """A blank in it may be the end of a line, and it may be plural."""
    words = [re.escape(word) for word in wrong.split()]
    return re.compile(r"(?<![\w./-])" + r"[\s*#]+".join(words) + r"s?(?![\w/-])", re.I)


def blank(text):
    return re.sub(r"[^\n]", " ", text)


def prose_of_page(text):
    text = re.sub(r"^```.*?^```", lambda m: blank(m[0]), text, flags=re.M | re.S)
    text = re.sub(r"`[^`\n]*`", lambda m: blank(m[0]), text)
    return re.sub(r"^ {4}.*$", lambda m: blank(m[0]), text, flags=re.M)


def prose_of_c(text, strings):
    """Comments, and strings if they are wanted; what else there is becomes blanks, its lines stay."""
    part = re.compile(r"""/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.S)
    out, at = [], 0
    for found in part.finditer(text):
        wanted = found[0][0] == "/" or (found[0][0] == '"' and strings)
        out += [blank(text[at : found.start()]), found[0] if wanted else blank(found[0])]
        at = found.end()
    return "".join(out)


def pieces(top):
    for name in tree.listed(top):
        path = top / name
        if path.suffix in PAGES and name != TABLE:
            yield name, prose_of_page(path.read_text())
        elif path.suffix in (".c", ".h"):
            yield name, prose_of_c(path.read_text(errors="replace"), not name.startswith("tests/"))


def faults(top, words):
    for name, prose in pieces(top):
        for right, wrong, expression in words:
            for found in expression.finditer(prose):
                line = prose.count("\n", 0, found.start()) + 1
                yield f"{name}:{line}: {wrong!r}: our word is {right!r}"


def main(top):
    words = [(right, wrong, pattern(wrong)) for right, wrong in glossary(top)]
    tree.end("words", list(faults(top, words)), f"{len(words)} words stand nowhere for one of ours")


if __name__ == "__main__":
    main(tree.top_of(sys.argv))
