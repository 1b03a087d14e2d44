"""Where a model comes from and what it takes: archives that are not to be trusted, each kind of store, each kind of input."""

import io
import json
import math
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.serving.artifact import locate, unpack
from runtime.serving.model import Model, digest
from runtime.serving.pack import pack
from runtime.serving.signature import Input, InvalidError, Signature
from runtime.serving.store import Folder, TooLargeError, open_store
from tests.conftest import ROOT
from tests.runtime.amazon import s3
from tests.runtime.serving import QUIET, buckets, trained

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:google.*")  # of the end of a version of Python


def archive(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as found:
        for member, content in members:
            member.size = len(content)
            found.addfile(member, io.BytesIO(content))
    return path


def link(kind: bytes, target: str) -> tarfile.TarInfo:
    found = tarfile.TarInfo("link")
    found.type, found.linkname = kind, target
    return found


@pytest.mark.parametrize(
    "member",
    [
        *map(tarfile.TarInfo, ("../out", "/out", "a/../../out", "a/..")),
        *(link(kind, "/etc/passwd") for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)),
    ],
    ids=lambda member: f"{member.name}-{member.type.decode()}",
)  # fmt: skip
def test_an_archive_writes_files_below_its_folder_only(tmp_path: Path, member: tarfile.TarInfo):
    (tmp_path / "in").mkdir()
    with pytest.raises(ValueError, match=r"leads out of it|is no file"):
        unpack(archive(tmp_path / "a.tar.gz", (tarfile.TarInfo("a/fine"), b"1"), (member, b"")), tmp_path / "in")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar.gz", "in"]


def test_an_archive_is_bounded(tmp_path: Path):
    bomb = archive(tmp_path / "a.tar.gz", (tarfile.TarInfo("a"), b"\0" * (20 << 20)))
    assert bomb.stat().st_size < 100_000
    with pytest.raises(TooLargeError):
        unpack(bomb, tmp_path, limit=1 << 20)
    many = archive(tmp_path / "b.tar.gz", *((tarfile.TarInfo(f"n/{n}"), b"") for n in range(1001)))
    with pytest.raises(TooLargeError):
        unpack(many, tmp_path)
    twice = archive(tmp_path / "c.tar.gz", *((tarfile.TarInfo("c"), b"1") for _ in range(2)))
    with pytest.raises(ValueError, match="cannot be read"):
        unpack(twice, tmp_path)


@pytest.mark.parametrize("keep", [0, 10, 300, -200])
def test_a_torn_archive_is_no_model(tmp_path: Path, keep: int):
    torn = tmp_path / "model.tar.gz"
    torn.write_bytes(trained().archive.read_bytes()[:keep])
    with pytest.raises(ValueError, match="cannot be read"):
        unpack(torn, tmp_path / "to")


def test_what_sagemaker_brings_is_found_packed_or_not(tmp_path: Path):
    shutil.copy(trained().archive, tmp_path)
    more = {"MODEL_CACHE": str(tmp_path / "cache")}
    assert Model(locate({"MODEL_DIR": str(tmp_path), **more})).signature.name == "fraud"
    assert locate({"MODEL_DIR": str(trained().folder)}) == trained().folder
    (tmp_path / "none").mkdir()
    for told in ({"MODEL_DIR": str(tmp_path / "none")}, {}):
        with pytest.raises(ValueError, match=r"neither signature|none of MODEL_URI"):
            locate(told)


def test_a_folder_can_be_pinned_too(tmp_path: Path):
    told = {"MODEL_DIR": str(trained().folder)}
    pinned = digest(trained().folder / "signature.json")
    assert locate(told | {"MODEL_DIGEST": f"sha256:{pinned}"})
    with pytest.raises(ValueError, match="not the one of MODEL_DIGEST"):
        locate(told | {"MODEL_DIGEST": "0" * 64})


