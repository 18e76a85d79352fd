"""How soon the window is on the screen, against a window of Qt alone, and how fast four images repaint; run with --long."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from breastai_gui.services.session import Session
from breastai_gui.views.reading.mri_pictures import first_look
from breastai_gui.views.reading.reading_page import ReadingPage
from phantoms import LESION_MM, simple_assessment, simple_study

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

MOST_S = 0.8
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
    """Processor time decides: on a machine with other work to do, the wall clock measures that work."""
    seconds(QT_ONLY)
    seconds(OURS)
    pairs = [(seconds(QT_ONLY), seconds(OURS)) for _ in range(ROUNDS)]
    qt_wall, qt_cpu = (statistics.median(pair[0][which] for pair in pairs) for which in (0, 1))
    our_wall, our_cpu = (statistics.median(pair[1][which] for pair in pairs) for which in (0, 1))
    print(f"\nfirst paint: {our_wall:.2f} s (processor {our_cpu:.2f} s), Qt alone {qt_wall:.2f} s ({qt_cpu:.2f} s)")
    fastest = min(pair[1][0] for pair in pairs)
    print(f"ratio to Qt alone {our_wall / qt_wall:.1f} (processor {our_cpu / qt_cpu:.1f}); limit {MOST_S} s; fastest {fastest:.2f} s")
    assert our_cpu <= MOST_S


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
