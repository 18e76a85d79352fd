"""Find a shipped file, wherever the program is installed."""

from __future__ import annotations

from pathlib import Path


def resource(name: str) -> Path:
    """Return the path of a shipped file or folder, e.g. ``resource("weights")``.

    Raises
    ------
    FileNotFoundError
        If this installation lacks it.
    """
    package = Path(__file__).resolve().parent
    for root in (package / "_resources", package.parent / "resources"):
        if (path := root / name).exists():
            return path
    raise FileNotFoundError(f"This installation of BreastAI is incomplete: {name} is missing. Install it again.")
