"""Hostile binary files: models, .mat files, extracts in PBF, training states, unfinished maps, rasters."""

from __future__ import annotations

import json
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np
import onnx
import osmium
import rasterio.shutil
import scipy.io
from affine import Affine
from safetensors.numpy import load, save

from c2seg.artifacts import MapKey, read_model_file, write_model_file
from c2seg.data import Modality, Normalizer, Scene, SceneReader, write_folder, write_mat
from c2seg.errors import C2SegError
from c2seg.legend import LandClass, Legend
from c2seg.pipeline.scoring import score_maps
from c2seg.predict import MapOptions, WindowPlan, predict_scene
from c2seg.predict.backends import BackendOptions, default_backend, load_predictor
from c2seg.raster import ArrayRaster, GridRelation, RasterFile
from c2seg.types import Grid
from helpers.toy_cities import make_city, write_raster
from hostile.mutations import spoil_bytes, spoil_file, spoil_value
from hostile.texts import RELEASED, osm_xml, use_city

FILL = (0, 1, -1, 2, 127, 2**31 - 1, -(2**31), 2**62)


def spoil_any(rng: Random, place: Path) -> None:
    """Spoil one file of the input."""
    spoil_file(rng, rng.choice([path for path in sorted(place.rglob("*")) if path.is_file()]))


def forest(place: Path) -> None:
    """A forest of 0.1.0, and the same in the present layout."""
    _models(place, "forest")


def network(place: Path) -> None:
    """A U-Net of 0.1.0, and the same in the present layout."""
    _models(place, "unet")


def _models(place: Path, name: str) -> None:
    shutil.copy(RELEASED / name / "model.safetensors", place / "old.safetensors")
    model = read_model_file(place / "old.safetensors")
    write_model_file(place / "new.safetensors", model.header, model.tensors)


def onnx_model(place: Path) -> None:
    """A U-Net as ONNX."""
    shutil.copy(RELEASED / "unet" / "model.onnx", place / "old.onnx")


def spoil_safetensors(rng: Random, place: Path) -> None:
    """Change the header's values, the model's JSON in it, the tensors, or the bytes. The other file goes."""
    path, other = rng.sample(sorted(place.iterdir()), 2)
    other.unlink()
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header: dict[str, Any] = json.loads(data[8 : 8 + size])
    how = rng.random()
    if how < 0.4:
        header["__metadata__"]["c2seg"] = _spoiled_json(rng, header["__metadata__"]["c2seg"])
        path.write_bytes(_joined(json.dumps(header), data[8 + size :]))
    elif how < 0.5:
        path.write_bytes(_joined(json.dumps(spoil_value(rng, header)), data[8 + size :]))
    elif how < 0.85:
        tensors = load(data)
        for _ in range(rng.choice((1, 1, 2))):
            _spoil_array(rng, tensors, rng.choice(sorted(tensors)))
        path.write_bytes(save(tensors, header["__metadata__"]))
    else:
        spoil_file(rng, path)


def _spoiled_json(rng: Random, text: str) -> str:
    return (
        json.dumps(spoil_value(rng, json.loads(text)))
        if rng.random() < 0.9
        else spoil_bytes(rng, text.encode()).decode("latin1")
    )


def _joined(header: str, rest: bytes) -> bytes:
    encoded = header.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(encoded)) + encoded + rest


def _spoil_array(rng: Random, tensors: dict[str, np.ndarray], name: str) -> None:
    """Give an array another type, shape, or values; or rename or remove it."""
    values = tensors.pop(name)
    how = rng.randrange(8)
    with np.errstate(all="ignore"):
        if how == 0:
            values = values.astype(rng.choice(("f2", "f4", "f8", "i1", "i8", "u1", "u8", "?")))
        elif how == 1:
            values = rng.choice((values[:0], values.reshape(-1)[:1], values[None], np.concatenate([values, values])))
        elif how == 2:
            values = values.reshape(-1)
        elif how <= 5 and values.size:
            values = values.copy().reshape(-1)
            places = [rng.randrange(values.size) for _ in range(rng.choice((1, 3, values.size)))]
            fill = rng.choice((*FILL, np.nan, np.inf)) if values.dtype.kind == "f" else rng.choice(FILL)
            values[places] = np.array(fill).astype(values.dtype)
            values = values.reshape(values.shape)
        elif how == 6:
            name = rng.choice((f"{name}.x", "x", name[:-1], "forest.left", "networks.training.0.a"))
        else:
            return
    tensors[name] = np.ascontiguousarray(values)


