"""What earlier frames of a stream left, laid out as the part `next` reads it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from endodav.models.temporal import FrameEntry


class Slots:
    """Memory with a slot for each entry that a frame attends to, used again for every frame.

    Attention does not care in which order it meets the entries if it is told their places in time.
    So an entry stays in its slot for as long as frames attend to it, and a step of a stream writes
    two entries where joining all would copy tens of megabytes.
    """

    def __init__(self) -> None:
        self._held: list[FrameEntry | None] = []
        self._contexts: list[np.ndarray] = []

    def hold(self, wanted: Sequence[FrameEntry]) -> list[np.ndarray]:
        """Have exactly these entries in the slots.

        Args:
            wanted: entries, in the order of time; one may occur more than once.

        Returns:
            The place in time of each slot [entries], and for each attention what the slots hold
            [rows, columns, entries, channels]; valid until the next call.
        """
        self._fit(wanted)
        unplaced = dict(enumerate(wanted))
        order, free = np.empty(len(wanted), np.int64), []
        for slot, held in enumerate(self._held):
            place = next((k for k, entry in unplaced.items() if entry is held), None)
            if place is None:
                free.append(slot)
            else:
                order[slot] = place
                del unplaced[place]
        for slot, (place, entry) in zip(free, unplaced.items(), strict=True):
            order[slot], self._held[slot] = place, entry
            for context, part in zip(self._contexts, entry, strict=True):
                context[:, :, slot] = part.numpy()
        return [order, *self._contexts]

    def _fit(self, wanted: Sequence[FrameEntry]) -> None:
        """Empty slots of another size where the entries have changed theirs."""
        shapes = [(*x.shape[:2], len(wanted), x.shape[2]) for x in wanted[0]]
        if [x.shape for x in self._contexts] != shapes:
            self._held = [None] * len(wanted)
            self._contexts = [np.empty(shape, np.float32) for shape in shapes]
