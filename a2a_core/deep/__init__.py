"""`a2a check --deep`: what a recipe would do, found out without doing it."""

from a2a_core.deep.check import Ask, check
from a2a_core.deep.report import Report

__all__ = ["Ask", "Report", "check"]
