"""Made-up patients as feature vectors: the truth of every feature is known, and a network learns from them in seconds.

Method section (iv), Evidence: a shared latent s, private latents p_M and p_U, nuisances, and per modality a 64-dimensional
nonlinear observation. Task 1 depends on s alone, task 2 on p_M alone, task 3 on p_U alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from breastai_model.proof.intervals import auc_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.proof.intervals import Interval

LATENT = 4
"""Width of s, p_M, p_U and of each nuisance."""
OBSERVED = 64
HIDDEN = 48
NOISE = 0.1
EFFECT = 2.6
"""Log-odds per standard deviation of the one direction that decides a task."""
LAW_SEED = 20220123
"""Of the two observation maps and the three directions: the law is one, the patients are drawn from it."""


@dataclass(frozen=True, eq=False, slots=True)
class LatentPatients:
    """Patients drawn from the law.

    Attributes
    ----------
    shared, private_mri, private_us
        s, p_M, p_U: (patient, 4), standard normal and independent.
    mri, us
        (patient, 64) float32, what is seen of them; the MRI of S6 and S8 (patient, view, 64).
    chances
        (patient, 3), the law's probability of the positive answer.
    labels
        (patient, 3) int64, drawn from it.
    """

    shared: NDArray[np.float64]
    private_mri: NDArray[np.float64]
    private_us: NDArray[np.float64]
    mri: NDArray[np.float32]
    us: NDArray[np.float32]
    chances: NDArray[np.float64]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of patients."""
        return len(self.labels)


def draw_patients(count: int, seed: int, shared: NDArray[np.float64] | None = None) -> LatentPatients:
    """Return that many patients.

    Parameters
    ----------
    shared
        (patient, 4): s is given and everything else drawn, for the swap test; None: s is drawn as well.
    """
    rng = np.random.default_rng([seed, 3])
    drawn = [rng.standard_normal((count, LATENT)) for _ in range(5)]
    s = drawn[0] if shared is None else shared
    p_m, p_u, n_m, n_u = drawn[1:]
    law = np.random.default_rng([LAW_SEED, 1])
    observed = []
    for private, nuisance in ((p_m, n_m), (p_u, n_u)):
        first = law.standard_normal((3 * LATENT, HIDDEN)) / np.sqrt(3 * LATENT) * 1.5
        second = law.standard_normal((HIDDEN, OBSERVED)) / np.sqrt(HIDDEN)
        hidden = np.tanh(np.concatenate([s, private, 0.5 * nuisance], axis=1) @ first)
        observed.append((hidden @ second + NOISE * rng.standard_normal((count, OBSERVED))).astype(np.float32))
    directions = _directions(law)
    odds = np.stack([latent @ direction for latent, direction in zip((s, p_m, p_u), directions, strict=True)], axis=1)
    chances = 1 / (1 + np.exp(-odds))
    labels = (rng.random((count, 3)) < chances).astype(np.int64)
    return LatentPatients(s, p_m, p_u, observed[0], observed[1], chances, labels)


def _directions(law: np.random.Generator) -> NDArray[np.float64]:
    """Return (3, 4): what decides tasks 1, 2 and 3, as long as the effect."""
    found = law.standard_normal((3, LATENT))
    return np.asarray(found * EFFECT / np.linalg.norm(found, axis=1, keepdims=True))


def ceiling(patients: LatentPatients, task: int) -> Interval:
    """Return the AUC of the law's own probability on these patients: no classifier can be expected to do better."""
    return auc_interval(patients.chances[:, task], patients.labels[:, task])
