"""Weights files: safetensors, with recipe, metrics, intended use and model card inside. Nothing in them is ever run.

Beside the network a file may hold a calibration (JSON), a distribution for the in-distribution check (JSON and tensors whose
names begin with "distribution.") and the golden case's logits (JSON). A file is read once into memory and hashed; its header
is checked against the network and the distribution that its texts describe before a tensor is made.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import safetensors
import safetensors.torch
import torch

from breastai_model.calibration import LONGEST_JSON as LONGEST_CALIBRATION
from breastai_model.calibration import Calibration, CalibrationError
from breastai_model.case import TASKS
from breastai_model.inference.golden import LONGEST_GOLDEN, golden_from_json, golden_logits, golden_to_json
from breastai_model.inference.in_distribution import (
    LONGEST_DISTRIBUTION,
    PREFIX,
    Distribution,
    Law,
    expected_arrays,
    law_from_json,
)
from breastai_model.network.net import BreastNet
from breastai_model.recipe import LONGEST_JSON, Recipe, RecipeError
from breastai_model.strict_json import StrictJsonError
from breastai_model.whole_file import replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = "breastai-weights-1"
LONGEST_HEADER = 4 * 2**20
LONGEST_METRICS = 256 * 1024
LONGEST_CARD = 16 * 1024
INTENDED_USE = "Research and teaching only. Not a medical device; not for decisions about a patient."

NOT_SAFETENSORS = "This is not a valid safetensors file, the only kind of weights that this program reads."

_BYTES = {"F32": 4, "F16": 2, "I64": 8}
_NAME = re.compile(r"[\w .,()+\-]{1,80}")


class WeightsError(ValueError):
    """A weights file that cannot be used; the text is one sentence."""


@dataclass(frozen=True, eq=False, slots=True)
class Weights:
    """A network with its weights and what the file says of it.

    Attributes
    ----------
    net
        On the CPU, in eval mode, float32.
    recipe
        How it was prepared for and built.
    metrics
        What training measured, as JSON values.
    name, version, intended_use
        For people.
    sha256
        Of the whole file, 64 hexadecimal digits.
    calibration
        What its log-odds mean, or None: then probabilities are plain and there are no sets.
    distribution
        What it has seen, or None: then no distance is known.
    golden
        (task, 2) logits of its golden case in float64, or None in files from before there was one.
    card
        The model card, Markdown: what it learnt from, what was measured, its limits; "" where the file holds none.
    """

    net: BreastNet
    recipe: Recipe
    metrics: dict[str, Any]
    name: str
    version: str
    intended_use: str
    sha256: str
    calibration: Calibration | None = None
    distribution: Distribution | None = None
    golden: list[list[float]] | None = None
    card: str = ""


@dataclass(frozen=True, slots=True)
class _Told:
    """The texts of a file, checked."""

    recipe: Recipe
    metrics: dict[str, Any]
    name: str
    version: str
    intended_use: str
    calibration: Calibration | None
    law: Law | None
    golden: list[list[float]] | None
    card: str


def save_weights(
    path: Path,
    net: BreastNet,
    recipe: Recipe,
    metrics: Mapping[str, Any],
    name: str,
    version: str,
    calibration: Calibration | None = None,
    distribution: Distribution | None = None,
    card: str = "",
) -> None:
    """Write a weights file. It appears whole or not at all.

    Parameters
    ----------
    path
        The file.
    net, recipe
        The network and what it was built from.
    metrics
        What training measured, as JSON values.
    name, version
        For people.
    calibration
        What the log-odds mean, where that was fitted.
    distribution
        What the model has seen, where that was fitted.
    card
        The model card, Markdown.

    Raises
    ------
    WeightsError
        If the network does not fit the recipe or holds values that are no numbers, a name has odd signs, or the card is no plain text.
    """
    if card and not _is_plain(card):
        raise WeightsError(f"A model card is plain text of at most {LONGEST_CARD} letters.")
    if not _NAME.fullmatch(name) or not _NAME.fullmatch(version):
        raise WeightsError("A model's name and version may hold letters, digits, spaces and . , ( ) + - _ only.")
    tensors = {key: value.detach().to("cpu").contiguous() for key, value in net.state_dict().items()}
    if {key: (tuple(value.shape), value.is_floating_point()) for key, value in tensors.items()} != expected_tensors(recipe):
        raise WeightsError("The network does not fit its recipe: nothing was written.")
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values()):
        raise WeightsError("The network holds values that are no numbers: nothing was written.")
    told = {
        "format": FORMAT,
        "recipe": recipe.to_json(),
        "metrics": json.dumps(dict(metrics), sort_keys=True, allow_nan=False),
        "name": name,
        "version": version,
        "intended_use": INTENDED_USE,
        "card": card,
    }
    golden = golden_logits(net)
    if all(math.isfinite(value) for pair in golden for value in pair):
        told["golden"] = golden_to_json(golden)
    if calibration is not None:
        told["calibration"] = calibration.to_json()
    if distribution is not None:
        told["distribution"] = distribution.to_json()
        tensors |= {PREFIX + key: torch.from_numpy(value.copy()) for key, value in distribution.arrays.items()}
    data = safetensors.torch.save(tensors, metadata=told)
    replace_file(path, lambda beside: _write(beside, data))


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def read_weights(path: Path | str, expected_sha256: str | None = None) -> Weights:
    """Return a network and what its file says.

    Parameters
    ----------
    path
        The file.
    expected_sha256
        If given, another hash is refused as damage.

    Raises
    ------
    WeightsError
        If the file is missing, damaged, no weights file of this program, made for another version, or its tensors do not
        fit its recipe or are no numbers.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if expected_sha256 is None:
                _check(file, size)  # a hostile header is refused before the rest is read
                file.seek(0)
            data = file.read()
    except FileNotFoundError as error:
        raise WeightsError("The model file is missing: install the model again.") from error
    except OSError as error:
        raise WeightsError(f"The model file cannot be read ({error.strerror}): check the file and its folder.") from error
    sha256 = hashlib.sha256(data).hexdigest()
    if expected_sha256 is not None and sha256 != expected_sha256:
        raise WeightsError(
            f"The model file is damaged (sha256 {sha256[:12]}… instead of {expected_sha256[:12]}…): install the model again."
        )
    told = _check(io.BytesIO(data), len(data))
    try:
        tensors = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise WeightsError(NOT_SAFETENSORS) from error
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise WeightsError("The model file holds weights that are no numbers: it cannot be used.")
    arrays = {key.removeprefix(PREFIX): tensors.pop(key).float().numpy() for key in list(tensors) if key.startswith(PREFIX)}
    try:
        distribution = None if told.law is None else Distribution(told.law, arrays)
    except StrictJsonError as error:
        raise WeightsError(f"The model file cannot be used: {error}") from error
    with torch.device("meta"):
        net = BreastNet(told.recipe)
    net.load_state_dict({key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}, assign=True)
    net.requires_grad_(requires_grad=False).eval()
    return Weights(
        net,
        told.recipe,
        told.metrics,
        told.name,
        told.version,
        told.intended_use,
        sha256,
        told.calibration,
        distribution,
        told.golden,
        told.card,
    )


