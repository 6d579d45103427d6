"""Maps: cubes of a region in, a label for every date of every pixel out.

``open_cube`` reads, ``mask_cube`` takes clouds out, ``sample_cube`` turns labelled
points into what an estimator is fitted on, ``predict_cube`` maps lazily, and
``write_maps`` and ``write_geotiffs`` put maps on disk, block by block.
"""

from .quality import mask_cube
from .readers import open_cube

__all__ = ["mask_cube", "open_cube"]
