"""Recipes: what can be said, and how what cannot is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from endodav.errors import RecipeError
from endodav.training.recipe import bundled_recipes, read_recipe, write_recipe


@pytest.mark.parametrize("name", bundled_recipes())
def test_bundled_recipes_are_possible_and_survive_writing(name: str, tmp_path: Path) -> None:
    recipe = read_recipe(name)
    assert recipe.name == name
    write_recipe(recipe, tmp_path / "recipe.yaml")
    assert read_recipe(tmp_path / "recipe.yaml") == recipe


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stepz: 3", r"'stepz'; allowed: name, preset, seed, steps"),
        ("batch: {clip: 3}", r"'batch.clip'; allowed: sizes, lengths, clip_frames, images"),
        ("precision: float8", r"'precision' is 'float8'; input should be 'float32' or 'bfloat16'"),
        ("steps: 0", r"'steps' is 0; input should be greater than 0"),
        (
            "batch: {sizes: [[112, 100]]}",
            r"'batch.sizes' has \(112, 100\); allowed: multiples of 16",
        ),
        ("preset: vits", r"'preset' is 'vits'; allowed: endodav-tiny, depth-anything"),
        ("batch: {lengths: [8, 40]}", r"'batch.lengths' has 40; allowed: 1 to 32"),
        (
            "{preset: depth-anything-v2-small, freeze: spatial,"
            " batch: {lengths: [1], sizes: [[28, 28]]}}",
            r"'freeze' is 'spatial', .*; allowed: 'nothing' or 'encoder'",
        ),
        ("steps: 10", r"'optimiser.warmup_steps' is 100; allowed: less than 10"),
        ("loss: {trim: 1.0}", r"'loss.trim' is 1.0; input should be less than 1"),
        ("loss: {video: tgv}", r"'loss.video' is 'tgv'; input should be 'tgm', 'se', 'opw'"),
        ("sources: [{kind: dataset}]", r"'sources.0.path' is .*; field required"),
        ("sources: [{kind: dataset, path: x, name: scard}]", r"'scard'; allowed: scared, hamlyn"),
        ("sources: [{families: {moon: 1}}]", r"'sources.0.*'"),
        ("sources: [{kind: rendered, families: {moon: 1}}]", r"families' has 'moon'; allowed: "),
        ("sources: [{kind: rendered, wait: 1}]", r"'sources.0.wait'; allowed: kind, weight"),
        ("loss: {video: opw}", r"'batch.lengths' has 32; allowed: 1 to 12"),
        ("{distil: {teacher: x}, batch: {images: 0}}", r"'batch.images' is 0; allowed: 1 or more"),
        ("[1, 2]", "must be a mapping"),
        ("a: [", "is not YAML"),
    ],
)
def test_the_impossible_is_refused_in_one_sentence(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=said) as refused:
        read_recipe(path)
    message = str(refused.value)
    assert "\n" not in message
    assert message.endswith(".")


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(RecipeError, match="vda-tiny"):
        read_recipe("vda-huge")


def test_the_bundled_model_is_made_in_four_stages() -> None:
    stages = [read_recipe("vda-tiny")]
    while (before := stages[-1].before) is not None:
        stages.append(before)
    assert [stage.freeze for stage in stages] == ["spatial", "nothing", "encoder", "nothing"]
    assert [stage.init for stage in stages] == [*(stage.name for stage in stages[1:]), "random"]
    assert stages[0].steps_in_all == sum(stage.steps for stage in stages)
    assert len({stage.seed for stage in stages}) == len(stages)  # and so no scene comes twice


def test_recipes_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read_recipe("vda-tiny").steps = 3  # type: ignore[misc]
