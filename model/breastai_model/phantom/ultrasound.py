"""Twelve ultrasound images of a made-up patient, each a plane through the same lesion and the same tissue.

The probe's frame has its origin on the skin: p along the direction that 0° shows from left to right (towards the
patient's left, projected on the skin), q square to it and to the axis, w along the axis into the body, all in mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from breastai_model.phantom.texture import ridges, sample, smooth_step, spectral_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.phantom.labels import Latents
    from breastai_model.phantom.lesion import Lesion
    from breastai_model.phantom.texture import Field

ANGLES_DEG = tuple(15.0 * step for step in range(12))
FREQUENCY_MHZ = 9.0
ATTENUATION_DB_PER_CM_MHZ = 0.75
DYNAMIC_RANGE_DB = 58.0
SKIN_MM = 1.6
FIELD_MM = (0.5, 0.75, 0.75)
FIELD_SHAPE = (96, 72, 72)
"""Voxels (w, q, p) of the tissue's random fields; 48 x 54 x 54 mm, periodic."""


@dataclass(frozen=True, slots=True)
class Screen:
    """The pixels of an image: counts, and mm a pixel (rows and columns alike)."""

    rows: int
    columns: int
    pixel_mm: float
    lines: int
    """Beams that are simulated across the image; columns are drawn between them."""
    depths: int
    """Depths at which the tissue is computed."""
    oversample: int
    """Scatterers along a beam for each of those depths."""

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
    """Return the whole angle (degrees, 0 to below 180) at which a plane through the axis cuts the largest area."""
    depth = float(np.linalg.norm(lesion.centre_mm - probe.skin_mm))
    reach = lesion.reach_mm
    across, deep = np.meshgrid(np.arange(-reach, reach, 1.0), np.arange(-reach, reach, 1.0) + depth)
    areas = [float((lesion.depth(probe.points_mm(angle, across, deep)) > 0).sum()) for angle in range(0, 180, 5)]
    return 5.0 * int(np.argmax(areas))


@dataclass(frozen=True, eq=False, slots=True)
class Ground:
    """The random tissue that all twelve planes cut: periodic fields over (w, q, p) and heights of the layers (mm).

    `fat_mm`, `gland_mm`: mean depth of the lower border of the fat under the skin and of the gland; `rib` tells where
    ribs run.
    """

    lobules: Field
    streaks: Field
    surface: Field
    fat_mm: float
    gland_mm: float
    density: float
    rib_phase: float
    rib_turn: float
    depth_gain: float
    dynamic: float


