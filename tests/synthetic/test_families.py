"""Every family of scenes, at any length of clip: the camera stays in free space."""

import numpy as np
import pytest
import torch

from endodav.synthetic.families import FAMILIES
from endodav.synthetic.families.common import clearance
from endodav.synthetic.render import carrier, cast_rays
from endodav.synthetic.scene import Scene


def draw(family: str, seed: int, frames: int) -> Scene:
    return FAMILIES[family].draw(np.random.default_rng(seed), frames)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_camera_stays_in_free_space(family: str, seed: int) -> None:
    scene = draw(family, seed, 300)
    assert clearance(scene) > 0
    assert scene.deformation.abs().max() <= 1
    assert torch.isfinite(scene.T_world_from_camera).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_there_is_something_to_see_in_every_direction_of_view(family: str) -> None:
    """Nearly all rays of a wide field of view meet tissue, from the first frame to the last."""
    scene = draw(family, 3, 300)
    sideways = torch.linspace(-0.4, 0.4, 15)
    x, y = torch.meshgrid(sideways, sideways, indexing="xy")
    rays = torch.nn.functional.normalize(torch.stack([x, y, torch.ones_like(x)]).flatten(1), dim=0)
    for frame in (0, 150, 299):
        T = scene.T_world_from_camera[frame]
        origins = T[:3, 3:].expand(3, rays.shape[1]).contiguous()
        frames = torch.full((rays.shape[1],), frame)
        distance = cast_rays(scene, origins, (T[:3, :3] @ rays).contiguous(), frames).distance
        assert torch.isfinite(distance).float().mean() > 0.97
        assert distance.min() > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_motion_is_as_fast_in_a_long_clip_as_in_a_short_one(family: str) -> None:
    def speed(frames: int) -> float:
        steps = [
            draw(family, seed, frames).T_world_from_camera[:, :3, 3].diff(dim=0).norm(dim=1).mean()
            for seed in range(3)
        ]
        return float(torch.stack(steps).mean())

    assert 0.2 < speed(200) / speed(24) < 5


def test_an_airway_forks() -> None:
    """From inside, walls of more than one tube are seen."""
    scene = next(s for s in (draw("airway", seed, 2) for seed in range(20)) if len(s.walls) > 2)
    branch = scene.walls[1]
    inside = branch.chart.to_world(torch.zeros(1, 3)).T.contiguous()
    on_wall = inside + branch.layers[0].median() * branch.chart.outward(inside)
    assert carrier(scene, on_wall, torch.zeros(1, dtype=torch.long)).item() == 1
