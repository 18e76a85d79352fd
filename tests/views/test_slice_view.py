"""The three MRI planes: linked cursor, grey scale, phases, zoom and heat, right in millimetres of the patient."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt

from breastai_gui.data.study import DceSeries, Grid
from breastai_gui.services.assessment import DEMONSTRATION_SENTENCE
from breastai_gui.services.session import Session
from breastai_gui.views.reading.mri_pictures import first_look
from breastai_gui.views.reading.reading_page import ReadingPage
from breastai_model.case import PhaseHeatmaps
from mouse import drag, move, turn_wheel
from phantoms import LESION_MM, simple_assessment, simple_study

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytestqt.qtbot import QtBot

    from breastai_gui.data.study import Study
    from breastai_gui.views.reading.slice_view import SliceView


def open_page(qtbot: QtBot, study: Study) -> ReadingPage:
    session = Session(study)
    page = ReadingPage(session, first_look(study, session.choices))
    qtbot.addWidget(page, before_close_func=lambda page: page.close_down())
    page.resize(1366, 680)
    page.show()
    qtbot.waitExposed(page)
    return page


@pytest.fixture
def page(qtbot: QtBot) -> Iterator[ReadingPage]:
    page = open_page(qtbot, simple_study())
    page.viewpoint.set(cursor_mm=LESION_MM)
    yield page
    page.close_down()


def crosses_mm(page: ReadingPage) -> dict[str, tuple[float, float, float]]:
    return {name: pane.place_of(*pane.furniture.crosshair) for name, pane in page.planes.items()}  # type: ignore[misc]


def click(qtbot: QtBot, pane: SliceView, row: float, column: float) -> None:
    qtbot.mouseClick(pane.viewport(), Qt.MouseButton.LeftButton, pos=pane.to_screen(row, column).toPoint())


def test_the_wheel_moves_one_slice_and_every_plane_follows(page: ReadingPage) -> None:
    axial, sagittal = page.planes["axial"], page.planes["sagittal"]
    before, row_before = axial.position, sagittal.furniture.crosshair[0]  # type: ignore[index]
    turn_wheel(axial, 1)
    assert axial.position == before + 1
    assert page.viewpoint.look.cursor_mm == pytest.approx((60.0, -40.0, 14.0))  # towards the head by one slice of 4 mm
    assert sagittal.furniture.crosshair[0] == pytest.approx(row_before - 1)  # type: ignore[index]
    assert f"axial  {before + 2}/24" in axial.furniture.top_right[0]
    for _ in range(40):
        turn_wheel(axial, 1)
    assert axial.position == 23


def test_a_click_takes_the_crosshair_there_in_all_three_planes(page: ReadingPage, qtbot: QtBot) -> None:
    coronal = page.planes["coronal"]
    click(qtbot, coronal, 8, 30)
    wanted = coronal.place_of(8, 30)
    assert page.viewpoint.look.cursor_mm == pytest.approx(wanted, abs=2.0)
    for place in crosses_mm(page).values():
        assert place == pytest.approx(page.viewpoint.look.cursor_mm, abs=1e-6 + 2.0)  # half a slice
    assert page.curve is not None
    assert page.curve.curve is not None
    assert page.curve.curve.position_mm == page.viewpoint.look.cursor_mm


def test_the_lesion_is_under_the_crosshair_in_every_plane(page: ReadingPage) -> None:
    page.viewpoint.set(phase=2)
    for pane in page.planes.values():
        row, column = (round(value) for value in pane.furniture.crosshair)  # type: ignore[union-attr]
        assert pane.picture[row, column] == 560  # type: ignore[index]


def test_a_left_drag_changes_the_grey_scale_of_all_planes(page: ReadingPage, qtbot: QtBot) -> None:
    before = page.planes["axial"].window_levels
    qtbot.mousePress(page.planes["axial"].viewport(), Qt.MouseButton.LeftButton, pos=QPoint(100, 100))
    qtbot.mouseRelease(page.planes["axial"].viewport(), Qt.MouseButton.LeftButton, pos=QPoint(100, 100))
    drag(qtbot, page.planes["axial"], Qt.MouseButton.LeftButton, [(30, 0), (30, 0)])
    after = {pane.window_levels for pane in page.planes.values()}
    assert len(after) == 1
    low, high = after.pop()
    assert high - low > 1.1 * (before[1] - before[0])
    page.toggle_mode("subtraction")
    assert page.planes["axial"].window_levels == page.viewpoint.look.subtraction_window  # its own grey scale


def test_right_drag_zooms_all_planes_and_reset_takes_it_back(page: ReadingPage, qtbot: QtBot) -> None:
    drag(qtbot, page.planes["sagittal"], Qt.MouseButton.RightButton, [(0, -30), (0, -30)])
    zooms = {round(pane.zoom, 6) for pane in page.planes.values()}
    assert len(zooms) == 1
    assert zooms.pop() > 1.5
    page.reset()
    assert {pane.zoom for pane in page.planes.values()} == {1.0}


def test_phase_keys_arrows_and_shift_wheel(page: ReadingPage, qtbot: QtBot) -> None:
    page.viewpoint.set(phase=0)
    turn_wheel(page.planes["axial"], 1, Qt.KeyboardModifier.ShiftModifier)
    assert page.viewpoint.look.phase == 1
    page.step_phase(1)
    page.show_phase(4)
    assert page.viewpoint.look.phase == 4
    page.step_phase(1)
    assert page.viewpoint.look.phase == 4  # the last one
    assert page.planes["axial"].furniture.top_left[0].startswith("P4  +450 s")
    qtbot.keyPress(page.planes["axial"], Qt.Key.Key_B)
    assert page.viewpoint.look.phase == 0
    qtbot.keyRelease(page.planes["axial"], Qt.Key.Key_B)
    assert page.viewpoint.look.phase == 4


def test_subtraction_shows_phase_minus_pre(page: ReadingPage) -> None:
    page.viewpoint.set(phase=2)
    page.toggle_mode("subtraction")
    axial = page.planes["axial"]
    dce = page.session.study.dce
    assert dce is not None
    expected = dce.values[2][axial.position].astype(float) - dce.values[0][axial.position]
    np.testing.assert_array_equal(axial.picture, expected)
    assert axial.furniture.top_left[0].startswith("P2 − pre")
    page.toggle_mode("subtraction")
    np.testing.assert_array_equal(axial.picture, dce.values[2][axial.position])


def test_projection_is_the_maximum_and_a_click_finds_the_depth(page: ReadingPage, qtbot: QtBot) -> None:
    page.viewpoint.set(phase=2, cursor_mm=(0.0, 0.0, -40.0))
    page.toggle_mode("mip")
    axial, coronal = page.planes["axial"], page.planes["coronal"]
    dce = page.session.study.dce
    assert dce is not None
    difference = dce.values[2].astype(np.float32) - dce.values[0]
    qtbot.waitUntil(lambda: "projection" in axial.furniture.top_right[0] and float(np.max(axial.picture)) == 340)  # type: ignore[arg-type]
    np.testing.assert_array_equal(axial.picture, difference.max(axis=0))
    np.testing.assert_array_equal(coronal.picture, difference.max(axis=1)[::-1])
    _, row, column = page.pictures.cuts["axial"].from_patient(LESION_MM)  # type: ignore[union-attr]
    click(qtbot, axial, row, column)
    assert page.viewpoint.look.cursor_mm == pytest.approx(LESION_MM, abs=13)  # inside the lesion, though the cursor was 50 mm below
    assert not axial.markable
    page.toggle_mode("mip")
    assert axial.markable


def test_the_phase_before_contrast_has_no_subtraction_of_itself(page: ReadingPage) -> None:
    page.viewpoint.set(phase=0)
    page.toggle_mode("subtraction")
    assert page.viewpoint.look.phase == 1


def hottest_mm(pane: SliceView) -> tuple[float, float, float]:
    drawn = pane.grab().toImage()
    pane.set_overlay(None)
    plain = pane.grab().toImage()
    red = np.array(
        [
            [drawn.pixelColor(x, y).red() - plain.pixelColor(x, y).red() for x in range(0, pane.width(), 3)]
            for y in range(0, pane.height(), 3)
        ]
    )
    rows, columns = np.nonzero(red > 0.8 * red.max())
    row, column = pane.to_picture(pane.viewportTransform().map(pane.mapToScene(QPoint(round(3 * columns.mean()), round(3 * rows.mean())))))
    return pane.place_of(row, column)


def test_the_heatmap_lies_on_the_lesion_and_can_be_switched(page: ReadingPage) -> None:
    panes = page.planes.values()
    assert not page.heatmaps.shown.isEnabled()
    page.session.set_assessments((simple_assessment(page.session.study, trained_on="patients"),))
    assert not any(pane.has_overlay for pane in panes)
    page.heatmaps.toggle()
    assert all(pane.has_overlay for pane in panes)
    page.viewpoint.set(phase=0, crosshair=False, opacity=1.0)
    for pane in panes:
        assert hottest_mm(pane) == pytest.approx(LESION_MM, abs=9)
    page.viewpoint.set(opacity=0.6)
    page.viewpoint.set(stream="us_agnostic")  # a map of the ultrasound has no place on MRI
    assert not any(pane.has_overlay for pane in panes)
    page.heatmaps.next_stream()
    page.heatmaps.next_stream()
    assert page.viewpoint.look.stream == "mri_agnostic"
    assert all(pane.has_overlay for pane in panes)
    assert "40 % of the feature energy" in page.heatmaps.words.text()
    page.heatmaps.toggle()
    assert not any(pane.has_overlay for pane in panes)


def test_both_modalities_can_show_the_map_of_one_sort_side_by_side(page: ReadingPage, qtbot: QtBot) -> None:
    session, panes = page.session, page.planes.values()
    assert page.focus is not None
    assert not page.heatmaps.both.isEnabled()
    session.set_assessments((simple_assessment(session.study, scope="mri", trained_on="patients"),))
    assert not page.heatmaps.both.isEnabled()  # there is no map of the ultrasound
    session.set_assessments((simple_assessment(session.study, trained_on="patients"),))
    page.heatmaps.toggle()
    assert not page.focus.pane.has_overlay
    qtbot.mouseClick(page.heatmaps.both, Qt.MouseButton.LeftButton)
    assert all(pane.has_overlay for pane in (*panes, page.focus.pane))
    pressed = {stream for stream, button in page.heatmaps.streams.items() if button.isChecked()}
    assert pressed == {"mri_agnostic", "us_agnostic"}
    assert "MRI shared: 40 %, US shared: 30 % of the feature energy" in page.heatmaps.words.text()
    page.heatmaps.choose("us_specific")
    assert all(pane.has_overlay for pane in (*panes, page.focus.pane))
    pressed = {stream for stream, button in page.heatmaps.streams.items() if button.isChecked()}
    assert pressed == {"mri_specific", "us_specific"}
    qtbot.mouseClick(page.heatmaps.both, Qt.MouseButton.LeftButton)
    assert not any(pane.has_overlay for pane in panes)


def test_the_heatmap_of_the_phase_that_is_shown_can_be_asked_for(page: ReadingPage, qtbot: QtBot) -> None:
    session, bar, pane = page.session, page.heatmaps, page.planes["axial"]
    assert not bar.one_phase.isEnabled()
    answer = simple_assessment(session.study, trained_on="patients")
    session.set_assessments((answer,))
    page.viewpoint.set(phase=0, crosshair=False, opacity=1.0, heatmap=True)
    mean = hottest_mm(pane)
    with qtbot.waitSignal(bar.phasesRequested, timeout=2000):
        qtbot.mouseClick(bar.one_phase, Qt.MouseButton.LeftButton)
    assert "Reading the phases; the mean is shown until then." in bar.words.text()
    assert hottest_mm(pane) == pytest.approx(mean, abs=1)
    maps = answer.prediction.heatmaps
    assert maps.mri_agnostic is not None
    assert maps.mri_affine is not None
    elsewhere = np.roll(maps.mri_agnostic, -12, axis=3)  # 48 mm towards the right
    phases = np.stack([np.zeros_like(elsewhere), elsewhere, maps.mri_agnostic], axis=1)
    inputs = replace(answer.prediction.inputs, phases=(0, 1, 2))
    whole = PhaseHeatmaps((0, 1, 2), phases, phases, maps.mri_affine)
    session.set_assessments((replace(answer, prediction=replace(answer.prediction, phase_heatmaps=whole, inputs=inputs)),))
    bar.show_phases("")
    assert "pre alone." in bar.words.text()
    page.viewpoint.set(phase=1)
    assert "P1 alone." in bar.words.text()
    assert hottest_mm(pane)[0] == pytest.approx(mean[0] - 48, abs=9)
    page.viewpoint.set(phase=2)
    assert hottest_mm(pane) == pytest.approx(mean, abs=9)
    page.viewpoint.set(phase=3)
    assert not pane.has_overlay
    assert "No heatmap of P3: the network was not given this phase." in bar.words.text()
    asked = []
    bar.phasesRequested.connect(lambda: asked.append(True))
    qtbot.mouseClick(bar.one_phase, Qt.MouseButton.LeftButton)
    assert pane.has_overlay, "the mean again"
    qtbot.mouseClick(bar.one_phase, Qt.MouseButton.LeftButton)
    assert not asked, "they are there"
    page.viewpoint.set(stream="us_agnostic")
    assert not bar.one_phase.isEnabled(), "angles have their own maps"


def test_phases_that_cannot_be_had_are_said_and_a_new_answer_starts_with_the_mean(page: ReadingPage, qtbot: QtBot) -> None:
    session, bar = page.session, page.heatmaps
    answer = simple_assessment(session.study, trained_on="patients")
    session.set_assessments((answer,))
    qtbot.mouseClick(bar.one_phase, Qt.MouseButton.LeftButton)
    bar.show_phases("This model reads all phases of the MRI together: it has no heatmap of a single phase.")
    assert "reads all phases" in bar.words.text()
    assert not bar.one_phase.isChecked()
    assert page.planes["axial"].has_overlay, "the mean is not lost"
    qtbot.mouseClick(bar.one_phase, Qt.MouseButton.LeftButton)
    assert bar.one_phase.isChecked()
    session.set_assessments((replace(answer, made_at=answer.made_at + dt.timedelta(seconds=5)),))
    assert not bar.one_phase.isChecked()
    assert "feature energy" in bar.words.text()


def test_the_demonstration_sentence_is_whole_under_the_images(page: ReadingPage, qtbot: QtBot) -> None:
    page.session.set_assessments((simple_assessment(page.session.study),))
    page.heatmaps.toggle()
    words = page.heatmaps.words
    assert DEMONSTRATION_SENTENCE in words.text()

    def whole() -> bool:
        need = words.fontMetrics().boundingRect(0, 0, words.width(), 1000, int(Qt.TextFlag.TextWordWrap), words.text())
        return words.height() >= need.height() and page.heatmaps.rect().contains(words.geometry())

    for width in (1366, 1280, 1600):
        page.resize(width, 680)
        qtbot.waitUntil(whole, timeout=2000)


def test_a_heatmap_goes_when_what_it_rests_on_changes(page: ReadingPage) -> None:
    page.session.set_assessments((simple_assessment(page.session.study),))
    page.heatmaps.toggle()
    assert "say nothing about this patient" in page.heatmaps.words.text()
    page.session.choose(phases=(0, 1, 2, 3))
    assert not any(pane.has_overlay for pane in page.planes.values())
    assert not page.heatmaps.shown.isChecked()


def test_letters_and_breast_come_from_patient_coordinates(page: ReadingPage) -> None:
    letters = {name: pane.furniture.letters for name, pane in page.planes.items()}
    assert [(each.top, each.bottom, each.left, each.right) for each in letters.values() if each] == [
        ("A", "P", "R", "L"),
        ("H", "F", "A", "P"),
        ("H", "F", "R", "L"),
    ]
    assert page.planes["axial"].furniture.badge[0].startswith("● LEFT BREAST")  # type: ignore[index]
    page.viewpoint.set(cursor_mm=(-60.0, -40.0, 10.0))
    assert page.planes["axial"].furniture.badge[0].startswith("● RIGHT BREAST")  # type: ignore[index]


def test_a_volume_stored_mirrored_is_shown_the_same_way_round(qtbot: QtBot) -> None:
    study = simple_study(views=0)
    dce = study.dce
    assert dce is not None
    affine = dce.grid.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (dce.grid.shape[2] - 1)
    affine[:3, 2] *= -1
    mirrored: DceSeries = replace(dce, values=np.ascontiguousarray(dce.values[..., ::-1]), grid=Grid(dce.grid.shape, affine))
    page = open_page(qtbot, replace(study, dce=mirrored))
    page.viewpoint.set(cursor_mm=LESION_MM, phase=2)
    axial = page.planes["axial"]
    np.testing.assert_array_equal(axial.picture, dce.values[2][axial.position])
    assert axial.furniture.letters is not None
    assert (axial.furniture.letters.left, axial.furniture.letters.right) == ("R", "L")


def test_a_narrow_volume_does_not_name_a_breast(qtbot: QtBot) -> None:
    study = simple_study(views=0)
    dce = study.dce
    assert dce is not None
    shifted = dce.grid.affine.copy()
    shifted[0, 3] += 100.0
    narrow = replace(dce, values=dce.values[..., 50:94].copy(), grid=Grid((24, 80, 44), shifted))
    page = open_page(qtbot, replace(study, dce=narrow))
    assert page.planes["axial"].furniture.badge[0].startswith("○ SIDE UNKNOWN")  # type: ignore[index]


@pytest.mark.parametrize(("frame", "badge"), [("1.2.3", "● LEFT BREAST"), ("", "○ SIDE UNKNOWN")])
def test_one_breast_is_named_only_in_scanner_coordinates(qtbot: QtBot, frame: str, badge: str) -> None:
    study = simple_study(views=0)
    dce = study.dce
    assert dce is not None
    shifted = dce.grid.affine.copy()
    shifted[0, 3] = 1.0
    half = replace(dce, values=dce.values[..., 72:].copy(), grid=Grid((24, 80, 72), shifted), frame_of_reference=frame)
    page = open_page(qtbot, replace(study, dce=half))
    assert page.planes["axial"].furniture.badge[0].startswith(badge)  # type: ignore[index]


def test_double_click_gives_one_plane_the_whole_room_and_back(page: ReadingPage, qtbot: QtBot) -> None:
    sagittal = page.planes["sagittal"]
    small = sagittal.width()
    qtbot.mouseDClick(sagittal.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(60, 60))
    assert not page.planes["axial"].isVisible()
    assert sagittal.width() > 2 * small
    qtbot.mouseDClick(sagittal.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(60, 60))
    assert page.planes["axial"].isVisible()


def test_a_double_click_leaves_the_crosshair_where_it_was(page: ReadingPage, qtbot: QtBot) -> None:
    axial, place = page.planes["axial"], QPoint(60, 60)
    before = page.viewpoint.look.cursor_mm
    qtbot.mouseClick(axial.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert page.viewpoint.look.cursor_mm != before, "the first half of a double click is a click"
    qtbot.mouseDClick(axial.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert page.viewpoint.look.cursor_mm == before


def test_control_double_click_finds_the_grey_scale(page: ReadingPage, qtbot: QtBot) -> None:
    page.viewpoint.set(window=(5000.0, 6000.0))
    qtbot.mouseDClick(page.planes["axial"].viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ControlModifier, QPoint(60, 60))
    low, high = page.viewpoint.look.window
    assert 0 <= low < 220
    assert 220 < high < 700


def test_moving_with_shift_takes_the_crosshair_along(page: ReadingPage) -> None:
    axial = page.planes["axial"]
    move(axial, axial.to_screen(20, 100).toPoint(), Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier)
    assert page.viewpoint.look.cursor_mm == LESION_MM
    move(axial, axial.to_screen(20, 100).toPoint(), Qt.MouseButton.NoButton, Qt.KeyboardModifier.ShiftModifier)
    assert page.viewpoint.look.cursor_mm == pytest.approx((57.0, -80.0, 10.0), abs=2)


def test_the_status_says_place_and_all_phases(page: ReadingPage) -> None:
    assert page.words_at(LESION_MM) == "L 60.0 · A 40.0 · H 10.0 mm   pre 220  P1 500  P2 560  P3 520  P4 480"
    assert page.words_at((400.0, 0.0, 0.0)) == "L 400.0 · P 0.0 · H 0.0 mm · outside the MRI"


def test_the_curve_is_that_of_the_place(page: ReadingPage, qtbot: QtBot) -> None:
    assert page.curve is not None
    assert page.curve.summary() == "peak +155 % · fast, wash-out"
    page.viewpoint.set(cursor_mm=(140.0, 30.0, 40.0))
    assert page.curve.summary() == "No signal before contrast here"


def test_without_times_nothing_is_called_early_and_no_type_is_named(qtbot: QtBot) -> None:
    page = open_page(qtbot, simple_study(times=False, views=0))
    page.viewpoint.set(cursor_mm=LESION_MM)
    assert page.curve is not None
    assert page.curve.summary() == "peak +155 %"
    assert "time unknown" in page.planes["axial"].furniture.top_left[0]
