"""One background thread: start, progress, cancel. Qt-free; a `post` function takes answers home."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)


class Cancelled(Exception):
    """Raised inside a piece of work that was cancelled."""


class Task:
    """A piece of work under way: ask `cancelled`, tell `progress`, end it with `cancel`."""

    def __init__(self, tell: Callable[[Any], None]) -> None:
        self._tell = tell
        self._cancelled = threading.Event()
        self._on_cancel: Callable[[], None] | None = None

    @property
    def cancelled(self) -> bool:
        """True once the person gave it up."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Give it up: no callback is called any more; a child process that does the work is ended."""
        self._cancelled.set()
        if self._on_cancel is not None:
            self._on_cancel()

    def when_cancelled(self, function: Callable[[], None]) -> None:
        """Name what ends the work at once, for example the end of a child process; called at most once."""
        self._on_cancel = function
        if self.cancelled:
            function()

    def progress(self, value: Any) -> None:
        """Pass a value to the `progressed` callback. Raises `Cancelled` once the work was cancelled."""
        if self.cancelled:
            raise Cancelled
        self._tell(value)


class Jobs:
    """Runs one piece of work at a time.

    Parameters
    ----------
    post
        Takes a function to the thread that answers belong to, the window's; without a window it calls at once.
    """

    def __init__(self, post: Callable[[Callable[[], None]], None]) -> None:
        self._post = post
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="breastai-job")

    def start(
        self,
        work: Callable[[Task], Any],
        done: Callable[[Any], None],
        failed: Callable[[Exception], None],
        progressed: Callable[[Any], None] | None = None,
    ) -> Task:
        """Run `work` in the background. One of `done` and `failed` is called, neither once it is cancelled."""

        def deliver(function: Callable[[Any], None], value: Any) -> None:
            self._post(lambda: None if task.cancelled else function(value))

        task = Task(lambda value: deliver(progressed, value) if progressed is not None else None)

        def run() -> None:
            if task.cancelled:
                return
            try:
                answer = work(task)
            except Cancelled:
                return
            except Exception as error:  # noqa: BLE001  the border of a thread: every failure must reach the person
                log.warning("A job failed: %s", type(error).__name__)
                deliver(failed, error)
            else:
                deliver(done, answer)

        self._pool.submit(run)
        return task

    def close(self) -> None:
        """Wait for the work under way and end the thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)
