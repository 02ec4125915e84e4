"""`endodav reproduce`: the tables of the papers, on one's own data and weights."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table as RichTable

from endodav.cli.console import err, out, plain_warnings
from endodav.cli.evaluate import open_videos
from endodav.cli.options import Device, Roi, chosen_field
from endodav.data.sequence import Sequence as Video
from endodav.errors import RecipeError
from endodav.evaluation import papers
from endodav.evaluation.candidates import Candidate, Report, shortened
from endodav.evaluation.reproduction import Table, write_table
from endodav.evaluation.runner import DRIFT_LENGTHS
from endodav.evaluation.strategies import Setting, default_settings, strategy_table
from endodav.inference.estimator import DepthEstimator
from endodav.inference.settings import choose_device
from endodav.training.ablation import VARIANTS, ablation_table, with_steps
from endodav.training.adaptation import study
from endodav.training.adaptation.consistency import consistency_table, open_run, strips
from endodav.training.adaptation.footage import Footage
from endodav.training.adaptation.recipe import read_recipe as read_adapt_recipe
from endodav.training.adaptation.survey import survey_cache
from endodav.training.adaptation.watch import write_picture
from endodav.training.recipe import read_recipe
from endodav.weights.hub import load

app = typer.Typer(help="Run the tables of the papers on your data and weights.")

DEFAULT_MODEL = "endodav-tiny"
DEFAULT_OUT = Path("reproduced")
PICTURED = 3  # clips before and after adaptation

Rendered = Annotated[
    str, typer.Option("--data", help="Folder that `endodav render benchmark` made.")
]
Data = Annotated[
    list[str],
    typer.Option("--data", help="NAME=DIR of a dataset, or DIR; may be given again."),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="MODEL, ROW=MODEL or ROW=MODEL,WEIGHTS: name of the row (the paper's, to see its "
        "figures), preset or run folder, checkpoint; may be given again.",
    ),
]
Out = Annotated[Path, typer.Option("--out", help="Folder for the table as JSON and Markdown.")]
Work = Annotated[
    Path | None,
    typer.Option(help="Folder for predictions and scores, used again next time; OUT/work."),
]
Only = Annotated[str, typer.Option(help="Videos whose name matches, as in 'dataset[89]/*'.")]
Frames = Annotated[int | None, typer.Option(min=2, help="First frames of each video only.")]
InputSize = Annotated[
    int | None, typer.Option(help="Shorter side of what networks see; the model's own.")
]
Quiet = Annotated[bool, typer.Option(help="No progress and no table.")]


@app.command("vda-table4")
def vda_table4(
    data: Rendered,
    variant: Annotated[
        list[str] | None,
        typer.Option(help=f"One of {', '.join(VARIANTS)}; may be given again; default: all."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Of each run; the recipe's own if not given.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Runs of each variant.")] = 3,
    recipe: Annotated[str, typer.Option(help="A YAML file or a bundled recipe.")] = "ablation",
    out_dir: Out = DEFAULT_OUT,
    work: Work = None,
    only: Only = "*",
    frames: Frames = 48,
    quiet: Quiet = False,
) -> None:
    """Losses for video: small trainings, scored on rendered videos. Can be resumed."""
    chosen = read_recipe(recipe)
    chosen = chosen if steps is None else with_steps(chosen, steps)
    videos = videos_in(data, only, frames)
    with plain_warnings():
        work = work or out_dir / "work"
        table = ablation_table(
            chosen, variant or list(VARIANTS), seeds, videos, work, reporter(quiet)
        )
    publish(table, out_dir / "vda-table4", quiet)


@app.command("vda-table5")
def vda_table5(
    data: Rendered,
    model: Annotated[str, typer.Option(help="Preset or run folder.")] = DEFAULT_MODEL,
    setting: Annotated[
        list[str] | None,
        typer.Option(help="STRATEGY/WINDOW, streaming or frame-by-frame; may be given again."),
    ] = None,
    out_dir: Out = DEFAULT_OUT,
    work: Work = None,
    only: Only = "*",
    frames: Frames = None,
    input_size: InputSize = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Strategies for long videos and sizes of their windows, on rendered videos."""
    settings = [Setting.parse(text) for text in setting] if setting else default_settings()
    videos = videos_in(data, only, frames)
    with plain_warnings():
        loaded = load(model, device=choose_device(device))
        work = work or out_dir / "work"
        table = strategy_table(loaded, videos, settings, work, reporter(quiet), input_size)
    publish(table, out_dir / "vda-table5", quiet)


