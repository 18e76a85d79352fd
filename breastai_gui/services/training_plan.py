"""From a person's few choices to a whole plan: presets with honest words, and the recipe of this cohort."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from breastai_gui.services.training_runs import RunError
from breastai_model.recipe import RecipeError, preset
from breastai_model.plan import Plan

if TYPE_CHECKING:
    from breastai_gui.services.cohort import Cohort


@dataclass(frozen=True, slots=True)
class TrainingPreset:
    """One of the sizes that the wizard offers; `name` is the recipe's preset."""

    name: str
    title: str
    about: str
    epochs: int
    batch_size: int


PRESETS = (
    TrainingPreset(
        "tiny",
        "Quick: to try the way through",
        "A very small network on coarse images: minutes on any processor. Not meant to be good.",
        10,
        4,
    ),
    TrainingPreset("compact", "Balanced", "The size of the bundled model: many hours on a processor, far less on a graphics card.", 50, 16),
    TrainingPreset("paper", "Full", "The size of the published method. Needs a graphics card with 80 GB of memory.", 200, 6),
)


def plan_for(name: str, choice: TrainingPreset, cohort: Cohort, *, epochs: int, batch_size: int, device: str, seed: int = 1) -> Plan:
    """Return the plan for a cohort: the recipe says what the cohort's answers mean and whether its patients are real.

    Raises
    ------
    RunError
        If the name or another text cannot stand in a recipe, or a number is out of range.
    """
    try:
        recipe = preset(choice.name, positives=cohort.positives(), trained_on=cohort.trained_on())
        return Plan(name=name, recipe=recipe, epochs=epochs, batch_size=batch_size, device=device, seed=seed)
    except (RecipeError, ValueError) as error:
        raise RunError(str(error)) from error
