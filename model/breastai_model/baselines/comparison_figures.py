"""From answers to figures: each metric of each system, the mean over its seeds with interval and spread, and DeLong's test against ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from breastai_model.calibration import SCOPES
from breastai_model.case import TASKS
from breastai_model.training.confusion import PROPORTIONS, confusion_counts, confusion_statistics
from breastai_model.training.consistency import check_pooled
from breastai_model.training.delong import delong_test
from breastai_model.training.discrimination import weighted_auc
from breastai_model.training.figures import WITHIN_ANSWERS
from breastai_model.training.intervals import figure, patient_weights, proportion
from breastai_model.training.paired import holm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from breastai_model.baselines.comparison_result import Scope, SystemResult
    from breastai_model.case import Task
    from breastai_model.training.delong import AucDifference

METRICS = ("accuracy", "precision", "sensitivity", "specificity", "auc")
"""In the order of the paper's Table 3."""
OURS = "ours"


@dataclass(frozen=True, slots=True)
class SeedMean:
    """A metric, the mean over a system's seeds.

    Attributes
    ----------
    value
        The mean; each seed's figure is of the same patients.
    low, high
        95 % bootstrap interval over patients of that mean, the same patients drawn for every seed; None where it cannot be told.
    spread
        Standard deviation over the seeds; None with one seed.
    n
        Patients that it is made from: of the sensitivity those with a positive answer, of the precision those read as positive (mean
        over the seeds).
    """

    value: float
    low: float | None
    high: float | None
    spread: float | None
    n: int


@dataclass(frozen=True, eq=False, slots=True)
class SystemAnswers:
    """All answers of one system, pooled over its folds.

    Attributes
    ----------
    indices
        (n,) test patients.
    scores
        Scope to (seed, n, task): by what AUCs order the patients. Probabilities; with several folds each probability's rank among
        its fold's, 0 to 1, for different networks' probabilities do not stand on one scale. (Prevalence shows it: the fold with
        more positive patients learns from fewer, and pooled it would come out well below one half.)
    positive
        Scope to (seed, n, task) bool: whether the answer reads positive, by the threshold of its seed and fold.
    seeds
        In the order of the first axes.
    seconds
        (seed,) of learning, folds added up.
    machines
        Where.
    notes
        What single trainings had to do otherwise, each once.
    """

    indices: NDArray[np.int64]
    scores: Mapping[Scope, NDArray[np.float64]]
    positive: Mapping[Scope, NDArray[np.bool_]]
    seeds: tuple[int, ...]
    seconds: tuple[float, ...]
    machines: tuple[str, ...]
    notes: tuple[str, ...]


def pooled(results: Sequence[SystemResult], folds: int) -> dict[str, SystemAnswers]:
    """Return the answers of each system, of those seeds for which every fold is there.

    Parameters
    ----------
    folds
        How many splits there are.
    """
    found: dict[str, SystemAnswers] = {}
    for name in dict.fromkeys(result.system for result in results):
        by_seed = {seed: [r for r in results if r.system == name and r.seed == seed] for seed in sorted({r.seed for r in results})}
        whole = {seed: sorted(own, key=lambda r: r.fold) for seed, own in by_seed.items() if len(own) == folds}
        if not whole:
            continue
        scores, positive = {}, {}
        for scope in SCOPES:
            rows = [[np.array(r.scope(scope).test) for r in own] for own in whole.values()]
            cuts = [[np.array(r.scope(scope).thresholds) for r in own] for own in whole.values()]
            scores[scope] = np.stack([np.concatenate([_ranked(part) for part in parts] if folds > 1 else parts) for parts in rows])
            positive[scope] = np.stack(
                [np.concatenate([part >= cut for part, cut in zip(*pair, strict=True)]) for pair in zip(rows, cuts, strict=True)]
            )
        first = next(iter(whole.values()))
        found[name] = SystemAnswers(
            np.concatenate([np.array(r.indices, dtype=np.int64) for r in first]),
            scores,
            positive,
            tuple(whole),
            tuple(sum(r.seconds for r in own) for own in whole.values()),
            tuple(sorted({r.machine for own in whole.values() for r in own})),
            tuple(dict.fromkeys(note for own in whole.values() for r in own for note in r.notes)),
        )
    return found


