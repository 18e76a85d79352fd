"""What fills the body of a made-up patient: skin, fat, glands, muscle, ribs, lungs, heart, as shares of a voxel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from breastai_model.phantom import kinetics
from breastai_model.phantom.anatomy import Axes, Layer
from breastai_model.phantom.texture import refine, ridges, sample, smooth_step, spectral_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.phantom.anatomy import Body, Breast
    from breastai_model.phantom.texture import Field

SKIN_MM = 1.7
COARSE_MM = 3.5
"""Smooth distances are computed this far apart and brought to the voxels by straight lines."""
FAT, BRIGHT_FAT, LUNG, BONE, FASCIA = 42.0, 210.0, 8.0, 34.0, 62.0
"""Signals, in counts, of what does not enhance; fat is suppressed."""
GLAND_MM = (1.8, 1.6, 1.3)
"""Voxels (z, y, x) of the gland's random texture."""
MM_PER_SLICE = 3.0
"""Thicker slices are the mean of several planes, as a scanner's are."""


@dataclass(frozen=True, eq=False, slots=True)
class Tissues:
    """All tissues but the lesion, in the order in which they are painted, and the depth under the skin (mm)."""

    layers: tuple[Layer, ...]
    depth_mm: Field


def build(body: Body, axes: Axes, rng: np.random.Generator) -> Tissues:
    """Return the tissues of a body on a volume."""
    coarse = Axes(*(_coarser(axis) for axis in (axes.slices, axes.rows, axes.columns)))
    x, y, z = coarse.within((slice(None), slice(None), slice(None)))
    depth, chest = (
        refine(field, (coarse.slices, coarse.rows, coarse.columns), (axes.slices, axes.rows, axes.columns))
        for field in (_distance(-body.skin_level(x, y, z), coarse), -body.chest_level(x, y, z))
    )
    whole = (slice(None), slice(None), slice(None))
    pixel = axes.spacing_mm[2] * 1.2
    layers = [Layer(FAT, whole, smooth_step(depth, pixel))]
    layers += _glands(body, axes, rng)
    layers += _chest_wall(body, axes, chest, rng)
    layers += _thorax(body, axes, chest, rng)
    layers.append(_unsuppressed(axes, depth, rng))
    layers.append(Layer(kinetics.SKIN, whole, smooth_step(depth, pixel) * smooth_step(SKIN_MM - depth, pixel)))
    return Tissues(tuple(layers), depth)


def _coarser(axis: NDArray[np.float64]) -> NDArray[np.float64]:
    count = max(2, round(float(axis[-1] - axis[0]) / COARSE_MM) + 1)
    return axis if count >= len(axis) else np.linspace(axis[0], axis[-1], count)


def _distance(level: Field, axes: Axes) -> Field:
    """Return the level divided by the length of its gradient: near its zero, the distance in mm."""
    slopes = np.gradient(level, *axes.spacing_mm)
    steepness = np.sqrt(sum(slope**2 for slope in slopes))
    return np.asarray(level / np.maximum(steepness, 0.35), dtype=np.float32)


def _glands(body: Body, axes: Axes, rng: np.random.Generator) -> list[Layer]:
    """Return fibroglandular tissue: a branching texture of strands that run together towards the nipple."""
    layers = []
    for breast, background in zip(body.breasts, body.backgrounds, strict=True):
        base = float(body.base_mm(breast.z_mm))
        reach = np.array([breast.half_width_mm + 4, 0.0, breast.half_height_mm + 4])
        centre = np.array([breast.x_mm, 0.0, breast.z_mm])
        box = axes.box(centre - reach + [0, base - breast.length_mm - 8, 0], centre + reach + [0, base + 6, 0])
        strands, lobes = (spectral_noise(rng, (48, 64, 72), GLAND_MM, grain, 3.4) for grain in ((2.6, 7.5, 2.4), (22.0, 36.0, 20.0)))
        x, y, z = axes.within(box)
        planes = max(1, round(axes.spacing_mm[0] / MM_PER_SLICE))
        fascia, gland = np.zeros((2, *(span.stop - span.start for span in box)), dtype=np.float32)
        for step in (np.arange(planes) + 0.5) / planes - 0.5:
            place = (x, y, z + np.float32(step * axes.spacing_mm[0]))
            thin, full = _gland_share(body, breast, place, strands, lobes)
            fascia += thin / planes
            gland += full / planes
        layers += [Layer(FASCIA, box, fascia), Layer(kinetics.GLAND, box, gland, background)]
        layers += _nipple(body, axes, breast)
    return layers


