"""Parameters counted by hand, from the papers' structure and never from our modules."""

from __future__ import annotations


def conv(inputs: int, outputs: int, kernel: int, groups: int = 1) -> int:
    """Weights of a convolution without bias."""
    return inputs // groups * outputs * kernel * kernel


def batch_norm(channels: int) -> int:
    """Scale and shift, as of any normalization."""
    return 2 * channels


def segnet(bands: int, classes: int) -> int:
    """13 convolutions of VGG16 and 12 mirrored ones, each 3 x 3 with batch normalization; a 3 x 3 classifier with bias."""
    # Without the first convolution, VGG16's twelve: 64-64, 64-128-128, 128-256-256-256, 256-512 x 3, 512-512 x 3.
    pairs = 64 * 64 + 64 * 128 + 128 * 128 + 128 * 256 + 2 * 256 * 256 + 256 * 512 + 5 * 512 * 512
    down_norms = 2 * 64 + 2 * 128 + 3 * 256 + 6 * 512
    up_norms = 5 * 512 + 256 + 2 * 256 + 128 + 128 + 64 + 64
    return 9 * (64 * bands + 2 * pairs + 64 * classes) + classes + 2 * (down_norms + up_norms)


def resnet34_1c(bands: int, outputs: int) -> int:
    """Stem of three 3 x 3 (32, 32, 64); stages of 3, 4, 6, 3 pairs of 3 x 3; a 1 x 1 with bias per stage to ``outputs``."""
    total = conv(bands, 32, 3) + conv(32, 32, 3) + conv(32, 64, 3) + 2 * batch_norm(32) + batch_norm(64)
    inputs = 64
    for blocks, width in ((3, 64), (4, 128), (6, 256), (3, 512)):
        if width != inputs:
            total += conv(inputs, width, 1) + batch_norm(width)  # the shortcut of the first block
        total += conv(inputs, width, 3) + (2 * blocks - 1) * conv(width, width, 3) + 2 * blocks * batch_norm(width)
        total += width * outputs + outputs
        inputs = width
    return total


def mmglots(bands: int, classes: int, msi: int = 4) -> int:
    """BEiT-base on the MSI, neck, two residual encoders, fusion, and the decoder, all with 768 maps at 640 x 640."""
    wide = 768
    linear = wide * wide + wide
    norm = 2 * wide
    mlp = wide * 4 * wide + 4 * wide + 4 * wide * wide + wide
    beit_block = 2 * norm + (4 * linear - wide) + mlp + 2 * wide  # keys have no bias; two layer scales
    table = (79 * 79 + 3) * 12  # offsets in 40 x 40 patches, and three for the class token
    total = conv(msi, wide, 16) + wide + wide + 12 * (beit_block + table)
    doubling = conv(wide, wide, 2) + wide
    total += 3 * doubling + batch_norm(wide)
    # Two encoders, whose stems alone differ: without bands but for theirs, of which there are `bands - msi`.
    total += 2 * resnet34_1c(0, wide) + conv(bands - msi, 32, 3)
    total += 4 * 3
    block = 2 * norm + 4 * linear + mlp
    total += 6 * block + 13 * 13 * (3 + 6 + 3 * 12 + 24) + block  # windows of 7 x 7; and the global block
    total += 3 * (doubling + 2 * norm)
    total += 4 * wide * wide + wide + norm  # the context path
    total += norm + wide * classes + classes
    return total + conv(wide, 256, 3) + batch_norm(256) + 256 * classes + classes


def mmglots_paper(bands: int, classes: int, msi: int = 4) -> int:
    """As the paper's text has it: one encoder behind two stems, two fusion weights a level, two blocks a stage, no doubling."""
    wide = 768
    stems = conv(bands - msi, 32, 3) + 2 * (conv(32, 32, 3) + conv(32, 64, 3) + 2 * batch_norm(32) + batch_norm(64))
    separate = 2 * resnet34_1c(0, wide) + conv(bands - msi, 32, 3)
    shared = stems + resnet34_1c(0, wide) - (conv(32, 32, 3) + conv(32, 64, 3) + 2 * batch_norm(32) + batch_norm(64))
    block = 4 * wide + 4 * (wide * wide + wide) + (8 * wide * wide + 5 * wide)
    heads = 2 * (3 + 6 + 12 + 24) - (3 + 6 + 3 * 12 + 24)
    doubling = conv(wide, wide, 2) + wide
    total = mmglots(bands, classes, msi) + shared - separate
    total += 4 * 2 - 4 * 3  # weights of SAR and HSI alone
    return total + 2 * block + 13 * 13 * heads - 3 * doubling


