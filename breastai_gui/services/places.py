"""Where the program may write, and how it starts itself again in another process."""

from __future__ import annotations

import os
import sys
from pathlib import Path


class PlaceError(Exception):
    """A folder of the program could not be made; the text is one sentence."""


class Places:
    """The program's own folders; each is made when it is first asked for.

    Parameters
    ----------
    home
        One folder to hold them all. Without it the environment variable ``BREASTAI_HOME`` is looked at, and without
        that each lies where the operating system keeps such things.

    Raises
    ------
    PlaceError
        From every property, when its folder cannot be made.
    """

    def __init__(self, home: Path | None = None) -> None:
        if home is None and (named := os.environ.get("BREASTAI_HOME", "")):
            home = Path(named)
        if home is not None:
            home = home.absolute()
            self._config, self._data, self._cache, self._logs = home / "config", home / "data", home / "cache", home / "logs"
            return
        import platformdirs

        folders = platformdirs.PlatformDirs("BreastAI", appauthor=False)
        self._config, self._data = folders.user_config_path, folders.user_data_path
        self._cache, self._logs = folders.user_cache_path, folders.user_log_path

    @property
    def config(self) -> Path:
        """Settings."""
        return _made(self._config)

    @property
    def data(self) -> Path:
        """What a person would miss: the journal."""
        return _made(self._data)

    @property
    def cache(self) -> Path:
        """What can be made again: the demo patient's files."""
        return _made(self._cache)

    @property
    def runs(self) -> Path:
        """One folder for each training run."""
        return _made(self._data / "runs")

    @property
    def models(self) -> Path:
        """Installed models."""
        return _made(self._data / "models")

    @property
    def logs(self) -> Path:
        """The log file, which never names a patient."""
        return _made(self._logs)


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PlaceError(
            f"The folder {folder} cannot be made ({error.strerror}): set BREASTAI_HOME to a folder that may be written to."
        ) from error
    return folder


def worker_command(*arguments: str) -> list[str]:
    """Return the command that runs this program's headless side in another process."""
    if getattr(sys, "frozen", False):
        return [sys.executable, *arguments]  # -m does not exist in a frozen program
    return [sys.executable, "-P", "-m", "breastai_gui", *arguments]  # -P: nothing in the current folder can pose as ours
