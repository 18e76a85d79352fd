"""What goes into the model and what comes out: frozen, numpy only, without a field for a name, a date or a path.

Arrays are indexed (phase, slice, row, column); positions are millimetres in DICOM patient coordinates (LPS).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Side = Literal["left", "right"]
Stream = Literal["mri_agnostic", "mri_specific", "us_agnostic", "us_specific"]
STREAMS: tuple[Stream, ...] = ("mri_agnostic", "mri_specific", "us_agnostic", "us_specific")
Task = Literal["lymph_node_metastasis", "high_grade", "high_ki67"]
TASKS: tuple[Task, ...] = ("lymph_node_metastasis", "high_grade", "high_ki67")
MapKind = Literal["feature", "lymph_node_metastasis", "high_grade", "high_ki67"]
MAP_KINDS: tuple[MapKind, ...] = ("feature", "lymph_node_metastasis", "high_grade", "high_ki67")
"""First axis of every heatmap array, in this order."""


@dataclass(frozen=True, eq=False, slots=True)
class Case:
    """One tumour of one patient, ready for the model, identity left behind.

    Attributes
    ----------
    dce
        (phase, slice, row, column), the scanner's own numbers in acquisition order, phase `pre` before contrast, or
        None. Every phase that the person kept is here; `prepare` takes those that the recipe names.
    dce_scale
        (phase, 2): slope and intercept; real value = slope * stored + intercept.
    dce_affine
        (4, 4); (slice, row, column, 1) to LPS mm.
    dce_times_s
        One per phase, seconds from injection, or None when any is unknown.
    pre
        Index of the phase before contrast.
    breasts
        Which breasts the MRI shows.
    midline_mm
        LPS x of the sagittal plane between the breasts, or None: then `prepare` estimates it.
    ultrasound
        At most twelve (row, column) uint8 images, row 0 at the skin, in order of angle.
    ultrasound_spacing_mm
        (row, column) mm of each image or None.
    angles_deg
        Of each image, 0 to below 180, or None.
    side
        The breast that the tumour is in, or None when unknown.
    """

    dce: NDArray[np.generic] | None
    dce_scale: NDArray[np.float64] | None
    dce_affine: NDArray[np.float64] | None
    dce_times_s: tuple[float, ...] | None
    pre: int
    breasts: frozenset[Side]
    midline_mm: float | None
    ultrasound: tuple[NDArray[np.uint8], ...]
    ultrasound_spacing_mm: tuple[tuple[float, float] | None, ...]
    angles_deg: tuple[float | None, ...]
    side: Side | None

    def __post_init__(self) -> None:
        if self.dce is None and not self.ultrasound:
            raise ValueError("A case needs MRI or ultrasound.")
        if self.dce is not None:
            if self.dce.ndim != 4 or self.dce_scale is None or self.dce_affine is None:
                raise ValueError("dce must be (phase, slice, row, column) with its scale and affine.")
            if self.dce_scale.shape != (len(self.dce), 2) or self.dce_affine.shape != (4, 4):
                raise ValueError("dce_scale must be (phase, 2) and dce_affine (4, 4).")
            if not np.isfinite(self.dce_scale).all() or not np.isfinite(self.dce_affine).all():
                raise ValueError("dce_scale and dce_affine must be finite.")
            if not 0 <= self.pre < len(self.dce) or not self.breasts:
                raise ValueError("pre must name a phase and breasts must name at least one.")
            if self.dce_times_s is not None and len(self.dce_times_s) != len(self.dce):
                raise ValueError("dce_times_s needs one entry a phase.")
        if len(self.ultrasound) > 12 or not len(self.ultrasound) == len(self.ultrasound_spacing_mm) == len(self.angles_deg):
            raise ValueError("At most twelve ultrasound images, each with its spacing and angle.")
        if any(image.ndim != 2 or image.dtype != np.uint8 for image in self.ultrasound):
            raise ValueError("Ultrasound images must be (row, column) uint8.")


@dataclass(frozen=True, slots=True)
class Labels:
    """What is known about the tumour; None where it is not known."""

    lymph_node_metastasis: bool | None
    high_grade: bool | None
    high_ki67: bool | None


@dataclass(frozen=True, slots=True)
class TaskPrediction:
    """The answer for one question.

    Attributes
    ----------
    probability
        0 to 1, of the positive answer.
    spread
        Lowest and highest probability of an ensemble's members, or None; never called a confidence interval.
    prediction_set
        The answers that remain possible at the calibration's coverage, or None where there are no sets; see `calibrated`.
    threshold
        From which probability the answer reads positive.
    decision
        "positive", "negative" or "not determined".
    calibrated
        Whether the weights carry a calibration. If so and `prediction_set` is None there were too few patients to say.
    """

    probability: float
    spread: tuple[float, float] | None
    prediction_set: tuple[Literal["negative", "positive"], ...] | None
    threshold: float
    decision: Literal["positive", "negative", "not determined"]
    calibrated: bool = False

    def __post_init__(self) -> None:
        if not (np.isfinite(self.probability) and 0.0 <= self.probability <= 1.0):
            raise ValueError("The model produced no valid result: a probability is not a number from 0 to 1.")


@dataclass(frozen=True, eq=False, slots=True)
class Heatmaps:
    """Where each stream found something, on the model's own grid; views resample the plane that they show.

    Attributes
    ----------
    mri_agnostic, mri_specific
        (kind, slice, row, column) float16, 0 to 1, kinds as in `MAP_KINDS`; None without MRI. Both breasts stand in
        one unmirrored grid.
    mri_affine
        (4, 4); (slice, row, column, 1) of that grid to LPS mm; None without MRI.
    us_agnostic, us_specific
        (kind, angle, row, column) float16, 0 to 1, one per image of `Case.ultrasound`; None without ultrasound.
    us_boxes
        One per image: (top, left, height, width) in that image's own pixels which the map's (row, column) covers.
    energy_share
        For each stream its share of the feature energy, the four adding up to 1 (absent streams 0).
    """

    mri_agnostic: NDArray[np.float16] | None
    mri_specific: NDArray[np.float16] | None
    mri_affine: NDArray[np.float64] | None
    us_agnostic: NDArray[np.float16] | None
    us_specific: NDArray[np.float16] | None
    us_boxes: tuple[tuple[float, float, float, float], ...]
    energy_share: dict[Stream, float]

    def stream(self, name: Stream) -> NDArray[np.float16] | None:
        """Return the array of that stream, or None when its modality was absent."""
        return {
            "mri_agnostic": self.mri_agnostic,
            "mri_specific": self.mri_specific,
            "us_agnostic": self.us_agnostic,
            "us_specific": self.us_specific,
        }[name]


@dataclass(frozen=True, eq=False, slots=True)
class PhaseHeatmaps:
    """The MRI heatmaps phase by phase, of which `Heatmaps` holds the mean; all phases on one scale, so that they can be compared.

    Attributes
    ----------
    phases
        Indices into `Case.dce`, in the order given to the network.
    mri_agnostic, mri_specific
        (kind, phase, slice, row, column) float16, 0 to 1, kinds as in `MAP_KINDS`, phases as in `phases`, both breasts in one
        unmirrored grid.
    mri_affine
        (4, 4); (slice, row, column, 1) of that grid to LPS mm.
    """

    phases: tuple[int, ...]
    mri_agnostic: NDArray[np.float16]
    mri_specific: NDArray[np.float16]
    mri_affine: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class InputsUsed:
    """Which of the case's inputs the network really saw.

    Attributes
    ----------
    phases
        Indices into `Case.dce`, pre-contrast first, in the order given to the network; empty without MRI.
    phase_slots, angle_slots
        How many the network has room for (5 and 12 in the paper).
    angles
        Indices into `Case.ultrasound`, by slot; empty without ultrasound.
    breasts
        Breasts that the network saw.
    side_unknown
        True when both orders of the breasts were run and averaged.
    notes
        One sentence for each thing that was absent, assumed or left out.
    """

    phases: tuple[int, ...]
    phase_slots: int
    angles: tuple[int, ...]
    angle_slots: int
    breasts: tuple[Side, ...]
    side_unknown: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InDistribution:
    """Whether a case is like those that the model has seen; judged by pixels alone, never by tags.

    Attributes
    ----------
    inside
        False where any check failed or a distance lies above its threshold.
    distance
        The largest of the distances, each in units of its threshold; None where the weights carry no distribution and only
        the inputs were checked.
    threshold
        1 in these units.
    reasons
        One sentence for each thing that is unlike; empty when inside.
    """

    inside: bool
    distance: float | None
    threshold: float
    reasons: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.inside == bool(self.reasons):
            raise ValueError("An exam is outside for at least one reason, and inside for none.")


@dataclass(frozen=True, slots=True)
class Contributions:
    """How much each input moved the answers, in log-odds: Shapley and Owen values over the inputs present.

    Attributes
    ----------
    base
        (task,): the log-odds before any input is known.
    mri, ultrasound
        (task,): what each modality adds; None where it is absent. base + mri + ultrasound is the answer's log-odds.
    phases
        Pairs of an index into `Case.dce` and (task,) numbers, which add up to `mri`; empty where phases cannot be told apart.
    angles
        Pairs of an index into `Case.ultrasound` and (task,) numbers, which add up to `ultrasound`; empty likewise.
    angle_error
        Largest standard error of an angle's number, from the sampled orders; 0 where they are exact.
    seconds
        How long it took.
    """

    base: tuple[float, ...]
    mri: tuple[float, ...] | None
    ultrasound: tuple[float, ...] | None
    phases: tuple[tuple[int, tuple[float, ...]], ...]
    angles: tuple[tuple[int, tuple[float, ...]], ...]
    angle_error: float
    seconds: float


@dataclass(frozen=True, eq=False, slots=True)
class Prediction:
    """What the model says of one case, and what it ran on.

    `device` is "cuda", "mps" or "cpu"; `device_note` says why it is not the one that was asked for, "" when it is.
    `distribution` is None where the weights carry none and the checks of the inputs found nothing; `contributions` and
    `phase_heatmaps` are None until they are asked for.
    """

    lymph_node_metastasis: TaskPrediction
    high_grade: TaskPrediction
    high_ki67: TaskPrediction
    heatmaps: Heatmaps
    inputs: InputsUsed
    device: str
    device_note: str
    engine: str
    precision: str
    seconds: float
    distribution: InDistribution | None = None
    contributions: Contributions | None = None
    phase_heatmaps: PhaseHeatmaps | None = None

    def task(self, name: Task) -> TaskPrediction:
        """Return the answer to that question."""
        return {
            "lymph_node_metastasis": self.lymph_node_metastasis,
            "high_grade": self.high_grade,
            "high_ki67": self.high_ki67,
        }[name]
