"""`breastai prove`: what the method does and does not achieve on made-up data, as a table of claims."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from breastai_gui.resource import resource
from breastai_gui.services.commands import NOT_YET
from breastai_gui.services.models import BUNDLED

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from breastai_gui.services.places import Places


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command with its options to the parser."""
    prove = commands.add_parser(
        "prove",
        help="measure what the method achieves on made-up data: a table of claims",
        description="Measures the claims of the method on phantoms whose truth is known, and prints a table: claim, expected, measured "
        "with its 95 % interval, holds or not. Every finished piece is a file in the folder; the same command goes on where it stopped. "
        f"Exit code 0: the table is whole, whatever it says; {NOT_YET}: time is over, start it again.",
    )
    prove.add_argument("--quick", action="store_true", help="the small table, at most ten minutes on two processors")
    prove.add_argument("--out", type=Path, metavar="FOLDER", help="for cohorts, trainings, table.md, result.json (below the runs)")
    prove.add_argument("--minutes", type=float, default=30.0, metavar="M", help="stop after so many minutes (30)")
    prove.add_argument("--only", default="", metavar="CLAIM,...", help="these pieces alone, by name or by its beginning")
    prove.add_argument(
        "--weights", type=Path, metavar="FILE", help="judge this weights file alone (the full table ends with the bundled one)"
    )
    prove.add_argument(
        "--shuffled",
        type=Path,
        metavar="FILE",
        help="the same trained on shuffled labels, a control of the weights' maps (the full table makes one itself)",
    )
    prove.add_argument(
        "--leaky",
        type=Path,
        metavar="FILE",
        help="the same without what makes features agnostic, a control of the probes (the full table makes one itself)",
    )
    prove.add_argument("--cohort", type=Path, metavar="FOLDER", help="other phantoms that it never saw (1,000 are made)")
    prove.add_argument("--processes", type=int, default=0, metavar="N", help="pieces at a time (as many as processors, at most 2)")


def run(options: argparse.Namespace, places: Places, say: Callable[[str], None]) -> int:
    """Measure what is not measured yet, print the table and return the exit code."""
    complaint = _complaint(options)
    if complaint:
        print(f"breastai: {complaint}", file=sys.stderr)  # noqa: T201
        return 2
    # Before torch and numpy are loaded: threads of several processes would wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from breastai_model.phantom.stored import CohortError
    from breastai_model.proof.prove import ProofError, Wish, pieces_of, prove
    from breastai_model.proof.weights_pieces import Given
    from breastai_model.weights import WeightsError

    judged = resource("weights") / BUNDLED if options.weights is None else options.weights
    given = Given(judged, options.shuffled, options.leaky, options.cohort)
    wish = Wish(options.quick, tuple(name for name in options.only.split(",") if name), given, options.weights is not None)
    try:
        pieces_of(wish)
    except (ProofError, CohortError, WeightsError) as error:
        print(f"breastai: {error}", file=sys.stderr)  # noqa: T201
        return 2
    kind = "weights" if options.weights else "quick" if options.quick else "full"
    folder = options.out if options.out is not None else places.runs / f"proof-{kind}"
    processes = options.processes or min(2, os.cpu_count() or 1)
    return 0 if prove(wish, folder, options.minutes, processes, say) else NOT_YET


def _complaint(options: argparse.Namespace) -> str:
    """Return what is wrong with the options, "" where nothing is."""
    if not options.minutes > 0 or options.processes < 0:
        return "--minutes takes a number above 0 and --processes one of at least 1."
    for file in (options.weights, options.shuffled, options.leaky):
        if file is not None and not file.is_file():
            return f"There is no weights file {file.name}."
    if options.quick and options.weights is None and any(each is not None for each in (options.cohort, options.shuffled, options.leaky)):
        return "--cohort, --shuffled and --leaky go with --weights or with the full table."
    if options.cohort is not None and not options.cohort.is_dir():
        return f"There is no cohort folder {options.cohort.name}."
    return ""
