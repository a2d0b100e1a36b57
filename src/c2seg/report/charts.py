"""Small charts as inline SVG: training curves and reliability. They take the page's colors from its style sheet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from c2seg.report.layers import Reliability
from c2seg.report.runs import Curves, Run

__all__ = ["Chart", "CurveGroup", "curve_groups", "reliability_chart"]

_WIDTH, _HEIGHT = 360, 212
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 12, 10, 40
_MOST_POINTS = 240
_UNITS = {"learning_rate": "learning rate", "patches_per_second": "patches per second"}

Points = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Chart:
    """A chart: its title, the SVG, and a sentence with the same content for screen readers."""

    title: str
    svg: Markup
    text: str


@dataclass(frozen=True)
class CurveGroup:
    """Charts that belong together, and what their lines are: number of the color, name."""

    title: str
    keys: tuple[tuple[int, str], ...]
    charts: tuple[Chart, ...]


def curve_groups(runs: Sequence[Run]) -> list[CurveGroup]:
    """Return the charts of all runs of one training together, then those of each run with several, a line a stage."""
    curves = {index: run.curves for index, run in enumerate(runs) if run.curves}
    stages = {index: part for index, one in curves.items() if (part := one.by_stage())}
    names = {index: runs[index].name for index in curves if index not in stages}
    groups = [_group("", names, {index: curves[index] for index in names})]
    groups += [
        _group(runs[index].name, dict(enumerate(part)), dict(enumerate(part.values())))
        for index, part in stages.items()
    ]
    return [group for group in groups if group.charts]


def _group(title: str, names: Mapping[int, str], curves: Mapping[int, Curves]) -> CurveGroup:
    return CurveGroup(title, tuple(names.items()), tuple(_curve_charts(names, curves)))


def _curve_charts(names: Mapping[int, str], entries: Mapping[int, Curves]) -> list[Chart]:
    """Return one chart per column of the curves, losses first; the lines of all together."""
    columns: dict[str, list[tuple[int, Curves]]] = {}
    for index, one in entries.items():
        for name in one.columns:
            if name != "seconds" and not _repeats_loss(one, name):  # a loss of one term is the loss itself
                columns.setdefault(name, []).append((index, one))
    order = sorted(columns, key=lambda name: (name in _UNITS, name != "loss"))
    charts = []
    for name in order:
        lines = {index: line for index, curves in columns[name] if len((line := _line(curves, name))[0])}
        if lines:
            title = _UNITS.get(name, name.replace("_", " "))
            ends = ", ".join(f"{names[index]} ends at {y[-1]:.4g}" for index, (_, y) in lines.items())
            text = f"{title} by step: {ends}"
            charts.append(Chart(title, _lines_svg(lines, text), text))
    return charts


def reliability_chart(entries: Mapping[int, Reliability], names: Sequence[str]) -> Chart | None:
    """Return accuracy against confidence (the diagonal is perfect); None where no labeled pixel has a confidence."""
    lines: dict[int, Points] = {}
    errors = []
    for index, entry in entries.items():
        total = sum(entry.labeled)
        if not total:
            continue
        used = [k for k, n in enumerate(entry.labeled) if n >= 10]
        x = np.array([entry.mean_confidence[k] for k in used])
        y = np.array([entry.right[k] / entry.labeled[k] for k in used])
        lines[index] = (x, y)
        error = sum(
            n * abs(c - r / n) for n, c, r in zip(entry.labeled, entry.mean_confidence, entry.right, strict=True) if n
        )
        errors.append(f"{names[index]} {error / total:.3f}")
    if not lines:
        return None
    plot = _Plot((0.0, 1.0), (0.0, 1.0))
    diagonal = f'<path class="ideal" d="{plot.path(np.array([0.0, 1.0]), np.array([0.0, 1.0]))}"/>'
    body = plot.frame("confidence", "accuracy") + diagonal
    body += "".join(_line_svg(plot, index, line, dots=True) for index, line in lines.items())
    text = "Expected calibration error (ten bins of the shown pixels): " + ", ".join(errors) + "."
    return Chart("Confidence against accuracy", _svg(body, text), text)


def _repeats_loss(curves: Curves, name: str) -> bool:
    return name != "loss" and curves.columns[name] == curves.columns.get("loss")


def _line(curves: Curves, name: str) -> Points:
    """Return steps and values, averaged over equal stretches where there are more points than can be seen."""
    x, y = np.array(curves.steps), np.array(curves.columns[name])
    known = np.isfinite(y)
    x, y = x[known], y[known]
    if len(x) > _MOST_POINTS:
        parts = np.array_split(np.arange(len(x)), _MOST_POINTS)
        x = np.array([x[p].mean() for p in parts])
        y = np.array([y[p].mean() for p in parts])
    return x, y


def _lines_svg(lines: Mapping[int, Points], text: str) -> Markup:
    xs = np.concatenate([x for x, _ in lines.values()])
    ys = np.concatenate([y for _, y in lines.values()])
    # Large values of the first steps must not flatten the rest of a long run.
    low, high = (float(v) for v in np.percentile(ys, (0, 99) if len(ys) > 100 else (0, 100)))
    plot = _Plot((float(xs.min()), float(xs.max())), (min(low, 0.0) if low < high / 3 else low, high))
    body = plot.frame("step", "")
    body += "".join(_line_svg(plot, index, line) for index, line in lines.items())
    return _svg(body, text)


def _line_svg(plot: _Plot, index: int, line: Points, *, dots: bool = False) -> str:
    mark = f'<path class="line run{index % 8}" d="{plot.path(*line)}"/>'
    if dots or len(line[0]) == 1:
        mark += "".join(
            f'<circle class="dot run{index % 8}" cx="{plot.x(x):.1f}" cy="{plot.y(y):.1f}" r="3"/>'
            for x, y in zip(*line, strict=True)
        )
    return mark


def _svg(body: str, label: str) -> Markup:
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(_WIDTH, _HEIGHT, label)
    return head + Markup(body) + Markup("</svg>")  # body: numbers and fixed words only


class _Plot:
    """Maps values to the SVG's coordinates and draws frame and ticks."""

    def __init__(self, x_range: tuple[float, float], y_range: tuple[float, float]) -> None:
        self.x_range, self.y_range = _widened(x_range), _widened(y_range)

    def x(self, value: float) -> float:
        low, high = self.x_range
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_range
        share = min(max((value - low) / (high - low), 0.0), 1.0)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def path(self, xs: np.ndarray, ys: np.ndarray) -> str:
        return "M" + "L".join(f"{self.x(float(x)):.1f} {self.y(float(y)):.1f}" for x, y in zip(xs, ys, strict=True))

    def frame(self, x_name: str, y_name: str) -> str:
        parts = []
        for tick in _ticks(self.y_range):
            y = self.y(tick)
            parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
            parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_short(tick)}</text>')
        parts += [
            f'<text x="{self.x(tick):.1f}" y="{_HEIGHT - 23}" text-anchor="middle">{_short(tick)}</text>'
            for tick in _ticks(self.x_range)
        ]
        parts.append(f'<path class="axis" d="M{_LEFT} {_TOP}V{_HEIGHT - _BOTTOM}H{_WIDTH - _RIGHT}"/>')
        parts.append(
            f'<text class="name" x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 6}" text-anchor="middle">{x_name}</text>'
        )
        if y_name:
            parts.append(f'<text class="name" x="{_LEFT + 6}" y="{_TOP + 10}">{y_name}</text>')
        return "".join(parts)


def _widened(span: tuple[float, float]) -> tuple[float, float]:
    low, high = span
    return (low, high) if high > low else (low - 0.5 * max(abs(low), 1e-9), high + 0.5 * max(abs(high), 1e-9))


def _ticks(span: tuple[float, float]) -> list[float]:
    low, high = span
    raw = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _short(value: float) -> str:
    if value and (abs(value) < 1e-3 or abs(value) >= 1e5):
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:.4g}"
