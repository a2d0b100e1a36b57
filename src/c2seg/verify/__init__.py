"""Whether a map can be trusted: probability samples, their labels, and what they tell of accuracy and area.

Modules: ``classmap`` opens a map; ``samples`` has the types, ``reading`` reads labels back; ``design``, ``strata``,
``allocation`` draw points; ``writing`` and ``page`` hand them to interpreters; ``suggest`` picks what to label for training.
"""

from __future__ import annotations

from c2seg.verify.classmap import ClassMap, open_map, read_at
from c2seg.verify.reading import read_sample
from c2seg.verify.samples import CANNOT_TELL, UNLABELED, Interpretation, LabeledSample, SampleRecord, Stratum

__all__ = [
    "CANNOT_TELL",
    "UNLABELED",
    "ClassMap",
    "Interpretation",
    "LabeledSample",
    "SampleRecord",
    "Stratum",
    "open_map",
    "read_at",
    "read_sample",
]
