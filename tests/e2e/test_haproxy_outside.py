# SPDX-License-Identifier: Apache-2.0
"""The attacks of worlds/outside_cases.py against the balanced product: no service has a public listener,
HAProxy is the boundary."""

import pytest

import kit
from balanced import BalancedProduct
from outside_cases import *  # noqa: F401,F403: the tests themselves
from product import alone

pytestmark = pytest.mark.skipif(
    kit.SANITIZED, reason="the programs behind it are tested on the sanitizer build without it"
)


@pytest.fixture(scope="module")
def product():
    with alone(BalancedProduct, drain="") as made:
        yield made
