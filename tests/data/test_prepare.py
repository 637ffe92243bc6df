import os
import signal
import subprocess
import time

import h5py
import numpy as np
import pytest
from PIL import Image

from common.errors import UserError
from common.files import read_json
from data.dataset import load
from data.prepare import _write_part, prepare
from deep import preprocess as deep
from shallow import preprocess as shallow
from tests.conftest import begin, command, one_line, python
from tests.fixtures import lsun as isun
from tests.fixtures import mit, osie, salicon


def test_layout_counts_and_ranges(prepared):
    manifest = read_json(prepared / "manifest.json")
    assert manifest["shallow"] == {"train": 32, "val": 8} and manifest["deep"]["train"] == 36
    with h5py.File(prepared / "shallow.h5") as file:
        assert file["train/image"].shape == (32, 3, 96, 96) and file["train/image"].dtype == np.uint8
        assert file["val/map"].shape == (8, 48, 48) and file["val/map"].dtype == np.float32
        assert 0 <= file["train/map"][...].min() and file["train/map"][...].max() <= 1
        names = [*file["train/name"].asstr(), *file["val/name"].asstr()]
    assert len(set(names)) == 40  # no image both trains and validates
    with h5py.File(prepared / "deep/train_000.h5") as file:
        assert file["data"].shape == (36, 3, 96, 128) and file["label"].shape == (36, 1, 96, 128)
        assert file["data"].dtype == file["label"].dtype == np.float32
        # section 4.2: zero mean over the training set
        np.testing.assert_allclose(file["data"][...].mean(axis=(0, 2, 3)), 0, atol=1e-5)
        assert abs(file["label"][...].mean()) < 1e-5
        assert np.abs(file["data"][...]).max() <= 2


def test_arrays_are_what_preprocessing_makes(prepared):
    manifest = read_json(prepared / "manifest.json")
    source = load("synthetic", "train")
    with h5py.File(prepared / "shallow.h5") as file, h5py.File(prepared / "deep/train_000.h5") as shard:
        sample = source.open(file["train/name"].asstr()[5])
        np.testing.assert_array_equal(file["train/image"][5], shallow.squash_image(sample.image))
        np.testing.assert_array_equal(file["train/map"][5], shallow.squash_density(sample.density))
        resized = deep.resize_image(sample.image, (128, 96))
        np.testing.assert_allclose(shard["data"][5], deep.to_input(resized, manifest["deep"]["mean_bgr"]), atol=1e-6)
        grey = deep.resize_density(sample.density, (128, 96))
        np.testing.assert_allclose(shard["label"][5], deep.to_target(grey, manifest["deep"]["mean_map"]), atol=1e-6)


def test_same_seed_same_arrays(prepared, tmp_path):
    prepare("synthetic", None, tmp_path / "again", "demo", limit=40, jobs=1)
    with h5py.File(prepared / "shallow.h5") as first, h5py.File(tmp_path / "again/shallow.h5") as second:
        np.testing.assert_array_equal(first["train/image"], second["train/image"])
        np.testing.assert_array_equal(first["val/map"], second["val/map"])


KERNELS = [{"OPENBLAS_CORETYPE": "Nehalem"}, {"OPENBLAS_CORETYPE": "Haswell"},
           {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}]


@pytest.mark.parametrize("kind", ["few fixations", "many"])
def test_arrays_do_not_depend_on_the_matrix_library(tmp_path, kind):
    """Other kernels, other threads, Theano and Caffe loaded before or not: the same bits."""
    count = 40 if kind == "few fixations" else 900
    rng = np.random.default_rng(0)
    for folder in ("images", "fixations"):
        (tmp_path / "own" / folder).mkdir(parents=True)
    for index in range(13):
        Image.fromarray(rng.integers(0, 255, (120, 160, 3), np.uint8)).save(tmp_path / f"own/images/{index}.png")
        np.save(tmp_path / f"own/fixations/{index}.npy", rng.uniform(0, (159, 119), (count, 2)))
    arguments = ["folder+sigma=12", str(tmp_path / "own")]
    sums = set()
    for number, (environment, imports) in enumerate([({}, ""), *((kernel, "") for kernel in KERNELS),
                                                     ({}, "import shallow.backend, deep.backend; deep.backend.load_caffe()")]):
        out = tmp_path / str(number)
        process = python("-c", f"{imports}\nfrom data.prepare import prepare; prepare(*{arguments}, {str(out)!r}, jobs=2)", **environment)
        assert process.returncode == 0, process.stderr
        sums.add(read_json(out / "manifest.json")["sha256"])
    assert len(sums) == 1


