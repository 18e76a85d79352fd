"""The predictor: one answer a case, what is missing said, never a silent change of device, never a number from NaN."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from breastai_model.calibration import Calibration, ScopeCalibration, TaskCalibration
from breastai_model.case import TASKS
from breastai_model.inference import devices
from breastai_model.inference.devices import choose_device, physical_cores, runs_on, set_threads
from breastai_model.inference.predict import PredictError, Predictor
from breastai_model.phantom.patient import make_patient
from breastai_model.prepare import collate, prepare
from breastai_model.recipe import preset
from breastai_model.weights import WeightsError, save_weights
from model_cases import a_case, a_net, a_weights_file, without_mri, without_ultrasound

TINY = preset("tiny")


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return Predictor(a_weights_file(tmp_path_factory.mktemp("weights")), device="cpu")


def probabilities(prediction: Any) -> list[float]:
    return [prediction.task(task).probability for task in TASKS]


def test_the_answer_is_that_of_the_network_in_the_file(predictor: Predictor) -> None:
    told: list[tuple[float, str]] = []
    prediction = predictor.predict(a_case(), lambda fraction, text: told.append((fraction, text)))
    with torch.inference_mode():
        expected = a_net()(collate([prepare(a_case(), TINY)])).logits.softmax(dim=2)[0, :, 1]
    assert np.allclose(probabilities(prediction), expected, atol=1e-5)
    assert len(set(probabilities(prediction))) == 3
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.0
    assert fractions[-1] == 1.0
    assert all(text for _, text in told)
    assert (prediction.device, prediction.device_note, prediction.precision) == ("cpu", "", "float32")
    assert prediction.engine.startswith(f"torch {torch.__version__}")
    assert prediction.inputs.notes == ()
    assert (predictor.name, predictor.version, predictor.recipe) == ("test model", "1", TINY)


def test_the_same_case_gives_the_same_bits(predictor: Predictor) -> None:
    first, second = predictor.predict(a_case()), predictor.predict(a_case())
    assert probabilities(first) == probabilities(second)
    assert np.array_equal(first.heatmaps.mri_agnostic, second.heatmaps.mri_agnostic)
    assert np.array_equal(first.heatmaps.us_specific, second.heatmaps.us_specific)


@pytest.mark.parametrize(
    ("case", "note"),
    [
        (without_ultrasound(), "No ultrasound: read from MRI alone."),
        (without_mri(), "No MRI: read from ultrasound alone."),
        (a_case(breasts=frozenset(("left",))), "The MRI shows the left breast alone; the other is masked."),
    ],
)
def test_what_is_missing_is_said_and_still_answered(predictor: Predictor, case: Any, note: str) -> None:
    prediction = predictor.predict(case)
    assert note in prediction.inputs.notes
    assert all(0 < probability < 1 for probability in probabilities(prediction))
    assert probabilities(prediction) != probabilities(predictor.predict(a_case()))


def test_a_model_without_modality_dropout_refuses_a_missing_modality(tmp_path: Path) -> None:
    strict = Predictor(a_weights_file(tmp_path, replace(TINY, modality_dropout=False)), device="cpu")
    strict.predict(a_case())
    with pytest.raises(PredictError, match="not trained to answer without ultrasound"):
        strict.predict(without_ultrasound())
    with pytest.raises(PredictError, match="not trained to answer without MRI"):
        strict.predict(without_mri())


def test_an_unknown_side_is_the_mean_over_both_orders(predictor: Predictor) -> None:
    unknown, left, right = (predictor.predict(a_case(side=side)) for side in (None, "left", "right"))
    assert unknown.inputs.side_unknown
    assert np.allclose(probabilities(unknown), (np.array(probabilities(left)) + probabilities(right)) / 2, atol=1e-6)
    assert probabilities(left) != probabilities(right)
    mean = (left.heatmaps.mri_agnostic.astype(float) + right.heatmaps.mri_agnostic) / 2
    assert np.allclose(unknown.heatmaps.mri_agnostic, mean, atol=2e-3)
    assert sum(unknown.heatmaps.energy_share.values()) == pytest.approx(1.0)


def test_threshold_and_temperature_come_from_the_recipe(tmp_path: Path, predictor: Predictor) -> None:
    plain = probabilities(predictor.predict(a_case()))
    recipe = replace(TINY, thresholds=(plain[0] - 0.01, plain[1] + 0.01, plain[2]), temperatures=(1.0, 1.0, 2.0))
    prediction = Predictor(a_weights_file(tmp_path, recipe), device="cpu").predict(a_case())
    assert prediction.lymph_node_metastasis.decision == "positive"
    assert prediction.high_grade.decision == "negative"
    odds = np.log(plain[2] / (1 - plain[2])) / 2
    assert prediction.high_ki67.probability == pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-5)
    assert prediction.high_ki67.prediction_set is None


def calibrated(folder: Path, **tasks: TaskCalibration) -> Predictor:
    scope = ScopeCalibration(**tasks)
    path = folder / "calibrated.safetensors"
    save_weights(path, a_net(), TINY, {}, "calibrated", "1", Calibration(coverage=0.9, both=scope))
    return Predictor(path, device="cpu")


def test_a_calibration_gives_temperature_threshold_and_sets_by_scope(tmp_path: Path, predictor: Predictor) -> None:
    plain = probabilities(predictor.predict(a_case(), maps="none"))
    low, high = plain[0] - 0.01, plain[0] + 0.01
    counts = {"patients": 300, "negatives": 150, "positives": 150}
    both = TaskCalibration(1.0, low, negative_quantile=high, positive_quantile=1 - low, **counts)
    only = TaskCalibration(2.0, 0.5, negative_quantile=1.0, positive_quantile=0.01, **counts)
    none = TaskCalibration(1.0, 0.5, negative_quantile=0.01, positive_quantile=0.01, **counts)
    model = calibrated(tmp_path, lymph_node_metastasis=both, high_grade=only, high_ki67=none)
    found = model.predict(a_case(), maps="none")
    assert found.lymph_node_metastasis.prediction_set == ("negative", "positive")
    assert found.lymph_node_metastasis.decision == "not determined", "although the probability lies above the threshold"
    assert found.lymph_node_metastasis.threshold == low
    assert (found.high_grade.prediction_set, found.high_grade.decision) == (("negative",), "negative")
    odds = np.log(plain[1] / (1 - plain[1])) / 2
    assert found.high_grade.probability == pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-6)
    assert (found.high_ki67.prediction_set, found.high_ki67.decision) == ((), "not determined")
    alone = model.predict(without_ultrasound(), maps="none")
    assert alone.lymph_node_metastasis.prediction_set is None, "too few to say: nothing was fitted for MRI alone"
    assert alone.lymph_node_metastasis.threshold == 0.5
    unknown = model.predict(a_case(side=None), maps="none").lymph_node_metastasis
    in_set = {
        name
        for name, value, limit in (("negative", unknown.probability, high), ("positive", 1 - unknown.probability, 1 - low))
        if value <= limit
    }
    assert set(unknown.prediction_set) == in_set, "of the mean over both orders"


def test_heatmaps_are_left_out_on_request(predictor: Predictor) -> None:
    none, last, whole = (predictor.predict(a_case(), maps=maps) for maps in ("none", "last", "all"))
    assert probabilities(none) == pytest.approx(probabilities(whole), abs=1e-6)
    assert none.heatmaps.mri_agnostic is None
    assert not any(none.heatmaps.energy_share.values())
    assert last.heatmaps.mri_agnostic.shape == whole.heatmaps.mri_agnostic.shape
    assert not np.array_equal(last.heatmaps.mri_agnostic, whole.heatmaps.mri_agnostic)


def test_w7_a_result_that_is_no_number_is_never_shown(tmp_path: Path) -> None:
    net = a_net()
    with torch.no_grad():
        net.heads["high_ki67"][0].weight.fill_(3e38)
        net.heads["high_ki67"][3].weight.fill_(3e38)
    path = tmp_path / "model.safetensors"
    save_weights(path, net, TINY, {}, "overflowing", "1")
    with pytest.raises(PredictError, match="no valid result"):
        Predictor(path, device="cpu").predict(a_case())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_w7_one_logit_that_is_no_number_is_enough(tmp_path: Path, value: float) -> None:
    """Injected at one head by torch's own hook: neither probabilities, nor contributions, nor a 0 % are shown."""
    predictor = Predictor(a_weights_file(tmp_path), device="cpu")

    def spoil(_module: torch.nn.Module, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return torch.full_like(output, value)

    predictor.net.heads["lymph_node_metastasis"].register_forward_hook(spoil)
    for maps in ("all", "none"):
        with pytest.raises(PredictError, match="no valid result for this case: no number is shown"):
            predictor.predict(a_case(), maps=maps)
    with pytest.raises(PredictError, match="no valid result"):
        predictor.contributions(a_case())


def test_w3_a_damaged_file_gives_no_predictor(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="damaged"):
        Predictor(a_weights_file(tmp_path), device="cpu", expected_sha256="0" * 64)


def test_cancelling_by_raising_from_the_progress_ends_the_prediction(predictor: Predictor) -> None:
    class Stopped(Exception):
        pass

    def stop(fraction: float, _text: str) -> None:
        if fraction > 0.3:
            raise Stopped

    with pytest.raises(Stopped):
        predictor.predict(a_case(), stop)
    assert predictor.predict(a_case()).device == "cpu"


def test_both_layouts_predict(tmp_path: Path) -> None:
    recipe = replace(TINY, layout="channels", head_inputs="full", head="linear")
    prediction = Predictor(a_weights_file(tmp_path, recipe), device="cpu").predict(a_case())
    assert prediction.heatmaps.us_agnostic.shape == (4, 12, 32, 32)
    assert all(0 < probability < 1 for probability in probabilities(prediction))


# Devices. No GPU is needed: torch's own answers are replaced, what is ours is real.


def test_the_cpu_needs_no_excuse_and_an_unknown_device_is_refused() -> None:
    assert choose_device("cpu", 0) == devices.Device("cpu", "")
    with pytest.raises(ValueError, match="no device 'tpu'"):
        choose_device("tpu", 0)


def pretend_cuda(monkeypatch: pytest.MonkeyPatch, *, capability: tuple[int, int] = (9, 0), free: int = 2**34) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Test GPU")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80", "sm_90"])
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free, 2**35))


