"""`endodav adapt`: from unlabelled footage to an adapter."""

import warnings
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from endodav.cli.console import err, plain_warnings
from endodav.cli.options import Device, Roi, chosen_field
from endodav.evaluation.reproduction import write_table
from endodav.training.adaptation.consistency import consistency_table, open_run
from endodav.training.adaptation.footage import Footage
from endodav.training.adaptation.pretrained import imagenet_file
from endodav.training.adaptation.recipe import AdaptRecipe, bundled_recipes, read_recipe
from endodav.training.adaptation.rehearsal import Rehearsal, rehearse, stages
from endodav.training.adaptation.survey import survey_cache
from endodav.training.adaptation.trainer import RECIPE_FILE
from endodav.training.adaptation.trainer import adapt as run_adaptation
from endodav.training.engine import Engine, launch
from endodav.training.trainer import silent
from endodav.training.watch import Record, Report
from endodav.weights.runs import ADAPTER_FILE

GIBIBYTE = 2**30
TRAINED, DIRECT = "endodav", "endodav-direct"  # recipes with a camera network, and without
LEFT_OUT = ("norm", "rate", "seconds", "skipped", "step", "temporal")  # of a line on the screen

LESSONS = (
    "No ImageNet weights: {:,} lessons of the camera network come first; --lessons sets how many."
)
NO_LESSONS = "ImageNet weights are at hand, so the camera network takes no lessons."


def adapt(
    footage: Annotated[Path, typer.Argument(help="A folder of videos or images, or one video.")],
    out: Annotated[Path, typer.Option(help="Run folder: recipe, log, checkpoint, adapter.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            help=f"A YAML file, or one of {', '.join(bundled_recipes())}; default: endodav where"
            " ImageNet weights are at hand, else endodav-direct; or that of the resumed run."
        ),
    ] = None,
    base: Annotated[str | None, typer.Option(help="Model to adapt; default: the recipe's.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Default: the recipe's.")] = None,
    lessons: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Of a camera network without ImageNet weights, before the first step; default: the"
            " recipe's.",
        ),
    ] = None,
    roi: Roi = "auto",
    masks: Annotated[
        Path | None, typer.Option(help="Region labels: MASKS/VIDEO-NAME, by `endodav masks`.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Continue an interrupted run.")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Check footage, do one step, print plan, memory and time.")
    ] = False,
    device: Device = "auto",
    precision: Annotated[
        str, typer.Option(help="auto (bf16 on a GPU that has it, else fp32), fp32, bf16, fp16.")
    ] = "auto",
    tensorboard: Annotated[bool, typer.Option(help="Write TensorBoard event files, too.")] = False,
    quiet: Annotated[bool, typer.Option(help="No progress.")] = False,
) -> None:
    """Adapt depth to an endoscope by its own video; `endodav depth --model RUN` uses the result.

    On several GPUs: torchrun --nproc-per-node 4 --no-python endodav adapt FOOTAGE --out RUN
    """
    with plain_warnings():
        engine = launch(device, precision)
        speaks = engine.writes and not quiet
        if not engine.writes:
            warnings.simplefilter("ignore")  # the process that writes says it all
        # A rehearsal downloads nothing, unless to know which recipe it is about.
        download = recipe is None or not dry_run
        with engine.writer_first():  # who downloads; nobody asks again
            imagenet = imagenet_file(download=download) is not None
        plan = _recipe(recipe, out, resume, imagenet, base, steps, lessons)
        found = _survey(footage, plan, roi, masks, engine)
        if speaks:
            err.print(f"Recipe: {plan.name}", markup=False)
            if plan.taught:
                err.print(LESSONS.format(plan.taught), markup=False)
            elif lessons:
                err.print(NO_LESSONS, markup=False)
            _show_footage(found)
        if dry_run:
            seen = rehearse(plan, found, engine.device, precision)
            if engine.writes:
                _show_plan(plan, seen)
            return
        weights = run_adaptation(
            plan,
            found,
            out,
            device=engine.device,
            precision=precision,
            resume=resume,
            tensorboard=tensorboard,
            report=_teller(plan.schedule.steps + plan.taught) if speaks else silent,
            download=False,
        )
    if speaks:
        err.print(f"Adapter: {weights}\nReport: {out / 'report.html'}", markup=False)
        # Opening a run starts an engine, which processes that work together cannot do again.
        if found.held_out and weights.name == ADAPTER_FILE and engine.processes == 1:
            _judge(out, found, plan.watch.clips, engine)


