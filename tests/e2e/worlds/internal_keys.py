# SPDX-License-Identifier: Apache-2.0
"""Internal keys: who calls inside, and what each may do. Made by the program's own command."""

import hashlib

import kit


def make(path=None):
    """A new key; also in a file that nobody else can read, if a path is given."""
    key = kit.run(kit.binary("smpl-app"), "internal-key").stdout.strip()
    if path is not None:
        path.touch(0o600)
        path.write_text(key + "\n")
    return key


def accepted(callers):
    """internal_keys: of a configuration; callers are (name, key, [operation])."""
    return "internal_keys:\n" + "".join(
        f'  - {{name: {name}, sha256: "{hashlib.sha256(key.encode()).hexdigest()}", operations: '
        f"[{', '.join(operations)}]}}\n"
        for name, key, operations in callers
    )
