"""The child process that owns torch: it can be killed at any moment, and the window never imports torch."""

from __future__ import annotations

import logging
import multiprocessing
import pickle
import signal
import threading
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from breastai_gui.services.models import InstalledModel
    from breastai_model.case import Case, Contributions, PhaseHeatmaps, Prediction
    from breastai_model.inference.predict import Engine, MapDepth

log = logging.getLogger(__name__)

CHUNK_BYTES = 64 * 2**20


class PredictError(Exception):
    """The model gave no answer; the text is one sentence."""


class PredictingStopped(Exception):
    """`PredictingProcess.stop` was called while a prediction was under way."""


class PredictingProcess:
    """A process that loads a model and predicts, one case at a time; started again after a crash.

    It may be used from one thread at a time, except `stop`, which any thread may call.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._stopping = False

    def start(self) -> None:
        """Start the process, which imports torch, without waiting for it."""
        with self._lock:
            if self._process is not None and self._process.is_alive():
                return
            self._release()
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs,), name="breastai-predicting", daemon=True)
            self._process.start()
            theirs.close()
            self._stopping = False

    def predict(
        self,
        model: InstalledModel,
        case: Case,
        device: str = "auto",
        tell: Callable[[float, str], None] | None = None,
        maps: MapDepth = "all",
        engine: Engine = "torch",
    ) -> Prediction:
        """Return the model's answer for a case; waits.

        Parameters
        ----------
        model
            Which weights; the file's SHA-256 is checked in the process before it is used.
        case
            The input.
        device
            "auto", "cuda", "mps" or "cpu".
        tell
            Called with a fraction 0 to 1 and what is being done. What it raises ends the process.
        maps
            "all" heatmaps, those of the "last" stage, or "none".
        engine
            "torch"; "openvino" or "preview" for the answers that these can give, see `breastai_model.inference.predict.Predictor`.

        Raises
        ------
        PredictError
            If the model could not be read or run, or the process died.
        PredictingStopped
            If `stop` was called meanwhile.
        """
        return self._ask(("predict", str(model.path), model.sha256, device, engine, case, maps), tell)  # type: ignore[no-any-return]

    def contributions(
        self,
        model: InstalledModel,
        case: Case,
        device: str = "auto",
        tell: Callable[[float, str], None] | None = None,
        engine: Engine = "torch",
    ) -> Contributions:
        """Return what each input of a case adds to the model's answer; waits, and takes about as long as the answer did.

        Parameters and errors are those of `predict`.
        """
        return self._ask(("contributions", str(model.path), model.sha256, device, engine, case, "none"), tell)  # type: ignore[no-any-return]

    def phase_heatmaps(
        self, model: InstalledModel, case: Case, device: str = "auto", tell: Callable[[float, str], None] | None = None
    ) -> PhaseHeatmaps:
        """Return the MRI's heatmaps of each single phase; waits, and takes about as long as the answer did.

        Parameters and errors are those of `predict`.
        """
        return self._ask(("phase_heatmaps", str(model.path), model.sha256, device, "torch", case, "all"), tell)  # type: ignore[no-any-return]

    def _ask(self, question: tuple[object, ...], tell: Callable[[float, str], None] | None) -> Any:
        self.start()
        with self._lock:
            pipe, process = self._pipe, self._process
        if pipe is None or process is None:
            raise PredictingStopped
        try:
            send(pipe, question)
            while True:
                wait([pipe, process.sentinel])
                kind, value = receive(pipe)  # what came before the end is read first; then EOFError
                if kind == "progress":
                    if tell is not None:
                        tell(*value)
                elif kind == "answer":
                    return value
                else:
                    raise PredictError(value)
        except (EOFError, OSError):
            process.join(5)
            stopped, code, last = self._stopping, process.exitcode, _last_words(pipe)
            self.stop()
            if stopped:
                raise PredictingStopped from None
            log.warning("The predicting process ended with code %s", code)
            raise PredictError(last or _why_it_died(code)) from None
        except PredictError:
            raise
        except BaseException:
            self.stop()  # an answer still under way must not be taken for the next one
            raise

    def stop(self) -> None:
        """End the process at once; the next call starts a new one. Any thread may call this."""
        with self._lock:
            self._stopping = True
            self._release()

    def _release(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join(10)
            self._process = None
        self._pipe = None  # closed with its last user: a thread may still be waiting on it

    def __enter__(self) -> PredictingProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _last_words(pipe: Connection) -> str:
    """Return the sentence that a process left before it ended, if any."""
    try:
        while pipe.poll():
            kind, value = receive(pipe)
            if kind == "failed":
                return str(value)
    except (EOFError, OSError):
        pass
    return ""


def _why_it_died(code: int | None) -> str:
    if code in (-9, 137):
        return "The predicting process was ended by the system, most likely because memory ran out: close other programs and assess again."
    return f"The predicting process crashed (code {code}): assess again, or choose the CPU as device."


def send(pipe: Connection, value: Any) -> None:
    """Send a value to a process of our own; arrays travel as they lie in memory, without a second copy."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    raws = [buffer.raw() for buffer in buffers]
    pipe.send((head, [raw.nbytes for raw in raws]))
    for raw in raws:
        for start in range(0, raw.nbytes, CHUNK_BYTES):
            pipe.send_bytes(raw[start : start + CHUNK_BYTES])


def receive(pipe: Connection) -> Any:
    """Receive what `send` sent. Only ever used between this program's own processes."""
    head, sizes = pipe.recv()
    buffers = [bytearray(size) for size in sizes]
    for buffer in buffers:
        view, start = memoryview(buffer), 0
        while start < len(buffer):
            start += pipe.recv_bytes_into(view[start:])
    return pickle.loads(head, buffers=buffers)


def _serve(pipe: Connection) -> None:
    """Run in the child: load models as they are asked for, predict, until the window's end of the pipe is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the parent's to handle
    loaded: tuple[tuple[str, str, str, str], Any] | None = None
    try:
        import breastai_model.inference.predict as inference

        while True:
            what, path, sha256, device, engine, case, maps = receive(pipe)
            try:
                if loaded is None or loaded[0] != (path, sha256, device, engine):
                    send(pipe, ("progress", (0.0, "Reading the model")))
                    loaded = None
                    predictor = inference.Predictor(path, device=device, expected_sha256=sha256, engine=engine)
                    loaded = ((path, sha256, device, engine), predictor)

                def tell(fraction: float, text: str) -> None:
                    send(pipe, ("progress", (fraction, text)))

                predictor = loaded[1]
                answer = predictor.predict(case, tell, maps) if what == "predict" else getattr(predictor, what)(case, tell)
                send(pipe, ("answer", answer))
            except Exception as error:  # noqa: BLE001  the border of a process: every failure must reach the person
                loaded = None
                send(pipe, ("failed", _sentence(error)))
    except (EOFError, OSError):
        return  # the window has gone
    except ImportError as error:
        send(pipe, ("failed", f"The model cannot be run because a part of the program is missing ({error.name}): install BreastAI again."))


def _sentence(error: BaseException) -> str:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "There is not enough memory for this prediction: close other programs, or choose the CPU as device."
    if type(error).__module__.startswith("breastai") or isinstance(error, ValueError | FileNotFoundError):
        return str(error)
    return f"The model could not be run ({type(error).__name__}): {str(error).splitlines()[0] if str(error) else 'no reason given'}."
