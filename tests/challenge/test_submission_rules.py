"""Every trick that a hostile submission may try ends in one clear refusal, and honest ones pass."""

import io
import json
import os
import re
import signal
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from c2seg.challenge import Decoder, Limits, SubmissionError, TileSet, check_submission, pack_submission, tile_windows
from c2seg.errors import DataError, InputError
from c2seg.legend import c2seg13
from helpers.submission_makers import pack, tiff

NAME = "1_prediction.tif"


@pytest.fixture
def check(tmp_path, decoder, tile_set):
    def run(data):
        path = tmp_path / "sub.zip"
        path.write_bytes(data)
        return check_submission(path, tile_set, decoder)

    return run


@pytest.fixture
def refused(check):
    def run(data, words):
        with pytest.raises(SubmissionError, match=words) as caught:
            check(data)
        assert "/" not in str(caught.value).replace(words, "")  # no path in any answer
        return str(caught.value)

    return run


def test_honest_submission(check, files, tiles):
    checked = check(pack(files))
    pixels = np.concatenate([t.ravel() for t in tiles.values()])
    assert checked.tiles == 3
    assert [checked.class_pixels[i] for i in range(14)] == np.bincount(pixels, minlength=14).tolist()


@pytest.mark.parametrize(
    "profile",
    [
        {"compress": None},
        {"compress": "lzw", "predictor": 2},
        {"compress": "packbits"},
        {"compress": "zstd"},
        {"tiled": True, "blockxsize": 16, "blockysize": 16},
        {"tiled": True, "blockxsize": 512, "blockysize": 512},
        {"crs": "EPSG:32633", "transform": Affine(10, 0, 4e5, 0, -10, 5.8e6)},
        {"ENDIANNESS": "BIG"},
        {"nodata": None},
    ],
)
def test_usual_ways_to_write_a_tiff_pass(check, files, tiles, profile):
    files[NAME] = tiff(tiles[1], **profile)
    assert check(pack(files)).tiles == 3


def test_decoded_pixels_are_the_packed_ones(tmp_path, decoder, tile_set, files, tiles):
    (tmp_path / "sub.zip").write_bytes(pack(files))
    decoded = dict(decoder.tiles(tmp_path / "sub.zip", tile_set))
    assert list(decoded) == [0, 1, 2]
    assert all(np.array_equal(decoded[n], tiles[n]) for n in tiles)


def renamed(files, name):
    return pack({name if key == NAME else key: data for key, data in files.items()})


@pytest.mark.parametrize(
    "name",
    ["../1_prediction.tif", "/1_prediction.tif", "a/1_prediction.tif", "..\\1_prediction.tif", "01_prediction.tif",
     "1_prediction.tif\n", "1_Prediction.tif", "１_prediction.tif", "1.tif", "1_prediction.tiff", "1_prediction.tif.vrt",
     "__MACOSX", "-1_prediction.tif", "99999999999_prediction.tif", "\x1b[31m1_prediction.tif"],
)  # fmt: skip
def test_names(check, files, name):
    with pytest.raises(SubmissionError, match=r"only files N_prediction\.tif without a folder") as caught:
        check(renamed(files, name))
    assert str(caught.value).isprintable()


def test_count_duplicates_and_strangers(refused, files):
    refused(renamed(files, "7_prediction.tif"), "7_prediction.tif is not a tile of the test set")
    short = {k: v for k, v in files.items() if k != NAME}
    refused(pack(short), "holds 2 files; 3 are expected")
    refused(pack({**files, "3_prediction.tif": b""}), "holds 4 files; 3 are expected")
    data = pack({**short, "3_prediction.tif": files[NAME]})
    refused(data.replace(b"3_prediction", b"0_prediction"), "0_prediction.tif is there twice")


