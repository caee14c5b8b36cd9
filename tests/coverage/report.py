# SPDX-License-Identifier: Apache-2.0
"""Coverage by gcovr, after the tests have run on the coverage build: build/report/coverage.html, and a
verdict by folder.

Says what is uncovered in the decisions, and fails if a program or a decision is below its goal. See README.md
for what cannot count."""

import collections
import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import index  # noqa: E402
import reasons  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ["resolver", "bastion", "tunnel", "app", "common"]
PROGRAM_GOAL, DECISION_GOAL = 85.0, 95.0  # per cent of lines
DECISIONS = {
    "wire reader": "common/dns/dns_wire.c",
    "gate": "app/gate/gate.c",
    "grant": "bastion/policy/grant.c",
    "view choice": "resolver/view/view_choice.c",
}


def measure(build):
    done = subprocess.run(
        [
            "gcovr",
            "--root",
            str(ROOT),
            "--object-directory",
            str(build),
            "--filter",
            "|".join(f"{p}/" for p in PROGRAMS),
            "--exclude-unreachable-branches",
            "--exclude-throw-branches",
            "--json",
            "-",
            str(build),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    if done.returncode != 0:
        raise SystemExit(
            "coverage: gcovr: "
            f"{done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}"
        )
    return {
        f["file"]: f["lines"] for f in json.loads(done.stdout)["files"] if f["file"].endswith((".c", ".h"))
    }


def share(lines):
    """(covered lines, lines, covered branches, branches)"""
    code = [line for line in lines if not line.get("gcovr/noncode")]
    branches = [b for line in code for b in line["branches"]]
    return (
        sum(line["count"] > 0 for line in code),
        len(code),
        sum(b["count"] > 0 for b in branches),
        len(branches),
    )


def percent(part, whole):
    return 100.0 * part / whole if whole else 100.0


def ranges(numbers):
    """12-14 17"""
    out, start, last = [], None, None
    for n in [*numbers, None]:
        if last is not None and n == last + 1:
            last = n
            continue
        if last is not None:
            out.append(f"{start}" if start == last else f"{start}-{last}")
        start = last = n
    return " ".join(out)


def total(files):
    return [sum(column) for column in zip(*(share(lines) for lines in files))] or [0, 0, 0, 0]


def row(name, counts, note=""):
    return (
        f"{name:<24} {percent(counts[0], counts[1]):6.1f} % {counts[0]:>6}/{counts[1]:<6} "
        f"{percent(counts[2], counts[3]):6.1f} % {counts[2]:>6}/{counts[3]:<6} {note}"
    ).rstrip()


def judge(files):
    """The table, and what is below its goal."""
    table, below = [f"{'':<24} {'lines':<24} branches"], []
    for program in PROGRAMS:
        mine = {f: lines for f, lines in files.items() if f.startswith(program + "/")}
        counts = total(list(mine.values()))
        table.append(row(program, counts))
        if percent(*counts[:2]) < PROGRAM_GOAL:
            below.append(f"{program}: {percent(*counts[:2]):.1f} % of lines, goal {PROGRAM_GOAL:.0f} %")
    for name, path in DECISIONS.items():
        lines = files.get(path, [])
        counts = share(lines)
        uncovered = ranges(not_run(lines))
        table.append(row(name, counts, f"{path}: {'all' if not uncovered else 'not ' + uncovered}"))
        if not lines or percent(*counts[:2]) < DECISION_GOAL:
            below.append(f"{path}: {percent(*counts[:2]):.1f} % of lines, goal {DECISION_GOAL:.0f} %")
    return table, below


def not_run(lines):
    return [line["line_number"] for line in lines if line["count"] == 0 and not line.get("gcovr/noncode")]


def explain(files, read):
    """({program: {reason: lines}}, the list of lines that were not run: place, reason, text)"""
    counts, listing = {p: collections.Counter() for p in PROGRAMS}, []
    for file, lines in sorted(files.items()):
        missing = not_run(lines)
        source = read(file) if missing else []
        for n in missing:
            why = reasons.reason(source, n)
            counts[file.split("/")[0]][why] += 1
            listing.append(f"{file}:{n}  [{why}]  {source[n - 1].strip()}")
    return counts, listing


def reason_table(counts):
    rows = [f"{'not run, in lines':<72}" + "".join(f"{p:>10}" for p in PROGRAMS)]
    for name, text in [(r[0], r[1]) for r in reasons.REASONS] + [reasons.OTHER]:
        rows.append(f"  {name + ': ' + text:<70}" + "".join(f"{counts[p][name]:>10}" for p in PROGRAMS))
    return rows


def main(build):
    files = measure(build)
    if not files:
        raise SystemExit(f"coverage: nothing was measured in {build}; did the tests run?")
    table, below = judge(files)
    counts, listing = explain(files, lambda f: (ROOT / f).read_text().splitlines())
    table += ["", *reason_table(counts)]
    folder = ROOT / "build" / "report"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "coverage.txt").write_text("\n".join([*table, "", "Lines that were not run", *listing]) + "\n")
    (folder / "coverage.json").write_text(json.dumps({"table": table, "below": below}, indent=1) + "\n")
    subprocess.run(
        [
            "gcovr",
            "--root",
            str(ROOT),
            "--object-directory",
            str(build),
            "--filter",
            "|".join(f"{p}/" for p in PROGRAMS),
            "--exclude-unreachable-branches",
            "--html-details",
            str(folder / "coverage.html"),
            str(build),
        ],
        check=True,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    index.write(folder)
    print("\n".join(table))
    print(
        "every line that was not run, with its reason: build/report/coverage.txt; pages: "
        "build/report/index.html"
    )
    for line in below:
        print(f"coverage: {line}", file=sys.stderr)
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
