"""Starts the window, or takes pictures of it where nobody sees it."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, cast

from PySide6.QtCore import QEvent, QEventLoop, QSize
from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import QApplication

from breastai_gui.resource import resource
from breastai_gui.services.application import Application
from breastai_gui.services.failures import log_failure, sentence_of
from breastai_gui.services.places import Places
from breastai_gui.views.gui_thread import GuiThread
from breastai_gui.views.main_window import MainWindow
from breastai_gui.views.theme import THEMES, apply_theme

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from breastai_gui.views.reading.image_area import LayoutName

log = logging.getLogger(__name__)

PICTURE_SIZE = QSize(1600, 900)
PATIENCE_S = 600.0


class ScreenshotError(Exception):
    """The window could not be brought to what was to be pictured; the text is one sentence."""


def run(arguments: list[str], path: Path | None, demo: bool) -> int:
    """Open the window and return the exit code once it is closed.

    Parameters
    ----------
    arguments
        For Qt: the program's name and Qt's own options.
    path
        What to open at once, or None.
    demo
        Open the demo patient at once.
    """
    qt = started(arguments)
    home = GuiThread()
    application = Application(Places(), home.post)
    theme = str(application.settings["theme"])
    apply_theme(qt, theme if theme in THEMES else "dark")
    window = MainWindow(application)
    sys.excepthook = _told_by(window)

    def begin() -> None:
        add_missing_fonts()
        application.warm()
        if demo:
            window.open_demo()
        elif path is not None:
            window.open_path(path)

    window.firstPainted.connect(begin)
    window.show()
    code = qt.exec()
    sys.excepthook = sys.__excepthook__
    discard(qt, window)
    return code


def discard(qt: QApplication, window: MainWindow) -> None:
    """Delete the window while Qt still stands: left to the interpreter's end, the order would be chance."""
    window.close()
    window.deleteLater()
    qt.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def started(arguments: list[str]) -> QApplication:
    """Return the Qt application, made where there is none."""
    QApplication.setApplicationName("BreastAI")
    QApplication.setApplicationDisplayName("BreastAI")
    existing = QApplication.instance()
    return cast("QApplication", existing) if existing is not None else QApplication(arguments or ["breastai"])


def add_missing_fonts() -> None:
    """Load the shipped fonts for writings that this system has none for: a name in any script is readable."""
    wanted = {
        QFontDatabase.WritingSystem.Latin: "NotoSans-Regular.ttf",
        QFontDatabase.WritingSystem.SimplifiedChinese: "wqy-microhei.ttc",
        QFontDatabase.WritingSystem.Arabic: "NotoSansArabic-Regular.ttf",
        QFontDatabase.WritingSystem.Hebrew: "NotoSansHebrew-Regular.ttf",
        QFontDatabase.WritingSystem.Devanagari: "NotoSansDevanagari-Regular.ttf",
        QFontDatabase.WritingSystem.Thai: "NotoSansThai-Regular.ttf",
    }
    folder = resource("fonts")
    for system, name in wanted.items():
        if not QFontDatabase.families(system) and (folder / name).is_file():
            QFontDatabase.addApplicationFont(str(folder / name))


def screenshots(demo_or_path: str | Path, folder: Path) -> list[Path]:
    """Open the real window, load, assess, turn heatmaps on, and save pictures of it.

    Parameters
    ----------
    demo_or_path
        "demo", or what to open.
    folder
        Where the pictures go.

    Raises
    ------
    ScreenshotError
        If the exam could not be read or assessed.
    """
    from pathlib import Path as AnyPath

    folder.mkdir(parents=True, exist_ok=True)
    qt = started([])
    add_missing_fonts()
    home = GuiThread()
    application = Application(Places(), home.post)
    apply_theme(qt, "dark")
    window = MainWindow(application)
    saved: list[AnyPath] = []

    def save(name: str) -> None:
        settle(qt)
        saved.append(folder / f"{name}.png")
        if not window.grab().save(str(saved[-1])):
            raise ScreenshotError(f"The picture {saved[-1]} could not be written.")

    try:
        window.resize(PICTURE_SIZE)
        window.show()
        settle(qt)
        if demo_or_path == "demo":
            window.open_demo()
        else:
            window.open_path(AnyPath(demo_or_path))
        wait_for(qt, lambda: window.page is not None or window.stack.currentWidget() is window.failed, "The exam was not read in time.")
        page = window.page
        if page is None:
            raise ScreenshotError(window.failed.sentence.text())
        wait_for(qt, lambda: window.idle, "The images were not prepared in time.")
        window.predict()
        wait_for(qt, lambda: window.idle, "The model did not answer in time.")
        if not page.session.assessments:
            raise ScreenshotError(window.failure or "The model gave no answer.")
        save("reading-dark")
        page.viewpoint.set(heatmap=True, paired=True, opacity=0.6)
        save("heatmaps-dark")
        apply_theme(qt, "light")
        save("reading-light")
        apply_theme(qt, "dark")
        layouts: tuple[LayoutName, ...] = page.images.available()
        if "ultrasound" in layouts:
            page.images.set_layout("ultrasound")
            page.viewpoint.set(stream="us_agnostic")
            save("ultrasound-dark")
            page.viewpoint.set(stream="mri_agnostic")
        if "volume" in layouts and page.volume is not None:
            page.images.set_layout("volume")
            canvas = page.volume.canvas
            wait_for(qt, lambda: canvas.has_picture or "not work" in canvas.message, "The 3-D view was not drawn in time.")
            settle(qt, 0.6)
            save("volume-dark")
    finally:
        discard(qt, window)
    return saved


def settle(qt: QApplication, seconds: float = 0.3) -> None:
    """Let the window draw what is pending."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        qt.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 30)


def wait_for(qt: QApplication, ready: Callable[[], bool], otherwise: str) -> None:
    """Run the window until something is so; ScreenshotError with that sentence when it takes too long."""
    end = time.monotonic() + PATIENCE_S
    while not ready():
        if time.monotonic() > end:
            raise ScreenshotError(otherwise)
        qt.processEvents(QEventLoop.ProcessEventsFlag.AllEvents | QEventLoop.ProcessEventsFlag.WaitForMoreEvents, 50)


def _told_by(window: MainWindow) -> Callable[[type[BaseException], BaseException, TracebackType | None], None]:
    """Return a hook that shows an unexpected error as one sentence instead of letting a slot fail unseen."""

    def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            window.close()
            return
        log_failure("The window", error.with_traceback(trace))
        window.banner.show_problem(sentence_of(error))

    return tell
