"""Weights and inputs of the golden fixtures, rebuilt from their recipes with NumPy alone.

A fixture stores outputs only. Everything that went in is a pure function of (seed, name, shape):
the text "seed:name" owns a PCG64 stream, all draws are float64 in C order, and the result is cast
at the end. `fingerprint` shows that this module and the fixtures' author agree on every rule.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Recipe = Mapping[str, Any]

FINGERPRINT = {"weight": "f7b184a6a5fa46d2", "frames": "4f97933f0367b1b3"}
WAVES = 6
TABLES = frozenset({"cls_token", "pos_embed", "mask_token", "register_tokens"})


def rng_for(name: str, seed: int) -> np.random.Generator:
    """The random stream that belongs to (seed, name)."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "little")))


def fingerprint() -> dict[str, str]:
    """Short hashes of one weight and one clip, to compare with `FINGERPRINT`."""
    weight = seeded_tensor("blocks.0.attn.qkv.weight", (12, 4), 7).astype("<f4")
    frames = make_input({"kind": "frames", "name": "clip", "shape": [3, 8, 10], "seed": 7})
    return {
        "weight": hashlib.sha256(weight.tobytes()).hexdigest()[:16],
        "frames": hashlib.sha256(frames.tobytes()).hexdigest()[:16],
    }


# ------------------------------------------------------------------------------------- weights


def seeded_tensor(name: str, shape: Sequence[int], seed: int) -> Array:
    """The float32 value of the state-dict entry `name`."""
    shape = tuple(int(side) for side in shape)
    normal = np.asarray(rng_for(name, seed).standard_normal(shape))
    return np.asarray(_weight(name, shape, normal), np.float32)


def _weight(name: str, shape: tuple[int, ...], n: Array) -> Array:
    """The first rule that applies, given standard normals `n` of that shape."""
    leaf = name.rsplit(".", 1)[-1]
    fan_in = float(np.prod(shape[1:]))
    if leaf == "num_batches_tracked":
        return np.zeros(shape)
    if leaf == "running_mean":
        return 0.1 * n
    if leaf == "running_var":
        return np.asarray(1.0 + 0.1 * np.abs(n))
    if leaf in {"lora_U", "lora_V"}:
        return 0.5 * n
    if leaf in {"lora_A", "lora_B"}:
        return 1.0 + 0.1 * n if shape[-1] == 1 else 0.1 * n  # SSB's gains, or low-rank factors
    if leaf.startswith("lora_"):
        return 0.02 * n
    # The last convolution of a DPT head reads what a ReLU left; this keeps the next ReLU open.
    if name.endswith("output_conv2.2.weight"):
        return 1.5 * (1.0 + n) / fan_in
    if name.endswith("output_conv2.2.bias"):
        return -0.5 + 0.02 * n
    if leaf.endswith("bias") or leaf in TABLES:
        return 0.02 * n
    if len(shape) < 2 and (leaf in {"weight", "gamma"} or "norm" in name):
        return 1.0 + 0.1 * n
    return n / np.sqrt(fan_in) if len(shape) >= 2 else 0.02 * n


def seeded_state(keys: Recipe, seed: int, scales: Mapping[str, float]) -> dict[str, Array]:
    """A whole state dict from a key list; buffers the model computes itself are left out.

    Args:
        keys: `keys` ([name, shape] pairs), `excluded` (computed buffers), `aliases` (second names
            of one tensor, which get the value of the first).
        seed: of every tensor.
        scales: extra factors of single tensors.
    """
    state = {}
    for name, shape in keys["keys"]:
        if name in keys["excluded"]:
            continue
        canonical = keys["aliases"].get(name, name)
        value = seeded_tensor(canonical, shape, seed)
        if canonical in scales:
            value = (value.astype(np.float64) * float(scales[canonical])).astype(np.float32)
        state[name] = value
    return state


# -------------------------------------------------------------------------------------- inputs


