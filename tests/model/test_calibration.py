"""What log-odds mean: probabilities, thresholds and sets of a calibration, and what its file may not hold."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from breastai_model.calibration import Calibration, CalibrationError, ScopeCalibration, TaskCalibration, log_odds_of, probabilities

COUNTS = {"patients": 150, "negatives": 90, "positives": 60}
LNM = TaskCalibration(2.0, 0.4, negative_quantile=0.6, positive_quantile=0.7, **COUNTS)
CALIBRATION = Calibration(0.9, both=ScopeCalibration(lymph_node_metastasis=LNM))


def said(probability: float) -> float:
    """The network's log-odds that mean this probability at temperature 2."""
    return 2 * log_odds_of(probability)


def test_the_temperature_divides_the_log_odds():
    assert CALIBRATION.probability("both", "lymph_node_metastasis", 2 * np.log(3)) == pytest.approx(0.75)
    assert CALIBRATION.probability("mri", "lymph_node_metastasis", np.log(3)) == pytest.approx(0.75)  # not calibrated: as it is
    assert CALIBRATION.threshold("both", "lymph_node_metastasis") == 0.4


def test_extreme_log_odds_neither_overflow_nor_pass_as_no_number():
    assert probabilities(np.array([-1e5, 0.0, 1e5]), 0.05).tolist() == [0.0, 0.5, 1.0]
    with pytest.raises(CalibrationError, match="no number"):
        CALIBRATION.probability("both", "high_grade", float("nan"))


@pytest.mark.parametrize(
    ("probability", "remain", "decision"),
    [
        (0.2, ("negative",), "negative"),
        (0.5, ("negative", "positive"), "not determined"),
        (0.8, ("positive",), "positive"),
    ],
)
def test_answers_remain_while_their_score_is_usual(probability, remain, decision):
    assert CALIBRATION.prediction_set("both", "lymph_node_metastasis", said(probability)) == remain
    assert CALIBRATION.decision("both", "lymph_node_metastasis", said(probability)) == decision


def test_between_two_well_separated_answers_neither_remains():
    sharp = Calibration(0.9, both=ScopeCalibration(lymph_node_metastasis=replace(LNM, negative_quantile=0.2, positive_quantile=0.2)))
    assert sharp.prediction_set("both", "lymph_node_metastasis", said(0.5)) == ()
    assert sharp.decision("both", "lymph_node_metastasis", said(0.5)) == "not determined"


def test_without_sets_the_threshold_decides():
    few = Calibration(both=ScopeCalibration(lymph_node_metastasis=TaskCalibration(2.0, 0.4, patients=60, negatives=30, positives=30)))
    assert few.prediction_set("both", "lymph_node_metastasis", said(0.5)) is None
    assert few.decision("both", "lymph_node_metastasis", said(0.41)) == "positive"
    assert few.decision("both", "lymph_node_metastasis", said(0.39)) == "negative"


def test_the_file_gives_back_the_same_calibration_bit_for_bit():
    odd = Calibration(0.95, us=ScopeCalibration(high_ki67=TaskCalibration(1 / 3, 0.1 + 0.2, 1e-300, 1.0, **COUNTS)))
    assert Calibration.from_json(odd.to_json()) == odd


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("coverage",), 1.0),
        (("coverage",), "0.9"),
        (("coverage",), True),
        (("both", "lymph_node_metastasis", "temperature"), 0.0),
        (("both", "lymph_node_metastasis", "temperature"), 1e400),
        (("both", "lymph_node_metastasis", "temperature"), 10**400),
        (("both", "lymph_node_metastasis", "threshold"), 1.01),
        (("both", "lymph_node_metastasis", "negative_quantile"), None),
        (("both", "lymph_node_metastasis", "positive_quantile"), -0.1),
        (("both", "lymph_node_metastasis", "patients"), 99),
        (("both", "lymph_node_metastasis", "patients"), 151.0),
        (("both", "lymph_node_metastasis", "positives"), 19),
        (("both", "lymph_node_metastasis"), None),
        (("both", "another_task"), {}),
        (("note",), "hello"),
        (("mri",), {}),
    ],
)
def test_a_damaged_calibration_is_refused_in_a_sentence(place, value):
    values = json.loads(CALIBRATION.to_json())
    inner = values
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(CalibrationError, match=r"calibration.*\.$"):
        Calibration.from_json(json.dumps(values).replace("Infinity", "1e999"))


@pytest.mark.parametrize("text", ["", "[]", "null", '{"coverage": NaN}', "{" * 5000, "1" * 5000])
def test_text_that_is_no_calibration_is_refused(text):
    with pytest.raises(CalibrationError):
        Calibration.from_json(text)


def test_a_calibration_of_too_few_patients_cannot_be_made():
    with pytest.raises(CalibrationError, match="too few"):
        TaskCalibration(1.5, 0.5, patients=39, negatives=19, positives=20)
    with pytest.raises(CalibrationError, match="too few"):
        TaskCalibration(1.5, 0.5, 0.5, 0.5, patients=99, negatives=50, positives=49)


def test_reading_it_needs_neither_torch_nor_scipy():
    code = "import sys, breastai_model.calibration; print(sorted({'torch', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
