"""The plan of a training run: what is trained, on what, with which losses. All that happens in a run follows from it and the cases."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from breastai_model.recipe import Recipe
from breastai_model.strict_json import StrictJsonError, checked

if TYPE_CHECKING:
    from collections.abc import Mapping

Scenario = Literal["clinic", "S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8"]
MOST_EPOCHS = 500


@dataclass(frozen=True, slots=True)
class LossPlan:
    """Which terms stand in equation 14 and with what weight. `LOSSES` has the named recipes of section (iv).

    Attributes
    ----------
    adversary
        Of g_a in the encoders' step: "minimax" (-lambda1 L_mo, as printed), "confusion" (+lambda1 cross-entropy to uniform,
        bounded) or "none". "none" also leaves L_M and L_U out and trains no discriminator.
    lambda_modality, lambda_projection
        lambda1 and lambda2.
    warm_up_epochs
        Over which both rise from 0.
    detach_agnostic
        Whether L_M and L_U stop at F^a in the encoders' step.
    literal
        Leaves the L2 normalisation inside L_M, L_U and L_mo out, as printed: equation 14 then has no lower bound.
    compactness
        L_C: "laplacian", "contrastive" or "none".
    lambda_compactness
        lambda_C.
    memory
        Detached features per modality that the contrastive L_C and the cross-covariance remember; 0: the batch alone. The
        Laplacian form sees the batch alone in any case.
    temperature
        tau of the contrastive form.
    neighbours
        k: nearest neighbours of the Laplacian form, hardest candidates of the contrastive one (0: all).
    lambda_cross_covariance
        lambda_X. L_X is left out until the memory is half full: over a few patients it is noise.
    lambda_latents
        lambda_Z: the features are asked for a phantom's latents (`breastai_model.training.latent_readout`). Made-up patients alone have
        them; 0 leaves the term out.
    alternate
        Discriminators and encoders take turns by "step" or, as printed, by "epoch".
    class_weights
        Whether each answer weighs by the inverse of its frequency in the training fold.
    """

    adversary: Literal["minimax", "confusion", "none"] = "confusion"
    lambda_modality: float = 0.2
    lambda_projection: float = 0.2
    warm_up_epochs: float = 10.0
    detach_agnostic: bool = True
    literal: bool = False
    compactness: Literal["laplacian", "contrastive", "none"] = "contrastive"
    lambda_compactness: float = 1.0
    memory: int = 192
    temperature: float = 0.2
    neighbours: int = 0
    lambda_cross_covariance: float = 0.1
    lambda_latents: float = 0.0
    alternate: Literal["step", "epoch"] = "step"
    class_weights: bool = False

    def __post_init__(self) -> None:
        lambdas = (self.lambda_modality, self.lambda_projection, self.lambda_compactness, self.lambda_cross_covariance, self.lambda_latents)
        if not all(math.isfinite(weight) and 0 <= weight <= 1000 for weight in (*lambdas, self.warm_up_epochs)):
            raise ValueError("The weights of the losses must lie between 0 and 1000.")
        if not 0 < self.temperature <= 10 or not 0 <= self.memory <= 65536 or not 0 <= self.neighbours <= 65536:
            raise ValueError("The losses' temperature must lie between 0 and 10, memory and neighbours between 0 and 65536.")
        if self.compactness == "laplacian" and self.neighbours < 1:
            raise ValueError("The Laplacian form of L_C needs at least one neighbour.")


LOSSES: dict[str, LossPlan] = {
    "stable": LossPlan(),
    "faithful": LossPlan(
        adversary="minimax",
        warm_up_epochs=0.0,
        detach_agnostic=False,
        compactness="laplacian",
        memory=0,
        neighbours=4,
        lambda_cross_covariance=0.0,
        alternate="epoch",
    ),
    "supervised": LossPlan(adversary="none", compactness="none", lambda_cross_covariance=0.0, warm_up_epochs=0.0),
}


@dataclass(frozen=True, slots=True)
class PhantomData:
    """The cases are made-up patients, written below the run's folder before training.

    Patient number n is the phantom of seed + n - 1 in that scenario (`breastai_model.phantom`).
    """

    scenario: Scenario
    patients: int
    seed: int

    def __post_init__(self) -> None:
        if not 1 <= self.patients <= 1_000_000 or not 0 <= self.seed < 2**31:
            raise ValueError("A phantom cohort needs 1 to 1,000,000 patients and a seed from 0 to 2147483647.")


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run trains, and how.

    Attributes
    ----------
    name
        As the person called it; the weights carry it.
    recipe
        Preparation and network.
    losses
        The terms of equation 14.
    data
        The phantom cohort to make, or None: the run's cohort.json names the cases.
    epochs, batch_size, learning_rate, weight_decay
        Of both Adam optimisers.
    schedule
        "cosine": a short rise, then half a cosine to zero; "plateau": halved after `plateau_epochs` without improvement (the paper).
    plateau_epochs, stop_epochs
        Encoder epochs without improvement until the rate is halved ("plateau" only), until training stops (0: never).
    watch
        What improves: "validation": L_cls of the held-out cases; "training": L_f (14) of the training epoch, as printed.
    validation_share
        The share of the patients that is held out, whole patients at a time.
    folds
        0: one split by `validation_share`; k: patient-level stratified k-fold, each fold a run of its own below `folds/`.
    seed
        Everything random follows from it.
    device
        "auto", "cpu", "cuda" or "mps".
    precision
        "auto" (on a GPU bfloat16 where it is able, else float16 with a gradient scaler; on a processor float32), "float32",
        "bfloat16" or "float16".
    micro_batch
        Cases that pass the network at once; gradients of a batch are added up. 0: the whole batch. BatchNorm and L_C then see
        `micro_batch` cases (L_C also its memory).
    checkpoint_activations
        Whether the encoders' activations are computed again in the backward pass instead of stored.
    augment
        The five augmentations of section (iv), with their consistency rules.
    roll_angles
        Whether the ultrasound sweep may begin at another angle (`stable`).
    drop_mri, drop_ultrasound, drop_view
        Probability that a case is shown without MRI, without ultrasound (never both), and that a phase after contrast
        or an angle is left out, while training.
    start_from
        "", or the SHA-256 of an imported backbone (`breastai models import-imagenet`) that the streams start from.
    """

    name: str
    recipe: Recipe
    losses: LossPlan = LOSSES["stable"]
    data: PhantomData | None = None
    epochs: int = 40
    batch_size: int = 6
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    schedule: Literal["cosine", "plateau"] = "cosine"
    plateau_epochs: int = 20
    stop_epochs: int = 0
    watch: Literal["validation", "training"] = "validation"
    validation_share: float = 0.2
    folds: int = 0
    seed: int = 1
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    micro_batch: int = 0
    checkpoint_activations: bool = False
    augment: bool = True
    roll_angles: bool = True
    drop_mri: float = 0.2
    drop_ultrasound: float = 0.2
    drop_view: float = 0.1
    start_from: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w .,()+\-]{1,80}", self.name):
            raise ValueError("The name of a model may hold letters, digits, spaces and . , ( ) + - _ only, at most 80.")
        if not 1 <= self.epochs <= MOST_EPOCHS:
            raise ValueError(f"A plan has 1 to {MOST_EPOCHS} epochs.")
        if self.batch_size < 1 or not 0 < self.learning_rate < 1 or not 0 <= self.weight_decay < 1:
            raise ValueError("A plan needs at least one case a batch and a learning rate between 0 and 1.")
        if not 0 < self.validation_share < 1:
            raise ValueError("The share of held-out patients must lie between 0 and 1.")
        if self.folds == 1 or not 0 <= self.folds <= 50 or self.plateau_epochs < 1 or self.stop_epochs < 0 or self.micro_batch < 0:
            raise ValueError("Folds are 0 or 2 to 50, plateau_epochs at least 1, stop_epochs and micro_batch at least 0.")
        if not 0 <= self.seed < 2**31:
            raise ValueError("A seed lies between 0 and 2147483647.")
        if self.drop_mri + self.drop_ultrasound > 1 or min(self.drop_mri, self.drop_ultrasound, self.drop_view) < 0 or self.drop_view >= 1:
            raise ValueError("The shares of cases shown without a modality must lie between 0 and 1, together at most 1.")
        if self.start_from and not re.fullmatch(r"[0-9a-f]{64}", self.start_from):
            raise ValueError("start_from is the SHA-256 of an imported backbone, 64 hexadecimal digits.")

    def to_json(self) -> dict[str, Any]:
        """Return the plan as what `json.dumps` takes."""
        values = asdict(self)
        return values | {"recipe": json.loads(self.recipe.to_json())}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Plan:
        """Return the plan of `to_json`. Raises ValueError on a field that is missing, unknown or out of range."""
        if not isinstance(values, dict) or "recipe" not in values:
            raise ValueError("plan.json is not a plan of this version of the program: its entry recipe is missing.")
        try:
            recipe = Recipe.from_json(json.dumps(values["recipe"]))
            plan: Plan = checked(cls, json.loads(json.dumps({**values, "recipe": json.loads(recipe.to_json())})), "plan", "plan")
        except (TypeError, StrictJsonError) as error:
            raise ValueError(f"plan.json is not a plan of this version of the program: {error}") from error
        return plan


