"""Installed models: what is installed is hashed, tried and kept; what is damaged is refused in one sentence."""

from __future__ import annotations

import hashlib
import shutil

import pytest
import torch

from breastai_gui.resource import resource
from breastai_gui.services.command_line import parse, run
from breastai_gui.services.models import BUNDLED, ModelError, Models, header_of, sha256_of
from breastai_gui.services.places import Places
from breastai_model.network.net import BreastNet
from breastai_model.recipe import preset
from breastai_model.weights import read_weights, save_weights


@pytest.fixture
def models():
    return Models(Places())


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    recipe = preset("tiny", trained_on="patients")
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    save_weights(path, BreastNet(recipe), recipe, {}, "mine", "2.0")
    return path


def test_the_bundled_model_is_what_its_sum_says_small_and_named_as_made_up(models):
    model = models.active()
    assert model.bundled
    assert model.name == "breastai-demonstration"
    assert model.trained_on == "synthetic"
    assert model.path == resource("weights") / BUNDLED
    assert sha256_of(model.path) == model.sha256 == hashlib.sha256(model.path.read_bytes()).hexdigest()
    assert model.path.stat().st_size <= 20_000_000


def test_the_card_of_a_model_stands_in_its_file_and_is_shown(weights, capsys):
    assert run(parse(["models", "card"])) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"breastai-demonstration {read_weights(resource('weights') / BUNDLED).version}, SHA-256 ")
    for words in (
        "Not a medical device",
        "made-up patients",
        "## Measured",
        "| lymph node metastasis | 0.",
        "## Limits",
        "## How it was made",
    ):
        assert words in said
    assert run(parse(["models", "card", str(weights)])) == 0
    assert "The file holds no card." in capsys.readouterr().out
    assert run(parse(["models", "card", "nowhere.safetensors"])) == 1
    assert "The model file is missing" in capsys.readouterr().err


def test_install_activate_and_go_back(models, weights):
    model = models.install(weights)
    assert (model.name, model.version, model.trained_on) == ("mine", "2.0", "patients")
    assert models.active().bundled  # installing alone changes nothing
    models.activate(model.sha256)
    again = Models(Places())
    assert again.active() == model
    assert [known.name for known in again.installed()] == ["breastai-demonstration", "mine"]
    assert again.install(weights) == model  # a second time is the same model
    assert len(again.installed()) == 2
    again.activate(again.bundled().sha256)
    assert Models(Places()).active().bundled
    with pytest.raises(ModelError, match="not installed"):
        models.activate("0" * 64)


def test_w3_one_flipped_bit_is_refused_and_leaves_nothing_behind(models, weights, tmp_path):
    data = bytearray(weights.read_bytes())
    data[20] ^= 1  # in the header
    (tmp_path / "flipped.safetensors").write_bytes(data)
    with pytest.raises(ModelError):
        models.install(tmp_path / "flipped.safetensors")
    assert len(models.installed()) == 1
    assert list(Places().models.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"PK\x03\x04", b"\xff" * 64])
def test_w1_what_is_no_safetensors_file_is_refused(models, tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="safetensors"):
        models.install(path)
    assert list(Places().models.iterdir()) == []


def test_a_missing_file_is_said_and_never_replaced_by_another_model(models, weights):
    model = models.install(weights)
    models.activate(model.sha256)
    model.path.unlink()
    with pytest.raises(ModelError, match=r"mine 2\.0.*is gone"):
        models.active()
    with pytest.raises(ModelError, match="cannot be copied"):
        models.install(model.path)


def test_a_damaged_list_is_made_anew_and_said(models, weights):
    model = models.install(weights)
    models.activate(model.sha256)
    (Places().models / "models.json").write_text('{"active": "x", "models": [{"file": "../../x"}]}', "utf-8")
    again = Models(Places())
    assert again.active().bundled
    assert "was damaged" in again.notice
    assert [known.sha256 for known in again.installed()][1:] == [model.sha256]
    assert (Places().models / "models.damaged.json").is_file()


def test_the_header_is_read_without_the_tensors(weights, tmp_path):
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    short = tmp_path / "short.safetensors"
    shutil.copyfile(weights, short)
    with short.open("rb+") as file:
        file.truncate(8 + length)
    assert header_of(short)["name"] == "mine"
    with short.open("rb+") as file:
        file.truncate(8 + length - 1)
    with pytest.raises(ValueError, match="not a safetensors file"):
        header_of(short)
