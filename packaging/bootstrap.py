#!/usr/bin/env python3
"""Set up BreastAI in a checkout and run it: ``python3 packaging/bootstrap.py demo`` or ``... test``.

Needs nothing but Python 3.11 to 3.13. Makes ``.venv``, installs exactly what ``packaging/constraints.txt`` pins, and the
system libraries that Qt and VTK need (Debian and Ubuntu as root; elsewhere it prints the one line to paste). A second
run finds everything in place and goes straight on.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
CONSTRAINTS = ROOT / "packaging" / "constraints.txt"
STAMP = VENV / "breastai-installed"
TORCH = "2.13.0"
TORCH_INDEX = "https://download.pytorch.org/whl/"

# What Qt's xcb platform, VTK's off-screen OpenGL and the tests need beyond a minimal Debian 12 or Ubuntu 24.04.
SYSTEM_PACKAGES = (
    "libegl1",
    "libgl1",
    "libglx-mesa0",
    "libopengl0",
    "libxkbcommon-x11-0",
    "libxcb-cursor0",
    "libxcb-icccm4",
    "libxcb-image0",
    "libxcb-keysyms1",
    "libxcb-randr0",
    "libxcb-render-util0",
    "libxcb-shape0",
    "libxcb-xinerama0",
    "libxcb-xkb1",
    "libdbus-1-3",
    "libfontconfig1",
    "libglib2.0-0",
    "xvfb",
    "poppler-utils",
    "dcm2niix",
)


def main() -> int:
    """Do what the command line asks; return the exit code of the program that was run."""
    options = parse(sys.argv[1:])
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        print(f"BreastAI needs Python 3.11, 3.12 or 3.13; this is {platform.python_version()}.", file=sys.stderr)
        return 1
    try:
        install_system_packages()
        install_python_packages(options.torch)
    except subprocess.CalledProcessError as error:
        print(f"Setting up stopped: '{' '.join(map(str, error.cmd))}' failed; its own message stands above.", file=sys.stderr)
        return 1
    if options.command == "install":
        return 0
    if options.command == "demo":
        return subprocess.call([python(), "-P", "-m", "breastai_gui", "demo", *options.rest], cwd=ROOT)
    return test(long=options.long, arguments=options.rest)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options; what stands behind ``--`` is passed on to the program or to pytest as `rest`."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(
        description="Set up BreastAI in this checkout and run it.", epilog="Behind --: for the program or pytest."
    )
    parser.add_argument(
        "command", choices=("demo", "test", "install"), help="demo: open the demo patient; test: run all checks; install: only set up"
    )
    parser.add_argument(
        "--torch",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="which build of PyTorch: cuda needs an NVIDIA card with its driver and downloads gigabytes; auto looks and says what it found",
    )
    parser.add_argument("--long", action="store_true", help="test: the full counts and the benchmarks (by hand, an hour or more)")
    options = parser.parse_args(arguments[:cut])
    options.rest = arguments[cut + 1 :]
    return options


def python() -> str:
    """Return the path of the virtual environment's interpreter."""
    return str(VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


def install_system_packages() -> None:
    """Install what is missing of `SYSTEM_PACKAGES`, or print the line that does."""
    if not shutil.which("dpkg-query"):
        return  # Windows, macOS and other Linux families: Qt and VTK find what a desktop has
    wanted = list(SYSTEM_PACKAGES)
    if not has_module("ensurepip"):
        wanted.append(f"python3.{sys.version_info.minor}-venv")
    # Ubuntu 24.04 renamed some libraries to ...t64
    names = [name + suffix for name in wanted for suffix in ("", "t64")]
    listing = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Status}\n", *names], capture_output=True, text=True, check=False
    ).stdout
    present = {line.split()[0].removesuffix("t64") for line in listing.splitlines() if line.endswith("install ok installed")}
    missing = [name for name in wanted if name not in present]
    if not missing:
        return
    line = f"apt-get update && apt-get install -y --no-install-recommends {' '.join(missing)}"
    if os.geteuid() != 0:
        print(
            f"Some system libraries are missing; without them windows or tests may fail. Paste this line:\n\n  sudo sh -c '{line}'\n",
            file=sys.stderr,
        )
        return
    print(f"Installing {len(missing)} system packages: {' '.join(missing)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=True, env=environment)
    subprocess.run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], check=True, env=environment, stdout=subprocess.DEVNULL
    )


