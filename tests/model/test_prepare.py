"""A case on the model's grids: in the right place, at the right size, never guessed in silence."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from breastai_model.case import Case
from breastai_model.phantom.patient import make_patient
from breastai_model.prepare import Prepared, collate, prepare, square
from breastai_model.recipe import preset
from breastai_model.resample import AreaResampler, GridTarget, axis_weights, pairs_in_order, patient_axes
from model_cases import AFFINE, LESION_MM, SHAPE, a_case, volume, without_mri, without_ultrasound

if TYPE_CHECKING:
    from pathlib import Path

COMPACT = preset("compact", mri_shape=(24, 96, 96))
TINY = preset("tiny")


def lesion_of(prepared: Prepared, place: int) -> np.ndarray:
    """Return LPS mm of the enhancement's centre in one of the two breasts."""
    gain = np.clip(prepared.mri[1, place] - prepared.mri[0, place] - 0.1, 0, None)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in gain.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    centre = (index * gain.reshape(-1, 1)).sum(axis=0) / gain.sum()
    width = gain.shape[2]
    column = width + centre[2] if prepared.sides[place] == "left" else width - 1 - centre[2]
    return (prepared.mri_affine @ [centre[0], centre[1], column, 1.0])[:3]


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", [(0, 0, 0), (1, 0, 1), (0, 1, 0), (1, 1, 1)])
def test_the_lesion_is_where_it_was_in_any_orientation(axes: tuple[int, ...], flips: tuple[int, ...]) -> None:
    """Sagittal, coronal, axial, feet first: the same patient gives the same tensors."""
    dce, affine = volume(), AFFINE.copy()
    for axis, flip in enumerate(flips):
        if flip:
            dce = np.flip(dce, axis + 1)
            affine[:3, 3] += affine[:3, axis] * (SHAPE[axis] - 1)
            affine[:3, axis] *= -1
    turned = affine.copy()
    turned[:, :3] = affine[:, list(axes)]
    prepared = prepare(a_case(dce=np.ascontiguousarray(dce.transpose(0, *(axis + 1 for axis in axes))), dce_affine=turned), COMPACT)
    plain = prepare(a_case(), COMPACT)
    assert np.allclose(prepared.mri, plain.mri, atol=1e-5)
    assert np.allclose(lesion_of(prepared, 0), LESION_MM, atol=1.5)