def spoil_onnx(rng: Random, place: Path) -> None:
    """Change metadata, the graph, or bytes of an ONNX file."""
    path = place / "old.onnx"
    model = onnx.load_from_string(path.read_bytes())
    how = rng.random()
    entries = {entry.key: entry for entry in model.metadata_props}
    graph = model.graph
    if how < 0.35:
        entries["c2seg"].value = _spoiled_json(rng, entries["c2seg"].value)
    elif how < 0.45:
        entry = entries.get("c2seg_stride_px") or model.metadata_props.add(key="c2seg_stride_px")
        entry.value = rng.choice(("", "0", "-1", "1e3", "9" * 30, "x", "1.5", "1000000", "3"))
    elif how < 0.55:
        model.metadata_props.add(
            key="c2seg_forest", value=rng.choice(("", "x", "AAAA", "é", "AAAAAAAAAAA=" * 3, "===="))
        )
    elif how < 0.75:
        _spoil_graph(rng, graph)
    else:
        spoil_file(rng, path)
        return
    path.write_bytes(model.SerializeToString())


def _spoil_graph(rng: Random, graph: Any) -> None:
    tensor, node = rng.choice(graph.initializer), rng.choice(graph.node)
    how = rng.randrange(8)
    if how == 0:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=rng.choice(("/etc/passwd", "../secret.bin", "x")))
    elif how == 1:
        tensor.dims[:] = [rng.choice((0, 1, -1, 2**40, 7)) for _ in tensor.dims]
    elif how == 2:
        tensor.data_type = rng.randrange(30)
    elif how == 3:
        node.op_type = rng.choice(
            ("Loop", "If", "Scan", "Identity", "Relu", "x", "NonZero", "ConstantOfShape", "Expand")
        )
    elif how == 4:
        node.domain = rng.choice(("x", "com.microsoft", "ai.onnx.ml"))
    elif how == 5 and node.attribute:
        attribute = rng.choice(node.attribute)
        attribute.i, attribute.ints[:] = rng.choice(FILL), [rng.choice(FILL) for _ in attribute.ints]
    elif how == 6 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(("", "x", graph.input[0].name))
    else:
        rng.choice((graph.input, graph.output))[0].name = rng.choice(("", "x", "probabilities", "hsi"))


def use_model(place: Path) -> None:
    """Read the models, normalize with what they store, and predict a patch."""
    for path in sorted(place.iterdir()):
        model = read_model_file(path)
        header = model.header
        if header.recipe.normalization != "quantile":
            normalizer = header.normalizer(header.statistics)
            for name, bands in header.inputs.items():
                if name in normalizer.shift:
                    normalizer.apply(name, np.ones((len(bands), 4, 4), np.float32), np.ones((4, 4), bool))
        predictor = load_predictor(model, default_backend(model), BackendOptions("cpu", threads=1))
        side = -(-(2 * predictor.halo_px + 8) // getattr(predictor, "stride_px", 1)) * getattr(
            predictor, "stride_px", 1
        )
        patch = {name: np.ones((1, count, side, side), np.float32) for name, count in header.channels.items()}
        scores = predictor.predict(patch, np.ones((1, side, side), bool))
        assert scores.shape[:2] == (1, header.legend.num_classes)
        assert np.isfinite(scores).all(), "probabilities are not finite"


def classic_mat(place: Path) -> None:
    """A classic .mat file, not compressed, so that changes reach the values' descriptions."""
    write_mat(make_city(24, 18), place / "city.mat")
    arrays = {name: values for name, values in scipy.io.loadmat(place / "city.mat").items() if name[:2] != "__"}
    scipy.io.savemat(place / "city.mat", arrays)


def hdf5_mat(place: Path) -> None:
    """A v7.3 .mat file, and a file beside it that may not be read."""
    write_mat(make_city(24, 18), place / "city.mat", hdf5=True)
    with h5py.File(place / "secret.h5", "w") as file:
        file["MSI"] = np.full((4, 18, 24), 4242, np.uint16)
    (place / "secret.bin").write_bytes(b"\x42\x10" * 4000)


def spoil_mat(rng: Random, place: Path) -> None:
    """Store other arrays, compressed or not, or spoil the bytes."""
    path = place / "city.mat"
    if rng.random() < 0.7:
        spoil_file(rng, path)
        return
    arrays = {name: values for name, values in scipy.io.loadmat(path).items() if name[:2] != "__"}
    name = rng.choice(sorted(arrays))
    arrays[name] = rng.choice((*_OTHER_ARRAYS, arrays[name].astype("f4") * np.float32(np.nan), arrays[name].T))
    scipy.io.savemat(path, arrays, do_compression=rng.random() < 0.5)
    if rng.random() < 0.5:
        path.write_bytes(spoil_bytes(rng, path.read_bytes()))


