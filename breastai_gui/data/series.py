"""Our own series builder: slices that truly belong together, sorted by place, every difference named.

No library decides here what a series is: SimpleITK merges slices of other patients and orientations and drops damaged
ones without a word (measured; see README, Decisions).
"""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from breastai_gui.data.slices import dot, normal
from breastai_gui.data.study import Grid, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from breastai_gui.data.slices import Slice, Vector

SAME_COSINE = 1e-4
"""Direction cosines closer than this are one orientation."""
SAME_PLACE_MM = 0.02
"""Positions along the normal closer than this are one place."""
UNEVEN = 0.01
"""How far a gap between slices may differ from the others, as a share of the spacing."""

ROUNDED_MM = 0.011
"""Places are written with as few as two decimals, which for thin slices is more than 1 % of their spacing."""

_FIELDS = (
    "patient",
    "study",
    "frame of reference",
    "size",
    "orientation",
    "pixel spacing",
    "rescale slope or intercept",
    "pixel format",
    "image type",
    "echo time",
)


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """Slices of one series that agree in everything that makes a volume.

    Attributes
    ----------
    series_uid
        SeriesInstanceUID.
    key
        What they agree in, in the order of `_FIELDS`.
    slices
        Unsorted, at least one.
    """

    series_uid: str
    key: tuple[object, ...]
    slices: tuple[Slice, ...]

    @property
    def label(self) -> str:
        """Series number and description, without patient data."""
        header = self.slices[0].header
        number, text = header.text("SeriesNumber"), header.text("SeriesDescription")[:64]
        return " ".join(part for part in (f"series {number}" if number else "series", text) if part)

    @property
    def geometry(self) -> tuple[object, ...]:
        """What parts of different series must share to be phases of one dynamic series."""
        patient, study, _, size, orientation, spacing, _, _, component, echo = self.key
        return (patient, study, size, orientation, spacing, component, echo)


class _Canonical:
    """Takes numbers that differ by less than a tolerance for the same."""

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self._known: dict[Vector, Vector] = {}

    def __call__(self, values: Vector) -> Vector:
        same = self._known.get(values)
        if same is None:
            for known in self._known.values():
                if len(known) == len(values) and all(abs(a - b) <= self._tolerance for a, b in zip(known, values, strict=True)):
                    same = known
                    break
            else:
                same = values
            self._known[values] = same
        return same


_COMPONENTS = {"W", "WATER", "M", "M_FFE", "M_SE", "NORM", "DIS2D", "DIS3D", "ND", "FIL"}


def parts_of(slices: Iterable[Slice]) -> tuple[list[Part], list[Problem]]:
    """Group slices into parts; a series whose images disagree is split, and a problem says in what."""
    orientation, spacing, echo = _Canonical(SAME_COSINE), _Canonical(1e-4), _Canonical(0.05)
    groups: dict[tuple[object, ...], list[Slice]] = {}
    for image in slices:
        header = image.header
        patient = header.patient
        echo_ms = image.number("EchoTime")
        key = (
            header.text("SeriesInstanceUID"),
            (patient.id, patient.name, patient.birth_date, patient.sex),
            header.text("StudyInstanceUID"),
            header.text("FrameOfReferenceUID"),
            (header.count("Rows"), header.count("Columns")),
            orientation(image.orientation),
            spacing(image.spacing),
            image.scale,
            (header.count("BitsAllocated", 16), header.count("PixelRepresentation"), header.text("PhotometricInterpretation")),
            tuple(part for part in image.image_type[2:] if part in _COMPONENTS),
            None if echo_ms is None else echo((echo_ms,)),
        )
        groups.setdefault(key, []).append(image)
    parts = [Part(str(key[0]), key[1:], tuple(members)) for key, members in groups.items()]
    return parts, _splits(parts)


