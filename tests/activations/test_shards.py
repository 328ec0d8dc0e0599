import zipfile

import numpy as np
import pytest

from fast_sae.activations.shards import map_npz, write_npz
from fast_sae.errors import ArtifactError

ARRAYS = {
    "activations": np.arange(21, dtype=np.float16).reshape(7, 3),
    "example": np.array([0, 0, 0, 1, 1, 2, 2], np.int32),
    "kind": np.array([0, 1, 2, 3, 4, 3, 3], np.uint8),
    "example_ids": np.array(["a", "übel", "日本"]),
}


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "layer_2" / "shard-00000.npz"
    write_npz(path, ARRAYS)
    return path


def assert_equal(found, arrays):
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert np.array_equal(found[name], array)


def test_numpy_and_the_mapping_read_the_same_arrays(shard):
    assert_equal(map_npz(shard, "s"), ARRAYS)
    with np.load(shard, allow_pickle=False) as loaded:
        assert_equal(dict(loaded), ARRAYS)
    with zipfile.ZipFile(shard) as archive:
        assert archive.testzip() is None
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}


def test_every_array_is_mapped_where_it_lies_at_a_multiple_of_64_bytes(shard):
    content = shard.read_bytes()
    for array in map_npz(shard, "s").values():
        assert isinstance(array, np.memmap)
        assert array.offset % 64 == 0
        assert content[array.offset : array.offset + array.nbytes] == array.tobytes()


def test_a_mapped_array_cannot_be_written(shard):
    with pytest.raises(ValueError, match="read-only"):
        map_npz(shard, "s")["activations"][0] = 1


def test_the_same_arrays_give_the_same_bytes(shard, tmp_path):
    write_npz(tmp_path / "again.npz", {name: array.copy() for name, array in ARRAYS.items()})
    assert (tmp_path / "again.npz").read_bytes() == shard.read_bytes()
    write_npz(tmp_path / "again.npz", ARRAYS | {"kind": ARRAYS["kind"][::-1]})
    assert (tmp_path / "again.npz").read_bytes() != shard.read_bytes()


@pytest.mark.parametrize(
    "array",
    [
        np.empty((0, 8), np.float16),
        np.empty((0,), np.int32),
        np.empty((3, 0), np.float32),
        np.empty((0,), "<U5"),
        np.array([], "<U1"),
    ],
    ids=["rows of floats", "rows of ints", "columns", "texts", "short texts"],
)
def test_an_array_without_elements_comes_back_with_its_shape(tmp_path, array):
    write_npz(tmp_path / "x.npz", {"empty": array, "after": np.arange(3)})
    assert_equal(map_npz(tmp_path / "x.npz", "s"), {"empty": array, "after": np.arange(3)})


@pytest.mark.parametrize(
    "dtype", ["<f2", "<f4", "<f8", "i1", "<i4", "<i8", "u1", "<u8", "?", "<c8", "S3", "<U7", ">f4", "<M8[s]"]
)
def test_any_type_without_objects_comes_back(tmp_path, dtype):
    arrays = {"x": np.array([[0, 1], [1, 0], [1, 1]]).astype(dtype)}
    write_npz(tmp_path / "x.npz", arrays)
    assert_equal(map_npz(tmp_path / "x.npz", "s"), arrays)


def test_views_in_any_order_come_back_as_they_read(tmp_path):
    grid = np.arange(24, dtype=np.float32).reshape(4, 6)
    arrays = {"turned": grid.T, "thinned": grid[::2, ::3], "backwards": grid[::-1], "columns": np.asfortranarray(grid)}
    write_npz(tmp_path / "x.npz", arrays)
    assert_equal(map_npz(tmp_path / "x.npz", "s"), arrays)


def test_a_file_that_numpy_itself_wrote_is_mapped_too(tmp_path):
    np.savez(tmp_path / "x.npz", **ARRAYS, columns=np.asfortranarray(ARRAYS["activations"]))
    assert_equal(map_npz(tmp_path / "x.npz", "s"), ARRAYS | {"columns": ARRAYS["activations"]})


