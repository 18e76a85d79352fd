"""From DICOM files to painted pixels: a mark in one corner of the patient stands beside that corner's letters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from breastai_gui.data.reader_process import Reader
from breastai_gui.services.session import Session
from breastai_gui.views.reading.mri_pictures import first_look
from breastai_gui.views.reading.reading_page import ReadingPage
from dicom_files import enhancing, write_dce

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

AXES = np.eye(3)
ORIENTATIONS = [
    ("axial", AXES[0], AXES[1]),
    ("axial, turned over", AXES[0], -AXES[1]),
    ("axial, mirrored", -AXES[0], AXES[1]),
    ("axial, feet first", -AXES[0], -AXES[1]),
    ("sagittal", AXES[1], -AXES[2]),
    ("sagittal, mirrored", -AXES[1], -AXES[2]),
    ("coronal", AXES[0], -AXES[2]),
    ("coronal, columns first", -AXES[2], AXES[0]),
]
CORNER = np.array([-1.0, -1.0, 1.0])
"""Right, anterior, head."""
LETTERS = {"axial": ("A", "P", "R", "L"), "sagittal": ("H", "F", "A", "P"), "coronal": ("H", "F", "R", "L")}


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with Reader() as reader:
        yield reader


def corner_of_patient(slices: int, rows: int, columns: int, row: np.ndarray, column: np.ndarray) -> tuple[slice, ...]:
    """Return the voxels nearest to the right, anterior, upper corner: told from the directions that the files will carry."""
    parts = []
    for count, direction in ((slices, np.cross(row, column)), (rows, column), (columns, row)):
        parts.append(slice(count - 5, count - 1) if direction @ CORNER > 0 else slice(1, 5))
    return tuple(parts)


@pytest.mark.parametrize(("row", "column"), [each[1:] for each in ORIENTATIONS], ids=[each[0] for each in ORIENTATIONS])
def test_i3_the_mark_is_painted_beside_its_letters(
    row: np.ndarray, column: np.ndarray, reader: Reader, qtbot: QtBot, tmp_path: Path
) -> None:
    values = enhancing(2, 28, 32, 36)
    values[(slice(None), *corner_of_patient(28, 32, 36, row, column))] = 4000
    write_dce(tmp_path, values=values, orientation=(*row, *column), spacing=(2.0, 2.0), gap=2.0, origin=(-9.0, 7.0, 5.0))
    catalogue = reader.scan(tmp_path, lambda _progress: None)
    assert catalogue.proposed is not None
    study = reader.load(catalogue, catalogue.proposed, lambda _progress: None)
    assert study.dce is not None
    session = Session(study)
    page = ReadingPage(session, first_look(study, session.choices))
    qtbot.addWidget(page, before_close_func=lambda page: page.close_down())
    page.resize(1200, 800)
    page.show()
    qtbot.waitExposed(page)
    z, y, x = (float(value) for value in np.argwhere(study.dce.values[0] == 4000).mean(axis=0))
    mark = study.dce.grid.to_patient(np.array([z, y, x]))
    page.viewpoint.set(cursor_mm=tuple(float(value) for value in mark), phase=0, window=(0.0, 4000.0), crosshair=False)
    for name, pane in page.planes.items():
        letters = pane.furniture.letters
        assert letters is not None
        assert (letters.top, letters.bottom, letters.left, letters.right) == LETTERS[name]
        pane.furniture = type(pane.furniture)()  # the words are as white as the mark
        image = pane.grab().toImage()
        white = [(y, x) for y in range(0, image.height(), 2) for x in range(0, image.width(), 2) if image.pixelColor(x, y).red() > 200]
        assert white, name
        down, right = np.mean(white, axis=0) / (image.height(), image.width())
        assert down < 0.45, name  # anterior or head stand on top; right, or on sagittal planes anterior, on the left
        assert right < 0.45, name
