"""Pieces of the proof: each a result file; what is there is not measured again."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from breastai_model.proof.intervals import Interval
from breastai_model.proof.table import Row
from breastai_model.strict_json import StrictJsonError, from_json
from breastai_model.whole_file import replace_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LONGEST_RESULT = 4_000_000
LARGEST = 1e300
"""Stands for an infinite or undefined figure in a result file: JSON has no sign for these."""


class OutOfTime(Exception):
    """The time of this call is over; what is finished is kept, and the next call goes on."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A piece that was measured.

    Attributes
    ----------
    constants
        Everything that the figures depend on besides the code, in words: cohorts, epochs, seeds. A file with other
        constants is measured again.
    seconds
        The time of the call that finished it.
    """

    title: str
    constants: str
    seconds: float
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Bench:
    """What a piece works with.

    Attributes
    ----------
    folder
        Cohorts, runs and results of this table.
    deadline
        `time.monotonic()` at which to stop.
    processes
        How many may work at a time.
    say
        Told a sentence now and then.
    """

    folder: Path
    deadline: float
    processes: int
    say: Callable[[str], None]

    def left_s(self) -> float:
        """Return the seconds left. Raises OutOfTime where there are none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise OutOfTime
        return left


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece: its name is that of its result file and what `--only` takes."""

    name: str
    title: str
    constants: str
    measure: Callable[[Bench], list[Row]]
    after: tuple[str, ...] = ()


def result_path(folder: Path, name: str) -> Path:
    """Return where a piece's result stands."""
    return folder / "pieces" / f"{name}.json"


def finished(folder: Path, piece: Piece) -> Finished | None:
    """Return the result of a piece, or None where there is none of these constants that can be read."""
    path = result_path(folder, piece.name)
    if not path.is_file():
        return None
    try:
        found = from_json(Finished, path.read_text("utf-8"), "result of a piece", LONGEST_RESULT)
    except (StrictJsonError, ValueError):
        return None
    return found if found.constants == piece.constants else None


def measure(piece: Piece, bench: Bench) -> Finished:
    """Return the piece's result, measured now where it was not; it is on the disk then. Raises OutOfTime."""
    known = finished(bench.folder, piece)
    if known is not None:
        return known
    started = time.monotonic()
    bench.left_s()
    rows = tuple(_storable(row) for row in piece.measure(bench))
    made = Finished(piece.title, piece.constants, round(time.monotonic() - started, 1), rows)
    path = result_path(bench.folder, piece.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(made), indent=1, ensure_ascii=False)
    replace_text(path, text)
    return made


def _storable(row: Row) -> Row:
    """Return a row that JSON can hold: infinity as `LARGEST`, a figure that is no number as not measured."""
    if row.measured is None:
        return row
    ends = (row.measured.value, row.measured.low, row.measured.high)
    if any(math.isnan(end) for end in ends):
        return Row(row.claim, row.says, row.expected, None, f"{row.note} The figure is not a number.".strip())
    return Row(row.claim, row.says, row.expected, Interval(*(min(max(end, -LARGEST), LARGEST) for end in ends)), row.note)
