"""Batches, each a function of the recipe and the step alone.

Because nothing here depends on time or on the state of the run, a resumed run sees exactly what an
uninterrupted one would have seen.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from endodav.training.augmentation import change_photometry
from endodav.training.clips import HELD_OUT_SEED, Clip, ClipStore, first_seed, pool
from endodav.training.recipe import TrainRecipe
from endodav.training.sources import Choice, open_sources

IMAGE_MEAN = (0.485, 0.456, 0.406)  # ImageNet's, as all DINOv2 encoders expect
IMAGE_STD = (0.229, 0.224, 0.225)
# Of the largest crop that fits, in each direction. Not less: what is lit, and how wide the view is,
# depends on where the optical axis lies, and real frames are whole.
SMALLEST_CROP = 0.9
MAX_STRETCH = 1.15  # a crop's aspect ratio against that of the network's input
MAX_STRIDE = 2  # frames from one to the next


class Samples(NamedTuple):
    """Clips ready for the network: normalised images, inverse depth in 1/mm, where it is valid.

    `flow` is from each frame to the next in pixels, None where it is not known.
    """

    images: Float[Tensor, "batch time 3 height width"]
    inverse_depth: Float[Tensor, "batch time height width"]
    valid: Bool[Tensor, "batch time height width"]
    flow: Float[Tensor, "batch pairs 2 height width"] | None = None

    def to(self, device: torch.device) -> Samples:
        """The same on a device."""
        flow = None if self.flow is None else self.flow.to(device)
        return Samples(
            self.images.to(device), self.inverse_depth.to(device), self.valid.to(device), flow
        )


class Batch(NamedTuple):
    """What one step sees; `images` are clips of one frame, None where the recipe wants none."""

    clips: Samples
    images: Samples | None

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(self.clips.to(device), None if self.images is None else self.images.to(device))


class Batches(Dataset[Batch]):
    """Item k is the batch of step k.

    Args:
        recipe: what to draw.
        folder: of rendered clips.
        process: number of the process that the batches are for. In a step all processes see other
            frames of one size and length, so that none has to wait long for the others.
    """

    def __init__(self, recipe: TrainRecipe, folder: Path, process: int = 0) -> None:
        self._recipe = recipe
        self._process = process
        self._clips = open_sources(recipe, folder)
        scenes = recipe.of_images
        self._images = self._clips if scenes is None else open_sources(scenes, folder)

    def __len__(self) -> int:
        return self._recipe.steps

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng([self._recipe.seed, step])
        wanted = self._recipe.batch
        size = wanted.sizes[rng.integers(len(wanted.sizes))]
        length = wanted.lengths[rng.integers(len(wanted.lengths))]
        own = np.random.default_rng([self._recipe.seed, step, 1 + self._process])
        draw = partial(_samples, step=step, size=size, rng=own)
        clips = draw(self._clips, max(1, wanted.clip_frames // length), length)
        return Batch(clips, draw(self._images, wanted.images, 1) if wanted.images else None)


def _samples(
    choices: Sequence[Choice],
    count: int,
    frames: int,
    *,
    step: int,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> Samples:
    made = [augment(_draw(choices, step, rng), frames, size, rng) for _ in range(count)]
    images, inverse_depth, valid, flows = zip(*made, strict=True)
    flow = None if flows[0] is None else torch.stack(flows)
    return Samples(torch.stack(images), torch.stack(inverse_depth), torch.stack(valid), flow)


def _draw(choices: Sequence[Choice], step: int, rng: np.random.Generator) -> Clip:
    shares = [choice.share for choice in choices]
    source, _, window = choices[int(rng.choice(len(choices), p=shares))]
    clips = window(step)
    return source[clips[int(rng.integers(len(clips)))]]


def batches(
    recipe: TrainRecipe, folder: Path, first_step: int, process: int = 0
) -> Iterator[Batch]:
    """The batches of steps `first_step` and later, made ahead of time by worker processes."""
    workers = recipe.clips.workers
    loader: DataLoader[Batch] = DataLoader(
        Batches(recipe, folder, process),
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the training, which ends workers


def forget_old_clips(recipe: TrainRecipe, folder: Path, step: int) -> None:
    """Delete the rendered clips that no step from `step` on draws from."""
    for own in recipe.renderings:
        first = first_seed(own.seed, own.clips)
        old = range(first, first + pool(own.clips, step).start)
        ClipStore(folder, own.clips, own.wants_flow).forget(old)


def held_out_clips(recipe: TrainRecipe, folder: Path) -> list[Clip]:
    """Clips that no run trains on, the same for every run of this size."""
    store = ClipStore(folder, recipe.clips)
    return [store.get(HELD_OUT_SEED + k) for k in range(recipe.watch.clips)]


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
    flow: Float[Tensor, "pairs 2 height width"] | None


def augment(clip: Clip, frames: int, size: tuple[int, int], rng: np.random.Generator) -> Sample:
    """Draw `frames` frames, a view of them and a look; the geometry of all frames stays one."""
    draw = draw_times if clip.flow is None else draw_run
    times = draw(len(clip.images), frames, rng)
    view = draw_view(clip.images.shape[1:3], size, rng)
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
    flow = None
    if clip.flow is not None:
        turned = torch.from_numpy(view.flow(clip.flow[times[:-1]])).permute(0, 3, 1, 2)
        enlarged = turned.new_tensor(
            [size[1] / (columns.stop - columns.start), size[0] / (rows.stop - rows.start)]
        )
        flow = resize(turned, mode="nearest-exact") * enlarged[:, None, None]
    return Sample(normalise_images(images), inverse_depth, usable, flow)


def draw_times(available: int, frames: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Indices of `frames` frames from a random start at a random stride, turning back at the ends.

    Turning back makes long clips of short ones; and since the start lies anywhere on the way there
    and back, either direction of time is as likely.
    """
    stride = rng.integers(1, MAX_STRIDE + 1)
    period = max(1, 2 * (available - 1))
    phase = (rng.integers(period) + stride * np.arange(frames)) % period
    return np.asarray(np.minimum(phase, period - phase), np.intp)


