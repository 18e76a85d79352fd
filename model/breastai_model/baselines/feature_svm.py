"""Support vector machines on picture features: kernels from one Gram matrix, settings by inner patient-wise 3-fold, Platt calibration.

Sources: Vapnik 1995 as implemented by scikit-learn (libsvm); Platt 1999, "Probabilistic outputs for support vector machines".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Kernel = Literal["rbf", "cubic"]

INNER_FOLDS = 3
COSTS = (0.1, 1.0, 10.0)
"""C."""
GAMMAS = (0.25, 1.0, 4.0)
"""Of the RBF kernel, times 1 / (number of features), for features of unit variance."""
SEARCHED = 1200
"""Rows that the inner folds see; more change the choice little and the time by their square."""
LARGEST_GRAM = 4000
"""Rows of the final machine; of more, every patient keeps an even share, drawn by the seed."""
ENOUGH = 5
"""Patients of each answer that Platt's curve needs among those held out; else it is fitted on the inner folds' answers."""
SMALLEST_SLOPE = 0.05
"""Of Platt's curve per standard deviation of the decision: what was learnt may be weak on those held out, never turned round."""


@dataclass(frozen=True, eq=False, slots=True)
class Standard:
    """Mean and spread of each feature over the learning rows, and nothing else."""

    mean: NDArray[np.float32]
    spread: NDArray[np.float32]

    @classmethod
    def of(cls, features: NDArray[np.float32]) -> Standard:
        """Return the standard of (row, feature); a feature without spread becomes 0 everywhere."""
        spread = features.std(axis=0)
        return cls(features.mean(axis=0), np.where(spread > 1e-6, spread, np.float32(np.inf)).astype(np.float32))

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return standardised features, divided by the root of their number: a squared distance is then about 2."""
        return ((features - self.mean) / self.spread / np.float32(np.sqrt(features.shape[1]))).astype(np.float32)


@dataclass(frozen=True, eq=False, slots=True)
class PictureSVM:
    """A machine for one task, its Platt curve and the rows that support it; one constant answer where there was nothing to tell apart.

    Attributes
    ----------
    support
        (vector, feature) standardised, or None for the constant.
    weights, offset
        (vector,) dual coefficients and the intercept.
    slope, shift
        Of Platt's curve.
    cost, gamma
        As chosen.
    """

    kernel: Kernel
    support: NDArray[np.float32] | None
    weights: NDArray[np.float64]
    offset: float
    slope: float
    shift: float
    cost: float
    gamma: float

    def decisions(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return (row,) distances from the border, of standardised features."""
        if self.support is None:
            return np.zeros(len(features))
        values: NDArray[np.float64] = (
            kernel_of(self.kernel, features, self.support, self.gamma).astype(np.float64) @ self.weights + self.offset
        )
        return values

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return (row,) calibrated probabilities, of standardised features."""
        return expit(self.slope * self.decisions(features) + self.shift)


def fit_svm(
    features: NDArray[np.float32],
    answers: NDArray[np.int64],
    patients: NDArray[np.int64],
    kernel: Kernel,
    chance: np.random.Generator,
    held_out: tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> PictureSVM:
    """Return the machine of one task.

    Parameters
    ----------
    features, answers, patients
        (row, feature) standardised; (row,) 1, 0 or -1 (left out); (row,) whose picture it is.
    kernel
        "rbf": exp(-gamma |a - b|^2); "cubic": (a . b + 1)^3.
    chance
        Draws folds and rows.
    held_out
        The same three of the patients on which Platt's curve is fitted. The machine itself does not see them.
    """
    rows = evenly(patients, np.flatnonzero(answers >= 0), LARGEST_GRAM, chance)
    known, whose = answers[rows], patients[rows]
    if len(np.unique(known)) < 2:
        share = float(known.mean()) if len(known) else 0.5
        return PictureSVM(kernel, None, np.zeros(0), 0.0, 0.0, log_odds_of(share), 0.0, 0.0)
    products = features[rows] @ features[rows].T
    cost, gamma, inner = _searched(products, known, whose, kernel, chance)
    weights, offset, support = _machine(from_products(kernel, products, gamma), known, cost)
    made = PictureSVM(kernel, features[rows[support]], weights, offset, 1.0, 0.0, cost, gamma)
    slope, shift = _calibrated(made, inner, held_out)
    return PictureSVM(kernel, made.support, weights, offset, slope, shift, cost, gamma)


def evenly(patients: NDArray[np.int64], rows: NDArray[np.int64], most: int, chance: np.random.Generator) -> NDArray[np.int64]:
    """Return at most `most` of the rows, rising, such that every patient keeps about the same number."""
    if len(rows) <= most:
        return rows
    order = chance.permutation(rows)
    # The n-th row of every patient stands before anyone's (n + 1)-th.
    turn = np.zeros(len(order), dtype=np.int64)
    for patient in np.unique(patients[order]):
        here = np.flatnonzero(patients[order] == patient)
        turn[here] = np.arange(len(here))
    chosen: NDArray[np.int64] = np.sort(order[np.argsort(turn, kind="stable")[:most]])
    return chosen


def patient_folds(
    answers: NDArray[np.int64], patients: NDArray[np.int64], folds: int, chance: np.random.Generator
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Yield (learning, tested) masks of rows: whole patients, positives and negatives spread evenly.

    A fold whose learning or tested side lacks an answer is left out.
    """
    place = np.zeros(len(patients), dtype=np.int64)
    count = 0
    for answer in (0, 1):
        for patient in chance.permutation(np.unique(patients[answers == answer])):
            place[patients == patient] = count % folds
            count += 1
    for fold in range(folds):
        tested = place == fold
        if len(np.unique(answers[tested])) == 2 and len(np.unique(answers[~tested])) == 2:
            yield ~tested, tested


