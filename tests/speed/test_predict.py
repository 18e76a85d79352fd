"""A prediction with all its heatmaps against its bare forward pass, in one run; run with --long."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import pytest
import torch

from breastai_model.inference.predict import Predictor
from breastai_model.phantom.patient import make_patient
from breastai_model.prepare import collate, prepare
from breastai_model.recipe import preset
from model_cases import a_weights_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MOST = 3.0
ROUNDS = 7


@pytest.mark.speed
def test_a_prediction_with_all_heatmaps_costs_at_most_three_forward_passes(tmp_path: Path) -> None:
    """Preparation, twelve map sets and their places included; `compact`, the bundled model's size."""
    predictor = Predictor(a_weights_file(tmp_path, preset("compact")), device="cpu")
    case = make_patient(1, "model").case
    batch = collate([prepare(case, predictor.recipe)])

    def bare() -> None:
        with torch.inference_mode():
            predictor.net(batch)

    def whole() -> None:
        predictor.predict(case)

    def seconds(work: Callable[[], None]) -> float:
        start = time.process_time()  # what other processes do meanwhile does not count
        work()
        return time.process_time() - start

    bare()
    whole()
    pairs = [(seconds(bare), seconds(whole)) for _ in range(ROUNDS)]
    forward, prediction = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = prediction / forward
    told = f"{prediction:.3f} s, bare forward pass {forward:.3f} s, {predictor.threads} thread(s)"
    print(f"\nprediction with all heatmaps {told}: ratio {ratio:.2f} (limit {MOST})")
    assert ratio <= MOST
