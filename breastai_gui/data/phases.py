"""In which order dynamic phases were taken, at what time, and which of them is before contrast: on evidence, never silently.

Everything here works on `PhaseFacts`, so it is the same for DICOM and for plain volumes and needs no file.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from breastai_gui.data.study import Confidence

DAY_S = 86_400.0

ORDER_WEIGHTS: Mapping[str, int] = {
    "AcquisitionTime": 4,
    "TemporalPositionTimeOffset": 4,
    "TriggerTime": 3,
    "TemporalPositionIdentifier": 3,
    "DynamicScanBeginTime": 3,
    "ContentTime": 2,
    "AcquisitionNumber": 2,
    "SeriesNumber": 1,
}
"""How much each tag counts. 3 together, without a contradiction, make an order certain; AcquisitionTime stands for
AcquisitionDateTime, or AcquisitionDate and AcquisitionTime."""

RESTARTING = ("TemporalPositionIdentifier", "TriggerTime", "AcquisitionNumber")
"""Tags that begin anew in each series: where series hold several phases they count together with SeriesNumber."""

CERTAIN_WEIGHT = 3
CLEAR_MARGIN = 2
"""By how much the best order must outweigh all contradictions to be proposed as likely."""

DARK_SHARE = 0.03
DARK_SHARE_OF_GAIN = 0.1
"""A phase whose bright tissue is within 3 % of the darkest phase, or within a tenth of the whole gain, counts as before
contrast: where many short phases are taken, several are, and their noise is not enhancement."""
RISE_SHARE = 1.05
"""Bright tissue must gain at least 5 % somewhere, or the enhancement check says nothing."""


@dataclass(frozen=True, slots=True)
class PhaseFacts:
    """What the files of one phase say about its time.

    Attributes
    ----------
    values
        Tag of `ORDER_WEIGHTS` to its value; times in seconds, of the day where no date is known.
    duration_s
        How long the phase took, None when unknown.
    injection_s
        ContrastBolusStartTime in seconds of the day, None when absent.
    agent
        True when the files name a contrast agent, False when they do not.
    says
        "pre" or "post" when the description or file name says so, else "".
    fallback
        InstanceNumber or place in the order of files: never more than a proposal.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    duration_s: float | None = None
    injection_s: float | None = None
    agent: bool = False
    says: Literal["pre", "post", ""] = ""
    fallback: float = 0.0


@dataclass(frozen=True, slots=True)
class Order:
    """`indices` sorts the phases; `evidence` says on what grounds."""

    indices: tuple[int, ...]
    confidence: Confidence
    evidence: str


@dataclass(frozen=True, slots=True)
class Pre:
    """Which phase is before contrast, None while that is a question; `first_post` is the first phase after contrast."""

    index: int | None
    confidence: Confidence
    evidence: str
    first_post: int
    contradicts_order: bool = False


def unwrapped(times_s: Sequence[float]) -> list[float]:
    """Return times of day with those after midnight moved to the next day: an exam lasts less than twelve hours."""
    if not times_s or max(times_s) >= DAY_S or max(times_s) - min(times_s) < DAY_S / 2:
        return list(times_s)
    return [time + DAY_S if time < DAY_S / 2 else time for time in times_s]


