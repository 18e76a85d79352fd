"""How strongly each latent shows in the images, and how strong each nuisance is: the numbers that are frozen by hash.

Method section (vii): effect sizes and noise are fixed after the pictures were compared with real images and before the first
training, and not touched afterwards (`breastai_model.phantom.scenarios.law_hash`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Appearance:
    """Effects of the latents on the images, and the nuisances.

    Attributes
    ----------
    size_mm, size_log, size_low_mm, size_high_mm
        Median of the largest diameter without spicules, its standard deviation as a logarithm, its limits.
    lobe_low, lobe_high, lobe_steepness
        Height of each of the seven waves of the surface (share of the radius) and how it follows `lobulation`.
    spicule_low, spicule_high, margin_steepness, soft_low_mm, soft_high_mm
        Heights of the spicules (share of the radius) and over how many millimetres the border fades, by `margin`.
    uptake_log
        Factor on Ktrans and on the wash-in: exp(uptake_log · slope).
    washed_low, washed_high, wash_out_steepness
        Share of the lesion that washes out, by `wash_out`.
    core_low, core_high, rim_steepness
        How much less agent the core takes than the rim (negative: more), by `rim`.
    fold_height
        Height of the waves of S7 (share of the radius).
    asymmetry_log, background_s8
        S8: logarithm of the background enhancement healthy / affected for each unit, and the factor on both that makes it seen.
    mottle
        Unevenness of the agent within the lesion.
    mri_noise
        Standard deviation of each channel (real, imaginary), counts, at 1 x 1 x 2 mm.
    bias, surface_gain, surface_mm
        Uneven coil sensitivity; its rise towards the skin and over which depth.
    gain_log
        The scanner's gain: exp(gain_log · gain).
    motion_mm
        Breathing between two phases.
    echo_db, echo_step_db, echo_low_db, echo_high_db
        Echo level of the lesion, its change for each unit of `echo`, and its limits.
    shadow_db, shadow_step_db, shadow_low_db, shadow_high_db
        Loss behind a lesion of the mean thickness, both ways (negative: enhancement), its change for each unit of `shadow`, its limits.
    swing_steepness, swing_echo_db, swing_shadow_db
        `anisotropy`: sigmoid(swing_steepness · anisotropy) times the cosine of twice the angle takes at most swing_echo_db from the
        echo level and adds at most swing_shadow_db to the loss.
    echo_texture_db, halo_db
        Unevenness of the lesion's echo; the bright halo of a ragged margin.
    looks, dynamic_range_db, dynamic_spread_db, depth_gain_spread, contact_db
        Speckle looks; grey scale; depth gain as a person sets it; uneven contact of the probe.
    """

    size_mm: float = 17.0
    size_log: float = 0.28
    size_low_mm: float = 9.5
    size_high_mm: float = 30.0
    lobe_low: float = 0.01
    lobe_high: float = 0.13
    lobe_steepness: float = 1.5
    spicule_low: float = 0.1
    spicule_high: float = 0.55
    margin_steepness: float = 1.6
    soft_low_mm: float = 0.5
    soft_high_mm: float = 5.0
    uptake_log: float = 0.5
    washed_low: float = 0.03
    washed_high: float = 0.9
    wash_out_steepness: float = 1.7
    core_low: float = -0.35
    core_high: float = 0.85
    rim_steepness: float = 1.4
    fold_height: float = 0.3
    asymmetry_log: float = 0.8
    background_s8: float = 2.5
    mottle: float = 0.08
    mri_noise: float = 4.2
    bias: float = 0.10
    surface_gain: float = 0.45
    surface_mm: float = 5.0
    gain_log: float = 0.25
    motion_mm: float = 0.10
    echo_db: float = -24.0
    echo_step_db: float = 4.0
    echo_low_db: float = -36.0
    echo_high_db: float = -15.0
    shadow_db: float = 4.0
    shadow_step_db: float = 6.0
    shadow_low_db: float = -10.0
    shadow_high_db: float = 20.0
    swing_steepness: float = 1.6
    swing_echo_db: float = 6.5
    swing_shadow_db: float = 7.0
    echo_texture_db: float = 2.8
    halo_db: float = 8.0
    looks: int = 2
    dynamic_range_db: float = 58.0
    dynamic_spread_db: float = 3.0
    depth_gain_spread: float = 1.0
    contact_db: float = 1.8


APPEARANCE = Appearance()


def rise(low: float, high: float, steepness: float, latent: float) -> float:
    """Return low + (high - low) · sigmoid(steepness · latent)."""
    return float(low + (high - low) / (1.0 + np.exp(-steepness * latent)))
