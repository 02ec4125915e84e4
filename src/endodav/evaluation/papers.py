"""The tables of the EndoDAV paper and the drift curve of Video Depth Anything, run end to end.

What the papers print stands here as data. Rows are matched by the papers' own names, so a figure
appears beside a model only where the user says that it is the paper's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from endodav.data.sequence import Sequence as Video
from endodav.errors import InputError
from endodav.evaluation.candidates import (
    Candidate,
    Report,
    as_row,
    circumstances,
    describe,
    score_candidates,
)
from endodav.evaluation.protocols import PROTOCOLS, Protocol
from endodav.evaluation.reproduction import (
    COLUMNS,
    Column,
    Published,
    Row,
    Table,
    bootstrap,
    in_print,
)
from endodav.inference.estimator import DepthEstimator

# EndoDAV, MICCAI 2025: Abs Rel, Sq Rel, RMSE, RMSE log, delta1 and, where there are poses, TAE.
TABLE1: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "scared": {
        "VDA": (0.241, 7.702, 18.673, 0.287, 0.597, 1.10),
        "EndoDAC": (0.201, 5.163, 16.421, 0.238, 0.653, 2.69),
        "EndoDAV": (0.156, 3.113, 12.257, 0.182, 0.761, 0.39),
    },
    "hamlyn": {
        "VDA": (0.389, 19.308, 23.005, 0.333, 0.513),
        "EndoDAC": (0.240, 6.998, 17.240, 0.304, 0.589),
        "EndoDAV": (0.212, 5.040, 16.759, 0.276, 0.595),
    },
}
# EndoDAV's ablation: the projection loss in training (P), alignment of windows in inference (A).
TABLE2 = Published(
    "EndoDAV, table 2",
    {
        "neither": {"abs_rel": 0.195, "tae": 1.03},
        "projection loss": {"abs_rel": 0.180, "tae": 0.80},
        "alignment": {"abs_rel": 0.162, "tae": 0.40},
        "both": {"abs_rel": 0.156, "tae": 0.39},
    },
)
ALIGNED, UNALIGNED = "endodav", "independent"  # strategies with and without alignment of windows


def table1(
    dataset: str,
    videos: Sequence[Video],
    candidates: Sequence[Candidate],
    work: Path,
    report: Report,
) -> Table:
    """Models on one dataset under EndoDAV's whole-video alignment; see `model_table`.

    Args:
        dataset: its name, which chooses the paper's figures.
        videos: its test videos.
        candidates: models by the names of their rows.
        work: folder for predictions and scores.
        report: told of each video done.
    """
    figures = {
        name: dict(zip(COLUMNS, values, strict=False))
        for name, values in TABLE1.get(dataset, {}).items()
    }
    published = Published(f"EndoDAV, table 1, {dataset}", figures)
    title = f"Models on {dataset}, as in EndoDAV's table 1"
    return model_table(title, videos, candidates, PROTOCOLS["endodav"], published, work, report)


def benchmark(
    videos: Sequence[Video], candidates: Sequence[Candidate], work: Path, report: Report
) -> Table:
    """Models on rendered videos under Video Depth Anything's alignment; see `model_table`.

    Args:
        videos: rendered, with camera and poses.
        candidates: models by the names of their rows.
        work: folder for predictions and scores.
        report: told of each video done.
    """
    title, published = "Models on rendered videos", Published("no paper")
    return model_table(title, videos, candidates, PROTOCOLS["vda"], published, work, report)


def model_table(
    title: str,
    videos: Sequence[Video],
    candidates: Sequence[Candidate],
    protocol: Protocol,
    published: Published,
    work: Path,
    report: Report,
) -> Table:
    """All metrics of several models; differences are to the first.

    Raises:
        InputError: a video cannot be scored.
        WeightsError: a model cannot be loaded or run.
        OutputError: the work folder cannot be written.
    """
    scores = score_candidates(candidates, videos, protocol, work, report)
    return Table(
        title=title,
        protocol=describe(protocol),
        videos=[video.name for video in videos],
        rows=[as_row(name, errors, COLUMNS) for name, errors in scores.items()],
        published=published,
        baseline=candidates[0].name if len(candidates) > 1 else None,
        notes=list(circumstances(scores)),
    )


def table2(
    videos: Sequence[Video],
    load: Callable[[bool, str], DepthEstimator],
    work: Path,
    report: Report,
) -> Table:
    """Projection loss in training against alignment of windows in inference.

    Args:
        videos: with ground truth.
        load: the model trained with the projection loss (True) or without it, by strategy.
        work: folder for predictions and scores.
        report: told of each video done.

    Raises:
        InputError: a video cannot be scored.
        WeightsError: a model cannot be loaded or run.
        RecipeError: a model is not one for video.
        OutputError: the work folder cannot be written.
    """
    candidates = [
        Candidate("neither", lambda: load(False, UNALIGNED)),
        Candidate("projection loss", lambda: load(True, UNALIGNED)),
        Candidate("alignment", lambda: load(False, ALIGNED)),
        Candidate("both", lambda: load(True, ALIGNED)),
    ]
    scores = score_candidates(candidates, videos, PROTOCOLS["endodav"], work, report)
    return Table(
        title="Projection loss and alignment, as in EndoDAV's table 2",
        protocol=describe(PROTOCOLS["endodav"]),
        videos=[video.name for video in videos],
        rows=[as_row(name, errors, ("abs_rel", "tae")) for name, errors in scores.items()],
        published=TABLE2,
        baseline="neither",
        notes=list(circumstances(scores)),
    )


def drift(
    videos: Sequence[Video],
    candidates: Sequence[Candidate],
    lengths: Sequence[int],
    work: Path,
    report: Report,
) -> Table:
    """Abs Rel of the first frames of each video, against how many these are.

    A video is predicted once, and each length is aligned and scored by itself. Videos shorter than
    the longest length are left out, so that all lengths are measured on the same ones.

    Args:
        videos: with ground truth.
        candidates: models by the names of their rows.
        lengths: in frames, rising.
        work: folder for predictions and scores.
        report: told of each video done.

    Raises:
        InputError: no video is long enough, or one cannot be scored.
        WeightsError: a model cannot be loaded or run.
        OutputError: the work folder cannot be written.
    """
    chosen = [video for video in videos if len(video) >= lengths[-1]]
    if not chosen:
        raise InputError(
            f"No video has {lengths[-1]} frames, the longest has {max(map(len, videos))}; "
            "leave out the lengths beyond that."
        )
    protocol = PROTOCOLS["vda"]
    scores = score_candidates(candidates, chosen, protocol, work, report, lengths)
    columns = {str(length): Column(f"Abs Rel, {length} frames") for length in lengths}
    rows = [
        Row(name, {str(n): _abs_rel(e) for n, e in zip(lengths, errors, strict=True)})
        for name, errors in scores.items()
    ]
    return Table(
        title="Error against length, as in Video Depth Anything's drift curve",
        protocol=describe(protocol),
        videos=[video.name for video in chosen],
        rows=rows,
        published=Published("Video Depth Anything, error against length"),
        columns=columns,
        notes=[
            *(_growth(row, str(lengths[0]), str(lengths[-1])) for row in rows),
            *circumstances(scores),
        ],
    )


def _abs_rel(errors: Sequence[Mapping[str, float]]) -> np.ndarray:
    return np.array([[of_video["abs_rel"] for of_video in errors]])


def _growth(row: Row, short: str, long: str) -> str:
    gap = bootstrap(row.scores[long] - row.scores[short])
    verdict = ("grows" if gap.mean > 0 else "falls") if gap.significant else "does not change"
    return (
        f"From {short} to {long} frames the Abs Rel of {row.name} {verdict} significantly "
        f"({in_print(gap, 3)})."
    )
