"""Preparation in parts, with the nets' own commands: kills, two at once, damage, staleness, images left out."""
import os
import signal
import subprocess
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest
from PIL import Image

import deep.prepare
from common.errors import UserError
from common.files import read_json
from data import parts
from data.dataset import load
from shallow.prepare import prepare
from shallow.preprocess import squash_image
from tests.conftest import begin, command, one_line, python
from tests.fixtures import lsun as isun
from tests.fixtures import mit, osie, salicon

KERNELS = [{"OPENBLAS_CORETYPE": "Nehalem"}, {"OPENBLAS_CORETYPE": "Haswell"},
           {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}]
BOTH_NETS = """
from deep.prepare import prepare as prepare_deep
from shallow.prepare import prepare as prepare_shallow
prepare_shallow({name!r}, {root!r}, {out!r} + "-shallow", jobs=2)
prepare_deep({name!r}, {root!r}, {out!r} + "-deep", jobs=2)
"""


def write_noise(root, points):
    """Write a folder data set with images of noise and these fixations, one array per image; return its path."""
    rng = np.random.default_rng(0)
    for folder in ("images", "fixations"):
        (root / folder).mkdir(parents=True)
    for index, fixations in enumerate(points):
        Image.fromarray(rng.integers(0, 255, (120, 160, 3), np.uint8)).save(root / f"images/{index}.png")
        np.save(root / f"fixations/{index}.npy", fixations)
    return root


@pytest.mark.parametrize("count", [40, 900])
def test_arrays_do_not_depend_on_the_matrix_library(tmp_path, count):
    """Other kernels, other threads, Theano and Caffe loaded before or not: both nets' arrays have the same bits."""
    rng = np.random.default_rng(0)
    root = write_noise(tmp_path / "own", rng.uniform(0, (159, 119), (13, count, 2)))
    hashes = set()
    runs = [({}, ""), *((kernel, "") for kernel in KERNELS),
            ({}, "import shallow.backend, deep.backend; deep.backend.load_caffe()")]
    for number, (environment, imports) in enumerate(runs):
        out = str(tmp_path / str(number))
        script = imports + BOTH_NETS.format(name="folder+sigma=12", root=str(root), out=out)
        process = python("-c", script, **environment)
        assert process.returncode == 0, process.stderr
        hashes.add(tuple(read_json(f"{out}-{net}/manifest.json")["sha256"] for net in ("shallow", "deep")))
    assert len(hashes) == 1


def test_the_same_command_again_does_nothing_and_other_settings_are_an_error(tmp_path, capsys):
    prepare("synthetic", None, tmp_path / "out", limit=10)
    before = (tmp_path / "out/manifest.json").stat().st_mtime_ns
    prepare("synthetic", None, tmp_path / "out", limit=10)
    assert "already prepared" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"was prepared with other settings \(seed 2016 -> 1\); delete it"):
        prepare("synthetic", None, tmp_path / "out", limit=10, seed=1)
    with pytest.raises(UserError, match="net 'shallow' -> 'deep'"):
        deep.prepare.prepare("synthetic", None, tmp_path / "out", limit=10)
    assert (tmp_path / "out/manifest.json").stat().st_mtime_ns == before


def start_and_wait(out, *options, net="shallow", count=1):
    """Start to prepare 200 images with two processes; return the process and the folder of parts at `count` parts."""
    process = begin("-m", f"{net}.prepare", "--out", out, "--limit", "200", "--jobs", "2", *options,
                    stderr=subprocess.PIPE, start_new_session=True)
    folder, until = out.with_name(out.name + ".parts"), time.monotonic() + 120
    while len(list(folder.glob("*.h5"))) < count:
        assert process.poll() is None and time.monotonic() < until, process.communicate()[1]
        time.sleep(0.02)
    return process, folder


