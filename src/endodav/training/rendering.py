"""Processes that render the clips of coming steps while the network trains on earlier ones."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import torch

from endodav.training.clips import clips_made, pool
from endodav.training.recipe import RenderedSource, TrainRecipe
from endodav.training.sources import rendered_clips

POLL = 0.1  # seconds between two looks how far the training has come


@contextmanager
def rendering_ahead(
    recipe: TrainRecipe, folder: Path, first_step: int, wanted: bool = True
) -> Iterator[Synchronized[int]]:
    """Render in as many processes as the recipe says, as long as the context lasts, if `wanted`.

    Yields:
        The step that the training has reached, for the caller to set.
    """
    context = multiprocessing.get_context("spawn")
    step: Synchronized[int] = context.Value("q", first_step)
    processes = [
        context.Process(target=_render_ahead, args=(own, folder, number, step), daemon=True)
        for own in recipe.renderings
        for number in range(own.clips.renderers if wanted else 0)
    ]
    for process in processes:
        process.start()
    try:
        yield step
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def _render_ahead(recipe: TrainRecipe, folder: Path, number: int, step: Synchronized[int]) -> None:
    """Render every clip whose number is `number` modulo the renderers, `ahead` clips in advance."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the training, which ends us
    clips, parent = recipe.clips, os.getppid()
    sources = [
        rendered_clips(recipe, source, folder)
        for source in recipe.sources
        if isinstance(source, RenderedSource)
    ]
    for index in range(pool(clips, step.value).start, clips.total):
        if index % clips.renderers != number:
            continue
        while index >= clips_made(clips, step.value) + clips.ahead:
            time.sleep(POLL)
            if os.getppid() != parent:  # the training was killed
                return
        for source in sources:
            source.ensure(index)
