"""The comparison: who learns from whom, that it goes on after any end, and that its figures are what they say."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from filelock import FileLock
from sklearn.metrics import accuracy_score, precision_score, recall_score, roc_auc_score

from breastai_model.baselines.comparison import Comparison
from breastai_model.baselines.comparison_cost import expected_seconds
from breastai_model.baselines.comparison_figures import against, pooled, system_figures
from breastai_model.baselines.comparison_plan import ComparisonError, ComparisonPlan, splits
from breastai_model.baselines.comparison_result import ScopeAnswers, SystemResult, scope_answers
from breastai_model.baselines.comparison_table import write_tables
from breastai_model.case import TASKS
from breastai_model.plan import PhantomData
from breastai_model.training.calibrate import youden_threshold
from comparator_cases import PLAIN, Watched, plain_files

if TYPE_CHECKING:
    from pathlib import Path

    from breastai_model.baselines.system import Absent
    from breastai_model.training.dataset import CaseFiles

FAST = ("prevalence", "hand-features")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> CaseFiles:
    return plain_files(tmp_path_factory.mktemp("plain") / "run", 60)


@pytest.fixture
def plan() -> ComparisonPlan:
    data = PhantomData("clinic", 60, 7)
    return ComparisonPlan(PLAIN, data, 20, 0, 0.25, (1, 2), epochs=1, batch_size=10, learning_rate=1e-3)


def never() -> float:
    return time.monotonic() + 1e6


def test_the_hold_out_is_stratified_frozen_and_apart(plan: ComparisonPlan, cases: CaseFiles) -> None:
    (split,) = splits(plan, cases.labels, cases.groups)
    everybody = np.concatenate([split.learning, split.validation, split.test])
    assert sorted(everybody) == list(range(60))
    assert len(split.test) == 20
    assert abs(int((cases.labels[split.test, 0] == 1).sum()) - 10) <= 1  # half of all are positive
    again = splits(replace(plan, seeds=(3,), epochs=5), cases.labels, cases.groups)[0]
    assert np.array_equal(again.test, split.test)
    assert np.array_equal(again.learning, split.learning)


def test_folds_hold_out_everybody_once(plan: ComparisonPlan, cases: CaseFiles) -> None:
    made = splits(replace(plan, folds=4), cases.labels, cases.groups)
    assert sorted(np.concatenate([split.test for split in made])) == list(range(60))
    for split in made:
        assert not set(split.test) & (set(split.learning) | set(split.validation))


def test_no_held_out_patient_is_read_while_learning(plan: ComparisonPlan, cases: CaseFiles, tmp_path: Path) -> None:
    watched = Watched(cases)
    (split,) = splits(plan, cases.labels, cases.groups)
    seen: list[set[int]] = []

    def tell(text: str) -> None:
        if "epoch" in text or "measured" in text:
            seen.append(set(watched.read))

    comparison = Comparison(tmp_path, replace(plan, seeds=(1,)), watched, ("us-only", "without-mmaff"))
    for job in comparison.open_jobs():
        watched.read.clear()
        comparison._run_job(job, never(), tell)
    assert len(seen) == 2
    assert all(read <= set(split.learning) | set(split.validation) for read in seen)


def test_a_comparison_goes_on_where_it_was_and_says_whose_systems_they_are(plan: ComparisonPlan, cases: CaseFiles, tmp_path: Path) -> None:
    told: list[str] = []
    assert not Comparison(tmp_path, plan, cases, FAST).run(time.monotonic() - 1, told.append)
    assert told == []

    comparison = Comparison(tmp_path, plan, cases, FAST)
    first = comparison.jobs[0]
    comparison._run_job(first, never(), told.append)
    kept = comparison.result_path(first).stat().st_mtime_ns
    text = write_tables(comparison)
    assert text.startswith("*our re-implementations from published descriptions, not the published systems.*\n")
    assert not json.loads((tmp_path / "result.json").read_text())["complete"]

    again = Comparison(tmp_path, plan, cases, FAST)
    assert again.run(never(), told.append)
    assert again.result_path(first).stat().st_mtime_ns == kept
    assert sum("measured" in line for line in told) == len(plan.seeds)  # hand features, once for each seed
    text = write_tables(again)
    assert "| Prevalence | 50.0" in text
    values = json.loads((tmp_path / "result.json").read_text())
    assert values["complete"]
    assert values["systems"]["hand-features"]["figures"]["both"][TASKS[0]]["auc"]["value"] > 0.9
    assert values["systems"]["prevalence"]["figures"]["us"][TASKS[0]]["auc"]["value"] == 0.5
    assert not any((tmp_path / "work").iterdir())


def test_ours_stands_last_and_its_ablations_apart(plan: ComparisonPlan, cases: CaseFiles, tmp_path: Path) -> None:
    comparison = Comparison(tmp_path, replace(plan, seeds=(1,)), cases, ("ours", "without-mmaff", "prevalence"))
    assert comparison.run(never(), lambda _: None)
    text = write_tables(comparison)
    systems, ablations = text.split("## Ablations of ours", 1)
    assert systems.index("| Prevalence |") < systems.index("| Ours (stable, sequence) |")
    assert "Ours without MMAFF" not in systems
    assert "| Ours (stable, sequence) |" in ablations
    assert "Ours minus each system" in ablations


def test_an_epoch_at_a_time_is_enough_to_go_on(plan: ComparisonPlan, cases: CaseFiles, tmp_path: Path) -> None:
    plan = replace(plan, seeds=(1,), epochs=2)
    told: list[str] = []
    comparison = Comparison(tmp_path, plan, cases, ("us-only",))
    with pytest.raises(Exception, match="after epoch 1 of 2"):
        comparison._run_job(comparison.jobs[0], time.monotonic() - 1, told.append)
    assert comparison.run(never(), told.append)
    assert [line for line in told if "epoch 1" in line] == [told[1]]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"held_out": 60}, "learns from at least one"),
        ({"folds": 1}, "Folds are 0 or at least 2"),
        ({"seeds": (1, 1)}, "each once"),
        ({"seeds": ()}, "at least one seed"),
        ({"epochs": 0}, "at least one epoch"),
        ({"data": PhantomData("clinic", 9000, 7), "held_out": 5000}, "At most 4096"),
    ],
)
def test_a_plan_that_cannot_work_is_refused(plan: ComparisonPlan, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        replace(plan, **changes)


def test_another_process_at_a_system_is_left_alone(plan: ComparisonPlan, cases: CaseFiles, tmp_path: Path) -> None:
    comparison = Comparison(tmp_path, replace(plan, seeds=(1,)), cases, ("prevalence",))
    told: list[str] = []
    with FileLock(tmp_path / "results" / ".prevalence-1-0.lock"):
        assert not comparison.run(never(), told.append)
    assert told == ["prevalence-1-0: another process is at it"]
    assert comparison.run(never(), told.append)


def test_another_plan_or_a_damaged_result_is_refused(plan: ComparisonPlan, cases: CaseFiles, tmp_path: Path) -> None:
    comparison = Comparison(tmp_path, plan, cases, ("prevalence",))
    with pytest.raises(ComparisonError, match="other patients, seeds, epochs or sizes"):
        Comparison(tmp_path, replace(plan, epochs=2), cases, ("prevalence",))
    assert comparison.run(never(), lambda _: None)
    path = comparison.result_path(comparison.jobs[0])
    path.write_text(path.read_text().replace('"fold": 0', '"fold": "0"'))
    with pytest.raises(ComparisonError, match="cannot be read"):
        write_tables(comparison)
    path.write_text(path.read_text().replace('"fold": "0"', '"fold": 0').replace(plan.terms, "0" * 64))
    with pytest.raises(ComparisonError, match="belongs to another comparison"):
        write_tables(comparison)


def test_the_expected_cost_grows_with_patients_and_epochs(plan: ComparisonPlan, cases: CaseFiles, tmp_path: Path) -> None:
    told: list[str] = []
    few = expected_seconds(Comparison(tmp_path / "few", plan, cases, ("us-only",)), told.append)
    many = expected_seconds(Comparison(tmp_path / "many", replace(plan, epochs=400), cases, ("us-only",)), told.append)
    assert 0 < few["us-only"] < many["us-only"] / 10
    assert len(told) == 2
    assert expected_seconds(Comparison(tmp_path / "few", plan, cases, ("us-only",)), told.append) == few
    assert len(told) == 2  # measured once


class Echo:
    """Answers with a number for each patient, so that figures can be computed again by hand."""

    seconds = 1.0

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def probabilities(self, cases: CaseFiles, indices: np.ndarray, absent: Absent = "") -> np.ndarray:
        return self.values[indices]


def answered(name: str, seed: int, values: np.ndarray, cases: CaseFiles, plan: ComparisonPlan) -> SystemResult:
    (split,) = splits(plan, cases.labels, cases.groups)
    answers = scope_answers(Echo(values), cases, split, "")
    indices = tuple(int(index) for index in split.test)
    return SystemResult(plan.terms, name, seed, 0, 60.0, 1.0, "a machine", indices, answers, answers, answers, (f"{name} did otherwise.",))


def test_figures_are_those_of_each_seed_averaged(plan: ComparisonPlan, cases: CaseFiles) -> None:
    chance = np.random.default_rng(5)
    tables = [np.clip(cases.labels * 0.2 + chance.uniform(0, 0.8, cases.labels.shape), 0, 1) for _ in plan.seeds]
    results = [answered("ours", seed, table, cases, plan) for seed, table in zip(plan.seeds, tables, strict=True)]
    (split,) = splits(plan, cases.labels, cases.groups)
    figures = system_figures(pooled(results, 1)["ours"], cases.labels, cases.groups)["both"]
    for place, task in enumerate(TASKS):
        truth = cases.labels[split.test, place]
        by_seed: dict[str, list[float]] = {"accuracy": [], "precision": [], "sensitivity": [], "specificity": [], "auc": []}
        for table in tables:
            cut = youden_threshold(table[split.validation, place], cases.labels[split.validation, place])
            read = table[split.test, place] >= cut
            by_seed["accuracy"].append(accuracy_score(truth, read))
            by_seed["precision"].append(precision_score(truth, read))
            by_seed["sensitivity"].append(recall_score(truth, read))
            by_seed["specificity"].append(recall_score(truth, read, pos_label=0))
            by_seed["auc"].append(roc_auc_score(truth, table[split.test, place]))
        for name, values in by_seed.items():
            found = figures[task][name]
            assert found is not None
            assert found.value == pytest.approx(np.mean(values))
            assert found.spread == pytest.approx(np.std(values, ddof=1))
            assert found.low is not None
            assert found.high is not None
            assert found.low <= found.value <= found.high


def test_a_threshold_never_comes_from_the_held_out(plan: ComparisonPlan, cases: CaseFiles) -> None:
    (split,) = splits(plan, cases.labels, cases.groups)
    values = np.random.default_rng(1).random(cases.labels.shape)
    before = scope_answers(Echo(values), cases, split, "").thresholds
    values[split.test] = 1 - values[split.test]
    assert scope_answers(Echo(values), cases, split, "").thresholds == before
    values[split.validation] /= 2
    assert scope_answers(Echo(values), cases, split, "").thresholds != before


def test_what_a_training_did_otherwise_is_told_once(plan: ComparisonPlan, cases: CaseFiles) -> None:
    results = [answered("ours", seed, np.full(cases.labels.shape, 0.5), cases, plan) for seed in plan.seeds]
    assert pooled(results, 1)["ours"].notes == ("ours did otherwise.",)


def test_ours_is_tested_against_the_others_with_holm(plan: ComparisonPlan, cases: CaseFiles) -> None:
    chance = np.random.default_rng(2)
    good = np.clip(cases.labels * 0.5 + chance.uniform(0, 0.5, cases.labels.shape), 0, 1)
    results = [answered("ours", 1, good, cases, plan), answered("prevalence", 1, np.full(good.shape, 0.5), cases, plan)]
    found = pooled(results, 1)
    tests = against(found["ours"], found["prevalence"], cases.labels)
    raw = sorted(test[0].p for test in tests.values() if test is not None)
    corrected = sorted(test[1] for test in tests.values() if test is not None)
    assert corrected[0] == pytest.approx(min(1.0, 3 * raw[0]))
    first = tests[TASKS[0]]
    assert first is not None
    assert first[0].difference > 0.4
    assert first[1] < 0.001


def test_a_system_without_all_its_folds_is_left_out(plan: ComparisonPlan, cases: CaseFiles) -> None:
    result = answered("ours", 1, np.full(cases.labels.shape, 0.5), cases, plan)
    assert pooled([result], 2) == {}
    empty = ScopeAnswers((0.5, 0.5, 0.5), ())
    assert result.scope("mri") != empty


def test_folds_are_pooled_with_their_own_thresholds(plan: ComparisonPlan, cases: CaseFiles) -> None:
    row, answers = (0.4, 0.4, 0.4), []
    for fold, cut in enumerate((0.3, 0.5)):
        scope = ScopeAnswers((cut, cut, cut), (row, row))
        answers.append(SystemResult(plan.terms, "ours", 1, fold, 5.0, 1.0, "a machine", (2 * fold, 2 * fold + 1), scope, scope, scope))
    found = pooled(answers, 2)["ours"]
    assert found.positive["both"][0, :, 0].tolist() == [True, True, False, False]
    assert found.seconds == (10.0,)


def test_the_prevalence_of_the_folds_tells_nothing(plan: ComparisonPlan, cases: CaseFiles, tmp_path: Path) -> None:
    # The fold with more positive patients learns from fewer of them: pooled as they are, such answers would fall below one half.
    comparison = Comparison(tmp_path, replace(plan, folds=7, seeds=(1,)), cases, ("prevalence",))
    assert comparison.run(never(), lambda _: None)
    figures = system_figures(pooled(comparison.results(), 7)["prevalence"], cases.labels, cases.groups)
    for task in TASKS:
        found = figures["both"][task]["auc"]
        assert found is not None
        assert found.value == 0.5