def test_many_arrays_with_names_of_all_lengths_are_all_aligned(tmp_path):
    arrays = {"n" * length: np.full(length, length, np.int8) for length in range(1, 90)}
    write_npz(tmp_path / "x.npz", arrays)
    found = map_npz(tmp_path / "x.npz", "s")
    assert_equal(found, arrays)
    assert {array.offset % 64 for array in found.values()} == {0}


def test_python_objects_are_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"[Oo]bject"):
        write_npz(tmp_path / "x.npz", {"x": np.array([{}, []], object)})
    assert list(tmp_path.iterdir()) == []


def refusal(path):
    with pytest.raises(ArtifactError) as caught:
        map_npz(path, "extract_activations")
    text = str(caught.value)
    assert str(path) in text
    assert text.endswith("dvc repro extract_activations")
    assert "\n" not in text
    return text


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_file_cut_short_is_refused(shard, share):
    content = shard.read_bytes()
    shard.write_bytes(content[: int(share * len(content))])
    refusal(shard)


def test_a_file_that_grew_in_front_or_behind_is_refused_or_reads_the_same(shard):
    content = shard.read_bytes()
    for grown in (b"\0" * 10 + content, content + b"\0" * 10):
        shard.write_bytes(grown)
        try:
            assert_equal(map_npz(shard, "s"), ARRAYS)
        except ArtifactError as error:
            assert "damaged" in str(error)  # noqa: PT017  (either is right)


def test_a_missing_file_is_refused_with_how_to_have_it(tmp_path):
    assert "dvc pull" in refusal(tmp_path / "shard-00000.npz")


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip at all" * 9, np.random.default_rng(0).bytes(500)])
def test_what_is_no_zip_is_refused(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    refusal(tmp_path / "x.npz")


def test_a_folder_in_the_place_of_a_shard_is_refused(tmp_path):
    (tmp_path / "x.npz").mkdir()
    refusal(tmp_path / "x.npz")


def test_a_compressed_file_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", **ARRAYS)
    assert "is compressed" in refusal(tmp_path / "x.npz")


def test_pickled_objects_are_refused_without_being_loaded(tmp_path):
    np.savez(tmp_path / "x.npz", allow_pickle=True, x=np.array([Trap()], object))
    assert "holds Python objects" in refusal(tmp_path / "x.npz")


class Trap:
    def __reduce__(self):
        return (exit, ("a pickle was loaded",))


@pytest.mark.parametrize(
    "member",
    [b"", b"\x93NUMPY", b"\x93NUMPY\x09\x00" + b"x" * 80, b"plain text", b"\x93NUMPY\x01\x00\x04\x00{(:\n" + b"x" * 80],
    ids=["empty", "magic alone", "unknown version", "no npy", "broken header"],
)
def test_a_member_that_is_no_array_is_refused(tmp_path, member):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", member)
    refusal(tmp_path / "x.npz")


@pytest.mark.parametrize(("old", "new"), [(b"(7, 3)", b"(8, 3)"), (b"(7, 3)", b"(6, 3)"), (b"<f2", b"<f4")], ids=str)
def test_a_header_that_promises_another_size_is_refused(shard, old, new):
    content = shard.read_bytes()
    assert old in content
    shard.write_bytes(content.replace(old, new))
    assert "has not the size" in refusal(shard)


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # numpy's own, on a header that only it can mend
@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_no_single_wrong_byte_ends_in_anything_but_arrays_or_a_refusal(tmp_path, flip):
    path = tmp_path / "x.npz"
    write_npz(path, {"a": np.arange(4, dtype=np.float16), "b": np.arange(2)})
    content = path.read_bytes()
    others = {}
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ flip]) + content[at + 1 :])
        try:
            map_npz(path, "s")
        except ArtifactError as error:
            assert "\n" not in str(error)  # noqa: PT017  (either is right)
        except Exception as error:
            others[at] = repr(error)
    assert others == {}
