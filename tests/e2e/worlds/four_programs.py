# SPDX-License-Identifier: Apache-2.0
"""Each of the four programs, started alone."""

import kit
from bastion_world import World
from resolver_world import Resolver


def resolver(work, spawn, more=""):
    r = Resolver(spawn, work)
    r.write_config(more=more)
    return [kit.binary("smpl-resolver"), "-c", r.config]


def bastion(work, spawn, more=""):
    World(work, spawn, start=False, extra=more)
    return [kit.binary("smpl-bastion"), "-c", work / "bastion.yaml"]


def app(work, spawn, more=""):
    (work / "app.yaml").write_text(
        f"""\
service: config
listeners:
  - {{name: internal, address: "127.42.1.21:{kit.free_port("127.42.1.21")}", rules: ["/*"],
     clients: [127.42.0.0/16], hosts: [config]}}
database: config.db
accounts: {{url: "http://127.42.1.22:8000"}}
resolver: {{servers: ["127.42.0.53:5300"]}}
{more}"""
    )
    return [kit.binary("smpl-app"), "-c", work / "app.yaml"]


PROGRAMS = {"smpl-resolver": resolver, "smpl-bastion": bastion, "smpl-app": app}
