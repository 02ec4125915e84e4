"""What a self-supervised run is asked to do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from endodav.errors import RecipeError
from endodav.geometry.motion import COARSEST
from endodav.losses.photometric import SSIM_SHARE
from endodav.models.pose import MOTION_SCALE
from endodav.models.presets import PRESETS
from endodav.training import recipe as training_recipe
from endodav.training.recipe import Section

PACKAGE = "endodav.training.adaptation"

Share = Annotated[float, Field(ge=0, le=1)]
EvenSide = Annotated[int, Field(gt=32, multiple_of=2)]


class RegistrationLossRecipe(Section):
    """Weights of the losses beside registration and reprojection, which weigh 1.

    Attributes:
        method: which losses these are.
        ssim_share: of structure in the photometric error.
        flow_smoothness: of optical flow; halved at each coarser scale.
        appearance: the refined target looks like the registered neighbour.
        appearance_smoothness: of appearance flow.
        disparity_smoothness: halved at each coarser scale.
        projection: depth of a frame, moved to its neighbour, is the neighbour's (EndoDAV, eq. 1-3).
        flow_projection: the same along optical flow.
        relative: compare depths relative to their sum, so that no weight depends on the unit of
            depth; EndoDAV takes differences, which also fall when all depths shrink.
        as_released: compare depths as EndoDAV's program does: also between two clips of a batch, on
            the image border, and against the flow.
    """

    method: Literal["registration"] = "registration"
    ssim_share: Share = SSIM_SHARE
    flow_smoothness: NonNegativeFloat = 1e-3
    appearance: NonNegativeFloat = 1e-2
    appearance_smoothness: NonNegativeFloat = 1e-2
    disparity_smoothness: NonNegativeFloat = 1e-3
    projection: NonNegativeFloat = 1e-2
    flow_projection: NonNegativeFloat = 0.0
    relative: bool = False
    as_released: bool = False


class DecompositionLossRecipe(Section):
    """Weights of EndoUFM's losses beside reprojection, which weighs 1.

    Attributes:
        method: which losses these are.
        ssim_share: of structure in the photometric error of the reprojection.
        reflectance: surfaces reflect the same in both frames.
        reconstruction: reflectance in its light is the image.
        region_smoothness: of disparity inside each region, at the finest scale.
    """

    method: Literal["decomposition"] = "decomposition"
    ssim_share: Share = SSIM_SHARE
    reflectance: NonNegativeFloat = 0.2
    reconstruction: NonNegativeFloat = 0.2
    region_smoothness: NonNegativeFloat = 3e-3


class DataRecipe(Section):
    """What one step sees of the footage.

    Attributes:
        size: rows and columns that frames are resized to; even.
        targets: frames of a clip that get a depth; it has one more on each side.
        clips: of a step, shared among the processes.
        clips_at_once: that a process holds in memory; it adds up gradients of the others. None
            takes all it has. One by one, the losses of each clip weigh the same, and their sum
            does not depend on the number of processes.
        max_stride: frames between two of a clip, drawn from 1 to this.
        flip: how often a clip is mirrored, left and right.
        jitter: how often a clip's colours change.
        jitter_range: of the factors of brightness, contrast and saturation, around 1.
        hue_range: of the turn of hue, as a share of the circle.
        mask_highlights: leave specular highlights out of the losses.
    """

    size: tuple[EvenSide, EvenSide] = (256, 320)
    targets: Annotated[int, Field(ge=1, le=32)] = 16
    clips: PositiveInt = 1
    clips_at_once: PositiveInt | None = None
    max_stride: PositiveInt = 1
    flip: Share = 0.5
    jitter: Share = 0.5
    jitter_range: Share = 0.2
    hue_range: Share = 0.1
    mask_highlights: bool = True


class ScheduleRecipe(Section):
    """Who learns when.

    Attributes:
        steps: of the run, behind the lessons.
        spatial_steps: in a row, of the adapters in the encoder.
        temporal_steps: after them, of the adapters in the motion modules; 0 without.
        warm_up_steps: after which DV-LoRA trains its vectors alone.
        depth_every: steps between two in which depth learns; in the others only camera and light.
        depth_from: step before which depth does not train, so that a camera network that begins
            at random learns to see first.
        learning_rate: at the beginning.
        decay_steps: after which it is multiplied by `decay`, again and again.
        decay: of the learning rate.
        max_gradient_norm: longer gradients are scaled back to it.
    """

    steps: PositiveInt = 20_000
    spatial_steps: PositiveInt = 400
    temporal_steps: NonNegativeInt = 100
    warm_up_steps: NonNegativeInt = 20_000
    depth_every: PositiveInt = 1
    depth_from: NonNegativeInt = 0
    learning_rate: PositiveFloat = 1e-4
    decay_steps: PositiveInt = 10_000
    decay: Annotated[float, Field(gt=0, le=1)] = 0.1
    max_gradient_norm: PositiveFloat = 1.0


class DepthRecipe(Section):
    """The depth network.

    Attributes:
        family: whose adapters and output; `resnet` is AF-SfMLearner's own network, without a base.
        adapters: kind of adapter of every MLP of the encoder.
        rank: of low-rank adapters.
        image_shape: rows and columns that the network resizes frames to; None takes the largest
            multiples of its patches that fit the frames.
        train_output: whether the output layers train, too.
        rate: of learning, as a multiple of the schedule's. A hundred steps move a gain of 1 by a
            hundredth at the published rate, which is made for tens of thousands.
        unit: what depth is counted in: its median over the first clips where it is "median", so
            that motions and losses do not depend on the unit of the base, which is arbitrary;
            "as-released" takes the base's own. Outputs that begin at random have none.
    """

    family: Literal["endodav", "endodac", "endoufm", "resnet"] = "endodav"
    adapters: Literal["lora", "dvlora", "rvlora", "ssb"] = "ssb"
    rank: PositiveInt = 4
    image_shape: tuple[PositiveInt, PositiveInt] | None = None
    train_output: bool = False
    rate: PositiveFloat = 1.0
    unit: Literal["median", "as-released"] = "median"


class LessonsRecipe(Section):
    """What direct alignment finds is what a new camera network learns, alone at first.

    Lessons are for one that cannot begin from ImageNet weights. Behind them every step of the
    schedule begins with one more, about the step's own clips, as the depth gets better by which
    images are aligned.

    Attributes:
        steps: lessons before the schedule.
        clips: of a lesson, each of one target and its neighbours: many places, one by one.
        finest: rows or columns, whichever are fewer, at which images are aligned at most.
        motion_scale: takes the place of the recipe's; a network that begins at random hardly learns
            with the published one.
        rate: of the camera network's learning in the schedule's steps, as a multiple of theirs.
    """

    steps: PositiveInt = 500
    clips: PositiveInt = 16
    finest: Annotated[int, Field(ge=2 * COARSEST)] = 64  # less, and no size may be left
    motion_scale: PositiveFloat = 0.01
    rate: PositiveFloat = 1.0


class WatchRecipe(Section):
    """What is looked at while the networks learn; the weights depend on none of it but `patience`.

    Attributes:
        steps: between two validations; 0 for none, and then nothing is held out.
        held_out: share of each video, its end, that is never trained on.
        clips: of the held-out footage that are looked at, always the same.
        measure: that decides which step is the best: `photometric` (neighbours, warped by depth and
            motion, look like the target), `depth` (depths agree between frames, relative to
            themselves) or `loss` (all losses of the depth phase).
        patience: validations in a row without a better one, after which the run ends; 0 for never.
        picture_steps: between two pictures; 0 for none but the last.
        log_steps: between two lines of the log.
        checkpoint_minutes: between two checkpoints.
    """

    steps: NonNegativeInt = 500
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    clips: PositiveInt = 8
    measure: Literal["photometric", "depth", "loss"] = "photometric"
    patience: NonNegativeInt = 0
    picture_steps: NonNegativeInt = 500
    log_steps: PositiveInt = 10
    checkpoint_minutes: PositiveFloat = 5.0

    @property
    def share(self) -> float:
        """Of the footage that is held out."""
        return self.held_out if self.steps else 0.0


class AdaptRecipe(Section):
    """Everything that decides what a self-supervised run computes.

    Attributes:
        name: of the run's model.
        base: model to adapt, one of `endodav.models.presets.PRESETS`.
        seed: of new weights, clips and augmentation.
        depth: the network.
        loss: its terms: by registration and appearance flow, or by reflectance and light.
        data: what a step sees.
        schedule: who learns when.
        camera: who says how the camera moved: `network`, from two images, as published; or
            `direct`, the motion that makes these images alike, given their depth, solved for anew
            in every step. A network that begins at random needs many thousands of steps; the direct
            way needs none, but believes that what it sees is rigid.
        motion_scale: of the camera network's last output, in radians and units of depth.
        lessons: what the camera network takes first, if anything.
        watch: what is looked at meanwhile.
    """

    name: str
    base: str = "endodav-tiny"
    seed: NonNegativeInt = 0
    depth: DepthRecipe = DepthRecipe()
    loss: Annotated[
        RegistrationLossRecipe | DecompositionLossRecipe, Field(discriminator="method")
    ] = RegistrationLossRecipe()
    data: DataRecipe = DataRecipe()
    schedule: ScheduleRecipe = ScheduleRecipe()
    camera: Literal["network", "direct"] = "network"
    motion_scale: PositiveFloat = MOTION_SCALE
    lessons: LessonsRecipe | None = None
    watch: WatchRecipe = WatchRecipe()

    @model_validator(mode="after")
    def _is_possible(self) -> AdaptRecipe:
        if self.base not in PRESETS:
            raise ValueError(f"'base' is '{self.base}'; allowed: {', '.join(PRESETS)}")
        lit = isinstance(self.loss, DecompositionLossRecipe)
        if lit != (self.depth.family == "endoufm"):
            raise ValueError(
                "'loss.method' and 'depth.family' do not fit: decomposition and endoufm go together"
            )
        if self.lessons is not None and self.camera != "network":
            raise ValueError("'lessons' are for a camera network, but 'camera' is 'direct'")
        if self.watch.patience and not self.watch.steps:
            raise ValueError("'watch.patience' waits for validations, but 'watch.steps' is 0")
        if self.watch.measure == "depth" and self.data.targets == 1:
            raise ValueError(
                "'watch.measure' compares depths of neighbours, but 'data.targets' is 1"
            )
        return self

    @property
    def frames(self) -> int:
        """Of a clip: the targets, and a neighbour on each side."""
        return self.data.targets + 2

    @property
    def taught(self) -> int:
        """Lessons before the first step."""
        return 0 if self.lessons is None else self.lessons.steps

    def data_at(self, step: int) -> DataRecipe:
        """What a step, or before these a lesson, sees of the footage."""
        if self.lessons is None or step >= self.taught:
            return self.data
        return self.data.model_copy(update={"clips": self.lessons.clips, "targets": 1})

    def settled(self, imagenet: bool) -> AdaptRecipe:
        """What a run does where ImageNet weights are at hand: without lessons; and where not."""
        return self.model_copy(update={"lessons": None}) if imagenet else self


def bundled_recipes() -> tuple[str, ...]:
    """Names of the recipes that come with the package."""
    return training_recipe.bundled_recipes(PACKAGE)


def read_recipe(
    name_or_path: str | Path,
    *,
    base: str | None = None,
    steps: int | None = None,
    lessons: int | None = None,
) -> AdaptRecipe:
    """Read a recipe: a YAML file, or the name of one that comes with the package.

    Args:
        name_or_path: of the recipe.
        base: to take instead of the recipe's.
        steps: to take instead of the recipe's.
        lessons: to take instead of the recipe's; 0 for none.

    Raises:
        RecipeError: there is none, it is no YAML, or it asks for something impossible.
    """
    path, text = Path(name_or_path), training_recipe.recipe_text(name_or_path, PACKAGE)
    try:
        content = {"name": path.stem} | (yaml.safe_load(text) or {})
        if base is not None:
            content["base"] = base
        if steps is not None:
            content["schedule"] = content.get("schedule", {}) | {"steps": steps}
        if lessons is not None:
            own = content.get("lessons") or {}
            content["lessons"] = own | {"steps": lessons} if lessons else None
        return AdaptRecipe.model_validate(content)
    except (yaml.YAMLError, TypeError) as error:
        raise RecipeError(f"The recipe '{path}' is not a YAML mapping of fields.") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise RecipeError(
            f"The recipe '{path}' is impossible: {field or 'it'}: {first['msg']}."
        ) from error
