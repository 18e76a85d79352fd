"""Heatmaps: their definitions by a slow way, and their place in the patient."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from breastai_model.case import MAP_KINDS, STREAMS, TASKS
from breastai_model.inference.heatmap import (
    LAST_STAGE,
    Recorder,
    StreamMaps,
    averaged,
    enlarged,
    normalised,
    put_back,
    put_back_phases,
    read_maps,
)
from breastai_model.inference.uniform import uniform_response
from breastai_model.network.resnet_v2 import Stage, Stem
from breastai_model.prepare import collate, prepare
from breastai_model.recipe import preset
from model_cases import LESION_MM, a_batch, a_case, a_net, without_mri, without_ultrasound

TINY = preset("tiny")


def test_a_recorder_changes_no_answer() -> None:
    net, batch = a_net().requires_grad_(requires_grad=False), a_batch(1)
    output, _ = read_maps(net, batch)
    with torch.inference_mode():
        assert torch.equal(net(batch).logits, output.logits.detach())


@pytest.mark.parametrize("changes", [{}, {"layout": "channels"}])
def test_gradients_are_those_of_finite_differences(changes: dict[str, Any]) -> None:
    """A small change of an activation moves the log-odds as its gradient says, through MMAFF and affinity."""
    recipe = preset("tiny", **changes)
    net = a_net(recipe).double().requires_grad_(requires_grad=False)
    batch = a_batch(1, recipe)
    batch = replace(batch, mri=batch.mri.double(), us=batch.us.double())
    recorder = Recorder(uniform_response(net))
    with torch.enable_grad():
        logits = net(batch, recorder).logits[0]
    generator = torch.Generator().manual_seed(0)
    for key in (("mri", "agnostic", 2), ("mri", "specific", 4), ("us", "agnostic", 3), ("us", "specific", 2)):
        gradient = torch.autograd.grad(logits[1, 1] - logits[1, 0], recorder.activations[key], retain_graph=True)[0]
        direction = torch.randn(gradient.shape, generator=generator, dtype=torch.float64)

        def moved(step: float, key: tuple[str, str, int] = key, direction: torch.Tensor = direction) -> float:
            def tap(modality: str, branch: str, stage: int, activation: torch.Tensor) -> torch.Tensor:
                return activation + step * direction if (modality, branch, stage) == key else activation

            with torch.inference_mode():
                found = net(batch, tap).logits[0]
            return float(found[1, 1] - found[1, 0])

        step = 1e-8  # kinks of ReLU and max-pool lie close together in noise
        slope = (moved(step) - moved(-step)) / (2 * step)
        assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-4, abs=1e-8)


def salient(activation: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Return what counts of an activation (M, C, *space), channel by channel."""
    rest = torch.zeros_like(activation)
    for channel in range(activation.shape[1]):
        values = activation.detach()[:, channel]
        most = (values.numel() - 1) ** 0.5
        common = values.mean() + min(4.0, most / 3) * values.std(correction=0)
        rest[:, channel] = (activation.detach()[:, channel] - torch.maximum(uniform[:, channel], common)).relu()
    return rest