def test_a_model_from_s3_is_checked_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told = {"MODEL_URI": "s3://models/fraud/12/model.tar.gz", "MODEL_CACHE": str(tmp_path)}
    with s3() as (client, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        client.upload_file(trained().archive, "models", "fraud/12/model.tar.gz")
        for wrong, why in (({}, "goes with MODEL_DIGEST"), ({"MODEL_DIGEST": "0" * 64}, "not the one")):
            with pytest.raises(ValueError, match=why):
                locate(told | wrong)
        told["MODEL_DIGEST"] = f"sha256:{trained().digest}"
        with pytest.raises(TooLargeError):
            locate(told | {"MODEL_MAX_BYTES": "100"})
        assert list((tmp_path / "models").iterdir()) == []
        folder = locate(told)
        rows = trained().rows(3)
        trained().same(Model(folder).score(rows), rows)
        # The next start on this machine needs no bucket.
        client.delete_object(Bucket="models", Key="fraud/12/model.tar.gz")
        assert locate(told) == folder
        assert [path.name for path in (tmp_path / "models").iterdir()] == [trained().digest]


def test_a_model_from_cloud_storage_and_from_vertex(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with buckets() as (fake, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        fake.objects["fraud/12/model.tar.gz"] = trained().archive.read_bytes()
        for path in trained().folder.iterdir():
            fake.objects[f"vertex/1/model/{path.name}"] = path.read_bytes()
        more = {"MODEL_CACHE": str(tmp_path)}
        uri = {"MODEL_URI": "gs://artifacts/fraud/12/model.tar.gz", "MODEL_DIGEST": trained().digest}
        assert Model(locate(uri | more)).signature.version == "12"
        assert Model(locate({"AIP_STORAGE_URI": "gs://artifacts/vertex/1/model"} | more)).signature.version == "12"
        assert Model(locate({"AIP_STORAGE_URI": "gs://artifacts/fraud/12"} | more)).signature.version == "12"


def changed(tmp_path: Path, **changes: Any) -> Path:
    """The model's folder with another signature."""
    folder = shutil.copytree(trained().folder, tmp_path / "model")
    said = json.loads((folder / "signature.json").read_text())
    (folder / "signature.json").write_text(json.dumps(said | changes))
    return folder


INPUTS = [{"name": "amount"}, {"name": "hour"}]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"files": {"model.onnx": "0" * 64}}, "is not the file"),
        ({"files": {}}, "no digest of model.onnx"),
        ({"stack": "Y"}, "differ in X, Y"),
        ({"stack": None}, "differ in X, age_days, amount"),
        ({"outputs": ["label", "nothing"]}, "differ in nothing"),
        ({"inputs": [{"name": "amount", "type": "float64"}]}, "is tensor.float. in model.onnx, float64 in"),
        ({"inputs": [{"name": "amount", "type": "float16"}]}, "unknown types: .'float16'."),
        ({"inputs": [{"name": "amount", "colour": "red"}]}, "not valid"),
        ({"inputs": []}, "names no input"),
        ({"inputs": INPUTS + INPUTS}, "an input twice"),
        ({"batch_limit": 0}, "under 1"),
        ({"more": 1}, "not valid"),
        ({"inputs": [{"name": "x", "shape": [3]}]}, "not single numbers"),
    ],
)  # fmt: skip
def test_a_signature_that_is_not_the_model_s_is_found_when_it_is_loaded(
    tmp_path: Path, changes: dict[str, Any], why: str
):
    with pytest.raises(ValueError, match=why):
        Model(changed(tmp_path, **changes))


def test_the_number_of_columns_is_found_when_the_model_is_warmed_up(tmp_path: Path):
    with pytest.raises(Exception, match=r"INVALID_ARGUMENT|Got"):
        Model(changed(tmp_path, inputs=INPUTS))


