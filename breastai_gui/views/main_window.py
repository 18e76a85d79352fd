"""The window: menus, tools, one exam at a time, and the states before, while and after it is read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from PySide6.QtCore import QByteArray, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QActionGroup, QIcon
from PySide6.QtWidgets import QApplication, QFileDialog, QHBoxLayout, QMainWindow, QStackedWidget, QToolBar, QVBoxLayout, QWidget

from breastai_gui.views.action_handlers import LAYOUTS, TOOLS, connect_actions
from breastai_gui.views.actions import Actions
from breastai_gui.views.opening import Opening
from breastai_gui.views.panel_parts import Chip, ElidedText, follow
from breastai_gui.views.problems import ProblemBanner
from breastai_gui.views.start_pages import EmptyPage, FailedPage, LoadingPage
from breastai_gui.views.theme import THEMES, PanelIcon, Theme, apply_theme

if TYPE_CHECKING:
    from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDragLeaveEvent, QDropEvent, QPaintEvent

    from breastai_gui.services.application import Application
    from breastai_gui.services.jobs import Task
    from breastai_gui.services.session import Session
    from breastai_gui.views.reading.reading_page import ReadingPage
    from breastai_gui.views.reading.viewpoint import Look

TITLE = "BreastAI"


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
        self.failure = ""
        self._assessing: Task | None = None
        self._painted = False
        self.setWindowTitle(TITLE)
        self.setAcceptDrops(True)
        self.setMinimumSize(960, 600)
        self.opening = Opening(application, self)
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
        self._words.setContentsMargins(6, 0, 0, 0)
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
        self._corner = corner = QWidget()  # kept: the menu bar does not own it in Python
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
        bar.setIconSize(QSize(18, 16))
        bar.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        layouts, tools = QActionGroup(self), QActionGroup(self)
        for layout in LAYOUTS:
            layouts.addAction(self.actions_[f"layout_{layout}"])
            bar.addAction(self.actions_[f"layout_{layout}"])
        bar.addSeparator()
        for tool in TOOLS:
            tools.addAction(self.actions_[tool])
            bar.addAction(self.actions_[tool])
        bar.addSeparator()
        for name in ("undo", "redo"):
            bar.addAction(self.actions_[name])
        gap = QWidget()
        gap.setSizePolicy(gap.sizePolicy().Policy.Expanding, gap.sizePolicy().Policy.Preferred)
        bar.addWidget(gap)
        sides: tuple[Literal["left", "right"], ...] = ("left", "right")
        for side in sides:
            action = self.actions_[f"{side}_panel"]
            action.setIcon(QIcon(PanelIcon(side)))
            bar.addAction(action)
            bar.widgetForAction(action).setProperty("quiet", True)
        bar.addSeparator()
        bar.addAction(self.actions_["report"])
        self.addToolBar(bar)
        self.tool_bar = bar
        themes = QActionGroup(self)
        for theme in THEMES:
            themes.addAction(self.actions_[f"theme_{theme}"])

    def _connect(self) -> None:
        connect_actions(self)
        for page in (self.empty, self.failed):
            page.folderRequested.connect(self.choose_folder)
        self.empty.fileRequested.connect(self.choose_file)
        self.empty.demoRequested.connect(self.open_demo)
        self.failed.retryRequested.connect(self.opening.again)
        self.loading.cancelRequested.connect(self.opening.cancel)
        self.opening.begun.connect(self._begin)
        self.opening.told.connect(self.loading.say)
        self.opening.progressed.connect(self.loading.show_progress)
        self.opening.ready.connect(self._show_session)
        self.opening.failed.connect(self._failed)
        self.opening.cancelled.connect(self._cancelled)
        self.opening.suggested.connect(self._words.setText)
        follow(self.application.trouble, self._show_trouble)
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
        self.opening.open_path(path)

    def open_demo(self) -> None:
        """Open the made-up patient."""
        self.opening.open_demo()

    def close_exam(self) -> None:
        """Close the exam; what was done is saved already."""
        self.application.close_session()
        self._drop_page()
        self.empty.say("")
        self._show(self.empty)

    @property
    def idle(self) -> bool:
        """True while nothing is being read, prepared or predicted."""
        return self._assessing is None and not self.opening.busy

    def _begin(self, title: str) -> None:
        if self.page is not None:
            self.page.findings.flush()
            if self._assessing is not None:
                self.page.assessment.show_cancelled()
        self._assessing = None  # the application gives up what is under way for the exam before
        self.loading.begin(title)
        self.banner.clear()
        self._show(self.loading)

    def _cancelled(self) -> None:
        """Show the exam that was open before, or none."""
        self.empty.say("Opening was cancelled. Nothing was changed.")
        self._show(self.page or self.empty)
        if self.page is not None:
            self.banner.show_notice("Opening was cancelled; the exam that was open before is unchanged.")

    def _failed(self, sentence: str) -> None:
        self.failed.show_sentence(sentence)
        self._show(self.page or self.failed)
        if self.page is not None:  # the exam that was open is not lost for one that cannot be read
            self.banner.show_problem(sentence)

    def _show(self, page: QWidget) -> None:
        self.stack.setCurrentWidget(page)
        self._page_changed()

    def _show_session(self, session: Session, look: Look) -> None:
        from breastai_gui.views.reading.reading_page import ReadingPage

        self._drop_page()
        opacity = min(1.0, max(0.05, float(self.application.settings["heatmap_opacity"])))
        self.page = page = ReadingPage(session, look)
        page.viewpoint.set(opacity=opacity)
        page.assessRequested.connect(self.predict)
        page.cancelRequested.connect(self.cancel_prediction)
        page.assessment.weighRequested.connect(lambda: self.application.weigh(session, page.assessment.show_weighed))
        page.heatmaps.phasesRequested.connect(lambda: self.application.map_phases(session, page.heatmaps.show_phases))
        page.spoke.connect(self._words.setText)
        page.images.layoutChanged.connect(self._page_changed)
        follow(page.viewpoint.changed, self._looked)
        follow(session.changed, self._session_changed)
        self.actions_.give_to_images(page.images)
        self.stack.addWidget(page)
        self._show(page)
        page.take_focus()
        page.set_smooth(self.actions_["smooth"].isChecked())
        self.opening.suggest(page)

    def _drop_page(self) -> None:
        if self.page is not None:
            self.application.settings["heatmap_opacity"] = float(self.page.viewpoint.look.opacity)
            self.page.close_down()
            self.stack.removeWidget(self.page)
            self.page.deleteLater()
            self.page = None
        self.opening.forget()
        self._assessing = None
        self._words.setText("")

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
            self.failure = sentence
            if self.page is page:
                page.assessment.show_failed(sentence)

        self._assessing = self.application.assess(page.session, done, failed, page.assessment.show_running)

    def cancel_prediction(self) -> None:
        """Give the prediction up."""
        if self._assessing is not None and self.page is not None:
            self._assessing.cancel()
            self._assessing = None
            self.page.assessment.show_cancelled()

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

    def set_theme(self, theme: Theme) -> None:
        """Change the look of the whole program and keep it."""
        apply_theme(cast("QApplication", QApplication.instance()), theme)
        self.application.settings["theme"] = theme
        self.actions_[f"theme_{theme}"].setChecked(True)

    def _looked(self, _before: Look, after: Look) -> None:
        self.actions_[after.tool].setChecked(True)
        for name in ("crosshair", "midline"):
            self.actions_[name].setChecked(getattr(after, name))

    def _session_changed(self) -> None:
        page = self.page
        self.actions_["undo"].setEnabled(page is not None and page.session.can_undo)
        self.actions_["redo"].setEnabled(page is not None and page.session.can_redo)
        self.actions_["forget_lesion"].setEnabled(page is not None and page.session.choices.lesion_mm is not None)
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
        for name in LAYOUTS:
            self.actions_[f"layout_{name}"].setVisible(name in there)
            self.actions_[f"layout_{name}"].setChecked(name == page.images.layout_name)
        self._looked(page.viewpoint.look, page.viewpoint.look)
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
        self.opening.give_up()
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
