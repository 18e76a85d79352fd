"""The end of a run: the best epoch's network, measured, calibrated and written as a model with its card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from breastai_model.inference.in_distribution import fit_distribution
from breastai_model.inference.stage_means import read_case
from breastai_model.training.calibrate import calibrated
from breastai_model.training.card import model_card
from breastai_model.training.checkpoint import load_checkpoint
from breastai_model.training.evaluate import task_metrics
from breastai_model.training.features import ABSENT, predict_cases
from breastai_model.training.precise_norm import settle_agnostic_norms
from breastai_model.training.predictions import FILE_NAME, Predictions
from breastai_model.weights import save_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from breastai_model.calibration import Scope
    from breastai_model.inference.in_distribution import Distribution
    from breastai_model.network.net import BreastNet
    from breastai_model.training.dataset import CaseFiles
    from breastai_model.training.train import Training

MODEL_VERSION = "1.0"
FEWEST_READINGS = 16
"""Half of them are learnt from and half set the threshold, 8 each at least."""


def predictions_of(net: BreastNet, cases: CaseFiles, indices: NDArray[np.int64], fold: int = 0, batch_size: int = 8) -> Predictions:
    """Return what a network says of cases that it has not learnt from, with both modalities and with each alone.

    NaN stands where a case lacks a modality of the scope.
    """
    log_odds = {scope: predict_cases(net, cases, indices, absent, batch_size).logits for scope, absent in ABSENT.items()}
    return _predictions(cases, indices, log_odds, fold)


def _predictions(cases: CaseFiles, indices: NDArray[np.int64], log_odds: dict[Scope, NDArray[np.float64]], fold: int) -> Predictions:
    has = {"both": cases.has_mri & cases.has_us, "mri": cases.has_mri, "us": cases.has_us}
    known = {scope: np.where(has[scope][indices][:, None], values, np.nan) for scope, values in log_odds.items()}
    return Predictions(cases.labels[indices], cases.groups[indices], np.full(len(indices), fold, dtype=np.int64), known)


def _distribution(net: BreastNet, cases: CaseFiles, indices: NDArray[np.int64]) -> Distribution | None:
    """Return what the held-out cases with both modalities look like to the network, or None with fewer than sixteen of them."""
    whole = [int(index) for index in indices if cases.has_mri[index] and cases.has_us[index]]
    if len(whole) < FEWEST_READINGS:
        return None
    net.eval()
    readings = [read_case(net, cases.load(index)) for index in whole]
    return fit_distribution(readings[::2], readings[1::2])


def finished(training: Training, predictions: Predictions | None = None) -> str:
    """Make the model from the best epoch, measure it whole and with one modality away, and write the result.

    Parameters
    ----------
    predictions
        Out-of-fold predictions, which then calibrate the model; else its held-out cases do.

    Returns
    -------
    The last word of the run.
    """
    position, plan, folder = training.position, training.plan, training.folder
    share = position.all_computed / position.all_seconds if position.all_seconds else 1.0
    word = (
        f"finished after {position.epoch} epochs; the model is that of epoch {position.best_epoch}; "
        f"{share:.0%} of the time went into forward, backward and optimiser."
    )
    if not training.place.first:
        return word
    load_checkpoint(folder.best, training.net)
    labels = training.cases.labels[training.held_out]
    size = position.micro_batch or plan.batch_size
    net, cases, held_out = training.net, training.cases, training.held_out
    settle_agnostic_norms(net, cases, training.learning, size)
    log_odds = {scope: predict_cases(net, cases, held_out, absent, size).logits for scope, absent in ABSENT.items()}
    both, mri, us = (task_metrics(np.exp(-np.logaddexp(0.0, -log_odds[scope])), labels) for scope in ABSENT)
    used = predictions if predictions is not None else _predictions(cases, held_out, log_odds, 0)
    calibration = calibrated(used)
    result: dict[str, Any] = {
        "metrics": {**both, "without_ultrasound": mri, "without_mri": us},
        "best_epoch": position.best_epoch,
        "epochs": position.epoch,
        "learnt_from": len(training.learning),
        "held_out": len(training.held_out),
        "trained_on": plan.recipe.trained_on,
        "device": training.machine.device.type,
        "precision": training.machine.precision,
        "processes": training.place.world,
        "micro_batch": position.micro_batch,
        "seconds": round(position.all_seconds, 1),
        "computing_share": round(share, 4),
        "calibrated_on": "folds" if predictions is not None else "held-out cases",
    }
    used.write(folder.path / FILE_NAME)
    distribution = _distribution(net, cases, held_out)
    card = model_card(plan, result)
    save_weights(folder.model, net, plan.recipe, result, plan.name, MODEL_VERSION, calibration, distribution, card)
    folder.write_result(result, card)
    return word
