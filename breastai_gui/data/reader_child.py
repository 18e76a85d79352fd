"""What runs in the reading process: one request after another, each answered with values and shared memory.

Nothing but the standard library is imported here at module level: limits and thread counts are set first.
"""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from breastai_gui.data.folder import Scan
    from breastai_gui.data.study import ReadProgress

NAME_BYTES = 4096
HEADERS, PIXELS = "H", "P"
"""Before the name of the file that is being read: in which stage."""
MEMORY_BYTES = 10 << 30
"""Address space of this process: the largest exam (4 GiB, once as an arena, and for a volume file once more while SimpleITK
holds it), the libraries, and one decoder's working memory. It is address space, not memory: most of it is never written."""
FILE_BYTES = (4 << 30) + (1 << 20)
"""The largest file that this process may write: the arena of the largest exam, which is a file without a name."""
_KEPT = ("PATH", "HOME", "TMPDIR", "TEMP", "TMP", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "SYSTEMROOT", "WINDIR", "SYSTEMDRIVE", "COMSPEC")
TELL_S = 0.04
"""Progress is told at most this often; a preview always."""


def main(pipe: Connection, at: Any, parent: int, folder: str) -> None:
    """Answer requests until the other end of the pipe is closed; what is unpacked on the way lies in `folder`."""
    _restrain()
    if folder:
        tempfile.tempdir = folder
    try:
        _answer_requests(pipe, at, parent)
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)  # the other side does so too, unless it was killed


def _answer_requests(pipe: Connection, at: Any, parent: int) -> None:
    _silence()
    # Imported now, so that the process is warm when the first folder is dropped.
    from breastai_gui.data import exam, folder
    from breastai_gui.data.study import ReadError

    scan: Scan | None = None
    scanned: tuple[str, frozenset[str]] | None = None

    def mark(stage: str) -> Callable[[str], None]:
        def at_file(name: str) -> None:
            at.value = (stage + name).encode("utf-8", "replace")[: NAME_BYTES - 1] if name else b""

        return at_file

    _warm()
    while True:
        try:
            request = pipe.recv()
        except (EOFError, OSError):
            return
        tell = _Telling(pipe)
        at.value = b""
        action, path, selection, unreadable, undecodable = request
        try:
            if action == "scan" or scan is None or scanned != (path, frozenset(unreadable)):
                if scan is not None:
                    scan.files.close()
                    scan = None
                scan = folder.scan(Path(path), tell, mark(HEADERS), unreadable)
                scanned = (path, frozenset(unreadable))
            if action == "scan":
                pipe.send(("catalogue", scan.catalogue))
            else:
                study, arena = exam.Loading(scan, tell, mark(PIXELS), undecodable).load(selection)
                _send_study(pipe, study, arena, parent)
                del study, arena
        except ReadError as error:
            pipe.send(("error", str(error)))
        except (BrokenPipeError, ConnectionResetError):
            return
        except MemoryError:
            pipe.send(("error", "The exam needs more memory than reading may use; choose a smaller series."))
        except KeyError:
            pipe.send(("error", "The files have changed since they were listed; open the folder again."))
        except Exception as error:  # noqa: BLE001  the border of a process: every failure must reach the person
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}"
            pipe.send(("error", f"Reading failed ({where}); this is a fault of the program."))


class _Telling:
    """Sends progress over the pipe, but not more often than a person can see."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._last = 0.0

    def __call__(self, progress: ReadProgress) -> None:
        now = time.monotonic()
        if progress.preview is not None or now - self._last >= TELL_S or progress.done == progress.total:
            self._last = now
            self._pipe.send(("progress", progress))


def _send_study(pipe: Connection, study: Any, arena: Any, parent: int) -> None:
    """Send a study: arrays in the arena as places, small ones by value, then the arena itself."""
    places: list[tuple[int, int] | bytes] = []

    def keep(buffer: pickle.PickleBuffer) -> None:
        raw = buffer.raw()
        place = arena.place_of(raw) if raw.nbytes else None
        places.append(raw.tobytes() if place is None else (place, raw.nbytes))

    pickled = pickle.dumps(study, protocol=5, buffer_callback=keep)
    pipe.send(("study", (pickled, places)))
    arena.send(pipe, parent)
    arena.close()


def _restrain() -> None:
    """One thread for every library, no core files, limits to memory and to files, and an environment without secrets.

    There is no limit to processor time: a file that takes too long is noticed on the other side, which knows its name.
    """
    for name in set(os.environ) - set(_KEPT):
        del os.environ[name]  # settings of libraries and other programs' passwords are no business of a decoder
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
        os.environ[name] = "1"
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Python ignores SIGXFSZ, so that a write beyond it is an OSError.
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = FILE_BYTES if most == resource.RLIM_INFINITY else min(most, FILE_BYTES)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if sys.platform == "linux":
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        limit = MEMORY_BYTES if most == resource.RLIM_INFINITY else min(most, MEMORY_BYTES)
        resource.setrlimit(resource.RLIMIT_AS, (limit, most))


def _silence() -> None:
    """Let no library print: pydicom writes raw values, birth dates among them, into its log and its warnings."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    with Path(os.devnull).open("w") as nowhere:
        # C++ libraries write to the handles, not to sys.stderr.
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)


def _warm() -> None:
    """Load what the first request would otherwise wait for."""
    import pydicom.pixels  # noqa: F401
