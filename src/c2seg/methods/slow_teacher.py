"""Train on the sources, and on the target by labels of a slow teacher: a running mean of the network itself."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from c2seg.errors import InputError
from c2seg.losses import IGNORE_INDEX, cross_entropy
from c2seg.methods.base import Batch, MethodContext, batch_loss
from c2seg.methods.masked import random_block_mask
from c2seg.methods.pasting import half_of_the_classes, pasted
from c2seg.methods.supervised import Supervised
from c2seg.recipes.training import SlowTeacherMethod

__all__ = ["SlowTeacher"]


@dataclass(frozen=True)
class _Predicted:
    """The teacher's labels int64 [B, H, W] of the target (255: not valid), where it is sure, and how often it is (0..1)."""

    labels: Tensor
    sure: Tensor
    quality: Tensor


class SlowTeacher(Supervised):
    """One step on the supervised loss of the source, and on what the settings ask for of the target.

    The teacher's weights are a running mean of the network's (mean teacher, Tarvainen and Valpola, NeurIPS 2017). Its labels
    count by the share of the target's pixels on which it is sure (DACS, Tranheden et al., WACV 2021). ``mask``: the network
    sees the target without some blocks and is to give the labels that the teacher gives to all of it (MIC, Hoyer et al., CVPR
    2023). ``class_mix``: half of the classes of a source patch are pasted into a target patch with their labels, and with
    ``both`` also of the target into the source, where the teacher is sure.
    """

    def __init__(self, context: MethodContext) -> None:
        super().__init__(context)
        assert isinstance(context.settings.method, SlowTeacherMethod)
        self.method = context.settings.method
        self.teacher = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.steps = 0

    def step(self, source: Batch, target: Batch | None) -> dict[str, Tensor]:
        """Take one step; returns ``loss`` and its terms."""
        if target is None or source.targets is None:
            raise InputError("a slow teacher needs the target's images: give `target`")
        if self.context.accumulation.is_first:
            self._follow()
        by_teacher = self._predicted(target)
        with self.context.autocast():
            outputs = self.model(source.patch)
        terms = batch_loss(outputs, source, self.context)
        if self.method.mask is not None:
            terms["masked"] = self._masked(target, by_teacher)
        if self.method.class_mix != "none":
            terms["mixed"] = self._mixed(source, target, by_teacher, into_source=False)
        if self.method.class_mix == "both":
            terms["mixed_back"] = self._mixed(source, target, by_teacher, into_source=True)
        loss = torch.stack(list(terms.values())).sum()
        self.optimizer_step.apply(loss)
        return {"loss": loss.detach(), **{name: value.detach() for name, value in terms.items()}}

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the teacher toward the network: by all of the way at first, later by 1 - ``ema``."""
        decay = min(1 - 1 / (self.steps + 1), self.method.ema)
        for slow, fast in zip(self.teacher.state_dict().values(), self.model.state_dict().values(), strict=True):
            if slow.is_floating_point():
                slow.lerp_(fast.to(slow.dtype), 1 - decay)
            else:
                slow.copy_(fast)
        self.steps += 1

    @torch.no_grad()
    def _predicted(self, target: Batch) -> _Predicted:
        with self.context.autocast():
            logits = self.teacher(target.patch)["logits"]
        classes = self.context.num_classes - self.context.background  # the background is no class
        confidence, labels = logits[:, :classes].float().softmax(dim=1).max(dim=1)
        sure = (confidence >= self.method.confidence) & target.valid
        count = self.context.total(target.valid.sum().float()).clamp_min(1)
        quality = self.context.total(sure.sum().float()) / count
        return _Predicted(labels.masked_fill(~target.valid, IGNORE_INDEX), sure, quality)

    def _masked(self, target: Batch, by_teacher: _Predicted) -> Tensor:
        """Return the loss of the network on the target without some blocks."""
        assert self.method.mask is not None
        count, height, width = target.valid.shape
        key = int(torch.randint(2**31, ()))  # from the generator that the loop seeds: the same in every process
        first = torch.distributed.get_rank() if self.context.processes > 1 else 0
        settings, places = (
            self.method.mask,
            range(first, first + count * self.context.processes, self.context.processes),
        )
        drawn = [
            random_block_mask(height, width, settings.ratio, settings.block_px, np.random.default_rng((key, place)))
            for place in places
        ]
        hidden = torch.from_numpy(np.stack(drawn)).to(target.valid.device)
        patch = {name: values.masked_fill(hidden[:, None], 0) for name, values in target.patch.items()}
        return self._loss(
            patch, torch.full_like(by_teacher.labels, IGNORE_INDEX), by_teacher.labels, by_teacher.quality
        )

    def _mixed(self, source: Batch, target: Batch, by_teacher: _Predicted, *, into_source: bool) -> Tensor:
        """Return the loss of the network on patches in which classes of one city are pasted into the other."""
        assert source.targets is not None
        count = min(source.of_source, len(target.valid))
        labels, predicted = source.targets[:count], by_teacher.labels[:count]
        of_source = {name: values[:count] for name, values in source.patch.items()}
        of_target = {name: values[:count] for name, values in target.patch.items()}
        if into_source:
            where = (
                half_of_the_classes(predicted.masked_fill(~by_teacher.sure[:count], IGNORE_INDEX))
                & by_teacher.sure[:count]
            )
            patch, known = pasted(of_target, of_source, where), ~where
        else:
            where = half_of_the_classes(labels)
            patch, known = pasted(of_source, of_target, where), where
        return self._loss(
            patch,
            labels.masked_fill(~known, IGNORE_INDEX),
            predicted.masked_fill(known, IGNORE_INDEX),
            by_teacher.quality,
        )

    def _loss(self, patch: Mapping[str, Tensor], known: Tensor, predicted: Tensor, quality: Tensor) -> Tensor:
        """Return the cross-entropy of known labels and, weighted by quality, of predicted ones; 255 where there are none."""
        with self.context.autocast():
            logits = self.model(patch)["logits"]
        smoothing, weights = self.context.settings.loss.label_smoothing, self.context.class_weights
        exact, exact_count = cross_entropy(logits, known, weights, smoothing)
        guessed, guessed_count = cross_entropy(logits, predicted, weights, smoothing)
        count = self.context.total(exact_count) + self.context.total(guessed_count)
        return self.method.weight * (exact + quality * guessed) / count.clamp_min(1e-6)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of network, teacher and optimizer."""
        return {**super().state_dict(), "teacher": self.teacher.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state."""
        super().load_state_dict(state)
        self.teacher.load_state_dict(state["teacher"])
        self.steps = int(state["steps"])
