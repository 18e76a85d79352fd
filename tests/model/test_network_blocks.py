"""Each block against a slow, literal computation of its equation in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from breastai_model.network.affinity import AffinityPooling, affinity
from breastai_model.network.masked_norm import MaskedNorm
from breastai_model.network.resnet_v2 import Bottleneck, Stem
from breastai_model.network.staf import AttentionalFusion, SpatialGraphConvolution, STAFBlock
from breastai_model.network.temporal import TemporalAttention, continued, kernel_and_dilation
from breastai_model.network.tokens import TokenLayout, mirrored, prior_topologies
from breastai_model.recipe import Recipe, preset

GRID = 2
LAYOUT = TokenLayout(5, 12, GRID)
LENGTH = 5 * 8 + 12 * 4


def random_numbers(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter and statistic an arbitrary value, in float64 and eval mode."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    with torch.no_grad():
        for name, value in (*module.named_parameters(), *module.named_buffers()):
            if value.is_floating_point():
                drawn = torch.randn(value.shape, generator=generator, dtype=torch.float64) * 0.4
                value.copy_(drawn.abs() + 0.5 if "running_var" in name else drawn)
    return module


def some_tokens(channels: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Return one patient's tokens with a phase, a breast of another phase and two angles absent."""
    generator = torch.Generator().manual_seed(seed)
    mri, us = torch.ones(1, 5, 8, dtype=torch.bool), torch.ones(1, 12, 4, dtype=torch.bool)
    mri[0, 3], mri[0, 1, 4:] = False, False
    us[0, [2, 7]] = False
    present = LAYOUT.join(mri, us)
    return torch.randn(1, channels, LENGTH, generator=generator, dtype=torch.float64) * present[:, None], present


