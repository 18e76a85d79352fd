"""Engines and processors: the same answer, in float32, whatever computes it (W8)."""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from breastai_model.case import STREAMS, TASKS
from breastai_model.inference import engines, preview
from breastai_model.inference.engines import AGREEMENT, EngineError, fold_norms, for_inference, silent_openvino, with_openvino
from breastai_model.inference.golden import TOLERANCE, golden_batch, golden_error, golden_logits
from breastai_model.inference.predict import Predictor
from breastai_model.recipe import preset
from breastai_model.weights import read_weights
from model_cases import a_batch, a_case, a_net, a_weights_file, without_mri, without_ultrasound

if TYPE_CHECKING:
    from breastai_model.case import Prediction
    from breastai_model.network.net import BreastNet

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
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_weights_file(tmp_path_factory.mktemp("weights"), SMALL)


@pytest.fixture(scope="module")
def ours(weights: Path) -> Predictor:
    return Predictor(weights, device="cpu")


SPEAKS = """
import json, os, sys
from pathlib import Path

asked = []
def listen(event, _arguments):
    if event.startswith("socket.") or event == "os.fork":  # it reports from a process of its own
        asked.append(event)
        raise OSError("this test has no network")
sys.addaudithook(listen)

import numpy as np
from breastai_model.inference import engines
from breastai_model.inference.predict import Predictor
from breastai_model.case import STREAMS, TASKS
from test_engines import CASES, probabilities

times = iter([2.0, 1.0])  # which engine is faster on a busy machine does not matter here
engines.seconds_of = lambda _work: next(times)
predictor = Predictor(sys.argv[1], device="cpu", engine="openvino")
told = {"note": predictor.device_note, "threads": predictor.threads, "found": [], "full": predictor.predict(CASES[0]).engine}
arrays = {}
for number, case in enumerate(CASES):
    for maps in ("none", "last"):
        prediction = predictor.predict(case, maps=maps)
        told["found"].append([number, maps, prediction.engine, prediction.precision, *probabilities(prediction)])
        shown = {stream: prediction.heatmaps.stream(stream) for stream in STREAMS}
        arrays |= {f"{number} {maps} {stream}": values for stream, values in shown.items() if values is not None}
out = Path(sys.argv[2])
np.savez(out / "maps.npz", **arrays)
told |= {"asked": asked, "home": sorted(each.name for each in Path.home().iterdir())}
(out / "told.json").write_text(json.dumps(told))
"""
CASES = (a_case(), without_mri(), without_ultrasound(), a_case(breasts=frozenset(("left",))))


