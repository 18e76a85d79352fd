"""One piece of work at a time, with progress; what was cancelled never calls back."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

import pytest

from breastai_gui.services.jobs import Jobs, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Window:
    """A stand-in for the window's event loop: calls wait here until they are taken."""

    def __init__(self) -> None:
        self.calls: queue.Queue[Callable[[], None]] = queue.Queue()

    def run_until(self, holds: Callable[[], bool], timeout_s: float = 10.0) -> None:
        while not holds():
            self.calls.get(timeout=timeout_s)()


@pytest.fixture
def window() -> Window:
    return Window()


@pytest.fixture
def jobs(window: Window) -> Iterator[Jobs]:
    jobs = Jobs(window.calls.put)
    yield jobs
    jobs.close()


def test_the_answer_and_the_progress_arrive_in_order_on_the_asking_thread(jobs: Jobs, window: Window) -> None:
    heard: list[object] = []
    threads: set[int] = set()

    def hear(value: object) -> None:
        heard.append(value)
        threads.add(threading.get_ident())

    def work(task: Task) -> str:
        for step in range(3):
            task.progress(step)
        return "answer"

    jobs.start(work, hear, hear, hear)
    window.run_until(lambda: len(heard) == 4)
    assert heard == [0, 1, 2, "answer"]
    assert threads == {threading.get_ident()}


def test_a_failure_arrives_as_the_error_itself(jobs: Jobs, window: Window) -> None:
    failures: list[Exception] = []

    def work(_: Task) -> None:
        raise ValueError("Slice 3 is damaged.")

    jobs.start(work, lambda _: pytest.fail("must not be done"), failures.append)
    window.run_until(lambda: bool(failures))
    assert str(failures[0]) == "Slice 3 is damaged."


@pytest.mark.parametrize("ends", ["returns", "raises", "asks"])
def test_cancelled_work_delivers_nothing_however_it_ends(jobs: Jobs, window: Window, ends: str) -> None:
    started, go_on, called = threading.Event(), threading.Event(), []

    def work(task: Task) -> str:
        started.set()
        go_on.wait(10)
        if ends == "raises":
            raise ValueError
        if ends == "asks":
            task.progress("late")
        return "late"

    task = jobs.start(work, called.append, called.append, called.append)
    assert started.wait(10)
    task.cancel()
    go_on.set()
    last: list[str] = []
    jobs.start(lambda _: "next", last.append, called.append)
    window.run_until(lambda: bool(last))
    assert called == []


def test_an_answer_that_is_already_on_its_way_is_dropped_by_cancel(jobs: Jobs, window: Window) -> None:
    called: list[str] = []
    task = jobs.start(lambda _: "answer", called.append, lambda _: None)
    late = window.calls.get(timeout=10)
    task.cancel()
    late()
    assert called == []


def test_work_that_waits_behind_another_never_begins_once_cancelled(jobs: Jobs, window: Window) -> None:
    go_on, begun, done = threading.Event(), [], []
    jobs.start(lambda _: go_on.wait(10), done.append, lambda _: None)
    waiting = jobs.start(lambda _: begun.append(True), done.append, lambda _: None)
    waiting.cancel()
    go_on.set()
    window.run_until(lambda: bool(done))
    jobs.start(lambda _: None, done.append, lambda _: None)
    window.run_until(lambda: len(done) == 2)
    assert begun == []


def test_cancel_ends_what_does_the_work_also_when_it_is_named_late(jobs: Jobs) -> None:
    ended = threading.Event()
    started = threading.Event()

    def work(task: Task) -> None:
        started.wait(10)
        task.when_cancelled(ended.set)

    task = jobs.start(work, lambda _: None, lambda _: None)
    task.cancel()
    started.set()
    late = Task(lambda _: None)
    late.cancel()
    late.when_cancelled(ended.set)
    assert ended.wait(10)
