"""Plots of the evaluation as inline SVG: no script, no font, no file from elsewhere; dark on white, told apart without colour."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from breastai_model.calibration import Scope
    from breastai_model.training.decision_curve import DecisionCurve
    from breastai_model.training.evaluation import TaskEvaluation

WIDTH, HEIGHT = 340, 300
LEFT, TOP, RIGHT, BOTTOM = 48, 28, 12, 42
COLOURS: dict[Scope, str] = {"both": "#1b4f9c", "mri": "#b3560a", "us": "#1a7a54"}
DASHES: dict[Scope, str] = {"both": "", "mri": "6 3", "us": "2 3"}
NAMES: dict[Scope, str] = {"both": "MRI + ultrasound", "mri": "MRI alone", "us": "ultrasound alone"}
GREY = "#666"


@dataclass(frozen=True, slots=True)
class Axes:
    """One plot's frame: what its axes are called and where they begin and end."""

    title: str
    across: str
    up: str
    x: tuple[float, float] = (0.0, 1.0)
    y: tuple[float, float] = (0.0, 1.0)
    x_step: float = 0.2
    y_step: float = 0.2

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the point's place in the picture; outside the frame it is moved to its edge."""
        x, y = min(max(x, self.x[0]), self.x[1]), min(max(y, self.y[0]), self.y[1])
        across = LEFT + (x - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - LEFT - RIGHT)
        return across, HEIGHT - BOTTOM - (y - self.y[0]) / (self.y[1] - self.y[0]) * (HEIGHT - TOP - BOTTOM)

    def drawn(self, parts: Sequence[str]) -> str:
        """Return the SVG of the frame with what was drawn inside."""
        frame = [
            f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
            'font-family="system-ui, DejaVu Sans, sans-serif" font-size="11" fill="#1a1a1a" '
            f'aria-label="{escape(self.title, quote=True)}">',
            _text(LEFT, 16, self.title, bold=True),
        ]
        for value in _ticks(self.x, self.x_step):
            x, bottom = self.at(value, self.y[0])
            frame += [_line(x, bottom, x, TOP, "#e4e4e4"), _text(x, bottom + 14, f"{value:g}", anchor="middle")]
        for value in _ticks(self.y, self.y_step):
            left, y = self.at(self.x[0], value)
            frame += [_line(left, y, WIDTH - RIGHT, y, "#e4e4e4"), _text(left - 5, y + 3.5, f"{value:g}", anchor="end")]
        left, bottom = self.at(self.x[0], self.y[0])
        frame += [_line(left, bottom, WIDTH - RIGHT, bottom, "#222"), _line(left, bottom, left, TOP, "#222")]
        frame.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, self.across, anchor="middle"))
        middle = (TOP + HEIGHT - BOTTOM) / 2
        frame.append(f'<text x="12" y="{middle:.1f}" text-anchor="middle" transform="rotate(-90 12 {middle:.1f})">{escape(self.up)}</text>')
        return "\n".join((*frame, *parts, "</svg>"))

    def curve(self, points: Sequence[tuple[float, float]], colour: str, dash: str = "", width: float = 1.8) -> str:
        """Return a line through the points."""
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*point) for point in points))
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="{width}"{dashed} stroke-linejoin="round"/>'

    def band(self, low: Sequence[tuple[float, float]], high: Sequence[tuple[float, float]], colour: str) -> str:
        """Return the area between two lines."""
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*point) for point in (*low, *reversed(high))))
        return f'<polygon points="{places}" fill="{colour}" fill-opacity="0.15" stroke="none"/>'

    def key(self, entries: Sequence[tuple[str, str, str]], x: float, y: float) -> list[str]:
        """Return a key of (text, colour, dash), its first line beginning at that place of the axes."""
        across, top = self.at(x, y)
        drawn = []
        for number, (text, colour, dash) in enumerate(entries):
            height = top + 14 * number
            dashed = f' stroke-dasharray="{dash}"' if dash else ""
            drawn.append(
                f'<line x1="{across:.1f}" y1="{height:.1f}" x2="{across + 22:.1f}" y2="{height:.1f}" stroke="{colour}" '
                f'stroke-width="2"{dashed}/>'
            )
            drawn.append(_text(across + 27, height + 3.5, text))
        return drawn