def make_input(recipe: Recipe) -> Array:
    """The array a recipe describes; `kind` selects the rule, `dtype` (default float32) the type."""
    value = INPUT_RULES[recipe["kind"]](recipe)
    default = value.dtype if recipe["kind"] in KEEPS_DTYPE else np.dtype(np.float32)
    return np.ascontiguousarray(value.astype(np.dtype(recipe.get("dtype", default))))


def _plane_waves(shape: Sequence[int], recipe: Recipe, name: str) -> Array:
    """Sums of moving plane waves, clipped to [0, 1], [time, channel, row, column] and leading axes.

    Axes before these number independent videos, whose names get `#index` appended.
    """
    if len(shape) > 4:
        return np.stack(
            [_plane_waves(shape[1:], recipe, f"{name}#{index}") for index in range(shape[0])]
        )
    if len(shape) == 3:
        return np.asarray(_plane_waves((1, *shape), recipe, name)[0])
    time, channels, height, width = shape
    rng = rng_for(name, recipe["seed"])
    frequency = recipe.get("max_freq", 4.0)
    speed = recipe.get("max_speed", 0.03)
    size = (channels, WAVES)
    per_width = rng.uniform(-frequency, frequency, size)
    per_height = rng.uniform(-frequency, frequency, size)
    per_frame = rng.uniform(-speed, speed, size)
    phase = rng.uniform(0.0, 1.0, size)
    amplitude = rng.uniform(0.3, 1.0, size)
    amplitude = amplitude / amplitude.sum(axis=1, keepdims=True)
    t = np.arange(time, dtype=np.float64).reshape(-1, 1, 1, 1)
    y = np.arange(height, dtype=np.float64).reshape(1, 1, -1, 1) / height
    x = np.arange(width, dtype=np.float64).reshape(1, 1, 1, -1) / width
    video = np.full((time, channels, height, width), 0.5)
    for wave in range(WAVES):
        fx, fy, ft, p, a = (
            table[:, wave].reshape(1, -1, 1, 1)
            for table in (per_width, per_height, per_frame, phase, amplitude)
        )
        video = video + 0.8 * a * np.sin(2.0 * np.pi * (fx * x + fy * y + ft * t + p))
    noise = recipe.get("noise", 0.0)
    if noise:
        video = video + noise * rng.standard_normal(video.shape)
    return np.clip(video, 0.0, 1.0)


def _one_channel(recipe: Recipe) -> Array:
    time, height, width = recipe["shape"]
    return np.asarray(_plane_waves((time, 1, height, width), recipe, recipe["name"])[:, 0])


def _normal(recipe: Recipe) -> Array:
    draws = rng_for(recipe["name"], recipe["seed"]).standard_normal(tuple(recipe["shape"]))
    return np.asarray(recipe.get("shift", 0.0) + recipe.get("scale", 1.0) * draws)


def _uniform_draws(recipe: Recipe, suffix: str = "") -> Array:
    rng = rng_for(recipe["name"] + suffix, recipe["seed"])
    return np.asarray(rng.uniform(0.0, 1.0, tuple(recipe["shape"])))


def _uniform(recipe: Recipe) -> Array:
    low, high = recipe.get("lo", 0.0), recipe.get("hi", 1.0)
    return np.asarray(low + (high - low) * _uniform_draws(recipe))


def _video(recipe: Recipe) -> Array:
    video = _plane_waves(recipe["shape"], recipe, recipe["name"])
    return np.asarray(video * recipe.get("scale", 1.0) + recipe.get("shift", 0.0))


def _frames(recipe: Recipe) -> Array:
    time, height, width = recipe["shape"]
    video = _plane_waves((time, 3, height, width), recipe, recipe["name"])
    return np.floor(video * 255.0 + 0.5).astype(np.uint8).transpose(0, 2, 3, 1)


