"""The JSON document: everything another program needs, nobody's name, and no number that says nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from breastai_gui.services.assessment import DEMONSTRATION_SENTENCE
from breastai_gui.services.assessment_json import document, input_key, write
from breastai_gui.services.session import Choices, Session, SessionState
from breastai_model.case import TASKS
from phantoms import simple_assessment, simple_study

if TYPE_CHECKING:
    from pathlib import Path


def made(session: Session) -> dict[str, Any]:
    return json.loads(json.dumps(document(session, "0.1.0"), allow_nan=False))  # type: ignore[no-any-return]


def assessed(choices: Choices | None = None, trained_on: str = "synthetic", **study: Any) -> Session:
    session = Session(simple_study(**study), SessionState(choices or Choices()))
    session.set_assessments((simple_assessment(session.study, trained_on=trained_on),))
    return session


def test_a_demonstration_model_s_numbers_on_a_real_patient_are_null_until_asked_for() -> None:
    (answer,) = made(assessed())["assessments"]
    assert answer["valid_for_patients"] is False
    assert answer["notice"] == DEMONSTRATION_SENTENCE
    assert answer["numbers_hidden"] is True
    for task in TASKS:
        assert answer["predictions"][task]["probability"] is None
        assert answer["predictions"][task]["decision"] is None
    assert "0.68" not in json.dumps(answer)
    (asked,) = made(assessed(Choices(show_numbers=True)))["assessments"]
    assert asked["predictions"]["high_grade"]["probability"] == 0.68
    assert asked["notice"] == DEMONSTRATION_SENTENCE
    assert asked["valid_for_patients"] is False


def test_numbers_on_the_phantom_are_shown_but_never_valid_for_patients() -> None:
    whole = made(assessed(phantom=True))
    (answer,) = whole["assessments"]
    assert answer["predictions"]["high_ki67"]["probability"] == 0.68
    assert answer["notice"] is None
    assert answer["valid_for_patients"] is whole["valid_for_patients"] is False


def test_only_weights_that_learnt_from_patients_are_valid_for_patients() -> None:
    whole = made(assessed(trained_on="patients"))
    assert whole["valid_for_patients"] is whole["assessments"][0]["valid_for_patients"] is True
    assert made(Session(simple_study()))["valid_for_patients"] is False


def test_no_name_birth_date_or_patient_id_is_in_it() -> None:
    text = json.dumps(made(assessed(name="ZZCANARY^PAT", ultrasound_name="ZZCANARY^TWO")))
    assert "CANARY" not in text
    assert "19700101" not in text
    assert "ID-1" not in text
    assert "ID-2" not in text


def test_a_mismatch_makes_a_draft_with_its_question() -> None:
    whole = made(assessed(ultrasound_name="Other"))
    assert whole["draft"] is True
    assert whole["study"]["identity_differs_in"] == ["patient ID", "name"]
    assert [question["kind"] for question in whole["questions"]] == ["same_patient"]
    confirmed = made(assessed(Choices(same_patient=True), ultrasound_name="Other"))
    assert confirmed["draft"] is False
    assert confirmed["choices"]["same_patient_confirmed"] is True


def test_phases_files_and_inputs_are_all_there() -> None:
    whole = made(assessed(Choices(phases=(0, 1, 2, 3)), phases=6))
    mri = whole["study"]["mri"]
    assert [phase["time_s"] for phase in mri["phases"]] == [-60.0, 75.0, 150.0, 240.0, 450.0, 540.0]
    assert mri["phases"][1]["evidence"] == {"AcquisitionNumber": "2"}
    assert mri["phases_in_use"] == [0, 1, 2, 3]
    assert [phase["in_use"] for phase in mri["phases"]] == [True] * 4 + [False] * 2
    assert whole["files"] == [
        {"file": "IM001", "used_as": "phase 1, slice 1", "why_not": None},
        {"file": "notes.txt", "used_as": None, "why_not": "not an image"},
    ]
    (answer,) = whole["assessments"]
    assert answer["inputs"]["phases"] == [0, 1, 2, 3, 4]
    assert answer["inputs"]["phases_not_used"] == [5]
    assert answer["provenance"]["model_sha256"] == "ab" * 32


def test_what_was_missing_is_named() -> None:
    (answer,) = made(assessed(views=0, phases=4))["assessments"]
    assert answer["inputs"]["missing"] == ["1 of 5 MRI phases", "ultrasound"]
    (answer,) = made(assessed(phases=0, views=11))["assessments"]
    assert answer["inputs"]["missing"] == ["MRI", "1 of 12 ultrasound angles"]


def test_the_input_key_changes_with_what_the_answer_rests_on_and_with_nothing_else() -> None:
    answer = simple_assessment(simple_study())
    key = input_key(answer, Choices())
    assert input_key(answer, Choices(show_numbers=True, phases_confirmed=True)) == key
    assert input_key(answer, Choices(angles=(("not in it", 3.0),))) == key
    assert len({key, input_key(answer, Choices(side="right")), input_key(answer, Choices(angles=(("view-01", 3.0),)))}) == 3


def test_it_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write(assessed(), "0.1.0", tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["schema"] == "breastai-assessment/1"
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(OSError, match="folder"):
        write(assessed(), "0.1.0", tmp_path / "folder.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.json", "out.json"]
