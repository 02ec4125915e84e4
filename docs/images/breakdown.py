"""Draws breakdown.png for docs/performance.md: `python docs/images/breakdown.py [REPORT.json]`.

What it draws was measured by benchmarks/breakdown.py.
"""

import json
import sys
from pathlib import Path

from PIL import Image, ImageColor, ImageDraw, ImageFont

from endodav.evaluation.charts import COLOURS

REPORT = Path(__file__).parents[2] / "benchmarks" / "results" / "breakdown.json"
WIDTH, MARGIN, BAR, LINE = 1200, 32, 64, 30
FONT, SMALL = ImageFont.load_default(20), ImageFont.load_default(16)
INK, PAPER = "#202020", "#ffffff"
LIGHT = 400  # sum of red, green and blue from which on ink is easier to read
NARROWEST = 0.045  # share of a bar that has room for its number
COLUMNS = 3  # of the legend
PALETTE = (*COLOURS[:-1], "#f0e442", "#999999", "#444444")


def main() -> None:
    """One bar a model, cut into the parts of its network, and what the colours mean."""
    report = json.loads((Path(sys.argv[1]) if sys.argv[1:] else REPORT).read_text())
    models = report["ms_a_frame"]
    names = list(next(iter(models.values())))
    legend = LINE * -(-len(names) // COLUMNS)
    height = 2 * MARGIN + LINE + len(models) * (LINE + BAR + MARGIN) + legend
    picture = Image.new("RGB", (WIDTH, height), PAPER)
    pen = ImageDraw.Draw(picture)
    rows, columns = report["size"]
    pen.text(
        (MARGIN, MARGIN - 8),
        f"Where a returned frame's time goes: {rows}x{columns}, {report['precision']}, "
        f"{report['hardware']['cpu']}, threads: {report['hardware']['threads']}, "
        f"load: {report['hardware']['load_average']:g}",
        INK,
        FONT,
    )
    top = MARGIN + LINE
    for model, parts in models.items():
        medians = {name: part["median"] for name, part in parts.items()}
        pen.text((MARGIN, top), f"{model}: {sum(medians.values()):.1f} ms", INK, FONT)
        draw_bar(pen, top + LINE, medians)
        top += LINE + BAR + MARGIN
    for number, name in enumerate(names):
        left = MARGIN + number % COLUMNS * (WIDTH - 2 * MARGIN) // COLUMNS
        y = top + number // COLUMNS * LINE
        pen.rectangle((left, y, left + 18, y + 18), PALETTE[number])
        pen.text((left + 28, y), name, INK, SMALL)
    path = Path(__file__).with_name("breakdown.png")
    picture.save(path, optimize=True)
    print(path)


def draw_bar(pen: ImageDraw.ImageDraw, top: int, medians: dict[str, float]) -> None:
    """The parts side by side as shares of their sum, with milliseconds where there is room."""
    left, total = float(MARGIN), sum(medians.values())
    for number, milliseconds in enumerate(medians.values()):
        right = left + (WIDTH - 2 * MARGIN) * milliseconds / total
        pen.rectangle((left, top, right, top + BAR), PALETTE[number])
        if milliseconds / total > NARROWEST:
            middle = ((left + right) / 2, top + BAR / 2)
            ink = INK if sum(ImageColor.getrgb(PALETTE[number])) > LIGHT else PAPER
            pen.text(middle, f"{milliseconds:.1f}", ink, FONT, anchor="mm")
        left = right


if __name__ == "__main__":
    main()
