"""SCARED as it is downloaded, zips or folders, unpacked into what `scared` reads.

A keyframe's `rgb.mp4` holds the left pictures above the right ones, `frame_data.tar.gz` a JSON file
a frame and `scene_points.tar.gz` a float TIFF of points a frame, 31 MB each. Of these only Z of the
left camera is kept, as it is, in a float TIFF.
"""

from __future__ import annotations

import errno
import json
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from PIL import Image

from endodav.data.files import explained, number_of, sha256
from endodav.data.scared import (
    CALIBRATION,
    KEYFRAME,
    PREPARED,
    keyframe_name,
    left_depth,
    read_scene_points,
)
from endodav.data.stacked import split_stacked
from endodav.errors import InputError
from endodav.video.decode import VideoFile

VIDEO = "data/rgb.mp4"
TAR_SUFFIXES = (".tar.gz", ".tgz", ".tar")
PNG_COMPRESSION = 3  # zlib level; higher ones cost seconds a hundred frames and save little
CUT_OFF = (EOFError, OSError, tarfile.TarError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Member:
    """A file of a download: on its own, or inside the zip `path` under the name `inside`."""

    path: Path
    inside: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.inside is None else f"{self.path}/{self.inside}"

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """Its bytes, from the first on."""
        if self.inside is None:
            with self.path.open("rb") as stream:
                yield stream
        else:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.inside) as stream:
                yield stream


Members = Mapping[str, Member]
"""Files of one keyframe by their path below it."""


def find_keyframes(root: Path, problems: list[str]) -> dict[str, Members]:
    """Files of each keyframe below `root`; zips that cannot be opened go to `problems`."""
    found: dict[str, dict[str, Member]] = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        relative = path.relative_to(root.parent)
        if path.suffix.lower() != ".zip":
            _add(found, relative.as_posix(), Member(path))
            continue
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except CUT_OFF as error:
            problems.append(f"{path} is no whole zip ({error}); download it again.")
            continue
        for name in names:
            if not name.endswith("/"):
                _add(found, f"{relative.with_suffix('').as_posix()}/{name}", Member(path, name))
    return {name: found[name] for name in sorted(found)}


def _add(found: dict[str, dict[str, Member]], path: str, member: Member) -> None:
    if match := KEYFRAME.search(path):
        rest = path[match.end() :].removeprefix("/")
        found.setdefault(keyframe_name(*match.groups()), {})[rest] = member


def is_raw(members: Members) -> bool:
    """Whether a keyframe has something to unpack; keyframe 5 of a dataset is stills only."""
    return VIDEO in members or any(
        f"data/{kind}{suffix}" in members
        for kind in ("frame_data", "scene_points")
        for suffix in TAR_SUFFIXES
    )


def unpack(name: str, members: Members, out: Path, poses: Members | None) -> Iterator[None]:
    """Unpack one keyframe into `out / name`, yielding at every frame of every kind.

    The folder appears when it is whole.

    Args:
        name: as the published splits have it.
        members: its files.
        out: where keyframes go.
        poses: files whose `frame_data` replace the poses, None for SCARED's own.

    Raises:
        InputError: a file is missing, cut off, or does not fit the others.
    """
    folder = out / name
    stage = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(stage, ignore_errors=True)
    try:
        if VIDEO not in members:
            raise InputError(f"{name} has no {VIDEO}; download it again.")
        with _on_disk(members[VIDEO], stage) as path:
            video = VideoFile(path)
            yield from _save_pictures(video, stage)
        height = video.info.height // 2
        for number, content in _entries(members, "scene_points", name):
            _save_depth(stage, number, content, height)
            yield
        override = dict(_entries(poses, "frame_data", name)) if poses else None
        for number, content in _entries(members, "frame_data", name):
            text = _with_pose(content, number, override, name)
            _target(stage, "frame_data", f"frame_data{number:06d}.json").write_text(text)
            yield
        facts = {"fps": float(video.info.fps), "poses_overridden": override is not None}
        _finish(name, members, stage, facts)
        stage.rename(folder)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _save_pictures(video: VideoFile, stage: Path) -> Iterator[None]:
    for number, frame in enumerate(video.frames(), 1):
        for side, half in zip(("left", "right"), split_stacked(frame.image), strict=True):
            target = _target(stage, side, f"{number:010d}.png")
            Image.fromarray(half).save(target, compress_level=PNG_COMPRESSION)
        yield
    if video.loss is not None:
        raise InputError(video.loss)


