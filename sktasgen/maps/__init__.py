"""Maps: cubes of a region in, a label for every date of every pixel out.

``open_cube`` reads, ``mask_cube`` takes clouds out, ``sample_cube`` turns labelled
points into what an estimator is fitted on, ``predict_cube`` maps lazily, and
``write_maps`` and ``write_geotiffs`` put maps on disk, block by block.
"""

from .points import read_points, sample_cube
from .prediction import predict_cube
from .stores import BrokenBlocksError, open_maps, write_maps

__all__ = [
    "BrokenBlocksError",
    "open_maps",
    "predict_cube",
    "read_points",
    "sample_cube",
    "write_maps",
]
