"""A small writer of OpenStreetMap XML, so that each test states its own map in meters."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import quoteattr

from rasterio.warp import transform

UTM = "EPSG:32632"
ORIGIN = (540_000.0, 5_220_000.0)  # 9.53 E, 47.13 N


class OsmFile:
    """Collects ways and relations with coordinates in meters east and north of ORIGIN (UTM zone 32)."""

    def __init__(self) -> None:
        self.nodes: dict[tuple[float, float], int] = {}
        self.dropped: set[int] = set()
        self.next_id = 1000
        self.ways: list[tuple[int, list[int], dict[str, str]]] = []
        self.relations: list[tuple[int, list[tuple[int, str]], dict[str, str]]] = []
        self.bounds: tuple[float, float, float, float] | None = None  # meters; None: no header box

    def way(self, points, *, closed=False, **tags) -> int:
        refs = [self.nodes.setdefault(tuple(map(float, p)), len(self.nodes) + 1) for p in points]
        self.next_id += 1
        self.ways.append((self.next_id, refs + refs[:1] * closed, _plain(tags)))
        return self.ways[-1][0]

    def area(self, points, **tags) -> int:
        return self.way(points, closed=True, **tags)

    def box(self, west, south, east, north, **tags) -> int:
        return self.area([(west, south), (east, south), (east, north), (west, north)], **tags)

    def relation(self, members, **tags) -> int:
        self.relations.append((9000 + len(self.relations), members, {"type": "multipolygon"} | _plain(tags)))
        return self.relations[-1][0]

    def drop_node(self, point) -> None:
        self.dropped.add(self.nodes[tuple(map(float, point))])

    def write(self, path: Path) -> Path:
        lines = ['<osm version="0.6" generator="test">']
        if self.bounds:
            west, south, east, north = degrees_box(*self.bounds)
            lines.append(f'<bounds minlon="{west:.7f}" minlat="{south:.7f}" maxlon="{east:.7f}" maxlat="{north:.7f}"/>')
        for point, number in self.nodes.items():
            if number not in self.dropped:
                lon, lat = degrees(*point)
                lines.append(f'<node id="{number}" version="1" lat="{lat:.7f}" lon="{lon:.7f}"/>')
        for number, refs, tags in self.ways:
            lines.append(
                f'<way id="{number}" version="1">' + "".join(f'<nd ref="{r}"/>' for r in refs) + _xml(tags) + "</way>"
            )
        for number, members, tags in self.relations:
            inside = "".join(f'<member type="way" ref="{ref}" role="{role}"/>' for ref, role in members)
            lines.append(f'<relation id="{number}" version="1">{inside}{_xml(tags)}</relation>')
        path.write_text("\n".join([*lines, "</osm>"]), encoding="utf-8")
        return path


def degrees(x: float, y: float) -> tuple[float, float]:
    lon, lat = transform(UTM, "EPSG:4326", [ORIGIN[0] + x], [ORIGIN[1] + y])
    return lon[0], lat[0]


def degrees_box(west: float, south: float, east: float, north: float) -> tuple[float, float, float, float]:
    return *degrees(west, south), *degrees(east, north)


def utm_bounds(west: float, south: float, east: float, north: float) -> tuple[float, float, float, float]:
    return ORIGIN[0] + west, ORIGIN[1] + south, ORIGIN[0] + east, ORIGIN[1] + north


def _plain(tags: dict[str, str]) -> dict[str, str]:
    return {key: str(value) for key, value in tags.items()}


def _xml(tags: dict[str, str]) -> str:
    return "".join(f"<tag k={quoteattr(k)} v={quoteattr(v)}/>" for k, v in tags.items())
