"""Predictions against their peers in one run: the plain network, the bare forward pass; run with --long.

Times are of the processor, so that what other processes do meanwhile does not count; medians of interleaved rounds.
"""

from __future__ import annotations

import copy
import statistics
import time
from typing import TYPE_CHECKING

import pytest
import torch

from breastai_model.inference.engines import EngineError, OpenVinoStreams, for_inference, with_openvino
from breastai_model.inference.golden import golden_batch
from breastai_model.inference.heatmap import LAST_STAGE, read_maps
from breastai_model.inference.predict import Predictor
from breastai_model.phantom.patient import make_patient
from breastai_model.prepare import collate, prepare
from breastai_model.recipe import preset
from model_cases import a_net, a_weights_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from breastai_model.network.net import BreastNet

LEAST_TORCH, LEAST_OPENVINO = 1.15, 1.5
MOST_LAST, MOST_COMBINED = 1.15, 3.0
AGREEMENT = 1e-4
ROUNDS = 7
RECIPE = preset("compact", subtraction=True)


def medians(*works: Callable[[], object]) -> list[float]:
    """Return the median processor seconds of each piece of work, in turn within each round, after one warm-up."""
    rounds = []
    for _ in range(ROUNDS + 1):
        times = []
        for work in works:
            start = time.process_time()
            work()
            times.append(time.process_time() - start)
        rounds.append(times)
    return [statistics.median(times) for times in zip(*rounds[1:], strict=True)]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def nets() -> tuple[BreastNet, BreastNet]:
    """Plain eager in torch's default layout, and as the program runs it."""
    plain = a_net(RECIPE).requires_grad_(requires_grad=False)
    return plain, for_inference(copy.deepcopy(plain))


def answer(net: BreastNet) -> torch.Tensor:
    with torch.inference_mode():
        return net(golden_batch(RECIPE, whole=True)).logits.softmax(dim=2)


@pytest.mark.speed
def test_torch_with_folded_norms_and_channels_last_beats_plain_eager(nets: tuple[BreastNet, BreastNet]) -> None:
    plain, ours = nets
    error = float((answer(plain) - answer(ours)).abs().max())
    slow, fast = medians(lambda: answer(plain), lambda: answer(ours))
    print(f"\ntorch: plain {slow:.3f} s, ours {fast:.3f} s, {slow / fast:.2f}x (at least {LEAST_TORCH}), probability error {error:.1e}")
    assert error <= AGREEMENT
    assert slow / fast >= LEAST_TORCH


@pytest.mark.speed
def test_openvino_beats_plain_eager(nets: tuple[BreastNet, BreastNet]) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    plain, ours = nets
    start = time.process_time()
    try:
        made, name = with_openvino(ours, 1)
    except EngineError as error:
        pytest.skip(str(error))
    built = time.process_time() - start
    assert isinstance(made.mri, OpenVinoStreams)
    error = float((answer(plain) - answer(made)).abs().max())
    slow, fast = medians(lambda: answer(plain), lambda: answer(made))
    told = f"plain {slow:.3f} s, ours {fast:.3f} s, {slow / fast:.2f}x (at least {LEAST_OPENVINO}), probability error {error:.1e}"
    print(f"\n{name}: {told}; built in {built:.1f} s")
    assert error <= AGREEMENT
    assert slow / fast >= LEAST_OPENVINO


@pytest.mark.speed
def test_maps_cost_little_more_than_a_forward_pass(nets: tuple[BreastNet, BreastNet]) -> None:
    """At the input's size, all kinds and streams."""
    net, batch = nets[1], golden_batch(RECIPE, whole=True)

    def bare() -> None:
        with torch.inference_mode():
            net(batch)

    forward, last, combined = medians(bare, lambda: read_maps(net, batch, stages=LAST_STAGE), lambda: read_maps(net, batch))
    print(f"\nforward {forward:.3f} s; last-stage maps {last / forward:.2f}x (at most {MOST_LAST}), ", end="")
    print(f"combined maps {combined / forward:.2f}x (at most {MOST_COMBINED})")
    assert last / forward <= MOST_LAST
    assert combined / forward <= MOST_COMBINED


@pytest.mark.speed
def test_a_whole_prediction_costs_at_most_three_forward_passes(tmp_path: Path) -> None:
    """Preparation, in-distribution check, twelve map sets and their places included."""
    predictor = Predictor(a_weights_file(tmp_path, RECIPE), device="cpu")
    case = make_patient(1, "model").case
    batch = collate([prepare(case, predictor.recipe)])

    def bare() -> None:
        with torch.inference_mode():
            predictor.net(batch)

    forward, whole, weighed = medians(bare, lambda: predictor.predict(case), lambda: predictor.contributions(case))
    print(f"\nprediction {whole:.3f} s, bare forward pass {forward:.3f} s: {whole / forward:.2f}x (at most {MOST_COMBINED}); ", end="")
    print(f"contributions, on request, {weighed / forward:.2f}x")
    assert whole / forward <= MOST_COMBINED