def patient_auc(decisions: NDArray[np.float64], answers: NDArray[np.int64], patients: NDArray[np.int64]) -> float:
    """Return the AUC of patients' mean decisions; ties count half. Both answers must be there.

    Written out, for a swarm asks thousands of times: scikit-learn's checks of its arguments would take most of the time.
    """
    names, first, rows = np.unique(patients, return_index=True, return_inverse=True)
    means = np.bincount(rows, decisions, len(names)) / np.bincount(rows, minlength=len(names))
    positive, negative = means[answers[first] == 1], np.sort(means[answers[first] == 0])
    below = np.searchsorted(negative, positive, "left") + np.searchsorted(negative, positive, "right")
    return float(below.sum() / (2 * len(positive) * len(negative)))


def kernel_of(kernel: Kernel, left: NDArray[np.float32], right: NDArray[np.float32], gamma: float) -> NDArray[np.float32]:
    """Return (left, right) kernel values."""
    products = left @ right.T
    if kernel == "cubic":
        return _cubic(products)
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None, :] - 2 * products
    return _rbf(squares, gamma)


def from_products(kernel: Kernel, products: NDArray[np.float32], gamma: float) -> NDArray[np.float32]:
    """Return (row, row) kernel values from all inner products."""
    if kernel == "cubic":
        return _cubic(products)
    own = np.diagonal(products)
    return _rbf(own[:, None] + own[None, :] - 2 * products, gamma)


def _cubic(products: NDArray[np.float32]) -> NDArray[np.float32]:
    made: NDArray[np.float32] = (products + np.float32(1)) ** 3
    return made


def _rbf(squares: NDArray[np.float32], gamma: float) -> NDArray[np.float32]:
    made: NDArray[np.float32] = np.exp(-np.float32(gamma) * np.maximum(squares, 0))
    return made


def expit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / (1 + exp(-values)) without overflow."""
    made: NDArray[np.float64] = 0.5 * (1 + np.tanh(0.5 * values))
    return made


def log_odds_of(share: float) -> float:
    """Return the log-odds of a share, kept off 0 and 1."""
    kept = min(max(share, 1e-3), 1 - 1e-3)
    return float(np.log(kept / (1 - kept)))


def _machine(gram: NDArray[np.float32], answers: NDArray[np.int64], cost: float) -> tuple[NDArray[np.float64], float, NDArray[np.int64]]:
    made = SVC(C=cost, kernel="precomputed", cache_size=500).fit(gram, answers)
    return made.dual_coef_[0].astype(np.float64), float(made.intercept_[0]), made.support_.astype(np.int64)


def _searched(
    products: NDArray[np.float32],
    answers: NDArray[np.int64],
    patients: NDArray[np.int64],
    kernel: Kernel,
    chance: np.random.Generator,
) -> tuple[float, float, tuple[NDArray[np.float64], NDArray[np.int64]] | None]:
    """Return C, gamma and the inner folds' (decisions, answers) under them, None where patients are too few for folds."""
    rows = evenly(patients, np.arange(len(answers)), SEARCHED, chance)
    products, answers, patients = products[np.ix_(rows, rows)], answers[rows], patients[rows]
    splits = list(patient_folds(answers, patients, INNER_FOLDS, chance))
    best: tuple[float, float, float, tuple[NDArray[np.float64], NDArray[np.int64]] | None] = (-1.0, COSTS[1], GAMMAS[1], None)
    if not splits:
        return best[1], best[2], None
    for gamma in GAMMAS if kernel == "rbf" else (1.0,):
        gram = from_products(kernel, products, gamma)
        for cost in COSTS:
            aucs, decisions, truths = [], [], []
            for learning, tested in splits:
                weights, offset, support = _machine(gram[np.ix_(learning, learning)], answers[learning], cost)
                decided = gram[np.ix_(tested, learning)][:, support].astype(np.float64) @ weights + offset
                aucs.append(patient_auc(decided, answers[tested], patients[tested]))
                decisions.append(decided)
                truths.append(answers[tested])
            if np.mean(aucs) > best[0] + 1e-9:
                best = (float(np.mean(aucs)), cost, gamma, (np.concatenate(decisions), np.concatenate(truths)))
    return best[1], best[2], best[3]


def _calibrated(
    made: PictureSVM,
    inner: tuple[NDArray[np.float64], NDArray[np.int64]] | None,
    held_out: tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]] | None,
) -> tuple[float, float]:
    """Return Platt's slope and shift, from the held-out patients where they are enough."""
    if held_out is not None:
        features, answers, patients = held_out
        counts = [len(np.unique(patients[answers == answer])) for answer in (0, 1)]
        if min(counts) >= ENOUGH:
            known = answers >= 0
            return platt(made.decisions(features[known]), answers[known])
    return (1.0, 0.0) if inner is None else platt(*inner)


def platt(decisions: NDArray[np.float64], answers: NDArray[np.int64]) -> tuple[float, float]:
    """Return slope and shift of the logistic curve through (decision, answer), the slope kept positive."""
    spread = float(decisions.std())
    share = log_odds_of(float(answers.mean()))
    if spread < 1e-9 or len(np.unique(answers)) < 2:
        return 0.0, share
    scaled = (decisions - decisions.mean()) / spread
    model = LogisticRegression(C=10.0).fit(scaled[:, None], answers)
    slope, shift = float(model.coef_[0, 0]), float(model.intercept_[0])
    if slope < SMALLEST_SLOPE:
        slope, shift = SMALLEST_SLOPE, share
    return slope / spread, shift - slope * float(decisions.mean()) / spread