@pytest.fixture(scope="module")
def openvino(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a process with the OpenVINO engine answers that has no network and an empty home; one conversion for all tests."""
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed")
    folder = tmp_path_factory.mktemp("openvino")
    (folder / "home").mkdir()
    path = a_weights_file(folder, SMALL)
    run_child(SPEAKS, path, folder, HOME=str(folder / "home"), USERPROFILE=str(folder / "home"), CI="")
    with np.load(folder / "maps.npz") as maps:
        return json.loads((folder / "told.json").read_text()), dict(maps)


def test_openvino_gives_the_answer_of_torch_without_maps_and_with_last_stage_maps(
    openvino: tuple[dict[str, Any], dict[str, np.ndarray]], ours: Predictor
) -> None:
    told, arrays = openvino
    assert told["note"] == ""
    assert told["full"].startswith("torch "), "maps of all stages need gradients"
    for number, maps, engine, precision, *found in told["found"]:
        expected = ours.predict(CASES[number], maps=maps)
        assert found == pytest.approx(probabilities(expected), abs=AGREEMENT)
        assert precision == "float32"
        assert engine.startswith("OpenVINO ")
        for stream in STREAMS:
            mine, other = expected.heatmaps.stream(stream), arrays.get(f"{number} {maps} {stream}")
            assert (mine is None) == (other is None)
            if mine is not None:
                assert maps == "last"
                assert np.abs(mine.astype(float) - other).max() < 0.01


def test_openvino_asks_nothing_of_the_network_and_writes_nothing_into_the_home(
    openvino: tuple[dict[str, Any], dict[str, np.ndarray]],
) -> None:
    """As it comes it reports its import and every conversion, under a number that it keeps in the home."""
    told, _ = openvino
    assert told["asked"] == []
    assert told["home"] == []


def test_openvino_that_was_loaded_with_its_reports_on_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino_telemetry", sys)
    with pytest.raises(EngineError, match="its reports to its maker on"):
        silent_openvino()


def test_an_engine_that_cannot_be_used_is_said_and_torch_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stacked = a_weights_file(tmp_path, replace(SMALL, layout="channels"))
    predictor = Predictor(stacked, device="cpu", engine="openvino")
    assert predictor.predict(a_case(), maps="none").device_note == "The OpenVINO engine is for the layout sequence only: computed by torch."
    net = for_inference(a_net(SMALL))
    # The gates behind the conversion see torch's own streams here: their answer is the same, so each gate is met by itself.
    monkeypatch.setattr(engines, "silent_openvino", lambda: torch)
    monkeypatch.setattr(engines, "OpenVinoStreams", lambda streams, _shape, _threads: streams)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: object())
    times = iter([1.0, 2.0] * 2)
    monkeypatch.setattr(engines, "seconds_of", lambda _work: next(times))
    with pytest.raises(EngineError, match="not faster"):
        with_openvino(net, 1)
    monkeypatch.setattr(engines, "AGREEMENT", -1.0)
    with pytest.raises(EngineError, match="differs by"):
        with_openvino(net, 1)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(EngineError, match="not installed"):
        with_openvino(net, 1)


def test_the_preview_in_bfloat16_is_near_and_named(ours: Predictor, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the processor has no instructions for it the same sums are only slow: the gates before and after are made to pass."""
    times = iter([2.0, 1.0])
    monkeypatch.setattr(preview, "multiplies_bfloat16", lambda: True)
    monkeypatch.setattr(preview, "seconds_of", lambda _work: next(times))
    predictor = Predictor(weights, device="cpu", engine="preview")
    assert predictor.device_note == ""
    quick, exact = predictor.predict(a_case(), maps="none"), ours.predict(a_case(), maps="none")
    assert quick.precision == "bfloat16"
    assert "preview" in quick.engine
    error = np.abs(np.subtract(probabilities(quick), probabilities(exact))).max()
    assert 0 < error <= preview.AGREEMENT
    assert predictor.predict(a_case(), maps="last").precision == "float32", "pictures are made in float32"
    assert predictor.contributions(a_case()).mri == pytest.approx(ours.contributions(a_case()).mri, abs=1e-6)


def test_the_preview_is_off_unless_every_gate_passes(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = for_inference(a_net(SMALL))
    half = (0.5, 0.5, 0.5)
    monkeypatch.setattr(preview, "multiplies_bfloat16", lambda: False)
    refused = Predictor(weights, device="cpu", engine="preview").predict(a_case(), maps="none")
    assert refused.device_note == "This processor does not multiply in bfloat16: computed in float32."
    assert refused.precision == "float32"
    monkeypatch.setattr(preview, "multiplies_bfloat16", lambda: True)
    times = iter([1.0, 2.0])
    monkeypatch.setattr(preview, "seconds_of", lambda _work: next(times))
    with pytest.raises(EngineError, match="not faster"):
        preview.with_bfloat16(net, half)
    with torch.inference_mode():
        exact = net(golden_batch(SMALL, whole=True)).logits.softmax(dim=2)[0, :, 1].tolist()
        quick = _bfloat16(net)(golden_batch(SMALL, whole=True)).logits.softmax(dim=2)[0, :, 1].tolist()
    between = tuple((one + other) / 2 for one, other in zip(exact, quick, strict=True))
    with pytest.raises(EngineError, match="in a label"):
        preview.with_bfloat16(net, between)  # a threshold that lies between both answers
    monkeypatch.setattr(preview, "AGREEMENT", 0.0)
    with pytest.raises(EngineError, match="differs by"):
        preview.with_bfloat16(net, half)


def _bfloat16(net: BreastNet) -> BreastNet:
    made = copy.deepcopy(net)
    made.mri, made.us = preview.Bfloat16Streams(net.mri), preview.Bfloat16Streams(net.us)
    return made


CHILD = """
import sys
import torch
from breastai_model.inference.predict import Predictor
from breastai_model.case import TASKS
from model_cases import a_case
found = Predictor(sys.argv[1], device="cpu").predict(a_case(), maps="none")
print(torch.backends.cpu.get_cpu_capability(), found.precision, *(found.task(task).probability.hex() for task in TASKS), sep="|", end="|")
print(*(found.task(task).decision for task in TASKS), sep="|")
"""


def run_child(code: str, *arguments: Path, **environment: str) -> str:
    folders = [Path(engines.__file__).parents[2], Path(__file__).parents[1], Path(__file__).parent]
    whole = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders)), "OMP_NUM_THREADS": "1"} | environment
    command = [sys.executable, "-c", code, *map(str, arguments)]
    run = subprocess.run(command, env=whole, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def bundled() -> Path:
    """The weights that the program brings."""
    (path,) = (Path(__file__).parents[2] / "resources" / "weights").glob("*.safetensors")
    return path


@pytest.fixture(scope="module")
def here(bundled: Path) -> Prediction:
    return Predictor(bundled, device="cpu").predict(a_case(), maps="none")


def test_w8_a_processor_without_avx512_gives_the_same_label_in_float32(bundled: Path, here: Prediction) -> None:
    capability, precision, *found = run_child(CHILD, bundled, ONEDNN_MAX_CPU_ISA="AVX2", ATEN_CPU_CAPABILITY="avx2").strip().split("|")
    assert capability in ("AVX2", "DEFAULT", "NO AVX"), "the child really ran without AVX-512"
    assert precision == here.precision == "float32", "never bf16"
    assert [float.fromhex(value) for value in found[:3]] == pytest.approx(probabilities(here), abs=AGREEMENT)
    assert found[3:] == [str(here.task(task).decision) for task in TASKS]


def test_the_same_input_gives_the_same_bits_in_another_process(bundled: Path, here: Prediction) -> None:
    _, _, *found = run_child(CHILD, bundled).strip().split("|")
    assert [float.fromhex(value) for value in found[:3]] == probabilities(here)


def test_w6_the_bundled_weights_meet_their_golden_case_in_little_time(bundled: Path) -> None:
    """The self-test of every start: 0.3 s are allowed, and ten times that on a machine that is busy with other tests."""
    weights = read_weights(bundled)
    net = for_inference(copy.deepcopy(weights.net))
    stored = weights.golden or golden_logits(weights.net)
    times = []
    for _ in range(3):
        start = time.process_time()
        error = golden_error(net, stored, "cpu")
        times.append(time.process_time() - start)
    print(f"\nself-test of {weights.name}: {min(times) * 1000:.0f} ms (300 allowed), off by {error:.1e}")
    assert error <= TOLERANCE["cpu"]
    assert min(times) < 3.0
