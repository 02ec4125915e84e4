"""How much of a window is in flight at once: a memory limit, turned into sizes of parts.

A clip's depth is computed in three stages, one after the other. The encoder takes whole frames, the
motion modules take pixels over all frames of the clip, the finest stages of the head take frames
again. None of them needs to see more than one frame or pixel at a time, so that how many it is
given decides memory and speed and nothing else.
"""

from __future__ import annotations

from typing import NamedTuple

from endodav.errors import RecipeError
from endodav.models.dpt import FRAMES_AT_ONCE, OUTPUT_CHANNELS
from endodav.models.presets import ModelPreset

FLOAT = 4  # bytes; half precision needs less
ENCODED_AT_ONCE = 4  # more only outgrow a CPU's caches
FEWEST_PIXELS = 256
MEBIBYTE = 2**20

# How many tensors of a stage's size PyTorch has alive at the stage's worst moment, measured as peak
# resident memory of the small and the base model between 112 and 518 pixels, and rounded up.
TOKEN_COPIES = 16
PIXEL_COPIES = 24
MAP_COPIES = 5
FULL_COPIES = 4


class Parts(NamedTuple):
    """Sizes of parts.

    Attributes:
        encoded: frames through the encoder at once.
        mixed: pixels through a motion module at once; None for all.
        finished: frames through the finest stages at once.
    """

    encoded: int = ENCODED_AT_ONCE
    mixed: int | None = None
    finished: int = FRAMES_AT_ONCE


class Costs(NamedTuple):
    """Bytes that a network needs for an input of some size.

    Attributes:
        frame: kept of one frame of a window, from the encoder to its depth.
        encoded: for one more frame in the encoder.
        mixed: for one more pixel in a motion module.
        finished: for one more frame in the finest stages.
    """

    frame: int
    encoded: int
    mixed: int
    finished: int


def costs(preset: ModelPreset, rows: int, columns: int, window: int) -> Costs:
    """What an input of rows x columns pixels costs.

    Args:
        preset: the network.
        rows: of its input.
        columns: of its input.
        window: frames of a clip.
    """
    encoder, head = preset.encoder, preset.head
    patches = -(-rows // encoder.patch_size) * -(-columns // encoder.patch_size)
    pixels = rows * columns
    maps = patches * (20 * head.features + head.out_channels[2] + head.out_channels[3] // 4)
    full = pixels * (head.features // 2 + 2 * OUTPUT_CHANNELS)
    return Costs(
        # The maps are kept, gathered for the clip, and fused halfway; the input and depth as well.
        frame=FLOAT * (2 * maps + 5 * patches * head.features + 4 * pixels),
        encoded=max(FLOAT * TOKEN_COPIES * patches * encoder.width, 1),
        mixed=max(FLOAT * PIXEL_COPIES * window * max(head.features, *head.out_channels[2:]), 1),
        finished=FLOAT * (MAP_COPIES * 64 * patches * head.features + FULL_COPIES * full),
    )


def parts_within(limit: int, held: int, needed: Costs, window: int) -> Parts:
    """The largest parts that stay within a memory limit.

    Args:
        limit: bytes that the process may hold.
        held: bytes that it holds before the first window, and will hold besides the network.
        needed: by the network.
        window: frames of a clip.

    Raises:
        RecipeError: the smallest parts are too large.
    """
    free = limit - held - window * needed.frame
    least = max(needed.encoded, FEWEST_PIXELS * needed.mixed, needed.finished)
    if free < least:
        missing = held + window * needed.frame + least
        raise RecipeError(
            f"A memory limit of {limit // MEBIBYTE} MiB is too low; allow {missing // MEBIBYTE + 1}"
            " MiB or more, or choose a smaller input size, output size or window."
        )
    return Parts(
        encoded=min(free // needed.encoded, ENCODED_AT_ONCE),
        mixed=free // needed.mixed,
        finished=min(free // needed.finished, FRAMES_AT_ONCE),
    )
