# SPDX-License-Identifier: Apache-2.0
"""The attacks of test_outside.py against the balanced product: no service has a public listener, HAProxy is
the boundary."""

import shutil
import tempfile
from pathlib import Path

import pytest

import kit
from balanced import BalancedProduct
from test_outside import *  # noqa: F401,F403: the tests themselves

pytestmark = pytest.mark.skipif(
    kit.SANITIZED, reason="the programs behind it are tested on the sanitizer build without it"
)


@pytest.fixture(scope="module")
def product():
    work = Path(tempfile.mkdtemp(prefix="smpl-", dir="/tmp"))
    programs = []

    def spawn(*argv, **kw):
        kw.setdefault("cwd", work)
        programs.append(kit.Program(argv, **kw))
        return programs[-1]

    try:
        yield BalancedProduct(work, spawn, drain="")
    finally:
        for program in reversed(programs):
            if program.running():
                program.stop()
        shutil.rmtree(work, ignore_errors=True)
