"""Predict one scene and write its files: class map, optional layers, preview and style, and the map's record."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from c2seg.artifacts import MapKey, MapNotes, MapRecord, StripNote
from c2seg.artifacts.maps import CleanupRecord
from c2seg.data import SceneReader
from c2seg.gis import FinishedMap, add_side_files
from c2seg.legend import Legend
from c2seg.outputs import Commit, check_outputs, commit
from c2seg.parallel import Crew, LocalCrew, Storing, Terms, open_crew, run_tasks
from c2seg.predict.cache import block_cache
from c2seg.predict.cleanup import CleanedMap, Cleanup, clean_rows, requested_cleanup
from c2seg.predict.engine import Predictor, Reader
from c2seg.predict.layers import layer_shapes
from c2seg.predict.options import MapOptions
from c2seg.predict.places import clear_unfinished, strip_parts, strips_key
from c2seg.predict.plan import WindowPlan
from c2seg.predict.publish import make_files
from c2seg.predict.room import check_room
from c2seg.predict.scratch import Scratch
from c2seg.predict.strips import Build, StripFunction, StripJob, StripRows, Work, in_parts, strip_tasks
from c2seg.predict.timings import Timings
from c2seg.process import peak_memory_mib, return_freed_memory
from c2seg.progress import Progress, no_progress
from c2seg.raster import attributes_text, level_qml_text, put_whole, qml_text
from c2seg.types import Grid

__all__ = ["MapOptions", "make_scene", "predict_scene"]


def predict_scene(
    reader: SceneReader,
    predictor: Predictor,
    plan: WindowPlan,
    legend: Legend,
    options: MapOptions,
    key: MapKey,
    *,
    build: Build | None = None,
    notes: MapNotes = MapNotes(),  # noqa: B008 (frozen)
    progress: Progress = no_progress,
) -> MapRecord:
    """Predict a scene; all files appear together when they are complete.

    The map is uint8 ids, 0 where a needed modality is not valid. ``key`` names all that determines the result (model,
    city, options). A stopped run resumes from its finished strips if the key is the same. ``build`` makes reader
    and predictor in other processes; ``options.workers`` above 1 needs it. The cleanup changes the map alone (its
    file, preview and pixel counts), not the layers. Raises InputError for wrong options.
    """
    check_outputs(list(options.outputs.values()), overwrite=options.overwrite)
    options.check_objects()
    crews = open_crew(options.workers, options.cluster, keep_memory=True)
    with commit(overwrite=options.overwrite) as files, crews as crew:
        result = make_scene(
            files, reader, predictor, plan, legend, options, key, crew=crew, build=build, notes=notes, progress=progress
        )
    clear_unfinished(options, result)
    return result


def make_scene(
    files: Commit,
    reader: SceneReader,
    predictor: Predictor,
    plan: WindowPlan,
    legend: Legend,
    options: MapOptions,
    key: MapKey,
    *,
    crew: Crew | None = None,
    build: Build | None = None,
    notes: MapNotes = MapNotes(),  # noqa: B008 (frozen)
    progress: Progress = no_progress,
) -> MapRecord:
    """Predict a scene and add its files to ``files``; see ``predict_scene``.

    Finished rows and parts stay, to be removed by ``clear_unfinished`` once the files stand.
    """
    started = time.perf_counter()
    cleanup = requested_cleanup(options.min_area_px, options.min_area_keep, legend)
    key = key.model_copy(update={"cleanup": cleanup.record()}) if cleanup else key
    grid = reader.scene.grid
    stages = Timings()
    layers = layer_shapes(tuple(options.layers), grid.width, legend.num_classes)
    parts = strip_parts(options, key, grid, legend, on_this_machine=crew is None or isinstance(crew, LocalCrew))
    check_room(options, grid, legend.num_classes)
    rows = {"ids": layers["ids"]}
    with Scratch(options.out, strips_key(options, key), grid.height, rows, plan.strips, parts) as scratch:
        work = Work(plan, legend, tuple(layers), options.batch_size, options.decision, options.temperature)
        resumed = set(scratch.finished)
        outputs = options.outputs
        paths = {name: files.add(outputs[name], main=name == "ids") for name in options.places if name in outputs}
        memory = 0.0

        def compute() -> None:
            nonlocal memory
            memory = max(memory, _compute(work, scratch, (reader, predictor), build, crew, stages, progress))
            return_freed_memory()  # making the files needs blocks of other sizes than the windows freed

        def publish() -> CleanedMap | None:
            cleaned = _cleaned(scratch, grid, cleanup, stages)
            with stages.time("publish"):
                ids = cleaned.ids if cleaned else None
                title = options.side.title or f"Land cover of {notes.city.name if notes.city else options.out.stem}"
                make_files(scratch, grid, legend, paths, options.places, options.palette, key.model, ids, title)
            return cleaned

        with block_cache(reader, plan):
            cleaned, damaged = scratch.until_whole(compute, publish)
        parts.close()
        for name, path in options.objects.items():
            put_whole(path, parts.layer(name).text(plan.strips, path.parent).encode())
        counts = np.array(cleaned.counts) if cleaned else np.sum([note.counts for note in scratch.notes], axis=0)
        pixels = {item.name: int(counts[item.id]) for item in legend.classes}
        expected = _expected_pixels(scratch.notes, legend)
        result = MapRecord(
            **dict(notes),
            path=options.out.name,
            pixels=int(counts[1:].sum()),
            nodata_pixels=int(counts[0]),
            class_pixels=pixels,
            expected_pixels=expected,
            area_km2=MapRecord.areas(pixels, grid.pixel_area_m2()),
            seconds=round(time.perf_counter() - started, 3),
            stages=stages.as_dict(),
            resumed_strips=len(resumed - damaged),
            peak_memory_mib=round(memory + peak_memory_mib(), 1),
            expected_area_km2=MapRecord.areas(expected, grid.pixel_area_m2()) or None,
            key=key,
            cleanup=_cleanup_record(cleanup, cleaned),
        )
    _add_beside(files, options, legend, grid, {i: int(counts[i]) for i in legend.ids}, result, paths)
    return result


def _add_beside(
    files: Commit,
    options: MapOptions,
    legend: Legend,
    grid: Grid,
    pixels: dict[int, int],
    record: MapRecord,
    paths: dict[str, Path],
) -> None:
    """Add styles, class names, the record, and the side files that were asked for, of a map at ``paths``."""
    outputs = options.outputs
    files.text(outputs["style"], qml_text(legend, options.palette))
    if "confidence style" in outputs:
        files.text(outputs["confidence style"], level_qml_text())
    files.text(outputs["attributes"], attributes_text(legend, pixels, grid.pixel_area_m2(), options.palette))
    files.text(outputs["record"], record.as_text())
    layers = {
        name: (paths[name], place) for name, place in options.layers.items() if name not in options.stays_in_parts
    }
    made = FinishedMap(paths["ids"], options.out, grid, legend, pixels, record, layers, options.palette)
    add_side_files(files, made, options.side)


def _cleaned(scratch: Scratch, grid: Grid, cleanup: Cleanup | None, stages: Timings) -> CleanedMap | None:
    """Return the cleaned map, always of the rows as they were computed, so that a resumed run does not clean twice."""
    if cleanup is None:
        return None
    with stages.time("clean"):
        return clean_rows(scratch.reader("ids"), (grid.height, grid.width), cleanup)


def _cleanup_record(cleanup: Cleanup | None, cleaned: CleanedMap | None) -> CleanupRecord | None:
    if cleanup is None or cleaned is None:
        return None
    return CleanupRecord(**dict(cleanup.record()), changed_pixels=cleaned.changed_pixels)


def _expected_pixels(notes: Iterable[StripNote], legend: Legend) -> dict[str, float] | None:
    expected = [note.expected for note in notes if note.expected is not None]
    if not expected:
        return None
    total = np.sum(expected, axis=0)
    return {item.name: float(pixels) for item, pixels in zip(legend.classes, total, strict=True)}


def _compute(
    work: Work,
    scratch: Scratch,
    here: tuple[Reader, Predictor],
    build: Build | None,
    crew: Crew | None,
    stages: Timings,
    progress: Progress,
) -> float:
    """Compute the strips that are missing; return the workers' peak memory in MiB."""
    total = len(work.plan.rows)
    progress(len(scratch.finished), total, "strips")

    def store(strip: StripRows) -> StripNote:
        with stages.time("write"):
            whole = in_parts(strip, scratch.parts, scratch.parts.names)
            sums = scratch.rows.write(whole.first, whole.layers)
            return whole.note.model_copy(update={"checksums": whole.note.checksums | sums})

    def enter(strip: StripRows, note: StripNote) -> None:
        stages.add(strip.seconds)
        scratch.enter(strip.index, note)
        progress(len(scratch.finished), total, "strips")

    missing = [index for index in range(total) if index not in scratch.finished]
    tasks = strip_tasks(missing, crew.size if crew else 1)
    memory: dict[str, float] = {}
    with Storing(store, enter) as storing:
        if build is None or crew is None or len(tasks) < 2:
            with StripFunction(work, *here) as function:
                for task in tasks:
                    storing.put(function(task))
            return 0.0

        def finished(_: int, strip: StripRows, worker: str) -> None:
            memory[worker] = max(strip.peak_memory_mib, memory.get(worker, 0.0))
            storing.put(strip)

        def check() -> int:
            return StripFunction(work, *here).check()

        middle = total // 2
        terms = Terms(begin=middle - work.plan.first_row_for(middle))  # rows of windows that strips share
        run_tasks(crew, StripJob(work, build, scratch.parts), tasks, finished, check=check, terms=terms)
    return sum(memory.values())
