"""What a reader sees of a volume in any orientation."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from breastai_gui.data.study import Grid
from breastai_gui.services.planes import PLANES, PlaneCut

MARK = np.array([30.0, -20.0, 18.0])
"""LPS of one bright voxel: patient left, anterior, towards the head."""

ORIENTATIONS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]
"""All 48 ways in which grid axes can follow LPS axes."""


def marked_volume(order: tuple[int, ...], signs: tuple[int, ...]) -> tuple[Grid, np.ndarray]:
    """A volume around the scanner's centre whose grid axis a follows LPS axis order[a], with one bright voxel at MARK."""
    spacing = np.array([2.0, 3.0, 1.5])
    shape = (41, 31, 51)
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis in range(3):
        affine[order[axis], axis] = signs[axis] * spacing[axis]
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    grid = Grid(shape, affine)
    volume = np.zeros(shape, dtype=np.int16)
    volume[tuple(np.rint(grid.to_index(MARK)).astype(int))] = 100
    return grid, volume


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
@pytest.mark.parametrize("plane", PLANES)
def test_i3_i4_mark_and_letters_are_right_in_every_orientation(plane, order, signs) -> None:
    grid, volume = marked_volume(order, signs)
    cut = PlaneCut(grid, plane)
    position = cut.nearest(tuple(MARK))
    picture = cut.cut(volume, position)
    assert picture.shape == cut.shape
    row, column = np.argwhere(picture == 100)[0]
    # the mark is where the picture says it is, to half a voxel
    assert np.abs(np.array(cut.to_patient(position, row, column)) - MARK).max() <= grid.spacing_mm.max() / 2
    assert np.allclose(cut.from_patient(cut.to_patient(position, row, column)), (position, row, column))
    # what a radiologist expects: R on the left, A on top, H on top
    letters = {"axial": ("A", "P", "R", "L"), "sagittal": ("H", "F", "A", "P"), "coronal": ("H", "F", "R", "L")}[plane]
    assert (cut.letters.top, cut.letters.bottom, cut.letters.left, cut.letters.right) == letters
    middle_row, middle_column = (cut.shape[0] - 1) / 2, (cut.shape[1] - 1) / 2
    above, to_the_right = row < middle_row, column > middle_column
    assert (bool(above), bool(to_the_right)) == {"axial": (True, True), "sagittal": (True, False), "coronal": (True, True)}[plane]


def test_letters_of_an_oblique_volume_name_both_directions() -> None:
    turn = np.deg2rad(30)
    affine = np.eye(4)
    affine[:3, 2] = [np.cos(turn), np.sin(turn), 0]
    affine[:3, 1] = [-np.sin(turn), np.cos(turn), 0]
    affine[:3, 0] = [0, 0, 1]
    cut = PlaneCut(Grid((4, 5, 6), affine), "axial")
    assert cut.letters.right == "LP"
    assert cut.letters.left == "RA"
    assert cut.letters.bottom == "PR"


@pytest.mark.parametrize("plane", PLANES)
def test_a_heatmap_on_another_grid_lands_on_the_same_tissue(plane) -> None:
    grid, _ = marked_volume((0, 2, 1), (1, -1, 1))
    affine = np.diag([4.0, 4.0, 4.0, 1.0])[[2, 1, 0, 3]]
    affine[:3, 3] = -48.0
    index = np.stack(np.meshgrid(*(np.arange(25),) * 3, indexing="ij"), axis=-1)
    place = index @ affine[:3, :3].T + affine[:3, 3]
    heat = np.exp(-((place - MARK) ** 2).sum(axis=-1) / 200.0).astype(np.float16)
    cut = PlaneCut(grid, plane)
    position = cut.nearest(tuple(MARK))
    picture = cut.resample(heat, affine, position)
    hottest = np.unravel_index(int(picture.argmax()), picture.shape)
    assert np.linalg.norm(np.array(cut.to_patient(position, *hottest)) - MARK) < 4.0
    assert cut.resample(np.ones((3, 3, 3)), np.diag([1.0, 1.0, 1.0, 1.0]), position).max() <= 1.0


def test_the_projection_keeps_the_brightest_voxel_in_place() -> None:
    grid, volume = marked_volume((2, 1, 0), (-1, 1, -1))
    for plane in PLANES:
        cut = PlaneCut(grid, plane)
        row, column = np.argwhere(cut.project(volume) == 100)[0]
        expected = cut.from_patient(tuple(MARK))
        assert abs(row - expected[1]) <= 0.5
        assert abs(column - expected[2]) <= 0.5
