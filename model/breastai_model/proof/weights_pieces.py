"""Claims on a given weights file, on phantoms that it never saw: ceilings, calibration, coverage, leakage, false alarms, heatmaps."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from breastai_model.calibration import probabilities
from breastai_model.case import TASKS
from breastai_model.phantom.cohort import PhantomCohort
from breastai_model.phantom.scenarios import bayes_auc
from breastai_model.proof import pointing, probes
from breastai_model.proof.intervals import Interval, auc_interval, exact, mean_interval
from breastai_model.proof.latent_claims import LEAKY, PROBE_GATE
from breastai_model.proof.pieces import Piece
from breastai_model.proof.table import Row, at_least, at_most, between, contains
from breastai_model.proof.weights_answers import FreshPhantoms, read_answers
from breastai_model.training.conformal import expected_coverage
from breastai_model.training.intervals import biased_figure, patient_weights
from breastai_model.training.reliability import weighted_ece
from breastai_model.weights import read_weights

if TYPE_CHECKING:
    from pathlib import Path

    from breastai_model.proof.pieces import Bench
    from breastai_model.proof.weights_answers import FreshAnswers
    from breastai_model.weights import Weights

WAY = 0.9
"""Of the way from 0.5 to the image ceiling that an AUC must have gone."""
LARGEST_ECE = 0.05
MOST_FALSE_ALARMS = 0.05
POINTED, POINTED_QUICK = 200, 40


def weights_pieces(weights: Path, shuffled: Path | None, cohort: Path | None, *, quick: bool) -> list[Piece]:
    """Return the pieces on a weights file.

    Parameters
    ----------
    shuffled
        Weights of the same recipe that were trained on shuffled labels: a control of the heatmaps; None: that control is missing.
    cohort
        A cohort of fresh phantoms; None: phantoms are made on the way, and the image ceiling is not known.
    """
    given = read_weights(weights)
    stored = None if cohort is None else PhantomCohort(cohort)
    most = len(stored) if stored is not None else 1000
    phantoms = FreshPhantoms(stored, min(most, 200) if quick else most)
    pointed = FreshPhantoms(stored, min(most, POINTED_QUICK if quick else POINTED))
    known = f"weights {given.sha256[:16]} ({given.name} {given.version})"
    mixed = "" if shuffled is None else f"; shuffled labels: {read_weights(shuffled).sha256[:16]}"
    return [
        Piece("answers", "Answers on fresh phantoms", f"{known}; {phantoms.words()}", partial(_answer_rows, weights, phantoms)),
        Piece("pointing", "Heatmaps", f"{known}; {pointed.words()}{mixed}", partial(_pointing, weights, shuffled, pointed)),
    ]


def _answer_rows(path: Path, phantoms: FreshPhantoms, bench: Bench) -> list[Row]:
    weights = read_weights(path)
    weights.net.eval()
    said = read_answers(weights, phantoms, bench)
    rows = [row for place, task in enumerate(TASKS) for row in _task_rows(weights, phantoms, said, place, task)]
    return [*rows, *_feature_rows(said), _alarm_row(said)]


def _task_rows(weights: Weights, phantoms: FreshPhantoms, said: FreshAnswers, place: int, task: str) -> list[Row]:
    """Return AUC, calibration and coverage of one answer."""
    labels, odds = said.labels[:, place], said.both[:, place]
    known = labels >= 0
    measured = auc_interval(odds, labels)
    if phantoms.cohort is None:
        rows = [
            Row(
                f"{task} AUC",
                "both modalities",
                None,
                measured,
                f"Bayes AUC {bayes_auc('clinic')[TASKS[place]]['both']:.3f}; no cohort given, so no image ceiling",
            )
        ]
    else:
        bounds = phantoms.cohort.ceilings.task(TASKS[place])
        image = bounds.outlined.both
        note = f"Bayes AUC {bounds.bayes.both:.3f}; image ceiling {image}, lesion found in the images {bounds.found.both}"
        expected = None if image is None else at_least(0.5 + WAY * (image - 0.5))
        rows = [Row(f"{task} AUC", f"{WAY:g} of the way from 0.5 to the image ceiling", expected, measured, note)]
    rows += [
        Row(f"{task} AUC, {words}", "one modality alone", None, auc_interval(each[:, place], labels), "")
        for words, each in (("MRI", said.mri), ("US", said.us))
    ]
    calibration = weights.calibration
    if calibration is None:
        return [*rows, Row(f"{task} calibration", "ECE and coverage", at_most(LARGEST_ECE), None, "The weights carry no calibration.")]
    numbers = calibration.of("both", TASKS[place])
    p = probabilities(odds[known], numbers.temperature)
    ece = biased_figure(
        weighted_ece(p, labels[known], patient_weights(labels[known], np.flatnonzero(known), stratified=False)), int(known.sum())
    )
    span = None if ece is None or ece.low is None or ece.high is None else Interval(ece.value, ece.low, ece.high)
    rows.append(
        Row(f"{task} ECE", "ten bins of equal mass", at_most(LARGEST_ECE), span, "basic bootstrap: the plain ECE is biased upwards")
    )
    for answer, word, count in ((0, "negative", numbers.negatives), (1, "positive", numbers.positives)):
        sets = [calibration.prediction_set("both", TASKS[place], float(value)) for value in odds[labels == answer]]
        says = f"share of the truly {word} whose set holds the truth, goal {calibration.coverage:g}"
        if any(each is None for each in sets):
            rows.append(Row(f"{task} coverage, {word}", says, contains(calibration.coverage, 1.0), None, "Too few patients to say."))
            continue
        band = expected_coverage(count, len(sets), calibration.coverage)
        holds = float(np.mean([word in each for each in sets if each is not None]))
        note = f"calibrated on {count}; 95 % of such shares lie in that band where the goal is kept"
        rows.append(Row(f"{task} coverage, {word}", says, between(*band), exact(holds), note))
    return rows


def _feature_rows(said: FreshAnswers) -> list[Row]:
    """Return the fresh probes."""
    note = f"{len(said.labels)} phantoms, split by patient, {probes.REPEATS} repeats"
    agnostic, specific = (said.agnostic_mri, said.agnostic_us), (said.specific_mri, said.specific_us)
    return [
        Row("probe, logistic", "fresh probe names the modality of F^a", None, probes.leakage(*agnostic, "linear"), note),
        Row("probe, MLP(64)", "fresh probe names the modality of F^a", at_most(PROBE_GATE), probes.leakage(*agnostic, "mlp"), note),
        Row("positive control of the probe", "the same on F^s", at_least(LEAKY), probes.leakage(*specific, "mlp"), note),
        Row(
            "negative control of the probe",
            "labels swapped within pairs",
            contains(0.5, 0.1),
            probes.leakage(*agnostic, "mlp", swap=True),
            note,
        ),
        Row(
            "retrieval",
            "F^a_M finds its own patient's F^a_U first",
            None,
            probes.retrieval(*agnostic),
            f"chance {1 / len(said.labels):.4f}",
        ),
    ]


def _alarm_row(said: FreshAnswers) -> Row:
    says = "share of fresh phantoms that the in-distribution check calls outside"
    if np.isnan(said.outside).any():
        return Row("false alarms", says, at_most(MOST_FALSE_ALARMS), None, "The weights carry no distribution.")
    return Row("false alarms", says, at_most(MOST_FALSE_ALARMS), mean_interval(said.outside), "")


def _pointing(path: Path, shuffled: Path | None, phantoms: FreshPhantoms, bench: Bench) -> list[Row]:
    weights = read_weights(path)
    patients = pointing.located((phantoms.load(index)[0] for index in range(phantoms.count)), weights.recipe)
    bench.left_s()
    spacing = phantoms.load(0)[0].case.ultrasound_spacing_mm[0]
    words = pointing.tolerance_words(patients, weights.recipe, 0.0 if spacing is None else spacing[0])
    mixed = None if shuffled is None else read_weights(shuffled).net
    return pointing.measured_rows(weights.net, mixed, patients, words, bench.left_s)