def test_maps_are_as_defined() -> None:
    """Feature and task map of every stream from activations and gradients taken the long way round."""
    net, batch = a_net(), a_batch(1)
    batch = replace(batch, mri_present=batch.mri_present.clone(), us_present=batch.us_present.clone())
    batch.mri_present[0, 3] = False
    batch.us_present[0, [1, 5]] = False
    _, maps = read_maps(net.requires_grad_(requires_grad=False), batch)
    uniform = uniform_response(net)
    kept: dict[tuple[str, str, int], torch.Tensor] = {}

    def tap(modality: str, branch: str, stage: int, activation: torch.Tensor) -> torch.Tensor:
        activation.retain_grad()
        kept[modality, branch, stage] = activation
        return activation

    logits = net.requires_grad_(requires_grad=True)(batch, tap).logits[0]
    (logits[2, 1] - logits[2, 0]).backward()
    for branch in ("agnostic", "specific"):
        logs: dict[str, list[torch.Tensor]] = {name: [] for name in ("feature mri", "task mri", "feature us", "task us")}
        for stage in (1, 2, 3, 4):
            a = kept["mri", branch, stage]
            rest = salient(a, uniform["mri", branch, stage])
            strides = (2 ** (stage - 1), 2 ** (stage + 1), 2 ** (stage + 1))
            b = kept["us", branch, stage]
            other = salient(b, uniform["us", branch, stage])
            found = {
                "feature mri": (rest.norm(dim=1).reshape(4, 2, *a.shape[2:]).mean(dim=0), TINY.mri_shape, strides),
                "task mri": ((rest * a.grad).sum(dim=1).relu().reshape(4, 2, *a.shape[2:]).mean(dim=0), TINY.mri_shape, strides),
                "feature us": (other.norm(dim=1), TINY.us_shape, strides[1:]),
                "task us": ((other * b.grad).sum(dim=1).relu(), TINY.us_shape, strides[1:]),
            }
            for name, (values, shape, steps) in found.items():
                if stage > 1 or name.startswith("feature"):
                    logs[name].append(torch.log(normalised(enlarged(values, shape, steps)[None].detach())[0] + 0.02))
        wanted = {name: torch.stack(each).mean(dim=0).exp() - 0.02 for name, each in logs.items()}
        wanted = {name: normalised(each[None])[0] for name, each in wanted.items()}
        wanted = {name: each / (1 + each) for name, each in wanted.items()}
        assert np.allclose(maps.mri[branch][0], wanted["feature mri"], atol=1e-4)
        assert np.allclose(maps.mri[branch][3], wanted["task mri"], atol=1e-4)
        assert np.allclose(maps.us[branch][0], wanted["feature us"], atol=1e-4)
        assert np.allclose(maps.us[branch][3], wanted["task us"], atol=1e-4)
    assert maps.us["agnostic"].shape == (4, 10, 32, 32)


def test_maps_of_single_phases_are_as_defined_on_one_scale() -> None:
    """The feature map of every phase that was given, the long way round; one of them absent, one breast alone."""
    net, batch = a_net().requires_grad_(requires_grad=False), a_batch(1)
    batch = replace(batch, mri_present=batch.mri_present.clone())
    batch.mri_present[0, 3] = False
    batch.mri_present[0, :, 1] = False
    _, maps = read_maps(net, batch, by_phase=True)
    assert maps.us is None
    uniform, kept = uniform_response(net), {}

    def tap(modality: str, branch: str, stage: int, activation: torch.Tensor) -> torch.Tensor:
        kept[modality, branch, stage] = activation
        return activation

    with torch.inference_mode():
        net(batch, tap)
    for branch in ("agnostic", "specific"):
        logs = []
        for stage in (1, 2, 3, 4):
            norm = salient(kept["mri", branch, stage], uniform["mri", branch, stage]).norm(dim=1)  # (four phases, slice, row, column)
            large = enlarged(norm, TINY.mri_shape, (2 ** (stage - 1), 2 ** (stage + 1), 2 ** (stage + 1)))
            logs.append(torch.log(normalised(large[None])[0] + 0.02))
        whole = normalised((torch.stack(logs).mean(dim=0).exp() - 0.02)[None])[0]
        assert maps.mri[branch].shape == (4, 4, 2, *TINY.mri_shape)
        assert np.allclose(maps.mri[branch][0, :, 0], whole / (1 + whole), atol=1e-4)
        assert not maps.mri[branch][:, :, 1].any(), "nothing in the breast that is not there"
        phases = maps.mri[branch][0, :, 0]
        assert len({each.tobytes() for each in phases}) == 4
        most = phases.max(axis=(1, 2, 3))
        assert most.max() > 0.4
        assert most.min() < most.max(), "one scale: a phase that shows less has a weaker map"


def test_maps_of_single_phases_go_back_like_their_mean() -> None:
    case = a_case(side="right")
    prepared = prepare(case, TINY)
    values = np.zeros((4, 5, 2, *TINY.mri_shape), dtype=np.float32)
    values += np.arange(1, 6, dtype=np.float32)[:, None, None, None, None] / 10
    values[:, :, 0, 3, 4, 5] = 1
    once = StreamMaps({"agnostic": values, "specific": values}, None, dict.fromkeys(STREAMS, 1.0))
    swapped = StreamMaps({name: each[:, :, ::-1] for name, each in (once.mri or {}).items()}, None, dict.fromkeys(STREAMS, 1.0))
    found = put_back_phases(prepared, averaged(once, swapped))
    assert found is not None
    assert found.phases == prepared.inputs.phases
    assert found.mri_agnostic.shape == (4, 5, TINY.mri_shape[0], TINY.mri_shape[1], 2 * TINY.mri_shape[2])
    for phase in range(5):
        one = StreamMaps({name: each[:, phase] for name, each in (once.mri or {}).items()}, None, dict.fromkeys(STREAMS, 1.0))
        assert np.array_equal(found.mri_agnostic[:, phase], put_back(prepared, one).mri_agnostic)
    assert np.array_equal(found.mri_affine, put_back(prepared, once).mri_affine)
    assert put_back_phases(prepared, StreamMaps(None, None, dict.fromkeys(STREAMS, 1.0))) is None


