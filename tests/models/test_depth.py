"""Laws of the networks: what must hold for any weights, checked on small random ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from endodav.errors import InputError
from endodav.models.depth import (
    DepthAnythingV2,
    EndoDAC,
    EndoDAV,
    EndoUFM,
    VideoDepthAnything,
    build,
)
from endodav.models.dpt import FRAMES_AT_ONCE
from endodav.models.presets import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    PRESETS,
    AdapterConfig,
    EncoderConfig,
    HeadConfig,
    NeckConfig,
    OutputConfig,
)

ENCODER = EncoderConfig(width=48, depth=4, heads=3, taps=(0, 1, 2, 3), image_size=56)
HEAD = HeadConfig(features=32, out_channels=(8, 16, 32, 32))
SHAPE = (28, 42)


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter random and of a size that keeps activations sane, nothing at zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() < 2:
                parameter.copy_(0.2 + 0.1 * noise)
            else:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
    return model.eval()


def clip(time: int, batch: int = 1, size: tuple[int, int] = SHAPE, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, time, 3, *size, generator=generator)


def assert_same(got: Tensor, want: Tensor) -> None:
    """Equal up to the rounding of another order of sums."""
    largest = want.abs().max()
    assert largest > 0
    assert (got - want).abs().max() <= 1e-4 * largest


@pytest.fixture(scope="module")
def video() -> VideoDepthAnything:
    model = VideoDepthAnything(ENCODER, HEAD)
    randomise(model)
    return model


@torch.inference_mode()
def test_video_model_with_new_motion_modules_is_the_image_model() -> None:
    image_model = DepthAnythingV2(ENCODER, HEAD)
    video_model = VideoDepthAnything(ENCODER, HEAD)
    randomise(image_model)
    missing, left_over = video_model.load_state_dict(image_model.state_dict(), strict=False)
    assert not left_over
    assert all(name.startswith("motion.") for name in missing)
    frames = clip(5)
    depth = video_model.eval()(frames)[0]
    assert depth.std() > 0
    assert_same(depth, image_model(frames[0]))


@torch.inference_mode()
def test_frames_of_a_clip_see_each_other(video: VideoDepthAnything) -> None:
    frames = clip(3)
    changed = frames.clone()
    changed[:, 2] = 0
    assert not torch.allclose(video(frames)[:, 0], video(changed)[:, 0])


@torch.inference_mode()
def test_clips_of_a_batch_do_not_see_each_other(video: VideoDepthAnything) -> None:
    clips = clip(3, batch=2)
    apart = torch.cat([video(clips[:1]), video(clips[1:])])
    assert_same(video(clips), apart)


@torch.inference_mode()
def test_frames_in_small_groups_are_the_same_as_all_at_once(
    video: VideoDepthAnything, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, lengths = clip(6), []
    finish = video.head.finish

    def counted(by_frame: list[torch.Tensor], patch_size: int) -> list[torch.Tensor]:
        lengths.append(len(by_frame[0]))
        return finish(by_frame, patch_size)

    monkeypatch.setattr(video.head, "finish", counted)
    grouped = video(frames)
    video.work_in(None, 32)
    assert_same(grouped, video(frames))
    video.work_in(None, FRAMES_AT_ONCE)
    assert lengths == [4, 2, 6]


@pytest.mark.parametrize("wanted", [[0], [1, 2, 3], [0, 2, 3, 5]])
@torch.inference_mode()
def test_frames_that_are_not_wanted_are_seen_all_the_same(
    video: VideoDepthAnything, wanted: list[int]
) -> None:
    maps = video.encode(clip(6)[0])
    assert_same(video.decode(maps, wanted), video.decode(maps)[wanted])


@torch.inference_mode()
def test_predict_clip_is_forward_of_one_clip(video: VideoDepthAnything) -> None:
    frames = clip(2)
    assert torch.equal(video.predict_clip(frames[0]), video(frames)[0])


def test_too_long_a_clip_is_refused(video: VideoDepthAnything) -> None:
    with pytest.raises(InputError, match="33 frames is longer than the 32"):
        video(clip(33, size=(14, 14)))


@pytest.mark.parametrize("size", [(28, 41), (0, 14)])
def test_sides_must_divide_into_patches(video: VideoDepthAnything, size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="multiples of 14"):
        video(clip(1, size=size))


@torch.inference_mode()
def test_first_streamed_frame_is_a_clip_of_one(video: VideoDepthAnything) -> None:
    frames = clip(1)
    depth, _ = video.advance(video.encode(frames[:, 0]), None)
    assert_same(depth, video(frames)[:, 0])


@torch.inference_mode()
def test_second_streamed_frame_is_the_last_of_a_clip_of_repeats(video: VideoDepthAnything) -> None:
    """With one frame as its past, streaming attends to what a full clip of repeats holds.

    That holds for the attentions that no other attention comes before; the others are silenced, for
    in the clip the repeats have seen the last frame by then, and in the stream they have not.
    """
    model = VideoDepthAnything(ENCODER, HEAD)
    model.load_state_dict(video.state_dict())
    for place, motion in enumerate(model.motion):
        first_ones = motion.attentions[:1] if place < 2 else ()
        for attention in motion.attentions:
            if attention not in first_ones:
                attention.out.weight.data.zero_()
    first, second = clip(1, seed=1), clip(1, seed=2)
    _, state = model.eval().advance(model.encode(first[:, 0]), None)
    streamed, _ = model.advance(model.encode(second[:, 0]), state)
    offline = model(torch.cat([first.expand(-1, 31, -1, -1, -1), second], dim=1))
    assert_same(streamed, offline[:, -1])


@torch.inference_mode()
def test_endodav_streams_as_its_base_does(video: VideoDepthAnything) -> None:
    tuned = EndoDAV(ENCODER, HEAD, SHAPE, OutputConfig(), AdapterConfig("ssb", temporal=True))
    tuned.load_state_dict(video.state_dict(), strict=False)  # the adapters start as identity
    tuned.eval()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    state = tuned_state = None
    for frame in clip(3).unbind(1):
        depth, state = video.advance(video.encode((frame - mean) / std), state)
        disparity, tuned_state = tuned.advance(tuned.encode(frame), tuned_state)
        assert_same(disparity, depth)


@torch.inference_mode()
def test_a_stream_step_leaves_its_state_as_it_was(video: VideoDepthAnything) -> None:
    frames = clip(3)[0]
    _, state = video.advance(video.encode(frames[:1]), None)
    before = [[tensor.clone() for tensor in entry] for entry in state.entries]
    once, next_state = video.advance(video.encode(frames[1:2]), state)
    again, _ = video.advance(video.encode(frames[1:2]), state)
    assert torch.equal(once, again)
    assert next_state is not state
    for entry, kept in zip(state.entries, before, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(entry, kept, strict=True))


@torch.inference_mode()
def test_metric_image_model_stays_below_its_maximum() -> None:
    model = DepthAnythingV2(ENCODER, HEAD, max_depth=20.0)
    randomise(model)
    depth = model.predict_clip(clip(2)[0])
    assert depth.shape == (2, *SHAPE)
    assert 0 < float(depth.min()) < float(depth.max()) < 20


@pytest.mark.parametrize("network", [EndoDAV, EndoDAC, EndoUFM])
@torch.inference_mode()
def test_outputs_of_the_self_supervised_networks(
    network: type[EndoDAV] | type[EndoDAC] | type[EndoUFM],
) -> None:
    """Any neck on any grid; pyramids at 16, 8, 4, 2 times the grid, the single map at 14 times."""
    neck = NeckConfig("separable" if network is EndoUFM else "bottleneck", (1, 3))
    frames = clip(2, size=(30, 50))
    x = frames if network is EndoDAV else frames[0]

    def sizes(output: OutputConfig) -> list[tuple[int, ...]]:
        model = network(ENCODER, HEAD, SHAPE, output, AdapterConfig("dvlora"), neck)
        randomise(model)
        assert model.predict_clip(frames[0]).shape[0] == 2
        return [tuple(disparity.shape[-2:]) for disparity in model(x)]

    assert sizes(OutputConfig("pyramid")) == [(32, 48), (16, 24), (8, 12), (4, 6)]
    assert sizes(OutputConfig("conv")) == [(28, 42), (14, 21), (7, 10), (3, 5)]


@torch.inference_mode()
def test_a_neck_sees_rows_as_rows() -> None:
    """Mirroring columns commutes with a symmetric neck only if the grid is laid out right."""
    config = replace(ENCODER, depth=1, taps=(0, 0, 0, 0))
    model = EndoDAC(
        config, HEAD, SHAPE, OutputConfig("pyramid"), None, NeckConfig("bottleneck", (0,))
    )
    randomise(model)
    block = model.encoder.blocks[0]
    neck = block.neck
    assert isinstance(neck, nn.Module)
    tokens = torch.randn(1, 1 + 2 * 3, config.width, generator=torch.Generator().manual_seed(3))
    block.neck = None
    bare = block(tokens, 2, 3)
    block.neck = neck
    grid = bare[:, 1:].transpose(1, 2).reshape(1, config.width, 2, 3)
    wanted = (grid + neck(grid)).flatten(2).transpose(1, 2)
    got = block(tokens, 2, 3)
    torch.testing.assert_close(got[:, 1:], wanted)
    assert torch.equal(got[:, 0], bare[:, 0])


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_builds_only_what_it_uses(name: str) -> None:
    preset = PRESETS[name]
    with torch.device("meta"):
        model = build(preset)
    names = [key for key, _ in model.named_parameters()]
    assert not any("mask_token" in key or key.startswith("head.fuse.3.lateral") for key in names)
    assert any(key.startswith("encoder.blocks.") for key in names) == (preset.encoder.depth > 0)
    if preset.family == "endodac":
        assert not any(key.startswith("head.output.reduce") for key in names)


def test_parameter_counts() -> None:
    """EndoDAV on ViT-S trains 46,080 spatial and 3,520 temporal scalars; tiny is small."""
    with torch.device("meta"):
        small, tiny = build(PRESETS["endodav-small"]), build(PRESETS["endodav-tiny"])
    assert isinstance(small, EndoDAV)
    assert sum(p.numel() for p in small.spatial_parameters()) == 46_080
    assert sum(p.numel() for p in small.temporal_parameters()) == 3_520
    assert sum(p.numel() for p in tiny.parameters()) <= 5_950_000


@pytest.mark.parametrize("name", ["endodav-tiny", "depth-anything-v2-small"])
@torch.inference_mode()
def test_bfloat16_autocast_is_near_float32(name: str) -> None:
    preset = PRESETS[name]
    torch.manual_seed(0)
    model = build(preset).eval()
    frames = clip(2, size=(112, 112))[0]
    exact = model.predict_clip(frames)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model.predict_clip(frames)
    assert torch.isfinite(rough).all()
    torch.testing.assert_close(rough.float(), exact, atol=0.05, rtol=0.05)