def order_of(facts: Sequence[PhaseFacts]) -> Order:
    """Return the order that the evidence speaks for, with its confidence."""
    if len(facts) == 1:
        return Order((0,), "certain", "there is one phase")
    votes: dict[tuple[int, ...], list[str]] = {}
    same: list[str] = []
    for tag in ORDER_WEIGHTS:
        name, values = _values(facts, tag)
        if values is None:
            continue
        if len(set(values)) < len(values):
            if len(set(values)) == 1 and tag != "SeriesNumber":
                same.append(tag)
            continue
        votes.setdefault(tuple(sorted(range(len(facts)), key=values.__getitem__)), []).append(name)
    note = f"; {_listed(same)} {'is' if len(same) == 1 else 'are'} the same in all phases" if same else ""
    if not votes:
        indices = tuple(sorted(range(len(facts)), key=lambda n: facts[n].fallback))
        return Order(indices, "question", f"no time or number in the files tells it{note}; shown is the order of the files")
    weights = {order: sum(_weight(name) for name in names) for order, names in votes.items()}
    best = max(weights, key=weights.__getitem__)
    against = {order: names for order, names in votes.items() if order != best}
    if not against:
        confidence: Confidence = "certain" if weights[best] >= CERTAIN_WEIGHT else "likely"
        return Order(best, confidence, f"{_listed(votes[best])} {_rise(votes[best])}{note}")
    margin = weights[best] - sum(weights[order] for order in against)
    other = _listed([name for names in against.values() for name in names])
    confidence = "likely" if margin >= CLEAR_MARGIN else "question"
    return Order(best, confidence, f"{_listed(votes[best])} {_rise(votes[best])}, but {other} says otherwise{note}")


def _values(facts: Sequence[PhaseFacts], tag: str) -> tuple[str, list[float] | list[tuple[float, float]] | None]:
    plain = [fact.values.get(tag) for fact in facts]
    series = [fact.values.get("SeriesNumber") for fact in facts]
    several = len(set(series)) > 1 and len(set(series)) < len(series) and None not in series
    if tag in RESTARTING and several:
        pairs = [(number, value) for number, value in zip(series, plain, strict=True)]
        if all(value is not None or series.count(number) == 1 for number, value in pairs) and any(v is not None for v in plain):
            return f"{tag} within SeriesNumber", [(float(number or 0), value or 0.0) for number, value in pairs]
    known = [value for value in plain if value is not None]
    if len(known) < len(facts):
        return tag, None
    return tag, unwrapped(known) if tag in ("AcquisitionTime", "ContentTime") else known


def _weight(name: str) -> int:
    tag = name.split()[0]
    return ORDER_WEIGHTS[tag] + (ORDER_WEIGHTS["SeriesNumber"] if name != tag else 0)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _rise(names: Sequence[str]) -> str:
    return "rises from phase to phase" if len(names) == 1 else "rise together from phase to phase"


def pre_of(facts: Sequence[PhaseFacts], signals: Sequence[float], order: Confidence) -> Pre:
    """Decide which of the ordered phases is before contrast, on evidence checked against the enhancement.

    Parameters
    ----------
    facts
        Of the phases, in their order.
    signals
        Mean value of bright tissue in each phase.
    order
        How sure that order is.
    """
    if len(facts) == 1:
        return Pre(None, "question", "There is only one phase, so nothing tells whether it is before or after contrast.", 0)
    lowest, highest = min(signals), max(signals)
    says = [number for number, fact in enumerate(facts) if fact.says == "pre"]
    silent = [number for number, fact in enumerate(facts) if not fact.agent] if any(fact.agent for fact in facts) else []
    if lowest <= 0 or highest < lowest * RISE_SHARE:
        told = says or silent
        if told == list(range(len(told))) and told:
            text = f"The files call phase {told[-1] + 1} the one before contrast, but bright tissue does not change enough to check it."
            return Pre(told[-1], "likely", text, min(told[-1] + 1, len(facts) - 1))
        return Pre(0, "question", "Bright tissue does not change from phase to phase, so the enhancement does not show which one it is.", 1)
    limit = lowest + max(DARK_SHARE * lowest, DARK_SHARE_OF_GAIN * (highest - lowest))
    dark = [number for number, signal in enumerate(signals) if signal <= limit]
    gain = 100 * (highest / lowest - 1)
    if dark[0] != 0:
        text = f"Phase 1 comes first, but bright tissue is darkest in phase {signals.index(lowest) + 1}."
        return Pre(None, "question", text, 1, contradicts_order=True)
    if dark != list(range(len(dark))):
        text = f"Bright tissue is equally dark in phases {_listed([str(number + 1) for number in dark])}."
        return Pre(0, "question", text, 1)
    index = len(dark) - 1
    if says and index not in says:
        text = f"Bright tissue is darkest in phase {index + 1}, but the files call phase {says[0] + 1} the one before contrast."
        return Pre(index, "question", text, min(index + 1, len(facts) - 1))
    named = " and is called so in its file" if index in says else ""
    text = f"Phase 1 is darkest in bright tissue{named}, which gains {gain:.0f} % afterwards."
    if index:
        text = f"Bright tissue is dark in phases 1 to {index + 1}{named} and gains {gain:.0f} % afterwards; the last of them is taken."
    return Pre(index, "likely" if order == "question" else "certain", text, index + 1)


