"""Depth out: any combination of formats in one run, each whole or not there at all.

Everything is written into one hidden folder beside the results and moved to its final name when
all formats are complete, so a failure, a full disk or Ctrl-C leaves nothing behind but what was
there before.
"""

from __future__ import annotations

import contextlib
import errno
import math
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

import av

from endodav.errors import OutputError, PreviewWarning
from endodav.types import DepthFrame, DepthMeta, SourceInfo
from endodav.video.ahead import behind, queue_length
from endodav.video.colormap import ColourScale, fit_colour_scale, lookup_table
from endodav.video.sinks import FORMATS
from endodav.video.sinks.format import Format, Layout, Record, Run, Writer

WARM_UP_FRAMES = 32  # one window of the video models, which arrives at once anyway
WARM_UP_BYTES = 64 * 2**20  # 8K frames would otherwise hold gigabytes back
SHARE_WORTH_SAYING = 0.01  # of pixels beyond the preview's colours

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def open_sink(
    out_dir: Path,
    formats: Sequence[str],
    *,
    meta: DepthMeta,
    info: SourceInfo,
    layout: Layout = "side-by-side",
    colormap: str = "inferno",
    overwrite: bool = False,
) -> DepthSink:
    """A sink that writes every format of one run into a folder.

    Args:
        out_dir: made if it is missing.
        formats: names from `endodav.video.sinks.FORMATS`.
        meta: what the values are; written into every result.
        info: the source they come from.
        layout: what the preview video shows.
        colormap: name in the `cmap` library; near is the bright end.
        overwrite: replace results of an earlier run.

    Raises:
        OutputError: a name is unknown, a result exists already, or the folder cannot be written.
            Raised here, before any frame has been computed.
    """
    chosen = [_find_format(name) for name in dict.fromkeys(formats)]
    if not chosen:
        raise OutputError(f"No output format was asked for: choose from {', '.join(FORMATS)}.")
    lookup_table(colormap)
    sink = DepthSink(Path(out_dir), chosen, meta, info, layout, colormap, overwrite)
    sink.check_destination()
    return sink


