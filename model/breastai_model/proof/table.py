"""The table of claims: what was expected, what was measured, whether it holds."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from breastai_model.proof.intervals import Interval  # noqa: TC001  read back from JSON by its annotations

if TYPE_CHECKING:
    from collections.abc import Sequence

Verdict = Literal["holds", "does not hold", "undecided", "not measured"]

WHAT_IT_IS_NOT = (
    "Figures are about made-up patients. They cannot show clinical accuracy, generalisation across scanners, calibration at a real "
    "prevalence, or benefit over a radiologist's reading."
)
HOW_TO_READ = (
    "A claim holds where the whole 95 % interval lies inside what is expected, does not hold where the whole interval lies outside, and "
    "is undecided where the interval reaches across the bound. A claim that an interval contains a value is undecided where "
    "the interval is too wide to tell."
)


@dataclass(frozen=True, slots=True)
class Expected:
    """What must be measured.

    Attributes
    ----------
    low, high
        Bounds; None: open on that side.
    rule
        "inside": the interval lies between the bounds. "above": all of it is greater than `low`. "contains": it contains `low`, and is
        at most `high` wide.
    """

    rule: Literal["inside", "above", "contains"]
    low: float | None
    high: float | None

    def __post_init__(self) -> None:
        if self.rule == "contains" and (self.low is None or self.high is None):
            raise ValueError("An interval that must contain a value needs that value and the greatest width.")

    def verdict(self, measured: Interval | None) -> Verdict:
        """Return whether a measured interval is what was expected. One that is no number does not hold."""
        if measured is None:
            return "not measured"
        if not all(math.isfinite(end) for end in (measured.value, measured.low, measured.high)):
            return "does not hold"
        if self.rule == "contains" and self.low is not None and self.high is not None:
            if not measured.low <= self.low <= measured.high:
                return "does not hold"
            return "holds" if measured.high - measured.low <= self.high else "undecided"
        if self.rule == "above" and self.low is not None and measured.low <= self.low:
            return "undecided" if measured.high > self.low else "does not hold"
        low, high = -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high
        if low <= measured.low and measured.high <= high:
            return "holds"
        return "does not hold" if measured.high < low or measured.low > high else "undecided"

    def __str__(self) -> str:
        """Return the words of the table."""
        if self.rule == "contains":
            return f"interval contains {self.low:.3g}"
        if self.rule == "above":
            return f"above {self.low:.3g}"
        if self.high is None:
            return f"at least {self.low:.3g}"
        if self.low is None:
            return f"at most {self.high:.3g}"
        return f"{self.low:.3g} to {self.high:.3g}"


def at_least(bound: float) -> Expected:
    """Return: not below the bound."""
    return Expected("inside", bound, None)


def above(bound: float) -> Expected:
    """Return: greater than the bound."""
    return Expected("above", bound, None)


def at_most(bound: float) -> Expected:
    """Return: not above the bound."""
    return Expected("inside", None, bound)


def between(low: float, high: float) -> Expected:
    """Return: not outside the bounds."""
    return Expected("inside", low, high)


def contains(value: float, widest: float) -> Expected:
    """Return: the interval contains the value and is no wider than that."""
    return Expected("contains", value, widest)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    claim
        A short name such as "S2 US alone, LNM".
    says
        What the claim means, in words.
    expected, measured
        None measured: it could not be, and `note` says why. None expected: reported as it is, without a verdict.
    note
        The budget, the number of patients, and what a reader has to know.
    """

    claim: str
    says: str
    expected: Expected | None
    measured: Interval | None
    note: str

    @property
    def verdict(self) -> Verdict | Literal["reported"]:
        """Return whether it holds."""
        if self.expected is None:
            return "reported" if self.measured is not None else "not measured"
        return self.expected.verdict(self.measured)


def figure(measured: Interval | None) -> str:
    """Return value and interval as text."""
    if measured is None:
        return "–"
    if measured.low == measured.high == measured.value:
        return f"{measured.value:.3g}"
    if max(abs(measured.low), abs(measured.high)) < 1e-3 or abs(measured.value) >= 1e4:
        return f"{measured.value:.2g} ({measured.low:.2g} to {measured.high:.2g})"
    return f"{measured.value:.3f} ({measured.low:.3f} to {measured.high:.3f})"


def markdown(parts: Sequence[tuple[str, str, Sequence[Row]]], heading: str) -> str:
    """Return the whole table as Markdown.

    Parameters
    ----------
    parts
        Title, budget and rows of each piece.
    heading
        What was run.
    """
    lines = [f"# {heading}", "", HOW_TO_READ, "", WHAT_IT_IS_NOT, ""]
    for title, budget, rows in parts:
        if not rows:  # a piece that only makes what others measure
            continue
        lines += [
            f"## {title}",
            "",
            budget,
            "",
            "| claim | expected | measured (95 % interval) | verdict | note |",
            "|---|---|---|---|---|",
        ]
        for row in rows:
            expected = "reported" if row.expected is None else str(row.expected)
            cells = (f"**{row.claim}**: {row.says}", expected, figure(row.measured), row.verdict, row.note)
            lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
        lines.append("")
    return "\n".join([*lines, summary([row for _, _, rows in parts for row in rows]), ""])


def summary(rows: Sequence[Row]) -> str:
    """Return one sentence that counts the verdicts."""
    counts = {verdict: sum(row.verdict == verdict for row in rows) for verdict in ("holds", "does not hold", "undecided", "not measured")}
    judged = sum(row.expected is not None for row in rows)
    return (
        f"Of {judged} claims {counts['holds']} hold, {counts['does not hold']} do not hold, {counts['undecided']} are undecided; "
        f"{counts['not measured']} were not measured."
    )


def row_json(row: Row) -> dict[str, Any]:
    """Return a row as JSON takes it, with its verdict; a figure that is no number is written as a word."""
    values = {**asdict(row), "verdict": row.verdict}
    made: dict[str, Any] = json.loads(
        json.dumps(values).replace("-Infinity", '"-inf"').replace("Infinity", '"inf"').replace("NaN", '"nan"')
    )
    return made