def times_of(
    facts: Sequence[PhaseFacts], first_post: int
) -> tuple[tuple[float | None, ...], Literal["injection", "assumed", "unknown"], str]:
    """Return each phase's time in seconds from injection, what time zero is, and a sentence where times were refused.

    Times are those of mid-acquisition where the duration is known, else of its start. Zero is ContrastBolusStartTime where
    it lies between the phase before contrast and the end of the first one after it, else the start of the first phase
    after contrast. Unknown times stay unknown.
    """
    unknown: tuple[float | None, ...] = (None,) * len(facts)
    refused = ""
    for tag, factor in (
        ("AcquisitionTime", 1.0),
        ("TemporalPositionTimeOffset", 1.0),
        ("DynamicScanBeginTime", 1.0),
        ("TriggerTime", 1e-3),
    ):
        values = [fact.values.get(tag) for fact in facts]
        known = [value * factor for value in values if value is not None]
        if len(known) < len(facts):
            continue
        starts = unwrapped(known) if tag == "AcquisitionTime" else known
        if len(set(starts)) == 1:
            continue
        if any(later <= earlier for earlier, later in itertools.pairwise(starts)):
            refused = f"{tag} does not rise with the order of the phases, so their times are not used."
            continue
        if tag == "TriggerTime" and starts[-1] - starts[0] < 5.0:
            continue  # a delay after a heart beat, not a time in the exam
        origin, zero, note = _origin(facts, starts, first_post, clock=tag == "AcquisitionTime")
        middles = [start + (fact.duration_s or 0.0) / 2 - zero for start, fact in zip(starts, facts, strict=True)]
        if any(later <= earlier for earlier, later in itertools.pairwise(middles)):
            middles = [start - zero for start in starts]
        return tuple(round(middle, 3) for middle in middles), origin, note
    return unknown, "unknown", refused


def _origin(
    facts: Sequence[PhaseFacts], starts: Sequence[float], first_post: int, *, clock: bool
) -> tuple[Literal["injection", "assumed"], float, str]:
    assumed = starts[min(first_post, len(starts) - 1)]
    given = [fact.injection_s for fact in facts if fact.injection_s is not None]
    if not clock or not given or len(set(given)) > 1:
        return "assumed", assumed, ""
    # Only a time of day is given: take the day on which it lies nearest to the first phase after contrast.
    zero = given[0] + DAY_S * round((assumed - given[0]) / DAY_S)
    end = assumed + (facts[min(first_post, len(facts) - 1)].duration_s or 0.0)
    before = starts[first_post - 1] if 0 < first_post <= len(starts) else assumed - 3600.0
    if before <= zero <= max(end, assumed):
        return "injection", zero, ""
    return "assumed", assumed, "ContrastBolusStartTime does not lie between the phases before and after contrast, so it is not used."


@functools.lru_cache(maxsize=4096)
def seconds_of_day(text: str) -> float | None:
    """Return a DICOM TM value ("HHMMSS.FFFFFF", also "HH:MM:SS") in seconds; None when it is none."""
    digits = text.strip().replace(":", "")
    whole, _, fraction = digits.partition(".")
    if not digits.isascii() or not whole.isdigit() or not 2 <= len(whole) <= 6 or (fraction and not fraction.isdigit()):
        return None
    whole = whole.ljust(6, "0")
    hours, minutes, seconds = int(whole[:2]), int(whole[2:4]), int(whole[4:6])
    if hours > 23 or minutes > 59 or seconds > 60:
        return None
    return hours * 3600.0 + minutes * 60.0 + seconds + (float(f"0.{fraction}") if fraction else 0.0)
