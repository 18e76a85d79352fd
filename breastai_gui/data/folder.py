"""What a dropped folder, file or zip holds: headers only, every file accounted for, nothing decoded."""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from breastai_gui.data.dynamic import DynamicPlan, dynamic_plans
from breastai_gui.data.headers import PREFIX_BYTES, Header, HeaderError, read_header, sniff
from breastai_gui.data.nifti import VolumePlan, data_file_of, is_mask_name, is_volume, read_volume_header, volume_plans
from breastai_gui.data.picture import is_picture
from breastai_gui.data.proposal import catalogue_of
from breastai_gui.data.roles import IMAGE_CLASSES, kind_of, role_of
from breastai_gui.data.series import parts_of
from breastai_gui.data.slices import GeometryError, Slice, check_pixels, slices_of
from breastai_gui.data.study import FileUse, OtherSeries, Problem, ReadProgress
from breastai_gui.data.ultrasound import UltrasoundPlan, ultrasound_plans
from breastai_gui.data.walk import Files, Found

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from breastai_gui.data.nifti import Volume
    from breastai_gui.data.series import Part
    from breastai_gui.data.study import Catalogue


@dataclass(slots=True, eq=False)
class Account:
    """What becomes of each file: begun with all of them, so none can be forgotten."""

    uses: dict[str, FileUse] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def used(self, name: str, used_as: str) -> None:
        """Note what a file is used as."""
        self.uses[name] = FileUse(name, used_as)

    def left(self, name: str, why_not: str) -> None:
        """Note why a file is not used."""
        self.uses[name] = FileUse(name, "", why_not)

    def bad(self, name: str, reason: str) -> None:
        """Note that a file cannot be read, and say so."""
        self.left(name, reason)
        self.problems.append(Problem(f"«{name}» was not read: {reason}.", name))


@dataclass(slots=True, eq=False)
class Scan:
    """All that the headers say; `plans` are looked up by the keys of the catalogue's candidates."""

    path: Path
    files: Files
    catalogue: Catalogue
    account: Account
    dynamic: dict[str, DynamicPlan | VolumePlan]
    ultrasound: dict[str, UltrasoundPlan]


def scan(
    path: Path,
    tell: Callable[[ReadProgress], None],
    at: Callable[[str], None] = lambda _name: None,
    unreadable: Mapping[str, str] | None = None,
) -> Scan:
    """Read the headers of all files below a path.

    Parameters
    ----------
    path
        A folder, a file, a zip or a DICOMDIR.
    tell
        Told the progress.
    at
        Told which file is about to be read, so that a crash can be laid at its door.
    unreadable
        File name to the reason why it must not be opened again.

    Raises
    ------
    ReadError
        If there is nothing in it that this program can show.
    """
    files = Files(path)
    account = Account({use.file: use for use in (*files.skipped, *files.containers)}, list(files.problems))
    headers: list[Header] = []
    pictures: list[Found] = []
    volumes: list[Volume] = []
    total = len(files.found)
    for number, found in enumerate(files.found):
        if number % 16 == 0:
            tell(ReadProgress("headers", number, total))
        at(found.name)
        if unreadable and found.name in unreadable:
            account.bad(found.name, unreadable[found.name])
            continue
        _sort(files, found, account, headers, pictures, volumes)
    at("")
    tell(ReadProgress("headers", total, total))
    headers = _without_copies(files, headers, account)
    slices, ultrasound, questions = _by_kind(files, headers, account)
    parts, splits = parts_of(slices)
    account.problems += splits
    dynamic, others = _dynamic(parts, account)
    dynamic_studies = {plan.study_uid for plan in dynamic} - {""}
    for header in questions:
        if header.text("StudyInstanceUID") in dynamic_studies:
            others.append(_other(header, "screen capture in the MRI study", 1))
            account.left(header.found.name, "a screen capture in the MRI study")
        else:
            ultrasound.append((header, False))
    plans: list[DynamicPlan | VolumePlan] = [*dynamic, *volume_plans(volumes)]
    views = ultrasound_plans(ultrasound, pictures)
    others += _others_of(headers)
    _note_directory(headers, files, account)
    catalogue = catalogue_of(path, plans, views, _merged(others), account)
    return Scan(path, files, catalogue, account, {plan.key: plan for plan in plans}, {plan.key: plan for plan in views})


