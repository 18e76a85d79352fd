"""What an exam is, once its files have been read: frozen values, checked whole when built.

Arrays are indexed (phase, slice, row, column). Positions are millimetres in DICOM patient coordinates, LPS
(x grows to the patient's left, y to the back, z to the head; DICOM PS3.3 C.7.6.2.1.1). A type makes the arrays that it
is given read-only, so they may be shared between threads without a lock.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from numpy.typing import NDArray

Side = Literal["left", "right"]
"""A breast, named from the patient's point of view."""

Confidence = Literal["certain", "likely", "question"]
"""How far evidence carries: `question` means that a person has to decide before anything is computed."""

DEMO_UID_ROOT = "2.25.217693403862461586346155906291713536561"
"""Every SOP, series and study UID of the demo patient begins with this (a UUID-derived root, ITU-T X.667). That a
study is made up is decided from this alone, never from what a scanner could have written."""


class ReadError(Exception):
    """Nothing could be read; the text is one sentence that says what happened and what to do."""


def _frozen(array: NDArray[np.generic]) -> None:
    array.flags.writeable = False


@dataclass(frozen=True, eq=False, slots=True)
class Patient:
    """Who was examined. Never printed: every field is kept out of ``repr``, so none can reach a log."""

    id: str = field(default="", repr=False)
    name: str = field(default="", repr=False)
    birth_date: str = field(default="", repr=False)
    sex: str = field(default="", repr=False)

    def differs_from(self, other: Patient) -> tuple[str, ...]:
        """Return which of "patient ID", "name", "birth date", "sex" disagree; a field that either lacks never does.

        Names are compared without case, component separators and repeated blanks. Unknown identity is a difference: without
        an ID or a name on both sides the answer is ("nothing in common to compare",).
        """
        pairs = {
            "patient ID": (self.id.strip(), other.id.strip()),
            "name": (_plain_name(self.name), _plain_name(other.name)),
            "birth date": (self.birth_date.strip(), other.birth_date.strip()),
            "sex": (self.sex.strip().upper(), other.sex.strip().upper()),
        }
        different = tuple(what for what, (mine, theirs) in pairs.items() if mine and theirs and mine != theirs)
        if different:
            return different
        known = any(pairs[what][0] and pairs[what][1] for what in ("patient ID", "name"))
        return () if known else ("nothing in common to compare",)


def _plain_name(name: str) -> str:
    return " ".join(name.replace("^", " ").replace("=", " ").casefold().split())


