"""Twelve ultrasound images of a made-up patient, each a plane through the same lesion and the same tissue.

The probe's frame has its origin on the skin: p along the direction that 0° shows from left to right (towards the
patient's left, projected on the skin), q square to it and to the axis, w along the axis into the body, all in mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from breastai_model.phantom.appearance import APPEARANCE, rise
from breastai_model.phantom.beam import scan
from breastai_model.phantom.layers import Ground, field_index, tissue
from breastai_model.phantom.texture import sample, smooth_step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.phantom.latents import Latents
    from breastai_model.phantom.lesion import Lesion
    from breastai_model.phantom.texture import Field

ANGLES_DEG = tuple(15.0 * step for step in range(12))
SHARP_MM, SOFT_SPAN_MM = 0.5, 1.3
"""Ultrasound resolves finer than MRI: over how many mm a sharp border fades there, and how much more an indistinct one."""


@dataclass(frozen=True, slots=True)
class Screen:
    """The pixels of an image: counts, and mm a pixel (rows and columns alike)."""

    rows: int
    columns: int
    pixel_mm: float
    lines: int
    """Beams on which the tissue is computed."""
    depths: int
    """Depths at which the tissue is computed."""
    oversample: int
    """Scatterers along and across for each of those places."""

    @property
    def width_mm(self) -> float:
        """Width of the image."""
        return self.columns * self.pixel_mm

    @property
    def depth_mm(self) -> float:
        """Depth of the image."""
        return self.rows * self.pixel_mm


@dataclass(frozen=True, eq=False, slots=True)
class Probe:
    """Where the probe stands.

    Attributes
    ----------
    skin_mm
        (3,) LPS, where the axis enters the skin.
    outward
        (3,) unit vector, the skin's outward normal; the lesion's centre lies on the axis below `skin_mm`.
    right
        (3,) unit vector that 0° shows from left to right: the patient's left, projected on the skin's plane.
    """

    skin_mm: NDArray[np.float64]
    outward: NDArray[np.float64]
    right: NDArray[np.float64]

    def across(self, angle_deg: float) -> NDArray[np.float64]:
        """Return the (3,) direction that an image at that angle shows from left to right; angles turn clockwise seen from outside."""
        up = np.cross(self.outward, self.right)
        angle = np.deg2rad(angle_deg)
        return np.asarray(np.cos(angle) * self.right - np.sin(angle) * up)

    def points_mm(self, angle_deg: float, across_mm: NDArray[np.floating], deep_mm: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return LPS points, (..., 3), of places in the image at that angle, mm from the axis and below the skin."""
        return np.asarray(
            self.skin_mm + np.asarray(across_mm)[..., None] * self.across(angle_deg) - np.asarray(deep_mm)[..., None] * self.outward
        )


def probe_at(skin_mm: NDArray[np.float64], outward: NDArray[np.float64]) -> Probe:
    """Return a probe on that skin point, its zero set by the patient's left-right direction."""
    left = np.array([1.0, 0.0, 0.0])
    right = left - (left @ outward) * outward
    if np.linalg.norm(right) < 0.2:  # The skin faces sideways: there the head-foot direction is the only one left.
        right = np.array([0.0, 0.0, 1.0]) - outward[2] * outward
    return Probe(skin_mm, outward, right / np.linalg.norm(right))


def largest_angle(lesion: Lesion, probe: Probe) -> float:
    """Return the angle (even degrees, 0 to below 180) at which a plane through the axis cuts the largest area.

    The lesion is star-shaped about its centre, which lies in every such plane: the area is half the integral of r².
    """
    turns = np.deg2rad(np.arange(0.0, 360.0, 5.0))[:, None]
    across = np.stack([probe.across(angle) for angle in range(0, 180, 2)])[:, None, :]
    areas = (lesion.radius(np.cos(turns) * across - np.sin(turns) * probe.outward) ** 2).sum(axis=1)
    return 2.0 * int(np.argmax(areas))


@dataclass(frozen=True, eq=False, slots=True)
class View:
    """One image, (row, column) uint8, row 0 at the skin, and which of its pixels are lesion."""

    pixels: NDArray[np.uint8]
    lesion: NDArray[np.bool_]


