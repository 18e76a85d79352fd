"""`breastai compare`: every system on the same made-up patients with the same budget, and the paper's Table 3 from it."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from breastai_gui.services.commands import NOT_YET
from breastai_model.plan import Scenario

if TYPE_CHECKING:
    from collections.abc import Callable

    from breastai_gui.services.places import Places
    from breastai_model.baselines.comparison import Comparison
    from breastai_model.baselines.comparison_plan import ComparisonPlan


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command with its options to the parser."""
    compare = commands.add_parser(
        "compare",
        help="train and measure every comparator on made-up patients, for a table like the paper's Table 3",
        description="Each system learns from the same made-up patients with the same budget and answers the same held-out ones. Says "
        "first what it will take. Works in pieces: after --minutes it stops with exit code 3, and the same command goes on; so it does "
        "after any break. Started twice at once with the same folder, two processes share the work.",
    )
    compare.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where everything is kept: table.md and result.json too")
    compare.add_argument("--systems", type=_words, metavar="A,B", help="which systems, in that order (all; a wrong name lists them)")
    compare.add_argument("--preset", default="tiny", help="sizes of the network and, unless told otherwise, of the images (tiny)")
    compare.add_argument("--mri-shape", type=_sizes(3), metavar="D,H,W", help="slices, rows, columns of a breast")
    compare.add_argument("--us-shape", type=_sizes(2), metavar="H,W", help="rows, columns of an angle")
    compare.add_argument("--patients", type=int, default=200, metavar="N", help="made-up patients to learn from (200)")
    compare.add_argument("--held-out", type=int, default=100, metavar="M", help="further ones to measure on (100)")
    compare.add_argument(
        "--cohort", type=Path, metavar="FOLDER", help="take these patients (`breastai phantom --patients`), M of them to measure on"
    )
    compare.add_argument("--scenario", choices=get_args(Scenario), default="clinic", help="where the labels come from (clinic)")
    compare.add_argument(
        "--cohort-seed", type=int, default=300_000, metavar="SEED", help="of the first patient; also decides who is held out"
    )
    compare.add_argument("--folds", type=int, default=0, metavar="K", help="K-fold cross-validation instead of one hold-out")
    compare.add_argument("--seeds", type=_numbers, default=(1, 2, 3), metavar="1,2,3", help="each system learns once with each")
    compare.add_argument("--epochs", type=int, default=20, metavar="E", help="of every network (20)")
    compare.add_argument("--batch-size", type=int, default=8, metavar="B", help="patients a step (8)")
    compare.add_argument("--learning-rate", type=float, default=1e-3, metavar="R", help="of Adam (0.001)")
    compare.add_argument("--minutes", type=float, default=30.0, metavar="T", help="stop cleanly after so long (30)")
    compare.add_argument("--device", choices=("cpu", "cuda", "mps"), default="cpu", help="where networks learn (cpu)")
    compare.add_argument("--processes", type=int, default=os.cpu_count() or 1, metavar="P", help="that write patients at once")
    compare.add_argument("--cost", action="store_true", help="only say what it would take")


def run(options: argparse.Namespace, places: Places, say: Callable[[str], None]) -> int:  # noqa: ARG001  everything lies in --out
    """Run what is open until it is done or the time is up, write the tables, and return the exit code."""
    from breastai_model.baselines.comparison import Comparison
    from breastai_model.baselines.comparison_cases import comparison_cases
    from breastai_model.baselines.comparison_table import write_tables
    from breastai_model.baselines.systems import SYSTEMS

    deadline = time.monotonic() + 60 * options.minutes
    systems = options.systems or tuple(SYSTEMS)
    if unknown := [name for name in systems if name not in SYSTEMS]:
        say(f"There is no system {unknown[0]!r}; there are {', '.join(SYSTEMS)}.")
        return 2
    plan = _plan(options)
    cases, bounds = comparison_cases(options.out, plan.recipe, plan.data, options.cohort, max(1, options.processes), say)
    comparison = Comparison(options.out, plan, cases, systems, options.device)
    if not _say_cost(comparison, deadline, say):
        say("The time is up before the cost is known: start the same command again to go on.")
        return NOT_YET
    if options.cost:
        return 0
    done = comparison.run(deadline, say)
    write_tables(comparison, bounds)
    say(f"The table so far: {options.out / 'table.md'}")
    if not done:
        say(f"{len(comparison.open_jobs())} of {len(comparison.jobs)} are open: start the same command again to go on.")
    return 0 if done else NOT_YET


def _plan(options: argparse.Namespace) -> ComparisonPlan:
    from breastai_model.baselines.comparison_cases import comparison_recipe
    from breastai_model.baselines.comparison_plan import ComparisonPlan
    from breastai_model.phantom.cohort import PhantomCohort
    from breastai_model.plan import PhantomData

    if options.cohort is None:
        data = PhantomData(options.scenario, options.patients + (0 if options.folds else options.held_out), options.cohort_seed)
    else:
        data = PhantomCohort(options.cohort).data
    return ComparisonPlan(
        recipe=comparison_recipe(options.preset, options.mri_shape, options.us_shape),
        data=data,
        held_out=0 if options.folds else options.held_out,
        folds=options.folds,
        validation_share=0.2,
        seeds=options.seeds,
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
    )


def _say_cost(comparison: Comparison, deadline: float, say: Callable[[str], None]) -> bool:
    """Say what the comparison is expected to take; return False where the time was up before all systems were tried."""
    from breastai_model.baselines.comparison_cost import expected_seconds
    from breastai_model.training.machine import machine_words

    expected = expected_seconds(comparison, say, deadline)
    seeds = len(comparison.plan.seeds)
    names = dict.fromkeys(job.system for job in comparison.jobs)
    if not set(names) <= set(expected):
        return False
    whole = seeds * sum(expected[name] for name in names)
    say(
        f"Expected: {whole / 3600:.2f} hours in all for systems: {len(names)}, seeds: {seeds}, on {machine_words(comparison.device)}; "
        f"{len(comparison.open_jobs())} of {len(comparison.jobs)} are open."
    )
    return True


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError("whole numbers separated by commas, such as 1,2,3") from None


def _sizes(count: int) -> Callable[[str], tuple[int, ...]]:
    def sizes(text: str) -> tuple[int, ...]:
        made = _numbers(text)
        if len(made) != count:
            raise argparse.ArgumentTypeError(f"{count} whole numbers separated by commas")
        return made

    return sizes
