"""``python -m c2seg``: the command line, for torchrun."""

from c2seg.cli import main

main()