def test_last_stage_maps_are_those_of_the_last_stage_alone() -> None:
    net, batch = a_net().requires_grad_(requires_grad=False), a_batch(1)
    _, last = read_maps(net, batch, stages=LAST_STAGE)
    recorder = Recorder({}, LAST_STAGE)
    with torch.enable_grad():
        logits = net(batch, recorder).logits[0]
    a = recorder.activations["us", "specific", 4]
    (gradient,) = torch.autograd.grad(logits[0, 1] - logits[0, 0], a)
    rest = salient(a, uniform_response(net)["us", "specific", 4])
    feature, task = rest.norm(dim=1), (rest * gradient).sum(dim=1).relu()
    for kind, values in ((0, feature), (1, task)):
        whole = normalised(enlarged(values[None], TINY.us_shape, (32, 32)))[0]
        assert whole.any()
        assert np.allclose(last.us["specific"][kind], whole / (1 + whole), atol=1e-5)


@pytest.mark.parametrize("layout", ["sequence", "channels"])
def test_a_picture_without_content_has_no_map_and_its_edges_none(layout: str) -> None:
    """Padding makes edges of every image; only what lies above that is shown."""
    recipe = preset("tiny", mri_shape=(8, 64, 64), us_shape=(64, 64), layout=layout)
    net, batch = a_net(recipe).requires_grad_(requires_grad=False), a_batch(1, recipe)
    plain = replace(batch, mri=torch.full_like(batch.mri, 0.5), us=torch.full_like(batch.us, 0.5))
    _, maps = read_maps(net, plain)
    assert not maps.mri["agnostic"].any()
    assert not maps.us["specific"].any()
    assert min(maps.energy.values()) > 0, "though the network answers to it"
    dot = plain.us.clone()
    dot[..., 28:36, 28:36] = 1.0
    _, maps = read_maps(net, replace(plain, us=dot))
    row, column = np.unravel_index(maps.us["agnostic"][0, 0].argmax(), (64, 64))
    assert abs(row - 32) <= 16
    assert abs(column - 32) <= 16


def test_normalising_divides_by_the_percentile() -> None:
    values = torch.stack([torch.arange(1000.0), torch.zeros(1000), torch.eye(1000)[3]]).reshape(3, 10, 100)
    made = normalised(values.clone()).reshape(3, 1000)
    assert torch.allclose(made[0], torch.arange(1000.0) / 995), "not cut: equal maxima would point nowhere"
    assert not made[1].any()
    assert made[2, 3] == 1, "where the percentile is 0, by the largest value"
    assert made[2].sum() == 1


def test_a_cell_is_put_where_the_network_looked() -> None:
    """The middle of what a cell of each stage sees is index x stride: measured on the real blocks by their gradients."""
    recipe = preset("tiny", us_shape=(128, 128))
    torch.manual_seed(0)
    blocks: list[torch.nn.Module] = [
        Stem(2, 1, recipe),
        Stage(2, 8, 8, 1, 1),
        Stage(2, 32, 16, 1, 2),
        Stage(2, 64, 32, 1, 2),
        Stage(2, 128, 64, 1, 2),
    ]
    for block in blocks:
        for name, parameter in block.named_parameters():
            if "conv" in name or "shortcut" in name:
                torch.nn.init.constant_(parameter, 0.1)
    image = torch.ones(1, 1, 128, 128, requires_grad=True)
    x = image
    for number, block in enumerate(blocks):
        x = block.eval()(x)
        if number < 2:
            continue
        stride = 2 ** (number + 1)
        cell = 64 // stride
        (gradient,) = torch.autograd.grad(x[0, :, cell, cell].sum(), image, retain_graph=True)
        # The pool hands its gradient to one of equal inputs, so the middle is known to about a pixel.
        rows = gradient[0, 0].abs().sum(dim=1)
        middle = float((rows * torch.arange(128)).sum() / rows.sum())
        assert middle == pytest.approx(cell * stride, abs=2.0)
        spot = torch.zeros(x.shape[2:])
        spot[cell, cell] = 1
        assert enlarged(spot[None], (128, 128), (stride, stride))[0].argmax() == 128 * cell * stride + cell * stride


