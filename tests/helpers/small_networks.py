"""Settings of networks so small that a test trains them in seconds."""

MMGLOTS = {
    "scale": 1,
    "input_px": 64,
    "width": 24,
    "heads": 3,
    "taps": (1, 2, 3, 4),
    "cnn_blocks": (1, 1, 1, 1),
    "cnn_widths": (8, 8, 16, 16),
    "decoder_heads": (1, 2, 3, 4),
    "aux_channels": 8,
    "dropout": 0,
    "drop_path": 0,
}
