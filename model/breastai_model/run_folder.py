"""The files of one training run, in one place: the trainer writes them, a window reads them, nothing else is shared.

::

    runs/<name>/
        plan.json                what to train, and how: `Plan`
        cohort.json              which patient is which case number; the only file that names a folder
        cases/0001.safetensors   one prepared case: arrays, labels and numbers, no identity; memory-mapped when read
        progress.jsonl           one line a case, batch, epoch or note
        checkpoint.safetensors   everything that is needed to go on; its state stands in the file's metadata
        best.safetensors         the network of the best epoch
        ready                    all cases are prepared: further training processes wait for it
        folds/0                  the run of one fold of a cross-validation, without cases of its own
        predictions.json         the end: what was said of patients that were not learnt from
        result.json              the end: metrics
        model.safetensors        the end: weights with their recipe
        model_card.md            the end: what the model is, for people
        output.txt               what the trainer said
        lock                     held for as long as a trainer lives
        stop                     what a person asked for: "pause" or "finish"

Every file but `progress.jsonl` and `output.txt`, which only grow, is replaced whole, so a reader sees the old one or the
new one. A checkpoint is one file for the same reason: tensors and their state cannot come from two moments.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from filelock import FileLock, Timeout
from safetensors.numpy import save

from breastai_model.plan import Plan
from breastai_model.whole_file import replace_file, replace_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

StopWish = Literal["pause", "finish"]
OWNER_ALONE = 0o600
"""The mode of a file that says which patient is which case."""
RunState = Literal["starting", "running", "finished", "stopped", "broken"]


@dataclass(frozen=True, slots=True)
class Epoch:
    """One finished epoch, as a line of `progress.jsonl`.

    Attributes
    ----------
    number
        From 1.
    train_loss, validation_loss
        L_cls, a mean over the cases; the validation loss is None without labels in the held-out cases.
    auc
        Task to AUC on the held-out cases, None where one of the two answers is missing there.
    best
        True when no earlier epoch was better in what the plan watches.
    parts
        Name in `breastai_model.training.objective.PARTS` to its mean over the epoch.
    waiting_seconds
        Of `seconds`, how long the network waited for cases to be loaded and augmented.
    """

    number: int
    train_loss: float
    validation_loss: float | None
    auc: Mapping[str, float | None]
    learning_rate: float
    seconds: float
    best: bool
    parts: Mapping[str, float] = field(default_factory=dict)
    waiting_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come, from its `progress.jsonl`.

    `stage` is "preparing" (cases), "training" (batches) or "" before either; `done` of `total` are its steps;
    `batch_losses` holds (position in epochs, loss) for the curve; `notes` are sentences for the person.
    """

    stage: Literal["", "preparing", "training"]
    done: int
    total: int
    epochs: tuple[Epoch, ...]
    batch_losses: tuple[tuple[float, float], ...]
    notes: tuple[str, ...]


