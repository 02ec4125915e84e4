"""An amount of memory as a user writes it."""

import pytest

from endodav.cli.depth import number_of_bytes
from endodav.errors import RecipeError


@pytest.mark.parametrize(
    ("text", "number"),
    [("3GB", 3e9), ("3 GiB", 3 * 2**30), ("1.5gb", 1.5e9), ("800MB", 8e8), ("512MiB", 2**29)],
)
def test_number_of_bytes(text: str, number: float):
    assert number_of_bytes(text) == number


@pytest.mark.parametrize("text", ["3", "three GB", "-1GB", "3TB", ""])
def test_what_is_no_amount_is_refused(text: str):
    with pytest.raises(RecipeError, match="not understood"):
        number_of_bytes(text)
