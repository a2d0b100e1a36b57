"""Pages run: every command and Python block, in the order of the page, on small cities. What does not run is listed here."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path

import boto3
import pytest

from c2seg.api import demo as demo_of_cities
from c2seg.benchmark.systems import load_system
from c2seg.challenge.codabench import bundle
from c2seg.challenge.codabench.wheels import own_wheel
from c2seg.data.layouts.cityfile import CityFile
from c2seg.documents import parse_yaml
from c2seg.parallel.opening import _Described
from c2seg.recipes import load_recipe
from helpers import page_files as made
from helpers import page_products as products
from helpers.clusters import UserCluster
from helpers.object_storage import environment_of, object_server, upload
from helpers.page_reader import Reader
from helpers.pages import PAGES, ROOT, Snippet, name_of, same_output, snippets

# Pages whose snippets other tests run.
ELSEWHERE = {
    "README.md": "documents/test_snippets.py",
    "dataset.md": "api/test_dataset.py",
    "organising.md": "server/test_organising.py",
    "plugins.md": "plugins/test_toy_plugin.py",
    "python.md": "api/test_python_page.py",
    "reproduce.md": "benchmark/test_reproduce.py",
}
NOT_RUN = {
    r"pip install .*": "takes packages from an index; other tests install the wheel",
    r"pip download .*": "takes packages from an index",
    r"(python3 -m venv|conda|export PIP_EXTRA_INDEX_URL)\b.*": "makes an environment",
    r"make (demo|test)\b.*": "makes an environment; the commands behind it run here",
    r"docker .*": "needs Docker",
    r"unzip .*": "the data of C2Seg cannot be bundled: the simulator takes their place",
    r"torchrun --nnodes=2 .*": "needs two machines",
    r"c2seg serve run season --public-url .*": "needs a public address; on a free port of this machine it runs",
    r"(\w+=\S+ )?python benchmarks/.*": "measures for minutes to hours; a test below reads its options",
}
# What a test changes of commands: words by pattern, and values of options, each with the reason.
WORDS = {
    r"OMP_NUM_THREADS=\d": ("", "the environment is that of the tests"),
    r"local:\d": ("local:2", "two processors"),
    r"--nproc-per-node=\d": ("--nproc-per-node=2", "two processors"),
    r"/shared/work": ("shared-work", "a folder of the test"),
    r"13\.1,52\.3,13\.8,52\.7": (products.BOUNDS, "a small place"),
    r"(BW=)?(?:128|256)": (r"\g<1>64", "tiles of small cities"),
    r"(.*,)?\.\.\.": (r"\g<1>", "a list that goes on"),
}
PYTHON = {
    "scale=0.25": ("scale=0.06", "small cities"),
    "ProcessPoolExecutor(8,": ("ProcessPoolExecutor(2,", "two processors"),
}
VALUES = {
    "--device": ("cpu", "no GPU"),
    "--workers": ("2", "two processors"),
    "--jobs": ("2", "two processors"),
    "--nworkers": ("2", "two processors"),
    "--precision": ("32", "most processors emulate bf16"),
    "--port": ("0", "a free port"),
}
# What is appended to commands: the lengths of a test. What trains for hours is planned alone; test_reproduce.py trains it.
LENGTHS = {"forest": "model.trees=10", "": "training.iterations=2"}
ADDED = {
    "simulate": ["--scale", "0.06"],
    "suggest": ["--apart-px", "2"],
    "benchmark": ["--seeds", "1", "--set", "training.iterations=2", "--preset", "demo"],
}
OUTPUTS_COMPARED = {"accuracy.md"}
PLANNED = {"methods/second-place.md", "results.md"}
# What pages take for granted.
PAIR = {"augsburg": made.city("alder"), "berlin": made.city("birch")}
NAMED = {"SOURCE": made.city("alder"), "TARGET": made.city("birch")}
NEEDED = {
    "accuracy.md": PAIR | {
        "run": made.run("forest"), "labels.csv": made.labels_of("points"), "next.csv": made.labels_of("next"),
        "labels1.csv": made.labels_of("round1"), "districts.gpkg": made.districts,
    },
    "codabench.md": PAIR | {
        "wuhan": made.city("dogwood"), "AB_map.tif": made.layer("map"), "BW_map.tif": made.raster("reference", "dogwood"),
    },
    "crosscity.md": NAMED | {"POTSDAM": made.city("alder")},
    "data.md": {"PATH": made.city("birch"), "C2Seg_AB/train": made.published_split("alder", 64, 32)},
    "fusing.md": dict.fromkeys(
        ("multimodal.tif", "adapted.tif", "hsi.tif", "sar.tif", "msi.tif"), made.layer("probabilities")
    ),
    "install.md": NAMED,
    "labels.md": {
        "city.osm.pbf": made.town, "region.osm.pbf": made.town, "msi.tif": made.image_of_town,
        "cities.csv": made.list_of_towns,
    },
    "mapping.md": {"run": made.run("unet"), "beijing": made.city("alder")},
    "methods/adversarial.md": {"p": made.pair},
    "methods/second-place.md": PAIR,
    "prepare.md": {
        "S2B_MSIL2A_....SAFE": products.sentinel2, "S1A_IW_GRDH_....SAFE": products.sentinel1,
        "ENMAP01-____L2A-....zip": products.enmap, "dem.tif": products.elevation, "berlin.osm.pbf": products.extract,
        "Copernicus_DSM_COG_10_N52_00_E013_00_DEM.tif": products.elevation,
    },
    "recipes.md": PAIR | NAMED,
    "report.md": PAIR,
    "results.md": {"augsburg": made.city("alder")},
    "scaling.md": PAIR | {
        "run": made.run("forest"), "beijing": made.city("alder"), "slurm.yaml": made.local_cluster,
        "cities.csv": made.list_of_cities,
    },
    "scoring.md": {
        "map.tif": made.layer("map"), "other_map.tif": made.layer("map"), "label.tif": made.raster("label"),
        "berlin_label.tif": made.raster("label"), "predictions": made.predicted_tiles, "CITY": made.city("birch"),
        "labels": made.label_tiles("birch", 64), "wuhan_labels": made.label_tiles("dogwood", 64),
        "C2Seg_AB/test": made.published_split("birch", 64, 64), "bw.zip": made.archive("dogwood", 64),
    },
    "simulator.md": {"town.osm.pbf": made.town, "grid.tif": made.image_of_town},
}  # fmt: skip


def is_run(snippet: Snippet) -> bool:
    """Whether the test below runs a snippet."""
    return snippet.language == "python" or (snippet.language == "sh" and not reason_not_to_run(snippet))


def reason_not_to_run(snippet: Snippet) -> str | None:
    return next((why for pattern, why in NOT_RUN.items() if re.fullmatch(pattern, snippet.text)), None)


def python_adapted(code: str) -> str:
    for text, (other, _) in PYTHON.items():
        code = code.replace(text, other)
    return code


def adapted(page: str, words: list[str]) -> list[str]:
    """Return the words of a command with the stand-ins of the tables above."""
    words = [VALUES[before][0] if before in VALUES else word for before, word in zip(["", *words], words, strict=False)]
    for pattern, (other, _) in WORDS.items():
        words = [re.sub(f"^(?:{pattern})$", other, word).rstrip(",") for word in words]
    words = [word for word in words if word]
    if page in OUTPUTS_COMPARED and words[1:3] in (["simulate", "cities"], ["fit", "forest"]):
        return words
    if "fit" in words:
        recipe = words[words.index("fit") + 1]
        more = ["--set", LENGTHS.get(recipe, LENGTHS[""])]
        return [*words, *more] if "--preset" in words else [*words, *more, "--preset", "demo"]
    more = ADDED.get(words[1], [])
    return [*words, *more, "--dry-run"] if page in PLANNED and words[1] == "benchmark" else [*words, *more]


COMMANDS = [snippet for page in PAGES for snippet in snippets(page) if snippet.language == "sh"]
RUN_HERE = [
    page for page in PAGES if name_of(page) not in ELSEWHERE and any(is_run(snippet) for snippet in snippets(page))
]


def test_every_command_runs_or_has_a_reason():
    programs = {"c2seg", "dask", "torchrun", "chmod"}
    odd = [str(s) for s in COMMANDS if not programs & set(s.words) and not reason_not_to_run(s)]
    assert odd == []
    assert {name_of(page) for page in RUN_HERE} == set(NEEDED)


@pytest.mark.parametrize("pattern", NOT_RUN)
def test_what_is_not_run_stands_on_a_page(pattern):
    assert any(re.fullmatch(pattern, snippet.text) for snippet in COMMANDS)


def test_what_is_exchanged_stands_on_a_page():
    words = {word for snippet in COMMANDS for word in snippet.words}
    assert [pattern for pattern in WORDS if not any(re.fullmatch(pattern, word) for word in words)] == []
    assert [option for option in VALUES if option not in words] == []
    code = "".join(snippet.text for snippet in files_shown("python"))
    assert [text for text in PYTHON if text not in code] == []


@pytest.mark.parametrize(("page", "test"), ELSEWHERE.items())
def test_pages_that_other_tests_run(page, test):
    assert page in (ROOT / "tests" / test).read_text(encoding="utf-8")


def files_shown(language: str) -> list[Snippet]:
    return [snippet for page in PAGES for snippet in snippets(page) if snippet.language == language]


@pytest.mark.parametrize("snippet", files_shown("yaml"), ids=lambda s: f"{s.page}:{s.line}")
def test_yaml_on_pages_is_read_by_what_it_is_for(snippet, tmp_path):
    content = parse_yaml(snippet.text, str(snippet))
    path = tmp_path / "shown.yaml"
    path.write_text(snippet.text, encoding="utf-8")
    if "parts" in content:
        assert load_system(str(path)).rows
    elif content.keys() & CityFile.model_fields.keys():
        CityFile.model_validate(content)
    elif "stages" in content:
        path.write_text(f"name: shown\nbase: unet\n{snippet.text}", encoding="utf-8")
        assert content["stages"].keys() <= load_recipe(str(path)).stages.keys()
    elif "workers" in content:
        assert _Described.read(path).workers == content["workers"]
    else:
        assert snippet.page in ELSEWHERE


def test_other_files_on_pages_are_read():
    languages = {snippet.language for page in PAGES for snippet in snippets(page)}
    assert languages <= {"sh", "python", "yaml", "toml", "text"}
    for snippet in files_shown("toml"):
        assert tomllib.loads(snippet.text)
    for snippet in files_shown("python"):
        ast.parse(snippet.text)


@cache
def options_of(script: Path) -> set[str]:
    """Return the options that a script adds to its parser, in itself or in the modules beside it that it imports."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    options = {
        argument.value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "add_argument"
        for argument in call.args
        if isinstance(argument, ast.Constant)
    }
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    beside = [script.with_name(f"{name}.py") for name in imported]
    return options.union(*(options_of(path) for path in beside if path.exists()))


