"""The study of EndoDAV's table 2: one endoscope, and only the projection loss differs."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

from endodav.data.sequence import Sequence as Video
from endodav.errors import RecipeError
from endodav.models.adapters import adapted_layers
from endodav.training.adaptation import study
from endodav.training.adaptation.camera import Sighting
from endodav.training.adaptation.recipe import (
    AdaptRecipe,
    DataRecipe,
    DepthRecipe,
    RegistrationLossRecipe,
    ScheduleRecipe,
    read_recipe,
)
from endodav.training.adaptation.start import start
from endodav.training.adaptation.study import (
    camera_errors,
    study_tables,
    variant,
    weaken,
    with_steps,
)
from endodav.training.adaptation.study_footage import Shooting, film

SHOOTING = Shooting(unlabelled=1, seen=1, unseen=2, frames=18, height=40, width=50)
RECIPE = AdaptRecipe(
    name="test",
    data=DataRecipe(size=(34, 34), targets=2),
    depth=DepthRecipe(image_shape=(32, 32)),
    loss=RegistrationLossRecipe(projection=0.1, relative=True),
    schedule=ScheduleRecipe(steps=3, spatial_steps=1, temporal_steps=1, depth_from=1),
)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the videos are rendered once."""
    folder = tmp_path_factory.mktemp("study")
    film(SHOOTING, folder / "footage")
    return folder


@pytest.fixture
def video(work: Path) -> Video:
    return film(SHOOTING, work / "footage").scored["unseen"][0]


def test_what_is_filmed_is_one_endoscope_that_moves(work: Path) -> None:
    filmed = film(SHOOTING, work / "footage")
    assert len(list(filmed.unlabelled.rglob("*.png"))) == SHOOTING.frames
    assert {path.suffix for path in filmed.unlabelled.rglob("*.*")} == {".png"}
    videos = [video for group in filmed.scored.values() for video in group]
    assert [len(video) for video in videos] == [SHOOTING.frames] * 3
    cameras = [video.intrinsics for video in videos]
    assert cameras[0] is not None
    np.testing.assert_array_equal(cameras[0], cameras[1])
    assert all(video.distortion is None for video in videos)


@pytest.mark.usefixtures("narrow_networks")
def test_a_weakened_network_can_be_repaired_by_its_adapters() -> None:
    weak = start(RECIPE, download=False).networks.depth
    with torch.no_grad():
        for _, layer in adapted_layers(weak):  # half precision rounds some to 0, without a ratio
            layer.weight[layer.weight == 0] = 1e-4
    whole = deepcopy(weak)
    weaken(weak, 3)
    pairs = list(zip(adapted_layers(whole), adapted_layers(weak), strict=True))
    assert len(pairs) == 20  # two of every block, one of every motion module
    for (_, plain), (_, layer) in pairs:
        ratio = layer.weight / plain.weight  # a row times a column
        with torch.no_grad():
            layer.adapter.B.copy_(1 / ratio[:, :1])
            layer.adapter.A.copy_((ratio[0, 0] / ratio[0])[:, None])
            torch.testing.assert_close(layer.adapter(layer.weight), plain.weight)


@pytest.mark.usefixtures("narrow_networks")
def test_a_camera_that_knows_nothing_is_worse_than_the_truth(video: Video) -> None:
    torch.manual_seed(0)
    still = camera_errors(None, video, (34, 34))
    assert still["ate"] > 0
    assert still["rotation"] > 0
    networks = start(RECIPE, download=False).networks.eval()
    found = camera_errors(networks, video, (34, 34))
    assert found["rotation"] == pytest.approx(still["rotation"], rel=0.2)  # hardly any motion yet
    assert found["focal"] > 1


@pytest.mark.usefixtures("narrow_networks")
def test_a_camera_that_looks_sees_more(video: Video) -> None:
    networks = start(RECIPE.model_copy(update={"camera": "direct"}), download=False).networks.eval()
    found, still = (camera_errors(who, video, (34, 34)) for who in (networks, None))
    assert found["ate"] < still["ate"]


@pytest.mark.usefixtures("narrow_networks")
def test_the_true_camera_has_no_error(video: Video, monkeypatch: pytest.MonkeyPatch) -> None:
    poses = np.stack([ref.T_world_from_camera for ref in video.refs])[:: study.GAP]
    true = torch.from_numpy(np.linalg.inv(poses[2:]) @ poses[1:-1]).float()
    true[:, :3, 3] *= 0.01  # another unit
    sighting = Sighting(torch.eye(3).expand(len(true), 3, 3), {1: true})
    monkeypatch.setattr(study, "look", lambda *_: sighting)
    networks = start(RECIPE, download=False).networks.eval()
    found = camera_errors(networks, video, (34, 34))
    assert found["ate"] == pytest.approx(0, abs=1e-3)
    assert found["rotation"] == pytest.approx(0, abs=0.02)


@pytest.mark.usefixtures("narrow_networks")
def test_the_table_has_the_papers_rows_and_is_not_computed_twice(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    tables = study_tables(RECIPE, 1, work, said.append, SHOOTING)
    assert [len(table.videos) for table in tables.values()] == [1, 2]
    table = tables["unseen"]
    assert table.names == ["weakened", "neither", "projection loss", "alignment", "both"]
    assert table.metrics == list(study.SHOWN)
    assert all(np.isfinite(row.scores[name]).all() for row in table.rows for name in table.metrics)
    assert len(list((work / "companions").iterdir())) == 1  # shared by both runs of the seed
    printed = table.to_markdown()
    assert "0.195" in printed  # the paper's
    assert "62 % in the paper" in printed
    assert any("still" in note for note in table.notes)
    monkeypatch.setattr(study, "_run", lambda *_: pytest.fail("computed again"))
    again = study_tables(RECIPE, 1, work, said.append, SHOOTING)
    assert again["unseen"].to_markdown() == printed


def test_the_bundled_recipe_is_the_studys() -> None:
    recipe = read_recipe("ablation")
    study.check(recipe)
    half = with_steps(recipe, recipe.schedule.steps // 2)
    assert half.schedule.depth_from == recipe.schedule.depth_from // 2
    without = variant(recipe, 2, projection=False)
    assert isinstance(without.loss, RegistrationLossRecipe)
    assert (without.seed, without.loss.projection) == (2, 0.0)
    with pytest.raises(RecipeError, match="nothing to leave out"):
        study.check(without)
    with pytest.raises(RecipeError, match="does not train EndoDAV"):
        study.check(read_recipe("endodac"))
