"""Layers in physical units for networks that were trained on them: reflectance of Sentinel-2's bands, backscatter in dB.

They are modalities like others, made of a city's own bands when a network asks for them. No normalization changes them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from c2seg.data.city import Band, City, Modality, Scene
from c2seg.data.derived import Derived
from c2seg.data.units import PhysicalUnit, physical_units
from c2seg.errors import DataError
from c2seg.raster import RasterSource
from c2seg.types import Window

__all__ = [
    "LAYERS",
    "OPTICAL",
    "RADAR",
    "PhysicalBands",
    "layer_weights",
    "measured",
    "sentinel_layers",
    "with_physical_layers",
]

OPTICAL, RADAR = "optical_reflectance", "radar_db"

# Centers and widths of Sentinel-2 (ESA, spectral responses of S2A); roles where our data name them.
LAYERS: dict[str, tuple[Band, ...]] = {
    OPTICAL: (
        Band("B02", "blue", 492.4, 66), Band("B03", "green", 559.8, 36), Band("B04", "red", 664.6, 31),
        Band("B05", None, 704.1, 15), Band("B06", None, 740.5, 15), Band("B07", None, 782.8, 20),
        Band("B08", "nir", 832.8, 106), Band("B8A", None, 864.7, 21), Band("B11", None, 1613.7, 91),
        Band("B12", None, 2202.4, 175),
    ),
    RADAR: (Band("VV", "vv"), Band("VH", "vh")),
}  # fmt: skip
"""Bands of each layer, always all of them. One that a city has not is 0 everywhere, and 0 means "no data" to the networks."""

_UNITS = {OPTICAL: ("reflectance",), RADAR: ("dB", "linear power")}
_SIDES_M = (5.0, 60.0)  # of pixels that networks for Sentinel-2 and Sentinel-1 (10 to 60 m) may know
_LEAST_POWER = 1e-5  # -50 dB
_SPECTROMETER = 30  # bands from which a sensor resolves those of Sentinel-2: they are means of its bands then
_NEAR_NM = 10.0  # beyond half of its width up to which another sensor's band stands for a band


@dataclass(frozen=True)
class PhysicalBands(Derived):
    """Bands of a layer, float32, from those of a modality in physical units; NaN where the modality is not valid.

    ``weights`` float32 [layer's bands, bands]: rows sum to 1, or are 0 for bands that the modality has not. ``unit`` tells
    what scaled values are; linear power becomes dB.
    """

    stack: Modality
    weights: np.ndarray
    unit: PhysicalUnit

    @property
    def origin(self) -> RasterSource:
        """The raster of the modality."""
        return self.stack.source

    @property
    def count(self) -> int:
        """Number of bands of the layer."""
        return len(self.weights)

    def read(self, window: Window) -> np.ndarray:
        """Return float32 [C, H, W]."""
        raw = self.stack.source.read(window)
        valid = self.stack.valid_pixels(raw, window)
        values = self.stack.scaled(raw) * np.float32(self.unit.scale) + np.float32(self.unit.offset)
        values[:, ~valid] = 0
        if self.unit.unit == "linear power":
            values = 10 * np.log10(np.maximum(values, _LEAST_POWER))
        layer = np.tensordot(self.weights, values, 1).astype(np.float32)
        layer[:, ~valid] = np.nan
        return layer

    def fingerprint(self) -> str:
        """Return a text that depends on the raster, on how it is read, and on the weights."""
        reading = (self.stack.scale, self.stack.offset, self.stack.nodata_all_bands, tuple(self.unit))
        return f"{self.stack.source.fingerprint()} {reading} {self.weights.tobytes().hex()}"


def measured(modalities: Iterable[str]) -> tuple[str, ...]:
    """Return the modalities that are no physical layers: those that sensors measured."""
    return tuple(name for name in modalities if name not in LAYERS)


def sentinel_layers(city: City) -> tuple[str, ...]:
    """Return the physical layers that hold all that a city has: bands like those of Sentinel-2 and Sentinel-1 in known units.

    No layer where the city has another modality, a spectrometer among them, or one whose unit is not known, or where pixels
    are far smaller or larger than theirs. Pixels of unknown size pass.
    """
    origins = {layer: _origin(city, layer) for layer in LAYERS}
    made = {layer: name for layer, name in origins.items() if name is not None}
    scene = city.scenes[0]
    side = scene.grid.pixel_side_m()
    if set(made.values()) != set(measured(city.modality_names)) or not (
        side is None or _SIDES_M[0] <= side <= _SIDES_M[1]
    ):
        return ()
    units = physical_units(city, tuple(made.values()))
    for layer, name in made.items():
        if units[name].unit not in _UNITS[layer] or len(scene.modality(name).bands) > _SPECTROMETER:
            return ()
    return tuple(made)


def with_physical_layers(city: City, layers: Collection[str]) -> tuple[City, tuple[str, ...]]:
    """Return the city with the physical layers among ``layers`` that it can have, and notes on missing bands.

    A city without optical bands has no reflectance, one without radar no backscatter. Raises DataError where the values' unit
    is not known: nothing can be computed from them then.
    """
    missing = [name for name in LAYERS if name in layers and name not in city.modality_names]
    if not missing:
        return city, ()
    notes = []
    for layer in missing:
        origin = _origin(city, layer)
        if origin is None:
            continue
        unit = physical_units(city, (origin,)).get(origin, PhysicalUnit())
        if unit.unit not in _UNITS[layer]:
            raise DataError(_unknown(city, origin, layer))
        weights = layer_weights(LAYERS[layer], city.scenes[0].modality(origin).bands)
        lacking = [band.name for band, row in zip(LAYERS[layer], weights, strict=True) if not row.any()]
        if layer == OPTICAL and unit.offset:
            notes.append(f"{origin} of {city.name}: {-unit.offset:g} is taken off its reflectance, an offset left in")
        if lacking:
            notes.append(f"{origin} of {city.name}: no band for {', '.join(lacking)} of {layer}; they are 0 (no data)")
        city = replace(city, scenes=tuple(_with_layer(scene, layer, origin, weights, unit) for scene in city.scenes))
    return city, tuple(notes)


def layer_weights(bands: Sequence[Band], available: Sequence[Band]) -> np.ndarray:
    """Return weights float32 [bands, available] by role, else by wavelength; a row is 0 where no band is near.

    Bands of a spectrometer are averaged over a band's width; of another sensor the nearest band is taken, at most half the
    width and 10 nm away.
    """
    weights = np.zeros((len(bands), len(available)), np.float32)
    roles = [band.role for band in available]
    centers = np.array([np.nan if band.wavelength_nm is None else band.wavelength_nm for band in available])
    for row, band in zip(weights, bands, strict=True):
        if band.role is not None and band.role in roles:
            row[roles.index(band.role)] = 1
            continue
        if band.wavelength_nm is None or np.isnan(centers).all():
            continue
        distance, reach = np.abs(centers - band.wavelength_nm), (band.fwhm_nm or 0.0) / 2
        inside = np.flatnonzero(distance <= reach) if len(available) > _SPECTROMETER else np.empty(0, int)
        nearest = int(np.nanargmin(distance))
        if inside.size:
            row[inside] = 1 / inside.size
        elif distance[nearest] <= reach + _NEAR_NM:
            row[nearest] = 1
    return weights


def _origin(city: City, layer: str) -> str | None:
    """Return the modality with most of a layer's bands, the first among equals; None if none has any."""
    counts = {
        name: int(layer_weights(LAYERS[layer], city.scenes[0].modality(name).bands).any(axis=1).sum())
        for name in measured(city.modality_names)
    }
    best = max(counts, key=lambda name: counts[name], default=None)
    return best if best is not None and counts[best] else None


def _with_layer(scene: Scene, layer: str, origin: str, weights: np.ndarray, unit: PhysicalUnit) -> Scene:
    stack = scene.modality(origin)
    made = Modality(PhysicalBands(stack, weights, unit), stack.relation, stack.origin, name=layer, bands=LAYERS[layer])
    return replace(scene, modalities={**scene.modalities, layer: made})


def _unknown(city: City, origin: str, layer: str) -> str:
    """Return one line on values of an unknown unit."""
    advice = (
        "give `scale:` and `offset:` in city.yaml (Sentinel-2 L2A: 0.0001, and offset -0.1 from baseline 04.00 on)"
        if layer == OPTICAL
        else "give floats in dB or linear power"
    )
    return (
        f"{origin} of {city.name}: the network takes {_UNITS[layer][0]}, and the unit of these values is not known; {advice}, "
        "or take a network without such an encoder"
    )
