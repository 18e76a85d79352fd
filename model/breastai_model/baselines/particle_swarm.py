"""Binary particle swarm: which features to keep.

Source: Kennedy and Eberhart, "A discrete binary version of the particle swarm algorithm", IEEE SMC 1997; settings of method section (v) 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn import config_context
from sklearn.svm import SVC

from breastai_model.baselines.feature_svm import patient_auc, patient_folds

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

FASTEST = 4.0
"""Velocities are cut there, so that no bit is ever decided with more than 98 %."""
PRICE = 0.01
"""Of keeping everything, in AUC."""
FITNESS_FOLDS = 3
FITNESS_PATIENTS = 400


@dataclass(frozen=True, slots=True)
class Swarm:
    """How many particles look how often, the inertia w, and the pull c1 = c2 to the particle's own best and to the swarm's."""

    particles: int = 20
    iterations: int = 30
    inertia: float = 0.7
    pull: float = 1.5


def fittest(
    fitness: Callable[[NDArray[np.bool_]], float], length: int, chance: np.random.Generator, swarm: Swarm
) -> tuple[NDArray[np.bool_], float]:
    """Return the fittest mask (length,) found, with its fitness.

    Parameters
    ----------
    fitness
        Of a mask that keeps at least one feature; more is better.
    """
    known: dict[bytes, float] = {}

    def measured(mask: NDArray[np.bool_]) -> float:
        key = np.packbits(mask).tobytes()
        if key not in known:
            known[key] = fitness(mask)
        return known[key]

    shape = (swarm.particles, length)
    places = chance.random(shape) < 0.5
    places[:, 0] |= ~places.any(axis=1)
    velocities = chance.uniform(-1.0, 1.0, shape)
    own, own_fitness = places.copy(), np.array([measured(place) for place in places])
    for _ in range(swarm.iterations):
        leader = own[int(np.argmax(own_fitness))]
        towards_own = swarm.pull * chance.random(shape) * (own.astype(float) - places)
        towards_leader = swarm.pull * chance.random(shape) * (leader.astype(float) - places)
        velocities = np.clip(swarm.inertia * velocities + towards_own + towards_leader, -FASTEST, FASTEST)
        places = chance.random(shape) < 1 / (1 + np.exp(-velocities))
        empty = ~places.any(axis=1)
        places[empty] = leader
        for particle, place in enumerate(places):
            value = measured(place)
            if value > own_fitness[particle]:
                own[particle], own_fitness[particle] = place, value
    first = int(np.argmax(own_fitness))
    return own[first], float(own_fitness[first])


def chosen_features(
    features: NDArray[np.float32],
    answers: NDArray[np.int64],
    groups: NDArray[np.int64],
    chance: np.random.Generator,
    swarm: Swarm,
) -> tuple[NDArray[np.bool_], float]:
    """Return which features to keep for one task, and their fitness: inner-fold AUC of a linear machine less `PRICE` times the share kept.

    Parameters
    ----------
    features
        (patient, feature) standardised means over each patient's pictures: pictures would cost their square and rank no otherwise.
    answers
        (patient,) 1, 0 or -1 (left out).
    groups
        (patient,) who it is.
    """
    rows = np.flatnonzero(answers >= 0)
    if len(rows) > FITNESS_PATIENTS:
        rows = np.sort(chance.permutation(rows)[:FITNESS_PATIENTS])
    known, whose = answers[rows], groups[rows]
    values = features[rows] * np.float32(np.sqrt(features.shape[1]))
    splits = list(patient_folds(known, whose, FITNESS_FOLDS, chance)) if len(rows) else []
    if not splits:
        return np.ones(features.shape[1], dtype=bool), float("nan")

    def fitness(mask: NDArray[np.bool_]) -> float:
        kept = values[:, mask]
        gram = (kept @ kept.T) / np.float32(kept.shape[1])
        aucs = []
        for learning, tested in splits:
            machine = SVC(C=1.0, kernel="precomputed").fit(gram[np.ix_(learning, learning)], known[learning])
            decided = gram[np.ix_(tested, learning)][:, machine.support_] @ machine.dual_coef_[0]
            aucs.append(patient_auc(decided, known[tested], whose[tested]))
        return float(np.mean(aucs)) - PRICE * float(mask.mean())

    with config_context(assume_finite=True, skip_parameter_validation=True):
        return fittest(fitness, features.shape[1], chance, swarm)
