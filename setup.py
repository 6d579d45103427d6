"""The package's metadata. Build system and tool settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

# Read, not imported: a build environment has none of the dependencies.
VERSION = re.search(
    r'^__version__ = "(.+)"$',
    (ROOT / "sktasgen" / "__init__.py").read_text(encoding="utf-8"),
    re.MULTILINE,
).group(1)

# Where the package is listed, links between the files of the repository lead nowhere:
# their words stay.
README = re.sub(
    r"!?\[([^]]+)\]\((?!https?://)[^)]+\)",
    r"\1",
    (ROOT / "README.md").read_text(encoding="utf-8"),
)

IO = ["pandas>=2.2", "pyarrow>=15", "jinja2>=3.1", "tqdm>=4.66"]
PLOT = ["matplotlib>=3.8"]
DATA = ["pooch>=1.8", "tqdm>=4.66"]
SEARCH = ["optuna>=3.5"]
DASK = ["dask[array,distributed]>=2024.2"]
GEO = [
    *DASK,
    "affine>=2.4",
    "xarray>=2025.7.1",
    "zarr>=3.1.3",
    "rasterio>=1.3.9",
    "rioxarray>=0.15.1",
    "odc-stac>=0.3.9",
    "pystac>=1.9",
    "tqdm>=4.66",
    "fsspec>=2024.12",
    "geopandas>=1.0",
    "h5netcdf>=1.3",
    "h5py>=3.10",
]

setup(
    name="sktasgen",
    version=VERSION,
    description=(
        "A label for every date of a satellite time series, from one label per place"
    ),
    long_description=README,
    long_description_content_type="text/markdown",
    author="The sktasgen developers",
    project_urls={"Method": "https://arxiv.org/abs/2506.02574"},
    license_expression="BSD-3-Clause",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: Scientific/Engineering :: GIS",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    keywords="remote sensing, time series, land cover, relabelling, change detection",
    packages=find_packages(include=["sktasgen", "sktasgen.*"]),
    package_data={"sktasgen": ["py.typed"]},
    python_requires=">=3.11",
    # The oldest releases the suite was run with, all at once; torch's is the first
    # built for NumPy 2. No upper bounds: constraints.txt pins what works together.
    install_requires=[
        "numpy>=1.26",
        "scipy>=1.12",
        "scikit-learn>=1.6",
        "torch>=2.3",
        "skorch>=1.1",
        "numba>=0.59",
        "joblib>=1.3",
        "safetensors>=0.4.3",
    ],
    extras_require={
        "io": IO,
        "plot": PLOT,
        "data": DATA,
        "search": SEARCH,
        "dask": DASK,
        "geo": GEO,
        "all": sorted({*IO, *PLOT, *DATA, *SEARCH, *DASK, *GEO}),
        "docs": [
            "sphinx>=7.3",
            "sphinx-gallery>=0.16",
            "numpydoc>=1.7",
            "myst-parser>=3",
            "pydata-sphinx-theme>=0.15",
        ],
        "tests": sorted(
            {
                "pytest>=8",
                "hypothesis>=6.100",
                "imbalanced-learn>=0.13",
                "rich>=13",
                "setuptools>=77.0.3",
                "skops>=0.12",
                "threadpoolctl>=3.2",
                *IO,
                *PLOT,
                *DATA,
                *SEARCH,
                *DASK,
                *GEO,
            }
        ),
    },
    entry_points={"console_scripts": ["sktasgen = sktasgen.__main__:main"]},
)
