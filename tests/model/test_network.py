"""The network as a whole: the tables' parameter counts, masks, independence of patients, both layouts."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest
import torch
from torch import nn

from breastai_model.network.net import BreastNet, Output
from breastai_model.prepare import Batch
from breastai_model.recipe import preset
from model_cases import a_batch, a_net


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@lru_cache
def built(name: str, **changes: Any) -> BreastNet:
    with torch.device("meta"):
        return BreastNet(preset(name, **({"head": "linear"} | changes)))


def table_total(net: BreastNet) -> float:
    """Return millions of parameters without the second merge, which the counts below do not have."""
    return (count(net) - count(net.merge_agnostic)) / 1e6


def test_paper_totals() -> None:
    """The designed counts of the three presets, to the printed digits."""
    net = built("paper")
    assert round(table_total(net), 2) == 146.65
    assert round(count(net.merge_agnostic) / 1e6, 3) == 0.525
    mri, us = net.mri, net.us
    assert [round(count(part) / 1e6, 3) for part in (mri.stem, mri.stage1, us.stem, us.stage1)] == [0.009, 0.436, 0.003, 0.215]
    assert [round(count(stage) / 1e6, 3) for stage in mri.agnostic.stages] == [2.398, 14.173, 29.114]
    assert [round(count(stage) / 1e6, 3) for stage in us.specific.stages] == [1.218, 7.095, 14.959]
    assert round((count(mri.specific) + count(mri.specific_reduce)) / 1e6, 3) == 46.738
    assert round((count(us.agnostic) + count(us.agnostic_reduce)) / 1e6, 3) == 24.325
    assert round(count(net.merge_specific) / 1e6, 3) == 0.525
    blocks = [round(count(block) / 1e3, 1) for block in net.mmaff.blocks]
    assert blocks == [392.7, 36.1, 36.1, 36.1, 123.0, 142.8, 142.8, 477.3, 557.8, 557.8]
    assert round(count(net.affinity) / 1e3, 1) == 131.6
    adversary = net.discriminators
    assert [round(count(part) / 1e3, 1) for part in (adversary.project_mri, adversary.project_ultrasound, adversary.modality)] == [
        262.7,
        262.7,
        164.5,
    ]
    assert round(count(net.heads) / 1e3, 1) == 9.2


@pytest.mark.parametrize(
    ("block", "parts"),
    [
        (0, (343.2, 11.9, 4.6, 33.0)),
        (1, (19.6, 11.9, 4.6, 0)),
        (4, (42.6, 54.5, 17.3, 8.6)),
        (7, (160.7, 215.6, 67.5, 33.5)),
        (9, (274.8, 215.6, 67.5, 0)),
    ],
)
def test_paper_staf_parts(block: int, parts: tuple[float, ...]) -> None:
    """SAGC, TA of both modalities, AFF and residual of each kind of STAF layer."""
    staf = built("paper").mmaff.blocks[block]
    residual = count(staf.residual) + count(staf.residual_norm) if staf.residual is not None else 0
    found = (count(staf.graph), count(staf.mri_time) + count(staf.us_time), count(staf.fusion), residual)
    assert tuple(round(number / 1e3, 1) for number in found) == parts


def test_paper_channels_total() -> None:
    """Only the stems grow; the lateral projections add 0.92 M a modality, which the table leaves out."""
    net = built("paper", layout="channels")
    extra = [count(streams.agnostic_reduce) - 2048 * 512 for streams in (net.mri, net.us)]
    assert [round(number / 1e6, 2) for number in extra] == [0.92, 0.92]
    assert round(table_total(net) - sum(extra) / 1e6, 2) == 146.72


def test_compact_and_tiny_totals() -> None:
    """The designed counts of the parts; the second channel of the MRI stem and the merge of the views' moments are counted below."""
    compact = built("compact", subtraction=False, specific_views="mean")
    assert round(table_total(compact), 2) == 3.82
    assert [round(count(block) / 1e3, 1) for block in compact.mmaff.blocks] == [74.2, 121.2, 475.5]
    assert round((count(compact.mri.agnostic) + count(compact.mri.agnostic_reduce)) / 1e6, 3) == 0.950
    assert round((count(compact.us.agnostic) + count(compact.us.agnostic_reduce)) / 1e6, 3) == 0.563
    assert round((count(built("compact", head="hidden").heads) - count(compact.heads)) / 1e6, 3) == 0.146
    channels = built("compact", layout="channels", subtraction=False)
    extra = sum(count(streams.agnostic_reduce) - 512 * 128 for streams in (channels.mri, channels.us))
    assert round(table_total(channels) - extra / 1e6, 2) == 3.83
    assert round(table_total(built("tiny", subtraction=False, specific_views="mean")), 2) == 0.95


