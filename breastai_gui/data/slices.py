"""One slice of a volume: a single-frame file or one frame of an Enhanced one, with its place checked."""

from __future__ import annotations

import functools
import io
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from breastai_gui.data.headers import NATIVE, Header, HeaderError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from breastai_gui.data.walk import Files

Vector = tuple[float, ...]


class GeometryError(Exception):
    """A tag that gives no usable place; the text names the tag."""


@dataclass(frozen=True, eq=False, slots=True)
class Slice:
    """One image of a volume.

    Attributes
    ----------
    header
        The file's header.
    frame
        Which frame of the file, from 0.
    own
        What the frame says for itself (Enhanced multi-frame), before the file's header is asked.
    damage
        Why its pixels cannot be had, "" when they can.
    position
        (3,) mm LPS, centre of the first pixel.
    orientation
        (6,) direction cosines of a row (towards growing column) and of a column (towards growing row).
    spacing
        (2,) mm between rows and between columns.
    scale
        Slope and intercept.
    """

    header: Header
    frame: int
    position: Vector
    orientation: Vector
    spacing: Vector
    scale: tuple[float, float]
    own: Mapping[str, str | Vector] = field(default_factory=dict)
    damage: str = ""

    def text(self, keyword: str) -> str:
        """Return a value of the frame, else of the file, as text."""
        if keyword in self.own:
            value = self.own[keyword]
            return value if isinstance(value, str) else "\\".join(f"{number:g}" for number in value)
        return self.header.text(keyword)

    def number(self, keyword: str) -> float | None:
        """Return a number of the frame, else of the file; None when absent or not finite."""
        if keyword in self.own:
            value = self.own[keyword]
            try:
                number = float(value if isinstance(value, str) else value[0])
            except (ValueError, IndexError):
                return None
            return number if math.isfinite(number) else None
        return self.header.number(keyword)

    @property
    def image_type(self) -> tuple[str, ...]:
        """The parts of FrameType or ImageType in capitals."""
        return tuple(part.strip().upper() for part in self.text("ImageType").split("\\"))

    @property
    def pixel_offset(self) -> int:
        """Where the frame's uncompressed pixels begin in the file."""
        return self.header.pixel_offset + self.frame * self.header.frame_bytes


def slices_of(files: Files, header: Header) -> list[Slice]:
    """Return the slices of one MR file, several for an Enhanced one.

    Raises
    ------
    GeometryError
        If a tag gives no usable place.
    HeaderError
        If the functional groups cannot be read.
    """
    if "PerFrameFunctionalGroupsSequence" in header.sequences:
        return _enhanced(files, header)
    if header.frames > 1:
        raise GeometryError(f"it holds {header.frames} frames without a place for each")
    return [_slice(header, 0, {})]


def check_pixels(header: Header) -> None:
    """Compare what the header declares with the file, before anything is allocated.

    Raises
    ------
    HeaderError
        If the image is of an unsupported kind, larger than the file can hold, or cut short.
    """
    rows, columns, bits = header.count("Rows"), header.count("Columns"), header.count("BitsAllocated", 16)
    if rows < 1 or columns < 1 or rows > 65535 or columns > 65535:
        raise HeaderError(f"it declares {rows} rows and {columns} columns")
    if bits not in (8, 16, 32):
        raise HeaderError(f"unsupported: {bits} bits a pixel")
    if header.pixel_offset == 0:
        raise HeaderError("it holds no pixels")
    declared, held = header.frame_bytes * header.frames, header.found.size - header.pixel_offset
    if header.text("PhotometricInterpretation") == "YBR_FULL_422" and header.syntax in NATIVE:
        declared = declared * 2 // 3  # two pixels share their colour
    if header.pixel_length is not None and header.syntax in NATIVE:
        if declared > held:
            raise HeaderError(f"it is cut short or damaged ({max(0, held):,} of {declared:,} bytes of its image are there)")
        if header.pixel_length < declared:
            raise HeaderError(f"it declares {declared:,} bytes of image and holds {header.pixel_length:,}")
    elif declared > max(64 << 20, 200 * held):
        raise HeaderError(f"it declares {declared / 2**30:,.1f} GiB of image, the file has {held:,} bytes")


