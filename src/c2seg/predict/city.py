"""Predict a whole city with a model file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import get_args

import numpy as np

from c2seg.artifacts import Header, MapKey, MapNotes, MapRecord, MapRun, ModelFile, check_city, read_model_file
from c2seg.artifacts.maps import AgreementRecord, BackendChoice, PredictedCity
from c2seg.artifacts.provenance import provenance, relative_path
from c2seg.data import (
    BandStatistics,
    City,
    Patch,
    PreparedCity,
    Scene,
    SceneReader,
    city_statistics,
    fill_missing,
    open_city,
)
from c2seg.data.inputs import city_inputs
from c2seg.data.preparation import comparison_notes
from c2seg.data.radiometry import radiometry_notes
from c2seg.data.spectral import match_bands
from c2seg.data.units import in_physical_units, physical_units, radar_unit, radar_unit_of, reflectance_notes, units_note
from c2seg.errors import InputError, unknown_name
from c2seg.gis import ModelFacts as MapModel
from c2seg.outputs import check_outputs, commit
from c2seg.parallel import Crew, open_crew
from c2seg.predict import (
    MapOptions,
    Predictor,
    WindowPlan,
    measure_agreement,
    pending_key,
    sample_windows,
)
from c2seg.predict.backends import BackendOptions, candidates, default_backend, load_predictor, processors
from c2seg.predict.backends.batch import fitting_batch
from c2seg.predict.cleanup import requested_cleanup
from c2seg.predict.decision import Decision, ModelFacts, decide_for, sample_probabilities
from c2seg.predict.mapping import make_scene
from c2seg.predict.places import clear_unfinished
from c2seg.predict.plan import window_plan
from c2seg.progress import Progress, silent_bars
from c2seg.recipes.schema import Decided

__all__ = [
    "as_trained",
    "batch_size",
    "build_scene",
    "images_for_model",
    "open_for_model",
    "predict",
    "prepare_for_model",
    "without_forest",
]

_BATCH_BYTES = 32 * 2**20  # of inputs: several batches are in memory at once, and many bands make them wide


@dataclass(frozen=True)
class _Job:
    """An opened model, an opened city, and how the model is run."""

    model: ModelFile
    """Its networks alone where the city lacks a modality."""
    city: City
    statistics: Mapping[str, BandStatistics]
    """The city's own, where the model's normalization follows the city; else empty."""
    absent: Mapping[str, int]
    """The modalities that the city lacks, with their bands."""
    backend: str
    options: BackendOptions

    @cached_property
    def prepared(self) -> PreparedCity[City]:
        """The city with layers of zeros for the modalities that it lacks."""
        return prepare_for_model(self.model.header, self.city, self.statistics, self.absent)

    @property
    def temperature(self) -> float | None:
        """Of confidence and areas. It was measured with all modalities; without one, networks predict without the forest."""
        return None if self.absent else self.model.header.confidence_temperature

    def reader(self, scene: int) -> SceneReader:
        return self.prepared.readers(tuple(self.model.header.inputs))[scene]

    def plan(self, scene: Scene, predictor: Predictor) -> WindowPlan:
        return window_plan(scene, self.model.header.recipe.prediction, predictor)


def predict(
    model: Path,
    city: Path,
    options: MapOptions,
    *,
    backend: str | None = None,
    device: str = "auto",
    precision: str = "32",
    tta: bool | None = None,
    threads: int | None = None,
    compile: bool = False,
    bars: Callable[[str], Progress] = silent_bars,
    command: Sequence[str] = (),
    crew: Crew | None = None,
    decision: str | None = None,
) -> list[MapRecord]:
    """Predict a city; return one record per scene.

    A city of one scene gives the file ``options.out``; a city of several scenes gives a folder with one map per scene.
    ``tta=None`` follows the recipe. ``backend="auto"`` measures the installed backends and takes the fastest. A reduced
    ``precision`` is first compared with 32 bits on sample windows. It is refused (InputError) when it changes too many
    classes. A stopped run resumes when it is called again with the same arguments. ``crew``: workers as ``options`` ask for,
    that serve other cities, too. ``decision``: as ``prediction.decision`` of recipes; None: the recipe's.
    """
    options.side.check()
    loaded = deciding(read_model_file(model), decision)
    options = replace(options, side=replace(options.side, model=MapModel(model.absolute(), loaded.header)))
    images, absent, fitted = _matched(loaded.header, city)
    loaded = without_forest(loaded) if absent else loaded
    header = loaded.header
    if options.cluster is not None:
        threads = threads or 1  # here as there: some networks give other bits with other threads
    cleanup = requested_cleanup(options.min_area_px, options.min_area_keep, header.legend)
    scenes = _checked_scenes(header, images, options, [model, *city_inputs(city, images)])
    settings = header.recipe.prediction
    averaged = settings.tta if tta is None else tta
    running = BackendOptions(device, precision, averaged, threads, compile, settings.tta_transforms)
    name = backend or default_backend(loaded)
    predictor = None if name == "auto" else load_predictor(loaded, name, running)  # wrong options show at once
    statistics = _statistics(header, images, absent, bars("statistics"))
    compared = comparison_notes(header.recipe.decided_normalization, images.name, statistics, header.statistics)
    job = _Job(loaded, images, statistics, absent, name, running)
    key = _key(job).model_copy(update={"cleanup": cleanup.record() if cleanup else None})
    first = key.model_copy(update={"scene": scenes[0][0].name})
    choice = None
    if predictor is None:
        choice, predictor = _measure(job, first, scenes[0][1])
        job = replace(job, backend=choice.name)
    size = _windows_together(job, first, scenes[0][1], predictor)
    key = key.model_copy(update={"backend": job.backend, "batch_size": size})
    shared = None if options.workers == 1 else max(1, processors() // options.workers)
    running = replace(running, threads=threads or shared)
    trained = header.provenance
    run = MapRun(
        trained=trained.without_folders() if trained else None,
        predicted=provenance(seed=trained.seed if trained else 0, device=device, command=command).without_folders(),
        workers=options.workers,
        threads=running.threads,
        backend_choice=choice,
        precision_check=_check_precision(job, predictor),
        absent=tuple(absent),
        bands=(*fitted, *compared),
        confidence_temperature=job.temperature,
        decision=settings.decision,
    )
    notes = _map_notes(
        header, PredictedCity(name=images.name, path=relative_path(city, scenes[0][1].out)), options, run
    )
    results = []
    crews = nullcontext(crew) if crew else open_crew(options.workers, options.cluster, keep_memory=True)
    with commit(overwrite=options.overwrite) as files, crews as opened:
        for index, (scene, scene_options) in enumerate(scenes):
            decided = _decision(job, index, predictor)
            weights = decided.record() if decided else None
            build = partial(
                build_scene, model.absolute(), city.absolute(), index, statistics, absent, job.backend, running
            )
            results.append(
                make_scene(
                    files,
                    job.reader(index),
                    predictor,
                    job.plan(scene, predictor),
                    header.legend,
                    replace(scene_options, batch_size=size, decision=decided, temperature=job.temperature),
                    key.model_copy(update={"scene": scene.name, "decision": weights}),
                    crew=opened,
                    build=build,
                    notes=notes,
                    progress=bars(f"predict {scene.name}"),
                )
            )
    for (_, scene_options), record in zip(scenes, results, strict=True):
        clear_unfinished(scene_options, record)
    return results


def _matched(header: Header, city: Path) -> tuple[City, dict[str, int], tuple[str, ...]]:
    """Return the images of a city with a model's bands, the modalities that it lacks with their bands, and notes for people."""
    images, bands = match_bands(_opened(city, header), header.inputs)
    absent = check_city(header, images)
    read = () if images.scenes[0].tiles else images.notes  # the order of published tiles changes no value
    return images, absent, (*read, *bands, *_unit_notes(header, images))


