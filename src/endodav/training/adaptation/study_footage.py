"""Footage of one rendered endoscope: videos to adapt to, without truth, and others to be scored.

All are of a deforming tube without tools, from seeds that no training uses, seen by one camera, an
ideal pinhole. A still camera says nothing about depth, so that videos with too little motion are
left out; how much is a rule about the truth, not about any prediction.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import torch

from endodav.data.files import write_images
from endodav.data.registry import find_dataset
from endodav.data.sequence import Sequence as Video
from endodav.evaluation.reproduction import write_whole
from endodav.synthetic.appearance import Illumination, random_illumination
from endodav.synthetic.clip import GENERATION, RenderedClip, render
from endodav.synthetic.families import FAMILIES
from endodav.synthetic.scene import Scene
from endodav.synthetic.sensor import Sensor, develop, random_sensor
from endodav.synthetic.writer import write_clip

FIRST_SEED = 2_500_000_000  # trainings use seeds below 1e9, the rendered benchmark a few from 2e9
FAMILY = "colon"
FIELD_OF_VIEW = (55.0, 80.0)  # degrees; a camera network's focal length is above half the width
LEAST_MOTION = 0.01  # of the camera from frame to frame, in median depths
LEAST_CHANGE = 1e-3  # mm by which the wall moves at most
ROOM = 4.0  # mm around the lens that scenes of the family leave free
MANIFEST = "manifest.json"
UNLABELLED, SEEN, UNSEEN = "unlabelled", "seen", "unseen"


@dataclass(frozen=True)
class Shooting:
    """What to film.

    Attributes:
        unlabelled: videos to adapt to.
        seen: how many of these are scored as well; adapting knows their pictures, not their truth.
        unseen: videos that are scored alone.
        frames: of each.
        height: rows.
        width: columns.
    """

    unlabelled: int = 4
    seen: int = 4
    unseen: int = 4
    frames: int = 44
    height: int = 96
    width: int = 120


@dataclass(frozen=True)
class Film:
    """What was filmed.

    Attributes:
        unlabelled: folder of pictures to adapt to.
        scored: videos with truth, by "seen" and "unseen".
    """

    unlabelled: Path
    scored: Mapping[str, list[Video]]


def film(shooting: Shooting, folder: Path) -> Film:
    """Render, unless it is there already.

    Raises:
        OutputError: the folder cannot be written.
    """
    manifest = folder / MANIFEST
    wanted = asdict(shooting) | {"first_seed": FIRST_SEED, "generation": GENERATION}
    if not manifest.exists() or json.loads(manifest.read_text()) != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        clips = _clips(shooting)
        for number in range(shooting.unlabelled):
            clip = next(clips)
            write_images(folder / UNLABELLED / f"{number:02d}", "{:05d}.png", clip.images)
            if number < shooting.seen:
                write_clip(clip, folder / SEEN / f"{number:02d}")
        for number in range(shooting.unseen):
            write_clip(next(clips), folder / UNSEEN / f"{number:02d}")
        write_whole(manifest, json.dumps(wanted) + "\n")
    rendered = find_dataset("rendered")
    scored = {name: list(rendered.sequences(folder / name)) for name in (SEEN, UNSEEN)}
    return Film(folder / UNLABELLED, scored)


def _clips(shooting: Shooting) -> Iterator[RenderedClip]:
    """Clips of one endoscope, as many as one likes."""
    rng = np.random.default_rng(FIRST_SEED)
    drawn = random_sensor(rng, shooting.height, shooting.width, FIELD_OF_VIEW)
    everywhere = torch.ones_like(drawn.field_of_view)
    sensor = replace(drawn, distortion=0.0, field_of_view=everywhere, interlaced=False)
    light = replace(random_illumination(rng, ROOM), smoke=None)
    for seed in count(FIRST_SEED):
        scene = FAMILIES[FAMILY].draw(np.random.default_rng(seed), shooting.frames)
        if scene.solids or not _deforms(scene):
            continue
        clip = _filmed(scene, sensor, light, seed)
        if _motion(clip) >= LEAST_MOTION:
            yield clip


def _filmed(scene: Scene, sensor: Sensor, light: Illumination, seed: int) -> RenderedClip:
    radiance, depth = render(scene, sensor, light, torch.device("cpu"))
    seen = torch.isfinite(depth)
    return RenderedClip(
        images=develop(radiance, sensor, np.random.default_rng(seed)),
        depth=torch.where(seen, depth, 0.0).numpy(),
        valid=seen.numpy(),
        T_world_from_camera=scene.T_world_from_camera.numpy(),
        intrinsics=sensor.intrinsics.numpy(),
        distortion=0.0,
        family=FAMILY,
        seed=seed,
        flow=None,
    )


def _deforms(scene: Scene) -> bool:
    """Whether the wall moves by itself: breathing or peristalsis."""
    return any(float(wall.layers[1:3].abs().max()) > LEAST_CHANGE for wall in scene.walls)


def _motion(clip: RenderedClip) -> float:
    steps = np.diff(clip.T_world_from_camera[:, :3, 3], axis=0)
    return float(np.linalg.norm(steps, axis=1).mean() / np.median(clip.depth[clip.valid]))