def draw_ground(rng: np.random.Generator, lesion_depth_mm: float) -> Ground:
    """Return tissue around a lesion that lies that deep."""
    lobules = spectral_noise(rng, FIELD_SHAPE, FIELD_MM, (7.0, 13.0, 13.0), 4.0)
    streaks = spectral_noise(rng, FIELD_SHAPE, FIELD_MM, (1.6, 9.0, 9.0), 2.6)
    surface = spectral_noise(rng, (80, 80), (0.7, 0.7), (17.0, 17.0), 3.6)
    fat = min(rng.uniform(6.0, 10.5), max(3.5, lesion_depth_mm - 4.0))
    return Ground(
        lobules,
        streaks,
        surface,
        fat,
        max(lesion_depth_mm + rng.uniform(6.0, 10.0), rng.uniform(20.0, 26.0)),
        float(rng.uniform(0.25, 1.0)),
        float(rng.uniform(0, 2 * np.pi)),
        float(rng.uniform(0, np.pi)),
        float(rng.normal(0.0, 1.0)),
        float(rng.normal(0.0, 3.0)),
    )


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
    l, w = (part.astype(np.float32) for part in np.meshgrid(across, deep))
    level = lesion_level(lesion, probe, turn, l, w)
    echo_db, loss, mirror_db = _tissue(ground, np.deg2rad(turn), l, w)
    swing = 0.9 / (1.0 + np.exp(-1.3 * latents.anisotropy)) * np.cos(2 * np.deg2rad(angle_deg) + 0.6)
    texture = sample(ground.streaks, _index(np.deg2rad(turn), l, w * 1.4 + 11.0))
    ragged = level + 0.4 * (lesion.softness_mm - 0.4) * sample(ground.streaks, _index(np.deg2rad(turn), l * 3.0, w * 1.6))
    inside = smooth_step(ragged, lesion.softness_mm * 1.3)
    lesion_db = -22.0 + 4.0 * latents.echo + 3.0 * swing + 2.8 * texture
    echo_db += inside * (lesion_db - echo_db)
    mirror_db -= 40.0 * inside
    # A stiff, ragged margin sets a bright halo of reactive tissue around the lesion.
    halo = np.exp(-(((level + 1.8) / 1.6) ** 2)) * (lesion.softness_mm - 0.5) / 1.3
    echo_db += 8.0 * halo
    behind_db = 4.0 + 11.0 * np.tanh(0.7 * latents.shadow + 0.5 * swing)
    loss += inside * behind_db / (1.6 * float(lesion.half_axes_mm.mean()))
    # Beams that graze the side of the lesion are bent away: thin shadows below both its edges.
    outline = smooth_step(level, 2.4)
    side = np.abs(np.gradient(outline, axis=1)) / (across[1] - across[0])
    flat = np.abs(np.gradient(outline, axis=0)) / (deep[1] - deep[0])
    loss += 2.6 * side**2 / (side + flat + 0.05)
    fine = (np.repeat(part, screen.oversample, axis=0) for part in (echo_db, loss, mirror_db))
    depths = (np.arange(screen.depths * screen.oversample, dtype=np.float32) + 0.5) * (screen.depth_mm / screen.depths / screen.oversample)
    grey = _scan(ground, *fine, across[1] - across[0], depths[:, None], rng)
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


def _index(turn: float, l: Field, w: Field) -> tuple[Field, Field, Field]:
    """Return indices into the tissue's fields of places in a plane."""
    return (
        np.asarray(w / FIELD_MM[0], dtype=np.float32),
        np.asarray(-np.sin(turn) * l / FIELD_MM[1], dtype=np.float32),
        np.asarray(np.cos(turn) * l / FIELD_MM[2], dtype=np.float32),
    )


