"""What every test gets: an own BREASTAI_HOME, one torch thread, real data only by environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Set before Qt, torch or numpy are imported by a test module. Child processes inherit them.
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the settings, journal or models of the person who runs it."""
    monkeypatch.setenv("BREASTAI_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real images; skips, saying so, where `BREASTAI_REAL_DATA` names none."""
    folder = os.environ.get("BREASTAI_REAL_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("BREASTAI_REAL_DATA names no folder with real images")
    return Path(folder)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --long."""
    parser.addoption("--long", action="store_true", help="the full counts of kills, fuzz and orientations, and the benchmarks")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long tests and the benchmarks out unless they are asked for."""
    if config.getoption("--long"):
        return
    for item in items:
        for marker in ("long", "speed"):
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=f"{marker}: run with --long"))
