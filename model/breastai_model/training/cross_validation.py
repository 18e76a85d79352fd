"""A run's way through its folds and to its model: patient-level stratified k-fold (section ix), each fold a run of its own.

::

    RUN/folds/0 ... k-1     what was learnt without the patients of that fold; its predictions.json is of those patients alone
    RUN                     the model, learnt from all patients but the share that chooses its best epoch; its predictions.json holds the
                            out-of-fold predictions of all, which calibrate it

In every fold a share of the patients that are learnt from chooses the best epoch, so the fold's own patients choose nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from breastai_model.calibration import SCOPES
from breastai_model.run_folder import RunFolder
from breastai_model.training.dataset import CaseFiles
from breastai_model.training.finish import predictions_of
from breastai_model.training.folds import split_by_patient, stratified_folds
from breastai_model.training.machine import Machine
from breastai_model.training.predictions import FILE_NAME, Predictions
from breastai_model.training.train import Training, TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from breastai_model.network.net import BreastNet


def train(run: RunFolder, begin: Callable[[BreastNet], None] | None = None) -> str:
    """Train what the plan says until it is done or somebody asks to stop; return the last word, a sentence for `output.txt`.

    Parameters
    ----------
    begin
        See `Training`.

    Raises
    ------
    TrainingError
        If there is too little to learn from, the loss stops being a number, or memory is too small.
    ValueError
        If the plan, a case or the checkpoint is damaged.
    OSError
        If the disk refuses; the last good checkpoint is untouched.
    """
    plan = run.plan()
    cases = CaseFiles(run.case_paths())
    machine = Machine(plan.device, plan.precision, run.tell_note)
    try:
        if not plan.folds:
            return Training(run, cases, machine=machine, begin=begin).run()
        if len(np.unique(cases.groups)) < 2 * plan.folds:
            raise TrainingError(f"There are too few patients for {plan.folds} folds.")
        parts = stratified_folds(cases.labels, cases.groups, plan.folds, plan.seed)
        for fold in range(plan.folds):
            word = _train_fold(run, cases, parts, fold, machine, begin)
            if word is not None:
                return word
        out_of_fold = joined([Predictions.read(_folder(run, fold).path / FILE_NAME) for fold in range(plan.folds)])
        return Training(run, cases, machine=machine, begin=begin).run(out_of_fold)
    finally:
        machine.close()


def joined(parts: list[Predictions]) -> Predictions:
    """Return the predictions of all folds as one."""
    return Predictions(
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.groups for part in parts]),
        np.concatenate([part.folds for part in parts]),
        {scope: np.concatenate([part.log_odds[scope] for part in parts]) for scope in SCOPES},
        {name: tuple(word for part in parts for word in part.subgroups[name]) for name in parts[0].subgroups},
    )


def _folder(run: RunFolder, fold: int) -> RunFolder:
    folder = RunFolder(run.folds / str(fold), wishes=run.path)
    folder.say = run.say
    return folder


def _train_fold(
    run: RunFolder,
    cases: CaseFiles,
    parts: np.ndarray[tuple[int], np.dtype[np.int64]],
    fold: int,
    machine: Machine,
    begin: Callable[[BreastNet], None] | None,
) -> str | None:
    """Train one fold, where that is not done; return a sentence where somebody asked to pause."""
    plan, folder = run.plan(), _folder(run, fold)
    machine.wait()
    if (folder.path / FILE_NAME).is_file() and folder.result() is not None:
        return None
    if machine.place.first:
        if not folder.has_plan():
            folder.create(replace(plan, folds=0, data=None), {"cases": []})
        run.tell_note(f"Fold {fold + 1} of {plan.folds}.")
    machine.wait()
    inside, test = np.flatnonzero(parts != fold), np.flatnonzero(parts == fold)
    learning, choosing = split_by_patient(cases.labels[inside], cases.groups[inside], plan.validation_share, plan.seed)
    training = Training(folder, cases, split=(inside[learning], inside[choosing]), machine=machine, begin=begin)
    word = training.run()
    if word.startswith("as asked"):
        return f"{word.removesuffix('; it can go on.')} of fold {fold + 1} of {plan.folds}; it can go on."
    if machine.place.first:
        size = training.position.micro_batch or plan.batch_size
        predictions_of(training.net, cases, test, fold, size).write(folder.path / FILE_NAME)
    machine.wait()
    return None
