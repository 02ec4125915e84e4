"""One golden case as a runner sees it, read from a folder in the fixtures' format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.golden.seeded import Array, make_input, seeded_state


class LazyInputs(Mapping[str, Array]):
    """The inputs of a case by name, each built when it is asked for."""

    def __init__(self, recipes: Mapping[str, Any]) -> None:
        self._recipes = recipes

    def __getitem__(self, name: str) -> Array:
        return make_input(self._recipes[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._recipes)

    def __len__(self) -> int:
        return len(self._recipes)


@dataclass(frozen=True)
class Item:
    """One fixture file: its models, its cases and the arrays they must give.

    Attributes:
        name: file name without suffix, e.g. "03_vda_forward".
        folder: where it lies; `folder/keys` holds the key lists.
        spec: the JSON.
    """

    name: str
    folder: Path
    spec: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Item:
        """Read the JSON file `path`."""
        return cls(path.stem, path.parent, json.loads(path.read_text()))

    @property
    def cases(self) -> list[Case]:
        """Every case, in the order of the file."""
        return [Case(self, spec) for spec in self.spec["cases"]]

    @property
    def rtol(self) -> float:
        """Tolerance where a case names none of its own."""
        return float(self.spec.get("tolerance", {}).get("rtol", 0.0))

    @cached_property
    def arrays(self) -> Mapping[str, Array]:
        """Stored outputs, `<case id>__<output>`."""
        path = self.folder / f"{self.name}.npz"
        if not path.exists():
            return {}
        with np.load(path) as stored:
            return dict(stored)


@dataclass(frozen=True)
class Case:
    """What a runner gets: a call to make, its inputs and the weights to make it with."""

    item: Item = field(repr=False)
    spec: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Name of the case within its item."""
        return str(self.spec["id"])

    @property
    def model(self) -> str | None:
        """Name of the case's model among the item's, where it has one."""
        return self.spec.get("model")

    @property
    def args(self) -> Mapping[str, Any]:
        """Plain arguments of the call."""
        return self.spec.get("args", {})

    @property
    def config(self) -> Mapping[str, Any]:
        """The case's own configuration, else its model's, else nothing."""
        if "config" in self.spec:
            return dict(self.spec["config"])
        return self.model_config() if self.model is not None else {}

    @property
    def call(self) -> str:
        """What the official program ran, in words."""
        return str(self.spec.get("call", ""))

    @property
    def note(self) -> str:
        """What the case is there to show."""
        return str(self.spec.get("note", ""))

    @property
    def inputs(self) -> Mapping[str, Array]:
        """Input arrays by name, built when asked for."""
        return LazyInputs(self.spec.get("inputs", {}))

    @property
    def outputs_wanted(self) -> tuple[str, ...]:
        """Names of the arrays and scalars to return."""
        return (*self.spec.get("outputs", {}), *self.spec.get("scalars", {}))

    @property
    def values_wanted(self) -> tuple[str, ...]:
        """Names of the values that must match exactly."""
        return tuple(self.spec.get("values", {}))

    def model_spec(self, model: str | None = None) -> Mapping[str, Any]:
        """The item's entry for `model` (default: the case's own): class, config, seed, keys."""
        name = self.model if model is None else model
        return dict(self.item.spec["models"][name])

    def model_config(self, model: str | None = None) -> Mapping[str, Any]:
        """Configuration of `model` (default: the case's own)."""
        return dict(self.model_spec(model).get("config", {}))

    def keys(self, model: str | None = None) -> Mapping[str, Any]:
        """Key list of `model` (default: the case's own): names, shapes, exclusions and aliases."""
        path = self.item.folder / "keys" / f"{self.model_spec(model)['keys']}.json"
        return dict(json.loads(path.read_text()))

    def weights(self, model: str | None = None) -> dict[str, torch.Tensor]:
        """State dict of `model` (default: the case's own) under its official names, float32."""
        spec = self.model_spec(model)
        state = seeded_state(self.keys(model), spec["seed"], spec.get("scales", {}))
        return {name: torch.from_numpy(value) for name, value in state.items()}


Runner = Callable[[Case], Mapping[str, Any]]
"""Runs a case with our code: output, scalar and value names to what came out."""
