"""Random fields with a given grain, and smooth fields brought from a coarse grid to a fine one."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
from scipy import fft, ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Field = NDArray[np.float32]


def spectral_noise(
    rng: np.random.Generator, shape: tuple[int, ...], spacing_mm: tuple[float, ...], grain_mm: tuple[float, ...], steepness: float = 3.0
) -> Field:
    """Return a periodic random field, mean 0, standard deviation 1, of any number of axes.

    Its spectrum is (1 + (k · grain)²)^(-steepness / 2): flat above the grain's size, fractal below it.
    """
    white = rng.standard_normal(shape, dtype=np.float32)
    spectrum = fft.rfftn(white)
    power = np.ones((1,) * len(shape), dtype=np.float32)
    for axis, (count, spacing, grain) in enumerate(zip(shape, spacing_mm, grain_mm, strict=True)):
        frequency = fft.rfftfreq(count, spacing) if axis == len(shape) - 1 else fft.fftfreq(count, spacing)
        term = (2 * np.pi * frequency * grain / 2) ** 2
        power = power + term.astype(np.float32).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    spectrum *= power ** (-steepness / 2)
    spectrum.flat[0] = 0.0
    field = fft.irfftn(spectrum, s=shape)
    return np.asarray(field / field.std(), dtype=np.float32)


def ridges(field: NDArray[np.floating], width: float) -> Field:
    """Return 1 on the field's zero surfaces, falling to 0 within `width` standard deviations: thin bent sheets."""
    return cast("Field", np.exp(-((field / np.float32(width)) ** 2)))


def smooth_step(value: NDArray[np.floating], width: float) -> Field:
    """Return 0 below -width / 2, 1 above width / 2, a straight ramp between: the share of a voxel that lies inside."""
    return np.asarray(np.clip(value / np.float32(width) + np.float32(0.5), 0.0, 1.0), dtype=np.float32)


def _weights(coarse: NDArray[np.float64], fine: NDArray[np.float64]) -> Field:
    """Return the (fine, coarse) matrix of straight-line interpolation along one axis; ends are held."""
    place = np.interp(fine, coarse, np.arange(len(coarse)))
    below = np.minimum(place.astype(int), max(len(coarse) - 2, 0))
    matrix = np.zeros((len(fine), len(coarse)), dtype=np.float32)
    matrix[np.arange(len(fine)), below] = 1.0 - (place - below)
    matrix[np.arange(len(fine)), np.minimum(below + 1, len(coarse) - 1)] += place - below
    return matrix


def refine(field: Field, coarse: tuple[NDArray[np.float64], ...], fine: tuple[NDArray[np.float64], ...]) -> Field:
    """Return a three-axis field, known at the coarse coordinates, at the fine ones (straight lines between).

    Matrix products along one axis after the other; far quicker than a general interpolation.
    """
    slices, rows, columns = (_weights(c, f) for c, f in zip(coarse, fine, strict=True))
    field = np.tensordot(slices, field, axes=(1, 0))
    field = np.matmul(rows, field)
    return np.asarray(np.matmul(field, columns.T), dtype=np.float32)


def sample(field: Field, index: tuple[Field, ...]) -> Field:
    """Return a periodic field at fractional indices, one array an axis."""
    return np.asarray(ndimage.map_coordinates(field, np.stack(index), order=1, mode="grid-wrap", prefilter=False), dtype=np.float32)