def _judge(run: Path, found: Footage, clips: int, engine: Engine) -> None:
    """Say whether the adapted depth explains the held-out footage better than the base's."""
    table = consistency_table(open_run(run, engine.device), found, clips)
    write_table(table, run / "consistency")
    for note in table.notes:
        err.print(note, markup=False)


def _recipe(
    name: str | None,
    out: Path,
    resume: bool,
    imagenet: bool,
    base: str | None,
    steps: int | None,
    lessons: int | None,
) -> AdaptRecipe:
    own = out / RECIPE_FILE
    if name is None and resume and own.exists():
        return read_recipe(own, base=base, steps=steps, lessons=lessons)
    chosen = name or (TRAINED if imagenet else DIRECT)
    return read_recipe(chosen, base=base, steps=steps, lessons=lessons).settled(imagenet)


def _survey(
    footage: Path, plan: AdaptRecipe, roi: str, masks: Path | None, engine: Engine
) -> Footage:
    """The footage; one process looks through it, the others read what it found."""
    with engine.writer_first():
        return Footage.open(
            footage,
            plan.frames,
            chosen_field(roi),
            masks,
            held_out=plan.watch.share,
            cache=survey_cache(),
        )


def _show_footage(found: Footage) -> None:
    apart = dict.fromkeys(range(len(found.videos)), 0)
    for span in found.held_out:
        apart[span.video] += span.stop - span.start
    for number, video in enumerate(found.videos):
        err.print(
            f"{video.path}: {len(video.times)} frames, {len(video.cuts)} cuts,"
            f" {apart[number]} frames held out, field of view {video.field}",
            markup=False,
        )


def _show_plan(plan: AdaptRecipe, seen: Rehearsal) -> None:
    """Everything that a dry run has found out."""
    schedule = plan.schedule
    turns = f"{schedule.spatial_steps} spatial and {schedule.temporal_steps} temporal in turn"
    phases = Table("from step", "steps", "learning rate", "phases")
    for stage in stages(schedule):
        what = turns if schedule.temporal_steps else "spatial"
        what = what + ", warm-up" * stage.warm_up if stage.depth else "companions of depth alone"
        phases.add_row(f"{stage.first:,}", f"{stage.steps:,}", f"{stage.learning_rate:.3g}", what)
    err.print(phases)
    trains = Table("part", "trains", "tensors", "scalars")
    for row in seen.trains:
        trains.add_row(row.part, row.trains, str(row.tensors), f"{row.scalars:,}")
    err.print(trains)
    begins = "at random (none at hand)" if seen.imagenet is None else f"from {seen.imagenet}"
    memory = f"{seen.peak_bytes / GIBIBYTE:.2f} GiB"
    pace = max(seen.computing, seen.drawing)
    whole = timedelta(seconds=round(pace * schedule.steps + seen.teaching * plan.taught))
    lessons = f"{plan.taught:,} lessons ({seen.teaching:.2f} s each) and " if plan.taught else ""
    losses = ", ".join(f"{name} {value:.4g}" for name, value in _spoken(seen.losses).items())
    for line in (
        f"ResNet encoders begin {begins}.",
        f"One batch of {' x '.join(map(str, seen.shape))}: {losses}.",
        f"Decoding took {seen.drawing:.2f} s, the step {seen.computing:.2f} s; memory {memory}.",
        f"About {whole} for {lessons}{schedule.steps:,} steps, at the pace of the first.",
    ):
        err.print(line, markup=False)


def _teller(steps: int) -> Report:
    """Says each line of the log with the time that is left."""
    since: list[tuple[int, float]] = []

    def tell(record: Record) -> None:
        step = record["step"]
        if "held_out" in record:
            shown, pace = record["held_out"], "held out"
        else:
            since.append((step, record["seconds"]))
            (first, begun), (last, now) = since[0], since[-1]
            each = (now - begun) / (last - first) if last > first else now / last
            left = timedelta(seconds=round(each * (steps - step)))
            shown, pace = _spoken(record), f"{each:.2f} s a step, {left} left"
        parts = ", ".join(f"{name} {value:.4g}" for name, value in shown.items())
        err.print(f"step {step:,} of {steps:,}, {pace}: {parts}", markup=False)

    return tell


def _spoken(record: Record) -> Record:
    """The losses of a record, by phase and term."""
    return {name: value for name, value in record.items() if not name.endswith(LEFT_OUT)}
