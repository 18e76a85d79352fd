"""What a made-up tumour is, in hidden numbers, and which labels follow from them by a known law."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from breastai_model.case import TASKS, Labels, Task

if TYPE_CHECKING:
    from collections.abc import Mapping

LATENTS_STREAM, LABELS_STREAM, LESION_STREAM, ANATOMY_STREAM, DCE_STREAM, ULTRASOUND_STREAM = range(6)
"""Each part of a phantom draws from its own stream, so that a change in one leaves the others as they were."""


@dataclass(frozen=True, slots=True)
class Latents:
    """The hidden numbers of one tumour, each standard normal and independent of the others.

    Attributes
    ----------
    size, lobulation, margin
        Shared: seen by MRI and by ultrasound. A high margin is spiculated, a low one smooth.
    slope, wash_out, rim
        Seen by MRI alone: speed of uptake, share of tissue that washes out, how much the rim outshines the core.
    shadow, echo, anisotropy
        Seen by ultrasound alone: attenuation behind the lesion (low: enhancement), its echo level, how much echo level
        and shadow change with the angle.
    """

    size: float
    lobulation: float
    margin: float
    slope: float
    wash_out: float
    rim: float
    shadow: float
    echo: float
    anisotropy: float


LATENT_NAMES: tuple[str, ...] = tuple(field.name for field in fields(Latents))

PREVALENCE: dict[Task, float] = {
    "lymph_node_metastasis": 199 / 502,
    "high_grade": 202 / 502,
    "high_ki67": 230 / 502,
}
"""Share of positives: 199 of 502, 202 of 502 and 230 of 502 (the paper's table 1; its 200 low grades read as 300)."""

EFFECTS: dict[Task, dict[str, float]] = {
    "lymph_node_metastasis": {"size": 1.4, "margin": 1.4, "shadow": 1.4},
    "high_grade": {"lobulation": 1.4, "margin": 1.4, "wash_out": 1.4},
    "high_ki67": {"size": 1.4, "lobulation": 1.4, "rim": 1.4},
}
"""Log-odds per standard deviation: each label depends on the shared latents and on one private latent."""


def stream(seed: int, part: int) -> np.random.Generator:
    """Return the random numbers of one part (`LATENTS_STREAM`, ...) of the phantom of that seed."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, part])))


def draw_latents(seed: int) -> Latents:
    """Return the hidden numbers of the phantom of that seed."""
    return Latents(*(float(value) for value in stream(seed, LATENTS_STREAM).standard_normal(len(LATENT_NAMES))))


def intercept(effects: Mapping[str, float], prevalence: float) -> float:
    """Return b so that sigmoid(b + sum of effects times latents) has the mean `prevalence` over all patients.

    The sum is normal; its mean under the sigmoid is a Gauss-Hermite sum, and b is found by halving.
    """
    spread = float(np.sqrt(sum(effect**2 for effect in effects.values())))
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        mean = float((weights / (1.0 + np.exp(-(middle + spread * nodes)))).sum() / weights.sum())
        low, high = (middle, high) if mean < prevalence else (low, middle)
    return (low + high) / 2


INTERCEPTS: dict[Task, float] = {task: intercept(EFFECTS[task], PREVALENCE[task]) for task in TASKS}


def probability(task: Task, latents: Latents) -> float:
    """Return the chance that this tumour's label is positive: sigmoid(b + w·latents)."""
    odds = INTERCEPTS[task] + sum(effect * getattr(latents, name) for name, effect in EFFECTS[task].items())
    return float(1.0 / (1.0 + np.exp(-odds)))


def draw_labels(seed: int, latents: Latents) -> Labels:
    """Return the labels of the phantom of that seed, drawn by the law."""
    chances = stream(seed, LABELS_STREAM).random(len(TASKS))
    return Labels(**{task: bool(chance < probability(task, latents)) for task, chance in zip(TASKS, chances, strict=True)})
