"""Training recipes: typed, frozen, read from YAML, and refused where they ask the impossible."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from endodav.data.registry import DATASETS
from endodav.errors import RecipeError
from endodav.files import written_whole
from endodav.losses.supervised import THRESHOLD
from endodav.losses.video import FLOW_TERMS
from endodav.models.presets import PRESETS
from endodav.synthetic import FAMILIES

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]


class Section(BaseModel):
    """A part of a recipe: frozen, and without fields that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ClipsRecipe(Section):
    """The rendered clips of a run: a window that slides over an endless sequence of them.

    Step k draws from the newest `keep` of the first `at_start + k * per_step` clips. So training
    starts at once, rendering goes on beside it, and the disk holds no more than `keep` clips.

    Attributes:
        first: number of the first clip; clips of one run have the same scene where the number is.
        total: how many different clips the run may see.
        keep: clips that a step chooses from at most; older ones are deleted.
        at_start: clips made by step 0.
        per_step: clips made in each further step, until there are `total`.
        ahead: clips that are rendered before their step has come.
        frames: frames of a rendered clip.
        strides: steps of the camera's and the scene's motion from one frame to the next; a clip has
            the one whose turn it is by its seed. Only wide ones show how scale changes with time:
            where they are 1, the median depth of eight frames varies by 2 % in most clips.
        height: rows rendered; crops of it become the network's input.
        width: columns rendered.
        workers: processes that make batches, rendering what is missing; 0 makes them in the
            training process.
        renderers: processes that do nothing but render ahead.
        device: where clips are rendered.
    """

    first: Annotated[int, Field(ge=0, lt=1_000_000)] = 0
    total: Annotated[int, Field(gt=0, le=1_000_000)] = 1_000_000
    keep: PositiveInt = 1000
    at_start: PositiveInt = 40
    per_step: NonNegativeFloat = 0.5
    ahead: NonNegativeInt = 32
    frames: PositiveInt = 12
    strides: tuple[PositiveInt, ...] = Field(default=(1,), min_length=1)
    height: PositiveInt = 128
    width: PositiveInt = 160
    workers: NonNegativeInt = 1
    renderers: NonNegativeInt = 1
    device: Literal["cpu", "cuda"] = "cpu"


class BatchRecipe(Section):
    """What one step sees: clips, and single images of other clips.

    Attributes:
        sizes: (height, width) of the network's input, multiples of the side of a patch; each
            step draws one of them.
        lengths: frames of a clip; each step draws one length.
        clip_frames: frames of all clips of a batch together; a longer clip comes alone.
        images: single images in a batch.
    """

    sizes: tuple[tuple[PositiveInt, PositiveInt], ...] = Field(default=((112, 144),), min_length=1)
    lengths: tuple[PositiveInt, ...] = Field(default=(4, 8, 16, 32), min_length=1)
    clip_frames: PositiveInt = 16
    images: NonNegativeInt = 8


class OptimiserRecipe(Section):
    """What changes the weights, with a linear warm-up and a cosine to zero.

    Attributes:
        rule: AdamW for all parameters, or Muon for the weights of linear and convolutional layers
            and AdamW for the rest.
        learning_rate: at the end of the warm-up.
        muon_pace: learning rate of what Muon changes, as a multiple of the other.
        weight_decay: of the weights of linear and convolutional layers; nothing else decays.
        warmup_steps: steps from zero to `learning_rate`.
        max_gradient_norm: gradients longer than this are scaled back to it.
        ema_decay: of the running average of the weights, which is what a run delivers.
        max_skipped: steps in a row whose gradient is not finite, at which the run gives up.
    """

    rule: Literal["adamw", "muon"] = "adamw"
    learning_rate: PositiveFloat = 5e-4
    muon_pace: PositiveFloat = 2.0
    weight_decay: NonNegativeFloat = 0.05
    warmup_steps: NonNegativeInt = 100
    max_gradient_norm: PositiveFloat = 1.0
    ema_decay: Fraction = 0.999
    max_skipped: PositiveInt = 10


