# SPDX-License-Identifier: Apache-2.0
"""Zones made for one test, and a resolver that has them."""

from resolver_world import Resolver

SOA = "$TTL 60\n@ SOA ns hostmaster 1 3600 600 604800 30\n@ NS ns\nns A 127.41.0.1\n"


def make(spawn, work, zones, views, more=""):
    """zones: name to text, or to (text, further keys); views: name to (clients, zones, further keys)."""
    r = Resolver(spawn, work)
    lines = [
        f"listeners:\n  - {{address: {r.server}, port: {r.port}, views: [{', '.join(views)}]}}\nviews:\n"
    ]
    for name, (clients, held, keys) in views.items():
        lines.append(f"  - {{name: {name}, clients: [{clients}], zones: [{', '.join(held)}]{keys}}}\n")
    lines.append("zones:\n")
    for name, text in zones.items():
        text, keys = text if isinstance(text, tuple) else (text, "")
        r.write_zone(f"{name}.zone", text)
        lines.append(f"  - {{name: {name}, file: {name}.zone{keys}}}\n")
    r.config.write_text("".join(lines) + "control: r.sock\n" + more)
    return r
