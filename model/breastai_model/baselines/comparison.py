"""Each named system on the same patients with the same budget, in pieces that can be cut off anywhere.

A comparison is a folder::

    comparison.json          the plan; another one is refused
    cohort/, prepared/       made-up patients, and what the networks see of them
    cost.json                what each system is expected to take here
    work/<system>-<seed>-<fold>/   what a system keeps while it learns
    results/<system>-<seed>-<fold>.json
    table.md, result.json    the end, or as far as it has come

Several processes may work in one folder at a time: each system, seed and fold is locked by the one that learns it.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from breastai_model.baselines.comparison_plan import splits
from breastai_model.baselines.comparison_result import SystemResult, scope_answers
from breastai_model.baselines.system import PieceOver
from breastai_model.baselines.systems import SYSTEMS
from breastai_model.training.features import ABSENT
from breastai_model.training.machine import machine_words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from breastai_model.baselines.comparison_plan import ComparisonPlan, Split
    from breastai_model.training.dataset import CaseFiles


@dataclass(frozen=True, slots=True)
class Job:
    """One system with one seed on one fold."""

    system: str
    seed: int
    fold: int

    @property
    def name(self) -> str:
        """Its files' name."""
        return f"{self.system}-{self.seed}-{self.fold}"


class Comparison:
    """The runner.

    Parameters
    ----------
    folder
        Of the comparison; made where it is missing.
    plan, cases
        The cases of `plan.data`, prepared by `plan.recipe`.
    systems
        Names of `SYSTEMS`, in the order in which they run.
    device
        "cpu", "cuda" or "mps", for those trained with torch.

    Raises
    ------
    ComparisonError
        If the folder was begun with another plan, or there are too few patients.
    """

    def __init__(self, folder: Path, plan: ComparisonPlan, cases: CaseFiles, systems: Sequence[str], device: str = "cpu") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        plan.keep(folder / "comparison.json")
        (folder / "results").mkdir(exist_ok=True)
        self.folder, self.plan, self.cases, self.device = folder, plan, cases, device
        self.splits: tuple[Split, ...] = splits(plan, cases.labels, cases.groups)
        # Seed by seed, so that an early end leaves whole tables of fewer seeds.
        self.jobs = tuple(Job(system, seed, fold) for seed in plan.seeds for system in systems for fold in range(len(self.splits)))

    def open_jobs(self) -> tuple[Job, ...]:
        """Return the jobs without a result."""
        return tuple(job for job in self.jobs if not self.result_path(job).is_file())

    def result_path(self, job: Job) -> Path:
        """Return where the result of a job is."""
        return self.folder / "results" / f"{job.name}.json"

    def results(self) -> tuple[SystemResult, ...]:
        """Return every result in the folder, also of systems that were not asked for this time. Raises ComparisonError."""
        return tuple(SystemResult.read(path, self.plan.terms) for path in sorted((self.folder / "results").glob("*.json")))

    def run(self, deadline: float, tell: Callable[[str], None]) -> bool:
        """Run what is open until it is done or the time is up; return whether everything has a result.

        Parameters
        ----------
        deadline
            `time.monotonic()` after which nothing new begins. A system that keeps checkpoints stops soon after it; any other ends first.
        tell
            Takes one sentence for the person now and then.
        """
        for job in self.open_jobs():
            if time.monotonic() > deadline:
                break
            try:
                with FileLock(self.folder / "results" / f".{job.name}.lock", timeout=0):
                    if not self.result_path(job).is_file():
                        self._run_job(job, deadline, tell)
            except Timeout:
                tell(f"{job.name}: another process is at it")
            except PieceOver as over:
                tell(f"{job.name}: {over}")
        return not self.open_jobs()

    def _run_job(self, job: Job, deadline: float, tell: Callable[[str], None]) -> None:
        system, split = SYSTEMS[job.system](), self.splits[job.fold]
        work = self.folder / "work" / job.name
        work.mkdir(parents=True, exist_ok=True)
        tell(f"{job.name}: {system.title}")
        budget = self.plan.budget(job.seed, device=self.device, deadline=deadline)
        fitted = system.fit(self.cases, split.learning, split.validation, budget, work, lambda text: tell(f"{job.name}: {text}"))
        started = time.monotonic()
        answers = {scope: scope_answers(fitted, self.cases, split, absent) for scope, absent in ABSENT.items()}
        result = SystemResult(
            terms=self.plan.terms,
            system=job.system,
            seed=job.seed,
            fold=job.fold,
            seconds=round(fitted.seconds, 2),
            answer_seconds=round(time.monotonic() - started, 2),
            machine=machine_words(self.device),
            indices=tuple(int(index) for index in split.test),
            **{str(scope): each for scope, each in answers.items()},
            notes=fitted.notes,
        )
        result.write(self.result_path(job))
        shutil.rmtree(work)
        tell(f"{job.name}: learnt {result.seconds:.0f} s, answered {len(split.test)} patients three times in {result.answer_seconds:.0f} s")
