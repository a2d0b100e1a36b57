"""Feature maps at a half and a quarter of the resolution."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Pyramid(nn.Module):
    """Two strided convolutions, each with a map."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(count, width, 3, stride=2, padding=1)
        self.second = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps, finest first."""
        fine = F.gelu(self.first(x))
        return [fine, F.gelu(self.second(fine))]
