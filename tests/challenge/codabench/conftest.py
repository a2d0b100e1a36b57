"""Two small data sets, a leaderboard of them, maps with errors, and a bundle whose wheels are this package alone."""

import numpy as np
import pytest
import rasterio
import yaml

from c2seg.challenge import ReferenceSource, create_board, pack_submission
from c2seg.challenge.codabench import bundle
from c2seg.challenge.codabench.draft import write_draft
from c2seg.challenge.codabench.wheels import own_wheel
from c2seg.challenge.joining import join_archives
from c2seg.legend import c2seg13

SIZES = {"AB": (80, 70), "B W": (64, 96)}  # tiles of 32 overlap in the first


def raster(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", height=values.shape[1], width=values.shape[2], count=len(values), dtype=values.dtype,
        crs="EPSG:32633", transform=rasterio.Affine(10, 0, 4e5, 0, -10, 5.8e6),
    ) as dataset:  # fmt: skip
        dataset.write(values)
    return path


@pytest.fixture(scope="session")
def season(tmp_path_factory):
    """Return a folder with cities, maps, packed archives, a joined entry, a leaderboard and settings."""
    folder = tmp_path_factory.mktemp("season")
    archives = {}
    for seed, (name, (height, width)) in enumerate(SIZES.items()):
        rng = np.random.default_rng(seed)
        label = rng.choice(np.array([0, 1, 2, 3, 10, 255], np.uint8), (height // 8 + 1, width // 8 + 1))
        label = label.repeat(8, 0).repeat(8, 1)[:height, :width]
        means = np.array([90, 70, 50, 20])[:, None, None]
        msi = (label % 20 * means + 300 + rng.normal(0, 9, (4, height, width))).astype(np.uint16)
        raster(folder / name / "msi.tif", msi)
        raster(folder / name / "label.tif", label[None])
        wrong = rng.random(label.shape) < 0.3
        guess = np.where(wrong | (label == 255), rng.integers(1, 14, label.shape), label).astype(np.uint8)
        archives[name] = folder / f"{name}.zip"
        pack_submission(raster(folder / "maps" / f"{name}.tif", guess[None]), archives[name], c2seg13(), tile_px=32)
    join_archives(archives, folder / "entry.zip")
    sources = {name: ReferenceSource(folder / name, 32) for name in SIZES}
    create_board(folder / "board.sqlite", sources, c2seg13())
    (folder / "settings").mkdir()
    write_draft(folder / "settings", c2seg13())
    return folder


@pytest.fixture
def settings(season, tmp_path):
    """Return a function that writes a folder of settings with some of them changed."""

    def write(**changes):
        folder = tmp_path / "settings"
        folder.mkdir(exist_ok=True)
        for path in (season / "settings").iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        content = yaml.safe_load((folder / "challenge.yaml").read_text())
        (folder / "challenge.yaml").write_text(yaml.safe_dump(content | changes))
        return folder

    return write


def _own_wheel_only(folder, python, wheels):
    return [own_wheel(folder)]


@pytest.fixture(scope="session")
def default_bundle(season, tmp_path_factory):
    """Return a bundle of the settings as drafted, and what is in it."""
    out = tmp_path_factory.mktemp("bundle") / "bundle.zip"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle, "collect_wheels", _own_wheel_only)
        return out, bundle.make_bundle(season / "board.sqlite", season / "settings", out)


@pytest.fixture
def changed_bundle(season, settings, tmp_path, monkeypatch):
    """Return a function that makes a bundle of changed settings with the wheel of this package only: without an index."""
    monkeypatch.setattr(bundle, "collect_wheels", _own_wheel_only)

    def make(**changes):
        out = tmp_path / "bundle.zip"
        return out, bundle.make_bundle(season / "board.sqlite", settings(**changes), out)

    return make
