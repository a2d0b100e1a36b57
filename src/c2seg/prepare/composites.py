"""Several dates to one image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from c2seg.products import Warped

__all__ = ["best", "median"]

_ROWS = 64


def best(dates: Iterable[Warped]) -> Warped:
    """Return each pixel of the first date that is valid there; all bands of a pixel are of one date."""
    values, valid = next(dates := iter(dates))
    values, valid = values.copy(), valid.copy()
    for later in dates:
        if valid.all():
            break
        fill = later.valid & ~valid
        values[:, fill] = later.values[:, fill]
        valid |= fill
    return Warped(values, valid)


def median(dates: Sequence[Warped]) -> Warped:
    """Return the median of the valid dates of each pixel, band by band; of two it is their mean."""
    valid = np.logical_or.reduce([date.valid for date in dates])
    result = np.zeros_like(dates[0].values)
    use = np.stack([date.valid for date in dates])
    counts = use.sum(axis=0)
    low, high = np.maximum(counts - 1, 0) // 2, counts // 2
    for band in range(len(result)):
        for top in range(0, result.shape[1], _ROWS):
            rows = slice(top, top + _ROWS)
            stack = np.stack([date.values[band, rows] for date in dates])
            stack[~use[:, rows]] = np.inf
            stack.sort(axis=0)
            picked = [np.take_along_axis(stack, np.minimum(k, len(dates) - 1)[None, rows], 0)[0] for k in (low, high)]
            with np.errstate(invalid="ignore"):
                result[band, rows] = (picked[0] + picked[1]) / 2
    result[:, ~valid] = 0
    return Warped(result, valid)
