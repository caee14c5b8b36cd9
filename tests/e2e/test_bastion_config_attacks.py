# SPDX-License-Identifier: Apache-2.0
"""What may stand in bastion.yaml and in an authorized_keys file, and what may not. Each mistake in
bastion.yaml gets one clear line that names file, line and column, the same from `check` and from a reload,
and changes nothing. Each in an authorized_keys file gets one that names file and line, and counts as
absent."""

import re

import kit
from bastion_world import BASTION, world

BASE = {
    "listen": '["{bastion}:{ssh}"]',
    "host_keys": "[host]",
    "resolver": '{{servers: ["127.42.0.53:{dns}"], source: 127.42.0.5}}',
    "connect_from": "[127.42.0.5]",
    "search": "[smplkit.local]",
    "users": "[{{name: dev, keys: dev.pub, groups: [developers]}}]",
    "grants": '[{{groups: [developers], targets: ["*.internal.smplkit.local:{web}"], networks: '
    "[127.42.0.0/16]}}]",
    "limits": "{{}}",
    "audit": "audit.jsonl",
    "control": "bastion.sock",
}


def grant(**keys):
    """The value of `grants` with one grant of which these keys are others (None: absent)."""
    all_keys = {
        "groups": "[developers]",
        "targets": "['*.internal.smplkit.local:80']",
        "networks": "[127.42.0.0/16]",
        **keys,
    }
    return {"grants": "[{{" + ", ".join(f"{k}: {v}" for k, v in all_keys.items() if v is not None) + "}}]"}


def limits(**keys):
    return {"limits": "{{" + ", ".join(f"{k}: {v}" for k, v in keys.items()) + "}}"}


def user(**keys):
    all_keys = {"name": "dev", "keys": "dev.pub", "groups": "[developers]", **keys}
    return {"users": "[{{" + ", ".join(f"{k}: {v}" for k, v in all_keys.items() if v is not None) + "}}]"}


def text_of(w, changes, more=""):
    values = {**BASE, **changes}
    return (
        "".join(f"{k}: {v}\n" for k, v in values.items() if v is not None).format(
            bastion=BASTION, ssh=w.ssh_port, dns=w.dns, web=w.port
        )
        + more
    )


HUGE = "9" * 30
MEGABYTE = "x" * (1 << 20)
DEEP = "[" * 200 + "]" * 200

