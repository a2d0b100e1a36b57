"""Map a whole city with a model file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from c2seg.api.record import provenance
from c2seg.backends import BackendOptions, default_backend, load_predictor
from c2seg.data import City, Normaliser, SceneReader, city_statistics, open_city
from c2seg.errors import InputError
from c2seg.inference import MapOptions, MapResult, WindowPlan, map_scene
from c2seg.modelfile import Header, ModelFile, check_city, load_model
from c2seg.outputs import check_output
from c2seg.progress import Progress, no_progress

__all__ = ["predict"]


def _silent(_label: str) -> Progress:
    return no_progress


def predict(
    model: Path,
    city: Path,
    options: MapOptions,
    *,
    backend: str | None = None,
    device: str = "auto",
    precision: str = "32",
    tta: bool | None = None,
    bars: Callable[[str], Progress] = _silent,
    command: Sequence[str] = (),
) -> list[MapResult]:
    """Map a city; one result per scene.

    A city of one scene gives the file ``options.out``; a city of several gives a folder of that name with one map per
    scene. ``tta=None`` follows the recipe. A run that was stopped goes on when called again with the same arguments.
    """
    loaded = load_model(model)
    header = loaded.header
    images = open_city(city)
    check_city(header, images)
    settings = header.recipe.prediction
    tta = settings.tta if tta is None else tta
    name = backend or default_backend(loaded)
    predictor = load_predictor(loaded, name, BackendOptions(device, precision, tta))
    for scene_options in _scene_options(images, options):
        check_output(scene_options.out, overwrite=options.overwrite)
    normaliser = _normaliser(header, images, bars("statistics"))
    fingerprint = images.fingerprint()
    results = []
    for scene, scene_options in zip(images.scenes, _scene_options(images, options), strict=True):
        snap = getattr(predictor, "stride_px", 1)
        plan = WindowPlan(scene.grid.height, scene.grid.width, settings.window_px, settings.overlap, snap)
        key = {
            "model": loaded.digest,
            "city": fingerprint,
            "scene": scene.name,
            "window_px": plan.window_px,
            "overlap_px": plan.overlap_px,
            "batch_size": settings.batch_size,
            "tta": tta,
            "backend": name,
            "device": device,
            "precision": precision,
        }
        notes = {
            "key": key,
            "recipe": header.recipe.name,
            "run": _run_notes(loaded, device, command),
            "city": {"name": images.name, "path": str(city.resolve())},
            "confidence": options.confidence.name if options.confidence else None,
        }
        reader = SceneReader(scene, tuple(header.inputs), normaliser)
        results.append(
            map_scene(
                reader,
                predictor,
                plan,
                header.land_legend(),
                replace(scene_options, batch_size=settings.batch_size),
                key,
                notes=notes,
                progress=bars(f"map {scene.name}"),
            )
        )
    return results


def _scene_options(city: City, options: MapOptions) -> list[MapOptions]:
    if len(city.scenes) == 1:
        return [options]
    if options.probabilities or options.confidence:
        raise InputError("a city of several scenes gives a folder of maps; probabilities and confidence need one scene")
    return [replace(options, out=options.out / f"{scene.name}.tif") for scene in city.scenes]


def _normaliser(header: Header, city: City, progress: Progress) -> Normaliser:
    kind = header.recipe.normalisation
    if kind in {"per_city", "minmax"}:
        return Normaliser.fit(kind, city_statistics(city, tuple(header.inputs), progress))
    return Normaliser.fit(kind, header.band_statistics())


def _run_notes(model: ModelFile, device: str, command: Sequence[str]) -> dict[str, object]:
    learnt = model.header.provenance
    return {"learnt": learnt, "mapped": provenance(seed=int(learnt.get("seed", 0)), device=device, command=command)}
