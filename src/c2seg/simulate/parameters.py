"""The parameters of the domain shift between the two cities of a pair, and the families of shifts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from c2seg.errors import InputError, unknown_name

__all__ = ["FAMILIES", "Parameters", "family_of"]

FAMILIES = 4
_SEEDS_PER_FAMILY = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Strength of each difference between source and target, 0 (none) to 1 (as far apart as real pairs get).

    Each defaults to the overall shift. The last three are no differences between the cities but faults within both
    of them, which grow with the shift as well.
    """

    season: float
    """Day of the year, for each modality on its own: up to 110 days between the cities."""
    illumination: float
    """Sun height, brightness, residual haze and water vapour."""
    sensor_gain: float
    """Gain per band and its slope over the spectrum, shift of the band centers, offset of the SAR calibration."""
    material_mix: float
    """Roof types, crops, trees, and which spectra of a material occur."""
    street_pattern: float
    """Radial streets in the source; share of grid streets in the target; size of blocks and fields."""
    class_shares: float
    """From the source's shares of the classes to the target's own."""
    coregistration: float
    """Displacement between the modalities, up to 15 m (HSI), 6 m (SAR), 3 m (MSI)."""
    land_cover_change: float
    """Parcels that had another use when the images were taken, up to 12 % for HSI and 4 % for MSI and SAR."""
    label_noise: float
    """Outlines off by up to 12 m, streets missing, and up to 38 % of the parcels filled by a classifier on MSI."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 <= value <= 1:
                raise InputError(f"knob {name} must be within 0..1, found {value}")

    @classmethod
    def from_shift(cls, shift: float, overrides: Mapping[str, float] | None = None) -> Parameters:
        """Set every knob to ``shift``, except those named in ``overrides``. Raises InputError for unknown names."""
        if not 0 <= shift <= 1:
            raise InputError(f"shift must be within 0..1, found {shift}")
        values = dict.fromkeys(cls.names(), float(shift))
        for name, value in (overrides or {}).items():
            if name not in values:
                raise InputError(unknown_name("knob", name, values))
            values[name] = float(value)
        return cls(**values)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(item.name for item in fields(cls))


def family_of(seed: int) -> int:
    """Return the family of layouts and shifts a seed belongs to: 0 for 0..999, 1 for 1000..1999, and so on, cyclic.

    Families differ in where water and centers lie and in the direction of every shift, so that a method tuned on
    some families can be tested on others.
    """
    return (seed // _SEEDS_PER_FAMILY) % FAMILIES
