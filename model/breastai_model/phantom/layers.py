"""The tissue under the probe: skin, fat with Cooper's ligaments, gland, pectoral muscle and ribs, as echo levels.

Frame as in `breastai_model.phantom.ultrasound`: w deep, p and q across, mm. All planes cut the same random fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from breastai_model.phantom.appearance import APPEARANCE
from breastai_model.phantom.texture import ridges, sample, smooth_step, spectral_noise

if TYPE_CHECKING:
    from breastai_model.phantom.texture import Field

SKIN_MM = 1.6
FIELD_MM = (0.5, 0.75, 0.75)
FIELD_SHAPE = (96, 72, 72)
"""Voxels (w, q, p) of the tissue's random fields; 48 x 54 x 54 mm, periodic."""


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
        float(rng.uniform(0.6, 1.0)),
        float(rng.uniform(0, 2 * np.pi)),
        float(rng.uniform(0, np.pi)),
        float(rng.normal(0.0, APPEARANCE.depth_gain_spread)),
        float(rng.normal(0.0, APPEARANCE.dynamic_spread_db)),
    )


def field_index(turn: float, lateral: Field, w: Field) -> tuple[Field, Field, Field]:
    """Return indices into the tissue's fields of places in a plane."""
    return (
        np.asarray(w / FIELD_MM[0], dtype=np.float32),
        np.asarray(-np.sin(turn) * lateral / FIELD_MM[1], dtype=np.float32),
        np.asarray(np.cos(turn) * lateral / FIELD_MM[2], dtype=np.float32),
    )


def tissue(ground: Ground, turn: float, lateral: Field, w: Field) -> tuple[Field, Field, Field]:
    """Return echo level (dB), loss above the average (dB/mm, both ways) and mirror-like reflection (dB) of the layers."""
    lobule, streak = sample(ground.lobules, field_index(turn, lateral, w)), sample(ground.streaks, field_index(turn, lateral, w))
    fibre = sample(ground.streaks, field_index(turn, lateral * 1.3 + 9.0, w * 1.25 + 21.0))
    sheet = sample(ground.lobules, field_index(turn, lateral * 0.8 + 9.0, w * 1.9 + 17.0))
    line = lateral[:1]
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
    patch = smooth_step(np.asarray(lobule + 0.5 * fibre - 0.9 + 2.0 * ground.density, dtype=np.float32), 1.6)
    gland_db = fat_db + 3.0 + patch * (12.0 - 1.5 * lobule + 3.2 * streak + 2.6 * fibre)
    stripe = np.cos((w - fascia_mm) * (2 * np.pi / 1.45) + 2.6 * lobule + 1.6 * sheet)
    muscle_db = -20.0 + 7.0 * np.maximum(stripe, 0.0) ** 3 * (0.5 + 0.5 * np.tanh(fibre + 0.6 * streak)) + 1.5 * streak
    echo = muscle_db
    skin_db = -9.0 + 3.0 * np.cos(w * (2 * np.pi / 0.55)) + 1.5 * fibre
    for name, level in (("fascia", fat_db - 1.0), ("gland", gland_db), ("fat", fat_db), ("skin", skin_db)):
        echo = echo + above[name] * (level - echo)
    # What faces the beam reflects like a mirror, in pieces: no sheet of tissue is flat for long.
    facing = 1.0 / (1.0 + (3.0 * np.gradient(lobule, axis=1) / (np.abs(np.gradient(lobule, axis=0)) + 1e-3)) ** 2)
    pieces = 0.5 + 0.5 * np.tanh(1.4 * fibre + 1.2 * streak)
    body = (above["gland"] - above["skin"]).clip(0, 1)
    lines = 1.5 * septa * facing * body * (0.25 + 0.75 * pieces)
    lines += 1.3 * ridges(sheet, 0.06) * smooth_step(fibre + 0.6 * streak - 0.2, 1.3) * (0.4 + 0.6 * pieces) * body
    lines += 0.9 * _line(w - fascia_mm, 0.16) * (0.25 + 0.75 * pieces) + 0.7 * _line(w - fat_mm - 0.9 * lobule, 0.14) * pieces
    lines += 0.55 * _line(w - SKIN_MM - 0.12 * hill, 0.12) * (0.4 + 0.6 * pieces) + 1.0 * _line(w - 0.15, 0.12)
    lines += 0.7 * (1 - above["fascia"]) * np.maximum(stripe, 0.0) ** 8 * smooth_step(fibre + 0.8 * streak - 0.9, 1.4)
    phase = (lateral * np.cos(turn - ground.rib_turn)) / 32.0 + ground.rib_phase
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
