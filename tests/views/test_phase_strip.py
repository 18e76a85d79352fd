"""The row of phases: names, times, what is left out, running through them, and the heatmap's bar below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PySide6.QtCore import Qt

from breastai_gui.services.session import Session
from breastai_gui.views.reading.heatmap_bar import HeatmapBar
from breastai_gui.views.reading.mri_pictures import PlanePictures, first_look
from breastai_gui.views.reading.phase_strip import PhaseStrip
from breastai_gui.views.reading.viewpoint import Viewpoint
from phantoms import simple_assessment, simple_study

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from breastai_gui.data.study import Study


def make(qtbot: QtBot, study: Study) -> tuple[PhaseStrip, Session, Viewpoint]:
    session = Session(study)
    assert study.dce is not None
    viewpoint = Viewpoint(first_look(study, session.choices))
    pictures = PlanePictures(session, study.dce)
    strip = PhaseStrip(session, viewpoint, pictures)
    pictures.setParent(strip)
    qtbot.addWidget(strip)
    strip.resize(760, 60)
    strip.show()
    qtbot.waitExposed(strip)
    return strip, session, viewpoint


def test_phases_stand_in_order_with_their_times(qtbot: QtBot) -> None:
    strip, _, _ = make(qtbot, simple_study())
    assert [button.text() for button in strip.buttons] == ["pre -60 s", "P1 75 s", "P2 150 s", "P3 240 s", "P4 450 s"]
    places = [button.geometry().left() for button in strip.buttons]
    assert places == sorted(places)


def test_unknown_times_are_said_to_be_unknown(qtbot: QtBot) -> None:
    strip, _, _ = make(qtbot, simple_study(times=False))
    assert all("time unknown" in button.text() for button in strip.buttons)
    assert "time unknown" in strip.buttons[0].toolTip()


def test_a_click_shows_that_phase(qtbot: QtBot) -> None:
    strip, _, viewpoint = make(qtbot, simple_study())
    qtbot.mouseClick(strip.buttons[3], Qt.MouseButton.LeftButton)
    assert viewpoint.look.phase == 3
    assert [button.isChecked() for button in strip.buttons] == [False, False, False, True, False]
    qtbot.mouseClick(strip.next, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(strip.next, Qt.MouseButton.LeftButton)
    assert viewpoint.look.phase == 4
    qtbot.mouseClick(strip.previous, Qt.MouseButton.LeftButton)
    assert viewpoint.look.phase == 3


def test_a_phase_left_out_stays_visible_and_is_skipped(qtbot: QtBot) -> None:
    strip, session, viewpoint = make(qtbot, simple_study())
    session.choose(phases=(0, 1, 3, 4))
    assert [button.text() for button in strip.buttons] == ["pre -60 s", "P1 75 s", "out 150 s", "P2 240 s", "P3 450 s"]
    assert [button.used for button in strip.buttons] == [True, True, False, True, True]
    assert "left out" in strip.buttons[2].toolTip()
    strip.show_number(1)
    qtbot.mouseClick(strip.next, Qt.MouseButton.LeftButton)
    assert viewpoint.look.phase == 3


def test_running_goes_round_and_stops_when_hidden(qtbot: QtBot) -> None:
    strip, _, viewpoint = make(qtbot, simple_study(phases=3))
    viewpoint.set(phase=0)
    seen: list[int] = []
    viewpoint.changed.connect(lambda _before, after: seen.append(after.phase))
    strip.toggle_cine()
    qtbot.waitUntil(lambda: len(seen) >= 4, timeout=6000)
    assert seen[:4] == [1, 2, 0, 1]
    strip.hide()
    assert not strip.running


def test_subtraction_needs_to_know_the_phase_before_contrast(qtbot: QtBot) -> None:
    from dataclasses import replace

    study = simple_study()
    assert study.dce is not None
    strip, session, viewpoint = make(qtbot, replace(study, dce=replace(study.dce, pre=None, pre_confidence="question")))
    assert not strip.subtraction.isEnabled()
    strip.toggle_mode("subtraction")
    assert viewpoint.look.mode == "phase"
    session.choose(pre=0)
    assert strip.subtraction.isEnabled()
    qtbot.mouseClick(strip.subtraction, Qt.MouseButton.LeftButton)
    assert viewpoint.look.mode == "subtraction"


def test_twenty_five_phases_fit(qtbot: QtBot) -> None:
    from dataclasses import replace

    import numpy as np

    study = simple_study(phases=2)
    dce = study.dce
    assert dce is not None
    many = replace(
        dce,
        values=np.repeat(dce.values[:1], 25, axis=0),
        scale=np.tile([1.0, 0.0], (25, 1)),
        times_s=tuple(float(16 * phase) for phase in range(25)),
        phases=dce.phases[:1] * 25,
    )
    strip, _, _ = make(qtbot, replace(study, dce=many))
    strip.resize(860, 60)
    qtbot.wait(20)
    assert strip.minimumSizeHint().width() <= 640  # what is left of 1366 pixels beside the panels and the curve
    assert strip.buttons[24].geometry().right() <= strip.buttons[24].parentWidget().width()


def test_four_maps_can_be_chosen_only_where_they_exist(qtbot: QtBot) -> None:
    study = simple_study(views=0)
    session, viewpoint = Session(study), Viewpoint()
    bar = HeatmapBar(session, viewpoint)
    qtbot.addWidget(bar)
    assert not any(button.isEnabled() for button in bar.streams.values())
    bar.toggle()
    assert not viewpoint.look.heatmap
    assert "F5" in bar.words.text()
    session.set_assessments((simple_assessment(study, scope="mri"),))
    assert [stream for stream, button in bar.streams.items() if button.isEnabled()] == ["mri_agnostic", "mri_specific"]
    bar.next_stream()
    assert viewpoint.look.stream == "mri_specific"
    assert viewpoint.look.heatmap
    bar.opacity.setValue(80)
    assert viewpoint.look.opacity == pytest.approx(0.8)
    bar.fade(-0.3)
    assert bar.opacity.value() == 50
