"""Ultrasound images: which belong together, their angle, side and millimetres, and the part of each that is ultrasound."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from breastai_gui.data.dynamic import date_of
from breastai_gui.data.study import Patient, Problem

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from breastai_gui.data.headers import Header
    from breastai_gui.data.study import Confidence, Side
    from breastai_gui.data.walk import Found

VIEWS_PROPOSED = 12
MOST_VIEWS = 240
"""Frames of one patient that are read; of more, this many evenly spaced ones."""
CENTIMETRES = 3
"""Physical units code of SequenceOfUltrasoundRegions (DICOM PS3.3 C.8.5.5.1.15)."""


@dataclass(frozen=True, slots=True)
class Region:
    """The part of an image that shows tissue: (top, left, bottom, right) pixels, half open, or None when not usable; and mm."""

    box: tuple[int, int, int, int] | None
    spacing_mm: tuple[float, float] | None
    outside: bool = False
    """True when the region's place does not lie in the image: the image was cropped after the region was written."""
    unreadable: bool = False
    """True when the file names regions, but their values are damaged: nobody can tell where the tissue is."""


@dataclass(frozen=True, eq=False, slots=True)
class ViewPlan:
    """One ultrasound image before it is decoded."""

    found: Found
    header: Header | None
    """None for PNG and JPEG."""
    frame: int
    label: str
    angle_deg: float | None
    angle_source: str
    side: Side | None
    lesion: str
    proposed: bool


@dataclass(frozen=True, eq=False, slots=True)
class UltrasoundPlan:
    """The ultrasound images of one patient on one day, in their order."""

    key: str
    patient: Patient
    study_uid: str
    taken_on: dt.date | None
    description: str
    views: tuple[ViewPlan, ...]
    confidence: Confidence
    problems: tuple[Problem, ...]


_ANGLE_WORD = re.compile(r"(?<![a-z])(?:angle|rotation|rot|winkel)[ _:=-]{0,2}(\d{1,3}(?:\.\d+)?)(?!\d)")
_ANGLE_UNIT = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d+)?)[ _-]?(?:deg(?:rees?)?|°)(?![a-z])")
_ANGLE_NAME = re.compile(r"(?<![a-z])(?:us|view|img)[_-]?(\d{1,3})(?!\d)")
_LESION = re.compile(r"(?<![a-z])(?:lesion|mass|nodule|tumou?r|finding)[ _#:=-]{0,2}([a-z]|\d{1,2})(?![a-z0-9])")
_LEFT = re.compile(r"(?<![a-z])(?:left|lt|links|linke|izquierd[ao]|esquerd[ao]|gauche|sinist(?:er|ra))(?![a-z])")
_RIGHT = re.compile(r"(?<![a-z])(?:right|rt|rechts|rechte|derech[ao]|direit[ao]|droite?|dext(?:er|ra))(?![a-z])")


def side_in(text: str) -> Side | None:
    """Return the breast that a text names; None when it names none or both."""
    left, right = _LEFT.search(text.lower()), _RIGHT.search(text.lower())
    if bool(left) == bool(right):
        return None
    return "left" if left else "right"


def side_of(header: Header) -> Side | None:
    """Return the breast from ImageLaterality, Laterality, else body part and description; never guessed."""
    for keyword in ("ImageLaterality", "Laterality"):
        value = header.text(keyword).upper()
        if value in ("L", "R"):
            return "left" if value == "L" else "right"
        if value == "B":
            return None
    for keyword in ("BodyPartExamined", "ViewName", "SeriesDescription", "ImageComments", "ProtocolName", "StudyDescription"):
        side = side_in(header.text(keyword))
        if side is not None:
            return side
    return None


def angle_in(text: str) -> float | None:
    """Return the angle that a text names outright ("angle=30", "30deg", "30°"), 0 to below 180 degrees."""
    match = _ANGLE_WORD.search(text.lower()) or _ANGLE_UNIT.search(text.lower())
    return float(match.group(1)) % 180.0 if match and float(match.group(1)) <= 360 else None