@pytest.mark.parametrize("sent, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_keeps_whole_parts_and_prints_one_line(tmp_path, sent, code):
    process, _ = start_and_wait(tmp_path / "data/out")
    process.send_signal(sent)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == code and "Traceback" not in errors, errors
    assert "run the same command to continue" in errors
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["out.parts"]


@pytest.mark.slow
@pytest.mark.parametrize("net, write", [("shallow", prepare), ("deep", deep.prepare.prepare)])
def test_a_killed_preparation_continues_and_makes_the_same(tmp_path, net, write):
    """Killed twice with its workers: finished parts are not computed again; the arrays equal those of one process."""
    out, seen = tmp_path / "killed/out", {}
    for count in (1, 4):
        process, folder = start_and_wait(out, net=net, count=count)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        now = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.h5")}
        assert now.items() >= seen.items() and len(now) < 8
        seen = now
    write("synthetic", None, out, limit=200, jobs=2)
    assert [path.name for path in out.parent.iterdir()] == ["out"]  # no parts, no temporary files
    write("synthetic", None, tmp_path / "whole", limit=200, jobs=1)
    assert read_json(out / "manifest.json") == read_json(tmp_path / "whole/manifest.json")
    paths = sorted(out.glob("*.h5"))
    assert len(paths) == {"shallow": 1, "deep": 3}[net]
    for path in paths:
        with h5py.File(path) as file, h5py.File(tmp_path / "whole" / path.name) as other:
            file.visititems(lambda name, node, other=other: isinstance(node, h5py.Dataset)
                            and np.testing.assert_array_equal(node[...], other[name][...]))


def test_two_processes_cannot_prepare_one_folder(tmp_path):
    process, _ = start_and_wait(tmp_path / "out")
    with pytest.raises(UserError, match="another process"):
        prepare("synthetic", None, tmp_path / "out", limit=200)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)


@pytest.mark.slow
def test_a_damaged_part_is_named(tmp_path):
    process, folder = start_and_wait(tmp_path / "out")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    damaged = sorted(folder.glob("*.h5"))[0]
    damaged.write_bytes(damaged.read_bytes()[:3000])
    line = one_line(command("shallow.prepare", "--out", tmp_path / "out", "--limit", "200"))
    assert str(damaged) in line and "delete it and run the same command again" in line
    damaged.unlink()
    assert command("shallow.prepare", "--out", tmp_path / "out", "--limit", "200").returncode == 0


@pytest.mark.parametrize("out", ["own", "own/images", ".", "other"])
def test_a_foreign_folder_is_left_alone(tmp_path, monkeypatch, out):
    own = tmp_path / "own"
    salicon.write_json(own)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/manifest.json").write_text('{"a": 1}')
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="was not made by this command; give another --out"):
        prepare("salicon", own, out)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_foreign_folder_of_parts_is_left_alone(tmp_path):
    (tmp_path / "out.parts").mkdir()
    (tmp_path / "out.parts/notes.txt").touch()
    with pytest.raises(UserError, match=r"out.parts: exists and was not made by this command"):
        prepare("synthetic", None, tmp_path / "out", limit=20)


def test_a_repaired_image_costs_its_part_alone(tmp_path):
    osie.write(tmp_path / "osie", 80)
    names = sorted(load("osie", "train", tmp_path / "osie").names)
    train = [str(name) for name in np.random.default_rng(2016).permutation(names)]
    path = tmp_path / "osie/stimuli" / f"{train[60]}.jpg"
    whole = path.read_bytes()
    path.write_bytes(whole[:3000])
    with pytest.raises(UserError, match=f"{train[60]}.jpg"):
        prepare("osie", tmp_path / "osie", tmp_path / "out")
    before = {part.name: part.stat().st_mtime_ns for part in (tmp_path / "out.parts").glob("*.h5")}
    assert len(before) == 2
    computed, write_part = [], parts._write_part

    def note(*args):
        computed.append(args[0].name)
        return write_part(*args)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "_write_part", note)
        prepare("osie", tmp_path / "osie", tmp_path / "out", skip_bad=True)
    assert len(computed) == 1 and computed[0] not in before
    with pytest.raises(UserError, match="with --skip-bad, which left out 1 images"):
        prepare("osie", tmp_path / "osie", tmp_path / "out")
    path.write_bytes(whole)
    prepare("osie", tmp_path / "osie", tmp_path / "out")
    assert read_json(tmp_path / "out/manifest.json")["left_out"] == {}
    prepare("osie", tmp_path / "osie", tmp_path / "out", skip_bad=True)  # nothing was left out: the same


def test_exchanged_coordinates_are_an_error_even_with_skip_bad(tmp_path):
    rng = np.random.default_rng(0)
    root = write_noise(tmp_path / "own", rng.uniform(0, (119, 159), (15, 20, 2)))  # [row, col]
    with pytest.raises(UserError, match=r"\[row, col\] where \[x, y\] is expected"):
        prepare("folder", root, tmp_path / "out", skip_bad=True)


@pytest.fixture
def tiny_osie(tmp_path):
    osie.write(tmp_path / "osie", 14)
    return tmp_path / "osie"


