"""A U-Net with group normalization, which does not depend on the batch: to compare processes, and weights step by step.

Run as a script it is the command line with that U-Net.
"""

from __future__ import annotations

from math import gcd

from torch import nn

from c2seg.models import unet


def layer(inputs: int, outputs: int) -> nn.Sequential:
    """Return what stands in the place of the U-Net's own layer."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.GroupNorm(gcd(8, outputs), outputs),
        nn.ReLU(inplace=True),
    )


if __name__ == "__main__":
    from c2seg.cli import main

    unet._layer = layer
    main()
