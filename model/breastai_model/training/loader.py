"""Batches made ahead of time by one background thread, in order: loading and augmenting overlap with learning.

Torch and numpy let go of the interpreter while they compute, so a thread is enough, and a thread cannot be lost as a worker process can.
Whatever is random in a batch follows from its number, so making it earlier changes nothing.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from concurrent.futures import Future

T = TypeVar("T")
AHEAD = 2
"""Batches that wait at most."""


def made_ahead(make: Callable[[int], T], first: int, end: int) -> Generator[T, None, None]:
    """Yield make(first) to make(end - 1); what one of them raises is raised where it is asked for.

    Closing the iterator early waits for the batch that is being made and drops it.
    """
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="loader") as pool:
        try:
            for number in range(first, min(first + AHEAD, end)):
                waiting.append(pool.submit(make, number))
            for number in range(first, end):
                made = waiting.popleft().result()
                if number + AHEAD < end:
                    waiting.append(pool.submit(make, number + AHEAD))
                yield made
        finally:
            for future in waiting:
                future.cancel()