def test_a_tilted_volume_is_read_where_it_lies() -> None:
    angle = np.deg2rad(12.0)
    tilt = np.eye(4)
    tilt[:3, :3] = [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    prepared = prepare(a_case(dce_affine=tilt @ AFFINE), COMPACT)
    assert np.allclose(lesion_of(prepared, 0), (tilt @ [*LESION_MM, 1.0])[:3], atol=2.0)


def test_the_affected_breast_comes_first_and_medial_is_on_one_side_for_both() -> None:
    right = a_case(dce=volume(lesion_mm=LESION_MM * (-1, 1, 1)), side="right")
    ours, theirs = prepare(a_case(), COMPACT), prepare(right, COMPACT)
    assert ours.sides == ("left", "right")
    assert theirs.sides == ("right", "left")
    assert not theirs.both_orders
    assert np.allclose(ours.mri, theirs.mri, atol=1e-5), "a mirrored patient gives the same tensors"
    faithful = prepare(right, replace(COMPACT, side_order="left_right"))
    assert faithful.sides == ("left", "right")
    assert np.allclose(lesion_of(faithful, 1), LESION_MM * (-1, 1, 1), atol=1.5)


def test_an_unknown_side_is_said_and_both_orders_are_asked_for() -> None:
    prepared = prepare(a_case(side=None), TINY)
    assert prepared.both_orders
    assert prepared.inputs.side_unknown
    assert any("Side of the tumour unknown" in note for note in prepared.inputs.notes)
    swapped = prepared.swapped()
    assert swapped.sides == ("right", "left")
    assert np.array_equal(swapped.mri[:, 0], prepared.mri[:, 1])
    assert not prepare(without_mri(side=None), TINY).both_orders, "the order of the breasts means nothing without MRI"


def test_a_whole_case_uses_everything_and_needs_no_note() -> None:
    prepared = prepare(a_case(), TINY)
    assert prepared.inputs.notes == ()
    assert prepared.inputs.phases == (0, 1, 2, 3, 4)
    assert prepared.inputs.angles == tuple(range(12))
    assert prepared.inputs.breasts == ("left", "right")
    assert prepared.mri.shape == (5, 2, 8, 32, 32)
    assert prepared.us.shape == (12, 32, 32)
    assert prepared.mri_present.all()
    assert prepared.us_present.all()
    assert 0.0 == prepared.mri.min() < prepared.mri.max() <= 1.0


def test_phases_are_scaled_together_so_the_curve_survives() -> None:
    prepared = prepare(a_case(), COMPACT)
    index = np.linalg.solve(prepared.mri_affine, [*LESION_MM, 1.0])[:3].round().astype(int)
    lesion = prepared.mri[:, 0, index[0], index[1], index[2] - 96]
    real = np.array([220, 540, 580, 540, 500], dtype=float)
    assert np.allclose(lesion / lesion[0], real / real[0], rtol=0.02), "nothing of the lesion is cut off"
    literal = prepare(a_case(), replace(COMPACT, headroom=1.0))
    assert literal.mri[:, 0, index[0], index[1], index[2] - 96].tolist() == [pytest.approx(220 / 240, rel=0.1), 1, 1, 1, 1]
    scaled = prepare(a_case(dce_scale=np.tile([0.25, 0.0], (5, 1))), COMPACT)
    assert np.allclose(scaled.mri, prepared.mri, atol=1e-5)
    shifted = prepare(a_case(dce=volume() + np.int16(1000), dce_scale=np.tile([1.0, -1000.0], (5, 1))), COMPACT)
    assert np.allclose(shifted.mri, prepared.mri, atol=1e-4)


@pytest.mark.parametrize(
    ("times", "pre", "phases", "said"),
    [
        ((-60.0, 75.0, 150.0, 240.0, 450.0, 540.0), 0, (0, 1, 2, 3, 4), "Phase 6 was not given to the network, which takes 5."),
        (
            (-60.0, 20.0, 80.0, 140.0, 235.0, 300.0, 440.0, 500.0),
            0,
            (0, 2, 3, 4, 6),
            "Phases 2, 6, 8 were not given to the network, which takes 5.",
        ),
        (None, 0, (0, 1, 2, 3, 4), "Times of the phases unknown: those after contrast were taken in order."),
        ((-120.0, -60.0, 75.0, 150.0, 240.0, 450.0), 1, (1, 2, 3, 4, 5), "Phase 1 was not given to the network, which takes 5."),
        ((-60.0, 75.0, 240.0), 0, (0, 1, 2), "Phases 3, 5 of 5 absent."),
        (None, 2, (2,), "Phases 2, 3, 4, 5 of 5 absent."),
    ],
)
def test_phases_near_the_nominal_times_are_taken_and_the_rest_is_said(times: Any, pre: int, phases: tuple[int, ...], said: str) -> None:
    count = len(times) if times else {0: 6, 2: 3}[pre]
    case = a_case(dce=volume(count), dce_scale=np.tile([1.0, 0.0], (count, 1)), dce_times_s=times, pre=pre)
    prepared = prepare(case, TINY)
    assert prepared.inputs.phases == phases
    assert said in prepared.inputs.notes
    assert prepared.mri_present.sum() == 2 * len(phases)
    assert not prepared.mri[~prepared.mri_present].any()


def test_pairs_in_order_is_the_best_of_all() -> None:
    rng = np.random.default_rng(0)
    for found_count, wanted_count in ((6, 4), (3, 4), (4, 4), (9, 2)):
        found = tuple(np.sort(rng.uniform(0, 500, found_count)))
        wanted = tuple(np.sort(rng.uniform(0, 500, wanted_count)))
        pairs = pairs_in_order(found, wanted)
        many, few = max(found_count, wanted_count), min(found_count, wanted_count)
        best = min(
            sum(
                abs((found if found_count == many else wanted)[i] - (wanted if found_count == many else found)[k])
                for k, i in enumerate(chosen)
            )
            for chosen in itertools.combinations(range(many), few)
        )
        assert len(pairs) == few
        assert sum(abs(found[a] - wanted[b]) for a, b in pairs) == pytest.approx(best)


def test_missing_modalities_are_masked_and_said() -> None:
    mri = prepare(without_ultrasound(), TINY)
    assert mri.inputs.notes == ("No ultrasound: read from MRI alone.",)
    assert not mri.us_present.any()
    us = prepare(without_mri(), TINY)
    assert us.inputs.notes == ("No MRI: read from ultrasound alone.",)
    assert not us.mri_present.any()
    assert us.mri_affine is None
    assert us.inputs.breasts == ()


def test_one_breast_alone_is_masked_and_said() -> None:
    prepared = prepare(a_case(breasts=frozenset(("left",))), TINY)
    assert prepared.mri_present.tolist() == [[True, False]] * 5
    assert not prepared.mri[:, 1].any()
    assert "The MRI shows the left breast alone; the other is masked." in prepared.inputs.notes
    assert prepared.inputs.breasts == ("left",)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_unilateral_sagittal_exam_lands_on_its_own_side(side: str) -> None:
    """Half of the volume, cut at the midline: the breast stands where it stood in the whole one."""
    half = slice(45, None) if side == "left" else slice(0, 45)
    affine = AFFINE.copy()
    affine[:3, 3] += affine[:3, 2] * half.indices(90)[0]
    lesion = LESION_MM * (1 if side == "left" else -1, 1, 1)
    case = a_case(dce=volume(lesion_mm=lesion)[..., half], dce_affine=affine, breasts=frozenset((side,)), side=side, midline_mm=None)
    prepared = prepare(case, COMPACT)
    assert prepared.sides[0] == side
    assert prepared.mri_present[:, 1].sum() == 0
    assert np.allclose(lesion_of(prepared, 0), lesion, atol=2.0)
    assert "The midline between the breasts was estimated." in prepared.inputs.notes


@pytest.mark.parametrize("shift", [-24.0, 0.0, 15.0])
def test_the_midline_is_found_at_the_cleft(shift: float) -> None:
    affine = AFFINE.copy()
    affine[0, 3] += shift
    prepared = prepare(a_case(dce_affine=affine, midline_mm=None), COMPACT)
    middle = prepared.mri_affine @ [0, 0, 95.5, 1.0]
    assert middle[0] == pytest.approx(shift, abs=8.0)
    given = prepare(a_case(dce_affine=affine, midline_mm=shift), COMPACT)
    assert (given.mri_affine @ [0, 0, 95.5, 1.0])[0] == pytest.approx(shift, abs=1e-6)
    assert given.inputs.notes == ()


@pytest.mark.parametrize("seed", [901, 903, 907])
@pytest.mark.parametrize("midline_mm", [0.0, None])
def test_a_mirrored_patient_gives_the_same_tensors(seed: int, midline_mm: float | None) -> None:
    """Where the window is laid must not depend on the edge from which columns are counted (seed 901 once moved by 4 mm)."""
    case = replace(make_patient(seed, "model", "S8").case, midline_mm=midline_mm)
    assert case.dce is not None
    mirror = replace(case, dce=np.ascontiguousarray(case.dce[..., ::-1]), side="left" if case.side == "right" else "right")
    here, there = prepare(case, TINY), prepare(mirror, TINY)
    assert here.sides == there.sides[::-1]
    assert np.allclose(here.mri, there.mri, rtol=0, atol=1e-6)


def test_the_front_of_the_breasts_is_in_the_window_of_a_deep_exam() -> None:
    """A field of view that reaches through the whole chest does not push the breasts out."""
    deep = np.pad(volume(), ((0, 0), (0, 0), (20, 60), (0, 0)), mode="edge")
    affine = AFFINE.copy()
    affine[1, 3] -= 80.0
    prepared = prepare(a_case(dce=deep, dce_affine=affine), COMPACT)
    assert np.allclose(lesion_of(prepared, 0), LESION_MM, atol=1.5)


def test_area_averaging_keeps_the_mean_and_does_not_alias() -> None:
    stripes = np.zeros((16, 64, 64), dtype=np.uint16)
    stripes[:, :, ::2] = 1000
    affine = np.array([[0.0, 0.0, 1.0, 0.5], [0.0, 1.0, 0.0, 0.5], [1.0, 0.0, 0.0, 0.5], [0.0, 0.0, 0.0, 1.0]])
    target = GridTarget((4, 16, 15), (4.0, 4.0, 4.0), (2.0, 2.0, 3.0))
    resampled = AreaResampler(patient_axes(affine, stripes.shape), stripes.shape, target)(stripes)
    assert np.allclose(resampled, 500.0)
    fine = GridTarget((4, 16, 16), (2.0, 2.0, 2.0), (-4.0, 2.0, 2.0))
    resample = AreaResampler(patient_axes(affine, stripes.shape), stripes.shape, fine)
    assert resample.inside[:2].sum() == 0
    assert resample.inside[3].all()
    assert not resample(stripes)[:2].any()


@pytest.mark.parametrize(("inputs", "outputs", "step_out"), [(10, 4, 2.5), (7, 3, 3.0), (5, 9, 0.5)])
def test_axis_weights_are_shares(inputs: int, outputs: int, step_out: float) -> None:
    weights, covered = axis_weights(inputs, 0.5, 1.0, outputs, step_out / 2, step_out)
    assert np.allclose(weights.sum(axis=1), covered, atol=1e-6)
    assert (weights >= 0).all()
    ramp = weights @ np.arange(inputs, dtype=np.float32)
    whole = covered > 0.999
    centres = step_out / 2 + step_out * np.arange(outputs) - 0.5
    inner = whole & (centres >= 0) & (centres <= inputs - 1)
    assert np.allclose(ramp[inner], centres[inner], atol=0.06), "straight lines stay straight, but for steps"


def test_angles_go_to_the_nearest_slots_and_absent_ones_are_said() -> None:
    images = a_case().ultrasound[:5]
    case = a_case(ultrasound=images, ultrasound_spacing_mm=(None,) * 5, angles_deg=(88.0, 2.0, 31.0, 160.0, 44.0))
    prepared = prepare(case, TINY)
    assert prepared.us_slots == (6, 0, 2, 11, 3)
    assert prepared.inputs.angles == (1, 2, 4, 0, 3)
    assert prepared.us_present.sum() == 5
    assert "7 of 12 angles absent." in prepared.inputs.notes


def test_unknown_angles_are_spread_in_order_and_said() -> None:
    images = a_case().ultrasound[:4]
    case = a_case(ultrasound=images, ultrasound_spacing_mm=(None,) * 4, angles_deg=(0.0, None, 30.0, 45.0))
    prepared = prepare(case, TINY)
    assert prepared.us_slots == (0, 3, 6, 9)
    assert any("evenly spaced" in note for note in prepared.inputs.notes)
    for count in range(1, 13):
        some = a_case(ultrasound=images[:1] * count, ultrasound_spacing_mm=(None,) * count, angles_deg=(None,) * count)
        assert len(set(prepare(some, TINY).us_slots)) == count


def test_images_at_one_angle_are_spread_and_said() -> None:
    prepared = prepare(a_case(angles_deg=(0.0,) * 12), TINY)
    assert sorted(prepared.us_slots) == list(range(12))
    assert any("share an angle" in note for note in prepared.inputs.notes)


def test_an_image_is_padded_to_a_square_whose_place_is_kept() -> None:
    image = np.zeros((60, 100), dtype=np.uint8)
    image[10:20, 70:80] = 255
    scaled, (top, left, height, width) = square(image, (50, 50))
    assert (top, left, height, width) == (-20.0, 0.0, 100.0, 100.0)
    rows, columns = np.nonzero(scaled > 0.99)
    assert (rows.min() * 2 + top, (rows.max() + 1) * 2 + top) == (10, 20)
    assert (columns.min() * 2 + left, (columns.max() + 1) * 2 + left) == (70, 80)
    assert not scaled[:10].any()
    assert scaled.sum() * 4 == pytest.approx(image.sum() / 255, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dce": np.full((5, *SHAPE), 7, dtype=np.int16)}, "one grey value"),
        ({"dce": np.full((5, *SHAPE), np.nan, dtype=np.float32)}, "no numbers"),
        ({"dce_affine": np.diag([4.0, 4.0, 0.0, 1.0])}, "axes or spacings are wrong"),
        ({"midline_mm": 9000.0}, "does not reach"),
    ],
)
def test_an_mri_that_cannot_be_used_is_refused_in_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        prepare(a_case(**changes), TINY)