def all_of(output: Output) -> torch.Tensor:
    parts = (output.logits.flatten(1), output.fused, output.agnostic_mri, output.agnostic_us, output.specific_mri, output.specific_us)
    return torch.cat(parts, dim=1)


def test_the_difference_from_the_phase_before_contrast_costs_the_first_convolution_alone() -> None:
    """One more input channel a phase, in the MRI stem only, for every preset and layout."""
    for name, kernel in (("paper", 7), ("compact", 5), ("tiny", 5)):
        for layout, phases in (("sequence", 1), ("channels", 5)) if name != "paper" else (("sequence", 1),):
            plain, both = built(name, layout=layout, subtraction=False), built(name, layout=layout, subtraction=True)
            assert count(both) - count(plain) == phases * plain.recipe.width * 3 * kernel * kernel
            assert count(both) - count(plain) == count(both.mri.stem) - count(plain.mri.stem)


def test_the_moments_of_the_views_cost_two_linear_maps() -> None:
    """Trend beside mean for both breasts: 2d more rows into d; spread beside mean for the angles: 2d into d, with bias."""
    for name, d in (("compact", 128), ("tiny", 64)):
        assert count(built(name)) - count(built(name, specific_views="mean")) == 2 * d * d + 2 * d * d + d
        assert count(built(name, layout="channels")) == count(built(name, layout="channels", specific_views="mean"))


def test_all_inputs_in_the_heads_cost_their_rows() -> None:
    """`head_inputs` "full": 5d instead of 3d into each of the three heads."""
    for name, d in (("paper", 512), ("compact", 128), ("tiny", 64)):
        assert count(built(name, head_inputs="full")) - count(built(name)) == 3 * (2 * d) * 2


LAYOUTS = [
    {},
    {"subtraction": True},
    {"layout": "channels"},
    {"layout": "channels", "subtraction": True},
    {"head_inputs": "full", "temporal_strides": (1, 2)},
]
SMALL: dict[str, Any] = {"mri_shape": (4, 16, 16), "us_shape": (16, 16)}


@pytest.mark.parametrize("changes", LAYOUTS)
def test_shapes_and_three_answers(changes: dict[str, Any]) -> None:
    recipe = preset("tiny", **changes)
    with torch.inference_mode():
        output = a_net(recipe)(a_batch(2, recipe))
    assert output.logits.shape == (2, 3, 2)
    assert output.fused.shape == output.specific_us.shape == output.agnostic_mri.shape == (2, 64)
    assert torch.isfinite(all_of(output)).all()
    assert (output.logits[0] - output.logits[1]).abs().min() > 1e-6


def absent(batch: Batch, what: str) -> Batch:
    mri, us = batch.mri_present.clone(), batch.us_present.clone()
    if what == "phase 1":
        mri[:, 0] = False
    elif what == "phase 3":
        mri[:, 2] = False
    elif what == "second breast":
        mri[:, :, 1] = False
    elif what == "angles":
        us[:, [0, 4, 11]] = False
    elif what == "mri":
        mri[:] = False
    else:
        us[:] = False
    return replace(batch, mri_present=mri, us_present=us)


@pytest.mark.parametrize("what", ["phase 1", "phase 3", "second breast", "angles", "mri", "ultrasound"])
@pytest.mark.parametrize(("changes", "training"), [*((changes, False) for changes in LAYOUTS), (LAYOUTS[1], True), (LAYOUTS[3], True)])
def test_whatever_stands_in_an_absent_array_the_output_is_identical(what: str, changes: dict[str, Any], training: bool) -> None:
    recipe = preset("tiny", dropout=0.0, **SMALL, **changes)
    batch = absent(a_batch(2, recipe), what)
    junk = replace(
        batch,
        mri=torch.where(batch.mri_present[..., None, None, None], batch.mri, float("nan")),
        us=torch.where(batch.us_present[..., None, None], batch.us, 1e9),
    )
    with torch.no_grad():
        first, second = (all_of(a_net(recipe).train(training)(each)) for each in (batch, junk))
        whole = all_of(a_net(recipe).train(training)(a_batch(2, recipe)))
    assert torch.equal(first, second)
    assert (first - whole).abs().max() > 1e-4, "leaving something out must be able to matter"


