"""Make the weights that the program ships with, from made-up patients: ``breastai train --bundled --out FOLDER``.

1. *windows*: a clinic cohort is written and prepared. The network sees a window around each lesion (its place is known, the patients are
   made up) and the same place in the other breast. Convolutions do not depend on the size of their input, and a window costs a
   fifth of a whole breast.
2. *whole*: the same patients, whole breasts, as in every prediction. Nothing tells the network where the lesion is.
3. A second cohort, of other seeds, calibrates: one temperature, threshold and conformal quantile for each task and each set of
   modalities; half of it gives the in-distribution statistics, the other half their threshold.
4. The weights are written with all of that inside, and their SHA-256 beside them.

Both stages train with the recipe `stable`. A third cohort, `TEST`, is never read here: ``breastai prove --weights FILE`` judges on it,
once. Everything lies below FOLDER and goes on where it was left when started again. Under ``torchrun`` several processes train together.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from breastai_model.inference.in_distribution import fit_distribution
from breastai_model.inference.stage_means import read_case
from breastai_model.network.net import BreastNet
from breastai_model.phantom.cohort import PhantomCohort, write_cohort
from breastai_model.phantom.parallel import each
from breastai_model.phantom.scenarios import law_hash
from breastai_model.phantom.stored import read_stored
from breastai_model.plan import PhantomData, Plan, plan_with
from breastai_model.prepare import prepare
from breastai_model.recipe import preset
from breastai_model.run_folder import RunFolder, replace_file
from breastai_model.training.calibrate import calibrated
from breastai_model.training.cases import prepare_phantoms
from breastai_model.training.checkpoint import load_checkpoint
from breastai_model.training.dataset import CaseFiles
from breastai_model.training.evaluate import task_metrics
from breastai_model.training.features import predict_cases
from breastai_model.training.machine import Machine
from breastai_model.training.predictions import FILE_NAME, Predictions
from breastai_model.training.train import Training, channels_last
from breastai_model.weights import read_weights, save_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from breastai_model.prepare import Prepared
    from breastai_model.recipe import Recipe
    from breastai_model.training.features import Absent

NAME, VERSION = "breastai-demonstration", "0.2"
LEARN_SEED, CALIBRATE_SEED, TEST_SEED = 1_000_000, 2_000_000, 3_000_000
"""First seeds of the three cohorts; the demo patient and the tests use small ones, so they are new to the model."""
TEST = PhantomData("clinic", 1000, TEST_SEED)
COVERAGE = 0.9
WINDOW = (12, 48, 48)
"""Slices, rows and columns of the first stage; on a 2 x 2 x 2 last map."""
LESIONS = "lesions.json"
SCOPES: tuple[tuple[str, Absent], ...] = (("both", ""), ("mri", "ultrasound"), ("us", "mri"))


def plans(patients: int, window_epochs: int, whole_epochs: int) -> tuple[Plan, Plan]:
    """Return the plans of the two stages: preset `compact`, losses `stable`.

    The forward pass is bfloat16: on a processor made for it a step of the MRI streams takes a third of the time (measured).
    """
    common: dict[str, Any] = {
        "data": PhantomData("clinic", patients, LEARN_SEED),
        "batch_size": 8,
        "validation_share": 0.06,
        "precision": "bfloat16",
        "device": "cpu",
    }
    recipe = preset("compact")
    return (
        plan_with(NAME, recipe, "stable", epochs=window_epochs, learning_rate=2e-3, **common),
        plan_with(NAME, recipe, "stable", epochs=whole_epochs, learning_rate=5e-4, **common),
    )


class WindowCases(CaseFiles):
    """Cases cut to a window around the lesion, which lies anywhere in its middle half; every second one without the other breast.

    Parameters
    ----------
    paths
        Case files.
    lesions
        (case, 3): slice, row and column of each lesion in the prepared affected breast.
    """

    def __init__(self, paths: Sequence[Path], lesions: NDArray[np.int64]) -> None:
        super().__init__(paths)
        self._lesions = lesions

    def load(self, index: int) -> Prepared:
        """Return the window of one case, the same one each time."""
        case = super().load(index)
        chance = np.random.default_rng([LEARN_SEED, index])
        box = []
        for middle, size, whole in zip(self._lesions[index], WINDOW, case.mri.shape[2:], strict=True):
            start = int(np.clip(middle - size // 2 + chance.integers(-size // 4, size // 4 + 1), 0, whole - size))
            box.append(slice(start, start + size))
        present = case.mri_present.copy()
        present[:, 1] &= chance.random() < 0.5  # the healthy breast costs as much and says less
        return replace(case, mri=np.ascontiguousarray(case.mri[:, :, box[0], box[1], box[2]]), mri_present=present)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, calibrate and write the weights; return the exit code."""
    parser = argparse.ArgumentParser(prog="breastai train --bundled", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for cohorts, checkpoints and runs")
    parser.add_argument("--patients", type=int, default=3000, help="made-up patients to learn from")
    parser.add_argument("--calibration", type=int, default=400, help="further ones to calibrate with")
    parser.add_argument("--window-epochs", type=int, default=16)
    parser.add_argument("--whole-epochs", type=int, default=2)
    parser.add_argument("--processes", type=int, default=1, help="that make phantoms")
    parser.add_argument("--weights", type=Path, help="folder to put the weights into; without it, OUT")
    options = parser.parse_args(arguments)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    stages = plans(options.patients, options.window_epochs, options.whole_epochs)
    make(options.out, options.weights or options.out, stages, options.calibration, options.processes, _say)
    return 0


def make(out: Path, weights: Path, stages: tuple[Plan, Plan], calibration: int, processes: int, say: Callable[[str], None]) -> None:
    """Do all steps that are not done yet.

    Parameters
    ----------
    out
        Folder of the cohorts and the runs.
    weights
        Folder of the weights and their SHA256SUMS.
    stages
        The plans of the two stages; a run that was begun with another is refused.
    calibration
        How many patients calibrate.
    processes
        That make phantoms.
    """
    windows, whole = (RunFolder(out / name) for name in ("windows", "whole"))
    machine = Machine(stages[0].device, stages[0].precision, say)
    first = machine.place.first
    if first:
        data = _data(stages[0])
        _prepare(windows, stages[0], data, processes, say)
        if not whole.has_plan():
            whole.create(stages[1], {"cases": []})
        write_lesions(out / LESIONS, windows, processes)
    machine.wait()
    paths = windows.case_paths()
    training = Training(windows, WindowCases(paths, read_lesions(out / LESIONS)), machine=machine)
    while training.position.epoch < training.plan.epochs:
        training.train_epoch()
        training.end_epoch()
        if first:
            say(f"windows, epoch {training.position.epoch}: {_figures(windows)}")
    machine.wait()
    if whole.result() is None:
        last = Training(whole, CaseFiles(paths), first=windows.best, machine=machine)
        while last.position.epoch < last.plan.epochs:
            last.train_epoch()
            last.end_epoch()
            if first:
                say(f"whole breasts, epoch {last.position.epoch}: {_figures(whole)}")
    machine.wait()
    if first:
        fresh = RunFolder(out / "calibration")
        _prepare(fresh, stages[1], PhantomData("clinic", calibration, CALIBRATE_SEED), processes, say)
        _write(weights, whole, fresh, say)


def _write(folder: Path, run: RunFolder, fresh: RunFolder, say: Callable[[str], None]) -> None:
    """Calibrate the best network of a run on fresh cases, and write weights and hash into the folder."""
    plan, cases = run.plan(), CaseFiles(fresh.case_paths())
    net = channels_last(BreastNet(plan.recipe))
    state = load_checkpoint(run.best, net)
    net.eval()
    say(f"Reading {len(cases)} patients of the calibration cohort.")
    predictions = _predictions(net, cases)
    predictions.write(fresh.path / FILE_NAME)
    readings = [read_case(net, cases.load(index)) for index in range(len(cases))]
    middle = len(readings) // 2
    metrics: dict[str, Any] = {
        "trained_on": "synthetic",
        "phantoms": _data(plan).patients,
        "law": law_hash(),
        "best_epoch": state.get("epoch"),
        "calibrated_on": len(cases),
        # Of the cohort that calibrated: temperatures and thresholds do not change an AUC. The test cohort is judged by `prove`.
        "auc": {scope: task_metrics(predictions.log_odds[scope], cases.labels) for scope in predictions.log_odds},
    }
    target = folder / f"{NAME}.safetensors"
    calibration, distribution = calibrated(predictions, COVERAGE), fit_distribution(readings[:middle], readings[middle:])
    save_weights(target, net, plan.recipe, metrics, NAME, VERSION, calibration=calibration, distribution=distribution)
    sha256 = read_weights(target).sha256
    replace_file(folder / "SHA256SUMS", lambda path: _write_text(path, f"{sha256}  {target.name}\n"))
    say(json.dumps({scope: {task: told["auc"] for task, told in tasks.items()} for scope, tasks in metrics["auc"].items()}))
    say(f"Wrote {target.name}, {target.stat().st_size / 1e6:.1f} MB, sha256 {sha256}")


def write_lesions(path: Path, run: RunFolder, processes: int) -> None:
    """Write where each lesion of a prepared cohort lies: (case, 3) slice, row and column in the affected breast, as JSON."""
    if path.is_file():
        return
    cohort = PhantomCohort(_cohort(run.path))
    jobs = [(cohort.path(index), cohort.labels[index], run.plan().recipe) for index in range(len(cohort))]
    places = list(each(lesion_place, jobs, processes, ordered=True))
    replace_file(path, lambda temporary: _write_text(temporary, json.dumps(places)))


def read_lesions(path: Path) -> NDArray[np.int64]:
    """Return what `write_lesions` wrote."""
    return np.array(json.loads(path.read_text("utf-8")), dtype=np.int64)


def lesion_place(job: tuple[Path, NDArray[np.int64], Recipe]) -> list[int]:
    """Return (slice, row, column) of the lesion in the affected breast of a stored phantom, prepared by that recipe."""
    path, answers, recipe = job
    patient = read_stored(path, answers)
    affine = prepare(replace(patient.case, ultrasound=(), ultrasound_spacing_mm=(), angles_deg=()), recipe).mri_affine
    if affine is None:
        raise ValueError("A phantom has MRI.")
    place = np.linalg.solve(affine, [*patient.lesion_mm, 1.0])[:3]
    half = recipe.mri_shape[2]
    # Columns of a breast run from medial to lateral; the left one is the second half of the whole grid.
    place[2] = place[2] - half if patient.side == "left" else half - 1 - place[2]
    return [int(value) for value in np.clip(np.rint(place), 0, np.array(recipe.mri_shape) - 1)]


def _prepare(run: RunFolder, wanted: Plan, data: PhantomData, processes: int, say: Callable[[str], None]) -> None:
    """Write and prepare a cohort, as far as it is not there yet."""
    if not run.has_plan():
        run.create(wanted, {"cases": []})
    if len(run.case_paths()) < data.patients:
        started = time.monotonic()
        write_cohort(_cohort(run.path), data, processes=processes)
        prepare_phantoms(PhantomCohort(_cohort(run.path)), wanted.recipe, run, run.tell_preparing, processes)
        say(f"{data.patients} phantoms from seed {data.seed} on, prepared in {time.monotonic() - started:.0f} s")


def _figures(run: RunFolder) -> str:
    epoch = run.progress().epochs[-1]
    answers = ", ".join(f"{task} {value:.2f}" for task, value in epoch.auc.items() if value is not None)
    return f"learning {epoch.train_loss:.3f}, held out {epoch.validation_loss or 0:.3f}, AUC {answers}; {epoch.seconds:.0f} s"


def _data(plan: Plan) -> PhantomData:
    if plan.data is None:
        raise ValueError("The bundled weights are learnt from a phantom cohort: the plan must name one.")
    return plan.data


def _cohort(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-cohort")


def _predictions(net: BreastNet, cases: CaseFiles) -> Predictions:
    everyone = np.arange(len(cases.labels))
    log_odds: dict[Any, Any] = {scope: predict_cases(net, cases, everyone, absent).logits for scope, absent in SCOPES}
    return Predictions(cases.labels, cases.groups, np.zeros(len(everyone), dtype=np.int64), log_odds)


def _say(line: str) -> None:
    print(line, flush=True)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
