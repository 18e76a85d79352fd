"""Small studies and assessments in memory, for tests of services and views; made by hand, so the truth is plain."""

from __future__ import annotations

import datetime as dt

import numpy as np

from breastai_gui.data.study import DceSeries, FileUse, Grid, Patient, Phase, Problem, Study, UltrasoundView
from breastai_gui.services.assessment import Assessment
from breastai_model.case import Heatmaps, InputsUsed, Prediction, TaskPrediction

LESION_MM = (60.0, -40.0, 10.0)
"""LPS: in the left breast."""
LESION_RADIUS_MM = 12.0


def simple_grid() -> Grid:
    """Axial slices 4 mm apart, 2 x 2 mm pixels, both breasts: (24, 80, 144)."""
    affine = np.array([[0.0, 0.0, 2.0, -143.0], [0.0, 2.0, 0.0, -120.0], [4.0, 0.0, 0.0, -46.0], [0.0, 0.0, 0.0, 1.0]])
    return Grid((24, 80, 144), affine)


def simple_dce(phases: int = 5, times: bool = True, order: str = "certain") -> DceSeries:
    """Two half-round breasts; the lesion washes in to 250 % by the second post phase and out again."""
    grid = simple_grid()
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)
    place = grid.to_patient(index.astype(float))
    values = np.zeros((phases, *grid.shape), dtype=np.int16)
    tissue = np.zeros(grid.shape, dtype=bool)
    for centre in (-70.0, 70.0):
        inside = ((place - (centre, 20.0, 0.0)) / (60.0, 110.0, 60.0)) ** 2
        tissue |= inside.sum(axis=-1) < 1
    lesion = ((place - LESION_MM) ** 2).sum(axis=-1) < LESION_RADIUS_MM**2
    for phase in range(phases):
        values[phase][tissue] = 200 + 10 * phase
        values[phase][lesion] = [220, 500, 560, 520, 480, 450, 430, 420][min(phase, 7)]
    return DceSeries(
        values=values,
        scale=np.tile([1.0, 0.0], (phases, 1)),
        grid=grid,
        times_s=tuple([-60.0, 75.0, 150.0, 240.0, 450.0, 540.0, 630.0, 720.0][:phases]) if times else (None,) * phases,
        time_origin="injection" if times else "unknown",
        phases=tuple(Phase(f"series {8 + p}", 8 + p, {"AcquisitionNumber": str(p + 1)}, 24) for p in range(phases)),
        pre=0,
        order_confidence=order,  # type: ignore[arg-type]
        order_evidence="AcquisitionNumber rises with the series number",
        pre_confidence="certain",
        pre_evidence="Phase 1 is darkest in bright tissue.",
        frame_of_reference="1.2.3",
    )


def simple_view(number: int, patient: Patient, *, angle: float | None = None, spacing: bool = True) -> UltrasoundView:
    """A grey picture with a dark ellipse, the lesion, whose width grows with its number."""
    row, column = np.mgrid[0:120, 0:160]
    pixels = (120 + 40 * np.sin(row / 9.0 + number) + 20 * np.cos(column / 5.0)).astype(np.uint8)
    pixels[((row - 60) / 25.0) ** 2 + ((column - 80) / (20.0 + number)) ** 2 < 1] = 30
    return UltrasoundView(
        id=f"view-{number:02d}",
        pixels=pixels,
        spacing_mm=(0.25, 0.25) if spacing else None,
        spacing_source="SequenceOfUltrasoundRegions" if spacing else "",
        angle_deg=15.0 * number if angle is None else angle,
        angle_source="file name",
        patient=patient,
        side="left",
        lesion="",
        label=f"us_{15 * number:03d}",
        proposed=number < 12,
    )


