"""Where clips come from: the renderer, or datasets on disk, behind one small protocol."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from endodav.data.registry import open_dataset
from endodav.data.sequence import Sample, Sequence
from endodav.errors import InputError
from endodav.training.clips import Clip, ClipStore, continued, first_seed, pool
from endodav.training.recipe import DatasetSource, RenderedSource, TrainRecipe


@runtime_checkable
class ClipSource(Protocol):
    """Numbered clips; reading the same one again gives the same."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, number: int) -> Clip:
        """One of them."""
        ...


class RenderedClips:
    """The clips that a run may render, in the order in which they enter its pool.

    Args:
        store: where they are kept.
        first_seed: of the first one.
        total: how many.
        families: how often a scene is of which family; the renderer's own weights if empty.
    """

    def __init__(
        self, store: ClipStore, first_seed: int, total: int, families: dict[str, float]
    ) -> None:
        self._store = store
        self._first_seed = first_seed
        self._total = total
        self._names = sorted(families)
        weights = np.array([families[name] for name in self._names])
        self._shares = weights / weights.sum() if families else weights

    def __len__(self) -> int:
        return self._total

    def __getitem__(self, number: int) -> Clip:
        return continued(self._store.get(*self._scene(number)))

    def ensure(self, number: int) -> None:
        """Have it on disk."""
        self._store.ensure(*self._scene(number))

    def _scene(self, number: int) -> tuple[int, str | None]:
        seed = self._first_seed + number
        if not self._names:
            return seed, None
        return seed, str(np.random.default_rng(seed).choice(self._names, p=self._shares))


class DatasetClips:
    """The sequences of a dataset, cut into clips of at most `frames` frames.

    A frame without depth is not valid anywhere; a stretch of frames that all lack it is left out.

    Raises:
        InputError: there is no such dataset there, or one of its sequences has no depth at all.
    """

    def __init__(self, name: str, path: Path, frames: int) -> None:
        self._clips: list[tuple[Sequence, int, int]] = []
        for sequence in open_dataset(name, path):
            known = [ref.depth is not None for ref in sequence.refs]
            if sequence.read_depth is None or not any(known):
                raise InputError(
                    f"'{sequence.name}' in {path} has no depth for any frame: take it out, or give"
                    " it depth."
                )
            for start in range(0, len(sequence), frames):
                if any(known[start : start + frames]):
                    self._clips.append((sequence, start, start + frames))

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, number: int) -> Clip:
        sequence, start, stop = self._clips[number]
        samples = list(sequence.samples(start, stop))
        depth = np.stack([_depth_of(sample) for sample in samples])
        return Clip(np.stack([sample.image for sample in samples]), depth, depth > 0)


def _depth_of(sample: Sample) -> np.ndarray:
    if sample.depth is None:
        return np.zeros(sample.image.shape[:2], np.float32)
    return sample.depth.astype(np.float32)


class Choice(NamedTuple):
    """A source, the share of draws that are from it, and which of its clips a step may draw."""

    source: ClipSource
    share: float
    window: Callable[[int], range]


def open_sources(recipe: TrainRecipe, folder: Path) -> list[Choice]:
    """The sources of a recipe; rendered clips lie in `folder`.

    Raises:
        InputError: a dataset is not there, or a sequence of it has no depth.
    """
    weights = np.array([source.weight for source in recipe.sources])
    shares = (weights / weights.sum()).tolist()
    return [
        _open(recipe, source, share, folder)
        for source, share in zip(recipe.sources, shares, strict=True)
    ]


def rendered_clips(recipe: TrainRecipe, source: RenderedSource, folder: Path) -> RenderedClips:
    """The clips of a rendered source."""
    store = ClipStore(folder, recipe.clips, recipe.wants_flow)
    first = first_seed(recipe.seed, recipe.clips)
    return RenderedClips(store, first, recipe.clips.total, dict(source.families))


def _open(
    recipe: TrainRecipe, source: RenderedSource | DatasetSource, share: float, folder: Path
) -> Choice:
    if isinstance(source, RenderedSource):
        clips = rendered_clips(recipe, source, folder)
        return Choice(clips, share, partial(pool, recipe.clips))
    dataset = DatasetClips(source.name, source.path, recipe.clips.frames)
    return Choice(dataset, share, partial(_all_of, len(dataset)))


def _all_of(count: int, step: int) -> range:  # noqa: ARG001
    """Every clip, whatever the step."""
    return range(count)
