"""Which parts are phases of one dynamic series: parts on one grid, each place filled once in every phase."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from breastai_gui.data.phases import DAY_S, Order, PhaseFacts, order_of, seconds_of_day
from breastai_gui.data.series import Part, Stack, StackError, place_of, stack_of
from breastai_gui.data.slices import Slice, dot
from breastai_gui.data.study import Patient, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST_DUPLICATES = 0.4
"""Where fewer than this share of the places hold several images, those are duplicates, not phases."""
LEAST_OF_A_PHASE = 0.6
"""A set of slices that fills less than this share of the places is no phase."""
_SPLITTING = (
    "TemporalPositionIdentifier",
    "TemporalPositionTimeOffset",
    "AcquisitionNumber",
    "TriggerTime",
    "AcquisitionTime",
    "DynamicScanBeginTime",
    "ContentTime",
)


@dataclass(frozen=True, eq=False, slots=True)
class PhasePlan:
    """One phase: an image or None for each place of the stack, and what its files say."""

    images: tuple[Slice | None, ...]
    label: str
    series_number: int | None
    facts: PhaseFacts
    shown: dict[str, str]


@dataclass(frozen=True, eq=False, slots=True)
class DynamicPlan:
    """A dynamic series as its headers describe it, phases in their order."""

    key: str
    patient: Patient
    study_uid: str
    taken_on: dt.date | None
    description: str
    stack: Stack
    phases: tuple[PhasePlan, ...]
    order: Order
    frame_of_reference: str
    aside: tuple[tuple[Slice, str], ...]
    problems: tuple[Problem, ...]


@dataclass(slots=True, eq=False)
class _Group:
    parts: list[Part]
    stack: Stack


def dynamic_plans(parts: Iterable[Part]) -> tuple[list[DynamicPlan], list[tuple[Part, str]], list[Problem]]:
    """Return the dynamic series, the parts that belong to none with the reason, and problems."""
    groups: list[_Group] = []
    left: list[tuple[Part, str]] = []
    problems: list[Problem] = []
    for part in sorted(parts, key=lambda part: -len(part.slices)):
        try:
            stack = stack_of(part.slices)
        except StackError as error:
            left.append((part, str(error)))
            if len(part.slices) > 2:
                file = part.slices[0].header.found.name
                problems.append(Problem(f"{part.label.capitalize()} is no volume: {error} (for example «{file}»).", file))
            continue
        for group in groups:
            if _fits(group, part, stack):
                group.parts.append(part)
                break
        else:
            groups.append(_Group([part], stack))
    plans = []
    for group in groups:
        plan = _plan(group)
        if plan is None:
            left += [(part, "a single volume") for part in group.parts]
        else:
            plans.append(plan)
    return plans, left, problems


def _fits(group: _Group, part: Part, stack: Stack) -> bool:
    first = group.parts[0]
    if part.geometry != first.geometry:
        return False
    a, b = first.slices[0], part.slices[0]
    if any(abs(dot(a.position, d) - dot(b.position, d)) > 0.05 * min(a.spacing) for d in (a.orientation[:3], a.orientation[3:])):
        return False
    spacing = float(group.stack.grid.spacing_mm[0])
    if len(stack.places) > 1 and len(group.stack.places) > 1 and abs(stack.grid.spacing_mm[0] - spacing) > 0.01 * spacing:
        return False
    steps = (stack.places[0] - group.stack.places[0]) / spacing
    inside = sum(group.stack.places[0] - spacing / 2 < place < group.stack.places[-1] + spacing / 2 for place in stack.places)
    return abs(steps - round(steps)) < 0.03 and inside >= LEAST_OF_A_PHASE * len(stack.places)


def _plan(group: _Group) -> DynamicPlan | None:
    everything = [image for part in group.parts for image in part.slices]
    try:
        stack = stack_of(everything)
    except StackError:
        return None
    aside: list[tuple[Slice, str]] = []
    problems: list[Problem] = []
    phases: list[PhasePlan] = []
    for part in group.parts:
        for number, images in enumerate(_phases_of(part, stack, aside, problems)):
            filled = [image for image in images if image is not None]
            usable = [image for image in filled if not image.damage]
            if len(usable) < LEAST_OF_A_PHASE * len(stack.places):
                aside += [(image, f"its series fills {len(filled)} of {len(stack.places)} slices, too few for a phase") for image in filled]
                file = filled[0].header.found.name
                text = f"{part.label.capitalize()} has {len(usable)} of {len(stack.places)} slices and was left out (for example «{file}»)."
                problems.append(Problem(text, file, stops=True))
            else:
                phases.append(_phase(part, images, filled, number))
    if len(phases) < 2:
        return None
    order = order_of([phase.facts for phase in phases])
    phases = [phases[index] for index in order.indices]
    first = group.parts[0].slices[0].header
    problems += _gaps(stack, phases)
    frames = {image.header.text("FrameOfReferenceUID") for phase in phases for image in phase.images if image is not None}
    if len(frames) > 1:
        problems.append(Problem("The dynamic phases do not share one FrameOfReferenceUID: the patient may have been moved between them."))
    uids = sorted({image.header.text("SOPInstanceUID") for image in everything})
    return DynamicPlan(
        key="dynamic-" + hashlib.sha256("\n".join(uids).encode()).hexdigest()[:16],
        patient=first.patient,
        study_uid=first.text("StudyInstanceUID"),
        taken_on=date_of(first.text("AcquisitionDate")) or date_of(first.text("StudyDate")) or date_of(first.text("SeriesDate")),
        description=first.text("StudyDescription").replace("^", " "),
        stack=stack,
        phases=tuple(phases),
        order=order,
        frame_of_reference=frames.pop() if len(frames) == 1 else "",
        aside=tuple(aside),
        problems=tuple(problems),
    )


def _phases_of(part: Part, stack: Stack, aside: list[tuple[Slice, str]], problems: list[Problem]) -> list[tuple[Slice | None, ...]]:
    """Divide the images of a part into phases, so that each place is filled at most once in each."""
    spacing = float(stack.grid.spacing_mm[0])
    index = {id(image): round((place_of(image) - stack.places[0]) / spacing) for image in part.slices}
    at_place = Counter(index.values())
    most = max(at_place.values())
    if most > 1 and sum(count > 1 for count in at_place.values()) > MOST_DUPLICATES * len(at_place):
        groups = _split(part.slices, index)
    else:
        groups = [list(part.slices)]
    answer = []
    for images in groups:
        row: list[Slice | None] = [None] * len(stack.places)
        for image in sorted(images, key=lambda image: (bool(image.damage), image.number("InstanceNumber") or 0, image.header.found.name)):
            place = index[id(image)]
            present = row[place]
            if present is None:
                row[place] = image
                continue
            aside.append((image, f"lies at the same place as «{present.header.found.name}»"))
            text = (
                f"{part.label.capitalize()}: two images lie at slice {place + 1} of {len(stack.places)} ({stack.places[place]:.1f} mm), "
                f"«{present.header.found.name}» and «{image.header.found.name}»; only the first is shown."
            )
            problems.append(Problem(text, image.header.found.name, stops=True))
        answer.append(tuple(row))
    return answer


def _split(images: Sequence[Slice], index: dict[int, int]) -> list[list[Slice]]:
    places = len(set(index.values()))
    for tag in _SPLITTING:
        groups: dict[float | None, list[Slice]] = {}
        for image in images:
            groups.setdefault(_timing(image, tag), []).append(image)
        if None in groups or len(groups) < 2:
            continue
        once = all(len({index[id(image)] for image in members}) == len(members) for members in groups.values())
        if once and len(images) >= LEAST_OF_A_PHASE * places * len(groups):
            return [groups[value] for value in sorted(groups, key=lambda value: value or 0.0)]
    rounds: list[list[Slice]] = []
    seen: Counter[int] = Counter()
    for image in sorted(images, key=lambda image: (image.number("InstanceNumber") or 0, image.header.found.name, image.frame)):
        turn = seen[index[id(image)]]
        seen[index[id(image)]] += 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(image)
    return rounds


def _timing(image: Slice, tag: str) -> float | None:
    if tag == "AcquisitionTime":
        moment = _moment(image.text("AcquisitionDateTime"))
        return moment if moment is not None else _clock(image.text("AcquisitionDate"), image.text("AcquisitionTime"))
    if tag == "ContentTime":
        return _clock(image.text("ContentDate"), image.text("ContentTime"))
    return image.number(tag)


def _phase(part: Part, images: tuple[Slice | None, ...], filled: list[Slice], number: int) -> PhasePlan:
    values: dict[str, float] = {}
    shown: dict[str, str] = {}
    for tag in (*_SPLITTING, "SeriesNumber"):
        found = [value for value in (_timing(image, tag) for image in filled) if value is not None]
        if len(found) == len(filled):
            values[tag] = min(found)
            first = filled[found.index(values[tag])]
            shown[tag] = first.text("AcquisitionDateTime") or first.text(tag) if tag == "AcquisitionTime" else first.text(tag)
    first = filled[0]
    header = first.header
    injection = seconds_of_day(header.text("ContrastBolusStartTime"))
    if injection is not None:
        shown["ContrastBolusStartTime"] = header.text("ContrastBolusStartTime")
    duration = first.number("AcquisitionDuration")
    facts = PhaseFacts(
        values=values,
        duration_s=duration if duration is not None and 0 < duration < 3600 else None,
        injection_s=injection,
        agent=bool(header.text("ContrastBolusAgent")),
        says=said(header.description),
        fallback=min((image.number("InstanceNumber") or 0.0) for image in filled) + 1e-3 * number,
    )
    series_number = header.number("SeriesNumber")
    return PhasePlan(images, part.label, None if series_number is None else int(series_number), facts, shown)


_PRE = re.compile(
    r"(?<![a-z])(pre([-_ ]?(contrast|gd|km|kontrast))?|nativ(e)?|unenhanced|baseline|w/?o([-_ ]?(c|contrast|gd|km))?"
    r"|(vor|ohne)[-_ ]?km|(sem|sin|sans)[-_ ]?contrast\w*)(?![a-z])"
)
_POST = re.compile(r"(?<![a-z])(post([-_ ]?(contrast|gd|km|kontrast))?|nach[-_ ]?km|enhanced|early|late)(?![a-z])|\+c(?![a-z])")


def said(text: str) -> Literal["pre", "post", ""]:
    """Return "pre" or "post" when a description or file name says on which side of the injection it lies, else ""."""
    pre, post = _PRE.search(text.lower()), _POST.search(text.lower())
    if pre and not post:
        return "pre"
    return "post" if post and not pre else ""


def _gaps(stack: Stack, phases: Sequence[PhasePlan]) -> list[Problem]:
    count = len(stack.places)
    nowhere = {place for place in range(count) if all(phase.images[place] is None for phase in phases)}
    problems = []
    if nowhere:
        text = f"All phases: {_numbered(nowhere, count)} missing ({_where(stack, nowhere)}); shown black, and not assessed."
        problems.append(Problem(text, stops=True))
    for number, phase in enumerate(phases, 1):
        missing = {place for place in range(count) if phase.images[place] is None} - nowhere
        if missing:
            text = f"Phase {number} ({phase.label}): {_numbered(missing, count)} missing ({_where(stack, missing)}); shown black."
            problems.append(Problem(text, stops=True))
        for place, image in enumerate(phase.images):
            if image is not None and image.damage:
                problems.append(damaged(number, place, count, image.header.found.name, image.damage))
    return problems


def damaged(phase: int, place: int, count: int, file: str, reason: str) -> Problem:
    """Return the sentence about one slice whose pixels cannot be had; `phase` counts from 1, `place` from 0."""
    return Problem(f"Phase {phase}: slice {place + 1} of {count} is damaged: «{file}»: {reason}.", file, stops=True)


def _numbered(places: set[int], count: int) -> str:
    numbers = ", ".join(str(place + 1) for place in sorted(places)[:6]) + (", …" if len(places) > 6 else "")
    return f"slice {numbers} of {count} is" if len(places) == 1 else f"{len(places)} of {count} slices ({numbers}) are"


def _where(stack: Stack, places: set[int]) -> str:
    first = min(places)
    width = float(stack.grid.spacing_mm[0]) * (len(places) + 1)
    return f"a gap of {width:.1f} mm at {stack.places[first]:.1f} mm" if len(places) == 1 else f"the first at {stack.places[first]:.1f} mm"


@functools.lru_cache(maxsize=256)
def date_of(text: str) -> dt.date | None:
    """Return a DICOM DA value as a date, None when it is none."""
    try:
        return dt.date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    except ValueError:
        return None


def _moment(text: str) -> float | None:
    """Return a DICOM DT value in seconds since year 1; the time zone is the same in one exam and left out."""
    date, clock = date_of(text), seconds_of_day(text[8:].split("+")[0].split("-")[0]) if len(text) >= 12 else None
    return None if date is None or clock is None else date.toordinal() * DAY_S + clock


def _clock(date: str, time: str) -> float | None:
    day, clock = date_of(date), seconds_of_day(time)
    if clock is None:
        return None
    return clock if day is None else day.toordinal() * DAY_S + clock
