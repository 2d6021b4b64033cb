"""What `a2a eval` writes for people: `report.html` and `report.md`, with metrics, curves, tables and examples."""

from typing import TYPE_CHECKING, Any

from a2a_core.report.sections import Answer, Curve, Held, Note, Question, Ranking, Section, Table

if TYPE_CHECKING:
    from a2a_core.report.writing import Split, write_report

__all__ = ["Answer", "Curve", "Held", "Note", "Question", "Ranking", "Section", "Split", "Table", "write_report"]


def __getattr__(name: str) -> Any:
    """What writes pages is imported when it is asked for: metrics need the sections alone."""
    if name in ("Split", "write_report"):
        from a2a_core.report import writing

        return getattr(writing, name)
    raise AttributeError(name)
