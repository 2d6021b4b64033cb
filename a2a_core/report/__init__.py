"""What `a2a eval` writes for people: a page of metrics, curves, tables and examples."""

from a2a_core.report.sections import Answer, Curve, Held, Note, Question, Ranking, Section, Table

__all__ = ["Answer", "Curve", "Held", "Note", "Question", "Ranking", "Section", "Table"]
