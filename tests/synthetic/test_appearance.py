"""Light, shadows, smoke and the lens: laws of optics on scenes small enough to reason about."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from endodav.synthetic import FAMILIES, texture
from endodav.synthetic.appearance import TIP, instrument, random_illumination, tissue
from endodav.synthetic.clip import render
from endodav.synthetic.optics import (
    Lens,
    Smoke,
    add_smoke,
    camera_steps,
    gaussian_blur,
    image_motion,
    random_lens,
    random_smoke,
    through_lens,
    typical_depth,
)
from endodav.synthetic.render import Hits
from endodav.synthetic.scene import RoundCone, Scene
from endodav.synthetic.sensor import pixel_rays, random_sensor
from endodav.synthetic.shadow import light_arriving

CLEAR = Lens(near_limit=0.0, shutter=0.0, drops=())


@pytest.fixture(scope="module")
def scene() -> Scene:
    return FAMILIES["laparoscopy"].draw(np.random.default_rng(1), 2)


def bar(scene: Scene) -> Scene:
    """A bar along x, 1 mm thick, at z = 5."""
    material = instrument(np.random.default_rng(0), "steel", metallic=True)
    ends = torch.tensor([[-3.0, 0, 5]]), torch.tensor([[3.0, 0, 5]])
    return replace(scene, solids=(RoundCone(*ends, (1.0, 1.0), material),))


def on_wall(count: int) -> Hits:
    return Hits(torch.full((count,), 10.0), torch.full((count,), -1))


def test_shadows_lie_only_behind_what_blocks_the_light(scene: Scene) -> None:
    # under the bar; beside it; beyond its end; between light and bar
    points = torch.tensor([[0.0, 0, 10], [0, 5, 10], [12, 0, 10], [0, 0, 2]]).T.contiguous()
    frames = torch.zeros(4, dtype=torch.long)
    share = light_arriving(bar(scene), points, torch.zeros(3, 1), on_wall(4), frames)
    assert share.tolist() == [0, 1, 1, 1]


def test_a_shadow_moves_away_from_its_light(scene: Scene) -> None:
    y = torch.linspace(-8, 8, 161)
    points = torch.stack([torch.zeros_like(y), y, torch.full_like(y, 10)])
    frames = torch.zeros(161, dtype=torch.long)
    light = torch.tensor([[0.0], [2.0], [0.0]])
    dark = light_arriving(bar(scene), points, light, on_wall(161), frames) < 0.5
    assert float(y[dark].mean()) == pytest.approx(-2, abs=0.15)
    assert 1.0 < float(y[dark].max() - y[dark].min()) < 4.3


def test_a_solid_throws_no_shadow_upon_itself(scene: Scene) -> None:
    hits = Hits(torch.tensor([10.0]), torch.tensor([0]))
    points = torch.tensor([[0.0], [0.0], [10.0]])
    frames = torch.zeros(1, dtype=torch.long)
    assert light_arriving(bar(scene), points, torch.zeros(3, 1), hits, frames) == 1


def test_no_smoke_changes_nothing_and_more_hides_what_is_far() -> None:
    radiance = torch.rand(1, 3, 8, 10, generator=torch.Generator().manual_seed(0))
    depth = torch.linspace(1, 100, 10).expand(1, 8, 10)
    smoke = Smoke(0.0, 1.0, torch.zeros(8, 8), (0.0, 0.0))
    typical = typical_depth(depth)
    assert torch.equal(add_smoke(radiance, depth, smoke, range(1), typical), radiance)
    thick = replace(smoke, density=1.0)
    contrast = add_smoke(radiance, depth, thick, range(1), typical).std((0, 1, 2))
    share = contrast / radiance.std((0, 1, 2))
    assert (share.diff() < 0).all()
    torch.testing.assert_close(share, torch.exp(-depth[0, 0] / typical))


def test_depth_is_untouched_by_whatever_the_light_meets(scene: Scene) -> None:
    rng = np.random.default_rng(2)
    sensor = replace(random_sensor(rng, 32, 40, (60, 60)), lens=CLEAR)
    light = replace(random_illumination(rng, 5.0), smoke=None)
    device = torch.device("cpu")
    clear, depth = render(scene, sensor, light, device)
    wet = replace(sensor, lens=Lens(0.9, 1.0, ((0.5, 0.4, 0.1),)))
    smoky, same = render(scene, wet, replace(light, smoke=random_smoke(rng)), device)
    assert torch.equal(depth, same)
    assert (smoky - clear).abs().mean() > 0.01 * clear.mean()


def test_a_clean_lens_and_a_still_camera_change_nothing() -> None:
    radiance = torch.rand(2, 3, 8, 10, generator=torch.Generator().manual_seed(0))
    depth, steps = torch.full((2, 8, 10), 7.0), torch.eye(4).expand(2, 4, 4)
    sensor = random_sensor(np.random.default_rng(0), 8, 10, (60, 60))
    rays = pixel_rays(sensor)
    assert torch.equal(through_lens(radiance, depth, steps, rays, CLEAR, 7.0), radiance)
    slow = replace(CLEAR, shutter=1.0)
    still = through_lens(radiance, depth, steps, rays, slow, 7.0)
    torch.testing.assert_close(still, radiance, atol=1e-4, rtol=0)


def test_image_motion_of_a_sideways_camera_is_parallax() -> None:
    sensor = replace(random_sensor(np.random.default_rng(0), 9, 11, (90, 90)), distortion=0.0)
    rays = pixel_rays(sensor)
    poses = torch.eye(4).repeat(2, 1, 1)
    poses[1, 0, 3] = 0.1
    depth = torch.full((2, 9, 11), 10.0)
    motion = image_motion(depth, camera_steps(poses), rays)
    extent = float(rays[4, -1, 0] - rays[4, 0, 0])
    torch.testing.assert_close(motion[..., 0], torch.full((2, 9, 11), -2 * 0.01 / extent))
    assert motion[..., 1].abs().max() < 1e-6


def test_only_what_is_near_is_out_of_focus() -> None:
    radiance = torch.rand(1, 3, 16, 40, generator=torch.Generator().manual_seed(0))
    depth = torch.cat([torch.full((1, 16, 10), 1.0), torch.full((1, 16, 30), 10.0)], dim=2)
    rays = pixel_rays(random_sensor(np.random.default_rng(0), 16, 40, (60, 60)))
    lens = replace(CLEAR, near_limit=0.8)
    seen = through_lens(radiance, depth, torch.eye(4)[None], rays, lens, typical_depth(depth))
    assert torch.equal(seen[..., 10:], radiance[..., 10:])
    assert seen[..., :9].std() < 0.5 * radiance[..., :9].std()


def test_a_blur_keeps_the_light_and_spreads_it_by_sigma() -> None:
    point = torch.zeros(1, 3, 31, 31)
    point[..., 15, 15] = 1
    blurred = gaussian_blur(point, 2.0)[0, 0]
    assert float(blurred.sum()) == pytest.approx(1, abs=1e-5)
    spread = (blurred.sum(0) * (torch.arange(31) - 15).square()).sum().sqrt()
    assert float(spread) == pytest.approx(2, rel=0.06)  # the kernel ends at 2.5 sigma


@pytest.mark.parametrize(
    "draw",
    [texture.vessel_trees, texture.pits, texture.lobules, texture.fibres, texture.stains],
)
def test_textures_repeat_without_a_seam(draw) -> None:  # type: ignore[no-untyped-def]
    for seed in range(3):
        tile = draw(np.random.default_rng(seed))
        assert tile.shape == texture.SHAPE
        for across in (tile, tile.T):
            seam = (across[0] - across[-1]).abs().mean()
            steps = (across[1:] - across[:-1]).abs().mean(1)
            assert seam <= 1.5 * steps.max()


def test_tissue_is_drawn_in_bounds_and_by_seed() -> None:
    albedo, other = torch.full((3, 4, 4), 0.4), torch.ones(3)
    for seed in range(12):
        material = tissue(np.random.default_rng(seed), albedo, other, 30.0)
        assert torch.isfinite(material.detail).all()
        assert (material.detail[:3] >= 0).all()
    again = tissue(np.random.default_rng(11), albedo, other, 30.0)
    assert torch.equal(material.detail, again.detail)


def test_plain_clips_stay_common() -> None:
    lenses = [random_lens(np.random.default_rng(seed)) for seed in range(300)]
    plain = np.mean([lens == CLEAR for lens in lenses])
    assert 0.3 < plain < 0.6
    lights = [random_illumination(np.random.default_rng(seed), 9.0) for seed in range(300)]
    assert 0 < np.mean([light.smoke is not None for light in lights]) < 0.2
    for light in lights[:20]:
        assert math.isclose(float(light.strengths.mean()), 1, rel_tol=1e-5)
        torch.testing.assert_close(light.aims.norm(dim=1), torch.ones(len(light.aims)))


@pytest.mark.parametrize("room", [0.3, 2.0, 50.0])
def test_lights_sit_where_there_is_room(room: float) -> None:
    lights = [random_illumination(np.random.default_rng(seed), room) for seed in range(100)]
    offsets = torch.stack([light.positions.norm(dim=1).max() for light in lights])
    assert (offsets <= TIP * room * (1 + 1e-6)).all()
    assert (offsets > 0).all()
