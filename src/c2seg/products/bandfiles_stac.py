"""What a STAC item beside single-band files says of them: platform, time, baseline, scale and offset of each asset."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from c2seg.documents import parse_json, read_text
from c2seg.errors import DataError

__all__ = ["StacItem", "read_item"]

_MOST_BYTES = 4 << 20
_MOST_FILES = 20


@dataclass(frozen=True)
class StacItem:
    """An item: its id, properties, and assets by key and by file name."""

    path: Path
    item_id: str
    properties: Mapping[str, Any] = field(repr=False)
    assets: Mapping[str, Mapping[str, Any]] = field(repr=False)

    @property
    def baseline(self) -> float | None:
        """The processing baseline of Sentinel-2."""
        for key in ("s2:processing_baseline", "sentinel:processing_baseline", "processing:version"):
            match = re.fullmatch(r"\s*0?(\d+\.\d+)\s*", str(self.properties.get(key, "")))
            if match:
                return float(match[1])
        return None

    @property
    def offset_applied(self) -> bool | None:
        """Whether the catalog says that numbers hold the offset already; None if it does not say."""
        for key in ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied"):
            if isinstance(value := self.properties.get(key), bool):
                return value
        return None

    @property
    def cloud_percent(self) -> float | None:
        """Share of clouds in percent (STAC extension eo)."""
        value = self.properties.get("eo:cloud_cover")
        return float(value) if isinstance(value, int | float) else None

    @property
    def platform(self) -> str:
        """Platform such as sentinel-2a; empty if none is stated."""
        text = str(self.properties.get("platform") or self.properties.get("constellation") or "")
        return text.lower().replace("_", "-")

    def scaling(self, name: str) -> tuple[float, float] | None:
        """Return scale and offset of the asset that a file name is of; None if none are stated."""
        asset = self._asset(name)
        for key in ("raster:bands", "bands"):
            bands = asset.get(key) if asset else None
            first = bands[0] if isinstance(bands, list) and bands and isinstance(bands[0], dict) else {}
            scale = first.get("scale", first.get("raster:scale"))
            if isinstance(scale, int | float) and scale:
                offset = first.get("offset", first.get("raster:offset", 0))
                return float(scale), float(offset) if isinstance(offset, int | float) else 0.0
        scale = asset.get("raster:scale") if asset else None
        if isinstance(scale, int | float) and scale and asset:
            offset = asset.get("raster:offset", 0)
            return float(scale), float(offset) if isinstance(offset, int | float) else 0.0
        return None

    def _asset(self, name: str) -> Mapping[str, Any] | None:
        for key, asset in self.assets.items():
            if PurePosixPath(str(asset.get("href", "")).partition("?")[0]).name == name:
                return asset
            if key.lower() == PurePosixPath(name).stem.lower():
                return asset
        return None


def read_item(folder: Path, names: list[str]) -> StacItem | None:
    """Return the STAC item in a folder whose assets or id the files are of; None without one. Other JSON is passed over."""
    candidates = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".json", ".geojson"))[:_MOST_FILES]
    for path in candidates:
        item = _item(path)
        if item and (len(candidates) == 1 or any(item.scaling(name) or item._asset(name) for name in names)):
            return item
    return None


def _item(path: Path) -> StacItem | None:
    try:
        content = parse_json(read_text(path, _MOST_BYTES), str(path))
    except DataError:
        return None
    if not isinstance(content, dict) or "stac_version" not in content or content.get("type") != "Feature":
        return None
    properties, assets = content.get("properties"), content.get("assets")
    return StacItem(
        path, str(content.get("id", "")), properties if isinstance(properties, dict) else {},
        {str(key): value for key, value in assets.items() if isinstance(value, dict)} if isinstance(assets, dict) else {},
    )  # fmt: skip