_OTHER_ARRAYS: tuple[Any, ...] = (
    "text", np.array(["a", "b"], object), {"a": 1}, 1.0,
    np.zeros((0, 3)), np.zeros((3, 0, 2), np.uint8), np.ones((2, 2), complex),
    np.zeros((1, 1, 1, 1)), np.zeros((24, 18, 3), bool), np.full((24, 18, 4), np.inf), np.zeros((24, 18, 4), np.int64),
    scipy.io.matlab.MatlabObject(np.zeros((1, 1), [("a", "O")])), scipy.sparse.csc_array(np.eye(24)),
)  # fmt: skip


def spoil_hdf5(rng: Random, place: Path) -> None:
    """Put something else in the place of an array: links, foreign storage, claims; or spoil the bytes."""
    path = place / "city.mat"
    if rng.random() < 0.5:
        spoil_file(rng, path)
        return
    with h5py.File(path, "r+") as file:
        name = rng.choice(sorted(file))
        values = file[name][()]
        del file[name]
        _OTHERS[rng.randrange(len(_OTHERS))](file, name, values)
    if rng.random() < 0.2:
        path.write_bytes(spoil_bytes(rng, path.read_bytes()))


def _virtual(file: h5py.File, name: str, values: np.ndarray) -> None:
    layout = h5py.VirtualLayout(values.shape, values.dtype)
    layout[...] = h5py.VirtualSource("secret.h5", "MSI", values.shape)
    file.create_virtual_dataset(name, layout)


def _external(file: h5py.File, name: str, values: np.ndarray) -> None:
    place = Path(file.filename).with_name("secret.bin")
    file.create_dataset(name, values.shape, values.dtype, external=[(str(place), 0, h5py.h5f.UNLIMITED)])


_OTHERS: tuple[Any, ...] = (
    _virtual,
    _external,
    lambda file, name, _: file.__setitem__(name, h5py.ExternalLink("secret.h5", "MSI")),
    lambda file, name, _: file.__setitem__(name, h5py.SoftLink(f"/{name}")),
    lambda file, name, _: file.__setitem__(name, h5py.SoftLink("/nowhere")),
    lambda file, name, _: file.create_group(name),
    lambda file, name, v: file.create_dataset(name, (2**40, 2**20, 64)[: v.ndim], v.dtype, chunks=(64,) * v.ndim),
    lambda file, name, v: file.create_dataset(name, v.shape, v.dtype, chunks=True),
    lambda file, name, v: file.create_dataset(name, (0,) * v.ndim, v.dtype),
    lambda file, name, v: file.create_dataset(name, data=v[..., None]),
    lambda file, name, _: file.create_dataset(name, data="text"),
    lambda file, name, _: file.create_dataset(name, data=h5py.Empty("f4")),
    lambda file, name, _: file.create_dataset(name, data=3.0),
    lambda file, name, v: file.create_dataset(name, data=v.astype(complex)),
    lambda file, name, v: file.create_dataset(name, data=v.astype("f4") * np.float32(np.nan)),
    lambda file, name, v: file.create_dataset(name, data=v.astype(">f8")),
    lambda file, name, v: file.create_dataset(name, v.shape, h5py.special_dtype(vlen=np.uint8)),
)


def osm_pbf(place: Path) -> None:
    """The small map as PBF, not compressed, so that changes reach its content."""
    osm_xml(place)
    with osmium.SimpleWriter(
        osmium.io.File(str(place / "map.osm.pbf"), "pbf,pbf_compression=none"), overwrite=True
    ) as writer:
        for feature in osmium.FileProcessor(str(place / "map.osm")):
            writer.add(feature)
    (place / "map.osm").unlink()


def training_state(place: Path) -> None:
    """The state of a stopped training, of 0.1.0 and in the present layout."""
    from c2seg.train.state import load_state, save_state

    save_state(place, load_state(RELEASED / "unet-stopped" / "state.pt"))
    shutil.copy(RELEASED / "unet-stopped" / "state.pt", place / "state.pt")


def use_state(place: Path) -> None:
    """Read them as ``fit --resume`` does."""
    from c2seg.train.state import load_state

    for path in sorted(place.iterdir()):
        load_state(path)


