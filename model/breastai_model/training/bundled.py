"""Make the weights that the program ships with, from made-up patients: ``python -m breastai_model.training.bundled OUT``.

The recipe is `compact`, the loss the plain supervised one, modalities are left out at random. Three stages:

1. *windows*: the network sees a small window around the lesion (its place is known, the patients are made up) and the
   mirrored place in the other breast, at the full resolution. Convolutions do not depend on the size of their input, and a
   window costs a fifteenth of a whole breast.
2. *mri*: the same windows, most of them without ultrasound. Ultrasound shows the answer sooner, and a network that has it
   hardly looks at the MRI.
3. *whole*: whole breasts, as in every prediction, so that the pooled features and the batch norms' statistics fit them.
   Nothing tells the network where the lesion is.

The first phantoms are learnt from, the last ones are measured on at the end and play no part before it (the best epoch is
chosen on a further share of the first ones). Everything lies below OUT and goes on where it was left when started again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from breastai_model.phantom.patient import make_patient
from breastai_model.plan import Plan
from breastai_model.prepare import Prepared, prepare
from breastai_model.recipe import preset
from breastai_model.run_folder import RunFolder, replace_file
from breastai_model.training.checkpoint import load_checkpoint
from breastai_model.training.dataset import CaseFiles, case_arrays
from breastai_model.training.evaluate import task_metrics
from breastai_model.training.train import Training
from breastai_model.weights import read_weights, save_weights

if TYPE_CHECKING:
    from collections.abc import Iterable

NAME, VERSION = "breastai-demonstration", "0.1"
FIRST_SEED = 1_000_000
"""Phantoms of these seeds on; the demo patient and the tests use small seeds, so they are new to the model."""
WINDOW = (12, 48, 48)
RECIPE = preset("compact")


class WindowFiles(CaseFiles):
    """Cases cut to a window around the lesion; the window lies elsewhere each time a case is shown for learning.

    Parameters
    ----------
    paths
        Case files with one more entry, `lesion`: its (slice, row, column) in the affected breast.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        super().__init__(tuple(paths))
        self._chance = np.random.default_rng(1)

    def load(self, index: int) -> Prepared:
        """Return the window of one case."""
        case = super().load(index)
        lesion = self._read(index, ("lesion",))["lesion"]
        box = []
        for place, size, whole in zip(lesion, WINDOW, case.mri.shape[2:], strict=True):
            jitter = self._chance.integers(-size // 4, size // 4 + 1)
            start = int(np.clip(place - size // 2 + jitter, 0, whole - size))
            box.append(slice(start, start + size))
        present = case.mri_present.copy()
        if self._chance.random() < 0.5:
            present[:, 1] = False  # the healthy breast costs as much and says less
        return replace(case, mri=np.ascontiguousarray(case.mri[:, :, box[0], box[1], box[2]]), mri_present=present)


def write_phantom(job: tuple[Path, int, int]) -> None:
    """Write the case of one phantom: (run folder, number, seed)."""
    folder, number, seed = job
    run = RunFolder(folder)
    if run.case_path(number).is_file():
        return
    patient = make_patient(seed, "model")
    prepared = prepare(patient.case, RECIPE)
    if prepared.mri_affine is None:
        raise ValueError("A phantom has MRI.")
    place = np.linalg.solve(prepared.mri_affine, [*patient.truth.lesion_mm, 1.0])[:3]
    half = RECIPE.mri_shape[2]
    # Columns of a breast run from medial to lateral; the left one is the second half of the whole grid.
    place[2] = place[2] - half if patient.truth.side == "left" else half - 1 - place[2]
    lesion = np.clip(np.rint(place), 0, np.array(RECIPE.mri_shape) - 1).astype(np.int64)
    run.write_case(number, {**case_arrays(prepared, patient.labels, number), "lesion": lesion})


def main() -> None:
    """Make phantoms, train both stages, measure on phantoms never seen, write weights and their SHA-256."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--phantoms", type=int, default=1000, help="made-up patients to learn from")
    parser.add_argument("--measured", type=int, default=300, help="further ones for the final figures")
    parser.add_argument("--window-epochs", type=int, default=12)
    parser.add_argument("--mri-epochs", type=int, default=10)
    parser.add_argument("--whole-epochs", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1, help="that make phantoms")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of the forward pass while training")
    parser.add_argument("--weights", type=Path, help="folder to put the weights into; OUT without it")
    arguments = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))

    common: dict[str, Any] = {
        "recipe": RECIPE,
        "batch_size": 8,
        "validation_share": 0.08,
        "device": "cpu",
        "precision": arguments.precision,
    }
    windows = _folder(arguments.out / "windows", Plan(name=NAME, epochs=arguments.window_epochs, learning_rate=1.5e-3, **common))
    seldom = Plan(name=NAME, epochs=arguments.mri_epochs, learning_rate=1e-3, drop_mri=0.1, drop_ultrasound=0.7, **common)
    mri = _folder(arguments.out / "mri", seldom)
    whole = _folder(arguments.out / "whole", Plan(name=NAME, epochs=arguments.whole_epochs, learning_rate=4e-4, **common))
    total = arguments.phantoms + arguments.measured
    jobs = [(windows.path, number, FIRST_SEED + number) for number in range(1, total + 1)]
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        for done, _ in enumerate(pool.imap_unordered(write_phantom, jobs, chunksize=4), start=1):
            if done % 100 == 0 or done == total:
                print(f"{done} of {total} phantoms", flush=True)
    paths = windows.case_paths()
    learn, measured = paths[: arguments.phantoms], paths[arguments.phantoms : total]

    _train(windows, WindowFiles(learn), None)
    _train(mri, WindowFiles(learn), windows.best)
    # Every stage sees the same held-out share: the split follows from labels, numbers and seed alone.
    _train(whole, CaseFiles(learn), mri.best)

    last = Training(whole, CaseFiles(learn))
    load_checkpoint(whole.best, last.net, None)
    last.plan = replace(last.plan, precision="float32")
    last.cases, last.held_out = CaseFiles(measured), np.arange(len(measured))
    metrics: dict[str, Any] = {"trained_on": "synthetic", "phantoms": arguments.phantoms, "measured_on": len(measured)}
    for shown, absent in (("both", ""), ("mri_only", "ultrasound"), ("ultrasound_only", "mri")):
        metrics[shown] = task_metrics(last.measure(absent)[0], last.cases.labels)
    print(json.dumps(metrics, indent=1))
    target = (arguments.weights or arguments.out) / f"{NAME}.safetensors"
    save_weights(target, last.net, RECIPE, metrics, NAME, VERSION)
    sha256 = read_weights(target).sha256
    replace_file(target.parent / "SHA256SUMS", lambda path: _write_text(path, f"{sha256}  {target.name}\n"))
    print(f"Wrote {target.name}, {target.stat().st_size / 1e6:.1f} MB, sha256 {sha256}")


def _folder(path: Path, plan: Plan) -> RunFolder:
    run = RunFolder(path)
    if not run.has_plan():
        run.create(plan, {"cases": []})
    return run


def _train(run: RunFolder, cases: CaseFiles, first: Path | None) -> None:
    """Train a stage that is not finished yet, without the final model of an ordinary run."""
    training = Training(run, cases, first)
    while training.position.epoch < training.plan.epochs:
        training.train_epoch()
        training.end_epoch()
        epoch = run.progress().epochs[-1]
        figures = ", ".join(f"{task} {value:.2f}" for task, value in epoch.auc.items() if value is not None)
        losses = f"learning {epoch.train_loss:.3f}, held out {epoch.validation_loss or 0:.3f}"
        print(f"{run.name} epoch {epoch.number}: {losses}, {figures}, {epoch.seconds:.0f} s", flush=True)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
