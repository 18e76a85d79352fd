"""The model card of a run: what the model learnt from, what was measured, what it must not be used for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from breastai_model.case import TASKS
from breastai_model.weights import INTENDED_USE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from breastai_model.plan import Plan


def model_card(plan: Plan, result: Mapping[str, Any]) -> str:
    """Return the card as Markdown; it names counts, never a patient.

    Parameters
    ----------
    result
        What `breastai_model.training.train.Training.finish` measured.
    """
    made_up = plan.recipe.trained_on == "synthetic"
    lines = [
        f"# {plan.name}",
        "",
        INTENDED_USE,
        "",
        "## Data",
        "",
        f"Learnt from {result['learnt_from']} {'made-up patients' if made_up else 'patients'}; "
        f"{result['held_out']} others of the same collection chose the best epoch and gave the figures below, "
        "so the true values are rather lower. No patient stands on both sides.",
        "",
        "## What each positive answer means",
        "",
        *(f"- {task.replace('_', ' ')}: {getattr(plan.recipe.positives, task)}" for task in TASKS),
        "",
        "## Measured",
        "",
        "| task | AUC | 95 % interval | MRI alone | ultrasound alone | patients | positive |",
        "|---|---|---|---|---|---|---|",
        *(_row(task, result["metrics"]) for task in TASKS),
        "",
        "## Limits",
        "",
        *(["The patients were made up: these figures say nothing about real patients."] if made_up else []),
        "Nothing here speaks of other hospitals, scanners, field strengths or contrast agents. Probabilities are not calibrated.",
        "",
        "## How it was made",
        "",
        f"Recipe {plan.recipe.preset}, {result['epochs']} of {plan.epochs} epochs, best epoch {result['best_epoch']}, "
        f"batch {plan.batch_size}, Adam at {plan.learning_rate:g}, seed {plan.seed}, device {result['device']}, {plan.precision}.",
    ]
    return "\n".join(lines) + "\n"


def _row(task: str, metrics: Mapping[str, Any]) -> str:
    both = metrics[task]
    interval = "–" if both["interval"] is None else f"{both['interval'][0]:.2f} to {both['interval'][1]:.2f}"
    alone = (metrics[f"without_{absent}"][task]["auc"] for absent in ("ultrasound", "mri"))
    figures = ["not measurable" if value is None else f"{value:.2f}" for value in (both["auc"], *alone)]
    cells = [task.replace("_", " "), figures[0], interval, *figures[1:], str(both["n"]), str(both["positives"])]
    return f"| {' | '.join(cells)} |"
