"""An exam outside what the model has seen: its numbers are withheld in JSON and report; what each input added is listed there."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from breastai_gui.services.assessment import OUTSIDE_SENTENCE
from breastai_gui.services.assessment_json import document
from breastai_gui.services.report import compose
from breastai_gui.services.report_contents import Legend, Table, Words
from breastai_gui.services.session import Session
from breastai_model.case import TASKS, Contributions, InDistribution
from phantoms import simple_assessment, simple_study

if TYPE_CHECKING:
    from breastai_gui.services.assessment import Assessment

REASON = "The MRI differs from what this model has seen: grey values and texture lie 4.7 times as far away as its limit."
PHASES = tuple((index, (0.1 * index, -0.05, 0.0)) for index in range(5))
WEIGHED = Contributions((0.2, 0.0, 0.0), (1.0, -0.25, 0.0), (-1.32, 0.12, 0.0), PHASES, ((3, (0.5, 0.0, 0.0)),), 0.07, 1.0)


def session_with(trained_on: str = "patients", **parts: object) -> Session:
    session = Session(simple_study(phantom=trained_on == "synthetic"))
    assessment = simple_assessment(session.study, trained_on=trained_on)
    session.set_assessments((changed(assessment, **parts),))
    return session


def changed(assessment: Assessment, **parts: object) -> Assessment:
    return replace(assessment, prediction=replace(assessment.prediction, **parts))


def answer(session: Session) -> dict[str, Any]:
    (found,) = json.loads(json.dumps(document(session, "1"), allow_nan=False))["assessments"]
    return found  # type: ignore[no-any-return]


def report_text(session: Session) -> str:
    (section,) = [section for section in compose(session, "1").sections if section.title == "The model's answer"]
    lines = []
    for part in section.parts:
        if isinstance(part, Words):
            lines.append(part.text)
        elif isinstance(part, Table):
            lines += [" | ".join(row) for row in part.rows]
    return "\n".join(lines)


def test_outside_the_numbers_are_withheld_even_of_weights_that_learnt_from_patients() -> None:
    for trained_on in ("patients", "synthetic"):
        session = session_with(trained_on, distribution=InDistribution(False, 4.7, 1.0, (REASON,)), contributions=WEIGHED)
        found, text = answer(session), report_text(session)
        assert found["numbers_hidden"] is True
        assert found["in_distribution"]["inside"] is False
        assert found["in_distribution"]["reasons"] == [REASON]
        assert found["in_distribution"]["distance"] == 4.7
        assert all(found["predictions"][task]["probability"] is None for task in TASKS)
        assert found["contributions"] is None
        assert found["energy_share"] is None
        assert OUTSIDE_SENTENCE in text
        assert REASON in text
        assert "0.68" not in text + json.dumps(found)
        assert "+1.00" not in text
        session.choose(show_numbers=True)
        assert answer(session)["predictions"]["high_grade"]["probability"] == 0.68
        assert sum(answer(session)["energy_share"].values()) == pytest.approx(1.0, abs=1e-3)
        assert "0.68" in report_text(session)
        assert REASON in report_text(session)


def test_the_maps_of_an_exam_that_is_outside_say_so_in_the_reports_legends() -> None:
    outside = session_with("patients", distribution=InDistribution(False, 4.7, 1.0, (REASON,)))
    legends = [part for section in compose(outside, "1").sections for part in section.parts if isinstance(part, Legend)]
    assert legends
    assert all(OUTSIDE_SENTENCE in legend.warning for legend in legends)
    inside = session_with("patients", distribution=InDistribution(True, 0.6, 1.0, ()))
    assert not any(part.warning for section in compose(inside, "1").sections for part in section.parts if isinstance(part, Legend))


def test_a_verdict_without_a_reason_cannot_be_made() -> None:
    """It would show numbers of an exam that lies outside."""
    with pytest.raises(ValueError, match="at least one reason"):
        InDistribution(False, 4.7, 1.0, ())


def test_inside_nothing_is_withheld_and_it_is_said() -> None:
    session = session_with(distribution=InDistribution(True, 0.6, 1.0, ()))
    assert answer(session)["numbers_hidden"] is False
    assert "like those that the model has seen" in report_text(session)
    unknown = session_with()
    assert answer(unknown)["in_distribution"] is None
    assert "has seen" not in report_text(unknown)


def test_what_each_input_added_is_listed_by_the_names_of_the_study() -> None:
    session = session_with(contributions=WEIGHED)
    found = answer(session)["contributions"]
    assert found["mri"]["lymph_node_metastasis"] == 1.0
    assert [phase["phase"] for phase in found["phases"]] == [0, 1, 2, 3, 4]
    assert found["views"] == [{"view": "view-03", "lymph_node_metastasis": 0.5, "high_grade": 0.0, "high_ki67": 0.0}]
    text = report_text(session)
    assert "MRI | +1.00 | −0.25 | 0.00" in text
    assert "– phase 5 | +0.40" in text
    assert "– image 4 | +0.50" in text
    assert "standard error at most 0.07" in text
    assert "added" not in report_text(session_with())


def test_too_few_to_say_is_not_the_same_as_not_calibrated() -> None:
    session = session_with()
    assert "not calibrated" in report_text(session)
    few = replace(session.assessments[0].prediction.high_grade, calibrated=True)
    session = session_with(high_grade=few)
    assert "High grade (3) | 0.68 | one model | positive (threshold 0.50) | too few to say" in report_text(session)
    assert answer(session)["predictions"]["high_grade"]["calibrated"] is True
