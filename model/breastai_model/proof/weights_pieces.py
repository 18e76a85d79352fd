"""Claims on a given weights file, on phantoms that it never saw: ceilings, calibration, coverage, leakage, false alarms, heatmaps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from breastai_model.calibration import probabilities
from breastai_model.case import TASKS
from breastai_model.phantom.cohort import PhantomCohort, write_cohort
from breastai_model.phantom.latents import LATENT_NAMES
from breastai_model.phantom.scenarios import law_hash
from breastai_model.plan import PhantomData
from breastai_model.proof import attribution, pointing, probes
from breastai_model.proof.control_pieces import ControlName, control_file, control_piece, control_pieces, control_words
from breastai_model.proof.intervals import Interval, auc_interval, exact, mean_interval
from breastai_model.proof.latent_claims import LEAKY, PROBE_GATE
from breastai_model.proof.pieces import Piece
from breastai_model.proof.readable import readable
from breastai_model.proof.table import Expected, Row, at_least, at_most, between, contains
from breastai_model.proof.weights_answers import PART, FreshPhantoms, read_answers
from breastai_model.training.bundled_cases import TEST
from breastai_model.training.conformal import expected_coverage
from breastai_model.training.intervals import biased_figure, patient_weights
from breastai_model.training.latent_readout import ASKED
from breastai_model.training.reliability import weighted_ece
from breastai_model.weights import read_weights

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from breastai_model.proof.pieces import Bench
    from breastai_model.proof.weights_answers import FreshAnswers
    from breastai_model.training import bundled
    from breastai_model.weights import Weights

WAY = 0.9
"""Of the way from 0.5 to the image ceiling that an AUC must have gone."""
LARGEST_ECE = 0.05
HELD, LITTLE = 0.7, 0.5
"""R² of the shared latents that an agnostic feature must hold, and of private ones that it may."""
MOST_FALSE_ALARMS = 0.05
POINTED, POINTED_QUICK = 200, 40
ATTRIBUTED, ATTRIBUTED_QUICK = 60, 12
"""Each takes as long as five predictions."""
SHARE = 5 * PART
"""Phantoms that one process reads at a time, so that several may."""
QUICK = PhantomData("clinic", 200, TEST.seed + 500_000)
"""Other patients than `TEST`, which is for the full table alone."""
GLANCE = PhantomData("clinic", 24, TEST.seed + 600_000)
"""Those of the quick table of the method, which looks at the bundled weights' heatmaps alone."""
SHARED, MRI_PRIVATE, US_PRIVATE = (ASKED[name] for name in ("fused", "specific_mri", "specific_us"))


@dataclass(frozen=True, slots=True)
class Given:
    """What is judged, and against what.

    Attributes
    ----------
    weights
        A weights file.
    shuffled
        One of the same recipe that was trained on shuffled labels: a control of the heatmaps; None: that control is missing.
    leaky
        One trained without BatchNorm on F^a, adversary and L_C: a control of the probes; None: that control is missing.
    cohort
        A folder of fresh phantoms; None: one is written below the bench's folder.
    controls
        How a control that is not given is made; None: it is missing.
    """

    weights: Path
    shuffled: Path | None = None
    leaky: Path | None = None
    cohort: Path | None = None
    controls: bundled.Wish | None = None

    def made(self) -> tuple[ControlName, ...]:
        """Return the controls that nobody gave and that the table makes."""
        names: tuple[ControlName, ...] = ("leaky", "shuffled")
        return () if self.controls is None else tuple(name for name in names if self.brought(name) is None)

    def brought(self, name: ControlName) -> Path | None:
        """Return the file of a control that was given."""
        return self.leaky if name == "leaky" else self.shuffled

    def control(self, name: ControlName, bench: Bench) -> Path | None:
        """Return the file of a control, given or made; None where it is missing."""
        return control_file(bench.folder, name) if name in self.made() else self.brought(name)

    def phantoms(self, bench: Bench, count: int) -> FreshPhantoms:
        """Return the first `count` fresh phantoms."""
        return FreshPhantoms(PhantomCohort(_test_cohort(bench) if self.cohort is None else self.cohort), count)