def test_mirrored_copies_come_after_all_others_and_never_validate(prepared, tmp_path):
    prepare("synthetic", None, tmp_path / "mirrored", "demo", limit=40, jobs=2, mirror=True)
    there, manifest = sorted(path.name for path in (tmp_path / "mirrored/deep").iterdir()), read_json(tmp_path / "mirrored/manifest.json")
    assert there == ["train_000.h5", "train_mirrored_000.h5", "val_000.h5"]  # Caffe reads them in this order
    assert manifest["deep"]["train"] == 72 and manifest["deep"]["val"] == 4 and manifest["mirror"] is True
    with h5py.File(tmp_path / "mirrored/deep/train_000.h5") as shard, h5py.File(prepared / "deep/train_000.h5") as before, \
            h5py.File(tmp_path / "mirrored/deep/train_mirrored_000.h5") as mirrored:
        for name in ("data", "label"):
            np.testing.assert_array_equal(shard[name], before[name])
            np.testing.assert_array_equal(shard[name][...], mirrored[name][...][..., ::-1])
    with pytest.raises(UserError, match="mirror True -> False"):
        prepare("synthetic", None, tmp_path / "mirrored", "demo", limit=40)


def test_the_authors_means(prepared, tmp_path):
    prepare("synthetic", None, tmp_path / "authors", "demo", limit=40, jobs=2, means="authors")
    ours, theirs = (read_json(folder / "manifest.json")["deep"] for folder in (prepared, tmp_path / "authors"))
    assert theirs["mean_bgr"] == [100, 110, 118] and theirs["mean_map"] == 31
    with h5py.File(prepared / "deep/val_000.h5") as one, h5py.File(tmp_path / "authors/deep/val_000.h5") as other:
        shift = (np.array(ours["mean_bgr"]) - theirs["mean_bgr"]) / 127.5
        np.testing.assert_allclose(other["data"][...] - one["data"][...], np.broadcast_to(shift[:, None, None], one["data"].shape), atol=1e-5)
        np.testing.assert_allclose(other["label"][...] - one["label"][...], (ours["mean_map"] - 31) / 127.5, atol=1e-5)


def test_a_disk_too_small_is_said_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: __import__("collections").namedtuple("usage", "free")(50_000_000))
    with pytest.raises(UserError, match=r"1\d\d MB are needed there and 47 MB are left; free some space"):
        prepare("synthetic", None, tmp_path / "large", "paper", limit=100)
    assert not list(tmp_path.iterdir())


def test_nine_thousand_train_and_one_thousand_validate():
    """Section 4.2, of SALICON's 10,000 training images; and in how many files of how much memory."""
    from data.prepare import SHARD_SIZE, VALIDATION_FRACTION, sample_bytes
    assert round(10_000 * VALIDATION_FRACTION["deep"]) == 1_000
    assert 10_000 * sample_bytes((320, 240)) == 12_288_000_000 and SHARD_SIZE * sample_bytes((320, 240)) < 2**27


def test_paper_scale_is_320x240(tmp_path):
    prepare("synthetic", None, tmp_path / "paper", "paper", limit=10, jobs=1)
    with h5py.File(tmp_path / "paper/deep/train_000.h5") as shard:
        assert shard["data"].shape == (9, 3, 240, 320)


def test_the_same_again_does_nothing_and_something_else_is_refused(prepared, capsys):
    before = (prepared / "manifest.json").stat().st_mtime_ns
    prepare("synthetic", None, prepared, "demo", limit=40)
    assert "prepared before" in capsys.readouterr().out
    with pytest.raises(UserError, match="was prepared with other settings.*delete it"):
        prepare("synthetic", None, prepared, "paper", limit=40)
    assert (prepared / "manifest.json").stat().st_mtime_ns == before


