# SPDX-License-Identifier: Apache-2.0
"""Each gate closes on what it is for, in a small tree of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
C, HASH = "/* SPDX-License-Identifier: Apache-2.0 */\n", "# SPDX-License-Identifier: Apache-2.0\n"


@pytest.fixture
def gate(tmp_path):
    """gate(name, {file: text}) -> what it says, and whether it is open, on a tree of these files."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)

    def ask(name, texts):
        for file, text in texts.items():
            path = tmp_path / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        argv = [sys.executable, HERE / f"{name}.py", tmp_path]
        done = subprocess.run(argv, capture_output=True, text=True)
        assert not done.stderr
        return done.returncode == 0, done.stdout

    return ask


def test_a_long_line_is_named_with_its_place(gate):
    assert gate("lines", {"a.c": C + "x" * 110 + "\n"})[0]
    for file, text in (("a.c", C), ("b.py", HASH), ("c.sh", "#!/bin/sh\n" + HASH)):
        opened, said = gate("lines", {file: text + "y" * 111 + "\n"})
        assert not opened and f"{file}:{text.count(chr(10)) + 1}: 111 columns" in said


@pytest.mark.parametrize(
    "file, text", [("a.h", "#pragma once\n"), ("b.py", "x = 1\n"), ("c", "#!/bin/sh\ntrue\n")]
)
def test_a_file_without_its_license_is_named(gate, file, text):
    opened, said = gate("lines", {file: text})
    assert not opened and file in said and "SPDX" in said


def test_blanks_at_the_end_of_a_line_are_named(gate):
    assert "a.py:2: blanks" in gate("lines", {"a.py": HASH + "x = 1 \n"})[1]


@pytest.mark.parametrize(
    "file, included, why",
    [
        ("resolver/zone/a.c", "resolver/io/udp.h", "resolver/io is above"),
        ("resolver/limits.h", "resolver/zone/a.h", "resolver/zone is above"),
        ("app/gate/a.c", "bastion/audit/audit.h", "app includes bastion"),
        ("common/base/a.c", "app/gate/gate.h", "common includes app"),
        ("tunnel/new/a.c", "common/base/error.h", "no floor"),
        ("tunnel/run/a.c", "tunnel/new/b.h", "no floor"),
        ("tunnel/run/a.c", "tunnel.h", "from the top of the tree"),
    ],
)
def test_an_include_that_points_up_or_aside_is_named(gate, file, included, why):
    opened, said = gate("includes", {file: f'{C}#include "{included}"\n'})
    assert not opened and f"{file}:2: " in said and why in said


def test_includes_that_point_down_are_let_through(gate):
    opened, said = gate(
        "includes", {"resolver/io/a.c": f'{C}#include "resolver/zone/b.h"\n#include "common/base/c.h"\n'}
    )
    assert opened and "resolver/io/a.c" not in said


def test_a_test_that_imports_a_test_is_named(gate):
    opened, said = gate("names", {"tests/e2e/test_a.py": HASH + "from test_b import world\n"})
    assert not opened and "tests/e2e/test_a.py:2" in said


def test_a_unit_test_is_found_from_its_module(gate):
    module = {"app/gate/gate.c": C}
    assert gate("names", {**module, "tests/unit/app/test_gate.c": C, "tests/unit/app/test_front_gate.c": C})[
        0
    ]
    assert not gate("names", {"tests/unit/app/test_other.c": C})[0]
    assert gate("names", {"tests/unit/app/test_other.c": C + "/* app/gate/gate.c: more. */\n"})[0]
    assert not gate("names", {"tests/unit/app/test_other.c": C + "/* app/gate/none.c: more. */\n"})[0]


WORDS = "| word | means | not |\n|---|---|---|\n| folder | for files | directory, directories |\n"
WORDS += "| record | a line | log entry, RR |\n| view | zones | |\n"


@pytest.mark.parametrize(
    "file, text, place",
    [
        ("a.c", C + "/* A directory. */\n", "a.c:2: 'directory': our word is 'folder'"),
        ("a.c", C + "/* A log\n * entry. */\n", "a.c:2: 'log entry': our word is 'record'"),
        ("a.h", C + 'static const char t[] = "two Directories";\n', "a.h:2: 'directories'"),
        ("a.c", C + "int x; // RRs\n", "a.c:2: 'RR'"),
        ("a/README.md", "one\n\nTwo directories.\n", "a/README.md:3: 'directories'"),
        ("a.8.scd", "*FILE*\n\tA log entry.\n", "a.8.scd:2: 'log entry'"),
    ],
)
def test_a_word_that_stands_for_one_of_ours_is_named(gate, file, text, place):
    opened, said = gate("words", {"CONTRIBUTING.md": WORDS, file: text})
    assert not opened and place in said and "words: 1 to mend" in said


@pytest.mark.parametrize(
    "file, text",
    [
        ("a.c", C + "int directory; /* A folder, a Journal, subdirectory. */\nchar c = '\"';\nint rr;\n"),
        ("a.md", "A `directory`.\n\n    ls directory\n\n```\nlog entry\n```\n"),
        ("a.py", HASH + "directory = 1\n"),
        ("tests/unit/a.c", C + 'static const char other[] = "directory";\n'),
    ],
)
def test_names_in_code_and_words_of_others_are_let_through(gate, file, text):
    assert gate("words", {"CONTRIBUTING.md": WORDS, file: text})[0]


@pytest.mark.parametrize(
    "file, text",
    [
        ("a.c", C + "int  x;\n"),
        ("b.py", HASH + "x  = 1\n"),
        ("c.sh", "#!/bin/sh\n" + HASH + "if true\nthen\ntrue; fi\n"),
    ],
)
def test_what_the_formatter_would_change_is_named(gate, file, text):
    opened, said = gate("format", {file: text})
    assert not opened and f"{file}: not as" in said or "not looked at" in said


def test_a_page_that_says_other_than_the_tables_is_named(tmp_path):
    tool = tmp_path / "build/tests/manual-app"
    tool.parent.mkdir(parents=True)
    tool.write_text("#!/bin/sh\nprintf '; begin keys\\n*port*\\n; end\\n'\n")
    tool.chmod(0o755)
    page = tmp_path / "app/smpl-app.8.scd"
    page.parent.mkdir()
    ask = lambda *argv: subprocess.run(
        [sys.executable, HERE / "manuals.py", *argv, tmp_path / "build", tmp_path],
        capture_output=True,
        text=True,
    )
    page.write_text("# KEYS\n\n; begin keys\n*prot*\n; end\n\nMore.\n")
    assert "app/smpl-app.8.scd: not as the tables have it" in ask().stdout
    assert ask("--write").returncode == 0
    assert page.read_text() == "# KEYS\n\n; begin keys\n*port*\n; end\n\nMore.\n"
    assert ask().returncode == 0
    page.write_text("# KEYS\n")
    assert "app: no page has the part keys" in ask().stdout
    page.write_text("; begin keys\n*port*\n; end\n; begin more\n; end\n")
    assert "app: a page has a part more, and no table" in ask().stdout
    tool.unlink()
    assert ask().returncode == 1