def weights_pieces(given: Given, *, quick: bool) -> list[Piece]:
    """Return the pieces on a weights file."""
    judged = read_weights(given.weights)
    data = (QUICK if quick else TEST) if given.cohort is None else PhantomCohort(given.cohort).data
    count = min(data.patients, QUICK.patients if quick else TEST.patients)
    pointed = min(data.patients, POINTED_QUICK if quick else POINTED)
    attributed = min(data.patients, ATTRIBUTED_QUICK if quick else ATTRIBUTED)
    known = f"weights {judged.sha256[:16]} ({judged.name} {judged.version})"
    cohort = f"{data.scenario} phantoms, seeds from {data.seed}, law {law_hash()[:12]}"
    leaky, mixed = _origin(given, "leaky", "leaky"), _origin(given, "shuffled", "shuffled labels")
    pieces = [] if given.controls is None else control_pieces(given.controls, given.made())
    free, shuffled = (tuple(control_piece(each) for each in given.made() if each == name) for name in ("leaky", "shuffled"))
    if given.cohort is None:
        pieces.append(Piece("phantoms", "Fresh phantoms", f"{data.patients} {cohort}", partial(_write_phantoms, data)))
    after = () if given.cohort is not None else ("phantoms",)
    for first in range(0, count, SHARE):
        words = f"numbers {first + 1} to {min(first + SHARE, count)} of {cohort}; {known}{leaky}"
        pieces.append(Piece(f"reading-{first // SHARE + 1}", "Reading", words, partial(_read, given, count, first), (*after, *free)))
    read = tuple(piece.name for piece in pieces if piece.name.startswith("reading-"))
    return [
        *pieces,
        Piece("answers", "Answers on fresh phantoms", f"{known}; {count} {cohort}", partial(_answer_rows, given, count), read),
        Piece(
            "features", "What the features hold", f"{known}{leaky}; {count} {cohort}", partial(_feature_rows, given, count), ("answers",)
        ),
        Piece("pointing", "Heatmaps", f"{known}{mixed}; {pointed} {cohort}", partial(_pointing, given, pointed), (*after, *shuffled)),
        Piece("attribution", "Gradient times input", f"{known}; {attributed} {cohort}", partial(_attribution, given, attributed), after),
    ]


def _origin(given: Given, name: ControlName, words: str) -> str:
    """Return which network a control is, to stand behind the weights' name; "" where it is missing."""
    path = given.brought(name)
    if path is not None:
        return f"; {words}: {read_weights(path).sha256[:16]}"
    return "" if given.controls is None else f"; {words}: {control_words(given.controls)}"


def attribution_pieces(given: Given) -> list[Piece]:
    """Return the pieces of the quick table: the heatmaps of a weights file on a few phantoms."""
    judged = read_weights(given.weights)
    words = f"weights {judged.sha256[:16]} ({judged.name} {judged.version}); {GLANCE.patients} {GLANCE.scenario} phantoms, seeds from "
    words += f"{GLANCE.seed}, law {law_hash()[:12]}"
    return [
        Piece("phantoms", "Fresh phantoms", words, partial(_write_phantoms, GLANCE)),
        Piece("pointing", "Heatmaps of the bundled weights", words, partial(_pointing, given, GLANCE.patients), ("phantoms",)),
    ]


def _test_cohort(bench: Bench) -> Path:
    return bench.folder / "test-cohort"


def _write_phantoms(data: PhantomData, bench: Bench) -> list[Row]:
    """Write the cohort; what an earlier call wrote is kept."""

    def stop_in_time(_done: int, _whole: int) -> None:
        bench.left_s()

    write_cohort(_test_cohort(bench), data, processes=bench.processes, tell=stop_in_time)
    return []


def _read(given: Given, count: int, first: int, bench: Bench) -> list[Row]:
    """Let the network, and the control of the probes, read a share of the phantoms; the answers stay in the folder."""
    share = range(first, min(first + SHARE, count))
    for path in (given.weights, given.control("leaky", bench)):
        if path is not None:
            read_answers(read_weights(path), given.phantoms(bench, count), bench, share)
    return []


def _answer_rows(given: Given, count: int, bench: Bench) -> list[Row]:
    weights, phantoms = read_weights(given.weights), given.phantoms(bench, count)
    said = read_answers(weights, phantoms, bench)
    rows = [row for place, task in enumerate(TASKS) for row in _task_rows(weights, phantoms, said, place, task)]
    return [*rows, _alarm_row(said)]


