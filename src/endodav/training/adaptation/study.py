"""EndoDAV's table 2 on rendered video: projection loss in training, alignment in inference.

Each run adapts a deliberately weakened `endodav-tiny` to unlabelled videos of one rendered
endoscope and is scored on some of these, whose truth it never saw, and on others. Weakened means:
rows and columns of every weight that an adapter sits on are multiplied by exp(s n), n normal and
s = `WEAKNESS`. SSB adapters can undo exactly this, so what comes back is what the losses taught.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from itertools import chain, product
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from endodav.data.sequence import Pose, Sample
from endodav.data.sequence import Sequence as Video
from endodav.errors import RecipeError
from endodav.evaluation.candidates import (
    Errors,
    Report,
    as_row,
    kept,
)
from endodav.evaluation.intrinsics import intrinsics_compute, intrinsics_update
from endodav.evaluation.papers import ALIGNED, TABLE2, UNALIGNED
from endodav.evaluation.protocols import PROTOCOLS, EvalFrame
from endodav.evaluation.reproduction import (
    COLUMNS,
    Column,
    Interval,
    Row,
    Table,
    bootstrap,
    in_print,
)
from endodav.evaluation.runner import fingerprint
from endodav.evaluation.scoring import score_video, truth_of
from endodav.evaluation.trajectory import pose_compute, pose_update
from endodav.inference.engine import DepthEngine
from endodav.inference.windows import choose_plan
from endodav.models.adapters import adapted_layers
from endodav.training.adaptation.camera import Sighting, look
from endodav.training.adaptation.data import plain_clip
from endodav.training.adaptation.footage import Footage, RawClip
from endodav.training.adaptation.networks import Networks, disparities
from endodav.training.adaptation.recipe import AdaptRecipe, DataRecipe, RegistrationLossRecipe
from endodav.training.adaptation.run import Adaptation
from endodav.training.adaptation.start import Start
from endodav.training.adaptation.study_footage import Shooting, film
from endodav.training.adaptation.terms import full_depths
from endodav.training.engine import launch
from endodav.video.source import open_source
from endodav.weights.hub import load

WEAKNESS = 1.0  # 0.75 changes little, 1.25 leaves nearly nothing
WINDOW = 16  # frames, so that a short video has several windows
GAP = 2  # frames between the two that the camera network sees
FOCAL_TOLERANCE = 15.0  # percent
PAPER_GAINS = {"abs_rel": 20, "tae": 62}  # percent from neither to both; EndoDAV, table 2
WEAKENED = "weakened"
PROJECTIONS = {None: "weakened", False: "without", True: "with"}  # None: not adapted
STRATEGIES = (UNALIGNED, ALIGNED)
NAMES = {  # of the rows, by projection loss and strategy; but for the first the paper's
    (None, ALIGNED): WEAKENED,
    (False, UNALIGNED): "neither",
    (True, UNALIGNED): "projection loss",
    (False, ALIGNED): "alignment",
    (True, ALIGNED): "both",
}
SHOWN: Mapping[str, Column] = {
    "abs_rel": COLUMNS["abs_rel"],
    "tae": COLUMNS["tae"],
    "abs_rel_vda": Column("Abs Rel (vda)"),
    "tae_vda": Column("TAE (vda)", 2),
    "ate": Column("ATE, mm", 3),
    "rotation": Column("rotation, deg", 2),
    "focal": Column("focal length, %", 1),
}


def study_tables(
    recipe: AdaptRecipe,
    seeds: int,
    work: Path,
    report: Report,
    shooting: Shooting = Shooting(),  # noqa: B008 - frozen
) -> dict[str, Table]:
    """Depth, its consistency, motion and camera after adaptation, with and without each part.

    Args:
        recipe: of every run, for EndoDAV; its projection loss and seed are replaced.
        seeds: of weakness, new weights and clips.
        work: folder for videos and the results of finished runs, which are not run again.
        report: told of each run done.
        shooting: the videos.

    Returns:
        A table of the "seen" videos, to which the runs adapted, and one of the "unseen".

    Raises:
        RecipeError: the recipe is not EndoDAV's, or has no projection loss to leave out.
        OutputError: the work folder cannot be written.
    """
    check(recipe)
    filmed = film(shooting, work / "footage")
    footage = Footage.open(filmed.unlabelled, recipe.frames)
    videos = list(chain(*filmed.scored.values()))
    runs: dict[str, list[list[Errors]]] = {name: [] for name in NAMES.values()}
    for seed, projection in product(range(seeds), PROJECTIONS):
        own = variant(recipe, seed, bool(projection))
        path = work / "runs" / f"{PROJECTIONS[projection]}-{seed}.json"
        make = partial(_run, own, None if projection is None else footage, videos, work)
        errors = kept(path, _made_with(own, shooting, videos), make)
        parts = errors[: len(videos)], errors[len(videos) :]
        for strategy, part in zip(STRATEGIES, parts, strict=True):
            report(f"{PROJECTIONS[projection]}, seed {seed}, {strategy}: {_summary(part)}")
            if (projection, strategy) in NAMES:
                runs[NAMES[projection, strategy]].append(part)
    tables, first = {}, 0
    for group, own_videos in filmed.scored.items():
        which = slice(first, first + len(own_videos))
        rows = [as_row(n, [errors[which] for errors in r], SHOWN) for n, r in runs.items()]
        tables[group] = _table(recipe, seeds, group, own_videos, rows)
        first = which.stop
    return tables


def _table(
    recipe: AdaptRecipe, seeds: int, group: str, videos: Sequence[Video], rows: list[Row]
) -> Table:
    return Table(
        title=f"Projection loss and alignment after adaptation, {group} videos",
        protocol=(
            f"As in EndoDAV's table 2: {seeds} seeds, {recipe.schedule.steps} steps each, from "
            f"{recipe.base} weakened by gains of exp({WEAKNESS} n); windows of {WINDOW}; protocols "
            "endodav and vda (one scale and shift a video), mean over frames, videos and runs"
        ),
        videos=[video.name for video in videos],
        rows=rows,
        published=TABLE2,
        columns=SHOWN,
        baseline=WEAKENED,
        notes=list(_notes({row.name: row for row in rows})),
        details={"recipe": recipe.model_dump(mode="json"), "seeds": seeds, "weakness": WEAKNESS},
    )


def check(recipe: AdaptRecipe) -> None:
    """See that the study makes sense for a recipe.

    Raises:
        RecipeError: it does not train EndoDAV, or has no projection loss to leave out.
    """
    if recipe.depth.family != "endodav" or not isinstance(recipe.loss, RegistrationLossRecipe):
        raise RecipeError(f"'{recipe.name}' does not train EndoDAV; choose a recipe that does.")
    if not recipe.loss.projection:
        raise RecipeError("'loss.projection' is 0, so there is nothing to leave out; set it.")


def with_steps(recipe: AdaptRecipe, steps: int) -> AdaptRecipe:
    """The recipe with another number of steps, what happens at a step moved in proportion."""
    schedule = recipe.schedule
    moved = {
        "steps": steps,
        "depth_from": schedule.depth_from * steps // schedule.steps,
        "decay_steps": max(1, schedule.decay_steps * steps // schedule.steps),
    }
    return recipe.model_copy(update={"schedule": schedule.model_copy(update=moved)})


def variant(recipe: AdaptRecipe, seed: int, projection: bool) -> AdaptRecipe:
    """The recipe with a seed, with its projection loss or without it."""
    changes = {} if projection else {"projection": 0.0, "flow_projection": 0.0}
    return recipe.model_copy(update={"seed": seed, "loss": recipe.loss.model_copy(update=changes)})


def _run(
    recipe: AdaptRecipe, footage: Footage | None, videos: Sequence[Video], work: Path
) -> list[Errors]:
    """Adapt, unless there is no footage, and score: all videos by each of `STRATEGIES`."""
    run = _begun(recipe) if footage is None else _adapted(recipe, footage, work)
    networks = run.start.networks.eval()
    cameras = []
    for video in videos:
        still = {} if footage is not None else camera_errors(None, video, recipe.data.size)
        cameras.append(camera_errors(networks, video, recipe.data.size) | still)
    return [
        depth_errors(run.start, strategy, video) | camera
        for strategy in STRATEGIES
        for video, camera in zip(videos, cameras, strict=True)
    ]


def _begun(recipe: AdaptRecipe) -> Adaptation:
    run = Adaptation.of(recipe, launch("cpu", "fp32"), download=False)
    weaken(run.start.networks.depth, recipe.seed)
    return run


def _adapted(recipe: AdaptRecipe, footage: Footage, work: Path) -> Adaptation:
    """A run at its end.

    While depth waits, only the companions learn, and the runs of a seed share what they learned.
    """
    plain = variant(recipe, recipe.seed, projection=False)
    digest = sha256(plain.model_dump_json(exclude={"watch"}).encode()).hexdigest()[:12]
    warm = work / "companions" / f"{recipe.seed}-{digest}.pt"
    if not warm.exists():
        run = _begun(plain)
        run.settle_unit(footage)
        _learn(run, footage, recipe.taught + recipe.schedule.depth_from)
        warm.parent.mkdir(parents=True, exist_ok=True)
        run.save(warm)
    run = _begun(recipe)
    run.restore(warm)
    _learn(run, footage, run.steps)
    return run


def _learn(run: Adaptation, footage: Footage, until: int) -> None:
    while run.progress.step < until:
        run.step(run.draw(footage, run.progress.step))


def depth_errors(begun: Start, strategy: str, video: Video) -> dict[str, float]:
    """Abs Rel and TAE of a video in windows, under both protocols."""
    preset = begun.preset
    engine = DepthEngine(
        begun.networks.depth, preset, choose_plan(strategy, preset.max_window, WINDOW)
    )
    with open_source(sample.image for sample in video) as source:
        maps = [frame.values for frame in engine.run(source)]
    truths = map(truth_of, video)
    clip = [EvalFrame(values, *truth) for values, truth in zip(maps, truths, strict=True)]
    errors: dict[str, float] = {}
    for name, suffix in (("endodav", ""), ("vda", "_vda")):
        tae = f"tae_{name}"
        found = score_video(clip, preset.kind, video, PROTOCOLS[name], ("abs_rel", tae)).metrics
        errors |= {f"abs_rel{suffix}": found["abs_rel"], f"tae{suffix}": found[tae]}
    return errors


def weaken(depth: nn.Module, seed: int) -> None:
    """Multiply rows and columns of every adapted weight by random gains; in place."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, layer in adapted_layers(depth):
            rows, columns = layer.weight.shape
            for shape in ((rows, 1), (1, columns)):
                layer.weight.mul_((WEAKNESS * torch.randn(shape, generator=generator)).exp())