def _checked_scenes(
    header: Header, images: City, options: MapOptions, inputs: Sequence[Path]
) -> list[tuple[Scene, MapOptions]]:
    """Return the scenes of a city and what to write of each. Raises InputError, before any work, for what cannot be written."""
    scenes = list(zip(images.scenes, _scene_options(images, options), strict=True))
    outputs = [output for _, scene_options in scenes for output in scene_options.outputs.values()]
    check_outputs(outputs, inputs, overwrite=options.overwrite)
    for _, scene_options in scenes:
        scene_options.check_objects()
    header.legend.colors(options.palette)
    return scenes


def _map_notes(header: Header, city: PredictedCity, options: MapOptions, run: MapRun) -> MapNotes:
    """Return what the files of a map say of it."""
    trained = header.provenance
    return MapNotes(
        run_id=trained.run_id if trained else None,
        recipe=header.recipe.name,
        city=city,
        confidence=options.confidence.name if options.confidence else None,
        runner_up=options.runner_up.name if options.runner_up else None,
        run=run,
        target_labels=(trained.target_labels,) if trained and trained.target_labels else (),
    )


def open_for_model(header: Header, path: Path, progress: Progress) -> PreparedCity[City]:
    """Open a city as a model sees it: its bands matched and normalized. Raises ModelFileError or DataError."""
    images, _ = match_bands(_opened(path, header), header.inputs)
    absent = check_city(header, images)
    return prepare_for_model(header, images, _statistics(header, images, absent, progress), absent)