def start_and_wait(out, *options, parts=1):
    """Begin to prepare 200 pictures with two processes; returns when some parts are there."""
    process = begin("-m", "data.prepare", "--out", out, "--limit", "200", "--jobs", "2", *options,
                    stderr=subprocess.PIPE, start_new_session=True)
    folder, until = out.with_name(out.name + ".parts"), time.monotonic() + 120
    while len(list(folder.glob("*.h5"))) < parts:
        assert process.poll() is None and time.monotonic() < until, process.communicate()[1]
        time.sleep(0.02)
    return process, folder


@pytest.mark.parametrize("sent, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_it_keeps_whole_parts_and_says_one_line(tmp_path, sent, code):
    process, parts = start_and_wait(tmp_path / "data/out")
    process.send_signal(sent)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == code and "Traceback" not in errors, errors
    assert "the same command continues" in errors
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["out.parts"]


def test_killed_it_goes_on_and_makes_the_same(tmp_path):
    """Twice killed with its workers; what was done is not done again; the arrays are those of one go, by one process."""
    out, seen = tmp_path / "killed/out", {}
    for parts in (1, 4):
        process, folder = start_and_wait(out, parts=parts)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        now = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.h5")}
        assert now.items() >= seen.items() and len(now) < 8
        seen = now
    prepare("synthetic", None, out, "demo", limit=200, jobs=2)
    assert [path.name for path in out.parent.iterdir()] == ["out"]  # no parts, no scratch
    prepare("synthetic", None, tmp_path / "whole", "demo", limit=200, jobs=1)
    assert read_json(out / "manifest.json") == read_json(tmp_path / "whole/manifest.json")
    for path in sorted(path for path in out.rglob("*") if path.suffix == ".h5"):
        with h5py.File(path) as one, h5py.File(tmp_path / "whole" / path.relative_to(out)) as other:
            one.visititems(lambda name, node, other=other: isinstance(node, h5py.Dataset)
                           and np.testing.assert_array_equal(node[...], other[name][...]))


def test_two_at_once_are_kept_apart(tmp_path):
    process, _ = start_and_wait(tmp_path / "out")
    with pytest.raises(UserError, match="another process is at work in it"):
        prepare("synthetic", None, tmp_path / "out", "demo", limit=200)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)


def test_a_damaged_part_is_named(tmp_path):
    process, parts = start_and_wait(tmp_path / "out")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    damaged = sorted(parts.glob("*.h5"))[0]
    damaged.write_bytes(damaged.read_bytes()[:3000])
    line = one_line(command("data.prepare", "--out", tmp_path / "out", "--limit", "200"))
    assert str(damaged) in line and "delete it and run the same command again" in line
    damaged.unlink()
    assert command("data.prepare", "--out", tmp_path / "out", "--limit", "200").returncode == 0


@pytest.mark.parametrize("out", ["own", "own/images", ".", "other"])
def test_a_folder_of_something_else_is_left_alone(tmp_path, monkeypatch, out):
    own = tmp_path / "own"
    salicon.write_json(own)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/manifest.json").write_text('{"a": 1}')
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="was not made by this command; give another --out"):
        prepare("salicon", own, out)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_of_parts_that_is_someone_elses_is_left_alone(tmp_path):
    (tmp_path / "out.parts").mkdir()
    (tmp_path / "out.parts/notes.txt").touch()
    with pytest.raises(UserError, match=r"out.parts: is there and was not made by this command"):
        prepare("synthetic", None, tmp_path / "out", limit=20)


