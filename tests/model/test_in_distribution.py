"""The in-distribution check: pixels alone decide; fresh phantoms pass, other pictures and broken exams do not."""

from __future__ import annotations

import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from breastai_model.inference.in_distribution import Distribution, Reading, fit_distribution
from breastai_model.inference.input_checks import input_faults, stroke_pixels
from breastai_model.inference.predict import Predictor
from breastai_model.inference.stage_means import read_case
from breastai_model.phantom.patient import make_patient
from breastai_model.prepare import prepare
from breastai_model.recipe import preset
from breastai_model.weights import save_weights
from model_cases import a_case, a_net

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from breastai_model.case import Case

RECIPE = preset("tiny", mri_shape=(12, 48, 48), mri_spacing_mm=(12.0, 4.0, 4.0), us_shape=(64, 64))
LEARN, HELD_OUT, FRESH = range(100, 110), range(200, 208), range(300, 302)


@pytest.fixture(scope="module")
def phantoms() -> dict[int, Case]:
    seeds = (*LEARN, *HELD_OUT, *FRESH)
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as processes:
        return dict(zip(seeds, processes.map(phantom, seeds, chunksize=5), strict=True))


def phantom(seed: int) -> Case:
    return make_patient(seed, "model").case


@pytest.fixture(scope="module")
def distribution(phantoms: dict[int, Case]) -> Distribution:
    net = a_net(RECIPE)
    learn, held_out = ([read_case(net, prepare(phantoms[seed], RECIPE)) for seed in seeds] for seeds in (LEARN, HELD_OUT))
    return fit_distribution(learn, held_out)


@pytest.fixture
def predictor(distribution: Distribution, tmp_path: Path) -> Iterator[Predictor]:
    path = tmp_path / "model.safetensors"
    save_weights(path, a_net(RECIPE), RECIPE, {}, "fitted", "1", distribution=distribution)
    threads = torch.get_num_threads()
    yield Predictor(path, device="cpu")
    torch.set_num_threads(threads)


def test_fresh_phantoms_are_inside_and_pictures_of_another_kind_are_not(predictor: Predictor, phantoms: dict[int, Case]) -> None:
    verdicts = [predictor.predict(phantoms[seed], maps="none").distribution for seed in FRESH]
    assert sum(not verdict.inside for verdict in verdicts) <= 1
    assert all(0 < verdict.distance < 2 for verdict in verdicts)
    case = phantoms[FRESH[0]]
    noise = np.random.default_rng(0)
    speckled = replace(case, ultrasound=tuple(noise.integers(0, 256, image.shape).astype(np.uint8) for image in case.ultrasound))
    verdict = predictor.predict(speckled, maps="none").distribution
    assert not verdict.inside
    assert verdict.distance > verdict.threshold
    assert [reason.split(" from ")[0] for reason in verdict.reasons] == ["The ultrasound differs"], "the MRI is as it was"
    blocks = replace(case, dce=np.repeat(np.repeat(case.dce[..., ::8, ::8], 8, axis=-2), 8, axis=-1)[..., : case.dce.shape[-2], :])
    verdict = predictor.predict(blocks, maps="none").distribution
    assert [reason.split(" from ")[0] for reason in verdict.reasons] == ["The MRI differs"]
    assert all(reason.endswith(".") for reason in verdict.reasons)


def test_each_modality_alone_is_judged_too(predictor: Predictor, phantoms: dict[int, Case]) -> None:
    case = phantoms[FRESH[1]]
    mri = replace(case, ultrasound=(), ultrasound_spacing_mm=(), angles_deg=())
    ultrasound = replace(case, dce=None, dce_scale=None, dce_affine=None, dce_times_s=None)
    for part in (mri, ultrasound):
        assert predictor.predict(part, maps="none").distribution.inside


def test_with_the_side_unknown_the_nearer_order_of_the_breasts_is_judged(predictor: Predictor, phantoms: dict[int, Case]) -> None:
    case = phantoms[FRESH[1]]
    unknown, left, right = (predictor.predict(replace(case, side=side), maps="none").distribution for side in (None, "left", "right"))
    assert left.distance != right.distance
    assert unknown.distance == pytest.approx(min(left.distance, right.distance))