def _slice(header: Header, frame: int, own: dict[str, str | Vector]) -> Slice:
    def numbers(keyword: str) -> Vector:
        value = own.get(keyword)
        return value if isinstance(value, tuple) else header.numbers(keyword)

    position, orientation, spacing = (numbers(k) for k in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"))
    _check_position(position)
    _check_orientation(orientation)
    _check_spacing(spacing)
    slope, intercept = numbers("RescaleSlope") or (1.0,), numbers("RescaleIntercept") or (0.0,)
    if not math.isfinite(slope[0]) or slope[0] == 0:
        raise GeometryError(f"RescaleSlope is {slope[0]:g}")
    if not math.isfinite(intercept[0]):
        raise GeometryError(f"RescaleIntercept is {intercept[0]:g}")
    return Slice(header, frame, position, orientation, spacing, (slope[0], intercept[0]), own)


def _described(values: Vector) -> str:
    return "missing" if not values else "\\".join(f"{value:g}" for value in values)


def _check_position(position: Vector) -> None:
    if len(position) != 3 or not all(math.isfinite(value) and abs(value) <= 5000 for value in position):
        raise GeometryError(f"ImagePositionPatient is {_described(position)}")


@functools.lru_cache(maxsize=4096)
def _check_spacing(spacing: Vector) -> None:
    if len(spacing) != 2 or not all(math.isfinite(value) and 0.05 <= value <= 20 for value in spacing):
        raise GeometryError(f"PixelSpacing is {_described(spacing)}")


@functools.lru_cache(maxsize=4096)
def _check_orientation(orientation: Vector) -> None:
    if len(orientation) == 6 and all(math.isfinite(value) for value in orientation):
        row, column = orientation[:3], orientation[3:]
        products = (_dot(row, row) - 1, _dot(column, column) - 1, _dot(row, column))
        if all(abs(product) <= 1e-3 for product in products):
            return
    raise GeometryError(f"ImageOrientationPatient is {_described(orientation)}")


def _dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def dot(a: Vector, b: Vector) -> float:
    """Return the inner product of two (3,) vectors."""
    return _dot(a, b)


def normal(orientation: Vector) -> Vector:
    """Return the (3,) normal of a slice: row direction x column direction."""
    a, b = orientation[:3], orientation[3:]
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


# --- Enhanced multi-frame -----------------------------------------------------------------------------------------------------

_GROUPS = {
    "PixelMeasuresSequence": {"PixelSpacing": "PixelSpacing", "SliceThickness": "SliceThickness"},
    "PlanePositionSequence": {"ImagePositionPatient": "ImagePositionPatient"},
    "PlaneOrientationSequence": {"ImageOrientationPatient": "ImageOrientationPatient"},
    "PixelValueTransformationSequence": {"RescaleSlope": "RescaleSlope", "RescaleIntercept": "RescaleIntercept"},
    "MRTimingAndRelatedParametersSequence": {"RepetitionTime": "RepetitionTime", "FlipAngle": "FlipAngle"},
    "MREchoSequence": {"EffectiveEchoTime": "EchoTime"},
    "MRImageFrameTypeSequence": {"FrameType": "ImageType"},
    "MRDiffusionSequence": {"DiffusionBValue": "DiffusionBValue"},
    "FrameAnatomySequence": {"FrameLaterality": "ImageLaterality"},
    "TemporalPositionSequence": {"TemporalPositionTimeOffset": "TemporalPositionTimeOffset"},
    "FrameContentSequence": {
        "TemporalPositionIndex": "TemporalPositionIdentifier",
        "FrameAcquisitionDateTime": "AcquisitionDateTime",
        "FrameAcquisitionNumber": "AcquisitionNumber",
        "FrameAcquisitionDuration": "FrameAcquisitionDuration",
        "StackID": "StackID",
    },
}
"""Functional group to the tags that reading needs, and under which keyword a classic file would say it (PS3.3 C.7.6.16)."""


def _enhanced(files: Files, header: Header) -> list[Slice]:
    from pydicom import dcmread
    from pydicom.tag import Tag

    wanted = [Tag("SharedFunctionalGroupsSequence"), Tag("PerFrameFunctionalGroupsSequence")]
    try:
        with files.open(header.found) as stream:
            dataset = dcmread(io.BytesIO(stream.read(header.pixel_offset or -1)), stop_before_pixels=True, specific_tags=wanted, force=True)
        shared = _group_values(dataset.SharedFunctionalGroupsSequence[0]) if dataset.get("SharedFunctionalGroupsSequence") else {}
        frames = [shared | _group_values(item) for item in dataset.PerFrameFunctionalGroupsSequence]
    except Exception as error:  # noqa: BLE001  pydicom on untrusted bytes: each failure costs only this file
        raise HeaderError(f"its functional groups cannot be read ({type(error).__name__})") from None
    if len(frames) != header.frames:
        raise HeaderError(f"it declares {header.frames} frames and describes {len(frames)}")
    return [_slice(header, number, own) for number, own in enumerate(frames)]


def _group_values(groups: Any) -> dict[str, str | Vector]:
    values: dict[str, str | Vector] = {}
    for sequence, keywords in _GROUPS.items():
        items = groups.get(sequence)
        if not items:
            continue
        for source, target in keywords.items():
            value = items[0].get(source)
            if value is None or value == "":
                continue
            if isinstance(value, str):
                values[target] = value
            elif isinstance(value, int | float):
                values[target] = (float(value),)
            else:
                parts = list(value)
                if all(isinstance(part, str) for part in parts):
                    values[target] = "\\".join(parts)
                else:
                    values[target] = tuple(float(part) for part in parts)
    duration = values.pop("FrameAcquisitionDuration", None)
    if isinstance(duration, tuple) and duration:
        values["AcquisitionDuration"] = (duration[0] / 1000.0,)  # milliseconds in a frame, seconds in a classic header
    return values
