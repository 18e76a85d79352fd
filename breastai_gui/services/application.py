"""Builds and joins the services: what a window, or a test without one, needs to do everything that the program does."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from psygnal import Signal

from breastai_gui import __version__
from breastai_gui.data.reader_process import Reader, ReadStopped
from breastai_gui.data.study import ReadError, ReadProgress
from breastai_gui.services.annotations import DCE
from breastai_gui.services.assess import assess, completed, phase_by_phase, weighed
from breastai_gui.services.demo_patient import demo_patient
from breastai_gui.services.failures import log, log_failure, sentence_of
from breastai_gui.services.jobs import Cancelled, Jobs, Task
from breastai_gui.services.journal import Journal
from breastai_gui.services.models import ModelError, Models
from breastai_gui.services.predicting import PredictingProcess, PredictingStopped
from breastai_gui.services.session import Session, SessionState, model_choices
from breastai_gui.services.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from breastai_gui.data.study import Catalogue, Selection, Study
    from breastai_gui.services.assessment import Assessment
    from breastai_gui.services.places import Places


class Application:
    """All services of one running program; nothing is global.

    Parameters
    ----------
    places
        Where it may write.
    post
        Takes a function to the thread that answers belong to, the window's; without a window it calls at once.

    Attributes
    ----------
    places, settings, journal, models, reader, predicting, jobs
        The services.
    session
        The study that is open, or None. A late answer for any other is dropped.
    trouble
        Signal with one sentence that belongs to no task: a step that could not be saved.
    """

    trouble = Signal(str)

    def __init__(self, places: Places, post: Callable[[Callable[[], None]], None]) -> None:
        self.places = places
        self._post = post
        self.settings = Settings(places.config / "settings.json")
        self.journal = Journal(places.data / "journal.sqlite")
        self.models = Models(places)
        self.reader = Reader()
        self.predicting = PredictingProcess()
        self.jobs = Jobs(post)
        self.session: Session | None = None
        self._tasks: list[Task] = []

    @property
    def notices(self) -> tuple[str, ...]:
        """What the person should know about settings, saved work and the model in use; empty when all is well."""
        unusable = ""
        try:
            self.models.active()  # this reads the list of models, so a damaged one is told now, not after the first exam
        except (ModelError, OSError) as error:
            unusable = sentence_of(error)
        return tuple(notice for notice in (self.settings.notice, self.journal.notice, self.models.notice, unusable) if notice)

    def warm(self) -> None:
        """Start both child processes without waiting, so that the first exam is quick; called after the first paint."""
        self.reader.start()
        self.predicting.start()

    def open(
        self,
        path: Path,
        choose: Callable[[Catalogue, Callable[[Selection | None], None]], None],
        opened: Callable[[Session], None],
        failed: Callable[[str], None],
        progressed: Callable[[ReadProgress], None],
    ) -> Task:
        """Open a folder, a file or a zip.

        Parameters
        ----------
        path
            What to open.
        choose
            Called where a person must choose, with the catalogue and a function that takes the selection, or None to
            give up; after None nothing else is called.
        opened
            Called with the session, with earlier work on the same files in it.
        failed
            Called with one sentence.
        progressed
            Called as files are read.
        """

        def work(task: Task) -> tuple[Study, SessionState | None]:
            return self._read(task, path, choose)

        return self._open(work, opened, failed, progressed)

    def open_demo(
        self, opened: Callable[[Session], None], failed: Callable[[str], None], progressed: Callable[[ReadProgress], None]
    ) -> Task:
        """Open the made-up patient; its files are written the first time."""

        def work(task: Task) -> tuple[Study, SessionState | None]:
            task.progress(ReadProgress("headers", 0, 0))
            folder = demo_patient(self.places, task)
            return self._read(task, folder, lambda catalogue, answer: answer(catalogue.proposed))

        return self._open(work, opened, failed, progressed)

    def assess(
        self,
        session: Session,
        done: Callable[[], None],
        failed: Callable[[str], None],
        progressed: Callable[[float, str], None],
    ) -> Task:
        """Ask the active model about the session's study; its answer is in `session.assessments` when `done` is called.

        An answer for a study that was closed meanwhile is dropped; one that rests on choices which were changed
        meanwhile is refused with a sentence.
        """
        choices = session.choices

        def work(task: Task) -> tuple[Assessment, ...]:
            task.when_cancelled(self.predicting.stop)
            try:
                return assess(
                    session.study,
                    choices,
                    self.models,
                    self.predicting,
                    str(self.settings["device"]),
                    lambda fraction, text: task.progress((fraction, text)),
                )
            except PredictingStopped:
                raise Cancelled from None
            finally:
                task.when_cancelled(_nothing)

        def deliver(assessments: tuple[Assessment, ...]) -> None:
            if self.session is not session:
                return
            if model_choices(session.choices) != model_choices(choices):
                failed("The phases, angles or side were changed while the model was running: assess again.")
                return
            session.set_assessments(assessments)
            done()

        return self._start(work, deliver, failed, lambda value: progressed(*value), "Assessing")

    def weigh(self, session: Session, told: Callable[[str], None]) -> Task:
        """Compute what each input added to the session's answers; `told` is called with "" when they hold it, else with why not."""
        return self._ask_more(session, weighed, told, "Weighing the inputs")

    def map_phases(self, session: Session, told: Callable[[str], None]) -> Task:
        """Compute the MRI heatmaps of each single phase for the session's answers; `told` as in `weigh`."""
        return self._ask_more(session, phase_by_phase, told, "Reading the phases")

    def _ask_more(self, session: Session, ask: Callable[..., tuple[Assessment, ...]], told: Callable[[str], None], title: str) -> Task:
        """Ask the model for more about answers that it gave; what comes for answers of before is dropped."""
        choices, assessments = session.choices, session.assessments

        def work(task: Task) -> tuple[Assessment, ...]:
            task.when_cancelled(self.predicting.stop)
            try:
                return ask(session.study, choices, assessments, self.models, self.predicting, str(self.settings["device"]))
            except PredictingStopped:
                raise Cancelled from None
            finally:
                task.when_cancelled(_nothing)

        def deliver(found: tuple[Assessment, ...]) -> None:
            whole = completed(session.assessments, found)
            if self.session is session and whole is not None:
                session.set_assessments(whole)
                told("")

        return self._start(work, deliver, told, None, title)

    def export_report(self, session: Session, path: Path, done: Callable[[Path], None], failed: Callable[[str], None]) -> Task:
        """Write the report of the session as it is now; `done` is called once the file was read back."""
        frozen = Session(session.study, session.state)  # what the person does meanwhile is not half in the report
        frozen.set_assessments(session.assessments)

        def work(_: Task) -> Path:
            write_report(frozen, path)
            return path

        task = self._start(work, done, failed, None, "Writing the report")
        self._tasks.remove(task)  # a report that was asked for is finished, whatever is opened next
        return task

    def close_session(self) -> None:
        """Leave the open study; what is under way for it is given up."""
        self._cancel_all()
        self.session = None

    def close(self) -> None:
        """End everything that is under way and every process but a training."""
        self.close_session()
        self.reader.stop()
        self.predicting.stop()
        self.jobs.close()
        self.journal.close()

    def _open(
        self,
        work: Callable[[Task], tuple[Study, SessionState | None]],
        opened: Callable[[Session], None],
        failed: Callable[[str], None],
        progressed: Callable[[ReadProgress], None],
    ) -> Task:
        self._cancel_all()

        def deliver(read: tuple[Study, SessionState | None]) -> None:
            study, state = read
            session = Session(study, state)
            self.journal.follow(session, failed=self.trouble.emit)
            follow_identity(session)
            self.session = session
            opened(session)

        return self._start(work, deliver, failed, progressed, "Opening")

    def _read(
        self, task: Task, path: Path, choose: Callable[[Catalogue, Callable[[Selection | None], None]], None]
    ) -> tuple[Study, SessionState | None]:
        answered = threading.Event()

        def give_up() -> None:
            self.reader.stop()
            answered.set()

        task.when_cancelled(give_up)
        try:
            catalogue = self.reader.scan(path, task.progress)
            selection = catalogue.proposed
            if selection is None:
                if not catalogue.candidates:
                    raise ReadError(catalogue.choice_reason or "Nothing here is a dynamic MRI series or an ultrasound image.")
                selection = self._ask(task, choose, catalogue, answered)
            study = self.reader.load(catalogue, selection, task.progress)
        except ReadStopped:
            raise Cancelled from None
        finally:
            task.when_cancelled(_nothing)
        state = self.journal.latest(study.key)
        return study, None if state is None else fitting(state, study)

    def _ask(
        self,
        task: Task,
        choose: Callable[[Catalogue, Callable[[Selection | None], None]], None],
        catalogue: Catalogue,
        answered: threading.Event,
    ) -> Selection:
        chosen: list[Selection | None] = []

        def answer(selection: Selection | None) -> None:
            chosen.append(selection)
            answered.set()

        self._post(lambda: None if task.cancelled else choose(catalogue, answer))
        answered.wait()
        if not chosen or chosen[0] is None or task.cancelled:
            raise Cancelled
        return chosen[0]

    def _start(
        self,
        work: Callable[[Task], object],
        done: Callable[..., None],
        failed: Callable[[str], None],
        progressed: Callable[..., None] | None,
        doing: str,
    ) -> Task:
        def fail(error: Exception) -> None:
            log_failure(doing, error)
            failed(sentence_of(error))

        task = self.jobs.start(work, done, fail, progressed)
        self._tasks.append(task)
        return task

    def _cancel_all(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()


def write_report(session: Session, path: Path) -> None:
    """Write the PDF; it is read back before it takes the place of an older one.

    Raises
    ------
    OSError
        If it could not be written.
    """
    from breastai_gui.services import report, report_pdf

    report_pdf.write(report.compose(session, __version__), path)


def follow_identity(session: Session) -> None:
    """Log, from now on, each time the person settles whether MRI and ultrasound show one patient."""
    settled = session.choices.same_patient

    def noted(state: SessionState) -> None:
        nonlocal settled
        if state.choices.same_patient != settled:
            settled = state.choices.same_patient
            log_identity(session.study, settled, "in the window")

    session.state_added.connect(noted)


def log_identity(study: Study, same_patient: bool | None, how: str) -> None:
    """Write who overrode the identity check: which study, never whose."""
    if study.patient_mismatch:
        what = {True: "confirmed", False: "denied", None: "left open"}[same_patient]
        log.info("That MRI and ultrasound show the same patient was %s %s, study %s", what, how, study.key[:16])


def fitting(state: SessionState, study: Study) -> SessionState:
    """Return the state without what does not belong to this study: phases, views and marks that it does not have.

    The same files give the same study, but a later version of the reader may find fewer or more in them; nothing is
    then carried over to another phase or view.
    """
    count = 0 if study.dce is None else study.dce.phase_count
    views = {view.id for view in study.ultrasound}
    choices = state.choices
    if choices.phases is not None and not all(0 <= phase < count for phase in choices.phases):
        choices = replace(choices, phases=None, phases_confirmed=False)
    if choices.pre is not None and not 0 <= choices.pre < count:
        choices = replace(choices, pre=None, phases_confirmed=False)
    if choices.views is not None and not views.issuperset(choices.views):
        choices = replace(choices, views=None)
    choices = replace(choices, show_numbers=False)  # asked for anew each time the exam is opened
    choices = replace(choices, angles=tuple(pair for pair in choices.angles if pair[0] in views))
    marks = tuple(mark for mark in state.annotations if mark.image in views or (mark.image == DCE and count))
    return replace(state, choices=choices, annotations=marks)


def _nothing() -> None:
    """Nothing is left to end."""
