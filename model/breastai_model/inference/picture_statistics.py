"""A few numbers on how pictures look: grey values, edges, and how fine their texture is. From the prepared tensors alone."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.prepare import Prepared

QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
BANDS = (0.0, 0.06, 0.12, 0.2, 0.32, 0.5)
"""Edges in cycles per pixel of the bands of the spectrum."""
FLOOR = 1e-9


def picture_statistics(prepared: Prepared) -> dict[str, NDArray[np.float64]]:
    """Return a vector for each modality that is there: "mri_pictures" and "us_pictures".

    MRI: of the first phase and of the mean change after it, both over the breasts that are there: quantiles, mean slopes
    along slices, rows and columns, the spectrum of the middle slices. Ultrasound: the same of the images, averaged over
    the angles, and how much neighbouring angles have in common. Slopes and bands are logarithms of shares, so brightness does not
    enter them twice.
    """
    found = {}
    if prepared.mri_present.any():
        found["mri_pictures"] = _mri(prepared)
    if prepared.us_present.any():
        found["us_pictures"] = _ultrasound(prepared.us[prepared.us_present])
    return found


def _mri(prepared: Prepared) -> NDArray[np.float64]:
    phases, breasts = prepared.mri_present.any(axis=1), prepared.mri_present.any(axis=0)
    volumes = prepared.mri[phases][:, breasts]  # (phase, breast, slice, row, column)
    change = volumes[1:].mean(axis=0) - volumes[0] if len(volumes) > 1 else np.zeros_like(volumes[0])
    parts = []
    for picture in (volumes[0], change):
        middle = picture[:, picture.shape[1] // 4 : -(picture.shape[1] // 4) or None].reshape(-1, *picture.shape[2:])
        parts += [np.quantile(picture, QUANTILES), _slopes(picture, 3), _bands(middle)]
    return np.concatenate(parts)


def _ultrasound(images: NDArray[np.float32]) -> NDArray[np.float64]:
    change = np.abs(np.diff(images, axis=0)).mean() if len(images) > 1 else 0.5 * images.std()
    common = np.log((change + FLOOR) / (images.std() + FLOOR))
    rows = images.mean(axis=(0, 2))
    fall = np.log((rows.reshape(4, -1).mean(axis=1) + 1e-3) / (rows.mean() + 1e-3))  # how brightness falls with depth
    shares = [float((images <= 1 / 255).mean()), float((images >= 0.98).mean())]
    return np.concatenate([np.quantile(images, QUANTILES), _slopes(images, 2), _bands(images), fall, [common, *shares]])


def _slopes(picture: NDArray[np.float32], axes: int) -> NDArray[np.float64]:
    """Return for each of the last axes the logarithm of the mean step between neighbours, relative to the whole spread."""
    spread = float(picture.std()) + 1e-4
    steps = [float(np.abs(np.diff(picture, axis=axis)).mean()) for axis in range(-axes, 0)]
    return np.log((np.asarray(steps) + 1e-4) / spread)


def _bands(pictures: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the logarithm of the share of power in each band of wavelengths, of (picture, row, column), each tapered."""
    rows, columns = pictures.shape[1:]
    taper = np.hanning(rows)[:, None] * np.hanning(columns)
    level = pictures.mean(axis=(1, 2), keepdims=True)
    power = (np.abs(np.fft.rfft2((pictures - level) * taper)) ** 2).mean(axis=0)
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None])
    shares = [float(power[(frequency >= low) & (frequency < high)].sum()) for low, high in itertools.pairwise(BANDS)]
    logarithms: NDArray[np.float64] = np.log((np.asarray(shares) + FLOOR) / (power.sum() + len(shares) * FLOOR) + 1e-7)
    return logarithms
