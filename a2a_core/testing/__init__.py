"""The testing kit: what every component must keep, as checks whose failures say what to do.

A plugin's tests are three lines:

    from a2a_core.testing import suite

    test_plugin = suite("a2a-vision")
"""

from a2a_core.testing.check import Check, CheckFailed, CheckResult, NotApplicable
from a2a_core.testing.suite import checks, run_suite, suite

__all__ = ["Check", "CheckFailed", "CheckResult", "NotApplicable", "checks", "run_suite", "suite"]
