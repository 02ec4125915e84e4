"""Which frames go into which window: index arithmetic only, and the strategies as data.

A long video is cut into windows of `L` frames. Window 0 holds frames 0..L-1. Every later window k
begins with frames it inherits from window k-1 and goes on with new ones:

    position    0 .. K-1         K .. K+O-1              K+O .. L-1
    holds       K key frames     O overlapping frames    S new frames,      S = L - K - O

The last new frame of window k-1 is followed by the first new frame of window k, and the overlap
repeats the last O frames of window k-1. So position p of window k is frame

    S k + p                                             for p >= K, and for every p of window 0.

Check: the last position of window k-1 is S(k-1) + L-1 = S k + K+O-1, the last overlapping position
of window k. A key frame is named by its position q in the previous window. For q >= K it is the
frame S(k-1) + q; q = 0 as the first key is inherited again and again, and stays frame 0 of the
video.

Video Depth Anything (arXiv 2501.12375, sec. 3.3): L = 32, O = 8, keys at positions 0 and 12, hence
S = 22; position 0 is frame 0, position 1 is frame 22(k-1) + 12 = 22k - 10, positions 2..9 are
frames 22k+2..22k+9 and positions 10..31 are the new frames 22k+10..22k+31. EndoDAV (MICCAI 2025,
sec. 2.2): keys at positions 6 and 12, hence frames 22k - 16 and 22k - 10. Anchored, which is ours:
Video Depth Anything's windows, fitted on all 10 frames that they inherit. Frame 0 among them keeps
long videos from fading, see docs/design/inference.md.

**How many windows.** Both official programs start a window at every S k < N and repeat the last
frame (S - N mod S) mod S + K+O times, to S ceil(N/S) + K+O frames, exactly what ceil(N/S) windows
cover. So 22 frames need one window but 23..32 frames two, although all of them are in the first:
the second then only changes frames 24..31, which its overlap blends. We count the same way, because
it decides results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import count
from types import MappingProxyType

from endodav.errors import RecipeError

WINDOW_LENGTH = 32  # Video Depth Anything, sec. 3.3
OVERLAP = 8
IMAGE_BATCH = 4  # frames an image model sees at once; only speed depends on it


class Fit(StrEnum):
    """On which positions scale and shift of a window are fitted to what came before."""

    NONE = "none"
    KEYS = "keys"
    OVERLAP = "overlap"
    SHARED = "shared"  # keys and overlap


@dataclass(frozen=True)
class Window:
    """One window of a video.

    Attributes:
        number: k, from 0.
        frames: frame of every position; those past the end of the video stand for its last frame.
    """

    number: int
    frames: tuple[int, ...]


@dataclass(frozen=True)
class WindowPlan:
    """A strategy for long videos: what a window inherits and what is done with it.

    Attributes:
        name: what users call it.
        length: L, frames a window.
        overlap: O, frames shared with the window before, besides the key frames.
        keys: position in the previous window of each key frame; a leading 0 is frame 0 for ever.
        fit: positions on which scale and shift are fitted.
        blend: whether the overlap fades from the earlier estimate to the later one; else the
            earlier stays.
        fill: whether the last frame is repeated to fill the last window; networks that attend over
            time depend on it, networks for images need it not.

    Raises:
        RecipeError: the numbers do not make a plan.
    """

    name: str
    length: int = WINDOW_LENGTH
    overlap: int = 0
    keys: tuple[int, ...] = ()
    fit: Fit = Fit.NONE
    blend: bool = False
    fill: bool = True

    def __post_init__(self) -> None:
        # No frame may lie in three windows: at most the new frames of a window overlap the next
        # one.
        most = min((self.length - len(self.keys)) // 2, self.length - len(self.keys) - 1)
        least = 1 if self.blend or self.fit is Fit.OVERLAP else 0
        if most < least:
            shortest = len(self.keys) + max(2 * least, 1)
            raise RecipeError(
                f"A window of {self.length} is too short for strategy {self.name}; "
                f"choose {shortest} or more."
            )
        if not least <= self.overlap <= most:
            raise RecipeError(
                f"An overlap of {self.overlap} does not fit strategy {self.name} with windows of "
                f"{self.length} frames; choose {least} to {most}."
            )
        for place, q in enumerate(self.keys):
            if not (len(self.keys) <= q < self.length or place == q == 0):
                raise RecipeError(f"Position {q} holds no frame that a window could take as key.")

    @property
    def step(self) -> int:
        """S, the new frames a window brings."""
        return self.length - len(self.keys) - self.overlap

    @property
    def inherited(self) -> int:
        """Positions 0..inherited-1 of a window after the first are frames of the one before."""
        return len(self.keys) + self.overlap

    @property
    def fit_positions(self) -> range:
        """Positions of a window after the first on which scale and shift are fitted."""
        match self.fit:
            case Fit.NONE:
                return range(0)
            case Fit.KEYS:
                return range(len(self.keys))
            case Fit.OVERLAP:
                return range(len(self.keys), self.inherited)
            case Fit.SHARED:
                return range(self.inherited)

    def window(self, number: int) -> Window:
        """Window k of a video without end."""
        own = range(self.step * number, self.step * number + self.length)
        if number == 0:
            return Window(0, tuple(own))
        before = self.step * (number - 1)
        keys = (0 if q == 0 else before + q for q in self.keys)
        return Window(number, (*keys, *own[len(self.keys) :]))

    def windows(self, exists: Callable[[int], bool]) -> Iterator[Window]:
        """The windows of a video of unknown length.

        Args:
            exists: whether the video has a frame of that index; asked in rising order, and only for
                the frame that decides whether there is another window.
        """
        for number in count():
            if not exists(self.step * number):
                return
            yield self.window(number)

    def settled(self, window: Window, last: bool) -> range:
        """Positions of `window` whose depth is final with it, and was not before."""
        first = 0 if window.number == 0 else len(self.keys)
        return range(first, self.length if last else self.length - self.overlap)

    def weight(self, window: Window, position: int) -> float:
        """Share of `window` in the depth of a frame that settles with it.

        It rises from 0 at the first frame of the overlap to 1 at its last. An overlap of one frame
        keeps the earlier estimate, as does one that is not blended.
        """
        place = position - len(self.keys)
        if window.number == 0 or place >= self.overlap:
            return 1.0
        return place / (self.overlap - 1) if self.blend and self.overlap > 1 else 0.0

    def wanted(self, window: Window, last: bool, count: int) -> list[int]:
        """Positions of `window` whose depth has a say, in rising order; empty if none has.

        It has one in the depth of a frame, in a fit of this window, which is always made, and in
        those of later ones.

        Args:
            window: the window.
            last: whether none follows.
            count: of frames known by now; positions of later ones repeat the video's last frame.
        """
        shown = {p for p in self.settled(window, last) if self.weight(window, p) > 0}
        fitted: set[int] = set()
        if not last:
            following = self.window(window.number + 1)
            handed_on = (*self.keys, *range(self.length - self.overlap, self.length))
            for heir, position in enumerate(handed_on):
                if window.number > 0 and position < self.inherited:
                    continue  # an earlier window's depth of it goes on
                if heir in self.fit_positions or heir in self.keys:
                    fitted.add(position)
                elif heir >= len(self.keys) and self.weight(following, heir) < 1:
                    shown.add(position)
        if window.number > 0:
            fitted.update(self.fit_positions)
        return sorted(fitted | {p for p in shown if window.frames[p] < count})

    def resized(self, length: int | None = None, overlap: int | None = None) -> WindowPlan:
        """The same strategy with another window length or overlap.

        Key positions, and the overlap if none is given, keep their proportion to the window.

        Raises:
            RecipeError: the strategy cannot be carried out with these numbers.
        """
        length = self.length if length is None else length
        if overlap is None:
            overlap = max(self.overlap * length // self.length, min(self.overlap, 1))
        elif overlap and not self.overlap:
            raise RecipeError(f"Strategy {self.name} has no overlap; leave --overlap out.")
        first_own = len(self.keys)
        keys = tuple(
            q and max(min(q * length // self.length, length - 1), first_own) for q in self.keys
        )
        return replace(self, length=length, overlap=overlap, keys=keys)


PLANS = MappingProxyType(
    {
        plan.name: plan
        for plan in (
            WindowPlan("vda", overlap=OVERLAP, keys=(0, 12), fit=Fit.KEYS, blend=True),
            WindowPlan("endodav", overlap=OVERLAP, keys=(6, 12), fit=Fit.OVERLAP, blend=True),
            WindowPlan("anchored", overlap=OVERLAP, keys=(0, 12), fit=Fit.SHARED, blend=True),
            WindowPlan("overlap-align", overlap=OVERLAP, fit=Fit.OVERLAP),
            WindowPlan("overlap-blend", overlap=OVERLAP, blend=True),
            WindowPlan("independent"),
        )
    }
)
IMAGE_PLAN = WindowPlan("independent", length=IMAGE_BATCH, fill=False)


def choose_plan(
    strategy: str, max_window: int, window: int | None = None, overlap: int | None = None
) -> WindowPlan:
    """The plan for a model, adjusted to what was asked for.

    Args:
        strategy: a name of `PLANS`.
        max_window: most frames the model can see at once; 1 for models of single images.
        window: frames a window; 32, or what the model allows, if not given.
        overlap: overlapping frames; in proportion to the window if not given.

    Raises:
        RecipeError: no such strategy, or the model or the strategy does not allow these numbers.
    """
    if strategy not in PLANS:
        raise RecipeError(f"There is no strategy {strategy!r}; choose from {', '.join(PLANS)}.")
    if max_window == 1:
        if strategy != "independent":
            raise RecipeError(
                f"Strategy {strategy} needs a video model; this one sees single images, "
                "so use independent or leave --strategy out."
            )
        return IMAGE_PLAN.resized(window, overlap)
    if window is not None and window > max_window:
        raise RecipeError(
            f"A window of {window} frames is more than this model can attend to; "
            f"choose at most {max_window}."
        )
    if window is None:
        window = min(WINDOW_LENGTH, max_window)
    return PLANS[strategy].resized(window, overlap)
