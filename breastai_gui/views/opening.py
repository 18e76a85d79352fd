"""How an exam comes into the window: read, chosen where a person has to, prepared, and looked over for where to begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PySide6.QtWidgets import QWidget

    from breastai_gui.data.study import Catalogue, ReadProgress, Selection
    from breastai_gui.services.application import Application
    from breastai_gui.services.jobs import Task
    from breastai_gui.services.session import Session
    from breastai_gui.views.reading.reading_page import ReadingPage
    from breastai_gui.views.reading.viewpoint import Look

SUGGESTED_WORDS = "Crosshair at the largest enhancing region: suggested, not a finding."


class Opening(QObject):
    """Opens one exam at a time.

    Signals
    -------
    begun(str)
        With what is being done.
    told(str)
        What is done after the files were read.
    progressed(ReadProgress)
        How far reading has come.
    ready(Session, Look)
        The exam, and what to show first.
    failed(str)
        One sentence.
    cancelled()
        The person gave it up.
    suggested(str)
        The crosshair went to the suggested lesion.
    """

    begun = Signal(str)
    told = Signal(str)
    progressed = Signal(object)
    ready = Signal(object, object)
    failed = Signal(str)
    cancelled = Signal()
    suggested = Signal(str)

    def __init__(self, application: Application, window: QWidget) -> None:
        super().__init__(window)
        self._application = application
        self._window = window
        self._task: Task | None = None
        self._looking: Task | None = None
        self._again: Callable[[], None] | None = None
        self._place: tuple[ReadingPage, tuple[float, float, float]] | None = None

    @property
    def busy(self) -> bool:
        """True while an exam is being read or looked over."""
        return self._task is not None or self._looking is not None

    def open_path(self, path: Path) -> None:
        """Open a folder, a file or a zip."""
        self._begin("Reading the exam", lambda: self.open_path(path))
        self._task = self._application.open(path, self._choose, self._opened, self._fail, self._progress)

    def open_demo(self) -> None:
        """Open the made-up patient."""
        self._begin("Opening the demo patient", self.open_demo)
        self._task = self._application.open_demo(self._opened, self._fail, self._progress)

    def again(self) -> None:
        """Try the last one again."""
        if self._again is not None:
            self._again()

    def cancel(self) -> None:
        """Give up what is being read."""
        if self._task is not None:
            self.give_up()
            self.cancelled.emit()

    def give_up(self) -> None:
        """End what is under way without a word."""
        for task in (self._task, self._looking):
            if task is not None:
                task.cancel()
        self._task = self._looking = None

    def suggest(self, page: ReadingPage) -> None:
        """Look for the largest enhancing region and take the crosshair there, unless the person moved it meanwhile."""
        self._place = None
        if page.pictures is None or page.pictures.pre is None:
            return
        dce, pre, phases, start = page.pictures.dce, page.pictures.pre, page.pictures.phases, page.viewpoint.look.cursor_mm

        def work(_task: Task) -> tuple[float, float, float] | None:
            from breastai_gui.services.kinetics import suggested_lesion_mm

            return suggested_lesion_mm(dce, pre, phases)

        def done(found: tuple[float, float, float] | None) -> None:
            self._looking = None
            if found is None:
                return
            self._place = (page, found)
            if page.viewpoint.look.cursor_mm == start and page.session.choices.lesion_mm is None:
                self.go_to_suggested()

        def failed(_error: Exception) -> None:
            self._looking = None  # it is only an offer, and in the log

        self._looking = self._application.jobs.start(work, done, failed)

    def go_to_suggested(self) -> None:
        """Take the crosshair to the suggested lesion, where one was found."""
        if self._place is not None:
            page, place = self._place
            page.viewpoint.set(cursor_mm=place)
            self.suggested.emit(SUGGESTED_WORDS)

    def forget(self) -> None:
        """Leave the exam."""
        self._place = None
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def _begin(self, title: str, again: Callable[[], None]) -> None:
        self.give_up()
        self._again = again
        self.begun.emit(title)

    def _progress(self, progress: ReadProgress) -> None:
        self.progressed.emit(progress)

    def _fail(self, sentence: str) -> None:
        self._task = None
        self.failed.emit(sentence)

    def _choose(self, catalogue: Catalogue, answer: Callable[[Selection | None], None]) -> None:
        from breastai_gui.views.choose_dialog import CatalogueDialog

        dialog = CatalogueDialog(catalogue, self._window)

        def finished(_result: int) -> None:
            selection = dialog.selection()
            answer(selection)
            dialog.deleteLater()
            if selection is None:
                self.cancel()

        dialog.finished.connect(finished)
        dialog.open()

    def _opened(self, session: Session) -> None:
        from breastai_gui.views.reading.mri_pictures import first_look

        study, choices = session.study, session.choices
        self.told.emit("Preparing the images")

        def done(look: Look) -> None:
            self._task = None
            self.ready.emit(session, look)

        def failed(_error: Exception) -> None:
            self._fail("The images could not be prepared; what went wrong is in the program's log file.")

        self._task = self._application.jobs.start(lambda _task: first_look(study, choices), done, failed)
