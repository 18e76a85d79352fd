"""The child process in which untrusted files are parsed and decoded, seen from this side.

A decoder that crashes, hangs or takes too much memory costs one file: the child is started anew, that file is left out
and named, the rest is read. Pixels come back in shared memory, without a second copy.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import shutil
import tempfile
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, cast

from breastai_gui.data import reader_child
from breastai_gui.data.answers import unpickled
from breastai_gui.data.study import Catalogue, ReadError, ReadProgress, Study

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess
    from pathlib import Path

    from breastai_gui.data.study import Selection

log = logging.getLogger(__name__)

MOST_CRASHES = 20
"""After so many in one exam, reading is given up."""
LONGEST_FILE_S = 60.0
"""A file that keeps the child busy for longer counts as a crash."""
_POLL_S = 0.25


class ReadStopped(Exception):
    """Reading was ended by `Reader.stop`."""


class Reader:
    """Reads exams in a process of its own, started once and kept.

    `scan` and `load` block and are called from one thread at a time; `stop` may be called from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None
        self._at: Any = None
        self._forget_folder: weakref.finalize[..., Reader] | None = None
        self._working: Connection | None = None
        self._stops = 0
        self._unreadable: dict[str, dict[str, str]] = {}

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    @property
    def process_id(self) -> int | None:
        """The child's process id, None while there is none."""
        process = self._process
        return process.pid if process is not None and process.is_alive() else None

    def start(self) -> None:
        """Start the child without waiting for it, so that it is warm when a folder is dropped."""
        with self._lock:
            self._ensure()

    def stop(self) -> None:
        """End the child at once; a `scan` or `load` under way raises `ReadStopped`. The next call starts a new child."""
        with self._lock:
            self._stops += 1
            self._end()

    def scan(self, path: Path, tell: Callable[[ReadProgress], None]) -> Catalogue:
        """Return what the headers of all files below a path say.

        Raises
        ------
        ReadError
            If there is nothing to show; one sentence.
        ReadStopped
            If `stop` was called meanwhile.
        """
        return cast("Catalogue", self._work("scan", str(path), None, tell))

    def load(self, catalogue: Catalogue, selection: Selection, tell: Callable[[ReadProgress], None]) -> Study:
        """Return the selected candidates as a checked study. Raises as `scan` does; KeyError for keys that are not in it."""
        for key in (selection.dynamic, selection.ultrasound):
            if key is not None:
                catalogue.candidate(key)
        return cast("Study", self._work("load", catalogue.path, selection, tell))

    def _work(self, action: str, path: str, selection: Selection | None, tell: Callable[[ReadProgress], None]) -> Any:
        # Files whose header crashed the child stay out for as long as this catalogue may be loaded: its keys depend on it.
        unreadable = self._unreadable.setdefault(path, {}) if action == "load" else {}
        undecodable: dict[str, str] = {}
        self._unreadable = {path: unreadable}
        lost = 0
        with self._lock:
            stops = self._stops
        while True:
            with self._lock:
                if self._stops != stops:
                    raise ReadStopped
                pipe = self._working = self._ensure()
            reason = "the decoder crashed on it"
            keep = False
            try:
                pipe.send((action, path, selection, unreadable, undecodable))
                answer = self._answer(pipe, tell)
                keep = answer is not None
                if keep:
                    return answer
                reason = f"reading it took longer than {LONGEST_FILE_S:.0f} s"
            except (EOFError, OSError, pickle.UnpicklingError):
                log.warning("The reading process ended unexpectedly.")
            except ReadError:
                keep = True
                raise
            finally:
                # Also when `tell` raised: the child is then in the middle of its work and cannot be kept.
                at = self._file_at()
                self._release(pipe, keep=keep)
            with self._lock:
                if self._stops != stops:
                    raise ReadStopped
            stage, file = at[:1], at[1:]
            listed = undecodable if stage == reader_child.PIXELS else unreadable
            if file and file not in listed and len(listed) < MOST_CRASHES:
                listed[file] = reason
                continue
            lost += 1  # it ended between two files, perhaps before this request
            if lost <= 2:
                continue
            raise ReadError("Reading was given up because the decoder crashed again and again; the files may be damaged.")

    def _release(self, pipe: Connection, *, keep: bool) -> None:
        """Give back the pipe of a request; only the thread that reads from it closes it."""
        with self._lock:
            self._working = None
            if self._pipe is not pipe:
                pipe.close()
            elif not keep:
                self._end()

    def _answer(self, pipe: Connection, tell: Callable[[ReadProgress], None]) -> Any:
        """Return the child's answer, None when it hangs on a file."""
        last, since = self._file_at(), time.monotonic()
        while True:
            if not pipe.poll(_POLL_S):
                file = self._file_at()
                if file != last:
                    last, since = file, time.monotonic()
                elif file and time.monotonic() - since > LONGEST_FILE_S:
                    return None
                continue
            kind, content = unpickled(pipe.recv_bytes())
            if kind == "progress":
                tell(content)
                last, since = self._file_at(), time.monotonic()
            elif kind == "error":
                raise ReadError(content)
            elif kind == "catalogue":
                return content
            else:
                return _study_from(pipe, *content)

    def _file_at(self) -> str:
        at = self._at
        return at.value.decode("utf-8", "replace") if at is not None else ""

    def _ensure(self) -> Connection:
        """Return the pipe to a living child; the lock is held."""
        if self._process is not None and self._process.is_alive() and self._pipe is not None:
            return self._pipe
        self._end()
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        # Unsynchronised: written by the child before each file, read here after the child's death.
        self._at = context.RawArray("c", reader_child.NAME_BYTES)
        folder = self._private_folder()
        arguments = (there, self._at, os.getpid(), folder)
        self._process = context.Process(target=reader_child.main, args=arguments, name="breastai-reader", daemon=True)
        self._process.start()
        there.close()
        self._pipe = here
        return here

    def _private_folder(self) -> str:
        """Return a new folder for what the child unpacks, "" when there can be none; it goes with the child, however that ends."""
        try:
            folder = tempfile.mkdtemp(prefix="breastai-")
        except OSError:
            return ""
        self._forget_folder = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    def _end(self) -> None:
        """End the child; the lock is held."""
        process, self._process = self._process, None
        pipe, self._pipe = self._pipe, None
        if process is not None:
            process.kill()
            process.join()
            process.close()
        if self._forget_folder is not None:
            self._forget_folder()
            self._forget_folder = None
        if pipe is not None and pipe is not self._working:
            pipe.close()


def _study_from(pipe: Connection, pickled: bytes, places: list[tuple[int, int] | bytes]) -> Study:
    """Return the study whose arrays lie in the arena that follows on the pipe; they stay read-only."""
    from breastai_gui.data.arena import received

    try:
        memory = memoryview(received(pipe)).toreadonly()
        buffers = [place if isinstance(place, bytes) else memory[place[0] : place[0] + place[1]] for place in places]
    except (TypeError, ValueError):
        raise pickle.UnpicklingError("The reading process answered with damaged bytes.") from None
    return cast("Study", unpickled(pickled, buffers))
