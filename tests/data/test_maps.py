"""Saliency maps of this project and of other programs, and what damaged or doubtful ones are rejected for."""
import os
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from common.arrays import MAX_VALUES
from common.errors import UserError, show_names
from data.map_files import read_map
from data.maps import open_maps, write_maps
from models import exports
from tests.conftest import REPOSITORY

NAMES = ["a", "b", "c"]
FAULTS = REPOSITORY.parent / "shared/cases/faults"


def values_of(name, shape=(4, 6)):
    """A map with a different value at every pixel."""
    return (np.arange(np.prod(shape)).reshape(shape) + 24 * NAMES.index(name)).astype(np.uint8)


def write_images(folder, form="{}.png"):
    for name in NAMES:
        path = folder / form.format(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values_of(name)).save(path)
    return folder


def check(maps, unmatched=(), scale=1.0):
    assert maps.names == set(NAMES) and list(maps.unmatched) == list(unmatched)
    for name in NAMES:
        np.testing.assert_allclose(maps[name], values_of(name) * scale, rtol=1e-6)


@pytest.mark.parametrize("suffix", [".npy", ".mat", ".png", ".h5"])
def test_any_folder_or_file_of_maps_can_be_read(tmp_path, suffix):
    values = values_of("a")
    if suffix == ".npy":
        np.save(tmp_path / "a.npy", values.astype(np.float32) / 7)
    elif suffix == ".mat":
        scipy.io.savemat(tmp_path / "a.mat", {"I": values / 7.0})
    elif suffix == ".png":
        Image.fromarray(values).save(tmp_path / "a.png")
    else:
        with write_maps(tmp_path / "predictions.h5", "other") as store:
            store("a", values / 7.0)
        assert open_maps(tmp_path).model == "other"
    maps = open_maps(tmp_path)
    assert "a" in maps and "b" not in maps and maps.names == {"a"}
    np.testing.assert_allclose(maps["a"], values if suffix == ".png" else values / 7, rtol=1e-6)


@pytest.mark.parametrize("form", ["{}.png", "action/{}.png", "x/y/{}.tif"])
def test_maps_may_be_in_subfolders(tmp_path, form):
    check(open_maps(write_images(tmp_path, form), NAMES))


@pytest.mark.parametrize("pattern", ["{name}_saliency", "Judd_{name}", "maps/{name}/saliency",
                                     "{name}_" + "s" * 90])
def test_a_pattern_gives_the_names_of_the_maps(tmp_path, pattern):
    write_images(tmp_path, pattern.replace("{name}", "{}") + ".png")
    check(open_maps(tmp_path, NAMES, pattern))
    with pytest.raises(UserError) as error:
        open_maps(tmp_path, NAMES)
    assert f"found {show_names(pattern.replace('{name}', 'a') + '.png')}, expected a;" in str(error.value)
    assert f'--names "{pattern}"' in str(error.value)


def test_a_pattern_without_the_name_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"Judd_\*: contains no \{name\}"):
        open_maps(write_images(tmp_path), NAMES, "Judd_*")


def test_names_with_folders_match_the_end_of_the_path(tmp_path):
    names = ["x/a", "y/a"]
    for name, value in zip(names, (1, 2)):
        (tmp_path / "maps" / name).parent.mkdir(parents=True)
        np.save(tmp_path / f"maps/{name}.npy", np.full((2, 3), value))
    maps = open_maps(tmp_path, names)
    assert [maps[name][0, 0] for name in names] == [1, 2]
    with pytest.raises(UserError, match="both maps/x/a.npy and maps/y/a.npy are maps of image a"):
        open_maps(tmp_path, ["a", "b"])
    (tmp_path / "flat").mkdir()
    np.save(tmp_path / "flat/a.npy", np.eye(3))
    with pytest.raises(UserError, match="a.npy could be the map of x/a and of y/a"):
        open_maps(tmp_path / "flat", names)


