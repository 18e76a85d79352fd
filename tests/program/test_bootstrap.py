"""The two commands that set everything up: what they take, and what must stay true of the folder they live in."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bootstrap() -> ModuleType:
    specification = importlib.util.spec_from_file_location("bootstrap", ROOT / "packaging" / "bootstrap.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("line", ["demo --torch cpu", "--torch cpu demo"])
def test_the_build_of_torch_may_stand_anywhere(bootstrap: ModuleType, line: str) -> None:
    assert bootstrap.parse(line.split()).torch == "cpu"


def test_long_and_what_is_passed_on(bootstrap: ModuleType) -> None:
    options = bootstrap.parse(["test", "--long", "--", "-k", "planes", "--maxfail=1"])
    assert options.long
    assert options.rest == ["-k", "planes", "--maxfail=1"]
    assert not bootstrap.parse(["test"]).long


def test_a_wrong_word_ends_with_a_sentence_and_no_traceback() -> None:
    answer = subprocess.run([sys.executable, "packaging/bootstrap.py", "dmeo"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert "invalid choice: 'dmeo'" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_every_requirement_is_pinned() -> None:
    pinned = {
        re.sub(r"[-_.]+", "-", line.split("==")[0]).lower()
        for line in (ROOT / "packaging" / "constraints.txt").read_text().split("\n")
        if "==" in line
    }
    wanted = re.findall(r'^  "([A-Za-z0-9_.-]+)[>\[]', (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
    assert len(wanted) > 20
    assert {re.sub(r"[-_.]+", "-", name).lower() for name in wanted} <= pinned


def test_packaging_is_a_plain_folder() -> None:
    """With an __init__.py it would hide the package `packaging` from everything that runs in the checkout."""
    assert not (ROOT / "packaging" / "__init__.py").exists()
