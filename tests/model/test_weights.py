"""Weights files: what was written is read, and nothing hostile or damaged is (W1 to W5)."""

from __future__ import annotations

import io
import json
import pickle
import time
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from breastai_model.recipe import PREPARATION, preset
from breastai_model.weights import FORMAT, INTENDED_USE, WeightsError, read_weights, save_weights
from model_cases import a_batch, a_net, a_weights_file

TINY = preset("tiny")


def refused(path: Path, sentence: str, expected_sha256: str | None = None) -> None:
    start = time.perf_counter()
    with pytest.raises(WeightsError, match=sentence) as error:
        read_weights(path, expected_sha256)
    text = str(error.value)
    assert text.endswith(".")
    assert "\n" not in text
    assert str(path.parent) not in text
    assert time.perf_counter() - start < 5.0


def parts_of(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def written(path: Path, header: object, body: bytes) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


def test_what_was_saved_is_read_to_the_bit(tmp_path: Path) -> None:
    path = a_weights_file(tmp_path)
    weights = read_weights(path)
    assert (weights.name, weights.version, weights.intended_use) == ("test model", "1", INTENDED_USE)
    assert weights.recipe == TINY
    assert weights.metrics == {"auc": {"high_grade": 0.5}}
    assert read_weights(path, weights.sha256).sha256 == weights.sha256
    assert not weights.net.training
    with torch.inference_mode():
        assert torch.equal(weights.net(a_batch(1)).logits, a_net()(a_batch(1)).logits)
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"], "no temporary file is left"


def test_half_precision_is_read_too(tmp_path: Path) -> None:
    header, _ = parts_of(a_weights_file(tmp_path))
    told = header["__metadata__"]
    tensors = {key: value.half() if value.is_floating_point() else value for key, value in a_net().state_dict().items()}
    (tmp_path / "half.safetensors").write_bytes(safetensors.torch.save(tensors, metadata=told))
    net = read_weights(tmp_path / "half.safetensors").net
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}
    with torch.inference_mode():
        assert (net(a_batch(1)).logits - a_net()(a_batch(1)).logits).abs().max() < 0.05