def test_both_breasts_go_back_unmirrored_and_images_in_their_own_order() -> None:
    """A map that is 1 where the lesion is comes out at the lesion, in mm, and each angle at its own image."""
    compact = preset("compact")
    for side, lesion in (("left", LESION_MM), ("right", LESION_MM * (-1, 1, 1))):
        case = a_case(side=side, angles_deg=(45.0, 0.0, 15.0, 30.0, *(15.0 * n for n in range(4, 12))))
        prepared = prepare(case, compact)
        assert prepared.us_slots[:4] == (3, 0, 1, 2)
        column = np.linalg.solve(prepared.mri_affine, [*lesion, 1.0])[:3].round().astype(int)
        inside = column[2] - 96 if side == "left" else 95 - column[2]
        values = np.zeros((4, 2, 24, 96, 96), dtype=np.float32)
        values[:, 0, column[0], column[1], inside] = 1
        angles = np.zeros((4, 12, 128, 128), dtype=np.float32) + np.arange(12, dtype=np.float32)[:, None, None] / 12
        energy = dict(zip(STREAMS, (3.0, 1.0, 2.0, 2.0), strict=True))
        heatmaps = put_back(
            prepared, StreamMaps({"agnostic": values, "specific": values}, {"agnostic": angles, "specific": angles}, energy)
        )
        assert heatmaps.mri_agnostic.shape == (4, 24, 96, 192)
        assert heatmaps.mri_agnostic.dtype == np.float16
        found = heatmaps.mri_affine @ [*np.argwhere(heatmaps.mri_agnostic[0] == 1)[0], 1.0]
        assert np.allclose(found[:3], lesion, atol=3.0)
        assert np.allclose(heatmaps.us_agnostic[0, :4, 0, 0], np.array([3, 0, 1, 2]) / 12, atol=1e-3)
        assert heatmaps.energy_share == {"mri_agnostic": 0.375, "mri_specific": 0.125, "us_agnostic": 0.25, "us_specific": 0.25}
        assert heatmaps.us_boxes == ((-10.0, 0.0, 80.0, 80.0),) * 12


@pytest.mark.parametrize("case", [a_case(), without_mri(), without_ultrasound(), a_case(breasts=frozenset(("left",)))])
def test_every_present_stream_has_its_four_kinds_and_absent_ones_none(case: Any) -> None:
    prepared = prepare(case, TINY)
    _, maps = read_maps(a_net().requires_grad_(requires_grad=False), collate([prepared]))
    heatmaps = put_back(prepared, maps)
    for stream in STREAMS:
        values = heatmaps.stream(stream)
        absent = case.dce is None if stream.startswith("mri") else not case.ultrasound
        assert (values is None) == absent
        if values is None:
            assert heatmaps.energy_share[stream] == 0
            continue
        assert len(values) == len(MAP_KINDS) == 1 + len(TASKS)
        assert values.min() >= 0
        assert values.max() <= 1
        assert values[0].max() > 0.4, "half stands for the 99.5th percentile"
        assert len({values[kind].tobytes() for kind in range(4)}) == 4, "each task has its own map"
    assert sum(heatmaps.energy_share.values()) == pytest.approx(1.0)
    if case.dce is not None and len(case.breasts) == 1:
        assert not heatmaps.mri_agnostic[..., :32].any(), "nothing in the breast that is not there"
        assert heatmaps.mri_agnostic[..., 32:].any()


def test_two_orders_are_averaged_breast_by_breast() -> None:
    first = np.zeros((4, 2, 1, 1, 1), dtype=np.float32)
    first[:, 0] = 1
    second = first.copy()
    maps = [StreamMaps({"agnostic": values, "specific": values}, None, dict.fromkeys(STREAMS, 1.0)) for values in (first, second)]
    mean = averaged(*maps)
    assert np.allclose(mean.mri["agnostic"], 0.5), "the second pass has its breasts in the other order"