def system_figures(
    answers: SystemAnswers, labels: NDArray[np.int64], groups: NDArray[np.int64]
) -> dict[Scope, dict[Task, dict[str, SeedMean | None]]]:
    """Return each metric by inputs, task and name; None where it is not defined (precision where nothing reads positive).

    Parameters
    ----------
    labels, groups
        (case, task) and (case,) of all cases of the comparison.

    Raises
    ------
    breastai_model.training.consistency.InconsistentFiguresError
        If a seed's figures cannot come from one confusion matrix.
    """
    truth, patients = labels[answers.indices], groups[answers.indices]
    made: dict[Scope, dict[Task, dict[str, SeedMean | None]]] = {scope: {} for scope in SCOPES}
    for place, task in enumerate(TASKS):
        known = truth[:, place] >= 0
        right = truth[known, place]
        weights, plain = (patient_weights(right, patients[known], stratified=stratified) for stratified in (True, False))
        for scope in SCOPES:
            scores, positive = answers.scores[scope][:, known, place], answers.positive[scope][:, known, place]
            each = [_metrics(own, read, right, weights, plain) for own, read in zip(scores, positive, strict=True)]
            for values in each:
                _check(values, float(right.mean()))
            made[scope][task] = {name: _mean(name, [values[name] for values in each]) for name in METRICS}
    return made


def against(ours: SystemAnswers, other: SystemAnswers, labels: NDArray[np.int64]) -> dict[Task, tuple[AucDifference, float] | None]:
    """Return for each task ours minus the other's AUC with both modalities (DeLong), and p after Holm over the tasks.

    Both scores are the mean over the seeds. None where a task has fewer than two patients of an answer.
    """
    tests: dict[Task, AucDifference] = {}
    order = {int(index): row for row, index in enumerate(other.indices)}
    rows = [order[int(index)] for index in ours.indices]
    first, second = ours.scores["both"].mean(axis=0), other.scores["both"].mean(axis=0)[rows]
    truth = labels[ours.indices]
    for place, task in enumerate(TASKS):
        known = truth[:, place] >= 0
        right = truth[known, place]
        if min((right == 1).sum(), (right == 0).sum()) >= 2:
            tests[task] = delong_test(first[known, place], second[known, place], right)
    corrected = dict(zip(tests, holm([test.p for test in tests.values()]), strict=True))
    return {task: (tests[task], corrected[task]) if task in tests else None for task in TASKS}


def _ranked(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mid-rank of each of (n, task) probabilities among the n, 0 to 1; ties share theirs."""
    ranks: NDArray[np.float64] = (stats.rankdata(probabilities, axis=0) - 0.5) / len(probabilities)
    return ranks


def _metrics(
    scores: NDArray[np.float64],
    read_positive: NDArray[np.bool_],
    labels: NDArray[np.int64],
    weights: NDArray[np.float32],
    plain: NDArray[np.float32],
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return each metric of one seed and its denominator, (1 + resamples,).

    As in `breastai_model.training.figures`: resampled within each answer where that is the denominator, else over all patients.
    """
    within, over = (confusion_statistics(confusion_counts(read_positive, labels, each)) for each in (weights, plain))
    shares = {name: (within if name in WITHIN_ANSWERS else over)[name] for name in over}
    return {"auc": (weighted_auc(scores, labels, weights), weights.sum(axis=1)), **shares}


def _check(values: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]], prevalence: float) -> None:
    """Refuse figures of one seed that contradict each other (method vi, error 5). Where one is not defined nothing can be checked."""
    accuracy, sensitivity, specificity, precision = (
        float(values[name][0][0]) for name in ("accuracy", "sensitivity", "specificity", "precision")
    )
    if np.isfinite([accuracy, sensitivity, specificity]).all():
        check_pooled(accuracy, sensitivity, specificity, precision if np.isfinite(precision) else None, prevalence)


def _mean(name: str, seeds: list[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> SeedMean | None:
    values = np.mean([value for value, _ in seeds], axis=0)
    n = round(float(np.mean([count[0] for _, count in seeds])))
    found = proportion(values, n) if name in PROPORTIONS else figure(values, n)
    if found is None:
        return None
    spread = float(np.std([value[0] for value, _ in seeds], ddof=1)) if len(seeds) > 1 else None
    return SeedMean(found.value, found.low, found.high, spread, n)
