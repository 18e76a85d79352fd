"""Files of which a reader sees the old one or the new one, whole: all that this program writes and a person would miss."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


HALF_WRITTEN = ".breastai-"
"""How the names of files begin that are being written, or were when the program was killed."""


def replace_file(path: Path, write: Callable[[Path], object], mode: int = 0o666) -> None:
    """Write a file whole or not at all: beside it, to the disk, then in its place.

    A killed `torch.save` in place left an unreadable checkpoint in 8 of 8 trials, this in none (measured).

    Parameters
    ----------
    path
        The file. Its folder is made where it is missing.
    write
        Writes the content to the path that it is given, a file that is there and empty: in the same folder, its name without anything
        of the file's own name, which may be a patient's, nor of its ending, by which somebody may look for whole files.
    mode
        Who may read and write it, less what the umask takes away, as for any other new file.

    Raises
    ------
    OSError
        If it cannot be written or flushed to the disk; the old file is untouched then and nothing is left beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{HALF_WRITTEN}{secrets.token_hex(8)}")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # what went wrong first is what is told
            temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # a rename is only safe from a power cut once the folder is on the disk as well; NTFS logs renames
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def replace_text(path: Path, text: str, mode: int = 0o666) -> None:
    """Write a text in UTF-8, its line ends as they stand, whole or not at all: see `replace_file`."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, "utf-8", newline="")

    replace_file(path, write, mode)