def with_losses(recipe: Recipe, name: Literal["stable", "faithful", "supervised"]) -> Recipe:
    """Return the recipe with what the named losses ask of the network: head, normalisation, order of sides, dropout of modalities.

    `faithful` also takes plain means over the views, as the text says no more.
    """
    if name == "faithful":
        recipe = replace(recipe, head="linear", specific_views="mean", modality_dropout=False)
        return replace(recipe, losses=name, agnostic_norm=False, side_order="left_right")
    return replace(recipe, losses=name, head="hidden", agnostic_norm=True, side_order="affected", modality_dropout=True)


def plan_with(name: str, recipe: Recipe, losses: Literal["stable", "faithful", "supervised"], **changes: Any) -> Plan:
    """Return a plan of a named set of losses: what section (iv) decides for `faithful` and `stable` beside the losses themselves.

    Raises
    ------
    ValueError
        If a changed value is out of range.
    """
    values: dict[str, Any] = {"losses": LOSSES[losses]}
    if losses == "faithful":
        values |= {
            "learning_rate": 1e-4,
            "weight_decay": 0.0,
            "epochs": 500,
            "schedule": "plateau",
            "stop_epochs": 50,
            "watch": "training",
            "roll_angles": False,
            "drop_mri": 0.0,
            "drop_ultrasound": 0.0,
            "drop_view": 0.0,
        }
    return Plan(name, with_losses(recipe, losses), **{**values, **changes})
