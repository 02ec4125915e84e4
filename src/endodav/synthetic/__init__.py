"""The procedural endoscope: clips with exact depth and pose, made from a seed and nothing else."""

from endodav.synthetic.benchmark import RENDERED, Benchmark, Video, render_benchmark
from endodav.synthetic.clip import GENERATION, RenderedClip, render_clip
from endodav.synthetic.families import FAMILIES
from endodav.synthetic.writer import write_clip, write_video

__all__ = [
    "FAMILIES",
    "GENERATION",
    "RENDERED",
    "Benchmark",
    "RenderedClip",
    "Video",
    "render_benchmark",
    "render_clip",
    "write_clip",
    "write_video",
]
