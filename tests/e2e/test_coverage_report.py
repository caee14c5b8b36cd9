"""The judge of ./dev coverage: goals by program and by decision, ranges of lines."""

import importlib.util

import pytest

import kit

pytestmark = pytest.mark.skipif(kit.SANITIZED, reason="no program of ours runs here")


def judge():
    spec = importlib.util.spec_from_file_location("report", kit.ROOT / "tests" / "coverage" / "report.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lines(run, all_of_them):
    return [{"line_number": n + 1, "count": int(n < run), "branches": [{"count": int(n < run)}]} for n in range(all_of_them)]


def test_what_is_below_its_goal_is_said_and_what_is_sealed_does_not_count():
    report = judge()
    files = {path: lines(100, 100) for path in report.DECISIONS.values()} | {"tunnel/main.c": lines(85, 100), "bastion/worker.c": lines(0, 100)}
    table, below = report.judge(files)
    assert below == []
    assert any(row.startswith("  sealed") and "0.0 %" in row for row in table)
    files["tunnel/main.c"] = lines(84, 100)
    files["app/gate.c"] = lines(94, 100)
    table, below = report.judge(files)
    assert [b.split(":")[0] for b in below] == ["tunnel", "app/gate.c"]
    assert any(row.startswith("gate") and row.endswith("app/gate.c: not 95-100") for row in table)
    del files["bastion/grant.c"]
    assert any(b.startswith("bastion/grant.c") for b in report.judge(files)[1])


def test_ranges_are_short():
    assert judge().ranges([1, 2, 3, 5, 7, 8]) == "1-3 5 7-8" and judge().ranges([]) == ""