def test_one_thin_slice_is_still_read() -> None:
    thin = a_case(dce=volume()[:, 8:9], dce_affine=AFFINE @ np.array([[0.125, 0, 0, 8], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))
    prepared = prepare(thin, COMPACT)
    assert (prepared.mri[0, 0] > 0).any(axis=(1, 2)).sum() in (1, 2)


def test_collate_stacks_cases() -> None:
    batch = collate([prepare(a_case(), TINY), prepare(without_mri(), TINY)])
    assert batch.mri.shape == (2, 5, 2, 8, 32, 32)
    assert batch.mri_present.any(dim=(1, 2)).tolist() == [True, False]
    assert batch.us_present.all()


def test_the_real_exam_is_cut_at_its_cleft(real_data: Path) -> None:
    import SimpleITK as sitk

    folder = real_data / "mri-dce-exam" / "nifti"
    images = [sitk.ReadImage(str(path)) for path in (*folder.glob("*pre*"), *sorted(folder.glob("*post*")))]
    affine = np.eye(4)
    affine[:3, :3] = (np.reshape(images[0].GetDirection(), (3, 3)) * images[0].GetSpacing())[:, ::-1]
    affine[:3, 3] = images[0].GetOrigin()
    dce = np.stack([sitk.GetArrayFromImage(image) for image in images])
    case = Case(dce, np.tile([1.0, 0.0], (6, 1)), affine, None, 0, frozenset(("left", "right")), None, (), (), (), None)
    prepared = prepare(case, COMPACT)
    middle = (prepared.mri_affine @ [0, 0, 95.5, 1.0])[0]
    assert 0 < middle < 20, "between the breasts of this exam, seen on its pictures"
    assert prepared.inputs.phases == (0, 1, 2, 3, 4)
    tissue = prepared.mri[0] > 0.1
    assert (prepared.mri[2] - prepared.mri[0])[tissue].mean() > 0.01, "contrast medium brightens"
    front = np.argmax(tissue.any(axis=(0, 1, 3)))
    assert 2 <= front <= 12, "the breasts begin a little behind the window's front"
