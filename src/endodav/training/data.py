"""Batches of rendered clips, each a function of the recipe and the step alone.

Rendering is slow and deterministic, so every clip is rendered once, when a step first draws it, and
kept on disk. Because nothing here depends on time or on the state of the run, a resumed run sees
exactly what an uninterrupted one would have seen.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from endodav.synthetic import render_clip
from endodav.training.augmentation import change_photometry
from endodav.training.recipe import ClipsRecipe, TrainRecipe

IMAGE_MEAN = (0.485, 0.456, 0.406)  # ImageNet's, as all DINOv2 encoders expect
IMAGE_STD = (0.229, 0.224, 0.225)
SEEDS_PER_RUN = 1_000_000  # clips of different runs differ
HELD_OUT_SEED = 1000 * SEEDS_PER_RUN  # seeds from here on belong to evaluation
SMALLEST_CROP = 0.6  # of the largest crop that fits, in each direction
MAX_STRETCH = 1.15  # a crop's aspect ratio against that of the network's input
MAX_STRIDE = 2  # frames from one to the next


class Clip(NamedTuple):
    """A rendered clip as it lies on disk; depth in millimetres along the optical axis."""

    images: UInt8[np.ndarray, "time height width 3"]
    depth: Float[np.ndarray, "time height width"]
    valid: Bool[np.ndarray, "time height width"]


class Samples(NamedTuple):
    """Clips ready for the network: normalised images, inverse depth in 1/mm, where it is valid."""

    images: Float[Tensor, "batch time 3 height width"]
    inverse_depth: Float[Tensor, "batch time height width"]
    valid: Bool[Tensor, "batch time height width"]


class Batch(NamedTuple):
    """What one step sees; `images` are clips of one frame, None where the recipe wants none."""

    clips: Samples
    images: Samples | None


class ClipStore:
    """Rendered clips by seed, made when first asked for and kept in `folder`."""

    def __init__(self, folder: Path, recipe: ClipsRecipe) -> None:
        self._shape = (recipe.frames, recipe.height, recipe.width)
        self._folder = folder / "x".join(map(str, self._shape))
        self._folder.mkdir(parents=True, exist_ok=True)

    def __getitem__(self, seed: int) -> Clip:
        path = self._folder / f"{seed:010d}.npz"
        if not path.exists():
            self._render(seed, path)
        with np.load(path) as stored:
            return Clip(stored["images"], stored["depth"].astype(np.float32), stored["valid"])

    def _render(self, seed: int, path: Path) -> None:
        clip = render_clip(seed, *self._shape)
        partial_path = path.with_name(f"{path.stem}.{os.getpid()}.partial.npz")
        # float16 keeps three digits of a depth in millimetres, a tenth of what the loss resolves.
        np.savez(
            partial_path,
            images=clip.images,
            depth=clip.depth.astype(np.float16),
            valid=clip.valid,
        )
        partial_path.replace(path)


class RenderedBatches(Dataset[Batch]):
    """Item k is the batch of step k."""

    def __init__(self, recipe: TrainRecipe, folder: Path) -> None:
        self._recipe = recipe
        self._store = ClipStore(folder, recipe.clips)

    def __len__(self) -> int:
        return self._recipe.steps

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng([self._recipe.seed, step])
        wanted = self._recipe.batch
        size = wanted.sizes[rng.integers(len(wanted.sizes))]
        draw = partial(self._samples, step=step, size=size, rng=rng)
        length = wanted.lengths[rng.integers(len(wanted.lengths))]
        clips = draw(max(1, wanted.clip_frames // length), length)
        return Batch(clips, draw(wanted.images, 1) if wanted.images else None)

    def _samples(
        self, count: int, frames: int, *, step: int, size: tuple[int, int], rng: np.random.Generator
    ) -> Samples:
        pool = pool_size(self._recipe.clips, step)
        first = self._recipe.seed * SEEDS_PER_RUN
        made = [
            augment(self._store[first + int(rng.integers(pool))], frames, size, rng)
            for _ in range(count)
        ]
        return Samples(*(torch.stack(parts) for parts in zip(*made, strict=True)))


def pool_size(recipe: ClipsRecipe, step: int) -> int:
    """How many different clips step `step` chooses from."""
    return min(recipe.total, recipe.at_start + int(step * recipe.per_step))


def batches(recipe: TrainRecipe, folder: Path, first_step: int) -> Iterator[Batch]:
    """The batches of steps `first_step` and later, made ahead of time by worker processes."""
    workers = recipe.clips.workers
    loader: DataLoader[Batch] = DataLoader(
        RenderedBatches(recipe, folder),
        batch_size=None,
        sampler=range(first_step, recipe.steps),
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
        prefetch_factor=8 if workers else None,
        worker_init_fn=_be_one_thread if workers else None,
    )
    yield from loader


def _be_one_thread(worker: int) -> None:  # noqa: ARG001
    torch.set_num_threads(1)


def held_out_clips(recipe: TrainRecipe, folder: Path) -> list[Clip]:
    """Clips that no run trains on, the same for every run of this size."""
    store = ClipStore(folder, recipe.clips)
    return [store[HELD_OUT_SEED + k] for k in range(recipe.watch.clips)]


def normalise_images(
    images: Float[Tensor, "time 3 height width"],
) -> Float[Tensor, "time 3 height width"]:
    """From 0..1 to ImageNet's mean and deviation."""
    mean, std = images.new_tensor(IMAGE_MEAN), images.new_tensor(IMAGE_STD)
    return (images - mean[:, None, None]) / std[:, None, None]


