"""Whose weights these are and what they allow: said once to each user, and enforced on request."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from endodav.errors import WeightsError
from endodav.models.presets import PRESETS, ModelPreset

Announce = Callable[[str], object]


def cache_folder() -> Path:
    """Where this package remembers things between runs: `$ENDODAV_CACHE` or `~/.cache/endodav`."""
    return Path(os.environ.get("ENDODAV_CACHE") or Path.home() / ".cache" / "endodav")


def licence_notice(preset: ModelPreset) -> str:
    """One sentence with the name, the licence and the origin of a preset's weights."""
    limits = "" if preset.permissive else ", so no commercial use unless its owner allows it"
    return f"Weights {preset.name}: licence {preset.licence}{limits}; from {preset.origin}."


def announce_once(preset: ModelPreset, announce: Announce) -> None:
    """Say the licence notice, unless this user has been told of this model and licence before."""
    name = re.sub(r"[^\w.-]+", "_", f"{preset.name} {preset.licence}")
    marker = cache_folder() / "announced" / name
    try:
        if marker.exists():
            return
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
    except OSError:  # a read-only home: then the notice is repeated, which does no harm
        pass
    announce(licence_notice(preset))


def admit(preset: ModelPreset, permissive_only: bool, announce: Announce | None) -> None:
    """Refuse weights that may not be used commercially if asked to, else say whose they are.

    Raises:
        WeightsError: as `require_permissive`.
    """
    if permissive_only:
        require_permissive(preset)
    if announce is not None:
        announce_once(preset, announce)


def require_permissive(preset: ModelPreset) -> None:
    """Refuse weights that do not allow commercial use.

    Raises:
        WeightsError: the licence is not permissive; names it, and models whose licence is.
    """
    if preset.permissive:
        return
    others = [p for p in PRESETS.values() if p.permissive]
    same_output = [p.name for p in others if (p.kind, p.units) == (preset.kind, preset.units)]
    names = same_output or [p.name for p in others]
    raise WeightsError(
        f"{preset.name} has the licence {preset.licence}, which does not allow commercial use; "
        f"leave out --permissive-only or choose a model that does: {', '.join(names)}."
    )