def test_archives_that_are_none(refused, files):
    data = pack(files)
    refused(b"", "no zip file")
    refused(b"PK\x05\x06", "no zip file")
    refused(data[: len(data) // 2], "no zip file")
    refused(b"Rar!\x1a\x07" + data[6:-22] + bytes(22), "no zip file")
    stream = io.BytesIO(data)
    with zipfile.ZipFile(stream, "a") as archive:
        archive.comment = b"hello"
    refused(stream.getvalue(), "carries a comment")
    refused(data + bytes(300_000), "at most")
    end = bytearray(data)
    end[-14:-10] = b"\xff\xff\xff\xff"
    refused(bytes(end), "zip64")


def changed_entry(files, **fields):
    """Change fields of the central directory's entry of NAME: flags, method, size, attributes."""
    data = bytearray(pack(files))
    at = data.rfind(b"PK\x01\x02", 0, data.rfind(NAME.encode()))
    layout = {"flags": (8, "H"), "method": (10, "H"), "size": (24, "I"), "attributes": (38, "I")}
    for name, value in fields.items():
        offset, kind = layout[name]
        struct.pack_into("<" + kind, data, at + offset, value)
    return bytes(data)


def test_entries_that_lie(refused, files):
    refused(changed_entry(files, flags=1), "encrypted")
    refused(changed_entry(files, method=14), "neither stored nor deflated")
    refused(changed_entry(files, attributes=0o120777 << 16), "link or a special file")
    refused(changed_entry(files, size=2**31), "unpacks to more than")
    refused(changed_entry(files, size=10), "damaged|truncated|TIFF")


def peak_mib(process):
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", text)[1]) / 1024


def test_zip_bombs(check, refused, decoder, files):
    check(pack(files))
    process, before = decoder._process, peak_mib(decoder._process)
    files[NAME] = bytes(100_000_000)
    refused(pack(files), "unpacks to more than")
    data = bytearray(pack(files))  # and one that lies about its size
    at = data.rfind(b"PK\x01\x02", 0, data.rfind(NAME.encode()))
    struct.pack_into("<I", data, at + 24, 1000)
    refused(bytes(data), "damaged|TIFF")
    assert decoder._process is process
    assert peak_mib(process) - before < 30  # nothing was unpacked


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda a: tiff(a[:31]), "31 x 32 pixels; the tile is 32 x 32"),
        (lambda a: tiff(np.stack([a, a])), "2 bands"),
        (lambda a: tiff(a.astype(np.uint16)), "16 bits"),
        (lambda a: tiff(a.astype(np.int8), nodata=None), "sample format"),
        (lambda a: tiff(a.astype(np.float32)), "32 bits"),
        (lambda a: tiff(a, nbits=4), "4 bits"),
        (lambda a: tiff(np.where(a == 3, 14, a).astype(np.uint8)), "value 14; allowed are 0 and"),
        (lambda a: tiff(np.where(a == 3, 255, a).astype(np.uint8)), "value 255"),
        (lambda a: tiff(a, photometric="miniswhite"), "0 as photometric"),
        (lambda a: tiff(a, compress="lzma"), "as compression"),
        (lambda a: tiff(a, BIGTIFF="YES"), "BigTIFF"),
        (lambda a: tiff(a)[:-40], "truncated|damaged"),
        (lambda a: tiff(a)[:6], "no TIFF"),
        (lambda a: tiff(a, driver="PNG"), "no TIFF"),
        (lambda a: b"", "no TIFF"),
        (lambda a: tiff(a, tiled=True, blockxsize=2048, blockysize=2048, compress="zstd"), "internal blocks"),
    ],
)  # fmt: skip
def test_tiffs(refused, files, tiles, make, words):
    files[NAME] = make(tiles[1])
    assert refused(pack(files), words).startswith(f"sub.zip: {NAME}: ")


VRT = """<VRTDataset rasterXSize="32" rasterYSize="32"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>
<SourceFilename relativeToVRT="0">{}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"""


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "/vsicurl/http://127.0.0.1:9/x.tif", "/vsizip/sub.zip/0_prediction.tif"]
)
def test_virtual_rasters(refused, files, target):
    files[NAME] = VRT.format(target).encode()
    refused(pack(files), "it is no TIFF")


def with_tag(data, tag, kind, count, value):
    """Put a tag in place of an existing one of a little-endian TIFF's directory (Software-like ones are harmless)."""
    (start,) = struct.unpack_from("<I", data, 4)
    (number,) = struct.unpack_from("<H", data, start)
    out = bytearray(data)
    directory = bytearray(data[start + 2 : start + 2 + 12 * number])
    directory += struct.pack("<HHII", tag, kind, count, len(data) if isinstance(value, bytes) else value)
    out += value if isinstance(value, bytes) else b""
    struct.pack_into("<I", out, 4, len(out))
    return bytes(out) + struct.pack("<H", number + 1) + bytes(directory) + bytes(4)


@pytest.mark.parametrize(
    ("tag", "value", "words"),
    [
        (42112, b'<Item name="OVERVIEW_FILE" domain="OVERVIEWS">/etc/passwd</Item>\0', "refers to another"),
        (42112, b"<GDALMetadata><Item name='x'>/vsicurl/http://a/b</Item></GDALMetadata>\0", "refers to another"),
        (270, b"<VRTDataset/> and /vsicurl/x\0\0\0", "refers to another"),
        (42112, b"<GDALMetadata><Item name='CLASS_1'>Surface water</Item></GDALMetadata>\0", None),
        (700, b"<x:xmpmeta/>\0\0\0", "TIFF tag 700"),
        (330, b"\x08\0\0\0\x08\0\0\0", "TIFF tag 330"),
    ],
)  # fmt: skip
def test_references_inside_tiffs(refused, check, files, tiles, tag, value, words):
    files[NAME] = with_tag(tiff(tiles[1], nodata=None), tag, 2, len(value), value)
    if words is None:
        assert check(pack(files)).tiles == 3
    else:
        refused(pack(files), words)