def test_maps_or_not_the_verdict_is_the_same(predictor: Predictor, phantoms: dict[int, Case]) -> None:
    case = phantoms[FRESH[1]]
    distances = [predictor.predict(case, maps=depth).distribution.distance for depth in ("all", "last", "none")]
    assert distances == pytest.approx([distances[0]] * 3, rel=1e-4)


def test_real_exams_lie_outside(distribution: Distribution, real_cases: dict[str, Case]) -> None:
    net = a_net(RECIPE)
    for name, case in real_cases.items():
        prepared = prepare(case, RECIPE)
        verdict = distribution.judge(read_case(net, prepared), input_faults(case, prepared))
        assert not verdict.inside, name
        assert verdict.reasons, name


@pytest.fixture(scope="module")
def real_cases(real_data: Path) -> dict[str, Case]:
    from breastai_gui.data.reader_process import Reader
    from breastai_gui.services.assess import case_of
    from breastai_gui.services.headless import read_study
    from breastai_gui.services.session import Choices

    found = {}
    with Reader() as reader:
        reader.start()
        for name, scope in (("mri-dce-exam/dicom", "mri"), ("us-sweep", "ultrasound"), ("us-lesions-png", "ultrasound")):
            study = read_study(reader, real_data / name)
            found[name] = case_of(study, Choices(pre=0, side="left", is_ultrasound=True), scope)  # type: ignore[arg-type]
    return found


def test_the_bundled_weights_call_every_real_image_outside(real_data: Path, tmp_path: Path) -> None:
    """Whatever the scanner: the model of made-up patients has seen nothing like these, and does know a fresh phantom."""
    from breastai_gui.data.reader_process import Reader
    from breastai_gui.resource import resource
    from breastai_gui.services.assess import case_of
    from breastai_gui.services.headless import read_study
    from breastai_gui.services.models import BUNDLED
    from breastai_gui.services.session import Choices

    exams = [(real_data / "mri-dce-exam/dicom", "mri"), (real_data / "mri-dce-slice/derived_invivo_4d_25timepoints.nii.gz", "mri")]
    exams += [(real_data / name, "ultrasound") for name in ("us-sweep", "us-lesions-png", "us-burned-in/GREYSCALE_IMAGE.dcm")]
    for file in sorted((real_data / "us-dicom").glob("patient*_*.dcm")):
        patient = tmp_path / file.name.partition("_")[0]
        if not patient.is_dir():
            patient.mkdir()
            exams.append((patient, "ultrasound"))
        shutil.copy(file, patient)
    threads = torch.get_num_threads()
    predictor = Predictor(resource("weights") / BUNDLED, device="cpu")
    try:
        with Reader() as reader:
            reader.start()
            for place, scope in exams:
                case = case_of(read_study(reader, place), Choices(pre=0, side="left", is_ultrasound=True), scope)  # type: ignore[arg-type]
                verdict = predictor.predict(case, maps="none").distribution
                assert not verdict.inside, place.name
                assert verdict.reasons, place.name
        assert len(exams) > 12
        assert predictor.predict(phantom(FRESH[0]), maps="none").distribution.inside
    finally:
        torch.set_num_threads(threads)


# The statistics themselves, on numbers whose law is known.


def readings(count: int, seed: int, shift: float = 0.0, stretch: float = 1.0) -> list[Reading]:
    """Correlated normal features: three latent directions and noise in 40 features."""
    mixing = np.random.default_rng(99).normal(size=(3, 40))
    generator = np.random.default_rng(seed)
    return [
        Reading(
            {"mri_features": stretch * (generator.normal(size=3) @ mixing + 0.3 * generator.normal(size=40)) + shift},
            generator.normal(0.7, 1, size=3),
        )
        for _ in range(count)
    ]


def test_false_alarms_on_fresh_cases_keep_to_their_share() -> None:
    fitted = fit_distribution(readings(200, 1), readings(200, 2), false_alarms=0.05)
    alarms = np.mean([not fitted.judge(reading).inside for reading in readings(1000, 3)])
    assert 0.01 <= alarms <= 0.09
    few = fit_distribution(readings(20, 1), readings(10, 2), false_alarms=0.03)
    assert np.mean([not few.judge(reading).inside for reading in readings(300, 3)]) <= 0.15


