"""What a layout's writer writes, its reader reads; and it looks like the published layout."""

from __future__ import annotations

import numpy as np
import pytest

from endodav.data import DATASETS, Clip, open_dataset
from endodav.errors import OutputError
from endodav.synthetic import render_clip, write_clip
from tests.data import samples

WRITERS = [name for name, dataset in DATASETS.items() if dataset.write]
DEPTHS = {"kitti": samples.STREET, "vkitti2": samples.STREET, "pointodyssey": samples.STREET}


def make_clip(name):
    truth = samples.make_truth(*DEPTHS.get(name, samples.ENDOSCOPE))
    return Clip(truth.images, truth.depth, truth.T_world_from_camera, truth.K)


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_written_is_read(name, tmp_path):
    clip, dataset = make_clip(name), DATASETS[name]
    dataset.write(clip, tmp_path, 0)
    dataset.write(clip, tmp_path, 1)
    first, second = open_dataset(name, tmp_path)
    assert first.name != second.name
    for k, sample in enumerate(second):
        assert np.abs(sample.image.astype(int) - clip.images[k]).mean() < 8
        known = sample.valid
        if name != "colmap":
            np.testing.assert_array_equal(known, clip.depth[k] > 0)
        assert known.any()
        error = np.abs(sample.depth - clip.depth[k])[known].max()
        assert error <= 0.51 * dataset.step_mm + 1e-5 * clip.depth.max()
        if dataset.has_poses:
            np.testing.assert_allclose(
                sample.T_world_from_camera, clip.T_world_from_camera[k], atol=1e-4
            )


@pytest.mark.parametrize("name", sorted(set(WRITERS) & set(samples.PUBLISHED) - {"folder"}))
def test_written_files_are_of_the_published_kinds(name, tmp_path):
    samples.make(name, tmp_path / "published")
    DATASETS[name].write(make_clip(name), tmp_path / "written", 0)
    (published,) = open_dataset(name, tmp_path / "published")
    (written,) = open_dataset(name, tmp_path / "written")
    ours, theirs = written.refs[0], published.refs[0]
    for mine, original in ((ours.image, theirs.image), (ours.depth, theirs.depth)):
        assert mine.suffix == original.suffix


def test_a_rendered_clip_is_read(tmp_path):
    clip = render_clip(3, 2, 24, 32)
    write_clip(clip, tmp_path / "clip_000")
    (sequence,) = open_dataset("rendered", tmp_path)
    for k, sample in enumerate(sequence):
        np.testing.assert_array_equal(sample.image, clip.images[k])
        np.testing.assert_array_equal(sample.valid, clip.valid[k])
        np.testing.assert_allclose(sample.depth, clip.depth[k], atol=0.006)
        np.testing.assert_allclose(
            sample.T_world_from_camera, clip.T_world_from_camera[k], atol=1e-5
        )
        np.testing.assert_allclose(sample.intrinsics, clip.intrinsics, rtol=1e-6)
    bend = 0.0 if sequence.distortion is None else sequence.distortion.coefficients[0]
    assert bend == pytest.approx(clip.distortion)


def test_depth_beyond_the_codes_is_refused(tmp_path):
    clip = make_clip("kitti")
    with pytest.raises(OutputError, match="holds at most 100 mm"):
        DATASETS["c3vd"].write(clip, tmp_path, 0)
