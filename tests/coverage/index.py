# SPDX-License-Identifier: Apache-2.0
"""build/report/index.html: what ./dev coverage, ./dev lab soak and ./dev lab test full have measured, on one
page."""

import html
import json


def read(path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def coverage(folder):
    found = read(folder / "coverage.json")
    if found is None:
        return "<p>not measured yet: <code>./dev coverage</code>"
    verdict = "".join(f"<li>{html.escape(line)}" for line in found["below"])
    said = f"<p>Below its goal:<ul>{verdict}</ul>" if verdict else "<p>Every goal is met."
    return (
        f"<pre>{html.escape(chr(10).join(found['table']))}</pre>{said}"
        '<p><a href="coverage.html">Pages by file</a>, <a href="coverage.txt">every line that was not run</a>'
    )


def soak(folder):
    found = read(folder / "soak.json")
    if found is None:
        return "<p>not run yet: <code>./dev lab soak</code>"
    calls = ", ".join(f"{n} {kind}" for kind, n in found["calls"].items())
    return (
        f"<p>{found['seconds']} s: <b>{'passed' if found['passed'] else 'FAILED'}</b>, "
        f"{len(found['faults'])} faults; calls: {html.escape(calls)}; "
        f"{found['reloads']['zone']} zone reloads, {found['reloads']['policy']} policy reloads"
        '<p><a href="soak.html">Rates, latencies, memory, descriptors</a>'
    )


def throughput(folder):
    found = read(folder / "lab-throughput.json")
    if found is None:
        return "<p>not measured yet: <code>./dev lab test full</code>"
    rates = ", ".join(f"{name} {rate} KiB/s" for name, rate in found["KiB_per_s"].items())
    return (
        f"<p>{found['rtt_ms']} ms there and back, {100 * found['loss']:.0f} % loss each way: "
        f"{html.escape(rates)}"
    )


def write(folder):
    parts = (("Coverage", coverage), ("Soak", soak), ("A slow and lossy link", throughput))
    (folder / "index.html").write_text(
        '<!doctype html><meta charset="utf-8"><title>Report</title><style>'
        "body{font:14px system-ui;margin:2em;max-width:1100px}"
        "pre{background:#f7f7f7;padding:1em;overflow:auto;font-size:12px}</style>"
        "<h1>Report</h1>" + "".join(f"<h2>{title}</h2>{part(folder)}" for title, part in parts) + "\n"
    )
