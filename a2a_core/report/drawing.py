"""Curves as SVG, in the colours of the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from markupsafe import Markup

from a2a_core.report.sections import Curve

WIDTH, HEIGHT, LEFT, BOTTOM, EDGE = 380, 210, 52, 32, 10
COLOURS = 6
"""Lines that differ in colour; more are dashed."""


def draw(curve: Curve) -> Markup:
    """A picture of all lines, with axes; points that are not finite are left out."""
    lines = {name: finite(points) for name, points in curve.lines.items()}
    points = [point for line in lines.values() for point in line]
    if not points:
        return Markup("")
    xs, ys = ticks(*span([x for x, _ in points])), ticks(*span([y for _, y in points]))
    across = axis(span([*xs, *(x for x, _ in points)]), LEFT, WIDTH - EDGE)
    up = axis(span([*ys, *(y for _, y in points)]), HEIGHT - BOTTOM, EDGE)
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(curve.title)}">']
    for y in ys:
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - EDGE}" y1="{up(y):.1f}" y2="{up(y):.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{up(y) + 3.5:.1f}" text-anchor="end">{y:.4g}</text>')
    parts += [f'<text x="{across(x):.1f}" y="{HEIGHT - 16}" text-anchor="middle">{x:.4g}</text>' for x in xs]
    parts.append(f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 2}" text-anchor="middle">{escape(curve.x)}</text>')
    for number, line in enumerate(lines.values()):
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in line)
        parts.append(f'<polyline class="line {style(number)}" points="{path}"/>')
        if len(line) == 1:
            parts.append(f'<circle class="dot {style(number)}" cx="{across(line[0][0]):.1f}" cy="{up(line[0][1]):.1f}" r="3"/>')
    return Markup("".join([*parts, "</svg>"]))  # all text in it is escaped above


def style(number: int) -> str:
    """The classes of a line and of its name in the legend."""
    return f"c{number % COLOURS}" + (" dashed" if number >= COLOURS else "")


def finite(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those that can be drawn, from left to right."""
    return sorted(point for point in points if all(map(math.isfinite, point)))


def span(values: Sequence[float]) -> tuple[float, float]:
    """The least and the most, apart from one another."""
    low, high = min(values), max(values)
    gap = abs(high) * 0.05 or 0.5
    return (low, high) if high > low else (low - gap, high + gap)


def ticks(low: float, high: float) -> list[float]:
    """A few round numbers between."""
    rough = (high - low) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = power * next(each for each in (1, 2, 2.5, 5, 10) if power * each >= rough * 0.999)
    return [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def axis(values: tuple[float, float], start: float, end: float) -> Callable[[float], float]:
    """Numbers to places on the page."""
    low, high = values
    return lambda value: start + (value - low) / (high - low) * (end - start)