def _splits(parts: Sequence[Part]) -> list[Problem]:
    series: dict[str, list[Part]] = {}
    for part in parts:
        series.setdefault(part.series_uid, []).append(part)
    problems = []
    for members in series.values():
        largest = max(members, key=lambda part: len(part.slices))
        total = sum(len(part.slices) for part in members)
        for part in members:
            if part is largest:
                continue
            different = [name for name, a, b in zip(_FIELDS, part.key, largest.key, strict=True) if a != b]
            if different in (["image type"], ["echo time"]) or different == ["image type", "echo time"]:
                continue  # Dixon and multi-echo series: several images of each place are meant
            file = part.slices[0].header.found.name
            text = (
                f"{largest.label.capitalize()}: {len(part.slices)} of {total} images have another {' and '.join(different)} "
                f"(for example «{file}») and were put into a series of their own."
            )
            problems.append(Problem(text, file))
    return problems


@dataclass(frozen=True, eq=False, slots=True)
class Stack:
    """The places of slices along their common normal.

    Attributes
    ----------
    places
        mm along the normal, rising, one per slice of the volume.
    missing
        Indices of places where no image lies (a hole in an even row).
    grid
        The volume.
    """

    places: tuple[float, ...]
    missing: tuple[int, ...]
    grid: Grid


class StackError(Exception):
    """Slices that make no volume; the text is one phrase."""


def place_of(image: Slice) -> float:
    """Return mm along the slice's normal."""
    return dot(image.position, normal(image.orientation))


def stack_of(images: Sequence[Slice]) -> Stack:
    """Return the even row of places that these images lie on.

    Raises
    ------
    StackError
        If the places are uneven, or the images are shifted against each other sideways.
    """
    first = images[0]
    axis = normal(first.orientation)
    row, column = first.orientation[:3], first.orientation[3:]
    by_place: dict[float, Slice] = {}
    for image in images:
        by_place.setdefault(dot(image.position, axis), image)
    raw = sorted(by_place)
    places = [raw[0]]
    for place in raw[1:]:
        if place - places[-1] > SAME_PLACE_MM:
            places.append(place)
    lowest, highest = by_place[raw[0]], by_place[raw[-1]]
    for image in by_place.values():
        # Positions are written with few decimals, and a stack that follows its own axis may run sideways a little.
        if max(abs(dot(image.position, d) - dot(lowest.position, d)) for d in (row, column)) > 0.05 * min(first.spacing):
            raise StackError("its slices are shifted sideways against each other")
    gaps = [b - a for a, b in itertools.pairwise(places)]
    spacing = statistics.median(gaps) if gaps else _thickness(first)
    full = [places[0]]
    missing = []
    for number, gap in enumerate(gaps, 1):
        steps = round(gap / spacing)
        if steps < 1 or abs(gap - steps * spacing) > max(UNEVEN * spacing, ROUNDED_MM):
            raise StackError(f"its slices are not evenly spaced ({gap:.2f} mm after slice {number}, {spacing:.2f} mm elsewhere)")
        for _ in range(steps - 1):
            missing.append(len(full))
            full.append(full[-1] + spacing)
        full.append(places[number])
    step = (places[-1] - places[0]) / (len(full) - 1) if len(full) > 1 else spacing
    affine = np.eye(4)
    if len(full) > 1:
        affine[:3, 0] = (np.asarray(highest.position) - np.asarray(lowest.position)) / (len(full) - 1)
    else:
        affine[:3, 0] = np.asarray(axis) * step
    affine[:3, 1] = np.asarray(column) * first.spacing[0]
    affine[:3, 2] = np.asarray(row) * first.spacing[1]
    affine[:3, 3] = lowest.position
    header = first.header
    try:
        grid = Grid((len(full), header.count("Rows"), header.count("Columns")), affine)
    except ValueError as error:
        raise StackError(str(error)[0].lower() + str(error)[1:].rstrip(".")) from None
    return Stack(tuple(full), tuple(missing), grid)


def _thickness(image: Slice) -> float:
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        value = image.number(keyword)
        if value is not None and 0.05 <= abs(value) <= 20:
            return abs(value)
    raise StackError("it is a single slice without a thickness")