def test_what_is_large_along_a_direction_that_never_varied_is_found() -> None:
    """A Euclidean distance would miss it: the step is smaller than the cases' own spread."""
    fitted = fit_distribution(readings(200, 1), readings(100, 2))
    mixing = np.random.default_rng(99).normal(size=(3, 40))
    across = np.linalg.svd(mixing)[2][-1] * 2.5
    case = readings(1, 7)[0]
    spread = np.linalg.norm(case.groups["mri_features"])
    assert np.linalg.norm(across) < spread
    moved = Reading({"mri_features": case.groups["mri_features"] + across}, case.odds)
    assert fitted.judge(case).inside
    assert not fitted.judge(moved).inside
    assert fitted.law.typical_odds == pytest.approx([0.7] * 3, abs=0.3)


def test_the_distance_is_that_of_the_shrunk_covariance() -> None:
    """Against Ledoit and Wolf as scikit-learn has it, where all directions are kept."""
    from sklearn.covariance import LedoitWolf

    cases = readings(400, 5)
    fitted = fit_distribution(cases[:300], cases[300:])
    values = np.stack([case.groups["mri_features"] for case in cases[:300]])
    scale = fitted.arrays["mri_features.scale"].astype(float)
    law = LedoitWolf().fit((values - values.mean(axis=0)) / scale)
    fresh = readings(5, 6)
    truth = np.sqrt(law.mahalanobis((np.stack([case.groups["mri_features"] for case in fresh]) - values.mean(axis=0)) / scale) / 40)
    ours = [fitted.distances(case)["mri_features"] * fitted.law.groups[0].limit for case in fresh]
    assert ours == pytest.approx(truth, rel=2e-3)


def test_too_few_or_unequal_cases_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 8"):
        fit_distribution(readings(7, 1), readings(20, 2))
    with pytest.raises(ValueError, match="same modalities"):
        fit_distribution(readings(10, 1), [Reading({"us_features": np.zeros(4)}, np.zeros(3))] * 10)


# Checks of the inputs.


def faults(**changes: Any) -> tuple[str, ...]:
    case = a_case(**changes)
    return input_faults(case, prepare(case, preset("tiny")))


def test_a_good_exam_has_no_fault(phantoms: dict[int, Case]) -> None:
    assert faults() == ()
    found = [input_faults(case, prepare(case, RECIPE)) for case in phantoms.values()]
    assert sum(map(bool, found)) <= 1, found


def test_phases_in_the_wrong_order_are_found() -> None:
    dce = a_case().dce
    assert "order of the phases" in faults(dce=dce[::-1])[0]
    assert "order of the phases" in faults(dce=dce[[2, 0, 1, 3, 4]])[0]
    assert faults(dce=dce[[0, 4, 2, 3, 1]]) == (), "the check asks for the phase before contrast alone"


def test_an_empty_breast_is_found() -> None:
    dce = a_case().dce.copy()
    dce[..., : dce.shape[-1] // 2] = 0
    assert faults(dce=dce) == ("The right half of the MRI is empty, although that breast is said to be there.",)
    assert faults(dce=dce, breasts=frozenset(("left",))) == ()


def test_saturated_pictures_are_found() -> None:
    dce = np.minimum(a_case().dce, 205)
    assert any("saturated" in fault for fault in faults(dce=dce))
    bright = tuple(np.maximum(image, 120) + 135 * (image > 100).astype(np.uint8) for image in a_case().ultrasound)
    assert "An ultrasound image is saturated or black." in faults(ultrasound=bright)


def test_one_picture_under_two_angles_is_found() -> None:
    images = list(a_case().ultrasound)
    images[7] = images[3].copy()
    assert faults(ultrasound=tuple(images)) == ("Ultrasound images 4 and 8 are the same picture.",)


def test_letters_and_rulers_are_found_and_speckle_is_not() -> None:
    generator = np.random.default_rng(1)
    speckle = (60 * generator.rayleigh(size=(200, 300))).clip(0, 255).astype(np.uint8)
    assert stroke_pixels(speckle) < 10
    lettered = speckle.copy()
    lettered[5:30, 5:120] = 0
    for place in range(8):  # the letter H, eight times
        left = 10 + 13 * place
        lettered[10:22, left] = lettered[10:22, left + 6] = 220
        lettered[16, left : left + 7] = 220
    assert stroke_pixels(lettered) > 100
    images = (lettered, *a_case().ultrasound[1:])
    assert any("text or lines" in fault for fault in faults(ultrasound=images))
