"""What can be typed after `breastai`: the commands, their options, their exit codes.

Nothing slow is imported before a command is known, so that the window opens at once.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from breastai_gui import __version__
from breastai_gui.services import commands as further

if TYPE_CHECKING:
    from collections.abc import Sequence

    from breastai_gui.services.places import Places

_OWN = ("window", "demo", "assess", "check", "train")
INTERRUPTED = 130

DESCRIPTION = (
    "BreastAI reads breast DCE-MRI and ultrasound together: viewers, a demonstration network, heatmaps, report. RESEARCH USE ONLY."
)
ENDING = """\
breastai                 opens the window
breastai FOLDER          opens the window with that folder, file or zip

exit codes: 0 done; 1 failed, one sentence says why; 2 wrong options; 3 a draft, because a person has to decide something
(for example whether MRI and ultrasound show the same patient): each modality was then assessed alone
"""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; prints the help, the version or a complaint and raises SystemExit where that is what is asked."""
    given = list(arguments)
    if not given or (not given[0].startswith("-") and given[0] not in (*_OWN, *further.names())):
        given.insert(0, "window")
    # The window opens without a look at the options of what it will not do.
    return _parser(() if given[0] == "window" else further.names()).parse_args(given)


def run(options: argparse.Namespace) -> int:
    """Run a command that needs no window and return its exit code; every failure is one sentence on the error stream."""
    from breastai_gui.services.failures import keep_log, log_failure, sentence_of
    from breastai_gui.services.places import PlaceError, Places

    places = Places()
    try:
        keep_log(places.logs)
    except (PlaceError, OSError):
        complain("The log file cannot be written; going on without it.")
    try:
        return _dispatch(options, places)
    except KeyboardInterrupt:
        complain("Stopped.")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  the border of the process: a person reads a sentence, never a traceback
        log_failure(options.command, error)
        complain(sentence_of(error))
        return 1


def complain(sentence: str) -> None:
    """Print to the error stream."""
    print(f"breastai: {sentence}", file=sys.stderr)


def say(line: str) -> None:
    """Print at once, also into a pipe."""
    print(line, flush=True)


def _dispatch(options: argparse.Namespace, places: Places) -> int:
    if options.command in further.names():
        return further.command(options.command).run(options, places, say)
    if options.command == "train":
        from breastai_gui.services import training_worker

        return training_worker.main(options.run)
    from breastai_gui.services import headless

    if options.command == "check":
        return headless.run_check(places, say)
    from breastai_gui.services.session import Choices

    for target in (options.report, options.json):
        if target is not None and not target.absolute().parent.is_dir():
            complain(f"{target.name} cannot be written, because there is no folder {target.absolute().parent}: make it or choose another.")
            return 1
    request = headless.AssessRequest(
        folder=options.folder,
        report=options.report,
        document=options.json,
        device=options.device,
        patient=options.patient,
        series=tuple(options.series),
        choices=Choices(
            same_patient=True if options.confirm_same_patient else None,
            phases_confirmed=options.confirm_phases,
            side=options.side,
            lesion=options.lesion,
            show_numbers=options.show_numbers,
        ),
        heatmaps=not options.no_heatmaps,
        contributions=options.contributions,
        engine="preview" if options.preview else "openvino" if options.engine == "openvino" else "torch",
    )
    return headless.run_assess(request, places, say)


def _parser(names: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="breastai", description=DESCRIPTION, epilog=ENDING, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"breastai {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)

    window = commands.add_parser("window", help="open the window (the word may be left out)")
    window.add_argument("folder", type=Path, nargs="?", help="a folder, a file or a zip to open")

    demo = commands.add_parser("demo", help="open the window with a made-up patient")
    demo.add_argument("--out", type=Path, help="where there is no display: the folder for the report and the pictures of the window")

    assess = commands.add_parser("assess", help="read, assess and report without a window")
    assess.add_argument("folder", type=Path, help="a folder, a file or a zip")
    assess.add_argument("--report", type=Path, metavar="OUT.pdf", help="write the PDF report")
    assess.add_argument("--json", type=Path, metavar="OUT.json", help="write the assessment as JSON")
    assess.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="where the model runs (auto)")
    assess.add_argument("--confirm-same-patient", action="store_true", help="MRI and ultrasound show one patient; printed in the report")
    assess.add_argument("--confirm-phases", action="store_true", help="the proposed order of phases is right; printed in the report")
    assess.add_argument("--patient", type=int, metavar="N", help="which patient, where several lie in the folder")
    assess.add_argument("--series", type=_numbers, default=(), metavar="N[,M]", help="which dynamic series and ultrasound, from the list")
    assess.add_argument("--side", choices=("left", "right"), help="the breast of the tumour")
    assess.add_argument("--lesion", metavar="LABEL", help="the lesion, as the ultrasound names it, where it names several")
    assess.add_argument("--show-numbers", action="store_true", help="print numbers that say nothing of this patient all the same")
    assess.add_argument("--no-heatmaps", action="store_true", help="answer without heatmaps, in less than half the time")
    assess.add_argument("--engine", choices=("auto", "torch", "openvino"), default="auto", help="what computes on the CPU (auto: torch)")
    assess.add_argument("--preview", action="store_true", help="a quick look at the numbers in bfloat16; no report")
    assess.add_argument("--contributions", action="store_true", help="also compute what each modality, phase and angle adds")

    commands.add_parser("check", help="run the whole program on the demo patient and say how long each step took")

    for name in names:
        further.command(name).add(commands)
    if "train" not in names:
        train = commands.add_parser("train", help="run or continue a training run")
        train.add_argument("run", type=Path, help="the run's folder")
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError("numbers separated by commas, such as 1,3") from None
