"""What of a study is in use: the phases, the ultrasound views and the breast that the person chose, or that were read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from breastai_gui.services.breasts import shown_breasts
from breastai_gui.services.ultrasound_angles import angle_of

if TYPE_CHECKING:
    from breastai_gui.data.study import DceSeries, Side, Study, UltrasoundView
    from breastai_gui.services.session import Choices

MOST_VIEWS = 12


def chosen_phases(study: Study, choices: Choices) -> tuple[int, ...]:
    """Return the study's phase indices that are used, in order of time; empty without MRI."""
    if study.dce is None:
        return ()
    return tuple(range(study.dce.phase_count)) if choices.phases is None else choices.phases


def pre_phase(dce: DceSeries, choices: Choices) -> int | None:
    """Return the phase before contrast that is in force: the person's, else as read; None while that is a question."""
    return dce.pre if choices.pre is None else choices.pre


def chosen_views(study: Study, choices: Choices) -> tuple[UltrasoundView, ...]:
    """Return the at most twelve ultrasound views that are given to the model, in order of angle, unknown angles last.

    Views that name the other breast or another lesion than the chosen one are never among them. More than twelve are
    thinned evenly.
    """
    side = reading_side(study, choices)
    views = [
        view
        for view in study.ultrasound
        if (side is None or view.side in (None, side))
        and (choices.lesion is None or view.lesion == choices.lesion)
        and not (view.doubtful and choices.is_ultrasound is False)
    ]
    if choices.views is not None:
        views = [view for view in views if view.id in choices.views]
    elif choices.lesion is None:
        views = [view for view in views if view.proposed]

    def order(view: UltrasoundView) -> tuple[bool, float]:
        angle = angle_of(view, choices)
        return angle is None, angle or 0.0

    views.sort(key=order)
    if len(views) > MOST_VIEWS:
        views = [views[round(place * (len(views) - 1) / (MOST_VIEWS - 1))] for place in range(MOST_VIEWS)]
    return tuple(views)


def reading_side(study: Study, choices: Choices) -> Side | None:
    """Return the breast that this reading is about: the person's choice, else the one that the ultrasound names.

    Without any ultrasound it is the breast that the MRI shows, where it shows one only.
    """
    if choices.side is not None:
        return choices.side
    if not study.ultrasound and study.dce is not None:
        shown = shown_breasts(study.dce, choices.midline_mm)
        return next(iter(shown)) if len(shown) == 1 else None
    return study.ultrasound_sides[0] if len(study.ultrasound_sides) == 1 else None
