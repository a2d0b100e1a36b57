"""Check what this package adds to c2seg, on a city in its layout: ``python contract.py CITY``."""

import sys
from pathlib import Path

from c2seg_toy import layout, loss, method, network

from c2seg.recipes.models import UNetModel
from c2seg.testing import check_layout, check_loss, check_method, check_model

check_layout(layout, Path(sys.argv[1]), label_files=["labels.npy"])
check_model(network.settings(width=8))
check_model(UNetModel(widths=(6, 8), encoder="toy:small", scale=2))
check_method(method.settings())
check_loss(loss.settings(epsilon=0.5))