# name: (changes of the keys, what is added at the end, what the line says)
BAD = {
    "duplicate key": ({}, "audit: other.jsonl\n", "duplicate key"),
    "duplicate key in a grant": (grant(idle="5m, idle: 6m"), "", "duplicate key"),
    "unknown key": ({}, "colour: red\n", "unknown key.*colour|colour.*unknown"),
    "unknown key in limits": (limits(speed=3), "", "speed"),
    "unknown key in a user": (user(shell="/bin/sh"), "", "shell"),
    "key in other letters": ({}, "Metrics: 127.0.0.1:1\n", "Metrics"),
    "empty value": ({"audit": ""}, "", "audit"),
    "null": ({"audit": "~"}, "metrics: ~\n", "metrics"),
    "absent": ({"audit": None}, "", "audit"),
    "a list for a word": ({"audit": "[a, b]"}, "", "audit"),
    "a word for a list": ({"listen": "'127.0.0.1:1'"}, "", "listen"),
    "a word for a mapping": ({"limits": "many"}, "", "limits"),
    "a mapping for a list": ({"users": "{{dev: dev.pub}}"}, "", "users"),
    "empty list": ({"listen": "[]"}, "", "listen"),
    "empty list of targets": (grant(targets="[]"), "", "targets"),
    "empty list of networks": (grant(networks="[]"), "", "networks"),
    "empty word in a list": ({"search": "['']"}, "", "search"),
    "negative": (limits(channels=-1), "", "channels"),
    "zero": (limits(channels=0), "", "channels"),
    "fraction": (limits(channels=1.5), "", "channels"),
    "hexadecimal": (limits(channels="0x10"), "", "channels"),
    "sign": (limits(channels="+5"), "", "channels"),
    "above its bound": (limits(channels=1000000), "", "channels"),
    "above 64 bits": (limits(connections=18446744073709551616), "", "connections"),
    "far above 64 bits": (limits(connections=HUGE), "", "connections"),
    "wraps to small": (limits(sessions_per_user=18446744073709551617), "", "sessions_per_user"),
    "duration without unit": (limits(login_grace=30), "", "login_grace"),
    "duration of huge size": (limits(login_grace=HUGE + "h"), "", "login_grace"),
    "duration that overflows": (grant(session="18446744073709551615s"), "", "session"),
    "negative duration": (grant(idle="-5m"), "", "idle"),
    "zero duration": (grant(idle="0s"), "", "idle"),
    "startups that fall": (limits(startups="'100:30:10'"), "", "startups"),
    "startups of huge size": (limits(startups=f"'{HUGE}:30:100'"), "", "startups"),
    "startups with two parts": (limits(startups="'10:30'"), "", "startups"),
    "startups with four parts": (limits(startups="'10:30:100:5'"), "", "startups"),
    "port 0": ({"listen": "['127.0.0.1:0']"}, "", "listen"),
    "port 65536": ({"listen": "['127.0.0.1:65536']"}, "", "listen"),
    "no port": ({"listen": "['127.0.0.1']"}, "", "listen"),
    "name for an address": ({"listen": "['localhost:22']"}, "", "listen"),
    "listened on twice": ({"listen": "['127.0.0.1:9', '127.0.0.1:9']"}, "", "twice"),
    "the same address mapped": ({"listen": "['127.0.0.1:9', '[::ffff:127.0.0.1]:9']"}, "", "listen"),
    "octal address": ({"connect_from": "[0177.0.0.1]"}, "", "connect_from"),
    "short address": ({"connect_from": "[127.1]"}, "", "connect_from"),
    "address with a zone": ({"connect_from": "['fe80::1%lo']"}, "", "connect_from"),
    "network with host bits": (grant(networks="[10.1.2.3/8]"), "", "networks"),
    "network of 33 bits": (grant(networks="[10.0.0.0/33]"), "", "networks"),
    "network of 129 bits": (grant(networks="['::/129']"), "", "networks"),
    "network of -1 bits": (grant(networks="[10.0.0.0/-1]"), "", "networks"),
    "network of no bits": (grant(networks="[10.0.0.0/]"), "", "networks"),
    "network with a mask": (grant(networks="[10.0.0.0/255.0.0.0]"), "", "networks"),
    "five servers": (
        {
            "resolver": "{{servers: ['10.0.0.1:53', '10.0.0.2:53', '10.0.0.3:53', '10.0.0.4:53', "
            "'10.0.0.5:53']}}"
        },
        "",
        "servers",
    ),
    "target without port": (grant(targets="['a.local']"), "", "targets"),
    "target with port 0": (grant(targets="['a.local:0']"), "", "targets"),
    "target with port 65536": (grant(targets="['a.local:65536']"), "", "targets"),
    "target with a port twice as long": (grant(targets=f"['a.local:{HUGE}']"), "", "targets"),
    "target with a range of ports": (grant(targets="['a.local:80-90']"), "", "targets"),
    "target with an empty port": (grant(targets="['a.local:80,,81']"), "", "targets"),
    "target with 65 ports": (
        grant(targets="['a.local:" + ",".join(str(p) for p in range(1, 66)) + "']"),
        "",
        "targets",
    ),
    "target with a wildcard inside": (grant(targets="['a.*.local:80']"), "", "targets"),
    "target with a wildcard as part": (grant(targets="['a*.local:80']"), "", "targets"),
    "target with three stars": (grant(targets="['***.local:80']"), "", "targets"),
    "target with empty label": (grant(targets="['a..local:80']"), "", "targets"),
    "target with blank": (grant(targets="['a b.local:80']"), "", "targets"),
    "target with a newline": (grant(targets='["a\\nb.local:80"]'), "", "targets"),
    "target with a NUL": (grant(targets='["a\\0.local:80"]'), "", "targets"),
    "target beyond ASCII": (grant(targets="['bücher.local:80']"), "", "targets"),
    "target with a slash": (grant(targets="['a/b.local:80']"), "", "targets"),
    "target with a label of 64": (grant(targets=f"['{'a' * 64}.local:80']"), "", "targets"),
    "target of a megabyte": (grant(targets=f"['{MEGABYTE}:80']"), "", "targets"),
    "IPv6 target without brackets": (grant(targets="['fd00::1:80']"), "", "targets"),
    "IPv6 target, bracket open": (grant(targets="['[fd00::1:80']"), "", "targets"),
    "network target with host bits": (grant(targets="['10.1.2.3/8:80']"), "", "targets"),
    "grant of nobody": (grant(groups=None), "", "needs groups or users"),
    "description of two lines": (grant(description='"a\\nb"'), "", "description"),
    "description with an escape": (grant(description='"a\\e[31mb"'), "", "description"),
    "description of a megabyte": (grant(description=MEGABYTE), "", "description"),
    "hours without days' end": (grant(hours="'Mon- 08:00-18:00'"), "", "hours"),
    "hours 25:00": (grant(hours="'Mon 08:00-25:00'"), "", "hours"),
    "hours of a megabyte": (grant(hours=MEGABYTE), "", "hours"),
    "max_sessions of none": (grant(max_sessions=0), "", "max_sessions"),
    "max_sessions below": (grant(max_sessions=-3), "", "max_sessions"),
    "user with a blank": (user(name="'a b'"), "", "name"),
    "user with a newline": (user(name='"dev\\nx"'), "", "name"),
    "user of 64 bytes": (user(name="u" * 64), "", "name"),
    "user with a dash first": (user(name="-dev"), "", "name"),
    "user twice": (
        {"users": "[{{name: dev, keys: dev.pub, groups: [developers]}}, {{name: dev, keys: stranger.pub}}]"},
        "",
        "twice",
    ),
    "user without keys": (user(keys=None), "", "keys"),
    "host key twice": ({"host_keys": "[host, host]"}, "", "host_keys"),
    "host key that is public": ({"host_keys": "[dev.pub]"}, "", "host_keys"),
    "host key that does not exist": ({"host_keys": "[absent]"}, "", "host_keys"),
    "domain with a wildcard": ({"search": "['*.smplkit.local']"}, "", "search"),
    "domain that is an address": ({"search": "[10.0.0.1]"}, "", "search"),
    "nine domains": ({"search": "[" + ", ".join(f"d{i}.local" for i in range(99)) + "]"}, "", "search"),
    "anchor": ({"audit": "&a audit.jsonl"}, "", "anchor"),
    "alias": ({}, "audit_sink: *a\n", "alias"),
    "merge": ({"limits": "{{<<: {{channels: 5}}}}"}, "", "<<"),
    "tag": ({"audit": "!!str audit.jsonl"}, "", "tag"),
    "tab for indent": ({}, "penalties:\n\tenabled: true\n", ""),
    "two documents": ({}, "---\naudit: x\n", "document"),
    "deep lists": ({"search": DEEP}, "", ""),
    "bracket open": ({"search": "[a.local"}, "", ""),
    "quote open": ({"audit": "'audit"}, "", ""),
    "bad UTF-8": ({}, "#\udcff\naudit_sink: \udcff\udcfe\n", ""),
    "NUL byte": ({}, "audit_sink: sys\0log\n", ""),
    "boolean in words": ({}, "penalties: {enabled: perhaps}\n", "enabled"),
    "boolean as number": ({}, "penalties: {enabled: 1}\n", "enabled"),
    "exempt of no network": ({}, "penalties: {exempt: [all]}\n", "exempt"),
    "role of a negative number": ({}, "roles: {read: ['-1']}\n", "read"),
    "role of the number that is none": ({}, "roles: {read: ['4294967295']}\n", "read"),
    "metrics without port": ({}, "metrics: 127.0.0.1:0\n", "metrics"),
    "metrics without address": ({}, "metrics: {hosts: [a.example]}\n", "address"),
    "metrics host with a port": ({}, "metrics: {address: '127.0.0.1:9222', hosts: ['a:80']}\n", "hosts"),
    "sink of another kind": ({}, "audit_sink: file:/x\n", "audit_sink"),
    "user of no account": ({}, "user: no-such-account\n", "no-such-account|another account"),
    "path of a megabyte": ({"audit": MEGABYTE}, "", "audit"),
    "control path too long for a socket": ({"control": "c" * 200}, "", "control"),
}

