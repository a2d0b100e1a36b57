"""What every training method must do, as ``c2seg.testing`` tells it. A new method joins with a line in CASES."""

from __future__ import annotations

import pytest

from c2seg.methods import METHODS
from c2seg.recipes.training import (
    AdversarialMethod,
    BlockMask,
    EntropyMethod,
    MaskedMethod,
    PseudoLabelMethod,
    SlowTeacherMethod,
    SupervisedMethod,
)
from c2seg.testing import METHOD_CHECKS, MethodCase

CASES = {
    "adversarial": MethodCase(AdversarialMethod()),
    "adversarial-features": MethodCase(AdversarialMethod(discriminators=({"sees": "features"},))),
    "entropy": MethodCase(EntropyMethod()),
    "masked": MethodCase(MaskedMethod(), restores=True),
    "pseudo_labels": MethodCase(PseudoLabelMethod(), pseudo_labels=True),
    "slow_teacher": MethodCase(SlowTeacherMethod(confidence=0.3, mask=BlockMask())),
    "slow_teacher-both-ways": MethodCase(SlowTeacherMethod(confidence=0.3, class_mix="both")),
    "supervised": MethodCase(SupervisedMethod()),
}


def test_every_method_is_covered():
    assert {case.settings.name for case in CASES.values()} == set(METHODS)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
def test_contract(check, name):
    check(CASES[name])
