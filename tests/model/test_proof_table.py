"""The table of claims can say no; intervals cover what they should; pieces are kept and gone on with."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from breastai_model.proof.intervals import Interval, auc_contrast, auc_interval, exact, mean_interval, r2_interval
from breastai_model.proof.pieces import Bench, OutOfTime, Piece, finished, measure, result_path
from breastai_model.proof.table import Row, above, at_least, at_most, between, contains, figure, markdown, summary

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("expected", "measured", "verdict"),
    [
        (at_least(0.9), Interval(0.95, 0.91, 0.98), "holds"),
        (at_least(0.9), Interval(0.95, 0.89, 0.98), "undecided"),
        (at_least(0.9), Interval(0.8, 0.7, 0.89), "does not hold"),
        (at_most(0.8), Interval(0.7, 0.68, 0.72), "holds"),
        (at_most(0.8), Interval(0.9, 0.85, 0.95), "does not hold"),
        (at_most(0.8), Interval(math.nan, math.nan, math.nan), "does not hold"),
        (above(0.0), exact(0.0), "does not hold"),
        (above(0.2), Interval(0.5, 0.21, 0.7), "holds"),
        (above(0.2), Interval(0.5, 0.1, 0.7), "undecided"),
        (between(-0.1, 0.1), Interval(0.0, -0.05, 0.05), "holds"),
        (between(-0.1, 0.1), Interval(0.3, 0.2, 0.4), "does not hold"),
        (contains(0.5, 0.1), Interval(0.51, 0.47, 0.55), "holds"),
        (contains(0.5, 0.1), Interval(0.6, 0.55, 0.64), "does not hold"),
        (contains(0.5, 0.1), Interval(0.5, 0.2, 0.8), "undecided"),
        (at_least(0.9), None, "not measured"),
    ],
)
def test_a_claim_holds_only_where_the_whole_interval_says_so(expected, measured, verdict):
    assert Row("a", "b", expected, measured, "").verdict == verdict


def test_the_table_shows_misses_and_counts_them():
    rows = [
        Row("leak", "probe | MLP", at_most(0.8), Interval(0.99, 0.98, 1.0), "control"),
        Row("AUC", "label", at_least(0.7), Interval(0.8, 0.75, 0.85), ""),
        Row("seen", "no verdict", None, exact(3.0), ""),
    ]
    text = markdown([("Part", "Ten patients.", rows)], "Claims")
    assert "0.990 (0.980 to 1.000) | does not hold | control" in text
    assert "probe \\| MLP" in text, "a bar in a text must not break the row"
    assert "| reported |" in text
    assert "cannot show clinical accuracy" in text
    assert summary(rows) == "Of 2 claims 1 hold, 1 do not hold, 0 are undecided; 0 were not measured."
    assert figure(None) == "–"


def test_auc_intervals_are_those_of_counting_pairs_and_cover_the_truth():
    rng = np.random.default_rng(1)
    labels = np.array([0, 0, 1, 1, 1])
    assert auc_interval(np.array([0.1, 0.4, 0.4, 0.8, 0.05]), labels).value == pytest.approx((1 + 0.5 + 2 + 0) / 6)
    covered = 0
    for seed in range(60):
        truth = np.repeat([0, 1], 60)
        scores = rng.standard_normal(120) + truth  # the true AUC is Phi(1 / sqrt(2))
        found = auc_interval(scores, truth, seed)
        covered += found.low <= 0.76025 <= found.high
    assert 51 <= covered <= 60, "a 95 % interval covers about 57 of 60"
    same = rng.standard_normal(120)
    paired = auc_contrast((same, same), (1.0, -1.0), np.repeat([0, 1], 60))
    assert (paired.value, paired.low, paired.high) == (0.0, 0.0, 0.0), "a score differs from itself by nothing, draw by draw"
    with pytest.raises(ValueError, match="both answers"):
        auc_interval(same, np.ones(120, dtype=np.int64))
    with pytest.raises(ValueError, match="finite"):
        auc_interval(np.full(120, np.nan), np.repeat([0, 1], 60))


def test_a_share_of_all_or_none_still_has_a_width():
    all_of_them = mean_interval(np.ones(20))
    assert (all_of_them.value, all_of_them.high) == (1.0, 1.0)
    assert all_of_them.low == pytest.approx(0.025 ** (1 / 20))  # Clopper and Pearson
    assert mean_interval(np.zeros(20)).high == pytest.approx(1 - 0.025 ** (1 / 20))


def test_r2_of_the_mean_is_nothing_and_of_the_truth_everything():
    truth = np.random.default_rng(2).standard_normal((200, 3))
    assert r2_interval(truth, truth).value == 1.0
    assert r2_interval(np.tile(truth.mean(axis=0), (200, 1)), truth).value == pytest.approx(0.0)


def _bench(folder: Path, seconds: float = 60.0) -> Bench:
    return Bench(folder, time.monotonic() + seconds, 1, lambda _line: None)


def test_a_finished_piece_is_not_measured_again_unless_its_constants_changed(tmp_path: Path):
    calls = []

    def work(_bench: Bench) -> list[Row]:
        calls.append(1)
        return [Row("c", "s", at_least(0.5), Interval(0.7, 0.6, 0.8), "n"), Row("huge", "s", at_least(1e4), exact(math.inf), "")]

    piece = Piece("one", "One", "ten patients", work)
    first = measure(piece, _bench(tmp_path))
    assert measure(piece, _bench(tmp_path)) == first
    assert len(calls) == 1
    assert [row.verdict for row in first.rows] == ["holds", "holds"], "an infinite length is at least ten thousand"
    assert finished(tmp_path, Piece("one", "One", "eleven patients", work)) is None
    result_path(tmp_path, "one").write_text(json.dumps({"title": "One"}), "utf-8")
    assert finished(tmp_path, piece) is None, "a damaged result is measured again, never believed"


def test_a_figure_that_is_no_number_is_never_a_success(tmp_path: Path):
    piece = Piece("nan", "Nan", "", lambda _bench: [Row("c", "s", at_least(0.5), exact(math.nan), "")])
    (row,) = measure(piece, _bench(tmp_path)).rows
    assert row.verdict == "not measured"
    assert "not a number" in row.note


def test_without_time_nothing_begins(tmp_path: Path):
    with pytest.raises(OutOfTime):
        measure(Piece("late", "Late", "", lambda _bench: []), _bench(tmp_path, -1.0))
    assert not result_path(tmp_path, "late").exists()
