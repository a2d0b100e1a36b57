"""Small seasons for tests: two data sets of random labels, maps that are right to a share, and their archives."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import rasterio

from c2seg.challenge import pack_submission
from c2seg.challenge.submission import Decoder
from c2seg.challenge.withheld import ReferenceSource
from c2seg.legend import c2seg13
from c2seg.server.creating import SeasonPlan, create_season
from c2seg.server.database import check_url
from c2seg.server.folder import ServerSettings
from c2seg.server.service import Service, open_service
from c2seg.server.views import Entry, Team
from c2seg.server.worker import Worker
from helpers.postgres import copied_database, new_database

SIDES = {"AB": 32, "BW": 16}
SHAPES = {"AB": (80, 70), "BW": (48, 48)}
NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)


def write_ids(path: Path, ids: np.ndarray) -> Path:
    with rasterio.open(
        path, "w", driver="GTiff", height=ids.shape[0], width=ids.shape[1], count=1, dtype="uint8", crs="EPSG:32633",
        transform=rasterio.Affine(10, 0, 4e5, 0, -10, 5.8e6),
    ) as dataset:  # fmt: skip
        dataset.write(ids, 1)
    return path


def labels(name: str) -> np.ndarray:
    return np.random.default_rng(len(name)).integers(1, 14, SHAPES[name], dtype=np.uint8)


@dataclass
class SeasonMaker:
    """Folder with references and archives, which are made once and copied."""

    folder: Path

    def references(self) -> dict[str, ReferenceSource]:
        paths = {name: self.folder / f"reference-{name}.tif" for name in SIDES}
        for name, path in paths.items():
            if not path.exists():
                write_ids(path, labels(name))
        return {name: ReferenceSource(path, SIDES[name]) for name, path in paths.items()}

    def map_of(self, name: str, quality: float, seed: int) -> Path:
        """Return a map of which a share of the pixels is right."""
        path = self.folder / f"map-{name}-{quality}-{seed}.tif"
        if not path.exists():
            rng = np.random.default_rng(seed)
            right = labels(name)
            write_ids(path, np.where(rng.random(right.shape) < quality, right, 1 + right % 13).astype(np.uint8))
        return path

    def archives(self, incoming: Path, quality: float = 0.9, seed: int = 0) -> dict[str, Path]:
        """Return archives of an entry in a folder of uploads; they are to be moved from there."""
        made = {}
        for name in SIDES:
            packed = self.folder / f"{name}-{quality}-{seed}.zip"
            if not packed.exists():
                pack_submission(self.map_of(name, quality, seed), packed, c2seg13(), tile_px=SIDES[name])
            made[name] = incoming / f"{name}-{quality}-{seed}-{len(list(incoming.iterdir()))}.zip"
            shutil.copy(packed, made[name])
        return made

    def season(self, data: Path, database: str | None = None, **values: object) -> Service:
        plan = SeasonPlan("Two cities", self.references(), c2seg13(), **{"seed": 1, **values})  # type: ignore[arg-type]
        create_season(data, plan, database=database)
        return open_service(data)

    def copy(self, data: Path, cluster: str | None = None) -> Service:
        """Return a new season, copied from one that is made once for each kind of database; ``cluster`` as in ``postgres``."""
        original = self.folder / ("postgresql" if cluster else "sqlite")
        template = f"template_{self.folder.name}".replace("-", "_")
        if not original.exists():
            self.season(original, new_database(cluster, template) if cluster else None).close()
        shutil.copytree(original, data)
        if cluster:
            settings = ServerSettings(database=check_url(copied_database(cluster, template)))
            settings.write(data / "server.json")
        return open_service(data)


@dataclass
class Season:
    """A season with an open phase, teams and a worker that scores when told."""

    service: Service
    maker: SeasonMaker
    decoder: Decoder

    def open_phase(self, name: str = "Development", days: float = 10, start: datetime = NOON, **values: object) -> int:
        values = {"daily_quota": 50, "total_quota": 100, **values}
        end = start + timedelta(days=days)
        return self.service.add_phase(name, start - timedelta(hours=1), end, actor="test", **values).id  # type: ignore[arg-type]

    def team(self, name: str = "Team A") -> Team:
        return self.service.create_team(name, actor="test")[0]

    def submit(
        self, team: Team, quality: float = 0.9, seed: int = 0, at: datetime = NOON, method: str = "unet"
    ) -> Entry:
        return self.send(team, self.maker.archives(self.service.folder.incoming, quality, seed), at, method)

    def send(self, team: Team, archives: Mapping[str, Path], at: datetime = NOON, method: str = "unet") -> Entry:
        return self.service.submit(team.id, method, archives, actor=f"team {team.name}", received_at=at)

    def worker(self, **values: object) -> Worker:
        return Worker(self.service.folder, self.decoder, **values)  # type: ignore[arg-type]

    def score_all(self) -> None:
        """Score every entry that waits."""
        worker = self.worker()
        with self.service.database.read() as session:
            from c2seg.server.scoring import waiting

            entries = waiting(session)
        for entry_id in entries:
            worker.score(entry_id)
        worker.close()
