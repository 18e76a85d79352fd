"""The whole window with all its services: opened, dropped on, cancelled, failed, closed; nothing clipped, nothing left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QMimeData, QObject, QPoint, QPointF, QRectF, Qt, QUrl
from PySide6.QtGui import QDropEvent, QFontMetricsF, QKeySequence
from PySide6.QtWidgets import QApplication, QCheckBox, QComboBox, QLabel, QPushButton, QToolButton, QWidget

from breastai_gui.data.study import Preview, ReadProgress
from breastai_gui.services.annotations import DCE, Annotation
from breastai_gui.services.application import Application
from breastai_gui.services.places import Places
from breastai_gui.views.actions import ACTIONS
from breastai_gui.views.help_dialogs import KeysDialog
from breastai_gui.views.panel_parts import Chip, ElidedText
from breastai_gui.views.reading.phase_strip import PhaseButton
from breastai_gui.views.theme import apply_theme
from phantoms import simple_assessment, simple_study
from windows import show, write_exam

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from breastai_gui.views.main_window import MainWindow


def drop(window: MainWindow, *paths: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    action, button, keys = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    window.dropEvent(QDropEvent(QPointF(100, 100), action, data, button, keys))


def read_on(widget: QWidget) -> str:
    """Return what labels say on a widget."""
    return "\n".join(label.text() for label in widget.findChildren(QLabel) if label.isVisibleTo(widget))


def clipped(widget: QWidget) -> list[str]:
    """Return what is written on visible widgets but has no room there, unless it ends in "…" by design."""
    found = []
    for each in widget.findChildren(QWidget):
        if not each.isVisible() or isinstance(each, ElidedText):
            continue
        if isinstance(each, QLabel) and each.text():
            room = each.contentsRect()
            flags = int(Qt.TextFlag.TextWordWrap) if each.wordWrap() else 0
            need = QFontMetricsF(each.font()).boundingRect(QRectF(0, 0, room.width() if flags else 1e5, 1e5), flags, each.text())
            if need.width() > room.width() + 1 or need.height() > room.height() + 1:
                found.append(f"label {each.text()!r}: needs {need.size()}, has {room.size()}")
        elif isinstance(each, (QPushButton, QToolButton, QCheckBox, QComboBox, Chip, PhaseButton)):
            hint = each.minimumSizeHint() if isinstance(each, (PhaseButton, QComboBox)) else each.sizeHint()
            if each.width() < hint.width() - 1 or each.height() < hint.height() - 2:
                text = each.currentText() if isinstance(each, QComboBox) else each.text()
                found.append(f"{type(each).__name__} {text!r}: wants {hint}, has {each.size()}")
    return found


def test_an_exam_dropped_on_the_window_is_read_and_shown(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    write_exam(tmp_path / "病人 1")
    drop(window, tmp_path / "病人 1")
    assert window.stack.currentWidget() is window.loading
    qtbot.waitUntil(lambda: window.page is not None, timeout=30000)
    page = window.page
    assert page is not None
    assert page.session.study.dce is not None
    assert page.session.study.dce.phase_count == 3
    assert set(page.planes) == {"axial", "sagittal", "coronal"}
    assert window.focusWidget() is page.planes["axial"]
    qtbot.waitUntil(lambda: window.idle, timeout=20000)
    assert page.viewpoint.look.cursor_mm == pytest.approx((60.0, -40.0, 10.0), abs=5.0)  # the suggested lesion
    assert "Secret" not in window.windowTitle()


def test_opening_an_exam_shows_no_window_beside_it(window: MainWindow, qtbot: QtBot, qapp: QApplication) -> None:
    """A part that is shown before it has a place would be a window for a moment and take the keys."""
    shown: list[QWidget] = []

    class Watch(QObject):
        def eventFilter(self, watched: QObject, event: QEvent) -> bool:
            if event.type() == QEvent.Type.Show and isinstance(watched, QWidget) and watched.isWindow():
                shown.append(watched)
            return False

    watch = Watch()
    qapp.installEventFilter(watch)
    session = show(qtbot, window, simple_study(views=25, ultrasound_name="Other^Person"))
    session.add_annotation(Annotation("a", "point", DCE, ((40.0, -20.0, 10.0),), (0.0, 0.0, 1.0), "node"))
    session.set_assessments((simple_assessment(session.study, scope="mri"),))
    qapp.removeEventFilter(watch)
    assert shown == []
    assert window.isActiveWindow()


def test_keys_work_on_the_images_and_leave_text_alone(window: MainWindow, qtbot: QtBot) -> None:
    show(qtbot, window, simple_study())
    page = window.page
    assert page is not None
    axial = page.planes["axial"]
    axial.setFocus()
    before = axial.position
    qtbot.keyClick(axial, Qt.Key.Key_Up)
    qtbot.keyClick(axial, Qt.Key.Key_PageUp)
    assert axial.position == before + 6
    qtbot.keyClick(axial, Qt.Key.Key_Home)
    assert axial.position == 0
    qtbot.keyClick(axial, Qt.Key.Key_End)
    assert axial.position == 23
    qtbot.keyClick(axial, "4")
    assert page.viewpoint.look.phase == 3
    qtbot.keyClick(axial, Qt.Key.Key_Left)
    assert page.viewpoint.look.phase == 2
    qtbot.keyClick(axial, "s")
    assert page.viewpoint.look.mode == "subtraction"
    qtbot.keyClick(axial, "l")
    assert page.viewpoint.look.tool == "ruler"
    qtbot.keyClick(axial, Qt.Key.Key_Escape)
    assert page.viewpoint.look.tool == "navigate"
    page.findings.findings.setFocus()
    qtbot.keyClicks(page.findings.findings, "smh 4")
    assert page.findings.findings.toPlainText() == "smh 4"
    assert page.viewpoint.look.mode == "subtraction"
    assert page.viewpoint.look.phase == 2


def test_a_folder_without_images_is_one_sentence_and_one_thing_to_do(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    window.open_path(tmp_path)
    qtbot.waitUntil(lambda: window.stack.currentWidget() is window.failed, timeout=20000)
    sentence = window.failed.sentence.text()
    assert sentence.endswith(".")
    assert "Traceback" not in sentence
    assert window.failed.another.isEnabled()
    write_exam(tmp_path / "exam")
    qtbot.mouseClick(window.failed.retry, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: window.page is not None, timeout=30000)


def test_cancelling_leaves_what_was_open(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    write_exam(tmp_path / "exam")
    window.open_path(tmp_path / "exam")
    qtbot.mouseClick(window.loading.cancel, Qt.MouseButton.LeftButton)
    assert window.stack.currentWidget() is window.empty
    assert "cancelled" in window.empty.note.text()
    show(qtbot, window, simple_study())
    page = window.page
    window.open_path(tmp_path / "exam")
    qtbot.mouseClick(window.loading.cancel, Qt.MouseButton.LeftButton)
    assert window.stack.currentWidget() is page
    assert window.banner.isVisible()
    assert window.banner.sentence == "Opening was cancelled; the exam that was open before is unchanged."
    qtbot.wait(300)
    assert window.page is page


def test_a_cancelled_prediction_says_that_nothing_was_kept(window: MainWindow, qtbot: QtBot) -> None:
    session = show(qtbot, window, simple_study())
    page = window.page
    assert page is not None
    window.predict()
    assert not window.idle
    cancel = next(button for button in page.assessment.findChildren(QPushButton) if button.text() == "Cancel")
    qtbot.mouseClick(cancel, Qt.MouseButton.LeftButton)
    assert window.idle
    assert "Cancelled. Nothing was kept." in read_on(page.assessment)
    assert page.assessment.can_assess
    qtbot.wait(300)
    assert session.assessments == ()


def test_opening_another_exam_and_giving_that_up_says_that_the_prediction_went_too(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    write_exam(tmp_path / "exam")
    show(qtbot, window, simple_study())
    page = window.page
    assert page is not None
    window.predict()
    window.open_path(tmp_path / "exam")
    qtbot.mouseClick(window.loading.cancel, Qt.MouseButton.LeftButton)
    assert window.stack.currentWidget() is page
    assert "Cancelled. Nothing was kept." in read_on(page.assessment)


def test_an_exam_that_cannot_be_read_does_not_close_the_open_one(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    show(qtbot, window, simple_study())
    page = window.page
    window.open_path(tmp_path)
    qtbot.waitUntil(lambda: bool(window.banner.sentence), timeout=20000)
    assert window.stack.currentWidget() is page
    assert window.page is page


def test_two_folders_at_once_are_not_guessed_together(window: MainWindow, tmp_path: Path) -> None:
    drop(window, tmp_path, tmp_path)
    assert window.stack.currentWidget() is window.empty
    assert "one folder" in window.banner.sentence


def test_research_use_only_is_seen_in_every_state(window: MainWindow, qtbot: QtBot) -> None:
    for page in (window.empty, window.loading, window.failed):
        window._show(page)
        assert window.research.isVisible()
        assert window.research.text() == "RESEARCH USE ONLY"
        assert not clipped(window.menuBar())
    show(qtbot, window, simple_study())
    assert window.page is not None
    for layout in window.page.images.available():
        window.page.images.set_layout(layout)
        assert window.research.visibleRegion().boundingRect() == window.research.rect()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_nothing_is_clipped_at_1366_by_768(window: MainWindow, qtbot: QtBot, qapp: QApplication, theme: str) -> None:
    apply_theme(qapp, theme)  # type: ignore[arg-type]
    window.failed.show_sentence("The file S3/IM21.dcm is damaged: 260,628 of 524,288 bytes are there. Copy it again from its source.")
    window.loading.begin("Reading the exam")
    preview = Preview(np.arange(64 * 48).reshape(64, 48), "t1 fl3d dyn, slice 12 of 144")
    window.loading.show_progress(ReadProgress("pixels", 123_456, 234_567, preview))
    for page in (window.empty, window.loading, window.failed):
        window._show(page)
        qtbot.wait(20)
        assert clipped(window) == []
    study = simple_study(phases=6, views=25, order="question", ultrasound_name="Other^Person")
    session = show(qtbot, window, study)
    assert window.page is not None
    for assessments in ((), (simple_assessment(study, scope="mri"), simple_assessment(study, scope="ultrasound"))):
        session.set_assessments(assessments)
        window.page.viewpoint.set(heatmap=True, paired=True, midline=True)
        window.page.set_lesion()
        for layout in window.page.images.available():
            window.page.images.set_layout(layout)
            qtbot.wait(40)
            assert (window.width(), window.height()) == (1366, 740)
            assert clipped(window) == [], layout


@pytest.mark.parametrize(("phases", "views"), [(5, 0), (0, 12), (2, 1)], ids=["mri only", "ultrasound only", "little of both"])
def test_a_missing_modality_leaves_its_room_to_the_other(window: MainWindow, qtbot: QtBot, phases: int, views: int) -> None:
    show(qtbot, window, simple_study(phases=phases, views=views))
    page = window.page
    assert page is not None
    assert bool(page.planes) == bool(phases)
    assert (page.focus is not None) == bool(views)
    shown = page.planes["axial"] if phases else page.focus
    assert shown is not None
    assert shown.isVisible()
    if not (phases and views):
        assert page.images.width() - shown.mapTo(page.images, QPoint(shown.width(), 0)).x() < 450
    assert (page.strip is not None) == bool(phases)
    assert window.actions_["subtraction"].isEnabled() == bool(phases)
    assert clipped(window) == []


def test_no_key_is_given_twice_and_all_are_listed(window: MainWindow, qtbot: QtBot) -> None:
    keys = [QKeySequence(key).toString() for text in ACTIONS for key in text.keys]
    assert "" not in keys
    assert len(keys) == len(set(keys))
    dialog = KeysDialog()
    qtbot.addWidget(dialog)
    listed = " ".join(label.text() for label in dialog.findChildren(QLabel))
    for text in ACTIONS:
        if text.keys and not text.name.startswith("phase_"):
            assert text.words in listed, text.words


def test_every_action_does_something(window: MainWindow) -> None:
    for text in ACTIONS:
        assert window.actions_[text.name].receivers("2triggered(bool)") >= 1, text.name


def test_the_theme_changes_at_once_and_is_kept(window: MainWindow, qapp: QApplication) -> None:
    dark = qapp.palette().window().color().lightness()
    window.actions_["theme_light"].trigger()
    assert qapp.palette().window().color().lightness() > dark + 100
    assert Application(Places(), lambda call: call()).settings["theme"] == "light"


def test_the_badge_says_where_the_model_ran(window: MainWindow, qtbot: QtBot) -> None:
    from dataclasses import replace

    session = show(qtbot, window, simple_study())
    assert "auto" in window.device.text()
    made = simple_assessment(session.study)
    session.set_assessments((made,))
    assert "CPU" in window.device.text()
    fallen = replace(made, prediction=replace(made.prediction, device_note="The GPU has too little memory."))
    session.set_assessments((fallen,))
    assert window.device.text() == "⚠ CPU"
    assert window.device.toolTip() == "The GPU has too little memory."


def test_undo_takes_back_the_last_choice(window: MainWindow, qtbot: QtBot) -> None:
    session = show(qtbot, window, simple_study())
    assert not window.actions_["undo"].isEnabled()
    session.choose(side="left")
    assert window.actions_["undo"].isEnabled()
    window.actions_["undo"].trigger()
    assert session.choices.side is None
    window.actions_["redo"].trigger()
    assert session.choices.side == "left"
