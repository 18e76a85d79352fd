"""Train ours, or a variant of it, through the shipped training, and let it answer as every other comparator does."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from breastai_model.baselines.absence import prevalence
from breastai_model.baselines.fit_network import FittedNetwork, TaskNetwork, one_thread
from breastai_model.baselines.system import PieceOver
from breastai_model.plan import MOST_EPOCHS, plan_with
from breastai_model.run_folder import RunFolder
from breastai_model.training.checkpoint import load_checkpoint
from breastai_model.training.dataset import ordered_for
from breastai_model.training.precise_norm import settle_agnostic_norms
from breastai_model.training.schedule import has_learnt_enough
from breastai_model.training.train import Training

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Literal

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from breastai_model.baselines.system import Budget
    from breastai_model.network.net import BreastNet
    from breastai_model.plan import LossPlan, Plan
    from breastai_model.prepare import Batch
    from breastai_model.recipe import Recipe
    from breastai_model.training.dataset import CaseFiles


class Answers(TaskNetwork):
    """A `BreastNet` as a network that answers the three tasks."""

    def __init__(self, net: BreastNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: Batch) -> Tensor:
        """Return (N, task, 2) logits."""
        logits: Tensor = self.net(batch).logits
        return logits


class FittedBreastNet(FittedNetwork):
    """A `BreastNet` that has learnt. See `Fitted`."""

    def probabilities(
        self, cases: CaseFiles, indices: NDArray[np.int64], absent: Literal["", "mri", "ultrasound"] = ""
    ) -> NDArray[np.float64]:
        """Return (n, task) probabilities; see `Fitted.probabilities`."""
        answers = self.net
        if isinstance(answers, Answers):
            cases = ordered_for(answers.net.recipe, cases)
        return FittedNetwork.probabilities(self, cases, indices, absent)


def variant_plan(recipe: Recipe, losses: Literal["stable", "faithful"], terms: LossPlan, budget: Budget) -> Plan:
    """Return the run's plan: what section (iv) decides for these losses, within the budget.

    The schedule and the choice of the best epoch are the comparison's, also where `faithful` would halve its rate on a plateau of the
    training loss: the table promises every system the same. With epoch-wise alternation the discriminators' epochs come on top, so
    that the encoders of every system pass the cases as often.
    """
    both = terms.alternate == "epoch" and terms.adversary != "none"
    epochs = min(MOST_EPOCHS, 2 * budget.epochs - 1) if both else budget.epochs
    plan = plan_with("comparison", recipe, losses, epochs=epochs, learning_rate=budget.learning_rate, device=budget.device)
    plan = replace(plan, losses=terms, batch_size=budget.batch_size, seed=budget.seed)
    return replace(plan, schedule="cosine", watch="validation", stop_epochs=0)


def fit_breast_net(
    build: Callable[[Recipe], BreastNet],
    plan: Plan,
    cases: CaseFiles,
    learning: NDArray[np.int64],
    held_out: NDArray[np.int64],
    budget: Budget,
    folder: Path,
    tell: Callable[[str], None],
) -> FittedBreastNet:
    """Train the network of that plan and return it as it was in its best epoch.

    Parameters
    ----------
    build
        Makes the network of a recipe.
    plan
        Of `variant_plan`, with its recipe and losses.
    cases, learning, held_out, budget, folder, tell
        See `System.fit`.

    Raises
    ------
    PieceOver
        See `Budget.deadline`.
    TrainingError
        If the loss stops being a number.
    ValueError
        If the folder holds what was learnt under another plan, or a case is damaged.
    """
    run = RunFolder(folder / "run")
    if not run.has_plan():
        run.create(plan, {"cases": []})
    elif run.plan() != plan:
        raise ValueError(f"The folder {folder.name} holds what was learnt under another budget: choose another folder.")
    ordered = ordered_for(plan.recipe, cases)
    with one_thread():
        training = Training(run, ordered, split=(learning, held_out), build=build)
        place = training.position
        while place.epoch < plan.epochs and not has_learnt_enough(plan, place):
            if place.epoch and time.monotonic() > budget.deadline:
                raise PieceOver(f"stopped after epoch {place.epoch} of {plan.epochs}; it can go on.")
            training.train_epoch()
            training.end_epoch()
            tell(f"epoch {place.epoch} of {plan.epochs}")
        load_checkpoint(run.best, training.net)
        settle_agnostic_norms(training.net, ordered, learning, budget.batch_size)
    return FittedBreastNet(
        Answers(training.net), place.all_seconds, place.best_epoch, prevalence(cases.labels[learning]), budget.batch_size
    )
