"""What must be asked before an exam is assessed as one: nothing is guessed."""

from __future__ import annotations

import dataclasses

import numpy as np

from breastai_gui.data.study import Grid, Patient, Problem, Study
from breastai_gui.services.questions import blocking_questions, open_questions
from breastai_gui.services.session import Choices
from phantoms import simple_study

AS_READ = Choices()


def asked(study: Study, choices: Choices = AS_READ) -> list[tuple[str, str]]:
    return [(question.kind, question.blocks) for question in open_questions(study, choices)]


def with_dce(study: Study, **changes: object) -> Study:
    assert study.dce is not None
    return dataclasses.replace(study, dce=dataclasses.replace(study.dce, **changes))  # type: ignore[arg-type]


def with_views(study: Study, **changes: list[object]) -> Study:
    views = list(study.ultrasound)
    for name, values in changes.items():
        views = [dataclasses.replace(view, **{name: value}) for view, value in zip(views, values, strict=True)]
    return dataclasses.replace(study, ultrasound=tuple(views))


def test_a_clean_exam_leaves_nothing_to_ask() -> None:
    assert asked(simple_study()) == []


def test_i1_a_mismatch_names_what_differs_and_blocks_the_joint_answer_until_confirmed() -> None:
    study = simple_study(ultrasound_name="Other^Woman")
    (question,) = open_questions(study, Choices())
    assert question.blocks == "joint"
    assert "patient ID" in question.text
    assert "name" in question.text
    assert "Other" not in question.text, "the names themselves do not belong into a question that may be logged"
    assert asked(study, Choices(same_patient=True)) == []


def test_i1_swapped_case_and_separators_are_the_same_name() -> None:
    first, second = Patient("", "MÜLLER^Ana Maria", "", ""), Patient("", "Müller^ana  maria", "", "")
    assert first.differs_from(second) == ()


def test_nothing_in_common_to_compare_is_a_question_too() -> None:
    study = simple_study()
    unknown = dataclasses.replace(study, ultrasound_patient=Patient())
    assert asked(unknown) == [("same_patient", "joint")]


def test_a_proposed_order_blocks_the_mri_until_confirmed() -> None:
    study = simple_study(order="question")
    assert asked(study) == [("phase_order", "mri")]
    assert asked(study, Choices(phases_confirmed=True)) == []


def test_an_unsure_pre_phase_is_settled_by_confirming_an_unknown_one_only_by_naming_it() -> None:
    unsure = with_dce(simple_study(), pre_confidence="question")
    unknown = with_dce(simple_study(), pre=None, pre_confidence="question")
    assert asked(unsure) == asked(unknown) == [("pre_contrast", "mri")]
    assert asked(unsure, Choices(phases_confirmed=True)) == []
    assert asked(unknown, Choices(phases_confirmed=True)) == [("pre_contrast", "mri")]
    assert asked(unknown, Choices(pre=0)) == []


def test_two_breasts_must_be_chosen_between_an_unknown_one_is_only_told() -> None:
    both = with_views(simple_study(), side=["left", "right"] * 6)
    none = with_views(simple_study(), side=[None] * 12)
    assert asked(both) == [("side", "joint")]
    assert asked(both, Choices(side="left")) == []
    assert asked(none) == [("side", "nothing")]


def test_i7_ultrasound_of_a_breast_that_the_mri_does_not_show_is_asked() -> None:
    study = simple_study()
    assert study.dce is not None
    affine = study.dce.grid.affine.copy()
    affine[0, 3] = -310.0  # moves the volume to x -311 .. -23: the right breast
    right_only = with_dce(study, grid=Grid(study.dce.grid.shape, affine))
    (question,) = open_questions(right_only, Choices())
    assert (question.kind, question.blocks) == ("side", "joint")
    assert "left" in question.text
    assert "right" in question.text


def test_the_breast_of_an_mri_alone_is_asked_only_as_far_as_it_is_open() -> None:
    study = simple_study(views=0)
    assert study.dce is not None
    assert asked(study) == [("side", "nothing")], "both breasts are shown: assessed all the same, with both orders of the breasts"
    affine = study.dce.grid.affine.copy()
    affine[0, 3] = -310.0
    assert asked(with_dce(study, grid=Grid(study.dce.grid.shape, affine))) == [], "it shows the right one only"
    affine = affine.copy()
    affine[0, 2], affine[0, 3] = 0.3, -20.0
    narrow = with_dce(study, grid=Grid(study.dce.grid.shape, affine))
    assert asked(narrow) == [("side", "mri")], "which breast it shows is not known"
    assert asked(narrow, Choices(side="right")) == []


def test_only_what_keeps_a_part_from_the_model_makes_a_draft() -> None:
    told = with_views(simple_study(views=12), side=[None] * 12)
    assert asked(told)
    assert blocking_questions(told, AS_READ) == ()
    assert [question.kind for question in blocking_questions(simple_study(ultrasound_name="Other"), AS_READ)] == ["same_patient"]


def test_several_lesions_are_chosen_between() -> None:
    study = with_views(simple_study(), lesion=["A"] * 6 + ["B"] * 6)
    assert asked(study) == [("lesion", "joint")]
    assert asked(study, Choices(lesion="B")) == []


def test_a_problem_that_stops_keeps_the_mri_from_the_model() -> None:
    damaged = "Phase 3: slice 21 of 48 is damaged (260,628 of 524,288 bytes)."
    study = simple_study(problems=(Problem(damaged, "IM021", stops=True), Problem("A note.", "")))
    (question,) = open_questions(study, Choices())
    assert (question.kind, question.blocks, question.text) == ("incomplete", "mri", damaged)


def test_mri_alone_and_ultrasound_alone_ask_nothing_about_each_other() -> None:
    assert asked(simple_study(views=0)) == [("side", "nothing")]
    assert asked(simple_study(phases=0)) == []
    assert np.isfinite(simple_study(phases=0).ultrasound[0].pixels).all()
