"""The fast preview in bfloat16 stays out of every document: what may be kept is computed in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from breastai_gui.services.assessment import Assessment

PREVIEW_SENTENCE = "A fast preview, computed in bfloat16: the numbers are for a quick look and for no report."


class PreviewError(ValueError):
    """A document was asked for of numbers that are for no document; the text is one sentence."""


def refuse_preview(assessments: Iterable[Assessment]) -> None:
    """Raise PreviewError if any of the answers was not computed in float32."""
    if any(assessment.prediction.precision != "float32" for assessment in assessments):
        raise PreviewError("These numbers are a fast preview in bfloat16 and go into no report: predict again without it.")
