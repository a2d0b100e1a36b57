"""The shift between two images of the same ground, by phase correlation. Pure functions of arrays.

Both images are band-passed, so that neither gain, offset nor slow shading counts, and tapered at invalid pixels. The
correlation's peak is located by an upsampled Fourier transform (Guizar-Sicairos, Thurman and Fienup, "Efficient subpixel image
registration algorithms", Optics Letters 33(2), 2008; ``skimage.registration.phase_cross_correlation``). The moving image is
then moved back and measured again, until nothing is left: gaps pull a single measurement towards 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from c2seg.errors import needs_extra

__all__ = ["ImageShift", "find_shift", "structure"]

LEAST_PX = 32
"""Images with a shorter side are not measured."""

_LEAST_VALID = 0.4
_FINE_PX, _COARSE_PX = 0.8, 5.0  # the band-pass is a difference of Gaussians
_TAPER_PX = 3.0
_CLIP = 4.0  # robust deviations: single bright roofs and clouds must not decide
_PER_PX = 50  # steps of the peak's position
_ROUNDS = 5
_SETTLED_PX = 0.02
_FARTHEST = 0.3  # of the shorter side


class ImageShift(NamedTuple):
    """How far the moving image's content lies from the reference's: rows down, columns right, in pixels.

    ``correlation``: of both band-passed images after the shift is undone, -1..1. ``disagreement_px``: between this shift and
    the one that is measured with both images exchanged.
    """

    rows: float
    cols: float
    correlation: float
    disagreement_px: float


def find_shift(
    reference: np.ndarray, moving: np.ndarray, reference_valid: np.ndarray, moving_valid: np.ndarray
) -> ImageShift | str:
    """Return the shift of ``moving`` against ``reference``, or why there is none to measure.

    Images are float [H, W] in any units, validity is bool [H, W]; values of invalid pixels do not count. Raises
    MissingExtraError without scikit-image.
    """
    with needs_extra("prepare", "co-registration"):
        import skimage.registration  # noqa: F401
    if min(reference.shape) < LEAST_PX:
        return f"fewer than {LEAST_PX} pixels on a side"
    if (reference_valid & moving_valid).mean() < _LEAST_VALID:
        return f"less than {_LEAST_VALID:.0%} of the pixels are valid in both"
    a, b = _filtered(reference, reference_valid), _filtered(moving, moving_valid)
    if a is None or b is None:
        return "no texture"
    forward, backward = _measure(a, b), _measure(b, a)
    if forward is None or backward is None:
        return "the images have nothing in common within the range of the search"
    gap = float(np.hypot(*(forward[:2] + backward[:2])))
    return ImageShift(float(forward[0]), float(forward[1]), float(forward[2]), gap)


def structure(image: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the magnitude of the gradient of a smoothed image [H, W], 0 beside invalid pixels.

    It compares images of different physics, such as radar and optical ones.
    """
    from scipy.ndimage import binary_erosion, gaussian_gradient_magnitude

    level = float(np.median(image[valid])) if valid.any() else 0.0
    gradient = gaussian_gradient_magnitude(np.where(valid, image, level).astype(np.float64), 1.5)
    result: np.ndarray = np.where(binary_erosion(valid, iterations=4, border_value=1), gradient, 0.0)
    return result


class _Filtered(NamedTuple):
    """A band-passed image and the weights of its pixels, 0 (invalid) to 1, float [H, W]."""

    values: np.ndarray
    weights: np.ndarray


def _filtered(image: np.ndarray, valid: np.ndarray) -> _Filtered | None:
    """Return the band-passed image of deviation 1; None if it has no texture."""
    from scipy.ndimage import distance_transform_edt, gaussian_filter

    inside = valid.astype(np.float64)
    filled = np.where(valid, image, 0.0).astype(np.float64)
    filled -= filled.sum() / max(1.0, inside.sum()) * inside  # sums of large numbers lose digits

    def smooth(sigma: float) -> np.ndarray:
        mean: np.ndarray = gaussian_filter(filled, sigma) / np.maximum(gaussian_filter(inside, sigma), 1e-6)
        return mean

    passed = smooth(_FINE_PX) - smooth(_COARSE_PX)
    deviation = 1.4826 * float(np.median(np.abs(passed[valid])))
    spread = deviation or float(passed[valid].std())
    if spread <= 1e-6 * max(1e-30, float(np.abs(image[valid]).max())):
        return None
    padded = np.pad(valid, 1)  # the edge of the image is an edge of the valid pixels
    weights = np.clip(distance_transform_edt(padded)[1:-1, 1:-1] / (2 * _TAPER_PX), 0, 1)
    return _Filtered(np.clip(passed / spread, -_CLIP, _CLIP) * valid, weights * weights * (3 - 2 * weights))


def _measure(a: _Filtered, b: _Filtered) -> np.ndarray | None:
    """Return rows, columns, correlation [3] of ``b`` against ``a``; None if the peak runs away."""
    from skimage import registration

    locate: Any = registration.phase_cross_correlation
    total = np.zeros(2)
    moved, weights = b.values, b.weights
    farthest = _FARTHEST * min(a.values.shape)
    for number in range(_ROUNDS):
        # The first time each image has its own weights: common ones would pull the peak to 0.
        still, second = (a.weights, weights) if number == 0 else (a.weights * weights, a.weights * weights)
        pair = (a.values * still, moved * second)
        step = -locate(*pair, upsample_factor=_PER_PX, normalization=None)[0]
        total += step
        if np.abs(total).max() > farthest:
            return None
        moved, weights = (_shifted(part, -total) for part in b)
        weights = np.clip(weights, 0, 1)
        if np.abs(step).max() <= _SETTLED_PX:
            break
    return np.array([*total, _correlation(a, _Filtered(moved, weights))])


def _shifted(image: np.ndarray, by: np.ndarray) -> np.ndarray:
    from scipy.ndimage import shift

    result: np.ndarray = shift(image, by, order=3, mode="constant", cval=0.0)
    return result


def _correlation(a: _Filtered, b: _Filtered) -> float:
    weights = a.weights * b.weights
    total = weights.sum()
    if total <= 0:
        return 0.0
    x, y = (part.values - (part.values * weights).sum() / total for part in (a, b))
    norm = np.sqrt((x * x * weights).sum() * (y * y * weights).sum())
    return float((x * y * weights).sum() / norm) if norm > 0 else 0.0