def _check(file: IO[bytes], size: int) -> _Told:
    """Return what an open file says of itself, its header fitting it, having read no further than the header."""
    header = _header(file, size)
    told = header.pop("__metadata__", None)
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise WeightsError("This safetensors file holds no BreastAI model: it names no format that this program knows.")
    for key, longest in (("recipe", LONGEST_JSON), ("metrics", LONGEST_METRICS), ("name", 80), ("version", 80), ("intended_use", 400)):
        if not isinstance(told.get(key), str) or len(told[key]) > longest:
            raise WeightsError(f"The model file has no proper {key.replace('_', ' ')}: it cannot be used.")
    for key, longest in (("calibration", LONGEST_CALIBRATION), ("distribution", LONGEST_DISTRIBUTION), ("golden", LONGEST_GOLDEN)):
        if key in told and (not isinstance(told[key], str) or len(told[key]) > longest):
            raise WeightsError(f"The model file has no proper {key}: it cannot be used.")
    if "card" in told and not (isinstance(told["card"], str) and _is_plain(told["card"])):
        raise WeightsError("The model file has no proper card: it cannot be used.")
    if not _NAME.fullmatch(told["name"]) or not _NAME.fullmatch(told["version"]):
        raise WeightsError("The model's name or version holds signs that do not belong there.")
    try:
        metrics = json.loads(told["metrics"])
    except (ValueError, RecursionError) as error:
        raise WeightsError("The model file has no proper metrics: it cannot be used.") from error
    if not isinstance(metrics, dict):
        raise WeightsError("The model file has no proper metrics: it cannot be used.")
    try:
        recipe = Recipe.from_json(told["recipe"])
        calibration = Calibration.from_json(told["calibration"]) if "calibration" in told else None
        law = law_from_json(told["distribution"]) if "distribution" in told else None
        golden = golden_from_json(told["golden"], len(TASKS)) if "golden" in told else None
    except (RecipeError, CalibrationError, StrictJsonError) as error:
        raise WeightsError(f"The model file cannot be used: {error}") from error
    _fits(header, recipe, law)
    return _Told(recipe, metrics, told["name"], told["version"], told["intended_use"], calibration, law, golden, told.get("card", ""))