def test_an_archive_is_the_same_for_the_same_model(tmp_path: Path):
    said = {
        key: value
        for key, value in json.loads((trained().folder / "signature.json").read_text()).items()
        if key != "files"
    }
    (tmp_path / "signature.json").write_text(json.dumps(said))
    assert pack(trained().folder / "model.onnx", said, tmp_path / "a.tar.gz") == trained().digest
    done = subprocess.run(
        [sys.executable, "-m", "runtime.serving", "pack", "--model", trained().folder / "model.onnx", "--signature",
         tmp_path / "signature.json", "--output", tmp_path / "b.tar.gz"],
        cwd=ROOT, env=QUIET, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == trained().digest == digest(tmp_path / "b.tar.gz")


def test_a_model_of_tensors_and_texts(tmp_path: Path):
    """Inputs by name: a picture, a text, a number, as a network takes them."""
    make = onnx.helper
    graph = make.make_graph(
        [
            make.make_node("ReduceMean", ["picture"], ["mean"], axes=[1, 2], keepdims=0),
            make.make_node("Add", ["mean", "shift"], ["moved"]),
            make.make_node("Identity", ["name"], ["greeting"]),
        ],
        "g",
        [
            make.make_tensor_value_info("picture", onnx.TensorProto.FLOAT, [None, 2, 3]),
            make.make_tensor_value_info("shift", onnx.TensorProto.FLOAT, [None]),
            make.make_tensor_value_info("name", onnx.TensorProto.STRING, [None]),
        ],
        [
            make.make_tensor_value_info("moved", onnx.TensorProto.FLOAT, [None]),
            make.make_tensor_value_info("greeting", onnx.TensorProto.STRING, [None]),
        ],
    )
    made = make.make_model(graph, opset_imports=[make.make_opsetid("", 13)], ir_version=8)
    (tmp_path / "in.onnx").write_bytes(made.SerializeToString())
    signature = {
        "model": {"name": "mixed", "version": "1"},
        "inputs": [
            {"name": "picture", "shape": [2, 3], "minimum": 0, "maximum": 255},
            {"name": "shift"},
            {"name": "name", "type": "string", "values": ["Ada", "Bo"]},
        ],
        "outputs": ["moved", "greeting"],
    }
    pack(tmp_path / "in.onnx", signature, tmp_path / "a.tar.gz")
    unpack(tmp_path / "a.tar.gz", tmp_path)
    model = Model(tmp_path)
    row = {"picture": [[1, 2, 3], [4, 5, 6]], "shift": 0.5, "name": "Ada"}
    assert model.score([row, row | {"shift": 1, "name": "Bo"}]) == [
        {"moved": 4.0, "greeting": "Ada"},
        {"moved": 4.5, "greeting": "Bo"},
    ]
    wrong = {"picture": [[1, 2], [3]], "shift": float("nan"), "name": "Eve"}
    with pytest.raises(InvalidError) as found:
        model.score([row, wrong, row | {"picture": [[1, 2, 999]] * 2}])
    assert [(each["at"], each["problem"]) for each in found.value.problems] == [
        ("instances[1].picture", "must have the shape [2, 3]"),
        ("instances[1].shift", "must be finite"),
        ("instances[1].name", "must be one of Ada, Bo"),
        ("instances[2].picture", "must be between 0 and 255"),
    ]
    assert found.value.rows == {1, 2}


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.just("\ud800"),
    st.lists(st.integers(-9, 9), max_size=3), st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)  # fmt: skip
KINDS = ("float32", "float64", "int64", "int32", "bool", "string")
EVERY = Signature(
    name="m", version="1", outputs=("y",), files={},
    inputs=(*(Input(name=kind, type=kind) for kind in KINDS), Input(name="pair", shape=(2,), minimum=-5, maximum=5)),
)  # fmt: skip
FITTING = st.fixed_dictionaries(
    {
        "float32": st.floats(width=32, allow_nan=False, allow_infinity=False) | st.integers(-9, 9),
        "float64": st.floats(allow_nan=False, allow_infinity=False),
        "int64": st.integers(-(2**63), 2**63 - 1),
        "int32": st.integers(-(2**31), 2**31 - 1),
        "bool": st.booleans(),
        "string": st.text(st.characters(codec="utf-8")),
        "pair": st.lists(st.integers(-5, 5) | st.floats(-5, 5), min_size=2, max_size=2),
    }
)


