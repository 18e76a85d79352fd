"""Pixels of DICOM files: MR slices straight into one array, ultrasound frames as they are stored.

Uncompressed little-endian pixels are read from their place in the file into the array; everything else is decoded by
pydicom and its plugins. Both give the same numbers, which a test checks for every transfer syntax.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from breastai_gui.data.headers import NATIVE, Header, HeaderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from pydicom.dataset import FileDataset

    from breastai_gui.data.dynamic import DynamicPlan
    from breastai_gui.data.slices import Slice
    from breastai_gui.data.walk import Files

MOST_BYTES = 4 << 30
"""The most that one exam's pixels may take."""

JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
_UNSUPPORTED = "its pixels cannot be decoded"
_OTHER_SIZE = "its pixels are of another size than its header says"


def stored_type(header: Header) -> np.dtype[Any]:
    """Return the number type in which a file's MR values are kept: its own, float32 for 32-bit integers."""
    bits, signed = header.count("BitsAllocated", 16), header.count("PixelRepresentation") == 1
    if bits == 8:
        return np.dtype(np.int16 if signed else np.uint8)
    if bits == 16:
        return np.dtype(np.int16 if signed else np.uint16)
    return np.dtype(np.float32)


def common_type(plan: DynamicPlan) -> np.dtype[Any]:
    """Return the number type of all phases: the scanner's own where they agree, else float32."""
    kinds = {stored_type(image.header) for phase in plan.phases for image in phase.images if image is not None}
    return kinds.pop() if len(kinds) == 1 else np.dtype(np.float32)


def volume_bytes(plan: DynamicPlan) -> int:
    """Return the bytes that a dynamic series will take, in Python integers, before any allocation."""
    slices, rows, columns = plan.stack.grid.shape
    return len(plan.phases) * slices * rows * columns * common_type(plan).itemsize


def read_volume(
    files: Files,
    plan: DynamicPlan,
    values: NDArray[Any],
    at: Callable[[str], None],
    tell: Callable[[int, int], None],
    unreadable: dict[str, str],
) -> dict[tuple[int, int], str]:
    """Fill `values` (phase, slice, row, column), the middle slice of the first phase first.

    Parameters
    ----------
    at
        Told which file is about to be decoded, so that a crash can be laid at its door.
    tell
        Told how many images of how many are read, after each.
    unreadable
        File name to the reason why it must not be opened again.

    Returns
    -------
    dict
        (phase, place) of each image that could not be had, to the reason; its values stay zero.
    """
    wanted = [
        (phase, place, image) for phase, plan_ in enumerate(plan.phases) for place, image in enumerate(plan_.images) if image is not None
    ]
    middle = values.shape[1] // 2
    wanted.sort(key=lambda item: (item[0] != 0 or item[1] != middle, item[0], item[1]))
    failed: dict[tuple[int, int], str] = {}
    several: dict[str, list[tuple[int, int, Slice]]] = {}
    done = 0
    for phase, place, image in wanted:
        header = image.header
        name = header.found.name
        if image.damage:
            continue
        if name in unreadable:
            failed[phase, place] = unreadable[name]
        elif header.frames > 1 and header.syntax not in NATIVE:
            several.setdefault(name, []).append((phase, place, image))
            continue
        else:
            at(name)
            reason = read_slice(files, image, values[phase, place])
            if reason:
                values[phase, place] = 0
                failed[phase, place] = reason
        done += 1
        tell(done, len(wanted))
    for name, members in several.items():
        at(name)
        for (phase, place, _), reason in zip(members, _read_frames(files, members, values), strict=True):
            if reason:
                failed[phase, place] = reason
            done += 1
            tell(done, len(wanted))
    at("")
    _mask_unused_bits(values, wanted[0][2].header)
    return failed


def _read_frames(files: Files, members: list[tuple[int, int, Slice]], values: NDArray[Any]) -> Iterator[str]:
    """Decode several frames of one compressed file into their places, unpacking the file once; yield "" or why not."""
    reason = ""
    frames = frames_of(files, members[0][2].header, [image.frame for _, _, image in members], raw=True)
    for phase, place, _ in members:
        if not reason:
            try:
                picture = next(frames)
                if picture.shape == values[phase, place].shape:
                    values[phase, place] = picture
                else:
                    reason = _OTHER_SIZE
            except StopIteration:
                reason = _UNSUPPORTED
            except HeaderError as error:
                reason = str(error)
        yield reason


def read_slice(files: Files, image: Slice, target: NDArray[Any]) -> str:
    """Read one MR image into `target` (row, column); return "" or why it could not be had."""
    header = image.header
    try:
        if header.syntax in NATIVE and target.dtype == stored_type(header) and target.nbytes == header.frame_bytes:
            with files.open(header.found) as stream:
                stream.seek(image.pixel_offset)
                if cast(Any, stream).readinto(target.data.cast("B")) != header.frame_bytes:
                    return "the file was changed or cut short while it was being read"
            return ""
        picture = decoded(files, header, image.frame, raw=True)
        if picture.shape != target.shape:
            return _OTHER_SIZE
        target[...] = picture
    except HeaderError as error:
        return str(error)
    except OSError as error:
        return (error.strerror or "it cannot be read").lower()
    return ""


