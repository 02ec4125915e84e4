"""Statistics that add up."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TypeVar

Same = TypeVar("Same", bound="Sums")


@dataclass(frozen=True)
class Sums:
    """Sums over frames, pairs or videos; adding two of them joins what they were made of."""

    def __add__(self: Same, other: Same) -> Same:
        names = [field.name for field in fields(self)]
        return replace(self, **{name: getattr(self, name) + getattr(other, name) for name in names})
