# SPDX-License-Identifier: Apache-2.0
"""What Prometheus' own checker (promtool check metrics) asks of a page of metrics, and what we ask of every
program beside it."""

import re
import shutil
import subprocess

import kit

TYPES = {"counter", "gauge", "histogram", "summary", "untyped"}
BASE = {"amperes", "bytes", "celsius", "grams", "joules", "kelvin", "meters", "metres", "seconds", "volts"}
OTHER_UNITS = {
    "minutes",
    "hours",
    "days",
    "weeks",
    "kelvins",
    "fahrenheit",
    "rankine",
    "inches",
    "yards",
    "miles",
    "bits",
    "calories",
    "pounds",
    "ounces",
}
PREFIXES = (
    "pico",
    "nano",
    "micro",
    "milli",
    "centi",
    "deci",
    "deca",
    "hecto",
    "kilo",
    "kibi",
    "mega",
    "mibi",
    "giga",
    "gibi",
    "tera",
    "tebi",
    "peta",
    "pebi",
)
SHORT = {"s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"}
SAMPLE = re.compile(
    r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-z_]+="(?:[^"\\\n]|\\.)*"(?:,|(?=\})))*\})? '
    r"(NaN|[+-]?Inf|[+-]?[0-9.]+(?:e[+-]?[0-9]+)?)"
)
COMMON = {
    "build_info": "gauge",
    "start_time_seconds": "gauge",
    "reloads_total": "counter",
    "last_reload_successful": "gauge",
    "config_loaded_timestamp_seconds": "gauge",
}


def read(text):
    """{family: (type, help, [(name, labels, value)])}; what is no page of metrics fails."""
    families, current = {}, None
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            current, _, help_text = line[7:].partition(" ")
            assert current not in families, f"{current}: described twice"
            families[current] = [None, help_text, []]
        elif line.startswith("# TYPE "):
            name, _, kind = line[7:].partition(" ")
            assert (
                name == current and kind in TYPES and families[name][0] is None and not families[name][2]
            ), line
            families[name][0] = kind
        else:
            found = SAMPLE.fullmatch(line)
            assert found, line
            stem = (
                re.sub("_(bucket|sum|count)$", "", found[1])
                if families[current][0] == "histogram"
                else found[1]
            )
            assert stem == current, f"{line}: not beneath {current}"
            families[current][2].append((found[1], found[2] or "", float(found[3])))
    return families


def faults_of(name, kind, help_text, samples):
    parts = name.split("_")
    if not help_text or not (help_text[0].isupper() or help_text[0].isdigit()) or not help_text.endswith("."):
        yield "its help is no sentence"
    if (kind == "counter") != name.endswith("_total"):
        yield "counters end in _total, and nothing else does"
    if kind != "histogram" and re.search("_(bucket|sum|count)$", name):
        yield "a histogram's name"
    if name != name.lower() or ":" in name:
        yield "not in snake_case"
    for part in parts:
        if part in TYPES:
            yield f"names its type, {part}"
        if part in OTHER_UNITS or part in SHORT or any(part == p + b for p in PREFIXES for b in BASE):
            yield f"{part} is no base unit"
    for unit in BASE & set(parts):
        if name.removesuffix("_total").rsplit("_", 1)[1] != unit:
            yield f"the unit {unit} belongs to the end"
    if name.endswith("_info") and any(value != 1 for _, _, value in samples):
        yield "an info is 1"
    series = [(n, labels) for n, labels, _ in samples]
    if len(series) != len(set(series)):
        yield "a series twice"
    if kind == "counter" and any(value < 0 for _, _, value in samples):
        yield "a counter below 0"


def check(text, prefix):
    """Fails with every fault of the page. prefix: "smpl_app"."""
    families = read(text)
    faults = [
        f"{name}: {fault}"
        for name, (kind, help_text, samples) in families.items()
        for fault in faults_of(name, kind, help_text, samples)
    ]
    faults += [
        f"{name}: of another program" for name in families if not name.startswith((prefix + "_", "process_"))
    ]
    for name, kind in COMMON.items():
        if f"{prefix}_{name}" not in families or families[f"{prefix}_{name}"][0] != kind:
            faults.append(f"{prefix}_{name}: every program has it, as a {kind}")
    assert not faults, "\n".join(faults)
    assert {labels for _, labels, _ in families[f"{prefix}_reloads_total"][2]} == {
        '{result="ok"}',
        '{result="failed"}',
    }
    assert 'version="' in families[f"{prefix}_build_info"][2][0][1]
    promtool = shutil.which("promtool")
    if promtool:
        done = subprocess.run(
            [promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=kit.PATIENCE
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return families
