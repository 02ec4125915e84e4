"""One command from a download to a dataset that is known to be whole, with a manifest that says so.

Originals are only read. Work that was done is found again by what lies in the output folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from endodav.data import scared_raw
from endodav.data.checks import Findings
from endodav.data.dataset import Dataset
from endodav.data.files import number_of, sha256
from endodav.data.registry import MANIFEST, find_dataset
from endodav.data.sequence import Sequence
from endodav.data.splits import Split, published_splits
from endodav.errors import InputError, OutputError, RecipeError
from endodav.files import written_whole

SCHEMA = 1  # of the manifest
RECORDS = "records"
UNPACKED = "scared"  # the dataset that is no folder of frames when it is downloaded

Track = Callable[[Iterable[Any], str, int | None], Iterable[Any]]
"""Passes items on and shows, under a name, how far they are of a total."""


def silent(items: Iterable[Any], _what: str, _total: int | None) -> Iterable[Any]:
    """Show nothing."""
    return items


def prepare(
    name: str, root: Path, out: Path, *, poses: Path | None = None, track: Track = silent
) -> dict[str, Any]:
    """Unpack what needs it, read every frame once, and write a manifest.

    Args:
        name: in the registry.
        root: the download; it is only read.
        out: where unpacked data, records and the manifest go.
        poses: SCARED only: a folder with a re-estimate of the poses (SCARED-C), as
            datasetN/keyframeM/data/frame_data, a folder or a tar of SCARED's own JSON files.
        track: shows progress.

    Returns:
        The manifest: see docs/guide/datasets.md. `complete` is false where something is wrong, and
        `problems` names it file by file.

    Raises:
        InputError: there is no such dataset, or nothing of it can be used.
        OutputError: `out` lies inside `root` or cannot be written.
        RecipeError: `poses` for another dataset than SCARED.
    """
    dataset = find_dataset(name)
    if poses is not None and name != UNPACKED:
        raise RecipeError(f"Poses can be replaced for {UNPACKED} only, not for {name}.")
    if not root.is_dir():
        raise InputError(f"There is no folder {root}; give the one that holds {dataset.title}.")
    if out.resolve().is_relative_to(root.resolve()):
        raise OutputError(f"{out} lies inside the originals in {root}; choose another --out.")
    problems: list[str] = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        data = _unpack_scared(root, out, poses, problems, track) if name == UNPACKED else root
        records = list(_records(dataset, data, out, problems, track))
        if not records:
            raise InputError(f"Nothing of {root} can be used: {' '.join(problems)}")
        manifest = _describe(dataset, data, records, problems)
        _write_json(out / MANIFEST, manifest)
    except OSError as error:
        raise OutputError(
            f"{error.filename or out} cannot be read or written ({error.strerror or error})."
        ) from error
    return manifest


def _unpack_scared(
    root: Path, out: Path, poses: Path | None, problems: list[str], track: Track
) -> Path:
    """Where the frames are: `out`, or `root` where they have been unpacked already."""
    keyframes = scared_raw.find_keyframes(root, problems)
    raw = {name: members for name, members in keyframes.items() if scared_raw.is_raw(members)}
    if not raw and not problems:
        if poses is not None:
            raise RecipeError("Poses can be replaced while raw downloads are unpacked only.")
        return root
    overrides = {} if poses is None else scared_raw.find_keyframes(poses, problems)
    for name, members in raw.items():
        if (out / name).is_dir():
            continue
        if poses is not None and name not in overrides:
            problems.append(f"{poses} has no poses of {name}, so it was left out.")
            continue
        try:
            for _ in track(
                scared_raw.unpack(name, members, out, overrides.get(name)), f"unpack {name}", None
            ):
                pass
        except InputError as error:
            problems.append(str(error))
    return out


def _records(
    dataset: Dataset, data: Path, out: Path, problems: list[str], track: Track
) -> Iterator[dict[str, Any]]:
    """What was found in each sequence; one that has not changed since is not read again."""
    try:
        places = dataset.places(data)
    except InputError as error:
        problems.append(str(error))
        return
    for place in places:
        try:
            sequence = dataset.read(data, place)
        except InputError as error:
            problems.append(str(error))
            continue
        path = out / RECORDS / f"{sequence.name.replace('/', '__')}.json"
        mark = _fingerprint(sequence)
        if path.exists() and (record := json.loads(path.read_text()))["fingerprint"] == mark:
            yield record
            continue
        findings = Findings(sequence, dataset)
        hashes = {}
        for ref in track(findings.follow(), sequence.name, len(sequence)):
            for file in filter(None, (ref.image, ref.depth)):
                if file not in hashes and file.exists():
                    with file.open("rb") as stream:
                        hashes[file] = {"bytes": file.stat().st_size, "sha256": sha256(stream.read)}
        files = [
            {"file": file.relative_to(data).as_posix()} | entry for file, entry in hashes.items()
        ]
        record = findings.report() | {
            "numbers": _picture_numbers(sequence),
            "files": files,
            "fingerprint": mark,
        }
        _write_json(path, record)
        yield record


def _picture_numbers(sequence: Sequence) -> list[int] | None:
    """Numbers in the names of pictures, which splits refer to; None where one file holds many."""
    if sequence.video is not None or any(ref.number is not None for ref in sequence.refs):
        return None
    try:
        return [number_of(ref.image) for ref in sequence.refs]
    except InputError:
        return None


def _fingerprint(sequence: Sequence) -> str:
    """Changes when a file of the sequence, or this program, does."""
    digest = hashlib.sha256(version("endodav").encode())
    for ref in sequence.refs:
        for file in filter(None, (ref.image, ref.depth)):
            state = file.stat() if file.exists() else None
            stamp = (str(file), state.st_size, state.st_mtime_ns) if state else (str(file),)
            digest.update(repr(stamp).encode())
        if ref.number is not None:
            digest.update(str(ref.number).encode())
        pose = ref.T_world_from_camera
        digest.update(repr(ref.timestamp).encode() + (b"" if pose is None else pose.tobytes()))
    return digest.hexdigest()


def _describe(
    dataset: Dataset, data: Path, records: list[dict[str, Any]], problems: list[str]
) -> dict[str, Any]:
    every = problems + [problem for record in records for problem in record["problems"]]
    numbers = {record["name"]: record["numbers"] for record in records}
    return {
        "schema": SCHEMA,
        "dataset": dataset.name,
        "title": dataset.title,
        "data": str(data.resolve()),
        "endodav_version": version("endodav"),
        "complete": not every,
        "problems": every,
        "frames": sum(record["frames"] for record in records),
        "splits": {
            name: _split_state(split, numbers)
            for name, split in published_splits(dataset.name).items()
        },
        "sequences": [
            {key: value for key, value in record.items() if key not in ("numbers", "fingerprint")}
            for record in records
        ],
    }


def _split_state(split: Split, numbers: dict[str, list[int] | None]) -> dict[str, Any]:
    """How much of a published split is here."""
    state: dict[str, Any] = {
        "sequences": len(split),
        "missing_sequences": [name for name in split if name not in numbers],
    }
    wanted = {name: frames for name, frames in split.items() if frames is not None}
    if wanted:
        here = {name: set(numbers.get(name) or ()) for name in wanted}
        state["frames"] = sum(map(len, wanted.values()))
        state["frames_here"] = sum(len(wanted[name] & here[name]) for name in wanted)
    return state


def _write_json(path: Path, value: Any) -> None:
    """Write a JSON file that is whole or not there."""
    with written_whole(path) as partial:
        partial.write_text(json.dumps(value, indent=1) + "\n")
