"""Engines and processors: the same answer, in float32, whatever computes it (W8)."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from breastai_model.case import STREAMS, TASKS
from breastai_model.inference import engines
from breastai_model.inference.engines import AGREEMENT, EngineError, fold_norms, for_inference, with_openvino
from breastai_model.inference.predict import Predictor
from breastai_model.recipe import preset
from model_cases import a_batch, a_case, a_net, a_weights_file, without_mri, without_ultrasound

if TYPE_CHECKING:
    from breastai_model.case import Prediction

SMALL = preset("tiny", mri_shape=(4, 16, 16), us_shape=(16, 16), subtraction=True)


def probabilities(prediction: Prediction) -> list[float]:
    return [prediction.task(task).probability for task in TASKS]


def test_folding_the_norms_changes_rounding_only() -> None:
    with torch.inference_mode():
        batch = a_batch(1)
        plain = a_net()(batch).logits
        folded = fold_norms(a_net())(batch).logits
    assert 0 < (plain - folded).abs().max() < 1e-5


@pytest.fixture(scope="module")
def openvino(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """A predictor with the OpenVINO engine; which engine is faster on a busy machine does not matter here."""
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    path = a_weights_file(tmp_path_factory.mktemp("weights"), SMALL)
    with pytest.MonkeyPatch.context() as patch:
        times = iter([2.0, 1.0])
        patch.setattr(engines, "_seconds", lambda _work: next(times))
        return Predictor(path, device="cpu", engine="openvino")


def test_openvino_gives_the_answer_of_torch_without_maps_and_with_last_stage_maps(openvino: Predictor, tmp_path: Path) -> None:
    ours = Predictor(a_weights_file(tmp_path, SMALL), device="cpu")
    assert openvino.device_note == ""
    for case in (a_case(), without_mri(), without_ultrasound(), a_case(breasts=frozenset(("left",)))):
        for maps in ("none", "last"):
            expected, found = ours.predict(case, maps=maps), openvino.predict(case, maps=maps)
            assert np.allclose(probabilities(found), probabilities(expected), atol=AGREEMENT)
            assert found.precision == "float32"
            assert found.engine.startswith("OpenVINO ")
            for stream in STREAMS:
                mine, other = expected.heatmaps.stream(stream), found.heatmaps.stream(stream)
                assert (mine is None) == (other is None)
                if mine is not None:
                    assert maps == "last"
                    assert np.abs(mine.astype(float) - other).max() < 0.01
    assert openvino.predict(a_case()).engine.startswith("torch "), "maps of all stages need gradients"


def test_an_engine_that_cannot_be_used_is_said_and_torch_answers(
    openvino: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacked = a_weights_file(tmp_path, replace(SMALL, layout="channels"))
    predictor = Predictor(stacked, device="cpu", engine="openvino")
    assert predictor.predict(a_case(), maps="none").device_note == "The OpenVINO engine is for the layout sequence only: computed by torch."
    net = for_inference(a_net(SMALL))
    made = openvino._fast[0]
    monkeypatch.setattr(engines, "OpenVinoStreams", lambda _streams, shape, _threads: made.mri if len(shape) == 5 else made.us)
    times = iter([1.0, 2.0] * 2)
    monkeypatch.setattr(engines, "_seconds", lambda _work: next(times))
    with pytest.raises(EngineError, match="not faster"):
        with_openvino(net, 1)
    monkeypatch.setattr(engines, "AGREEMENT", -1.0)
    with pytest.raises(EngineError, match="differs by"):
        with_openvino(net, 1)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(EngineError, match="not installed"):
        with_openvino(net, 1)


CHILD = """
import sys
import torch
from breastai_model.inference.predict import Predictor
from breastai_model.case import TASKS
from model_cases import a_case
found = Predictor(sys.argv[1], device="cpu").predict(a_case(), maps="none")
print(torch.backends.cpu.get_cpu_capability(), found.precision, *(f"{found.task(task).probability:.9f}" for task in TASKS))
"""


def answer(path: Path, **environment: str) -> list[str]:
    folders = [Path(engines.__file__).parents[2], Path(__file__).parents[1]]
    whole = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders)), "OMP_NUM_THREADS": "1"} | environment
    run = subprocess.run([sys.executable, "-c", CHILD, str(path)], env=whole, capture_output=True, text=True, timeout=120, check=True)
    return run.stdout.split()


def test_w8_a_processor_without_avx512_gives_the_same_label_in_float32(tmp_path: Path) -> None:
    path = a_weights_file(tmp_path, SMALL)
    here = Predictor(path, device="cpu").predict(a_case(), maps="none")
    capability, precision, *found = answer(path, ONEDNN_MAX_CPU_ISA="AVX2", ATEN_CPU_CAPABILITY="avx2")
    assert capability in ("AVX2", "DEFAULT", "NO AVX"), "the child really ran without AVX-512"
    assert precision == here.precision == "float32", "never bf16"
    values = [float(value) for value in found]
    assert values == pytest.approx(probabilities(here), abs=AGREEMENT)
    assert [value >= 0.5 for value in values] == [here.task(task).decision == "positive" for task in TASKS]


def test_the_same_input_gives_the_same_bits_in_another_process(tmp_path: Path) -> None:
    path = a_weights_file(tmp_path, SMALL)
    assert answer(path) == answer(path)