def _tissue(ground: Ground, turn: float, l: Field, w: Field) -> tuple[Field, Field, Field]:
    """Return echo level (dB), loss above the average (dB/mm, both ways) and mirror-like reflection (dB) of the layers."""
    lobule, streak = sample(ground.lobules, _index(turn, l, w)), sample(ground.streaks, _index(turn, l, w))
    fibre = sample(ground.streaks, _index(turn, l * 1.3 + 9.0, w * 1.25 + 21.0))
    line = l[:1]
    q, p = -np.sin(turn) * line / 0.7, np.cos(turn) * line / 0.7
    hill = sample(ground.surface, (np.asarray(q, np.float32), np.asarray(p, np.float32)))
    hill2 = sample(ground.surface, (np.asarray(q * 0.6 + 37, np.float32), np.asarray(p * 0.6 + 11, np.float32)))
    # Cooper's ligaments pull the lower border of the fat up into tents.
    tent = ridges(hill, 0.35)
    fat_mm = ground.fat_mm + 1.3 * hill2 - 0.5 * (ground.fat_mm - 2.5) * tent
    gland_mm = ground.gland_mm + 1.4 * hill2 + 0.06 * line
    fascia_mm = gland_mm + 2.2 + 0.5 * hill
    above = {
        "skin": smooth_step(SKIN_MM + 0.12 * hill - w, 0.5),
        "fat": smooth_step(fat_mm + 0.9 * lobule + 0.25 * streak - w, 1.2),
        "gland": smooth_step(gland_mm + 0.7 * lobule + 0.3 * streak - w, 1.4),
        "fascia": smooth_step(fascia_mm - w, 0.5),
    }
    septa = ridges(lobule, 0.09)
    fat_db = -18.0 + 1.5 * streak + 1.5 * lobule + 8.0 * septa
    patch = smooth_step(np.asarray(lobule + 0.5 * fibre - 1.3 + 2.0 * ground.density, dtype=np.float32), 1.6)
    gland_db = fat_db + 2.0 + patch * (13.0 - 1.5 * lobule + 3.2 * streak + 2.6 * fibre)
    stripe = np.cos((w - fascia_mm) * (2 * np.pi / 1.6) + 2.4 * lobule + 1.2 * streak)
    muscle_db = -19.0 + 7.0 * np.maximum(stripe, 0.0) ** 3 * (0.6 + 0.4 * np.tanh(fibre)) + 1.5 * streak
    echo = muscle_db
    skin_db = -9.0 + 3.0 * np.cos(w * (2 * np.pi / 0.55)) + 1.5 * fibre
    for name, level in (("fascia", fat_db - 1.0), ("gland", gland_db), ("fat", fat_db), ("skin", skin_db)):
        echo = echo + above[name] * (level - echo)
    # What faces the beam reflects like a mirror, in pieces: no sheet of tissue is flat for long.
    facing = 1.0 / (1.0 + (3.0 * np.gradient(lobule, axis=1) / (np.abs(np.gradient(lobule, axis=0)) + 1e-3)) ** 2)
    pieces = 0.5 + 0.5 * np.tanh(1.6 * fibre)
    body = (above["gland"] - above["skin"]).clip(0, 1)
    lines = 1.5 * septa * facing * body * (0.25 + 0.75 * pieces)
    lines += 1.3 * ridges(fibre, 0.1) * smooth_step(np.asarray(streak - 0.6, np.float32), 0.8) * body
    lines += 0.9 * _line(w - fascia_mm, 0.16) * (0.25 + 0.75 * pieces) + 0.7 * _line(w - fat_mm - 0.9 * lobule, 0.14) * pieces
    lines += 0.55 * _line(w - SKIN_MM - 0.12 * hill, 0.12) * (0.4 + 0.6 * pieces) + 1.0 * _line(w - 0.15, 0.12)
    lines += 1.0 * (1 - above["fascia"]) * np.maximum(stripe, 0.0) ** 8 * smooth_step(np.asarray(fibre - 0.3, np.float32), 1.2)
    phase = (l * np.cos(turn - ground.rib_turn)) / 32.0 + ground.rib_phase
    rib_mm = fascia_mm + 9.0 + 0.4 * hill + 4.5 * (1.0 - np.cos(np.pi * (phase - np.round(phase)))) + 0.5 * lobule
    rib = smooth_step(np.asarray(0.3 - np.abs(phase - np.round(phase)), np.float32), 0.16)
    lines += 1.8 * rib * _line(w - rib_mm, 0.35) * (0.3 + 0.7 * pieces)
    behind = np.where(w > rib_mm + 0.6, rib, 0.0) * (w - rib_mm)
    echo = np.where(behind > 0, echo - 8.0 * rib - 2.2 * behind + 1.5 * fibre, echo)
    lines *= 1.0 - np.where(behind > 0, rib, 0.0)
    loss = 0.03 * hill + 0.3 * septa * (1 - facing) + 0.12 * tent * above["gland"]
    mirror = 20.0 * np.log10(np.maximum(lines, 1e-3)) + 1.0
    return np.asarray(echo, np.float32), np.asarray(loss, np.float32), np.asarray(mirror, np.float32)


def _line(distance: Field, width: float) -> Field:
    return np.asarray(np.exp(-((distance / np.float32(width)) ** 2)), dtype=np.float32)


