"""Who is learnt from and who is held out: whole patients, with the answers spread evenly."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

SMALLEST_CELL = 10
"""Combinations of answers with fewer patients are merged (section ix)."""


def split_by_patient(
    labels: NDArray[np.int64], groups: NDArray[np.int64], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of the cases to learn from and of those held out, whole groups at a time.

    Groups with equal labels are spread evenly over both sides; within them a hash of seed and group decides, so neither
    the order of the files nor the other patients do.

    Parameters
    ----------
    labels, groups
        (case, task) and (case,) int64.
    share
        Of the groups that is held out.
    """

    def place(group: int) -> tuple[tuple[int, ...], str]:
        return _answers(labels, groups, group), _hash(seed, group)

    order = sorted({int(group) for group in groups}, key=place)
    # Every k-th of the ordered groups, counted so that the rounded share of them is reached.
    held = {group for number, group in enumerate(order) if int((number + 1) * share + 0.5) > int(number * share + 0.5)}
    out = np.array([int(group) in held for group in groups], dtype=bool)
    return np.flatnonzero(~out), np.flatnonzero(out)


def stratified_folds(labels: NDArray[np.int64], groups: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Return the fold, 0 to `folds` - 1, of every case: stratified on the joint answers, whole patients at a time.

    The strata are the eight combinations of the three answers (more where answers are missing). A combination of fewer than
    `SMALLEST_CELL` patients is merged with the one whose answers differ least. Within a stratum patients stand in the order of a
    hash of seed and group and are dealt to the folds in turn; the next stratum goes on where the last one ended, so the folds
    differ in size by at most one patient.

    Parameters
    ----------
    labels, groups
        (case, task) and (case,) int64.
    folds
        k, at least 2.

    Raises
    ------
    ValueError
        If there are fewer patients than folds.
    """
    patients = sorted({int(group) for group in groups})
    if len(patients) < folds:
        raise ValueError(f"{folds} folds need at least {folds} patients; there are {len(patients)}.")
    stratum = _merged({group: _answers(labels, groups, group) for group in patients})
    order = sorted(patients, key=lambda group: (stratum[group], _hash(seed, group)))
    fold = {group: number % folds for number, group in enumerate(order)}
    return np.array([fold[int(group)] for group in groups], dtype=np.int64)


def _merged(answers: Mapping[int, tuple[int, ...]]) -> dict[int, tuple[int, ...]]:
    """Return each patient's stratum, no stratum smaller than `SMALLEST_CELL` unless it is the only one."""
    name = {cell: cell for cell in set(answers.values())}
    while True:
        sizes = {cell: sum(name[own] == cell for own in answers.values()) for cell in set(name.values())}
        smallest = min(sizes, key=lambda cell: (sizes[cell], cell))
        if sizes[smallest] >= SMALLEST_CELL or len(sizes) == 1:
            return {group: name[own] for group, own in answers.items()}
        others = sorted(cell for cell in sizes if cell != smallest)
        nearest = min(others, key=lambda cell: (sum(a != b for a, b in zip(cell, smallest, strict=True)), sizes[cell], cell))
        name = {cell: nearest if merged == smallest else merged for cell, merged in name.items()}


def _answers(labels: NDArray[np.int64], groups: NDArray[np.int64], group: int) -> tuple[int, ...]:
    return tuple(labels[np.flatnonzero(groups == group)[0]].tolist())


def _hash(seed: int, group: int) -> str:
    return hashlib.sha256(f"{seed} {group}".encode()).hexdigest()
