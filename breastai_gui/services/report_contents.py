"""What a report says, as frozen values without layout: sections of texts, tables, pictures and a curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import datetime as dt

    import numpy as np
    from numpy.typing import NDArray

    from breastai_gui.services.kinetics import Curve
    from breastai_gui.services.planes import Letters

RESEARCH_USE_ONLY = "RESEARCH USE ONLY"
RESEARCH_SENTENCE = "Research use only - not for clinical use."


@dataclass(frozen=True, slots=True)
class Words:
    """A paragraph; line ends are kept. "warning" stands in a coloured box, "note" is small."""

    text: str
    kind: Literal["plain", "note", "warning", "heading"] = "plain"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells below a header (empty: a list of names and values). `widths` are shares of the page's width."""

    rows: tuple[tuple[str, ...], ...]
    widths: tuple[float, ...]
    header: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outline:
    """A mark on a picture: its number in the table of marks and its line, (row, column) in the picture's own pixels."""

    label: str
    points: tuple[tuple[float, float], ...]
    closed: bool


@dataclass(frozen=True, eq=False, slots=True)
class KeyImage:
    """One picture with all that is drawn on it.

    Attributes
    ----------
    grey
        (row, column) uint8.
    spacing_mm
        (row, column) mm of a pixel, or None: then there is no scale bar.
    overlay
        (row, column, 4) uint8 red, green, blue, alpha that covers the whole picture, in pixels of its own; or None.
    letters
        Patient-orientation letters at the four edges, None on ultrasound.
    caption
        Below the picture: what it is.
    corner
        In the picture's upper left corner, short.
    outlines
        Marks.
    target
        (row, column) of the lesion, shown as a cross with an open middle; or None.
    """

    grey: NDArray[np.uint8]
    spacing_mm: tuple[float, float] | None
    overlay: NDArray[np.uint8] | None
    letters: Letters | None
    caption: str
    corner: str = ""
    outlines: tuple[Outline, ...] = ()
    target: tuple[float, float] | None = None

    @property
    def size(self) -> tuple[float, float]:
        """(height, width) in mm where known, else in pixels."""
        spacing = self.spacing_mm or (1.0, 1.0)
        return self.grey.shape[0] * spacing[0], self.grey.shape[1] * spacing[1]


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures side by side, `columns` a row, none higher than `height_mm` on paper."""

    images: tuple[KeyImage, ...]
    columns: int
    height_mm: float


@dataclass(frozen=True, slots=True)
class Legend:
    """The colour scale of the heatmaps that follow, 0 to 1, with its title and, where due, a warning."""

    title: str
    warning: str = ""


@dataclass(frozen=True, slots=True)
class CurvePlot:
    """A plotted enhancement curve."""

    curve: Curve
    x_label: str
    pre: int


Part = Words | Table | Pictures | Legend | CurvePlot


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part of the report; `new_page` begins it on a page of its own."""

    title: str
    parts: tuple[Part, ...]
    new_page: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Report:
    """The whole report.

    Attributes
    ----------
    title
        Of the file, without patient data.
    heading
        On the first page.
    patient_name, patient_id
        For the head of every page.
    exam
        One line: date and description, for the head of every page.
    draft_questions
        What a person has to decide before all of the exam can be assessed; with any, the report is a draft and says so first.
    still_open
        What else nobody has settled; it makes no draft.
    sections
        In the order of reading.
    program
        Name and version.
    made_at
        When it was composed, with time zone.
    """

    title: str
    heading: str
    patient_name: str
    patient_id: str
    exam: str
    draft_questions: tuple[str, ...]
    still_open: tuple[str, ...]
    sections: tuple[Section, ...]
    program: str
    made_at: dt.datetime

    @property
    def draft(self) -> bool:
        """True while a question is open that keeps a part of the exam from the model."""
        return bool(self.draft_questions)
