"""Files that would take much more time or memory than their size suggests are errors of one line, at once."""
import gzip
import struct
import time
import zlib

import h5py
import numpy as np
import pytest
from PIL import Image

from common.errors import UserError
from common.images import image_shape, read_image
from common.limits import LIMITS, limit
from data.map_files import read_map
from data.tables import read_table
from shallow.batches import TrainingData


def write_black_png(path, width, height):
    """A PNG of one colour with any number of pixels, which compresses to a thousandth."""
    pack = zlib.compressobj(9)
    rows = [pack.compress(bytes(1 + width)) for _ in range(height)] + [pack.flush()]

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
                     + chunk(b"IDAT", b"".join(rows)) + chunk(b"IEND", b""))


@pytest.fixture(autouse=True)
def quick():
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("read", [read_image, image_shape, read_map])
def test_an_image_of_too_many_pixels_is_not_decoded(tmp_path, read, monkeypatch, recwarn):
    path = tmp_path / "a.png"
    write_black_png(path, 16_000, 12_000)
    assert path.stat().st_size < 300_000
    with pytest.raises(UserError, match=r"^\S+a\.png: has 16000x12000 pixels, more than 128 megapixels; .*SALIENCY_IMAGE_MEGA"):
        read(path)
    monkeypatch.setenv("SALIENCY_IMAGE_MEGAPIXELS", "192")
    assert read(path)[0] is not None and not list(recwarn)


def test_a_table_of_too_many_columns_is_rejected(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text("x,y" + ",a" * 10_000_000 + "\n1,2\n")
    with pytest.raises(UserError, match=r"a\.csv: its first line has 10000002 columns, more than 10000; .*TABLE_COLUMNS"):
        read_table(path)
    path.write_text("x,y" + ",a" * 12_000 + "\n1,2\n")
    monkeypatch.setenv("SALIENCY_TABLE_COLUMNS", "20000")
    assert read_table(path).points.tolist() == [[1, 2]]


@pytest.mark.parametrize("encoding, header", [("utf-8", "x,y"), ("utf-16", "x,y"), ("cp1252", "x,y,Größe")])
def test_a_table_that_unpacks_to_gigabytes_is_not_read(tmp_path, monkeypatch, encoding, header):
    monkeypatch.setenv("SALIENCY_TABLE_MB", "64")
    with gzip.open(tmp_path / "a.csv.gz", "wb", compresslevel=1) as file:
        file.write(f"{header}\n".encode(encoding))
        rows = ("1,2\n" * (1 << 18)).encode("utf-16-le" if encoding == "utf-16" else encoding)
        for _ in range(70):
            file.write(rows)
    with pytest.raises(UserError, match="has more than 64 MB of text"):
        read_table(tmp_path / "a.csv.gz")


def test_training_data_that_announce_a_billion_rows_are_damaged(tmp_path):
    with h5py.File(tmp_path / "shallow.h5", "w") as file:
        for split in ("train", "val"):
            file.create_dataset(f"{split}/image", (10 ** 9, 3, 96, 96), "u1", chunks=(1, 3, 96, 96))
            file.create_dataset(f"{split}/map", (10 ** 9, 48, 48), "f4", chunks=(1, 48, 48))
    with pytest.raises(UserError, match=r"shallow\.h5: damaged .train/image announces the shape .1000000000, .*; delete"):
        TrainingData(tmp_path / "shallow.h5")


@pytest.mark.parametrize("orientation, shape", [(1, (4, 6)), (6, (6, 4)), (9, (4, 6)), (65535, (4, 6))])
def test_the_shape_of_a_rotated_image_is_that_of_its_pixels(tmp_path, orientation, shape):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    assert image_shape(tmp_path / "a.jpg") == shape == read_image(tmp_path / "a.jpg").shape[:2]


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_must_be_a_number(name, monkeypatch):
    assert limit(name) == LIMITS[name]
    for text in ("0", "-1", "1e3", "\u00b2"):
        monkeypatch.setenv(name, text)
        with pytest.raises(UserError, match=f"{name}=.*: give a whole number above 0"):
            limit(name)
