"""Whole clips: repeatable, diverse, and with ground truth that agrees with itself."""

import json
from dataclasses import fields, replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from endodav.errors import OutputError, RecipeError
from endodav.evaluation.metrics import spearman
from endodav.geometry.camera import invert, project, transform_points
from endodav.synthetic import FAMILIES, RenderedClip, render_clip, write_clip
from endodav.synthetic.appearance import random_illumination
from endodav.synthetic.clip import render
from endodav.synthetic.render import MAX_DISTANCE
from endodav.synthetic.sensor import pixel_rays, random_sensor

SIZE = (3, 40, 48)


@pytest.fixture(scope="module", params=list(FAMILIES))
def clip(request: pytest.FixtureRequest) -> RenderedClip:
    return render_clip(3, *SIZE, family=request.param)


def test_the_same_seed_gives_the_same_bytes(clip: RenderedClip) -> None:
    again = render_clip(3, *SIZE, family=clip.family)
    for field in fields(RenderedClip):
        first, second = getattr(clip, field.name), getattr(again, field.name)
        assert np.array_equal(first, second), field.name


def test_other_seeds_give_other_scenes(clip: RenderedClip) -> None:
    other = render_clip(4, *SIZE, family=clip.family)
    assert np.abs(other.images.astype(int) - clip.images).mean() > 5
    assert np.abs(other.depth - clip.depth).mean() > 1


def test_a_strided_clip_shows_frames_of_a_longer_one(clip: RenderedClip) -> None:
    long = render_clip(3, 7, *SIZE[1:], family=clip.family)
    strided = render_clip(3, *SIZE, family=clip.family, stride=3)
    for field in ("depth", "valid", "T_world_from_camera", "intrinsics"):
        whole, part = getattr(long, field), getattr(strided, field)
        assert np.array_equal(whole[::3] if field != "intrinsics" else whole, part), field
    # the look of a frame depends a little on the others, which say what is near and far in the clip
    difference = np.abs(long.images[::3].astype(int) - strided.images)
    assert np.median(difference) < 12 < np.abs(long.images[:3].astype(int) - strided.images).max()


def test_shapes_and_ranges(clip: RenderedClip) -> None:
    assert clip.images.shape == (*SIZE, 3)
    assert clip.images.dtype == np.uint8
    assert clip.depth.shape == clip.valid.shape == SIZE
    assert (clip.depth[~clip.valid] == 0).all()
    known = clip.depth[clip.valid]
    assert known.min() > 0
    assert known.max() < MAX_DISTANCE
    rotation = clip.T_world_from_camera[:, :3, :3]
    np.testing.assert_allclose(
        rotation @ rotation.transpose(0, 2, 1), np.eye(3) + 0 * rotation, atol=1e-5
    )
    np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=1e-5)


def test_families_are_drawn_by_seed() -> None:
    drawn = {render_clip(seed, 1, 4, 4).family for seed in (0, 2, 4, 18)}
    assert drawn == set(FAMILIES)


def test_what_is_not_seen_is_black_and_invalid() -> None:
    for seed in range(100):
        rng = np.random.default_rng(seed)
        sensor = random_sensor(rng, 40, 48, (60, 60))
        if not sensor.field_of_view.all():
            break
    outside = ~sensor.field_of_view.numpy()
    assert 0 < outside.mean() < 0.6
    for seed in range(100):
        clip = render_clip(seed, 1, 40, 48, family="colon")
        if not clip.valid.all():
            break
    assert clip.images[0][~clip.valid[0]].mean() < 12  # JPEG may ring at the rim
    assert clip.images[0][clip.valid[0]].mean() > 25


