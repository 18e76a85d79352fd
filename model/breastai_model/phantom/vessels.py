"""Blood vessels: thin tubes along paths in the patient."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from breastai_model.phantom import kinetics
from breastai_model.phantom.anatomy import Layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from breastai_model.phantom.anatomy import Axes, Body, Breast
    from breastai_model.phantom.texture import Field

STEP_MM = 0.8


def vessels(body: Body, axes: Axes, rng: np.random.Generator, lesion_mm: NDArray[np.float64], breast: Breast) -> Layer:
    """Return the internal mammary vessels, veins under the skin, vessels in the glands and one that feeds the lesion."""
    tubes: list[tuple[NDArray[np.float64], float]] = []
    z = np.arange(axes.slices[0] - 4, axes.slices[-1] + 4, STEP_MM)
    for x, radius in ((-19.0, 1.4), (-15.0, 1.0), (16.0, 1.0), (20.0, 1.4)):
        tubes.append((np.stack([x + 1.5 * np.sin(z / 17 + x), body.base_mm(z) + 13.5 + np.sin(z / 11 + x), z], axis=1), radius))
    for own in body.breasts:
        medial = 0.0 if own.side == "right" else np.pi
        for turn, inset, radius in ((medial + rng.uniform(-0.6, 0.6), 5.0, 1.5), (rng.uniform(0, 2 * np.pi), 4.0, 1.1)):
            tubes.append((_along(body, own, rng, turn, 1.0, inset), radius))
        for _ in range(5):
            tubes.append((_along(body, own, rng, rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 0.75), 5.0), rng.uniform(0.5, 0.9)))
    start = np.array([breast.x_mm, float(body.base_mm(lesion_mm[2])) + 2.0, lesion_mm[2] + rng.uniform(-10, 10)])
    share = np.linspace(0.0, 1.0, max(8, int(1.3 * np.linalg.norm(start - lesion_mm) / STEP_MM)))[:, None]
    middle = (start + lesion_mm) / 2 + rng.standard_normal(3) * 9.0
    wave = 1.6 * np.sin(share * rng.uniform(9, 16, 3) + rng.uniform(0, 6, 3)) * np.sin(np.pi * share)
    tubes.append(((1 - share) ** 2 * start + 2 * share * (1 - share) * middle + share**2 * lesion_mm + wave, 0.8))
    whole = (slice(None), slice(None), slice(None))
    return Layer(kinetics.BLOOD, whole, _paint(axes, tubes))


def _along(body: Body, breast: Breast, rng: np.random.Generator, turn: float, out: float, inset_mm: float) -> NDArray[np.float64]:
    """Return a winding path from the chest wall towards the nipple, at a share `out` of the breast's half-width."""
    forward = np.arange(-4.0, breast.length_mm * rng.uniform(0.55, 0.9), STEP_MM)
    angle = turn + 0.25 * np.sin(forward / rng.uniform(7, 14) + rng.uniform(0, 6)) + 0.12 * np.sin(forward / 3.7)
    # Near the chest the skin flares out of the column, and the vessel with it.
    width = out * breast.profile(np.maximum(forward, 0.0)) * (1 + 0.25 * np.exp(-np.maximum(forward, 0.0) / 12.0))
    x = breast.x_mm + (breast.half_width_mm - inset_mm) * width * np.cos(angle)
    z = breast.z_mm + (breast.half_height_mm - inset_mm) * width * np.sin(angle)
    return np.stack([x, body.base_mm(z) - forward, z], axis=1)


def _paint(axes: Axes, tubes: Sequence[tuple[NDArray[np.float64], float]]) -> Field:
    """Return the share of each voxel that the tubes fill; a tube thinner than a voxel fills part of it."""
    share = np.zeros(axes.shape, dtype=np.float32)
    spacing = np.array(axes.spacing_mm)
    origin = np.array([axes.slices[0], axes.rows[0], axes.columns[0]])
    for path, radius in tubes:
        place = (path[:, ::-1] - origin) / spacing
        sigma = np.sqrt(radius**2 / 2 + spacing**2 / 12)
        reach = np.ceil(2 * sigma / spacing).astype(int)
        steps = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), axis=-1).reshape(-1, 3)
        voxels = np.round(place).astype(int)[:, None, :] + steps
        distance = (((voxels - place[:, None, :]) * spacing / sigma) ** 2).sum(axis=-1)
        fill = float(min(1.0, np.prod(radius / np.sqrt(2) / sigma) ** (2 / 3) * 1.3))
        inside = ((voxels >= 0) & (voxels < axes.shape)).all(axis=-1)
        kept = voxels[inside]
        np.maximum.at(share, tuple(kept.T), (fill * np.exp(-distance[inside] / 2)).astype(np.float32))
    return share
