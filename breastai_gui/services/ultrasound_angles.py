"""The angles of the ultrasound views in words: which were read, which are only assumed, which a person set."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from breastai_gui.data.study import Study, UltrasoundView
    from breastai_gui.services.session import Choices


def angle_of(view: UltrasoundView, choices: Choices) -> float | None:
    """Return the angle in force in degrees: the person's, else the one that was read, else None."""
    return dict(choices.angles).get(view.id, view.angle_deg)


def angle_assumed(view: UltrasoundView, choices: Choices) -> bool:
    """Return True where an angle is in force that neither a file nor a person gave."""
    return view.id not in dict(choices.angles) and view.angle_deg is not None and "assumed" in view.angle_source


def degrees(angle: float) -> str:
    """Return "30°" or "7.5°"."""
    return f"{angle:.1f}".removesuffix(".0") + "°"


def angle_words(view: UltrasoundView, choices: Choices, person: str = "you") -> str:
    """Return "30°", "30° (you)", "30° (assumed)" or "angle unknown"; `person` is what the one who set an angle is called."""
    angle = angle_of(view, choices)
    if angle is None:
        return "angle unknown"
    if view.id in dict(choices.angles):
        return f"{degrees(angle)} ({person})"
    return f"{degrees(angle)} (assumed)" if angle_assumed(view, choices) else degrees(angle)


def angles_found(study: Study, choices: Choices) -> str:
    """Return "12 with an angle", and how many of these angles are only assumed."""
    known = sum(angle_of(view, choices) is not None for view in study.ultrasound)
    assumed = sum(angle_assumed(view, choices) for view in study.ultrasound)
    doubt = "" if not assumed else " (assumed)" if assumed == known else f" ({assumed} of them assumed)"
    return f"{known} with an angle{doubt}"
