"""Is depth better after a run, on footage without truth? By how well it explains what was held out.

Base and adapted network are looked at with the same companions, those that the run trained: its
camera, its intrinsics, its motion. The unit of depth is the companions', and adapting may have
changed it; so the base's depth is first multiplied, clip by clip, by the ratio of the medians.
Without a camera network, each depth has the motion that fits it best.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from endodav.errors import RecipeError
from endodav.evaluation.reproduction import Column, Published, Row, Table, bootstrap, in_print
from endodav.training.adaptation.batch import VideoBatch
from endodav.training.adaptation.camera import DirectCamera
from endodav.training.adaptation.data import plain_clip
from endodav.training.adaptation.footage import Footage, Place
from endodav.training.adaptation.measures import (
    believe,
    depth_disagreement,
    photometric,
)
from endodav.training.adaptation.networks import Networks
from endodav.training.adaptation.pictures import Picture, below, depth_over_time
from endodav.training.adaptation.recipe import AdaptRecipe, read_recipe
from endodav.training.adaptation.run import Adaptation
from endodav.training.adaptation.trainer import BEST_FILE, CHECKPOINT_FILE, RECIPE_FILE
from endodav.training.engine import Engine, launch

BASE, ADAPTED = "base", "adapted"
COLUMNS = {
    "photometric": Column("photometric error", 4),
    "depth": Column("depth reprojection, %", 2),
}
STRIP_FRAMES = 6


class Pair(NamedTuple):
    """A run's networks with the depth network it began with, and with the one it ended with.

    Attributes:
        recipe: of the run.
        base: its companions, and depth from before.
        adapted: the same companions, and depth from after.
    """

    recipe: AdaptRecipe
    base: Networks
    adapted: Networks


def open_run(folder: Path, device: torch.device | str = "cpu") -> Pair:
    """Networks of a run, which must keep a checkpoint: companions are in no exported file.

    Raises:
        RecipeError: the folder is not a run, or it has no base to compare with.
        WeightsError: the base is not to be had.
    """
    path = next((folder / n for n in (BEST_FILE, CHECKPOINT_FILE) if (folder / n).exists()), None)
    if path is None or not (folder / RECIPE_FILE).exists():
        raise RecipeError(
            f"{folder} lacks {RECIPE_FILE} or a checkpoint; give a folder that `endodav adapt`"
            " wrote."
        )
    recipe, engine = read_recipe(folder / RECIPE_FILE), launch(device, "fp32")
    if recipe.depth.family == "resnet":
        raise RecipeError(f"The run in {folder} has no base, so there is no depth before it.")
    stored = torch.load(path, weights_only=True, map_location=engine.device)["networks"]
    companions = {name: value for name, value in stored.items() if not name.startswith("depth.")}
    return Pair(
        recipe,
        _networks(recipe, engine, companions, path),
        _networks(recipe, engine, stored, path),
    )


def consistency_table(pair: Pair, footage: Footage, clips: int) -> Table:
    """Photometric error after warping, and disagreement of depths, before and after.

    Args:
        pair: of a run.
        footage: whose held-out part is looked at, or all of it where nothing is held out.
        clips: how many, spread evenly; each counts as a video of the table.

    Raises:
        InputError: the footage has changed since it was surveyed.
    """
    places = _places(footage, clips)
    found = np.array([_measured(pair, _clip(footage, place, pair.recipe)) for place in places])
    rows = [
        Row(name, {metric: found[None, :, row, column] for column, metric in enumerate(COLUMNS)})
        for row, name in enumerate((BASE, ADAPTED))
    ]
    return Table(
        title=f"Consistency of {pair.recipe.base} before and after adaptation",
        protocol=(
            "Self-measured on footage that the run did not train on, with its own camera, motion"
            " and intrinsics; what leaves the image counts as wrong"
            if footage.held_out
            else "Self-measured on footage given, with the run's own camera, motion and intrinsics"
        ),
        videos=[f"{footage.videos[place.video].path.name}@{place.start}" for place in places],
        rows=rows,
        published=Published("no paper"),
        columns=COLUMNS,
        baseline=BASE,
        notes=[_gain(rows, metric) for metric in COLUMNS],
        details={"recipe": pair.recipe.model_dump(mode="json")},
    )


def strips(pair: Pair, footage: Footage, clips: int) -> list[Picture]:
    """Frames of a few clips, their depth before, and their depth after, one below the other."""
    found = []
    for place in _places(footage, clips):
        clip = _clip(footage, place, pair.recipe)
        frames, before = depth_over_time(pair.base, clip, STRIP_FRAMES)
        _, after = depth_over_time(pair.adapted, clip, STRIP_FRAMES)
        found.append(below([frames, before, after]))
    return found


def _networks(
    recipe: AdaptRecipe, engine: Engine, weights: dict[str, torch.Tensor], path: Path
) -> Networks:
    run = Adaptation.of(recipe, engine, download=False)
    run.load_weights(weights, path)
    run.start.networks.eval()
    return run.start.networks


def _places(footage: Footage, clips: int) -> list[Place]:
    return footage.spread(footage.held_out or footage.spans, clips)


def _clip(footage: Footage, place: Place, recipe: AdaptRecipe) -> VideoBatch:
    return plain_clip(footage.read(place), recipe.data)


@torch.no_grad()
def _measured(pair: Pair, clip: VideoBatch) -> list[list[float]]:
    """Photometric error and disagreement in percent, of base and adapted network."""
    after = believe(pair.adapted, pair.recipe, clip)
    before = believe(pair.base, pair.recipe, clip)
    if not isinstance(pair.base.camera, DirectCamera):  # a network's motions have the run's unit
        unit = after.depth.median() / before.depth.median()
        before = before._replace(depth=unit * before.depth)
    return [
        [float(photometric(belief, clip)), 100 * float(depth_disagreement(belief, clip))]
        for belief in (before, after)
    ]


def _gain(rows: Sequence[Row], metric: str) -> str:
    base, adapted = (row.scores[metric] for row in rows)
    gain = bootstrap(100 * (base - adapted) / base.mean())
    verdict = "" if gain.significant else ", not significantly"
    title = COLUMNS[metric].title.capitalize()
    return f"{title}: {ADAPTED} is {in_print(gain, 1)} % below {BASE}{verdict}."
