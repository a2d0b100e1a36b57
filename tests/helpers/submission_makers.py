"""Make tiles and archives, honest and otherwise."""

import io
import warnings
import zipfile

import numpy as np
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile


def tiff(array, driver="GTiff", **profile):
    """Encode an array [H, W] or [C, H, W]."""
    array = np.atleast_3d(np.asarray(array).T).T if array.ndim == 2 else array
    profile = {"compress": "deflate", "nodata": 0, **profile} if driver == "GTiff" else profile
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(
            driver=driver, count=len(array), height=array.shape[1], width=array.shape[2], dtype=array.dtype, **profile
        ) as dataset:  # fmt: skip
            dataset.write(array)
        return memory.read()


def pack(files, **options):
    """Zip name -> bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()
