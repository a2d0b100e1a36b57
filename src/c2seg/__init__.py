"""c2seg: land-cover maps of a city without labels, learnt on another city.

The subpackages are listed in CONTRIBUTING.md; importing this package loads none of them.
"""

from c2seg._version import __version__

__all__ = ["__version__"]
