"""Answers of the reading process, unpickled into the values of an exam and nothing else.

That process parses files from anywhere. Were it taken over by one of them, a plain `pickle.loads` would let it call any
function in the process of the window; here a name that is not on the list ends the reading process instead.
"""

from __future__ import annotations

import datetime as dt
import io
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np

from breastai_gui.data import study

if TYPE_CHECKING:
    from collections.abc import Iterable

_VALUES = (
    study.Candidate,
    study.Catalogue,
    study.DceSeries,
    study.FileUse,
    study.Grid,
    study.OtherSeries,
    study.Patient,
    study.Phase,
    study.Preview,
    study.Problem,
    study.ReadProgress,
    study.Selection,
    study.Study,
    study.UltrasoundView,
)
# Whole names, not modules: what a module imports would else be within reach of a dotted name.
_ALLOWED: dict[tuple[str, str], Any] = {
    **{(value.__module__, value.__name__): value for value in _VALUES},
    ("datetime", "date"): dt.date,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    # How NumPy pickles an array (the second with protocol 5) and a number of its own.
    ("numpy._core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
    ("numpy._core.numeric", "_frombuffer"): np._core.numeric._frombuffer,  # type: ignore[attr-defined]
    ("numpy._core.multiarray", "scalar"): np._core.multiarray.scalar,  # type: ignore[attr-defined]
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError("The reading process answered with something that is no exam.") from None


def unpickled(answer: bytes, buffers: Iterable[memoryview | bytes] | None = None) -> Any:
    """Return the values in an answer.

    Parameters
    ----------
    answer
        What `pickle` made in the reading process.
    buffers
        The arrays that travelled beside it.

    Raises
    ------
    pickle.UnpicklingError
        If it is damaged, names anything but the types of an exam, or holds values that no exam can have.
    """
    try:
        return _Unpickler(io.BytesIO(answer), buffers=buffers).load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # noqa: BLE001  the border of a process: damaged bytes fail in any way
        raise pickle.UnpicklingError(f"The reading process answered with damaged bytes ({type(error).__name__}).") from None
