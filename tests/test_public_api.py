"""The public API is a promise: adding to it or taking from it must be meant."""

import inspect

import endodav

PUBLIC = {
    "AlignmentWarning",
    "DepthEstimator",
    "DepthFrame",
    "DepthMeta",
    "EndoDAVError",
    "Frame",
    "InputError",
    "Kind",
    "OutputError",
    "PartialInputWarning",
    "PrecisionWarning",
    "PreviewWarning",
    "RecipeError",
    "Sink",
    "Source",
    "SourceInfo",
    "Units",
    "WeightsError",
    "__version__",
    "open_sink",
    "open_source",
}


def test_the_inventory_is_what_we_promise():
    assert set(endodav.__all__) == PUBLIC


def test_every_public_name_exists_and_is_documented():
    for name in PUBLIC - {"__version__"}:
        thing = getattr(endodav, name)
        assert inspect.getdoc(thing), name


def test_from_pretrained_keeps_its_options():
    options = inspect.signature(endodav.DepthEstimator.from_pretrained).parameters
    assert list(options) == [
        "name_or_path",
        "weights",
        "device",
        "precision",
        "backend",
        "strategy",
        "input_size",
        "output_size",
        "window",
        "overlap",
        "streaming",
        "memory_limit",
        "compile",
        "permissive_only",
        "announce",
    ]
