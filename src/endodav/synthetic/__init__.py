"""The procedural endoscope: clips with exact depth and pose, made from a seed and nothing else."""

from endodav.synthetic.clip import RenderedClip, render_clip
from endodav.synthetic.families import FAMILIES
from endodav.synthetic.writer import write_clip, write_video

__all__ = ["FAMILIES", "RenderedClip", "render_clip", "write_clip", "write_video"]
