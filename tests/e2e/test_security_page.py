# SPDX-License-Identifier: Apache-2.0
"""What SECURITY.md names is there: each test, each file and each constant with its value."""

import re

import pytest

import kit

PAGE = (kit.ROOT / "SECURITY.md").read_text()
SOURCES = [
    p
    for folder in ("app", "bastion", "common", "resolver", "tunnel")
    for p in (kit.ROOT / folder).rglob("*.[ch]")
]
TESTS = [p for ending in ("*.py", "*.c") for p in (kit.ROOT / "tests").rglob(ending)]


def quoted(pattern):
    return sorted(set(re.findall(r"`(" + pattern + r")`", PAGE)))


def is_test(name):
    definition = re.compile(r"^(?:def|static void) " + re.escape(name) + r"\(", re.M)
    return any(definition.search(p.read_text()) for p in TESTS)


@pytest.mark.short
def test_each_test_that_the_page_names_exists():
    files = {p.name for p in TESTS}
    names = quoted(r"[a-z][a-z0-9]*(?:_[a-z0-9]+){3,}")
    assert len(names) > 40
    missing = [n for n in names if not is_test(n)]
    assert not missing + [f for f in quoted(r"test_\w+\.py") if f not in files]


@pytest.mark.short
def test_each_file_that_the_page_names_exists():
    named = quoted(r"(?:app|bastion|common|resolver|tests|tunnel)/[\w./]+\.\w+")
    assert len(named) > 10
    assert not [f for f in named if not (kit.ROOT / f).exists()]


@pytest.mark.short
def test_each_limit_that_the_page_gives_a_number_has_it():
    text = "\n".join(p.read_text() for p in SOURCES if p.suffix == ".h")
    for name in quoted(r"[A-Z]+(?:_[A-Z]+)+"):
        assert re.search(r"\b" + name + r"\b\s*=", text), f"{name} is nowhere defined"
    for name, number, unit in re.findall(r"`([A-Z]+(?:_[A-Z]+)+)` ([\d,]+)( [KM]iB)?", PAGE):
        value = re.search(r"\b" + name + r"\b\s*=\s*([\d<+\s]+)", text).group(1)
        want = int(number.replace(",", "")) << {"": 0, " KiB": 10, " MiB": 20}[unit]
        shift = [int(n) for n in value.split("<<")]
        assert (
            shift[0] << shift[1] if len(shift) == 2 else shift[0]
        ) == want, f"{name} is {value}, not {number}{unit}"