def angles_in_names(names: Sequence[str]) -> list[float | None]:
    """Return the angle of each file name; bare numbers ("us_030.png") count only when all of them look like angles.

    `us_1` to `us_12` are numbers of images, not angles: bare numbers must all differ, be multiples of 5 below 180 and
    reach 30 or more.
    """
    told = [angle_in(name) for name in names]
    if any(angle is not None for angle in told):
        return told
    bare = [_ANGLE_NAME.search(name.lower()) for name in names]
    numbers = [int(match.group(1)) for match in bare if match]
    plausible = len(numbers) == len(names) and len(set(numbers)) == len(numbers) and max(numbers, default=0) >= 30
    if plausible and all(number % 5 == 0 and number < 180 for number in numbers):
        return [float(number) for number in numbers]
    return told


def lesion_in(text: str) -> str:
    """Return the label of the lesion that a text names ("A", "2"), else ""."""
    match = _LESION.search(text.lower())
    return match.group(1).upper() if match else ""


def region_of(header: Header) -> Region:
    """Return the tissue region of an ultrasound image and its millimetres."""
    rows, columns = header.count("Rows"), header.count("Columns")
    best: tuple[float, dict[str, float]] | None = None
    regions = _regions(header)
    if regions is None:
        return Region(None, None, unreadable=True)
    for item in regions:
        top, left, bottom, right = (item[f"RegionLocation{name}"] for name in ("MinY0", "MinX0", "MaxY1", "MaxX1"))
        if item["RegionSpatialFormat"] != 1 or not (bottom > top and right > left):
            continue
        # Tissue (1) before colour flow (2): where they overlap the tissue region is the larger picture.
        rank = (bottom - top) * (right - left) + (1e12 if item["RegionDataType"] == 1 else 0.0)
        if best is None or rank > best[0]:
            best = (rank, item)
    if best is None:
        damaged = any(math.isnan(item[keyword]) for item in regions for keyword in _REGION_KEYWORDS[:5])
        return Region(None, None, unreadable=damaged)
    item = best[1]
    spacing = None
    if item["PhysicalUnitsXDirection"] == item["PhysicalUnitsYDirection"] == CENTIMETRES:
        deltas = [abs(item[f"PhysicalDelta{axis}"]) * 10.0 for axis in "YX"]
        if all(0.001 <= delta <= 10.0 for delta in deltas):
            spacing = (deltas[0], deltas[1])
    top, left, bottom, right = (int(item[f"RegionLocation{name}"]) for name in ("MinY0", "MinX0", "MaxY1", "MaxX1"))
    if top < 0 or left < 0 or bottom >= rows + 2 or right >= columns + 2:
        return Region(None, spacing, outside=True)
    return Region((top, left, min(bottom + 1, rows), min(right + 1, columns)), spacing)


_REGION_KEYWORDS = (
    *(f"RegionLocation{name}" for name in ("MinY0", "MinX0", "MaxY1", "MaxX1")),
    *("RegionSpatialFormat", "RegionDataType", "PhysicalUnitsXDirection", "PhysicalUnitsYDirection", "PhysicalDeltaX", "PhysicalDeltaY"),
)


def _regions(header: Header) -> list[dict[str, float]] | None:
    """Return the numbers of each region, NaN for what is missing; None when they cannot be read."""
    element = header.sequences.get("SequenceOfUltrasoundRegions")
    if element is None:
        return []
    from pydicom.dataelem import RawDataElement, convert_raw_data_element

    try:
        value = convert_raw_data_element(element).value if isinstance(element, RawDataElement) else element.value
        return [{keyword: float(item.get(keyword, math.nan)) for keyword in _REGION_KEYWORDS} for item in value or []]
    except Exception:  # noqa: BLE001  pydicom on untrusted bytes fails in any way; the reader is told that the region is damaged
        return None


