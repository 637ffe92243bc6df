"""Damaged and forged .npy and .npz files are errors of one line, before memory is allocated for what they claim."""
import io
import resource
import struct
import zipfile

import numpy as np
import pytest

from common.arrays import MAX_VALUES, list_npz, open_npy, read_npy, read_npz
from common.errors import UserError

NPY = io.BytesIO()
np.save(NPY, np.arange(6, dtype=np.float32).reshape(2, 3))
NPY = NPY.getvalue()


def with_header(text, version=1, values=b"\0" * 24):
    """An .npy whose header is any text."""
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode("latin1") + values


def shaped(shape, dtype="<f4", **kwargs):
    return with_header(f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}}}\n", **kwargs)


FORGED = {
    "a header that is cut off": NPY[:40], "no values": NPY[:-24], "another file": b"text", "an empty file": b"",
    "an open bracket": NPY.replace(b"{", b"("), "a text that does not end": NPY.replace(b"False", b"'alse"),
    "a null byte": NPY.replace(b"False", b"Fa\0se"), "nested brackets": with_header("[" * 9000),
    "signs": with_header("-" * 9000 + "1"), "a long header": with_header("{" + " " * (1 << 20), version=2),
    "a header of 4 GB": b"\x93NUMPY\2\0\xff\xff\xff\xff{}", "another version": with_header("{}", version=3),
    "terabytes": shaped((10 ** 12,)), "an overflow": shaped((2 ** 32, 2 ** 32)), "negative lengths": shaped((-2, -3)),
    "values without bytes": shaped((10 ** 12,), "<U0"), "objects": shaped((2,), "|O"), "a pickle": b"\x80\4cos\nsystem\n",
    "a shape of text": shaped("('2',)"), "an unknown type": shaped((2,), "<q4"),
}


@pytest.fixture
def little_memory():
    """A limit of the address space: an array of the claimed size would be a MemoryError."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (16 << 30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("fault", FORGED)
def test_a_forged_array_is_one_line_wherever_it_is_read(tmp_path, fault, little_memory, recwarn):
    path, archive = tmp_path / "a.npy", tmp_path / "a.npz"
    path.write_bytes(FORGED[fault])
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.npy", FORGED[fault])
    for source, read in ((path, lambda: read_npy(path, "write it")), (path, lambda: open_npy(path, "write it")),
                         (archive, lambda: read_npz(archive, "write it")),
                         (archive, lambda: read_npz(archive, "write it", "a"))):
        with pytest.raises(UserError) as raised:
            read()
        message = str(raised.value)
        assert message.startswith(f"{source}: ") and message.endswith("; write it") and "\n" not in message
        assert "memory" not in message and "allocate" not in message, message
    assert not list(recwarn)


def test_whole_files_are_read(tmp_path):
    values = {"a": np.asfortranarray(np.eye(3)), "b": np.array("text"), "c": np.zeros((0, 2)), "d": np.float32(1)}
    np.savez_compressed(tmp_path / "all.npz", **values)
    assert list_npz(tmp_path / "all.npz", "") == list(values)
    for name, array in read_npz(tmp_path / "all.npz", "").items():
        np.testing.assert_array_equal(array, values[name])
        assert array.dtype == values[name].dtype and array.shape == values[name].shape
        np.save(tmp_path / "one.npy", array)
        np.testing.assert_array_equal(read_npy(tmp_path / "one.npy", ""), array)
        np.testing.assert_array_equal(read_npz(tmp_path / "all.npz", "", name)[name], array)


def test_an_array_is_unpacked_once_and_its_checksum_compared(tmp_path, monkeypatch):
    values = np.random.default_rng(0).integers(0, 9, (1000, 1000), np.uint8)
    np.savez_compressed(tmp_path / "a.npz", a=values)
    read, sizes = zipfile.ZipExtFile.read, []

    def counted(member, *arguments):
        sizes.append(len(data := read(member, *arguments)))
        return data

    monkeypatch.setattr(zipfile.ZipExtFile, "read", counted)
    np.testing.assert_array_equal(read_npz(tmp_path / "a.npz", "write it")["a"], values)
    assert values.size <= sum(sizes) < 1.05 * values.size
    np.savez(tmp_path / "b.npz", a=values)
    content = bytearray((tmp_path / "b.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "b.npz").write_bytes(content)
    with pytest.raises(UserError, match="Bad CRC-32"):
        read_npz(tmp_path / "b.npz", "write it")


def test_a_bomb_is_not_unpacked(tmp_path):
    header = shaped((MAX_VALUES + 1,), "|i1", values=b"")
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive, \
            archive.open("a.npy", "w") as member:
        member.write(header)
        for _ in range(MAX_VALUES // (1 << 20) + 1):
            member.write(bytes(1 << 20))
    with pytest.raises(UserError, match=f"holds {MAX_VALUES + 1} values, more than"):
        read_npz(tmp_path / "a.npz", "write it")
    path = tmp_path / "lie.npz"  # the directory claims an exabyte
    np.savez(path, a=np.zeros(3))
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\1\2")
    content[entry + 24:entry + 28] = struct.pack("<I", 0xfffffff0)
    path.write_bytes(content)
    with pytest.raises(UserError, match="a unpacks to|a.npy unpacks to"):
        read_npz(path, "write it")


@pytest.mark.parametrize("offset, value, fault", [(8, 0x40, "flag|encrypted|strong"), (10, 99, "compression")])
def test_flags_and_methods_that_are_not_supported_are_one_line(tmp_path, offset, value, fault):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.zeros(3))
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\1\2") + offset] |= value  # in the directory
    content[content.index(b"PK\3\4") + offset - 2] |= value  # in the header of the member
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"(?i)a\.npz: cannot be read as an .npz of arrays \(.*({fault}).*\); write it"):
        read_npz(path, "write it")


def test_a_missing_file_and_a_missing_array_are_named(tmp_path):
    with pytest.raises(UserError, match=r"no\.npy: No such file or directory; check the path"):
        read_npy(tmp_path / "no.npy", "write it")
    np.savez(tmp_path / "a.npz", a=np.zeros(3))
    with pytest.raises(UserError, match=r"a\.npz: b: cannot be read .*has no b\.npy"):
        read_npz(tmp_path / "a.npz", "write it", "b")