FINE = {
    "everything of both families": grant(networks="[0.0.0.0/0, '::/0']"),
    "a network target": grant(
        targets="['10.0.0.0/8:*', '[fd00::/8]:22,80']", networks="[10.0.0.0/8, 'fd00::/8']"
    ),
    "every name": grant(targets="['**:80']"),
    "upper case": grant(targets="['*.INTERNAL.Smplkit.local:80']"),
    "no grants": {"grants": "[]"},
    "quoted numbers": limits(channels="'5'"),
    "the highest bounds": limits(login_grace="10m", channels=1),
    "a user of 63 bytes": {**user(name="u" * 63)},
    "a name of odd letters": user(name="dev.ops_x-1@corp+2"),
    "nobody left": {"users": "[]"},
    "a grant of a group that is empty": grant(groups="[others]"),
    "a grant of somebody who left": grant(groups=None, users="[eve]"),
    "a grant of an empty list": grant(groups="[]"),
    "carriage returns": {},
    "a byte order mark": {},
}


def told(done, place):
    """What is wrong with how a program refuses; None if it does with one line that names the place, and stops
    there."""
    lines = done.stderr.splitlines()
    if (
        done.returncode != 1
        or len(lines) != 1
        or done.stdout
        or len(lines[0]) > 1200
        or not lines[0].isprintable()
    ):
        return (done.returncode, done.stdout[:100], done.stderr[:300])
    return None if re.match(f"smpl-bastion: {place}", lines[0]) else lines[0][:300]


