# SPDX-License-Identifier: Apache-2.0
"""What the compiler and the linker were told to do for each program's safety, as its file shows it."""

import re
import subprocess

import pytest

import kit

pytestmark = pytest.mark.walls
PROGRAMS = ["smpl-app", "smpl-bastion", "smpl-bastion-worker", "smpl-resolver", "smpl-tunnel"]


def readelf(program, *options):
    done = subprocess.run(
        [kit.tool("readelf"), "-W", *options, kit.binary(program)], check=True, capture_output=True, text=True
    )
    return done.stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_program_carries_what_it_was_built_with(program):
    header, segments, dynamic = readelf(program, "-h"), readelf(program, "-l"), readelf(program, "-d")
    needed = set(re.findall(r"(\w+)@", readelf(program, "--dyn-syms")))
    assert re.search(r"Type:\s+DYN", header) and "PIE" in dynamic, "it can be loaded anywhere"
    assert "BIND_NOW" in dynamic and re.search(r"FLAGS_1.*\bNOW\b", dynamic), "all is bound at start"
    assert re.search(r"GNU_RELRO", segments), "and cannot be changed then"
    (stack,) = re.findall(r"GNU_STACK\s+(?:0x\w+\s+){5}([RWE ]+?)\s+0x", segments)
    assert "E" not in stack, "the stack is no code"
    assert not re.search(r"LOAD\s+(?:0x\w+\s+){5}RWE", segments), "nothing is writable and code"
    assert not re.search(r"TEXTREL|RPATH|RUNPATH", dynamic)
    assert "__stack_chk_fail" in needed, "canaries"
    assert any(
        name.endswith("_chk") for name in needed - {"__stack_chk_fail"}
    ), "calls with bounds that were checked"
    # Unchecked ones are left only where the compiler proved that they fit, or could not know a size; never
    # the worst.
    assert not {"gets", "strcpy", "strcat", "sprintf", "vsprintf"} & needed


def test_programs_are_compiled_with_the_highest_level_of_checked_calls():
    commands = (kit.BIN.parent / "compile_commands.json").read_text()
    ours = [
        line
        for line in commands.splitlines()
        if '"command"' in line
        and f"{kit.ROOT}/tests/" not in line
        and " -c " in line
        and line.rstrip('",').endswith(".c")
    ]
    assert len(ours) > 100
    assert all(
        "-D_FORTIFY_SOURCE=3" in line
        and "-fstack-protector-strong" in line
        and "-fstack-clash-protection" in line
        for line in ours
    )


def test_every_event_loop_is_made_without_io_uring():
    """A loop that libuv makes alone holds a ring, and the walls then end the program: common/net/loop.c makes
    them all."""
    parts = ("app", "bastion", "common", "resolver", "tunnel")
    makers = [
        str(f.relative_to(kit.ROOT))
        for part in parts
        for f in (kit.ROOT / part).rglob("*.c")
        if re.search(r"\buv_(loop_init|default_loop|loop_new)\(", f.read_text())
    ]
    assert makers == ["common/net/loop.c"]
