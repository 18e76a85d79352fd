"""How much of a training step is learning: forward passes with their losses, backward passes, the optimisers; run with --long.

The rest is waiting for the loader, keeping a copy of the statistics, writing progress. One epoch of the bundled model's size.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import torch

from breastai_model.recipe import preset
from breastai_model.training.learner import Learner
from breastai_model.training.objective import Objective
from breastai_model.training.train import Training
from training_cases import make_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LEAST = 0.9
RECIPE = preset("compact", subtraction=True)


@pytest.fixture(autouse=True)
def _determinism_ends_with_the_test() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.speed
def test_nine_tenths_of_a_training_step_are_learning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    training = Training(make_run(tmp_path / "run", patients=18, epochs=2, batch_size=3, recipe=RECIPE))
    spent: dict[str, float] = {}

    def timed(owner: Any, method: str, part: str) -> None:
        work: Callable[..., Any] = getattr(owner, method)

        def around(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return work(*arguments, **options)
            finally:
                spent[part] = spent.get(part, 0.0) + time.perf_counter() - start

        monkeypatch.setattr(owner, method, around)

    timed(training.net, "forward", "forward")
    timed(Objective, "discriminator_loss", "forward")
    timed(Objective, "encoder_loss", "forward")
    timed(Learner, "_backward", "backward")
    timed(Learner, "_update", "optimisers")
    start = time.perf_counter()
    training.train_epoch()
    whole = time.perf_counter() - start
    share = sum(spent.values()) / whole
    parts = ", ".join(f"{part} {seconds / whole:.1%}" for part, seconds in spent.items())
    waited = training.position.waited / whole
    print(f"\n{training.batches} steps of {whole / training.batches:.2f} s: {share:.1%} learning (at least {LEAST:.0%}): {parts}; ", end="")
    print(f"waiting for the loader {waited:.1%}")
    assert share >= LEAST
