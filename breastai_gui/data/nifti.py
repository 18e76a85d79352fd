"""NIfTI, NRRD and MetaImage volumes as dynamic phases: one file a phase, or one file with all of them.

SimpleITK reads the pixels and the affine (already LPS); what belongs together is decided here. It reads from the disk only,
so a zip's member is unpacked into a private folder, read and deleted.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import math
import re
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from breastai_gui.data.dynamic import said
from breastai_gui.data.headers import HeaderError
from breastai_gui.data.phases import Order, PhaseFacts
from breastai_gui.data.study import Grid, Problem
from breastai_gui.data.ultrasound import natural
from breastai_gui.data.walk import BYTES_OF_A_MEMBER, MOST_EXPANSION, SMALL_BYTES, Found

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from breastai_gui.data.walk import Files

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
HEADER_BYTES = 1 << 20
"""So much of a zip's member is unpacked to read its header."""
_MASK = re.compile(r"(?<![a-z])(masks?|labels?|segs?|segmentations?|rois?)(?![a-z])")
_NUMBER = re.compile(r"(?:post|phase|ph|dyn|time|tp|t|dce|p)[-_ ]?0*(\d+)")
_DATA_FILE = re.compile(rb"^(?:ElementDataFile\s*=|data ?file\s*:)([^\r\n]*)", re.MULTILINE | re.IGNORECASE)
_TYPES = {
    "8-bit unsigned integer": np.uint8,
    "16-bit unsigned integer": np.uint16,
    "16-bit signed integer": np.int16,
    "8-bit signed integer": np.int16,
}


@dataclass(frozen=True, eq=False, slots=True)
class Volume:
    """One volume file as its header describes it; `count` is the length of its time or component axis."""

    found: Found
    grid: Grid
    kind: np.dtype[Any]
    count: int
    components: bool
    """True when the phases are components of each voxel rather than a fourth axis."""
    step_s: float | None
    unit_known: bool


@dataclass(frozen=True, eq=False, slots=True)
class VolumePlan:
    """A dynamic series of plain volumes: phases in their order, each a file and a place on its fourth axis."""

    key: str
    grid: Grid
    kind: np.dtype[Any]
    phases: tuple[tuple[Volume, int], ...]
    facts: tuple[PhaseFacts, ...]
    order: Order
    problems: tuple[Problem, ...]


def is_volume(name: str) -> bool:
    """Tell by its ending whether a file is a volume."""
    return name.lower().endswith(ENDINGS)


def is_mask_name(name: str) -> bool:
    """Tell whether a name says that the file holds a mask: "breast1_label", "masks/10013"."""
    return _MASK.search(name.lower()) is not None


def read_volume_header(files: Files, found: Found) -> Volume:
    """Return what a volume file declares, checked before anything is allocated.

    Raises
    ------
    HeaderError
        If it is damaged, not three- or four-dimensional, larger than its file can hold, or its geometry is not plausible.
    """
    import SimpleITK

    simple_itk: Any = SimpleITK  # its stubs leave the calls untyped
    values = _values_of(files, found)
    size_on_disk = found.size + (values.size if values is not None else 0)
    reader = simple_itk.ImageFileReader()
    with _on_disk(files, found, HEADER_BYTES) as path:
        reader.SetFileName(path)
        try:
            reader.ReadImageInformation()
        except RuntimeError:
            raise HeaderError("its header cannot be read") from None
    size = reader.GetSize()
    if len(size) not in (3, 4):
        raise HeaderError(f"it has {len(size)} dimensions, not 3 or 4")
    components = reader.GetNumberOfComponents()
    name = simple_itk.GetPixelIDValueAsString(reader.GetPixelID()).removeprefix("vector of ")
    if "complex" in name or "label" in name:
        raise HeaderError(f"unsupported: its values are {name}")
    kind = np.dtype(_TYPES.get(name, np.float32))
    total = math.prod(size) * components * kind.itemsize
    packed = found.name.lower().endswith((".gz", ".nrrd", ".mha", ".mhd", ".nhdr"))
    if total > (max(SMALL_BYTES, MOST_EXPANSION * size_on_disk) if packed else 4 * max(size_on_disk, 4096)):
        raise HeaderError(f"it declares {total / 2**30:,.1f} GiB of image, the file has {size_on_disk:,} bytes")
    if found.name.lower().endswith(".nii") and total > found.size:
        raise HeaderError(f"it is cut short or damaged ({found.size:,} of more than {total:,} bytes are there)")
    spacing, origin = np.array(reader.GetSpacing()), np.array(reader.GetOrigin())
    direction = np.array(reader.GetDirection()).reshape(len(size), len(size))[:3, :3]
    affine = np.eye(4)
    for column, axis in enumerate((2, 1, 0)):
        affine[:3, column] = direction[:, axis] * spacing[axis]
    affine[:3, 3] = origin[:3]
    try:
        grid = Grid((size[2], size[1], size[0]), affine)
    except ValueError as error:
        raise HeaderError(str(error)[0].lower() + str(error)[1:].rstrip(".")) from None
    step = float(spacing[3]) if len(size) == 4 else 0.0
    unit = reader.GetMetaData("xyzt_units") if reader.HasMetaDataKey("xyzt_units") else "10"
    count = size[3] if len(size) == 4 else components
    unit_known = unit not in ("0", "")
    return Volume(found, grid, kind, count, components > 1, step if step > 0 and step != 1.0 else None, unit_known)