def draw_run(available: int, frames: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Indices of `frames` frames one after the other, which flow needs."""
    return np.asarray(rng.integers(available - frames + 1) + np.arange(frames), np.intp)


class View(NamedTuple):
    """One of the eight turns and mirrorings: first transposed, then rows and columns reversed."""

    transpose: bool
    upside_down: bool
    mirror: bool

    def __call__(self, frames: NDArray[np.generic]) -> NDArray[np.generic]:
        """Frames [time, height, width, ...] in this view."""
        turned = np.swapaxes(frames, 1, 2) if self.transpose else frames
        rows, columns = (slice(None, None, -1 if back else 1) for back in self[1:])
        return np.ascontiguousarray(turned[:, rows, columns])

    def flow(self, flow: Float[np.ndarray, "pairs _ _ 2"]) -> Float[np.ndarray, "pairs _ _ 2"]:
        """A flow in this view, where its directions are turned as well."""
        turned = flow[..., ::-1] if self.transpose else flow
        signs = np.array([-1 if self.mirror else 1, -1 if self.upside_down else 1], flow.dtype)
        return np.asarray(self(turned * signs))


def draw_view(frame: tuple[int, ...], size: tuple[int, int], rng: np.random.Generator) -> View:
    """Any view is as likely, for an endoscope carries its light and knows no up.

    But wide frames stay wide where `size` is wide, and are turned where it is high: a crop would
    cost much of them otherwise.
    """
    transpose, upside_down, mirror = (bool(chance) for chance in rng.random(3) < 0.5)
    alike = (frame[1] - frame[0]) * (size[1] - size[0])
    return View(transpose if alike == 0 else alike < 0, upside_down, mirror)


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