@pytest.mark.parametrize("shape", [(1, 4, 6), (4, 6, 1), (1, 1, 4, 6)])
def test_axes_of_length_1_are_removed(tmp_path, shape):
    for name in NAMES:
        np.save(tmp_path / f"{name}.npy", values_of(name).reshape(shape))
    check(open_maps(tmp_path, NAMES))


def test_two_maps_of_an_image_are_an_error(tmp_path):
    for name in ("a.png", "a.jpg"):
        Image.new("L", (2, 2)).save(tmp_path / name)
    with pytest.raises(UserError, match="both a.jpg and a.png are maps of image a; keep one map per image"):
        open_maps(tmp_path, ["a"])
    assert open_maps(tmp_path).names == {"a.jpg", "a.png"}


def test_a_map_of_one_row_keeps_its_axes(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((1, 6)))
    assert open_maps(tmp_path, ["a"])["a"].shape == (1, 6)


@pytest.mark.parametrize("folder", [False, True])
def test_an_npz_has_the_names(tmp_path, folder):
    np.savez(tmp_path / "all.npz", **{name: values_of(name)[None] for name in NAMES}, other=np.eye(3))
    check(open_maps(tmp_path if folder else tmp_path / "all.npz", NAMES), ["other"])


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("shape", [(3, 4, 6), (3, 1, 4, 6), (3, 4, 6, 1)])
def test_a_stack_is_read_in_the_order_of_the_images(tmp_path, capsys, folder, shape):
    np.save(tmp_path / "all.npy", np.stack([values_of(name) for name in NAMES]).reshape(shape))
    path = tmp_path if folder else tmp_path / "all.npy"
    check(open_maps(path, NAMES))
    assert "its 3 maps have no names and are read in the order of the images, a to c" in capsys.readouterr().err
    with pytest.raises(UserError, match="holds 3 maps without names, but there are 4 images"):
        open_maps(path, [*NAMES, "d"])


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_the_only_matrix_of_a_mat_file_is_the_map(tmp_path, version):
    for name in NAMES:
        variables = {"salmap": values_of(name) / 7, "seconds": np.ones((1, 9)), "gain": np.ones((1, 1))}
        if version == "5":
            scipy.io.savemat(tmp_path / f"{name}.mat", variables)
            continue
        with h5py.File(tmp_path / f"{name}.mat", "w", userblock_size=512) as file:  # as MATLAB writes it: transposed
            for variable, values in variables.items():
                file[variable] = values.T
            file.create_group("#refs#")
    check(open_maps(tmp_path, NAMES), scale=1 / 7)


def test_several_matrices_need_the_name_i(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"first": np.eye(3), "second": np.eye(4)})
    with pytest.raises(UserError, match=r"a.mat: has several matrices \(first, second\); save the map alone, or as"):
        open_maps(tmp_path)["a"]
    scipy.io.savemat(tmp_path / "a.mat", {"first": np.eye(3), "I": np.eye(4)})
    assert open_maps(tmp_path)["a"].shape == (4, 4)


@pytest.mark.parametrize("form", ["{}.jpg", "stimuli/{}.png", "model/test/{}"])
def test_hdf5_names_may_have_suffixes_and_groups(tmp_path, form):
    with h5py.File(tmp_path / "pysaliency.hdf5", "w") as file:
        file.attrs["type"] = np.bytes_("SaliencyMapModel")
        for name in NAMES:
            file[form.format(name)] = values_of(name)
        file["again"] = h5py.SoftLink("/")
    maps = open_maps(tmp_path / "pysaliency.hdf5", NAMES)
    check(maps)
    assert maps.model == "pysaliency"


def test_the_exports_of_this_project_can_be_read(tmp_path):
    names = [f"COCO_val2014_{number:012d}" for number in (1, 20)]
    maps = {name: np.linspace(0, 1, 24).reshape(4, 6) ** (index + 1) for index, name in enumerate(names)}
    for challenge in ("salicon", "mit300", "lsun"):
        path = exports.export_path(challenge, tmp_path, "net", "val")
        with exports.open_export(challenge, path, "net") as write:
            for name in names:
                write(name, maps[name])
        read = open_maps(path, names)
        assert read.names == set(names) and not read.unmatched
        for name in names:
            np.testing.assert_allclose(read[name] / (1 if challenge == "lsun" else 255), maps[name], atol=0.04)
    with pytest.raises(UserError, match="found 1, expected cat;"):
        open_maps(tmp_path / "fixations_val2014_net_results.json", ["cat", "dog"])


