"""Maps fused with maps: means of probabilities, and rules that take single classes from experts."""

from __future__ import annotations

from c2seg.fusion.experts import expert_rules
from c2seg.fusion.mapping import FuseOptions, fuse
from c2seg.fusion.rules import SECOND_PLACE, Rule, Rules
from c2seg.fusion.sources import ScoreMap, open_map

__all__ = ["SECOND_PLACE", "FuseOptions", "Rule", "Rules", "ScoreMap", "expert_rules", "fuse", "open_map"]