def test_other_files_make_it_out_of_date(tiny_osie, tmp_path, capsys):
    prepare("osie", tiny_osie, tmp_path / "out")
    before = read_json(tmp_path / "out/manifest.json")
    assert before["edition"] == "14 images with eye and mouse data" and before["split"] == "train"
    assert before["sigma"] == 24
    prepare("osie", tiny_osie, tmp_path / "out")
    assert "already prepared" in capsys.readouterr().out
    train = load("osie", "train", tiny_osie).names
    first, second = (tiny_osie / "stimuli" / f"{name}.jpg" for name in train[:2])
    first.write_bytes(second.read_bytes())
    prepare("osie", tiny_osie, tmp_path / "out")
    after = read_json(tmp_path / "out/manifest.json")
    assert "out of date" in capsys.readouterr().out and after["sha256"] != before["sha256"]
    os.utime(first)  # a new date alone: prepared again, the same arrays
    prepare("osie", tiny_osie, tmp_path / "out")
    assert read_json(tmp_path / "out/manifest.json")["sha256"] == after["sha256"]


def compute_shape(sample):
    return {"shape": np.array(sample.shape)}


def write_shapes(folder, names, train, read):
    np.save(folder / "shapes.npy", [shape for shape, in read("shape")])
    return {"longest": 160}


def test_any_job_can_be_prepared_and_its_code_makes_it_out_of_date(tmp_path, capsys):
    root = write_noise(tmp_path / "own", np.full((15, 3, 2), 50.0))
    (tmp_path / "code.py").write_text("VALUE = 1")
    job = parts.Job("toy", compute_shape, write_shapes, 0.25, part_bytes=100, output_bytes=100,
                    code=[tmp_path / "code.py"], settings={"colour": "red"})
    parts.prepare(job, "folder", root, tmp_path / "out")
    manifest = read_json(tmp_path / "out/manifest.json")
    assert (manifest["net"], manifest["colour"], manifest["longest"]) == ("toy", "red", 160)
    assert (manifest["images"], manifest["train"], manifest["val"]) == (12, 9, 3)
    np.testing.assert_array_equal(np.load(tmp_path / "out/shapes.npy"), [[120, 160]] * 12)
    parts.prepare(job, "folder", root, tmp_path / "out")
    assert "already prepared" in capsys.readouterr().out
    (tmp_path / "code.py").write_text("VALUE = 2")
    parts.prepare(job, "folder", root, tmp_path / "out")
    assert "out of date" in capsys.readouterr().out
    with pytest.raises(UserError, match="colour 'red' -> 'blue'"):
        parts.prepare(replace(job, settings={"colour": "blue"}), "folder", root, tmp_path / "out")


