"""The same work on many things in several processes, in order of completion."""

from __future__ import annotations

import multiprocessing
import signal
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Job = TypeVar("Job")
Done = TypeVar("Done")


def each(work: Callable[[Job], Done], jobs: Sequence[Job], processes: int, ordered: bool = False) -> Iterator[Done]:
    """Yield what `work` returns for each job, as soon as it is done or, `ordered`, in the order of the jobs.

    With one process the work is done in this one. What `work` raises comes out here.
    """
    if processes == 1 or len(jobs) < 2:
        yield from map(work, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(min(processes, len(jobs)), _ignore_interrupts) as pool:
        yield from (pool.imap if ordered else pool.imap_unordered)(work, jobs)


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the process that a person started: it ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