class Evil:
    """Unpickling this makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


def test_w1_a_pickle_in_disguise_is_never_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    disguised = tmp_path / "model.safetensors"
    disguised.write_bytes(pickle.dumps(Evil(marker)))
    refused(disguised, "not a valid safetensors file")
    with zipfile.ZipFile(disguised, "w") as archive:
        archive.writestr("../../archive/data.pkl", pickle.dumps(Evil(marker)))
    refused(disguised, "not a valid safetensors file")
    stream = io.BytesIO()
    torch.save({"weights": torch.ones(3)}, stream)
    disguised.write_bytes(stream.getvalue())
    refused(disguised, "not a valid safetensors file")
    # By its own name, as a checkpoint or an exported program is passed round.
    for name, archive in (("model.ckpt", stream.getvalue()), ("model.pt2", stream.getvalue()), ("model.pt", pickle.dumps(Evil(marker)))):
        (tmp_path / name).write_bytes(archive)
        refused(tmp_path / name, "not a valid safetensors file")
    assert not marker.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 7,
        b"\x00" * 100,
        (2**30).to_bytes(8, "little") + b"{}",
        b"\x05" + b"\x00" * 7 + b"[1,2]",
        b"\x03" + b"\x00" * 7 + b"\xff\xfe\xfd",
    ],
)
def test_w2_a_broken_header_is_refused_fast_and_small(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    tracemalloc.start()
    started = time.process_time()
    refused(path, "not a valid safetensors file")
    assert time.process_time() - started < 2, "0.2 s are allowed, and ten times that on a busy machine"
    assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    tracemalloc.stop()


def test_w2_a_header_that_lies_is_refused_before_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "lies.safetensors"
    with path.open("wb") as file:
        file.write((3 * 2**20).to_bytes(8, "little"))
        file.write(b'{"a": ' + b"[" * (3 * 2**20 - 6))
        file.truncate(2**33)  # 8 GiB, sparse
    tracemalloc.start()
    started = time.process_time()
    refused(path, "not a valid safetensors file")
    assert time.process_time() - started < 2
    assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    tracemalloc.stop()


KEY = "mmaff.blocks.0.graph.beta"


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}, "not a valid safetensors"),
        ({"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}, "not a valid safetensors"),
        ({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "not a valid safetensors"),
        ({"dtype": "PICKLE", "shape": [1], "data_offsets": [0, 4]}, "not a valid safetensors"),
        (None, "not a valid safetensors"),
    ],
)
def test_w2_wrong_offsets_kinds_and_sizes_are_refused(tmp_path: Path, entry: object, sentence: str) -> None:
    header, body = parts_of(a_weights_file(tmp_path))
    header[KEY] = entry
    refused(written(tmp_path / "bad.safetensors", header, body), sentence)


def with_tensors(folder: Path, **changes: Any) -> Path:
    header, _ = parts_of(a_weights_file(folder))
    tensors = dict(a_net().state_dict())
    for key, value in changes.items():
        name = key.replace("__", ".")
        if value is None:
            del tensors[name]
        else:
            tensors[name] = value
    path = folder / "changed.safetensors"
    path.write_bytes(safetensors.torch.save(tensors, metadata=header["__metadata__"]))
    return path


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"extra": torch.ones(2)}, "extra is not part of the network"),
        ({"mmaff__blocks__0__graph__beta": None}, "beta is missing"),
        ({"merge_specific__bias": torch.ones(65)}, "merge_specific.bias has another shape or kind"),
        ({"merge_specific__bias": torch.ones(64, dtype=torch.int64)}, "merge_specific.bias has another shape or kind"),
        ({"merge_specific__bias": torch.full((64,), float("nan"))}, "no numbers"),
        ({"merge_specific__bias": torch.full((64,), float("inf"))}, "no numbers"),
    ],
)
def test_w2_tensors_that_do_not_fit_the_recipe_are_refused(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    refused(with_tensors(tmp_path, **changes), sentence)


@pytest.mark.parametrize("place", [4, 300, -1])
def test_w3_one_flipped_bit_is_damage(tmp_path: Path, place: int) -> None:
    path = a_weights_file(tmp_path)
    good = read_weights(path).sha256
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    refused(path, rf"The model file is damaged \(sha256 [0-9a-f]{{12}}… instead of {good[:12]}…\)", good)


def with_told(folder: Path, **changes: Any) -> Path:
    header, body = parts_of(a_weights_file(folder))
    header["__metadata__"] = {key: value for key, value in (header["__metadata__"] | changes).items() if value is not None}
    return written(folder / "told.safetensors", header, body)


def test_w4_other_models_and_other_versions_are_refused_with_both(tmp_path: Path) -> None:
    refused(with_told(tmp_path, format="somebody-elses-1"), "holds no BreastAI model")
    recipe = json.loads(TINY.to_json()) | {"preparation": PREPARATION + 1}
    refused(with_told(tmp_path, recipe=json.dumps(recipe)), rf"version {PREPARATION + 1}; this program has version {PREPARATION}")
    refused(with_told(tmp_path, recipe=preset("compact").to_json()), "does not fit its recipe")
    plain = tmp_path / "plain.safetensors"
    plain.write_bytes(safetensors.torch.save({"a": torch.ones(2)}))
    refused(plain, "holds no BreastAI model")
    assert FORMAT.startswith("breastai")


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe": "{{ 7 * 7 }}"},
        {"recipe": None},
        {"metrics": "__import__('os').system('true')"},
        {"metrics": "[1]"},
        {"metrics": "[" * 50_000},
        {"metrics": " " * 300_000},
        {"name": "<b>model</b>"},
        {"name": "x" * 81},
        {"version": None},
    ],
)
def test_w5_texts_inside_that_are_not_what_they_should_be_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    refused(with_told(tmp_path, **changes), "model")


def test_a_missing_file_and_a_folder_are_told_plainly(tmp_path: Path) -> None:
    refused(tmp_path / "none.safetensors", "missing: install the model again")
    refused(tmp_path, "cannot be read")


def test_a_network_that_does_not_fit_or_holds_nan_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(WeightsError, match="does not fit its recipe"):
        save_weights(path, a_net(), replace(TINY, feature_width=32), {}, "x", "1")
    net = a_net()
    with torch.no_grad():
        net.merge_specific.bias[3] = float("nan")
    with pytest.raises(WeightsError, match="no numbers"):
        save_weights(path, net, TINY, {}, "x", "1")
    with pytest.raises(WeightsError, match="name and version"):
        save_weights(path, a_net(), TINY, {}, "x\ny", "1")
    assert list(tmp_path.iterdir()) == []
