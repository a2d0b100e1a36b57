"""Which parts of the default pay: the recipe against leaving each one out, against other adaptations, and against the control.

    python benchmarks/parts.py --hours                  # what it costs, measured in a few steps
    python benchmarks/parts.py                          # run what is missing, then the table
    python benchmarks/parts.py --adaptations --control  # other ways to adapt, and the control for as many processor seconds
    python benchmarks/parts.py --table

Preset ``demo``, two seeds, four development pairs of ``real_pairs.py``, in whose results the cells are. A part *pays*
where the 95 % interval of the recipe minus the variant without it (pairs, seeds, blocks drawn anew) is above 0, *harms* where
it is below, and is to be confirmed at ``tiny`` where the difference is within .01. Variants that share trainings with the
recipe (no-forest, argmax, ...) cost their maps alone. Real pairs need C2SEG_REAL_DATA.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import replace
from statistics import mean

from real_pairs import Row, Study, options, run_as_asked, run_study, study_of
from real_pairs_cities import Folders, chosen
from real_pairs_results import Cell, class_tables, compare, place_table

from c2seg.benchmark.tables import aligned
from c2seg.recipes import variants

RECIPE = "crosscity"
CONTROL = "unet@control"
PAIRS = "chile-denmark,augsburg-ew,sim-2101,sim-2102"
ADAPTATIONS = ("masked-consistency", "class-mix", "constrained-entropy")
OTHERS = ("argmax", "per-city", "random-start", "students-alone")
WITHIN = 0.01


def rows(*, adaptations: bool) -> tuple[Row, ...]:
    """Return the recipe, each variant that leaves a part out or has another one, and other adaptations if asked for."""
    names = [name for name in variants(RECIPE) if name.startswith("no-") or name in OTHERS]
    names += list(ADAPTATIONS) if adaptations else []
    return Row(RECIPE), *(Row(f"{RECIPE}@{name}") for name in names)


def control_of(study: Study) -> Study | None:
    """Return the control's study, trained for as many processor seconds as the recipe took on average; None: not known yet."""
    spent = [cell.processor_seconds for cell in study.cells() if cell.row == RECIPE]
    if len(spent) < len(study.pairs) * study.seeds:
        return None
    return replace(study, rows=(Row(CONTROL),), equal_seconds=float(round(mean(spent))))


def verdicts(cells: Sequence[Cell]) -> str:
    """Return, for each other row, the recipe minus it, and what that says."""
    counts: dict[str, dict[tuple[str, int], list]] = {}
    for cell in cells:
        counts.setdefault(cell.label, {})[cell.pair, cell.seed] = cell.confusions()
    recipe = counts.pop(RECIPE, None)
    if recipe is None:
        return "the recipe itself has no cell yet"
    spent = {label: mean(c.processor_seconds for c in cells if c.label == label) for label in [RECIPE, *counts]}
    lines = [[f"mIoU of {RECIPE} minus that of", "difference", "95 %", "pairs x seeds", "processor s", "it says"]]
    for label, other in counts.items():
        compared = compare(recipe, other, "miou")
        if compared is None or compared[0].difference.value is None:
            continue
        interval, shared = compared[0].difference, len(recipe.keys() & other.keys())
        low, high = interval.low or 0.0, interval.high or 0.0
        text = f"{low:+.3f} .. {high:+.3f}"
        said = verdict(interval.value or 0.0, low, high)
        lines.append([label, f"{interval.value:+.3f}", text, str(shared), f"{spent[label]:.0f}", said])
    return f"{aligned(lines)}\n{RECIPE}: {spent[RECIPE]:.0f} processor s of training"


def verdict(value: float, low: float, high: float) -> str:
    """Return what a difference to the recipe says of the part that the variant is without."""
    if low > 0:
        return "pays"
    if high < 0:
        return "harms"
    return "to be confirmed" if abs(value) <= WITHIN else "open"


def arguments() -> argparse.Namespace:
    parser = options()
    parser.description = __doc__
    parser.set_defaults(pairs=PAIRS, seeds=2)
    parser.add_argument("--adaptations", action="store_true", help="other adaptations in the students' place, too")
    parser.add_argument("--control", action="store_true", help="the control for as many processor seconds, too")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    logging.getLogger("c2seg").setLevel(logging.ERROR)
    pairs = [make(Folders(given.work), name) for name, make in chosen(given.pairs).items()]
    study = study_of(given, rows(adaptations=given.adaptations), pairs)
    if not run_as_asked(study, given):
        return
    cells = study.cells()
    control = control_of(study) if given.control else None
    if control is not None:
        if not given.table:
            run_study(control)
        cells = [*cells, *control.cells()]
    if not cells:
        print("no cell yet")
        return
    print("\n\n".join([class_tables(cells), place_table(cells), verdicts(cells)]))


if __name__ == "__main__":
    main()