def spacing_of(header: Header, region: Region) -> tuple[tuple[float, float] | None, str]:
    """Return (row, column) mm and where they come from; (None, "") when the file does not say."""
    if region.spacing_mm is not None:
        return region.spacing_mm, "SequenceOfUltrasoundRegions"
    numbers = header.numbers("PixelSpacing")
    if len(numbers) == 2 and all(math.isfinite(number) and 0.001 <= number <= 10.0 for number in numbers):
        return (numbers[0], numbers[1]), "PixelSpacing"
    return None, ""


def ultrasound_plans(headers: Sequence[tuple[Header, bool]], pictures: Sequence[Found]) -> list[UltrasoundPlan]:
    """Group ultrasound images by patient and study.

    Parameters
    ----------
    headers
        DICOM files, each with True when it says itself that it is ultrasound.
    pictures
        PNG and JPEG files: nobody knows whom they show.
    """
    groups: dict[tuple[str, ...], list[tuple[Header, bool]]] = {}
    for header, sure in headers:
        patient = header.patient
        key = (patient.id, patient.name, patient.birth_date, patient.sex, header.text("StudyInstanceUID"))
        groups.setdefault(key, []).append((header, sure))
    plans = [_plan([header for header, _ in members], all(sure for _, sure in members)) for members in groups.values()]
    return plans + ([_picture_plan(pictures)] if pictures else [])


_ORGANS = (
    "ABDOMEN",
    "AORTA",
    "CAROTID",
    "FETUS",
    "HEART",
    "KIDNEY",
    "LIVER",
    "PELVIS",
    "PROSTATE",
    "RENAL",
    "SCROTUM",
    "SPLEEN",
    "THYROID",
)


def _other_organ(headers: list[Header]) -> str:
    """Return the organ that the files name where it is not the breast, "" otherwise; only words of our own list."""
    tags = ("BodyPartExamined", "StudyDescription", "SeriesDescription")
    said = " ".join({header.text(tag).upper() for header in headers for tag in tags})
    if any(word in said for word in ("BREAST", "MAMMA", "BRUST", "MAMA ", "AXILLA")):
        return ""
    return next((organ.lower() for organ in _ORGANS if organ in said), "")


def _plan(headers: list[Header], sure: bool) -> UltrasoundPlan:
    def place(header: Header) -> tuple[Any, ...]:
        return header.number("SeriesNumber") or 0.0, header.number("InstanceNumber") or 0.0, natural(header.found.name)

    entries = [(header, frame) for header in sorted(headers, key=place) for frame in range(min(header.frames, 100_000))]
    count, files = len(entries), len(headers)
    problems: list[Problem] = []
    entries = [entries[index] for index in evenly(count, MOST_VIEWS)]
    if count > MOST_VIEWS:
        problems.append(Problem(f"{count} ultrasound frames were found; {MOST_VIEWS} evenly spaced ones were read."))
    tags = [_tag_angle(header) for header, _ in entries]
    names = angles_in_names([_file_name(header.found.name) for header, _ in entries])
    known = [(tag, "tag") if tag is not None else (name, "file name") for tag, name in zip(tags, names, strict=True)]
    views = [
        ViewPlan(
            found=header.found,
            header=header,
            frame=frame,
            label=_file_name(header.found.name) + (f", frame {frame + 1}" if header.frames > 1 else ""),
            angle_deg=angle,
            angle_source=source if angle is not None else "",
            side=side_of(header),
            lesion=next(
                (label for label in (lesion_in(header.text(k)) for k in ("ImageComments", "SeriesDescription", "ViewName")) if label), ""
            ),
            proposed=True,
        )
        for (header, frame), (angle, source) in zip(entries, known, strict=True)
    ]
    first = headers[0]
    organ = _other_organ(headers)
    if organ:
        problems.append(Problem(f"The ultrasound's own description names another organ than the breast ({organ}): please check."))
    if not sure:
        odd = sum(header.text("Modality").upper() != "US" for header in headers)
        text = (
            f"{odd} of {files} images do not say what they are (Modality missing or unknown); they are taken for ultrasound: please check."
        )
        problems.append(Problem(text))
    views, more = _arranged(views)
    uids = sorted(header.text("SOPInstanceUID") for header in headers)
    return UltrasoundPlan(
        key="ultrasound-" + hashlib.sha256("\n".join(uids).encode()).hexdigest()[:16],
        patient=first.patient,
        study_uid=first.text("StudyInstanceUID"),
        taken_on=date_of(first.text("AcquisitionDateTime") or first.text("AcquisitionDate") or first.text("StudyDate")),
        description=first.text("StudyDescription").replace("^", " "),
        views=tuple(views),
        confidence="certain" if sure and not organ else "question",
        problems=(*problems, *more),
    )


