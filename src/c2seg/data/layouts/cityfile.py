"""city.yaml: what a city folder says of its rasters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from c2seg.data.city import ROLES, Band
from c2seg.data.layouts.old_keys import with_present_keys
from c2seg.documents import YAML_BYTES, parse_yaml, read_yaml
from c2seg.errors import DataError, unknown_name
from c2seg.raster import is_object, object_names, object_text

__all__ = ["CityFile", "LabelEntry", "ModalityEntry", "read_city_file"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _check_band(band: Band) -> Band:
    """Raise ValueError, which pydantic reports with its place, for an unknown role or a length that is not positive."""
    if band.role is not None and band.role not in ROLES:
        raise ValueError(unknown_name("role", band.role, ROLES))
    if band.wavelength_nm is not None and not band.wavelength_nm > 0:
        raise ValueError(f"wavelength_nm must be positive, found {band.wavelength_nm}")
    if band.fwhm_nm is not None and not band.fwhm_nm > 0:
        raise ValueError(f"fwhm_nm must be positive, found {band.fwhm_nm}")
    return band


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int) else value


class ModalityEntry(_Strict):
    """A modality in city.yaml: a ``file``, or ``files`` whose bands follow one another. It overrides what the files say."""

    file: str | None = None
    files: Annotated[tuple[str, ...] | None, Field(min_length=1)] = None
    subdataset: Annotated[str | None, BeforeValidator(_text)] = None
    bands: tuple[Annotated[Band, AfterValidator(_check_band)], ...] | None = None
    wavelengths_nm: tuple[float, ...] | None = None
    fwhm_nm: tuple[float, ...] | None = None
    scale: float | tuple[float, ...] | None = None
    offset: float | tuple[float, ...] | None = None
    nodata: float | None = None
    keep: str | None = None

    @model_validator(mode="after")
    def _check_files(self) -> Self:
        if (self.file is None) == (self.files is None):
            raise ValueError("give `file:` or `files:`, one of them")
        if self.files and (self.keep or self.subdataset):
            raise ValueError("`keep:` and `subdataset:` go with `file:`; with `files:`, name the files that are used")
        return self


class LabelEntry(_Strict):
    """The label in city.yaml. ``field`` is the attribute of a vector file that holds the label value."""

    file: str
    label_map: str = "challenge"
    field: str | None = None


def _label_entry(value: Any) -> Any:
    if isinstance(value, str):
        return {"file": value}
    return with_present_keys(value, {"numbering": "label_map"}, "label in city.yaml")


class CityFile(_Strict):
    """The content of city.yaml."""

    name: str | None = None
    legend: str = "c2seg13"
    modalities: dict[str, ModalityEntry] = Field(default_factory=dict)
    label: Annotated[LabelEntry | None, BeforeValidator(_label_entry)] = None
    valid: str | None = None
    scenes: tuple[str, ...] = ()


def read_city_file(path: Path) -> CityFile:
    """Read the city.yaml of a folder; an empty one if there is none. Raises DataError, which names the wrong key."""
    file = path / "city.yaml"
    if not (file.name in object_names(path) if is_object(path) else file.is_file()):
        return CityFile()
    try:
        text = object_text(file, YAML_BYTES) if is_object(path) else None
        content = read_yaml(file, DataError) if text is None else parse_yaml(text, str(file), DataError)
        return _checked_names(CityFile.model_validate({} if content is None else content), file)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        unknown = first["type"] in {"extra_forbidden", "unexpected_keyword_argument"}
        message = "unknown key" if unknown else first["msg"].removeprefix("Value error, ")
        keys, where = _keys_at(first["loc"])
        raise DataError(f"{file}: {place}: {message} (keys of {where}: {', '.join(keys)})") from error


def _checked_names(settings: CityFile, file: Path) -> CityFile:
    """Raise DataError if a city.yaml, which others may have written, names object storage: only users do."""
    names = [name for entry in settings.modalities.values() for name in (entry.file, *(entry.files or ())) if name]
    names += [settings.valid or "", settings.label.file if settings.label else "", *settings.scenes]
    for name in names:
        if is_object(Path(name)):
            raise DataError(f"{file} names {name[:80]}, which is not followed; name files in the city's folder")
    return settings


def _keys_at(place: Sequence[int | str]) -> tuple[Iterable[str], str]:
    """Return the valid keys at a place in city.yaml, and the name of that place."""
    if "bands" in place[2:]:
        return [field.name for field in fields(Band)], "a band"
    if place[:1] == ("modalities",) and len(place) > 2:
        return ModalityEntry.model_fields, "a modality"
    if place[:1] == ("label",) and len(place) > 1:
        return LabelEntry.model_fields, "label"
    return CityFile.model_fields, "city.yaml"