def camera_errors(
    networks: Networks | None, video: Video, size: tuple[int, int]
) -> dict[str, float]:
    """Errors of motion and intrinsics on a video with known camera.

    Args:
        networks: in evaluation mode; None for a camera that stands still.
        video: with poses and intrinsics.
        size: rows and columns that the networks see.

    Returns:
        "ate" in mm after a scale fit, over five frames; "rotation" in degrees; and, for networks,
        "focal", the mean error of both focal lengths in percent of the truth.
    """
    frames = list(video)[::GAP]
    poses = np.stack([cast(Pose, frame.T_world_from_camera) for frame in frames])
    true = np.linalg.inv(poses[2:]) @ poses[1:-1]  # of targets, which have a frame on each side
    if networks is None:
        motion = pose_compute(pose_update(true, np.tile(np.eye(4), (len(true), 1, 1))))
        return {"ate": motion.ate, "rotation": float(np.degrees(motion.rotation))}
    found = [_seen(networks, clip, size) for clip in _clips(frames)]
    motions = torch.cat([sighting.motions[1] for sighting in found]).numpy()
    motion = pose_compute(pose_update(true, motions))
    height, width = frames[0].image.shape[:2]
    assert video.intrinsics is not None
    K_true = np.diag([size[1] / width, size[0] / height, 1.0]) @ video.intrinsics
    by_frame = torch.cat([sighting.intrinsics for sighting in found]).numpy()
    intrinsics = [intrinsics_update(K, K_true, *size) for K in by_frame]
    errors = intrinsics_compute(sum(intrinsics[1:], intrinsics[0])).relative_error
    return {
        "ate": motion.ate,
        "rotation": float(np.degrees(motion.rotation)),
        "focal": float(100 * errors[:2].mean()),
    }


