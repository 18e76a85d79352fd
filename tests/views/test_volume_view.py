"""The 3-D view: the right way round, turned by the mouse, and a sentence where there is no OpenGL."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt

from breastai_gui.services.session import Session
from breastai_gui.views.reading.mri_pictures import PlanePictures, first_look
from breastai_gui.views.reading.viewpoint import Viewpoint
from breastai_gui.views.reading.volume_renderer import thinned
from breastai_gui.views.reading.volume_view import FROM_FEET, FROM_FRONT, FROM_LEFT, FROM_RIGHT, VolumeView
from phantoms import LESION_MM, simple_grid, simple_study

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

    from breastai_gui.data.study import Study


def make(qtbot: QtBot, study: Study) -> VolumeView:
    session = Session(study)
    assert study.dce is not None
    viewpoint = Viewpoint(first_look(study, session.choices))
    viewpoint.set(crosshair=False)
    pictures = PlanePictures(session, study.dce)
    view = VolumeView(session, viewpoint, pictures)
    pictures.setParent(view)
    qtbot.addWidget(view, before_close_func=lambda view: view.close_down())
    view.resize(420, 360)
    view.show()
    qtbot.waitExposed(view)
    return view


@pytest.fixture
def view(qtbot: QtBot) -> Iterator[VolumeView]:
    view = make(qtbot, simple_study(views=0))
    qtbot.waitUntil(lambda: view.canvas.has_picture or "not work" in view.canvas.message, timeout=20000)
    if not view.canvas.has_picture:
        pytest.skip(f"no OpenGL here: {view.canvas.message}")
    yield view
    view.close_down()


def lesion_on_screen(view: VolumeView) -> tuple[float, float]:
    """Return (right, down) of the bright lesion from the middle of the picture, in mm."""
    drawn = view.canvas.grab().toImage()
    width, height = drawn.width(), drawn.height()
    area = range(30, width - 30, 2), range(30, height - 60, 2)  # without letters, cube and scale bar
    bright = [(x, y) for y in area[1] for x in area[0] if drawn.pixelColor(x, y).lightness() > 200 and not (x < 80 and y > height - 90)]
    assert bright, "nothing bright was drawn"
    x, y = np.mean(bright, axis=0)
    return (x - width / 2) * view.canvas.mm_a_pixel, (y - height / 2) * view.canvas.mm_a_pixel


@pytest.mark.parametrize("axes", [FROM_FRONT, FROM_LEFT, FROM_RIGHT, FROM_FEET], ids=["front", "left", "right", "feet"])
def test_the_lesion_appears_where_the_patient_has_it(view: VolumeView, qtbot: QtBot, axes: NDArray[np.float64]) -> None:
    view.canvas.turn_to(axes)
    qtbot.wait(500)
    grid = simple_grid()
    centre = grid.to_patient((np.asarray(grid.shape) - 1) / 2)
    right, up, _ = axes @ (np.asarray(LESION_MM) - centre)
    assert lesion_on_screen(view) == pytest.approx((right, -up), abs=4.0)


def test_letters_follow_the_view(view: VolumeView, qtbot: QtBot) -> None:
    def letters() -> str:
        edge = view.canvas._furniture.letters
        return "" if edge is None else f"{edge.top}{edge.bottom}{edge.left}{edge.right}"

    for axes, wanted in ((FROM_FRONT, "HFRL"), (FROM_LEFT, "HFAP"), (FROM_RIGHT, "HFPA"), (FROM_FEET, "APRL")):
        view.canvas.turn_to(axes)
        qtbot.waitUntil(lambda wanted=wanted: letters() == wanted)


def test_dragging_to_the_right_turns_what_is_in_front_to_the_right(view: VolumeView, qtbot: QtBot) -> None:
    canvas = view.canvas
    canvas.turn_to(FROM_FRONT)
    front = np.array([0.0, -1.0, 0.0])
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=QPoint(200, 150))
    qtbot.mouseMove(canvas, QPoint(260, 150))
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=QPoint(260, 150))
    assert (canvas.axes @ front)[0] > 0.3
    np.testing.assert_allclose(canvas.axes @ canvas.axes.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(canvas.axes) == pytest.approx(1.0)  # never mirrored
    canvas.turn_to(FROM_FRONT)
    canvas.turn_by(0, 40)
    assert (canvas.axes @ front)[1] < -0.2  # dragged down: the front goes down


def test_shaded_draws_something_else(view: VolumeView, qtbot: QtBot) -> None:
    before = view.canvas.grab().toImage()
    view.canvas.set_style("volume")
    qtbot.waitUntil(lambda: view.canvas.grab().toImage() != before, timeout=5000)


def test_closing_ends_the_thread(view: VolumeView) -> None:
    view.close_down()
    assert not [thread for thread in threading.enumerate() if thread.name == "breastai-volume"]


def test_g7_without_opengl_the_view_says_why(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vtkmodules.vtkRenderingOpenGL2", None)
    view = make(qtbot, simple_study(views=0))
    qtbot.waitUntil(lambda: "not work" in view.canvas.message, timeout=10000)
    assert view.canvas.message == "The 3-D view does not work on this computer (VTK could not be loaded). The planes are not affected."
    view.close_down()


def test_without_a_phase_before_contrast_there_is_nothing_to_subtract(qtbot: QtBot) -> None:
    from dataclasses import replace

    study = simple_study(views=0)
    assert study.dce is not None
    view = make(qtbot, replace(study, dce=replace(study.dce, pre=None, pre_confidence="question")))
    assert "which phase is before contrast" in view.canvas.message
    view.close_down()


@pytest.mark.parametrize("mirrored", [False, True])
def test_thinning_keeps_places_in_the_patient(mirrored: bool) -> None:
    difference = np.zeros((330, 20, 24), np.float32)
    difference[200:206, 5, 7] = 10
    affine = np.array([[0, 0, 1.5, -20], [0, 2.0, 0, -30], [-1.0 if mirrored else 1.0, 0, 0, 12], [0, 0, 0, 1]])
    volume = thinned(difference, affine, 10.0)
    assert max(volume.levels.shape) <= 160
    assert np.linalg.det(volume.affine[:3, 2::-1]) > 0
    bright = np.argwhere(volume.levels > 100)
    place = bright.mean(axis=0) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    wanted = affine[:3, :3] @ [202.5, 5, 7] + affine[:3, 3]
    assert place == pytest.approx(wanted, abs=1.5)


def test_a_single_slice_is_drawn_too(qtbot: QtBot) -> None:
    from dataclasses import replace

    from breastai_gui.data.study import Grid

    study = simple_study(views=0)
    dce = study.dce
    assert dce is not None
    one = replace(dce, values=dce.values[:, 14:15].copy(), grid=Grid((1, 80, 144), dce.grid.affine))
    view = make(qtbot, replace(study, dce=one))
    qtbot.waitUntil(lambda: view.canvas.has_picture or "not work" in view.canvas.message, timeout=20000)
    view.close_down()
    assert not [thread for thread in threading.enumerate() if thread.name == "breastai-volume"]
