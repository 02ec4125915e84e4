"""Laws of the self-supervised step, its schedule and its networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from endodav.errors import RecipeError, WeightsError
from endodav.models.adapters import train_only
from endodav.models.depth import EndoDAV, build
from endodav.models.resnet import ResNet18
from endodav.training.adaptation.batch import VideoBatch
from endodav.training.adaptation.networks import RegistrationNetworks
from endodav.training.adaptation.pretrained import load_imagenet
from endodav.training.adaptation.recipe import (
    AdaptRecipe,
    DataRecipe,
    DepthRecipe,
    RegistrationLossRecipe,
    ScheduleRecipe,
    bundled_recipes,
    read_recipe,
)
from endodav.training.adaptation.registration import register
from endodav.training.adaptation.schedule import (
    depth_parameters,
    ever_trained,
    plan,
    trainable_table,
)
from endodav.training.adaptation.start import adapted_preset, start
from endodav.training.adaptation.step import depth_errors, depth_phase, flow_phase, observe
from endodav.weights.keymaps import to_official

SMALL = DataRecipe(size=(64, 64), targets=2)
WEIGHTS = RegistrationLossRecipe(projection=1.0, flow_projection=1.0)


@pytest.fixture(scope="module")
def networks() -> RegistrationNetworks:
    begun = start(AdaptRecipe(name="test", data=SMALL), download=False)
    assert isinstance(begun.networks, RegistrationNetworks)
    return begun.networks.eval()


def batch(clips: int = 1, seed: int = 0) -> VideoBatch:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(clips, 1, 3, 16, 16, generator=generator).repeat(1, 4, 1, 1, 1)
    wall = torch.nn.functional.interpolate(coarse.flatten(0, 1), (64, 64), mode="bilinear")
    frames = wall.view(clips, 4, 3, 64, 64)
    frames = torch.stack([frames[:, k].roll(k, dims=-1) for k in range(4)], dim=1)
    return VideoBatch(frames, frames, torch.ones_like(frames[:, :, :1], dtype=torch.bool))


def test_masked_pixels_do_not_count(networks: RegistrationNetworks) -> None:
    plain, seen = batch(), batch()
    hidden = plain.valid.clone()
    hidden[..., :20] = False
    masked = VideoBatch(plain.frames, plain.augmented, hidden)
    visible = register(networks.flow, masked, 1).visible
    assert visible.any()
    assert not visible[..., :20].any()
    noisy = seen.frames.clone()
    noisy[..., :10] = 0.5  # SSIM reaches two pixels far, and warps hardly any in a new network
    changed = VideoBatch(noisy, plain.augmented, hidden)
    registered = [register(networks.flow, each, 1).registered[0] for each in (masked, changed)]
    torch.testing.assert_close(registered[0][..., 12:], registered[1][..., 12:])


def test_nothing_valid_gives_no_nan(networks: RegistrationNetworks) -> None:
    plain = batch()
    black = VideoBatch(plain.frames * 0, plain.augmented * 0, plain.valid & False)
    assert flow_phase(networks, black, WEIGHTS).total.isfinite()
    assert depth_phase(observe(networks, black), black, WEIGHTS).total.isfinite()


def test_depths_of_different_clips_are_never_compared(networks: RegistrationNetworks) -> None:
    with torch.no_grad():
        both, (one, other) = batch(2), (batch(2), batch(2))
        one = VideoBatch(both.frames[:1], both.augmented[:1], both.valid[:1])
        other = VideoBatch(both.frames[1:], both.augmented[1:], both.valid[1:])
        scenes = [observe(networks, each) for each in (both, one, other)]
        errors = [
            depth_errors(scene, each.clip_length, 1, 0)[0]
            for scene, each in zip(scenes, (both, one, other), strict=True)
        ]
    apart = torch.cat([errors[1].values, errors[2].values])
    torch.testing.assert_close(errors[0].values, apart, rtol=1e-3, atol=1e-5)
    assert len(apart) == 2  # one pair of neighbouring targets in each clip


def test_each_phase_moves_its_own(networks: RegistrationNetworks) -> None:
    flow = list(networks.flow.parameters())
    train_only(networks, flow)
    flow_phase(networks, batch(), WEIGHTS).total.backward()
    assert all(p.grad is None for p in networks.companions())
    assert any(p.grad is not None and p.grad.any() for p in flow)
    networks.zero_grad(set_to_none=True)
    assert isinstance(networks.depth, EndoDAV)
    train_only(networks, [*networks.depth.spatial_parameters(), *networks.companions()])
    depth_phase(observe(networks, batch()), batch(), WEIGHTS).total.backward()
    assert all(p.grad is None for p in flow)
    assert all(p.grad is not None for p in networks.depth.spatial_parameters())
    networks.zero_grad(set_to_none=True)


def test_parts_add_up(networks: RegistrationNetworks) -> None:
    with torch.no_grad():
        scene = observe(networks, batch())
        spatial = depth_phase(scene, batch(), WEIGHTS, temporal=False)
        temporal = depth_phase(scene, batch(), WEIGHTS, temporal=True)
    torch.testing.assert_close(sum(spatial.parts.values()) / 4, spatial.total)
    extra = {name for name in temporal.parts if name not in spatial.parts}
    assert extra == {f"{k}/{s}" for k in ("projection", "flow_projection") for s in range(4)}


def test_the_schedule_is_a_function_of_the_step() -> None:
    schedule = ScheduleRecipe(warm_up_steps=1000, depth_every=2, decay_steps=600)
    kinds = [plan(schedule, step).temporal for step in range(1000)]
    assert kinds == ([False] * 400 + [True] * 100) * 2
    assert [plan(schedule, step).warm_up for step in (999, 1000)] == [True, False]
    assert [plan(schedule, step).depth for step in range(4)] == [True, False, True, False]
    rates = [plan(schedule, step).learning_rate for step in (599, 600, 1200)]
    assert rates == pytest.approx([1e-4, 1e-5, 1e-6])


def test_depth_may_wait_for_the_camera() -> None:
    schedule = ScheduleRecipe(depth_from=3, depth_every=2)
    assert [plan(schedule, step).depth for step in range(7)] == [0, 0, 0, 0, 1, 0, 1]


def test_all_that_ever_trains_is_known_to_the_optimiser() -> None:
    """The released trainers hand Adam only what trains in the first step."""
    recipe = AdaptRecipe(
        name="test",
        data=SMALL,
        depth=DepthRecipe(adapters="dvlora", train_output=True),
        schedule=ScheduleRecipe(warm_up_steps=700),
    )
    begun = start(recipe, download=False).networks
    known = {id(p) for p in ever_trained(begun, recipe.depth, recipe.schedule)}
    for step in range(0, 2000, 50):
        now = plan(recipe.schedule, step)
        assert {id(p) for p in depth_parameters(begun.depth, recipe.depth, now)} <= known
    assert known > {id(p) for p in begun.companions()}


def test_endodav_small_trains_49600_scalars() -> None:
    recipe = AdaptRecipe(name="test", base="video-depth-anything-small")
    with torch.device("meta"):
        networks = RegistrationNetworks(build(adapted_preset(recipe)))  # type: ignore[arg-type]
    rows = trainable_table(networks, recipe.depth, ScheduleRecipe(warm_up_steps=0))
    counts = {(row.part, row.trains): row.scalars for row in rows}
    assert counts["depth", "spatial"] + counts["depth", "temporal"] == 49_600


@pytest.mark.parametrize("name", ["endodav", "endodac", "endoufm", "af-sfm"])
def test_every_recipe_starts_from_every_base(name: str) -> None:
    assert name in bundled_recipes()
    recipe = read_recipe(name)
    if recipe.depth.family == "resnet":
        return
    for size in ("small", "base", "large"):
        for family in ("video-depth-anything", "depth-anything-v2"):
            sized = recipe.model_copy(update={"base": f"{family}-{size}"})
            with torch.device("meta"):
                build(adapted_preset(sized))


@pytest.mark.parametrize("name", bundled_recipes())
def test_every_recipe_fits_its_own_base(name: str) -> None:
    recipe = read_recipe(name)
    if recipe.depth.family == "resnet":
        return
    preset = adapted_preset(recipe)
    shape = preset.preprocessing.image_shape
    assert shape is not None
    assert build(preset).encoder.grid(*shape)


def test_a_size_that_patches_do_not_fill_is_refused() -> None:
    recipe = AdaptRecipe(name="test", depth=DepthRecipe(image_shape=(112, 140)))
    with pytest.raises(RecipeError, match=r"'depth.image_shape' is \[112, 140\]; .* of 16"):
        adapted_preset(recipe)


def test_new_adapters_change_nothing(networks: RegistrationNetworks) -> None:
    """A run starts from what its base computes."""
    from endodav.weights.hub import load

    base, depth = load("endodav-tiny").model, networks.depth
    assert isinstance(depth, EndoDAV)
    shared = base.state_dict()
    own = depth.state_dict()
    assert all(torch.equal(own[name], value) for name, value in shared.items())


def test_a_base_that_cannot_be_adapted() -> None:
    with pytest.raises(RecipeError, match="cannot be adapted"):
        adapted_preset(AdaptRecipe(name="test", base="depth-anything-v2-metric-indoor-small"))


def test_an_impossible_recipe_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    for text, said in (
        ("depth: {family: endoufm}", "go together"),
        ("base: nothing", "allowed"),
        ("schedule: {stepz: 3}", "stepz"),
        ("[1, 2]", "YAML"),
        ("data: {size: [63, 64]}", "size"),
    ):
        path.write_text(text)
        with pytest.raises(RecipeError, match=said):
            read_recipe(path)
    with pytest.raises(RecipeError, match="endodac"):
        read_recipe("nothing")


def test_imagenet_sees_two_equal_images_as_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    single, pair = ResNet18(images=1).eval(), ResNet18(images=2).eval()
    official = to_official(single.state_dict(), "resnet18_2img")
    state = {name.removeprefix("encoder."): value for name, value in official.items()}
    state |= {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    path = tmp_path / "resnet18.pth"
    torch.save(state, path)
    load_imagenet([pair], path)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for one, two in zip(single(image), pair(torch.cat([image, image], 1)), strict=True):
            torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-5)


def test_another_network_is_no_resnet(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="no ResNet-18"):
        load_imagenet([ResNet18()], tmp_path / "other.pth")
