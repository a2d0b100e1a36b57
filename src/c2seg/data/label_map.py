"""Which label mapping a label follows: by the values it holds, else by where water must be.

Two label mappings of C2Seg use the same values 0..13 (``challenge`` and ``mat``), so that values alone cannot tell them
apart. Water can: it is the darkest class in the near infrared, id 1 in one and 13 in the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

from c2seg.data.city import City, Label, LabeledCity
from c2seg.errors import DataError, InputError
from c2seg.legend import BACKGROUND, IGNORE, Legend
from c2seg.types import Window

__all__ = ["detect_label_map", "load_label_map", "settle_label_maps"]

_SAMPLES = 8  # by axis: windows that are looked at
_SAMPLE_PX = 256
_LEAST_PX = 20  # of a class, to know its near infrared
_DARKER = 0.8  # water's near infrared against what another label mapping calls water


def load_label_map(path: Path, legend: Legend) -> Mapping[int, int]:
    """Read a mapping file (YAML, ``value in the file: id``; 0 = background) and check it against a legend.

    Raises InputError if it cannot be read, is not one to one, or names ids the legend does not have.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        codes = {int(value): int(id_) for value, id_ in content.items()}
    except OSError as error:
        raise InputError(f"cannot read the label mapping {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is not a label mapping (lines `value: id`): {' '.join(str(error).split())}"
        ) from error
    replace(legend, label_maps={path.stem: codes})  # checks it
    return codes


def settle_label_maps(city: City, labels: Sequence[Label]) -> LabeledCity:
    """Return the labeled city with every label's label mapping named in the city's legend.

    A label's label mapping may be a name, the path of a mapping file (``.yaml``), or ``auto``: detected.
    """
    settled = []
    for index, label in enumerate(labels):
        name = label.label_map
        if name.endswith((".yaml", ".yml")):
            file = Path(name)
            codes = load_label_map(file, city.legend)
            name = file.stem
            city = replace(city, legend=replace(city.legend, label_maps={**city.legend.label_maps, name: codes}))
        elif name == "auto":
            name = detect_label_map(city, index, label)
        city.legend.codes(name)
        settled.append(replace(label, label_map=name))
    return LabeledCity(city, tuple(settled))


def detect_label_map(city: City, scene: int, label: Label) -> str:
    """Return the label mapping of a scene's label from up to 64 windows of it.

    Raises DataError when the values fit none, or several and the near infrared of the classes does not decide.
    """
    legend = city.legend
    infrared = _infrared_by_value(city, scene, label)
    values = set(infrared) - {IGNORE}
    names = ["challenge", *legend.label_maps]
    fitting = [name for name in names if values <= set(legend.codes(name))]
    if not fitting:
        raise DataError(
            f"{label.origin}: values {sorted(values)[:20]} fit no label mapping of legend {legend.name!r} "
            f"({', '.join(names)}); give a mapping file (lines `value: id`) as the label mapping"
        )
    if len(fitting) == 1 or values <= {BACKGROUND}:
        return fitting[0]
    by_water = _darkest_water(legend, fitting, infrared)
    if by_water is not None:
        return by_water
    raise DataError(
        f"{label.origin}: values {sorted(values)} fit the label mappings {', '.join(fitting)} and the images do not decide "
        "(water should be dark in the near infrared); name one of them as the label mapping"
    )


def _darkest_water(
    legend: Legend, names: Sequence[str], infrared: Mapping[int, tuple[float | None, int]]
) -> str | None:
    """Return the label mapping whose water is clearly darker in the near infrared than what the others call water."""
    water = next((c.id for c in legend.classes if "surface water" in c.name.lower()), None)
    known = {v: nir for v, (nir, pixels) in infrared.items() if nir is not None and pixels >= _LEAST_PX}
    values = {name: next((v for v, id_ in legend.codes(name).items() if id_ == water), IGNORE) for name in names}
    levels = {name: known.get(value, float("inf")) for name, value in values.items()}
    first, second = sorted(levels, key=lambda name: levels[name])[:2]
    classes = [nir for v, nir in known.items() if any(legend.codes(name).get(v) for name in names)]
    if len(classes) < 2 or levels[first] >= np.median(classes) or levels[first] > _DARKER * levels[second]:
        return None
    return first


def _infrared_by_value(city: City, scene: int, label: Label) -> dict[int, tuple[float | None, int]]:
    """Return mean near infrared (None without such a band) and number of sampled pixels by label value."""
    view = city.scenes[scene]
    stack = view.modalities.get("msi")
    band = next((i for i, b in enumerate(stack.bands) if b.role == "nir"), None) if stack else None
    sums: dict[int, float] = {}
    counts: dict[int, int] = {}
    seen: dict[int, int] = {}
    for window in _samples(view.grid.window):
        stored, inside = label.read(window)
        values = stored[0]
        if values.dtype.kind == "f":
            whole = np.isfinite(values) & (values == np.round(values))
            if not whole[inside].all():
                raise DataError(f"{label.origin}: labels must be whole numbers, found {values[inside & ~whole][0]}")
        if band is not None:
            image, valid = view.read("msi", window)
        for value in np.unique(values[inside]):
            here = inside & (values == value)
            key = int(value)
            seen[key] = seen.get(key, 0) + int(here.sum())
            if band is not None and (here & valid).any():
                sums[key] = sums.get(key, 0.0) + float(image[band][here & valid].sum(dtype=np.float64))
                counts[key] = counts.get(key, 0) + int((here & valid).sum())
    return {value: (sums[value] / counts[value] if value in counts else None, n) for value, n in seen.items()}


def _samples(whole: Window) -> list[Window]:
    """Return at most 64 windows spread over the scene; all of it if it is small."""
    if whole.height * whole.width <= (_SAMPLES * _SAMPLE_PX) ** 2:
        return [whole]
    rows = np.linspace(0, max(0, whole.height - _SAMPLE_PX), _SAMPLES).astype(int)
    cols = np.linspace(0, max(0, whole.width - _SAMPLE_PX), _SAMPLES).astype(int)
    places = {(int(row), int(col)) for row in rows for col in cols}
    return [Window(r, c, _SAMPLE_PX, _SAMPLE_PX).intersect(whole) for r, c in sorted(places)]
