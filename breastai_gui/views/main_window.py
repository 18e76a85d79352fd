"""The window: menus, tools, one exam at a time, and the states before, while and after it is read."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from PySide6.QtCore import QByteArray, Qt, QTimer, Signal
from PySide6.QtGui import QActionGroup
from PySide6.QtWidgets import QApplication, QFileDialog, QHBoxLayout, QMainWindow, QStackedWidget, QToolBar, QVBoxLayout, QWidget

from breastai_gui.views.actions import Actions
from breastai_gui.views.panel_parts import Chip, ElidedText, follow
from breastai_gui.views.problems import ProblemBanner
from breastai_gui.views.start_pages import EmptyPage, FailedPage, LoadingPage
from breastai_gui.views.theme import THEMES, Theme, apply_theme

if TYPE_CHECKING:
    from collections.abc import Callable

    from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDragLeaveEvent, QDropEvent, QPaintEvent

    from breastai_gui.data.study import Catalogue, ReadProgress, Selection
    from breastai_gui.services.application import Application
    from breastai_gui.services.jobs import Task
    from breastai_gui.services.session import Session
    from breastai_gui.views.reading.image_area import LayoutName
    from breastai_gui.views.reading.reading_page import ReadingPage
    from breastai_gui.views.reading.viewpoint import Look, Tool

TITLE = "BreastAI"
_TOOLS: tuple[Tool, ...] = ("navigate", "ruler", "ellipse", "polygon", "point")
_LAYOUTS: tuple[LayoutName, ...] = ("reading", "mri", "ultrasound", "volume")


class MainWindow(QMainWindow):
    """One window of the program.

    Parameters
    ----------
    application
        All services; the window ends it when it closes.

    Signals
    -------
    firstPainted
        The window is on the screen: what is slow may begin.
    """

    firstPainted = Signal()

    def __init__(self, application: Application) -> None:
        super().__init__()
        self.application = application
        self.page: ReadingPage | None = None
        self._task: Task | None = None
        self._assessing: Task | None = None
        self._suggesting: Task | None = None
        self._reopen: Callable[[], None] | None = None
        self._painted = False
        self._suggested: tuple[float, float, float] | None = None
        self.setWindowTitle(TITLE)
        self.setAcceptDrops(True)
        self.setMinimumSize(960, 600)
        self.actions_ = Actions(self)
        self.actions_.fill(self.menuBar())
        self._add_badges()
        self._add_tool_bar()
        self.banner = ProblemBanner()
        self.empty, self.loading, self.failed = EmptyPage(), LoadingPage(), FailedPage()
        self.stack = QStackedWidget()
        for page in (self.empty, self.loading, self.failed):
            self.stack.addWidget(page)
        central = QWidget()
        column = QVBoxLayout(central)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.banner)
        column.addWidget(self.stack, 1)
        self.setCentralWidget(central)
        self._words = ElidedText()
        self.statusBar().addWidget(self._words, 1)
        self.statusBar().setSizeGripEnabled(False)
        self._connect()
        self._restore()
        self._page_changed()
        for notice in application.notices:
            self.banner.show_notice(notice)

    # Building -----------------------------------------------------------------------------------------------------

    def _add_badges(self) -> None:
        """Put what must always be seen beside the menus: no layout, dialog or narrow window covers it."""
        corner = QWidget()
        box = QHBoxLayout(corner)
        box.setContentsMargins(0, 2, 6, 0)
        self.device = Chip("", "muted")
        self.research = Chip("RESEARCH USE ONLY", "ai", filled=True)
        self.research.setToolTip("Not a medical device: not for diagnosis or treatment")
        box.addWidget(self.device)
        box.addWidget(self.research)
        self.menuBar().setCornerWidget(corner)

    def _add_tool_bar(self) -> None:
        bar = QToolBar("Layouts and tools")
        bar.setMovable(False)
        bar.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        layouts, tools = QActionGroup(self), QActionGroup(self)
        for name in _LAYOUTS:
            layouts.addAction(self.actions_[f"layout_{name}"])
            bar.addAction(self.actions_[f"layout_{name}"])
        bar.addSeparator()
        for tool in _TOOLS:
            tools.addAction(self.actions_[tool])
            bar.addAction(self.actions_[tool])
        bar.addSeparator()
        for name in ("undo", "redo"):
            bar.addAction(self.actions_[name])
        gap = QWidget()
        gap.setSizePolicy(gap.sizePolicy().Policy.Expanding, gap.sizePolicy().Policy.Preferred)
        bar.addWidget(gap)
        for name in ("left_panel", "right_panel"):
            bar.addAction(self.actions_[name])
        bar.addSeparator()
        bar.addAction(self.actions_["report"])
        self.addToolBar(bar)
        self.tool_bar = bar
        themes = QActionGroup(self)
        for theme in THEMES:
            themes.addAction(self.actions_[f"theme_{theme}"])

    def _connect(self) -> None:
        handlers: dict[str, Callable[[], object]] = {
            "open_folder": self.choose_folder,
            "open_file": self.choose_file,
            "open_demo": self.open_demo,
            "close_exam": self.close_exam,
            "quit": self.close,
            "undo": lambda: self._on_page(lambda page: page.session.undo()),
            "redo": lambda: self._on_page(lambda page: page.session.redo()),
            "previous_phase": lambda: self._on_page(lambda page: page.step_phase(-1)),
            "next_phase": lambda: self._on_page(lambda page: page.step_phase(1)),
            "cine": lambda: self._on_page(lambda page: page.strip and page.strip.toggle_cine()),
            "suggested": self._go_to_suggested,
            "file_account": lambda: self._on_page(lambda page: page.exam.show_files()),
            "previous_layout": lambda: self._on_page(lambda page: page.images.step_layout(-1)),
            "next_layout": lambda: self._on_page(lambda page: page.images.step_layout(1)),
            "subtraction": lambda: self._on_page(lambda page: page.strip and page.strip.toggle_mode("subtraction")),
            "mip": lambda: self._on_page(lambda page: page.strip and page.strip.toggle_mode("mip")),
            "slice_up": lambda: self._on_page(lambda page: page.step_slice(1)),
            "slice_down": lambda: self._on_page(lambda page: page.step_slice(-1)),
            "slices_up": lambda: self._on_page(lambda page: page.step_slice(5)),
            "slices_down": lambda: self._on_page(lambda page: page.step_slice(-5)),
            "first_slice": lambda: self._on_page(lambda page: page.go_to_slice(0)),
            "last_slice": lambda: self._on_page(lambda page: page.go_to_slice(-1)),
            "maximise": lambda: self._on_page(lambda page: page.maximise()),
            "reset": lambda: self._on_page(lambda page: page.reset()),
            "crosshair": lambda: self._on_page(lambda page: page.viewpoint.set(crosshair=self.actions_["crosshair"].isChecked())),
            "smooth": lambda: self._on_page(lambda page: page.set_smooth(self.actions_["smooth"].isChecked())),
            "left_panel": lambda: self._on_page(lambda page: page.exam.setVisible(self.actions_["left_panel"].isChecked())),
            "right_panel": lambda: self._on_page(lambda page: page.right.setVisible(self.actions_["right_panel"].isChecked())),
            "delete_mark": lambda: self._on_page(lambda page: page.tools.delete_selected()),
            "escape": lambda: self._on_page(lambda page: page.escape()),
            "predict": self.predict,
            "heatmap": lambda: self._on_page(lambda page: page.heatmaps.toggle()),
            "next_heatmap": lambda: self._on_page(lambda page: page.heatmaps.next_stream()),
            "fainter": lambda: self._on_page(lambda page: page.heatmaps.fade(-0.1)),
            "stronger": lambda: self._on_page(lambda page: page.heatmaps.fade(0.1)),
            "train": self.open_training,
            "report": self.open_report,
            "keys": self.show_keys,
            "about": self.show_about,
        }
        handlers |= {f"layout_{name}": partial(self._set_layout, name) for name in _LAYOUTS}
        handlers |= {f"theme_{theme}": partial(self.set_theme, theme) for theme in THEMES}
        handlers |= {tool: partial(self._set_tool, tool) for tool in _TOOLS}
        handlers |= {f"phase_{number}": partial(self._show_phase, number - 1) for number in range(1, 10)}
        for name, handler in handlers.items():
            self.actions_[name].triggered.connect(lambda _checked=False, handler=handler: handler())
        for page in (self.empty, self.failed):
            page.folderRequested.connect(self.choose_folder)
        self.empty.fileRequested.connect(self.choose_file)
        self.empty.demoRequested.connect(self.open_demo)
        self.failed.retryRequested.connect(lambda: self._reopen and self._reopen())
        self.loading.cancelRequested.connect(self.cancel_opening)
        follow(self.application.trouble, self._show_trouble)
        self.actions_["crosshair"].setChecked(True)
        self.actions_["smooth"].setChecked(True)

    def _show_trouble(self, sentence: str) -> None:
        self.banner.show_problem(sentence)

    # Opening ------------------------------------------------------------------------------------------------------

    def choose_folder(self) -> None:
        """Ask for a folder and open it."""
        if folder := QFileDialog.getExistingDirectory(self, "Open a patient's folder"):
            self.open_path(Path(folder))

    def choose_file(self) -> None:
        """Ask for a file and open it."""
        file, _ = QFileDialog.getOpenFileName(self, "Open a file or zip")
        if file:
            self.open_path(Path(file))

    def open_path(self, path: Path) -> None:
        """Open a folder, a file or a zip."""
        self._reopen = lambda: self.open_path(path)
        self._begin("Reading the exam")
        self._task = self.application.open(path, self._choose, self._opened, self._failed, self.loading.show_progress)

    def open_demo(self) -> None:
        """Open the made-up patient."""
        self._reopen = self.open_demo
        self._begin("Making the demo patient")
        self._task = self.application.open_demo(self._opened, self._failed, self.loading.show_progress)

    def cancel_opening(self) -> None:
        """Give up what is being read; an exam that was open before stays open."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self.page is not None:
            self.stack.setCurrentWidget(self.page)
        else:
            self.empty.say("Opening was cancelled. Nothing was changed.")
            self.stack.setCurrentWidget(self.empty)
        self._page_changed()

    def close_exam(self) -> None:
        """Close the exam; what was done is saved already."""
        self.application.close_session()
        self._drop_page()
        self.empty.say("")
        self.stack.setCurrentWidget(self.empty)
        self._page_changed()

    def _begin(self, title: str) -> None:
        if self.page is not None:
            self.page.findings.flush()
        if self._task is not None:
            self._task.cancel()
        self._assessing = None
        self.loading.begin(title)
        self.stack.setCurrentWidget(self.loading)
        self.banner.clear()
        self._page_changed()

    def _choose(self, catalogue: Catalogue, answer: Callable[[Selection | None], None]) -> None:
        from breastai_gui.views.choose_dialog import CatalogueDialog

        dialog = CatalogueDialog(catalogue, self)

        def finished(_result: int) -> None:
            selection = dialog.selection()
            answer(selection)
            dialog.deleteLater()
            if selection is None:
                self.cancel_opening()

        dialog.finished.connect(finished)
        dialog.open()

    def _failed(self, sentence: str) -> None:
        self._task = None
        self._drop_page()
        self.failed.show_sentence(sentence)
        self.stack.setCurrentWidget(self.failed)
        self._page_changed()

    def _opened(self, session: Session) -> None:
        from breastai_gui.views.reading.mri_pictures import first_look

        self.loading.say("Preparing the images")
        study, choices = session.study, session.choices
        self._task = self.application.jobs.start(
            lambda _task: first_look(study, choices),
            lambda look: self._show_session(session, look),
            lambda _error: self._failed("The images could not be prepared; what went wrong is in the program's log file."),
        )

    def _show_session(self, session: Session, look: Look) -> None:
        from breastai_gui.views.reading.reading_page import ReadingPage

        self._task = None
        self._drop_page()
        settings = self.application.settings
        opacity = min(1.0, max(0.05, float(settings["heatmap_opacity"])))
        self.page = page = ReadingPage(session, look)
        page.viewpoint.set(opacity=opacity)
        page.assessRequested.connect(self.predict)
        page.cancelRequested.connect(self.cancel_prediction)
        page.spoke.connect(self._words.setText)
        page.images.layoutChanged.connect(self._page_changed)
        follow(page.viewpoint.changed, self._looked)
        follow(session.changed, self._session_changed)
        self.actions_.give_to_images(page.images)
        self.stack.addWidget(page)
        self.stack.setCurrentWidget(page)
        page.take_focus()
        page.set_smooth(self.actions_["smooth"].isChecked())
        self._page_changed()
        self._suggest()

    def _drop_page(self) -> None:
        if self.page is not None:
            self.application.settings["heatmap_opacity"] = float(self.page.viewpoint.look.opacity)
            self.page.close_down()
            self.stack.removeWidget(self.page)
            self.page.deleteLater()
            self.page = None
        if self._suggesting is not None:
            self._suggesting.cancel()
        self._assessing = self._suggesting = self._suggested = None
        self._words.setText("")

    @property
    def idle(self) -> bool:
        """True while nothing is being read, prepared or predicted."""
        return self._task is None and self._assessing is None and self._suggesting is None

    # The suggested lesion -----------------------------------------------------------------------------------------

    def _suggest(self) -> None:
        """Look for the largest enhancing region and take the crosshair there, unless the person moved it meanwhile."""
        page = self.page
        if page is None or page.pictures is None or page.pictures.pre is None:
            return
        dce, pre, phases, start = page.pictures.dce, page.pictures.pre, page.pictures.phases, page.viewpoint.look.cursor_mm

        def work(_task: Task) -> tuple[float, float, float] | None:
            from breastai_gui.services.kinetics import suggested_lesion_mm

            return suggested_lesion_mm(dce, pre, phases)

        def done(found: tuple[float, float, float] | None) -> None:
            self._suggesting = None
            if self.page is not page or found is None:
                return
            self._suggested = found
            if page.viewpoint.look.cursor_mm == start and page.session.choices.lesion_mm is None:
                self._go_to_suggested()

        def failed(_error: Exception) -> None:
            self._suggesting = None

        self._suggesting = self.application.jobs.start(work, done, failed)

    def _go_to_suggested(self) -> None:
        if self.page is not None and self._suggested is not None:
            self.page.viewpoint.set(cursor_mm=self._suggested)
            self._words.setText("Crosshair at the largest enhancing region: suggested, not a finding")

    # Predicting, report, training ---------------------------------------------------------------------------------

    def predict(self) -> None:
        """Ask the model."""
        page = self.page
        if page is None or self._assessing is not None or not page.assessment.can_assess:
            return
        page.assessment.show_running(0.0, "Starting the model")

        def done() -> None:
            self._assessing = None
            if self.page is page:
                page.assessment.show_idle()

        def failed(sentence: str) -> None:
            self._assessing = None
            if self.page is page:
                page.assessment.show_failed(sentence)

        self._assessing = self.application.assess(page.session, done, failed, page.assessment.show_running)

    def cancel_prediction(self) -> None:
        """Give the prediction up."""
        if self._assessing is not None:
            self._assessing.cancel()
            self._assessing = None
        if self.page is not None:
            self.page.assessment.show_idle()

    def open_report(self) -> None:
        """Open the way to a PDF."""
        if self.page is not None:
            from breastai_gui.views.report.report_dialog import ReportDialog

            self.page.findings.flush()
            dialog = ReportDialog(self.application, self.page.session, self)
            dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
            dialog.open()

    def open_training(self) -> None:
        """Open the training wizard; a run outlives it."""
        from breastai_gui.views.training.wizard import TrainingWizard

        wizard = TrainingWizard(self.application, self)
        wizard.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        wizard.show()

    def show_keys(self) -> None:
        """Show every key and what the mouse does."""
        from breastai_gui.views.help_dialogs import KeysDialog

        KeysDialog(self).open()

    def show_about(self) -> None:
        """Show what this is."""
        from breastai_gui.views.help_dialogs import AboutDialog

        AboutDialog(self).open()

    # Actions ------------------------------------------------------------------------------------------------------

    def _on_page(self, act: Callable[[ReadingPage], object]) -> None:
        if self.page is not None:
            act(self.page)

    def _set_layout(self, name: LayoutName) -> None:
        if self.page is not None:
            self.page.images.set_layout(name)

    def _set_tool(self, tool: Tool) -> None:
        if self.page is not None:
            self.page.set_tool(tool)

    def _show_phase(self, number: int) -> None:
        if self.page is not None and self.page.strip is not None:
            self.page.strip.show_number(number)

    def set_theme(self, theme: Theme) -> None:
        """Change the look of the whole program and keep it."""
        apply_theme(cast("QApplication", QApplication.instance()), theme)
        self.application.settings["theme"] = theme
        self.actions_[f"theme_{theme}"].setChecked(True)

    def _looked(self, before: Look, after: Look) -> None:
        if before.tool != after.tool:
            self.actions_[after.tool].setChecked(True)
        if before.crosshair != after.crosshair:
            self.actions_["crosshair"].setChecked(after.crosshair)

    def _session_changed(self) -> None:
        page = self.page
        self.actions_["undo"].setEnabled(page is not None and page.session.can_undo)
        self.actions_["redo"].setEnabled(page is not None and page.session.can_redo)
        self._show_device()

    def _show_device(self) -> None:
        assessments = self.page.session.assessments if self.page is not None else ()
        if not assessments:
            wanted = str(self.application.settings["device"])
            self.device.show_words(f"Device: {wanted}", "muted")
            self.device.setToolTip("Where the model will run; the badge says where it ran after a prediction")
            return
        prediction = assessments[-1].prediction
        name = {"cuda": "GPU", "mps": "GPU", "cpu": "CPU"}.get(prediction.device, prediction.device)
        self.device.show_words(f"⚠ {name}" if prediction.device_note else f"Device: {name}", "ask" if prediction.device_note else "good")
        self.device.setToolTip(prediction.device_note or f"The last prediction ran on the {name}")

    def _page_changed(self) -> None:
        """Enable what makes sense for what is shown."""
        page = self.page if self.page is not None and self.stack.currentWidget() is self.page else None
        study = page.session.study if page is not None else None
        mri, ultrasound = study is not None and study.dce is not None, study is not None and bool(study.ultrasound)
        self.actions_.enable(exam=page is not None, mri=mri, ultrasound=ultrasound)
        self.tool_bar.setVisible(page is not None)
        self._session_changed()
        if page is None:
            return
        there = page.images.available()
        for name in _LAYOUTS:
            self.actions_[f"layout_{name}"].setVisible(name in there)
            self.actions_[f"layout_{name}"].setChecked(name == page.images.layout_name)
        self.actions_[page.viewpoint.look.tool].setChecked(True)
        self.actions_["left_panel"].setChecked(not page.exam.isHidden())
        self.actions_["right_panel"].setChecked(not page.right.isHidden())

    # Events -------------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        """Tell when the window was first seen."""
        super().paintEvent(event)
        if not self._painted:
            self._painted = True
            QTimer.singleShot(0, self.firstPainted.emit)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take files and folders."""
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()
            self.empty.show_drag(True)

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        """Nothing is dropped after all."""
        super().dragLeaveEvent(event)
        self.empty.show_drag(False)

    def dropEvent(self, event: QDropEvent) -> None:
        """Open what was dropped."""
        self.empty.show_drag(False)
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        event.acceptProposedAction()
        if len(paths) == 1:
            self.open_path(paths[0])
        elif paths:
            self.banner.show_notice("Drop one folder, one zip or one file: put the files of one patient into a folder first.")

    def closeEvent(self, event: QCloseEvent) -> None:
        """Keep what was typed and end everything but trainings."""
        settings = self.application.settings
        settings["window_geometry"] = bytes(self.saveGeometry().toBase64().data()).decode("ascii")
        self._drop_page()
        if self._task is not None:
            self._task.cancel()
        self.application.close()
        super().closeEvent(event)

    def _restore(self) -> None:
        settings = self.application.settings
        theme = str(settings["theme"])
        self.actions_[f"theme_{theme if theme in THEMES else 'dark'}"].setChecked(True)
        geometry = str(settings["window_geometry"])
        if not geometry or not self.restoreGeometry(QByteArray.fromBase64(geometry.encode("ascii", "ignore"))):
            room = self.screen().availableGeometry()
            self.resize(min(1600, room.width()), min(960, room.height()))