def test_damaged_directories(refused, files, tiles):
    good = tiff(tiles[1], nodata=None)
    (start,) = struct.unpack_from("<I", good, 4)
    (number,) = struct.unpack_from("<H", good, start)
    second = bytearray(good)
    struct.pack_into("<I", second, start + 2 + 12 * number, 8)
    files[NAME] = bytes(second)
    refused(pack(files), "more than one image")
    files[NAME] = with_tag(good, 256, 3, 1, 32)
    refused(pack(files), "TIFF tag 256 is damaged")
    files[NAME] = with_tag(good, 305, 2, 2**31, 8)
    refused(pack(files), "TIFF tag 305 is damaged")
    far = bytearray(good)
    struct.pack_into("<I", far, 4, 2**31)
    files[NAME] = bytes(far)
    refused(pack(files), "no TIFF directory")


def test_decoder_survives_and_starts_over(tmp_path, tile_set, files):
    path = tmp_path / "sub.zip"
    path.write_bytes(pack(files))
    with Decoder() as decoder:
        next(decoder.tiles(path, tile_set))  # left half way
        assert check_submission(path, tile_set, decoder).tiles == 3
        decoder._process.kill()
        decoder._process.wait()
        assert check_submission(path, tile_set, decoder).tiles == 3
        process = decoder._process
    assert process.poll() is not None


@pytest.mark.parametrize("limits", [Limits(memory_mb=1), Limits(wall_s=0.001)])
def test_limits_are_enforced(tmp_path, limits):
    size = {0: (2048, 2048)}
    path = tmp_path / "sub.zip"
    path.write_bytes(
        pack({"0_prediction.tif": tiff(np.ones(size[0], np.uint8), tiled=True, blockxsize=512, blockysize=512)})
    )
    tile_set = TileSet(size, c2seg13().ids)
    with Decoder(limits) as decoder, pytest.raises(SubmissionError, match=r"within the limits|too much memory"):
        check_submission(path, tile_set, decoder)
    with Decoder() as decoder:
        assert check_submission(path, tile_set, decoder).tiles == 1


def test_a_hanging_decoder_is_stopped(tmp_path, tile_set, files, monkeypatch):
    path = tmp_path / "sub.zip"
    path.write_bytes(pack(files))
    with Decoder(Limits(wall_s=-9)) as decoder:  # the deadline of this side, 10 s after that of the child
        decoder._start()
        os.kill(decoder._process.pid, signal.SIGSTOP)
        with pytest.raises(SubmissionError, match="too long"):
            check_submission(path, tile_set, decoder)


@pytest.mark.parametrize(
    ("height", "width", "size", "tiles"),
    [(2465, 811, 128, 140), (2456, 811, 128, 140), (6225, 8670, 256, 850), (13474, 8706, 256, 1855), (128, 128, 128, 1)],
)  # fmt: skip
def test_tile_windows(height, width, size, tiles):
    windows = tile_windows(height, width, size)
    assert len(windows) == tiles
    covered = np.zeros((height, width), bool)
    for w in windows:
        assert (w.height, w.width) == (min(size, height), min(size, width))
        covered[w.slices] = True
    assert covered.all()
    assert sorted(windows) == tile_windows(height, width, size, "rows")
    if tiles == 140:
        assert (windows[1].row, windows[1].col) == (128, 0)
        assert (windows[20].row, windows[20].col) == (0, 128)


def test_packing_a_map_and_tiles(tmp_path, write_map, decoder):
    ids = np.random.default_rng(0).integers(0, 14, (100, 70), dtype=np.uint8)
    source = write_map("map.tif", ids)
    tile_set = pack_submission(source, tmp_path / "a.zip", c2seg13(), tile_px=32)
    decoded = dict(decoder.tiles(tmp_path / "a.zip", tile_set))
    assert all(np.array_equal(decoded[n], ids[w.slices]) for n, w in enumerate(tile_windows(100, 70, 32)))
    assert tile_set == TileSet.from_path(source, c2seg13().ids, 32, "columns")
    pack_submission(source, tmp_path / "b.zip", c2seg13(), tile_px=32)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    for number, window in enumerate(tile_windows(100, 70, 32)):
        write_map(f"tiles/{number}.tif", ids[window.slices].astype(np.int16))
    again = pack_submission(tmp_path / "tiles", tmp_path / "c.zip", c2seg13())
    assert all(np.array_equal(a, decoded[n]) for n, a in decoder.tiles(tmp_path / "c.zip", again))


def test_packing_refuses_bad_maps(tmp_path, write_map):
    ids = np.full((40, 40), 14, np.uint8)
    with pytest.raises(DataError, match=r"map\.tif holds the value 14"):
        pack_submission(write_map("map.tif", ids), tmp_path / "a.zip", c2seg13(), tile_px=40)
    assert not list(tmp_path.glob("*.zip"))
    write_map("tiles/north.tif", ids)
    with pytest.raises(DataError, match=r"north\.tif is not numbered"):
        pack_submission(tmp_path / "tiles", tmp_path / "a.zip", c2seg13())
    with pytest.raises(InputError, match="at most 2048"):
        TileSet({0: (3000, 10)}, (1,))
    assert json.dumps(TileSet({4: (1, 2)}, (1,)).as_dict())
