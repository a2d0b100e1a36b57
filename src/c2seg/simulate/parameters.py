"""The parameters of the domain shift between the two cities of a pair, and the families of shifts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from c2seg.errors import InputError, unknown_name

__all__ = ["FAMILIES", "Parameters", "family_of"]

FAMILIES = 6
_SEEDS_PER_FAMILY = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Strength of each difference between source and target, from 0 (none) to 1 (as large as in real pairs).

    The default of each parameter is the overall shift. The last three are not differences but errors in both cities, which
    also increase with the shift.
    """

    season: float
    """Day of the year, separately for each modality: up to 110 days between the cities."""
    illumination: float
    """Sun height, brightness, residual haze and water vapor."""
    sensor_gain: float
    """Gain per band and its slope over the spectrum, shift of the band centers, offset of the SAR calibration."""
    material_mix: float
    """Roof types, crops, trees, and which spectra of a material occur."""
    street_pattern: float
    """Fraction of grid streets in the target (the source has radial streets); size of blocks and fields."""
    class_shares: float
    """Class fractions of the target: from those of the source to those of the real target."""
    coregistration: float
    """Displacement of the modalities, up to 15 m (HSI), 6 m (SAR), 3 m (MSI)."""
    land_cover_change: float
    """Parcels that had another use at the date of the image, up to 12 % for HSI and 4 % for MSI and SAR."""
    label_noise: float
    """Outlines displaced by up to 12 m, missing streets, and up to 38 % of the parcels filled by a classifier on MSI."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 <= value <= 1:
                raise InputError(f"parameter {name} must be within 0..1, found {value}")

    @classmethod
    def from_shift(cls, shift: float, overrides: Mapping[str, float] | None = None) -> Parameters:
        """Set all parameters to ``shift``, except those in ``overrides``. Raises InputError for unknown names."""
        if not 0 <= shift <= 1:
            raise InputError(f"shift must be within 0..1, found {shift}")
        values = dict.fromkeys(cls.names(), float(shift))
        for name, value in (overrides or {}).items():
            if name not in values:
                raise InputError(unknown_name("parameter", name, values))
            values[name] = float(value)
        return cls(**values)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(item.name for item in fields(cls))


def family_of(seed: int) -> int:
    """Return the family of layouts and shifts of a seed: 0 for 0..999, 1 for 1000..1999, and so on, cyclic.

    Families differ in the positions of water and centers and in the direction of all shifts. A method that was tuned on some
    families can be tested on others.
    """
    return (seed // _SEEDS_PER_FAMILY) % FAMILIES