def render(
    screen: Screen,
    ground: Ground,
    lesion: Lesion,
    probe: Probe,
    zero_deg: float,
    angle_deg: float,
    latents: Latents,
    rng: np.random.Generator,
) -> View:
    """Return the image at `angle_deg`, counted from the largest cross-section, which lies at `zero_deg` of the probe's frame."""
    turn = zero_deg + angle_deg
    across = ((np.arange(screen.lines) + 0.5) / screen.lines - 0.5) * screen.width_mm
    deep = (np.arange(screen.depths) + 0.5) / screen.depths * screen.depth_mm
    lateral, w = (part.astype(np.float32) for part in np.meshgrid(across, deep))
    level = lesion_level(lesion, probe, turn, lateral, w)
    echo_db, loss, mirror_db = tissue(ground, np.deg2rad(turn), lateral, w)
    look = APPEARANCE
    swing = rise(0.0, 1.0, look.swing_steepness, latents.anisotropy) * np.cos(2 * np.deg2rad(angle_deg) + 0.6)
    near = level > -4.0
    texture, ragged = np.zeros_like(level), level.copy()
    beside, below = lateral[near], w[near]
    texture[near] = sample(ground.streaks, field_index(np.deg2rad(turn), beside, below * 1.4 + 11.0))
    uneven = sample(ground.streaks, field_index(np.deg2rad(turn), beside * 3.0, below * 1.6))
    soft = SHARP_MM + (lesion.softness_mm - look.soft_low_mm) / (look.soft_high_mm - look.soft_low_mm) * SOFT_SPAN_MM
    ragged[near] += 0.4 * (soft - 0.4) * uneven
    inside = smooth_step(ragged, soft * 1.3)
    level_db = np.clip(look.echo_db + look.echo_step_db * latents.echo, look.echo_low_db, look.echo_high_db)
    lesion_db = level_db - look.swing_echo_db * swing + look.echo_texture_db * texture
    echo_db += inside * (lesion_db - echo_db)
    mirror_db -= 40.0 * inside
    # A stiff, ragged margin sets a bright halo of reactive tissue around the lesion.
    halo = np.exp(-(((level + 1.8) / 1.6) ** 2)) * (soft - 0.5) / 1.3
    echo_db += look.halo_db * halo
    behind_db = look.shadow_db + look.shadow_step_db * latents.shadow + look.swing_shadow_db * swing
    behind_db = np.clip(behind_db, look.shadow_low_db, look.shadow_high_db)
    loss += inside * behind_db / (1.6 * float(lesion.half_axes_mm.mean()))
    # Beams that graze the side of the lesion are bent away: thin shadows below both its edges.
    outline = smooth_step(level, 2.4)
    side = np.abs(np.gradient(outline, axis=1)) / (across[1] - across[0])
    flat = np.abs(np.gradient(outline, axis=0)) / (deep[1] - deep[0])
    loss += 2.6 * side**2 / (side + flat + 0.05)
    # A smooth border reflects like a mirror where it faces the beam: a thin bright capsule above and below.
    capsule = np.exp(-((level / 0.3) ** 2)) * flat / (side + flat + 0.05) * min(max(1.6 - soft, 0.0), 1.0)
    mirror_db = np.maximum(mirror_db, 20.0 * np.log10(np.maximum(0.6 * capsule, 1e-3)))
    more = screen.oversample
    echo_db, loss, mirror_db = (np.repeat(np.repeat(part, more, axis=0), more, axis=1) for part in (echo_db, loss, mirror_db))
    depths = (np.arange(screen.depths * more, dtype=np.float32) + 0.5) * (screen.depth_mm / screen.depths / more)
    grey = scan(ground, echo_db, loss, mirror_db, float(across[1] - across[0]) / more, depths[:, None], rng)
    pixels = _stretch(grey, (screen.rows, screen.columns))
    if level.shape != pixels.shape:
        columns = (np.arange(screen.columns) + 0.5) * screen.pixel_mm - screen.width_mm / 2
        rows = (np.arange(screen.rows) + 0.5) * screen.pixel_mm
        level = lesion_level(lesion, probe, turn, *(part.astype(np.float32) for part in np.meshgrid(columns, rows)))
    return View(np.asarray(np.clip(pixels, 0, 255), dtype=np.uint8), level > 0)


def lesion_level(lesion: Lesion, probe: Probe, turn_deg: float, across_mm: Field, deep_mm: Field) -> Field:
    """Return how far (mm) each place of a plane lies inside the lesion; far away only a rough negative number."""
    depth = float(np.linalg.norm(lesion.centre_mm - probe.skin_mm))
    level = np.asarray(lesion.reach_mm * 0.6 - np.hypot(across_mm, deep_mm - np.float32(depth)), dtype=np.float32)
    near = level > -lesion.reach_mm * 0.4 - 6.0
    level[near] = lesion.depth(probe.points_mm(turn_deg, across_mm[near], deep_mm[near]))
    return level


def _stretch(grey: Field, shape: tuple[int, int]) -> Field:
    """Return the picture at another size: averaged where it gets smaller, straight lines between where it grows."""
    rows, columns = grey.shape
    if rows > shape[0]:
        grey = grey.reshape(shape[0], rows // shape[0], columns).mean(axis=1)
    if columns > shape[1]:
        grey = grey.reshape(shape[0], shape[1], columns // shape[1]).mean(axis=2)
    elif columns < shape[1]:
        place = (np.arange(shape[1]) + 0.5) * columns / shape[1] - 0.5
        index = np.clip(place, 0, columns - 1)
        below = np.minimum(index.astype(int), columns - 2)
        share = (index - below).astype(np.float32)
        grey = grey[:, below] * (1 - share) + grey[:, below + 1] * share
    return np.asarray(grey, dtype=np.float32)
