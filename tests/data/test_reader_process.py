"""The reading process: a crash costs one file, a stop ends it at once, nothing is left behind."""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest

from breastai_gui.data.answers import unpickled
from breastai_gui.data.reader_child import FILE_BYTES, MEMORY_BYTES
from breastai_gui.data.reader_process import Reader, ReadStopped
from breastai_gui.data.study import Preview, ReadError, ReadProgress
from dicom_files import ULTRASOUND, dataset, uid, write_dce, write_ultrasound

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import FileDataset

    from breastai_gui.data.study import Study


def nothing(_progress: object) -> None:
    """No progress is shown here."""


@functools.cache
def slow_pixels() -> tuple[int, bytes]:
    """Return the side and the JPEG 2000 bytes of a picture of noise, which takes a decoder long."""
    side = 1400
    noise = np.random.default_rng(0).integers(0, 4000, (side, side)).astype(np.uint16)
    image = dataset(ULTRASOUND, {"SOPInstanceUID": uid("noise")}, noise)
    image.compress("1.2.840.10008.1.2.4.90", generate_instance_uid=False)
    return side, image.PixelData


def make_slow(image: FileDataset, *_numbers: int) -> None:
    """Put the slow picture in place of an image's pixels."""
    image.Rows = image.Columns = slow_pixels()[0]
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit = 15
    image.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"
    image.PixelData = slow_pixels()[1]
    image["PixelData"].is_undefined_length = True


def slow_pictures(folder: Path, count: int) -> None:
    """Write ultrasound images that take a decoder long."""
    write_ultrasound(folder, views=count, regions=False, change=make_slow)


def test_g5_a_real_segmentation_fault_costs_one_file(tmp_path: Path) -> None:
    """The child is struck by SIGSEGV while it decodes; that file is named, the others are read, a new child has done it."""
    slow_pictures(tmp_path, 4)
    with Reader() as reader:
        catalogue = reader.scan(tmp_path, nothing)
        first_child = reader.process_id
        struck = threading.Event()

        def strike(progress: ReadProgress) -> None:
            # Told after the first image: the child is decoding the second one by now, which takes it long.
            if progress.stage == "pixels" and progress.preview is not None and not struck.is_set():
                struck.set()
                time.sleep(0.15)
                os.kill(reader.process_id, signal.SIGSEGV)

        study = reader.load(catalogue, catalogue.proposed, strike)
        assert struck.is_set()
        assert reader.process_id not in (None, first_child)
    assert len(study.ultrasound) == 3
    (problem,) = [problem for problem in study.problems if problem.file]
    assert problem.text == f"«{problem.file}» was not read: the decoder crashed on it."
    assert problem.file not in {view.label for view in study.ultrasound}
    assert next(use for use in study.files if use.file == problem.file).why_not == "the decoder crashed on it"


def test_g5_a_file_that_makes_a_real_decoder_abort(tmp_path: Path) -> None:
    """A JPEG-LS image whose header says 44 bits a sample: GDCM's decoder fails an assertion and aborts its process."""

    def change(image: FileDataset, number: int) -> None:
        image.compress("1.2.840.10008.1.2.4.80", generate_instance_uid=False)
        if number == 1:
            pixels = bytearray(image.PixelData)
            pixels[pixels.index(b"\xff\xf7") + 4] = 44
            image.PixelData = bytes(pixels)

    pictures = write_ultrasound(tmp_path, views=3, change=change)
    with Reader() as reader:
        catalogue = reader.scan(tmp_path, nothing)
        study = reader.load(catalogue, catalogue.proposed, nothing)
    assert [view.label for view in study.ultrasound] == ["US000", "US002"]
    assert np.array_equal(study.ultrasound[1].pixels, pictures[2][8:])
    (problem,) = [problem for problem in study.problems if problem.file]
    assert problem.text.startswith("«US001» was not read: ")
    assert "decode" in problem.text


def test_g5_a_slice_of_an_mri_that_crashes_the_decoder_stops_the_assessment(tmp_path: Path) -> None:
    write_dce(tmp_path, phases=2, slices=3, change=make_slow)
    with Reader() as reader:
        catalogue = reader.scan(tmp_path, nothing)
        done = []

        def strike(progress: ReadProgress) -> None:
            if progress.stage == "pixels" and not done:
                done.append(1)
                time.sleep(0.15)
                os.kill(reader.process_id, signal.SIGSEGV)

        study = reader.load(catalogue, catalogue.proposed, strike)
    (problem,) = [problem for problem in study.problems if problem.stops]
    assert problem.text.endswith("the decoder crashed on it.")
    assert problem.text.startswith("Phase 1: slice ")
    assert sum(not study.dce.values[phase, place].any() for phase in range(2) for place in range(3)) == 1