def test_w9_a_gpu_that_is_absent_unsupported_full_or_broken_leads_to_the_cpu_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto", 0) == devices.Device("cpu", "")
    assert choose_device("cuda", 0).note == "This computer has no NVIDIA GPU that torch can use: computed on the CPU."
    assert "no Apple GPU" in choose_device("mps", 0).note
    pretend_cuda(monkeypatch, capability=(5, 2))
    assert choose_device("auto", 0) == devices.Device(
        "cpu", "The GPU (Test GPU, capability 5.2) is not supported by this torch: computed on the CPU."
    )
    pretend_cuda(monkeypatch, free=2**30)
    assert choose_device("auto", 2**31) == devices.Device("cpu", "The GPU has 1.0 GiB free, 2.0 GiB are needed: computed on the CPU.")

    def broken() -> tuple[int, int]:
        raise RuntimeError("CUDA driver initialization failed\nmore")

    pretend_cuda(monkeypatch)
    monkeypatch.setattr(torch.cuda, "get_device_capability", broken)
    assert choose_device("cuda", 0).note == "The GPU failed (CUDA driver initialization failed): computed on the CPU."


@pytest.mark.parametrize(
    ("capability", "compiled", "runs"),
    [
        ((9, 0), ["sm_80", "sm_90"], True),
        ((8, 9), ["sm_80"], True),
        ((7, 0), ["sm_75", "sm_80"], False),
        ((12, 0), ["sm_90", "compute_90"], True),
        ((12, 0), ["sm_90a", "sm_100"], False),
        ((12, 1), ["sm_120a"], True),
        ((6, 1), [], True),
    ],
)
def test_capability_rules(capability: tuple[int, int], compiled: list[str], runs: bool) -> None:
    assert runs_on(*capability, compiled) is runs


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"), RuntimeError("no kernel image is available")]
)
def test_w9_a_failure_in_the_middle_is_computed_again_on_the_cpu_and_said(predictor: Predictor, tmp_path: Path, error: Exception) -> None:
    """As when memory runs out at the first batch: torch raises in the middle of the network, once.

    "cpu:0" stands for the GPU, since it is a device of torch on every computer that is not called "cpu"; the error is raised
    by a forward hook, torch's own means, inside the real network.
    """
    failing = Predictor(a_weights_file(tmp_path), device="cpu")
    failing.device = "cpu:0"
    passes: list[str] = []

    def run_out_once(_module: torch.nn.Module, _inputs: Any) -> None:
        passes.append(failing.device)
        if len(passes) == 1:
            raise error

    failing.net.heads["high_ki67"].register_forward_pre_hook(run_out_once)
    told: list[str] = []
    plain = failing.predict(a_case(), lambda _fraction, words: told.append(words))
    assert told.index("Reading the images") < told.index("Reading the images on the CPU, about 1 s")
    assert passes == ["cpu:0", "cpu", "cpu"], "on the CPU empty pictures, then the patient"
    assert plain.device == "cpu"
    assert plain.device_note == (
        "The GPU ran out of memory: computed on the CPU."
        if isinstance(error, torch.OutOfMemoryError)
        else "The GPU failed (no kernel image is available): computed on the CPU."
    )
    assert probabilities(plain) == probabilities(predictor.predict(a_case()))


