# SPDX-License-Identifier: Apache-2.0
"""A bastion with two users of ordinary rights and an operator."""

import re
import urllib.request

import kit
from bastion_world import BASTION, world

ANN = "  - {name: ann, keys: ann.pub, groups: [developers]}\n"
EVE = "  - {name: eve, keys: eve.pub, groups: [visitors]}\n"
GRANTS = """\
  - {{groups: [developers], targets: ["*.internal.smplkit.local:{web}"], networks: [127.42.0.0/16]}}
  - {{groups: [visitors], targets: ["*.internal.smplkit.local:{web}"], networks: [127.42.0.0/16]}}
"""


class Company:
    """ann stays and eve leaves; each has a session and can come again."""

    def __init__(self, world, extra=""):
        self.metrics = kit.free_port(BASTION)
        self.w = world(start=False)
        self.extra = f"metrics: {BASTION}:{self.metrics}\n{extra}"
        self.keys = {name: kit.keygen(self.w.work / name, comment=name)[0] for name in ("ann", "eve")}
        self.lines = {name: (self.w.work / f"{name}.pub").read_text() for name in self.keys}
        self.users(ANN + EVE)
        self.w.start()

    def users(self, text):
        self.w.write(users=text, grants=GRANTS.format(web=self.w.port), extra=self.extra)

    def keys_file(self, name, text):
        (self.w.work / f"{name}.pub").write_text(text)

    def hire(self):
        """As it was."""
        self.users(ANN + EVE)
        for name, line in self.lines.items():
            self.keys_file(name, line)
            (self.w.work / f"{name}.pub").chmod(0o644)
        self.w.command("reload")

    def gets_in(self, name):
        done = self.w.ssh("-W", f"config.internal:{self.w.port}", user=name, key=self.keys[name])
        assert done.returncode in (0, 255), done.stderr
        return done.returncode == 0

    def session(self, name):
        control = self.w.control(user=name, key=self.keys[name])
        assert control.ask(cmd="whoami")["user"] == name
        return control

    def metric(self, name):
        with urllib.request.urlopen(
            f"http://{BASTION}:{self.metrics}/metrics", timeout=kit.PATIENCE
        ) as answer:
            return float(re.search(rf"^smpl_bastion_{name} (\S+)$", answer.read().decode(), re.M)[1])
