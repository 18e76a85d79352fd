"""The recipe's JSON: what it wrote it reads, anything else it refuses (W5)."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from breastai_model.recipe import PREPARATION, PRESETS, Recipe, RecipeError, preset


@pytest.mark.parametrize("name", PRESETS)
def test_a_recipe_survives_its_json(name: str) -> None:
    recipe = preset(name, trained_on="patients", thresholds=(0.3, 0.5, 0.62))
    assert Recipe.from_json(recipe.to_json()) == recipe


def changed(**changes: object) -> str:
    return json.dumps(json.loads(preset("tiny").to_json()) | changes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        "[]",
        "[" * 100_000,
        " " * 70_000 + "{}",
        "!!python/object/apply:os.system ['true']",
        changed(extra=1),
        changed(phases="5"),
        changed(phases=True),
        changed(phases=5.0),
        changed(phases=-1),
        changed(width=10_000),
        changed(layout="$@"),
        changed(layout="diagonal"),
        changed(preset="__import__('os')"),
        changed(preset="{{ config }}"),
        changed(mri_shape=[8, 32]),
        changed(mri_shape=[8, 32, 10**9]),
        changed(mri_shape=[1024, 1024, 1024]),
        changed(mri_spacing_mm=[6.0, 2.0, "2"]),
        changed(staf_widths=[64] * 1000),
        changed(staf_widths=[30, 60]),
        changed(post_times_s=[75.0, 10.0, 20.0, 30.0]),
        changed(thresholds=[0.5, 0.5, 1.5]),
        changed(trained_on="anything"),
        changed(positives={"high_grade": "x"}),
        changed(positives="none"),
        changed(dropout=float("nan")),
    ],
)
def test_w5_a_malformed_recipe_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(RecipeError) as error:
        Recipe.from_json(text)
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


def test_a_missing_entry_is_named() -> None:
    values = json.loads(preset("tiny").to_json())
    del values["angles"]
    with pytest.raises(RecipeError, match="angles"):
        Recipe.from_json(json.dumps(values))


def test_another_preparation_is_refused_with_both_versions() -> None:
    with pytest.raises(RecipeError, match=rf"version {PREPARATION + 7}; this program has version {PREPARATION}"):
        Recipe.from_json(changed(preparation=PREPARATION + 7))


def test_an_unknown_preset_and_a_wrong_value_are_refused() -> None:
    with pytest.raises(RecipeError, match="no preset 'huge'"):
        preset("huge")
    with pytest.raises(RecipeError, match="dropout"):
        replace(preset("tiny"), dropout=2.0)
