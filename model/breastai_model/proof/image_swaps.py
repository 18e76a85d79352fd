"""What each feature of an image network carries: features put in from other patients, levelled, taken away, or read by a fresh probe.

Method section vii, "Cross-modal projection", "Missing modality" and "Leakage test", on the networks of S1 and S2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from breastai_model.phantom.latents import LATENT_NAMES, SHARED, draw_latents
from breastai_model.prepare import collate
from breastai_model.proof import probes
from breastai_model.proof.intervals import auc_contrast, mean_interval
from breastai_model.proof.latent_claims import LEAKY, SWAP, share_of_change
from breastai_model.proof.table import Row, at_least, at_most, between, contains
from breastai_model.training.calibrate import fitted_temperature

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from breastai_model.proof.image_cases import Source
    from breastai_model.proof.image_claims import Answers
    from breastai_model.proof.table import Expected

PAIRS = 4
"""Patients and partners that pass at a time."""
NEARLY_EQUAL = 0.5
"""Standard deviations of s up to which the nearest patient counts as one of equal s."""
STAYS, FALLS = 0.05, 0.1
"""AUC that may be lost where a feature does not matter, and that must be where it does."""
IGNORANCE = 0.1
"""Mean distance from the prevalence of a probability that has nothing to go by."""


def swap_row(answers: Answers, source: Source, place: int, seed: int) -> Row:
    """Return S1's swap: the agnostic ultrasound stream reads another patient whose shared latents are the nearest, or any other.

    Parameters
    ----------
    seed
        Of the first phantom; the latents follow from it.
    """
    count = len(answers.cases)
    shared = [LATENT_NAMES.index(name) for name in SHARED]
    s = np.array([draw_latents(seed + number).values for number in range(count)])[:, shared]
    apart = np.linalg.norm(s[:, None] - s, axis=2)
    np.fill_diagonal(apart, np.inf)
    nearest, any_other = apart.argmin(axis=1), np.roll(np.arange(count), 1)
    here = swapped(answers, np.arange(count), place)
    near, far = (np.abs(swapped(answers, partners, place) - here) for partners in (nearest, any_other))
    scenario, task = source
    distance = float(np.median(apart.min(axis=1)))
    return Row(
        f"{scenario} {task}, agnostic US of a patient with nearly equal s",
        "change of the probability, as a share of the change by a patient with any s",
        at_most(SWAP) if distance <= NEARLY_EQUAL else None,  # of few phantoms the nearest is a stranger too
        share_of_change(near, far),
        f"equal s: the nearest of {count}, {distance:.2f} standard deviations away in the median; the specific stream and the MRI stay "
        "the patient's own",
    )


def swapped(answers: Answers, partners: NDArray[np.int64], place: int) -> NDArray[np.float64]:
    """Return (patient,) probabilities when the last stage of the agnostic ultrasound stream is the partner's."""

    def partners_stage(modality: str, branch: str, stage: int, activation: Tensor) -> Tensor:
        if (modality, branch, stage) != ("us", "agnostic", 4):
            return activation
        theirs = activation.chunk(2)[1]
        return torch.cat([theirs, theirs])

    said = []
    with torch.inference_mode():
        for start in range(0, len(partners), PAIRS):
            own = range(start, min(start + PAIRS, len(partners)))
            shown = [answers.cases.load(index) for index in (*own, *(int(partners[index]) for index in own))]
            logits = answers.net(collate(shown), partners_stage).logits[: len(own), place]
            said.append(logits.softmax(dim=-1)[:, 1].double().numpy())
    return np.concatenate(said)


def levelled_row(answers: Answers, source: Source, place: int) -> Row:
    """Return the AUC lost when F^s_M is everybody's mean: what S2 rests on, and S1 does not."""
    scenario, task = source
    said = answers.said["both"]
    parts = [said.fused, np.tile(said.specific_mri.mean(axis=0), (len(said.fused), 1)), said.specific_us]
    with torch.inference_mode():
        joint = torch.from_numpy(np.concatenate(parts, axis=1)).float()
        logits = list(answers.net.heads.values())[place](joint).double().numpy()
    scores = said.logits[:, place], logits[:, 1] - logits[:, 0]
    matters: Expected = at_least(FALLS) if scenario == "S2" else between(-STAYS, STAYS)
    return Row(
        f"{scenario} {task}, F^s_M levelled",
        "AUC lost when F^s_M is the mean of all patients",
        matters,
        auc_contrast(scores, (1.0, -1.0), answers.labels[:, place]),
        "",
    )


def ignorance_row(answers: Answers, source: Source, place: int) -> Row:
    """Return how far from the prevalence the answer to S2 stays when the MRI is missing, calibrated as the program does."""
    scenario, task = source
    odds, labels = answers.said["us"].logits[:, place], answers.labels[:, place]
    half = len(labels) // 2
    temperature = fitted_temperature(odds[:half], labels[:half])
    chance = 1 / (1 + np.exp(-np.clip(odds[half:] / temperature, -60, 60)))
    return Row(
        f"{scenario} {task}, MRI missing: calibrated ignorance",
        "mean distance of the probability from the prevalence",
        at_most(IGNORANCE),
        mean_interval(np.abs(chance - labels.mean())),
        f"temperature of that scope fitted on the first {half} of these phantoms, measured on the others; 0 would be perfect",
    )


def leakage_rows(answers: Answers, scenario: str) -> list[Row]:
    """Return the fresh probe on F^a with its controls; its gate is for whole breasts and the bundled weights (`prove --weights`)."""
    said = answers.said["both"]
    note = f"{len(said.logits)} phantoms, split by patient, {probes.REPEATS} repeats"
    agnostic = said.agnostic_mri, said.agnostic_us
    return [
        Row(f"{scenario} probe, MLP(64)", "fresh probe names the modality of F^a", None, probes.leakage(*agnostic, "mlp"), note),
        Row(
            f"{scenario} probe, positive control",
            "the same on F^s",
            at_least(LEAKY),
            probes.leakage(said.specific_mri, said.specific_us, "mlp"),
            note,
        ),
        Row(
            f"{scenario} probe, negative control",
            "labels swapped within pairs",
            contains(0.5, 0.1),
            probes.leakage(*agnostic, "mlp", swap=True),
            note,
        ),
    ]