class LossRecipe(Section):
    """Weights of the loss.

    Attributes:
        video: what keeps a clip together, as in Video Depth Anything's ablation: temporal gradient
            matching, stable error along the flow, difference along the flow, one alignment for the
            clip, or nothing.
        spatial: scale-and-shift-invariant error of each frame of a clip.
        gradient: spatial gradient matching, within the spatial error.
        temporal: what `video` names.
        threshold: share of a frame's range; where the target changes more, changes do not count in
            tgm, se and opw. Video Depth Anything's is 0.05. Where much changes, what is left then
            teaches networks to hold scale still while the camera moves; 9 leaves nothing out.
        log: scale-invariant error of log inverse depth; pins the shift that the others leave free.
        log_gradient: spatial gradient matching, within the log error.
        scale: square of the log of a batch's mean inverse depth. Nothing else holds the factor by
            which inverse depth is off, and a network that starts from nothing lets it grow.
        images: everything that comes from single images.
        trim: share of the largest residuals to leave out.
    """

    video: Literal["tgm", "se", "opw", "video-align", "ssi"] = "tgm"
    spatial: NonNegativeFloat = 1.0
    gradient: NonNegativeFloat = 0.5
    temporal: NonNegativeFloat = 10.0
    threshold: PositiveFloat = THRESHOLD
    log: NonNegativeFloat = 1.0
    log_gradient: NonNegativeFloat = 0.0
    scale: NonNegativeFloat = 0.0
    images: NonNegativeFloat = 1.0
    trim: Fraction = 0.0


class DistilRecipe(Section):
    """Distillation of an image model, on the single images of a batch.

    Attributes:
        teacher: a model by name or run folder.
        weight: of the scale-and-shift-invariant distance from it.
    """

    teacher: str
    weight: PositiveFloat = 0.5


class RenderedSource(Section):
    """Clips that are rendered while the run goes on, as `clips` says.

    Attributes:
        kind: "rendered".
        weight: how often a clip comes from here, against the other sources.
        families: how often a scene is of which family; the renderer's own weights if empty.
    """

    kind: Literal["rendered"] = "rendered"
    weight: PositiveFloat = 1.0
    families: dict[str, PositiveFloat] = {}


class DatasetSource(Section):
    """Clips of a dataset on disk.

    Attributes:
        kind: "dataset".
        weight: how often a clip comes from here, against the other sources.
        name: of the dataset's layout, as in `endodav.data.registry.DATASETS`; what `endodav render`
            writes is "rendered".
        path: its folder.
    """

    kind: Literal["dataset"]
    weight: PositiveFloat = 1.0
    name: str = "rendered"
    path: Path


Source = Annotated[RenderedSource | DatasetSource, Field(discriminator="kind")]


class WatchRecipe(Section):
    """What is logged and kept while a run goes on.

    Attributes:
        log_steps: steps between two lines of losses.
        evaluate_steps: steps between two evaluations of the averaged weights.
        sample_evaluations: evaluations from one picture of image, prediction and truth to the next.
        clips: held-out rendered clips to evaluate on; their seeds never occur in training.
        datasets: to evaluate on besides. Only watched: nothing is chosen by them.
        checkpoint_minutes: time between two checkpoints.
    """

    log_steps: PositiveInt = 20
    evaluate_steps: PositiveInt = 300
    sample_evaluations: PositiveInt = 5
    clips: PositiveInt = 8
    datasets: tuple[DatasetSource, ...] = ()
    checkpoint_minutes: PositiveFloat = 5.0