@pytest.mark.parametrize("family", list(FAMILIES))
def test_depth_pose_and_intrinsics_agree_between_frames(family: str) -> None:
    """On a rigid scene, each pixel lands on the next frame's depth, unless it is hidden there."""
    rng = np.random.default_rng(5)
    scene = FAMILIES[family].draw(rng, 2)
    scene = replace(scene, solids=(), deformation=torch.zeros(2, 2))
    sensor = random_sensor(rng, 96, 120, (70, 70))
    sensor = replace(sensor, distortion=0.0, field_of_view=torch.ones(96, 120, dtype=torch.bool))
    _, depth = render(scene, sensor, random_illumination(rng, 5.0), torch.device("cpu"))
    T_next_from_this = invert(scene.T_world_from_camera[1]) @ scene.T_world_from_camera[0]
    points = transform_points(T_next_from_this, pixel_rays(sensor) * depth[0, ..., None])
    pixels, expected = project(points, sensor.intrinsics)
    grid = (pixels + 0.5) / torch.tensor([120.0, 96.0]) * 2 - 1
    found = torch.nn.functional.grid_sample(depth[1][None, None], grid[None], align_corners=False)[
        0, 0
    ]
    inside = (grid.abs() < 0.98).all(-1) & (expected > 0)
    error = ((found - expected).abs() / expected)[inside]
    assert inside.float().mean() > 0.5
    assert error.median() < 2e-3
    assert (error < 0.02).float().mean() > 0.9


def test_distorted_rays_keep_the_optical_axis_and_widen_the_view() -> None:
    sensor = random_sensor(np.random.default_rng(0), 41, 41, (80, 80))
    straight = pixel_rays(replace(sensor, distortion=0.0))
    bent = pixel_rays(replace(sensor, distortion=0.2))
    assert torch.equal(straight[20, 20], bent[20, 20])
    assert (bent[0, 0, :2].abs() > straight[0, 0, :2].abs()).all()
    assert (bent[..., 2] == 1).all()


def test_an_unknown_family_is_refused_by_name() -> None:
    with pytest.raises(RecipeError, match=r"submarine.*colon"):
        render_clip(0, 1, 8, 8, family="submarine")


def test_a_written_clip_reads_back(clip: RenderedClip, tmp_path: Path) -> None:
    folder = tmp_path / "clips" / "one"
    write_clip(clip, folder, fps=30)
    depth = np.stack([np.array(Image.open(p)) for p in sorted((folder / "depth").iterdir())])
    meta = json.loads((folder / "meta.json").read_text())
    np.testing.assert_allclose(depth * meta["depth_unit_mm"], clip.depth, atol=0.0051)
    images = np.stack([np.array(Image.open(p)) for p in sorted((folder / "images").iterdir())])
    assert np.array_equal(images, clip.images)
    poses = np.loadtxt(folder / "poses.txt").reshape(-1, 4, 4)
    np.testing.assert_allclose(poses, clip.T_world_from_camera, atol=1e-5)
    np.testing.assert_allclose(np.loadtxt(folder / "K.txt"), clip.intrinsics, rtol=1e-6)
    with av.open(str(folder / "video.mp4")) as container:
        assert container.streams.video[0].average_rate == 30
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert np.abs(np.stack(decoded).astype(int) - clip.images).mean() < 8
    assert not list(tmp_path.glob("**/*.partial"))


def test_a_folder_is_never_overwritten(clip: RenderedClip, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="exists already"):
        write_clip(clip, tmp_path)


def test_a_folder_that_cannot_be_made_is_one_sentence(clip: RenderedClip, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        write_clip(clip, tmp_path / "file" / "clip")


def test_what_is_near_is_bright_even_where_it_is_narrow() -> None:
    """A light inside the wall would leave the nearest part of the wall dark."""
    found = []
    for seed in range(12):
        clip = render_clip(seed, 1, 42, 56, family="airway")
        brightness = clip.images.max(axis=3)[clip.valid]
        found.append(spearman(brightness.astype(float), 1 / clip.depth[clip.valid]))
    assert min(found) > 0
    assert np.mean(found) > 0.6


def test_an_interrupted_clip_leaves_nothing(
    clip: RenderedClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("endodav.synthetic.writer.write_video", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_clip(clip, tmp_path / "clip")
    assert list(tmp_path.iterdir()) == []


def test_a_rectified_clip_is_the_same_scene_without_distortion() -> None:
    bent = next(c for c in (render_clip(s, 1, 20, 24) for s in range(20)) if c.distortion)
    straight = render_clip(bent.seed, 1, 20, 24, rectified=True)
    assert straight.distortion == 0
    assert straight.family == bent.family
    np.testing.assert_array_equal(straight.T_world_from_camera, bent.T_world_from_camera)
    centre = (0, 10, 12)
    np.testing.assert_allclose(straight.depth[centre], bent.depth[centre], rtol=0.05)
