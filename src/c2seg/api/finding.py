"""What a folder holds of the published data, as an object, as text and as a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from c2seg.api.arguments import FilePath, as_path
from c2seg.api.tables import html_table
from c2seg.data import finding
from c2seg.data.finding import DataCity, PublishedData
from c2seg.data.pairing import DataPair, data_pairs
from c2seg.data.published import DATASETS
from c2seg.progress import ShowProgress, opened_bars

__all__ = ["DataReport", "find_data"]


@dataclass(frozen=True)
class DataReport:
    """What a folder holds of C2Seg. ``print`` shows it as ``c2seg inspect`` does."""

    data: PublishedData
    """All of it: cities, archives, what is broken."""

    @cached_property
    def pairs(self) -> tuple[DataPair, ...]:
        """The pairs of cities that a benchmark takes: source, target, and where the target's labels are."""
        return data_pairs(self.data)

    @property
    def cities(self) -> tuple[DataCity, ...]:
        """Cities of C2Seg, in every layout in which they are there."""
        return self.data.cities

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with what is there, a line each."""
        return self.data.problems

    @property
    def missing(self) -> tuple[str, ...]:
        """What a table needs and the folder lacks, with where it comes from, a line each."""
        return self.data.missing

    def as_dict(self) -> dict[str, Any]:
        """Return the report as a JSON structure; paths are relative to the folder."""
        return {
            "root": str(self.data.root),
            "cities": [
                {
                    "name": city.name, "dataset": city.dataset, "role": city.role, "layout": city.layout,
                    "path": self._short(city.path), "labeled": city.labeled, "size": list(city.size) if city.size else None,
                    "simulated": city.simulated, "problems": list(city.problems), "notes": list(city.notes),
                }
                for city in self.cities
            ],
            "pairs": [
                {
                    "dataset": pair.dataset, "source": self._short(pair.source.path), "target": self._short(pair.target.path),
                    "reference": self._short(pair.reference) if pair.reference else None,
                }
                for pair in self.pairs
            ],
            "archives": [self._short(path) for path in self.data.archives],
            "others": [self._short(path) for path in self.data.others],
            "missing": list(self.missing),
            "problems": list(self.problems),
        }  # fmt: skip

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        rows = [
            (city.dataset, city.role, city.name, city.layout, "yes" if city.labeled else "no", self._short(city.path))
            for city in self.cities
        ]
        caption = "; ".join([*self.problems, *self.missing]) or "complete"
        return html_table(("dataset", "role", "city", "layout", "labels", "path"), rows, caption)

    def _lines(self) -> Iterator[str]:
        yield f"{self.data.root}: published data of C2Seg"
        for dataset in DATASETS:
            yield from self._of_dataset(dataset)
        for title, texts in (
            ("not unpacked", [f"{self._short(path)}: unpack it where it lies" for path in self.data.archives]),
            ("other cities", [self._short(path) for path in self.data.others]),
            ("missing", self.missing),
            ("problems", self.problems),
        ):
            if texts:
                yield from ("", f"{title}:", *(f"  - {text}" for text in texts))
        if not self.problems:
            yield from ("", "no problems found")

    def _of_dataset(self, dataset: str) -> Iterator[str]:
        cities = [city for city in self.cities if city.dataset == dataset]
        if not cities:
            return
        yield from ("", f"{dataset}:", *(self._city_line(city) for city in cities))
        for pair in self.pairs:
            if pair.dataset == dataset[-2:]:
                scored = (
                    f"scored with the labels of {self._short(pair.reference)}"
                    if pair.reference
                    else "not scored: no labels"
                )
                yield f"  tables take {self._short(pair.source.path)} -> {self._short(pair.target.path)}, {scored}"

    def _city_line(self, city: DataCity) -> str:
        size = f"{city.size[0]} x {city.size[1]} px" if city.size else "not opened"
        labels = "labels" if city.labeled else "no labels"
        made = ", simulated" if city.simulated else ""
        return f"  {city.role} {city.name}{made}: {city.layout}, {size}, {labels}  {self._short(city.path)}"

    def _short(self, path: Path) -> str:
        return str(path.relative_to(self.data.root)) if path.is_relative_to(self.data.root) else str(path)


def find_data(root: FilePath, *, thorough: bool = False, progress: ShowProgress = False) -> DataReport:
    """Look for published data of C2Seg under a folder, at any depth, and say what is there, missing and broken.

    Challenge tiles, full-scene ``.mat`` files, and simulated pairs in any layout are recognized. Nothing is changed.

    Args:
        root: The folder that holds the unpacked releases.
        thorough: Also read every tile's header and every label.
        progress: False, True for bars, or a callable.

    Raises:
        DataError: ``root`` is no folder, or has too many folders to look through.
    """
    with opened_bars(progress) as bars:
        return DataReport(finding.find_data(as_path(root), thorough=thorough, progress=bars("inspect")))
