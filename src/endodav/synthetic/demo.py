"""Makes the bundled clip: `python -m endodav.synthetic.demo` writes demo.mp4 beside this file."""

from __future__ import annotations

from pathlib import Path

from endodav.synthetic.clip import render_clip
from endodav.synthetic.writer import write_video

SEED = 202
FRAMES, HEIGHT, WIDTH, FPS = 75, 256, 320, 25.0
CRF = 17  # keeps the file well below 500 kB
PATH = Path(__file__).with_name("demo.mp4")


def main() -> None:
    """Render a flight through a colon and encode it."""
    clip = render_clip(SEED, FRAMES, HEIGHT, WIDTH, family="colon")
    write_video(clip.images, PATH, FPS, CRF)


if __name__ == "__main__":
    main()
