"""Settings: in force at once, kept, and never the reason why the program does not start."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from breastai_gui.services.settings import DEFAULTS, Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_a_setting_is_kept_and_told(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "settings.json")
    told: list[str] = []
    settings.changed.connect(told.append)
    settings["theme"] = "light"
    settings["theme"] = "light"
    assert told == ["theme"]
    assert Settings(tmp_path / "settings.json")["theme"] == "light"


def test_names_of_another_version_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"from_the_future": [1, 2], "theme": "light"}')
    settings = Settings(path)
    settings["device"] = "cpu"
    assert json.loads(path.read_text()) == {"from_the_future": [1, 2], "theme": "light", "device": "cpu"}


def test_a_value_of_the_wrong_type_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"theme": 3, "heatmap_opacity": true, "device": null}')
    settings = Settings(path)
    assert all(settings[name] == DEFAULTS[name] for name in ("theme", "heatmap_opacity", "device"))
    with pytest.raises(TypeError, match="theme"):
        settings["theme"] = 3


@pytest.mark.parametrize(
    "content", [b"{half", b"\xff\xfe\x00", b"[1, 2]", b"[" * 100_000, b" " * 2_000_000], ids=["cut", "bytes", "list", "deep", "huge"]
)
def test_w5_a_damaged_file_is_set_aside_and_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(content)
    settings = Settings(path)
    assert settings["theme"] == DEFAULTS["theme"]
    assert settings.notice.endswith("the defaults are used.")
    assert (tmp_path / "settings.json.damaged").read_bytes() == content
    settings["theme"] = "light"
    assert Settings(path)["theme"] == "light"


def test_settings_that_cannot_be_written_hold_until_the_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    settings = Settings(tmp_path / "file" / "settings.json")
    settings["theme"] = "light"
    assert settings["theme"] == "light"
    assert "could not be kept" in settings.notice
