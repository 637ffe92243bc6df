import numpy as np
import pytest
import scipy.io
from PIL import Image

from common.errors import UserError
from data import load
from data.folder import read_fixations
from tests.fixtures.images import write_noise

POINTS = np.array([[3, 4], [10.5, 2], [59, 39]])
SHAPE = (40, 60)


def write_csv(path, header="x,y", rows=POINTS):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")


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
    "npy map": (".npy", lambda path: np.save(path, fixation_map(POINTS)), PIXELS),
    "mat": (".mat", lambda path: scipy.io.savemat(path, {"fixations": POINTS + 1}), POINTS),
    "mat map": (".mat", lambda path: scipy.io.savemat(path, {"map": fixation_map(POINTS)}), PIXELS),
    "png": (".png", lambda path: Image.fromarray((fixation_map(POINTS) * 255).astype(np.uint8)).save(path), PIXELS),
    "png of zeros and ones": (".png", lambda path: Image.fromarray(fixation_map(POINTS).astype(np.uint8)).save(path), PIXELS),
}


@pytest.mark.parametrize("name", FORMATS)
def test_all_formats_give_the_same_fixations(tmp_path, name):
    suffix, write, expected = FORMATS[name]
    write(tmp_path / f"a{suffix}")
    fixations = read_fixations(tmp_path / f"a{suffix}", SHAPE)
    assert sorted(fixations.tolist()) == sorted(expected.tolist()) and fixations.dtype == np.float32


def test_observers_are_read_from_a_csv(tmp_path):
    write_csv(tmp_path / "a.csv", "observer,x,y,duration", [("ann", 1, 2, 300), ("bob", 3, 4, 200), ("ann", 5, 6, 100)])
    points, observers = read_fixations(tmp_path / "a.csv", SHAPE)
    assert points.tolist() == [[1, 2], [3, 4], [5, 6]] and observers.tolist() == [0, 1, 0]


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
    (lambda root: (root / "images/p3.png").unlink(), "match no image, the first is 'p3'"),
    (lambda root: (root / "fixations/p3.doc").touch(), "is none of .csv"),
    (lambda root: np.save(root / "fixations/p3.npy", POINTS), "keep one file per image"),
    (lambda root: write_noise(root / "images/p3.jpg", *SHAPE, np.random.default_rng(0)), "keep one image per name"),
    (lambda root: [path.unlink() for path in (root / "images").iterdir()], "no image in it"),
])
def test_an_inconsistent_folder_is_an_error(own, damage, message):
    damage(own)
    with pytest.raises(UserError, match=message):
        load("folder", "all", own)


@pytest.mark.parametrize("name, write, message", [
    ("a.csv", lambda path: path.write_text("1,2\n3,4\n"), "first line is '1,2'"),
    ("a.csv", lambda path: path.write_text(""), "must name the columns"),
    ("a.csv", lambda path: path.write_text("x,y\n3,4\n5\n"), "line 3 has no numbers"),
    ("a.csv", lambda path: path.write_text("x,y\n3,four\n"), "line 2 has no numbers"),
    ("a.csv", lambda path: path.write_bytes(b"x,y\n\xff\xfe,3\n"), "is not UTF-8 text"),
    ("a.npy", lambda path: np.save(path, np.full(SHAPE, "a")), r"expected \(N, 2\)"),
    ("a.npy", lambda path: path.write_bytes(b"\x93NUMPY"), "cannot be read as an array"),
    ("a.npy", lambda path: np.save(path, np.array([{"x": 1}]), allow_pickle=True), "cannot be read as an array"),
    ("a.npy", lambda path: np.save(path, np.zeros((5, 3))), r"expected \(N, 2\)"),
    ("a.mat", lambda path: path.write_bytes(b"MATLAB"), "cannot be read as a .mat"),
    ("a.mat", lambda path: scipy.io.savemat(path, {"x": 1, "y": 2}), "expected one variable"),
    ("a.png", lambda path: Image.new("L", (60, 41)).save(path), "is 60x41 pixels, but its image is 60x40"),
    ("a.png", lambda path: path.write_bytes(b"PNG"), "cannot be read as a map"),
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
    write_csv(own / "fixations/p3.csv", "x,y", [(float("nan"), 1)])
    with pytest.raises(UserError, match="p3: some fixations are NaN"):
        load("folder", "all", own).open("p3").fixations


def test_an_image_without_data_is_an_error_only_when_it_is_read(own):
    (own / "fixations/p3.csv").unlink()
    dataset = load("folder", "all", own)
    assert dataset[2].fixations.shape == (3, 2)
    with pytest.raises(UserError, match="p3.png: has neither fixations nor a density map"):
        dataset.open("p3").density


def test_a_csv_row_may_lack_its_observer(tmp_path):
    (tmp_path / "a.csv").write_text("x,y,observer\n1,2,ann\n3,4\n")
    assert read_fixations(tmp_path / "a.csv", SHAPE)[1].tolist() == [1, 0]


@pytest.mark.parametrize("sigma", ["0", "-3", "nan", "wide"])
def test_sigma_must_be_a_positive_number(own, sigma):
    with pytest.raises(UserError, match="give a number of pixels above 0"):
        load(f"folder+sigma={sigma}", "all", own)
