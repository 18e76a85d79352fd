"""From a person's few choices to a whole plan: presets with honest words, and the recipe of this cohort."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from breastai_gui.services.training_runs import RunError
from breastai_model.plan import plan_with
from breastai_model.recipe import RecipeError, preset

if TYPE_CHECKING:
    from breastai_gui.services.cohort import Cohort
    from breastai_model.plan import Plan

Losses = Literal["stable", "faithful"]
LOSS_CHOICES: tuple[tuple[str, Losses], ...] = (
    ("Stable: bounded, the default", "stable"),
    ("Faithful: as published, with long training at a small rate", "faithful"),
)


@dataclass(frozen=True, slots=True)
class TrainingPreset:
    """One of the sizes that the wizard offers; `name` is the recipe's preset."""

    name: str
    title: str
    about: str
    epochs: int
    batch_size: int
    learning_rate: float = 1e-3


PRESETS = (
    TrainingPreset(
        "tiny",
        "Quick: to try the way through",
        "A very small network on coarse images: minutes on any processor. Not meant to be good.",
        10,
        4,
    ),
    TrainingPreset("compact", "Balanced", "The size of the bundled model: many hours on a processor, far less on a graphics card.", 50, 16),
    TrainingPreset("paper", "Full", "The size of the published method. Needs a graphics card with 24 GB of memory.", 200, 6, 1e-4),
)


def plan_for(
    name: str,
    choice: TrainingPreset,
    cohort: Cohort,
    *,
    epochs: int,
    batch_size: int,
    device: str,
    seed: int = 1,
    losses: Losses = "stable",
    start_from: str = "",
) -> Plan:
    """Return the plan for a cohort: the recipe says what the cohort's answers mean and whether its patients are real.

    The full size passes one case at a time and computes activations again, so that it fits a card of 24 GB. The smaller sizes
    see each phase with its difference from the one before contrast (stable losses); the published method does not.

    Parameters
    ----------
    losses
        Which of the two named recipes of losses.
    start_from
        SHA-256 of an imported backbone, or "" for random weights.

    Raises
    ------
    RunError
        If the name or another text cannot stand in a recipe, or a number is out of range.
    """
    full = choice.name == "paper"
    changes = {"epochs": epochs, "batch_size": batch_size, "device": device, "seed": seed, "start_from": start_from}
    if losses == "stable":
        changes["learning_rate"] = choice.learning_rate
    if full:
        changes |= {"micro_batch": 1, "checkpoint_activations": True}
    try:
        recipe = preset(
            choice.name, positives=cohort.positives(), trained_on=cohort.trained_on(), subtraction=losses == "stable" and not full
        )
        return plan_with(name, recipe, losses, **changes)
    except (RecipeError, ValueError) as error:
        raise RunError(str(error)) from error