@given(st.lists(FITTING, min_size=1, max_size=5))
def test_whatever_fits_arrives_as_it_was_sent(rows: list[dict[str, Any]]):
    feed = EVERY.feed(rows)
    for name in ("float64", "int64", "int32", "bool", "string"):
        assert feed[name].tolist() == [row[name] for row in rows]
    assert feed["float32"].dtype == np.float32
    assert feed["pair"].shape == (len(rows), 2)


@given(st.lists(FITTING, min_size=1, max_size=3), st.dictionaries(st.sampled_from([*KINDS, "pair", "other"]), VALUES))
def test_whatever_does_not_fit_is_said_to_be_in_its_instance(rows: list[dict[str, Any]], changes: dict[str, Any]):
    try:
        feed = EVERY.feed([*rows, rows[0] | changes])
    except InvalidError as error:
        found = error
    else:
        assert "other" not in changes
        for each in EVERY.inputs:
            assert feed[each.name].dtype == np.dtype({"string": "object"}.get(each.type, each.type))
            assert len(feed[each.name]) == len(rows) + 1
        return
    assert found.rows == {len(rows)}
    assert 0 < len(found.problems) <= len(KINDS) + 2
    json.dumps(found.problems).encode()


def test_unknown_inputs_and_half_characters_are_refused():
    row = {"float32": 1, "float64": 1, "int64": 1, "int32": 1, "bool": True, "string": "x", "pair": [1, 2]}
    assert EVERY.feed([row])
    for changes in (
        {"other": 1},
        {"string": "\ud800"},
        {"int64": 2**63},
        {"int32": 2**31},
        {"int32": 1.0},
        {"pair": 1},
    ):
        with pytest.raises(InvalidError):
            EVERY.feed([row | changes])


@given(VALUES | st.lists(VALUES))
def test_anything_else_is_refused(row: Any):
    with pytest.raises(InvalidError):
        EVERY.feed([row])


def stores(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A context and a store's address."""
    where = {"folder": _Nothing, "s3": lambda: s3("artifacts"), "gs": buckets}[kind]()
    return where, {"folder": str(tmp_path), "s3": "s3://artifacts/a/b", "gs": "gs://artifacts/a/b/"}[kind]


class _Nothing:
    def __enter__(self) -> tuple[None, dict[str, str]]:
        return None, {}

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.parametrize("kind", ["folder", "s3", "gs"])
def test_stores_are_alike(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch):
    where, uri = stores(tmp_path, kind, monkeypatch)
    with where as (_, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        store = open_store(uri)
        assert store.sizes() == {}
        assert store.read("x/none") is None
        assert store.create("x/a", b"first")
        assert not store.create("x/a", b"second")
        store.write("b", b"12")
        store.write("b", b"123")
        assert store.sizes() == {"b": 3, "x/a": 5}
        assert store.read("x/a") == b"first"
        with store.open("x/a") as file:
            assert (file.read(2), file.read(100), file.read(1)) == (b"fi", b"rst", b"")


def test_a_store_has_a_known_scheme():
    with pytest.raises(ValueError, match="neither a folder"):
        open_store("ftp://x/y")


def test_of_many_that_create_one_succeeds(tmp_path: Path):
    from concurrent.futures import ThreadPoolExecutor

    store = Folder(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda n: store.create("x", str(n).encode()), range(50))) == 1
    assert store.sizes().keys() == {"x"}


@pytest.mark.parametrize("number", [3.4028235677973362e38, -3.4028235677973362e38, 0.0])
def test_a_number_is_finite_as_long_as_its_type_has_one_for_it(number: float):
    found = Input(name="a", type="float32").array([1.0, number])
    assert np.isfinite(found).all()
    assert found.dtype == np.float32


@pytest.mark.parametrize("number", [3.4028235677973366e38, -1e39, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize("at", [0, 1])
def test_what_a_type_has_no_number_for_is_refused_wherever_it_stands(number: float, shape: tuple[int, ...], at: int):
    values: list[Any] = [1.0, 1.0]
    values[at] = number
    batch = [[value] for value in values] if shape else values
    with pytest.raises(ValueError, match="must be finite"):
        Input(name="a", type="float32", shape=shape).array(batch)