def images_for_model(header: Header, path: Path) -> City:
    """Open a city with the bands of a model. Raises ModelFileError or DataError."""
    return match_bands(_opened(path, header), header.inputs)[0]


def _opened(path: Path, header: Header) -> City:
    """Open a city as a model wants its values read."""
    return as_trained(header, open_city(path))


def as_trained(header: Header, city: City) -> City:
    """Return a city with its values as the model's were: in physical units if they were; without scale and offset of files
    for a model whose training ignored them."""
    city = city if header.file_scaling else city.as_stored()
    return in_physical_units(city)[0] if header.in_physical_units else city


def _unit_notes(header: Header, city: City) -> tuple[str, ...]:
    """Return notes if the model was trained on images of another unit than the city's, or its reflectance looks wrong."""
    names = tuple(header.inputs)
    optical: tuple[str, ...] = tuple(radiometry_notes(city, names))
    if not header.recipe.follows_city:
        both = {"the model's sources": header.units, city.name: physical_units(city, names)}
        optical = (*reflectance_notes(both), *optical)
    trained = header.statistics.get("sar")
    if trained is None or "sar" not in city.modality_names:
        return optical
    units = {
        "the model's sources": radar_unit(np.array(trained.mean), np.array(trained.minimum)),
        city.name: radar_unit_of(city),
    }
    note = units_note(units)
    return (*optical, note) if note else optical


def _key(job: _Job) -> MapKey:
    """Return all that determines a map, except its scene and backend."""
    settings = job.model.header.recipe.prediction
    return MapKey(
        model=job.model.digest,
        city=job.city.fingerprint(),
        window_px=settings.window_px,
        overlap_px=settings.overlap,
        batch_size=batch_size(job.model.header),
        tta=job.options.tta,
        device=job.options.device,
        precision=job.options.precision,
        compile=job.options.compile,
    )


def _check_precision(job: _Job, predictor: Predictor) -> AgreementRecord | None:
    """Compare a reduced precision with 32 bits on windows of the city; InputError if it changes too many classes."""
    if job.options.precision == "32" or job.backend == "forest":
        return None
    scene = job.city.scenes[0]
    exact = load_predictor(job.model, job.backend, replace(job.options, precision="32"))
    agreement = measure_agreement(exact, predictor, job.reader(0), job.plan(scene, predictor))
    if not agreement.accepted:
        raise InputError(f"`precision='{job.options.precision}'` changes too much: {agreement}; use `precision='32'`")
    return agreement.record()


def without_forest(model: ModelFile) -> ModelFile:
    """Return the networks of a model alone: unlike them, a forest was not trained to do without a modality."""
    header = model.header
    return replace(
        model, header=header.model_copy(update={"recipe": header.recipe.model_copy(update={"forest": None})})
    )


def deciding(model: ModelFile, decision: str | None) -> ModelFile:
    """Return a model whose recipe decides classes in another way; None: as it is. Raises InputError for an unknown one."""
    if decision is None:
        return model
    if decision not in get_args(Decided):
        raise InputError(unknown_name("decision", decision, get_args(Decided)))
    recipe = model.header.recipe
    prediction = recipe.prediction.model_copy(update={"decision": decision})
    recipe = recipe.model_copy(update={"prediction": prediction})
    return replace(model, header=model.header.model_copy(update={"recipe": recipe}))


def _decision(job: _Job, scene: int, predictor: Predictor) -> Decision | None:
    """Return the decision that a scene's own probabilities ask for, if the recipe asks for one."""
    header = job.model.header
    settings = header.recipe.prediction
    if settings.decision == "argmax":
        return None
    plan = job.plan(job.city.scenes[scene], predictor)
    probabilities = sample_probabilities(job.reader(scene), predictor, plan)
    present = None if header.trained_classes is None else tuple(header.legend.among(header.trained_classes))
    facts = ModelFacts(present, header.training_shares, header.confidence_temperature)
    return decide_for(settings.decision, probabilities, facts, settings.area_shares)


def _measure(job: _Job, key: MapKey, options: MapOptions) -> tuple[BackendChoice, Predictor]:
    """Return the fastest backend, or that of a stopped run of the same map, so that its rows stay valid."""
    names = candidates(job.model, job.options)
    pending = pending_key(options.out)
    stopped = pending.backend if pending and _same_map(key, pending) else None
    if stopped in names or len(names) == 1:
        name = stopped if stopped in names else names[0]
        choice = BackendChoice(name=name, seconds={}, resumed=stopped in names)
        return choice, load_predictor(job.model, name, job.options)
    from c2seg.predict.backends.choose import fastest

    best, predictor = fastest(job.model, names, job.options, partial(_sample_batch, job))
    return BackendChoice(name=best.name, seconds=best.seconds, resumed=False), predictor


