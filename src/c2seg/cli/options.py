"""Names of the library's parameters in its messages, as the options that a command has for them."""

from __future__ import annotations

import re

__all__ = ["OPTIONS", "with_options"]

# Parameter, as messages name it between backquotes, -> option of the commands that can meet the message.
OPTIONS = {
    "accuracy": "--accuracy",
    "acquired": "--acquired",
    "align": "--align",
    "alpha": "--alpha",
    "areas": "--areas",
    "backdrop": "--backdrop",
    "backend": "--backend",
    "backscatter": "--backscatter",
    "bands": "--bands",
    "bounds": "--bounds",
    "cache": "--cache",
    "certificate": "--certificate",
    "city": "--city",
    "cluster": "--cluster",
    "compile": "--compile",
    "confidence": "--confidence",
    "crs": "--crs",
    "csv": "--csv",
    "data": "--data",
    "database": "--database",
    "delta": "--delta",
    "dem": "--dem",
    "dem_datum": "--dem-datum",
    "device": "--device",
    "exclude": "--exclude",
    "figure": "--figure",
    "fractions": "--fractions",
    "half_width": "--half-width",
    "host": "--host",
    "hsi": "--hsi",
    "html": "--html",
    "jobs": "--jobs",
    "key": "--key",
    "label_field": "--label-field",
    "label_map": "--label-map",
    "legend": "--legend",
    "legend_image": "--legend-image",
    "level": "--level",
    "like": "--like",
    "mask_clouds": "--keep-clouds",
    "max_entries": "--max-entries",
    "min_area_keep": "--min-area-keep",
    "min_area_px": "--min-area-px",
    "min_per_class": "--min-per-class",
    "min_unit_px": "--min-unit-px",
    "model": "--model",
    "msi": "--msi",
    "n": "--n",
    "order": "--order",
    "osm": "--osm",
    "out": "--out",
    "overrides": "--set",
    "overwrite": "--overwrite",
    "package": "--package",
    "page": "--page",
    "pairs": "--pair",
    "parts_folder": "--parts-folder",
    "port": "--port",
    "precision": "--precision",
    "preview": "--preview",
    "probabilities": "--probabilities",
    "public_share": "--public-share",
    "public_url": "--public-url",
    "resolution": "--resolution",
    "runner_up": "--runner-up",
    "sar": "--sar",
    "sar_unit": "--sar-unit",
    "sets": "--sets",
    "simplify": "--simplify",
    "source": "--source",
    "speckle": "--speckle",
    "stac": "--stac",
    "step_px": "--step-px",
    "strata": "--strata",
    "switches": "--switch",
    "target": "--target",
    "target_labels": "--target-labels",
    "tile_px": "--tile-px",
    "tolerance_m": "--tolerance-m",
    "tta": "--tta",
    "validation": "--no-validation",
    "vector": "--vector",
    "wheels": "--wheels",
    "workers": "--workers",
    "zone_field": "--zone-field",
    "zones": "--zones",
}

_PARAMETER = re.compile(r"`(\w+)(?:=([^`]*))?`")


def with_options(text: str) -> str:
    """Return a message of the library with `` `name` `` and `` `name=value` `` as options; other quoted words stay."""
    return _PARAMETER.sub(_option, text)


def _option(match: re.Match[str]) -> str:
    name, value = match.groups()
    if name not in OPTIONS:
        return match.group()
    given = "" if value in (None, "True", "False") else f" {value.strip(chr(39))}"
    return OPTIONS[name] + given
