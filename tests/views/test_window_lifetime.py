"""What outlives an exam and what must not: marks are kept; threads, widgets and references are let go."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
import shiboken6
from PySide6.QtCore import QObject, Qt, QTimer, Signal
from PySide6.QtWidgets import QApplication

from phantoms import simple_study
from windows import show, write_exam

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from breastai_gui.views.main_window import MainWindow


def test_a_mark_is_there_again_when_the_folder_is_opened_again(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    """Drawn with the mouse on an exam read from files; closed; the same files opened again under another name."""
    write_exam(tmp_path / "exam")
    window.open_path(tmp_path / "exam")
    qtbot.waitUntil(lambda: window.page is not None and window.idle, timeout=30000)
    page = window.page
    assert page is not None
    axial = page.planes["axial"]
    window.actions_["ruler"].trigger()
    for row, column in ((20.0, 80.0), (30.0, 110.0)):
        qtbot.mouseClick(axial.viewport(), Qt.MouseButton.LeftButton, pos=axial.to_screen(row, column).toPoint())
    (drawn,) = page.session.annotations
    place = axial.place_of(0, 0)
    window.close_exam()
    assert window.page is None
    (tmp_path / "exam").rename(tmp_path / "moved")
    window.open_path(tmp_path / "moved")
    qtbot.waitUntil(lambda: window.page is not None and window.idle, timeout=30000)
    page = window.page
    assert page is not None
    assert page.session.annotations == (drawn,)
    axial = page.planes["axial"]
    page.viewpoint.set(cursor_mm=place, crosshair=False)
    with_mark = axial.grab().toImage()
    page.session.remove_annotation(drawn.id)
    without = axial.grab().toImage()
    on_line = axial.to_screen(25.0, 95.0).toPoint()
    assert with_mark.pixelColor(on_line) != without.pixelColor(on_line)


@pytest.fixture
def earlier() -> set[int | None]:
    """Child processes that other tests of this worker keep warm."""
    return {child.pid for child in multiprocessing.active_children()}


def test_closing_leaves_no_thread_process_or_timer(earlier: set[int | None], window: MainWindow, qtbot: QtBot) -> None:
    window.application.warm()
    assert {child.pid for child in multiprocessing.active_children()} - earlier
    show(qtbot, window, simple_study())
    page = window.page
    assert page is not None
    page.images.set_layout("volume")
    page.toggle_cine()
    qtbot.wait(200)
    window.close()
    assert window.page is None
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("breastai")]
    assert not {child.pid for child in multiprocessing.active_children()} - earlier
    assert not [timer for timer in page.findChildren(QTimer) if timer.isActive()]


def test_a_closed_exam_is_let_go(window: MainWindow, qtbot: QtBot) -> None:
    import gc
    import weakref

    session = show(qtbot, window, simple_study())
    page = window.page
    assert page is not None
    parts = (page, page.planes["axial"], page.pictures, page.findings, page.volume, page.grid, page.viewpoint)
    deleted = [page, page.planes["axial"], page.findings]
    gone = [weakref.ref(part) for part in parts if part is not None]
    window.close_exam()
    assert window.stack.currentWidget() is window.empty
    QApplication.sendPostedEvents(None, 52)  # QEvent.DeferredDelete
    assert not any(shiboken6.isValid(part) for part in deleted)
    del page, parts, deleted
    gc.collect()
    assert [part() for part in gone] == [None] * len(gone)
    session.choose(side="left")  # nobody listens any more, nothing fails


class Emitter(QObject):
    told = Signal(bool, object)


def test_g1_emitting_signals_keeps_the_count_of_references(qapp: QApplication) -> None:
    """PySide6 6.12.0 on Python 3.11 drops one reference to True at every emit and aborts after about 520."""
    emitter = Emitter()
    heard: list[int] = []
    emitter.told.connect(lambda *_: heard.append(1))
    for value in (True, False, None):
        emitter.told.emit(True, value)
        before = sys.getrefcount(value)
        for _ in range(5000):
            emitter.told.emit(True, value)
        drift = (sys.getrefcount(value) - before) / 5000
        assert drift > -0.01
    assert len(heard) == 15003


@pytest.mark.parametrize("paints", [300, pytest.param(5000, marks=pytest.mark.long)])
def test_g1_painting_keeps_the_count_of_references(window: MainWindow, qtbot: QtBot, paints: int) -> None:
    show(qtbot, window, simple_study())
    assert window.page is not None
    axial = window.page.planes["axial"]
    values = (True, False, None)
    axial.grab()
    before = [sys.getrefcount(value) for value in values]
    for _ in range(paints):
        axial.grab()
    drifts = [(sys.getrefcount(value) - count) / paints for value, count in zip(values, before, strict=True)]
    assert all(drift > -0.01 for drift in drifts)


def test_g9_the_first_paint_needs_no_slow_library() -> None:
    """In a fresh interpreter: what is loaded when the window is first seen."""
    code = """
import sys
from breastai_gui.views import app
qt = app.started(["breastai"])
home = app.GuiThread()
application = app.Application(app.Places(), home.post)
app.apply_theme(qt, "dark")
window = app.MainWindow(application)
slow = "torch vtk vtkmodules SimpleITK pydicom scipy monai reportlab PIL pyqtgraph safetensors".split()

def painted():
    print([name for name in slow if name in sys.modules], window.isVisible())
    qt.quit()

window.firstPainted.connect(painted)
window.show()
qt.exec()
app.discard(qt, window)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[] True"
