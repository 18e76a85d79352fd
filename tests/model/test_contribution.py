"""Contributions: they add up to the answer, and are the Shapley and Owen values of a slow, literal computation."""

from __future__ import annotations

import copy
import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from breastai_model.case import TASKS
from breastai_model.inference.contribution import Subsets, contributions, even_odds
from breastai_model.inference.predict import Predictor
from breastai_model.prepare import Prepared, collate, prepare
from breastai_model.recipe import preset
from model_cases import a_case, a_net, a_weights_file, without_mri, without_ultrasound

if TYPE_CHECKING:
    from pathlib import Path

    from breastai_model.case import Case

SMALL = preset("tiny", mri_shape=(4, 16, 16), us_shape=(16, 16), subtraction=False)


def masked(prepared: Prepared, phases: Any, angles: Any) -> Prepared:
    """Return a case with all other phases and angles absent, and noise in their place."""
    mri, us = prepared.mri_present.copy(), prepared.us_present.copy()
    mri[[slot for slot in range(len(mri)) if slot not in phases]] = False
    us[[slot for slot in range(len(us)) if slot not in angles]] = False
    return replace(prepared, mri_present=mri, us_present=us)


def log_odds(net: Any, prepared: Prepared) -> np.ndarray:
    with torch.inference_mode():
        logits = net(collate([prepared])).logits[0].double()
    return (logits[:, 1] - logits[:, 0]).numpy()


@pytest.mark.parametrize("changes", [{}, {"layout": "channels"}])
def test_a_subset_is_the_network_with_the_rest_absent(changes: dict[str, Any]) -> None:
    recipe = replace(SMALL, **changes)
    net, prepared = a_net(recipe), prepare(a_case(), recipe)
    subsets = Subsets(net, prepared)
    every = tuple(range(12))
    shown = [((0, 1, 2, 3, 4), every), ((0, 1, 2, 3, 4), ()), ((), every)]
    if not changes:
        shown += [((0, 3), (2, 5, 11)), ((2,), ()), ((), (7,))]
    for phases, angles in shown:
        assert np.allclose(subsets(phases, angles), log_odds(net, masked(prepared, phases, angles)), atol=1e-5)
    assert np.allclose(log_odds(net, prepared), subsets(*shown[0]), atol=1e-5), "the network itself is as it was"


def test_what_the_phase_before_contrast_adds_is_its_own_picture_and_not_the_differences() -> None:
    """With `subtraction`, the phase before contrast left out is still what the other phases are compared with."""
    recipe = replace(SMALL, subtraction=True)
    net, prepared = a_net(recipe), prepare(a_case(), recipe)
    compared = copy.deepcopy(net)
    everything = torch.from_numpy(prepared.mri_present)[None]
    compared._derived = lambda mri, _present: net._derived(mri, everything)
    subsets = Subsets(net, prepared)
    for phases in ((1, 2, 3, 4), (3,), (0, 2)):
        without = masked(prepared, phases, (2, 5))
        assert np.allclose(subsets(phases, (2, 5)), log_odds(compared, without), atol=1e-5)
    absent = log_odds(net, masked(prepared, (1, 2, 3, 4), (2, 5)))
    assert np.abs(subsets((1, 2, 3, 4), (2, 5)) - absent).max() > 1e-4, "a phase that was never there leaves no difference either"
    found = contributions(net, prepared, even_odds())
    assert np.allclose(np.array(found.mri) + found.ultrasound, log_odds(net, prepared), atol=1e-5)


def test_modalities_have_their_shapley_values_and_phases_their_owen_values() -> None:
    net, prepared = a_net(SMALL), prepare(three_angles(), SMALL)
    base = np.array([0.3, -0.2, 0.1])
    found = contributions(net, prepared, base)
    phases, angles = tuple(range(5)), tuple(int(slot) for slot in np.flatnonzero(prepared.us_present))

    def v(mri: Any, us: Any) -> np.ndarray:
        return log_odds(net, masked(prepared, mri, us)) if mri or us else base

    shapley = (v(phases, ()) - base + v(phases, angles) - v((), angles)) / 2
    assert np.allclose(found.mri, shapley, atol=1e-5)
    assert np.allclose(np.array(found.base) + found.mri + found.ultrasound, v(phases, angles), atol=1e-5)
    # Owen's value of one angle, from the definition: orders in which each modality's players stay together.
    player = angles[1]
    total = []
    for rest in ((), phases):
        for order in itertools.permutations(angles):
            before = order[: order.index(player)]
            total.append(v(rest, (*before, player)) - v(rest, before))
    assert dict(found.angles)[1] == pytest.approx(np.mean(total, axis=0), abs=1e-5)
    assert [name for name, _ in found.phases] == [0, 1, 2, 3, 4]
    assert found.angle_error == 0, "three angles: every order counts"