def data_file_of(head: bytes) -> str:
    """Return the name of the file beside a NRRD or MetaImage header that holds its values, "" when it holds them itself."""
    match = _DATA_FILE.search(head)
    name = match.group(1).strip().decode("utf-8", "replace") if match else ""
    return "" if name.upper() == "LOCAL" else name


def _values_of(files: Files, found: Found) -> Found | None:
    """Return the file beside a NRRD or MetaImage header that holds its values, None when it holds them itself."""
    if not found.name.lower().endswith((".nrrd", ".nhdr", ".mha", ".mhd")):
        return None
    name = data_file_of(files.head(found, 1 << 16))
    if not name:
        return None
    # A header must not lead the reader to any other file of this computer.
    values = None
    if not ("/" in name or "\\" in name or name.split()[0] in ("LIST", "..") or "%" in name):
        if found.member:
            values = files.beside(found, name)
        else:
            beside = Path(found.path).parent / name
            if beside.is_file() and not beside.is_symlink():
                values = Found(name, str(beside), "", beside.stat().st_size)
    if values is None:
        raise HeaderError("the file with its values is not beside it")
    return values


@contextlib.contextmanager
def _on_disk(files: Files, found: Found, most: int) -> Iterator[str]:
    """Yield the path of a volume; the first `most` bytes of a zip's member are unpacked and afterwards deleted.

    The folder can be entered by this user alone, and its files carry no name from the zip, which could be the patient's.

    Raises
    ------
    HeaderError
        If it cannot be unpacked.
    """
    if not found.member:
        yield found.path
        return
    ending = next(ending for ending in ENDINGS if found.name.lower().endswith(ending))
    values = _values_of(files, found)
    with contextlib.ExitStack() as stack:
        try:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="breastai-", ignore_cleanup_errors=True)))
            path = folder / f"volume{ending}"
            if values is None:
                files.unpack(found, path, most)
            else:
                with files.open(found) as stream:
                    path.write_bytes(_DATA_FILE.sub(_renamed, stream.read(), count=1))
                files.unpack(values, folder / "values", most)
        except OSError as error:
            raise HeaderError(f"it cannot be unpacked into the temporary folder ({(error.strerror or 'unknown reason').lower()})") from None
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError):
            raise HeaderError("it is damaged: it cannot be unpacked") from None
        yield str(path)


def _renamed(line: re.Match[bytes]) -> bytes:
    return line.group(0)[: line.start(1) - line.start(0)] + b" values"


