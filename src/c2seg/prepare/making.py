"""Products to a city folder: planned, computed piece by piece, written all together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from c2seg.errors import DataError, OutputError
from c2seg.outputs import Commit, check_outputs, commit, remove_folder
from c2seg.parallel import Crew, open_crew
from c2seg.prepare.alignment import Registration, measured
from c2seg.prepare.engine import Job, compute
from c2seg.prepare.files import city_text, write_image, write_valid
from c2seg.prepare.labeling import write_label
from c2seg.prepare.layer import ImageLayer
from c2seg.prepare.planning import RECORD, Plan, grid_record
from c2seg.prepare.preview import write_preview
from c2seg.prepare.record import PreparedFile, PrepareRecord, Step
from c2seg.prepare.scratch import DamagedPieceError, LayerFile, Scratch, scratch_folder
from c2seg.products import Product
from c2seg.progress import Bars, silent_bars
from c2seg.raster import files_digest

__all__ = ["clear_remains", "prepare_folder", "standing"]


class _NothingValidError(DataError):
    """No pixel of a modality is valid: running again cannot help."""


_TRIES = 3  # to read pieces as they were written


def prepare_folder(
    plan: Plan,
    *,
    workers: int = 1,
    cluster: str | None = None,
    executor: Executor | None = None,
    overwrite: bool = False,
    bars: Bars = silent_bars,
) -> PrepareRecord:
    """Write a city folder, all files together, and return its record. Workers: see ``parallel.open_crew``.

    A stopped run resumes from its finished pieces if inputs and parameters are the same. Raises DataError if no pixel is
    valid, OutputError if files of other inputs or parameters exist.
    """
    request = plan.request
    _check(plan, overwrite=overwrite)
    former = _former(request.out)
    with _without_remains(request.out), Scratch(request.out, plan.record.key) as scratch:
        registration = measured(plan.layers, plan.grid, align=request.align, progress=bars("co-registration"))
        plan = replace(plan, layers=registration.layers)
        with commit(overwrite=overwrite) as files, open_crew(workers, cluster, executor=executor) as crew:
            record = _make(plan, registration, scratch, files, crew, bars)
    remove_folder(scratch_folder(request.out))
    if former is not None:
        _remove_former(request.out, former, plan)
    return record


@contextmanager
def _without_remains(out: Path) -> Iterator[None]:
    """Remove what an error leaves: an empty folder, and pieces from which nothing can resume."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, _NothingValidError):
            remove_folder(scratch_folder(out))
        with suppress(OSError):
            out.rmdir()  # only if it is empty
        raise


def standing(plan: Plan) -> PrepareRecord | None:
    """Return the record of the folder if it holds what the plan would make, byte for byte; None otherwise."""
    former = _former(plan.request.out)
    if former is None or former.key != plan.record.key:
        return None
    folder = plan.request.out
    if any(not (folder / name).is_file() for name in plan.outputs):
        return None
    same = all(files_digest([folder / file.name]) == file.digest for file in former.outputs)
    return former if same else None


def clear_remains(plan: Plan) -> None:
    """Remove what a run that was killed after its files stood has left beside them."""
    check_outputs(list(plan.outputs.values()), overwrite=True)
    remove_folder(scratch_folder(plan.request.out))


def _check(plan: Plan, *, overwrite: bool) -> None:
    request = plan.request
    if not overwrite and (request.out / RECORD).is_file():
        raise OutputError(
            f"{request.out} was prepared from other inputs or with other parameters, or its files were changed; give another "
            "folder or `overwrite=True`"
        )
    inputs = [path for paths in request.products.values() for path in paths]
    inputs += [path for path in (request.osm, request.area.like, request.options.dem) if path is not None]
    check_outputs(list(plan.outputs.values()), inputs, overwrite=overwrite)


def _make(
    plan: Plan, registration: Registration, scratch: Scratch, files: Commit, crew: Crew | None, bars: Bars
) -> PrepareRecord:
    """Compute what is missing and write all files to their temporary places."""
    outputs = plan.outputs
    paths = {name: files.add(output, main=name == RECORD) for name, output in outputs.items()}
    jobs = [Job(layer, _file(layer, scratch.folder)) for layer in plan.layers]
    for attempt in range(_TRIES):
        compute(jobs, scratch, crew, bars("warp"))
        _check_valid(jobs, scratch)
        try:
            share = _write_rasters(plan, jobs, scratch, paths, bars)
            break
        except DamagedPieceError as error:
            if attempt == _TRIES - 1:
                raise OutputError(
                    f"pixels in {scratch.folder} are not read as they were written; prepare on another disk"
                ) from error
    if plan.request.osm:
        write_label(plan.request.osm, plan.grid, paths, bars("label"))
    write_preview(paths["preview.png"], [(layer, paths[f"{layer.name}.tif"]) for layer in plan.layers])
    paths["city.yaml"].write_text(
        city_text(plan.request.city, plan.layers, labeled=plan.request.osm is not None), encoding="utf-8"
    )
    record = _completed(plan, registration, jobs, scratch, paths, share)
    paths[RECORD].write_text(record.as_text(), encoding="utf-8")
    return record


