"""Draws a volume off-screen with VTK on a thread of its own; the newest request wins, pictures come back as arrays."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

VolumeStyle = Literal["mip", "volume"]
_MIP = ((0, 0.03, 0.03, 0.04, 0.0), (255, 1, 1, 1, 1.0))
_SHADED = ((0, 0, 0, 0, 0.0), (40, 0.3, 0.12, 0.1, 0.0), (110, 0.75, 0.4, 0.3, 0.06), (190, 1, 0.75, 0.5, 0.45), (255, 1, 1, 0.9, 0.9))
"""(level, red, green, blue, opacity)"""
MOST_VOXELS_A_SIDE = 160
"""Larger volumes are averaged down: without a graphics card every voxel costs time."""


@dataclass(frozen=True, eq=False, slots=True)
class Volume:
    """What is drawn.

    Attributes
    ----------
    levels
        (slice, row, column) uint8.
    affine
        (4, 4); (slice, row, column, 1) to LPS mm.
    """

    levels: NDArray[np.uint8]
    affine: NDArray[np.float64]

    @property
    def centre_mm(self) -> NDArray[np.float64]:
        """LPS mm of its middle."""
        middle = (np.asarray(self.levels.shape, dtype=np.float64) - 1) / 2
        return np.asarray(self.affine[:3, :3] @ middle + self.affine[:3, 3])

    @property
    def radius_mm(self) -> float:
        """Half the length of its diagonal."""
        return float(np.linalg.norm(np.linalg.norm(self.affine[:3, :3], axis=0) * self.levels.shape) / 2)


@dataclass(frozen=True, eq=False, slots=True)
class View:
    """How it is looked at.

    Attributes
    ----------
    axes
        (3, 3) LPS unit vectors: to the right of the picture, upwards, towards the viewer.
    mm_a_pixel
        Millimetres for one pixel of the picture.
    size
        (width, height) of the picture.
    style
        Maximum-intensity projection, or shaded volume.
    """

    axes: NDArray[np.float64]
    mm_a_pixel: float
    size: tuple[int, int]
    style: VolumeStyle


def thinned(difference: NDArray[np.float32], affine: NDArray[np.float64], high: float) -> Volume:
    """Return a subtraction, (slice, row, column) real values, as a volume to draw: averaged down, 0 to `high` as 0 to 255."""
    steps = [-(-count // MOST_VOXELS_A_SIDE) for count in difference.shape]
    counts = [max(1, count // step) for count, step in zip(difference.shape, steps, strict=True)]
    total = np.zeros(counts, dtype=np.float32)
    for offset in np.ndindex(*steps):
        total += difference[tuple(slice(at, at + (n - 1) * s + 1, s) for at, n, s in zip(offset, counts, steps, strict=True))]
    levels = np.clip(total * (255.0 / (high * np.prod(steps))), 0, 255).astype(np.uint8)
    moved = affine.copy()
    moved[:3, :3] = affine[:3, :3] * np.asarray(steps)
    moved[:3, 3] = affine[:3, 3] + affine[:3, :3] @ ((np.asarray(steps, dtype=np.float64) - 1) / 2)
    for axis, count in enumerate(levels.shape):
        if count == 1:  # a volume without thickness has no rays through it: VTK would never end
            levels = np.repeat(levels, 2, axis=axis)
            moved[:3, 3] -= moved[:3, axis] / 2
    if np.linalg.det(moved[:3, 2::-1]) < 0:  # VTK draws only right-handed volumes rightly: turn the stack round
        levels = np.ascontiguousarray(levels[::-1])
        moved[:3, 3] += moved[:3, 0] * (levels.shape[0] - 1)
        moved[:3, 0] *= -1
    return Volume(levels, moved)


class VolumeRenderer:
    """Owns the thread.

    Parameters
    ----------
    make
        Called once in the thread: computes the volume.
    drawn
        Called in the thread with (the view, (height, width, 3) uint8).
    failed
        Called in the thread with one sentence when nothing can be drawn here.
    ready
        Called in the thread with the volume, before the first picture.
    """

    def __init__(
        self,
        make: Callable[[], Volume],
        ready: Callable[[Volume], None],
        drawn: Callable[[View, NDArray[np.uint8]], None],
        failed: Callable[[str], None],
    ) -> None:
        self._make, self._ready, self._drawn, self._failed = make, ready, drawn, failed
        self._wanted: View | None = None
        self._ended = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="breastai-volume", daemon=True)
        self._thread.start()

    def ask(self, view: View) -> None:
        """Draw this next; a request that was not begun is dropped."""
        with self._news:
            self._wanted = view
            self._news.notify()

    def end(self) -> None:
        """Stop and wait for the picture under way, a tenth of a second or so."""
        with self._news:
            self._ended = True
            self._news.notify()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        try:
            volume = self._make()
            stage = Stage(volume)
        except Exception as error:  # noqa: BLE001  the border of a thread: whatever the graphics driver does, the person reads why
            self._failed(f"The 3-D view does not work on this computer ({reason(error)}). The planes are not affected.")
            return
        self._ready(volume)
        try:
            while (view := self._next()) is not None:
                self._drawn(view, stage.draw(view))
        except Exception as error:  # noqa: BLE001  the border of a thread, as above
            self._failed(f"The 3-D view stopped ({reason(error)}). The planes are not affected.")
        finally:
            stage.close()

    def _next(self) -> View | None:
        with self._news:
            while self._wanted is None and not self._ended:
                self._news.wait()
            view, self._wanted = self._wanted, None
            return None if self._ended else view


def reason(error: Exception) -> str:
    """Return a few words on why drawing failed."""
    if isinstance(error, ImportError):
        return "VTK could not be loaded"
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, NoOpenGLError):
        return "there is no OpenGL 3.2"
    return type(error).__name__


class NoOpenGLError(Exception):
    """The graphics driver offers no OpenGL that VTK can use."""


class Stage:
    """VTK's scene: one volume, one camera, an off-screen window. Lives in one thread."""

    def __init__(self, volume: Volume) -> None:
        import vtkmodules.vtkRenderingOpenGL2
        import vtkmodules.vtkRenderingVolumeOpenGL2  # noqa: F401  both register themselves with VTK's factory
        from vtkmodules.util.numpy_support import numpy_to_vtk
        from vtkmodules.vtkCommonCore import vtkLogger, vtkObject
        from vtkmodules.vtkCommonDataModel import vtkImageData
        from vtkmodules.vtkCommonMath import vtkMatrix4x4
        from vtkmodules.vtkRenderingCore import vtkRenderer, vtkRenderWindow, vtkVolume, vtkVolumeProperty
        from vtkmodules.vtkRenderingVolume import vtkGPUVolumeRayCastMapper

        vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)  # it reports a missing X server, then goes on without one
        vtkObject.GlobalWarningDisplayOff()
        self._volume = volume
        slices, rows, columns = volume.levels.shape
        image = vtkImageData()
        image.SetDimensions(columns, rows, slices)
        image.GetPointData().SetScalars(numpy_to_vtk(volume.levels.ravel(), deep=True))  # type: ignore[no-untyped-call]
        self._mapper = vtkGPUVolumeRayCastMapper()
        self._mapper.SetInputData(image)
        self._mapper.AutoAdjustSampleDistancesOff()  # it would look at the voxels' sides, which the matrix below gives
        self._mapper.SetSampleDistance(0.7 * float(np.linalg.norm(volume.affine[:3, :3], axis=0).min()))
        self._property = vtkVolumeProperty()
        self._property.SetInterpolationTypeToLinear()
        actor = vtkVolume()
        actor.SetMapper(self._mapper)
        actor.SetProperty(self._property)
        matrix = vtkMatrix4x4()
        for row in range(3):
            for column, axis in enumerate((2, 1, 0, 3)):  # VTK counts (column, row, slice)
                matrix.SetElement(row, column, float(volume.affine[row, axis]))
        actor.SetUserMatrix(matrix)
        self._renderer = vtkRenderer()
        self._renderer.SetBackground(8 / 255, 9 / 255, 11 / 255)
        self._renderer.AddVolume(actor)
        self._window = vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.AddRenderer(self._renderer)
        if not self._window.SupportsOpenGL():
            raise NoOpenGLError
        self._style: VolumeStyle | None = None

    def draw(self, view: View) -> NDArray[np.uint8]:
        """Return the picture, (height, width, 3) uint8, row 0 on top."""
        from vtkmodules.util.numpy_support import vtk_to_numpy
        from vtkmodules.vtkCommonCore import vtkUnsignedCharArray

        if view.style != self._style:
            self._dress(view.style)
        width, height = view.size
        self._window.SetSize(width, height)
        camera, centre, radius = self._renderer.GetActiveCamera(), self._volume.centre_mm, self._volume.radius_mm
        camera.ParallelProjectionOn()
        camera.SetParallelScale(view.mm_a_pixel * height / 2)
        camera.SetFocalPoint(*centre)
        camera.SetPosition(*(centre + view.axes[2] * 2 * radius))
        camera.SetViewUp(*view.axes[1])
        camera.SetClippingRange(0.5 * radius, 3.5 * radius)
        self._window.Render()
        pixels = vtkUnsignedCharArray()
        self._window.GetPixelData(0, 0, width - 1, height - 1, 1, pixels, 0)
        picture: NDArray[np.uint8] = vtk_to_numpy(pixels).reshape(height, width, 3)  # type: ignore[no-untyped-call]
        return np.ascontiguousarray(picture[::-1])

    def close(self) -> None:
        """Give the graphics memory back, in the thread that took it."""
        self._window.Finalize()

    def _dress(self, style: VolumeStyle) -> None:
        from vtkmodules.vtkCommonDataModel import vtkPiecewiseFunction
        from vtkmodules.vtkRenderingCore import vtkColorTransferFunction

        self._style = style
        colour, opacity = vtkColorTransferFunction(), vtkPiecewiseFunction()
        if style == "mip":
            self._mapper.SetBlendModeToMaximumIntensity()
            _points(colour, opacity, _MIP)
            self._property.ShadeOff()
        else:
            self._mapper.SetBlendModeToComposite()
            _points(colour, opacity, _SHADED)
            self._property.ShadeOn()
            self._property.SetAmbient(0.35)
            self._property.SetDiffuse(0.7)
            self._property.SetSpecular(0.2)
            self._property.SetScalarOpacityUnitDistance(3.0)
        self._property.SetColor(colour)
        self._property.SetScalarOpacity(opacity)


def _points(colour: Any, opacity: Any, points: tuple[tuple[float, ...], ...]) -> None:
    for level, red, green, blue, solid in points:
        colour.AddRGBPoint(level, red, green, blue)
        opacity.AddPoint(level, solid)
