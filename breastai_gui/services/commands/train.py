"""`breastai train`: run or continue a training run, start one from a plan, or make the bundled weights again."""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from breastai_gui.services.commands import NOT_YET

if TYPE_CHECKING:
    from collections.abc import Callable

    from breastai_gui.services.places import Places
    from breastai_model.plan import Plan
    from breastai_model.run_folder import RunFolder

LONGEST_PLAN = 256 * 1024

ABOUT = """\
TARGET is the folder of a run, which goes on where it stands, or a plan (JSON, such as those in resources/plans): its phantom cohort is
made below the run's folder, then trained. A plan with folds trains each fold in RUN/folds and calibrates the model with the out-of-fold
predictions.

several processes, one or more machines that share the run's folder:
  torchrun --nproc-per-node 4 -m breastai_gui train TARGET --out RUN
the batch size of the plan is that of each process.
"""


class PlanError(Exception):
    """A plan cannot be started; the text is one sentence."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command with its options to the parser."""
    train = commands.add_parser(
        "train",
        help="run or continue a training run, or start one from a plan",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    train.add_argument("target", type=Path, nargs="?", metavar="TARGET", help="the run's folder, or a plan")
    train.add_argument("--out", type=Path, metavar="RUN", help="for a plan: the folder of its run; it goes on where it is there already")
    train.add_argument("--minutes", type=float, metavar="M", help="save and stop after so long, with exit code 3: the same command goes on")
    train.add_argument(
        "--bundled",
        nargs=argparse.REMAINDER,
        metavar="OPTION",
        help="make the weights that the program ships with; what follows are that command's own options (--bundled --help)",
    )


def run(options: argparse.Namespace, places: Places, say: Callable[[str], None]) -> int:
    """Train and return the exit code."""
    if options.bundled is not None:
        if options.target is not None or options.minutes is not None:
            raise PlanError("--bundled stands alone: it has a plan and options of its own.")
        return _bundled([*([] if options.out is None else ["--out", str(options.out)]), *options.bundled], places)
    if options.target is None:
        raise PlanError("Name what to train: the folder of a run, a plan, or --bundled.")
    target: Path = options.target
    if target.is_dir() or target.suffix != ".json":
        if options.out is not None:
            raise PlanError("--out goes with a plan; the folder of a run is where it is.")
        return _trained(target, options.minutes)
    folder = options.out if options.out is not None else places.runs / f"plan-{target.stem}"
    _begin(folder, _plan(target), say)
    return _trained(folder, options.minutes)


def _trained(folder: Path, minutes: float | None) -> int:
    """Train in this process, for so many minutes at most, and return the exit code."""
    from breastai_gui.services import training_worker
    from breastai_model.run_folder import RunFolder

    run = RunFolder(folder)
    if minutes is None or not run.has_plan():
        return training_worker.main(folder)
    if not minutes > 0:
        raise PlanError("--minutes takes a number above 0.")

    def stop() -> None:
        if run.is_ready():
            run.ask_to_stop("pause")
        else:  # while patients are made nobody asks for wishes; those that are whole are kept
            os.kill(os.getpid(), signal.SIGTERM)

    timer = threading.Timer(60 * minutes, stop)
    timer.daemon = True
    timer.start()
    try:
        code = training_worker.main(folder)
    finally:
        timer.cancel()
    return NOT_YET if code == 0 and run.result() is None else code


def _bundled(arguments: list[str], places: Places) -> int:
    from breastai_model.training import bundled

    out = [] if any(each.split("=")[0] in {"--out", "--help", "-h"} for each in arguments) else ["--out", str(places.runs / "bundled")]
    return bundled.main([*out, *arguments])


def _plan(path: Path) -> Plan:
    from breastai_model.plan import Plan
    from breastai_model.strict_json import parsed

    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"The plan {path.name} cannot be read.") from error
    try:
        plan = Plan.from_json(parsed(text, "plan", LONGEST_PLAN))
    except ValueError as error:
        raise PlanError(str(error).replace("plan.json", path.name)) from error
    if plan.data is None:
        raise PlanError(f"The plan {path.name} names no phantom cohort: to train with patients, start from the training wizard.")
    return plan


def _begin(folder: Path, plan: Plan, say: Callable[[str], None]) -> None:
    """Make the run's folder, or see that it is one of this plan. Of several processes the first makes it and the others wait."""
    import time

    from breastai_model.run_folder import RunFolder
    from breastai_model.training.processes import place

    run = RunFolder(folder)
    for _ in range(600):
        if place().first or run.has_plan():
            break
        time.sleep(0.1)
    if not run.has_plan():
        try:
            run.create(plan, {"cases": []})
        except FileExistsError:
            raise PlanError(f"The folder {folder.name} holds something else than a training run: choose another with --out.") from None
    elif _begun_with(run) != json.dumps(plan.to_json()):
        raise PlanError(f"The run {folder.name} was begun with another plan: choose another folder with --out.")
    if place().first:
        run.clear_stop()
        say(f"The run's folder is {folder}")


def _begun_with(run: RunFolder) -> str:
    try:
        return json.dumps(run.plan().to_json())
    except ValueError as error:
        raise PlanError(str(error)) from error
