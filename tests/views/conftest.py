"""The whole window with all its services, for the tests that need it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from breastai_gui.services.application import Application
from breastai_gui.services.places import Places
from breastai_gui.views.gui_thread import GuiThread
from breastai_gui.views.main_window import MainWindow
from breastai_gui.views.theme import apply_theme

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PySide6.QtWidgets import QApplication
    from pytestqt.qtbot import QtBot


@pytest.fixture
def window(qtbot: QtBot, qapp: QApplication) -> Iterator[MainWindow]:
    style, palette, sheet = qapp.style().name(), qapp.palette(), qapp.styleSheet()
    apply_theme(qapp, "dark")
    home = GuiThread()
    window = MainWindow(Application(Places(), home.post))
    qtbot.addWidget(window)
    window.resize(1366, 740)  # a 1366 x 768 screen less a title bar
    window.show()
    qtbot.waitExposed(window)
    yield window
    window.close()
    qapp.setStyleSheet(sheet)
    qapp.setPalette(palette)
    qapp.setStyle(style)