def decoded(files: Files, header: Header, frame: int, *, raw: bool) -> NDArray[Any]:
    """Return one frame, (row, column) or (row, column, colour), decoded by pydicom; colours as RGB unless `raw`.

    Raises
    ------
    HeaderError
        If it cannot be decoded.
    """
    for picture in frames_of(files, header, [frame], raw=raw):
        return picture
    raise HeaderError(_UNSUPPORTED)


def frames_of(files: Files, header: Header, frames: list[int], *, raw: bool = False) -> Iterator[NDArray[Any]]:
    """Yield several frames of one file, each decoded once; raises `HeaderError`."""
    from pydicom import dcmread
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import iter_pixels

    try:
        with files.open(header.found) as stream:
            dataset = dcmread(io.BytesIO(stream.read()), force=True)
        if header.syntax == JPEG_EXTENDED and header.count("BitsStored", 16) > 8:
            yield from _twelve_bit_jpeg(dataset, frames)
            return
        if not raw and header.text("PhotometricInterpretation") == "PALETTE COLOR":
            for frame in iter_pixels(dataset, indices=frames, raw=True):
                colours = apply_color_lut(frame, dataset)
                yield colours if colours.dtype == np.uint8 else (colours >> 8).astype(np.uint8)
            return
        yield from iter_pixels(dataset, indices=frames, raw=raw)
    except (HeaderError, GeneratorExit):
        raise
    except MemoryError:
        raise HeaderError("decoding it needs more memory than allowed") from None
    except OSError as error:
        raise HeaderError((error.strerror or "it cannot be read").lower()) from None
    except Exception as error:  # noqa: BLE001  decoders of untrusted bytes fail in any way; each costs only this image
        raise HeaderError(f"{_UNSUPPORTED} ({type(error).__name__})") from None


def _twelve_bit_jpeg(dataset: FileDataset, frames: list[int]) -> Iterator[NDArray[Any]]:
    """Decode grey JPEG of 12 bits, which pydicom's plugins refuse, by SimpleITK.

    It reads from the disk only and applies the rescaling, so it is given each frame alone: its bytes and its size,
    nothing of the patient.
    """
    import SimpleITK
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.encaps import encapsulate, get_frame
    from pydicom.uid import UID, SecondaryCaptureImageStorage

    alone = Dataset()
    alone.file_meta = FileMetaDataset()
    alone.file_meta.TransferSyntaxUID = UID(JPEG_EXTENDED)
    alone.file_meta.MediaStorageSOPClassUID = alone.SOPClassUID = SecondaryCaptureImageStorage
    alone.file_meta.MediaStorageSOPInstanceUID = alone.SOPInstanceUID = UID("2.25.1")
    alone.SamplesPerPixel, alone.PhotometricInterpretation, alone.PixelRepresentation = 1, "MONOCHROME2", 0
    alone.Rows, alone.Columns = dataset.Rows, dataset.Columns
    alone.BitsAllocated, alone.BitsStored, alone.HighBit = 16, 12, 11
    count = int(dataset.get("NumberOfFrames") or 1)
    with tempfile.TemporaryDirectory(prefix="breastai-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "frame.dcm"
        for frame in frames:
            alone.PixelData = encapsulate([get_frame(dataset.PixelData, frame, number_of_frames=count)])
            alone["PixelData"].is_undefined_length = True
            alone.save_as(path, enforce_file_format=True)
            picture = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
            yield picture.reshape(picture.shape[-2:])


def _mask_unused_bits(values: NDArray[Any], header: Header) -> None:
    """Clear what lies above BitsStored (old overlays), and keep the sign of signed values."""
    bits, stored = header.count("BitsAllocated", 16), header.count("BitsStored", 16)
    if not 0 < stored < bits or values.dtype.itemsize * 8 != bits:
        return
    for phase in values:
        if phase.dtype.kind == "u":
            if int(phase.max(initial=0)) >> stored:
                np.bitwise_and(phase, (1 << stored) - 1, out=phase)
        elif int(phase.max(initial=0)) >> (stored - 1):
            shift = bits - stored
            np.right_shift(np.left_shift(phase, shift, out=phase), shift, out=phase)


def signals_of(values: NDArray[Any], scale: NDArray[np.float64], complete: NDArray[np.bool_]) -> list[float]:
    """Return the mean real value of bright tissue in each phase: the enhancement check of the phase before contrast.

    Bright tissue is the brightest 5 % of a sparse sample of voxels, by the largest value that each reaches in any phase.

    Parameters
    ----------
    values
        (phase, slice, row, column).
    scale
        (phase, 2) slope and intercept.
    complete
        (slice,) True where every phase has that slice.
    """
    step = max(1, int(np.cbrt(values[0].size / 100_000)))
    rows = slice(None, None, step)
    chosen = np.flatnonzero(complete)
    chosen = chosen[:: max(1, step if len(chosen) > 4 * step else 1)]
    if len(chosen) == 0:
        return [0.0] * len(values)
    sample = np.stack([values[phase][:, rows, rows][chosen].astype(np.float32).ravel() for phase in range(len(values))])
    sample = sample * scale[:, :1].astype(np.float32) + scale[:, 1:].astype(np.float32)
    sample = np.nan_to_num(sample, copy=False, posinf=0.0, neginf=0.0)
    peak = sample.max(axis=0)
    bright = peak >= np.partition(peak, int(0.95 * (peak.size - 1)))[int(0.95 * (peak.size - 1))]
    return [float(phase[bright].mean()) for phase in sample]