PLACE = r"(.*/)?bastion\.yaml:\d+:\d+: "


def test_every_mistake_is_one_line_with_its_place_and_changes_nothing(world):
    w = world(start=False)
    path = w.work / "bastion.yaml"
    good = text_of(w, {})
    path.write_text(good)
    w.start()
    socket = w.work / "bastion.sock"
    before = w.command("explain", "dev", f"config.internal:{w.port}").stdout
    wrong = {}
    for name, (changes, more, says) in BAD.items():
        path.write_bytes(text_of(w, changes, more).encode("utf-8", "surrogateescape"))
        done = kit.run(kit.binary("smpl-bastion"), "check", "-c", "bastion.yaml", cwd=w.work)
        wrong[name] = told(done, f"{PLACE}.*({says})")
        done = kit.run(kit.binary("smpl-bastion"), "reload", "--socket", socket, cwd=w.work)
        wrong[name + " (reload)"] = told(done, PLACE)
    wrong = {k: v for k, v in wrong.items() if v}
    assert not wrong, "\n".join(f"{k}: {v}" for k, v in wrong.items())
    done = kit.run(
        kit.binary("smpl-bastion"), "explain", "dev", f"config.internal:{w.port}", "--socket", socket
    )
    assert done.stdout.split("(")[0] == before.split("(")[0]
    path.write_text(good)
    assert w.ssh("-s", command=["smpl-control"]).returncode == 0


def test_what_looks_odd_and_is_right_is_taken(world):
    w = world(start=False)
    path = w.work / "bastion.yaml"
    for name, changes in FINE.items():
        text = text_of(w, changes)
        if name == "carriage returns":
            text = text.replace("\n", "\r\n")
        path.write_bytes((b"\xef\xbb\xbf" if name == "a byte order mark" else b"") + text.encode())
        done = kit.run(kit.binary("smpl-bastion"), "check", "-c", "bastion.yaml", cwd=w.work)
        assert done.returncode == 0, (name, done.stderr)


