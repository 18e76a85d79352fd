"""Every state of every session as one committed row: saving, reopening and recovery are the same thing.

A row is keyed by `Study.key`, so it holds neither a name nor a path. The rollback journal is used because the write-ahead
log of the SQLite that Python 3.11 links can corrupt a file that two programs have open (fixed in SQLite 3.51.3), and
``synchronous=EXTRA`` because a row counts as saved only once it would survive a power cut.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
import logging
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

from breastai_gui.services.annotations import Annotation
from breastai_gui.services.session import Choices, Reading, SessionState

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from breastai_gui.services.session import Session

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1
WAIT_FOR_OTHERS_S = 2.0
"""How long a second window of this program may hold the file before a save is given up."""


MOST_SALVAGED = 100_000
"""How many of the newest rows of a damaged file are looked for."""


class JournalError(Exception):
    """A state could not be kept; the text is one sentence."""


class Journal:
    """The file of all states. A call of `add` returns once its row is on the disk.

    Parameters
    ----------
    path
        The SQLite file; made where it is missing, set aside where it is damaged.

    Attributes
    ----------
    notice
        One sentence for the person when the file was damaged or cannot be used, else "".
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.notice = ""
        self._database: sqlite3.Connection | None = None
        try:
            self._database = self._open()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                self.notice = (
                    "Another program holds the file of saved work; nothing is saved in this window. Close the other one and start again."
                )
            else:
                self._set_aside()
        except (OSError, JournalError) as error:
            self.notice = str(error) if isinstance(error, JournalError) else f"Nothing can be saved ({error.strerror})."

    def add(self, study_key: str, state: SessionState) -> None:
        """Keep a state. When this returns, the row is on the disk.

        Raises
        ------
        JournalError
            If it could not be kept; what is on the screen is untouched.
        """
        text = json.dumps(state_to_json(state), ensure_ascii=False, separators=(",", ":"))
        made_at = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        with self._lock:
            if self._database is None:
                raise JournalError(self.notice or "The file of saved work is closed.")
            try:
                with self._database:
                    self._database.execute("INSERT INTO states (study, made_at, state) VALUES (?, ?, ?)", (study_key, made_at, text))
            except sqlite3.Error as error:
                raise JournalError(f"This step could not be saved ({_reason(error)}); free some room on the disk and go on.") from error

    def latest(self, study_key: str) -> SessionState | None:
        """Return the newest state of a study that can be read, or None where there is none."""
        with self._lock:
            if self._database is None:
                return None
            query = "SELECT state FROM states WHERE study = ? ORDER BY id DESC"
            try:
                for (text,) in self._database.execute(query, (study_key,)):
                    # A row that an unknown version wrote is passed over, never half understood.
                    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, IndexError):
                        return state_from_json(json.loads(text))
            except sqlite3.Error as error:
                log.warning("The journal could not be read: %s", type(error).__name__)
                self.notice = f"Earlier work on this exam could not be read ({_reason(error)})."
        return None

    def count(self, study_key: str) -> int:
        """Return how many states of a study are kept."""
        with self._lock:
            if self._database is None:
                return 0
            row = self._database.execute("SELECT count(*) FROM states WHERE study = ?", (study_key,)).fetchone()
        return int(row[0])

    def follow(self, session: Session, saved: Callable[[], None] | None = None, failed: Callable[[str], None] | None = None) -> None:
        """Keep every state that the session comes to.

        Parameters
        ----------
        session
            From now on each of its states is kept before its views redraw.
        saved
            Called after each commit.
        failed
            Called with one sentence when a state could not be kept.
        """

        def keep(state: SessionState) -> None:
            try:
                self.add(session.study.key, state)
            except JournalError as error:
                log.warning("A state could not be kept")
                if failed is not None:
                    failed(str(error))
            else:
                if saved is not None:
                    saved()

        session.state_added.connect(keep)

    def close(self) -> None:
        """Close the file; rows are already on the disk."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self._path, timeout=WAIT_FOR_OTHERS_S, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode = DELETE")
            database.execute("PRAGMA synchronous = EXTRA")
            if database.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("quick_check")
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise JournalError("The file of saved work was written by a newer BreastAI; nothing is saved until that one is used again.")
            with database:
                database.execute(
                    "CREATE TABLE IF NOT EXISTS states"
                    " (id INTEGER PRIMARY KEY AUTOINCREMENT, study TEXT NOT NULL, made_at TEXT NOT NULL, state TEXT NOT NULL)"
                )
                database.execute("CREATE INDEX IF NOT EXISTS states_of_study ON states (study, id)")
                database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        except BaseException:
            database.close()
            raise
        return database

    def _set_aside(self) -> None:
        """Rename the damaged file, with its rollback journal, and begin a new one."""
        stamp = dt.datetime.now().strftime("%Y%m%d-%H%M%S")
        aside = self._path.with_name(f"{self._path.stem}-damaged-{stamp}{self._path.suffix}")
        try:
            self._path.replace(aside)
            rollback = self._path.with_name(f"{self._path.name}-journal")
            if rollback.exists():
                rollback.replace(aside.with_name(f"{aside.name}-journal"))
            self._database = self._open()
            recovered = _salvage(aside, self._database)
        except (OSError, sqlite3.Error):
            self.notice = "The file of saved work is damaged and cannot be replaced; nothing is saved in this window."
        else:
            found = f"{recovered} saved steps could be taken over from it" if recovered else "none of it could be read"
            self.notice = f"The file of saved work was damaged: it was kept as {aside.name}, {found}, and a new one was begun."


def _salvage(damaged: Path, database: sqlite3.Connection) -> int:
    """Copy every row of a damaged file that can still be read and understood; return how many."""
    recovered = 0
    old = sqlite3.connect(f"{damaged.absolute().as_uri()}?mode=ro", uri=True)
    try:
        newest = old.execute("SELECT max(id) FROM states").fetchone()[0] or 0
        with database:
            for number in range(max(1, newest - MOST_SALVAGED + 1), newest + 1):  # one by one: a bad page costs only its own rows
                with contextlib.suppress(sqlite3.Error, ValueError, KeyError, TypeError, AttributeError, IndexError):
                    for study, made_at, text in old.execute("SELECT study, made_at, state FROM states WHERE id = ?", (number,)):
                        state_from_json(json.loads(text))
                        database.execute("INSERT INTO states (study, made_at, state) VALUES (?, ?, ?)", (study, made_at, text))
                        recovered += 1
    except (sqlite3.Error, TypeError):
        log.warning("Nothing could be read from the damaged journal")
    finally:
        old.close()
    return recovered


def _reason(error: sqlite3.Error) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def state_to_json(state: SessionState) -> dict[str, Any]:
    """Return plain JSON values of a state."""
    return {
        "choices": dataclasses.asdict(state.choices),
        "annotations": [annotation.to_json() for annotation in state.annotations],
        "reading": dataclasses.asdict(state.reading),
    }


def state_from_json(values: dict[str, Any]) -> SessionState:
    """Return the state that `state_to_json` wrote.

    Raises
    ------
    ValueError, KeyError, TypeError
        If it is none, or names a choice that this version does not know.
    """
    raw = values["choices"]
    position = raw["lesion_mm"]
    if raw["side"] not in (None, "left", "right"):
        raise ValueError("A side must be left or right.")
    choices = Choices(
        **{
            **raw,
            "phases": None if raw["phases"] is None else tuple(int(phase) for phase in raw["phases"]),
            "angles": tuple((str(view), None if angle is None else float(angle)) for view, angle in raw["angles"]),
            "views": None if raw["views"] is None else tuple(str(view) for view in raw["views"]),
            "lesion_mm": None if position is None else (float(position[0]), float(position[1]), float(position[2])),
        }
    )
    annotations = tuple(Annotation.from_json(annotation) for annotation in values["annotations"])
    return SessionState(choices, annotations, Reading(**{name: str(text) for name, text in values["reading"].items()}))
