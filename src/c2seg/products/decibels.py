"""Backscatter power in dB."""

from __future__ import annotations

import numpy as np

from c2seg.products.base import Warped

__all__ = ["in_decibels"]


def in_decibels(warped: Warped) -> Warped:
    """Return power as dB; pixels without power in one of their bands are invalid, and 0."""
    values, valid = warped
    valid = valid & (values > 0).all(axis=0)
    result = np.zeros_like(values)
    np.log10(values, out=result, where=np.broadcast_to(valid, values.shape))
    result *= np.float32(10)
    return Warped(result, valid)
