"""What a weights file holds beside the network: calibration, distribution, golden case (W2, W5 and W6 for them)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.torch
import torch

from breastai_model.calibration import Calibration, ScopeCalibration, TaskCalibration
from breastai_model.inference import golden
from breastai_model.inference.in_distribution import PREFIX, Distribution, Reading, fit_distribution
from breastai_model.inference.predict import PredictError, Predictor
from breastai_model.recipe import preset
from breastai_model.weights import WeightsError, read_weights, save_weights
from model_cases import a_case, a_net, a_weights_file

if TYPE_CHECKING:
    from pathlib import Path

TINY = preset("tiny")
CALIBRATION = Calibration(coverage=0.8, mri=ScopeCalibration(high_grade=TaskCalibration(1.5, 0.4, 0.6, 0.7, 200, 120, 80)))


def a_distribution() -> Distribution:
    generator = np.random.default_rng(0)
    readings = [
        Reading({"mri_pictures": generator.normal(size=30), "us_features": generator.normal(size=12)}, generator.normal(size=3))
        for _ in range(40)
    ]
    return fit_distribution(readings[:20], readings[20:])


def whole_file(folder: Path) -> Path:
    path = folder / "whole.safetensors"
    save_weights(path, a_net(), TINY, {}, "whole", "1", CALIBRATION, a_distribution())
    return path


def changed(path: Path, told: dict[str, Any] | None = None, tensors: dict[str, Any] | None = None) -> Path:
    """Write the file again with some texts and tensors changed, or left out where None."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    whole = {key: value for key, value in (header | (told or {})).items() if value is not None}
    arrays = {key: value for key, value in (safetensors.torch.load(data) | (tensors or {})).items() if value is not None}
    path.write_bytes(safetensors.torch.save(arrays, metadata=whole))
    return path


def test_calibration_and_distribution_come_back_as_they_were(tmp_path: Path) -> None:
    weights, ours = read_weights(whole_file(tmp_path)), a_distribution()
    assert weights.calibration == CALIBRATION
    assert weights.distribution is not None
    assert weights.distribution.law == ours.law
    assert all(np.array_equal(value, ours.arrays[key]) for key, value in weights.distribution.arrays.items())
    assert set(weights.net.state_dict()) == set(a_net().state_dict()), "none of it enters the network"


def test_a_file_with_neither_is_legal(tmp_path: Path) -> None:
    weights = read_weights(changed(a_weights_file(tmp_path), {"golden": None, "card": None}))
    assert (weights.calibration, weights.distribution, weights.golden, weights.card) == (None, None, None, "")
    prediction = Predictor(tmp_path / "model.safetensors", device="cpu").predict(a_case(), maps="none")
    assert prediction.distribution is None
    assert prediction.high_grade.prediction_set is None


@pytest.mark.parametrize(
    ("told", "tensors", "sentence"),
    [
        ({"card": "\x1b[2J"}, {}, "no proper card"),
        ({"card": "x" * 20_000}, {}, "no proper card"),
        ({"calibration": "{}"}, {}, "missing or unknown"),
        ({"calibration": "[" * 1000}, {}, "not valid JSON"),
        ({"calibration": " " * 100_000}, {}, "no proper calibration"),
        ({"distribution": None}, {}, "is not part of the network"),
        ({"distribution": '{"groups": []}'}, {}, "missing or unknown"),
        ({"distribution": "NaN"}, {}, "no number"),
        ({}, {f"{PREFIX}us_features.mean": None}, "us_features.mean is missing"),
        ({}, {f"{PREFIX}us_features.mean": torch.zeros(13)}, "another shape"),
        ({}, {f"{PREFIX}us_features.mean": torch.zeros(12, dtype=torch.int64)}, "another shape or kind"),
        ({}, {f"{PREFIX}us_features.scale": torch.zeros(12)}, "values that cannot be"),
        ({}, {f"{PREFIX}us_features.mean": torch.full((12,), float("nan"))}, "no numbers"),
        ({}, {f"{PREFIX}evil": torch.zeros(2)}, "is not part of the network"),
        ({"golden": "[[0.0, 1.0]]"}, {}, "golden case"),
        ({"golden": "[[0.0, 1.0], [1, 2], [3.0, 4.0]]"}, {}, "golden case"),
        ({"golden": "__import__('os')"}, {}, "not valid JSON"),
    ],
)
def test_w2_w5_parts_that_are_not_what_they_should_be_are_refused(
    tmp_path: Path, told: dict[str, Any], tensors: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(WeightsError, match=sentence) as error:
        read_weights(changed(whole_file(tmp_path), told, tensors))
    assert str(error.value).endswith(".")


@pytest.mark.parametrize(
    ("key", "value"),
    [("threshold", -1.0), ("threshold", 10**400), ("cases", 0), ("typical_odds", [0.0])],
)
def test_w2_a_law_with_impossible_numbers_is_refused(tmp_path: Path, key: str, value: Any) -> None:
    law = json.loads(a_distribution().to_json()) | {key: value}
    with pytest.raises(WeightsError, match="distribution"):
        read_weights(changed(whole_file(tmp_path), {"distribution": json.dumps(law)}))


def test_w6_the_golden_case_is_stored_in_float64_and_met_in_float32(tmp_path: Path) -> None:
    weights = read_weights(a_weights_file(tmp_path))
    assert weights.golden == golden.golden_logits(a_net())
    assert 0 < golden.golden_error(weights.net, weights.golden, "cpu") < golden.TOLERANCE["cpu"] / 10
    assert golden.golden_batch(preset("compact")).mri.shape == (1, 5, 2, 8, 32, 32), "a small crop: it takes little time"


@pytest.mark.parametrize("step", [1e-3, 1e30])
def test_w6_a_model_that_computes_something_else_gives_no_predictor(tmp_path: Path, step: float) -> None:
    """One weight differs from those that the stored logits were computed with: as if the computer computed wrongly."""
    net = a_net()
    path = a_weights_file(tmp_path)
    bias = net.heads["high_grade"][3].bias + step
    with pytest.raises(PredictError, match="cannot be used on this computer") as error:
        Predictor(changed(path, tensors={"heads.high_grade.3.bias": bias}), device="cpu")
    assert "\n" not in str(error.value)


def test_w6_a_gpu_that_computes_something_else_gives_way_to_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which device is wrong is decided by torch's own hook: the first pass of the self-test is off by one."""
    monkeypatch.setitem(golden.TOLERANCE, "cpu:0", 1e-3)
    monkeypatch.setattr("breastai_model.inference.predict.choose_device", lambda *_: golden_device())
    path = a_weights_file(tmp_path)
    passes: list[int] = []

    def off_once(_module: torch.nn.Module, _inputs: Any, output: Any) -> Any:
        if _module.__class__.__name__ != "BreastNet":
            return None
        passes.append(1)
        return type(output)(**{name: getattr(output, name) + (len(passes) == 1) for name in output.__slots__})

    handle = torch.nn.modules.module.register_module_forward_hook(off_once)
    try:
        predictor = Predictor(path, device="auto")
    finally:
        handle.remove()
    assert len(passes) == 2
    assert predictor.device == "cpu"
    assert predictor.device_note.startswith("The GPU failed (its self-test is off by")
    assert predictor.device_note.endswith(": computed on the CPU.")


def golden_device() -> Any:
    from breastai_model.inference.devices import Device

    return Device("cpu:0", "")
