from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from c2seg.pipeline import scenes as module
from c2seg.pipeline.prepare import prepare
from c2seg.pipeline.scenes import RunScenes
from c2seg.progress import no_progress
from c2seg.recipes import load_recipe


def test_trainings_of_a_run_read_validity_and_labels_once(cities, monkeypatch):
    data = prepare(load_recipe("unet", "tiny"), [cities[0]], cities[1], None, no_progress)[1]
    read = []
    plain = module.training_scenes

    def counted(city, inputs, **options):
        read.append((city.images.name, tuple(inputs), *options.values()))
        return plain(city, inputs, **options)

    monkeypatch.setattr(module, "training_scenes", counted)
    scenes = RunScenes(data)
    with ThreadPoolExecutor(4) as pool:
        of_source = list(
            pool.map(lambda _: scenes.of_sources(("msi",), use_labels=True, background=None)[0].valid, range(4))
        )
    assert all(valid is of_source[0] for valid in of_source)
    assert scenes.of_target(("msi",))[0].targets is None
    assert scenes.of_target(("msi",)) is scenes.of_target(("msi",))
    scenes.of_sources(("msi",), use_labels=False, background=None)
    scenes.of_target(("msi", "sar"))
    assert sorted(read, key=str) == sorted(
        [("source", ("msi",), True, None), ("source", ("msi",), False, None), ("target", ("msi",)), ("target", ("msi", "sar"))],
        key=str,
    )  # fmt: skip
