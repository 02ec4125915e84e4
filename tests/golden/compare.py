"""How far a case's results are from the stored ones, and whether that is near enough."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.golden.case import Case
from tests.golden.seeded import Array

MISSING = float("inf")


@dataclass(frozen=True)
class Comparison:
    """One output against its stored value.

    Attributes:
        case: id of the case.
        output: name of the output.
        error: worst relative error, or the share of elements off where a share is allowed.
        tolerance: what `error` may be.
    """

    case: str
    output: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance."""
        return self.error <= self.tolerance


def relative_errors(got: Array, want: Array) -> Array:
    """|got - want| / (|want| + rms(want)) of every element; NaN must meet NaN.

    Different shapes, or NaN on one side only, give infinity.
    """
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    if got.shape != want.shape or not np.array_equal(np.isnan(got), np.isnan(want)):
        return np.array([MISSING])
    got, want = got[~np.isnan(want)], want[~np.isnan(want)]
    if want.size == 0:
        return np.zeros(1)
    rms = float(np.sqrt(np.mean(want * want))) or 1.0
    return np.asarray(np.abs(got - want) / (np.abs(want) + rms))


def subsample(array: Array, strides: list[int]) -> Array:
    """Every strides[i]-th element along axis i; a missing stride means all."""
    return array[tuple(slice(None, None, stride) for stride in strides)]


def compare(case: Case, results: Mapping[str, Any]) -> Iterator[Comparison]:
    """Compare everything the case stores with `results`; a missing result is infinitely wrong."""
    tolerances = case.spec.get("rtol", {})
    default = tolerances.get("*", case.item.rtol)
    allowed = case.spec.get("allow_fraction", {})
    for name, stored in _stored(case):
        tolerance = tolerances.get(name, default)
        got = _result(case, results, name)
        errors = np.array([MISSING]) if got is None else relative_errors(got, stored)
        if name in allowed:
            share = float(np.mean(errors > tolerance))
            yield Comparison(case.id, name, share, allowed[name])
        else:
            yield Comparison(case.id, name, float(errors.max()), tolerance)
    for name, want in case.spec.get("values", {}).items():
        same = name in results and json.loads(json.dumps(results[name])) == want
        yield Comparison(case.id, name, 0.0 if same else MISSING, 0.0)


def _stored(case: Case) -> Iterator[tuple[str, Array]]:
    for name in case.spec.get("outputs", {}):
        yield name, case.item.arrays[f"{case.id}__{name}"]
    for name, value in case.spec.get("scalars", {}).items():
        yield name, np.array([np.nan if value is None else value])


def _result(case: Case, results: Mapping[str, Any], name: str) -> Array | None:
    if name not in results:
        return None
    got = np.asarray(results[name])
    if name in case.spec.get("scalars", {}):
        return got.reshape(1)
    meta = case.spec["outputs"][name]
    return subsample(got, meta["strides"]) if list(got.shape) == meta["shape"] else got