def test_a_repaired_picture_costs_its_part_alone(tmp_path):
    osie.write(tmp_path / "osie", 80)
    train = [str(name) for name in np.random.default_rng(2016).permutation(sorted(load("osie", "train", tmp_path / "osie").names))]
    path = tmp_path / "osie/stimuli" / f"{train[60]}.jpg"
    whole = path.read_bytes()
    path.write_bytes(whole[:3000])
    with pytest.raises(UserError, match=f"{train[60]}.jpg"):
        prepare("osie", tmp_path / "osie", tmp_path / "out")
    before = {part.name: part.stat().st_mtime_ns for part in (tmp_path / "out.parts").glob("*.h5")}
    assert len(before) == 2
    redone = []

    def note(*args):
        redone.append(args[0].name)
        return _write_part(*args)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("data.prepare._write_part", note)
        prepare("osie", tmp_path / "osie", tmp_path / "out", skip_bad=True)
    assert len(redone) == 1 and redone[0] not in before
    with pytest.raises(UserError, match="with --skip-bad, which left out 1 images"):
        prepare("osie", tmp_path / "osie", tmp_path / "out")
    path.write_bytes(whole)
    prepare("osie", tmp_path / "osie", tmp_path / "out")
    assert read_json(tmp_path / "out/manifest.json")["left_out"] == {}
    prepare("osie", tmp_path / "osie", tmp_path / "out", skip_bad=True)  # nothing was left out: the same


