"""Whether published figures can come from one confusion matrix. Those of the paper's Tables 2 and 3 often cannot (method vi, error 5)."""

from __future__ import annotations

HALF_A_DIGIT = 0.0005
"""By which each of two shares printed as percentages with one decimal may be off."""


class InconsistentFiguresError(ValueError):
    """Figures that cannot come from one confusion matrix; the text is one sentence."""


def check_pooled(
    accuracy: float,
    sensitivity: float,
    specificity: float,
    precision: float | None = None,
    prevalence: float | None = None,
    rounding: float = HALF_A_DIGIT,
) -> None:
    """Refuse shares that no single confusion matrix has.

    Accuracy is the prevalence-weighted mean of sensitivity and specificity, so it lies between them; with a known prevalence the three
    also fix the precision.

    Parameters
    ----------
    accuracy, sensitivity, specificity, precision
        0 to 1, from one matrix of all patients.
    prevalence
        Share of positive answers; where it is given the accuracy must be the weighted mean and the precision must follow.
    rounding
        By which each may be off.

    Raises
    ------
    InconsistentFiguresError
        If they contradict each other.
    """
    low, high = sorted((sensitivity, specificity))
    if not low - 2 * rounding <= accuracy <= high + 2 * rounding:
        raise InconsistentFiguresError(
            f"An accuracy of {accuracy:.1%} cannot come from the same patients as a sensitivity of {sensitivity:.1%} and a specificity "
            f"of {specificity:.1%}: it must lie between the two."
        )
    if prevalence is None:
        return
    if abs(accuracy - prevalence * sensitivity - (1 - prevalence) * specificity) > 2 * rounding + 1e-9:
        raise InconsistentFiguresError(
            f"An accuracy of {accuracy:.1%} cannot come from a sensitivity of {sensitivity:.1%}, a specificity of {specificity:.1%} and "
            f"{prevalence:.1%} positive answers."
        )
    called = prevalence * sensitivity + (1 - prevalence) * (1 - specificity)
    if precision is None or called <= rounding:
        return
    expected = prevalence * sensitivity / called
    if abs(precision - expected) > rounding * (1 + 2 / called):
        raise InconsistentFiguresError(
            f"A precision of {precision:.1%} cannot come from a sensitivity of {sensitivity:.1%}, a specificity of {specificity:.1%} and "
            f"{prevalence:.1%} positive answers: it would be {expected:.1%}."
        )


def fold_mean_warning(accuracy: float, sensitivity: float, specificity: float, rounding: float = HALF_A_DIGIT) -> str | None:
    """Return a sentence where the means over folds break the rule of one matrix, or None.

    Means of folds with unequal shares of positive answers can break it honestly, so they are not refused.
    """
    try:
        check_pooled(accuracy, sensitivity, specificity, rounding=rounding)
    except InconsistentFiguresError:
        return (
            f"The mean accuracy over the folds ({accuracy:.1%}) lies outside the mean sensitivity ({sensitivity:.1%}) and specificity "
            f"({specificity:.1%}): the folds hold unequal shares of positive answers, so the means are not those of one matrix."
        )
    return None
