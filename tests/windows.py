"""What a test puts before a window: an exam in memory, or one in files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from breastai_gui.services.session import Session
from dicom_files import write_dce
from phantoms import simple_dce

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from breastai_gui.data.study import Study
    from breastai_gui.views.main_window import MainWindow


def show(qtbot: QtBot, window: MainWindow, study: Study) -> Session:
    """Show a study as if it had just been read."""
    session = Session(study)
    window.application.session = session
    window.opening._opened(session)
    qtbot.waitUntil(lambda: window.page is not None and window.page.session is session and window.idle, timeout=20000)
    return session


def write_exam(folder: Path, patient: str = "Secret^Name") -> None:
    dce = simple_dce(3)
    write_dce(
        folder,
        3,
        *dce.grid.shape,
        values=dce.values,
        origin=(-143.0, -120.0, -46.0),
        spacing=(2.0, 2.0),
        gap=4.0,
        patient={"PatientName": patient},
    )
