"""Trees as plain arrays, and their prediction with a fixed order of summation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from c2seg.errors import ModelFileError

__all__ = ["Forest"]

_FIELDS = {
    "left": ("left_child", np.int32),
    "right": ("right_child", np.int32),
    "feature": ("feature", np.int32),
    "threshold": ("threshold", np.float64),
}


@dataclass(frozen=True)
class Forest:
    """A forest over ``classes`` (output indices); its trees are scikit-learn's, rebuilt from arrays without pickle."""

    trees: tuple[Any, ...]
    classes: np.ndarray

    @classmethod
    def of(cls, estimator: Any) -> Forest:
        """Return the forest of a fitted ``RandomForestClassifier``."""
        return cls(tuple(tree.tree_ for tree in estimator.estimators_), np.asarray(estimator.classes_, np.int64))

    def predict(self, samples: np.ndarray, num_classes: int) -> np.ndarray:
        """Return mean class probabilities float32 [N, num_classes] of samples float32 [N, F].

        Trees are summed one after the other. The order of scikit-learn's parallel sum varies, and so do its last bits.
        """
        total = np.zeros((samples.shape[0], len(self.classes)))
        samples = np.ascontiguousarray(samples, np.float32)
        for tree in self.trees:
            votes = tree.predict(samples).reshape(samples.shape[0], -1)
            total += votes / votes.sum(axis=1, keepdims=True)
        result = np.zeros((samples.shape[0], num_classes), np.float32)
        result[:, self.classes] = total / len(self.trees)
        return result

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the trees as flat arrays; ``from_tensors`` reads them back."""
        nodes = [tree.__getstate__()["nodes"] for tree in self.trees]
        arrays = {
            name: np.concatenate([n[field] for n in nodes]).astype(dtype) for name, (field, dtype) in _FIELDS.items()
        }
        # float32 is enough for class fractions, but not for thresholds: training pixels would change sides.
        arrays["value"] = np.concatenate([tree.value[:, 0, :] for tree in self.trees]).astype(np.float32)
        arrays["node_count"] = np.array([len(n) for n in nodes], np.int64)
        arrays["depth"] = np.array([tree.max_depth for tree in self.trees], np.int64)
        arrays["classes"] = self.classes
        return arrays

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray], num_features: int, num_classes: int) -> Forest:
        """Rebuild a forest. Raises ModelFileError if the arrays do not describe trees over ``num_features``."""
        from sklearn.tree._tree import Tree

        _check(tensors, num_features, num_classes)
        classes = tensors["classes"]
        trees, start = [], 0
        for count, depth in zip(tensors["node_count"].tolist(), tensors["depth"].tolist(), strict=True):
            part = slice(start, start + count)
            tree = Tree(num_features, np.array([len(classes)], np.intp), 1)
            empty = tree.__getstate__()
            nodes = np.zeros(count, empty["nodes"].dtype if "nodes" in empty else _node_dtype())
            for name, (field, _) in _FIELDS.items():
                nodes[field] = tensors[name][part]
            values = np.ascontiguousarray(tensors["value"][part][:, None, :], np.float64)
            tree.__setstate__({**empty, "max_depth": depth, "node_count": count, "nodes": nodes, "values": values})
            trees.append(tree)
            start += count
        return cls(tuple(trees), classes)


def _node_dtype() -> np.dtype[Any]:
    from sklearn.tree._tree import NODE_DTYPE

    dtype: np.dtype[Any] = NODE_DTYPE
    return dtype


def _check(tensors: Mapping[str, np.ndarray], num_features: int, num_classes: int) -> None:
    """Raise ModelFileError for arrays that would make the compiled prediction spin, or read outside its memory."""
    needed = [*_FIELDS, "value", "node_count", "depth", "classes"]
    missing: Sequence[str] = [name for name in needed if name not in tensors]
    if missing:
        raise ModelFileError(f"the model file's forest lacks {', '.join(missing)}")
    if wrong := _wrong_kinds(tensors):
        raise ModelFileError(
            f"the model file's forest is damaged: {wrong[0]} has another type or number of axes than trees"
        )
    if not (_sizes_fit(tensors, num_classes) and _nodes_fit(tensors, num_features) and _leaves_fit(tensors)):
        raise ModelFileError("the model file's forest is damaged: its arrays do not describe trees")


def _wrong_kinds(tensors: Mapping[str, np.ndarray]) -> list[str]:
    """Return the arrays that are no lists of whole numbers, or of fractions, where trees have them."""
    fractions = {"threshold", "value"}
    whole = {*_FIELDS, "node_count", "depth", "classes"} - fractions
    wrong = [name for name in sorted(whole) if tensors[name].dtype.kind not in "iu" or tensors[name].ndim != 1]
    return wrong + [
        n for n in sorted(fractions) if tensors[n].dtype.kind != "f" or tensors[n].ndim != 1 + (n == "value")
    ]


def _sizes_fit(tensors: Mapping[str, np.ndarray], num_classes: int) -> bool:
    counts, classes, total = tensors["node_count"], tensors["classes"], len(tensors["left"])
    return (
        counts.size > 0
        and 0 < int(counts.min()) <= int(counts.max()) <= total
        and sum(counts.tolist()) == total
        and counts.shape == tensors["depth"].shape
        and 0 <= int(tensors["depth"].min()) <= int(tensors["depth"].max()) <= total
        and all(tensors[name].shape == (total,) for name in _FIELDS)
        and tensors["value"].shape == (total, classes.size)
        and classes.size > 0
        and 0 <= int(classes.min()) <= int(classes.max()) < num_classes
        and len(np.unique(classes)) == classes.size
    )


def _nodes_fit(tensors: Mapping[str, np.ndarray], num_features: int) -> bool:
    """Children follow their parent (scikit-learn grows depth first), so every path ends; leaves have -1 on both sides."""
    counts, left_child, right_child, feature = (tensors[name] for name in ("node_count", "left", "right", "feature"))
    local = np.concatenate([np.arange(n) for n in counts.tolist()])
    size = np.repeat(counts, counts)
    leaf = left_child == -1
    inner = ~leaf
    return bool(
        (right_child[leaf] == -1).all()
        and ((left_child > local) & (left_child < size) & (right_child > local) & (right_child < size))[inner].all()
        and ((feature >= 0) & (feature < num_features))[inner].all()
        and np.isfinite(tensors["threshold"]).all()
    )


def _leaves_fit(tensors: Mapping[str, np.ndarray]) -> bool:
    """Leaves hold fractions of classes, and no leaf is empty: predicting divides by their sum."""
    value = tensors["value"]
    return bool(np.isfinite(value).all() and (value >= 0).all() and (value.sum(axis=1) > 0).all())
