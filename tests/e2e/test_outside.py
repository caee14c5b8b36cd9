# SPDX-License-Identifier: Apache-2.0
"""The attacks of worlds/outside_cases.py against the product without balancers."""

from outside_cases import *  # noqa: F401,F403: the tests themselves
from outside_cases import product  # noqa: F401 (a fixture)
