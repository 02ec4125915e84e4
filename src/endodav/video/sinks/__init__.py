"""One module for each output format: how it is written, describes itself and is read back.

Adding a format is a module with a `FORMAT` and one line here.
"""

from collections.abc import Mapping
from types import MappingProxyType

from endodav.video.sinks import exr, ffv1, mp4, npz, png16, zarr_group
from endodav.video.sinks.format import Format

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        module.FORMAT.name: module.FORMAT
        for module in (
            mp4,
            ffv1,
            png16,
            exr,
            npz,
            zarr_group,
        )
    }
)
"""Every output format by the name that `--format` takes."""
