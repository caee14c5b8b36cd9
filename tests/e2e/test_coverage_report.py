# SPDX-License-Identifier: Apache-2.0
"""The judge of ./dev coverage: goals by program and by decision, ranges of lines."""

import importlib.util

import pytest

import kit

pytestmark = pytest.mark.skipif(kit.SANITIZED, reason="no program of ours runs here")


def helper(name):
    spec = importlib.util.spec_from_file_location(name, kit.ROOT / "tests" / "coverage" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def judge():
    return helper("report")


def lines(run, all_of_them):
    return [
        {"line_number": n + 1, "count": int(n < run), "branches": [{"count": int(n < run)}]}
        for n in range(all_of_them)
    ]


def test_what_is_below_its_goal_is_said():
    report = judge()
    files = {path: lines(100, 100) for path in report.DECISIONS.values()} | {
        "tunnel/cli/main.c": lines(85, 100)
    }
    table, below = report.judge(files)
    assert below == []
    files["tunnel/cli/main.c"] = lines(84, 100)
    files["app/gate/gate.c"] = lines(94, 100)
    table, below = report.judge(files)
    assert [b.split(":")[0] for b in below] == ["tunnel", "app/gate/gate.c"]
    assert any(row.startswith("gate") and row.endswith("app/gate/gate.c: not 95-100") for row in table)
    del files["bastion/policy/grant.c"]
    assert any(b.startswith("bastion/policy/grant.c") for b in report.judge(files)[1])


def test_ranges_are_short():
    assert judge().ranges([1, 2, 3, 5, 7, 8]) == "1-3 5 7-8" and judge().ranges([]) == ""


def test_each_line_that_was_not_run_is_listed_with_its_reason():
    source = [
        "int f(void)",
        "{",
        "  x_t *x = calloc(1, sizeof *x);",
        "  if (x == NULL)",
        "    return SMPL_ENOMEM;",
        "  if (fsync(fd) < 0)",
        "    return SMPL_ESYS;",
        "  if (n > THINGS_MAX)",
        "    n = THINGS_MAX;",
        "  int err = g(x);",
        "  if (err)",
        "    return err;",
        "  if (odd)",
        "    turn();",
        "}",
    ]
    files = {
        "tunnel/f.c": [
            {"line_number": n, "count": int(n not in (5, 7, 9, 12, 14)), "branches": []} for n in range(1, 16)
        ]
    }
    counts, listing = judge().explain(files, lambda f: source)
    assert [line.split("  ")[:2] for line in listing] == [
        ["tunnel/f.c:5", "[memory]"],
        ["tunnel/f.c:7", "[system]"],
        ["tunnel/f.c:9", "[limit]"],
        ["tunnel/f.c:12", "[passed on]"],
        ["tunnel/f.c:14", "[other]"],
    ]
    assert listing[0].endswith("return SMPL_ENOMEM;") and counts["tunnel"]["memory"] == 1
    assert any("memory" in row and row.split()[-2] == "0" for row in judge().reason_table(counts))


def test_the_report_page_says_what_has_not_been_measured(tmp_path):
    index = helper("index")
    index.write(tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert page.count("<h2>") == 3 and "./dev coverage" in page and "./dev lab soak" in page
    (tmp_path / "coverage.json").write_text(
        '{"table": ["a < b"], "below": ["tunnel: 84.0 % of lines, goal 85 %"]}'
    )
    index.write(tmp_path)
    assert (
        "a &lt; b" in (tmp_path / "index.html").read_text()
        and "goal 85" in (tmp_path / "index.html").read_text()
    )