def has_module(name: str) -> bool:
    """Return whether this interpreter has the module."""
    return subprocess.call([sys.executable, "-c", f"import {name}"], stderr=subprocess.DEVNULL) == 0


def install_python_packages(torch_build: str) -> None:
    """Make `.venv` and fill it, unless it already holds exactly this."""
    recorded = STAMP.read_text(encoding="utf-8").split() if STAMP.exists() else ["", ""]
    fingerprint = hashlib.sha256(CONSTRAINTS.read_bytes() + (ROOT / "pyproject.toml").read_bytes() + sys.version.encode()).hexdigest()
    if recorded[0] == fingerprint and torch_build in ("auto", recorded[1]):
        return
    build = choose_torch(torch_build)
    print(f"Setting up {VENV.name}; the first time this takes a few minutes.", flush=True)
    if not Path(python()).exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    pip = [python(), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", str(CONSTRAINTS)]
    install_torch(pip, build)
    # The build tools are pinned too, so nothing is fetched in a build environment of its own.
    subprocess.run([*pip, "hatchling", "editables"], check=True)
    subprocess.run([*pip, "--no-build-isolation", "--editable", f"{ROOT}[dev]"], check=True)
    STAMP.write_text(f"{fingerprint} {build}\n", encoding="utf-8")


def choose_torch(wanted: str) -> str:
    """Return "cpu" or "cuda" and say why."""
    if wanted != "auto":
        print(f"PyTorch: the {wanted} build, as asked.")
        return wanted
    card = nvidia_card()
    if card:
        print(f"PyTorch: the cuda build, because there is an NVIDIA card with its driver ({card}); --torch cpu is smaller.")
        return "cuda"
    print("PyTorch: the cpu build, because no NVIDIA driver answers here; --torch cuda installs the other one.")
    return "cpu"


def nvidia_card() -> str:
    """Return the name and driver of the first NVIDIA card, "" when none answers."""
    if not shutil.which("nvidia-smi"):
        return ""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.splitlines()[0].strip() if answer.returncode == 0 and answer.stdout.strip() else ""


def install_torch(pip: list[str], build: str) -> None:
    """Install PyTorch first, alone: its builds come from different places."""
    if sys.platform == "darwin":
        subprocess.run([*pip, f"torch=={TORCH}"], check=True)  # one build, with MPS
    elif build == "cuda":
        windows = ["--index-url", TORCH_INDEX + "cu130"] if os.name == "nt" else []  # PyPI's own build has CUDA on Linux only
        subprocess.run([*pip, *windows, f"torch=={TORCH}"], check=True)
    elif subprocess.run([*pip, f"torch=={TORCH}+cpu"], check=False, stderr=subprocess.DEVNULL).returncode != 0:
        # Not in the index that this machine uses: PyTorch's own has it.
        subprocess.run([*pip, "--extra-index-url", TORCH_INDEX + "cpu", f"torch=={TORCH}+cpu"], check=True)


def test(*, long: bool, arguments: list[str]) -> int:
    """Run every check, all of them even when an early one fails; return 0 only when all passed."""
    environment = {**os.environ, "QT_QPA_PLATFORM": os.environ.get("QT_QPA_PLATFORM", "offscreen"), "OMP_NUM_THREADS": "1"}
    workers = [] if long else ["-n", "2", "--dist", "loadfile"]  # a file shares its phantoms
    checks = [
        ("ruff check", [python(), "-m", "ruff", "check", "."]),
        ("ruff format", [python(), "-m", "ruff", "format", "--check", "."]),
        ("mypy", [python(), "-m", "mypy"]),
        ("import-linter", [python(), "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-logo"]),
        ("pytest", [python(), "-m", "pytest", *workers, *(["--long"] if long else []), *arguments]),
    ]
    failed = []
    for name, command in checks:
        print(f"\n== {name}", flush=True)
        if subprocess.call(command, cwd=ROOT, env=environment) != 0:
            failed.append(name)
    print(f"\nFailed: {', '.join(failed)}." if failed else "\nAll checks passed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
