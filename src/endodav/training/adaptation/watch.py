"""What a run is looked at with: measures and pictures of footage that it never learns from."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from PIL import Image

from endodav.errors import OutputError
from endodav.files import written_whole
from endodav.training.adaptation.batch import VideoBatch
from endodav.training.adaptation.data import plain_clip
from endodav.training.adaptation.footage import Footage, Place
from endodav.training.adaptation.measures import MEASURES, measure
from endodav.training.adaptation.networks import Networks
from endodav.training.adaptation.pictures import Picture, below, depth_over_time, parts_of_a_step
from endodav.training.adaptation.recipe import AdaptRecipe
from endodav.training.engine import Engine
from endodav.video.ahead import ahead

PICTURED_CLIPS = 3
STRIP_FRAMES = 6


class Watcher:
    """The same clips at every look; without held-out footage only pictures, of what is trained on.

    Args:
        recipe: of the run.
        footage: with or without held-out parts.
        engine: whose processes share the clips of a validation.
    """

    def __init__(self, recipe: AdaptRecipe, footage: Footage, engine: Engine) -> None:
        self._recipe, self._footage, self._engine = recipe, footage, engine
        self.validates = bool(footage.held_out) and recipe.watch.steps > 0
        spans = footage.held_out or footage.spans
        self._places = footage.spread(spans, recipe.watch.clips)

    def validate(self, networks: Networks) -> dict[str, float]:
        """Every measure, averaged over the clips; the same in all processes."""
        networks.eval()
        sums = dict.fromkeys(MEASURES, 0.0)
        own = self._places[self._engine.rank :: self._engine.processes]
        with closing(ahead(self._clip(place) for place in own)) as clips:
            for clip in clips:
                found = measure(networks, self._recipe, clip.to(self._engine.device))
                for name, value in found.items():
                    sums[name] += value.item()
        share = self._engine.processes / len(self._places)
        means = self._engine.means([total * share for total in sums.values()])
        return dict(zip(sums, means, strict=True))

    def picture(self, networks: Networks) -> Picture:
        """The parts of a step, a row for each of a few clips."""
        networks.eval()
        return below([parts_of_a_step(networks, clip) for clip in self._pictured()])

    def strips(self, networks: Networks) -> list[tuple[Picture, Picture]]:
        """Frames of a few clips, and their depth over time."""
        networks.eval()
        return [depth_over_time(networks, clip, STRIP_FRAMES) for clip in self._pictured()]

    def _pictured(self) -> list[VideoBatch]:
        step = max(1, len(self._places) // PICTURED_CLIPS)
        places = self._places[::step][:PICTURED_CLIPS]
        return [self._clip(place).to(self._engine.device) for place in places]

    def _clip(self, place: Place) -> VideoBatch:
        return plain_clip(self._footage.read(place), self._recipe.data)


def write_picture(path: Path, picture: Picture) -> None:
    """Write a picture as PNG, whole or not at all.

    Raises:
        OutputError: it cannot be written there.
    """
    try:
        with written_whole(path) as partial:
            Image.fromarray(picture).save(partial, format="PNG")
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error}); make room or go elsewhere."
        ) from error
