"""Where the voxels lie in the patient: 48 orientations, oblique ones, and tags that give no place."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest

from breastai_gui.data.study import ReadError
from dicom_files import enhancing, write_dce

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from breastai_gui.data.study import Study

AXES = np.eye(3)
ORIENTATIONS = [
    (sign_row * AXES[row], sign_column * AXES[column], step)
    for row, column in itertools.permutations(range(3), 2)
    for sign_row in (1, -1)
    for sign_column in (1, -1)
    for step in (1, -1)
]
"""Every way to lay rows and columns along the patient's axes, slices written upwards and downwards: 48."""


@pytest.mark.parametrize("number", range(len(ORIENTATIONS)))
def test_i3_a_mark_in_one_corner_comes_out_where_it_is(read: Callable[[Path], Study], tmp_path: Path, number: int) -> None:
    """One bright voxel in a corner; PatientPosition changes nothing, for LPS is the patient's own frame."""
    position = ("HFS", "HFP", "FFS", "FFP")[(number + number // 4) % 4]
    row, column, step = ORIENTATIONS[number]
    values = enhancing(2, 4, 6, 5)
    values[:, 0, 0, 4] = 4000
    origin = np.array([12.0, -34.0, 56.0])

    def change(image: object, _phase: int, _place: int) -> None:
        image.PatientPosition = position

    # The file names run against the slices for step -1; places come from ImagePositionPatient alone.
    write_dce(
        tmp_path,
        values=values,
        orientation=(*row, *column),
        origin=tuple(origin),
        spacing=(2.0, 1.5),
        gap=3.0,
        change=change,
        name=lambda phase, place: f"{phase}{place * step % 7}",
    )
    study = read(tmp_path)
    volume = study.dce.values[0]
    found = np.argwhere(volume == 4000)
    assert len(found) == 1
    expected = origin + row * 1.5 * 4
    assert np.allclose(study.dce.grid.to_patient(found[0].astype(float)), expected, atol=1e-6)
    assert np.allclose(study.dce.grid.spacing_mm, (3.0, 2.0, 1.5))


def test_i3_oblique_slices(read: Callable[[Path], Study], tmp_path: Path) -> None:
    angle = np.deg2rad(23.0)
    row = np.array([np.cos(angle), np.sin(angle), 0.0])
    column = np.cross([0.2, 0.1, 1.0], row)
    column /= np.linalg.norm(column)
    row = np.cross(column, np.cross(row, column))
    row /= np.linalg.norm(row)
    write_dce(tmp_path, orientation=(*row, *column), phases=2)
    grid = read(tmp_path).dce.grid
    last = np.array(grid.shape) - 1.0
    expected = np.array([-60.0, -40.0, -20.0]) + np.cross(row, column) * 2.0 * last[0] + column * 1.5 * last[1] + row * 1.25 * last[2]
    assert np.allclose(grid.to_patient(last), expected, atol=1e-4)


def test_a_hundredth_of_a_millimetre_of_rounding_is_no_gap(read: Callable[[Path], Study], tmp_path: Path) -> None:
    def change(image: object, _phase: int, place: int) -> None:
        image.ImagePositionPatient = [-60, -40, round(-20 + 0.3333333 * place, 2)]

    write_dce(tmp_path, phases=2, slices=30, change=change)
    study = read(tmp_path)
    assert study.dce.grid.shape[0] == 30
    assert study.problems == ()


BAD_GEOMETRY = [
    ("PixelSpacing", ["nan", "1"]),
    ("PixelSpacing", ["inf", "1"]),
    ("PixelSpacing", ["0", "0"]),
    ("PixelSpacing", ["-1", "1"]),
    ("PixelSpacing", ["1e400", "1"]),
    ("PixelSpacing", None),
    ("PixelSpacing", ["1", "1", "1"]),
    ("ImagePositionPatient", ["nan", "0", "0"]),
    ("ImagePositionPatient", ["0", "0"]),
    ("ImagePositionPatient", ["0", "0", "9000"]),
    ("ImagePositionPatient", None),
    ("ImageOrientationPatient", ["1", "0", "0", "1", "0", "0"]),
    ("ImageOrientationPatient", ["0", "0", "0", "0", "0", "0"]),
    ("ImageOrientationPatient", ["1", "0", "0", "0", "nan", "0"]),
    ("ImageOrientationPatient", None),
    ("RescaleSlope", ["nan"]),
    ("RescaleSlope", ["0"]),
    ("RescaleIntercept", ["inf"]),
]


@pytest.mark.parametrize(("tag", "value"), BAD_GEOMETRY)
def test_d5_geometry_that_is_no_geometry_is_named_and_rejected(
    scan: Callable[[Path], object], tmp_path: Path, tag: str, value: list[str] | None
) -> None:
    """In every file: then there is nothing to show, and the sentence names the tag."""

    def spoil(path: Path, _phase: int, _place: int) -> None:
        data = path.read_bytes()
        import pydicom
        from pydicom.tag import Tag

        place = Tag(tag)
        head = place.group.to_bytes(2, "little") + place.element.to_bytes(2, "little") + b"DS"
        begin = data.index(head)
        length = int.from_bytes(data[begin + 6 : begin + 8], "little")
        text = b"" if value is None else "\\".join(value).encode()
        text += b" " * (len(text) % 2)
        path.write_bytes(data[:begin] + head + len(text).to_bytes(2, "little") + text + data[begin + 8 + length :])
        assert pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["PatientID"]).PatientID

    write_dce(tmp_path / "exam", phases=2, slices=3, after=spoil)
    with pytest.raises(ReadError, match=rf"«exam» holds no image that can be read. «IM00000» was not read: {tag} is "):
        scan(tmp_path / "exam")


def test_d5_in_one_file_costs_one_slice(read: Callable[[Path], Study], tmp_path: Path) -> None:
    def change(image: object, phase: int, place: int) -> None:
        if (phase, place) == (1, 3):
            image.PixelSpacing = [0, 0]

    write_dce(tmp_path, change=change)
    study = read(tmp_path)
    assert any(problem.file == "IM01003" and "PixelSpacing is 0\\0" in problem.text for problem in study.problems)
    assert any(problem.stops and "Phase 2" in problem.text and "slice 4 of 8 is missing" in problem.text for problem in study.problems)