class DepthSink:
    """Sends each frame to the writers of all formats; made by `open_sink`.

    A thread of its own colours, encodes and writes, while the next frames are computed; see
    `endodav.video.ahead`. What goes wrong there is raised by a later `write` or on leaving the
    context, which waits until everything is written.

    Formats that show colours need a range before their first frame can be written. While it is
    fitted, at most `WARM_UP_FRAMES` frames or `WARM_UP_BYTES` are held back.
    """

    def __init__(
        self,
        out_dir: Path,
        formats: Sequence[Format],
        meta: DepthMeta,
        info: SourceInfo,
        layout: Layout,
        colormap: str,
        overwrite: bool,
    ) -> None:
        self._out_dir = out_dir
        self._formats = formats
        self._meta = meta
        self._info = info
        self._layout: Layout = layout
        self._colormap = colormap
        self._overwrite = overwrite
        self._coloured = any(chosen.coloured for chosen in formats)
        self._warm_up_frames = WARM_UP_FRAMES if self._coloured else 1
        self._pending: list[DepthFrame] = []
        self._colours: ColourScale | None = None
        self._writers: list[tuple[Format, Writer]] = []
        self._record = Record()
        self._size: tuple[int, int] | None = None
        self._staging: Path | None = None
        self._threads = contextlib.ExitStack()  # one writes, once the first frame has come
        self._hand_over: Callable[[DepthFrame], None] | None = None

    def check_destination(self) -> None:
        """Make the folder, and see that results can be put there.

        Raises:
            OutputError: they cannot, or they exist already and `overwrite` is off.
        """
        if self._out_dir.exists() and not self._out_dir.is_dir():
            raise OutputError(f"{self._out_dir} is a file: give a folder with --out.")
        with _explained(self._out_dir, "results"):
            self._out_dir.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._out_dir):
                pass
        existing = [
            chosen.filename
            for chosen in self._formats
            if (self._out_dir / chosen.filename).exists()
        ]
        if existing and not self._overwrite:
            raise OutputError(
                f"{' and '.join(existing)} in {self._out_dir} would be overwritten: "
                "choose another --out folder, or allow it with --overwrite."
            )

    def __enter__(self) -> DepthSink:
        with _explained(self._out_dir, "results"):
            staging = tempfile.mkdtemp(prefix=".endodav-", suffix=".partial", dir=self._out_dir)
        self._staging = Path(staging)
        return self

    def write(self, frame: DepthFrame) -> None:
        """Append one frame to every format; its arrays may not change any more.

        Raises:
            OutputError: this frame cannot be stored, or an earlier one could not be written.
        """
        self._check(frame)
        if self._hand_over is None:
            queue = queue_length(frame.values.nbytes + frame.image.nbytes)
            self._hand_over = self._threads.enter_context(behind(self._append, queue))
        self._hand_over(frame)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._threads.__exit__(exc_type, exc, traceback)
            if exc_type is None:
                self._complete()
        finally:
            self._discard()

    def _append(self, frame: DepthFrame) -> None:
        """Write the frame, or hold it back while the colours are not fixed."""
        if self._writers:
            self._write_all(frame)
            return
        self._pending.append(frame)
        held = sum(waiting.values.nbytes + waiting.image.nbytes for waiting in self._pending)
        if len(self._pending) >= self._warm_up_frames or held >= WARM_UP_BYTES:
            self._start_writing()

    def _check(self, frame: DepthFrame) -> None:
        """Refuse what a file could only hold wrongly."""
        lowest, highest = float(frame.values.min()), float(frame.values.max())
        if not (math.isfinite(lowest) and math.isfinite(highest)):
            raise OutputError(
                f"The depth of frame {frame.index} is not finite, so it was not written: "
                "try --precision fp32."
            )
        height, width = frame.values.shape
        self._size = self._size or (height, width)
        fixed = [chosen.name for chosen in self._formats if chosen.fixed_size]
        if fixed and (height, width) != self._size:
            first_height, first_width = self._size
            raise OutputError(
                f"Frame {frame.index} is {width}x{height} but the first was "
                f"{first_width}x{first_height}, and {', '.join(fixed)} can hold only one size: "
                f"give --output-size {first_width}x{first_height}."
            )

    def _start_writing(self) -> None:
        """Fix the colours, make the writers and let them have what was held back."""
        assert self._staging is not None, "frames are written inside the sink's context"
        assert self._size is not None
        first, self._pending = self._pending, []
        colours = fit_colour_scale(
            [frame.values for frame in first], self._meta.kind, self._colormap
        )
        self._colours = colours if self._coloured else None
        run = Run(self._meta, self._info, self._size, self._layout, colours)
        for chosen in self._formats:
            with _explained(self._out_dir, chosen.filename):
                writer = chosen.writer(self._staging / chosen.filename, run)
            self._writers.append((chosen, writer))
        for frame in first:
            self._write_all(frame)

    def _write_all(self, frame: DepthFrame) -> None:
        self._record.add(frame, self._colours)
        for chosen, writer in self._writers:
            with _explained(self._out_dir, chosen.filename):
                writer.write(frame)

    def _complete(self) -> None:
        """Finish every format, and only then move any of them into place."""
        if self._pending:
            self._start_writing()
        if not self._writers:
            raise OutputError("There was no frame to write: check the input, --start and --end.")
        for chosen, writer in self._writers:
            with _explained(self._out_dir, chosen.filename):
                writer.finish(self._record)
        self.check_destination()
        for chosen, _ in self._writers:
            self._move_into_place(chosen.filename)
        if self._record.share_outside >= SHARE_WORTH_SAYING:
            warnings.warn(
                f"{self._record.share_outside:.1%} of the pixels lie beyond the preview's colours, "
                "which were fixed at the start of the video; the data formats hold their true "
                "values.",
                PreviewWarning,
                stacklevel=2,
            )

    def _move_into_place(self, filename: str) -> None:
        assert self._staging is not None
        final = self._out_dir / filename
        with _explained(self._out_dir, filename):
            if final.is_dir():  # a folder cannot be replaced in one step; it goes with the staging
                final.rename(self._staging / f"replaced-{filename}")
            (self._staging / filename).replace(final)

    def _discard(self) -> None:
        """Close everything and remove what was not moved into place."""
        for _, writer in self._writers:
            with contextlib.suppress(OSError, av.FFmpegError):  # what it cannot flush is not wanted
                writer.close()
        if self._staging is not None:
            shutil.rmtree(self._staging, ignore_errors=True)


def _find_format(name: str) -> Format:
    if name not in FORMATS:
        raise OutputError(f"There is no output format '{name}': choose from {', '.join(FORMATS)}.")
    return FORMATS[name]


@contextlib.contextmanager
def _explained(out_dir: Path, filename: str) -> Iterator[None]:
    """Turn what the system reports into one sentence that says what to do."""
    try:
        yield
    except (OSError, av.FFmpegError) as error:
        reason = error.strerror or str(error)
        full = error.errno in DISK_FULL
        advice = "free some space there" if full else "check that it can be written"
        raise OutputError(
            f"Cannot write {filename} to {out_dir} ({reason}): "
            f"{advice}, or choose another folder with --out."
        ) from error