def roc_plot(tasks: Mapping[Scope, TaskEvaluation], title: str) -> str:
    """Return the ROC curves of one task, one for each choice of modalities."""
    axes = Axes(title, "1 − specificity", "sensitivity")
    parts, key = [axes.curve([(0, 0), (1, 1)], "#999", "1 3", 1)], []
    for scope, found in tasks.items():
        if found.roc is None:
            continue
        parts.append(axes.curve([(float(x), float(y)) for x, y in _thinned(found.roc)], COLOURS[scope], DASHES[scope]))
        area = found.figures["auc"]
        key.append((NAMES[scope] + ("" if area is None else f" {area.value:.3f}"), COLOURS[scope], DASHES[scope]))
    return axes.drawn([*parts, *axes.key(key, 0.36, 0.04 + 0.065 * len(key))])


def reliability_plot(found: TaskEvaluation, scope: Scope, title: str) -> str:
    """Return what share was positive against what was predicted, for ten bins of equally many cases, with their 95 % intervals."""
    axes = Axes(title, "predicted probability (mean of the bin)", "share of positive answers")
    parts = [axes.curve([(0, 0), (1, 1)], "#999", "1 3", 1)]
    for predicted, share, cases in found.reliability:
        low, high = _wilson(share, cases)
        parts.append(axes.curve([(predicted, low), (predicted, high)], COLOURS[scope], width=1))
    parts.append(axes.curve([(predicted, share) for predicted, share, _ in found.reliability], COLOURS[scope], width=1.2))
    for predicted, share, cases in found.reliability:
        x, y = axes.at(predicted, share)
        words = escape(f"{share:.0%} of {cases} at {predicted:.0%}")
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{COLOURS[scope]}"><title>{words}</title></circle>')
    return axes.drawn(parts)


def decision_plot(tasks: Mapping[Scope, TaskEvaluation], title: str) -> str:
    """Return net benefit against the threshold probability, with the 95 % band of the first, beside treating all and none."""
    curves: dict[Scope, DecisionCurve] = {scope: found.decision for scope, found in tasks.items() if found.decision is not None}
    if not curves:
        return Axes(title, "threshold probability", "net benefit").drawn([])
    first = next(iter(curves.values()))
    last = float(first.thresholds[-1])
    top = max(0.05, *(float(curve.high.max()) for curve in curves.values()), float(first.treat_all.max()))
    top = math.ceil(top * 20) / 20
    top += 0.55 * (top + 0.1)  # the key stands above the curves
    axes = Axes(title, "threshold probability", "net benefit", (0.05, last), (-0.1, top), 0.1, 0.1)
    parts = [
        axes.curve([(0.05, 0), (last, 0)], "#222", width=1),
        axes.curve(_above(first.thresholds, first.treat_all, axes.y[0]), GREY, "8 3 2 3", 1.2),
    ]
    key = [(NAMES[scope], COLOURS[scope], DASHES[scope]) for scope in curves]
    for scope, curve in curves.items():
        if curve is first:
            parts.append(axes.band(_pairs(curve.thresholds, curve.low), _pairs(curve.thresholds, curve.high), COLOURS[scope]))
        parts.append(axes.curve(_pairs(curve.thresholds, curve.benefit), COLOURS[scope], DASHES[scope]))
    key += [("treat all", GREY, "8 3 2 3"), ("treat none", "#222", "")]
    return axes.drawn([*parts, *axes.key(key, axes.x[0] + 0.5 * (axes.x[1] - axes.x[0]), axes.y[1] - 0.05 * (axes.y[1] - axes.y[0]))])


def _ticks(ends: tuple[float, float], step: float) -> list[float]:
    first = math.ceil(ends[0] / step - 1e-9)
    return [round(number * step, 6) for number in range(first, math.floor(ends[1] / step + 1e-9) + 1)]


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="1"/>'


def _text(x: float, y: float, words: str, *, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{escape(words)}</text>'


def _pairs(x: NDArray, y: NDArray) -> list[tuple[float, float]]:  # type: ignore[type-arg]
    return [(float(a), float(b)) for a, b in zip(x, y, strict=True)]


def _above(x: NDArray, y: NDArray, low: float) -> list[tuple[float, float]]:  # type: ignore[type-arg]
    """Return the part of a falling line that lies above `low`, down to where it crosses it."""
    points = _pairs(x, y)
    kept = [point for point in points if point[1] >= low]
    return [*kept, points[len(kept)]] if len(kept) < len(points) else kept


def _thinned(corners: NDArray, most: int = 400) -> NDArray:  # type: ignore[type-arg]
    """Return at most about `most` corners of a curve: more than that a screen cannot show."""
    step = max(1, len(corners) // most)
    return corners if step == 1 else corners[sorted({*range(0, len(corners), step), len(corners) - 1})]


def _wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of n cases (Wilson, JASA 1927)."""
    z = 1.959964
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return middle - half, middle + half
