"""The dynamic MRI of a made-up patient: tissues and lesion through kinetics and scanner to stored numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from breastai_model.phantom import kinetics
from breastai_model.phantom.texture import refine, smooth_step, spectral_noise
from breastai_model.phantom.tissues import MM_PER_SLICE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.phantom.anatomy import Axes, Layer
    from breastai_model.phantom.labels import Latents
    from breastai_model.phantom.lesion import Lesion
    from breastai_model.phantom.texture import Field
    from breastai_model.phantom.tissues import Tissues

TIMES_S = (-60.0, 75.0, 150.0, 240.0, 450.0)
"""Middle of each phase, seconds from injection; the first is before contrast."""
NOISE = 4.2
"""Standard deviation of each channel (real, imaginary), counts, at 1 x 1 x 2 mm."""
COUNTS_MAX = 4095


@dataclass(frozen=True, eq=False, slots=True)
class LesionVoxels:
    """The lesion on the volume.

    Attributes
    ----------
    box
        Index box in which it lies.
    share
        Share of each voxel of the box that is lesion.
    parts
        uint8: 0 outside, k + 1 for `kinetics.PARTS[k]`.
    rim
        True in the outer shell that outshines the core.
    amplitude
        Concentration relative to the part's own curve: 1 in the rim, less in the core.
    """

    box: tuple[slice, slice, slice]
    share: Field
    parts: NDArray[np.uint8]
    rim: NDArray[np.bool_]
    amplitude: Field


def lesion_voxels(lesion: Lesion, axes: Axes, latents: Latents, rng: np.random.Generator) -> LesionVoxels:
    """Return which voxels the lesion fills and with what."""
    margin = lesion.reach_mm + np.array([axes.spacing_mm[2], axes.spacing_mm[1], axes.spacing_mm[0]]) * 1.5
    box = axes.box(lesion.centre_mm - margin, lesion.centre_mm + margin)
    x, y, z = axes.within(box)
    planes = max(1, round(axes.spacing_mm[0] / MM_PER_SLICE))
    soft = lesion.softness_mm + 0.8 * axes.spacing_mm[2]
    shape = np.broadcast_shapes(x.shape, y.shape, z.shape)
    share = np.zeros(shape, dtype=np.float32)
    for step in (np.arange(planes) + 0.5) / planes - 0.5:
        points = np.stack(np.broadcast_arrays(x, y, z + np.float32(step * axes.spacing_mm[0])), axis=-1)
        share += smooth_step(lesion.depth(points), soft) / planes
    points = np.stack(np.broadcast_arrays(x, y, z), axis=-1)
    depth = lesion.depth(points)
    radius = np.maximum(lesion.radius(points - lesion.centre_mm.astype(np.float32)), 1.0)
    mottle = spectral_noise(rng, (24, 24, 24), (2.0, 2.0, 2.0), (9.0, 9.0, 9.0), 3.5)
    index = np.stack([(points[..., k] - lesion.centre_mm[k]).astype(np.float32) / 2.0 for k in (2, 1, 0)])
    mottled = ndimage.map_coordinates(mottle, index, order=1, mode="grid-wrap", prefilter=False)
    inside = share > 0.5
    rim = inside & (depth < 0.24 * radius)
    # The outer shell washes out first: the field that the parts are cut from leans outwards.
    field = mottled + 0.6 * rim
    washed = 0.55 / (1.0 + np.exp(-1.2 * latents.wash_out)) + 0.06
    held = (1.0 - washed) * 0.5
    parts = np.zeros(shape, dtype=np.uint8)
    if inside.any():
        low, high = np.quantile(field[inside], (1.0 - washed - held, 1.0 - washed))
        parts[:] = 1 + (field > low).astype(np.uint8) + (field > high).astype(np.uint8)
    core = 0.06 + 0.64 / (1.0 + np.exp(-1.4 * latents.rim))
    fade = np.clip((depth / radius - 0.18) / 0.3, 0.0, 1.0)
    amplitude = np.asarray((1.0 - core * fade) * (1.0 + 0.08 * mottled), dtype=np.float32).clip(0.05, 1.3)
    return LesionVoxels(box, share, parts, rim, amplitude)


def uptake(latents: Latents) -> float:
    """Return the factor on Ktrans that the latent "slope" stands for."""
    return float(np.exp(0.38 * latents.slope))


def render(
    tissues: Tissues, extra: Layer, voxels: LesionVoxels, latents: Latents, axes: Axes, rng: np.random.Generator
) -> NDArray[np.int16]:
    """Return the (phase, slice, row, column) stored numbers."""
    sensitivity = _sensitivity(tissues, axes, rng)
    phases = np.empty((len(TIMES_S), *axes.shape), dtype=np.int16)
    # Slices thicker than those that NOISE is given for hold more signal; a scanner's operator trades that for time.
    noise = np.float32(NOISE) * (2.0 / axes.spacing_mm[0] / (axes.spacing_mm[1] * axes.spacing_mm[2])) ** 0.35
    # Parallel imaging and the intensity correction raise the noise where the coil hardly reaches.
    deep = np.asarray(1.0 + 1.4 * np.clip((axes.rows - 25.0) / 60.0, 0.0, 1.0), dtype=np.float32)[:, None]
    curves = {part: kinetics.tissue_concentration(kinetics.lesion_tissue(part, uptake(latents)), TIMES_S) for part in kinetics.PARTS}
    shifts = np.concatenate([[0.0], rng.normal(0.0, 0.10, len(TIMES_S) - 1).cumsum()])
    for number in range(len(TIMES_S)):
        image = np.zeros(axes.shape, dtype=np.float32)
        for layer in (*tissues.layers, extra):
            _paint(image, layer, _layer_signal(layer, number))
        lesion = np.zeros(voxels.share.shape, dtype=np.float32)
        for code, part in enumerate(kinetics.PARTS, start=1):
            where = voxels.parts == code
            lesion[where] = kinetics.gradient_echo_signal(
                curves[part][number] * voxels.amplitude[where], kinetics.LESION_T1_S, kinetics.LESION_EQUILIBRIUM
            )
        image[voxels.box] += voxels.share * (lesion - image[voxels.box])
        image *= sensitivity
        if number:
            # Breathing moves the breasts by a fraction of a millimetre between phases.
            image += np.float32(shifts[number] / axes.spacing_mm[1]) * np.asarray(np.gradient(image, axis=1), dtype=np.float32)
        phases[number] = _measured(image, np.asarray(noise * deep, dtype=np.float32), rng)
    return phases


def _layer_signal(layer: Layer, number: int) -> float:
    if isinstance(layer.tissue, float):
        return layer.tissue
    curve = kinetics.tissue_signal(layer.tissue, TIMES_S)
    return float(curve[0] + layer.boost * (curve[number] - curve[0]))


def _paint(image: Field, layer: Layer, signal: float) -> None:
    part = image[layer.box]
    part += layer.share * (np.float32(signal) - part)


def _sensitivity(tissues: Tissues, axes: Axes, rng: np.random.Generator) -> Field:
    """Return the gain of the breast coil: bright near the skin, falling off into the chest, uneven between the sides."""
    shape = (6, 8, 8)
    uneven = spectral_noise(rng, shape, (30.0, 30.0, 40.0), (110.0, 110.0, 110.0), 4.0)
    coarse = tuple(np.linspace(axis[0], axis[-1], count) for axis, count in zip((axes.slices, axes.rows, axes.columns), shape, strict=True))
    field = refine(0.10 * uneven, coarse, (axes.slices, axes.rows, axes.columns))
    field += 0.45 * np.exp(-np.maximum(tissues.depth_mm, 0.0) / np.float32(5.0))
    field -= np.maximum((axes.rows - 40.0) / 230.0, 0.0).astype(np.float32)[None, :, None]
    return np.asarray(np.exp(field), dtype=np.float32)


def _measured(image: Field, noise: Field, rng: np.random.Generator) -> NDArray[np.int16]:
    """Return the magnitude of the image with noise in both channels (Rician), rounded to the scanner's integers."""
    real = rng.standard_normal(image.shape, dtype=np.float32)
    real *= noise
    real += image
    real *= real
    imaginary = rng.standard_normal(image.shape, dtype=np.float32)
    imaginary *= noise
    imaginary *= imaginary
    real += imaginary
    np.sqrt(real, out=real)
    return np.asarray(np.minimum(np.rint(real, out=real), COUNTS_MAX), dtype=np.int16)