def test_exchanged_coordinates_stop_it_even_with_skip_bad(tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("images", "fixations"):
        (tmp_path / "own" / kind).mkdir(parents=True)
    for index in range(15):
        Image.fromarray(rng.integers(0, 255, (60, 80, 3), np.uint8)).save(tmp_path / f"own/images/{index}.png")
        np.save(tmp_path / f"own/fixations/{index}.npy", rng.uniform(0, (59, 79), (20, 2)))  # [row, col]
    with pytest.raises(UserError, match=r"\[row, col\] where \[x, y\] is expected"):
        prepare("folder", tmp_path / "own", tmp_path / "out", skip_bad=True)


@pytest.fixture
def tiny_osie(tmp_path):
    osie.write(tmp_path / "osie", 14)
    return tmp_path / "osie"


def test_other_files_make_it_stale(tiny_osie, tmp_path, capsys):
    prepare("osie", tiny_osie, tmp_path / "out")
    before = read_json(tmp_path / "out/manifest.json")
    assert before["edition"] == "14 images with eye and mouse data" and before["split"] == "train" and before["sigma"] == 24
    prepare("osie", tiny_osie, tmp_path / "out")
    assert "prepared before" in capsys.readouterr().out
    train = load("osie", "train", tiny_osie).names
    (tiny_osie / "stimuli" / f"{train[0]}.jpg").write_bytes((tiny_osie / "stimuli" / f"{train[1]}.jpg").read_bytes())
    prepare("osie", tiny_osie, tmp_path / "out")
    after = read_json(tmp_path / "out/manifest.json")
    assert "stale" in capsys.readouterr().out and after["sha256"] != before["sha256"]
    os.utime(tiny_osie / "stimuli" / f"{train[0]}.jpg")  # a new date alone: made again, and the same arrays
    prepare("osie", tiny_osie, tmp_path / "out")
    assert read_json(tmp_path / "out/manifest.json")["sha256"] == after["sha256"]


def test_bad_images_stop_it_or_are_left_out_and_listed(tiny_osie, tmp_path):
    train = load("osie", "train", tiny_osie).names
    truncated, gone = (tiny_osie / "stimuli" / f"{name}.jpg" for name in train[:2])
    truncated.write_bytes(truncated.read_bytes()[:3000])
    arguments = ("data.prepare", "--dataset", "osie", "--data-root", tiny_osie, "--out", tmp_path / "out")
    assert f"{truncated}: cannot be read as an image" in one_line(command(*arguments))
    gone_mouse = tiny_osie / "mouse_amt" / f"{train[1]}.mat"
    gone_mouse.write_bytes(b"MATLAB 5.0 MAT-file")
    process = command(*arguments, "--skip-bad")
    assert process.returncode == 1 and "10 are needed" not in process.stderr and "9 images could be read" in one_line(process)


def test_images_left_out_are_in_the_manifest(tmp_path):
    osie.write(tmp_path / "osie", 20)
    train = load("osie", "train", tmp_path / "osie").names
    path = tmp_path / "osie/stimuli" / f"{train[4]}.jpg"
    path.write_bytes(path.read_bytes()[:3000])
    process = command("data.prepare", "--dataset", "osie", "--data-root", tmp_path / "osie", "--out", tmp_path / "out", "--skip-bad")
    assert process.returncode == 0 and f"left out: {path}" in process.stderr and "1 left out" in process.stdout
    manifest = read_json(tmp_path / "out/manifest.json")
    assert manifest["images"] == 15 and list(manifest["left_out"]) == [train[4]]
    with h5py.File(tmp_path / "out/shallow.h5") as file:
        names = [*file["train/name"].asstr(), *file["val/name"].asstr()]
        assert sorted(names) == sorted(set(train) - {train[4]}) and len(file["train/image"]) == 12
        sample = load("osie", "train", tmp_path / "osie").open(names[7])
        np.testing.assert_array_equal(file["train/image"][7], shallow.squash_image(sample.image))


def test_missing_files_are_said_before_anything_is_read(tmp_path):
    isun.write(tmp_path / "isun", "isun")
    (tmp_path / "isun/images/sun_train_0003.jpg").unlink()
    with pytest.raises(UserError, match=r"sun_train_0003.jpg: missing, 1 of 13 files in all; unpack the archive again, or leave"):
        prepare("isun", tmp_path / "isun", tmp_path / "out")
    prepare("isun", tmp_path / "isun", tmp_path / "out", skip_bad=True)
    assert list(read_json(tmp_path / "out/manifest.json")["left_out"]) == ["sun_train_0003"]


@pytest.mark.parametrize("name, write", [
    ("salicon", salicon.write_json), ("salicon", lambda root: salicon.write_mat(root, "2017", maps=True)),
    ("salicon", lambda root: isun.write(root, "salicon")), ("isun", lambda root: isun.write(root, "isun", maps=True)),
    ("mit1003", lambda root: mit.write_mit1003(root, 13)), ("mit1003+gaze=samples", lambda root: mit.write_mit1003(root, 13)),
])
def test_every_set_of_the_paper_can_be_prepared(tmp_path, name, write):
    write(tmp_path / "set")
    prepare(name, tmp_path / "set", tmp_path / "out", jobs=2)
    with h5py.File(tmp_path / "out/shallow.h5") as file, h5py.File(tmp_path / "out/deep/train_000.h5") as shard:
        assert file["train/map"][...].max() > 0.2 and file["train/image"][...].std() > 20
        assert shard["label"][...].std() > 0.01


ODD = {  # kinds of picture that COCO and people's folders hold
    "grey.jpg": ("L", {}), "palette.png": ("P", {}), "alpha.png": ("RGBA", {}), "grey_alpha.png": ("LA", {}),
    "cmyk.jpg": ("CMYK", {}), "deep.png": ("I;16", {}), "bits.png": ("1", {}), "turned.jpg": ("RGB", {"exif": 6}),
}


def test_odd_pictures_are_prepared(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "own/images").mkdir(parents=True)
    (tmp_path / "own/fixations").mkdir()
    for copy in range(2):
        for name, (mode, options) in ODD.items():
            picture = Image.fromarray(rng.integers(0, 255, (60, 80, 3), np.uint8))
            picture = Image.fromarray(rng.integers(0, 65535, (60, 80)).astype(np.uint16)) if mode == "I;16" else picture.convert(mode)
            if options:
                exif = Image.Exif()
                exif[0x0112], options = options["exif"], {"exif": exif}
            picture.save(tmp_path / "own/images" / f"{copy}_{name}", **options)
            points = [(50, 70)] if name == "turned.jpg" else [(70, 50)]  # upright, as people saw it
            np.save(tmp_path / "own/fixations" / f"{copy}_{name.split('.')[0]}.npy", points)
    everything = load("folder", "all", tmp_path / "own")
    assert all(len(sample.fixations) == 1 and sample.image.shape == (*sample.shape, 3) for sample in everything)
    assert everything.open("0_turned").shape == (80, 60)
    prepare("folder", tmp_path / "own", tmp_path / "out")
    assert read_json(tmp_path / "out/manifest.json")["images"] == 13


def test_too_few_images(tmp_path):
    with pytest.raises(UserError, match="9 training images are too few"):
        prepare("synthetic", None, tmp_path / "few", limit=9)


def test_a_wrong_folder_leaves_nothing_behind(tmp_path):
    process = command("data.prepare", "--dataset", "osie", "--data-root", tmp_path, "--out", tmp_path / "out")
    assert "not OSIE" in one_line(process) and list(tmp_path.iterdir()) == []