def test_g6_stop_ends_a_load_at_once_from_another_thread(tmp_path: Path) -> None:
    slow_pictures(tmp_path, 6)
    reader = Reader()
    catalogue = reader.scan(tmp_path, nothing)
    raised: list[float] = []

    def load() -> None:
        with pytest.raises(ReadStopped):
            reader.load(catalogue, catalogue.proposed, nothing)
        raised.append(time.perf_counter())

    thread = threading.Thread(target=load)
    thread.start()
    time.sleep(0.3)
    begin = time.perf_counter()
    reader.stop()
    thread.join(10)
    assert raised
    assert raised[0] - begin < 1.0
    assert reader.process_id is None
    # The next call starts a new child and reads as before.
    assert len(reader.load(catalogue, catalogue.proposed, nothing).ultrasound) == 6
    reader.stop()


def test_a_cancelled_job_ends_the_child_too(tmp_path: Path) -> None:
    class Cancelled(Exception):
        pass

    def cancel(_progress: ReadProgress) -> None:
        raise Cancelled

    write_dce(tmp_path, phases=2)
    with Reader() as reader:
        with pytest.raises(Cancelled):
            reader.scan(tmp_path, cancel)
        assert reader.process_id is None
        assert reader.scan(tmp_path, nothing).proposed is not None


def test_a_child_that_dies_between_calls_is_replaced(tmp_path: Path) -> None:
    write_dce(tmp_path, phases=2)
    with Reader() as reader:
        catalogue = reader.scan(tmp_path, nothing)
        os.kill(reader.process_id, signal.SIGKILL)
        study = reader.load(catalogue, catalogue.proposed, nothing)
    assert study.dce.phase_count == 2


def test_a_child_that_dies_at_once_again_and_again_gives_up_with_a_sentence(tmp_path: Path) -> None:
    """Killed before it has named any file: no file can be left out, so trying again has an end."""
    write_dce(tmp_path, phases=2)
    with Reader() as reader:
        died = threading.Event()

        def kill() -> None:
            while not died.wait(0.02):
                pid = reader.process_id
                if pid is not None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

        thread = threading.Thread(target=kill)
        thread.start()
        try:
            with pytest.raises(ReadError, match="the decoder crashed again and again"):
                reader.scan(tmp_path, nothing)
        finally:
            died.set()
            thread.join()
        assert reader.scan(tmp_path, nothing).proposed is not None


def test_the_study_outlives_the_reader_and_stays_read_only(tmp_path: Path) -> None:
    values = write_dce(tmp_path, phases=2)
    with Reader() as reader:
        catalogue = reader.scan(tmp_path, nothing)
        study: Study = reader.load(catalogue, catalogue.proposed, nothing)
    assert np.array_equal(study.dce.values, values)
    with pytest.raises(ValueError, match="read-only"):
        study.dce.values[0, 0, 0, 0] = 1


def test_progress_and_a_first_picture(tmp_path: Path) -> None:
    values = write_dce(tmp_path, phases=3)
    told: list[ReadProgress] = []
    with Reader() as reader:
        catalogue = reader.scan(tmp_path, told.append)
        reader.load(catalogue, catalogue.proposed, told.append)
    assert told[0].stage == "headers"
    assert (told[0].done, told[0].total) == (0, 24)
    first = next(progress for progress in told if progress.stage == "pixels")
    assert first.preview is not None
    assert np.array_equal(first.preview.picture, values[0, 4])
    assert first.preview.caption == "phase 1, slice 5 of 8"


def test_the_child_has_no_window_no_torch_and_no_voice(tmp_path: Path) -> None:
    """In a fresh interpreter: what the parent imports, what is left on stdout and stderr, whether it ends by itself."""
    write_dce(tmp_path / "exam", phases=2)
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, time\n"
        "from pathlib import Path\n"
        "from breastai_gui.data.reader_process import Reader\n"
        "slow = {'torch', 'pydicom', 'SimpleITK', 'PySide6', 'scipy', 'PIL'} & set(sys.modules)\n"
        "assert not slow, slow\n"
        "if __name__ == '__main__':\n"
        f"    path = Path({str(tmp_path / 'exam')!r})\n"
        "    reader = Reader()\n"
        "    catalogue = reader.scan(path, lambda p: None)\n"
        "    study = reader.load(catalogue, catalogue.proposed, lambda p: None)\n"
        "    pid = reader.process_id\n"
        "    maps = Path(f'/proc/{pid}/maps')\n"
        "    libraries = maps.read_text() if maps.exists() else ''\n"
        "    assert 'torch' not in libraries and 'libQt' not in libraries\n"
        "    slow = {'torch', 'pydicom', 'SimpleITK', 'PySide6'} & set(sys.modules)\n"
        "    assert not slow, slow\n"
        "    print(study.dce.values.sum(), pid)\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    pid = int(done.stdout.split()[1])
    for _ in range(50):
        if not os.path.exists(f"/proc/{pid}"):  # noqa: PTH110
            break
        time.sleep(0.1)
    assert not os.path.exists(f"/proc/{pid}")  # noqa: PTH110


