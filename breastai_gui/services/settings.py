"""What the person set up once: one JSON file, read tolerantly and written whole."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from breastai_model.whole_file import replace_text

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

DEFAULTS: dict[str, Any] = {
    "theme": "dark",
    "device": "auto",
    "heatmap_opacity": 0.5,
    "heatmap_stream": "mri_agnostic",
    "window_geometry": "",
    "window_state": "",
}
"""Every setting with the value that holds until the person chooses; a value of another type in the file is not used."""

MOST_BYTES = 1_000_000
"""No settings file of ours is larger; a larger one is taken for damaged."""


class Settings:
    """The settings, in force at once and kept in `path`.

    Names that this version does not know are kept in the file, so that an older and a newer version can share it.

    Attributes
    ----------
    changed
        Signal with the name of the setting.
    notice
        One sentence when the file was damaged and set aside, else "".
    """

    changed = Signal(str)

    def __init__(self, path: Path) -> None:
        self._path = path
        self.notice = ""
        self._values = self._read()

    def __getitem__(self, name: str) -> Any:
        default = DEFAULTS[name]
        value = self._values.get(name, default)
        number = isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool)
        return value if number or type(value) is type(default) else default

    def __setitem__(self, name: str, value: Any) -> None:
        if type(value) is not type(DEFAULTS[name]):
            raise TypeError(f"The setting {name} must be a {type(DEFAULTS[name]).__name__}.")
        if self._values.get(name) == value:
            return
        self._values[name] = value
        text = json.dumps(self._values, ensure_ascii=False, indent=2, sort_keys=True)
        try:
            replace_text(self._path, text)
        except OSError as error:  # a setting that cannot be kept still holds until the program ends
            log.warning("The settings could not be written: %s", error.strerror)
            self.notice = f"The settings could not be kept ({error.strerror}); they hold until the program ends."
        self.changed.emit(name)

    def _read(self) -> dict[str, Any]:
        try:
            if self._path.stat().st_size > MOST_BYTES:
                raise ValueError
            values = json.loads(self._path.read_text(encoding="utf-8"))
            if not isinstance(values, dict):
                raise ValueError
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError):
            self._set_aside()
            return {}
        return values

    def _set_aside(self) -> None:
        aside = self._path.with_name(f"{self._path.name}.damaged")
        try:
            self._path.replace(aside)
        except OSError:
            self.notice = "The settings file cannot be read; the defaults are used."
        else:
            self.notice = f"The settings file was damaged and is now called {aside.name}; the defaults are used."
