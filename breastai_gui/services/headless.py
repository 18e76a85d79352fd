"""One patient from a folder to a PDF without a window: the same functions as the window, for scripts, clusters and tests."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from breastai_gui import __version__
from breastai_gui.data.reader_process import Reader
from breastai_gui.data.study import Selection
from breastai_gui.services import assessment_json
from breastai_gui.services.application import log_identity, write_report
from breastai_gui.services.assess import AssessError, assess, plan_of, weighed
from breastai_gui.services.assessment import DEMONSTRATION_SENTENCE, OUTSIDE_SENTENCE
from breastai_gui.services.chosen import chosen_views
from breastai_gui.services.demo_patient import demo_patient, make_demo
from breastai_gui.services.models import Models
from breastai_gui.services.predicting import PredictingProcess
from breastai_gui.services.preview import PREVIEW_SENTENCE
from breastai_gui.services.questions import blocking_questions, open_questions
from breastai_gui.services.session import Choices, Session, SessionState
from breastai_gui.services.words import SCOPE_WORDS, TASK_WORDS
from breastai_model.case import MAP_KINDS, STREAMS, TASKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from breastai_gui.data.study import Candidate, Catalogue, Patient, Study
    from breastai_gui.services.places import Places
    from breastai_model.inference.predict import Engine, MapDepth

    Say = Callable[[str], None]

OK, DRAFT = 0, 3
"""Exit codes: all done; a draft, because a question is open that a person must answer. Failures are exceptions."""


class HeadlessError(Exception):
    """What was asked for cannot be done; the text is one sentence, with a list below it where one must choose."""


@dataclass(frozen=True, slots=True)
class AssessRequest:
    """What `breastai assess` was asked for.

    Attributes
    ----------
    folder
        A folder, a file or a zip.
    report, document
        Where the PDF and the JSON go, None for neither.
    device
        "auto", "cuda", "mps" or "cpu".
    patient
        Which patient of several, counted from 1; None where there is one.
    series
        Which dynamic series and ultrasound of several, counted from 1 in the printed list.
    choices
        What the person settled by options.
    heatmaps
        Whether heatmaps are made; without them the answer takes less than half the time.
    contributions
        Whether what each input adds is computed too; it takes about as long as an answer.
    engine
        "torch", "openvino" or "preview"; the last is for a quick look at numbers alone.
    """

    folder: Path
    report: Path | None = None
    document: Path | None = None
    device: str = "auto"
    patient: int | None = None
    series: tuple[int, ...] = ()
    choices: Choices = field(default_factory=Choices)
    heatmaps: bool = True
    contributions: bool = False
    engine: Engine = "torch"


def run_assess(request: AssessRequest, places: Places, say: Say) -> int:
    """Read, assess and write; return the exit code.

    Raises
    ------
    HeadlessError, ReadError, AssessError, PredictError, OSError
        Where nothing could be read, run or written.
    """
    for target in (request.report, request.document):
        if target is not None and (target.is_dir() or (target.parent.exists() and not target.parent.is_dir())):
            raise HeadlessError(f"{target} cannot be written, because a folder or a file is in its way.")
    if request.engine == "preview" and (request.report is not None or request.document is not None or request.heatmaps):
        raise HeadlessError("The fast preview is for a quick look at the numbers: use it with --no-heatmaps, without --report and --json.")
    models = Models(places)
    models.active()  # a model that is missing is said before minutes of reading
    with PredictingProcess() as predicting, Reader() as reader:
        reader.start()
        predicting.start()  # torch is imported while the files are read
        study = read_study(reader, request.folder, request.patient, request.series)
        _check_lesion(study, request.choices.lesion)
        session = Session(study, SessionState(request.choices))
        describe(study, request.choices, say)
        if request.choices.same_patient is not None:
            log_identity(study, request.choices.same_patient, "by option")
        plan = plan_of(study, request.choices)
        if plan.scopes:
            maps: MapDepth = "all" if request.heatmaps else "none"
            session.set_assessments(assess(study, request.choices, models, predicting, request.device, maps=maps, engine=request.engine))
            if request.contributions:
                found = weighed(study, request.choices, session.assessments, models, predicting, request.device, request.engine)
                session.set_assessments(found)
    for assessment in session.assessments:
        say(f"Assessed: {SCOPE_WORDS[assessment.scope]}. {assessment.subject}.")
        if assessment.says_nothing:
            say(f"{DEMONSTRATION_SENTENCE}.")
        if assessment.outside:
            say(f"{OUTSIDE_SENTENCE}.")
        for reason in assessment.outside:
            say(f"  {reason}")
        if not assessment.withheld or request.choices.show_numbers:
            say("  ".join(f"{TASK_WORDS[task]} {assessment.prediction.task(task).probability:.2f}" for task in TASKS))
        if assessment.prediction.precision != "float32":
            say(f"  {PREVIEW_SENTENCE}")
        for note in (*assessment.prediction.inputs.notes, assessment.prediction.device_note):
            if note:
                say(f"  {note}")
    if request.document is not None:
        assessment_json.write(session, __version__, request.document)
        say(f"JSON: {request.document}")
    if request.report is not None:
        write_report(session, request.report)
        say(f"Report: {request.report}")
    if blocking_questions(study, request.choices):
        say("This is a draft, because a person has to decide:")
        for reason in plan.reasons:
            say(f"  {reason}")
        return DRAFT
    if not session.assessments:
        why = " ".join(plan.reasons) or "Neither a dynamic MRI series nor an ultrasound image is in use."
        raise AssessError(f"Nothing can be assessed. {why}")
    for reason in plan.reasons:
        say(f"Left out: {reason}")
    return OK


def _check_lesion(study: Study, lesion: str | None) -> None:
    """Raise HeadlessError with the labels that there are, where none of the ultrasound images names the chosen lesion."""
    lesions = sorted({view.lesion for view in study.ultrasound if view.lesion})
    if lesion is not None and lesion not in lesions:
        there = f"it names {', '.join(lesions)}" if lesions else "it names no lesion"
        raise HeadlessError(f"The ultrasound names no lesion {lesion}: {there}.")


def describe(study: Study, choices: Choices, say: Say) -> None:
    """Say in a few lines what was read, without naming the patient."""
    if study.dce is None:
        say("MRI: none.")
    else:
        size = " x ".join(str(count) for count in study.dce.grid.shape)
        say(f"MRI: {study.dce.phase_count} phases of {size} voxels; {study.dce.order_evidence}; {study.dce.pre_evidence}")
    say(f"Ultrasound: {len(study.ultrasound)} images, {len(chosen_views(study, choices))} of them for the model.")
    used = sum(1 for use in study.files if use.used_as)
    say(f"Files: {len(study.files)} found, {used} used, {len(study.files) - used} not used.")
    for problem in study.problems:
        say(f"Problem: {problem.text}")


def read_study(reader: Reader, path: Path, patient: int | None = None, series: tuple[int, ...] = ()) -> Study:
    """Read what a path holds; where one must choose, by number.

    Raises
    ------
    HeadlessError
        If there is nothing, or a choice is needed that was not made; the text then lists what there is.
    ReadError
        If nothing could be read.
    """
    if not path.exists():
        raise HeadlessError(f"There is no file or folder called {path}.")
    catalogue = reader.scan(path, lambda _: None)
    return reader.load(catalogue, _selection(catalogue, patient, series), lambda _: None)


def _selection(catalogue: Catalogue, patient: int | None, series: tuple[int, ...]) -> Selection:
    if not catalogue.candidates:
        reasons = " ".join(problem.text for problem in catalogue.problems[:3])
        raise HeadlessError(catalogue.choice_reason or f"Nothing here is a dynamic MRI series or an ultrasound image. {reasons}".strip())
    candidates = list(catalogue.candidates)
    if not series and patient is None:
        if catalogue.proposed is not None:
            return catalogue.proposed
        raise HeadlessError(f"{catalogue.choice_reason} Choose with --patient or --series:\n{_listed(candidates)}")
    if series:
        if not all(1 <= number <= len(candidates) for number in series):
            raise HeadlessError(f"--series takes numbers from this list:\n{_listed(candidates)}")
        candidates = [candidates[number - 1] for number in series]
    else:
        groups = _by_patient(candidates)
        if not 1 <= (patient or 0) <= len(groups):
            raise HeadlessError(f"--patient takes a number from 1 to {len(groups)}:\n{_listed(candidates)}")
        candidates = groups[(patient or 0) - 1]
    keys: dict[Literal["dynamic", "ultrasound"], list[str]] = {"dynamic": [], "ultrasound": []}
    for candidate in candidates:
        keys[candidate.kind].append(candidate.key)
    if any(len(found) > 1 for found in keys.values()):
        raise HeadlessError(
            "More than one of a kind is left; name one dynamic series and one ultrasound with --series:\n"
            + _listed(list(catalogue.candidates))
        )
    return Selection(dynamic=next(iter(keys["dynamic"]), None), ultrasound=next(iter(keys["ultrasound"]), None))


def _by_patient(candidates: list[Candidate]) -> list[list[Candidate]]:
    groups: list[tuple[Patient, list[Candidate]]] = []
    for candidate in candidates:
        for who, group in groups:
            if not who.differs_from(candidate.patient):
                group.append(candidate)
                break
        else:
            groups.append((candidate.patient, [candidate]))
    return [group for _, group in groups]


def _listed(candidates: list[Candidate]) -> str:
    of_patient = {id(candidate): number for number, group in enumerate(_by_patient(candidates), 1) for candidate in group}
    return "\n".join(
        f"  {number}. patient {of_patient[id(candidate)]}, {candidate.kind}: {candidate.label}"
        for number, candidate in enumerate(candidates, 1)
    )


def run_demo_report(places: Places, folder: Path, say: Say) -> Path:
    """Write the demo patient's report and JSON into a folder and return where the patient's own files lie."""
    patient = demo_patient(places)
    say("The demo patient is made up: no one was examined.")
    run_assess(AssessRequest(patient, folder / "demo-report.pdf", folder / "demo-report.json"), places, say)
    return patient


def run_check(places: Places, say: Say) -> int:
    """Run the whole program on the demo patient in a temporary folder, with the time of each step; return the exit code.

    Raises
    ------
    HeadlessError
        If a step's result is not what the demo patient must give.
    """
    began = time.perf_counter()
    models = Models(places)
    models.active()

    def step(text: str) -> None:
        nonlocal began
        now = time.perf_counter()
        say(f"{text:<78} {now - began:6.1f} s")
        began = time.perf_counter()

    with tempfile.TemporaryDirectory(prefix="breastai-check-") as name, PredictingProcess() as predicting, Reader() as reader:
        folder = Path(name)
        make_demo(folder / "patient")
        step("Demo patient written as DICOM")
        reader.start()
        predicting.start()
        study = read_study(reader, folder / "patient")
        phases = 0 if study.dce is None else study.dce.phase_count
        _expect(
            phases == 5 and len(study.ultrasound) == 12, f"5 phases and 12 angles were written, {phases} and {len(study.ultrasound)} read"
        )
        _expect(study.phantom and not study.patient_mismatch, "the demo patient was not recognised as such")
        _expect(not open_questions(study, Choices()), "the demo patient left a question open")
        step(f"Read: {phases} phases, {len(study.ultrasound)} ultrasound angles, {len(study.files)} files, no open question")
        session = Session(study)
        session.set_assessments(assess(study, session.choices, models, predicting))
        (assessment,) = session.assessments
        maps = [assessment.prediction.heatmaps.stream(stream) for stream in STREAMS]
        _expect(all(found is not None and len(found) == len(MAP_KINDS) for found in maps), "a heatmap is missing")
        prediction = assessment.prediction
        step(f"Assessed on {prediction.device} ({prediction.engine}, {prediction.precision}): 3 probabilities, 4 heatmaps")
        write_report(session, folder / "report.pdf")
        step(f"Report written and read back: {(folder / 'report.pdf').stat().st_size // 1024} kB")
        assessment_json.write(session, __version__, folder / "report.json")
        step("JSON written")
    say("All is well.")
    return OK


def _expect(holds: bool, complaint: str) -> None:
    if not holds:
        raise HeadlessError(f"The check failed: {complaint}.")