def test_w9_a_gpu_that_torch_cannot_use_at_all_is_said_too(tmp_path: Path) -> None:
    """The prediction itself finds out that the device is not there."""
    if torch.backends.mps.is_available():
        pytest.skip("Apple's GPU is here, so moving a batch to it does not fail")
    absent = Predictor(a_weights_file(tmp_path), device="cpu")
    absent.device = "mps"
    prediction = absent.predict(a_case())
    assert prediction.device == "cpu"
    assert prediction.device_note.endswith(": computed on the CPU.")


def test_a_failure_on_the_cpu_is_not_hidden(tmp_path: Path) -> None:
    broken = Predictor(a_weights_file(tmp_path), device="cpu")
    broken.net.heads["high_ki67"] = torch.nn.Linear(3, 2)  # does not fit what comes in
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        broken.predict(a_case())


def test_threads_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        monkeypatch.setenv(devices.THREADS_VARIABLE, "2")
        assert set_threads() == 2
        monkeypatch.setenv(devices.THREADS_VARIABLE, "")
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        assert set_threads() == 2, "what OMP_NUM_THREADS gave stays"
        monkeypatch.delenv("OMP_NUM_THREADS")
        assert set_threads() in (1, min(physical_cores(), 8))
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU that torch can use: agreement with the CPU was not checked")
def test_the_gpu_agrees_with_the_cpu() -> None:
    """float32 without TF32, the bundled weights, a made-up patient: 1e-3 in probability, also with one modality alone."""
    bundled = Path(__file__).parents[2] / "resources" / "weights" / "breastai-demonstration.safetensors"
    gpu, cpu = Predictor(bundled, device="cuda"), Predictor(bundled, device="cpu")
    assert (gpu.device, gpu.device_note) == ("cuda", "")
    whole = make_patient(11, "model", "clinic").case
    us_alone = replace(whole, dce=None, dce_scale=None, dce_affine=None, dce_times_s=None)
    mri_alone = replace(whole, ultrasound=(), ultrasound_spacing_mm=(), angles_deg=())
    for case in (whole, us_alone, mri_alone):
        assert probabilities(gpu.predict(case)) == pytest.approx(probabilities(cpu.predict(case)), abs=1e-3)