def volume_plans(volumes: Sequence[Volume]) -> list[VolumePlan]:
    """Group volumes on one grid into dynamic series; a file with a fourth axis is one of its own."""
    plans = [_plan([(volume, number) for number in range(volume.count)]) for volume in volumes if volume.count > 1]
    groups: list[list[tuple[Volume, int]]] = []
    for volume in volumes:
        if volume.count > 1:
            continue
        for group in groups:
            other = group[0][0].grid
            if volume.grid.shape == other.shape and np.allclose(volume.grid.affine, other.affine, atol=1e-3):
                group.append((volume, 0))
                break
        else:
            groups.append([(volume, 0)])
    return plans + [_plan(group) for group in groups]


def _plan(phases: list[tuple[Volume, int]]) -> VolumePlan:
    first = phases[0][0]
    phases.sort(key=lambda phase: (natural(phase[0].found.name), phase[1]))
    facts = [_facts(volume, number) for volume, number in phases]
    if first.count > 1:
        order = Order(tuple(range(len(phases))), "likely", "the order of the phases in the file")
    else:
        order = _order_by_names([volume.found.name.rsplit("/", 1)[-1].lower() for volume, _ in phases], facts)
    problems = []
    if not first.unit_known:
        text = f"«{first.found.name}» does not say in what unit its spacing is; {first.grid.spacing_mm[1]:g} is taken for millimetres."
        problems.append(Problem(text, first.found.name))
    kinds = {volume.kind for volume, _ in phases}
    key = hashlib.sha256("\n".join(f"{volume.found.name} {volume.found.size} {n}" for volume, n in phases).encode()).hexdigest()
    return VolumePlan(
        key="dynamic-" + key[:16],
        grid=first.grid,
        kind=kinds.pop() if len(kinds) == 1 else np.dtype(np.float32),
        phases=tuple(phases[index] for index in order.indices),
        facts=tuple(facts[index] for index in order.indices),
        order=order,
        problems=tuple(problems),
    )


def _facts(volume: Volume, number: int) -> PhaseFacts:
    values = {"TemporalPositionTimeOffset": number * volume.step_s} if volume.step_s else {}
    return PhaseFacts(values=values, says=said(volume.found.name.rsplit("/", 1)[-1]) if volume.count == 1 else "", fallback=number)


def _order_by_names(names: list[str], facts: list[PhaseFacts]) -> Order:
    """Order by what the names say: "pre" first, then the number after "post", "phase", "t"; else only a proposal."""
    numbers: list[float | None] = []
    for name, fact in zip(names, facts, strict=True):
        match = _NUMBER.search(name)
        numbers.append(-1.0 if fact.says == "pre" else float(match.group(1)) if match else 0.0 if fact.says == "post" else None)
    known = [number for number in numbers if number is not None]
    if len(names) == 1:
        return Order((0,), "certain", "there is one phase")
    if len(known) == len(names) and len(set(known)) == len(known):
        return Order(tuple(sorted(range(len(names)), key=known.__getitem__)), "likely", "the file names count the phases")
    return Order(tuple(range(len(names))), "question", "the file names do not tell it; shown is their alphabetical order")


def _check_whole(path: str) -> None:
    """Unpack a gzipped file to its end: SimpleITK reads a truncated one without a word, the rest of its values zero."""
    if path.lower().endswith(".gz"):
        with gzip.open(path) as stream:
            while stream.read(1 << 20):
                pass


def read_phase(files: Files, volume: Volume, number: int, target: NDArray[Any], cache: dict[str, NDArray[Any]]) -> None:
    """Read one phase into `target` (slice, row, column); a file with several phases is read once and kept in `cache`.

    Raises
    ------
    HeaderError
        If the file cannot be read.
    """
    import SimpleITK

    name = volume.found.name
    if name not in cache:
        cache.clear()
        with _on_disk(files, volume.found, BYTES_OF_A_MEMBER) as path:
            try:
                _check_whole(path)
                cache[name] = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path))
            except (RuntimeError, EOFError, OSError, zlib.error):
                raise HeaderError("it is damaged: its values cannot be read") from None
    array = cache[name]
    if volume.components:
        array = array[..., number]
    elif array.ndim == 4:
        array = array[number]
    if array.shape != target.shape:
        raise HeaderError("its values are of another size than its header says")
    if target.dtype.kind == "f":
        target[...] = np.nan_to_num(array, posinf=0.0, neginf=0.0)
    else:
        target[...] = array