def frames_of(row: Tensor) -> dict[tuple[str, int, int], Tensor]:
    """Return (modality, frame, node) to that token's values, in the documented order."""
    found = {}
    for index in range(row.shape[-1]):
        if index < 40:
            found["mri", index // 8, index % 8] = row[..., index]
        else:
            found["us", (index - 40) // 4, 8 + (index - 40) % 4] = row[..., index]
    return found


def bn(norm: MaskedNorm, value: Tensor) -> Tensor:
    scaled = (value - norm.running_mean) / torch.sqrt(norm.running_var + 1e-5)
    return scaled * norm.weight + norm.bias if norm.weight is not None else scaled


def linear(conv: nn.Conv1d, value: Tensor, rows: slice = slice(None)) -> Tensor:
    return conv.weight[rows, :, 0] @ value + conv.bias[rows]


def test_sagc_is_equations_4_to_6() -> None:
    inputs, outputs = 16, 12
    block = random_numbers(SpatialGraphConvolution(inputs, outputs, LAYOUT, preset("tiny", token_grid=GRID)))
    x, present = some_tokens(inputs)
    values, here = frames_of(x[0]), frames_of(present[0])
    relation = inputs // 8 if inputs // 8 >= 4 else 4

    def frames(node: int) -> list[tuple[str, int, int]]:
        return [key for key in values if key[2] == node and here[key]]

    nodes = range(12)
    tp = [torch.stack([values[key] for key in frames(v)]).mean(dim=0) for v in nodes]
    expected = {}
    for modality, frame, u in values:
        if not here[modality, frame, u]:
            expected[modality, frame, u] = torch.zeros(outputs, dtype=torch.float64)
            continue
        total = torch.zeros(outputs, dtype=torch.float64)
        for p in range(3):
            small, large = slice(p * relation, (p + 1) * relation), slice(p * outputs, (p + 1) * outputs)
            for v in nodes:
                q = torch.tanh(linear(block.phi, tp[u], small) - linear(block.psi, tp[v], small))
                a = block.beta * (block.xi.weight[large, :, 0] @ q + block.xi.bias[large]) + block.topology[p, u, v]
                if (v < 8) == (modality == "mri"):
                    theta = linear(block.theta, values[modality, frame, v], large) if here[modality, frame, v] else torch.zeros(outputs)
                else:
                    theta = torch.stack([linear(block.theta, values[key], large) for key in frames(v)]).mean(dim=0)
                total = total + a * theta
        down = bn(block.down_norm, linear(block.down, values[modality, frame, u]))
        expected[modality, frame, u] = torch.relu(bn(block.norm, total) + down)
    found = frames_of(block(x, present)[0])
    assert max(float((found[key] - expected[key]).abs().max().detach()) for key in found) < 1e-12


def test_sagc_starts_from_the_prior_graph_alone() -> None:
    block = SpatialGraphConvolution(16, 16, LAYOUT, preset("tiny"))
    graph = block.graph(*(part.float() if part.is_floating_point() else part for part in some_tokens(16)))
    assert block.beta.item() == 0
    assert torch.equal(graph, block.topology[None, :, None].expand_as(graph))
    assert torch.all(block.norm.weight == 1e-6)


def test_prior_topologies_are_self_neighbours_and_the_other_modality() -> None:
    loops, near, across = prior_topologies(3)
    assert torch.equal(loops, torch.eye(27))
    middle, corner = 4, 0
    assert near[middle].nonzero().flatten().tolist() == [1, 3, 5, 7, 13]
    assert near[corner].nonzero().flatten().tolist() == [1, 3, 9]
    assert near[18 + 4].nonzero().flatten().tolist() == [19, 21, 23, 25]
    assert across[0].nonzero().flatten().tolist() == list(range(18, 27))
    assert across[20].nonzero().flatten().tolist() == list(range(18))
    for graph in (loops, near, across):
        assert torch.allclose(graph.sum(dim=1), torch.ones(27))


def test_aff_is_equations_8_and_9() -> None:
    channels = 16
    block = random_numbers(AttentionalFusion(channels, LAYOUT, preset("tiny")))
    x, present = some_tokens(channels, 1)
    x1, _ = some_tokens(channels, 2)
    z, here = frames_of((x + x1)[0]), frames_of(present[0])
    time_means = [torch.stack([z[key] for key in z if key[2] == v and here[key]]).mean(dim=0) for v in range(12)]
    whole = torch.stack(time_means).mean(dim=0)

    def group_norm(norm: nn.GroupNorm, value: Tensor) -> Tensor:
        return (value - value.mean()) / torch.sqrt(value.var(unbiased=False) + 1e-5) * norm.weight + norm.bias

    first, norm1, _, last, norm2 = block.whole
    g = group_norm(norm2, linear(last, torch.relu(group_norm(norm1, linear(first, whole)))))
    found, xs, x1s = frames_of(block(x, x1, present)[0]), frames_of(x[0]), frames_of(x1[0])
    for key in (key for key in z if here[key]):
        local = bn(block.local_norm2, linear(block.local_out, torch.relu(bn(block.local_norm1, linear(block.local_in, z[key])))))
        m = torch.sigmoid(local + g)
        assert torch.allclose(found[key], xs[key] * m + x1s[key] * (1 - m), atol=1e-12)


@pytest.mark.parametrize(("channels", "size", "dilation"), [(64, 3, 2), (128, 5, 2), (256, 5, 3)])
def test_equation_7_gives_the_papers_kernels(channels: int, size: int, dilation: int) -> None:
    assert kernel_and_dilation(channels) == (size, dilation)


def test_angles_continue_mirrored_and_phases_repeat() -> None:
    assert mirrored(3) == [2, 1, 0, 5, 4, 3, 8, 7, 6]
    mirror = mirrored(2)
    angles = continued(12, mirror, 2, wraps=True).reshape(16, 4).tolist()
    assert angles[:2] == [[10 * 4 + n for n in mirror], [11 * 4 + n for n in mirror]]
    assert angles[2] == [0, 1, 2, 3]
    assert angles[14:] == [mirror, [4 + n for n in mirror]]
    twice_round = continued(2, mirror, 3, wraps=True).reshape(8, 4).tolist()
    assert twice_round[0] == [4, 5, 6, 7], "two wraps undo the mirror"
    assert twice_round[1] == mirror
    phases = continued(5, [*mirror, *(4 + n for n in mirror)], 2, wraps=False).reshape(9, 8).tolist()
    assert phases[0] == phases[1] == phases[2] == list(range(8))
    assert phases[8] == phases[6] == [32 + n for n in range(8)]


@pytest.mark.parametrize("wraps", [True, False])
def test_ta_is_its_four_branches(wraps: bool) -> None:
    channels, frames = 128, 12
    recipe: Recipe = preset("tiny")
    block = random_numbers(TemporalAttention(channels, frames, 1, 1, recipe, wraps=wraps))
    size, dilation = kernel_and_dilation(channels)
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(1, channels, frames, 4, generator=generator, dtype=torch.float64)
    present = torch.ones(1, frames, 4, dtype=torch.bool)
    present[0, [1, 11]] = False
    x = x * present[:, None]

    def at(values: list[list[Tensor]], frame: int, node: int) -> Tensor:
        if not wraps:
            return values[min(max(frame, 0), frames - 1)][node]
        turns, place = divmod(frame, frames)
        return values[place][mirrored(2)[node] if turns % 2 else node]

    def reduced(branch: nn.Module) -> list[list[Tensor]]:
        kept = [[torch.relu(bn(branch.norm1, linear(branch.reduce, x[0, :, t, v]))) for v in range(4)] for t in range(frames)]
        mean = [torch.stack([kept[t][v] for t in range(frames) if present[0, t, v]]).mean(dim=0) for v in range(4)]
        return [[kept[t][v] if present[0, t, v] else mean[v] for v in range(4)] for t in range(frames)]

    found = block(x, present)[0]
    near, far, most = reduced(block.near), reduced(block.far), reduced(block.most)
    for t in range(frames):
        for v in range(4):
            parts = []
            for branch, values, step in ((block.near, near, 1), (block.far, far, dilation)):
                taps = [branch.conv.weight[:, :, k, 0] @ at(values, t + (k - size // 2) * step, v) for k in range(size)]
                parts.append(bn(branch.norm2, torch.stack(taps).sum(dim=0) + branch.conv.bias))
            parts.append(bn(block.most.norm2, torch.stack([at(most, t + k, v) for k in (-1, 0, 1)]).amax(dim=0)))
            parts.append(bn(block.plain_norm, linear(block.plain, x[0, :, t, v])))
            assert torch.allclose(found[:, t, v], torch.cat(parts), atol=1e-11)


def test_rolling_the_angles_with_the_mirror_rolls_a_staf_block() -> None:
    """S7: with stride 1 and the mirrored wrap the angle axis has no beginning."""
    block = random_numbers(STAFBlock(64, 64, LAYOUT, 1, preset("tiny")))
    # The graph mixes columns as it likes; made symmetric under the mirror, what is left is the time axis.
    mirror = [*range(8), *(8 + n for n in mirrored(2))]
    with torch.no_grad():
        block.graph.topology.copy_(block.graph.topology + block.graph.topology[:, mirror][:, :, mirror])
        block.graph.beta.zero_()
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(1, 64, LENGTH, generator=generator, dtype=torch.float64)
    present = torch.ones(1, LENGTH, dtype=torch.bool)
    mri, us = LAYOUT.split(x)
    # the cross-modal message is a mean over time, so it needs ultrasound whose mean does not change with the roll
    us = us + us[..., mirrored(2)]
    rolled = torch.cat([us[:, :, 11:][..., mirrored(2)], us[:, :, :11]], dim=2)
    _, before = LAYOUT.split(block(LAYOUT.join(mri, us), present)[0])
    _, after = LAYOUT.split(block(LAYOUT.join(mri, rolled), present)[0])
    assert torch.allclose(after, torch.cat([before[:, :, 11:][..., mirrored(2)], before[:, :, :11]], dim=2), atol=1e-10)
    assert not torch.allclose(before[:, :, 0], before[:, :, 1])


def test_affinity_is_section_ii_a() -> None:
    generator = torch.Generator().manual_seed(4)
    h = torch.randn(2, 6, 12, generator=generator, dtype=torch.float64)
    present = torch.ones(2, 12, dtype=torch.bool)
    present[1, [2, 9]] = False
    pooling = random_numbers(AffinityPooling(6, preset("tiny", feature_width=8)))
    found = pooling(h, present)
    for n in range(2):
        nodes = [v for v in range(12) if present[n, v]]
        unit = {v: h[n, :, v] / max(float(h[n, :, v].norm()), 1e-6) for v in nodes}
        similar = {(u, v): 1 - 0.5 * math.sqrt(float((unit[u] - unit[v]).square().sum())) for u in nodes for v in nodes}
        kept = {(u, v) for u in nodes for v in sorted(nodes, key=lambda v, u=u: -similar[u, v])[:5]}
        graph = {(u, v): similar[u, v] if (u, v) in kept or (v, u) in kept else 0.0 for u in nodes for v in nodes}
        degree = {u: max(sum(graph[u, v] for v in nodes), 1e-6) for u in nodes}
        spread = [sum(graph[u, v] / math.sqrt(degree[u] * degree[v]) * h[n, :, v] for v in nodes) for u in nodes]
        expected = pooling.linear.weight @ torch.stack(spread).mean(dim=0) + pooling.linear.bias
        assert torch.allclose(found[n], expected, atol=1e-12)


def test_affinity_selection_does_not_change_with_rounding_and_has_gradients() -> None:
    h = torch.ones(1, 6, 12) + torch.randn(1, 6, 12, generator=torch.Generator().manual_seed(1)) * 1e-6
    present = torch.ones(1, 12, dtype=torch.bool)
    again = h + torch.randn(1, 6, 12, generator=torch.Generator().manual_seed(2)) * 1e-6
    assert torch.equal(affinity(h, present, 5) > 0, affinity(again, present, 5) > 0)
    same = torch.ones(1, 6, 12, requires_grad=True)
    affinity(same, present, 5).sum().backward()
    assert torch.isfinite(same.grad).all()


def test_patients_who_pass_one_at_a_time_are_normalised_all_the_same() -> None:
    """Micro-batches of one, as the preset `paper` learns: the running statistics come to those of the patients."""
    torch.manual_seed(0)
    norm = MaskedNorm(3, affine=False, momentum=0.02)
    rows = torch.randn(2000, 3, 1) * torch.tensor([0.2, 1.0, 3.0])[:, None] + torch.tensor([5.0, 0.0, -2.0])[:, None]
    present = torch.ones(1, 1, dtype=torch.bool)
    last = torch.cat([norm(row[None], present) for row in rows])[1000:, :, 0]
    assert torch.allclose(last.mean(dim=0), torch.zeros(3), atol=0.1)
    assert torch.allclose(last.std(dim=0), torch.ones(3), atol=0.1)
    kept = norm.running_var.clone()
    norm(rows[:1], torch.zeros(1, 1, dtype=torch.bool))
    assert torch.equal(norm.running_var, kept), "an absent position is not taken in"


def test_masked_norm_sees_present_positions_only() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, 10, generator=generator) * 3 + 2
    present = torch.rand(3, 10, generator=generator) > 0.4
    norm, torchs = MaskedNorm(4), nn.BatchNorm1d(4)
    kept = x.transpose(1, 2)[present]
    assert torch.allclose(norm(x, present).transpose(1, 2)[present], torchs(kept), atol=1e-5)
    assert torch.allclose(norm.running_mean, torchs.running_mean, atol=1e-6)
    assert torch.allclose(norm.running_var, torchs.running_var, atol=1e-5)
    norm.eval()
    torchs.eval()
    assert torch.allclose(norm(x, present).transpose(1, 2)[present], torchs(kept), atol=1e-5)


def test_a_bottleneck_is_pre_activated() -> None:
    """Against plain torch in the order of a pre-activation block (He et al., ECCV 2016)."""
    torch.manual_seed(0)
    block = Bottleneck(3, 8, 4, stride=2, project=True).eval()
    x = torch.randn(2, 8, 4, 6, 6)
    a = torch.relu(block.norm1(x))
    y = block.conv3(torch.relu(block.norm3(block.conv2(torch.relu(block.norm2(block.conv1(a)))))))
    assert torch.equal(block(x), y + block.shortcut(a))
    assert block(x).shape == (2, 16, 2, 3, 3)
    assert block.conv2.stride == (2, 2, 2)
    plain = Bottleneck(2, 16, 4, stride=1, project=False).eval()
    for conv in (plain.conv1, plain.conv2, plain.conv3):
        nn.init.zeros_(conv.weight)
    z = torch.randn(1, 16, 5, 5)
    assert torch.equal(plain(z), z), "no ReLU after the addition"


def test_the_stem_keeps_slices_apart() -> None:
    stem = Stem(3, 1, preset("compact"))
    assert stem(torch.zeros(1, 1, 24, 96, 96)).shape == (1, 16, 24, 24, 24)
    assert Stem(3, 1, preset("paper"))(torch.zeros(1, 1, 8, 64, 32)).shape == (1, 64, 4, 16, 8)
    assert Stem(2, 1, preset("paper"))(torch.zeros(1, 1, 64, 64)).shape == (1, 64, 16, 16)
