# SPDX-License-Identifier: Apache-2.0
"""The soak, shortened; ./dev lab soak is the long one."""

import json
import os
import subprocess

import pytest

import kit


def soak(seconds, folder):
    done = subprocess.run(
        ["/usr/bin/python3", "tests/lab/soak.py", str(seconds)],
        cwd=kit.ROOT,
        capture_output=True,
        text=True,
        timeout=seconds + 4 * kit.PATIENCE,
        env=dict(os.environ, SMPL_REPORT=str(folder)),
    )
    verdict = json.loads((folder / "soak.json").read_text())
    assert done.returncode == 0 and verdict["passed"] and verdict["faults"] == [], done.stdout + done.stderr
    assert all(n > 0 for n in verdict["calls"].values()) and min(verdict["reloads"].values()) > 2
    page = (folder / "soak.html").read_text()
    assert page.count("<svg") == 5 and "passed" in page


def test_mixed_load_with_reloads_gives_no_wrong_answer_and_loses_no_write(tmp_path):
    soak(kit.ample(8), tmp_path)


@pytest.mark.full
def test_five_minutes_of_it_with_flat_memory_and_descriptors():
    soak(300, kit.ROOT / "build" / "report")


@pytest.mark.short
def test_what_is_wrong_fails_the_soak():
    """The judge itself: growth, a missing kind of load."""
    import soak as judge

    s = judge.Soak(100)
    s.samples = [
        (
            t,
            {
                h: (10000 + (200 * t if h == "flags" else 0), 10 + (t if h == "bastion" else 0))
                for h in judge.lab.PROGRAMS
            },
        )
        for t in range(100)
    ]
    assert [line.split(":")[0] for line in s.not_flat()] == ["flags", "bastion"]
    s.seconds = 20
    assert s.not_flat() == []


@pytest.mark.short
def test_bad_arguments_are_refused():
    for argv in (["x"], ["4"], ["90000"], ["5", "6"]):
        done = subprocess.run(
            ["/usr/bin/python3", "tests/lab/soak.py", *argv],
            cwd=kit.ROOT,
            capture_output=True,
            text=True,
            timeout=kit.PATIENCE,
        )
        assert done.returncode == 2 and "Usage" in done.stderr
