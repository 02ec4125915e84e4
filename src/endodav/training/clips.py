"""Clips on disk: rendered once, by whoever needs them first, and forgotten when they are old."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8

from endodav.synthetic import GENERATION, render_clip
from endodav.training.recipe import ClipsRecipe

SEEDS_PER_RUN = 1_000_000  # clips of different runs differ
HELD_OUT_SEED = 1000 * SEEDS_PER_RUN  # seeds from here on belong to evaluation
SEED_DIGITS = 10
PATIENCE = 120.0  # seconds to wait for a clip that another process renders
POLL = 0.02  # seconds between two looks whether it is there


class Clip(NamedTuple):
    """A clip with its ground truth.

    Attributes:
        images: sRGB, 8 bits.
        depth: Z-depth in millimetres along the optical axis.
        valid: where the depth is known.
        flow: from each frame to the next in pixels, x before y; None where it is not known.
    """

    images: UInt8[np.ndarray, "time height width 3"]
    depth: Float[np.ndarray, "time height width"]
    valid: Bool[np.ndarray, "time height width"]
    flow: Float[np.ndarray, "pairs height width 2"] | None = None


def continued(clip: Clip) -> Clip:
    """The clip with depth everywhere: where it is unknown, inverse depth goes on smoothly.

    What lies outside the field of view is black, and a network that nobody tells what to say there
    says something that leaks over the rim. Unknown pixels take the mean of the known ones in the
    smallest square of a pyramid that holds any.
    """
    valid = torch.from_numpy(clip.valid)[:, None].float()
    depth = torch.from_numpy(clip.depth)[:, None]
    inverse = torch.where(valid > 0, 1 / depth.clamp(min=1e-6), torch.zeros_like(depth))
    size = clip.valid.shape[1:]
    found, known, coarse, weight = inverse, valid > 0, inverse, valid
    while not known.all() and max(coarse.shape[-2:]) > 1:
        coarse = F.avg_pool2d(coarse * weight, 2, ceil_mode=True, count_include_pad=False)
        share = F.avg_pool2d(weight, 2, ceil_mode=True, count_include_pad=False)
        coarse, weight = coarse / share.clamp(min=1e-6), (share > 0).float()
        here = F.interpolate(weight, size, mode="nearest-exact") > 0
        enlarged = (F.interpolate(x, size, mode="bilinear") for x in (coarse * weight, weight))
        mean = torch.div(*(x.clamp(min=1e-12) for x in enlarged))
        found = torch.where(known | ~here, found, mean)
        known = known | here
    depth = torch.where(known, 1 / found.clamp(min=1e-9), torch.zeros_like(found))
    return clip._replace(depth=depth[:, 0].numpy(), valid=known[:, 0].numpy())


class ClipStore:
    """Rendered clips by seed, made when first asked for and kept in `folder`.

    Several processes may share it. A claim, a file that only one of them can create, keeps two from
    rendering the same clip.

    Args:
        folder: made if absent. Clips of another generation of the renderer in it are left alone.
        recipe: size of the clips, and their strides.
        flow: whether they come with flow.
    """

    def __init__(self, folder: Path, recipe: ClipsRecipe, flow: bool = False) -> None:
        self._shape = (recipe.frames, recipe.height, recipe.width)
        self._strides = recipe.strides
        self._device = recipe.device
        self._flow = flow
        kind = "x".join(map(str, self._shape)) + ("-flow" if flow else "")
        if recipe.strides != (1,):
            kind += "-strides-" + "-".join(map(str, recipe.strides))
        self._folder = folder / f"rendered-{GENERATION}" / kind
        self._folder.mkdir(parents=True, exist_ok=True)

    def get(self, seed: int, family: str | None = None) -> Clip:
        """The clip of a seed, of the family that the seed decides on or of a given one."""
        with np.load(self.ensure(seed, family)) as stored:
            depth = stored["depth"].astype(np.float32)
            flow = stored["flow"].astype(np.float32) if self._flow else None
            return Clip(stored["images"], depth, depth > 0, flow)

    def ensure(self, seed: int, family: str | None = None) -> Path:
        """Have the clip on disk: render it, or wait for the process that does."""
        path = self._folder / f"{seed:0{SEED_DIGITS}d}{'-' if family else ''}{family or ''}.npz"
        if path.exists():
            return path
        claim = path.with_suffix(".claim")
        try:
            claim.touch(exist_ok=False)
        except FileExistsError:
            _wait(path, claim)
        try:
            if not path.exists():
                self._render(seed, family, path)
        finally:
            claim.unlink(missing_ok=True)
        return path

    def tidy(self) -> None:
        """Remove what a process left behind that was killed; only before others use the store."""
        for pattern in ("*.claim", "*.partial.npz"):
            for path in self._folder.glob(pattern):
                path.unlink(missing_ok=True)

    def forget(self, seeds: range) -> None:
        """Delete the clips of these seeds; they are rendered again where one is asked for."""
        for path in self._folder.glob("*.npz"):
            if int(path.name[:SEED_DIGITS]) in seeds:
                path.unlink(missing_ok=True)

    def _render(self, seed: int, family: str | None, path: Path) -> None:
        clip = render_clip(
            seed,
            *self._shape,
            family,
            device=self._device,
            flow=self._flow,
            stride=self._strides[seed % len(self._strides)],
        )
        partial = path.with_name(f"{path.stem}.{os.getpid()}.partial.npz")
        # float16 keeps three digits of a depth in millimetres, a tenth of what the loss resolves;
        # depth is 0 where it is not valid.
        arrays = {"images": clip.images, "depth": clip.depth.astype(np.float16)}
        if clip.flow is not None:
            arrays["flow"] = clip.flow.astype(np.float16)
        with partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        partial.replace(path)


def _wait(path: Path, claim: Path) -> None:
    """Until the clip is there, its renderer gave up, or it must have died."""
    deadline = time.monotonic() + PATIENCE
    while claim.exists() and not path.exists() and time.monotonic() < deadline:
        time.sleep(POLL)


def pool(recipe: ClipsRecipe, step: int) -> range:
    """Numbers of the clips that step `step` draws from: the newest `keep` of those made by then."""
    made = clips_made(recipe, step)
    return range(max(0, made - recipe.keep), made)


def first_seed(run_seed: int, recipe: ClipsRecipe) -> int:
    """Seed of the first clip of a run."""
    return run_seed * SEEDS_PER_RUN + recipe.first


def clips_made(recipe: ClipsRecipe, step: int) -> int:
    """How many clips the run has begun to use by step `step`."""
    return min(recipe.total, recipe.at_start + int(step * recipe.per_step))