def test_an_image_that_cannot_be_read_is_an_error_or_is_left_out(tiny_osie, tmp_path):
    train = load("osie", "train", tiny_osie).names
    truncated = tiny_osie / "stimuli" / f"{train[0]}.jpg"
    truncated.write_bytes(truncated.read_bytes()[:3000])
    arguments = ("shallow.prepare", "--dataset", "osie", "--data-root", tiny_osie, "--out", tmp_path / "out")
    assert f"{truncated}: cannot be read as an image" in one_line(command(*arguments))
    for name in train[1:-1]:
        (tiny_osie / "mouse_amt" / f"{name}.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    assert "1 images could be read and have a fixation" in one_line(command(*arguments, "--skip-bad"))


def test_images_without_a_fixation_are_not_trained_on(tmp_path, capsys):
    root = write_noise(tmp_path / "mine", [[(5, 9)]] * 6)
    names = load("folder", "train", root).names
    np.save(root / "fixations" / f"{names[0]}.npy", [(700, 9)])
    prepare("folder", root, tmp_path / "out")
    assert "1 without a fixation" in capsys.readouterr().out
    assert read_json(tmp_path / "out/manifest.json")["without_fixations"] == [names[0]]
    with h5py.File(tmp_path / "out/shallow.h5") as file:
        assert set([*file["train/name"].asstr(), *file["val/name"].asstr()]) == set(names[1:])


def test_images_left_out_are_in_the_manifest(tmp_path):
    osie.write(tmp_path / "osie", 20)
    train = load("osie", "train", tmp_path / "osie").names
    path = tmp_path / "osie/stimuli" / f"{train[4]}.jpg"
    path.write_bytes(path.read_bytes()[:3000])
    process = command("shallow.prepare", "--dataset", "osie", "--data-root", tmp_path / "osie",
                      "--out", tmp_path / "out", "--skip-bad")
    assert process.returncode == 0 and f"left out: {path}" in process.stderr and "1 unreadable" in process.stdout
    manifest = read_json(tmp_path / "out/manifest.json")
    assert manifest["images"] == 15 and list(manifest["left_out"]) == [train[4]]
    with h5py.File(tmp_path / "out/shallow.h5") as file:
        names = [*file["train/name"].asstr(), *file["val/name"].asstr()]
        assert sorted(names) == sorted(set(train) - {train[4]}) and len(file["train/image"]) == 12
        sample = load("osie", "train", tmp_path / "osie").open(names[7])
        np.testing.assert_array_equal(file["train/image"][7], squash_image(sample.image))


def test_missing_files_are_named_before_anything_is_read(tmp_path):
    isun.write(tmp_path / "isun", "isun")
    (tmp_path / "isun/images/sun_train_0003.jpg").unlink()
    with pytest.raises(UserError, match=r"sun_train_0003.jpg: missing \(1 of 13 files in all\); unpack the archive again, or use --skip-bad"):
        prepare("isun", tmp_path / "isun", tmp_path / "out")
    prepare("isun", tmp_path / "isun", tmp_path / "out", skip_bad=True)
    assert list(read_json(tmp_path / "out/manifest.json")["left_out"]) == ["sun_train_0003"]


@pytest.mark.parametrize("name, write", [
    ("salicon", salicon.write_json), ("salicon", lambda root: salicon.write_mat(root, "2017", maps=True)),
    ("salicon", lambda root: isun.write(root, "salicon")), ("isun", lambda root: isun.write(root, "isun", maps=True)),
    ("mit1003", lambda root: mit.write_mit1003(root, 13)),
    ("mit1003+gaze=samples", lambda root: mit.write_mit1003(root, 13)),
])
def test_every_data_set_of_the_paper_can_be_prepared_for_both_nets(tmp_path, name, write):
    write(tmp_path / "set")
    prepare(name, tmp_path / "set", tmp_path / "shallow", jobs=2)
    deep.prepare.prepare(name, tmp_path / "set", tmp_path / "deep", jobs=2)
    with h5py.File(tmp_path / "shallow/shallow.h5") as file, h5py.File(tmp_path / "deep/train_000.h5") as shard:
        assert file["train/map"][...].max() > 0.2 and file["train/image"][...].std() > 20
        assert shard["label"][...].std() > 0.01


ODD = {  # kinds of image that COCO and users' folders hold: mode and EXIF orientation
    "grey.jpg": ("L", None), "palette.png": ("P", None), "alpha.png": ("RGBA", None), "grey_alpha.png": ("LA", None),
    "cmyk.jpg": ("CMYK", None), "deep.png": ("I;16", None), "bits.png": ("1", None), "turned.jpg": ("RGB", 6),
}


def test_odd_images_are_prepared(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "own/images").mkdir(parents=True)
    (tmp_path / "own/fixations").mkdir()
    for copy in range(2):
        for name, (mode, orientation) in ODD.items():
            image = Image.fromarray(rng.integers(0, 255, (60, 80, 3), np.uint8))
            image = Image.fromarray(rng.integers(0, 65535, (60, 80)).astype(np.uint16)) if mode == "I;16" else image.convert(mode)
            options = {}
            if orientation:
                options["exif"] = Image.Exif()
                options["exif"][0x0112] = orientation
            image.save(tmp_path / "own/images" / f"{copy}_{name}", **options)
            points = [(50, 70)] if name == "turned.jpg" else [(70, 50)]  # in the upright image
            np.save(tmp_path / "own/fixations" / f"{copy}_{name.split('.')[0]}.npy", points)
    samples = load("folder", "all", tmp_path / "own")
    assert all(len(sample.fixations) == 1 and sample.image.shape == (*sample.shape, 3) for sample in samples)
    assert samples.open("0_turned").shape == (80, 60)
    prepare("folder", tmp_path / "own", tmp_path / "out")
    assert read_json(tmp_path / "out/manifest.json")["images"] == 13


def test_one_image_is_too_few_and_two_are_enough(tmp_path):
    with pytest.raises(UserError, match="1 training images are too few"):
        prepare("synthetic", None, tmp_path / "few", limit=1)
    prepare("synthetic", None, tmp_path / "two", limit=2)
    assert read_json(tmp_path / "two/manifest.json")["val"] == 1


def test_a_wrong_folder_leaves_nothing_behind(tmp_path):
    process = command("shallow.prepare", "--dataset", "osie", "--data-root", tmp_path, "--out", tmp_path / "out")
    assert "not OSIE" in one_line(process) and list(tmp_path.iterdir()) == []
