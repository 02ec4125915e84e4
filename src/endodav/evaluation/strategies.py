"""Strategies for long videos against each other, as in Video Depth Anything's table 5."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from endodav.data.sequence import Sequence as Video
from endodav.errors import RecipeError
from endodav.evaluation.candidates import (
    Candidate,
    Report,
    as_row,
    circumstances,
    describe,
    score_candidates,
)
from endodav.evaluation.protocols import PROTOCOLS
from endodav.evaluation.reproduction import Published, Row, Table, bootstrap, in_print
from endodav.evaluation.scoring import true_tae
from endodav.inference.estimator import STREAMING, DepthEstimator
from endodav.inference.settings import InferenceSettings
from endodav.inference.windows import PLANS, WINDOW_LENGTH, choose_plan
from endodav.weights.hub import LoadedModel

FRAME_BY_FRAME = "frame-by-frame"
WINDOWS = (16, 24, 32)  # frames; Video Depth Anything varies the window as well
METRICS = ("abs_rel", "delta1", "tae")
PROTOCOL = PROTOCOLS["vda"]
BASELINE = f"independent/{WINDOW_LENGTH}"
# Overlap interpolation with key frames and windows of 32 is what the released program does.
PAPER = Published(
    "Video Depth Anything, table 5",
    chosen=f"vda/{WINDOW_LENGTH}",
    rivals=(
        BASELINE,
        *(f"{name}/{WINDOW_LENGTH}" for name in ("overlap-align", "overlap-blend")),
        *(f"vda/{window}" for window in WINDOWS[:-1]),
    ),
)


@dataclass(frozen=True)
class Setting:
    """How a video is cut up.

    Attributes:
        strategy: a name of `PLANS`, "streaming" or "frame-by-frame".
        window: frames a window; None where there is none to choose.
    """

    strategy: str
    window: int | None = None

    @classmethod
    def parse(cls, text: str) -> Setting:
        """From `vda/24`, `vda` (windows of 32), `streaming` or `frame-by-frame`.

        Raises:
            RecipeError: it is none of these.
        """
        strategy, _, window = text.partition("/")
        windowless = strategy in (STREAMING, FRAME_BY_FRAME)
        if (strategy not in PLANS and not windowless) or (window and not window.isdecimal()):
            raise RecipeError(
                f"There is no setting {text!r}; choose {FRAME_BY_FRAME}, {STREAMING} or one of "
                f"{', '.join(PLANS)}, each followed by the frames of a window as in vda/24."
            )
        if windowless and window:
            raise RecipeError(f"{strategy} has no windows; leave out the /{window}.")
        return cls(strategy, None if windowless else int(window or WINDOW_LENGTH))

    def __str__(self) -> str:
        return self.strategy if self.window is None else f"{self.strategy}/{self.window}"

    def estimator(self, loaded: LoadedModel, settings: InferenceSettings) -> DepthEstimator:
        """The model, run this way.

        Raises:
            RecipeError: the model or the strategy does not allow the window.
        """
        if self.strategy == STREAMING:
            return DepthEstimator(loaded, None, settings)
        single = self.strategy == FRAME_BY_FRAME
        plan = choose_plan(
            "independent" if single else self.strategy,
            loaded.preset.max_window,
            1 if single else self.window,
        )
        return DepthEstimator(loaded, plan, settings)


def default_settings() -> tuple[Setting, ...]:
    """Each strategy with windows of 32, and the official programs' with shorter ones."""
    others = (Setting(name, WINDOW_LENGTH) for name in PLANS)
    shorter = (Setting(name, n) for name in ("vda", "endodav") for n in WINDOWS[:-1])
    return (Setting(FRAME_BY_FRAME), Setting(STREAMING), *others, *shorter)


def strategy_table(
    loaded: LoadedModel,
    videos: Sequence[Video],
    settings: Sequence[Setting],
    work: Path,
    report: Report,
    input_size: int | None = None,
) -> Table:
    """Abs Rel, delta1 and TAE of each setting, and what is best.

    Args:
        loaded: a video model.
        videos: with ground truth, camera and poses.
        settings: what to compare; differences are to the first that is `independent/32`, if any.
        work: folder for predictions and scores.
        report: told of each video done.
        input_size: shorter side of what the network sees; the model's own if not given.

    Raises:
        RecipeError: a setting is impossible for the model, or given twice.
        InputError: a video cannot be scored.
        OutputError: the work folder cannot be written.
    """
    inference = InferenceSettings(input_size=input_size)
    names = [str(setting) for setting in settings]
    if len(set(names)) < len(names):
        raise RecipeError(f"A setting is given twice in {', '.join(names)}; leave one out.")
    candidates = [Candidate(str(s), partial(s.estimator, loaded, inference)) for s in settings]
    for candidate in candidates:
        candidate.load()  # an impossible window is better told now than after hours
    scores = score_candidates(candidates, videos, PROTOCOL, work, report)
    rows = [as_row(name, errors, METRICS) for name, errors in scores.items()]
    return Table(
        title="Strategies for long videos, as in Video Depth Anything's table 5",
        protocol=f"{describe(PROTOCOL)}; TAE in VDA's convention",
        videos=[video.name for video in videos],
        rows=rows,
        published=PAPER,
        baseline=BASELINE if BASELINE in names else None,
        notes=[*_steadier(rows), *_floor(videos), *circumstances(scores)],
        details={
            "model": loaded.meta.model,
            "weights_sha256": loaded.meta.weights_sha256,
            "input_size": inference.input_size or loaded.preset.preprocessing.input_size,
        },
    )


def _steadier(rows: Sequence[Row]) -> Iterator[str]:
    """By how much each row lowers TAE against one frame at a time."""
    single = next((row for row in rows if row.name == FRAME_BY_FRAME), None)
    if single is None or "tae" not in single.scores:
        return
    for row in rows:
        if row is not single and "tae" in row.scores:
            share = bootstrap(100 * (1 - row.scores["tae"] / single.scores["tae"]))
            yield f"TAE of {row.name} is {in_print(share, 0)} % below {FRAME_BY_FRAME}'s."


def _floor(videos: Sequence[Video]) -> Iterator[str]:
    floor = np.nanmean([true_tae(video) for video in videos])
    yield (
        f"The truth itself has a TAE of {floor:.2f} on these videos, because tissue moves and "
        "lenses distort; no prediction needs to be below it."
    )
