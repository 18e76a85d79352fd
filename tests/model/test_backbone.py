"""Streams that start from a ResNet V2 of one's own: against a plain forward pass of that network, and bad files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from breastai_model.network.imported_backbone import BackboneError, backbone_shape, load_backbone
from breastai_model.network.net import BreastNet
from breastai_model.recipe import PRESETS, preset
from resnet_files import SMALL, state_dict

if TYPE_CHECKING:
    from pathlib import Path


def plain_forward(state: dict[str, Tensor], image: Tensor, depths: tuple[int, ...]) -> Tensor:
    """Return the last activation of the network that the names describe, for a colour image (1, 3, rows, columns)."""

    def norm(name: str, x: Tensor) -> Tensor:
        parts = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.relu(F.batch_norm(x, *parts, training=False, eps=1e-5))

    x = F.conv2d(image, state["stem.conv.weight"], stride=2, padding=3)
    x = F.max_pool2d(x, 3, stride=2, padding=1)
    for stage, depth in enumerate(depths):
        for block in range(depth):
            name, stride = f"stages.{stage}.blocks.{block}", 2 if stage > 0 and block == 0 else 1
            activated = norm(f"{name}.norm1", x)
            shortcut = F.conv2d(activated, state[f"{name}.downsample.conv.weight"], stride=stride) if block == 0 else x
            y = F.conv2d(activated, state[f"{name}.conv1.weight"])
            y = F.conv2d(norm(f"{name}.norm2", y), state[f"{name}.conv2.weight"], stride=stride, padding=1)
            x = F.conv2d(norm(f"{name}.norm3", y), state[f"{name}.conv3.weight"]) + shortcut
    return norm("norm", x)


@pytest.fixture
def brought(tmp_path: Path) -> tuple[dict[str, Tensor], Path]:
    state = state_dict(SMALL)
    save_file(state, tmp_path / "resnetv2.safetensors")
    return state, tmp_path / "resnetv2.safetensors"


def test_a_grey_image_gives_the_features_of_the_network_that_was_brought(brought: tuple[dict[str, Tensor], Path]) -> None:
    state, path = brought
    net = BreastNet(SMALL).eval()
    load_backbone(net, path)
    image = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    expected = plain_forward(state, image.expand(-1, 3, -1, -1), SMALL.depths)
    kept: dict[tuple[str, int], Tensor] = {}

    def tap(branch: str, stage: int, activation: Tensor) -> Tensor:
        kept[branch, stage] = activation
        return activation

    with torch.inference_mode():
        net.us(image, tap)
    for branch in ("agnostic", "specific"):
        assert torch.allclose(kept[branch, 4], expected, atol=1e-4), "both branches start from it"
    assert expected.std() > 0.1


def test_slices_that_are_all_alike_give_the_features_of_one_slice(brought: tuple[dict[str, Tensor], Path]) -> None:
    """Inflation: away from the ends of the volume the MRI trunk says what the ultrasound trunk says."""
    _, path = brought
    net = BreastNet(SMALL).eval()
    load_backbone(net, path)
    image = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        flat = net.us.stage1(net.us.stem(image))
        deep = net.mri.stage1(net.mri.stem(image[:, :, None].expand(-1, -1, 17, -1, -1)))
    assert torch.allclose(deep[:, :, 8], flat, atol=1e-5)
    for modality in ("mri", "us"):
        streams = getattr(net, modality)
        kernel = streams.specific.stages[1].blocks[2].conv2.weight
        whole = kernel.sum(dim=2) if modality == "mri" else kernel
        assert torch.allclose(whole, brought[0]["stages.2.blocks.2.conv2.weight"], atol=1e-6)
    assert torch.equal(net.mri.agnostic.norm.running_var, brought[0]["norm.running_var"])


@pytest.mark.parametrize("changes", [{"subtraction": True}, {"layout": "channels"}])
def test_several_input_channels_share_the_grey_kernel(brought: tuple[dict[str, Tensor], Path], changes: dict[str, object]) -> None:
    net = BreastNet(preset("tiny", **{"subtraction": False, "depths": SMALL.depths, "stem_kernel": 7, **changes}))
    load_backbone(net, brought[1])
    grey = brought[0]["stem.conv.weight"].sum(dim=1)
    for streams, dims in ((net.mri, (1, 2)), (net.us, (1,))):
        assert torch.allclose(streams.stem.conv.weight.sum(dim=dims), grey, atol=1e-5)


def test_what_is_set_is_said_and_the_rest_stays(brought: tuple[dict[str, Tensor], Path]) -> None:
    net = BreastNet(SMALL)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    names = load_backbone(net, brought[1])
    after = net.state_dict()
    assert len(names) == len(set(names))
    assert {name for name, value in after.items() if not torch.equal(value, before[name])} == set(names)
    streams = {name for name in before if name.startswith(("mri.", "us.")) and "reduce" not in name}
    assert {name for name in streams if not name.endswith("num_batches_tracked")} == set(names)


def test_a_file_of_resnet_50_is_what_the_paper_preset_takes(tmp_path: Path) -> None:
    """The real names and shapes, in half precision; what is set is counted on a network of a quarter of the width."""
    path = tmp_path / "resnetv2_50.safetensors"
    save_file({name: torch.zeros_like(value, dtype=torch.float16) for name, value in state_dict(PRESETS["paper"]).items()}, path)
    assert str(backbone_shape(path)) == "width 64, 3, 4, 6, 3 blocks, first kernel 7 x 7"
    with pytest.raises(BackboneError, match=r"needs width 8, 1, 1, 1, 1 blocks, first kernel 5 x 5: choose the preset"):
        load_backbone(BreastNet(preset("tiny", subtraction=False)), path)
    quarter = preset("paper", width=16, staf_widths=(64,), temporal_strides=(1,))
    save_file({name: value.to(torch.float16) for name, value in state_dict(quarter).items()}, path)
    with torch.device("meta"):
        net = BreastNet(quarter)
    streams = {name for name in net.state_dict() if name.startswith(("mri.", "us.")) and "reduce" not in name}
    assert set(load_backbone(net, path)) == {name for name in streams if not name.endswith("num_batches_tracked")}


def test_bad_files_are_refused_in_one_sentence(brought: tuple[dict[str, Tensor], Path], tmp_path: Path) -> None:
    state, _ = brought
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"no safetensors at all")
    with pytest.raises(BackboneError, match="not a safetensors file"):
        backbone_shape(bad)
    save_file({"x": torch.zeros(3)}, bad)
    with pytest.raises(BackboneError, match="no pre-activation ResNet"):
        backbone_shape(bad)
    for change in (
        {"stages.0.blocks.0.norm1.running_mean": None},  # group normalisation has no statistics
        {"stages.1.blocks.0.conv2.weight": torch.zeros(3, 3, 3, 3)},
        {"stages.0.blocks.0.attention.weight": torch.zeros(3)},
    ):
        save_file({name: value for name, value in (state | change).items() if value is not None}, bad)
        with pytest.raises(BackboneError, match=next(iter(change)).replace(".", r"\.")):
            backbone_shape(bad)
    save_file(state | {"norm.bias": torch.full_like(state["norm.bias"], float("nan"))}, bad)
    with pytest.raises(BackboneError, match="not finite"):
        load_backbone(BreastNet(SMALL), bad)
