"""The twelve angles and the large view: what is there, what is missing, what is used, where the heat lies."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel

from breastai_gui.services.assess import case_of
from breastai_gui.services.assessment import DEMONSTRATION_SENTENCE, OUTSIDE_SENTENCE
from breastai_gui.services.chosen import chosen_views
from breastai_gui.services.session import Session
from breastai_gui.services.ultrasound_heat import first_heat, on_pixels
from breastai_gui.views.reading.heatmap_bar import HeatmapBar
from breastai_gui.views.reading.ultrasound_focus import UltrasoundFocus
from breastai_gui.views.reading.ultrasound_grid import UltrasoundGrid
from breastai_gui.views.reading.viewpoint import Look, Viewpoint
from breastai_model.case import InDistribution
from phantoms import simple_assessment, simple_study

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from breastai_gui.data.study import Study


def grid_of(qtbot: QtBot, session: Session, viewpoint: Viewpoint | None = None) -> UltrasoundGrid:
    grid = UltrasoundGrid(session, viewpoint or Viewpoint())
    qtbot.addWidget(grid)
    grid.resize(640, 460)
    grid.show()
    return grid


def focus_of(qtbot: QtBot, session: Session, viewpoint: Viewpoint) -> UltrasoundFocus:
    focus = UltrasoundFocus(session, viewpoint)
    qtbot.addWidget(focus)
    focus.resize(500, 420)
    focus.show()
    return focus


def words(focus: UltrasoundFocus | UltrasoundGrid) -> str:
    QApplication.processEvents()
    return "\n".join(label.text() for label in focus.findChildren(QLabel) if label.isVisibleTo(focus))


def without(study: Study, *numbers: int) -> Study:
    return replace(study, ultrasound=tuple(view for at, view in enumerate(study.ultrasound) if at not in numbers))


def test_twelve_angles_stand_in_order_with_angle_calibration_and_side(qtbot: QtBot) -> None:
    study = simple_study()
    shuffled = replace(study, ultrasound=tuple(study.ultrasound[at] for at in (5, 3, 11, 0, 1, 2, 4, 10, 9, 8, 7, 6)))
    grid = grid_of(qtbot, Session(shuffled))
    assert [tile.words[0] for tile in grid.tiles] == [f"{15 * number}°" for number in range(12)]
    assert grid.tiles[3].words == ("45°", "left", "0.25 mm")
    assert "from SequenceOfUltrasoundRegions" in grid.tiles[3].toolTip()
    assert "Ultrasound: 12 of 12 views used" in words(grid)


def test_a_missing_angle_leaves_its_cell_and_says_so(qtbot: QtBot) -> None:
    grid = grid_of(qtbot, Session(without(simple_study(), 3, 7)))
    assert grid.tiles[3].words == ("45° missing",)
    assert grid.tiles[7].words == ("105° missing",)
    assert grid.tiles[4].words[0] == "60°"
    assert not grid.tiles[3].isEnabled()


def test_views_without_angle_and_calibration_say_unknown_and_px(qtbot: QtBot) -> None:
    study = simple_study(views=4, spacing=False)
    study = replace(study, ultrasound=tuple(replace(view, angle_deg=None, angle_source="") for view in study.ultrasound))
    grid = grid_of(qtbot, Session(study))
    assert grid.tiles[0].words == ("angle unknown", "left", "px")
    assert "distances are in pixels" in grid.tiles[0].toolTip()
    assert [tile.words for tile in grid.tiles[4:]] == [("no view",)] * 8


def test_an_assumed_angle_is_marked_until_the_person_sets_it(qtbot: QtBot) -> None:
    study = simple_study()
    views = tuple(replace(view, angle_source="position in the order (assumed)") for view in study.ultrasound)
    session = Session(replace(study, ultrasound=views))
    grid = grid_of(qtbot, session)
    assert grid.tiles[2].words[0] == "30° (assumed)"
    dialog = grid.edit_angle(grid.tiles[2])
    assert dialog is not None
    dialog.accept()
    assert grid.tiles[2].words[0] == "30° (you)", "saying that it is right is an answer, too"
    session.undo()
    assert grid.tiles[2].words[0] == "30° (assumed)"


def test_an_edited_angle_moves_the_view_and_reaches_the_model(qtbot: QtBot) -> None:
    session = Session(without(simple_study(), 11))
    grid = grid_of(qtbot, session)
    dialog = grid.edit_angle(grid.tiles[0])
    assert dialog is not None
    dialog.degrees.setValue(165.0)
    dialog.accept()
    assert grid.tiles[0].words == ("0° missing",)
    assert grid.tiles[11].words[0] == "165° (you)"
    assert case_of(session.study, session.choices, "ultrasound").angles_deg[-1] == 165.0
    dialog = grid.edit_angle(grid.tiles[11])
    assert dialog is not None
    dialog.unknown.setChecked(True)
    dialog.accept()
    assert case_of(session.study, session.choices, "ultrasound").angles_deg[-1] is None


def test_d17_of_25_frames_twelve_are_proposed_and_each_can_be_taken_in(qtbot: QtBot) -> None:
    session = Session(simple_study(views=25))
    grid = grid_of(qtbot, session)
    assert "Ultrasound: 12 of 25 views used" in words(grid)
    assert grid.show_all.text() == "All 25"
    grid.show_all.click()
    assert "1/3" in words(grid)
    grid.forward.click()
    assert "not used" in grid.tiles[0].words
    grid.tiles[0].useToggled.emit()
    assert "Twelve views at most: leave one out first." in words(grid)
    assert len(chosen_views(session.study, session.choices)) == 12
    grid.back.click()
    grid.tiles[4].useToggled.emit()
    assert "not used" in grid.tiles[4].words
    assert "Ultrasound: 11 of 25 views used" in words(grid)
    grid.forward.click()
    grid.tiles[0].useToggled.emit()
    assert {view.id for view in chosen_views(session.study, session.choices)} == {f"view-{n:02d}" for n in (0, 1, 2, 3, *range(5, 13))}
    session.undo()
    session.undo()
    assert session.choices.views is None


def test_a_click_selects_and_a_double_click_asks_for_the_room(qtbot: QtBot) -> None:
    viewpoint = Viewpoint()
    grid = grid_of(qtbot, Session(simple_study()), viewpoint)
    assert viewpoint.look.view_id == "view-00", "the first view is in the focus from the start"
    QTest.mouseClick(grid.tiles[5], Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, grid.tiles[5].rect().center())
    assert viewpoint.look.view_id == "view-05"
    with qtbot.waitSignal(grid.maximiseRequested):
        QTest.mouseDClick(grid.tiles[6], Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, grid.tiles[6].rect().center())


def test_a_click_on_the_box_leaves_a_view_out_without_selecting_it(qtbot: QtBot) -> None:
    session, viewpoint = Session(simple_study()), Viewpoint()
    grid = grid_of(qtbot, session, viewpoint)
    tile = grid.tiles[5]
    QTest.mouseClick(tile, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, tile.use_rect().center())
    assert "view-05" not in [view.id for view in chosen_views(session.study, session.choices)]
    assert viewpoint.look.view_id == "view-00"
    assert grid.tiles[5].words == ("75° missing",)


def test_the_picture_keeps_its_shape_in_millimetres(qtbot: QtBot) -> None:
    study = simple_study(views=2)
    stretched = replace(study.ultrasound[0], spacing_mm=(0.5, 0.25))
    grid = grid_of(qtbot, Session(replace(study, ultrasound=(stretched, study.ultrasound[1]))))
    QApplication.processEvents()
    area = grid.tiles[0].picture_rect()
    assert area.width() / area.height() == pytest.approx(160 * 0.25 / (120 * 0.5))


def test_heat_lies_on_the_pixels_that_the_box_names() -> None:
    heat = np.zeros((8, 8), dtype=np.float32)
    heat[2, 6] = 1.0
    drawn = on_pixels(heat, (-20.0, 0.0, 160.0, 160.0), (120, 160))
    assert drawn.shape == (120, 160)
    assert np.unravel_index(drawn.argmax(), drawn.shape)[0] == pytest.approx(29.5, abs=1)
    assert np.unravel_index(drawn.argmax(), drawn.shape)[1] == pytest.approx(129.5, abs=1)
    assert not on_pixels(np.ones((4, 4), dtype=np.float32), (0.0, 0.0, 60.0, 160.0), (120, 160))[60:].any()


def test_heat_is_shown_for_ultrasound_streams_and_used_views_only(qtbot: QtBot) -> None:
    study = simple_study(views=13)
    session, viewpoint = Session(study), Viewpoint()
    answer = simple_assessment(study)
    inputs = replace(answer.prediction.inputs, angles=tuple(range(11)))
    session.set_assessments((replace(answer, prediction=replace(answer.prediction, inputs=inputs)),))
    grid = grid_of(qtbot, session, viewpoint)
    assert not any(tile.has_heat for tile in grid.tiles)
    viewpoint.set(heatmap=True, stream="us_specific")
    assert [tile.has_heat for tile in grid.tiles] == [True] * 11 + [False], "the model did not use the twelfth"
    viewpoint.set(stream="mri_agnostic")
    assert not any(tile.has_heat for tile in grid.tiles)
    assert first_heat(session.assessments, study.ultrasound[12], "us_agnostic", "feature") is None


def test_the_focus_shows_angle_calibration_and_a_scale_in_mm_or_px(qtbot: QtBot) -> None:
    viewpoint = Viewpoint(Look(view_id="view-02"))
    focus = focus_of(qtbot, Session(simple_study()), viewpoint)
    assert "30°" in words(focus)
    assert focus.pane.spacing_mm == (0.25, 0.25)
    bare = focus_of(qtbot, Session(simple_study(spacing=False)), Viewpoint(Look(view_id="view-02")))
    assert bare.pane.spacing_mm is None
    assert "px – not calibrated" in bare.pane.furniture.bottom_left


def test_next_and_previous_angle_by_key_skip_what_is_left_out_and_go_round(qtbot: QtBot) -> None:
    session, viewpoint = Session(simple_study()), Viewpoint(Look(view_id="view-10"))
    focus = focus_of(qtbot, session, viewpoint)
    session.choose(views=tuple(f"view-{n:02d}" for n in range(11)))
    focus.activateWindow()
    qtbot.waitUntil(focus.isActiveWindow)
    QTest.keyClick(focus, Qt.Key.Key_Greater, Qt.KeyboardModifier.ShiftModifier)
    assert viewpoint.look.view_id == "view-00"
    QTest.keyClick(focus, Qt.Key.Key_Comma, Qt.KeyboardModifier.ShiftModifier)
    assert viewpoint.look.view_id == "view-10"


def test_each_view_keeps_its_own_gain_and_reset_gives_the_picture_as_read(qtbot: QtBot) -> None:
    viewpoint = Viewpoint(Look(view_id="view-02"))
    focus = focus_of(qtbot, Session(simple_study()), viewpoint)
    port = focus.pane.viewport()
    QTest.mousePress(port, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, QPoint(200, 100))
    QTest.mouseMove(port, QPoint(150, 140))
    QTest.mouseRelease(port, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, QPoint(150, 140))
    low, high = focus.pane.window_levels
    assert high - low < 255.0
    viewpoint.set(view_id="view-03")
    assert focus.pane.window_levels == (0.0, 255.0)
    viewpoint.set(view_id="view-02")
    assert focus.pane.window_levels == (low, high)
    focus.reset()
    assert focus.pane.window_levels == (0.0, 255.0)


def test_the_focus_legend_carries_the_demonstration_sentence(qtbot: QtBot) -> None:
    study = simple_study()
    session, viewpoint = Session(study), Viewpoint(Look(view_id="view-02"))
    session.set_assessments((simple_assessment(study),))
    focus = focus_of(qtbot, session, viewpoint)
    assert not focus.pane.has_overlay
    viewpoint.set(heatmap=True, stream="us_agnostic")
    assert focus.pane.has_overlay
    assert DEMONSTRATION_SENTENCE in words(focus)
    viewpoint.set(heatmap=False)
    assert not focus.pane.has_overlay
    assert DEMONSTRATION_SENTENCE not in words(focus)


def test_an_exam_outside_what_the_model_has_seen_says_so_beside_its_maps(qtbot: QtBot) -> None:
    """Even for weights that learnt from patients; the sentence stands below the ultrasound and in the bar of heatmaps."""
    study = simple_study()
    session, viewpoint = Session(study), Viewpoint(Look(view_id="view-02", heatmap=True, stream="us_agnostic"))
    found = simple_assessment(study, trained_on="patients")
    focus, bar = focus_of(qtbot, session, viewpoint), HeatmapBar(session, viewpoint)
    qtbot.addWidget(bar)
    for inside in (True, False):
        verdict = InDistribution(inside, 0.6 if inside else 4.7, 1.0, () if inside else ("The MRI differs.",))
        session.set_assessments((replace(found, prediction=replace(found.prediction, distribution=verdict)),))
        assert (OUTSIDE_SENTENCE in words(focus)) is not inside
        assert (OUTSIDE_SENTENCE in bar.words.text()) is not inside


def test_without_ultrasound_the_views_say_so(qtbot: QtBot) -> None:
    session, viewpoint = Session(simple_study(views=0)), Viewpoint()
    assert "No ultrasound" in words(grid_of(qtbot, session, viewpoint))
    focus = focus_of(qtbot, session, viewpoint)
    assert focus.pane.furniture.message == "No ultrasound in this exam"
    focus.step(1)
    assert viewpoint.look.view_id is None


def test_a_view_that_was_closed_no_longer_listens(qtbot: QtBot) -> None:
    session, viewpoint = Session(simple_study()), Viewpoint()
    grid = UltrasoundGrid(session, viewpoint)
    focus = UltrasoundFocus(session, viewpoint)
    for widget in (grid, focus):
        widget.deleteLater()
    QApplication.sendPostedEvents(None, 52)  # QEvent.DeferredDelete
    QApplication.processEvents()
    session.choose(side="left")
    viewpoint.set(view_id="view-04", heatmap=True, stream="us_agnostic")
    assert viewpoint.look.view_id == "view-04"
