"""The file of a run's predictions: what it keeps, and what it may not hold."""

from __future__ import annotations

import json

import numpy as np
import pytest

from breastai_model.calibration import SCOPES
from breastai_model.training.predictions import Predictions, PredictionsError


def made(cases: int = 6, **changes) -> Predictions:
    chance = np.random.default_rng(3)
    values = {
        "labels": chance.integers(-1, 2, (cases, 3)),
        "groups": np.arange(cases, dtype=np.int64),
        "folds": np.arange(cases, dtype=np.int64) % 2,
        "log_odds": {scope: chance.normal(0, 3, (cases, 3)) for scope in SCOPES},
    }
    return Predictions(**{**values, **changes})


def test_the_file_gives_back_the_same_numbers_bit_for_bit(tmp_path):
    mri = np.random.default_rng(1).normal(0, 3, (6, 3))
    mri[2] = np.nan  # a patient without MRI
    whole = made()
    predictions = made(log_odds={**whole.log_odds, "mri": mri}, subgroups={"MRI vendor": ("A", "A", "B", "B", "B", "B")})
    predictions.write(tmp_path / "predictions.json")
    again = Predictions.read(tmp_path / "predictions.json")
    for name in ("labels", "groups", "folds"):
        assert np.array_equal(getattr(again, name), getattr(predictions, name))
    for scope in SCOPES:
        assert np.array_equal(again.log_odds[scope], predictions.log_odds[scope], equal_nan=True)
    assert again.subgroups == predictions.subgroups
    assert again.fold_numbers == (0, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.json"]


def test_a_part_keeps_the_rows_together():
    predictions = made(subgroups={"size": ("a", "b", "c", "d", "e", "f")})
    keep = np.array([False, True, False, False, True, True])
    part = predictions.taken(keep)
    assert part.groups.tolist() == [1, 4, 5]
    assert np.array_equal(part.log_odds["us"], predictions.log_odds["us"][keep])
    assert part.subgroups == {"size": ("b", "e", "f")}


def test_a_patient_in_two_folds_is_refused():
    with pytest.raises(PredictionsError, match="two folds"):
        made(groups=np.array([0, 0, 1, 2, 3, 4]))
    assert made(groups=np.array([0, 1, 0, 1, 2, 3])).patients == 4  # several tumours of one patient in one fold


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": np.full((6, 3), 2)},
        {"labels": np.zeros((6, 2), dtype=np.int64)},
        {"labels": np.zeros((6, 3))},
        {"groups": np.zeros(5, dtype=np.int64)},
        {"folds": np.full(6, -1)},
        {"log_odds": {"both": np.zeros((6, 3))}},
        {"log_odds": dict.fromkeys(SCOPES, np.full((6, 3), np.inf))},
        {"log_odds": dict.fromkeys(SCOPES, np.array([[0.0, np.nan, 0.0]] * 6))},
        {"subgroups": {"vendor": ("A",) * 5}},
        {"subgroups": {"vendor": ("<b>",) * 6}},
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes):
    with pytest.raises(PredictionsError):
        made(**changes)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("format",), "breastai-predictions-0"),
        (("tasks",), ["high_grade", "lymph_node_metastasis", "high_ki67"]),
        (("labels", 0), [1, 0]),
        (("labels", 0), [1, 0, True]),
        (("labels", 0), [1, 0, 0.0]),
        (("groups", 0), -1),
        (("groups", 0), "Smith"),
        (("folds",), None),
        (("log_odds", "both", 0), [1, 2, "3"]),
        (("log_odds", "both", 0), [1, 2, 1e999]),
        (("log_odds", "both", 0), [1, 2, 10**400]),
        (("log_odds", "both", 0), [1, 2]),
        (("log_odds", "third"), []),
        (("log_odds",), []),
        (("subgroups",), {"vendor": ["A"]}),
        (("subgroups",), {"vendor": "ABCDEF"}),
        (("patients",), ["Smith"]),
    ],
)
def test_a_damaged_file_is_refused_in_a_sentence(tmp_path, place, value):
    values = json.loads(made().to_json())
    inner = values
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(values).replace("Infinity", "1e999"))
    with pytest.raises(PredictionsError, match=r"\.$"):
        Predictions.read(path)


@pytest.mark.parametrize("text", ["", "[]", '{"format": NaN}', "1" * 5000])
def test_text_that_is_no_list_of_predictions_is_refused(text):
    with pytest.raises(PredictionsError):
        Predictions.from_json(text)


def test_a_file_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(PredictionsError, match=r"There is no predictions\.json\."):
        Predictions.read(tmp_path / "predictions.json")


def test_a_value_cannot_be_changed_afterwards():
    predictions = made()
    with pytest.raises(ValueError, match="read-only"):
        predictions.labels[0, 0] = 1