def resnet50(bands: int) -> int:
    """Stem 7 x 7 to 64; stages of 3, 4, 6, 3 bottlenecks (1 x 1, 3 x 3, 1 x 1 to four times the width), no classifier."""
    total = conv(bands, 64, 7) + batch_norm(64)
    inputs = 64
    for blocks, width in ((3, 64), (4, 128), (6, 256), (3, 512)):
        outputs = 4 * width
        total += conv(inputs, outputs, 1) + batch_norm(outputs)  # the shortcut of the first block
        for _ in range(blocks):
            total += conv(inputs, width, 1) + conv(width, width, 3) + conv(width, outputs, 1)
            total += 2 * batch_norm(width) + batch_norm(outputs)
            inputs = outputs
    return total


def deeplabv3plus(bands: int, classes: int) -> int:
    """ResNet-50, pyramid of 1 x 1, three separable 3 x 3 and image pooling, projection, decoder with 48 low-level maps."""
    wide, deep, low = 256, 2048, 48

    def separable(inputs: int, outputs: int) -> int:
        return 9 * inputs + inputs * outputs

    total = resnet50(bands)
    total += 2 * conv(deep, wide, 1) + 3 * separable(deep, wide) + 5 * batch_norm(wide)
    total += conv(5 * wide, wide, 1) + batch_norm(wide)
    total += separable(wide, wide) + batch_norm(wide)
    total += conv(256, low, 1) + batch_norm(low)
    total += separable(wide + low, wide) + batch_norm(wide)
    return total + wide * classes + classes


def segformer_b2(bands: int, classes: int) -> int:
    """Four stages of overlapping patch embedding and attention with reduced keys (8, 4, 2, 1), and the MLP decoder."""
    total = 0
    inputs = bands
    widths = (64, 128, 320, 512)
    for width, blocks, reduction, kernel in zip(widths, (3, 4, 6, 3), (8, 4, 2, 1), (7, 3, 3, 3), strict=True):
        total += conv(inputs, width, kernel) + width + batch_norm(width)  # embedding with bias, normalized
        attention = 4 * (width * width + width)  # query, key, value, projection
        if reduction > 1:
            attention += conv(width, width, reduction) + width + batch_norm(width)
        hidden = 4 * width
        mlp = width * hidden + hidden + 9 * hidden + hidden + hidden * width + width  # with a depth-wise 3 x 3
        total += blocks * (attention + mlp + 2 * batch_norm(width)) + batch_norm(width)
        inputs = width
    decoder = 256
    total += sum(width * decoder + decoder for width in widths)
    total += conv(4 * decoder, decoder, 1) + batch_norm(decoder)
    return total + decoder * classes + classes


def convnext_small_trunk(bands: int) -> int:
    """Stem 4 x 4 to 96; three stages of 3, 3, 27 blocks at 96, 192, 384; a norm and a 2 x 2 convolution between stages.

    A block: 7 x 7 depth-wise, norm, to four times the width and back, each with bias, and a factor per channel.
    """
    total = conv(bands, 96, 4) + 96 + batch_norm(96)
    inputs = 96
    for width, blocks in ((96, 3), (192, 3), (384, 27)):
        if width != inputs:
            total += batch_norm(inputs) + conv(inputs, width, 2) + width
        block = conv(width, width, 7, groups=width) + width + batch_norm(width)
        block += 2 * conv(width, 4 * width, 1) + 4 * width + width + width
        total += blocks * block
        inputs = width
    return total


def uper_head(levels: tuple[int, ...], classes: int, width: int = 128) -> int:
    """Pooling to 4 sizes with a 1 x 1 each, 3 x 3 over all; per finer level a 1 x 1 and a 3 x 3; 3 x 3 over the levels."""
    *finer, coarsest = levels
    total = 4 * (conv(coarsest, width, 1) + batch_norm(width))
    total += conv(coarsest + 4 * width, width, 3) + batch_norm(width)
    for channels in finer:
        total += conv(channels, width, 1) + conv(width, width, 3) + 2 * batch_norm(width)
    total += conv(len(levels) * width, width, 3) + batch_norm(width)
    return total + width * classes + classes


def mrsn(groups: tuple[tuple[int, ...], ...], classes: int) -> int:
    """A trunk for each branch, given by its number of bands, and a head for each group of branches."""
    total = sum(convnext_small_trunk(bands) for group in groups for bands in group)
    return total + sum(uper_head(tuple(len(group) * c for c in (96, 192, 384)), classes) for group in groups)


def unet(bands: int, classes: int) -> int:
    """Two 3 x 3 convolutions with batch normalization at each of 64 .. 1024, transposed 2 x 2 up, skip connections."""
    widths = (64, 128, 256, 512, 1024)

    def double(inputs: int, outputs: int) -> int:
        return conv(inputs, outputs, 3) + conv(outputs, outputs, 3) + 2 * batch_norm(outputs)

    total = double(bands, 64) + sum(double(width, 2 * width) for width in widths[:-1])
    for fine in widths[:-1]:
        total += conv(2 * fine, fine, 2) + fine + double(2 * fine, fine)
    return total + 64 * classes + classes