class Sample(NamedTuple):
    """One clip of `Samples`."""

    images: Float[Tensor, "time 3 height width"]
    inverse_depth: Float[Tensor, "time height width"]
    valid: Bool[Tensor, "time height width"]


def augment(clip: Clip, frames: int, size: tuple[int, int], rng: np.random.Generator) -> Sample:
    """Draw `frames` frames, a view of them and a look; the geometry of all frames stays one."""
    times = draw_times(len(clip.images), frames, rng)
    view = draw_view(rng)
    images = torch.from_numpy(view(clip.images[times])).permute(0, 3, 1, 2).float() / 255
    depth = torch.from_numpy(view(clip.depth[times]))[:, None]
    valid = torch.from_numpy(view(clip.valid[times]))[:, None]
    rows, columns = draw_crop(images.shape[2], images.shape[3], size, rng)
    resize = partial(_resize_crop, rows=rows, columns=columns, size=size)
    # A mean over an edge would be a depth that is nowhere, so labels are picked, not mixed.
    depth, valid = (resize(x.float(), mode="nearest-exact")[:, 0] for x in (depth, valid))
    images = resize(images, mode="bilinear", antialias=bool(rng.random() < 0.5))
    images = change_photometry(images, rng)
    usable = (valid > 0) & (depth > 0)
    inverse_depth = torch.where(usable, 1 / depth.clamp(min=1e-6), torch.zeros_like(depth))
    return Sample(normalise_images(images), inverse_depth, usable)


def draw_times(available: int, frames: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Indices of `frames` frames from a random start at a random stride, turning back at the ends.

    Turning back makes long clips of short ones; and since the start lies anywhere on the way there
    and back, either direction of time is as likely.
    """
    stride = rng.integers(1, MAX_STRIDE + 1)
    period = max(1, 2 * (available - 1))
    phase = (rng.integers(period) + stride * np.arange(frames)) % period
    return np.asarray(np.minimum(phase, period - phase), np.intp)


def draw_view(rng: np.random.Generator) -> Callable[[NDArray[np.generic]], NDArray[np.generic]]:
    """One of the eight turns and mirrorings: an endoscope carries its light and knows no up."""
    transpose, upside_down, mirror = rng.random(3) < 0.5

    def view(frames: NDArray[np.generic]) -> NDArray[np.generic]:
        turned = np.swapaxes(frames, 1, 2) if transpose else frames
        return np.ascontiguousarray(turned[:, :: -1 if upside_down else 1, :: -1 if mirror else 1])

    return view


def draw_crop(
    height: int, width: int, size: tuple[int, int], rng: np.random.Generator
) -> tuple[slice, slice]:
    """Rows and columns of a crop of nearly the aspect ratio of `size`."""
    stretch = MAX_STRETCH ** rng.uniform(-1, 1)
    wanted = np.array([size[0] * stretch, size[1] / stretch])
    largest = float(np.min([height, width] / wanted))
    extent = np.maximum(1, (wanted * largest * rng.uniform(SMALLEST_CROP, 1)).astype(int))
    top = int(rng.integers(height - extent[0] + 1))
    left = int(rng.integers(width - extent[1] + 1))
    return slice(top, top + int(extent[0])), slice(left, left + int(extent[1]))


def _resize_crop(
    images: Float[Tensor, "time channels _ _"],
    *,
    rows: slice,
    columns: slice,
    size: tuple[int, int],
    mode: str,
    antialias: bool = False,
) -> Float[Tensor, "time channels _ _"]:
    return F.interpolate(images[:, :, rows, columns], size, mode=mode, antialias=antialias)
