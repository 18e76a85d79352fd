"""What each input added to the model's answer, in words and numbers: the same rows on the card and in the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from breastai_gui.services.assessment import Assessment

EXPLANATION = (
    "In log-odds: above 0 towards the positive answer, below 0 towards the negative one. A modality's number is its Shapley value, "
    "a phase's or an image's its Owen value; start, MRI and ultrasound add up to the answer. It says what the model used, "
    "not what causes what."
)


@dataclass(frozen=True, slots=True)
class ContributionRow:
    """One input.

    Attributes
    ----------
    name
        "start", "MRI", "phase 2", "ultrasound", "image 3".
    part
        True for a phase or an image, which is part of the modality above it.
    numbers
        (task,) log-odds.
    """

    name: str
    part: bool
    numbers: tuple[float, ...]


def contribution_rows(assessment: Assessment) -> tuple[ContributionRow, ...]:
    """Return a row for the start, for each modality and below it for each of its phases or images; () while not computed."""
    found = assessment.prediction.contributions
    if found is None:
        return ()
    rows = [ContributionRow("start", False, found.base)]
    if found.mri is not None:
        rows.append(ContributionRow("MRI", False, found.mri))
        rows += [ContributionRow(f"phase {assessment.phases[index] + 1}", True, numbers) for index, numbers in found.phases]
    if found.ultrasound is not None:
        rows.append(ContributionRow("ultrasound", False, found.ultrasound))
        rows += [ContributionRow(f"image {index + 1}", True, numbers) for index, numbers in found.angles]
    return tuple(rows)


def signed(number: float) -> str:
    """Return a number with its sign and two digits; a true minus, and no sign before nothing."""
    if abs(number) < 0.005:
        return "0.00"
    return f"{'+' if number > 0 else '−'}{abs(number):.2f}"


def error_words(assessment: Assessment) -> str:
    """Return how sure the images' numbers are, "" where every order was counted."""
    found = assessment.prediction.contributions
    if found is None or found.angle_error <= 0:
        return ""
    return f"The images' numbers come from sampled orders, standard error at most {found.angle_error:.2f}."
