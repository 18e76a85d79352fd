"""How the ultrasound views of a reading are named, and which slot of the twelve each takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from breastai_gui.services.chosen import MOST_VIEWS, chosen_views
from breastai_gui.services.ultrasound_angles import angle_of, degrees

if TYPE_CHECKING:
    from breastai_gui.data.study import Study, UltrasoundView
    from breastai_gui.services.session import Choices

STEP_DEG = 15.0
"""Between the twelve angles of the paper's protocol, 0 to 165."""


@dataclass(frozen=True, eq=False, slots=True)
class Slot:
    """One cell of the grid: a view, or words that say what is missing."""

    view: UltrasoundView | None
    words: str = ""


def calibration_words(view: UltrasoundView) -> str:
    """Return "0.08 mm" or "px", as the badge says it."""
    if view.spacing_mm is None:
        return "px"
    down, across = view.spacing_mm
    return f"{down:.3g} mm" if abs(down - across) < 0.005 * down else f"{down:.3g} × {across:.3g} mm"


def calibration_sentence(view: UltrasoundView) -> str:
    """Return where millimetres come from, or that there are none."""
    if view.spacing_mm is None:
        return "No calibration in the file: distances are in pixels."
    return f"{calibration_words(view)} per pixel, from {view.spacing_source or 'an unnamed source'}."


def place_words(view: UltrasoundView) -> str:
    """Return side and lesion as far as the file names them: "left · A"."""
    return " · ".join(part for part in (view.side or "", view.lesion) if part)


def slots(study: Study, choices: Choices) -> tuple[Slot, ...]:
    """Return the twelve cells of the grid, in order of angle.

    Where the views in use stand on the steps of 15 degrees, each has the cell of its angle and the others name the
    angle that is missing. Else the views follow one another and the cells that remain say that there is none.
    """
    views = chosen_views(study, choices)
    places: dict[int, UltrasoundView] = {}
    for view in views:
        angle = angle_of(view, choices)
        if angle is None or angle % STEP_DEG or (place := int(angle // STEP_DEG)) in places:
            break
        places[place] = view
    else:
        return tuple(
            Slot(places.get(place), "" if place in places else f"{degrees(place * STEP_DEG)} missing") for place in range(MOST_VIEWS)
        )
    return tuple(Slot(view) for view in views) + tuple(Slot(None, "no view") for _ in range(MOST_VIEWS - len(views)))


def with_use(study: Study, choices: Choices, view_id: str, used: bool) -> tuple[str, ...] | None:
    """Return `Choices.views` after one view is taken in or left out; None stands for "as proposed"."""
    ids = {view.id for view in chosen_views(study, choices)}
    ids = ids | {view_id} if used else ids - {view_id}
    proposed = {view.id for view in study.ultrasound if view.proposed}
    return None if ids == proposed else tuple(view.id for view in study.ultrasound if view.id in ids)
