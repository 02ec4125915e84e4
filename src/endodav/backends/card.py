"""What an exported folder says of itself: `model.json`, checked before anything is opened.

It is written last, so that its presence means a whole folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from endodav.backends.graphs import Size
from endodav.backends.runtime import damaged
from endodav.errors import WeightsError
from endodav.models.presets import ModelPreset
from endodav.types import DepthMeta
from endodav.weights.checkpoint import sha256_of

CARD_FILE = "model.json"


@dataclass(frozen=True)
class PartCard:
    """One part of an exported network.

    Attributes:
        inputs: their names, in order.
        outputs: their names, in order.
        files: name to SHA-256; the first is the one to open.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    files: dict[str, str]


@dataclass(frozen=True)
class Card:
    """An exported network.

    Attributes:
        format: "openvino" or "onnx".
        precision: of the arithmetic.
        size: rows and columns of its input; None if it takes any.
        preset: what it is and what its input looks like.
        meta: kind, units, licence, origin and hash of the weights.
        parts: by name.
        versions: of the packages that wrote it.
        layout: of its parts, `endodav.backends.graphs.LAYOUT`.
    """

    format: str
    precision: str
    size: Size | None
    preset: ModelPreset
    meta: DepthMeta
    parts: dict[str, PartCard]
    versions: dict[str, str]
    layout: Literal[2]

    def write(self, folder: Path) -> None:
        """Put it into a folder whose parts are there."""
        (folder / CARD_FILE).write_bytes(_JSON.dump_json(self, indent=2))


_JSON = TypeAdapter(Card)


def is_export(folder: Path) -> bool:
    """Whether `endodav export` wrote this folder."""
    return (folder / CARD_FILE).is_file()


def read_card(folder: Path) -> Card:
    """The card of an exported folder, whose files are what they were when it was written.

    Raises:
        WeightsError: the card or a file is damaged or missing.
    """
    path = folder / CARD_FILE
    try:
        card = _JSON.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise damaged(path) from error
    for part in card.parts.values():
        for name, sha256 in part.files.items():
            if not (folder / name).is_file():
                raise WeightsError(f"{folder} lacks {name}; export the model again.")
            if sha256_of(folder / name) != sha256:
                raise damaged(folder / name)
    return card
