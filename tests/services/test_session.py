"""What a person decides: undo and redo of anything, and an answer that never outlives the choices it rests on."""

from __future__ import annotations

import pytest

from breastai_gui.services.annotations import DCE, Annotation
from breastai_gui.services.session import Reading, Session
from phantoms import simple_assessment, simple_study

MARK = Annotation("m1", "ruler", DCE, ((0.0, 0.0, 0.0), (3.0, 4.0, 0.0)), (0.0, 0.0, 1.0))


def test_every_gesture_can_be_undone_and_done_again() -> None:
    session = Session(simple_study())
    states = [session.state]
    for gesture in (
        lambda: session.choose(side="left"),
        lambda: session.add_annotation(MARK),
        lambda: session.replace_annotation(MARK.with_text("margin")),
        lambda: session.set_reading(Reading("A mass.", "BI-RADS 4")),
        lambda: session.remove_annotation("m1"),
    ):
        gesture()
        states.append(session.state)
    for earlier in reversed(states[:-1]):
        session.undo()
        assert session.state == earlier
    assert not session.can_undo
    session.undo()
    assert session.state == states[0]
    for later in states[1:]:
        session.redo()
        assert session.state == later
    assert not session.can_redo


def test_a_new_gesture_after_undo_ends_redo() -> None:
    session = Session(simple_study())
    session.choose(side="left")
    session.undo()
    session.choose(side="right")
    assert not session.can_redo
    session.undo()
    assert session.choices.side is None


def test_a_gesture_that_changes_nothing_is_no_step() -> None:
    session = Session(simple_study())
    session.choose(side=None)
    assert not session.can_undo


@pytest.mark.parametrize(
    "change",
    [{"side": "right"}, {"phases": (0, 1, 2)}, {"pre": 1}, {"angles": (("view-01", 30.0),)}, {"midline_mm": 5.0}, {"views": ("view-01",)}],
)
def test_the_answer_is_dropped_when_a_choice_changes_that_it_rests_on(change: dict[str, object]) -> None:
    session = Session(simple_study())
    session.set_assessments((simple_assessment(session.study),))
    session.choose(**change)
    assert session.assessments == ()


def test_the_answer_stays_when_only_looking_or_writing_changes() -> None:
    session = Session(simple_study())
    answer = simple_assessment(session.study)
    session.set_assessments((answer,))
    session.choose(show_numbers=True)
    session.choose(lesion_mm=(1.0, 2.0, 3.0))
    session.add_annotation(MARK)
    session.set_reading(Reading("A mass.", ""))
    session.undo()
    assert session.assessments == (answer,)


def test_undo_of_a_choice_drops_the_answer_given_under_it() -> None:
    session = Session(simple_study())
    session.choose(side="right")
    session.set_assessments((simple_assessment(session.study),))
    session.undo()
    assert session.assessments == ()


def test_an_answer_for_another_study_is_refused() -> None:
    session = Session(simple_study())
    with pytest.raises(ValueError, match="another study"):
        session.set_assessments((simple_assessment(simple_study(phases=4)),))
    assert session.assessments == ()


def test_views_are_told_of_every_state_and_answer() -> None:
    session = Session(simple_study())
    told: list[str] = []
    session.changed.connect(lambda: told.append("changed"))
    session.state_added.connect(lambda state: told.append(f"kept {len(state.annotations)}"))
    session.add_annotation(MARK)
    session.undo()
    session.set_assessments((simple_assessment(session.study),))
    assert told == ["kept 1", "changed", "kept 0", "changed", "changed"]
