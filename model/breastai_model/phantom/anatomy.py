"""The outline of a made-up patient who lies prone, and the volume that it is imaged on.

Positions are mm in LPS: x to the patient's left, y to the back, z to the head. The breasts hang towards smaller y.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.case import Side
    from breastai_model.phantom import kinetics
    from breastai_model.phantom.texture import Field


@dataclass(frozen=True, slots=True)
class Axes:
    """Coordinates (mm, LPS) of the slices (z), rows (y) and columns (x) of an axial volume."""

    slices: NDArray[np.float64]
    rows: NDArray[np.float64]
    columns: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slice, row, column) counts."""
        return len(self.slices), len(self.rows), len(self.columns)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between slices, rows and columns."""
        return tuple(float(axis[1] - axis[0]) for axis in (self.slices, self.rows, self.columns))  # type: ignore[return-value]

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4): (slice, row, column, 1) to LPS mm."""
        dz, dy, dx = self.spacing_mm
        return np.array(
            [[0.0, 0.0, dx, self.columns[0]], [0.0, dy, 0.0, self.rows[0]], [dz, 0.0, 0.0, self.slices[0]], [0.0, 0.0, 0.0, 1.0]]
        )

    def box(self, low_mm: NDArray[np.floating], high_mm: NDArray[np.floating]) -> tuple[slice, slice, slice]:
        """Return the index box of all voxels whose centres lie between two LPS corners."""
        spans = []
        for axis, coordinate in zip((2, 1, 0), (self.slices, self.rows, self.columns), strict=True):
            start, stop = np.searchsorted(coordinate, (low_mm[axis], high_mm[axis]))
            spans.append(slice(int(start), int(stop)))
        return spans[0], spans[1], spans[2]

    def within(self, box: tuple[slice, slice, slice]) -> tuple[Field, Field, Field]:
        """Return broadcastable x (1, 1, n), y (1, n, 1), z (n, 1, 1) of a box."""
        z, y, x = (axis[span].astype(np.float32) for axis, span in zip((self.slices, self.rows, self.columns), box, strict=True))
        return x[None, None, :], y[None, :, None], z[:, None, None]


@dataclass(frozen=True, slots=True)
class Breast:
    """One hanging breast: an elliptic column from the chest wall that rounds off at the nipple."""

    side: Side
    x_mm: float
    z_mm: float
    half_width_mm: float
    half_height_mm: float
    length_mm: float
    roundness: float
    """Exponent of the profile along the column: 2 is an ellipsoid, higher is blunter."""

    def profile(self, forward_mm: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the share of the full width that is left that far (mm) in front of the chest wall."""
        share = np.clip(forward_mm / self.length_mm, 0.0, 1.0) ** self.roundness
        return np.asarray(np.sqrt(np.maximum(1.0 - share, 0.0)))


@dataclass(frozen=True, slots=True)
class Body:
    """The outline of a patient."""

    front_mm: float
    """y of the chest's front at z = 0."""
    tilt: float
    """How far that front moves back for each mm towards the head."""
    half_width_mm: float
    half_depth_mm: float
    density: float
    """How much gland: -1 nearly all fat, 1 dense."""
    backgrounds: tuple[float, float]
    """Background enhancement of the right and of the left gland, 1 is mild."""
    breasts: tuple[Breast, Breast]
    """Right, then left."""

    def breast(self, side: Side) -> Breast:
        """Return the breast of that side."""
        return self.breasts[0] if side == "right" else self.breasts[1]

    def base_mm(self, z: NDArray[np.floating] | float) -> NDArray[np.floating]:
        """Return y of the chest's front at height z."""
        return np.asarray(self.front_mm + self.tilt * np.asarray(z))

    def chest_level(self, x: Field, y: Field, z: Field) -> Field:
        """Return about the distance (mm) outside the chest without breasts; negative inside."""
        across = np.abs(x / np.float32(self.half_width_mm)) ** 2.4
        along = np.abs((y - self.base_mm(z).astype(np.float32) - np.float32(self.half_depth_mm)) / np.float32(self.half_depth_mm)) ** 2.4
        return np.asarray(((across + along) ** (1 / 2.4) - 1.0) * self.half_depth_mm, dtype=np.float32)

    def skin_level(self, x: Field, y: Field, z: Field) -> Field:
        """Return a smooth function (mm, not an exact distance) that is 0 on the skin and negative inside."""
        level = self.chest_level(x, y, z)
        for breast in self.breasts:
            forward = np.maximum(self.base_mm(z).astype(np.float32) - y, 0.0)
            across = ((x - breast.x_mm) / breast.half_width_mm) ** 2 + ((z - breast.z_mm) / breast.half_height_mm) ** 2
            column = (np.sqrt(across + (forward / breast.length_mm) ** breast.roundness) - 1.0) * breast.half_width_mm
            # A smooth union: the fold between breast and chest is round (polynomial smooth minimum, 16 mm wide).
            mix = np.clip(0.5 + (level - column) / 32.0, 0.0, 1.0)
            level = level * (1 - mix) + column * mix - 16.0 * mix * (1 - mix)
        return np.asarray(level, dtype=np.float32)

    def skin_point(self, start_mm: NDArray[np.float64], direction: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return where a ray from inside leaves through the skin (3,), and the outward normal there (3,)."""

        def level(point: NDArray[np.float64]) -> float:
            return float(self.skin_level(*(np.float64(value) for value in point)))  # type: ignore[arg-type]

        near, far = 0.0, 200.0
        for _ in range(50):
            middle = (near + far) / 2
            near, far = (middle, far) if level(start_mm + middle * direction) < 0 else (near, middle)
        point = start_mm + near * direction
        # The normal is taken over 10 mm, as the program's proposed probe axis is.
        normal = np.array([level(point + 5.0 * step) - level(point - 5.0 * step) for step in np.eye(3)])
        return point, normal / np.linalg.norm(normal)


def draw_body(rng: np.random.Generator) -> Body:
    """Return a body with random build."""
    width, length = rng.uniform(40.0, 50.0), rng.uniform(72.0, 92.0)
    apart, roundness = rng.uniform(66.0, 76.0), rng.uniform(2.6, 4.0)
    breasts = []
    for side, sign in (("right", -1.0), ("left", 1.0)):
        vary = rng.uniform(0.95, 1.05, 3)
        breasts.append(
            Breast(
                side,  # type: ignore[arg-type]
                sign * apart + rng.uniform(-2, 2),
                rng.uniform(-6.0, 2.0),
                width * vary[0],
                width * vary[1] * 1.25,
                length * vary[2],
                roundness,
            )
        )
    return Body(
        rng.uniform(12.0, 18.0),
        rng.uniform(0.08, 0.2),
        rng.uniform(142.0, 156.0),
        rng.uniform(92.0, 104.0),
        rng.uniform(-0.8, 0.8),
        (float(np.exp(rng.normal(0.3, 0.35))),) * 2,
        (breasts[0], breasts[1]),
    )


@dataclass(frozen=True, eq=False, slots=True)
class Layer:
    """One tissue painted over what lies beneath: in the box, `share` (0 to 1) of each voxel is this tissue."""

    tissue: kinetics.Tissue | float
    box: tuple[slice, slice, slice]
    share: Field
    boost: float = 1.0
    """Scales the enhancement."""
