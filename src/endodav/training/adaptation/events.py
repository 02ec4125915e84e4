"""Event files for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from endodav.errors import RecipeError
from endodav.training.adaptation.pictures import Picture

INSTALL = "pip install 'endodav[tensorboard]'"


class EventFiles:
    """Numbers and pictures of a run in `folder`, for `tensorboard --logdir`.

    Args:
        folder: of the event files; what they say of steps after `step` no longer counts.
        step: that the run goes on from.

    Raises:
        RecipeError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise RecipeError(f"--tensorboard needs TensorBoard: {INSTALL}.") from error
        self._writer: Any = SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, record: Mapping[str, Any]) -> None:
        """The numbers of one line of the log, nested ones by `name/inner`."""
        step = record["step"]
        for name, value in record.items():
            inner = value if isinstance(value, Mapping) else {"": value}
            for part, number in inner.items():
                self._writer.add_scalar(f"{name}/{part}".rstrip("/"), float(number), step)
        self._writer.flush()

    def show(self, name: str, picture: Picture, step: int) -> None:
        """One picture."""
        self._writer.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()