LEGEND = Legend("three", (LandClass(2, "a", "#0000FF"), LandClass(5, "b", "#00FF00"), LandClass(9, "c", "#FF0000")))
PLAN = WindowPlan(40, 24, 16, 4)


@dataclass
class _Bands:
    """A predictor whose scores are the bands; it stops at its n-th call, as a killed process would."""

    calls: int = 1000
    halo_px: int = 0
    num_classes: int = 3

    def predict(self, patch: dict[str, np.ndarray], valid: np.ndarray) -> np.ndarray:
        self.calls -= 1
        if self.calls < 0:
            raise KeyboardInterrupt
        return patch["msi"]


def _predict(path: Path, predictor: _Bands) -> None:
    array = np.random.default_rng(0).random((3, 40, 24)).astype(np.float32)
    modality = Modality(ArrayRaster(array), GridRelation(), "array", "msi")
    plain = Normalizer({"msi": np.zeros(3, np.float32)}, {"msi": np.ones(3, np.float32)})
    reader = SceneReader(Scene("s", Grid(40, 24, Affine.scale(10, -10)), {"msi": modality}), ("msi",), plain)
    predict_scene(
        reader,
        predictor,
        PLAN,
        LEGEND,
        MapOptions(path, probabilities=path.with_name(f"{path.stem}-p.tif")),
        MapKey(model="a"),
    )


def stopped_map(place: Path) -> None:
    """A map that was stopped in its third call, and what it must become."""
    _predict(place / "whole.tif", _Bands())
    try:
        _predict(place / "map.tif", _Bands(calls=4))
    except KeyboardInterrupt:
        return
    raise AssertionError("the map was not stopped")


def spoil_scratch(rng: Random, place: Path) -> None:
    """Spoil a file of the scratch folder."""
    files = [path for path in sorted((place / ".map.tif.scratch").iterdir()) if path.is_file() and path.stat().st_size]
    path = rng.choice(files)
    lines = path.read_bytes().splitlines() if path.suffix == ".jsonl" else []
    if lines and rng.random() < 0.7:
        chosen = rng.randrange(len(lines))
        lines[chosen] = json.dumps(spoil_value(rng, json.loads(lines[chosen]))).encode()
        path.write_bytes(b"\n".join(lines) + b"\n")
    else:
        spoil_file(rng, path)


def use_scratch(place: Path) -> None:
    """Go on with the map: it is the right one, or the command refuses."""
    if (place / "map.tif").exists():
        return
    _predict(place / "map.tif", _Bands())
    for name, other in (("map.tif", "whole.tif"),):
        assert (
            RasterFile(place / name).read(_all(place / name)) == RasterFile(place / other).read(_all(place / other))
        ).all(), "the map that goes on differs"


def _all(path: Path) -> Any:
    return RasterFile(path).grid.window


def rasters(place: Path) -> None:
    """A folder city, a map with its ground truth, and rasters of other formats."""
    write_folder(make_city(24, 18), place / "city")
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 14, (1, 24, 18)).astype(np.uint8)
    write_raster(place / "map.tif", ids)
    write_raster(place / "truth.tif", np.maximum(ids, 1))
    write_raster(place / "odd.tif", rng.random((3, 7, 9)).astype("f4"), nodata=float("inf"), compress="deflate", tiled=True,
                 blockxsize=16, blockysize=16)  # fmt: skip
    for name, driver in (("map.png", "PNG"), ("map.img", "ENVI")):
        rasterio.shutil.copy(place / "map.tif", place / name, driver=driver)
    (place / "map.vrt").write_text(
        '<VRTDataset rasterXSize="18" rasterYSize="24"><SRS>EPSG:32632</SRS>'
        "<GeoTransform>500000,10,0,5000000,0,-10</GeoTransform>"
        '<VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename relativeToVRT="1">map.tif</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>",
        encoding="utf-8",
    )


def use_rasters(place: Path) -> None:
    """Inspect the city, score the map, read the others. What one refuses, the others are still opened."""
    refused: list[C2SegError] = []
    for use in (use_city, _score, *(_reader(name) for name in ("odd.tif", "map.png", "map.img", "map.vrt"))):
        try:
            use(place)
        except C2SegError as error:
            refused.append(error)
    if refused:
        raise refused[0]


def _score(place: Path) -> None:
    score_maps(place / "map.tif", place / "truth.tif", workers=1)


def _reader(name: str) -> Any:
    return lambda place: RasterFile(place / name).read(_all(place / name))
