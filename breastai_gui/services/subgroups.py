"""Subgroups of a cohort: columns of the table of answers that begin with "subgroup", such as "subgroup scanner".

They are no input of the network. An evaluation tells the figures of each word apart (TRIPOD+AI 14).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from breastai_model.training.predictions import MOST_SUBGROUPS, is_subgroup_word

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from breastai_model.training.predictions import Predictions

UNKNOWN, MIXED = "unknown", "mixed"
_HEADING = re.compile(r"subgroups?[\W_]+(.+)", re.IGNORECASE)


def subgroup_columns(header: tuple[str, ...]) -> dict[int, str]:
    """Return by index what each such column tells apart: "subgroup: MRI vendor" tells "MRI vendor"."""
    found = {index: match.group(1).strip() for index, name in enumerate(header) if (match := _HEADING.fullmatch(name.strip()))}
    return {index: name for index, name in found.items() if is_subgroup_word(name)}


def words_of(row: tuple[str, ...], columns: Mapping[int, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the row's word for each subgroup, and one sentence for each cell that is no short word (it counts as unknown)."""
    words, problems = {}, []
    for index, name in columns.items():
        text = row[index].strip() or UNKNOWN
        if not is_subgroup_word(text):
            problems.append(f"The subgroup {name} reads “{text[:40]}”, which is not a word of at most 40 letters, figures and spaces.")
            text = UNKNOWN
        words[name] = text
    return words, tuple(problems)


def too_many(rows: Iterable[Mapping[str, str]]) -> tuple[str, ...]:
    """Return one sentence for each subgroup with more different words than can be told apart: it may name the patients."""
    seen: dict[str, set[str]] = {}
    for row in rows:
        for name, word in row.items():
            seen.setdefault(name, set()).add(word)
    return tuple(
        f"The column for the subgroup {name} holds {len(words)} different words; at most {MOST_SUBGROUPS} can be told apart."
        for name, words in seen.items()
        if len(words) > MOST_SUBGROUPS
    )


def with_subgroups(predictions: Predictions, cohort: Mapping[str, Any]) -> Predictions:
    """Return the predictions with the subgroups that the run's `cohort.json` names for their patients.

    A patient whose rows say different things is "mixed", one without a row "unknown".
    """
    by_group: dict[int, dict[str, str]] = {}
    for entry in cohort.get("cases", ()):
        known = by_group.setdefault(entry["group"], {})
        for name, word in entry.get("subgroups", {}).items():
            known[name] = word if known.get(name, word) == word else MIXED
    names = dict.fromkeys(name for words in by_group.values() for name in words)
    groups = [int(group) for group in predictions.groups]
    named = {name: tuple(by_group.get(group, {}).get(name, UNKNOWN) for group in groups) for name in names}
    return replace(predictions, subgroups={**predictions.subgroups, **named})
