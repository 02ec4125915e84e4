"""Options that several commands have."""

from typing import Annotated, Literal

import typer

from endodav.video.roi import FieldOfView, parse_field_of_view

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Compile = Annotated[
    Literal["none", "default", "cuda-graphs"],
    typer.Option(help="torch.compile, also with CUDA graphs: minutes first, faster then."),
]
Roi = Annotated[str, typer.Option(help="Field of view: auto, none, circle:x,y,r or rect:x,y,w,h.")]


def chosen_field(roi: str) -> FieldOfView | None:
    """The field of view that a `Roi` names; None where it is to be found.

    Raises:
        RecipeError: it names none.
    """
    return None if roi == "auto" else parse_field_of_view(roi)