def _clips(frames: Sequence[Sample]) -> Iterator[RawClip]:
    """The frames as clips of at most a window of targets, each target in one of them."""
    for start in range(0, len(frames) - 2, WINDOW):
        images = np.stack([frame.image for frame in frames[start : start + WINDOW + 2]])
        yield RawClip(images, np.ones(images.shape[1:3], bool), None)


@torch.inference_mode()
def _seen(networks: Networks, clip: RawClip, size: tuple[int, int]) -> Sighting:
    batch = plain_clip(clip, DataRecipe(size=size, mask_highlights=False))
    depth = full_depths(disparities(networks, batch.targets()), size)[0]
    return look(networks.camera, batch, depth)


def _made_with(recipe: AdaptRecipe, shooting: Shooting, videos: Sequence[Video]) -> dict[str, Any]:
    """What decides the errors of a run."""
    return {
        "recipe": recipe.model_dump(mode="json", exclude={"watch"}),
        "start": load(recipe.base).meta.weights_sha256,
        "weakness": WEAKNESS,
        "footage": asdict(shooting),
        "data": [fingerprint(video) for video in videos],
    }


def _summary(errors: Sequence[Errors]) -> str:
    row = as_row("", [errors], SHOWN)
    return ", ".join(f"{SHOWN[name].title} {v.mean():.4g}" for name, v in row.scores.items())


def _notes(rows: Mapping[str, Row]) -> Iterator[str]:
    """What was learned, in words."""
    for name in ("alignment", "both"):
        for metric in ("abs_rel", "tae", "abs_rel_vda", "tae_vda", "ate", "rotation", "focal"):
            gain = _gain(rows[name], rows[WEAKENED], metric)
            yield (
                f"{SHOWN[metric].title}: {name} is {in_print(gain, 0)} % below {WEAKENED}"
                f"{'' if gain.significant else ', not significantly'}."
            )
    for metric, paper in PAPER_GAINS.items():
        gain = _gain(rows["both"], rows["neither"], metric)
        yield (
            f"{SHOWN[metric].title}: both is {in_print(gain, 0)} % below neither; {paper} % in the "
            "paper."
        )
    focal = bootstrap(rows["both"].scores["focal"])
    verdict = "within" if focal.mean < FOCAL_TOLERANCE else "not within"
    yield (
        f"Focal lengths of both are {in_print(focal, 1)} % off, {verdict} {FOCAL_TOLERANCE:g} %; "
        f"motion of {WEAKENED} is that of a camera that stands still."
    )


def _gain(row: Row, other: Row, metric: str) -> Interval:
    """By how many percent of the other's mean a row is lower."""
    reference = float(other.scores[metric].mean())
    return bootstrap(100 * (other.scores[metric] - row.scores[metric]) / reference)