def _task_rows(weights: Weights, phantoms: FreshPhantoms, said: FreshAnswers, place: int, task: str) -> list[Row]:
    """Return AUC, calibration and coverage of one answer."""
    labels, odds = said.labels[:, place], said.both[:, place]
    known = labels >= 0
    measured = auc_interval(odds, labels)
    bounds = phantoms.cohort.ceilings.task(TASKS[place])
    image = bounds.outlined.both
    note = f"Bayes AUC {bounds.bayes.both:.3f}; image ceiling {_three(image)}, lesion found in the images {_three(bounds.found.both)}"
    expected = None if image is None else at_least(0.5 + WAY * (image - 0.5))
    rows = [Row(f"{task} AUC", f"{WAY:g} of the way from 0.5 to the image ceiling", expected, measured, note)]
    rows += [
        Row(f"{task} AUC, {words}", "one modality alone", None, auc_interval(each[:, place], labels), f"image ceiling {_three(ceiling)}")
        for words, each, ceiling in (("MRI", said.mri, bounds.outlined.mri), ("US", said.us, bounds.outlined.us))
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


def _three(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"


def _feature_rows(given: Given, count: int, bench: Bench) -> list[Row]:
    """Return the fresh probes: leakage with its controls, information content, cross-modal retrieval."""
    phantoms = given.phantoms(bench, count)
    said = read_answers(read_weights(given.weights), phantoms, bench)
    note = f"{len(said.labels)} phantoms, split by patient, {probes.REPEATS} repeats"
    agnostic, specific = (said.agnostic_mri, said.agnostic_us), (said.specific_mri, said.specific_us)
    open_control = None
    leaky = given.control("leaky", bench)
    if leaky is not None:
        free = read_answers(read_weights(leaky), phantoms, bench)
        open_control = probes.leakage(free.agnostic_mri, free.agnostic_us, "mlp")
    rows = [
        Row("probe, logistic", "fresh probe names the modality of F^a", None, probes.leakage(*agnostic, "linear"), note),
        Row("probe, MLP(64)", "fresh probe names the modality of F^a", at_most(PROBE_GATE), probes.leakage(*agnostic, "mlp"), note),
        Row(
            "control network of the probe",
            "the same on a network trained without BatchNorm on F^a, adversary and L_C",
            at_least(LEAKY),
            open_control,
            note if leaky is not None else "No such network was given: breastai train --bundled --control leaky makes one.",
        ),
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
            at_least(10 / len(said.labels)),
            probes.retrieval(*agnostic),
            f"chance {1 / len(said.labels):.4f}",
        ),
    ]
    bench.left_s()
    latents, by_hand = phantoms.cohort.latents[:count], phantoms.cohort.measured()[:count]

    def held(name: str, says: str, features: NDArray[np.float64], names: tuple[str, ...], expected: Expected | None) -> Row:
        wanted = latents[:, [LATENT_NAMES.index(each) for each in names]]
        allowed = readable(by_hand, latents, "mri" if "_M" in name else "us", names).value
        note = f"R² on held-out patients, ridge; measured by hand in these images, the lesion outlined by the truth: {allowed:.2f}"
        return Row(name, f"{says}: {', '.join(names)}", expected, probes.explained(features, wanted, "linear"), note)

    return [
        *rows,
        held("F^a_M → s", "the agnostic feature holds the shared latents", said.agnostic_mri, SHARED, at_least(HELD)),
        held("F^a_U → s", "the agnostic feature holds the shared latents", said.agnostic_us, SHARED, at_least(HELD)),
        held("F^a_M → p_M", "and little of the private ones", said.agnostic_mri, MRI_PRIVATE, at_most(LITTLE)),
        held("F^a_U → p_U", "and little of the private ones", said.agnostic_us, US_PRIVATE, at_most(LITTLE)),
        held("F^s_M → p_M", "the specific feature holds the private latents", said.specific_mri, MRI_PRIVATE, None),
        held("F^s_U → p_U", "the specific feature holds the private latents", said.specific_us, US_PRIVATE, None),
        Row(
            "F^s_M → F^a_M",
            "a fresh regressor reads the agnostic from the specific feature (equation 1)",
            None,
            probes.explained(said.specific_mri, said.agnostic_mri, "linear"),
            "R² on held-out patients, ridge",
        ),
        Row("CKA", "linear alignment of F^s_M and F^a_M, 0 to 1", None, exact(probes.linear_cka(said.specific_mri, said.agnostic_mri)), ""),
    ]


def _alarm_row(said: FreshAnswers) -> Row:
    says = "share of fresh phantoms that the in-distribution check calls outside"
    if np.isnan(said.outside).any():
        return Row("false alarms", says, at_most(MOST_FALSE_ALARMS), None, "The weights carry no distribution.")
    return Row("false alarms", says, at_most(MOST_FALSE_ALARMS), mean_interval(said.outside), "")


def _pointing(given: Given, count: int, bench: Bench) -> list[Row]:
    weights, phantoms = read_weights(given.weights), given.phantoms(bench, count)
    patients = pointing.located((phantoms.load(index)[0] for index in range(count)), weights.recipe)
    bench.left_s()
    spacing = phantoms.load(0)[0].case.ultrasound_spacing_mm[0]
    words = pointing.tolerance_words(patients, weights.recipe, 0.0 if spacing is None else spacing[0])
    shuffled = given.control("shuffled", bench)
    mixed = None if shuffled is None else read_weights(shuffled).net
    return pointing.measured_rows(weights.net, mixed, patients, words, bench.left_s)


def _attribution(given: Given, count: int, bench: Bench) -> list[Row]:
    weights, phantoms = read_weights(given.weights), given.phantoms(bench, count)
    patients = pointing.located((phantoms.load(index)[0] for index in range(count)), weights.recipe)
    return attribution.attribution_rows(weights.net, patients, bench.left_s)
