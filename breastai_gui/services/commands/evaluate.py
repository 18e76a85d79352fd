"""`breastai evaluate RUN`: how well a trained model did on patients that it had not learnt from, as a page and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from breastai_gui.services.places import Places


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command with its options to the parser."""
    evaluate = commands.add_parser("evaluate", help="evaluate a finished training run: a report with plots, and result.json")
    evaluate.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    evaluate.add_argument("--out", type=Path, metavar="FOLDER", help="where to write (the folder evaluation in the run's)")
    evaluate.add_argument(
        "--predictions",
        type=Path,
        metavar="FILE",
        help="predictions for other patients, read with the run's calibration; without it the run's own predictions are evaluated",
    )
    evaluate.add_argument(
        "--coverage", type=float, default=0.9, metavar="SHARE", help="how often the sets of answers shall hold the truth: 0.5 to 0.99 (0.9)"
    )


def run(options: argparse.Namespace, places: Places, say: Callable[[str], None]) -> int:  # noqa: ARG001  everything lies in the run's folder
    """Evaluate, write, print the table of the paper, and return the exit code."""
    from breastai_gui.services.evaluation_report import MADE_UP, evaluate_run
    from breastai_gui.services.evaluation_report_tables import summary_lines

    written = evaluate_run(options.run, options.out, options.predictions, options.coverage)
    for line in summary_lines(written.evaluation):
        say(line)
    if written.made_up:
        say(MADE_UP)
    say(f"The report: {written.page}")
    return 0
