"""What several tests of the whole program need: the demo patient, made once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from breastai_gui.services.demo_patient import demo_patient
from breastai_gui.services.places import Places

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the demo patient's files were made already, in a folder whose name is not plain."""
    home = tmp_path_factory.mktemp("demo") / "病人 one"
    demo_patient(Places(home))
    return home


@pytest.fixture(scope="session")
def demo_folder(demo_home: Path) -> Path:
    """The demo patient's files."""
    return demo_patient(Places(demo_home))
