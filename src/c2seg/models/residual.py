"""ResNet-34-v1c encoders for modalities that the pretrained transformer was not trained on.

Axes: B batch, C channel, H row, W column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from c2seg.errors import needs_extra

__all__ = ["ResidualEncoders"]


class ResidualEncoders(nn.Module):
    """One residual network per modality (He et al., CVPR 2016, in the 1c form of He et al., CVPR 2019).

    It has a stem of three 3 x 3 convolutions, four stages at 1/4 to 1/32, and a 1 x 1 convolution per stage to ``width``
    channels. ``shared``: all modalities use the same stages and projections, but each has its own stem.
    """

    def __init__(
        self, bands: Mapping[str, int], blocks: Sequence[int], widths: Sequence[int], width: int, shared: bool = False
    ) -> None:
        super().__init__()
        with needs_extra("a residual encoder", "train"):
            from timm.models.resnet import BasicBlock, ResNet  # takes seconds

        self.stems = nn.ModuleDict()
        self.stages = nn.ModuleDict()
        self.projections = nn.ModuleDict()
        self.shared = shared
        for name, count in bands.items():
            # The last normalization of each block starts at 1. From 0, a block would get no gradient in the first step.
            net: Any = ResNet(
                BasicBlock,  # type: ignore[arg-type]
                tuple(blocks),
                num_classes=0,
                in_chans=count,
                stem_width=widths[0] // 2,
                stem_type="deep",
                channels=tuple(widths),
                zero_init_last=False,
            )
            self.stems[name] = nn.Sequential(net.conv1, net.bn1, net.act1, net.maxpool)
            if self._key(name) not in self.stages:
                self.stages[self._key(name)] = nn.ModuleList([net.layer1, net.layer2, net.layer3, net.layer4])
                self.projections[self._key(name)] = nn.ModuleList(nn.Conv2d(c, width, 1) for c in widths)

    def forward(self, name: str, maps: Tensor) -> list[Tensor]:
        """Return [B, width, H/4, W/4] to [B, width, H/32, W/32] of one modality [B, C, H, W]."""
        levels = []
        key = self._key(name)
        stages, projections = self.stages[key], self.projections[key]
        assert isinstance(stages, nn.ModuleList)
        assert isinstance(projections, nn.ModuleList)
        maps = self.stems[name](maps)
        for stage, projection in zip(stages, projections, strict=True):
            maps = stage(maps)
            levels.append(projection(maps))
        return levels

    def _key(self, name: str) -> str:
        return "shared" if self.shared else name