def _scan(ground: Ground, echo_db: Field, loss: Field, mirror_db: Field, pitch: float, w: Field, rng: np.random.Generator) -> Field:
    """Return grey levels, 0 to 255: scatterers through the point spread, attenuation, depth gain, envelope and logarithm.

    `pitch` is the distance of the beams, `w` (row, 1) the depth of the rows, in mm.
    """
    step = float(w[1, 0] - w[0, 0])
    contact = ndimage.gaussian_filter1d(rng.standard_normal(echo_db.shape[1]).astype(np.float32), 1.6 / pitch) * np.sqrt(1.6 / pitch)
    lost = np.cumsum(loss, axis=0) * step
    lost = ndimage.gaussian_filter1d(lost, 0.8 / pitch, axis=1) + 1.8 * np.maximum(contact, -0.3) * np.minimum(w / 8.0, 1.0)
    # The average loss is made good by the depth gain, but not quite: a person has set the sliders.
    uneven = 0.10 * (w - 18.0) * (0.8 + 0.5 * ground.depth_gain) + 1.2 * np.sin(w / 7.0 + ground.rib_phase)
    power = np.zeros_like(echo_db)
    strength = 10.0 ** (echo_db / 20.0)
    mirrors = 10.0 ** (mirror_db / 20.0)
    # A sheet is neither quite smooth nor quite rough: half of what it returns is speckle too.
    strength = strength + 1.1 * mirrors
    looks = 2
    for _ in range(looks):
        waves = (
            rng.standard_normal(echo_db.shape, dtype=np.float32) + 1j * rng.standard_normal(echo_db.shape, dtype=np.float32)
        ) * strength
        phase = np.exp(1j * 2 * np.pi * rng.random()).astype(np.complex64)
        power += np.abs(_spread(waves.astype(np.complex64), step, pitch, w) + phase * _axial(mirrors, step) * 0.8) ** 2
    envelope = np.sqrt(power / looks)
    gain = 10.0 ** ((-lost - uneven) / 20.0)
    floor = 10.0 ** ((-52.0 + 0.55 * w) / 20.0)
    noise = np.abs(rng.standard_normal(echo_db.shape, dtype=np.float32)) * floor
    decibel = 20.0 * np.log10(envelope * gain + noise + 1e-6)
    grey = 255.0 * (decibel + 37.5 + 0.4 * ground.dynamic) / (DYNAMIC_RANGE_DB + ground.dynamic)
    return np.asarray(255.0 * (np.clip(grey, 0, 255) / 255.0) ** 1.35, dtype=np.float32)


def _axial(field: Field, step: float) -> Field:
    return np.asarray(ndimage.gaussian_filter1d(field, 0.06 / step, axis=0), dtype=np.float32)


def _spread(waves: NDArray[np.complex64], step: float, pitch: float, w: Field) -> NDArray[np.complex64]:
    """Blur scatterers with a pulse 0.1 mm long and a beam that is narrowest at 15 mm; unit power is kept."""
    out = np.zeros_like(waves)
    widths = (0.16, 0.32)
    share = np.clip(np.abs(w - 15.0) / 22.0, 0.0, 1.0)
    for width, weight in zip(widths, (np.sqrt(1 - share), np.sqrt(share)), strict=True):
        parts = []
        for part in (waves.real, waves.imag):
            along = ndimage.gaussian_filter1d(part, 0.085 / step, axis=0)
            parts.append(ndimage.gaussian_filter1d(along, width / pitch, axis=1))
        blurred = parts[0] + 1j * parts[1]
        kept = _kept(0.085 / step) * _kept(width / pitch)
        out += (weight / np.sqrt(2 * kept)) * blurred
    return out


def _kept(sigma: float) -> float:
    """Return the share of a white field's power that a Gaussian of that many samples leaves."""
    reach = np.arange(-int(4 * sigma + 1), int(4 * sigma + 1) + 1)
    kernel = np.exp(-(reach**2) / (2 * max(sigma, 1e-3) ** 2))
    return float(((kernel / kernel.sum()) ** 2).sum())


def _stretch(grey: Field, shape: tuple[int, int]) -> Field:
    """Return the picture at another size: averaged where it gets smaller, straight lines between where it grows."""
    rows, columns = grey.shape
    if rows > shape[0]:
        grey = grey.reshape(shape[0], rows // shape[0], columns).mean(axis=1)
    if columns > shape[1]:
        return np.asarray(grey.reshape(shape[0], shape[1], columns // shape[1]).mean(axis=2), dtype=np.float32)
    if columns < shape[1]:
        place = (np.arange(shape[1]) + 0.5) * columns / shape[1] - 0.5
        index = np.clip(place, 0, columns - 1)
        below = np.minimum(index.astype(int), columns - 2)
        share = (index - below).astype(np.float32)
        grey = grey[:, below] * (1 - share) + grey[:, below + 1] * share
    return np.asarray(grey, dtype=np.float32)
