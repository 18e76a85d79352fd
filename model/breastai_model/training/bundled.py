"""Make the weights that the program ships with, from made-up patients: ``breastai train --bundled --out FOLDER``.

1. A clinic cohort to learn from is written and prepared, and trained as any plan is (`plan()` below, recipe `stable`).
2. A second cohort, of other seeds, calibrates: one temperature, threshold and conformal quantile for each task and each set of
   modalities; half of it gives the in-distribution statistics, the other half their threshold.
3. The weights are written with all of that inside, and their SHA-256 beside them.

A third cohort, `TEST`, is never read here: ``breastai prove --weights FILE`` judges on it, once. Everything lies below FOLDER and
goes on where it was left when started again.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from breastai_model.inference.in_distribution import fit_distribution
from breastai_model.inference.stage_means import read_case
from breastai_model.network.net import BreastNet
from breastai_model.phantom.cohort import PhantomCohort, write_cohort
from breastai_model.phantom.scenarios import law_hash
from breastai_model.plan import PhantomData, Plan, plan_with
from breastai_model.recipe import preset
from breastai_model.run_folder import RunFolder, replace_file
from breastai_model.training.calibrate import calibrated
from breastai_model.training.cases import prepare_phantoms
from breastai_model.training.checkpoint import load_checkpoint
from breastai_model.training.dataset import CaseFiles
from breastai_model.training.evaluate import task_metrics
from breastai_model.training.features import predict_cases
from breastai_model.training.predictions import FILE_NAME, Predictions
from breastai_model.training.train import Training, channels_last
from breastai_model.weights import read_weights, save_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from breastai_model.training.features import Absent

NAME, VERSION = "breastai-demonstration", "0.2"
LEARN_SEED, CALIBRATE_SEED, TEST_SEED = 1_000_000, 2_000_000, 3_000_000
"""First seeds of the three cohorts; the demo patient and the tests use small ones, so they are new to the model."""
TEST = PhantomData("clinic", 1000, TEST_SEED)
COVERAGE = 0.9
SCOPES: tuple[tuple[str, Absent], ...] = (("both", ""), ("mri", "ultrasound"), ("us", "mri"))


def plan(patients: int, epochs: int) -> Plan:
    """Return the plan of the bundled weights: preset `compact`, losses `stable`.

    The forward pass is bfloat16: on a processor made for it a step of the MRI streams takes a third of the time (measured).
    """
    return plan_with(
        NAME,
        preset("compact"),
        "stable",
        data=PhantomData("clinic", patients, LEARN_SEED),
        epochs=epochs,
        batch_size=8,
        learning_rate=2e-3,
        validation_share=0.06,
        precision="bfloat16",
        device="cpu",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, calibrate and write the weights; return the exit code."""
    parser = argparse.ArgumentParser(prog="breastai train --bundled", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for cohorts, checkpoints and the run")
    parser.add_argument("--patients", type=int, default=1400, help="made-up patients to learn from")
    parser.add_argument("--calibration", type=int, default=400, help="further ones to calibrate with")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--processes", type=int, default=1, help="that make phantoms")
    parser.add_argument("--weights", type=Path, help="folder to put the weights into; without it, OUT")
    options = parser.parse_args(arguments)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    make(options.out, options.weights or options.out, plan(options.patients, options.epochs), options.calibration, options.processes, _say)
    return 0


def make(out: Path, weights: Path, wanted: Plan, calibration: int, processes: int, say: Callable[[str], None]) -> Path:
    """Do all steps that are not done yet and return the weights file.

    Parameters
    ----------
    out
        Folder of the cohorts and the run.
    weights
        Folder of the weights and their SHA256SUMS.
    wanted
        The plan; a run that was begun with another is refused.
    calibration
        How many patients calibrate.
    processes
        That make phantoms.
    """
    if wanted.data is None:
        raise ValueError("The bundled weights are learnt from a phantom cohort: the plan must name one.")
    run = _prepared(out / "run", wanted, wanted.data, processes, say)
    if run.result() is None:
        say(Training(run).run())
    result = run.result() or {}
    fresh = _prepared(out / "calibration", wanted, PhantomData("clinic", calibration, CALIBRATE_SEED), processes, say)
    cases = CaseFiles(fresh.case_paths())
    net = channels_last(BreastNet(wanted.recipe))
    load_checkpoint(run.best, net, None)
    net.eval()
    say("Reading the calibration cohort.")
    predictions = _predictions(net, cases)
    predictions.write(fresh.path / FILE_NAME)
    readings = [read_case(net, cases.load(index)) for index in range(len(cases.labels))]
    middle = len(readings) // 2
    metrics: dict[str, Any] = {
        "trained_on": "synthetic",
        "phantoms": wanted.data.patients,
        "law": law_hash(),
        "best_epoch": result.get("best_epoch"),
        "calibrated_on": calibration,
        # Of the cohort that calibrated: temperatures and thresholds do not change an AUC. The test cohort is judged by `prove`.
        "auc": {scope: task_metrics(predictions.log_odds[scope], cases.labels) for scope in predictions.log_odds},
    }
    target = weights / f"{NAME}.safetensors"
    save_weights(
        target,
        net,
        wanted.recipe,
        metrics,
        NAME,
        VERSION,
        calibration=calibrated(predictions, COVERAGE),
        distribution=fit_distribution(readings[:middle], readings[middle:]),
    )
    sha256 = read_weights(target).sha256
    replace_file(weights / "SHA256SUMS", lambda path: _write_text(path, f"{sha256}  {target.name}\n"))
    say(f"Wrote {target.name}, {target.stat().st_size / 1e6:.1f} MB, sha256 {sha256}")
    return target


def _prepared(folder: Path, wanted: Plan, data: PhantomData, processes: int, say: Callable[[str], None]) -> RunFolder:
    """Return the folder with the prepared cases of that cohort."""
    run = RunFolder(folder)
    if not run.has_plan():
        run.create(wanted, {"cases": []})
    if len(run.case_paths()) < data.patients:
        started = time.monotonic()
        write_cohort(_cohort(folder), data, processes=processes)
        prepare_phantoms(PhantomCohort(_cohort(folder)), wanted.recipe, run, run.tell_preparing, processes)
        say(f"{data.patients} phantoms from seed {data.seed} on, prepared in {time.monotonic() - started:.0f} s")
    return run


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