def _depth(recipe: Recipe) -> Array:
    depth = recipe["lo"] + (recipe["hi"] - recipe["lo"]) * _one_channel(recipe)
    if recipe.get("holes"):
        depth = np.where(_uniform_draws(recipe, "/holes") < recipe["holes"], 0.0, depth)
    return np.asarray(depth)


def _labels(recipe: Recipe) -> Array:
    count = recipe["n"]
    return np.minimum(np.floor(_one_channel(recipe) * count), count - 1).astype(np.int64)


def _rotation(axis_angle: Array) -> Array:
    """Rodrigues' formula."""
    angle = np.linalg.norm(axis_angle)
    if angle == 0.0:
        return np.eye(3)
    x, y, z = axis_angle / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * (cross @ cross))


def _poses(recipe: Recipe) -> Array:
    """Smooth rigid motions that start at the identity, [n, 4, 4]."""
    rng = rng_for(recipe["name"], recipe["seed"])
    frequency = rng.uniform(0.02, 0.08, 6)
    phase = rng.uniform(0.0, 1.0, 6)
    limits = np.array([recipe["rot"]] * 3 + [recipe["trans"]] * 3)
    amplitude = limits * rng.uniform(0.5, 1.0, 6)
    poses = np.tile(np.eye(4), (recipe["n"], 1, 1))
    for index, pose in enumerate(poses):
        wave = np.sin(2 * np.pi * (frequency * index + phase)) - np.sin(2 * np.pi * phase)
        motion = amplitude * wave
        pose[:3, :3] = _rotation(motion[:3])
        pose[:3, 3] = motion[3:]
    return poses


def _inner(recipe: Recipe) -> Array:
    return make_input(recipe["of"]).astype(np.float64)


def _affine(recipe: Recipe) -> Array:
    value = _inner(recipe) * recipe.get("scale", 1.0) + recipe.get("shift", 0.0)
    return np.clip(value, recipe.get("lo", -np.inf), recipe.get("hi", np.inf))


def _slice(recipe: Recipe) -> Array:
    window = (slice(None),) * recipe.get("axis", 0) + (slice(recipe["start"], recipe["stop"]),)
    return make_input(recipe["of"])[window]


def _mean_pool(recipe: Recipe) -> Array:
    value = _inner(recipe)
    for _ in range(recipe.get("times", 1)):
        corners = (value[..., row::2, column::2] for column in (0, 1) for row in (0, 1))
        value = 0.25 * sum(corners, start=np.zeros(()))
    return value


def _product(recipe: Recipe) -> Array:
    value: Array = np.ones(())
    for factor in recipe["of"]:
        value = value * make_input(factor).astype(np.float64)
    return value


def _sum(recipe: Recipe) -> Array:
    value: Array = np.zeros(())
    for term in recipe["of"]:
        value = value + make_input(term).astype(np.float64)
    return value


# These kinds fix the type themselves: 8-bit frames, booleans, integers, or whatever is inside.
KEEPS_DTYPE = frozenset({"frames", "mask", "labels", "slice", "reshape"})

INPUT_RULES: Mapping[str, Callable[[Recipe], Array]] = {
    "normal": _normal,
    "uniform": _uniform,
    "video": _video,
    "frames": _frames,
    "depth": _depth,
    "mask": lambda recipe: _uniform_draws(recipe) < recipe["p"],
    "labels": _labels,
    "poses": _poses,
    "tensor": lambda recipe: seeded_tensor(recipe["name"], recipe["shape"], recipe["seed"]),
    "value": lambda recipe: np.asarray(recipe["value"]),
    "affine": _affine,
    "inverse": lambda recipe: recipe.get("scale", 1.0) / _inner(recipe),
    "slice": _slice,
    "reshape": lambda recipe: make_input(recipe["of"]).reshape(tuple(recipe["shape"])),
    "avgpool2": _mean_pool,
    "mul": _product,
    "add": _sum,
}