class TrainRecipe(Section):
    """Everything that decides what a training run computes.

    Attributes:
        name: of the run's model.
        preset: architecture, one of `endodav.models.presets.PRESETS`.
        seed: of the initial weights, the clips and their augmentation; below 1000.
        steps: optimiser steps.
        precision: of the network's forward pass; weights, losses and the optimiser stay float32.
        init: "random"; a model by name or run folder whose weights the run begins with (an image
            model may begin a video model); or the name of a recipe of this package, whose weights
            are trained first.
        freeze: part of the network that keeps its first weights; "spatial" is all but the motion
            modules, so that nothing but time is learned.
        distil: what single images are distilled from, if anything.
        sources: where clips come from.
        clips: those that are rendered.
        scenes: clips that single images come from, rendered ones too, as short as a frame: many
            scenes cost what a few clips do. Processes that make batches are those of `clips`.
            Single images are frames of `clips` if None.
    """

    name: str
    preset: str = "endodav-tiny"
    seed: Annotated[int, Field(ge=0, lt=1000)] = 0
    steps: PositiveInt = 5000
    precision: Literal["float32", "bfloat16"] = "float32"
    init: str = "random"
    freeze: Literal["nothing", "encoder", "spatial"] = "nothing"
    distil: DistilRecipe | None = None
    sources: tuple[Source, ...] = Field(default=(RenderedSource(),), min_length=1)
    clips: ClipsRecipe = ClipsRecipe()
    scenes: ClipsRecipe | None = None
    batch: BatchRecipe = BatchRecipe()
    optimiser: OptimiserRecipe = OptimiserRecipe()
    loss: LossRecipe = LossRecipe()
    watch: WatchRecipe = WatchRecipe()

    @model_validator(mode="after")
    def _is_possible(self) -> TrainRecipe:
        if self.preset not in PRESETS:
            raise ValueError(f"'preset' is '{self.preset}'; allowed: {', '.join(PRESETS)}")
        patch = PRESETS[self.preset].encoder.patch_size
        for size in self.batch.sizes:
            if any(side % patch for side in size):
                raise ValueError(
                    f"'batch.sizes' has {size}; allowed: multiples of {patch}, the side of the"
                    " preset's patches"
                )
        longest = PRESETS[self.preset].max_window
        if max(self.batch.lengths) > longest:
            raise ValueError(
                f"'batch.lengths' has {max(self.batch.lengths)}; allowed: 1 to {longest}, the"
                " frames that the preset sees at once"
            )
        if longest == 1 and self.freeze == "spatial":
            raise ValueError(
                "'freeze' is 'spatial', which leaves an image model nothing to learn; allowed:"
                " 'nothing' or 'encoder'"
            )
        if self.optimiser.warmup_steps >= self.steps:
            raise ValueError(
                f"'optimiser.warmup_steps' is {self.optimiser.warmup_steps}; allowed: less than"
                f" {self.steps}, the steps of the run ('steps')"
            )
        self._sources_are_possible()
        return self

    def _sources_are_possible(self) -> None:
        for number, source in enumerate(self.sources):
            where = f"'sources.{number}"
            if isinstance(source, RenderedSource):
                _check(f"{where}.families'", source.families, FAMILIES)
                continue
            _check(f"{where}.name'", [source.name], DATASETS)
            if self.wants_flow:
                raise ValueError(
                    f"{where}.kind' is 'dataset', which has no flow; allowed: 'rendered' with"
                    f" 'loss.video' '{self.loss.video}'"
                )
        if self.wants_flow and max(self.batch.lengths) > self.clips.frames:
            raise ValueError(
                f"'batch.lengths' has {max(self.batch.lengths)}; allowed: 1 to {self.clips.frames}"
                f" ('clips.frames') with 'loss.video' '{self.loss.video}', as flow runs one way"
            )
        if self.distil is not None and not self.batch.images:
            raise ValueError("'batch.images' is 0; allowed: 1 or more with 'distil'")

    @property
    def before(self) -> TrainRecipe | None:
        """The recipe that makes the weights to begin with; None if `init` names none."""
        return read_recipe(self.init) if self.init in bundled_recipes() else None

    @property
    def steps_in_all(self) -> int:
        """Its own steps, and those of all that comes before."""
        return self.steps + (self.before.steps_in_all if self.before else 0)

    @property
    def of_images(self) -> TrainRecipe | None:
        """A recipe whose clips are what single images come from; None if they are frames of clips.

        They need no flow, whatever holds clips together.
        """
        if self.scenes is None:
            return None
        loss = self.loss.model_copy(update={"video": "ssi"})
        return self.model_copy(update={"clips": self.scenes, "scenes": None, "loss": loss})

    @property
    def renderings(self) -> tuple[TrainRecipe, ...]:
        """This recipe, and that of the images if they come from clips of their own."""
        return (self,) if self.of_images is None else (self, self.of_images)

    @property
    def wants_flow(self) -> bool:
        """Whether the loss needs the flow of the clips."""
        return self.loss.video in FLOW_TERMS


