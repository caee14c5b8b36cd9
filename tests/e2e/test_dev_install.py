# SPDX-License-Identifier: Apache-2.0
"""How ./dev installs what is missing: a copy of it, with package managers that only say what they are
asked."""

import os
import shutil

import pytest

import kit

pytestmark = pytest.mark.skipif(
    kit.SANITIZED or not os.path.exists("/etc/debian_version"), reason="installs on Debian, once is enough"
)
LOCKED = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 4242 (unattended-upgr)"
APT = """#!/bin/sh
echo "$1" >>{asked}
[ "$(wc -l <{asked})" -gt {failures} ] || {{ echo '{says}' >&2; exit 100; }}
"""


class Tree:
    def __init__(self, work, failures=0, says=LOCKED):
        self.asked = work / "asked"
        self.dev = shutil.copy(kit.ROOT / "dev", work / "dev")
        programs = work / "programs"
        programs.mkdir()
        scripts = {
            "apt-get": APT.format(asked=self.asked, failures=failures, says=says),
            "sudo": '#!/bin/sh\nexec "$@"\n',
            "dpkg-query": "#!/bin/sh\n",
        }
        for name, text in scripts.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        prover = work / "tests" / "prove" / "run.sh"  # all that ./dev prove runs, once it is installed
        prover.parent.mkdir(parents=True)
        prover.write_text("#!/bin/sh\n")
        prover.chmod(0o755)
        self.env = dict(os.environ, PATH=f"{programs}:{os.environ['PATH']}")

    def install(self):
        return kit.run(self.dev, "prove", env=self.env)

    def asked_for(self):
        return self.asked.read_text().split()


def test_what_is_missing_is_installed_by_one_question_for_all(work):
    tree = Tree(work)
    assert tree.install().returncode == 0 and tree.asked_for() == ["update", "install"]


def test_another_package_manager_at_work_is_waited_for_and_named_once(work):
    tree = Tree(work, failures=2)
    done = tree.install()
    assert done.returncode == 0 and tree.asked_for() == ["update", "update", "update", "install"], done.stderr
    assert (
        done.stdout.count(
            "Waiting for another package manager to finish: held by process 4242 (unattended-upgr)"
        )
        == 1
    )


def test_one_that_works_for_too_long_is_an_error(work):
    tree = Tree(work, failures=1000)
    text = (work / "dev").read_text()
    assert text.count("\nAPT_WAIT_S=") == 1
    (work / "dev").write_text(text.replace("\nAPT_WAIT_S=900", "\nAPT_WAIT_S=0"))
    done = tree.install()
    assert (
        done.returncode == 1
        and "another package manager has been at work for" in done.stderr
        and "process 4242" in done.stderr
    )


def test_any_other_failure_is_told_at_once(work):
    tree = Tree(work, failures=1000, says="E: Unable to locate package clang-format")
    done = tree.install()
    assert (
        done.returncode == 1
        and "E: Unable to locate package clang-format" in done.stderr
        and tree.asked_for() == ["update"]
    )