def _finish(name: str, members: Members, stage: Path, facts: dict[str, float]) -> None:
    """See that every frame has everything, and write down what was unpacked."""
    kinds = {VIDEO: "left", "frame_data": "frame_data", "scene_points": "depth"}
    counts = {part: len(list((stage / "data" / kind).iterdir())) for part, kind in kinds.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} in {part}" for part, count in counts.items())
        raise InputError(f"{name} is incomplete, its frames differ in number: {listed}.")
    if CALIBRATION in members:
        with members[CALIBRATION].opened() as stream:
            (stage / CALIBRATION).write_bytes(stream.read())
    originals = [
        {"file": str(member), "sha256": _hash(member)}
        for rest, member in members.items()
        if rest == VIDEO or rest.endswith(TAR_SUFFIXES)
    ]
    (stage / PREPARED).write_text(json.dumps(facts | {"originals": originals}, indent=2) + "\n")


def _hash(member: Member) -> str:
    with member.opened() as stream:
        return sha256(stream.read)


def _target(stage: Path, kind: str, name: str) -> Path:
    target = stage / "data" / kind / name
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


@contextmanager
def _on_disk(member: Member, stage: Path) -> Iterator[Path]:
    """A path to a member; one that is in a zip is copied out for as long as it is needed."""
    if member.inside is None:
        yield member.path
        return
    copy = stage / Path(member.inside).name
    stage.mkdir(parents=True, exist_ok=True)
    with _whole(member), member.opened() as stream, copy.open("wb") as target:
        shutil.copyfileobj(stream, target)
    yield copy
    copy.unlink()


@contextmanager
def _whole(member: Member) -> Iterator[None]:
    try:
        yield
    except CUT_OFF as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        raise InputError(f"{member} is damaged or cut off ({error}); download it again.") from error


def _entries(members: Members, kind: str, name: str) -> Iterator[tuple[int, bytes]]:
    """Numbered files of a kind, from its tar or its folder, one at a time."""
    tars = [members[path] for s in TAR_SUFFIXES if (path := f"data/{kind}{s}") in members]
    loose = [member for path, member in members.items() if path.startswith(f"data/{kind}/")]
    if not tars and not loose:
        raise InputError(f"{name} has no data/{kind}.tar.gz; download it again.")
    for member in loose if not tars else ():
        with _whole(member), member.opened() as stream:
            yield number_of(Path(str(member))), stream.read()
    for member in tars[:1]:
        with (
            _whole(member),
            member.opened() as stream,
            tarfile.open(fileobj=stream, mode="r|*") as archive,
        ):
            for entry in archive:
                content = archive.extractfile(entry) if entry.isfile() else None
                if content is not None:
                    yield number_of(Path(entry.name)), content.read()


def _save_depth(stage: Path, number: int, content: bytes, height: int) -> None:
    """Keep Z of the left camera; pictures count from 1, scene points from 0."""
    points = _target(stage, "depth", f"scene_points{number:06d}.tiff")
    points.write_bytes(content)
    depth = left_depth(read_scene_points(points))
    points.unlink()
    if len(depth) != height:
        raise InputError(
            f"{points.name} of {stage.with_suffix('')} is {2 * len(depth)} rows high, "
            f"but the video has {2 * height}."
        )
    target = points.with_name(f"{number + 1:010d}.tiff")
    Image.fromarray(depth).save(target, compression="tiff_adobe_deflate")


def _with_pose(content: bytes, number: int, override: dict[int, bytes] | None, name: str) -> str:
    """A frame's record with its pose replaced, where there is an override."""
    path = Path(f"{name}/frame_data{number:06d}.json")
    with explained(path, "a record with camera-pose"):
        record = json.loads(content)
        record["camera-pose"]  # must be there
        if override is not None:
            if number not in override:
                raise InputError(f"The poses given lack frame {number} of {name}.")
            record["camera-pose"] = json.loads(override[number])["camera-pose"]
        return json.dumps(record)
