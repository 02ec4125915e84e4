"""Who says how the camera moved: what both ways promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from endodav.geometry.camera import rotation_from_axis_angle
from endodav.geometry.warp import backproject, sample
from endodav.training.adaptation.batch import VideoBatch
from endodav.training.adaptation.camera import DirectCamera, look
from endodav.training.adaptation.data import collate, mirrored, plain_clip
from endodav.training.adaptation.footage import RawClip
from endodav.training.adaptation.networks import RegistrationNetworks
from endodav.training.adaptation.recipe import AdaptRecipe, DataRecipe, RegistrationLossRecipe
from endodav.training.adaptation.start import start
from endodav.training.adaptation.step import depth_phase, observe

DATA = DataRecipe(size=(64, 64), targets=2)
SHIFT = 2  # pixels between two frames


def clip(rows: int = 48, columns: int = 96, seed: int = 0) -> VideoBatch:
    """A wall that the camera passes sideways, recorded twice as wide as high."""
    wall = np.random.default_rng(seed).integers(0, 255, (rows // 6, columns // 4, 3), np.uint8)
    wall = wall.repeat(6, axis=0).repeat(6, axis=1)
    frames = np.stack([wall[:, SHIFT * k : SHIFT * k + columns] for k in range(4)])
    return plain_clip(RawClip(frames, np.ones((rows, columns), bool), None), DATA)


def test_pixels_were_square_when_they_were_recorded() -> None:
    K = DirectCamera().intrinsics(clip())
    assert K.shape == (2, 3, 3)
    focal = K[0, 0, 0] / 64 * 96, K[0, 1, 1] / 64 * 48  # in pixels of the recording
    torch.testing.assert_close(*focal)


def test_a_clip_keeps_its_squeeze() -> None:
    once, turned = clip(), mirrored(clip())
    both = collate([once, turned])
    assert both.squeezes().tolist() == [0.5] * 4
    assert VideoBatch(once.frames, once.frames, once.valid).squeezes().tolist() == [1.0] * 2


def test_the_camera_passes_the_wall_sideways() -> None:
    batch, depth = clip(), torch.full((2, 64, 64), 7.0)
    sighting = look(DirectCamera(), batch, depth)
    shift = SHIFT * 64 / 96  # pixels of the batch; the wall moves to the left
    for offset, motion in sighting.motions.items():
        across = motion[:, 0, 3] / 7 + motion[:, 0, 2]  # a turn to the side looks nearly the same
        moved = sighting.intrinsics[:, 0, 0] * across
        torch.testing.assert_close(moved, torch.full((2,), -shift * offset), atol=0.4, rtol=0)


def test_known_intrinsics_are_believed() -> None:
    batch = clip()
    K = torch.tensor([[50.0, 0, 30], [0, 60, 31], [0, 0, 1]])
    known = VideoBatch(batch.frames, batch.augmented, batch.valid, intrinsics=K[None])
    sighting = look(DirectCamera(), known, torch.ones(2, 64, 64))
    torch.testing.assert_close(sighting.intrinsics, K.expand(2, 3, 3))


@pytest.mark.parametrize("start", [0.7, 1.3])
def test_the_focal_length_goes_where_the_pictures_want_it(start: float) -> None:
    true = 0.95
    camera = DirectCamera().train()
    camera.log_focal.fill_(math.log(start))
    distances = []
    for seed in range(25):
        camera(turning(true, seed), torch.full((1, 64, 64), 5.0))
        distances.append(abs(float(camera.log_focal) - math.log(true)))
    assert distances[-1] < distances[0] - 0.05
    before = camera.log_focal.clone()
    camera.eval()(turning(true, 0), torch.full((1, 64, 64), 5.0))
    assert camera.log_focal == before


def turning(focal: float, seed: int) -> VideoBatch:
    """A camera that turns in front of a picture on a wall, three frames."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 40, 40, generator=generator)
    wall = torch.nn.functional.interpolate(coarse, (256, 256), mode="bicubic").clamp(0, 1)
    K = torch.tensor([[64 * focal, 0, 31.5], [0, 64 * focal, 31.5], [0, 0, 1]])[None]
    turn = 0.15 * torch.nn.functional.normalize(torch.randn(3, generator=generator), dim=0)
    frames = []
    for k in (-1, 0, 1):
        rays = backproject(torch.ones(1, 64, 64), K) @ rotation_from_axis_angle(k * turn).mT
        frames.append(sample(wall, 127.5 + 80 * rays[..., :2] / rays[..., 2:]))
    clip = torch.stack(frames, dim=1)
    return VideoBatch(clip, clip, torch.ones_like(clip[:, :, :1], dtype=torch.bool))


@pytest.mark.parametrize("camera", ["network", "direct"])
def test_depth_and_the_camera_learn(camera: str) -> None:
    recipe = AdaptRecipe.model_validate({"name": "test", "camera": camera, "data": DATA})
    networks = start(recipe, download=False).networks.train()
    assert isinstance(networks, RegistrationNetworks)
    batch = clip()
    before = {name: value.clone() for name, value in networks.camera.state_dict().items()}
    depth_phase(observe(networks, batch), batch, RegistrationLossRecipe()).total.backward()
    parts = [networks.depth, networks.appearance]
    if camera == "direct":
        assert networks.camera.state_dict()["log_focal"] != before["log_focal"]
    else:
        parts.append(networks.camera)
    for part in parts:
        gradients = [p.grad for p in part.parameters() if p.grad is not None]
        assert gradients
        assert all(g.isfinite().all() for g in gradients)
        assert any(g.any() for g in gradients)
