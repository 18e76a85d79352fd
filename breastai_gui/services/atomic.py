"""Writing what a person would miss: a file is either the old one or the new one, whole, never half of either."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def atomic_save(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file so that a crash, a kill or a full disk leaves the old one untouched.

    Parameters
    ----------
    path
        The file. Its folder is made where it is missing.
    write
        Writes the whole content to the path that it is given: a new name in the same folder with the same ending, which
        holds nothing of the file's own name.

    Raises
    ------
    OSError
        If anything could not be written or flushed to the disk; nothing is left behind and the old file stands.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".breastai-{secrets.token_hex(8)}{path.suffix}")
    try:
        write(temporary)
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def save_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, its line ends as they stand: see `atomic_save`."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, "utf-8", newline="")

    atomic_save(path, write)


def _flush_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut; Windows has no such call and needs none (NTFS logs renames)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