def _is_plain(text: str) -> bool:
    """Return whether a text is short and has no signs that would steer a terminal."""
    return len(text) <= LONGEST_CARD and all(sign.isprintable() or sign == "\n" for sign in text)


def _header(file: IO[bytes], size: int) -> dict[str, Any]:
    """Return a safetensors header whose tensors lie one after the other and fill the file."""
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or not 2 <= length <= min(LONGEST_HEADER, size - 8):
        raise WeightsError(NOT_SAFETENSORS)
    try:
        header = json.loads(file.read(length).decode())
    except (ValueError, RecursionError) as error:
        raise WeightsError(NOT_SAFETENSORS) from error
    if not isinstance(header, dict):
        raise WeightsError(NOT_SAFETENSORS)
    spans = []
    for key, entry in header.items():
        if key == "__metadata__":
            continue
        entry = entry if isinstance(entry, dict) else {}
        offsets, shape, size_of_one = _counts(entry.get("data_offsets")), _counts(entry.get("shape")), _BYTES.get(str(entry.get("dtype")))
        if offsets is None or shape is None or size_of_one is None or len(offsets) != 2:
            raise WeightsError(NOT_SAFETENSORS)
        if offsets[1] - offsets[0] != math.prod(shape) * size_of_one:
            raise WeightsError(NOT_SAFETENSORS)
        spans.append((offsets[0], offsets[1]))
    ends = [0, *(end for _, end in sorted(spans))]
    if [begin for begin, _ in sorted(spans)] != ends[:-1] or ends[-1] != size - 8 - length:
        raise WeightsError(NOT_SAFETENSORS)
    return header


def _counts(value: Any) -> list[int] | None:
    """Return a short list of counts, or None where the value is anything else."""
    if isinstance(value, list) and len(value) <= 8 and all(type(item) is int and 0 <= item < 2**48 for item in value):
        return value
    return None


def _fits(header: Mapping[str, Any], recipe: Recipe, law: Law | None) -> None:
    """Refuse tensors that the recipe's network and the distribution do not have, or have in another shape or kind."""
    expected = dict(expected_tensors(recipe))
    if law is not None:
        expected |= {PREFIX + key: (shape, True) for key, shape in expected_arrays(law).items()}
    odd = sorted(set(header) ^ set(expected))
    if odd:
        what = "is missing" if odd[0] in expected else "is not part of the network"
        raise WeightsError(f"The model file does not fit its recipe: {odd[0][:60]} {what}.")
    for key, (shape, floating) in expected.items():
        if tuple(header[key]["shape"]) != shape or (header[key]["dtype"] != "I64") != floating:
            raise WeightsError(f"The model file does not fit its recipe: {key} has another shape or kind.")


@lru_cache(maxsize=4)
def expected_tensors(recipe: Recipe) -> dict[str, tuple[tuple[int, ...], bool]]:
    """Return name, shape and whether it is a floating-point tensor, for all that a recipe's network keeps in a file."""
    with torch.device("meta"):
        net = BreastNet(recipe)
    return {key: (tuple(value.shape), value.is_floating_point()) for key, value in net.state_dict().items()}
