"""Losses for video against each other, in the manner of Video Depth Anything's table 4.

Every run starts from the same network: the bundled encoder and head, which know single images, with
new motion modules, whose last layer is zero. So the first prediction is that of frame by frame,
and all that is known of time at the end was learned by the loss in question. The recipe freezes the
encoder, as the paper does. Runs of one seed see the same frames in the same order.

A random network instead would spend the few hundred steps on depth, and its temporal errors would
be those of bad depth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import nn

from endodav.data.sequence import Sequence as Video
from endodav.errors import RecipeError
from endodav.evaluation.candidates import (
    Errors,
    Report,
    as_row,
    errors_of,
    file_name,
    kept,
    summary,
)
from endodav.evaluation.protocols import PROTOCOLS, EvalFrame
from endodav.evaluation.reproduction import Published, Table
from endodav.evaluation.runner import fingerprint
from endodav.evaluation.scoring import truth_of
from endodav.inference.engine import DepthEngine
from endodav.inference.settings import InferenceSettings
from endodav.inference.windows import choose_plan
from endodav.models.depth import VideoDepthAnything
from endodav.models.presets import PRESETS
from endodav.models.temporal import MotionModules
from endodav.training.clips import ClipStore
from endodav.training.data import batches
from endodav.training.engine import launch
from endodav.training.optimiser import optimisers_of
from endodav.training.recipe import TrainRecipe
from endodav.training.run import Run
from endodav.training.schedule import AveragedWeights
from endodav.training.start import initial_model
from endodav.video.source import open_source
from endodav.weights.hub import load

METRICS = ("abs_rel", "delta1", "tae")
PROTOCOL = PROTOCOLS["vda"]
UNTRAINED, BASELINE = "untrained", "SSI"
# Fields of the recipe's loss that make each row; SSI is the spatial loss of every frame by itself.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    BASELINE: {"video": "ssi"},
    "VideoAlign": {"video": "video-align", "spatial": 0.0, "temporal": 1.0},
    "VideoAlign+SSI": {"video": "video-align", "temporal": 1.0},
    "OPW+SSI": {"video": "opw"},
    "SE+SSI": {"video": "se"},
    "TGM+SSI": {"video": "tgm"},
}
PAPER = Published(
    "Video Depth Anything, table 4",
    chosen="TGM+SSI",
    rivals=("VideoAlign", "VideoAlign+SSI", "OPW+SSI", "SE+SSI"),
)


def ablation_table(
    recipe: TrainRecipe,
    variants: Sequence[str],
    seeds: int,
    videos: Sequence[Video],
    work: Path,
    report: Report,
) -> Table:
    """Abs Rel, delta1 and TAE on held-out videos after training by each loss.

    Args:
        recipe: of every run; its loss and seed are replaced.
        variants: names out of `VARIANTS`.
        seeds: runs of each variant.
        videos: with ground truth, camera and poses; none that a run trains on.
        work: folder for clips and the results of finished runs, which are not run again.
        report: told of each run done.

    Raises:
        RecipeError: there is no such variant, clips are too short, the recipe begins with another
            one, or a training fails.
        InputError: a video cannot be scored.
        OutputError: the work folder cannot be written.
    """
    unknown = [name for name in variants if name not in VARIANTS]
    if unknown:
        raise RecipeError(f"There is no variant {unknown[0]!r}; choose from {', '.join(VARIANTS)}.")
    if recipe.before is not None:
        raise RecipeError(
            f"'init' is the recipe '{recipe.init}', which nothing trains here: train it, and let "
            "'init' name its run folder."
        )
    if max(recipe.batch.lengths) > recipe.clips.frames:
        raise RecipeError(
            f"'batch.lengths' has {max(recipe.batch.lengths)}; allowed: 1 to {recipe.clips.frames} "
            "('clips.frames'), as losses along the flow need neighbouring frames."
        )
    first = score(start(recipe, work), recipe, videos)
    report(f"{UNTRAINED}: {summary(first)}")
    runs: dict[str, list[list[Errors]]] = {UNTRAINED: [first]}
    for seed, name in product(range(seeds), variants):
        own = with_loss(recipe.model_copy(update={"seed": seed}), VARIANTS[name])
        path = work / "runs" / f"{file_name(name)}-{seed}.json"
        errors = kept(path, _made_with(own, videos), partial(run, own, videos, work))
        runs.setdefault(name, []).append(errors)
        report(f"{name}, seed {seed}: {summary(errors)}")
    return Table(
        title="Losses for video, as in Video Depth Anything's table 4",
        protocol=(
            f"{seeds} runs of {recipe.steps} steps each; protocol vda (one scale and shift a "
            "video by least squares in inverse depth, truth up to 150 mm), mean over frames, then "
            "videos and runs; TAE in VDA's convention"
        ),
        videos=[video.name for video in videos],
        rows=[as_row(name, errors, METRICS) for name, errors in runs.items()],
        published=PAPER,
        baseline=BASELINE if BASELINE in variants else None,
        details={"recipe": recipe.model_dump(mode="json"), "seeds": seeds},
    )


def run(recipe: TrainRecipe, videos: Iterable[Video], work: Path) -> list[Errors]:
    """Train once and score on each video; see `train_from_start` and `score`."""
    return score(train_from_start(recipe, work), recipe, videos)


def train_from_start(recipe: TrainRecipe, work: Path) -> nn.Module:
    """The averaged network after the steps of a recipe, from `start`.

    Raises:
        RecipeError: the loss stays without a finite value.
    """
    model = start(recipe, work)
    optimisers = optimisers_of(model, recipe.optimiser)
    average = AveragedWeights(model, recipe.optimiser.ema_decay)
    learner = Run(recipe, work, launch("cpu", "fp32"), model, average, optimisers, teacher=None)
    # Losses along the flow draw other frames than the rest; here all of them see what these see.
    drawn = with_loss(recipe, {"video": "se"})
    ClipStore(work / "clips", drawn.clips, drawn.wants_flow).tidy()
    for batch in batches(drawn, work / "clips", 0):
        learner.step(batch, learner.progress.step / recipe.steps)
    return learner.averaged_model()


def start(recipe: TrainRecipe, work: Path) -> VideoDepthAnything:
    """What the recipe begins with, its motion modules new.

    Raises:
        RecipeError: the preset is no video network.
    """
    model = initial_model(recipe, work)
    if not isinstance(model, VideoDepthAnything):
        raise RecipeError(f"'preset' is '{recipe.preset}', which has no motion modules to train.")
    torch.manual_seed(recipe.seed)
    model.motion = MotionModules(PRESETS[recipe.preset].head).train()
    return model


def with_loss(recipe: TrainRecipe, changes: Mapping[str, Any]) -> TrainRecipe:
    """The recipe with other fields of its loss."""
    return recipe.model_copy(update={"loss": recipe.loss.model_copy(update=dict(changes))})


def score(model: nn.Module, recipe: TrainRecipe, videos: Iterable[Video]) -> list[Errors]:
    """Errors on each video, in windows as long as the clips of the training.

    Raises:
        InputError: a video cannot be scored.
    """
    preset = PRESETS[recipe.preset]
    plan = choose_plan("vda", preset.max_window, max(recipe.batch.lengths))
    settings = InferenceSettings(input_size=min(recipe.batch.sizes[0]))
    engine = DepthEngine(model, preset, plan, settings)
    found: list[Errors] = []
    for video in videos:
        with open_source(sample.image for sample in video) as source:
            predictions = [frame.values for frame in engine.run(source)]
        truths = map(truth_of, video)
        clip = [EvalFrame(p, *truth) for p, truth in zip(predictions, truths, strict=True)]
        found.append(errors_of(clip, preset.kind, video, PROTOCOL))
    return found


def with_steps(recipe: TrainRecipe, steps: int) -> TrainRecipe:
    """The recipe with another number of steps and a warm-up in proportion."""
    warmup = recipe.optimiser.warmup_steps * steps // recipe.steps
    optimiser = recipe.optimiser.model_copy(update={"warmup_steps": warmup})
    return recipe.model_copy(update={"steps": steps, "optimiser": optimiser})


def _made_with(recipe: TrainRecipe, videos: Iterable[Video]) -> dict[str, Any]:
    """What decides the errors of a run."""
    return {
        "recipe": recipe.model_dump(mode="json", exclude={"watch"}),
        "start": load(recipe.init).meta.weights_sha256,
        "data": [fingerprint(video) for video in videos],
    }
