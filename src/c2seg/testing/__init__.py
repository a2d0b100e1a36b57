"""The contracts of networks, methods, losses, layouts and product readers, as checks for our tests and those of plug-ins.

A check returns None or raises AssertionError that says what was expected. Importing this package does not import torch; the
checks of networks, methods and losses do.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from c2seg.testing.layouts import check_layout
    from c2seg.testing.losses import check_loss
    from c2seg.testing.methods import METHOD_CHECKS, MethodCase, check_method
    from c2seg.testing.models import MODEL_CHECKS, ModelCase, check_model
    from c2seg.testing.products import check_product_reader

__all__ = [
    "METHOD_CHECKS",
    "MODEL_CHECKS",
    "MethodCase",
    "ModelCase",
    "check_layout",
    "check_loss",
    "check_method",
    "check_model",
    "check_product_reader",
]

_MODULES = {
    "METHOD_CHECKS": "methods",
    "MODEL_CHECKS": "models",
    "MethodCase": "methods",
    "ModelCase": "models",
    "check_layout": "layouts",
    "check_loss": "losses",
    "check_method": "methods",
    "check_model": "models",
    "check_product_reader": "products",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