@app.command("benchmark")
def benchmark(
    data: Rendered,
    model: Models = None,
    out_dir: Out = DEFAULT_OUT,
    work: Work = None,
    only: Only = "*",
    frames: Frames = None,
    input_size: InputSize = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Models on rendered videos: all metrics, whole-video alignment in inverse depth."""
    candidates = candidates_of(model, device=device, input_size=input_size)
    videos = videos_in(data, only, frames)
    with plain_warnings():
        table = papers.benchmark(videos, candidates, work or out_dir / "work", reporter(quiet))
    publish(table, out_dir / "benchmark", quiet)


@app.command("table1")
def table1(
    data: Data,
    model: Models = None,
    out_dir: Out = DEFAULT_OUT,
    work: Work = None,
    only: Only = "*",
    frames: Frames = None,
    input_size: InputSize = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """EndoDAV's table 1: models on SCARED and Hamlyn, whole-video alignment."""
    candidates = candidates_of(model, device=device, input_size=input_size)
    place = work or out_dir / "work"

    def make(videos: list[Video]) -> Table:
        return papers.table1(videos[0].dataset, videos, candidates, place, reporter(quiet))

    publish_each(data, only, frames, make, out_dir / "table1", quiet)


@app.command("table2")
def table2(
    data: Data,
    trained_with: Annotated[
        str, typer.Option("--with", help="MODEL or MODEL,WEIGHTS trained with projection loss.")
    ],
    trained_without: Annotated[
        str, typer.Option("--without", help="The same, trained without projection loss.")
    ],
    out_dir: Out = DEFAULT_OUT,
    work: Work = None,
    only: Only = "*",
    frames: Frames = None,
    input_size: InputSize = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """EndoDAV's table 2: projection loss in training, alignment of windows in inference."""
    models = {True: split_weights(trained_with), False: split_weights(trained_without)}
    place = work or out_dir / "work"

    def load_for(projection_loss: bool, strategy: str) -> DepthEstimator:
        name, weights = models[projection_loss]
        return DepthEstimator.from_pretrained(
            name, weights=weights, strategy=strategy, device=device, input_size=input_size
        )

    def make(videos: list[Video]) -> Table:
        return papers.table2(videos, load_for, place, reporter(quiet))

    publish_each(data, only, frames, make, out_dir / "table2", quiet)


@app.command("ablation")
def ablation(
    steps: Annotated[
        int | None, typer.Option(min=1, help="Of each run; the recipe's own if not given.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Runs of each variant.")] = 3,
    recipe: Annotated[str, typer.Option(help="A YAML file or a bundled recipe.")] = "ablation",
    out_dir: Out = DEFAULT_OUT,
    work: Work = None,
    quiet: Quiet = False,
) -> None:
    """EndoDAV's table 2 by small adaptations to rendered video. Can be resumed."""
    chosen = read_adapt_recipe(recipe)
    chosen = chosen if steps is None else study.with_steps(chosen, steps)
    with plain_warnings():
        tables = study.study_tables(chosen, seeds, work or out_dir / "work", reporter(quiet))
    for group, table in tables.items():
        publish(table, out_dir / f"ablation-{group}", quiet)


@app.command("consistency")
def consistency(
    run: Annotated[Path, typer.Option(help="Run folder of `endodav adapt`, with its checkpoint.")],
    data: Annotated[
        Path, typer.Option("--data", help="Footage without labels: what the run was given.")
    ],
    clips: Annotated[int, typer.Option(min=1, help="Looked at, of what was held out.")] = 24,
    roi: Roi = "auto",
    out_dir: Out = DEFAULT_OUT,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Depth of real footage before and after adaptation, measured against itself; with pictures."""
    with plain_warnings():
        pair = open_run(run, choose_device(device))
        share = pair.recipe.watch.held_out
        footage = Footage.open(
            data, pair.recipe.frames, chosen_field(roi), held_out=share, cache=survey_cache()
        )
        table = consistency_table(pair, footage, clips)
        stem = out_dir / f"consistency-{run.resolve().name}"
        for number, picture in enumerate(strips(pair, footage, PICTURED)):
            write_picture(stem.with_name(f"{stem.name}-{number}.png"), picture)
    publish(table, stem, quiet)


@app.command("drift")
def drift(
    data: Data,
    model: Models = None,
    length: Annotated[
        list[int] | None,
        typer.Option(min=2, help="Frames from the start; may be given again; default 110 to 500."),
    ] = None,
    out_dir: Out = DEFAULT_OUT,
    work: Work = None,
    only: Only = "*",
    input_size: InputSize = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Video Depth Anything's drift curve: error against the length of the video."""
    candidates = candidates_of(model, device=device, input_size=input_size)
    lengths = sorted(set(length or DRIFT_LENGTHS))
    place = work or out_dir / "work"

    def make(videos: list[Video]) -> Table:
        return papers.drift(videos, candidates, lengths, place, reporter(quiet))

    publish_each(data, only, None, make, out_dir / "drift", quiet)


def videos_in(data: str, only: str, frames: int | None) -> list[Video]:
    """The videos of `NAME=DIR` or `DIR` that match, cut to their first frames if wanted.

    Raises:
        InputError: there are none with ground truth, or one lacks a file.
    """
    videos, _ = open_videos(data, only)
    return [shortened(video, frames) for video in videos]


def split_weights(text: str) -> tuple[str, Path | None]:
    """`MODEL,WEIGHTS` as a model's name and the file of its weights."""
    name, comma, weights = text.partition(",")
    return name, Path(weights) if comma else None


def candidates_of(
    models: list[str] | None, *, device: str, input_size: int | None
) -> list[Candidate]:
    """Rows from MODEL, ROW=MODEL or ROW=MODEL,WEIGHTS; loaded when their turn comes.

    Raises:
        RecipeError: two rows have the same name.
    """
    candidates = []
    for text in models or [DEFAULT_MODEL]:
        row, equals, model = text.partition("=")
        name, weights = split_weights(model if equals else text)
        make = partial(
            DepthEstimator.from_pretrained,
            name,
            weights=weights,
            device=device,
            input_size=input_size,
            announce=err.print,
        )
        candidates.append(Candidate(row if equals else name, make))
    names = [one.name for one in candidates]
    if len(set(names)) < len(names):
        raise RecipeError(f"Two rows are named alike in {', '.join(names)}: give ROW=MODEL.")
    return candidates


def reporter(quiet: bool) -> Report:
    """Prints progress on stderr, or nothing."""
    return (lambda _: None) if quiet else partial(err.print, markup=False)


def publish_each(
    data: list[str],
    only: str,
    frames: int | None,
    make: Callable[[list[Video]], Table],
    stem: Path,
    quiet: bool,
) -> None:
    """Make, write and show a table of each dataset, whose name is added to `stem`.

    Raises:
        InputError: as `videos_in`.
    """
    for root in data:
        videos = videos_in(root, only, frames)
        with plain_warnings():
            table = make(videos)
        publish(table, stem.with_name(f"{stem.name}-{videos[0].dataset}"), quiet)


def publish(table: Table, stem: Path, quiet: bool) -> None:
    """Write the table and show it."""
    paths = write_table(table, stem)
    if quiet:
        return
    printed = RichTable(*table.header(), title=table.title, box=None)
    for cells in table.cells():
        printed.add_row(*cells)
    out.print(printed)
    for sentence in table.findings():
        out.print(f"- {sentence}", markup=False)
    err.print(f"Written: {', '.join(map(str, paths))}", markup=False)
