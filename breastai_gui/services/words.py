"""What the streams, questions, scopes and maps of the model are called, the same in the window, the report and the console."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from breastai_gui.services.assessment import Scope
    from breastai_model.case import MapKind, Stream, Task

STREAM_WORDS: Mapping[Stream, str] = {
    "mri_agnostic": "MRI shared",
    "mri_specific": "MRI own",
    "us_agnostic": "US shared",
    "us_specific": "US own",
}
"""For a button or a list; `STREAM_LONG_WORDS` explains them."""

STREAM_LONG_WORDS: Mapping[Stream, str] = {
    "mri_agnostic": "MRI shared (what MRI shares with ultrasound)",
    "mri_specific": "MRI own (what only MRI shows)",
    "us_agnostic": "US shared (what ultrasound shares with MRI)",
    "us_specific": "US own (what only ultrasound shows)",
}

TASK_WORDS: Mapping[Task, str] = {
    "lymph_node_metastasis": "Lymph node metastasis",
    "high_grade": "High grade (3)",
    "high_ki67": "High Ki-67",
}

SCOPE_WORDS: Mapping[Scope, str] = {
    "joint": "MRI and ultrasound together",
    "mri": "MRI alone",
    "ultrasound": "ultrasound alone",
}

MAP_KIND_WORDS: Mapping[MapKind, str] = {
    "feature": "features",
    "lymph_node_metastasis": "lymph node metastasis",
    "high_grade": "high grade",
    "high_ki67": "high Ki-67",
}


def capital(words: str) -> str:
    """Return words as they begin a sentence: only the first letter changes, "Ki-67" and "MRI" stay."""
    return words[:1].upper() + words[1:]
