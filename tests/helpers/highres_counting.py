"""Parameters of high-resolution networks and what is built on them, counted by hand from the papers' structure."""

from __future__ import annotations

from itertools import pairwise

from helpers.counting import batch_norm, conv


def widths(finest: int) -> list[int]:
    return [finest * 2**scale for scale in range(4)]


def with_norm(inputs: int, outputs: int, kernel: int) -> int:
    return conv(inputs, outputs, kernel) + batch_norm(outputs)


def bottlenecks(count: int, inputs: int = 64, inner: int = 64) -> int:
    """1 x 1, 3 x 3, 1 x 1 to four times the inner channels; the first has a 1 x 1 shortcut."""
    total = with_norm(inputs, 4 * inner, 1)
    for _ in range(count):
        total += with_norm(inputs, inner, 1) + with_norm(inner, inner, 3) + with_norm(inner, 4 * inner, 1)
        inputs = 4 * inner
    return total


def fusion(channels: list[int]) -> int:
    """Every branch to every other: 1 x 1 to a finer one; 3 x 3 of stride 2 once per step to a coarser one."""
    total = 0
    for to, outputs in enumerate(channels):
        for origin, inputs in enumerate(channels):
            if origin > to:
                total += with_norm(inputs, outputs, 1)
            elif origin < to:
                total += (to - origin - 1) * with_norm(inputs, inputs, 3) + with_norm(inputs, outputs, 3)
    return total


def stages(finest: int, blocks: tuple[int, int, int], modules: tuple[int, int, int], inputs: int = 256) -> int:
    """Transitions and stages of 2, 3 and 4 branches; a block is two 3 x 3 convolutions."""
    channels = widths(finest)
    total = with_norm(inputs, channels[0], 3) + with_norm(inputs, channels[1], 3)
    total += with_norm(channels[1], channels[2], 3) + with_norm(channels[2], channels[3], 3)
    for branches, depth, count in zip((2, 3, 4), blocks, modules, strict=True):
        used = channels[:branches]
        total += count * (sum(2 * depth * with_norm(c, c, 3) for c in used) + fusion(used))
    return total


def trunk(bands: int, finest: int = 48) -> int:
    """HRNetV2: two stride-2 convolutions, 4 bottlenecks, modules 1, 4, 3 of 4 blocks."""
    stem = with_norm(bands, 64, 3) + with_norm(64, 64, 3)
    return stem + bottlenecks(4) + stages(finest, (4, 4, 4), (1, 4, 3))


def seg_hrnet(bands: int, classes: int, finest: int = 48) -> int:
    channels = sum(widths(finest))
    return trunk(bands, finest) + with_norm(channels, channels, 1) + channels * classes + classes


def dilated_classifier(inputs: int, classes: int) -> int:
    return 4 * (9 * inputs * classes + classes)


def mmuda(bands: dict[str, int], classes: int, finest: int = 48) -> int:
    """A trunk on all and one on each; laterals with bias to 64; classifiers on 64 channels and on the coarsest scale."""
    total = trunk(sum(bands.values()), finest) + sum(trunk(count, finest) for count in bands.values())
    total += sum(64 * width + 64 for width in widths(finest))
    return total + dilated_classifier(64, classes) + dilated_classifier(widths(finest)[-1], classes)


def highdan(bands: dict[str, int], classes: int, blocks: tuple[int, int, int] = (4, 3, 1)) -> int:
    """Stems (two convolutions for hsi, of which 10 components are left), 4 bottlenecks each, one trunk, the head."""
    total = sum(with_norm(min(count, 10), 64, 3) + bottlenecks(4) for count in bands.values())
    total += with_norm(64, 64, 3)
    total += stages(48, blocks, (1, 1, 1))
    features = len(bands) * sum(widths(48))
    total += sum(with_norm(a, b, 3) for a, b in pairwise([features, 256, 128, 64]))
    return total + conv(64, 64, 2) + 64 + 64 * classes + classes


def feature_discriminator(channels: int = 2160) -> int:
    steps = [channels, channels // 2, channels // 4, channels // 8, 1]
    return sum(9 * a * b + b for a, b in pairwise(steps))


def deeplabv3plus(encoder: int, deep: int, fine: int, classes: int) -> int:
    """Decoder of DeepLabv3+ on an encoder's last maps (``deep``) and those at a quarter (``fine``), 256 channels wide."""
    wide, low = 256, 48

    def separable(inputs: int) -> int:
        return 9 * inputs + inputs * wide

    total = encoder + 2 * with_norm(deep, wide, 1) + 3 * (separable(deep) + batch_norm(wide))
    total += with_norm(5 * wide, wide, 1) + separable(wide) + batch_norm(wide)
    return total + with_norm(fine, low, 1) + separable(wide + low) + batch_norm(wide) + wide * classes + classes


def resnext101_32x8d(bands: int) -> int:
    """ResNet-101 whose 3 x 3 have 32 groups of 8 channels (four times the inner width of a ResNet's)."""
    total, inputs = with_norm(bands, 64, 7), 64
    for blocks, width in ((3, 64), (4, 128), (23, 256), (3, 512)):
        outputs, inner = 4 * width, 4 * width
        total += with_norm(inputs, outputs, 1)
        for _ in range(blocks):
            total += with_norm(inputs, inner, 1) + conv(inner, inner, 3, groups=32) + batch_norm(inner)
            total += with_norm(inner, outputs, 1)
            inputs = outputs
    return total


def efficientnet_b7(bands: int) -> int:
    """Twice the channels and 3.1 times the blocks of EfficientNet-b0; squeeze and excitation to a quarter of the input."""
    total, inputs = with_norm(bands, 64, 3), 64
    plan = (
        (4, 3, 1, 32),
        (7, 3, 6, 48),
        (7, 5, 6, 80),
        (10, 3, 6, 160),
        (10, 5, 6, 224),
        (13, 5, 6, 384),
        (4, 3, 6, 640),
    )
    for blocks, kernel, expansion, outputs in plan:
        for _ in range(blocks):
            inner, squeezed = expansion * inputs, inputs // 4
            if expansion > 1:
                total += with_norm(inputs, inner, 1)
            total += kernel * kernel * inner + batch_norm(inner)
            total += inner * squeezed + squeezed + squeezed * inner + inner
            total += with_norm(inner, outputs, 1)
            inputs = outputs
    return total
