"""The model card of a run: what the model learnt from, what was measured, what it must not be used for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from breastai_model.case import TASKS
from breastai_model.weights import INTENDED_USE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from breastai_model.plan import Plan
    from breastai_model.recipe import Recipe


def model_card(plan: Plan, result: Mapping[str, Any]) -> str:
    """Return the card as Markdown; it names counts, never a patient.

    Parameters
    ----------
    result
        What `breastai_model.training.finish.finished` measured.
    """
    made_up = plan.recipe.trained_on == "synthetic"
    limits = [
        *(["The patients were made up: these figures say nothing about real patients."] if made_up else []),
        "Nothing here speaks of other hospitals, scanners, field strengths or contrast agents.",
        f"Temperatures, thresholds and conformal sets were fitted on the {_CALIBRATED_ON[result['calibrated_on']]}; where there were too "
        "few of them nothing was fitted, and the probabilities are the network's own.",
    ]
    made = [
        f"Recipe {plan.recipe.preset}, losses {plan.recipe.losses}, {result['epochs']} of {plan.epochs} epochs, best epoch "
        f"{result['best_epoch']} by {_WATCHED[plan.watch]}, two Adam optimisers at {plan.learning_rate:g} ({plan.schedule}), "
        f"seed {plan.seed}, device {result['device']}, {result['precision']}.",
        _batches(plan, result),
        _start(plan),
    ]
    data = f"Learnt from {result['learnt_from']} {'made-up patients' if made_up else 'patients'}; {_held_out(plan, result)}"
    return _card(plan.name, data, plan.recipe, result["metrics"], limits, made)


def bundled_card(recipe: Recipe, metrics: Mapping[str, Any]) -> str:
    """Return the card of the weights that come with the program, as Markdown.

    Parameters
    ----------
    metrics
        Those in the weights file, as `breastai_model.training.bundled` writes them.
    """
    measured = metrics["auc"]
    rows: dict[str, Any] = {task: measured["both"][task] for task in TASKS}
    rows |= {"without_ultrasound": measured["mri"], "without_mri": measured["us"]}
    data = (
        f"Learnt from {metrics['phantoms']} made-up patients (scenario clinic, law {metrics['law'][:12]}) and from nobody else; nothing "
        f"was pre-trained. {metrics['calibrated_on']} other made-up patients gave the figures below and all temperatures, thresholds "
        f"and conformal sets; these and {metrics['full_size']} at a scanner's resolution gave what counts as seen before."
    )
    more = "On 1,000 others, with calibration, coverage, leakage, heatmaps and what misses its target: model/README.md of the program."
    limits = (
        "The patients were made up: these figures say nothing about real patients, and probabilities of real images are withheld until "
        "the reader asks for them."
    )
    together = f", {metrics['processes']} processes under torchrun" if metrics["processes"] > 1 else ""
    made = (
        f"breastai train --bundled{together}: "
        + ", then ".join(f"{metrics['epochs'][stage]} epochs on {words} ({metrics['hours'][stage]:g} hours)" for stage, words in _STAGES)
        + f"; preset {recipe.preset}, losses {recipe.losses} and L_Z, which asks the features for the phantoms' latents; "
        + f"{metrics['machine']}."
    )
    return _card("The model that comes with BreastAI", data, recipe, rows, [limits], [made], [more])


def _card(
    title: str,
    data: str,
    recipe: Recipe,
    metrics: Mapping[str, Any],
    limits: Sequence[str],
    made: Sequence[str],
    more: Sequence[str] = (),
) -> str:
    """Return the sections that every card has; `more` stands below the figures."""
    positives = [f"- {task.replace('_', ' ')}: {getattr(recipe.positives, task)}" for task in TASKS]
    measured = [*_HEADER, *(_row(task, metrics) for task in TASKS), *(["", *more] if more else [])]
    sections = {
        "Data": [data],
        "What each positive answer means": positives,
        "Measured": measured,
        "Limits": limits,
        "How it was made": made,
    }
    lines = [f"# {title}", "", INTENDED_USE]
    for heading, text in sections.items():
        lines += ["", f"## {heading}", "", *text]
    return "\n".join(lines) + "\n"


_STAGES = (("windows", "windows around the lesions"), ("whole", "whole breasts"))
_HEADER = ("| task | AUC | 95 % interval | MRI alone | ultrasound alone | patients | positive |", "|---|---|---|---|---|---|---|")
_CALIBRATED_ON = {"folds": "predictions of the folds' networks for their held-out patients", "held-out cases": "held-out patients above"}
_WATCHED = {"validation": "L_cls of the held-out patients", "training": "L_f of the training epoch, as published"}


def _held_out(plan: Plan, result: Mapping[str, Any]) -> str:
    others = f"{result['held_out']} others of the same collection"
    if plan.watch == "training":
        return f"{others} gave the figures below and chose nothing. No patient stands on both sides."
    return (
        f"{others} chose the best epoch and gave the figures below, so the true values are rather lower. No patient stands on both sides."
    )


def _batches(plan: Plan, result: Mapping[str, Any]) -> str:
    """Return what one step saw: batch normalisation and L_C do not see a whole batch that is taken in parts.

    The Laplacian L_C has no memory: with one case at a time it is that patient's own pair alone.
    """
    losses = plan.losses
    remembers = losses.compactness == "contrastive" and losses.memory > 0
    processes, parts = result["processes"], result["micro_batch"]
    whole = f"A batch is {plan.batch_size} cases" + (f" in each of {processes} processes" if processes > 1 else "")
    if 0 < parts < plan.batch_size:
        memory = " and its memory" if remembers else ""
        return f"{whole}, {parts} at a time: batch normalisation saw {parts} cases at once, L_C {parts}{memory}."
    if processes > 1:
        memory = ", L_C also what all processes remember of past batches" if remembers else ""
        return f"{whole}; batch normalisation and L_C saw those of one process{memory}."
    return f"{whole}; batch normalisation and L_C saw all of them."


def _start(plan: Plan) -> str:
    if not plan.start_from:
        return "All weights began at random: no pretrained ones were used."
    return f"The streams began from an imported pre-activation ResNet, SHA-256 {plan.start_from}."


def _row(task: str, metrics: Mapping[str, Any]) -> str:
    both = metrics[task]
    interval = "–" if both["interval"] is None else f"{both['interval'][0]:.2f} to {both['interval'][1]:.2f}"
    alone = (metrics[f"without_{absent}"][task]["auc"] for absent in ("ultrasound", "mri"))
    figures = ["not measurable" if value is None else f"{value:.2f}" for value in (both["auc"], *alone)]
    cells = [task.replace("_", " "), figures[0], interval, *figures[1:], str(both["n"]), str(both["positives"])]
    return f"| {' | '.join(cells)} |"
