"""Augmentation: each rule of consistency, on pictures in which a broken rule shows."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from breastai_model.plan import with_losses
from breastai_model.recipe import preset
from breastai_model.training.augment import augmented, draw, gamma, sweep_order, without
from breastai_model.training.warp import LARGEST_TURN_DEG, SCALE, Warp, draw_scale, draw_warp, warped
from training_cases import RECIPE, a_plan, made_case

KEEP = {"drop_mri": 0.0, "drop_ultrasound": 0.0, "drop_view": 0.0}
PLAN = a_plan(**KEEP)
SEEDS = range(60)


def alike(number: int = 1):
    """A case whose phases and breasts are one volume, and whose angles are one picture."""
    chance = np.random.default_rng(number)
    volume = chance.random(RECIPE.mri_shape, dtype=np.float32) + 0.01
    picture = chance.random(RECIPE.us_shape, dtype=np.float32) + 0.01
    case = made_case(1, True)
    return replace(case, mri=np.broadcast_to(volume, case.mri.shape).copy(), us=np.broadcast_to(picture, case.us.shape).copy())


def test_phases_and_breasts_share_one_draw_and_so_do_the_angles():
    case = alike()
    changed = 0
    for seed in SEEDS:
        seen = augmented(case, np.random.default_rng(seed), PLAN)
        assert (seen.mri == seen.mri[0, 0]).all()
        flips = np.array([np.array_equal(picture, seen.us[0]) for picture in seen.us])
        assert all(np.array_equal(picture, seen.us[0][:, ::-1]) for picture in seen.us[~flips])
        changed += not np.array_equal(seen.mri, case.mri)
    assert 20 < changed < 60, "about two thirds of the cases are changed, not all"


def test_both_modalities_are_scaled_alike_but_turned_and_bent_apart():
    drawn = [draw(made_case(1, True), np.random.default_rng(seed), PLAN) for seed in range(300)]
    assert all(each.mri.scale == each.us.scale for each in drawn)
    scaled, turned, bent = ([bool(test(each.mri)) for each in drawn] for test in (_scaled, _turned, _bent))
    assert all(0.12 < np.mean(each) < 0.28 for each in (scaled, turned, bent)), "a fifth each"
    assert any(_turned(each.mri) and not _turned(each.us) for each in drawn)


def _scaled(warp: Warp) -> bool:
    return warp.scale != 1


def _turned(warp: Warp) -> bool:
    return any(warp.turn_deg)


def _bent(warp: Warp) -> bool:
    return warp.bend is not None


def test_one_gamma_keeps_the_order_of_the_phases_the_mean_and_the_dark():
    images = torch.from_numpy(made_case(2, True).mri)
    images[:, :, 0] = 0
    for power in (0.7, 1.3, 1.5):
        seen = gamma(images, power)
        assert (seen[images == 0] == 0).all()
        lit = images > 0
        assert seen[lit].mean() == pytest.approx(float(images[lit].mean()), abs=0.01)
        assert seen[lit].std() == pytest.approx(float(images[lit].std()), rel=0.05)
        order = images.flatten().argsort(stable=True)
        assert (seen.flatten()[order].diff() >= -1e-6).all(), "no two values change places, in any phase"
    assert gamma(images, 1.0) is images


def test_mirroring_the_body_swaps_the_breasts_where_they_stand_left_and_right():
    left_right = a_plan(recipe=with_losses(RECIPE, "faithful"), **KEEP)
    case = made_case(2, True)
    swaps = [draw(case, np.random.default_rng(seed), left_right).swap for seed in range(200)]
    assert 0.35 < np.mean(swaps) < 0.65
    assert not any(draw(case, np.random.default_rng(seed), PLAN).swap for seed in SEEDS), "affected first stays first"
    unknown = replace(case, both_orders=True)
    assert any(draw(unknown, np.random.default_rng(seed), PLAN).swap for seed in SEEDS), "an unknown side is shown in both orders"
    seed = next(seed for seed in range(200) if draw(case, np.random.default_rng(seed), replace(left_right, augment=True)).swap)
    still = replace(left_right, augment=False)
    seen = augmented(unknown, np.random.default_rng(seed), still)
    assert seen.sides == ("right", "left")
    assert np.array_equal(seen.mri, case.mri[:, ::-1])


def sweep(us, roll, mirror):
    order, flipped = sweep_order(len(us), roll, mirror=mirror)
    return np.stack([us[image][:, ::-1] if flip else us[image] for image, flip in zip(order, flipped, strict=True)])


def test_mirroring_a_sweep_reverses_its_angles_and_rolling_it_flips_what_passes_180_degrees():
    us = np.random.default_rng(0).random((12, 6, 5), dtype=np.float32)
    seen = sweep(us, 0, mirror=True)
    assert np.array_equal(seen[9], us[3][:, ::-1]), "45 degrees becomes 135, in the mirror"
    assert np.array_equal(seen[0], us[0][:, ::-1])
    assert np.array_equal(sweep(seen, 0, mirror=True), us)
    half = sweep(us, 5, mirror=False)
    assert np.array_equal(half[0], us[5])
    assert np.array_equal(half[11], us[4][:, ::-1])
    assert np.array_equal(sweep(half, 7, mirror=False), us[:, :, ::-1]), "half a turn is the mirror image of every slice"
    assert np.array_equal(sweep(us, 5, mirror=True), sweep(half, 0, mirror=True)), "rolled first, then mirrored"


def test_what_is_present_moves_with_its_image():
    case = made_case(1, True)
    gaps = np.arange(12) != 3
    case = replace(case, us=np.where(gaps[:, None, None], case.us, 0), us_present=gaps)
    for seed in SEEDS:
        seen = augmented(case, np.random.default_rng(seed), PLAN)
        assert np.array_equal(seen.us_present, seen.us.any(axis=(1, 2)))


def test_the_sweep_begins_elsewhere_only_where_the_plan_says_so_and_depth_is_never_flipped():
    fixed = replace(PLAN, roll_angles=False)
    rolls = [draw(made_case(1, True), np.random.default_rng(seed), PLAN).roll for seed in range(200)]
    assert set(rolls) == set(range(12))
    assert not any(draw(made_case(1, True), np.random.default_rng(seed), fixed).roll for seed in SEEDS)
    deep = np.linspace(0.1, 0.9, RECIPE.us_shape[0], dtype=np.float32)[:, None] * np.ones(RECIPE.us_shape, np.float32)
    case = replace(made_case(1, True), us=np.broadcast_to(deep, (12, *RECIPE.us_shape)).copy())
    for seed in SEEDS:
        middle = augmented(case, np.random.default_rng(seed), PLAN).us[:, 4:12, 4:12].mean(axis=2)
        assert (np.diff(middle, axis=1) > 0).all()


def test_a_rotation_turns_a_ball_of_millimetres_into_itself_on_thick_slices():
    spacing = (6.0, 2.0, 1.0)
    shape = (16, 48, 96)
    place = np.stack(np.meshgrid(*((np.arange(n) + 0.5 - n / 2) * mm for n, mm in zip(shape, spacing, strict=True)), indexing="ij"))
    ball = torch.from_numpy(np.exp(-(place**2).sum(axis=0) / (2 * 14.0**2)).astype(np.float32))[None]
    turned = warped(ball, Warp((15.0, -12.0, 10.0), 1.0, None), spacing)
    assert (turned - ball).abs().max() < 0.02
    smaller = warped(ball, Warp((0.0, 0.0, 0.0), 1.25, None), spacing)
    assert float(smaller.sum() / ball.sum()) == pytest.approx(1.25**-3, rel=0.05)
    rod = np.exp(-((place[1] - 0.3 * place[2]) ** 2 + place[0] ** 2) / (2 * 5.0**2)).astype(np.float32)
    level = warped(torch.from_numpy(rod)[None], Warp((-float(np.rad2deg(np.arctan(0.3))), 0.0, 0.0), 1.0, None), spacing)[0].numpy()
    rows = (level * place[1]).sum(axis=(0, 1)) / level.sum(axis=(0, 1))
    assert np.ptp(rows[20:76]) < 1.0, "the slanted rod lies level"


def test_bends_are_as_large_as_the_published_defaults_and_smooth():
    chance = np.random.default_rng(3)
    for dimensions, most in ((2, 0.035), (3, 0.025)):
        bends = [warp.bend for warp in (draw_warp(chance, dimensions, 1.0) for _ in range(400)) if warp.bend is not None]
        spread = np.array([bend.std() for bend in bends])
        assert 0.12 < len(bends) / 400 < 0.28
        assert spread.max() < most
        assert spread.mean() > most / 10
    scales = np.array([draw_scale(chance) for _ in range(2000)])
    assert scales.min() >= SCALE[0]
    assert scales.max() <= SCALE[1]
    assert all(abs(angle) <= LARGEST_TURN_DEG for _ in range(50) for angle in draw_warp(chance, 3, 1.0).turn_deg)


def test_without_augmentation_a_case_stays_as_it_is():
    case = made_case(3, False)
    seen = augmented(case, np.random.default_rng(1), replace(PLAN, augment=False))
    assert np.array_equal(seen.mri, case.mri)
    assert np.array_equal(seen.us, case.us)


def test_never_both_modalities_are_taken_never_the_only_one_and_never_the_phase_before_contrast():
    plan = a_plan(drop_mri=0.5, drop_ultrasound=0.5, drop_view=0.9)
    whole, mri_only = made_case(1, False), without(made_case(1, False), "ultrasound")
    kinds = set()
    for seed in SEEDS:
        seen = augmented(whole, np.random.default_rng(seed), plan)
        kinds.add((bool(seen.mri_present.any()), bool(seen.us_present.any())))
        alone = augmented(mri_only, np.random.default_rng(seed), plan)
        assert alone.mri_present[0].all()
        assert alone.mri_present[1:].any()
    assert kinds == {(True, False), (False, True)}
    assert without(mri_only, "mri").mri_present.any()


def test_a_case_at_the_bundled_size_is_made_faster_than_it_is_learnt_from():
    recipe = preset("compact")
    case = made_case(1, True, recipe)
    plan = a_plan(recipe=recipe)
    best = []
    for seed in range(12):
        begun = time.process_time()
        augmented(case, np.random.default_rng(seed), plan)
        best.append(time.process_time() - begun)
    assert np.median(best) < 0.4, "measured 0.08 s; a step takes about 1 s a case"
