"""Where the program may write."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from breastai_gui.services.places import PlaceError, Places, worker_command

if TYPE_CHECKING:
    from pathlib import Path


def test_breastai_home_holds_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BREASTAI_HOME", str(tmp_path / "my 家"))
    places = Places()
    folders = [places.config, places.data, places.cache, places.runs, places.models, places.logs]
    assert all(folder.is_dir() and (tmp_path / "my 家") in folder.parents for folder in folders)
    assert len(set(folders)) == len(folders)


def test_without_it_the_system_s_own_folders_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BREASTAI_HOME")
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        assert Places().config == tmp_path / "config" / "BreastAI"
    else:
        assert "BreastAI" in str(Places()._config)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PlaceError, match=r"cannot be made .*BREASTAI_HOME"):
        _ = Places(tmp_path / "file").config


def test_a_worker_is_this_program_and_not_what_lies_in_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "breastai_gui").mkdir()
    (tmp_path / "breastai_gui" / "__main__.py").write_text("print('an impostor')")
    answer = subprocess.run(worker_command("--version"), cwd=tmp_path, capture_output=True, text=True, check=True)
    assert answer.stdout.startswith("breastai ")