def _gland_share(body: Body, breast: Breast, place: tuple[Field, Field, Field], strands: Field, lobes: Field) -> tuple[Field, Field]:
    """Return the shares of thin ligaments and of gland at x, y, z."""
    x, y, z = place
    forward = body.base_mm(z).astype(np.float32) - y
    u, v = x - np.float32(breast.x_mm), z - np.float32(breast.z_mm)
    squeeze = 0.5 + 0.5 * np.clip((breast.length_mm - forward) / 60.0, 0.0, 1.0)
    across_scale = (v / squeeze / GLAND_MM[0], forward / GLAND_MM[1], u / squeeze / GLAND_MM[2])
    whole = np.broadcast_shapes(*(part.shape for part in across_scale))
    index = tuple(np.broadcast_to(part, whole).astype(np.float32) for part in across_scale)
    strand, lobe = sample(strands, index), sample(lobes, index)
    width = np.maximum(breast.profile(forward), 0.12)
    across = ((u / breast.half_width_mm) ** 2 + (v / breast.half_height_mm) ** 2) / width**2
    region = 0.9 - across / 0.68 - ((forward / breast.length_mm - 0.55) / 0.46) ** 2
    amount = 1.1 * region + 0.75 * lobe + 0.35 * body.density - 0.15
    inside = smooth_step(breast.half_width_mm * (width - np.sqrt(across) * width) - 3.0, 3.0)
    # A mesh of strands, its gaps filled where there is much gland.
    mesh = ridges(strand + 0.25 * lobe, 0.5)
    filled = smooth_step(amount + 0.3 * strand - 0.55, 0.9) * np.float32(0.15 + 0.4 / (1.0 + np.exp(-3.0 * body.density)))
    present = smooth_step(amount + 0.25 * strand + 0.5, 1.0)
    gland = present * (filled + (1.0 - filled) * mesh)
    thin = (0.4 * ridges(strand - 0.8, 0.22) + 0.3 * ridges(strand + 1.0, 0.3)) * inside
    return np.asarray(thin, dtype=np.float32), np.asarray(0.97 * gland * inside, dtype=np.float32)


def _unsuppressed(axes: Axes, depth: Field, rng: np.random.Generator) -> Layer:
    """Return patches of bright fat under the skin, where the scanner missed the fat's frequency."""
    patches = spectral_noise(rng, (10, 16, 20), (15.0, 18.0, 17.0), (50.0, 50.0, 50.0), 3.5)
    patch = refine(patches, *_stretched(patches.shape, axes))
    share = np.clip(0.5 * patch - 0.35, 0.0, 1.0) * np.exp(-np.abs(depth - 2.0) / np.float32(2.6))
    return Layer(BRIGHT_FAT, (slice(None), slice(None), slice(None)), np.asarray(share * (depth > 0.3), dtype=np.float32))


def _nipple(body: Body, axes: Axes, breast: Breast) -> list[Layer]:
    tip = np.array([breast.x_mm, float(body.base_mm(breast.z_mm)) - breast.length_mm, breast.z_mm])
    box = axes.box(tip - 14.0, tip + 14.0)
    x, y, z = axes.within(box)
    across = ((x - tip[0]) ** 2 + (z - tip[2]) ** 2) / 5.5**2
    level = 1.0 - np.sqrt(across + ((y - tip[1]) / 5.0) ** 2)
    return [Layer(kinetics.SKIN, box, smooth_step(np.asarray(level * 5.0, dtype=np.float32), 1.6))]