def three_angles(**changes: Any) -> Case:
    """Few players, so that every order counts and little is computed."""
    return a_case(ultrasound=a_case().ultrasound[:3], ultrasound_spacing_mm=(None,) * 3, angles_deg=(0.0, 60.0, 120.0), **changes)


def test_sampled_angles_add_up_and_lie_near_the_exact_values(monkeypatch: pytest.MonkeyPatch) -> None:
    images = a_case().ultrasound[:6]
    case = a_case(ultrasound=images, ultrasound_spacing_mm=(None,) * 6, angles_deg=tuple(30.0 * n for n in range(6)))
    net, prepared = a_net(SMALL), prepare(case, SMALL)
    sampled = contributions(net, prepared, even_odds())
    again = contributions(net, prepared, even_odds())
    assert sampled.angles == again.angles, "drawn from a fixed seed"
    assert np.allclose(sum(np.array(numbers) for _, numbers in sampled.angles), sampled.ultrasound, atol=1e-9)
    assert sampled.angle_error > 0
    monkeypatch.setattr("breastai_model.inference.contribution.MOST_EXACT", 6)
    exact = contributions(net, prepared, even_odds())
    for (name, numbers), (other, truth) in zip(sampled.angles, exact.angles, strict=True):
        assert name == other
        assert np.abs(np.subtract(numbers, truth)).max() < 4 * sampled.angle_error


def test_an_input_that_matters_alone_gets_all(tmp_path: Path) -> None:
    """With the ultrasound's part of the heads at 0 and no fusion the answer rests on the MRI; absent modalities get None."""
    net = a_net(SMALL)
    d = SMALL.feature_width
    with torch.no_grad():
        for head in net.heads.values():
            head[0].weight[:, :d] = 0
            head[0].weight[:, 2 * d :] = 0
    prepared = prepare(three_angles(), SMALL)
    found = contributions(net, prepared, log_odds(net, masked(prepared, (), ())))
    assert np.allclose(found.ultrasound, 0, atol=1e-6)
    assert np.abs(found.mri).max() > 1e-3
    assert np.allclose([numbers for _, numbers in found.angles], 0, atol=1e-6)
    predictor = Predictor(a_weights_file(tmp_path, SMALL), device="cpu")
    alone = predictor.contributions(without_ultrasound())
    assert alone.ultrasound is None
    assert alone.angles == ()
    only = predictor.contributions(without_mri())
    assert only.mri is None
    assert len(only.angles) == 12


@pytest.mark.parametrize("changes", [{}, {"layout": "channels"}])
def test_the_predictor_explains_the_answer_that_it_gave(tmp_path: Path, changes: dict[str, Any]) -> None:
    recipe = replace(SMALL, temperatures=(1.0, 2.0, 0.5), **changes)
    predictor = Predictor(a_weights_file(tmp_path, recipe), device="cpu")
    prediction, found = predictor.predict(three_angles(), maps="none"), predictor.contributions(three_angles())
    assert prediction.contributions is None, "the answer does not wait for them"
    for task, name in enumerate(TASKS):
        odds = found.base[task] + found.mri[task] + found.ultrasound[task]
        assert 1 / (1 + math.exp(-odds)) == pytest.approx(prediction.task(name).probability, abs=1e-5)
    assert bool(found.phases) == (not changes), "stacked into channels, phases cannot be told apart"
    unknown = predictor.contributions(three_angles(side=None))
    left, right = (predictor.contributions(three_angles(side=side)) for side in ("left", "right"))
    assert np.allclose(unknown.mri, (np.array(left.mri) + right.mri) / 2, atol=1e-6)
