"""Make the weights that the program ships with, from made-up patients: ``breastai train --bundled --out FOLDER``.

1. *windows*: a clinic cohort is written and prepared. The network sees a window around each lesion (its place is known, the patients are
   made up), of some patients the same place in the other breast. Convolutions do not depend on the size of their input, and a window
   costs a sixth of a whole exam.
2. *whole*: the same patients, whole breasts, as in every prediction. Nothing tells the network where the lesion is.
3. The norms of F^a get the statistics of the learning patients (`breastai_model.training.precise_norm`), which changes no answer.
4. A second cohort, of other seeds, calibrates: one temperature, threshold and conformal quantile for each task and each set of
   modalities. Together with some phantoms at the resolution of a scanner (such as the demo patient) it also gives the in-distribution
   statistics: half of either the statistics, the other half their threshold.
5. The weights are written with all of that inside, and their SHA-256 beside them.

Both stages train with the recipe `stable`; beside it the features are asked for the latents that the phantoms were drawn from
(L_Z, `breastai_model.training.latent_readout`), for a label alone says little of one patient. A third cohort, `TEST`, is never read
here: ``breastai prove --weights FILE`` judges on it, once. Everything lies below FOLDER and goes on where it was left when started
again. Under ``torchrun`` several processes train together; phantoms are then best made first (``--only-prepare``), as the other
processes wait for the first no longer than a few minutes.

``--control`` makes the two networks that the bundled one is judged against, on the same patients: `shuffled` learns from labels dealt
out anew (what its heatmaps show no label taught it), `leaky` without BatchNorm on F^a, adversary and L_C (what its agnostic features
hold nothing made agnostic). They learn on windows alone, are calibrated by nothing and shipped nowhere.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch

from breastai_model.inference.in_distribution import fit_distribution
from breastai_model.inference.stage_means import read_case
from breastai_model.network.net import BreastNet
from breastai_model.phantom.cohort import PhantomCohort
from breastai_model.phantom.scenarios import law_hash
from breastai_model.plan import PhantomData, Plan, plan_with
from breastai_model.recipe import preset
from breastai_model.run_folder import RunFolder
from breastai_model.training.bundled_cases import (
    CALIBRATE,
    FULL_SIZE,
    LEARN,
    LEARN_SEED,
    LESIONS,
    LearningCases,
    WindowCases,
    cohort_folder,
    prepare_calibration,
    prepare_learning,
    read_lesions,
)
from breastai_model.training.calibrate import calibrated
from breastai_model.training.card import bundled_card
from breastai_model.training.checkpoint import load_checkpoint
from breastai_model.training.dataset import CaseFiles
from breastai_model.training.evaluate import task_metrics
from breastai_model.training.features import ABSENT, predict_cases
from breastai_model.training.machine import Machine, machine_words
from breastai_model.training.precise_norm import MOST_CASES, settle_agnostic_norms
from breastai_model.training.predictions import FILE_NAME, Predictions
from breastai_model.training.train import Training, TrainingError, channels_last
from breastai_model.weights import read_weights, save_weights
from breastai_model.whole_file import replace_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


NAME, VERSION = "breastai-demonstration", "0.2.1"
NOT_YET = 3
"""Exit code: stopped after its minutes; the same command goes on."""
Control = Literal["", "shuffled", "leaky"]
COVERAGE = 0.9
WINDOW_HEALTHY, WHOLE_HEALTHY = 0.25, 0.5
"""Share of the patients whose other breast is seen in each stage."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be made, and how much of it.

    Attributes
    ----------
    patients, calibration, full_size
        Made-up patients to learn from, to calibrate with, and at a scanner's resolution for the in-distribution statistics.
    window_epochs, whole_epochs
        Of the two stages.
    device
        "cpu", "cuda" or "mps".
    preset
        "compact"; "tiny" to try the command.
    control
        "", or which control network is made instead.
    """

    patients: int = 3000
    calibration: int = 400
    full_size: int = 48
    window_epochs: int = 10
    whole_epochs: int = 3
    device: str = "cpu"
    preset: str = "compact"
    control: Control = ""

    def plans(self) -> tuple[Plan, Plan]:
        """Return the plans of the two stages: losses `stable` with L_Z.

        The forward pass is bfloat16: on a processor made for it a step of the MRI streams takes a third of the time (measured). Three in
        ten phases and angles are left out: a patient costs less, and is never shown twice in the same way.
        """
        common: dict[str, Any] = {
            "data": PhantomData("clinic", self.patients, LEARN_SEED),
            "batch_size": 8,
            "validation_share": 0.05,
            "precision": "bfloat16" if self.device == "cpu" else "auto",
            "device": self.device,
            "drop_view": 0.3,
        }
        recipe = preset(self.preset)
        windows = plan_with(NAME, recipe, "stable", epochs=self.window_epochs, learning_rate=2e-3, **common)
        whole = plan_with(NAME, recipe, "stable", epochs=self.whole_epochs, learning_rate=1e-3, **common)
        return (
            self._controlled(replace(windows, losses=replace(windows.losses, lambda_latents=1.0, warm_up_epochs=3.0))),
            self._controlled(replace(whole, losses=replace(whole.losses, lambda_latents=0.5, warm_up_epochs=0.0))),
        )

    def _controlled(self, plan: Plan) -> Plan:
        if self.control == "shuffled":
            return replace(plan, losses=replace(plan.losses, lambda_latents=0.0))
        if self.control == "leaky":
            losses = replace(plan.losses, adversary="none", compactness="none", lambda_cross_covariance=0.0)
            return replace(plan, losses=losses, recipe=replace(plan.recipe, agnostic_norm=False))
        return plan


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, calibrate and write the weights; return the exit code."""
    usual = Wish()
    parser = argparse.ArgumentParser(prog="breastai train --bundled", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for cohorts, checkpoints and runs")
    parser.add_argument("--patients", type=int, default=usual.patients, help="made-up patients to learn from")
    parser.add_argument("--calibration", type=int, default=usual.calibration, help="further ones to calibrate with")
    parser.add_argument("--full-size", type=int, default=usual.full_size, help="at a scanner's resolution, for the in-distribution check")
    parser.add_argument("--window-epochs", type=int, default=usual.window_epochs)
    parser.add_argument("--whole-epochs", type=int, default=usual.whole_epochs)
    parser.add_argument("--device", choices=("cpu", "cuda", "mps"), default=usual.device)
    parser.add_argument("--preset", choices=("compact", "tiny"), default=usual.preset, help="tiny: to try the command")
    parser.add_argument("--control", choices=get_args(Control)[1:], default="", help="make a control network instead")
    parser.add_argument("--processes", type=int, default=1, help="that make phantoms")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after the epoch in which so many are over; exit code 3")
    parser.add_argument("--only-prepare", action="store_true", help="make all phantoms and stop")
    parser.add_argument("--weights", type=Path, help="folder to put the weights into; without it, OUT")
    options = parser.parse_args(arguments)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    wish = Wish(**{each.name: getattr(options, each.name) for each in fields(Wish)})
    if options.only_prepare:
        recipe = preset(wish.preset)
        prepare_learning(options.out, wish.patients, recipe, options.processes, _say)
        prepare_calibration(options.out, wish.calibration, wish.full_size, recipe, options.processes, _say)
    elif not make(wish, options.out, options.weights or options.out, options.processes, _say, time.monotonic() + 60 * options.minutes):
        return NOT_YET
    return 0


def make(wish: Wish, out: Path, weights: Path, processes: int, say: Callable[[str], None], deadline: float = math.inf) -> bool:
    """Do all steps that are not done yet, and return whether all are.

    Parameters
    ----------
    out
        Folder of the cohorts and the runs.
    weights
        Folder of the weights and their SHA256SUMS.
    processes
        That make phantoms.
    deadline
        `time.monotonic()` after which no further epoch begins.

    Raises
    ------
    TrainingError
        If the folder was begun with other numbers.
    """
    stages = wish.plans()
    prefix = f"{wish.control}-" if wish.control else ""
    windows, whole = (RunFolder(out / f"{prefix}{name}") for name in ("windows", "whole"))
    runs = list(zip((windows, whole), stages, strict=True))[: 1 if wish.control else 2]
    machine = Machine(stages[0].device, stages[0].precision, say)
    first = machine.place.first
    if first:
        for run, plan in runs:
            _begin(run, plan)
        prepare_learning(out, wish.patients, preset(wish.preset), processes, say)
    machine.wait()
    paths = RunFolder(out / LEARN).case_paths()
    given = PhantomCohort(cohort_folder(out, LEARN)).latents if stages[0].losses.lambda_latents else None
    near = WindowCases(paths, given, WINDOW_HEALTHY, read_lesions(out / LESIONS))
    if wish.control == "shuffled":
        near.labels = np.random.default_rng(LEARN_SEED).permutation(near.labels)
    if not _train("windows", Training(windows, near, machine=machine), say, deadline):
        return False
    machine.wait()
    if wish.control:
        if first:
            _write_control(out, windows, wish.control)
        return True
    far = LearningCases(paths, given, WHOLE_HEALTHY)
    if not _train("whole breasts", Training(whole, far, first=windows.best, machine=machine), say, deadline):
        return False
    machine.wait()
    if first:
        prepare_calibration(out, wish.calibration, wish.full_size, preset(wish.preset), processes, say)
        _write(weights, whole, machine.place.world, RunFolder(out / CALIBRATE), RunFolder(out / FULL_SIZE), say)
    return True


def _write_control(out: Path, run: RunFolder, control: Control) -> None:
    """Write the best network of a run as a weights file without calibration."""
    recipe = run.plan().recipe
    net = BreastNet(recipe)
    load_checkpoint(run.best, net)
    save_weights(out / f"{control}.safetensors", net.eval(), recipe, {"control": control}, control, VERSION)


def _train(stage: str, training: Training, say: Callable[[str], None], deadline: float) -> bool:
    """Train to the plan's last epoch; return False where the time is over before."""
    while training.position.epoch < training.plan.epochs:
        if training.machine.agreed("due" if time.monotonic() > deadline else None, ("due",)):
            if training.place.first:
                say("The time is over: start the same command again to go on.")
            return False
        training.train_epoch()
        training.end_epoch()
        if training.place.first:
            say(f"{stage}, epoch {training.position.epoch}: {_figures(training.folder)}")
    return True


def _begin(run: RunFolder, plan: Plan) -> None:
    """Write the plan of a run, or make sure that it is this one."""
    if not run.has_plan():
        run.create(plan, {"cases": []})
    elif run.plan() != plan:
        raise TrainingError(f"The run {run.path.name} was begun with other numbers: give the same ones, or another --out folder.")


def _write(folder: Path, run: RunFolder, processes: int, fresh: RunFolder, fine: RunFolder, say: Callable[[str], None]) -> None:
    """Calibrate the best network of a run on fresh cases, and write weights and hash into the folder."""
    plan, cases = run.plan(), CaseFiles(fresh.case_paths())
    net = channels_last(BreastNet(plan.recipe))
    state = load_checkpoint(run.best, net)
    net.eval()
    learnt = CaseFiles(RunFolder(run.path.with_name(LEARN)).case_paths())
    say(f"Reading {min(len(learnt), MOST_CASES)} patients of the learning cohort for the norms of F^a.")
    settle_agnostic_norms(net, learnt, np.arange(len(learnt)))
    say(f"Reading {len(cases)} patients of the calibration cohort.")
    predictions = _predictions(net, cases)
    predictions.write(fresh.path / FILE_NAME)
    readings = [read_case(net, files.load(index)) for files in (cases, CaseFiles(fine.case_paths())) for index in range(len(files))]
    stages = [RunFolder(run.path.with_name(name)) for name in ("windows", "whole")]
    metrics: dict[str, Any] = {
        "trained_on": "synthetic",
        "phantoms": _data(plan).patients,
        "law": law_hash(),
        "epochs": {stage.path.name: stage.plan().epochs for stage in stages},
        "hours": {stage.path.name: round(sum(epoch.seconds for epoch in stage.progress().epochs) / 3600, 2) for stage in stages},
        "machine": f"{machine_words(plan.device)}; {plan.precision}",
        "processes": processes,
        "best_epoch": state.get("epoch"),
        "calibrated_on": len(cases),
        "full_size": len(readings) - len(cases),
        # Of the cohort that calibrated: temperatures and thresholds do not change an AUC. The test cohort is judged by `prove`.
        "auc": {scope: task_metrics(predictions.log_odds[scope], cases.labels) for scope in predictions.log_odds},
    }
    target = folder / f"{NAME}.safetensors"
    calibration, distribution = calibrated(predictions, COVERAGE), fit_distribution(readings[::2], readings[1::2])
    save_weights(target, net, plan.recipe, metrics, NAME, VERSION, calibration, distribution, bundled_card(plan.recipe, metrics))
    sha256 = read_weights(target).sha256
    replace_text(folder / "SHA256SUMS", f"{sha256}  {target.name}\n")
    say(json.dumps({scope: {task: told["auc"] for task, told in tasks.items()} for scope, tasks in metrics["auc"].items()}))
    say(f"Wrote {target.name}, {target.stat().st_size / 1e6:.1f} MB, sha256 {sha256}")


def _figures(run: RunFolder) -> str:
    epoch = run.progress().epochs[-1]
    answers = ", ".join(f"{task} {value:.2f}" for task, value in epoch.auc.items() if value is not None)
    asked = f", latents {epoch.parts['L_Z']:.2f} of 5" if "L_Z" in epoch.parts else ""
    return f"learning {epoch.train_loss:.3f}{asked}, held out {epoch.validation_loss or 0:.3f}, AUC {answers}; {epoch.seconds:.0f} s"


def _data(plan: Plan) -> PhantomData:
    if plan.data is None:
        raise ValueError("The bundled weights are learnt from a phantom cohort: the plan must name one.")
    return plan.data


def _predictions(net: BreastNet, cases: CaseFiles) -> Predictions:
    everyone = np.arange(len(cases.labels))
    log_odds = {scope: predict_cases(net, cases, everyone, absent).logits for scope, absent in ABSENT.items()}
    return Predictions(cases.labels, cases.groups, np.zeros(len(everyone), dtype=np.int64), log_odds)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
