"""The dynamic MRI of a made-up patient: tissues and lesion through kinetics and scanner to stored numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from breastai_model.phantom import kinetics
from breastai_model.phantom.appearance import APPEARANCE, rise
from breastai_model.phantom.texture import refine, smooth_step, spectral_noise
from breastai_model.phantom.tissues import MM_PER_SLICE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.phantom.anatomy import Axes, Layer
    from breastai_model.phantom.latents import Latents
    from breastai_model.phantom.lesion import Lesion
    from breastai_model.phantom.texture import Field
    from breastai_model.phantom.tissues import Tissues

TIMES_S = (-60.0, 75.0, 150.0, 240.0, 450.0)
"""Middle of each phase, seconds from injection; the first is before contrast."""
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
    look = APPEARANCE
    washed = rise(look.washed_low, look.washed_high, look.wash_out_steepness, latents.wash_out)
    held = (1.0 - washed) * 0.5
    parts = np.zeros(shape, dtype=np.uint8)
    if inside.any():
        low, high = np.quantile(field[inside], (1.0 - washed - held, 1.0 - washed))
        parts[:] = 1 + (field > low).astype(np.uint8) + (field > high).astype(np.uint8)
    core = rise(look.core_low, look.core_high, look.rim_steepness, latents.rim)
    fade = np.clip((depth / radius - 0.18) / 0.3, 0.0, 1.0)
    amplitude = np.asarray((1.0 - core * fade) * (1.0 + look.mottle * mottled), dtype=np.float32).clip(0.05, 1.5)
    return LesionVoxels(box, share, parts, rim, amplitude)


def uptake(latents: Latents) -> float:
    """Return the factor on Ktrans that the latent "slope" stands for."""
    return float(np.exp(APPEARANCE.uptake_log * latents.slope))


def render(
    tissues: Tissues, extra: Layer, voxels: LesionVoxels, latents: Latents, axes: Axes, rng: np.random.Generator, ordered: bool = False
) -> NDArray[np.int16]:
    """Return the (phase, slice, row, column) stored numbers.

    `ordered` is scenario S6: each voxel of the lesion takes its values after contrast in rising order or, where the latent `order` is
    above 0, in falling order; all else stays as it is on average after contrast, so that nothing but the lesion tells the phases apart.
    """
    sensitivity = _sensitivity(tissues, axes, rng)
    phases = np.empty((len(TIMES_S), *axes.shape), dtype=np.int16)
    # Slices thicker than those that `mri_noise` is given for hold more signal; a scanner's operator trades that for time.
    noise = np.float32(APPEARANCE.mri_noise) * (2.0 / axes.spacing_mm[0] / (axes.spacing_mm[1] * axes.spacing_mm[2])) ** 0.35
    # Parallel imaging and the intensity correction raise the noise where the coil hardly reaches.
    deep = np.asarray(1.0 + 1.4 * np.clip((axes.rows - 25.0) / 60.0, 0.0, 1.0), dtype=np.float32)[:, None]
    curves = {part: kinetics.tissue_concentration(kinetics.lesion_tissue(part, uptake(latents)), TIMES_S) for part in kinetics.PARTS}
    moved = rng.normal(0.0, APPEARANCE.motion_mm, len(TIMES_S) - 1)
    shifts = np.concatenate([[0.0], moved if ordered else moved.cumsum()])
    gain = np.float32(np.exp(APPEARANCE.gain_log * latents.gain))
    lesion = np.zeros((len(TIMES_S), *voxels.share.shape), dtype=np.float32)
    for code, part in enumerate(kinetics.PARTS, start=1):
        where = voxels.parts == code
        lesion[:, where] = kinetics.gradient_echo_signal(
            curves[part][:, None] * voxels.amplitude[where], kinetics.LESION_T1_S, kinetics.LESION_EQUILIBRIUM
        )
    if ordered:
        rising = np.sort(lesion[1:], axis=0)
        lesion[1:] = rising[::-1] if latents.order > 0 else rising
    layers = [(layer, _layer_signal(layer, ordered)) for layer in (*tissues.layers, extra)]
    for number in range(len(TIMES_S)):
        image = np.zeros(axes.shape, dtype=np.float32)
        for layer, signal in layers:
            _paint(image, layer, float(signal[number]))
        image[voxels.box] += voxels.share * (lesion[number] - image[voxels.box])
        image *= sensitivity
        if number:
            # Breathing moves the breasts by a fraction of a millimetre between phases.
            image += np.float32(shifts[number] / axes.spacing_mm[1]) * np.asarray(np.gradient(image, axis=1), dtype=np.float32)
        phases[number] = _measured(image, np.asarray(noise * deep, dtype=np.float32), gain, rng)
    return phases


def _layer_signal(layer: Layer, held: bool) -> NDArray[np.float64]:
    """Return the signal at each phase; `held`, every phase after contrast has their mean."""
    if isinstance(layer.tissue, float):
        return np.full(len(TIMES_S), layer.tissue)
    curve = kinetics.tissue_signal(layer.tissue, TIMES_S)
    if held:
        curve[1:] = curve[1:].mean()
    return np.asarray(curve[0] + layer.boost * (curve - curve[0]))


def _paint(image: Field, layer: Layer, signal: float) -> None:
    part = image[layer.box]
    part += layer.share * (np.float32(signal) - part)


def _sensitivity(tissues: Tissues, axes: Axes, rng: np.random.Generator) -> Field:
    """Return the gain of the breast coil: bright near the skin, falling off into the chest, uneven between the sides."""
    shape = (6, 8, 8)
    uneven = spectral_noise(rng, shape, (30.0, 30.0, 40.0), (110.0, 110.0, 110.0), 4.0)
    coarse = tuple(np.linspace(axis[0], axis[-1], count) for axis, count in zip((axes.slices, axes.rows, axes.columns), shape, strict=True))
    field = refine(APPEARANCE.bias * uneven, coarse, (axes.slices, axes.rows, axes.columns))
    field += APPEARANCE.surface_gain * np.exp(-np.maximum(tissues.depth_mm, 0.0) / np.float32(APPEARANCE.surface_mm))
    field -= np.maximum((axes.rows - 40.0) / 230.0, 0.0).astype(np.float32)[None, :, None]
    return np.asarray(np.exp(field), dtype=np.float32)


def _measured(image: Field, noise: Field, gain: np.float32, rng: np.random.Generator) -> NDArray[np.int16]:
    """Return the magnitude of the image with noise in both channels (Rician), times the gain, rounded to the scanner's integers."""
    real = rng.standard_normal(image.shape, dtype=np.float32)
    real *= noise
    real += image
    real *= real
    imaginary = rng.standard_normal(image.shape, dtype=np.float32)
    imaginary *= noise
    imaginary *= imaginary
    real += imaginary
    np.sqrt(real, out=real)
    real *= gain
    return np.asarray(np.minimum(np.rint(real, out=real), COUNTS_MAX), dtype=np.int16)
