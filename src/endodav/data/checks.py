"""What can be seen to be wrong with a sequence: sizes, units, holes, times, poses, calibration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from endodav.data.dataset import Dataset
from endodav.data.poses import is_rigid
from endodav.data.sequence import Distortion, Flag, FrameRef, Intrinsics, Sample, Sequence
from endodav.errors import InputError
from endodav.types import Units

LARGEST_FOCAL, SMALLEST_FOCAL = 10.0, 0.2  # in image widths
SMALLEST_SHARE = 0.01  # of the pixels whose depth is known, where the truth is not sparse
NAMED_AT_MOST = 5  # frames in one sentence


@dataclass
class Findings:
    """What reading a sequence has shown so far; one frame is looked at at a time."""

    sequence: Sequence
    dataset: Dataset
    problems: list[str] = field(default_factory=list)
    size: tuple[int, int] | None = None
    read: int = 0
    medians: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    lowest: float = float("inf")
    highest: float = 0.0
    groups: dict[str, list[str]] = field(default_factory=dict)

    def follow(self) -> Iterator[FrameRef]:
        """Read every frame, yielding its reference once it has been looked at."""
        self._check_times()
        for ref, sample in self._samples():
            if sample is not None:
                self._look(ref, sample)
            yield ref
        self._conclude()

    def _samples(self) -> Iterator[tuple[FrameRef, Sample | None]]:
        """Frames that can be read; what cannot is a problem, and the others are still read."""
        refs = self.sequence.refs
        if self.sequence.video is not None:
            try:
                yield from zip(refs, self.sequence.samples(), strict=False)
            except InputError as error:
                self.problems.append(str(error))
            return
        for index, ref in enumerate(refs):
            sample = None
            try:
                sample = next(self.sequence.samples(index, index + 1))
            except InputError as error:
                self.problems.append(str(error))
            yield ref, sample

    def _note(self, problem: str, ref: FrameRef, index: int) -> None:
        alone = self.sequence.video is None and ref.number is None
        name = ref.image.name if alone else f"frame {index}"
        self.groups.setdefault(problem, []).append(name)

    def _look(self, ref: FrameRef, sample: Sample) -> None:
        self.read += 1
        height, width = sample.image.shape[:2]
        self.size = self.size or (height, width)
        if (height, width) != self.size:
            self._note("differ in size from the first", ref, sample.index)
        if sample.intrinsics is not None and not _is_sane(sample.intrinsics, height, width):
            self._note("have intrinsics that do not fit their size", ref, sample.index)
        pose = sample.T_world_from_camera
        if pose is not None and not is_rigid(pose):
            self._note("have a pose that is no rigid motion", ref, sample.index)
        if self.sequence.read_depth is not None:
            self._look_at_depth(ref, sample)

    def _look_at_depth(self, ref: FrameRef, sample: Sample) -> None:
        if sample.depth is None or sample.valid is None:
            self._note("have no depth file", ref, sample.index)
            return
        known = sample.depth[sample.valid]
        self.shares.append(known.size / sample.depth.size)
        if not known.size:
            self._note("have no valid depth", ref, sample.index)
            return
        if self.shares[-1] < SMALLEST_SHARE and Flag.SPARSE not in self.sequence.flags:
            self._note(
                f"know the depth of under {SMALLEST_SHARE:.0%} of their pixels", ref, sample.index
            )
        median = float(np.median(known))
        self.medians.append(median)
        self.lowest = min(self.lowest, float(known.min()))
        self.highest = max(self.highest, float(known.max()))
        nearest, farthest = self.dataset.range.value
        if self.sequence.units is Units.MILLIMETRES and not nearest <= median <= farthest:
            self._note(
                f"have a median depth outside {nearest:g} to {farthest:g} mm (is the unit right?)",
                ref,
                sample.index,
            )

    def _check_times(self) -> None:
        times = [ref.timestamp for ref in self.sequence.refs]
        for before, after, ref in zip(times, times[1:], self.sequence.refs[1:], strict=False):
            if after <= before:
                self.problems.append(f"{ref.image} is not later than the frame before it.")

    def _conclude(self) -> None:
        for problem, names in self.groups.items():
            more = len(names) - NAMED_AT_MOST
            listed = ", ".join(names[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
            self.problems.append(f"{self.sequence.name}: {len(names)} frames {problem}: {listed}.")
        step = self._median_step()
        if step is not None and self.medians and step > np.median(self.medians):
            self.problems.append(
                f"{self.sequence.name}: the camera moves {step:.4g} a frame, farther than the "
                f"median depth of {np.median(self.medians):.4g}; poses and depth differ in unit."
            )

    def _median_step(self) -> float | None:
        """How far the camera moves from a frame to the next; None where that is not known."""
        places = [
            None if ref.T_world_from_camera is None else ref.T_world_from_camera[:3, 3]
            for ref in self.sequence.refs
        ]
        steps = [
            float(np.linalg.norm(b - a))
            for a, b in pairwise(places)
            if a is not None and b is not None
        ]
        return float(np.median(steps)) if steps else None

    def report(self) -> dict[str, Any]:
        """What goes into the manifest."""
        sequence = self.sequence
        height, width = self.size or (None, None)
        own = Counter(str(flag) for ref in sequence.refs for flag in ref.flags)
        return {
            "name": sequence.name,
            "frames": len(sequence),
            "frames_read": self.read,
            "height": height,
            "width": width,
            "units": str(sequence.units),
            "depth": self._describe_depth(),
            "frames_with_pose": sum(ref.T_world_from_camera is not None for ref in sequence.refs),
            "intrinsics": None if sequence.intrinsics is None else sequence.intrinsics.tolist(),
            "distortion": _describe_lens(sequence.distortion),
            "flags": sorted(map(str, sequence.flags)),
            "flags_of_frames": dict(sorted(own.items())),
            "problems": self.problems,
        }

    def _describe_depth(self) -> dict[str, float] | None:
        if not self.medians:
            return None
        return {
            "share_known": round(float(np.mean(self.shares)), 6),
            "lowest": self.lowest,
            "median": float(np.median(self.medians)),
            "highest": self.highest,
        }


def _describe_lens(distortion: Distortion | None) -> dict[str, Any] | None:
    if distortion is None:
        return None
    return {"model": str(distortion.model), "coefficients": list(distortion.coefficients)}


def _is_sane(intrinsics: Intrinsics, height: int, width: int) -> bool:
    fx, fy = intrinsics[0, 0] / width, intrinsics[1, 1] / width
    cx, cy = intrinsics[0, 2], intrinsics[1, 2]
    return bool(
        all(SMALLEST_FOCAL < focal < LARGEST_FOCAL for focal in (fx, fy))
        and 0 < cx < width
        and 0 < cy < height
    )
