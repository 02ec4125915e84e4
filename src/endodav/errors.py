"""Everything a user can cause, as exceptions whose message is the whole story.

A message is one sentence that says what was wrong and what to do about it. The command line prints
it and exits with `exit_code`; library callers catch `EndoDAVError`.
"""


class EndoDAVError(Exception):
    """Base of all errors a user can cause; never raised itself."""

    exit_code = 1


class InputError(EndoDAVError):
    """The video, image folder or array cannot be used."""

    exit_code = 3


class WeightsError(EndoDAVError):
    """A model name, checkpoint or licence does not allow loading."""

    exit_code = 4


class OutputError(EndoDAVError):
    """A result cannot be written where it should go."""

    exit_code = 5


class RecipeError(EndoDAVError):
    """A training recipe or option asks for something impossible."""

    exit_code = 6


class PartialInputWarning(UserWarning):
    """Part of the input could not be read; what could be read was delivered."""


class PrecisionWarning(UserWarning):
    """Reduced precision produced non-finite values, so float32 was used instead."""


class AlignmentWarning(UserWarning):
    """Two windows could not be aligned by least squares, so something simpler was done."""


class PreviewWarning(UserWarning):
    """The preview video could not show every value in its own colour; the data formats do."""
