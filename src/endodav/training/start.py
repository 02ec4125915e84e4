"""What a run begins with: its network's weights, what of them trains, and who teaches it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from endodav.models.depth import build
from endodav.models.presets import PRESETS, ModelPreset
from endodav.training.data import IMAGE_MEAN, IMAGE_STD
from endodav.training.recipe import DistilRecipe, RenderedSource, TrainRecipe
from endodav.training.steps import Teacher
from endodav.types import Kind
from endodav.weights.checkpoint import load_strict
from endodav.weights.hub import load
from endodav.weights.runs import LoadedModel

RANDOM = "random"
BEFORE = "before"  # folder in that of a run, of the run whose weights it begins with
MOTION = "motion."  # what a video model has and an image model has not
FROZEN = {"nothing": (), "encoder": ("encoder",), "spatial": ("encoder", "head")}  # by `freeze`
FARTHEST = 1e-6  # of the unit of depth; keeps a teacher's zero depth from dividing


def initial_model(recipe: TrainRecipe, run_dir: Path) -> nn.Module:
    """The network of a run as it is before the first step, with frozen parts frozen.

    Args:
        recipe: of the run.
        run_dir: its folder.

    Raises:
        WeightsError: the weights to begin with are not to be had, or of another architecture.
    """
    torch.manual_seed(recipe.seed)
    model = build(PRESETS[recipe.preset])
    if recipe.init != RANDOM:
        given = load(_beginning(recipe, run_dir)).model.state_dict()
        if not any(name.startswith(MOTION) for name in given):
            # New motion modules change nothing: the network begins as the image model.
            own = model.state_dict()
            given |= {name: own[name] for name in own if name.startswith(MOTION)}
        load_strict(model, [given], Path(recipe.init), recipe.preset)
    for part in FROZEN[recipe.freeze]:
        model.get_submodule(part).requires_grad_(False)
    return model.train()


def _beginning(recipe: TrainRecipe, run_dir: Path) -> str:
    """The model, by name or run folder, that a run begins with."""
    return recipe.init if recipe.before is None else str(run_dir / BEFORE)


def load_teacher(recipe: DistilRecipe, device: torch.device) -> Teacher:
    """A frozen model that says the inverse depth of single images.

    Raises:
        WeightsError: there is no such model, or its weights are not to be had.
    """
    loaded = load(recipe.teacher, device=device)
    loaded.model.requires_grad_(False)

    @torch.no_grad()
    def predict(
        images: Float[Tensor, "batch 1 3 height width"],
    ) -> Float[Tensor, "batch 1 height width"]:
        return torch.stack([_inverse_depth(loaded, image) for image in images])

    return Teacher(predict, recipe.weight)


def _inverse_depth(
    loaded: LoadedModel, image: Float[Tensor, "1 3 height width"]
) -> Float[Tensor, "1 height width"]:
    """Of an image normalised as students' are, which the teacher may want otherwise."""

    def column(values: tuple[float, float, float]) -> Tensor:
        return image.new_tensor(values)[:, None, None]

    wanted = loaded.preset.preprocessing
    plain = image * column(IMAGE_STD) + column(IMAGE_MEAN)
    prediction = loaded.model.predict_clip(  # type: ignore[operator]
        (plain - column(wanted.mean)) / column(wanted.std)
    )
    if loaded.preset.kind is Kind.DEPTH:
        prediction = 1 / prediction.clamp(min=FARTHEST)
    resized = F.interpolate(
        prediction[:, None], image.shape[-2:], mode="bilinear", align_corners=True
    )
    return resized[:, 0]


class Provenance(NamedTuple):
    """What the weights of a run may be used for, and where they come from."""

    licence: str
    permissive: bool
    origin: str


OWN = Provenance("Apache-2.0", True, "trained from nothing on clips that endodav.synthetic renders")


def provenance(recipe: TrainRecipe, run_dir: Path) -> Provenance:
    """Of the weights that a run makes; what they inherit limits what they may be used for."""
    teacher = [] if recipe.distil is None else [recipe.distil.teacher]
    begun = [] if recipe.init == RANDOM else [_beginning(recipe, run_dir)]
    ancestors = [_preset_of(name) for name in (*begun, *teacher)]
    datasets = [s.name for s in recipe.sources if not isinstance(s, RenderedSource)]
    if not ancestors and not datasets:
        return OWN
    start = "nothing" if recipe.init == RANDOM else recipe.init
    parts = [f"trained from {start} on {', '.join(['rendered clips', *datasets])}"]
    parts += [f"distilled from {name}" for name in teacher]
    licences = {preset.licence for preset in ancestors}
    licences |= {f"that of the data ({name})" for name in datasets}
    permissive = not datasets and all(preset.permissive for preset in ancestors)
    return Provenance(" and ".join(sorted(licences)), permissive, "; ".join(parts))


def _preset_of(name: str) -> ModelPreset:
    return PRESETS[name] if name in PRESETS else load(name).preset
