"""From echo levels to grey levels: scatterers, point spread, attenuation, depth gain, envelope, logarithm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from breastai_model.phantom.appearance import APPEARANCE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.phantom.layers import Ground
    from breastai_model.phantom.texture import Field


def scan(ground: Ground, echo_db: Field, loss: Field, mirror_db: Field, pitch: float, w: Field, rng: np.random.Generator) -> Field:
    """Return grey levels, 0 to 255: scatterers through the point spread, attenuation, depth gain, envelope and logarithm.

    `pitch` is the distance of the beams, `w` (row, 1) the depth of the rows, in mm.
    """
    step = float(w[1, 0] - w[0, 0])
    contact = ndimage.gaussian_filter1d(rng.standard_normal((echo_db.shape[1],), dtype=np.float32), 1.6 / pitch) * np.sqrt(1.6 / pitch)
    lost = np.cumsum(loss, axis=0) * step
    lost = ndimage.gaussian_filter1d(lost, 0.8 / pitch, axis=1) + APPEARANCE.contact_db * np.maximum(contact, -0.3) * np.minimum(
        w / 8.0, 1.0
    )
    # The average loss is made good by the depth gain, but not quite: a person has set the sliders.
    uneven = 0.10 * (w - 18.0) * (0.8 + 0.5 * ground.depth_gain) + 1.2 * np.sin(w / 7.0 + ground.rib_phase)
    power = np.zeros_like(echo_db)
    strength, mirrors = amplitude(echo_db), amplitude(mirror_db)
    # A sheet is neither quite smooth nor quite rough: half of what it returns is speckle too.
    strength = strength + 1.1 * mirrors
    smooth = np.asarray(ndimage.gaussian_filter1d(mirrors, 0.06 / step, axis=0), dtype=np.float32)
    looks = APPEARANCE.looks
    for _ in range(looks):
        waves = np.empty(echo_db.shape, dtype=np.complex64)
        waves.real = rng.standard_normal(echo_db.shape, dtype=np.float32) * strength
        waves.imag = rng.standard_normal(echo_db.shape, dtype=np.float32) * strength
        waves = _spread(waves, step, pitch, w)
        waves += np.complex64(0.8 * np.exp(2j * np.pi * rng.random())) * smooth
        power += waves.real**2 + waves.imag**2
    envelope = np.sqrt(power / looks)
    gain = amplitude(-lost - uneven)
    floor = amplitude(-52.0 + 0.55 * w)
    noise = np.abs(rng.standard_normal(echo_db.shape, dtype=np.float32)) * floor
    decibel = 20.0 * np.log10(envelope * gain + noise + 1e-6)
    grey = 255.0 * (decibel + 39.0 + 0.4 * ground.dynamic) / (APPEARANCE.dynamic_range_db + ground.dynamic)
    return np.asarray(255.0 * (np.clip(grey, 0, 255) / 255.0) ** 1.35, dtype=np.float32)


def amplitude(decibel: NDArray[np.floating]) -> Field:
    """Return 10^(dB / 20)."""
    return np.asarray(np.exp(decibel * np.float32(np.log(10.0) / 20.0)), dtype=np.float32)


def _spread(waves: NDArray[np.complex64], step: float, pitch: float, w: Field) -> NDArray[np.complex64]:
    """Blur scatterers with a pulse 0.15 mm long and a beam that is narrowest at 15 mm; unit power is kept."""
    share = np.clip(np.abs(w - 15.0) / 22.0, 0.0, 1.0)
    pulse = 0.065 / step
    out = np.empty_like(waves)
    for part, target in ((waves.real, out.real), (waves.imag, out.imag)):
        along = ndimage.gaussian_filter1d(part, pulse, axis=0)
        target[:] = 0.0
        for width, weight in ((0.13, np.sqrt(1 - share)), (0.28, np.sqrt(share))):
            kept = _kept(pulse) * _kept(width / pitch)
            target += (weight / np.float32(np.sqrt(2 * kept))) * ndimage.gaussian_filter1d(along, width / pitch, axis=1)
    return out


def _kept(sigma: float) -> float:
    """Return the share of a white field's power that a Gaussian of that many samples leaves."""
    reach = np.arange(-int(4 * sigma + 1), int(4 * sigma + 1) + 1)
    kernel = np.exp(-(reach**2) / (2 * max(sigma, 1e-3) ** 2))
    return float(((kernel / kernel.sum()) ** 2).sum())