def test_the_challenge_s_own_results_can_be_read(salicon_root):
    path = salicon_root / "results/fixations_train2014examples_fake_results.json"
    maps = open_maps(path, ["COCO_train2014_000000123067"])
    assert maps["COCO_train2014_000000123067"].shape == (480, 640) and len(maps.unmatched) == 9


def test_grey_images_keep_all_their_bits(tmp_path):
    Image.fromarray(np.array([[0, 40000, 65535]], np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.array([[0, 0.25, 1]], np.float32)).save(tmp_path / "float.tif")
    maps = open_maps(tmp_path)
    assert maps["deep"].tolist() == [[0, 40000, 65535]]
    assert maps["float"].tolist() == [[0, 0.25, 1]]


def grey_palette(values):
    image = Image.fromarray(values).convert("P")
    image.putpalette([level for level in range(256) for _ in range(3)])
    return image


@pytest.mark.parametrize("convert", [
    lambda values: Image.fromarray(values).convert("RGB"),
    lambda values: Image.fromarray(values).convert("RGBA"),
    lambda values: Image.fromarray(values).convert("LA"),
    grey_palette,
], ids=["RGB", "RGBA", "LA", "palette"])
def test_grey_in_another_mode_is_grey(tmp_path, convert):
    image = convert(values_of("a"))
    assert image.mode != "L"
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_map(tmp_path / "a.png"), values_of("a"))


def test_a_grey_jpeg_in_colour_mode_is_grey(tmp_path):
    Image.fromarray(values_of("a", (40, 60))).convert("RGB").save(tmp_path / "a.jpg")
    assert np.abs(read_map(tmp_path / "a.jpg").astype(int) - values_of("a", (40, 60))).max() < 60


def jet(values):
    import cv2
    return Image.fromarray(cv2.applyColorMap(values * 10, cv2.COLORMAP_JET)[:, :, ::-1])


@pytest.mark.parametrize("convert, complaint", [
    (jet, "is a colour image"),
    (lambda values: jet(values).convert("P"), "is a colour image"),
    (lambda values: jet(values).convert("RGBA"), "is a colour image"),
    (lambda values: Image.merge("LA", [Image.new("L", (6, 4)), Image.fromarray(values)]), "alpha channel"),
    (lambda values: Image.merge("RGBA", [*[Image.new("L", (6, 4))] * 3, Image.fromarray(values)]), "alpha channel"),
])
def test_maps_in_colours_or_in_the_alpha_channel_are_rejected(tmp_path, convert, complaint):
    convert(values_of("a")).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=rf"a.png: .*{complaint}.*; write the map"):
        read_map(tmp_path / "a.png")


def write_huge_npy(path):
    np.save(path, np.zeros((2, 2)))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"(2, 2), }" + b" " * 16, b"(2000000000, 1000000), }" + b" "))


