"""What a sample shows of the share wrong of a map, and prediction sets, as an object."""

from __future__ import annotations

from dataclasses import dataclass, replace

from c2seg.api.arguments import FilePath, FilePaths, as_path, as_paths, named_files, optional_path
from c2seg.api.estimating import verify_inputs
from c2seg.api.tables import html_table
from c2seg.legend import Legend, load_legend
from c2seg.outputs import Output, check_outputs, commit, raster_output
from c2seg.progress import ShowProgress, opened_bars
from c2seg.verify.records import CertificateRecord, ShownShare

__all__ = ["MapCertificate", "certify_map"]


@dataclass(frozen=True)
class MapCertificate:
    """What a sample shows of the map, its classes or zones."""

    record: CertificateRecord
    """All of it as on disk."""

    @property
    def results(self) -> dict[str, ShownShare]:
        """The tests by name of the class or zone; ``all`` is the map."""
        return {item.name: item for item in self.record.results}

    @property
    def shown(self) -> tuple[str, ...]:
        """Names of what is shown to be wrong in at most a share alpha."""
        return tuple(item.name for item in self.record.results if item.shown)

    def write(self, path: FilePath, *, overwrite: bool = False) -> None:
        """Write the certificate as JSON, as ``c2seg certify --out`` does. Raises OutputError if the file exists."""
        self.record.write(path, overwrite=overwrite)

    def _repr_html_(self) -> str:
        record = self.record
        rows = [
            (item.name, item.points, item.wrong, f"{100 * item.limit:.1f} %", "shown" if item.shown else "not shown")
            for item in record.results
        ]
        caption = (
            f"{record.map.path}: at most {100 * record.alpha:g} % wrong, mistaken with probability {record.delta:g}"
        )
        return html_table(
            (record.results[-1].kind, "points", "wrong", "upper limit", f"at most {100 * record.alpha:g} %"),
            rows,
            caption,
        )


def certify_map(
    map_path: FilePath,
    sample: FilePaths,
    *,
    alpha: float = 0.1,
    delta: float = 0.05,
    legend: Legend | FilePath | None = None,
    zones: FilePath | None = None,
    zone_field: str | None = None,
    correction: str = "holm",
    disputes: str = "majority",
    probabilities: FilePath | None = None,
    sets: FilePath | None = None,
    out: FilePath | None = None,
    overwrite: bool = False,
    progress: ShowProgress = False,
) -> MapCertificate:
    """Tell where a labeled sample shows that at most a share ``alpha`` of the map is wrong, at every number of points.

    Tested are the map and its zones, or without zones its mapped classes. Points of ``cannot tell`` count as wrong. With
    probabilities, prediction sets can be written: the classes that a pixel may be of, the right one missing in at most a share
    ``alpha`` of each class.

    Args:
        map_path: The map that the sample was drawn from.
        sample: The labeled sample: GeoPackage or CSV; several for several interpreters, and maybe the sample's JSON.
        alpha: The share wrong that is still right enough.
        delta: The probability of calling anything right enough that is not.
        legend: The classes, or their YAML file; None: those of the map.
        zones: A vector file of polygons, tested instead of the classes.
        zone_field: Its attribute with the zones' names; None: ``name``.
        correction: For several tests: ``holm``, ``bonferroni``, or ``none`` (``delta`` then holds for each alone).
        disputes: What holds where interpreters differ: ``majority``, or ``consensus`` (such points count as wrong).
        probabilities: The probabilities that ``predict`` wrote beside the map, for ``sets``.
        sets: Write the prediction sets to this GeoTIFF: a bit for each class, and the size of the set.
        out: Also write the certificate to this JSON file.
        overwrite: Replace ``out`` and ``sets``.
        progress: False, True for bars, or a callable.

    Raises:
        InputError: An unknown name or an invalid setting.
        DataError, GridError: Files that are damaged or do not belong together.
        OutputError: An output exists.
    """
    from c2seg.verify.certificates import CertifySettings, certify

    path, samples = as_path(map_path), list(as_paths(sample))
    outputs = [] if sets is None else [raster_output(as_path(sets), "sets")]
    outputs += [] if out is None else [Output(as_path(out), "out", (".json",))]
    inputs = [*verify_inputs(path, samples), optional_path(zones), optional_path(probabilities), *named_files(legend)]
    if outputs:
        check_outputs(outputs, inputs, overwrite=overwrite)
    settings = CertifySettings(
        alpha=alpha,
        delta=delta,
        correction=correction,
        resolution=disputes,
        zones=optional_path(zones),
        zone_field=zone_field,
        probabilities=optional_path(probabilities),
        sets=optional_path(sets),
        beside=optional_path(out) or optional_path(sets) or path,
        final_sets=optional_path(sets),
    )
    chosen = legend if legend is None or isinstance(legend, Legend) else load_legend(as_path(legend))
    with opened_bars(progress) as bars, commit(overwrite=overwrite) as files:
        if sets is not None:
            settings = replace(settings, sets=files.add(outputs[0], main=True))
        result = MapCertificate(certify(path, samples, settings, legend=chosen, bars=bars))
        if out is not None:
            files.text(outputs[-1], result.record.as_text(), main=True)
    return result
