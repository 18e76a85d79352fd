"""Order, times and the phase before contrast, from facts alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breastai_gui.data.phases import DAY_S, PhaseFacts, order_of, pre_of, seconds_of_day, times_of, unwrapped

RISING = [100.0, 180.0, 200.0, 195.0, 190.0]


def facts(**tags: list[float]) -> list[PhaseFacts]:
    count = max(len(values) for values in tags.values())
    return [PhaseFacts({tag: values[n] for tag, values in tags.items() if n < len(values)}, fallback=n) for n in range(count)]


def test_two_weak_tags_that_agree_are_certain_and_one_alone_is_likely() -> None:
    both = order_of(facts(AcquisitionNumber=[3, 1, 2], SeriesNumber=[15, 8, 9]))
    assert (both.indices, both.confidence) == ((1, 2, 0), "certain")
    assert both.evidence == "AcquisitionNumber and SeriesNumber rise together from phase to phase"
    assert order_of(facts(AcquisitionNumber=[3, 1, 2])).confidence == "likely"
    assert order_of(facts(SeriesNumber=[3, 1, 2])).confidence == "likely"


def test_without_any_tag_the_order_of_files_is_only_a_question() -> None:
    order = order_of([PhaseFacts(fallback=2), PhaseFacts(fallback=0), PhaseFacts(fallback=1)])
    assert (order.indices, order.confidence) == ((1, 2, 0), "question")


def test_d14_the_same_acquisition_time_in_all_phases_is_no_evidence_and_said() -> None:
    order = order_of(facts(AcquisitionTime=[9.0, 9.0, 9.0], TriggerTime=[0.0, 2e5, 1e5]))
    assert (order.indices, order.confidence) == ((0, 2, 1), "certain")
    assert "AcquisitionTime is the same in all phases" in order.evidence
    assert "AcquisitionTime is the same" in order_of(facts(AcquisitionTime=[9.0, 9.0])).evidence


def test_a_weak_contradiction_is_likely_and_a_strong_one_a_question() -> None:
    weak = order_of(facts(AcquisitionTime=[1.0, 2.0, 3.0], SeriesNumber=[3, 2, 1]))
    assert (weak.indices, weak.confidence) == ((0, 1, 2), "likely")
    assert "SeriesNumber says otherwise" in weak.evidence
    assert order_of(facts(AcquisitionTime=[1.0, 2.0], TriggerTime=[2.0, 1.0])).confidence == "question"


def test_tags_that_restart_in_each_series_count_with_the_series_number() -> None:
    """Before contrast in a series of its own, all later phases in a second one: numbers begin anew."""
    order = order_of(facts(SeriesNumber=[9, 9, 9, 4], TemporalPositionIdentifier=[2, 1, 3, 1]))
    assert order.indices == (3, 1, 0, 2)
    assert order.confidence == "certain"
    assert "TemporalPositionIdentifier within SeriesNumber" in order.evidence


def test_a_tag_that_some_phases_lack_is_no_evidence() -> None:
    order = order_of([PhaseFacts({"AcquisitionTime": 5.0}, fallback=0), PhaseFacts(fallback=1)])
    assert order.confidence == "question"
    assert order_of([PhaseFacts()]).confidence == "certain"


def test_d14_midnight_between_phases() -> None:
    late = DAY_S - 100.0
    order = order_of(facts(AcquisitionTime=[60.0, late, late + 80.0]))
    assert order.indices == (1, 2, 0)
    times, origin, _ = times_of(facts(AcquisitionTime=[late, late + 80.0, 60.0]), 1)
    assert times == (-80.0, 0.0, 80.0)
    assert origin == "assumed"
    assert unwrapped([]) == []


def test_times_count_from_the_injection_to_the_middle_of_the_acquisition() -> None:
    phases = [PhaseFacts({"AcquisitionTime": 36000.0 + 90 * n}, duration_s=60.0, injection_s=36070.0) for n in range(3)]
    assert times_of(phases, 1) == ((-40.0, 50.0, 140.0), "injection", "")


def test_an_injection_outside_the_gap_is_refused_and_said() -> None:
    phases = [PhaseFacts({"AcquisitionTime": 36000.0 + 90 * n}, injection_s=30000.0) for n in range(3)]
    times, origin, note = times_of(phases, 1)
    assert (times, origin) == ((-90.0, 0.0, 90.0), "assumed")
    assert "ContrastBolusStartTime" in note


def test_times_with_a_date_meet_an_injection_that_has_only_a_clock() -> None:
    phases = [PhaseFacts({"AcquisitionTime": 739000 * DAY_S + 36000.0 + 90 * n}, injection_s=36080.0) for n in range(3)]
    assert times_of(phases, 1)[:2] == ((-80.0, 10.0, 100.0), "injection")


def test_times_that_contradict_the_order_are_not_used() -> None:
    times, origin, note = times_of(facts(AcquisitionTime=[2.0, 1.0, 3.0]), 1)
    assert (times, origin) == ((None, None, None), "unknown")
    assert "does not rise" in note


def test_unknown_times_stay_unknown() -> None:
    assert times_of(facts(SeriesNumber=[1, 2]), 1) == ((None, None), "unknown", "")
    assert times_of(facts(AcquisitionTime=[5.0, 5.0]), 1)[1] == "unknown"


def test_d14_trigger_times_are_times_unless_they_are_heart_beats() -> None:
    assert times_of(facts(TriggerTime=[0.0, 90_000.0, 180_000.0]), 1)[0] == (-90.0, 0.0, 90.0)
    assert times_of(facts(TriggerTime=[0.0, 300.0, 600.0]), 1)[1] == "unknown"


def test_durations_that_would_turn_the_order_leave_the_starts() -> None:
    phases = [PhaseFacts({"AcquisitionTime": 100.0}, duration_s=500.0), PhaseFacts({"AcquisitionTime": 160.0}, duration_s=10.0)]
    assert times_of(phases, 1)[0] == (-60.0, 0.0)


def test_pre_contrast_is_the_first_phase_and_the_darkest() -> None:
    pre = pre_of([PhaseFacts()] * 5, RISING, "certain")
    assert (pre.index, pre.confidence, pre.first_post) == (0, "certain", 1)
    assert "gains 100 %" in pre.evidence
    assert pre_of([PhaseFacts()] * 5, RISING, "question").confidence == "likely"


def test_a_darkest_phase_that_is_not_the_first_is_a_question_and_contradicts_the_order() -> None:
    pre = pre_of([PhaseFacts()] * 3, [180.0, 100.0, 190.0], "certain")
    assert (pre.index, pre.confidence, pre.contradicts_order) == (None, "question", True)
    assert "darkest in phase 2" in pre.evidence


def test_several_phases_before_contrast_give_the_last_of_them() -> None:
    pre = pre_of([PhaseFacts()] * 5, [101.0, 100.0, 102.0, 180.0, 190.0], "certain")
    assert (pre.index, pre.first_post) == (2, 3)
    assert "phases 1 to 3" in pre.evidence


def test_a_phase_as_dark_later_is_a_question() -> None:
    assert pre_of([PhaseFacts()] * 3, [100.0, 180.0, 101.0], "certain").confidence == "question"


def test_what_the_files_say_must_agree_with_the_enhancement() -> None:
    named = [PhaseFacts(says="pre"), PhaseFacts(says="post"), PhaseFacts(says="post")]
    assert "called so" in pre_of(named, [100.0, 180.0, 190.0], "certain").evidence
    assert pre_of(named[::-1], [100.0, 180.0, 190.0], "certain").confidence == "question"


def test_without_enhancement_only_the_files_can_tell() -> None:
    flat = [100.0, 101.0, 102.0]
    assert pre_of([PhaseFacts()] * 3, flat, "certain").confidence == "question"
    named = pre_of([PhaseFacts(says="pre"), PhaseFacts(), PhaseFacts()], flat, "certain")
    assert (named.index, named.confidence) == (0, "likely")
    agents = pre_of([PhaseFacts(), PhaseFacts(agent=True), PhaseFacts(agent=True)], flat, "certain")
    assert (agents.index, agents.confidence) == (0, "likely")
    assert pre_of([PhaseFacts()], [100.0], "certain").index is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("093015.5", 34215.5),
        ("0930", 34200.0),
        ("09:30:15", 34215.0),
        ("", None),
        ("25", None),
        ("9x", None),
        ("096000", None),
        ("12.x", None),
    ],
)
def test_seconds_of_day(text: str, seconds: float | None) -> None:
    assert seconds_of_day(text) == seconds


@given(st.permutations(range(6)))
def test_whatever_the_order_of_files_the_phases_come_out_in_time(order: list[int]) -> None:
    shuffled = [PhaseFacts({"AcquisitionNumber": n, "AcquisitionTime": 1000.0 + 60 * n}) for n in order]
    assert [order[index] for index in order_of(shuffled).indices] == sorted(order)