def _picture_plan(pictures: Sequence[Found]) -> UltrasoundPlan:
    ordered = sorted(pictures, key=lambda found: natural(found.name))
    ordered = [ordered[index] for index in evenly(len(ordered), MOST_VIEWS)]
    names = [_file_name(found.name) for found in ordered]
    views = [
        ViewPlan(found, None, 0, name, angle, "file name" if angle is not None else "", side_in(found.name), lesion_in(found.name), True)
        for found, name, angle in zip(ordered, names, angles_in_names(names), strict=True)
    ]
    text = f"{len(pictures)} pictures (PNG or JPEG) carry no patient and no description; they are taken for ultrasound: please check."
    problems = [Problem(text)]
    if len(pictures) > MOST_VIEWS:
        problems.append(Problem(f"{len(pictures)} pictures were found; {MOST_VIEWS} evenly spaced ones were read."))
    views, more = _arranged(views)
    key = hashlib.sha256("\n".join(f"{found.name} {found.size}" for found in ordered).encode()).hexdigest()[:16]
    return UltrasoundPlan(f"ultrasound-{key}", Patient(), "", None, "", tuple(views), "question", (*problems, *more))


def _arranged(views: list[ViewPlan]) -> tuple[list[ViewPlan], list[Problem]]:
    """Put views into the order of their angles, propose twelve, and give unknown angles by position, saying so."""
    problems = []
    known = [view.angle_deg is not None for view in views]
    if any(known) and not all(known):
        problems.append(Problem(f"{known.count(False)} of {len(views)} ultrasound images do not tell their angle."))
    if all(known):
        views = sorted(views, key=lambda view: view.angle_deg or 0.0)
        repeated = sum(count > 1 for count in Counter((view.angle_deg, view.side, view.lesion) for view in views).values())
        if repeated:
            problems.append(Problem(f"{repeated} angles are given to more than one ultrasound image."))
    chosen = set(evenly(len(views), VIEWS_PROPOSED))
    if len(views) > VIEWS_PROPOSED:
        problems.append(Problem(f"{len(views)} ultrasound images were found; twelve evenly spaced ones are proposed for the model."))
    step = 180.0 / len(chosen)
    assumed = not any(known)
    if assumed and len(views) > 1:
        problems.append(Problem(f"No file tells the angles of the ultrasound images: {step:g}° apart is assumed, in their order."))
    arranged = []
    turn = 0
    for number, view in enumerate(views):
        angle, source = view.angle_deg, view.angle_source
        if assumed and number in chosen:
            angle, source = turn * step, "position in the order (assumed)"
            turn += 1
        arranged.append(
            ViewPlan(view.found, view.header, view.frame, view.label, angle, source, view.side, view.lesion, proposed=number in chosen)
        )
    return arranged, problems


def evenly(count: int, wanted: int) -> list[int]:
    """Return at most `wanted` indices of `count` things, evenly spaced, first and last among them."""
    if count <= wanted:
        return list(range(count))
    return [round(index * (count - 1) / (wanted - 1)) for index in range(wanted)]


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """Return a sort key in which "us_9" comes before "us_10"."""
    return tuple((0, int(part)) if part.isdecimal() else (1, part.lower()) for part in re.split(r"(\d+)", name) if part)


def _tag_angle(header: Header) -> float | None:
    for keyword in ("ImageComments", "ViewName", "SeriesDescription", "ProtocolName"):
        angle = angle_in(header.text(keyword))
        if angle is not None:
            return angle
    return None


def _file_name(name: str) -> str:
    return name.rsplit("/", 1)[-1]
