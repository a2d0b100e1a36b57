"""``precision: auto`` follows the processor."""

import pytest
import torch

from c2seg.models import choose_precision


@pytest.mark.parametrize(
    ("found", "expected"), [({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({}, "32")]
)
def test_auto_follows_the_processor(monkeypatch, found, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert choose_precision("auto", torch.device("cpu")) == expected


def test_older_torch_does_not_tell(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert choose_precision("auto", torch.device("cpu")) == "32"


@pytest.mark.parametrize("name", ["32", "bf16", "16"])
def test_a_named_precision_stays(name):
    assert choose_precision(name, torch.device("cpu")) == name