def _windows_together(job: _Job, key: MapKey, options: MapOptions, predictor: Predictor) -> int:
    """Return the windows of a batch: on a device what fits its memory, or as many as a stopped run of the same map had."""
    header = job.model.header
    if getattr(predictor, "on_device", None) is None:
        return batch_size(header)
    pending = pending_key(options.out)
    if pending and pending.batch_size and _same_map(key, pending):
        return pending.batch_size
    side = job.plan(job.city.scenes[0], predictor).window_px + 2 * predictor.halo_px
    return fitting_batch(predictor, header.channels, side, batch_size(header))


def _same_map(key: MapKey, pending: MapKey) -> bool:
    """Return whether an unfinished map is the one of ``key``, whatever its backend, batches and decision, chosen later."""
    later = {"backend", "batch_size", "decision"}
    return all(getattr(pending, name) == value for name, value in key if name not in later)


def _sample_batch(job: _Job, predictor: Predictor) -> tuple[Patch, np.ndarray]:
    """Return a batch of the city; zeros where it has no valid pixel."""
    scene = job.city.scenes[0]
    plan = job.plan(scene, predictor)
    size = batch_size(job.model.header)
    window = plan.windows(0)[0].expand(predictor.halo_px)
    patch, valid = next(
        sample_windows(job.reader(0), plan, predictor.halo_px, 1),
        ({name: np.zeros((1, count, window.height, window.width), np.float32)
          for name, count in job.model.header.channels.items()}, np.ones((1, window.height, window.width), bool)),
    )  # fmt: skip
    return {name: np.repeat(values, size, axis=0) for name, values in patch.items()}, np.repeat(valid, size, axis=0)


def build_scene(
    model: Path,
    city: Path,
    scene: int,
    statistics: Mapping[str, BandStatistics],
    absent: Mapping[str, int],
    backend: str,
    options: BackendOptions,
) -> tuple[SceneReader, Predictor]:
    """Return the reader of a scene and the predictor, in whatever process computes strips."""
    loaded = read_model_file(model)
    loaded = without_forest(loaded) if absent else loaded
    images, _ = match_bands(_opened(city, loaded.header), loaded.header.inputs)
    reader = prepare_for_model(loaded.header, images, statistics, absent).readers(tuple(loaded.header.inputs))[scene]
    return reader, load_predictor(loaded, backend, options)


def batch_size(header: Header) -> int:
    """Return the recipe's batch size, less where the inputs of a batch would be large."""
    settings = header.recipe.prediction
    patch_bytes = 4 * settings.window_px**2 * sum(header.channels.values())
    return max(1, min(settings.batch_size, _BATCH_BYTES // patch_bytes))


def _scene_options(city: City, options: MapOptions) -> list[MapOptions]:
    if len(city.scenes) == 1:
        return [options]
    if options.places.keys() - {"ids", "probabilities"} or options.side.outputs:
        raise InputError(
            "a city of several scenes gives a folder of maps, and one of probabilities; other layers, a preview and side "
            "files need one scene"
        )
    folders = [path for path in (options.out, options.probabilities) if path is not None]
    for folder in folders:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"a city of several scenes gives a folder of maps; {folder} is a file")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise InputError(
            f"a city of several scenes gives a folder of maps and one of probabilities; both are {options.out}"
        )
    return [
        replace(
            options,
            out=options.out / f"{scene.name}.tif",
            probabilities=options.probabilities and options.probabilities / f"{scene.name}.tif",
        )
        for scene in city.scenes
    ]


def _statistics(header: Header, city: City, absent: Mapping[str, int], progress: Progress) -> dict[str, BandStatistics]:
    """Return the city's own statistics where the model's normalization follows the city."""
    if not header.recipe.follows_city:
        return {}
    names = tuple(name for name in header.inputs if name not in absent)
    return city_statistics(city, names, progress, quantiles=header.recipe.normalization == "quantile")


def prepare_for_model(
    header: Header, city: City, statistics: Mapping[str, BandStatistics], absent: Mapping[str, int]
) -> PreparedCity[City]:
    """Return the city as the model sees it: normalized, with layers of zeros for the modalities that it lacks."""
    filled, normalizer = fill_missing(city, header.normalizer(statistics), absent)
    return PreparedCity(filled, statistics, normalizer)
