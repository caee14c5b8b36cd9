# SPDX-License-Identifier: Apache-2.0
"""The expressions that the public balancer judges paths and queries by are the language of the gate
(app/gate/language.txt). Each byte, pair and escape is asked of PCRE2, as HAProxy asks it.
tests/unit/app/test_front_language.c does the same with the gate."""

import ctypes
import itertools

import pytest

import kit
from balanced import render

pytestmark = pytest.mark.skipif(kit.SANITIZED, reason="no program of ours runs here")

EXAMPLE = kit.ROOT / "app" / "haproxy" / "example" / "balancers.yaml"
EDGES = (0x2F, 0x61, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF)
JIT_COMPLETE = 1


class Expression:
    """A compiled expression of PCRE2, with its JIT where there is one."""

    def __init__(self, text):
        library = ctypes.CDLL("libpcre2-8.so.0")
        for name in ("compile", "match_data_create_from_pattern"):
            getattr(library, f"pcre2_{name}_8").restype = ctypes.c_void_p
        error, at = ctypes.c_int(), ctypes.c_size_t()
        code = library.pcre2_compile_8(
            text, ctypes.c_size_t(len(text)), 0, ctypes.byref(error), ctypes.byref(at), None
        )
        assert code, (text, error.value, at.value)
        self.code = ctypes.c_void_p(code)
        library.pcre2_jit_compile_8(self.code, JIT_COMPLETE)
        self.data = ctypes.c_void_p(library.pcre2_match_data_create_from_pattern_8(self.code, None))
        self.match = library.pcre2_match_8

    def __call__(self, subject):
        size = ctypes.c_size_t(len(subject))
        return self.match(self.code, subject, size, ctypes.c_size_t(0), 0, self.data, None) > 0


class Language:
    """The table, read by itself."""

    def __init__(self):
        rows = [
            line.split(" ", 1)
            for line in (kit.ROOT / "app" / "gate" / "language.txt").read_text().splitlines()
            if line and not line.startswith("#")
        ]
        only = {word: rest.encode() for word, rest in rows}
        self.path, self.query = set(only["path"]), set(only["path"] + only["query"])
        self.control = {c for r in only["control"].decode().split() for c in self.range(r)}
        self.hidden = self.control | set(only["hidden"])
        utf8 = [[self.range(r) for r in rest.split()] for word, rest in rows if word == "utf8"]
        self.sequences = {first: row[1:] for row in utf8 for first in row[0]}

    @staticmethod
    def range(text):
        low, _, high = text.partition("-")
        return range(int(low, 16), int(high or low, 16) + 1)

    def allows(self, text, raw, never):
        rest = []  # the bytes that may come next, of a sequence that has begun
        at = 0
        while at < len(text):
            byte = text[at]
            if byte == ord("%"):
                digits = text[at + 1 : at + 3]
                if len(digits) < 2 or not all(d in b"0123456789abcdefABCDEF" for d in digits):
                    return False
                byte = int(digits, 16)
                if byte in never:
                    return False
                at += 2
            elif byte not in raw:
                return False
            at += 1
            if rest:
                if byte not in rest[0]:
                    return False
                rest = rest[1:]
            elif byte >= 0x80:
                if byte not in self.sequences:
                    return False
                rest = self.sequences[byte]
        return not rest

    def segment(self, text):
        return text not in (b"", b".", b"..") and self.allows(text, self.path, self.hidden)


def texts():
    """Every byte in every position; every pair, raw, escaped and behind a percent sign; longer escapes at
    the edges of what begins, goes on and ends."""
    for byte in range(256):
        b = bytes([byte])
        yield from (b, b"a" + b, b + b"a", b"a" + b + b"a")
    for a, b in itertools.product(range(256), repeat=2):
        pair = bytes((a, b))
        yield from (pair, b"%" + pair, b"." + pair)
        yield b"%%%02x%%%02X" % (a, b)
    for a in range(0xE0, 0x100):
        for b, c in itertools.product(EDGES, repeat=2):
            yield b"%%%02X%%%02x%%%02x" % (a, b, c)
        if a >= 0xEE:
            for b, c, d in itertools.product(EDGES, repeat=3):
                yield b"%%%02x%%%02X%%%02x%%%02x" % (a, b, c, d)


def test_the_balancers_expressions_admit_what_the_table_says(work):
    assert render(EXAMPLE, work / "out").returncode == 0
    names = ("path", "dot-segment", "admitted", "query")
    path, dots, admitted, query = (
        Expression((work / "out" / "rules" / name).read_bytes().removesuffix(b"\n")) for name in names
    )
    language = Language()
    count = good = 0
    for text in texts():
        count += 1
        if b"/" not in text:
            wanted = language.segment(text)
            good += wanted
            for whole in (b"/api/v1/" + text, b"/api/v1/" + text + b"/a"):
                assert (path(whole) and not dots(whole)) == wanted, whole
                assert (admitted(whole) and not dots(whole)) == wanted, whole
        wanted = language.allows(text, language.query, language.control)
        assert query(text) == wanted, text
    assert count > 250000 and good > 5000


def test_slashes_part_segments_and_only_what_is_below_the_prefix_is_admitted(work):
    assert render(EXAMPLE, work / "out").returncode == 0
    path, admitted = (
        Expression((work / "out" / "rules" / name).read_bytes().removesuffix(b"\n"))
        for name in ("path", "admitted")
    )
    for text, well_formed, below in (
        (b"/", True, False),
        (b"", False, False),
        (b"//", False, False),
        (b"/a//b", False, False),
        (b"/api/v1", True, False),
        (b"/api/v1/", True, False),
        (b"/api/v1//", False, False),
        (b"/api/v1/x", True, True),
        (b"/api/v1/x/", True, False),
        (b"/api/v1/x\n", False, False),
        (b"/api/v1x/y", True, False),
        (b"/API/v1/x", True, False),
        (b"/%61pi/v1/x", True, False),
        (b"api/v1/x", False, False),
    ):
        assert (path(text), admitted(text)) == (well_formed, below), text
