"""From what was found to a catalogue: which candidates there are, and what is proposed where nothing is in doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from breastai_gui.data.dynamic import DynamicPlan
from breastai_gui.data.study import Candidate, Catalogue, Confidence, FileUse, Patient, Problem, ReadError, Selection
from breastai_gui.data.walk import shown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from breastai_gui.data.folder import Account
    from breastai_gui.data.nifti import VolumePlan
    from breastai_gui.data.study import OtherSeries
    from breastai_gui.data.ultrasound import UltrasoundPlan


def catalogue_of(
    path: Path,
    dynamic: Sequence[DynamicPlan | VolumePlan],
    ultrasound: Sequence[UltrasoundPlan],
    others: Sequence[OtherSeries],
    account: Account,
) -> Catalogue:
    """Return the catalogue of all that was found.

    Raises
    ------
    ReadError
        If there is neither a dynamic series nor ultrasound.
    """
    candidates = [_dynamic_candidate(plan) for plan in dynamic]
    for plan in dynamic:
        if not isinstance(plan, DynamicPlan):
            for number, (volume, _) in enumerate(plan.phases, 1):
                account.used(volume.found.name, f"phases 1 to {volume.count}" if volume.count > 1 else f"phase {number}")
    for views in ultrasound:
        counts: dict[str, list[int]] = {}
        for number, view in enumerate(views.views, 1):
            counts.setdefault(view.found.name, []).append(number)
        for name, numbers in counts.items():
            account.used(name, view_use(numbers))
        patient = views.patient
        days = f" of {views.taken_on:%Y-%m-%d}" if views.taken_on else ""
        files = f"{len(views.views)} ultrasound image{'s' * (len(views.views) != 1)}{days}"
        text = f"{files}, {views.description}" if views.description else files
        candidates.append(Candidate(views.key, "ultrasound", patient, text, views.taken_on, views.confidence, (len(views.views),)))
    if not candidates:
        raise ReadError(_nothing(path, others, account))
    proposed, reason, more = _proposed(candidates)
    account.problems += more
    return Catalogue(
        path=str(path),
        candidates=tuple(candidates),
        others=tuple(others),
        files=tuple(sorted(account.uses.values(), key=lambda use: use.file)),
        problems=tuple(account.problems),
        proposed=proposed,
        choice_reason=reason,
    )


def view_use(numbers: Sequence[int]) -> str:
    """Return what a file is used as: "ultrasound view 3", "ultrasound views 1 to 27"."""
    return f"ultrasound view {numbers[0]}" if len(numbers) == 1 else f"ultrasound views {numbers[0]} to {numbers[-1]}"


def _dynamic_candidate(plan: DynamicPlan | VolumePlan) -> Candidate:
    slices, rows, columns = (plan.stack.grid if isinstance(plan, DynamicPlan) else plan.grid).shape
    counts = (len(plan.phases), slices, rows, columns)
    size = f"{counts[0]} phase{'s' * (counts[0] != 1)} of {slices} slices, {rows} x {columns}"
    confidence: Confidence = plan.order.confidence if len(plan.phases) > 1 else "question"
    if isinstance(plan, DynamicPlan):
        day = f" of {plan.taken_on:%Y-%m-%d}" if plan.taken_on else ""
        text = f"dynamic MRI{day}: {size}; {plan.phases[0].label}"
        return Candidate(plan.key, "dynamic", plan.patient, text, plan.taken_on, confidence, counts)
    file = plan.phases[0][0].found.name
    return Candidate(plan.key, "dynamic", Patient(), f"volumes: {size}; {file}", None, confidence, counts)


def _proposed(candidates: Sequence[Candidate]) -> tuple[Selection | None, str, list[Problem]]:
    """Return what is proposed, else None and the reason why a person has to choose."""
    problems = []
    dynamic = [candidate for candidate in candidates if candidate.kind == "dynamic"]
    ultrasound = [candidate for candidate in candidates if candidate.kind == "ultrasound"]
    reasons = []
    if len(dynamic) > 1:
        long = [candidate for candidate in dynamic if candidate.counts[0] >= 3]
        if len(long) == 1 and _one_patient(dynamic):
            problems += [Problem(f"A second series was not taken for the dynamic one: {c.label}.") for c in dynamic if c is not long[0]]
            dynamic = long
        else:
            reasons.append(f"{len(dynamic)} dynamic series{_whose(dynamic, ' of one patient')}")
    if len(ultrasound) > 1:
        # Pictures that nobody claims, beside DICOM that says what it is, are the only ones set aside without asking.
        sure = [candidate for candidate in ultrasound if candidate.confidence != "question"]
        nameless = all(not candidate.patient.id and not candidate.patient.name for candidate in ultrasound if candidate not in sure)
        if len(sure) == 1 and nameless:
            problems += [Problem(f"Not taken for this patient's ultrasound: {c.label}.") for c in ultrasound if c is not sure[0]]
            ultrasound = sure
        else:
            reasons.append(f"ultrasound{_whose(ultrasound, ' of several examinations of one patient')}")
    if reasons:
        return None, f"The files hold {' and '.join(reasons)}: choose what is to be read together.", problems
    selection = Selection(dynamic[0].key if dynamic else None, ultrasound[0].key if ultrasound else None)
    return selection, "", problems


def _one_patient(candidates: Sequence[Candidate]) -> bool:
    first = candidates[0].patient
    return all(not first.differs_from(candidate.patient) for candidate in candidates[1:])


def _whose(candidates: Sequence[Candidate], one: str) -> str:
    if not any(candidate.patient.id or candidate.patient.name for candidate in candidates):
        return " that name no patient"
    return one if _one_patient(candidates) else " of several patients"


def _nothing(path: Path, others: Sequence[OtherSeries], account: Account) -> str:
    name = shown(path.name)
    count = len(account.uses)
    if count == 1 and name in account.uses and not account.problems:
        return f"«{name}» cannot be shown: {account.uses[name].why_not}. DICOM, NIfTI, NRRD, MetaImage, PNG and JPEG can."
    if others:
        found = ", ".join(sorted({other.role for other in others})[:4])
        return f"«{name}» holds no dynamic MRI and no ultrasound, only: {found}. Open the folder that has the dynamic series."
    if account.problems:
        return f"«{name}» holds no image that can be read. {account.problems[0].text}"
    files = "is empty" if count == 0 else f"holds {count} file{'s' * (count != 1)}, none of them an image that this program reads"
    return f"«{name}» {files} (DICOM, NIfTI, NRRD, MetaImage, PNG, JPEG)."


def chosen_files(files: Sequence[FileUse], names: set[str]) -> dict[str, FileUse]:
    """Return the account of a study: of files that were used for candidates, only those in `names` stay used."""

    def stays(use: FileUse) -> bool:
        return not use.used_as or use.file in names or use.used_as.startswith(("archive of", "values of"))

    return {use.file: use if stays(use) else FileUse(use.file, "", "not chosen") for use in files}