def _sort(files: Files, found: Found, account: Account, headers: list[Header], pictures: list[Found], volumes: list[Volume]) -> None:
    """Tell by its first bytes what a file is, and read its header."""
    name = found.name
    inner = found.member or name  # a zip's own name tells no more than the opened folder's
    try:
        head = files.head(found, PREFIX_BYTES)
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
        denied = isinstance(error, PermissionError)
        account.bad(name, "reading it is not permitted" if denied else "it cannot be read (damaged or gone)")
        return
    try:
        if sniff(head):
            headers.append(read_header(files, found, head))
        elif is_volume(name):
            if is_mask_name(inner):
                account.left(name, "a mask by its name, not an image")
            else:
                volumes.append(read_volume_header(files, found))
                data = data_file_of(head) if name.lower().endswith((".nhdr", ".mhd")) else ""
                if data:
                    account.used(name.rpartition("/")[0] + "/" * ("/" in name) + data, f"values of «{name}»")
        elif is_picture(head):
            if is_mask_name(inner):
                account.left(name, "a mask by its name, not an image")
            else:
                pictures.append(found)
        elif name not in account.uses:
            _not_an_image(found, head, account)
    except HeaderError as error:
        if name.rsplit(".", 1)[-1].lower() in ("dcm", "ima") or head[128:132] == b"DICM" or is_volume(name):
            account.bad(name, str(error))
        else:
            account.left(name, "not an image that this program reads")


def _not_an_image(found: Found, head: bytes, account: Account) -> None:
    if found.name.lower().endswith((".dcm", ".dicom", ".ima", ".png", ".jpg", ".jpeg")):
        blank = not head.strip(b"\0")
        account.bad(found.name, "it holds nothing but zeros" if blank else "it is damaged or no image (its first bytes are wrong)")
    else:
        account.left(found.name, "not an image that this program reads")


def _without_copies(files: Files, headers: list[Header], account: Account) -> list[Header]:
    """Keep one file of each SOP instance; a copy that differs is a problem."""
    first: dict[str, Header] = {}
    kept = []
    for header in headers:
        uid = header.text("SOPInstanceUID")
        other = first.setdefault(uid, header)
        if other is header or not uid:
            kept.append(header)
            continue
        name, present = header.found.name, other.found.name
        if _digest(files, header.found) == _digest(files, other.found):
            account.left(name, f"a copy of «{present}»")
        elif (longer := _whole_one(files, header, other)) is not None:
            cut = other if longer is header else header
            kept = [header if known is cut and longer is header else known for known in kept]
            first[uid] = longer
            account.left(cut.found.name, f"a cut-off copy of «{longer.found.name}»")
            account.problems.append(
                Problem(f"«{cut.found.name}» is a cut-off copy of «{longer.found.name}» and is not used.", cut.found.name)
            )
        else:
            account.left(name, f"carries the same SOPInstanceUID as «{present}» but is another file")
            text = f"«{name}» and «{present}» carry the same SOPInstanceUID but differ; only the second is used."
            account.problems.append(Problem(text, name, stops=True))
    return kept


def _whole_one(files: Files, one: Header, other: Header) -> Header | None:
    """Return the longer of two files where the shorter is its beginning, as a copy that broke off is; None otherwise."""
    short, long = sorted((one, other), key=lambda header: header.found.size)
    try:
        with files.open(short.found) as stream:
            start = stream.read()
        with files.open(long.found) as stream:
            return long if stream.read(len(start)) == start else None
    except OSError:
        return None


def _digest(files: Files, found: Found) -> bytes:
    try:
        with files.open(found) as stream:
            return hashlib.sha256(stream.read()).digest()
    except OSError:
        return found.name.encode()


def _by_kind(files: Files, headers: list[Header], account: Account) -> tuple[list[Slice], list[tuple[Header, bool]], list[Header]]:
    """Return MR slices, ultrasound headers and those that may be ultrasound; the rest is accounted for."""
    slices: list[Slice] = []
    ultrasound: list[tuple[Header, bool]] = []
    questions: list[Header] = []
    for header in headers:
        name, kind = header.found.name, kind_of(header)
        if kind.startswith("!") and header.text("SOPClassUID") in IMAGE_CLASSES:
            account.bad(name, "it is cut short before its image")
        elif kind.startswith("!"):
            account.left(name, kind[1:])
        elif kind == "mri":
            slices += _checked_slices(files, header, account)
        elif kind in ("ultrasound", "question"):
            try:
                check_pixels(header)
            except HeaderError as error:
                account.bad(name, str(error))
                continue
            if kind == "ultrasound":
                ultrasound.append((header, True))
            else:
                questions.append(header)
        else:
            account.left(name, f"{kind}: listed, not used")
    return slices, ultrasound, questions