@pytest.mark.parametrize("write, complaint", [
    (lambda p: (p / "a.png").write_bytes(b"\x89PNG\r\n"), "a.png: cannot be read"),
    (lambda p: (p / "a.npy").write_bytes(b"\x93NUMPY"), "a.npy: cannot be read"),
    (lambda p: write_huge_npy(p / "a.npy"), r"a.npy: cannot be read as a map \(announces the shape \(2000000000, 1000000\)"),
    (lambda p: np.save(p / "a.npy", np.array([{"x": 1}], object), allow_pickle=True), "a.npy: cannot be read"),
    (lambda p: np.save(p / "a.npy", np.zeros((3, 4, 3))), r"a.npy: holds float64 of shape \(3, 4, 3\)"),
    (lambda p: np.save(p / "a.npy", np.array([[1, np.nan]])), "a.npy: contains NaN or infinity; write it again"),
    (lambda p: scipy.io.savemat(p / "a.mat", {"J": "text"}), r"a.mat: has no matrix of numbers \(its variables: J\)"),
    (lambda p: None, "no map in this folder"),
    (lambda p: (p / "predictions.h5").write_bytes(b"no"), "not an HDF5 file"),
    (lambda p: (p / "all.npz").write_bytes(b"no"), "all.npz: cannot be read as an .npz"),
    (lambda p: (p / "all.zip").write_bytes(b"no"), "all.zip: not an archive"),
    (lambda p: zipfile.ZipFile(p / "all.zip", "w").close(), "no map in this archive"),
    (lambda p: (p / "all.json").write_text("[]"), "all.json: not the SALICON challenge's JSON"),
    (lambda p: (p / "all.json").write_text(""), "all.json: not the SALICON challenge's JSON"),
    (lambda p: (p / "all.json").write_text('[{"id": 3}]'), "all.json: not the SALICON challenge's JSON"),
])
def test_damaged_maps_are_named(tmp_path, write, complaint):
    write(tmp_path)
    with pytest.raises(UserError, match=complaint):
        open_maps(tmp_path)["a"]


@pytest.mark.parametrize("content, complaint", [
    ('[{"image_id": 1, "saliency_map": "not base64"}]', "image 1: has no readable saliency_map"),
    ('[{"image_id": 1}]', "image 1: has no readable saliency_map"),
    ('[{"image_id": 1, "saliency_map": "AAAA"}]', "image 1: cannot be read as a map"),
])
def test_damaged_maps_of_a_challenge_are_named(tmp_path, content, complaint):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=complaint):
        open_maps(tmp_path / "a.json")["1"]


def test_other_contents_of_an_hdf5_file_are_errors(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("group")
        file["text"], file["cube"], file["number"], file["complex"] = "x", np.zeros((3, 4, 5)), 5.0, np.eye(3) * 1j
        file["good"] = np.eye(3)
    maps = open_maps(tmp_path / "a.h5")
    for name in ("group", "text", "cube", "number", "complex", "absent"):
        with pytest.raises(UserError, match=f"a.h5.*{name}"):
            maps[name]
    assert maps["good"].shape == (3, 3)


def test_names_of_maps_are_escaped_once(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a\nb"] = h5py.SoftLink("/a\nb")
    for name in ("a\nb", "c\nd"):
        with pytest.raises(UserError, match=f"map '{name[0]}\\\\n{name[2]}' in it"):
            open_maps(tmp_path / "a.h5")[name]


def test_hdf5_without_values_or_with_broken_links_is_an_error(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["loop"] = h5py.SoftLink("/loop")
        file.create_dataset("empty", (40, 50), "f4")
        file.create_dataset("huge", (MAX_VALUES, 2), "f4")
    maps = open_maps(tmp_path / "a.h5")
    for name, complaint in (("loop", "no readable map 'loop'"), ("empty", "without values"),
                            ("huge", "more than any map has")):
        with pytest.raises(UserError, match=complaint):
            maps[name]


@pytest.mark.parametrize("name", ["04/mem", "04/p172", "04/segv", "preds/loop", "preds/big", "preds/huge"])
def test_damaged_hdf5_files_are_one_line(name):
    path = FAULTS / f"{name}.h5"
    if not path.is_file():
        pytest.skip(f"the damaged files are not beside the checkout (looked for {path})")
    with pytest.raises(UserError) as error:
        maps = open_maps(path)
        maps[min(maps.names)]
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_missing_maps_are_named(tmp_path):
    with pytest.raises(UserError, match="none: no such file or folder"):
        open_maps(tmp_path / "none")
    if os.geteuid():  # root may read every file
        path = Path(tmp_path / "a.h5")
        path.write_bytes(b"x")
        path.chmod(0)
        with pytest.raises(UserError, match="a.h5"):
            open_maps(path)
