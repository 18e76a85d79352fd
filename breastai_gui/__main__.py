"""The one door: `breastai` and `python -m breastai_gui`."""

from __future__ import annotations

import multiprocessing
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from pathlib import Path


def main() -> int:
    """Run what was typed and return the exit code."""
    multiprocessing.freeze_support()  # first: in a frozen program, child processes come through this door too
    from breastai_gui.services import command_line

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a name that the console cannot show is no reason to stop
    options = command_line.parse(sys.argv[1:])
    if options.command not in ("window", "demo"):
        return command_line.run(options)
    return _window(options)


def _window(options: argparse.Namespace) -> int:
    from breastai_gui.display import has_display
    from breastai_gui.services.command_line import complain
    from breastai_gui.services.places import PlaceError, Places

    demo = options.command == "demo"
    if not has_display(demo):
        if demo:
            return _demo_without_display(options.out)
        complain("There is no display to open the window on; `breastai assess FOLDER --report out.pdf` works without one.")
        return 1
    path: Path | None = None if demo else options.folder
    if path is not None and not path.exists():
        complain(f"There is no file or folder called {path}.")
        return 1
    from breastai_gui.services.failures import keep_log

    try:
        keep_log(Places().logs)
    except (PlaceError, OSError) as error:
        complain(str(error))
        return 1
    from breastai_gui.views.app import run

    return run(sys.argv[:1], path, demo)


def _demo_without_display(out: Path | None) -> int:
    """Write what the window would have shown."""
    from breastai_gui.services import command_line, headless
    from breastai_gui.services.failures import keep_log, log_failure, sentence_of
    from breastai_gui.services.places import Places

    command_line.say("There is no display, so the demo's report and pictures of the window are written instead.")
    try:
        places = Places()
        keep_log(places.logs)
        folder = (out or places.data / "demo").absolute()
        folder.mkdir(parents=True, exist_ok=True)
        headless.run_demo_report(places, folder, command_line.say)
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
        from breastai_gui.views.app import screenshots

        for picture in screenshots("demo", folder):
            command_line.say(f"Picture: {picture}")
    except KeyboardInterrupt:
        command_line.complain("Stopped.")
        return command_line.INTERRUPTED
    except Exception as error:  # noqa: BLE001  the border of the process: a person reads a sentence, never a traceback
        log_failure("demo", error)
        command_line.complain(sentence_of(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
