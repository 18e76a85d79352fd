"""The plans that come with the program: each is what the code decides, reads back strictly, and can be started unchanged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from breastai_model.plan import PhantomData, Plan, plan_with
from breastai_model.recipe import preset
from breastai_model.training.learner import Learner
from breastai_model.training.machine import Machine
from breastai_model.training.schedule import Position, after_epoch, encoder_epochs, has_learnt_enough, learning_rate, teaches_encoders
from breastai_model.training.train import Training
from training_cases import RECIPE, make_run

FOLDER = Path(__file__).parents[2] / "resources" / "plans"

PLANS = {
    # The published schedule: batch 6, rate 1e-4, halved after 20 flat epochs, stopped after 50, at most 500. One patient passes at a
    # time, which fits 24 GB; batch norms then see one patient's ten volumes and twelve images.
    "paper-faithful": plan_with(
        "paper-faithful",
        preset("paper"),
        "faithful",
        data=PhantomData("clinic", 400, 7),
        micro_batch=1,
        checkpoint_activations=True,
    ),
    # Phases and angles as channels, the layout that a 32 GB card of the time could hold: the whole batch of 6 passes at once.
    "paper-channels": plan_with(
        "paper-channels",
        preset("paper", layout="channels"),
        "faithful",
        data=PhantomData("clinic", 400, 7),
        checkpoint_activations=True,
    ),
    "compact-stable": plan_with(
        "compact-stable",
        preset("compact"),
        "stable",
        data=PhantomData("clinic", 1200, 7),
        batch_size=16,
        epochs=50,
    ),
    "tiny": plan_with("tiny", preset("tiny"), "stable", data=PhantomData("clinic", 120, 7), epochs=20),
}


def written(name: str) -> str:
    return (FOLDER / f"{name}.json").read_text("utf-8")


def test_no_plan_is_missing_or_unknown() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(PLANS)


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_is_what_the_code_decides_and_reads_back(name: str) -> None:
    assert written(name) == json.dumps(PLANS[name].to_json(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    assert Plan.from_json(json.loads(written(name))) == PLANS[name]


@pytest.mark.parametrize("name", PLANS)
def test_the_network_losses_and_optimisers_of_a_plan_can_be_made(name: str) -> None:
    plan = Plan.from_json(json.loads(written(name)))
    labels = torch.tensor([[0, 1, 0], [1, 0, 1]])
    learner = Learner(plan, Machine("cpu", "float32", print), labels)
    assert set(learner.optimizers) == {"theta", "omega"}
    sizes = {"paper-faithful": 149e6, "paper-channels": 149e6, "compact-stable": 4e6, "tiny": 1e6}
    assert sum(each.numel() for each in learner.net.parameters()) == pytest.approx(sizes[name], rel=0.03)


def test_the_papers_plans_have_the_papers_schedule() -> None:
    for name in ("paper-faithful", "paper-channels"):
        plan = Plan.from_json(json.loads(written(name)))
        assert (plan.batch_size, plan.learning_rate, plan.epochs) == (6, 1e-4, 500)
        assert (plan.schedule, plan.plateau_epochs, plan.stop_epochs, plan.watch) == ("plateau", 20, 50, "training")
        assert (plan.losses.lambda_modality, plan.losses.lambda_projection, plan.losses.lambda_compactness) == (0.2, 0.2, 1.0)
        assert (plan.losses.adversary, plan.losses.alternate, plan.losses.compactness) == ("minimax", "epoch", "laplacian")
        assert (plan.recipe.head, plan.recipe.side_order, plan.recipe.subtraction) == ("linear", "left_right", False)
        assert (plan.recipe.width, plan.recipe.depths, plan.recipe.feature_width) == (64, (3, 4, 6, 3), 512)


def test_the_rate_is_halved_after_20_flat_epochs_of_the_encoders_and_the_run_ends_after_50() -> None:
    """In `faithful` every second epoch is the discriminators' and counts for nothing."""
    plan, place, halved, ended = PLANS["paper-faithful"], Position(), [], None
    while ended is None:
        if not teaches_encoders(plan, place.epoch):
            place.end_epoch()
            continue
        seen, rate = encoder_epochs(plan, place.epoch), learning_rate(plan, place, 67)
        after_epoch(plan, place, 3.0 - min(seen, 9) * 0.1)  # better in each of the first ten of its epochs, then never again
        if learning_rate(plan, place, 67) == rate / 2:
            halved.append(seen)
        ended = seen if has_learnt_enough(plan, place) else None
        place.end_epoch()
    assert halved == [29, 49]
    assert ended == 59
    assert learning_rate(plan, place, 67) == 1e-4 / 4


def test_the_tiny_plan_can_be_started(tmp_path: Path) -> None:
    """Its network and losses on a few cases of a smaller size, one epoch, so that the test is short."""
    plan = Plan.from_json(json.loads(written("tiny")))
    recipe = replace(plan.recipe, mri_shape=RECIPE.mri_shape, us_shape=RECIPE.us_shape)
    run = make_run(tmp_path / "run", plan=replace(plan, recipe=recipe, device="cpu"))
    training = Training(run)
    assert training.train_epoch() is None
    assert all(torch.isfinite(value).all() for value in training.net.parameters())
