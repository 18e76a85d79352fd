"""How soon the window is on the screen beside a window of Qt alone, how soon a first image is seen, how fast images repaint."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PySide6.QtCore import QEventLoop

from breastai_gui.services.application import Application
from breastai_gui.services.places import Places
from breastai_gui.services.session import Session
from breastai_gui.views.gui_thread import GuiThread
from breastai_gui.views.main_window import MainWindow
from breastai_gui.views.reading.mri_pictures import first_look
from breastai_gui.views.reading.reading_page import ReadingPage
from dicom_files import write_dce
from phantoms import LESION_MM, simple_assessment, simple_study

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication
    from pytestqt.qtbot import QtBot

MOST_S = 0.8
FIRST_IMAGE_S = 1.0
FRAME_MS = 16.0
ROUNDS = 7

QT_ONLY = """
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QMainWindow
class Window(QMainWindow):
    def paintEvent(self, event):
        QTimer.singleShot(0, qt.quit)
qt = QApplication(["qt"])
window = Window()
window.resize(1366, 740)
window.show()
qt.exec()
"""
OURS = """
import os
from breastai_gui.views import app
qt = app.started(["breastai"])
home = app.GuiThread()
application = app.Application(app.Places(), home.post)
app.apply_theme(qt, "dark")
window = app.MainWindow(application)
window.firstPainted.connect(lambda: os._exit(0))
window.show()
qt.exec()
"""


def seconds(code: str) -> tuple[float, float]:
    """Return wall and processor seconds of a fresh interpreter that ends at its first paint."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.speed
def test_the_window_is_on_screen_within_eight_tenths_of_a_second() -> None:
    """Wall time, the fastest of interleaved pairs: the one that other work on the machine disturbed least."""
    seconds(QT_ONLY)
    seconds(OURS)
    pairs = [(seconds(QT_ONLY), seconds(OURS)) for _ in range(ROUNDS)]
    qt_wall, our_wall = (min(pair[which][0] for pair in pairs) for which in (0, 1))
    qt_cpu, our_cpu = (min(pair[which][1] for pair in pairs) for which in (0, 1))
    median = statistics.median(pair[1][0] for pair in pairs)
    print(f"\nfirst paint: {our_wall:.2f} s (limit {MOST_S} s; median {median:.2f} s), Qt alone {qt_wall:.2f} s")
    print(f"ratio to Qt alone {our_wall / qt_wall:.1f}; processor time {our_cpu:.2f} s, Qt alone {qt_cpu:.2f} s")
    assert our_wall <= MOST_S


@pytest.mark.speed
def test_the_first_image_is_seen_within_a_second_of_the_drop(qtbot: QtBot, qapp: QApplication, tmp_path: Path) -> None:
    """From the drop of 1,000 files to the picture on the loading page; the fastest of some, the reader process running."""
    write_dce(tmp_path / "exam", phases=10, slices=100, rows=32, columns=32)
    files = [path for path in (tmp_path / "exam").rglob("*") if path.is_file()]
    assert len(files) == 1000
    home = GuiThread()
    window = MainWindow(Application(Places(), home.post))
    qtbot.addWidget(window)
    window.resize(1366, 740)
    window.show()
    qtbot.waitExposed(window)
    window.application.reader.start()
    qtbot.wait(2000)  # the window starts it when it is first painted, long before a folder is dropped
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        window.open_path(tmp_path / "exam")
        while window.loading.picture.picture is None:
            qapp.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents, 20)
            assert time.perf_counter() - begin < 30
        window.loading.picture.viewport().repaint()
        times.append(time.perf_counter() - begin)
        qtbot.waitUntil(lambda: window.page is not None and window.idle, timeout=60000)
        window.close_exam()
    print(f"\nfirst image of 1,000 files: fastest {min(times):.2f} s, of {[round(each, 2) for each in times]} (limit {FIRST_IMAGE_S} s)")
    assert min(times) <= FIRST_IMAGE_S


@pytest.mark.speed
def test_a_slice_step_repaints_three_planes_with_heat_within_a_frame(qtbot: QtBot) -> None:
    study = simple_study()
    session = Session(study)
    page = ReadingPage(session, first_look(study, session.choices))
    qtbot.addWidget(page, before_close_func=lambda page: page.close_down())
    page.resize(1366, 680)
    page.show()
    qtbot.waitExposed(page)
    session.set_assessments((simple_assessment(study),))
    page.viewpoint.set(cursor_mm=LESION_MM, heatmap=True)
    times = []
    for step in range(120):
        start = time.process_time()
        page.step_slice(1 if step % 20 < 10 else -1)
        for pane in page.planes.values():
            pane.viewport().repaint()
        times.append(1000 * (time.process_time() - start))
    middle, slow = np.percentile(times, (50, 95))
    print(f"\nslice step, three planes with heat: median {middle:.1f} ms, 95 % {slow:.1f} ms (limit {FRAME_MS} ms)")
    assert middle <= FRAME_MS