def test_heatmaps_of_single_phases_come_on_request(predictor: Predictor) -> None:
    mean, found = predictor.predict(a_case()), predictor.phase_heatmaps(a_case())
    assert mean.phase_heatmaps is None, "the answer does not wait for them"
    assert mean.heatmaps.mri_agnostic is not None
    assert found.phases == mean.inputs.phases
    for values in (found.mri_agnostic, found.mri_specific):
        assert values.shape == (4, 5, *mean.heatmaps.mri_agnostic.shape[1:])
        assert values.dtype == np.float16
        assert len({values[0, phase].tobytes() for phase in range(5)}) == 5
    assert np.array_equal(found.mri_affine, mean.heatmaps.mri_affine)
    fewer = predictor.phase_heatmaps(replace(a_case(), dce=a_case().dce[:3], dce_scale=a_case().dce_scale[:3], dce_times_s=None))
    assert fewer.mri_agnostic.shape[1] == len(fewer.phases) == 3
    with pytest.raises(PredictError, match="no MRI"):
        predictor.phase_heatmaps(without_mri())


def test_a_model_whose_phases_enter_together_says_that_it_has_no_map_of_one(tmp_path: Path) -> None:
    together = Predictor(a_weights_file(tmp_path, preset("tiny", layout="channels")), device="cpu")
    with pytest.raises(PredictError, match="reads all phases of the MRI together"):
        together.phase_heatmaps(a_case())
