"""`breastai models`: a backbone is kept under its SHA-256, listed, and refused when it was changed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file

from breastai_gui.services.backbones import BackboneMissing, backbone_file, import_backbone, imported_backbones
from breastai_gui.services.command_line import parse, run
from breastai_gui.services.places import Places
from breastai_model.network.imported_backbone import BackboneError, load_backbone
from breastai_model.network.net import BreastNet
from breastai_model.recipe import PRESETS
from resnet_files import SMALL, state_dict

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor


@pytest.fixture
def brought(tmp_path: Path) -> tuple[dict[str, Tensor], Path]:
    state = state_dict(SMALL)
    save_file(state, tmp_path / "resnetv2.safetensors")
    return state, tmp_path / "resnetv2.safetensors"


def test_a_file_of_resnet_50_fits_the_paper_preset(tmp_path: Path) -> None:
    path = tmp_path / "resnetv2_50.safetensors"
    save_file({name: torch.zeros_like(value, dtype=torch.float16) for name, value in state_dict(PRESETS["paper"]).items()}, path)
    assert import_backbone(path, Places()).fits == ("paper",)


def test_an_imported_backbone_lies_under_its_sha256_and_a_changed_one_is_refused(brought: tuple[dict[str, Tensor], Path]) -> None:
    places = Places()
    with pytest.raises(BackboneMissing, match="import it with breastai models import-imagenet"):
        backbone_file("0" * 64, places)
    imported = import_backbone(brought[1], places)
    assert imported.sha256 == hashlib.sha256(brought[1].read_bytes()).hexdigest()
    assert imported.path == places.models / "backbones" / f"{imported.sha256}.safetensors"
    assert imported_backbones(places) == (imported,) == (import_backbone(brought[1], places),)
    assert load_backbone(BreastNet(SMALL), backbone_file(imported.sha256, places))
    damaged = bytearray(imported.path.read_bytes())
    damaged[-1] ^= 1
    imported.path.write_bytes(damaged)
    with pytest.raises(BackboneError, match="changed or damaged: import it again"):
        load_backbone(BreastNet(SMALL), imported.path)
    assert import_backbone(brought[1], places) == imported
    assert load_backbone(BreastNet(SMALL), imported.path), "importing it again mends it"


def test_the_command_imports_lists_and_complains(
    brought: tuple[dict[str, Tensor], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["list"], ["import-imagenet", str(brought[1])], ["list"]):
        assert run(parse(["models", *arguments])) == 0
    sha256 = hashlib.sha256(brought[1].read_bytes()).hexdigest()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("No backbone was imported yet")
    assert lines[1] == (
        "Imported a pre-activation ResNet: width 8, 2, 1, 3, 1 blocks, first kernel 7 x 7; for no preset, only for a recipe of that size."
    )
    assert lines[2] == f"SHA-256 {sha256}"
    assert lines[-1].startswith(sha256)
    (tmp_path / "text.safetensors").write_text("hello")
    assert run(parse(["models", "import-imagenet", str(tmp_path / "text.safetensors")])) == 1
    assert "text.safetensors is not a safetensors file" in capsys.readouterr().err
