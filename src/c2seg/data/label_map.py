"""Detection of a label's label mapping, by its values and by the position of water.

Two label mappings of C2Seg use the same values 0..13 (``challenge`` and ``mat``). Values alone cannot distinguish them, but
water can. It is the darkest class in the near infrared, with value 1 in one mapping and 13 in the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from c2seg.data.city import City, Label, LabeledCity
from c2seg.documents import read_yaml
from c2seg.errors import DataError, InputError, one_line
from c2seg.legend import BACKGROUND, IGNORE, Legend
from c2seg.types import Window

__all__ = ["contradicted_label_map", "detect_label_map", "load_label_map", "resolve_label_maps", "states_label_map"]

_SAMPLES = 8  # windows along each axis
_SAMPLE_PX = 256
_LEAST_PX = 20  # of a class, to estimate its near infrared
_CERTAIN_PX = 200  # sampled pixels of both water values, to contradict what is stated
_DARKER = 0.8  # ratio of the near infrared of water to that of the water of another label mapping


def load_label_map(path: Path, legend: Legend) -> Mapping[int, int]:
    """Read a mapping file (YAML, ``value in the file: id``; 0 = background) and validate it with a legend.

    Raises InputError if it is unreadable, not one to one, or contains ids that are not in the legend.
    """
    try:
        content = read_yaml(path, what="the label mapping ")
        codes = {int(value): int(id_) for value, id_ in content.items()}
    except InputError:
        raise
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a label mapping (lines `value: id`): {one_line(error)}") from error
    replace(legend, label_maps={path.stem: codes})  # validates it
    return codes


def resolve_label_maps(city: City, labels: Sequence[Label]) -> LabeledCity:
    """Return the labeled city with label mappings that are defined in the city's legend.

    The label mapping of a label may be a name, the path of a mapping file (``.yaml``), or ``auto`` to detect it.
    """
    resolved = []
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
        resolved.append(replace(label, label_map=name))
    return LabeledCity(city, tuple(resolved))


def detect_label_map(city: City, scene: int, label: Label) -> str:
    """Detect the label mapping of a scene's label from up to 64 windows.

    Raises DataError if the values match no label mapping, or several and the near infrared does not decide.
    """
    legend = city.legend
    infrared = _infrared_by_value(city, scene, label)
    values = set(infrared) - {IGNORE}
    names = ["challenge", *legend.label_maps]
    matching = [name for name in names if values <= set(legend.codes(name))]
    if not matching:
        raise DataError(
            f"{label.origin}: values {sorted(values)[:20]} match no label mapping of legend {legend.name!r} "
            f"({', '.join(names)}); give a mapping file (lines `value: id`) as the label mapping"
        )
    if len(matching) == 1 or values <= {BACKGROUND}:
        return matching[0]
    by_water = _darkest_water(legend, matching, infrared)
    if by_water is not None:
        return by_water
    raise DataError(
        f"{label.origin}: values {sorted(values)} match the label mappings {', '.join(matching)} and the images do not decide "
        "(water should be dark in the near infrared); give one of them as the label mapping"
    )


def contradicted_label_map(city: LabeledCity, *, is_stated: bool = False) -> str | None:
    """Return, in a line, why the label mapping of a label is wrong; None if nothing says so.

    It is wrong if the label has values outside of it. One that nobody stated (``is_stated``) is also wrong if what it calls
    water is bright in the near infrared, and what another mapping of the legend calls water is dark. Up to 64 windows are read.
    """
    legend = city.images.legend
    names = ["challenge", *legend.label_maps]
    for index, label in enumerate(city.labels):
        infrared = _infrared_by_value(city.images, index, label)
        values = set(infrared) - {IGNORE}
        matching = [name for name in names if values <= set(legend.codes(name))]
        if label.label_map not in matching:
            unknown = sorted(values - set(legend.codes(label.label_map)))[:8]
            fits = f"those of {matching[0]!r} fit: {_statement(matching[0])}" if matching else "give a mapping file"
            return f"{label.origin}: values {unknown} are not in the label mapping {label.label_map!r}; {fits}"
        water = _darkest_water(legend, matching, infrared) if len(matching) > 1 and not is_stated else None
        seen = [infrared.get(_water(legend, name), (None, 0))[1] for name in matching]
        if water not in (None, label.label_map) and min(seen) >= _CERTAIN_PX:
            return (
                f"{label.origin}: the labels are numbered as {water!r}, not as {label.label_map!r} (its water is bright in the "
                f"near infrared, value {_water(legend, water or '')} is dark); {_statement(water or '')}"
            )
    return None


def states_label_map(path: Path) -> bool:
    """Return whether a city says how its labels are numbered; of a .mat file it is said or detected."""
    if path.is_file():
        return True
    for file in (path / "tiles.yaml", path / "city.yaml"):
        content = read_yaml(file, DataError) if file.is_file() else None
        label = content.get("label") if isinstance(content, dict) else None
        if any(isinstance(part, dict) and "label_map" in part for part in (content, label)):
            return True
    return False


def _statement(name: str) -> str:
    return f"write label_map: {name} into tiles.yaml, or into the label of city.yaml, beside the folders"


def _water(legend: Legend, name: str) -> int:
    """Return the value of water in a label mapping; 255 if it has none."""
    water = next((c.id for c in legend.classes if "surface water" in c.name.lower()), None)
    return next((value for value, number in legend.codes(name).items() if number == water), IGNORE)


def _darkest_water(
    legend: Legend, names: Sequence[str], infrared: Mapping[int, tuple[float | None, int]]
) -> str | None:
    """Return the label mapping whose water is clearly darker in the near infrared than that of the others."""
    known = {v: nir for v, (nir, pixels) in infrared.items() if nir is not None and pixels >= _LEAST_PX}
    values = {name: _water(legend, name) for name in names}
    levels = {name: known.get(value, float("inf")) for name, value in values.items()}
    first, second = sorted(levels, key=lambda name: levels[name])[:2]
    classes = [nir for v, nir in known.items() if any(legend.codes(name).get(v) for name in names)]
    if len(classes) < 2 or levels[first] >= np.median(classes) or levels[first] > _DARKER * levels[second]:
        return None
    return first


def _infrared_by_value(city: City, scene: int, label: Label) -> dict[int, tuple[float | None, int]]:
    """Return mean near infrared (None without such a band) and number of sampled pixels by label value."""
    images = city.scenes[scene]
    stack = images.modalities.get("msi")
    band = next((i for i, b in enumerate(stack.bands) if b.role == "nir"), None) if stack else None
    sums: dict[int, float] = {}
    counts: dict[int, int] = {}
    seen: dict[int, int] = {}
    for window in _samples(images.grid.window):
        raw, inside = label.read(window)
        values = raw[0]
        if values.dtype.kind == "f":
            integer = np.isfinite(values) & (values == np.round(values))
            if not integer[inside].all():
                raise DataError(f"{label.origin}: labels must be integers, found {values[inside & ~integer][0]}")
        if band is not None:
            image, valid = images.read("msi", window)
        for value in np.unique(values[inside]):
            here = inside & (values == value)
            key = int(value)
            seen[key] = seen.get(key, 0) + int(here.sum())
            if band is not None and (here & valid).any():
                sums[key] = sums.get(key, 0.0) + float(image[band][here & valid].sum(dtype=np.float64))
                counts[key] = counts.get(key, 0) + int((here & valid).sum())
    return {value: (sums[value] / counts[value] if value in counts else None, n) for value, n in seen.items()}


def _samples(whole: Window) -> list[Window]:
    """Return at most 64 evenly spaced windows of the scene; a small scene is one window."""
    if whole.height * whole.width <= (_SAMPLES * _SAMPLE_PX) ** 2:
        return [whole]
    rows = np.linspace(0, max(0, whole.height - _SAMPLE_PX), _SAMPLES).astype(int)
    cols = np.linspace(0, max(0, whole.width - _SAMPLE_PX), _SAMPLES).astype(int)
    places = {(int(row), int(col)) for row in rows for col in cols}
    return [Window(r, c, _SAMPLE_PX, _SAMPLE_PX).intersect(whole) for r, c in sorted(places)]
