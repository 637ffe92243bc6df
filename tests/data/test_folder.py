import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from common.errors import UserError
from data import load
from data.dataset import split_names
from data.density import density_map
from data.folder import read_fixations
from tests.conftest import REPOSITORY, command
from tests.fixtures.images import write_noise

POINTS = np.array([[3, 4], [10.5, 2], [59, 39]])
SHAPE = (40, 60)


def write_csv(path, header="x,y", rows=POINTS):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")


def write_mat_73(path, name, values):
    """Write a .mat file of version 7.3: HDF5, with MATLAB's header and the transposed array."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset(name, data=values.T).attrs["MATLAB_class"] = np.bytes_("double")
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def fixation_map(points):
    marked = np.zeros(SHAPE)
    marked[points[:, 1].astype(int), points[:, 0].astype(int)] = 1
    return marked


PIXELS = np.floor(POINTS)
FORMATS = {
    "csv": (".csv", write_csv, POINTS),
    "csv with row and col": (".csv", lambda path: write_csv(path, "Row , Col", POINTS[:, ::-1]), POINTS),
    "csv with a byte order mark": (".csv", lambda path: path.write_text("\ufeffx,y\n3,4\n"), POINTS[:1]),
    "csv without points": (".csv", lambda path: path.write_text("x,y\n"), POINTS[:0]),
    "npy": (".npy", lambda path: np.save(path, POINTS), POINTS),
    "npy with a duration": (".npy", lambda path: np.save(path, np.column_stack([POINTS, [200, 210, 220]])), POINTS),
    "npy with lost points": (".npy", lambda path: np.save(path, np.append(POINTS, [[np.nan, np.nan]], axis=0)), POINTS),
    "npy map": (".npy", lambda path: np.save(path, fixation_map(POINTS)), PIXELS),
    "mat": (".mat", lambda path: scipy.io.savemat(path, {"fixations": POINTS + 1}), POINTS),
    "mat map": (".mat", lambda path: scipy.io.savemat(path, {"map": fixation_map(POINTS)}), PIXELS),
    "mat of version 7.3": (".mat", lambda path: write_mat_73(path, "fix", POINTS + 1), POINTS),
    "mat map of version 7.3": (".mat", lambda path: write_mat_73(path, "fixLocs", fixation_map(POINTS)), PIXELS),
    "mat with x and y": (".mat", lambda path: scipy.io.savemat(path, {"x": POINTS[:, :1] + 1, "Y": POINTS[:, 1:] + 1}), POINTS),
    "mat with more": (".mat", lambda path: scipy.io.savemat(path, {"fix": POINTS + 1, "rate": 60.0, "name": "p0"}), POINTS),
    "mat of SALICON": (".mat", lambda path: scipy.io.savemat(path, {"image": "p0", "resolution": [40, 60], "gaze": np.array(
        [(np.zeros((0, 2)), np.zeros((0, 1)), POINTS + 1)], [(name, object) for name in ("location", "timestamp", "fixations")])}),
        POINTS),
    "jpg": (".jpg", lambda path: Image.fromarray((fixation_map(POINTS) * 255).astype(np.uint8)).save(path, quality=95), PIXELS),
    "png of counts": (".png", lambda path: Image.fromarray((fixation_map(POINTS) * 3 + fixation_map(POINTS[:1]) * 2)
                                                           .astype(np.uint8)).save(path), PIXELS),
    "png": (".png", lambda path: Image.fromarray((fixation_map(POINTS) * 255).astype(np.uint8)).save(path), PIXELS),
    "png of zeros and ones": (".png", lambda path: Image.fromarray(fixation_map(POINTS).astype(np.uint8)).save(path), PIXELS),
}


@pytest.mark.parametrize("name", FORMATS)
def test_all_formats_give_the_same_fixations(tmp_path, name):
    suffix, write, expected = FORMATS[name]
    write(tmp_path / f"a{suffix}")
    points = read_fixations(tmp_path / f"a{suffix}", SHAPE)[0].points
    assert sorted(points.tolist()) == sorted(expected.tolist()) and points.dtype == np.float32


@pytest.fixture
def own(tmp_path):
    """Write ten images with fixations, the last also with a density map."""
    rng, root = np.random.default_rng(0), tmp_path / "mine"
    (root / "fixations").mkdir(parents=True)
    (root / "maps").mkdir()
    for index in range(10):
        write_noise(root / "images" / f"p{index}.png", *SHAPE, rng)
        write_csv(root / "fixations" / f"p{index}.csv")
    Image.fromarray(rng.integers(0, 99, SHAPE, np.uint8)).save(root / "maps/p9.png")
    return root


def test_a_folder_is_read_with_its_splits_sigma_and_density_maps(own):
    dataset = load("folder+sigma=3", "all", own.parent)
    assert len(dataset) == 10 and len(load("folder", "train", own)) == 8 and len(load("folder", "test", own)) == 2
    first, last = dataset[0], dataset[9]
    np.testing.assert_array_equal(first.fixations, POINTS.astype(np.float32))
    assert first.sigma == 3 and first.density[4, 3] == pytest.approx(1, abs=0.05)
    assert (last.density > 0).mean() > 0.9  # from maps/


def test_density_maps_without_fixations_are_enough_for_training(own):
    for path in (own / "fixations").iterdir():
        path.unlink()
    rng = np.random.default_rng(1)
    for index in range(10):
        Image.fromarray(rng.integers(0, 99, SHAPE, np.uint8)).save(own / "maps" / f"p{index}.png")
    sample = load("folder", "train", own)[0]
    assert sample.density.max() == 1 and not sample.has_fixations and sample.has_density


def test_images_without_data_are_all_in_the_test_split(tmp_path):
    write_noise(tmp_path / "images/a.jpg", *SHAPE, np.random.default_rng(0))
    assert load("folder", "test", tmp_path).names == ["a"] and load("folder", "train", tmp_path).names == []


@pytest.mark.parametrize("damage, message", [
    (lambda root: write_noise(root / "images/p3.jpg", *SHAPE, np.random.default_rng(0)), "keep one image per name"),
    (lambda root: [path.unlink() for path in (root / "images").iterdir()], "no image in it"),
])
def test_an_inconsistent_folder_is_an_error(own, damage, message):
    damage(own)
    with pytest.raises(UserError, match=message):
        load("folder", "all", own)


@pytest.mark.parametrize("name, write, message", [
    ("a.npy", lambda path: np.save(path, np.full(SHAPE, "a")), r"expected \(N, 2\)"),
    ("a.npy", lambda path: path.write_bytes(b"\x93NUMPY"), "cannot be read as an array"),
    ("a.npy", lambda path: path.write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'shape': (3, 2), (".ljust(128) + bytes(48)),
     "cannot be read as an array"),
    ("a.npy", lambda path: np.save(path, np.array([{"x": 1}]), allow_pickle=True), "cannot be read as an array"),
    ("a.npy", lambda path: np.save(path, np.zeros((5, 30))), r"expected \(N, 2\)"),
    ("a.npy", lambda path: np.save(path, np.zeros((2, 20))), r"has shape \(2, 20\), x in one row .* save the transposed array"),
    ("a.npy", lambda path: np.save(path, np.full(SHAPE, np.nan)), "the map has 2400 pixels that are NaN or infinite"),
    ("a.mat", lambda path: path.write_bytes(b"MATLAB"), "cannot be read as a .mat"),
    ("a.mat", lambda path: scipy.io.savemat(path, {"x": 1, "z": 2}), r"no variable can be the fixations \(it has x .*, z "),
    ("a.mat", lambda path: scipy.io.savemat(path, {"a": POINTS, "b": POINTS}), "more than one variable can be"),
    ("a.mat", lambda path: scipy.io.savemat(path, {"a": {"b": POINTS}}), r"it has a struct \(1, 1\)"),
    ("a.png", lambda path: Image.new("L", (60, 41)).save(path), "is 60x41 pixels, but its image is 60x40"),
    ("a.png", lambda path: path.write_bytes(b"PNG"), "cannot be read as a map"),
    ("a.png", lambda path: Image.fromarray((density_map(POINTS, SHAPE, 5) * 255).astype(np.uint8)).save(path),
     "a density map, not a fixation map; put it into maps/"),
    ("b.csv", lambda path: None, "No such file"),
])
def test_a_bad_file_is_an_error_that_names_it(tmp_path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(UserError, match=message) as error:
        read_fixations(tmp_path / name, SHAPE)
    assert name in str(error.value) and "\n" not in str(error.value)


def test_swapped_and_nan_points_are_errors(own):
    write_csv(own / "fixations/p3.csv", "x,y", [(55, col) for col in range(23, 43)])  # three of twenty: within tracker noise
    assert load("folder", "all", own).open("p3").outside == 3
    write_csv(own / "fixations/p3.csv", "x,y", [(5, col) for col in range(20, 60, 2)])  # y beyond 40 in half of them
    with pytest.raises(UserError, match=r"p3: 10 of 20 fixations lie outside the 60x40 image"):
        load("folder", "all", own).open("p3").fixations
    np.save(own / "fixations/p3.npy", [(float("nan"), 1)])
    (own / "fixations/p3.csv").unlink()
    with pytest.raises(UserError, match="p3: some fixations are NaN"):
        load("folder", "all", own).open("p3").fixations


def test_a_csv_row_may_lack_its_observer(own):
    (own / "fixations/p3.csv").write_text("x,y,observer\n1,2,ann\n3,4\n")
    dataset = load("folder", "all", own)
    assert dataset.open("p3").observers is None and len(dataset.open("p3").fixations) == 2
    assert "1 rows name no observer" in str(dataset.open("p3")._fixations)


def test_of_two_files_of_an_image_one_is_used_and_the_other_named(own):
    np.save(own / "fixations/p3.npy", POINTS)
    dataset = load("folder", "all", own)
    assert len(dataset) == 10 and any("p3.npy: not used, because p3.csv" in fault for fault in dataset.faults)


def test_a_folder_per_person_is_read(own):
    only_images(own)
    for person, x in (("ann", 5), ("bob", 7)):
        (own / f"fixations/{person}").mkdir()
        for index in range(10):
            write_csv(own / f"fixations/{person}/p{index}.csv", "x,y", [(x, 2)])
    dataset = load("folder", "all", own)
    assert dataset.open("p3").fixations.tolist() == [[5, 2], [7, 2]] and dataset.open("p3").observers.tolist() == [0, 1]
    assert dataset.faults == []


def test_a_table_of_a_person_with_the_name_of_an_image_is_an_error(own):
    write_csv(own / "fixations/p3.csv", "image,x,y", [("p1.png", 1, 1), ("p3.png", 2, 2), ("p4", 3, 3)])
    with pytest.raises(UserError, match=r"p3.csv: has the name of image p3, but fixations on 2 other images \(p1.png, p4\)"):
        load("folder", "all", own).open("p3").fixations
    write_csv(own / "fixations/p3.csv", "image,x,y", [("p3.png", 2, 2), ("trial 7", 3, 3)])
    assert len(load("folder", "all", own).open("p3").fixations) == 2


def test_arrays_obey_the_options_and_are_checked(own):
    np.save(own / "fixations/p3.npy", POINTS / SHAPE[::-1])
    (own / "fixations/p3.csv").unlink()
    with pytest.raises(UserError, match=r"p3: 3 positions lie between 0 and 1"):
        load("folder", "all", own).open("p3").fixations
    for save in (lambda points: np.save(own / "fixations/p3.npy", points),
                 lambda points: scipy.io.savemat(own / "fixations/p3.mat", {"points": points})):
        for path in own.glob("fixations/p3.*"):
            path.unlink()
        save(POINTS / SHAPE[::-1])
        np.testing.assert_allclose(load("folder+unit=fraction", "all", own).open("p3").fixations, POINTS, atol=1e-5)
    for path in own.glob("fixations/p3.*"):
        path.unlink()
    scipy.io.savemat(own / "fixations/p3.mat", {"x": POINTS[:, 0] + 8, "y": POINTS[:, 1] + 10})  # 1-based
    np.testing.assert_allclose(load("folder+offset=7,9", "all", own).open("p3").fixations, POINTS, atol=1e-5)


def test_a_density_map_in_an_array_is_an_error(own):
    (own / "fixations/p3.csv").unlink()
    x, y = np.meshgrid(np.arange(SHAPE[1]), np.arange(SHAPE[0]))
    np.save(own / "fixations/p3.npy", np.exp(-((x - 30) ** 2 + (y - 20) ** 2) / 50.0))
    with pytest.raises(UserError, match="a density map, not a fixation map; put it into maps/"):
        load("folder", "all", own).open("p3").fixations


@pytest.mark.parametrize("suffix", [".npy", ".png", ".mat"])
def test_a_map_of_counts_keeps_all_fixated_pixels(own, suffix):
    (own / "fixations/p3.csv").unlink()
    counts = np.zeros(SHAPE, np.uint8)
    counts[::4, ::4] = np.arange(1, 151).reshape(10, 15) % 20 + 1
    path = own / f"fixations/p3{suffix}"
    if suffix == ".npy":
        np.save(path, counts)
    elif suffix == ".png":
        Image.fromarray(counts).save(path)
    else:
        scipy.io.savemat(path, {"fixLocs": scipy.sparse.csc_matrix(counts.astype(float))})
    assert len(load("folder", "all", own).open("p3").fixations) == 150


def test_folders_of_images_must_agree(own):
    """A table that names Action/002 does not mean Affective/002."""
    for name in ("Action/001", "Affective/002"):
        write_noise(own / f"images/{name}.png", *SHAPE, np.random.default_rng(0))
    write_csv(own / "fixations/all.csv", "image,x,y", [("Action/002.png", 1, 1), ("Affective/002", 2, 2), ("d:\\exp\\Action\\001.png", 3, 3)])
    dataset = load("folder", "all", own)
    assert dataset.open("Affective/002").fixations.tolist() == [[2, 2]] and dataset.open("Action/001").fixations.tolist() == [[3, 3]]
    assert any("1 image (Action/002.png) not in images/" in note for note in dataset.notes + dataset.faults)


def test_tables_beside_images_are_named_if_there_is_a_folder_of_fixations(own):
    write_csv(own / "fixations.csv", "image,x,y", [("p0", 1, 1)])
    (own / "README.txt").write_text("notes")
    assert load("folder", "all", own).faults == [
        "1 file (fixations.csv) beside images/ not used, because there is a folder fixations/; move them into it"]


def test_what_cannot_be_used_is_named_and_the_rest_is_read(own):
    (own / "images/p4.png").unlink()
    (own / "fixations/p3.csv").unlink()
    for name in ("fixations/Thumbs.db", "fixations/desktop.ini", "fixations/.hidden.csv", "fixations/p5.doc", "images/x.svg"):
        (own / name).touch()
    dataset = load("folder", "all", own)
    assert dataset.names == ["p0", "p1", "p2", "p5", "p6", "p7", "p8", "p9"] and dataset.open("p5").fixations.shape == (3, 2)
    faults = "\n".join(dataset.faults)
    assert len(dataset.faults) == 4 and "1 image (p3) without fixations and density map" in faults
    assert "p5.doc" in faults and "1 file (p4.csv) not used: the name is that of no image" in faults and "images/x.svg" in faults


def test_observers_are_numbered_over_their_names(own):
    write_csv(own / "fixations/p3.csv", "observer,x,y,duration", [("ann", 1, 2, 300), ("bob", 3, 4, 200), ("ann", 5, 6, 100)])
    sample = load("folder", "all", own).open("p3")
    assert sample.fixations.tolist() == [[1, 2], [3, 4], [5, 6]] and sample.observers.tolist() == [0, 1, 0]


def only_images(own):
    for path in (own / "fixations").iterdir():
        path.unlink()


@pytest.mark.parametrize("place", ["fixations.csv", "fixations/all.csv", "gaze.json"])
def test_one_table_has_the_fixations_of_all_images(own, place):
    only_images(own)
    if not place.startswith("fixations/"):
        (own / "fixations").rmdir()
    rows = [(f"p{index}.png", person, index + 1, 2) for index in range(9) for person in ("ann", "bob")] + [("q.png", "ann", 1, 1)]
    if place.endswith("json"):
        (own / place).write_text(json.dumps([dict(zip(("image", "subject", "x", "y"), row)) for row in rows]))
    else:
        write_csv(own / place, "image,subject,x,y", rows)
    dataset = load("folder", "all", own)
    assert len(dataset) == 10  # p9 has a density map
    assert dataset.open("p3").fixations.tolist() == [[4, 2], [4, 2]] and dataset.open("p3").observers.tolist() == [0, 1]
    assert not dataset.open("p9").has_fixations
    assert any("1 image (q.png) not in images/" in note for note in dataset.notes) and not dataset.faults
    assert Path(place).name + ": x = x, y = y, image = image, observer = subject" in dataset.notes[0]
    (own / "maps/p9.png").unlink()
    faults = load("folder", "all", own).faults
    assert "1 image (q.png) not in images/" in faults[0] and "p9" in faults[1], "p9's fixations may have another name"


def test_an_empty_column_of_observers_names_none(own):
    only_images(own)
    for person, x in (("User 1", 5), ("User 2", 7)):
        write_csv(own / f"fixations/{person}.csv", "MEDIA_NAME,USER,FPOGX,FPOGY,FPOGV",
                  [(f"p{index}", "", x / 10, 0.5, 1) for index in range(10)])
    assert load("folder", "all", own).open("p3").observers.tolist() == [0, 1], "each file has an observer of its own"
    assert any("if the image did not fill the screen, add the option +screen=" in note for note in load("folder", "all", own).notes)
    (own / "fixations/User 2.csv").unlink()
    assert load("folder", "all", own).open("p3").observers is None


def test_exports_of_pupil_labs_are_read_as_they_are(own):
    only_images(own)
    header = "world_timestamp,world_index,fixation_id,start_timestamp,duration,dispersion,norm_pos_x,norm_pos_y,x_scaled,y_scaled,on_surf"
    for person, x in (("P1", 0.5), ("P2", 0.25)):
        export = own / "fixations" / person / "000/exports/000"
        (export / "surfaces").mkdir(parents=True)
        for index in range(10):
            row = (1.0, 3, 7, 0.9, 200, 1.1)
            write_csv(export / f"surfaces/fixations_on_surface_p{index}.csv", header,
                      [(*row, x, 0.4, 1, 1, True), (*row, x, 0.5, 1, 1, True), (2.0, 4, 8, 1.9, 200, 1.1, 1.5, 0.5, 1, 1, False)])
            write_csv(export / f"surfaces/gaze_positions_on_surface_p{index}.csv", "x_norm,y_norm,on_surf", [(0.1, 0.1, True)])
        write_csv(export / "fixations.csv", "id,start_timestamp,duration,norm_pos_x,norm_pos_y", [(7, 0.9, 200, 0.9, 0.9)])
        write_csv(export / "export_info.csv", "key,value", [("Player Software Version", "3.5")])
    dataset = load("folder", "all", own)
    assert dataset.faults == []
    sample = dataset.open("p3")
    height, width = sample.shape
    np.testing.assert_allclose(sample.fixations, [[width / 2, height / 2], [width / 4, height / 2]])
    assert sample.observers.tolist() == [0, 1], "a fixation takes several rows, each recording has an observer"


def test_several_tables_are_of_one_observer_each(own):
    only_images(own)
    for person, x in (("s01", 5), ("s02", 7)):
        write_csv(own / f"fixations/{person}.csv", "image,x,y", [(f"p{index}", x, 2) for index in range(10)])
    sample = load("folder", "all", own).open("p3")
    assert sample.fixations.tolist() == [[5, 2], [7, 2]] and sample.observers.tolist() == [0, 1]


def test_a_folder_per_image_has_a_file_per_observer(own):
    only_images(own)
    for person, x in (("ann", 5), ("bob", 7)):
        (own / "fixations/p3").mkdir(exist_ok=True)
        write_csv(own / f"fixations/p3/{person}.csv", "x,y", [(x, 2), (x, 3)])
    sample = load("folder", "all", own).open("p3")
    assert sample.fixations.tolist() == [[5, 2], [5, 3], [7, 2], [7, 3]] and sample.observers.tolist() == [0, 0, 1, 1]


def test_names_in_subfolders_are_relative_paths(tmp_path):
    rng = np.random.default_rng(0)
    for index, category in enumerate(("Action", "Indoor")):
        write_noise(tmp_path / f"Stimuli/{category}/001.jpg", *SHAPE, rng)
        write_noise(tmp_path / f"Stimuli/{category}/Output/001_SaliencyMap.jpg", *SHAPE, rng)
        (tmp_path / f"FIXATIONLOCS/{category}").mkdir(parents=True)
        scipy.io.savemat(tmp_path / f"FIXATIONLOCS/{category}/001.mat", {"fixLocs": fixation_map(POINTS - index)})
        (tmp_path / f"FIXATIONMAPS/{category}").mkdir(parents=True)
        Image.fromarray(rng.integers(0, 99, SHAPE, np.uint8)).save(tmp_path / f"FIXATIONMAPS/{category}/001.jpg")
    dataset = load("folder", "all", tmp_path)  # the layout of CAT2000
    assert dataset.names == ["Action/001", "Indoor/001"] and not dataset.faults
    assert [sample.fixations[:, 1].min() for sample in dataset] == [2, 1] and (dataset[1].density > 0).mean() > 0.9


@pytest.mark.parametrize("last", ["test", "val"])
def test_train_val_and_test_folders_are_the_splits(tmp_path, last):
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), (last, 2)):
        (tmp_path / f"fixations/{split}").mkdir(parents=True)
        for index in range(count):
            write_noise(tmp_path / f"images/{split}/{split}{index}.png", *SHAPE, rng)
            write_csv(tmp_path / f"fixations/{split}/{split}{index}.csv")
    assert load("folder", "train", tmp_path).names == [f"train/train{index}" for index in range(4)]
    dataset = load("folder", "test", tmp_path)
    assert dataset.names == [f"{last}/{last}{index}" for index in range(2)] and len(load("folder", "all", tmp_path)) == 6
    assert any(note.startswith("splits of your own: train 4") for note in dataset.notes)


def test_splits_have_other_names_and_images_outside_are_named(own):
    only_images(own)
    for name in ("training/t0", "training/t1", "validation/v0", "testing/u0"):
        write_noise(own / f"images/{name}.png", *SHAPE, np.random.default_rng(0))
        (own / f"fixations/{name}.csv").parent.mkdir(exist_ok=True)
        write_csv(own / f"fixations/{name}.csv")
    splits = {split: load("folder", split, own).names for split in ("train", "val", "test")}
    assert splits == {"train": ["training/t0", "training/t1"], "val": ["validation/v0"], "test": ["testing/u0"]}
    assert any("1 image (p9) in none of the folders" in fault for fault in load("folder", "all", own).faults)


def test_positions_on_the_screen_are_moved_into_the_image(own):
    write_csv(own / "fixations/p3.csv", "x,y", POINTS * 2 + (7, 9))
    sample = load("folder+offset=7,9+scale=2", "all", own).open("p3")
    np.testing.assert_allclose(sample.fixations, POINTS, atol=1e-5)
    write_csv(own / "fixations/p3.csv", "u,v", POINTS / SHAPE[::-1])
    np.testing.assert_allclose(load("folder+unit=fraction+x=u+y=v", "all", own).open("p3").fixations, POINTS, atol=1e-5)


def test_eyelink_recordings_are_read_and_their_file_is_the_observer(own):
    only_images(own)
    for person, x in (("s01", 485), ("s02", 490)):
        (own / f"fixations/{person}.asc").write_text(
            f"MSG\t1 !V IMGLOAD CENTER stimuli/p3.png 512 384\nEFIX R 1 2 3 {x} 366 900\n")
    sample = load("folder", "all", own).open("p3")
    assert sample.fixations.tolist() == [[3, 2], [8, 2]] and sample.observers.tolist() == [0, 1]


@pytest.mark.parametrize("name", ["p3.jpg", "p3.bmp", "p3.npy", "p3.mat"])
def test_density_maps_may_have_any_format_and_be_smaller(own, name):
    small = (density_map(POINTS, SHAPE, 8)[::2, ::2] * 200).astype(np.uint8)
    if name.endswith("npy"):
        np.save(own / "maps" / name, small)
    elif name.endswith("mat"):
        scipy.io.savemat(own / "maps" / name, {"I": small})
    else:
        Image.fromarray(small).save(own / "maps" / name)
    sample = load("folder", "all", own).open("p3")
    assert np.abs(sample.density - density_map(POINTS, SHAPE, 8)).max() < 0.1
    assert sample.notes == ("density map of another size than its image; resized",)
    np.save(own / "maps/p4.npy", np.ones((40, 40)))
    with pytest.raises(UserError, match="is 40x40 pixels, but its image is 60x40"):
        load("folder", "all", own).open("p4").density


@pytest.mark.parametrize("options", ["x=a", "unit=inch", "screen=wide"])
def test_wrong_options_are_errors(own, options):
    with pytest.raises(UserError, match=r"option x=|choose one of|write it as in"):
        load(f"folder+{options}", "all", own).open("p3").fixations


@pytest.mark.parametrize("names", [1, 2, 3])
def test_small_sets_have_a_test_image(names):
    assert len(split_names([str(index) for index in range(names)], "test")) == 1
    assert len(split_names([str(index) for index in range(names)], "train")) == names - 1


@pytest.mark.parametrize("sigma", ["0", "-3", "nan", "wide"])
def test_sigma_must_be_a_positive_number(own, sigma):
    with pytest.raises(UserError, match="give a number of pixels above 0"):
        load(f"folder+sigma={sigma}", "all", own)


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"LC_ALL": "POSIX"},
                                    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
def test_names_with_umlauts_work_in_every_locale_or_are_one_line(tmp_path, locale):
    if "PYTHONUTF8" in locale and not str(REPOSITORY).isascii():
        pytest.skip(f"in this locale, Python itself does not start in {REPOSITORY}")
    root = tmp_path / "Bilder \u00e4"
    for folder in ("images", "fixations"):
        (root / folder).mkdir(parents=True)
    for name in ("\u00fc", "\u65e5\u672c", "c"):
        Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(root / f"images/{name}.png")
        (root / f"fixations/{name}.csv").write_text("x,y\n5,6\n")
    process = command("data.check", "--dataset", "folder+sigma=5", "--data-root", root, "--out", tmp_path / "\u00f6", **locale)
    if "PYTHONUTF8" not in locale:
        assert process.returncode == 0 and "problems: none" in process.stdout, process.stderr
    else:
        assert "its name is not UTF-8; rename the file or folder, or set LC_ALL=C.UTF-8" in process.stdout + process.stderr
    assert "Traceback" not in process.stderr
