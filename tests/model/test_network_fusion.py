"""STAF, MMAFF, tokens and the whole forward pass, each against loops over frames, nodes, views and patients in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from breastai_model.network.mmaff import MMAFF
from breastai_model.network.net import SUBTRACTION_GAIN, BreastNet
from breastai_model.network.staf import SpatialGraphConvolution, STAFBlock
from breastai_model.network.tokens import TokenLayout, mirrored, token_layout
from breastai_model.recipe import preset
from model_cases import a_batch, a_net

if TYPE_CHECKING:
    from breastai_model.prepare import Batch

SMALL: dict[str, Any] = {"mri_shape": (4, 16, 16), "us_shape": (16, 16), "dropout": 0.0}


def random_numbers(module: Any, seed: int = 0) -> Any:
    """Give every parameter and statistic an arbitrary value, in float64 and eval mode."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    with torch.no_grad():
        for name, value in (*module.named_parameters(), *module.named_buffers()):
            if value.is_floating_point():
                drawn = torch.randn(value.shape, generator=generator, dtype=torch.float64) * 0.3
                value.copy_(drawn.abs() + 0.5 if "running_var" in name else drawn)
    return module


def some_tokens(layout: TokenLayout, channels: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Return two patients' tokens; the first misses a phase, a breast of another phase and two angles, the second the ultrasound."""
    mri = torch.ones(2, layout.mri_frames, layout.mri_nodes, dtype=torch.bool)
    us = torch.ones(2, layout.us_frames, layout.us_nodes, dtype=torch.bool)
    mri[0, -2], mri[0, 1, layout.us_nodes :] = False, False
    us[0, [0, layout.us_frames - 1]], us[1] = False, False
    present = layout.join(mri, us)
    values = torch.randn(2, channels, present.shape[1], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values * present[:, None], present


def test_tokens_lie_by_modality_frame_side_row_column() -> None:
    layout = TokenLayout(3, 4, 2)
    row = torch.arange(3 * 8 + 4 * 4)
    mri, us = layout.split(row)
    for frame in range(3):
        for side in range(2):
            for cell in range(4):
                assert mri[frame, side * 4 + cell] == (frame * 2 + side) * 4 + cell
    for frame in range(4):
        for cell in range(4):
            assert us[frame, cell] == 24 + frame * 4 + cell
    assert torch.equal(layout.join(mri, us), row)
    assert (layout.mri_nodes, layout.us_nodes, layout.nodes) == (8, 4, 12)
    assert layout.strided(2) == TokenLayout(2, 2, 2)
    assert layout.every(row, 2).tolist() == [*range(8), *range(16, 24), *range(24, 28), *range(32, 36)]


def test_tp_is_the_mean_over_a_nodes_present_frames() -> None:
    layout = TokenLayout(5, 12, 2)
    x, present = some_tokens(layout, 3)
    found, nodes = layout.time_mean(x, present), layout.node_present(present)
    for n in range(2):
        for v in range(12):
            places = [t * 8 + v for t in range(5)] if v < 8 else [40 + t * 4 + v - 8 for t in range(12)]
            here = [x[n, :, place] for place in places if present[n, place]]
            assert bool(nodes[n, v]) == bool(here)
            expected = torch.stack(here).mean(dim=0) if here else torch.zeros(3, dtype=torch.float64)
            assert torch.allclose(found[n, :, v], expected)


def test_messages_go_frame_by_frame_in_the_layout_channels() -> None:
    """Equation 6 of mapping B: index t is the same depth of both backbones."""
    recipe = preset("tiny", layout="channels")
    layout = token_layout(recipe)
    assert (layout.mri_frames, layout.us_frames) == (4, 4)
    block = random_numbers(SpatialGraphConvolution(8, 8, layout, recipe))
    x = torch.randn(1, 8, 48, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    present = torch.ones(1, 48, dtype=torch.bool)
    graph = block.graph(x, present)[0]
    mri, us = layout.split(block(x, present)[0])
    for t in range(4):
        frame = torch.cat([part[:, t] for part in layout.split(x[0])], dim=1)
        for u in range(12):
            total = torch.zeros(8, dtype=torch.float64)
            for p in range(3):
                theta = block.theta.weight[p * 8 : p * 8 + 8, :, 0] @ frame + block.theta.bias[p * 8 : p * 8 + 8, None]
                total = total + sum(graph[p, :, u, v] * theta[:, v] for v in range(12))
            norm = block.norm
            total = (total - norm.running_mean) / torch.sqrt(norm.running_var + 1e-5) * norm.weight + norm.bias
            found = mri[:, t, u] if u < 8 else us[:, t, u - 8]
            assert torch.allclose(found, torch.relu(total + frame[:, u]), atol=1e-12)


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(64, 64, 1), (16, 64, 1), (64, 64, 2)])
def test_staf_is_res_and_ta_of_sagc_joined_by_aff(inputs: int, outputs: int, stride: int) -> None:
    """out = ReLU( AFF( res(X), TA(SAGC(X)) ) ), absent positions zero before and after; frames of a stride are every second."""
    recipe = preset("tiny")
    layout = token_layout(recipe)
    block = random_numbers(STAFBlock(inputs, outputs, layout, stride, recipe))
    x, present = some_tokens(layout, inputs)
    found, after = block(x, present)
    messages = block.graph(x, present)
    m, v_m, v_u = 5 * 8, 8, 4
    mri = block.mri_time(messages[:, :, :m].reshape(2, outputs, 5, v_m), present[:, :m].reshape(2, 5, v_m))
    us = block.us_time(messages[:, :, m:].reshape(2, outputs, 12, v_u), present[:, m:].reshape(2, 12, v_u))
    x1, kept, here = [], [], []
    for t in range(0, 5, stride):
        for v in range(v_m):
            x1.append(mri[:, :, t // stride, v])
            kept.append(x[:, :, t * v_m + v])
            here.append(present[:, t * v_m + v])
    for t in range(0, 12, stride):
        for v in range(v_u):
            x1.append(us[:, :, t // stride, v])
            kept.append(x[:, :, m + t * v_u + v])
            here.append(present[:, m + t * v_u + v])
    mask = torch.stack(here, dim=1)
    assert torch.equal(after, mask)
    residual = torch.stack(kept, dim=2)
    if block.residual is not None:
        assert inputs != outputs or stride == 2
        norm = block.residual_norm
        residual = torch.einsum("oi,nil->nol", block.residual.weight[:, :, 0], residual) + block.residual.bias[:, None]
        scale = norm.weight / torch.sqrt(norm.running_var + 1e-5)
        residual = (residual - norm.running_mean[:, None]) * scale[:, None] + norm.bias[:, None]
    residual = residual * mask[:, None]
    joined = block.fusion(residual, torch.stack(x1, dim=2) * mask[:, None], mask)
    assert torch.allclose(found, torch.relu(joined) * mask[:, None], atol=1e-12)
    assert not found[~mask[:, None].expand_as(found)].any()


@pytest.mark.parametrize("strides", [(1, 1), (2, 1)])
def test_mmaff_is_its_blocks_and_the_mean_over_time(strides: tuple[int, int]) -> None:
    recipe = preset("tiny", temporal_strides=strides)
    mmaff = random_numbers(MMAFF(recipe))
    tokens, present = some_tokens(mmaff.layout, recipe.feature_width)
    junk = torch.where(present[:, None], tokens, 1e6)
    nodes, seen = mmaff(junk, present)
    x, here = tokens, present
    for block in mmaff.blocks:
        x, here = block(x, here)
    frames_m, frames_u = -(-5 // strides[0]), -(-12 // strides[0])
    for n in range(2):
        for v in range(12):
            places = [t * 8 + v for t in range(frames_m)] if v < 8 else [frames_m * 8 + t * 4 + v - 8 for t in range(frames_u)]
            values = [x[n, :, place] for place in places if here[n, place]]
            assert bool(seen[n, v]) == bool(values)
            if values:
                assert torch.allclose(nodes[n, :, v], torch.stack(values).mean(dim=0), atol=1e-12)
    assert not seen[1, 8:].any(), "the second patient has no ultrasound"


def test_rolling_the_tokens_of_the_angles_changes_the_fused_feature_at_most_1e_5() -> None:
    """S7: with stride 1 and the mirrored wrap the sweep has no beginning. It holds where the graph is the same in the mirror, as
    the prior graphs are that learning starts from; images that are their own mirror image keep the nodes' means."""
    recipe = preset("tiny", token_grid=3)
    torch.manual_seed(3)
    net = BreastNet(recipe).eval()
    layout = net.mmaff.layout
    assert not any(block.graph.beta.any() for block in net.mmaff.blocks)
    with torch.no_grad():
        for block in net.mmaff.blocks:
            block.graph.norm.weight.fill_(0.7)  # it starts at 1e-6, where the graph would say nothing
    tokens = torch.randn(1, recipe.feature_width, 5 * 18 + 12 * 9)
    mri, us = layout.split(tokens)
    us = us + us[..., mirrored(3)]
    present = torch.ones(1, tokens.shape[2], dtype=torch.bool)

    def fused(angles: Tensor) -> Tensor:
        with torch.inference_mode():
            feature: Tensor = net.affinity(*net.mmaff(layout.join(mri, angles), present))
        return feature

    here = fused(us)
    for steps in (1, 5, 11):
        rolled = torch.cat([us[:, :, steps:], us[:, :, :steps][..., mirrored(3)]], dim=2)
        assert (fused(rolled) - here).abs().max() <= 1e-5
    shuffled = us[:, :, torch.randperm(12, generator=torch.Generator().manual_seed(1))]
    assert (fused(shuffled) - here).abs().max() > 1e-3, "any other order may change more"


def by_loops(net: BreastNet, batch: Batch, n: int) -> dict[str, Tensor]:
    """Return the features of one patient, every view encoded by itself (layout "sequence")."""
    recipe = net.recipe
    g, d = recipe.token_grid**2, recipe.feature_width
    nothing = torch.zeros(d, dtype=torch.float64)
    specific, tokens = {}, {}
    for phase in range(recipe.phases):
        for side in range(2):
            if not batch.mri_present[n, phase, side]:
                continue
            channels = [batch.mri[n, phase, side]]
            if recipe.subtraction:
                known = bool(batch.mri_present[n, 0, side])
                change = (channels[0] - batch.mri[n, 0, side]) * SUBTRACTION_GAIN
                channels.append(change if known else torch.zeros_like(change))
            agnostic, own = net.mri(torch.stack(channels)[None])
            specific["mri", phase, side], tokens["mri", phase, side] = own[0], agnostic[0, 0]
    for angle in range(recipe.angles):
        if batch.us_present[n, angle]:
            agnostic, own = net.us(batch.us[n, angle][None, None])
            specific["us", angle, 0], tokens["us", angle, 0] = own[0], agnostic[0, 0]

    def mean(values: list[Tensor]) -> Tensor:
        return torch.stack(values).mean(dim=0) if values else nothing

    def of(kind: str, side: int, found: dict[tuple[str, int, int], Tensor]) -> list[Tensor]:
        return [value for key, value in found.items() if key[0] == kind and key[2] == side]

    cells = {key: value.mean(dim=1) for key, value in tokens.items()}
    has = {kind: any(key[0] == kind for key in tokens) for kind in ("mri", "us")}
    a_m = net.merge_agnostic(torch.cat([mean(of("mri", side, cells)) for side in (0, 1)])) if has["mri"] else nothing
    parts, s_u = [], mean(of("us", 0, specific))
    for side in (0, 1):
        parts.append(mean(of("mri", side, specific)))
        if net.merge_angles is not None:
            after = {key[1]: value for key, value in specific.items() if key[0] == "mri" and key[1] > 0 and key[2] == side}
            middle = sum(after) / len(after) if after else 0.0
            size = sum(abs(phase - middle) for phase in after)
            parts.append(sum((value * (phase - middle) / size for phase, value in after.items()), nothing) if size else nothing)
    s_m = net.merge_specific(torch.cat(parts)) if has["mri"] else nothing
    if net.merge_angles is not None and has["us"]:
        spread = torch.sqrt(torch.stack(of("us", 0, specific)).var(dim=0, correction=0) + 1e-6)
        s_u = net.merge_angles(torch.cat([s_u, spread]))
    a_u = mean(of("us", 0, cells))
    if net.norm_mri is not None and net.norm_us is not None:
        norms = (net.norm_mri, a_m, has["mri"]), (net.norm_us, a_u, has["us"])
        a_m, a_u = ((f - norm.running_mean) / torch.sqrt(norm.running_var + 1e-5) * there for norm, f, there in norms)
    row = [tokens.get(("mri", phase, side)) for phase in range(recipe.phases) for side in (0, 1)]
    row += [tokens.get(("us", angle, 0)) for angle in range(recipe.angles)]
    blank = torch.zeros(d, g, dtype=torch.float64)
    there = torch.tensor([value is not None for value in row]).repeat_interleave(g)
    fused = net.affinity(*net.mmaff(torch.cat([blank if v is None else v for v in row], dim=1)[None], there[None]))[0]
    joint = torch.cat([fused, s_m, s_u] if recipe.head_inputs == "specific" else [fused, a_m, s_m, a_u, s_u])
    logits = torch.stack([head(joint) for head in net.heads.values()])
    return {"logits": logits, "fused": fused, "agnostic_mri": a_m, "agnostic_us": a_u, "specific_mri": s_m, "specific_us": s_u}


@pytest.mark.parametrize(
    "changes",
    [{"subtraction": True}, {"head_inputs": "full", "head": "linear", "agnostic_norm": False}, {"token_grid": 1, "specific_views": "mean"}],
)
def test_the_forward_pass_is_the_definition_of_its_features(changes: dict[str, Any]) -> None:
    recipe = preset("tiny", **SMALL, **changes)
    net = a_net(recipe).double()
    batch = a_batch(3, recipe)
    batch = replace(batch, mri=batch.mri.double(), us=batch.us.double())
    batch.mri_present[0, 2], batch.mri_present[0, 0, 1], batch.mri_present[1] = False, False, False
    batch.us_present[0, [3, 7]], batch.us_present[2] = False, False
    batch.mri_present[2, 2:] = False  # one phase after contrast has no trend
    with torch.inference_mode():
        found = net(batch)
        for n in range(3):
            for name, expected in by_loops(net, batch, n).items():
                assert torch.allclose(getattr(found, name)[n], expected, atol=1e-10), (n, name)


def test_moments_tell_a_rising_from_a_falling_curve_and_a_mean_does_not() -> None:
    """What is private to the MRI and lies in the order of its phases reaches the specific feature by its trend alone."""
    for views in ("mean", "moments"):
        recipe = preset("tiny", **SMALL, specific_views=views, subtraction=False)
        net = a_net(recipe).double()
        batch = a_batch(1, recipe)
        batch = replace(batch, mri=batch.mri.double(), us=batch.us.double())
        turned = replace(batch, mri=batch.mri[:, [0, 4, 3, 2, 1]], us=batch.us.flip(1))
        with torch.inference_mode():
            one, other = net(batch), net(turned)
        assert ((one.specific_mri - other.specific_mri).abs().max() > 1e-6) == (views == "moments")
        assert torch.allclose(one.specific_us, other.specific_us, atol=1e-12), "the angles' order says nothing in either"


def test_the_layout_channels_stacks_views_and_takes_time_from_the_stages() -> None:
    """Mapping B: phases and angles are channels, absent ones blank; frame t is stage t + 1, pooled and projected to d."""
    recipe = preset("tiny", **SMALL, layout="channels", subtraction=True)
    net = a_net(recipe).double()
    batch = a_batch(1, recipe)
    batch = replace(batch, mri=batch.mri.double(), us=batch.us.double())
    batch.mri_present[0, 3], batch.us_present[0, 5] = False, False
    kept: dict[tuple[str, str, int], Tensor] = {}

    def tap(modality: str, branch: str, stage: int, activation: Tensor) -> Tensor:
        kept[modality, branch, stage] = activation
        return activation

    with torch.inference_mode():
        found = net(batch, tap)
        phases = [0.0 if p == 3 else 1.0 for p in range(5)]
        sides = [
            torch.stack(
                [
                    channel * phases[p]
                    for p in range(5)
                    for channel in (batch.mri[0, p, s], (batch.mri[0, p, s] - batch.mri[0, 0, s]) * SUBTRACTION_GAIN)
                ]
            )
            for s in (0, 1)
        ]
        agnostic, specific = net.mri(torch.stack(sides))
        us_views = batch.us[0] * torch.tensor([0.0 if a == 5 else 1.0 for a in range(12)])[:, None, None]
        us_agnostic, us_specific = net.us(us_views[None])
        for stage in range(4):
            pooled = nn.functional.adaptive_avg_pool3d(kept["mri", "agnostic", stage + 1], (1, 2, 2)).flatten(2)
            weight = net.mri.agnostic_reduce[stage].weight.flatten(1)
            assert torch.allclose(agnostic[:, stage], torch.einsum("oi,sic->soc", weight, pooled), atol=1e-12)
        assert torch.allclose(found.specific_mri[0], net.merge_specific(specific.flatten()), atol=1e-12)
        assert torch.allclose(found.specific_us[0], us_specific[0], atol=1e-12)
        tokens = torch.cat(
            [agnostic[s, stage] for stage in range(4) for s in (0, 1)] + [us_agnostic[0, stage] for stage in range(4)], dim=1
        )
        fused = net.affinity(*net.mmaff(tokens[None], torch.ones(1, 48, dtype=torch.bool)))
        assert torch.allclose(found.fused, fused, atol=1e-12)
