"""Time and memory of confusion counts and scores, ours beside scikit-learn and torchmetrics, in one run.

python benchmarks/scoring.py [--megapixels 100] [--repeats 3] [--json FILE]

Two kinds of arrays (uint8, ground truth 0..13, prediction 1..13): random pixels, and a map-like one of long runs. Every method
gets the same arrays in a process of its own; the best time of its repeats counts (scikit-learn has one). Our time is
counts and scores; scikit-learn's is one confusion_matrix call (its four scores cost more, see the last line);
torchmetrics' is its class interface over 4 Mpx updates, with and without the check of values. Extra memory: growth of
the peak resident set in the first call (Linux).
"""

import argparse
import json
import subprocess
import sys
import time

import numpy as np

IDS = tuple(range(1, 14))
UPDATE = 4_000_000


def arrays(kind, pixels):
    """Return ground truth and prediction."""
    rng = np.random.default_rng(0)
    if kind == "random":
        return rng.integers(0, 14, pixels, dtype=np.uint8), rng.integers(1, 14, pixels, dtype=np.uint8)
    reference = rng.integers(0, 14, -(-pixels // 200), dtype=np.uint8).repeat(200)[:pixels]
    guess = rng.integers(1, 14, -(-pixels // 50), dtype=np.uint8).repeat(50)[:pixels]
    return reference, np.where(rng.random(pixels, np.float32) < 0.6, np.maximum(reference, 1), guess).astype(np.uint8)


def ours(reference, prediction):
    """Counts and every score."""
    from c2seg.metrics import confusion_counts, scores

    counts = confusion_counts(reference, prediction, IDS)
    return counts.counts[:, :13], scores(counts)


def scikit_learn(reference, prediction):
    """The counts alone."""
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(reference, prediction, labels=IDS), None


def scikit_learn_scores(reference, prediction):
    """The four scores, as a user would ask for them."""
    from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, jaccard_score

    known = reference > 0
    reference, prediction = reference[known], prediction[known]
    f1 = f1_score(reference, prediction, labels=IDS, average="macro")
    iou = jaccard_score(reference, prediction, labels=IDS, average="macro")
    return None, (accuracy_score(reference, prediction), cohen_kappa_score(reference, prediction), f1, iou)


def torchmetrics_class(reference, prediction, *, checked=True):
    """The class interface as it is by default."""
    import torch
    from torchmetrics.classification import MulticlassConfusionMatrix

    metric = MulticlassConfusionMatrix(num_classes=14, ignore_index=0, validate_args=checked)
    for start in range(0, reference.size, UPDATE):
        part = slice(start, start + UPDATE)
        metric.update(torch.from_numpy(prediction[part]), torch.from_numpy(reference[part]))
    return metric.compute().numpy()[1:, 1:], None


def torchmetrics_unchecked(reference, prediction):
    """The class interface without its check of values."""
    return torchmetrics_class(reference, prediction, checked=False)


METHODS = {f.__name__: f for f in (ours, scikit_learn, torchmetrics_class, torchmetrics_unchecked, scikit_learn_scores)}


def memory_mb(field):
    """Return a figure of this process from Linux's /proc."""
    with open("/proc/self/status") as stream:
        return next(int(line.split()[1]) / 1024 for line in stream if line.startswith(field))


def reset_peak_mb():
    """Forget the peak that making the arrays left behind, and return the present resident set."""
    with open("/proc/self/clear_refs", "w") as stream:
        stream.write("5")
    return memory_mb("VmRSS")


def measure(name, kind, pixels, repeats):
    """In a process of its own: best time, extra memory of the first call, and what it counted."""
    reference, prediction = arrays(kind, pixels)
    METHODS[name](reference[:1000], prediction[:1000])  # imports and first-call costs are not the subject
    before = reset_peak_mb()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        counts, result = METHODS[name](reference, prediction)
        times.append(time.perf_counter() - started)
        if len(times) == 1:
            extra = memory_mb("VmHWM") - before
    print(json.dumps({
        "seconds": min(times), "extra_mb": extra,
        "counts": None if counts is None else np.asarray(counts).tolist(),
        "scores": [result.oa, result.kappa, result.mf1, result.miou] if name == "ours" else result,
    }))  # fmt: skip


def main():
    """Run every method in a process of its own and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megapixels", type=float, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "KIND"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    pixels = int(options.megapixels * 1e6)
    if options.one:
        measure(*options.one, pixels, options.repeats)
        return
    results = {}
    for kind in ("random", "map-like"):
        for name in METHODS:
            command = [sys.executable, __file__, "--one", name, kind, f"--megapixels={options.megapixels}"]
            repeats = 1 if name.startswith("scikit") else options.repeats  # they take a minute
            done = subprocess.run([*command, f"--repeats={repeats}"], capture_output=True, text=True, check=True)
            results[kind, name] = result = json.loads(done.stdout)
            base = results[kind, "ours"]
            if result["counts"] is not None:
                assert result["counts"] == base["counts"], f"{name} counts differently"
            if result["scores"] is not None:
                assert np.allclose(result["scores"], base["scores"], rtol=0, atol=1e-12), f"{name} scores differently"
            ratio = result["seconds"] / base["seconds"]
            print(
                f"{kind:<9} {name:<24} {result['seconds']:8.3f} s  x {ratio:6.1f}  extra {result['extra_mb']:8.1f} MB"
            )
    if options.json:
        with open(options.json, "w") as stream:
            plain = {f"{k} {n}": {"seconds": r["seconds"], "extra_mb": r["extra_mb"]} for (k, n), r in results.items()}
            json.dump({"megapixels": options.megapixels, **plain}, stream, indent=2)


if __name__ == "__main__":
    main()