def _chest_wall(body: Body, axes: Axes, chest: Field, rng: np.random.Generator) -> list[Layer]:
    """Return pectoral muscle with fibres, the wall between the ribs, ribs and sternum."""
    whole = (slice(None), slice(None), slice(None))
    x, y, z = axes.within(whole)
    grain = spectral_noise(rng, (16, 32, 48), (9.0, 9.0, 7.0), (20.0, 40.0, 60.0), 3.0)
    texture = refine(grain, *_stretched(grain.shape, axes))
    # Thickest in front of the ribs on either side, thin towards the armpit.
    front = chest + 1.6 * texture - 0.03 * np.maximum(np.abs(x) - 60.0, 0.0)
    middle = np.clip((np.abs(x) - 10.0) / 8.0, 0.0, 1.0)
    muscle = smooth_step(front - 3.5, 2.0) * smooth_step(11.0 + 1.5 * texture - front, 2.0) * middle
    fibres = 0.8 + 0.2 * np.cos(front * 2.2 + 3.0 * texture)
    wall = smooth_step(chest - 12.0, 2.0) * smooth_step(18.5 - chest, 2.0)
    ribs = smooth_step(np.asarray(np.cos((z + 0.35 * np.abs(x) + 3.0 * texture) * (2 * np.pi / 27.0)) - 0.35, dtype=np.float32), 0.5)
    sternum = smooth_step(16.0 - np.abs(x), 3.0) * smooth_step(front - 4.0, 2.0) * smooth_step(15.0 - front, 2.0)
    back = smooth_step(y - np.float32(body.front_mm + 1.25 * body.half_depth_mm), 30.0) * smooth_step(front - 6.0, 2.0)
    return [
        Layer(kinetics.MUSCLE, whole, np.asarray(np.maximum(muscle * fibres, 0.8 * back), dtype=np.float32)),
        Layer(kinetics.MUSCLE, whole, np.asarray(wall * 0.85, dtype=np.float32)),
        Layer(BONE, whole, np.asarray(np.maximum(wall * ribs * 0.8, sternum * 0.7), dtype=np.float32)),
    ]


def _stretched(shape: tuple[int, ...], axes: Axes) -> tuple[tuple[NDArray[np.float64], ...], tuple[NDArray[np.float64], ...]]:
    """Return coordinates that spread a field of that shape over the whole volume, and the volume's own."""
    fine = (axes.slices, axes.rows, axes.columns)
    return tuple(np.linspace(axis[0], axis[-1], count) for axis, count in zip(fine, shape, strict=True)), fine


def _thorax(body: Body, axes: Axes, chest: Field, rng: np.random.Generator) -> list[Layer]:
    """Return lungs, heart with its chambers, great vessels and the dome of the liver."""
    whole = (slice(None), slice(None), slice(None))
    wobble = spectral_noise(rng, (24, 32, 32), (6.0, 6.0, 6.0), (30.0, 30.0, 30.0), 4.0)
    bulge = refine(wobble, *_stretched(wobble.shape, axes))
    lung = smooth_step(chest - 18.5, 3.0)
    twigs = refine(spectral_noise(rng, wobble.shape, (6.0, 6.0, 6.0), (5.0, 5.0, 5.0), 3.0), *_stretched(wobble.shape, axes))
    layers = [
        Layer(LUNG, whole, lung),
        Layer(kinetics.BLOOD, whole, np.asarray(0.16 * lung * np.clip(twigs - 1.1, 0.0, 1.0), dtype=np.float32)),
    ]
    parts: tuple[tuple[kinetics.Tissue, tuple[float, ...], tuple[float, ...]], ...] = (
        (kinetics.LIVER, (-62.0, 78.0, -112.0), (78.0, 72.0, 62.0)),
        (kinetics.MYOCARDIUM, (24.0, 60.0, -14.0), (52.0, 38.0, 46.0)),
        (kinetics.BLOOD, (2.0, 46.0, -10.0), (26.0, 19.0, 36.0)),
        (kinetics.BLOOD, (46.0, 64.0, -18.0), (21.0, 22.0, 34.0)),
        (kinetics.BLOOD, (0.0, 76.0, 2.0), (24.0, 16.0, 26.0)),
        (kinetics.BLOOD, (6.0, 60.0, 44.0), (17.0, 17.0, 42.0)),
        (kinetics.BLOOD, (20.0, 132.0, 0.0), (12.0, 12.0, 900.0)),
    )
    for tissue, offset, radii in parts:
        centre = np.array([offset[0], body.front_mm + offset[1], offset[2]])
        box = axes.box(centre - np.array(radii) * 1.3 - 12.0, centre + np.array(radii) * 1.3 + 12.0)
        if any(span.stop <= span.start for span in box):
            continue
        x, y, z = axes.within(box)
        level = 1.0 - np.sqrt(((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 + ((z - centre[2]) / radii[2]) ** 2)
        # A beating heart blurs its own borders over several millimetres.
        edge = np.asarray(level * min(radii) + min(5.0, min(radii) / 6) * bulge[box], dtype=np.float32)
        share = smooth_step(edge, 6.0) * smooth_step(chest[box] - 20.0, 3.0)
        layers.append(Layer(tissue, box, np.asarray(share * (0.92 + 0.06 * bulge[box]), dtype=np.float32).clip(0, 1)))
    return layers
