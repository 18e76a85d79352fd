"""The models that can assess: the one that comes with the program and those that a person installed.

A model is one safetensors file. Its SHA-256 is written down when it is installed (for the bundled one when it is made)
and checked each time before it is used, by the process that uses it. Nothing here imports torch: names and versions come
from the file's header, which is JSON, and a new file is tried in a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from breastai_gui.resource import resource
from breastai_model.whole_file import replace_file, replace_text

if TYPE_CHECKING:
    from breastai_gui.services.places import Places

log = logging.getLogger(__name__)

BUNDLED = "breastai-demonstration.safetensors"
_LARGEST_HEADER = 16 * 2**20
_LARGEST_LIST = 2**20


class ModelError(Exception):
    """A model cannot be used; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """One model that is there.

    Attributes
    ----------
    name, version
        As the weights say.
    path
        The file.
    sha256
        What the file must hash to; whoever reads it checks this first.
    trained_on
        "synthetic": its numbers say nothing about patients.
    bundled
        True for the model that comes with the program.
    """

    name: str
    version: str
    path: Path
    sha256: str
    trained_on: Literal["synthetic", "patients"]
    bundled: bool = False


class Models:
    """The models of this installation.

    Parameters
    ----------
    places
        Its `models` folder holds the installed ones and `models.json`.

    Attributes
    ----------
    notice
        One sentence where the list of models was damaged and made anew, else "".
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self.notice = ""

    def bundled(self) -> InstalledModel:
        """Return the model that comes with the program. Raises ModelError where the installation lacks it."""
        try:
            path = resource("weights") / BUNDLED
            lines = (line.split(maxsplit=1) for line in (path.parent / "SHA256SUMS").read_text("utf-8").splitlines())
            sums = {name: sha256 for sha256, name in lines}
            return _described(path, sums[BUNDLED], bundled=True)
        except (OSError, KeyError, ValueError) as error:
            raise ModelError("The model that comes with the program is missing: install BreastAI again.") from error

    def installed(self) -> tuple[InstalledModel, ...]:
        """Return the bundled model and the installed ones, in order of installation."""
        models = []
        for entry in self._read()["models"]:
            path = self._places.models / entry["file"]
            models.append(InstalledModel(entry["name"], entry["version"], path, entry["sha256"], entry["trained_on"]))
        return (self.bundled(), *models)

    def active(self) -> InstalledModel:
        """Return the model that new assessments use: the bundled one until another is activated.

        Raises
        ------
        ModelError
            If the file of the model in use is gone. Another is never taken in its place silently.
        """
        chosen = self._read()["active"]
        if not chosen:
            return self.bundled()
        for model in self.installed():
            if model.sha256 == chosen:
                if not model.path.is_file():
                    named = f"{model.name} {model.version}"
                    raise ModelError(f"The file of the model in use ({named}) is gone: choose another model or install it again.")
                return model
        raise ModelError("The model in use is no longer installed: choose another model.")

    def activate(self, sha256: str) -> None:
        """Use this model for new assessments; going back to an earlier one is the same call. Raises ModelError if unknown."""
        if sha256 not in {model.sha256 for model in self.installed()}:
            raise ModelError("This model is not installed.")
        self._write(self._read() | {"active": "" if sha256 == self.bundled().sha256 else sha256})
        log.info("Activated model %s", sha256[:12])

    def install(self, path: Path) -> InstalledModel:
        """Copy a weights file into the program's own folder, read it as a prediction would, and write down its hash.

        It does not become the model in use: see `activate`. Waits; call it from a job.

        Raises
        ------
        ModelError
            If it is no weights file of this program, is damaged, or cannot be copied; nothing is left behind.
        """
        incoming = self._places.models / "incoming.safetensors"
        try:
            replace_file(incoming, lambda temporary: _copy(path, temporary))
            sha256 = sha256_of(incoming)
            known = next((model for model in self.installed() if model.sha256 == sha256), None)
            if known is not None and known.path.is_file():
                return known
            header_of(incoming, called=path.name)  # what is plainly something else needs no process to find out
            if problem := _problem_with(incoming, sha256):
                raise ModelError(problem)
            final = self._places.models / f"{sha256[:16]}.safetensors"
            incoming.replace(final)
        except OSError as error:
            raise ModelError(f"The model {path.name} cannot be copied: {error.strerror or 'the disk refused'}.") from error
        except ValueError as error:
            raise ModelError(str(error)) from error
        finally:
            incoming.unlink(missing_ok=True)
        model = _described(final, sha256)
        record = self._read()
        others = [entry for entry in record["models"] if entry["sha256"] != sha256]
        self._write(record | {"models": [*others, _entry(model)]})
        log.info("Installed model %s", sha256[:12])
        return model

    # -- models.json ---------------------------------------------------------------------------------------------------
    @property
    def _list(self) -> Path:
        return self._places.models / "models.json"

    def _read(self) -> dict[str, Any]:
        if not self._list.is_file():
            return {"active": "", "models": []}
        try:
            if self._list.stat().st_size > _LARGEST_LIST:
                raise ValueError("too long")
            record = json.loads(self._list.read_text("utf-8"))
            for entry in record["models"]:
                if not all(isinstance(entry[key], str) for key in ("file", "name", "version", "sha256", "trained_on")):
                    raise TypeError("an entry that is no text")
                if Path(entry["file"]).name != entry["file"]:
                    raise ValueError("a path that leaves the folder")
            return {"active": str(record["active"]), "models": record["models"]}
        except (OSError, ValueError, KeyError, TypeError):
            return self._made_anew()

    def _made_anew(self) -> dict[str, Any]:
        """Set a damaged list aside and make one from the files; the bundled model is in use again, and that is said."""
        self._list.replace(self._list.with_suffix(".damaged.json"))
        found = []
        for path in sorted(self._places.models.glob("*.safetensors")):
            try:
                found.append(_entry(_described(path, sha256_of(path))))
            except (OSError, ValueError):
                log.warning("A file in the models folder is no model")
        self.notice = "The list of installed models was damaged and was made anew; the model that comes with the program is in use."
        record = {"active": "", "models": found}
        self._write(record)
        return record

    def _write(self, record: dict[str, Any]) -> None:
        text = json.dumps(record, indent=1, ensure_ascii=False)
        replace_text(self._list, text)


def header_of(path: Path, called: str = "") -> dict[str, str]:
    """Return the metadata of a safetensors file without reading a tensor; `called` names it in a complaint.

    The format: eight bytes, little-endian, the length of a JSON object, then that object; "__metadata__" maps text to text.

    Raises
    ------
    ValueError
        If it is not such a file.
    OSError
        If it cannot be read.
    """
    called = called or path.name
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_LARGEST_HEADER, path.stat().st_size - 8):
            raise ValueError(f"{called} is not a safetensors file, the only kind of model that this program reads.")
        try:
            header = json.loads(file.read(length))
        except ValueError as error:
            raise ValueError(f"{called} is not a safetensors file: its header is damaged.") from error
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError(f"{called} is no model of this program: it carries no description.")
    return metadata


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _described(path: Path, sha256: str, *, bundled: bool = False) -> InstalledModel:
    metadata = header_of(path)
    try:
        trained_on = json.loads(metadata["recipe"])["trained_on"]
        # Whatever is not plainly said to come from patients is treated as made up.
        plain: Literal["synthetic", "patients"] = "patients" if trained_on == "patients" else "synthetic"
        return InstalledModel(metadata["name"], metadata["version"], path, sha256, plain, bundled)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path.name} is not a model of this program.") from error


def _entry(model: InstalledModel) -> dict[str, str]:
    return {"file": model.path.name, "name": model.name, "version": model.version, "sha256": model.sha256, "trained_on": model.trained_on}


def _problem_with(path: Path, sha256: str) -> str:
    """Return in one sentence why this file is no model, "" when it is one; it is read in a process of its own."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as child:
        try:
            return child.submit(_read_whole, path, sha256).result()
        except BrokenProcessPool:
            return "The process that reads this model crashed: the file is damaged or not a model."


def _read_whole(path: Path, sha256: str) -> str:
    from breastai_model.weights import WeightsError, read_weights

    try:
        read_weights(path, expected_sha256=sha256)
    except WeightsError as error:
        return str(error)
    return ""


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
