"""Memory that two processes share without a name: nothing to unlink, nothing left behind by a crash.

On Linux and macOS it is a file that never had a place in a folder, handed over the pipe as an open handle; on Windows
it is a mapping that ends with its last user. Python's own `SharedMemory` has a name to clean up and a tracker that
warns about it.
"""

from __future__ import annotations

import json
import mmap
import os
import secrets
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from numpy.typing import DTypeLike, NDArray

_ALIGNMENT = 64


class Arena:
    """One block of memory from which arrays are handed out one after another; memory is taken as it is written.

    Parameters
    ----------
    size
        Bytes, all arrays together with `padded` each.
    """

    def __init__(self, size: int) -> None:
        self.size = max(size, mmap.PAGESIZE)
        self._used = 0
        self._handle = -1
        self._name = ""
        if sys.platform == "win32":
            self._name = f"breastai-{secrets.token_hex(16)}"
            self.memory = mmap.mmap(-1, self.size, tagname=self._name)
        else:
            self._handle = _nameless_file()
            os.ftruncate(self._handle, self.size)
            self.memory = mmap.mmap(self._handle, self.size)
        self.address = np.frombuffer(self.memory, dtype=np.uint8).ctypes.data

    def array(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return a zeroed array in the arena. Raises MemoryError when it is full."""
        kind = np.dtype(dtype)
        count = int(np.prod(shape, dtype=object))
        if self._used + padded(count * kind.itemsize) > self.size:
            raise MemoryError
        array = np.frombuffer(self.memory, dtype=kind, count=count, offset=self._used).reshape(shape)
        self._used += padded(count * kind.itemsize)
        return array

    def place_of(self, buffer: memoryview) -> int | None:
        """Return the offset of a buffer in this arena, None when it lies elsewhere."""
        address = np.frombuffer(buffer, dtype=np.uint8).ctypes.data
        return address - self.address if self.address <= address < self.address + self.size else None

    def send(self, pipe: Connection, receiver: int) -> None:
        """Hand the arena to the process of that id at the other end of the pipe."""
        pipe.send_bytes(json.dumps([self.size, self._name]).encode())
        if not self._name:
            from multiprocessing.reduction import send_handle

            send_handle(pipe, self._handle, receiver)

    def close(self) -> None:
        """Give up the handle; the memory itself goes with its last array."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def received(pipe: Connection) -> mmap.mmap:
    """Return the memory of an arena sent by the other process; what is written here stays here (copy on write)."""
    size, name = json.loads(pipe.recv_bytes())
    if sys.platform == "win32":
        return mmap.mmap(-1, size, tagname=name, access=mmap.ACCESS_READ)
    from multiprocessing.reduction import recv_handle

    handle = recv_handle(pipe)
    try:
        return mmap.mmap(handle, size, access=mmap.ACCESS_COPY)
    finally:
        os.close(handle)


def padded(size: int) -> int:
    """Return the bytes that an array of `size` bytes takes in an arena."""
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _nameless_file() -> int:
    create = getattr(os, "memfd_create", None)
    if create is not None:
        return int(create("breastai"))
    with tempfile.TemporaryFile() as file:  # unlinked as soon as it exists
        return os.dup(file.fileno())
