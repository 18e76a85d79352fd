"""What the scenarios show: S6's reversed curves, S7's waves, S8's healthy breast, and latents that only their modality sees."""

import dataclasses

import numpy as np
import pytest

from breastai_model.phantom import dce, latents, patient
from breastai_model.phantom.found import find_lesion, find_views
from breastai_model.phantom.latents import Latents
from breastai_model.phantom.measured import MRI_FEATURES, US_FEATURES, measure_mri, measure_us
from breastai_model.phantom.patient import PhantomPatient, make_patient
from breastai_model.plan import Scenario


def made(monkeypatch: pytest.MonkeyPatch, seed: int, scenario: Scenario = "clinic", **changed: float) -> PhantomPatient:
    """Return the phantom of a seed with some latents set by hand."""
    drawn = latents.draw_latents

    def draw(number: int) -> Latents:
        return dataclasses.replace(drawn(number), **changed)

    with monkeypatch.context() as patch:
        patch.setattr(patient.latents, "draw_latents", draw)
        return make_patient(seed, "model", scenario)


def mri(one: PhantomPatient) -> dict[str, float]:
    return dict(zip(MRI_FEATURES, measure_mri(one.case, one.truth.lesion).tolist(), strict=True))


def us(one: PhantomPatient) -> dict[str, float]:
    return dict(zip(US_FEATURES, measure_us(one.case, one.truth.views).tolist(), strict=True))


def test_s6_class_1_shows_the_values_of_class_0_in_reversed_order(monkeypatch: pytest.MonkeyPatch) -> None:
    rising, falling = (made(monkeypatch, 3, "S6", order=order) for order in (-1.0, 1.0))
    assert (rising.labels.high_ki67, falling.labels.high_ki67) == (False, True)
    curves = []
    for one in (rising, falling):
        assert one.case.dce is not None
        curves.append(one.case.dce[1:, one.truth.lesion].mean(axis=1))
    up, down = curves
    assert (np.diff(up) > 0).all()
    assert down == pytest.approx(up[::-1], rel=0.02)
    # Nothing but the lesion tells the phases apart.
    assert rising.case.dce is not None
    outside = rising.case.dce[1:, ~rising.truth.lesion].mean(axis=1)
    assert np.ptp(outside) < 0.002 * outside.mean()
    np.testing.assert_array_equal(rising.case.dce[0], falling.case.dce[0])  # type: ignore[index]


def test_s7_a_high_fold_has_one_crest_and_a_low_one_three(monkeypatch: pytest.MonkeyPatch) -> None:
    one, three = (us(made(monkeypatch, 5, "S7", fold=fold)) for fold in (1.5, -1.5))
    assert one["area_first"] > 2 * one["area_third"]
    assert three["area_third"] > 2 * three["area_first"]


def test_s8_the_healthy_gland_alone_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    less, more = (made(monkeypatch, 6, "S8", asymmetry=asymmetry) for asymmetry in (-1.2, 1.2))
    assert mri(more)["gland_healthy"] > mri(less)["gland_healthy"] + 0.5
    affected = slice(0, 96) if less.truth.side == "right" else slice(96, 192)
    assert less.case.dce is not None
    assert more.case.dce is not None
    np.testing.assert_array_equal(less.case.dce[..., affected], more.case.dce[..., affected])


@pytest.mark.parametrize(
    ("name", "feature", "sign"),
    [("slope", "uptake_next", 1), ("wash_out", "late_to_early", -1), ("rim", "rim_to_core", 1)],
)
def test_private_mri_latents_show_in_the_mri_alone(monkeypatch: pytest.MonkeyPatch, name: str, feature: str, sign: int) -> None:
    low, high = (made(monkeypatch, 8, **{name: value}) for value in (-1.0, 1.0))
    assert sign * (mri(high)[feature] - mri(low)[feature]) > 0.15
    for ours, theirs in zip(low.case.ultrasound, high.case.ultrasound, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("name", "feature", "sign"), [("shadow", "behind", -1), ("echo", "echo", 1), ("anisotropy", "echo_swing", 1)])
def test_private_ultrasound_latents_show_in_the_ultrasound_alone(
    monkeypatch: pytest.MonkeyPatch, name: str, feature: str, sign: int
) -> None:
    low, high = (made(monkeypatch, 8, **{name: value}) for value in (-1.0, 1.0))
    assert sign * (us(high)[feature] - us(low)[feature]) > 0.3
    np.testing.assert_array_equal(low.case.dce, high.case.dce)  # type: ignore[arg-type]


def test_the_scanners_gain_is_a_plain_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    weak, strong = (made(monkeypatch, 9, gain=gain) for gain in (-2.0, 2.0))
    assert weak.case.dce is not None
    assert strong.case.dce is not None
    bright = weak.case.dce > 100
    factors = strong.case.dce[bright] / weak.case.dce[bright]
    assert factors.mean() == pytest.approx(np.exp(4 * dce.APPEARANCE.gain_log), rel=0.002)
    assert factors.std() < 0.01
    assert mri(weak)["uptake"] == pytest.approx(mri(strong)["uptake"], abs=0.02)


@pytest.mark.parametrize("seed", [2, 7, 23])
def test_the_lesion_is_found_without_the_truth(seed: int) -> None:
    one = make_patient(seed)
    found = find_lesion(one.case)
    assert 2 * (found & one.truth.lesion).sum() / (found.sum() + one.truth.lesion.sum()) > 0.6
    views = find_views(one.case)
    overlaps = [2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in zip(views, one.truth.views, strict=True)]
    assert np.median(overlaps) > 0.6


def test_a_lesion_that_is_hardly_there_measures_as_nothing() -> None:
    one = make_patient(4)
    assert not measure_mri(one.case, np.zeros_like(one.truth.lesion)).any()
    assert not measure_us(one.case, [np.zeros_like(view) for view in one.truth.views]).any()
