"""A cohort on disk: the same bytes however it was made, gone on with after a kill, mapped when read, and turned into cases."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from breastai_model.case import TASKS
from breastai_model.phantom.ceilings import measured_auc
from breastai_model.phantom.cohort import PhantomCohort, ungraded, write_cohort
from breastai_model.phantom.latents import LATENT_NAMES, draw_latents
from breastai_model.phantom.measured import MRI_FEATURES, PRINCIPAL, US_FEATURES
from breastai_model.phantom.patient import make_patient
from breastai_model.phantom.scenarios import bayes_auc, law_hash
from breastai_model.plan import PhantomData, plan_with
from breastai_model.prepare import prepare
from breastai_model.recipe import preset
from breastai_model.run_folder import RunFolder
from breastai_model.training.cases import prepare_phantoms
from breastai_model.training.dataset import CaseFiles

DATA = PhantomData("clinic", 4, 40)
RECIPE = preset("tiny", mri_shape=(4, 16, 16), us_shape=(16, 16))


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("[!.]*") if path.is_file() and path.name != "lock"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort") / "made up 病人"
    told: list[tuple[int, int]] = []
    write_cohort(folder, DATA, processes=1, grade_missing=1, tell=lambda done, total: told.append((done, total)))
    assert told == [(done, 4) for done in range(5)]
    return folder


@pytest.fixture(scope="module")
def cohort(folder: Path) -> PhantomCohort:
    return PhantomCohort(folder)


def test_a_cohort_says_what_it_is(cohort: PhantomCohort) -> None:
    assert len(cohort) == 4
    assert cohort.data == DATA
    assert cohort.law_hash == law_hash()
    np.testing.assert_array_equal(cohort.latents, [draw_latents(seed).values for seed in range(40, 44)])
    assert cohort.latents.shape == (4, len(LATENT_NAMES))
    assert cohort.labels.shape == (4, len(TASKS))
    assert (cohort.labels[:, 1] == -1).sum() == 1  # the one grade that is missing
    assert (cohort.labels[:, [0, 2]] >= 0).all()
    for task in TASKS:
        bounds = cohort.ceilings.task(task)
        assert bounds.bayes.both == bayes_auc("clinic")[task]["both"]
        assert bounds.outlined.both is None  # four patients are too few for a regression
    assert cohort.measured().shape == cohort.measured(found=True).shape == (4, len(MRI_FEATURES) + len(US_FEATURES))
    assert np.isfinite(cohort.measured()).all()


def test_100_missing_grades_turn_table_1s_202_of_300_into_202_of_200() -> None:
    high = np.array([1] * 202 + [0] * 300)
    left_out = ungraded(high, 7, 100)
    assert len(set(left_out.tolist())) == 100
    known = np.delete(high, left_out)
    assert ((known == 1).sum(), (known == 0).sum()) == (202, 200)
    assert np.array_equal(left_out, ungraded(high, 7, 100))
    with pytest.raises(ValueError, match="300 of 502 here"):
        ungraded(high, 7, 301)


def test_a_patient_comes_back_as_it_was_made_and_its_images_are_mapped(cohort: PhantomCohort) -> None:
    made, read = make_patient(42), cohort.patient(2)
    assert isinstance(read.case.dce, np.memmap)
    assert all(isinstance(image, np.memmap) for image in read.case.ultrasound)
    assert not read.case.dce.flags.writeable
    np.testing.assert_array_equal(read.case.dce, made.case.dce)  # type: ignore[arg-type]
    for ours, theirs in zip(read.case.ultrasound, made.case.ultrasound, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(read.lesion, made.truth.lesion)
    for ours, theirs in zip(read.views, made.truth.views, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(read.lesion_mm, made.truth.lesion_mm)
    assert read.side == read.case.side == made.truth.side
    for name in ("dce_times_s", "pre", "breasts", "midline_mm", "ultrasound_spacing_mm", "angles_deg"):
        assert getattr(read.case, name) == getattr(made.case, name), name
    known = [number for number in range(3) if cohort.labels[2, number] >= 0]
    assert all(getattr(read.labels, TASKS[number]) == getattr(made.labels, TASKS[number]) for number in known)
    missing = int(np.flatnonzero(cohort.labels[:, 1] < 0)[0])
    assert cohort.patient(missing).labels.high_grade is None
    with pytest.raises(IndexError):
        cohort.patient(4)


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_processes_and_after_a_kill(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from breastai_model.phantom.cohort import write_cohort\nfrom breastai_model.plan import PhantomData\n"
        "if __name__ == '__main__':\n"
        "    write_cohort(Path(sys.argv[1]), PhantomData('clinic', 4, 40), processes=2, grade_missing=1)\n"
    )
    script = tmp_path / "write.py"
    script.write_text(code, "utf-8")
    writing = subprocess.Popen([sys.executable, script, again], env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while not list(again.glob("patients/[0-9]*.safetensors")):
        assert writing.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    writing.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
    writing.wait(30)
    with pytest.raises(ValueError, match="no whole cohort"):
        PhantomCohort(again)
    kept = {path: path.stat().st_mtime_ns for path in again.glob("patients/[0-9]*.safetensors")}
    (again / "patients" / ".0004.safetensors.torn").write_bytes(b"half")
    told: list[int] = []
    write_cohort(again, DATA, processes=2, grade_missing=1, tell=lambda done, total: told.append(done))
    assert told[0] >= len(kept)
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())
    assert digests(again) == digests(folder)


def test_a_folder_with_another_cohort_is_left_alone(folder: Path) -> None:
    before = digests(folder)
    for other in (PhantomData("S2", 4, 40), PhantomData("clinic", 4, 41)):
        with pytest.raises(ValueError, match="another kind"):
            write_cohort(folder, other, processes=1)
    with pytest.raises(ValueError, match="No more grades"):
        write_cohort(folder, DATA, processes=1, grade_missing=5)
    assert digests(folder) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "another version"),
        ({"labels": [[1, 1, 1]]}, "do not fit"),
        ({"labels": [[1, 1, 2]] * 4}, "do not fit"),
        ({"law": 7}, "damaged"),
        ({"surprise": 1}, "damaged"),
        ({"latent_names": ["size"]}, "another version"),
    ],
)
def test_what_cohort_json_may_not_say(folder: Path, tmp_path: Path, change: dict[str, object], said: str) -> None:
    values = json.loads((folder / "cohort.json").read_text("utf-8"))
    (tmp_path / "cohort.json").write_text(json.dumps({**values, **change}), "utf-8")
    with pytest.raises(ValueError, match=said):
        PhantomCohort(tmp_path)


def test_a_damaged_patient_is_named_by_its_number(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "patients").mkdir()
    (tmp_path / "cohort.json").write_bytes((folder / "cohort.json").read_bytes())
    whole = (folder / "patients" / "0002.safetensors").read_bytes()
    (tmp_path / "patients" / "0002.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="patient 0002 is damaged"):
        PhantomCohort(tmp_path).patient(1)


def test_cases_of_a_cohort_are_what_prepare_gives(cohort: PhantomCohort, tmp_path: Path) -> None:
    runs = [RunFolder(tmp_path / name) for name in ("one", "two")]
    for processes, run in enumerate(runs, start=1):
        run.create(plan_with("phantoms", RECIPE, "supervised", data=DATA), {"cases": []})
        told: list[tuple[int, int]] = []
        prepare_phantoms(cohort, RECIPE, run, lambda done, total, told=told: told.append((done, total)), processes)  # type: ignore[misc]
        assert told == [(done, 4) for done in range(5)]
    assert digests(runs[0].cases) == digests(runs[1].cases)
    cases = CaseFiles(runs[0].case_paths())
    np.testing.assert_array_equal(cases.labels, cohort.labels)
    assert cases.groups.tolist() == [1, 2, 3, 4]
    expected = prepare(make_patient(41).case, RECIPE)
    np.testing.assert_array_equal(cases.load(1).mri, expected.mri.astype(np.float16))
    np.testing.assert_array_equal(cases.load(1).us, expected.us.astype(np.float16))
    told = []
    prepare_phantoms(cohort, RECIPE, runs[0], lambda done, total: told.append((done, total)), 1)
    assert told == [(4, 4)]  # nothing is prepared twice


def test_the_measured_auc_finds_what_is_there_and_no_more() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((400, len(MRI_FEATURES) + len(US_FEATURES)))
    ours, theirs = MRI_FEATURES.index(PRINCIPAL[0][0]), len(MRI_FEATURES) + US_FEATURES.index(PRINCIPAL[0][1])
    seen_by_mri = (features[:, ours] > 0).astype(np.int64)
    assert (measured_auc(features, seen_by_mri, "mri") or 0) > 0.97
    assert (measured_auc(features, seen_by_mri, "both") or 0) > 0.97
    assert measured_auc(features, seen_by_mri, "us") == pytest.approx(0.5, abs=0.1)
    # A sum cannot tell an exclusive or; the products of the principal measures can.
    either = (features[:, ours] * features[:, theirs] > 0).astype(np.int64)
    assert measured_auc(features, either, "both") == pytest.approx(0.5, abs=0.1)
    assert (measured_auc(features, either, "both", crossed=True) or 0) > 0.9
    seen_by_mri[200:] = -1  # what is not known is left out
    assert (measured_auc(features, seen_by_mri, "mri") or 0) > 0.95
    assert measured_auc(features, np.where(np.arange(400) < 9, 1, 0), "both") is None