def simple_study(
    *,
    phases: int = 5,
    views: int = 12,
    times: bool = True,
    order: str = "certain",
    phantom: bool = False,
    name: str = "Test^Patient",
    ultrasound_name: str | None = None,
    spacing: bool = True,
    problems: tuple[Problem, ...] = (),
) -> Study:
    """A whole exam; `phases=0` leaves the MRI out, `views=0` the ultrasound, another `ultrasound_name` is a mismatch."""
    patient = Patient("ID-1", name, "19700101", "F")
    other = patient if ultrasound_name is None else Patient("ID-2", ultrasound_name, "19700101", "F")
    return Study(
        key=f"{phases}-{views}-{times}-{order}-{phantom}".ljust(64, "0"),
        patient=patient if phases else other,
        ultrasound_patient=other if views else None,
        taken_on=dt.date(2026, 3, 14),
        description="Breast MRI",
        dce=simple_dce(phases, times, order) if phases else None,
        ultrasound=tuple(simple_view(n, other, angle=None if n < 12 else 0.0, spacing=spacing) for n in range(views)),
        others=(),
        files=(FileUse("IM001", "phase 1, slice 1"), FileUse("notes.txt", "", "not an image")),
        problems=problems,
        phantom=phantom,
    )


def simple_assessment(study: Study, *, scope: str = "joint", trained_on: str = "synthetic", probability: float = 0.68) -> Assessment:
    """An answer with heatmaps that are 1 at the lesion and fall off around it."""
    mri = study.dce is not None and scope != "ultrasound"
    used = tuple(view for view in study.ultrasound if view.proposed) if scope != "mri" else ()
    affine = np.array([[0.0, 0.0, 4.0, -142.0], [0.0, 4.0, 0.0, -118.0], [6.0, 0.0, 0.0, -48.0], [0.0, 0.0, 0.0, 1.0]])
    index = np.stack(np.meshgrid(*(np.arange(n) for n in (16, 40, 72)), indexing="ij"), axis=-1)
    place = index @ affine[:3, :3].T + affine[:3, 3]
    heat = np.exp(-((place - LESION_MM) ** 2).sum(axis=-1) / (2 * 15.0**2)).astype(np.float16)
    row, column = np.mgrid[0:32, 0:32]
    spot = np.exp(-((row - 16) ** 2 + (column - 16) ** 2) / 50.0).astype(np.float16)
    answer = TaskPrediction(probability, None, None, 0.5, "positive" if probability >= 0.5 else "negative")
    shares = {"mri_agnostic": 0.4 * mri, "mri_specific": 0.2 * mri, "us_agnostic": 0.3 * bool(used), "us_specific": 0.1 * bool(used)}
    total = sum(shares.values())
    phases = tuple(range(study.dce.phase_count)) if mri and study.dce is not None else ()
    prediction = Prediction(
        lymph_node_metastasis=answer,
        high_grade=answer,
        high_ki67=answer,
        heatmaps=Heatmaps(
            mri_agnostic=np.stack([heat] * 4) if mri else None,
            mri_specific=np.stack([heat] * 4) if mri else None,
            mri_affine=affine if mri else None,
            us_agnostic=np.stack([np.stack([spot] * len(used))] * 4) if used else None,
            us_specific=np.stack([np.stack([spot] * len(used))] * 4) if used else None,
            us_boxes=tuple((-20.0, 0.0, 160.0, 160.0) for _ in used),
            energy_share={name: share / total for name, share in shares.items()},  # type: ignore[misc]
        ),
        inputs=InputsUsed(phases[:5], 5, tuple(range(len(used))), 12, ("left", "right") if mri else (), False, ()),
        device="cpu",
        device_note="",
        engine="torch 2.13.0",
        precision="float32",
        seconds=1.5,
    )
    return Assessment(
        scope=scope,  # type: ignore[arg-type]
        prediction=prediction,
        study_key=study.key,
        phases=phases,
        views=tuple(view.id for view in used),
        subject="Left breast, one lesion; nothing absent",
        model_name="breastai-demonstration",
        model_version="0.1",
        model_sha256="ab" * 32,
        trained_on=trained_on,  # type: ignore[arg-type]
        phantom=study.phantom,
        made_at=dt.datetime(2026, 3, 14, 12, 0, tzinfo=dt.UTC),
    )
