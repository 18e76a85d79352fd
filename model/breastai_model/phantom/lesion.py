"""The lesion: one three-dimensional shape in the patient that both MRI and ultrasound cut through."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from breastai_model.phantom.appearance import APPEARANCE, rise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.phantom.latents import Latents

SPICULES = 36


@dataclass(frozen=True, eq=False, slots=True)
class Lesion:
    """A star-shaped body about its centre, in mm.

    Attributes
    ----------
    centre_mm
        (3,) LPS.
    axes
        (3, 3) orthonormal rows: directions of the three half-axes, LPS.
    half_axes_mm
        (3,) half-axes of the ellipsoid that lobes and spicules are added to.
    lobes
        (terms, 5): frequency vector, phase and height of each wave on the unit sphere.
    spicules
        (n, 5): unit direction, height (share of the radius) and sharpness of each.
    softness_mm
        Over how many millimetres the border fades; greatest for an indistinct margin.
    folds
        S7: (waves, 8): an even number of waves round an axis, their height, and the two (3,) unit vectors square to that axis that
        the angle is counted from and towards.
    """

    centre_mm: NDArray[np.float64]
    axes: NDArray[np.float64]
    half_axes_mm: NDArray[np.float64]
    lobes: NDArray[np.float64]
    spicules: NDArray[np.float64]
    softness_mm: float
    folds: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 8)))

    @property
    def reach_mm(self) -> float:
        """No point of the lesion lies further from its centre."""
        waves = 1.0 + float(np.abs(self.lobes[:, 4]).sum()) + float(np.abs(self.folds[:, 1]).sum())
        return float(self.half_axes_mm.max()) * (waves + float(self.spicules[:, 3].max(initial=0.0)) * 1.5)

    def depth(self, points_mm: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return about how far (mm) each LPS point, (..., 3), lies inside the border: positive inside, negative outside.

        Along the ray from the centre this is exact but for the softening of spicules; elsewhere it is near enough for
        borders of a few millimetres.
        """
        offset = np.asarray(points_mm, dtype=np.float32) - self.centre_mm.astype(np.float32)
        distance = np.sqrt((offset**2).sum(axis=-1))
        return np.asarray(self.radius(offset) - distance, dtype=np.float32)

    def radius(self, offset_mm: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the distance (mm) from the centre to the border in the directions of `offset_mm`, (..., 3)."""
        offset = np.asarray(offset_mm, dtype=np.float32)
        distance = np.sqrt((offset**2).sum(axis=-1, keepdims=True))
        unit = offset / np.maximum(distance, 1e-3)
        squeezed = (unit @ self.axes.T.astype(np.float32)) / self.half_axes_mm.astype(np.float32)
        radius = 1.0 / np.sqrt(np.maximum((squeezed**2).sum(axis=-1), 1e-9))
        relief = np.ones_like(radius)
        for wave in self.lobes.astype(np.float32):
            relief += wave[4] * np.cos(unit @ wave[:3] + wave[3])
        for spicule in self.spicules.astype(np.float32):
            relief += spicule[3] * np.exp((unit @ spicule[:3] - 1.0) * spicule[4])
        for fold in self.folds.astype(np.float32):
            # The real part of (cos + i sin)^k: k waves round the axis that vanish smoothly towards it.
            relief += fold[1] * ((unit @ fold[2:5] + 1j * (unit @ fold[5:8])) ** int(fold[0])).real
        return np.asarray(radius * np.maximum(relief, 0.2), dtype=np.float32)


def rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a random (3, 3) rotation."""
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    turned = np.asarray(q * np.sign(np.diag(r)))
    if np.linalg.det(turned) < 0:
        turned[0] *= -1
    return turned


def draw_lesion(rng: np.random.Generator, latents: Latents) -> Lesion:
    """Return a lesion at the origin whose size, lobulation and margin follow the shared latents."""
    look = APPEARANCE
    diameter = float(np.clip(look.size_mm * np.exp(look.size_log * latents.size), look.size_low_mm, look.size_high_mm))
    half_axes = diameter / 2 * np.array([1.0, rng.uniform(0.78, 0.95), rng.uniform(0.62, 0.8)])
    height = rise(look.lobe_low, look.lobe_high, look.lobe_steepness, latents.lobulation)
    lobes = np.column_stack(
        [rng.standard_normal((7, 3)) * rng.uniform(1.8, 3.4, (7, 1)), rng.uniform(0, 2 * np.pi, 7), height * rng.uniform(0.5, 1.3, 7)]
    )
    spiculation = rise(0.0, 1.0, look.margin_steepness, latents.margin - 0.1)
    directions = rng.standard_normal((SPICULES, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    heights = spiculation * rng.uniform(look.spicule_low, look.spicule_high, SPICULES) * min(1.0, 15.0 / diameter)
    spicules = np.column_stack([directions, heights, rng.uniform(60.0, 160.0, SPICULES)])
    return Lesion(
        np.zeros(3), rotation(rng), half_axes, lobes, spicules, look.soft_low_mm + (look.soft_high_mm - look.soft_low_mm) * spiculation
    )
