"""Memory on a GPU, as the record of a run holds it; with a torch that is none, since this machine may have no GPU."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from c2seg.benchmark.statement import CostLine, cost_text
from c2seg.pipeline.costs import device_memory_mib


@pytest.mark.parametrize(("used", "expected"), [(True, 3.0), (False, None)])
def test_what_was_reserved_on_a_device(monkeypatch, used, expected):
    cuda = SimpleNamespace(
        is_available=lambda: True, is_initialized=lambda: used, max_memory_reserved=lambda: 3 * 2**20
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert device_memory_mib() == expected


def test_without_torch_no_device_was_used(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert device_memory_mib() is None
    assert "torch" not in sys.modules


def test_costs_state_it():
    line = CostLine("AB", "unet", 1, 10, memory_mib=100.0, device_memory_mib=2000.0, step_seconds=1.0, hours=1.0)
    assert "at most 100 MiB of main memory a run, and 2000 MiB of a GPU's" in cost_text([line])
