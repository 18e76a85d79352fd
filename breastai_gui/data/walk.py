"""Which files lie in an opened folder, single file or zip: found, named, and read without leaving that folder."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

from breastai_gui.data.study import FileUse, Problem, ReadError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BYTES_OF_A_MEMBER = 2 << 30
"""The largest file that is read out of a zip."""
BYTES_OF_A_ZIP = 8 << 30
"""The most that all files of one zip may unpack to."""
SMALL_BYTES = 64 << 20
"""Up to here no compression ratio is suspicious: black images compress a thousandfold."""
MOST_EXPANSION = 200
"""Above `SMALL_BYTES`, how many times larger unpacked data may be than packed data."""


@dataclass(frozen=True, slots=True)
class Found:
    """One file that may hold an image.

    Attributes
    ----------
    name
        Path below the opened folder with "/" between parts; a zip's member follows the zip's own name.
    path
        The file on disk; for a member, the zip.
    member
        The member's name in the zip, "" for a file on disk.
    size
        In bytes; of a member, unpacked.
    """

    name: str
    path: str
    member: str
    size: int


def shown(name: str) -> str:
    """Return a file name that can be shown and stored: bytes that are no UTF-8 and control characters replaced."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


class Files:
    """All files below one opened path; those that cannot be read are accounted for in `skipped`.

    Parameters
    ----------
    path
        A folder, a single file, a zip, or a DICOMDIR (which stands for its folder: it may name files that are missing).

    Raises
    ------
    ReadError
        If the path does not exist or cannot be opened at all.
    """

    def __init__(self, path: Path) -> None:
        self.found: list[Found] = []
        self.skipped: list[FileUse] = []
        self.containers: list[FileUse] = []
        self.problems: list[Problem] = []
        self._zips: dict[str, zipfile.ZipFile] = {}
        name = shown(path.name)
        try:
            mode = path.stat().st_mode
        except OSError as error:
            raise ReadError(f"«{name}» cannot be opened: {_reason(error)}. Check that it is still there and may be read.") from None
        if stat.S_ISREG(mode) and path.name.upper() == "DICOMDIR":
            path, mode = path.parent, stat.S_IFDIR
        if stat.S_ISDIR(mode):
            self._walk(path)
        elif stat.S_ISREG(mode):
            self._add(path.name, str(path), path.stat().st_size)
        else:
            raise ReadError(f"«{name}» is neither a file nor a folder, so it cannot be opened.")
        self.found.sort(key=lambda found: found.name)

    def head(self, found: Found, count: int) -> bytes:
        """Return the first bytes of a file. Raises OSError or `zipfile.BadZipFile`."""
        if found.member:
            with self._zips[found.path].open(found.member) as stream:
                return stream.read(count)
        handle = os.open(found.path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
        try:
            return os.read(handle, count)
        finally:
            os.close(handle)

    def open(self, found: Found) -> BinaryIO:
        """Return the file opened for reading; a zip's member is unpacked into memory."""
        if found.member:
            with self._zips[found.path].open(found.member) as stream:
                return io.BytesIO(stream.read(found.size + 1)[: found.size])
        return cast("BinaryIO", io.FileIO(found.path))

    def unpack(self, found: Found, target: Path, most: int) -> None:
        """Write the first `most` bytes of a zip's member, never more than it declares, to a new file.

        Raises OSError, or what `zipfile` raises for a damaged member.
        """
        left = min(most, found.size)
        with self._zips[found.path].open(found.member) as packed, target.open("xb") as stream:
            while left > 0:
                block = packed.read(min(left, 1 << 20))
                if not block:
                    raise EOFError
                stream.write(block)
                left -= len(block)

    def beside(self, found: Found, name: str) -> Found | None:
        """Return the file of that name in the same folder, of a zip's member in the same folder of the zip; None without it."""
        folder = found.name.rpartition("/")[0]
        wanted = shown(f"{folder}/{name}" if folder else name)
        return next((other for other in self.found if other.name == wanted and other.path == found.path), None)

    def close(self) -> None:
        """Close the zips that were opened."""
        for archive in self._zips.values():
            archive.close()
        self._zips.clear()

    def _walk(self, root: Path) -> None:
        real_root = os.path.realpath(root)
        folders = [("", str(root))]
        while folders:
            prefix, folder = folders.pop()
            try:
                entries = list(os.scandir(folder))
            except OSError as error:
                if not prefix:
                    raise ReadError(f"The folder «{shown(root.name)}» cannot be opened: {_reason(error)}.") from None
                self._skip(prefix.rstrip("/"), f"a folder that cannot be opened: {_reason(error)}")
                self.problems.append(Problem(f"The folder «{shown(prefix[:-1])}» cannot be opened: {_reason(error)}.", shown(prefix[:-1])))
                continue
            for entry in entries:
                try:
                    self._enter(entry, prefix + entry.name, real_root, folders)
                except OSError as error:
                    self._skip(prefix + entry.name, _reason(error))

    def _enter(self, entry: os.DirEntry[str], name: str, real_root: str, folders: list[tuple[str, str]]) -> None:
        if entry.is_symlink():
            target = os.path.realpath(entry.path)
            if os.path.isdir(target):  # noqa: PTH112  speed: thousands of entries
                self._skip(name, "a link to a folder; links are not followed")
                return
            if not target.startswith(real_root + os.sep):
                self._skip(name, "a link that leads out of the opened folder")
                return
        elif entry.is_dir(follow_symlinks=False):
            folders.append((name + "/", entry.path))
            return
        status = entry.stat()
        if stat.S_ISREG(status.st_mode):
            self._add(name, entry.path, status.st_size)
        else:
            self._skip(name, "not a plain file")

    def _add(self, name: str, path: str, size: int) -> None:
        if name.lower().endswith(".zip"):
            self._add_zip(name, path)
        elif size == 0:
            self._skip(name, "empty (0 bytes)")
            self.problems.append(Problem(f"«{shown(name)}» is empty (0 bytes).", shown(name)))
        else:
            self.found.append(Found(shown(name), path, "", size))

    def _skip(self, name: str, why_not: str) -> None:
        self.skipped.append(FileUse(shown(name), "", why_not))

    def _add_zip(self, name: str, path: str) -> None:
        try:
            archive = zipfile.ZipFile(path)
            members = [member for member in archive.infolist() if not member.is_dir()]
        except (OSError, zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, ValueError) as error:
            self._skip(name, "a zip that cannot be opened")
            reason = _reason(error) if isinstance(error, OSError) else "it is damaged or no zip"
            self.problems.append(Problem(f"The zip «{shown(name)}» cannot be opened: {reason}.", shown(name)))
            return
        if sum(member.file_size for member in members) > BYTES_OF_A_ZIP:
            archive.close()
            self._skip(name, "a zip that unpacks to more than 8 GiB")
            self.problems.append(Problem(f"The zip «{shown(name)}» would unpack to more than 8 GiB and was not opened.", shown(name)))
            return
        self._zips[path] = archive
        self.containers.append(FileUse(shown(name), f"archive of {len(members)} files"))
        for member, where in _named(members, name):
            if member.flag_bits & 0x1:
                self._skip(where, "encrypted in the zip")
                self.problems.append(Problem(f"«{shown(where)}» is encrypted in the zip: unpack it with its password first.", shown(where)))
            elif member.file_size > max(SMALL_BYTES, MOST_EXPANSION * member.compress_size) or member.file_size > BYTES_OF_A_MEMBER:
                self._skip(where, "expands beyond the limit")
                text = f"«{shown(where)}» would expand from {member.compress_size:,} to {member.file_size:,} bytes and was not read."
                self.problems.append(Problem(text, shown(where)))
            elif member.file_size == 0:
                self._skip(where, "empty (0 bytes)")
            else:
                self.found.append(Found(shown(where), path, member.filename, member.file_size))


def _named(members: list[zipfile.ZipInfo], name: str) -> Iterator[tuple[zipfile.ZipInfo, str]]:
    for member in members:
        yield member, f"{name}/{member.filename}"


def _reason(error: BaseException) -> str:
    if isinstance(error, PermissionError):
        return "reading it is not permitted"
    if isinstance(error, FileNotFoundError):
        return "it is not there"
    return (getattr(error, "strerror", None) or type(error).__name__).lower()
