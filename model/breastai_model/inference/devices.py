"""On what a prediction runs, and why not on what was asked for: never a silent change."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch

MOST_THREADS = 8
THREADS_VARIABLE = "BREASTAI_THREADS"


@dataclass(frozen=True, slots=True)
class Device:
    """Where to run.

    Attributes
    ----------
    name
        "cuda", "mps" or "cpu".
    note
        Why it is not what was asked for, one sentence; "" when it is.
    """

    name: str
    note: str


def choose_device(asked: str, needed_bytes: int) -> Device:
    """Return CUDA, else MPS, else the CPU; or, where one was asked for by name, that one if it can be used.

    Parameters
    ----------
    asked
        "auto", "cuda", "mps" or "cpu".
    needed_bytes
        Free memory without which a GPU is not tried.

    Raises
    ------
    ValueError
        If there is no such kind of device.
    """
    if asked not in ("auto", "cuda", "mps", "cpu"):
        raise ValueError(f"There is no device {asked!r}: choose auto, cuda, mps or cpu.")
    if asked == "cpu":
        return Device("cpu", "")
    reasons = []
    if asked in ("auto", "cuda"):
        reason = _cuda_refusal(needed_bytes)
        if reason is None:
            return Device("cuda", "")
        reasons.append(reason)
    if asked in ("auto", "mps"):
        if torch.backends.mps.is_available():
            return Device("mps", " ".join(reason for reason in reasons if reason))
        reasons.append("This computer has no Apple GPU that torch can use: computed on the CPU." if asked == "mps" else "")
    if asked == "cuda" and reasons == [""]:
        reasons = ["This computer has no NVIDIA GPU that torch can use: computed on the CPU."]
    return Device("cpu", " ".join(reason for reason in reasons if reason))


def _cuda_refusal(needed_bytes: int) -> str | None:
    """Return None where CUDA can be used, "" where there is none, else the reason why the one that is there cannot."""
    try:
        if not torch.cuda.is_available():
            return ""
        name = torch.cuda.get_device_name()
        major, minor = torch.cuda.get_device_capability()
        if not runs_on(major, minor, torch.cuda.get_arch_list()):
            return f"The GPU ({name}, capability {major}.{minor}) is not supported by this torch: computed on the CPU."
        free, _ = torch.cuda.mem_get_info()
        if free < needed_bytes:
            return f"The GPU has {free / 2**30:.1f} GiB free, {needed_bytes / 2**30:.1f} GiB are needed: computed on the CPU."
        torch.zeros(1, device="cuda").add_(1).item()
    except (RuntimeError, AssertionError, OSError) as error:
        return gave_up("GPU", error)
    return None


def gave_up(device: str, error: BaseException) -> str:
    """Return the sentence for a device that failed."""
    if isinstance(error, torch.OutOfMemoryError):
        return f"The {device} ran out of memory: computed on the CPU."
    first = (str(error).strip().splitlines() or [type(error).__name__])[0][:120].rstrip(".")
    return f"The {device} failed ({first}): computed on the CPU."


def runs_on(major: int, minor: int, compiled: list[str]) -> bool:
    """Return whether code compiled for those architectures runs on a card of that capability.

    Binary code (sm_XY) runs on the same major number with an equal or higher minor one; intermediate code (compute_XY) on
    anything equal or newer. An empty list says nothing, and the card is tried.
    """
    for architecture in compiled:
        kind, _, digits = architecture.partition("_")
        digits = digits.rstrip("af")
        if not digits.isdigit():
            continue
        of_major, of_minor = int(digits[:-1]), int(digits[-1])
        if kind == "sm" and of_major == major and of_minor <= minor:
            return True
        if kind == "compute" and (of_major, of_minor) <= (major, minor):
            return True
    return not compiled


def set_threads() -> int:
    """Set how many threads torch computes with, once per process, and return it.

    `BREASTAI_THREADS` decides; else what `OMP_NUM_THREADS` gave torch stays; else the physical cores, at most eight, if a
    short measurement finds that faster than one: on a machine that others use too, threads that wait for one another can
    be ten times slower (measured).
    """
    wish = os.environ.get(THREADS_VARIABLE, "")
    if wish.isdigit() and int(wish) > 0:
        torch.set_num_threads(int(wish))
    elif not os.environ.get("OMP_NUM_THREADS"):
        many = min(physical_cores(), MOST_THREADS)
        slow, fast = _seconds(1), _seconds(many) if many > 1 else float("inf")
        torch.set_num_threads(many if fast < 0.9 * slow else 1)
    return torch.get_num_threads()


def physical_cores() -> int:
    """Return how many cores this process may use, hyper-threads not counted where the system tells them apart."""
    mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = set()
    for cpu in mine:
        try:
            cores.add(Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text())
        except OSError:
            cores.add(str(cpu))
    return max(1, len(cores))


def _seconds(threads: int) -> float:
    """Return the middle of five timings of a small convolution."""
    torch.set_num_threads(threads)
    image, kernel = torch.ones(4, 16, 64, 64), torch.ones(16, 16, 3, 3)
    times = []
    with torch.inference_mode():
        for _ in range(6):
            start = time.perf_counter()
            torch.nn.functional.conv2d(image, kernel, padding=1)
            times.append(time.perf_counter() - start)
    return sorted(times[1:])[2]
