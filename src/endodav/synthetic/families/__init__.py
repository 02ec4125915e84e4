"""The kinds of scene there are: a family is a function that draws one; `FAMILIES` lists them."""

from collections.abc import Mapping

from endodav.synthetic.families.airway import draw_airway
from endodav.synthetic.families.colon import draw_colon
from endodav.synthetic.families.common import Family
from endodav.synthetic.families.laparoscopy import draw_laparoscopy
from endodav.synthetic.families.stomach import draw_stomach

__all__ = ["FAMILIES", "Family"]

FAMILIES: Mapping[str, Family] = {
    "colon": Family(draw_colon, 0.35, (65, 130)),
    "stomach": Family(draw_stomach, 0.15, (65, 130)),
    "laparoscopy": Family(draw_laparoscopy, 0.35, (40, 85)),
    "airway": Family(draw_airway, 0.15, (60, 110)),
}
