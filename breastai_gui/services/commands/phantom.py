"""`breastai phantom`: the demo patient as DICOM, or a cohort of made-up patients with their labels."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from breastai_model.plan import PhantomData, Scenario

if TYPE_CHECKING:
    from collections.abc import Callable

    from breastai_gui.services.places import Places
    from breastai_model.phantom.ceilings import Ceilings

_BAR, _MOST = 30, 1_000_000


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command with its options to the parser."""
    phantom = commands.add_parser(
        "phantom",
        help="write a made-up patient as DICOM, or a cohort of made-up patients",
        description="Without --patients: one made-up patient in full detail as DICOM, the demo patient of that seed. With --patients: a "
        "cohort at the model's resolution with labels, latents and the best that anyone could answer (cohort.json). The same seed writes "
        "the same bytes; started again, it goes on where it was broken off.",
    )
    phantom.add_argument("folder", type=Path, help="where to write")
    phantom.add_argument("--patients", type=_number(1, _MOST), metavar="N", help="write a cohort of N patients")
    phantom.add_argument("--scenario", choices=get_args(Scenario), help="where the labels come from (clinic)")
    phantom.add_argument("--seed", type=_number(0, 2**31 - 1), default=1, help="the first patient's seed (1)")
    phantom.add_argument("--grade-missing", type=_number(0, _MOST), metavar="N", help="so many patients of low grade have none (0)")
    phantom.add_argument("--dicom", action="store_true", help="DICOM folders with the table labels.csv, for the training wizard")
    phantom.add_argument("--processes", type=_number(1, 1024), metavar="N", help="that write at once (as many as there are cores)")


def run(options: argparse.Namespace, places: Places, say: Callable[[str], None]) -> int:  # noqa: ARG001  phantoms go where the person says
    """Write the patients and return the exit code."""
    if options.patients is None:
        given = {"--scenario": options.scenario, "--grade-missing": options.grade_missing, "--processes": options.processes}
        idle = [name for name, value in given.items() if value is not None] + ["--dicom"] * options.dicom
        if idle:
            print(f"breastai: {' and '.join(idle)} go with --patients: say how many, or leave the rest out.", file=sys.stderr)  # noqa: T201
            return 2
        from breastai_gui.services.demo import write_demo

        write_demo(options.folder, options.seed)
        return 0
    scenario: Scenario
    scenario, grade_missing = options.scenario or "clinic", options.grade_missing or 0
    processes = options.processes or os.cpu_count() or 1
    told = Bar(options.patients, say)
    if options.dicom:
        from breastai_gui.services.phantom_cohort import TABLE, write_phantom_cohort

        write_phantom_cohort(
            options.folder,
            options.patients,
            options.seed,
            told,
            scenario=scenario,
            grade_missing=grade_missing,
            processes=processes,
        )
        say(f"For the training wizard: the folder {options.folder} and its table {TABLE}")
        return 0
    from breastai_model.phantom.cohort import PhantomCohort, write_cohort

    data = PhantomData(scenario, options.patients, options.seed)
    write_cohort(options.folder, data, processes=processes, grade_missing=grade_missing, tell=told)
    cohort = PhantomCohort(options.folder)
    say(f"{len(cohort)} made-up patients of scenario {cohort.data.scenario}, law {cohort.law_hash[:12]}")
    say("")
    for line in ceiling_table(cohort.ceilings):
        say(line)
    return 0


def ceiling_table(ceilings: Ceilings) -> list[str]:
    """Return the bounds of a cohort as lines: AUC for both, MRI alone, ultrasound alone."""
    from breastai_model.case import TASKS
    from breastai_model.phantom.latents import SCOPES

    lines = [f"{'the best AUC that anyone could reach':42}{'both':>7}{'MRI':>7}{'US':>7}"]
    for task in TASKS:
        bounds = ceilings.task(task)
        for what, ceiling in (
            ("from the latents", bounds.bayes),
            ("measured, outlined", bounds.outlined),
            ("measured, found", bounds.found),
        ):
            values = [ceiling.scope(scope) for scope in SCOPES]
            figures = "".join("    few" if value is None else f"{value:7.3f}" for value in values)
            lines.append(f"{task.replace('_', ' ') + ', ' + what:42}{figures}")
    return lines


class Bar:
    """How many patients are written: a bar that is drawn over itself on a terminal, now and then a line into a pipe."""

    def __init__(self, total: int, say: Callable[[str], None]) -> None:
        self._say = say
        self._started = time.monotonic()
        self._first: int | None = None
        self._lines = {total * step // 10 for step in range(1, 11)} - {0}

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` are written."""
        if self._first is None:
            self._first = done
            if done:
                self._say(f"{done} of {total} patients are there already")
        if not sys.stdout.isatty():
            if done in self._lines and done > self._first:
                self._say(f"{done} of {total} patients written")
            return
        made = done - self._first
        left = (time.monotonic() - self._started) / made * (total - done) if made else 0.0
        filled = _BAR * done // total
        wait = f"about {left / 60:.0f} min left" if left > 90 else f"about {left:.0f} s left" if made and done < total else ""
        sys.stdout.write(
            f"\r[{'#' * filled}{'.' * (_BAR - filled)}] {done} of {total} patients  {wait:24}{chr(10) if done == total else ''}"
        )
        sys.stdout.flush()


def _number(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else -1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"a whole number from {least} to {most}")
        return value

    return number
