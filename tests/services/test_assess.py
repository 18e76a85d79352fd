"""From a study to the model's input: identity left behind, nothing guessed, what was absent said."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from breastai_gui.data.study import Grid, Problem, Study
from breastai_gui.services.assess import AssessError, assess, case_of, plan_of, subject_of
from breastai_gui.services.breasts import shown_breasts
from breastai_gui.services.chosen import chosen_views, reading_side
from breastai_gui.services.predicting import PredictingProcess
from breastai_gui.services.session import Choices
from breastai_model.case import Case, InputsUsed
from phantoms import simple_study


def seen(case: Case, phase_slots: int = 5) -> InputsUsed:
    """What a network with that many slots takes of a case."""
    phases = min(phase_slots, 0 if case.dce is None else len(case.dce))
    return InputsUsed(tuple(range(phases)), phase_slots, tuple(range(len(case.ultrasound))), 12, (), case.side is None, ())


def moved(study: Study, first_x_mm: float) -> Study:
    """The same exam with its first column at another place across the patient."""
    assert study.dce is not None
    affine = study.dce.grid.affine.copy()
    affine[0, 3] = first_x_mm
    return dataclasses.replace(study, dce=dataclasses.replace(study.dce, grid=Grid(study.dce.grid.shape, affine)))


def with_views(study: Study, **changes: list[object]) -> Study:
    views = list(study.ultrasound)
    for name, values in changes.items():
        views = [dataclasses.replace(view, **{name: value}) for view, value in zip(views, values, strict=True)]
    return dataclasses.replace(study, ultrasound=tuple(views))


def test_a_case_has_no_room_for_an_identity() -> None:
    study = simple_study(name="ZZCANARY^PAT")
    case = case_of(study, Choices(), "joint")
    assert "CANARY" not in repr([getattr(case, field.name) for field in dataclasses.fields(Case)])
    assert {field.name for field in dataclasses.fields(Case)} & {"patient", "name", "taken_on", "path", "files", "key"} == set()


def test_the_whole_series_is_shared_not_copied() -> None:
    study = simple_study()
    assert study.dce is not None
    case = case_of(study, Choices(), "joint")
    assert case.dce is not None
    assert np.shares_memory(case.dce, study.dce.values)
    kept = case_of(study, Choices(phases=(0, 1, 2, 3)), "mri").dce
    assert kept is not None
    assert np.shares_memory(kept, study.dce.values)


def test_phases_follow_the_person_s_order_and_pre_follows_its_phase() -> None:
    study = simple_study()
    assert study.dce is not None
    case = case_of(study, Choices(phases=(1, 0, 3), pre=0), "mri")
    assert case.dce is not None
    assert np.array_equal(case.dce, study.dce.values[[1, 0, 3]])
    assert case.pre == 1
    assert case.dce_times_s is None, "the chosen order contradicts the times, so no time is believed"


def test_six_phases_are_reduced_to_one_and_four() -> None:
    study = simple_study(phases=6)
    case = case_of(study, Choices(phases=(0, 1, 2, 3, 5)), "mri")
    assert case.dce_times_s == (-60.0, 75.0, 150.0, 240.0, 540.0)
    assert case.pre == 0


def test_one_unknown_time_makes_all_unknown() -> None:
    study = simple_study()
    assert study.dce is not None
    dce = dataclasses.replace(study.dce, times_s=(-60.0, 75.0, None, 240.0, 450.0))
    assert case_of(dataclasses.replace(study, dce=dce), Choices(), "mri").dce_times_s is None


def test_leaving_out_the_phase_before_contrast_is_refused_in_words() -> None:
    with pytest.raises(AssessError, match="Phase 1, the one before contrast, was left out"):
        case_of(simple_study(), Choices(phases=(1, 2, 3)), "mri")
    assert plan_of(simple_study(), Choices(phases=(1, 2, 3))).scopes == ("ultrasound",)
    with pytest.raises(AssessError, match="at least one phase after"):
        case_of(simple_study(), Choices(phases=(0,)), "mri")


@pytest.mark.parametrize(
    ("first_x_mm", "expected"),
    [
        (-143.0, {"left", "right"}),
        (-310.0, {"right"}),
        (20.0, {"left"}),
        (-20.0, {"left"}),
        (-260.0, {"right"}),
    ],
)
def test_which_breasts_the_mri_shows_comes_from_patient_coordinates(first_x_mm: float, expected: set[str]) -> None:
    study = moved(simple_study(views=0), first_x_mm)
    assert study.dce is not None
    assert shown_breasts(study.dce) == expected
    case = case_of(study, Choices(), "mri")
    assert case.breasts == expected
    assert case.side == (next(iter(expected)) if len(expected) == 1 else None)


def test_i5_mirroring_the_array_does_not_change_which_breast_it_is() -> None:
    study = moved(simple_study(views=0), 20.0)
    assert study.dce is not None
    affine = study.dce.grid.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (study.dce.grid.shape[2] - 1)
    affine[:3, 2] *= -1
    mirrored = dataclasses.replace(study.dce, values=study.dce.values[..., ::-1].copy(), grid=Grid(study.dce.grid.shape, affine))
    assert shown_breasts(mirrored) == {"left"}


def test_a_moved_midline_moves_the_sides() -> None:
    study = simple_study()
    assert study.dce is not None
    assert shown_breasts(study.dce, midline_mm=-120.0) == {"left"}
    assert case_of(study, Choices(midline_mm=4.0), "joint").midline_mm == 4.0


def test_a_volume_too_narrow_to_tell_asks_for_the_side() -> None:
    study = simple_study(views=0)
    assert study.dce is not None
    affine = np.diag([4.0, 2.0, 0.3, 1.0])[[2, 1, 0, 3]]
    affine[:3, 3] = (-20.0, -80.0, -40.0)
    narrow = dataclasses.replace(study, dce=dataclasses.replace(study.dce, grid=Grid(study.dce.grid.shape, affine)))
    assert narrow.dce is not None
    assert shown_breasts(narrow.dce) == frozenset()
    plan = plan_of(narrow, Choices())
    assert plan.scopes == ()
    assert "which breast" in plan.reasons[0]
    assert case_of(narrow, Choices(side="right"), "mri").breasts == {"right"}


def test_views_go_in_by_angle_with_the_edited_one_in_its_new_place() -> None:
    study = simple_study()
    case = case_of(study, Choices(angles=(("view-00", 172.5), ("view-03", None))), "joint")
    assert case.angles_deg == (15.0, 30.0, 60.0, 75.0, 90.0, 105.0, 120.0, 135.0, 150.0, 165.0, 172.5, None)
    views = {view.id: view for view in study.ultrasound}
    assert case.ultrasound[-2] is views["view-00"].pixels
    assert case.ultrasound[-1] is views["view-03"].pixels


def test_only_chosen_or_proposed_views_and_never_more_than_twelve() -> None:
    study = simple_study(views=25)
    assert len(chosen_views(study, Choices())) == 12
    assert [view.id for view in chosen_views(study, Choices(views=("view-20", "view-02")))] == ["view-20", "view-02"]
    everything = chosen_views(study, Choices(views=tuple(view.id for view in study.ultrasound)))
    assert len(everything) == 12
    assert len({view.id for view in everything}) == 12


def test_views_of_the_other_breast_or_another_lesion_never_go_in() -> None:
    study = with_views(simple_study(), side=["left"] * 6 + ["right"] * 6, lesion=["A", "B"] * 6)
    chosen = chosen_views(study, Choices(side="right", lesion="A"))
    assert [view.id for view in chosen] == ["view-06", "view-08", "view-10"]
    forced = chosen_views(study, Choices(side="right", lesion="A", views=("view-00", "view-06", "view-07")))
    assert [view.id for view in forced] == ["view-06"]


def test_a_side_that_no_file_names_stays_unknown() -> None:
    study = with_views(simple_study(), side=[None] * 12)
    case = case_of(study, Choices(), "joint")
    assert case.side is None
    assert subject_of(study, Choices(), "joint", case, seen(case)).startswith("Side unknown")
    assert case_of(study, Choices(side="right"), "joint").side == "right"


@pytest.mark.parametrize(
    ("study", "choices", "scopes"),
    [
        (simple_study(), Choices(), ("joint",)),
        (simple_study(views=0), Choices(), ("mri",)),
        (simple_study(phases=0), Choices(), ("ultrasound",)),
        (simple_study(ultrasound_name="Other"), Choices(), ("mri", "ultrasound")),
        (simple_study(ultrasound_name="Other"), Choices(same_patient=True), ("joint",)),
        (simple_study(order="question"), Choices(), ("ultrasound",)),
        (simple_study(order="question"), Choices(phases_confirmed=True), ("joint",)),
        (simple_study(order="question", views=0), Choices(), ()),
        (simple_study(problems=(Problem("A slice is missing.", stops=True),)), Choices(), ("ultrasound",)),
        (with_views(simple_study(), side=["left", "right"] * 6), Choices(), ("mri",)),
        (with_views(simple_study(), side=["left", "right"] * 6), Choices(side="left"), ("joint",)),
        (with_views(simple_study(), lesion=["A", "B"] * 6), Choices(), ("mri",)),
        (moved(simple_study(), -310.0), Choices(), ("mri", "ultrasound")),
    ],
)
def test_what_is_assessed_while_questions_are_open(study: Study, choices: Choices, scopes: tuple[str, ...]) -> None:
    plan = plan_of(study, choices)
    assert plan.scopes == scopes
    everything_used = scopes == ("joint",) or (len(scopes) == 1 and (study.dce is None or not study.ultrasound))
    assert bool(plan.reasons) != everything_used, "whatever is left out has its reason, and nothing else has one"


def test_the_subject_line_says_breast_lesion_and_what_was_absent() -> None:
    study = simple_study(views=0, phases=4)
    case = case_of(study, Choices(side="left"), "mri")
    line = subject_of(study, Choices(side="left"), "mri", case, seen(case))
    assert line == "Left breast (chosen); 4 MRI phases; no ultrasound"
    study = with_views(simple_study(ultrasound_name="Other"), lesion=["A"] * 12)
    choices = Choices(lesion="A")
    case = case_of(study, choices, "ultrasound")
    line = subject_of(study, choices, "ultrasound", case, seen(case))
    assert line == "Left breast (from the ultrasound); lesion A; ultrasound alone, the MRI was not used; 12 of 12 ultrasound angles"


def test_the_subject_line_says_how_many_of_the_phases_the_network_saw() -> None:
    study = simple_study(phases=6)
    case = case_of(study, Choices(), "joint")
    line = subject_of(study, Choices(), "joint", case, seen(case))
    assert line == "Left breast (from the ultrasound); 5 of 6 MRI phases; 12 of 12 ultrasound angles"


def test_the_subject_line_says_that_angles_are_assumed_until_a_person_sets_them() -> None:
    study = with_views(simple_study(phases=0), angle_source=["position in the order (assumed)"] * 12)
    case = case_of(study, Choices(), "ultrasound")
    assert subject_of(study, Choices(), "ultrasound", case, seen(case)).endswith("12 of 12 ultrasound angles, angles assumed")
    choices = Choices(angles=tuple((view.id, view.angle_deg) for view in study.ultrasound))
    assert subject_of(study, choices, "ultrasound", case, seen(case)).endswith("12 of 12 ultrasound angles")


def test_an_mri_alone_that_shows_one_breast_is_about_that_breast() -> None:
    assert reading_side(moved(simple_study(views=0), -310.0), Choices()) == "right"
    assert reading_side(simple_study(views=0), Choices()) is None


def test_nothing_that_can_be_assessed_is_one_sentence_with_the_questions() -> None:
    predicting = PredictingProcess()
    with pytest.raises(AssessError, match=r"Nothing can be assessed yet.*order of the 5 dynamic phases"):
        assess(simple_study(order="question", views=0), Choices(), None, predicting)  # type: ignore[arg-type]


def test_one_breast_in_a_file_without_a_frame_of_reference_is_not_named() -> None:
    study = simple_study(views=0)
    assert study.dce is not None
    half = study.dce.values[:, :, :, :60]
    grid = Grid((24, 80, 60), study.dce.grid.affine.copy())
    narrow = dataclasses.replace(study.dce, values=half, grid=grid)
    assert shown_breasts(narrow) == {"right"}
    assert shown_breasts(dataclasses.replace(narrow, frame_of_reference="")) == frozenset()
    assert (
        "Which breast the MRI shows is not known"
        in plan_of(dataclasses.replace(study, dce=dataclasses.replace(narrow, frame_of_reference="")), Choices()).reasons[0]
    )