def _checked_slices(files: Files, header: Header, account: Account) -> list[Slice]:
    name = header.found.name
    try:
        slices = slices_of(files, header)
        if header.count("SamplesPerPixel", 1) != 1 or not header.text("PhotometricInterpretation").startswith("MONOCHROME"):
            raise GeometryError("it is a colour picture, not MRI values")
    except GeometryError as error:
        role = "" if header.text("ImagePositionPatient") and header.frames == 1 else _derived(header)
        if role:
            account.left(name, f"{role}: listed, not used")
        else:
            account.bad(name, str(error))
        return []
    except HeaderError as error:
        account.bad(name, str(error))
        return []
    try:
        check_pixels(header)
    except HeaderError as error:
        # It keeps its place, so that the gap it leaves is seen and named with its phase and slice.
        account.left(name, str(error))
        return [dataclasses.replace(image, damage=str(error)) for image in slices]
    return slices


def _derived(header: Header) -> str:
    """Return what an MR image without a place is: pictures made by software on the scanner have none."""
    if header.count("SamplesPerPixel", 1) != 1:
        return "colour picture made from MRI"
    image = Slice(header, 0, (), (), (), (1.0, 0.0))
    return role_of(image) if image.image_type[:1] == ("DERIVED",) else ""


def _dynamic(parts: list[Part], account: Account) -> tuple[list[DynamicPlan], list[OtherSeries]]:
    candidates, others = [], []
    for part in parts:
        role = role_of(part.slices[0])
        if role:
            others.append(_part_aside(part, role, account))
        else:
            candidates.append(part)
    plans, left, problems = dynamic_plans(candidates)
    account.problems += problems
    others += [_part_aside(part, role, account) for part, role in left]
    for plan in plans:
        for number, phase in enumerate(plan.phases, 1):
            for place, image in enumerate(phase.images, 1):
                if image is not None and not image.damage:
                    account.used(image.header.found.name, _phase_use(image, number, place, len(plan.phases)))
        for image, reason in plan.aside:
            account.left(image.header.found.name, reason)
    return plans, others


def _phase_use(image: Slice, phase: int, place: int, count: int) -> str:
    if image.header.frames > 1:
        return f"phases 1 to {count}, {image.header.frames} frames"
    return f"phase {phase}, slice {place}"


def _part_aside(part: Part, role: str, account: Account) -> OtherSeries:
    names = {image.header.found.name for image in part.slices}
    damaged = {image.header.found.name: image.damage for image in part.slices if image.damage}
    for name in names:
        if name in damaged:
            account.bad(name, damaged[name])
        else:
            account.left(name, f"{role}: listed, not used")
    return OtherSeries(part.label, role, len(names))


def _other(header: Header, role: str, count: int) -> OtherSeries:
    number, text = header.text("SeriesNumber"), header.text("SeriesDescription")[:64]
    return OtherSeries(" ".join(part for part in (f"series {number}" if number else "series", text) if part), role, count)


def _others_of(headers: list[Header]) -> list[OtherSeries]:
    return [
        _other(header, kind, 1)
        for header, kind in ((header, kind_of(header)) for header in headers)
        if not kind.startswith("!") and kind not in ("mri", "ultrasound", "question")
    ]


def _merged(others: list[OtherSeries]) -> list[OtherSeries]:
    counts: dict[tuple[str, str], int] = {}
    for other in others:
        counts[other.label, other.role] = counts.get((other.label, other.role), 0) + other.file_count
    return [OtherSeries(label, role, count) for (label, role), count in counts.items()]


def _note_directory(headers: list[Header], files: Files, account: Account) -> None:
    """Say how many files a DICOMDIR names that are not there; it is a hint, the files found are what counts."""
    from pydicom import dcmread

    present = {found.name.lower() for found in files.found}
    for header in headers:
        if "DirectoryRecordSequence" not in header.sequences:
            continue
        try:
            with files.open(header.found) as stream:
                records = dcmread(stream, force=True).DirectoryRecordSequence
            named = ["/".join(_parts(record.ReferencedFileID)) for record in records if record.get("ReferencedFileID")]
        except Exception:  # noqa: BLE001  pydicom on untrusted bytes; a hint that cannot be read is no loss
            continue
        base = header.found.name.rpartition("/")[0]
        missing = [name for name in named if (f"{base}/{name}" if base else name).lower() not in present]
        if missing:
            text = f"The DICOMDIR names {len(named)} files, {len(missing)} of which are not there; what was found is what counts."
            account.problems.append(Problem(text, header.found.name))


def _parts(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else [str(part) for part in value]