def benchmark_lines() -> Iterator[tuple[str, str, str]]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for script, rest in re.findall(r"python (benchmarks/\w+\.py)([^`\n]*)", text):
            yield name_of(page), script, rest


def test_scripts_of_pages_have_the_options_that_are_shown():
    lines = list(benchmark_lines())
    wrong = [line for line in lines if not set(re.findall(r" (--[\w-]+)", line[2])) <= options_of(ROOT / line[1])]
    assert wrong == []
    assert len(lines) > 10


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    return made.Shelf(tmp_path_factory.mktemp("shelf"))


@pytest.fixture
def reader(shelf, tmp_path, monkeypatch):
    """Return a maker of readers of a page. Object storage and cluster are of this machine, and nothing is fetched."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bundle, "collect_wheels", lambda folder, python, wheels: [own_wheel(folder)])
    monkeypatch.setattr(demo_of_cities, "DEMO_RECIPES", ("forest",))  # as without torch: networks take minutes
    monkeypatch.setattr(demo_of_cities, "_SCALE", 0.06)
    with ExitStack() as stack:

        @cache
        def scheduler() -> str:
            cluster = stack.enter_context(UserCluster(tmp_path / "cluster"))
            cluster.start_worker()
            return cluster.address

        def make(page: str) -> Reader:
            if "s3://bucket/" in (ROOT / "docs" / page).read_text(encoding="utf-8"):
                for name, value in environment_of(stack.enter_context(object_server())).items():
                    monkeypatch.setenv(name, value)
                fill_bucket(shelf.city("alder"))
            return Reader(tmp_path, shelf, NEEDED[page], partial(adapted, page), python_adapted, scheduler)

        yield make


def fill_bucket(city: Path) -> None:
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    upload(client, city, "bucket", "beijing")
    client.close()


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN_HERE, ids=name_of)
def test_a_page_runs(page, reader, record_property):
    name = name_of(page)
    reads = reader(name)
    printed = ""
    for snippet in snippets(page):
        if snippet.language == "text" and name in OUTPUTS_COMPARED:
            assert same_output(snippet.text, printed), f"{snippet}\nnow it is:\n{printed}"
        elif is_run(snippet):
            printed = reads.follow(snippet)
    assert reads.used == set(NEEDED[name])
    record_property("snippets run", sum(is_run(snippet) for snippet in snippets(page)))