class RunFolder:
    """The folder of one run: where each file is, and how it is read and written.

    Parameters
    ----------
    path
        The folder.
    wishes
        The folder in which somebody asks it to stop; its own where it is no part of another run.

    Attributes
    ----------
    say
        Called with each sentence that is noted for the person, for a trainer that also prints.
    """

    def __init__(self, path: Path, wishes: Path | None = None) -> None:
        self.path = path
        self.say: Callable[[str], object] = _quiet
        self.cases = path / "cases"
        self.checkpoint = path / "checkpoint.safetensors"
        self.best = path / "best.safetensors"
        self.model = path / "model.safetensors"
        self.folds = path / "folds"
        self.output = path / "output.txt"
        self._plan = path / "plan.json"
        self._cohort = path / "cohort.json"
        self._progress = path / "progress.jsonl"
        self._result = path / "result.json"
        self._stop = (wishes or path) / "stop"
        self._ready = path / "ready"
        self._lock = path / "lock"

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    def create(self, plan: Plan, cohort: Mapping[str, Any]) -> None:
        """Make the folder with its plan and its cohort. Raises FileExistsError where it is there already."""
        self.path.mkdir(parents=True)
        self.cases.mkdir()
        self._write_json(self._cohort, cohort, OWNER_ALONE)
        self._write_json(self._plan, plan.to_json())

    def plan(self) -> Plan:
        """Return the plan. Raises ValueError where there is none that can be read."""
        return Plan.from_json(self._read_json(self._plan))

    def cohort(self) -> dict[str, Any]:
        """Return what `create` was given. Raises ValueError where it cannot be read."""
        return self._read_json(self._cohort)

    def has_plan(self) -> bool:
        """Return whether this is the folder of a run at all."""
        return self._plan.is_file()

    # -- cases ---------------------------------------------------------------------------------------------------------
    def case_path(self, number: int) -> Path:
        """Return the file of that case, numbered from 1."""
        return self.cases / f"{number:04d}.safetensors"

    def case_paths(self) -> tuple[Path, ...]:
        """Return the files of the prepared cases, in order of number."""
        return tuple(sorted(self.cases.glob("[0-9]*.safetensors"), key=lambda path: int(path.stem)))

    def write_case(self, number: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write one prepared case as safetensors, whole or not at all."""
        whole = {name: np.array(values, order="C") for name, values in arrays.items()}
        replace_file(self.case_path(number), lambda path: path.write_bytes(save(whole)))

    def tell_ready(self) -> None:
        """Note that every case that can be prepared is prepared."""
        replace_text(self._ready, "\n")

    def is_ready(self) -> bool:
        """Return whether the cases are prepared."""
        return self._ready.is_file()

    # -- progress ------------------------------------------------------------------------------------------------------
    def tell_preparing(self, done: int, total: int) -> None:
        """Note that `done` of `total` cases are prepared."""
        self._tell({"kind": "case", "done": done, "total": total})

    def tell_batch(
        self, epoch: int, batch: int, batches: int, epochs: int, loss: float | None, waiting: float = 0.0, computing: float = 0.0
    ) -> None:
        """Note one batch, both counted from 1.

        Parameters
        ----------
        loss
            L_cls, or None in an epoch that teaches the discriminators alone.
        waiting, computing
            Seconds that the network waited for the cases, and that it spent in forward, backward and optimiser.
        """
        line = {"kind": "batch", "epoch": epoch, "batch": batch, "batches": batches, "epochs": epochs, "loss": loss}
        self._tell({**line, "waiting": round(waiting, 4), "computing": round(computing, 4)})

    def tell_epoch(self, epoch: Epoch) -> None:
        """Note one finished epoch."""
        self._tell({"kind": "epoch", **asdict(epoch)})
        held_out = "" if epoch.validation_loss is None else f", held out {epoch.validation_loss:.3f}"
        figures = ", ".join(f"AUC of {task.replace('_', ' ')} {value:.2f}" for task, value in epoch.auc.items() if value is not None)
        took = f"{epoch.seconds:.1f} s, of which {epoch.waiting_seconds:.1f} s waiting for cases"
        self.say(f"Epoch {epoch.number}: loss {epoch.train_loss:.3f}{held_out}{', ' * bool(figures)}{figures}; {took}.")

    def tell_note(self, text: str) -> None:
        """Note one sentence for the person, without a name or a path."""
        self._tell({"kind": "note", "text": text})
        self.say(text)

    def progress(self) -> Progress:
        """Return how far the run has come. A line that is being written is left for the next look."""
        stage: Literal["", "preparing", "training"] = ""
        done = total = 0
        epochs: dict[int, Epoch] = {}
        losses: dict[float, float] = {}
        notes: list[str] = []
        for line in self._progress_lines():
            if line["kind"] == "case":
                stage, done, total = "preparing", line["done"], line["total"]
            elif line["kind"] == "batch":
                stage = "training"
                done, total = (line["epoch"] - 1) * line["batches"] + line["batch"], line["epochs"] * line["batches"]
                if line["loss"] is not None:
                    losses[line["epoch"] - 1 + line["batch"] / line["batches"]] = line["loss"]
            elif line["kind"] == "epoch":
                # An epoch that was repeated after a kill replaces the first telling of it.
                epochs[line["number"]] = Epoch(**{name: line[name] for name in Epoch.__slots__ if name in line})
            elif line["kind"] == "note":
                notes.append(line["text"])
        return Progress(stage, done, total, tuple(epochs[n] for n in sorted(epochs)), tuple(sorted(losses.items())), tuple(notes))

    def _progress_lines(self) -> list[dict[str, Any]]:
        try:
            text = self._progress.read_text("utf-8", errors="replace")
        except FileNotFoundError:
            return []
        lines = []
        for line in text.splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict) and "kind" in value:
                lines.append(value)
        return lines

    def _tell(self, line: Mapping[str, Any]) -> None:
        # One write call a line: a reader never sees two lines mixed, and a kill costs at most the last one.
        with self._progress.open("ab") as file:
            file.write(("\n" if self._ends_torn() else "").encode() + json.dumps(line).encode() + b"\n")

    def _ends_torn(self) -> bool:
        """Return whether a killed trainer left half a line, which the next must not be glued to."""
        with self._progress.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return False
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"

    # -- the end, the lock and the wish to stop ------------------------------------------------------------------------
    def write_result(self, result: Mapping[str, Any], card: str) -> None:
        """Write model card and metrics: from then on the run is finished."""
        replace_text(self.path / "model_card.md", card)
        self._write_json(self._result, result)

    def result(self) -> dict[str, Any] | None:
        """Return the metrics, or None while there are none."""
        return self._read_json(self._result) if self._result.is_file() else None

    def lock(self) -> FileLock:
        """Return the lock that a trainer holds. It waits, for a watcher that probes takes it for an instant."""
        return FileLock(self._lock, timeout=10)

    def is_locked(self) -> bool:
        """Return whether a trainer lives. A lock file tells it; a process id would not (it may be another's by now)."""
        if not self._lock.exists():
            return False
        probe = FileLock(self._lock, timeout=0)
        try:
            probe.acquire()
        except Timeout:
            return True
        probe.release()
        return False

    def ask_to_stop(self, wish: StopWish) -> None:
        """Ask the trainer to save and end ("pause") or to end with the best epoch so far ("finish")."""
        replace_text(self._stop, wish)

    def stop_wish(self) -> StopWish | None:
        """Return what was asked for."""
        try:
            text = self._stop.read_text("utf-8").strip()
        except FileNotFoundError:
            return None
        return "finish" if text == "finish" else "pause"

    def clear_stop(self) -> None:
        """Forget an earlier wish, before going on."""
        self._stop.unlink(missing_ok=True)

    def last_words(self, lines: int = 5) -> tuple[str, ...]:
        """Return the last lines that the trainer said."""
        try:
            with self.output.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
                text = file.read().decode("utf-8", errors="replace")
        except FileNotFoundError:
            return ()
        return tuple(line for line in text.splitlines() if line.strip())[-lines:]

    def is_silent(self) -> bool:
        """Return whether no progress was told since the last line of `output.txt`."""
        try:
            return self._progress.stat().st_mtime_ns < self.output.stat().st_mtime_ns
        except FileNotFoundError:
            return not self._progress.exists()

    def _write_json(self, path: Path, values: Mapping[str, Any], mode: int = 0o666) -> None:
        text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False)
        replace_text(path, text, mode)

    def _read_json(self, path: Path) -> dict[str, Any]:
        try:
            values = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"The training run {self.name} is damaged: {path.name} cannot be read.") from error
        if not isinstance(values, dict):
            raise ValueError(f"The training run {self.name} is damaged: {path.name} is not what this program writes.")
        return values


def _quiet(_sentence: str) -> None:
    """Say nothing: what is noted is read from the folder."""
