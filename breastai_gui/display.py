"""Whether a window can open here: asked before Qt, which would end the process where it finds no display."""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path

ANSWER_WITHIN_S = 2.0


def has_display(to_be_seen: bool) -> bool:
    """Return whether a window can open; with `to_be_seen` an off-screen one does not count."""
    platform = os.environ.get("QT_QPA_PLATFORM", "")
    if platform.startswith(("offscreen", "minimal")):
        return not to_be_seen
    if sys.platform in ("win32", "darwin") or platform.startswith(("vnc", "eglfs", "linuxfb")):
        return True
    return _wayland_is_there(os.environ.get("WAYLAND_DISPLAY", "")) or _x_server_answers(os.environ.get("DISPLAY", ""))


def _wayland_is_there(name: str) -> bool:
    return bool(name) and (Path(os.environ.get("XDG_RUNTIME_DIR", "/")) / name).exists()


def _x_server_answers(display: str) -> bool:
    """Return whether something listens where the DISPLAY variable points: [host]:number[.screen]."""
    found = re.fullmatch(r"(?P<host>[^/]*):(?P<number>\d{1,5})(\.\d+)?", display)
    if found is None:
        return False
    host, number = found["host"], int(found["number"])
    local = host in ("", "unix")
    if local and any(_listens(f"{prefix}/tmp/.X11-unix/X{number}") for prefix in ("", "\0")):
        return True
    try:
        with socket.create_connection(("localhost" if local else host, 6000 + number), ANSWER_WITHIN_S):
            return True
    except (OSError, OverflowError):
        return False


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        try:
            line.connect(path)
        except OSError:
            return False
    return True