def _write_rasters(plan: Plan, jobs: Sequence[Job], scratch: Scratch, paths: Mapping[str, Path], bars: Bars) -> float:
    total = sum(job.file.height * job.file.width * job.file.count for job in jobs)
    done, progress = 0.0, bars("write")
    for job in jobs:
        row = job.file.width * job.file.count
        write_image(
            paths[f"{job.layer.name}.tif"], job, scratch,
            lambda last, start=done, row=row, name=job.layer.name: progress(start + last * row, total, name),  # type: ignore[misc]
        )  # fmt: skip
        done += job.file.height * row
    return write_valid(paths["valid.tif"], jobs, plan.grid, scratch)


def _check_valid(jobs: Sequence[Job], scratch: Scratch) -> None:
    for job in jobs:
        if not sum(scratch.finished[job.file.name, number].valid for number in range(len(job.file.windows))):
            raise _NothingValidError(
                f"`{job.layer.name}`: no pixel of the area is valid in {_named(job.layer.products)}: clouds or fill cover it; "
                "add other dates, other `bounds` or `mask_clouds=False`"
            )


def _file(layer: ImageLayer, folder: Path) -> LayerFile:
    dates = len(layer.products) if layer.composite == "median" else 1
    return LayerFile.of(folder, layer.name, len(layer.bands), layer.dtype.name, layer.grid, dates)


def _completed(
    plan: Plan,
    registration: Registration,
    jobs: Sequence[Job],
    scratch: Scratch,
    paths: Mapping[str, Path],
    share: float,
) -> PrepareRecord:
    shifts = [shift for layer in plan.layers for shift in layer.shifts]
    products = [
        product.model_copy(update={"shift_m": shift})
        for product, shift in zip(plan.record.products, shifts, strict=True)
    ]
    outputs = [_image_file(job, scratch, paths) for job in jobs]
    valid = PreparedFile(
        name="valid.tif", digest=files_digest([paths["valid.tif"]]), dtype="uint8", bands=("valid",), valid_share=share,
        grid=grid_record(plan.grid),
    )  # fmt: skip
    made = {file.name for file in outputs} | {"valid.tif", RECORD}
    rest = [PreparedFile(name=name, digest=files_digest([path])) for name, path in paths.items() if name not in made]
    steps: tuple[Step, ...] = (*plan.record.steps[:1], *registration.steps, *plan.record.steps[1:])
    return plan.record.model_copy(
        update={
            "products": tuple(products), "registration": registration.reports, "steps": steps,
            "outputs": (*outputs, valid, *rest), "notes": (*plan.record.notes, *registration.notes),
        }
    )  # fmt: skip


def _image_file(job: Job, scratch: Scratch, paths: Mapping[str, Path]) -> PreparedFile:
    layer, name = job.layer, f"{job.layer.name}.tif"
    valid = sum(scratch.finished[job.file.name, number].valid for number in range(len(job.file.windows)))
    return PreparedFile(
        name=name, digest=files_digest([paths[name]]), bands=tuple(band.name for band in layer.bands),
        dtype=layer.dtype.name, scale=layer.encoding.scale, unit=layer.unit, grid=grid_record(layer.grid),
        valid_share=valid / (layer.grid.height * layer.grid.width),
    )  # fmt: skip


def _former(folder: Path) -> PrepareRecord | None:
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        return PrepareRecord.read(path)
    except DataError:  # of another version, or damaged: to be overwritten
        return None


def _remove_former(folder: Path, former: PrepareRecord, plan: Plan) -> None:
    """Remove files of the former preparation that this one does not have, if they are still as they were written."""
    for file in former.outputs:
        path = folder / file.name
        stale = file.name not in plan.outputs and Path(file.name).name == file.name and path.is_file()
        if stale and files_digest([path]) == file.digest:
            path.unlink()


def _named(products: Sequence[Product]) -> str:
    return ", ".join(product.facts.product for product in products)