KEYS_BAD = {
    "empty file": "",
    "comment alone": "# nothing\n",
    "word alone": "ssh-ed25519\n",
    "no base64": "ssh-ed25519 !!!! x\n",
    "cut": "{half}\n",
    "another kind": "ssh-rsa {body} x\n",
    "a private key": "{private}",
    "NUL": "{line}\0\n",
    "twice": "{line}\n{line}\n",
    "quote open": 'from="10.0.0.0/8 {line}\n',
    "unknown option": "agent-forwarding {line}\n",
    "command": 'command="/bin/sh" {line}\n',
    "from a name": 'from="*.example.com" {line}\n',
    "from nothing": 'from="" {line}\n',
    "from none but taken out": 'from="!10.0.0.0/8" {line}\n',
    "from twice": 'from="10.0.0.0/8",from="11.0.0.0/8" {line}\n',
    "expires never": 'expiry-time="" {line}\n',
    "expires in month 13": 'expiry-time="20261301" {line}\n',
    "expires far": f'expiry-time="{HUGE}" {{line}}\n',
    "certificate": "ssh-ed25519-cert-v01@openssh.com {body} x\n",
    "authority": "cert-authority {line}\n",
    "touch of a plain key": "no-touch-required {line}\n",
    "dsa": "ssh-dss {body} x\n",
    "long line": "{line} " + "x" * 70000 + "\n",
    "comma alone": ", {line}\n",
    "trailing bytes": "ssh-ed25519 {body}AAAA x\n",
    "megabyte": MEGABYTE[1:] + "\n",
    "other line break": "{kind}\r{body} x\n",
    "binary": "\x7fELF\x01\x02\x03\n",
}


# what of these is more than one line to say
KEYS_SAY = {"empty file": 0, "comment alone": 0, "twice": 0}


def keys_told(done, name):
    """What is wrong with how `check` tells of a keys file without a good line."""
    lines, warnings = done.stderr.splitlines(), [
        line for line in done.stderr.splitlines() if "warning: " in line
    ]
    absent = [line for line in lines if line not in warnings]
    want = KEYS_SAY.get(name, 1)
    good = (
        len(absent) == want
        and len(warnings) == 1
        and done.returncode == (want > 0)
        and all(re.match(r"smpl-bastion: (.*/)?odd\.pub:\d+: ", line) for line in absent)
        and all(line.isprintable() for line in lines)
    )
    return None if good else (done.returncode, done.stdout[:100], done.stderr[:600])


def test_every_line_of_a_keys_file_that_counts_as_absent_is_told_with_its_place(world):
    w = world(start=False)
    path, keys = w.work / "bastion.yaml", w.work / "odd.pub"
    path.write_text(text_of(w, {**user(keys="odd.pub")}))
    line = (w.work / "dev.pub").read_text().strip()
    kind, body = line.split()[:2]
    names = {
        "line": line,
        "kind": kind,
        "body": body,
        "half": f"{kind} {body[:40]}",
        "private": (w.work / "dev").read_text(),
    }
    wrong = {}
    for name, text in KEYS_BAD.items():
        keys.write_text(text.format(**names), newline="")
        done = kit.run(kit.binary("smpl-bastion"), "check", "-c", "bastion.yaml", cwd=w.work)
        wrong[name] = keys_told(done, name)
        secret = [part for part in names["private"].splitlines() if "-" not in part and part in done.stderr]
        assert not secret, done.stderr
    wrong = {k: v for k, v in wrong.items() if v}
    assert not wrong, "\n".join(f"{k}: {v}" for k, v in wrong.items())
    for text in (
        f"  \t{line}\t \r\n",
        f"# x\n\n{line}",
        f'restrict,from="!10.1.0.0/16,0.0.0.0/0,::/0" {line}\n',
        f'from="::ffff:10.0.0.0/104" {line}\n',
        f"{kind} {body}\n",
        f"FROM=10.0.0.0/8 {line}\n",
    ):
        keys.write_text(text, newline="")
        done = kit.run(kit.binary("smpl-bastion"), "check", "-c", "bastion.yaml", cwd=w.work)
        assert done.returncode == 0, (text, done.stderr)
