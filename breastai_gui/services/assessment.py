"""What the model said of one study, with everything that a report has to name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import datetime as dt

    from breastai_model.case import Prediction

Scope = Literal["joint", "mri", "ultrasound"]

DEMONSTRATION_SENTENCE = "Demonstration model, learnt from made-up patients; these numbers say nothing about this patient"

OUTSIDE_SENTENCE = "This exam is outside what the model has seen; its numbers may mean nothing"


@dataclass(frozen=True, eq=False, slots=True)
class Assessment:
    """What the model said of one study, with everything that a report has to name.

    Attributes
    ----------
    scope
        What it speaks of: both modalities together, or one alone.
    prediction
        Probabilities, heatmaps, inputs used, device.
    study_key
        `Study.key` of what it was computed from.
    phases
        The study's phase indices in the order of `Case.dce`: ``prediction.inputs.phases`` point into this.
    views
        The ultrasound view ids in the order of `Case.ultrasound`: ``prediction.inputs.angles`` point into this.
    subject
        One line: which breast, which lesion, what was absent.
    model_name, model_version, model_sha256
        The weights.
    trained_on
        "synthetic" or "patients".
    phantom
        Whether the study was made by this program's phantom.
    made_at
        When, with time zone.
    """

    scope: Scope
    prediction: Prediction
    study_key: str
    phases: tuple[int, ...]
    views: tuple[str, ...]
    subject: str
    model_name: str
    model_version: str
    model_sha256: str
    trained_on: Literal["synthetic", "patients"]
    phantom: bool
    made_at: dt.datetime

    @property
    def phases_read(self) -> tuple[int, ...]:
        """The study's phase indices that the network was given, in its order."""
        return tuple(self.phases[place] for place in self.prediction.inputs.phases)

    @property
    def valid_for_patients(self) -> bool:
        """True only for weights that learnt from patients."""
        return self.trained_on == "patients"

    @property
    def says_nothing(self) -> bool:
        """True when a demonstration model looked at a study that the phantom did not write: numbers stay hidden."""
        return self.trained_on == "synthetic" and not self.phantom

    @property
    def outside(self) -> tuple[str, ...]:
        """Why the exam is unlike what the model has seen, one sentence each; empty when it is alike or nothing is known of it."""
        verdict = self.prediction.distribution
        return () if verdict is None or verdict.inside else verdict.reasons

    @property
    def withheld(self) -> bool:
        """True when the numbers stay hidden until the reader asks for them."""
        return self.says_nothing or bool(self.outside)

    @property
    def warning(self) -> str:
        """What has to stand beside every number and map of this answer, "" where nothing has to."""
        sentences = (DEMONSTRATION_SENTENCE if self.says_nothing else "", OUTSIDE_SENTENCE if self.outside else "")
        return " ".join(f"{sentence}." for sentence in sentences if sentence)