@dataclass(frozen=True, eq=False, slots=True)
class Grid:
    """Where the voxels of a volume lie in the patient.

    Attributes
    ----------
    shape
        (slice, row, column) counts.
    affine
        (4, 4) float64; maps (slice, row, column, 1) to (x, y, z, 1) in mm LPS: DICOM's equation C.7.6.2.1-1, axes reordered.

    Raises
    ------
    ValueError
        If a number is not finite, a spacing lies outside 0.05 to 20 mm, a position lies more than 5 m away, or the
        axes are not perpendicular within 1e-3.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or any(int(count) < 1 for count in self.shape):
            raise ValueError(f"A grid needs three counts of at least 1, not {self.shape}.")
        if self.affine.shape != (4, 4) or not np.array_equal(self.affine[3], [0.0, 0.0, 0.0, 1.0]):
            raise ValueError("The affine must be (4, 4) with the last row 0 0 0 1.")
        if not np.isfinite(self.affine).all():
            raise ValueError("The affine holds a number that is not finite.")
        spacing = self.spacing_mm
        if (spacing < 0.05).any() or (spacing > 20.0).any():
            raise ValueError(f"A voxel spacing of {tuple(round(float(s), 4) for s in spacing)} mm is not plausible (0.05 to 20 mm).")
        if (np.abs(self.affine[:3, 3]) > 5000.0).any():
            raise ValueError("The volume lies more than 5 m from the scanner's centre.")
        axes = self.affine[:3, :3] / spacing
        if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-3:
            raise ValueError("The volume's axes are not perpendicular.")
        _frozen(self.affine)

    @property
    def spacing_mm(self) -> NDArray[np.float64]:
        """(3,) distance in mm between neighbouring slices, rows and columns."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    def to_patient(self, index: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return LPS positions in mm, (..., 3), of (slice, row, column) indices, (..., 3)."""
        return np.asarray(np.asarray(index, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3])

    def to_index(self, position_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return fractional (slice, row, column) indices, (..., 3), of LPS positions in mm, (..., 3)."""
        inverse = np.linalg.inv(self.affine)
        return np.asarray(np.asarray(position_mm, dtype=np.float64) @ inverse[:3, :3].T + inverse[:3, 3])


def direction_letters(direction: NDArray[np.float64]) -> str:
    """Return the letters of a direction in LPS, from its cosines alone, strongest first: "L", "PL", "HA" (PS3.3 C.7.6.1.1.1).

    Components under 10 % of the length are left out.
    """
    unit = np.asarray(direction, dtype=np.float64) / np.linalg.norm(direction)
    names = (("L", "R"), ("P", "A"), ("H", "F"))
    order = sorted(range(3), key=lambda axis: -abs(unit[axis]))
    return "".join(names[axis][0 if unit[axis] > 0 else 1] for axis in order if abs(unit[axis]) > 0.1)


@dataclass(frozen=True, slots=True)
class Phase:
    """One dynamic phase: where it came from and what told its place in the order."""

    label: str
    """As the scanner named it, without patient data: the series number and description."""
    series_number: int | None
    evidence: Mapping[str, str]
    """Every timing tag found, name to value as text, e.g. {"AcquisitionNumber": "2"}."""
    file_count: int


@dataclass(frozen=True, eq=False, slots=True)
class DceSeries:
    """The dynamic phases of one contrast-enhanced MRI on one grid.

    Attributes
    ----------
    values
        (phase, slice, row, column), the scanner's own number type (uint8, uint16, int16, or float32).
    scale
        (phase, 2) float64: slope and intercept of each phase; real value = slope * stored + intercept.
    times_s, time_origin
        Seconds from time zero, one per phase, rising, None where unknown; zero is the "injection" (ContrastBolusStartTime),
        "assumed" (start of the first phase after contrast) or "unknown" (no times).
    pre
        Index of the phase before contrast, None while that is a question.
    order_confidence, order_evidence, pre_confidence, pre_evidence
        How the order and the phase before contrast were decided, each with one sentence for the reader; the latter names
        the enhancement check.
    frame_of_reference
        FrameOfReferenceUID, empty when unknown or not the same in all phases.
    """

    values: NDArray[np.generic]
    scale: NDArray[np.float64]
    grid: Grid
    times_s: tuple[float | None, ...]
    time_origin: Literal["injection", "assumed", "unknown"]
    phases: tuple[Phase, ...]
    pre: int | None
    order_confidence: Confidence
    order_evidence: str
    pre_confidence: Confidence
    pre_evidence: str
    frame_of_reference: str = ""

    def __post_init__(self) -> None:
        if self.values.ndim != 4 or self.values.shape[1:] != self.grid.shape:
            raise ValueError(f"values must be (phase, slice, row, column) on the grid {self.grid.shape}, not {self.values.shape}.")
        count = self.values.shape[0]
        if self.scale.shape != (count, 2) or not np.isfinite(self.scale).all() or (self.scale[:, 0] == 0).any():
            raise ValueError("scale must be (phase, 2), finite, without a slope of zero.")
        if len(self.times_s) != count or len(self.phases) != count:
            raise ValueError("times_s and phases need one entry a phase.")
        known = [time for time in self.times_s if time is not None]
        if any(later <= earlier for earlier, later in itertools.pairwise(known)):
            raise ValueError("Times of the phases must rise.")
        if self.pre is not None and not 0 <= self.pre < count:
            raise ValueError("pre names no phase.")
        _frozen(self.values)
        _frozen(self.scale)

    @property
    def phase_count(self) -> int:
        """How many phases there are."""
        return int(self.values.shape[0])

    def real(self, phase: int) -> NDArray[np.float32]:
        """Return one phase as (slice, row, column) float32 with slope and intercept applied."""
        slope, intercept = self.scale[phase]
        return np.asarray(self.values[phase] * np.float32(slope) + np.float32(intercept), dtype=np.float32)


@dataclass(frozen=True, eq=False, slots=True)
class UltrasoundView:
    """One ultrasound image, cut to its ultrasound region.

    Attributes
    ----------
    id
        Stable: a hash of its SOP instance (or file content) and frame number.
    pixels
        (row, column) uint8, row 0 at the skin; grey values (colour images are reduced to luminance).
    spacing_mm, spacing_source
        (row, column) mm from "SequenceOfUltrasoundRegions" or "PixelSpacing"; None and "": then distances are in pixels.
    angle_deg, angle_source
        0 to below 180, clockwise from the largest cross-section, from "tag", "file name" or "position in the order (assumed)";
        None and "" when unknown.
    side, lesion
        The breast, from (0020,0060), (0020,0062) or body-part text, None when unknown; the lesion's label ("A", "1"), else "".
    label
        What the reader sees: file name without folders and frame number. Never patient data from tags.
    proposed, doubtful
        Among the at most twelve for the model; and no tag says that it is ultrasound (Secondary Capture, PNG): it is asked.
    """

    id: str
    pixels: NDArray[np.uint8]
    spacing_mm: tuple[float, float] | None
    spacing_source: str
    angle_deg: float | None
    angle_source: str
    patient: Patient
    side: Side | None
    lesion: str
    label: str
    proposed: bool = True
    doubtful: bool = False

    def __post_init__(self) -> None:
        if self.pixels.ndim != 2 or self.pixels.dtype != np.uint8 or 0 in self.pixels.shape:
            raise ValueError("An ultrasound image must be (row, column) uint8 and not empty.")
        if self.spacing_mm is not None and not all(np.isfinite(s) and 0.001 <= s <= 10.0 for s in self.spacing_mm):
            raise ValueError(f"An ultrasound pixel spacing of {self.spacing_mm} mm is not plausible.")
        if self.angle_deg is not None and not 0.0 <= self.angle_deg < 180.0:
            raise ValueError("An ultrasound angle must lie from 0 to below 180 degrees.")
        _frozen(self.pixels)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that a reader of this exam should know, in one sentence."""

    text: str
    file: str = ""
    """Path below the opened folder, "" when it is about no single file."""
    stops: bool = False
    """True when the exam may be looked at but must not be assessed before this is settled."""


@dataclass(frozen=True, slots=True)
class FileUse:
    """What became of one file: N files in, N of these out."""

    file: str
    """Path below the opened folder (inside a zip: the member's name)."""
    used_as: str
    """For example "phase 2, slice 14" or "ultrasound view 3"; "" when not used."""
    why_not: str = ""
    """One phrase, when not used."""


@dataclass(frozen=True, slots=True)
class OtherSeries:
    """A series that is listed, never given to the model: T2, diffusion, subtraction, MIP, localizer, mammogram."""

    label: str
    role: str
    file_count: int


@dataclass(frozen=True, eq=False, slots=True)
class Candidate:
    """Something that the opened files offer: one dynamic series or one patient's ultrasound images."""

    key: str
    kind: Literal["dynamic", "ultrasound"]
    patient: Patient
    label: str
    """One line for a person who must choose: dates, counts, description; the window adds the patient's name itself."""
    taken_on: dt.date | None
    confidence: Confidence
    """"question" when it is not even clear that this is what it seems (ultrasound without a Modality)."""
    counts: tuple[int, ...]
    """(phases, slices, rows, columns) of a dynamic series; (images,) of ultrasound."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What a person, or the program where nothing is in doubt, chose from a `Catalogue`: candidates' keys."""

    dynamic: str | None
    ultrasound: str | None


@dataclass(frozen=True, eq=False, slots=True)
class Catalogue:
    """What the headers of all files say, before any pixel is decoded.

    `proposed` is None when a person has to choose among several patients or series; `choice_reason` says so in one sentence.
    """

    path: str
    candidates: tuple[Candidate, ...]
    others: tuple[OtherSeries, ...]
    files: tuple[FileUse, ...]
    problems: tuple[Problem, ...]
    proposed: Selection | None
    choice_reason: str = ""

    def candidate(self, key: str) -> Candidate:
        """Return the candidate of that key; KeyError when there is none."""
        for candidate in self.candidates:
            if candidate.key == key:
                return candidate
        raise KeyError(key)


@dataclass(frozen=True, eq=False, slots=True)
class Preview:
    """One slice shown while the rest is still being read: (row, column) real values and a caption."""

    picture: NDArray[np.float32]
    caption: str


@dataclass(frozen=True, eq=False, slots=True)
class ReadProgress:
    """How far reading has come: `done` of `total` files in this stage, and a first picture as soon as there is one."""

    stage: Literal["headers", "pixels"]
    done: int
    total: int
    preview: Preview | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Study:
    """One exam as read: any part may be missing, every file is accounted for. A study never changes.

    Attributes
    ----------
    key
        SHA-256 of what was read (sorted SOP instance UIDs and frames, or file contents), wherever the files lie.
        Annotations are stored under it.
    patient, ultrasound_patient
        Whom the MRI shows (without one, the ultrasound), and whom the ultrasound shows, None without one.
    taken_on
        Date of the MRI, else of the ultrasound, None when unknown.
    phantom
        True when every image that is used was written by this program's own phantom (`DEMO_UID_ROOT`).
    """

    key: str
    patient: Patient
    ultrasound_patient: Patient | None
    taken_on: dt.date | None
    description: str
    dce: DceSeries | None
    ultrasound: tuple[UltrasoundView, ...]
    others: tuple[OtherSeries, ...]
    files: tuple[FileUse, ...]
    problems: tuple[Problem, ...]
    phantom: bool

    @property
    def patient_mismatch(self) -> tuple[str, ...]:
        """Which identity fields disagree between MRI and ultrasound; empty when they agree or one is absent."""
        if self.dce is None or not self.ultrasound or self.ultrasound_patient is None:
            return ()
        return self.patient.differs_from(self.ultrasound_patient)

    @property
    def ultrasound_sides(self) -> tuple[Side, ...]:
        """Breasts named by the ultrasound views, sorted, each once."""
        return tuple(sorted({view.side for view in self.ultrasound if view.side is not None}))

    def view(self, view_id: str) -> UltrasoundView:
        """Return the ultrasound view of that id; KeyError when there is none."""
        for view in self.ultrasound:
            if view.id == view_id:
                return view
        raise KeyError(view_id)