def _check(field: str, values: Iterable[str], allowed: Collection[str]) -> None:
    for value in values:
        if value not in allowed:
            raise ValueError(f"{field} has '{value}'; allowed: {', '.join(allowed)}")


def bundled_recipes(package: str = "endodav.training") -> tuple[str, ...]:
    """Names of the recipes that come with a package."""
    folder = resources.files(package).joinpath("recipes")
    return tuple(sorted(Path(entry.name).stem for entry in folder.iterdir()))


def recipe_text(name_or_path: str | Path, package: str = "endodav.training") -> str:
    """What a YAML file holds, or the recipe of that name that comes with a package.

    Raises:
        RecipeError: there is none.
    """
    path, bundled = Path(name_or_path), bundled_recipes(package)
    if str(name_or_path) in bundled:
        return resources.files(package).joinpath(f"recipes/{path}.yaml").read_text()
    if path.is_file():
        return path.read_text()
    raise RecipeError(
        f"There is no recipe '{name_or_path}': give a YAML file or one of {', '.join(bundled)}."
    )


def read_recipe(name_or_path: str | Path) -> TrainRecipe:
    """Read a recipe: a YAML file, or the name of one that comes with the package.

    Raises:
        RecipeError: there is none, it is no YAML, or it asks for something impossible; the message
            names the field and what it may be.
    """
    path, text = Path(name_or_path), recipe_text(name_or_path)
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        where = " ".join(str(error).split())
        raise RecipeError(f"The recipe '{path}' is not YAML: {where}.") from error
    if not isinstance(content, dict):
        raise RecipeError(f"The recipe '{path}' must be a mapping of fields to values.")
    try:
        return TrainRecipe.model_validate({"name": path.stem} | content)
    except ValidationError as error:
        raise RecipeError(f"The recipe '{path}' is impossible: {_explain(error)}.") from error


def write_recipe(recipe: Section, path: Path) -> None:
    """Write every field of a recipe, defaults too, as YAML that can be read back."""
    with written_whole(path) as partial:
        partial.write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))


def _explain(error: ValidationError) -> str:
    """The first thing wrong, as 'field' and what it may be."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"] if part not in SOURCES)
    if first["type"] == "extra_forbidden":
        allowed = ", ".join(_section(first["loc"][:-1]).model_fields)
        return f"there is no field '{field}'; allowed: {allowed}"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    return f"'{field}' is {first['input']!r}; {first['msg'][0].lower()}{first['msg'][1:]}"


def _section(location: tuple[int | str, ...]) -> type[BaseModel]:
    """The part of the recipe that a field's location leads to."""
    section: type[BaseModel] = TrainRecipe
    for part in location:
        if part in SOURCES:  # the location names the kind of a source
            section = SOURCES[str(part)]
        elif (field := section.model_fields.get(str(part))) is not None:
            annotation = field.annotation
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                section = annotation
    return section


SOURCES: dict[str, type[Section]] = {"rendered": RenderedSource, "dataset": DatasetSource}