def test_an_absent_modality_gives_zero_features() -> None:
    with torch.inference_mode():
        output = a_net()(absent(a_batch(1), "mri"))
    assert not output.specific_mri.any()
    assert not output.agnostic_mri.any()
    assert output.specific_us.any()


def test_each_input_matters_and_time_has_a_direction() -> None:
    net, batch = a_net(), a_batch(1)
    with torch.inference_mode():
        here = net(batch).logits
        for other in (
            replace(batch, mri=batch.mri.flip(1)),
            replace(batch, mri=batch.mri.flip(2)),
            replace(batch, us=batch.us.flip(1)),
            replace(batch, us=batch.us[:, torch.randperm(12, generator=torch.Generator().manual_seed(3))]),
        ):
            assert (net(other).logits - here).abs().max() > 1e-6


@pytest.mark.parametrize("changes", [{"subtraction": True}, {"layout": "channels", "head_inputs": "full"}])
def test_batches_of_1_6_and_32_agree_and_companions_do_not_matter(changes: dict[str, Any]) -> None:
    recipe = preset("tiny", **SMALL, **changes)
    net, batch = a_net(recipe), a_batch(32, recipe)
    batch.us_present[3], batch.mri_present[4], batch.mri_present[5, 1] = False, False, False

    def at(members: slice) -> torch.Tensor:
        return all_of(net(Batch(batch.mri[members], batch.mri_present[members], batch.us[members], batch.us_present[members])))

    with torch.inference_mode():
        together = at(slice(0, 32))
        sixes = torch.cat([at(slice(start, start + 6)) for start in range(0, 30, 6)])
        alone = torch.cat([at(slice(n, n + 1)) for n in range(8)])
        companions = replace(
            batch, mri=torch.cat([batch.mri[:1], batch.mri[1:].flip(3)]), us=torch.cat([batch.us[:1], batch.us[1:].flip(1)])
        )
        others = all_of(net(companions))
    assert torch.equal(together[0], others[0])
    assert (together[:30] - sixes).abs().max() <= 1e-5
    assert (together[:8] - alone).abs().max() <= 1e-5


def test_activations_computed_again_change_nothing_and_are_not_kept() -> None:
    """Gradients and every batch norm's statistics are bitwise those of a pass that keeps all activations."""
    recipe = preset("tiny", **SMALL, dropout=0.0, depths=(2, 2, 1, 2))
    plain, again = a_net(recipe).train(), a_net(recipe).train()
    again.checkpoint_activations = True
    assert (plain.checkpoint_activations, again.checkpoint_activations) == (False, True)
    kept = []
    for net in (plain, again):
        sizes: dict[int, int] = {}

        def pack(tensor: torch.Tensor, sizes: dict[int, int] = sizes) -> torch.Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            output = net(a_batch(2, recipe))
        kept.append(sum(sizes.values()))
        output.logits.square().sum().backward()
    assert all(torch.equal(*pair) for pair in zip(plain.state_dict().values(), again.state_dict().values(), strict=True))
    for one, other in zip(plain.parameters(), again.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        assert one.grad is None or other.grad is None or torch.equal(one.grad, other.grad)
    assert kept[1] < 0.7 * kept[0]
    assert {norm.num_batches_tracked.item() for norm in again.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm)} == {1}
    assert {norm.momentum for norm in again.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm)} == {0.1}


def test_the_same_input_gives_the_same_bits() -> None:
    net, batch = a_net(), a_batch(1)
    with torch.inference_mode():
        assert torch.equal(all_of(net(batch)), all_of(net(batch)))


def test_gradients_reach_every_weight_that_the_losses_use() -> None:
    recipe = preset("tiny", head_inputs="full")
    net = a_net(recipe).train()
    output = net(a_batch(2, recipe))
    (output.logits.square().sum() + output.agnostic_mri.sum() + output.agnostic_us.sum()).backward()
    silent = [name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert [name for name in silent if not name.startswith("discriminators")] == []
    adversary = net.discriminators
    assert adversary.project_mri(output.specific_mri).shape == adversary.project_ultrasound(output.specific_us).shape == (2, 64)
    assert adversary.modality(output.agnostic_us).shape == (2, 2)


def test_a_batch_of_one_can_be_trained_on() -> None:
    net = a_net().train()
    net(absent(a_batch(1), "ultrasound")).logits.sum().backward()
    assert net.mri.stem.conv.weight.grad.abs().sum() > 0
