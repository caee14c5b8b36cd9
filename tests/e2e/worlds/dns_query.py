# SPDX-License-Identifier: Apache-2.0
"""Questions as bytes."""

import struct


def query(name, rtype, rclass=1, ident=0, flags=0x0100, edns=True):
    labels = (
        b"".join(bytes([len(part)]) + part.encode() for part in name.strip(".").split(".") if part) + b"\0"
    )
    message = (
        struct.pack(">6H", ident, flags, 1, 0, 0, 1 if edns else 0)
        + labels
        + struct.pack(">2H", rtype, rclass)
    )
    return message + (b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0) if edns else b""), len(labels) + 4


TYPES = [1, 2, 5, 6, 12, 15, 16, 28, 33, 35, 39, 43, 46, 47, 48, 64, 65, 99, 251, 252, 255, 257, 65280]
