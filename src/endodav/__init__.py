"""EndoDAV: depth for any endoscopic video, spatially accurate and stable in time.

>>> from endodav import DepthEstimator
>>> estimator = DepthEstimator.from_pretrained("endodav-tiny")
>>> for frame in estimator.run("surgery.mp4"):
...     print(float(frame.timestamp), frame.values.shape)
"""

from importlib.metadata import version

from endodav.errors import (
    AlignmentWarning,
    EndoDAVError,
    InputError,
    OutputError,
    PartialInputWarning,
    PrecisionWarning,
    PreviewWarning,
    RecipeError,
    WeightsError,
)
from endodav.inference.estimator import DepthEstimator
from endodav.types import DepthFrame, DepthMeta, Frame, Kind, Sink, Source, SourceInfo, Units
from endodav.video.sink import open_sink
from endodav.video.source import open_source

__version__ = version("endodav")

__all__ = [
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
]
