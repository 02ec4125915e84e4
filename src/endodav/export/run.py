"""Depth of a video with an exported model and without PyTorch: python run.py VIDEO OUT.npy."""

import json
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import av
import numpy as np

HERE = Path(__file__).parent


def load(card: dict[str, Any], part: str) -> Callable[..., list[Any]]:
    """A part of the network as a function of arrays."""
    path = str(HERE / next(iter(card["parts"][part]["files"])))
    names = card["parts"][part]["inputs"]
    if card["format"] == "onnx":
        session = import_module("onnxruntime").InferenceSession(path)
        return lambda *x: list(session.run(None, dict(zip(names, x, strict=True))))
    compiled = import_module("openvino").Core().compile_model(path, "CPU")
    return lambda *x: list(compiled(x).values())


def prepare(card: dict[str, Any], frame: av.VideoFrame) -> np.ndarray:
    """[1, 3, rows, columns]: RGB, stretched to the network's size and normalised."""
    how = card["preset"]["preprocessing"]
    rows, columns = card["size"] or how["image_shape"] or (how["input_size"],) * 2
    image = frame.reformat(columns, rows, "rgb24", interpolation="BICUBIC").to_ndarray() / 255.0
    normal = (image - how["mean"]) / how["std"]
    return np.ascontiguousarray(normal.transpose(2, 0, 1)[None], dtype=np.float32)


def depths(video: str) -> Iterator[np.ndarray]:
    """The depth of each frame [rows, columns], which sees those before it."""
    card = json.loads((HERE / "model.json").read_text())
    run = {part: load(card, part) for part in card["parts"] if part != "window"}
    memory: list[list[np.ndarray]] = []  # of 42 frames: the first for ever, and the last 41
    for frame in av.open(video).decode(video=0):
        *fine, map_2, map_3 = run["encoder"](prepare(card, frame))
        if "next" not in run:  # a network of single images
            yield run["decoder"](*fine, map_2, map_3)[0][0]
            continue
        if memory:
            context = [np.stack(x, 2) for x in zip(*memory[:2], *memory[-29:], strict=True)]
            result = run["next"](map_2, map_3, np.arange(31), *context)
            memory = [memory[0], *memory[2:], result[2:]]
        else:
            result = run["first"](map_2, map_3)
            memory = [result[2:]] * 42
        yield run["decoder"](*fine, *result[:2])[0][0]


if __name__ == "__main__":
    np.save(sys.argv[2], np.stack(list(depths(sys.argv[1]))))
