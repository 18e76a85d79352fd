"""From a scan and a selection to a checked `Study`: pixels into one arena, phases judged, every file accounted for."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from breastai_gui.data.arena import Arena, padded
from breastai_gui.data.dicom import MOST_BYTES, common_type, frames_of, read_volume, signals_of, volume_bytes
from breastai_gui.data.dynamic import DynamicPlan, PhasePlan, damaged
from breastai_gui.data.headers import HeaderError
from breastai_gui.data.nifti import VolumePlan, read_phase
from breastai_gui.data.phases import pre_of, times_of
from breastai_gui.data.picture import grey_of, is_mask, read_picture
from breastai_gui.data.proposal import chosen_files, view_use
from breastai_gui.data.study import (
    DEMO_UID_ROOT,
    DceSeries,
    FileUse,
    Patient,
    Phase,
    Preview,
    Problem,
    ReadError,
    ReadProgress,
    Study,
    UltrasoundView,
)
from breastai_gui.data.ultrasound import Region, UltrasoundPlan, ViewPlan, region_of, spacing_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from breastai_gui.data.folder import Scan
    from breastai_gui.data.phases import Order, PhaseFacts
    from breastai_gui.data.study import Grid, Selection


class Loading:
    """One exam being read.

    Parameters
    ----------
    scan
        What the headers say.
    tell, at, unreadable
        As in `folder.scan`.
    """

    def __init__(
        self,
        scan: Scan,
        tell: Callable[[ReadProgress], None],
        at: Callable[[str], None] = lambda _name: None,
        unreadable: Mapping[str, str] | None = None,
    ) -> None:
        self._scan = scan
        self._tell = tell
        self._at = at
        self._unreadable = dict(unreadable or {})
        self._problems: list[Problem] = list(scan.catalogue.problems)
        self._identities: list[str] = []
        self._uids: list[str] = []
        self._failed: dict[str, str] = {}

    def load(self, selection: Selection) -> tuple[Study, Arena]:
        """Read the selected candidates.

        Returns
        -------
        tuple
            The study, and the arena that its large arrays lie in.

        Raises
        ------
        ReadError
            If nothing of the selection can be read.
        """
        scan = self._scan
        plan = scan.dynamic[selection.dynamic] if selection.dynamic is not None else None
        views = scan.ultrasound[selection.ultrasound] if selection.ultrasound is not None else None
        try:
            size = 0 if plan is None else volume_bytes(plan) if isinstance(plan, DynamicPlan) else _plain_bytes(plan)
            size = padded(size) + (sum(padded(_view_bytes(view)) for view in views.views) if views else 0)
            if size > MOST_BYTES:
                raise HeaderError(f"its images would take {size / 2**30:.1f} GiB of memory")
        except HeaderError as error:
            raise ReadError(f"The exam cannot be opened: {error}. Choose a smaller series.") from None
        arena = Arena(size)
        total = (_images(plan) if plan is not None else 0) + (len(views.views) if views else 0)
        dce = None
        if isinstance(plan, DynamicPlan):
            self._problems += plan.problems
            dce = self._dicom_volume(plan, arena, total)
        elif plan is not None:
            self._problems += plan.problems
            dce = self._plain_volume(plan, arena, total)
        ultrasound, uses = self._views(views, arena, total - len(views.views), total) if views else ((), {})
        if dce is None and not ultrasound:
            first = f" {self._problems[-1].text}" if self._problems else ""
            raise ReadError(f"Nothing of what was chosen could be read.{first}")
        patient = plan.patient if isinstance(plan, DynamicPlan) else Patient() if plan is not None else None
        taken_on = plan.taken_on if isinstance(plan, DynamicPlan) else None
        description = plan.description if isinstance(plan, DynamicPlan) else ""
        study = Study(
            key=hashlib.sha256("\n".join(sorted(self._identities)).encode()).hexdigest(),
            patient=patient if patient is not None else views.patient if views else Patient(),
            ultrasound_patient=views.patient if views and ultrasound else None,
            # Never the other modality's: it may be another patient's.
            taken_on=taken_on if plan is not None else views.taken_on if views else None,
            description=description if plan is not None else views.description if views else "",
            dce=dce,
            ultrasound=ultrasound,
            others=scan.catalogue.others,
            files=self._files(plan, views, uses),
            problems=tuple({(problem.text, problem.file): problem for problem in self._problems}.values()),
            phantom=bool(self._uids) and all(uid == DEMO_UID_ROOT or uid.startswith(DEMO_UID_ROOT + ".") for uid in self._uids),
        )
        return study, arena

    def _files(self, plan: DynamicPlan | VolumePlan | None, views: UltrasoundPlan | None, uses: Mapping[str, str]) -> tuple[FileUse, ...]:
        names = {view.found.name for view in views.views} if views else set()
        if isinstance(plan, DynamicPlan):
            names |= {image.header.found.name for phase in plan.phases for image in phase.images if image is not None}
        elif plan is not None:
            names |= {volume.found.name for volume, _ in plan.phases}
        account = chosen_files(self._scan.catalogue.files, names)
        for name, used_as in uses.items():
            account[name] = FileUse(name, used_as)
        for name, reason in self._failed.items():
            account[name] = FileUse(name, "", reason)
        return tuple(sorted(account.values(), key=lambda use: use.file))

    # --- dynamic series -------------------------------------------------------------------------------------------------------

    def _dicom_volume(self, plan: DynamicPlan, arena: Arena, total: int) -> DceSeries:
        values = arena.array((len(plan.phases), *plan.stack.grid.shape), common_type(plan))
        shown = False

        def tell(done: int, _of: int) -> None:
            nonlocal shown
            preview = None
            if not shown:
                shown = True
                middle = plan.phases[0].images[values.shape[1] // 2]
                slope, intercept = middle.scale if middle is not None else (1.0, 0.0)
                picture = np.asarray(values[0, values.shape[1] // 2] * np.float32(slope) + np.float32(intercept), dtype=np.float32)
                preview = Preview(picture, f"phase 1, slice {values.shape[1] // 2 + 1} of {values.shape[1]}")
            if preview is not None or done % 16 == 0:
                self._tell(ReadProgress("pixels", done, total, preview))

        failed = read_volume(self._scan.files, plan, values, self._at, tell, self._unreadable)
        count = values.shape[1]
        complete = np.ones(count, dtype=bool)
        for number, phase in enumerate(plan.phases):
            for place, image in enumerate(phase.images):
                if image is None or image.damage or (number, place) in failed:
                    complete[place] = False
                if image is None:
                    continue
                uid = image.header.text("SOPInstanceUID")
                self._identities.append(f"{uid or image.header.found.name}#{image.frame}")
                self._uids += [uid, image.header.text("SeriesInstanceUID"), image.header.text("StudyInstanceUID")]
                if (number, place) in failed:
                    reason, name = failed[number, place], image.header.found.name
                    self._failed[name] = reason
                    self._problems.append(damaged(number + 1, place, count, name, reason))
        scale = np.array([next(image.scale for image in phase.images if image is not None) for phase in plan.phases], dtype=np.float64)
        phases = tuple(_phase(phase) for phase in plan.phases)
        facts = [phase.facts for phase in plan.phases]
        return self._series(values, scale, plan.stack.grid, phases, facts, plan.order, complete, plan.frame_of_reference)

    def _plain_volume(self, plan: VolumePlan, arena: Arena, total: int) -> DceSeries | None:
        values = arena.array((len(plan.phases), *plan.grid.shape), plan.kind)
        cache: dict[str, NDArray[Any]] = {}
        for number, (volume, place) in enumerate(plan.phases):
            name = volume.found.name
            try:
                if name in self._unreadable:
                    raise HeaderError(self._unreadable[name])
                self._at(name)
                read_phase(self._scan.files, volume, place, values[number], cache)
            except HeaderError as error:
                self._failed[name] = str(error)
                if volume.count > 1:
                    self._problems.append(Problem(f"«{name}» was not read: {error}.", name))
                    return None
                self._problems.append(Problem(f"Phase {number + 1} is damaged: «{name}»: {error}.", name, stops=True))
            middle = values.shape[1] // 2
            preview = (
                Preview(values[0, middle].astype(np.float32), f"phase 1, slice {middle + 1} of {values.shape[1]}") if number == 0 else None
            )
            self._tell(ReadProgress("pixels", number + 1, total, preview))
        self._at("")
        self._identities += [hashlib.sha256(phase.tobytes()).hexdigest() for phase in values]
        self._uids.append("")
        scale = np.tile([1.0, 0.0], (len(values), 1))
        phases = tuple(
            Phase(volume.found.name.rsplit("/", 1)[-1] + (f", volume {place + 1}" if volume.count > 1 else ""), None, {}, 1)
            for volume, place in plan.phases
        )
        complete = np.ones(values.shape[1], dtype=bool)
        return self._series(values, scale, plan.grid, phases, list(plan.facts), plan.order, complete, "")

    def _series(
        self,
        values: NDArray[Any],
        scale: NDArray[np.float64],
        grid: Grid,
        phases: tuple[Phase, ...],
        facts: list[PhaseFacts],
        order: Order,
        complete: NDArray[np.bool_],
        frame_of_reference: str,
    ) -> DceSeries:
        signals = signals_of(values, scale, complete)
        pre = pre_of(facts, signals, order.confidence)
        times, origin, refused = times_of(facts, pre.first_post)
        if refused:
            self._problems.append(Problem(refused))
        confidence, evidence = order.confidence, order.evidence
        if pre.contradicts_order and confidence != "question":
            confidence, evidence = "question", f"{evidence}, but the enhancement contradicts it"
        return DceSeries(
            values=values,
            scale=scale,
            grid=grid,
            times_s=times,
            time_origin=origin,
            phases=phases,
            pre=pre.index,
            order_confidence=confidence,
            order_evidence=evidence,
            pre_confidence=pre.confidence,
            pre_evidence=pre.evidence,
            frame_of_reference=frame_of_reference,
        )

    # --- ultrasound -----------------------------------------------------------------------------------------------------------

    def _views(self, plan: UltrasoundPlan, arena: Arena, before: int, total: int) -> tuple[tuple[UltrasoundView, ...], dict[str, str]]:
        self._problems += plan.problems
        views: list[UltrasoundView] = []
        uses: dict[str, list[int]] = {}
        sizes: dict[str, int] = {"unsized": 0, "whole": 0, "outside": 0, "unreadable": 0}
        by_file: dict[str, list[ViewPlan]] = {}
        for view in plan.views:
            by_file.setdefault(view.found.name, []).append(view)
        made: dict[int, UltrasoundView] = {}
        done = before
        for name, members in by_file.items():
            try:
                if name in self._unreadable:
                    raise HeaderError(self._unreadable[name])
                self._at(name)
                for view, built in self._decoded(members, plan, arena, sizes):
                    made[id(view)] = built
                    done += 1
                    preview = Preview(built.pixels.astype(np.float32), built.label) if done == 1 else None
                    if preview is not None or done % 4 == 0:
                        self._tell(ReadProgress("pixels", done, total, preview))
            except HeaderError as error:
                self._failed[name] = str(error)
                self._problems.append(Problem(f"«{name}» was not read: {error}.", name))
        self._at("")
        for view in plan.views:
            if id(view) in made:
                views.append(made[id(view)])
                uses.setdefault(view.found.name, []).append(len(views))
        for name in uses:
            self._failed.pop(name, None)
        self._note_sizes(sizes, len(views))
        return tuple(views), {name: view_use(numbers) for name, numbers in uses.items()}

    def _decoded(
        self, views: list[ViewPlan], plan: UltrasoundPlan, arena: Arena, sizes: dict[str, int]
    ) -> list[tuple[ViewPlan, UltrasoundView]]:
        header = views[0].header
        files = self._scan.files
        answer = []
        if header is None:
            grey = read_picture(files, views[0].found)
            content = hashlib.sha256(grey.tobytes()).hexdigest()
            self._identities.append(content)
            self._uids.append("")
            sizes["unsized"] += 1
            sizes["whole"] += 1
            return [(views[0], _view(views[0], plan, arena, grey, content, None, ""))]
        region = region_of(header)
        spacing, source = spacing_of(header, region)
        uid = header.text("SOPInstanceUID")
        for view, picture in zip(views, frames_of(files, header, [view.frame for view in views]), strict=True):
            grey = grey_of(picture, header)
            if view.frame == 0 and header.frames == 1 and plan.confidence == "question" and is_mask(grey):
                raise HeaderError("a mask (two values), not an image")
            identity = f"{uid or hashlib.sha256(grey.tobytes()).hexdigest()}#{view.frame}"
            self._identities.append(identity)
            self._uids += [uid, header.text("SeriesInstanceUID"), header.text("StudyInstanceUID")]
            sizes["unsized"] += spacing is None
            sizes["outside"] += region.outside
            sizes["unreadable"] += region.unreadable
            sizes["whole"] += region.box is None and not region.outside and not region.unreadable
            answer.append((view, _view(view, plan, arena, _cut(grey, region), identity, spacing, source)))
        return answer

    def _note_sizes(self, sizes: dict[str, int], count: int) -> None:
        if sizes["unsized"]:
            self._problems.append(
                Problem(f"{sizes['unsized']} of {count} ultrasound images give no millimetres: distances on them are in pixels.")
            )
        if sizes["outside"]:
            text = (
                f"{sizes['outside']} of {count} ultrasound images were cropped after their region was written; they are shown whole, "
                "and text may be burned into them."
            )
            self._problems.append(Problem(text))
        if sizes["unreadable"]:
            text = (
                f"The region of {sizes['unreadable']} of {count} ultrasound images is damaged and cannot be read; they are shown whole, "
                "and text may be burned into them."
            )
            self._problems.append(Problem(text))
        if sizes["whole"]:
            text = f"{sizes['whole']} of {count} ultrasound images name no region; they are shown whole, and text may be burned into them."
            self._problems.append(Problem(text))


def _phase(plan: PhasePlan) -> Phase:
    return Phase(plan.label, plan.series_number, plan.shown, sum(image is not None for image in plan.images))


def _cut(grey: NDArray[np.uint8], region: Region) -> NDArray[np.uint8]:
    if region.box is None:
        return grey
    top, left, bottom, right = region.box
    return grey[top:bottom, left:right]


def _view(
    view: ViewPlan,
    plan: UltrasoundPlan,
    arena: Arena,
    grey: NDArray[np.uint8],
    identity: str,
    spacing: tuple[float, float] | None,
    source: str,
) -> UltrasoundView:
    if view.header is None:
        pixels = grey  # its size was not known when the arena was made
    else:
        pixels = arena.array(grey.shape, np.uint8)
        pixels[...] = grey
    return UltrasoundView(
        id=hashlib.sha256(identity.encode()).hexdigest()[:16],
        pixels=pixels,
        spacing_mm=spacing,
        spacing_source=source,
        angle_deg=view.angle_deg,
        angle_source=view.angle_source,
        patient=plan.patient,
        side=view.side,
        lesion=view.lesion,
        label=view.label,
        proposed=view.proposed,
        doubtful=plan.confidence == "question",
    )


def _view_bytes(view: ViewPlan) -> int:
    return 0 if view.header is None else view.header.count("Rows") * view.header.count("Columns")


def _plain_bytes(plan: VolumePlan) -> int:
    return len(plan.phases) * int(np.prod(plan.grid.shape, dtype=object)) * plan.kind.itemsize


def _images(plan: DynamicPlan | VolumePlan) -> int:
    if isinstance(plan, VolumePlan):
        return len(plan.phases)
    return sum(image is not None for phase in plan.phases for image in phase.images)