def test_the_child_is_limited(tmp_path: Path) -> None:
    """No core file with patient data in it, no file or memory without bounds, none of the environment's secrets."""
    resource = pytest.importorskip("resource", reason="limits of POSIX")
    script = (
        "import os, resource\n"
        "from breastai_gui.data import reader_child\n"
        "reader_child._restrain()\n"
        "print(*resource.getrlimit(resource.RLIMIT_CORE), *resource.getrlimit(resource.RLIMIT_FSIZE))\n"
        "print(resource.getrlimit(resource.RLIMIT_AS)[0])\n"
        "print(*sorted(os.environ))\n"
        "with open('large', 'wb') as file:\n"
        "    try:\n"
        "        os.truncate(file.fileno(), reader_child.FILE_BYTES + 1)\n"
        "    except OSError as error:\n"
        "        print(error.strerror)\n"
    )
    environment = {**os.environ, "SECRET_TOKEN": "x", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "7"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    limits, memory, names, refused = done.stdout.splitlines()
    assert limits == f"0 0 {FILE_BYTES} {FILE_BYTES}"
    assert sys.platform != "linux" or 0 < int(memory) <= MEMORY_BYTES
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    assert "SECRET_TOKEN" not in names
    assert "OMP_NUM_THREADS" in names
    assert refused == "File too large"


class _Calls:
    """What a process that was taken over would send: unpickling it calls a function."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, object]:
        return self.call


def test_an_answer_is_an_exam_and_nothing_else(tmp_path: Path) -> None:
    """The window's process calls nothing that an answer names, not by a dotted name either."""
    target = tmp_path / "called"
    for function, arguments in ((os.mkdir, (str(target),)), (eval, ("1 + 1",)), (getattr, (1, "real"))):
        with pytest.raises(pickle.UnpicklingError, match="no exam"):
            unpickled(pickle.dumps(("catalogue", _Calls(function, *arguments))))
    # A name that leads through what a module has imported: study.np.load.
    dotted = b"\x80\x04\x8c\x17breastai_gui.data.study\x8c\x07np.load\x93."
    assert pickle.loads(dotted) is np.load
    with pytest.raises(pickle.UnpicklingError, match="no exam"):
        unpickled(dotted)
    for name in ("itertools", "direction_letters", "ReadError"):
        with pytest.raises(pickle.UnpicklingError, match="no exam"):
            unpickled(b"cbreastai_gui.data.study\n" + name.encode() + b"\n.")
    for damaged in (b"", b"\x80", b"nonsense", pickle.dumps(("error", "sentence"))[:-4]):
        with pytest.raises(pickle.UnpicklingError):
            unpickled(damaged)
    assert not target.exists()
    values = ("progress", ReadProgress("pixels", 1, 2, Preview(np.ones((2, 3), dtype=np.float32), "phase 1")), np.float64(1.5))
    kind, progress, number = unpickled(pickle.dumps(values))
    assert (kind, progress.preview.caption, number) == ("progress", "phase 1", 1.5)


@pytest.mark.parametrize("seed", range(6))
def test_d16_random_damage_never_ends_the_program(reader: Reader, tmp_path: Path, seed: int) -> None:
    """Each file with a few bytes changed somewhere: read, or one sentence."""
    write_dce(tmp_path / "mri", phases=3, slices=4)
    write_ultrasound(tmp_path / "us", views=3)
    for path in (tmp_path / "us").iterdir():
        image = pydicom.dcmread(path)
        image.compress(["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"][int(path.name[-1])])
        image.save_as(path)
    random = np.random.default_rng(seed)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    for path in files:
        data = bytearray(path.read_bytes())
        for _ in range(int(random.integers(1, 6))):
            data[int(random.integers(132, len(data)))] = int(random.integers(0, 256))
        path.write_bytes(bytes(data))
    sentence = ""
    try:
        catalogue = reader.scan(tmp_path, nothing)
        assert {use.file for use in catalogue.files} == {str(path.relative_to(tmp_path)) for path in files}
        if catalogue.proposed is not None:
            reader.load(catalogue, catalogue.proposed, nothing)
    except ReadError as error:
        sentence = str(error)
    assert "fault of the program" not in sentence
