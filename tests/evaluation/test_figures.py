"""Figures, from small files in the real formats."""
from dataclasses import asdict
from xml.etree.ElementTree import fromstring as parse_xml

import numpy as np
import pytest
from PIL import Image

from common import drawing
from common.errors import UserError
from common.files import read_json, write_json
from common.layers import Layer, layer_rows, to_text
from common.runs import Log
from data import load
from data.maps import write_maps
from evaluation import architecture, canvas, examples, figures, tables
from tests.conftest import command
from tests.evaluation.test_tables import NETS

HEAD = "name,SIM,CC,AUC-shuffled,AUC-Borji,AUC-Judd\n"
ARCHITECTURES = [f"architecture-{net}.{suffix}" for net in ("shallow", "deep") for suffix in ("svg", "png")]
LAYERS = [Layer("data", "Input", blobs={"data": [1, 3, 8, 8]}),
          Layer("conv1", "Convolution", [3, 3], [1, 1], [1, 1], {"conv1": [1, 16, 8, 8]}, [[16, 3, 3, 3], [16]], 27648),
          Layer("relu1", "ReLU"), Layer("fc", "DenseLayer", blobs={"fc": [1, 10]}, weights=[[1024, 10], [10]]),
          Layer("slice1", "slice", blobs={"slice1": [1, 5]}), Layer("slice2", "slice", blobs={"slice2": [1, 5]}),
          Layer("loss", "EuclideanLoss", blobs={"loss": []})]
COLUMNS = {"shallow": ["epoch", "lr", "momentum", "loss", "val_loss", "val_cc", "fc1_max_norm", "seconds"],
           "deep": ["iteration", "lr", "loss", "rmse", "val_loss", "val_rmse", "val_cc", "seconds"]}


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


def has_colour(sheet, colour):
    """Return True if an image contains this colour, such as the inside of a line."""
    rgb = [int(colour[i:i + 2], 16) for i in (1, 3, 5)]
    return (np.abs(sheet.astype(int) - rgb).max(axis=2) <= 3).any()


def write_scores(path, rows):
    path.write_text(HEAD + "".join(f"{name},{','.join(map(str, values))}\n" for name, values in rows.items()))
    return path


def write_log(folder, net, steps, validate_every=5):
    folder.mkdir(parents=True, exist_ok=True)
    log = Log(folder / "log.csv", COLUMNS[net])
    for step in range(1, steps + 1):
        validated = {"val_loss": 2 / step} if step % validate_every == 0 else {}
        log.write(**{COLUMNS[net][0]: step}, lr=0.5 ** (step // 4), loss=1 / step, seconds=1, **validated)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Write all files that the command needs, for the synthetic set; the deep net's maps are constant."""
    folder = tmp_path_factory.mktemp("inputs")
    dataset = load("synthetic", "test")
    for net in ("shallow", "deep"):
        with write_maps(folder / f"maps/{net}/predictions.h5", net) as store:
            for index in range(examples.COUNT):
                sample = dataset[index]
                store(sample.name, sample.density if net == "shallow" else np.ones(sample.shape))
        write_log(folder / f"runs/{net}", net, 12)
    for name in ("scores", "filters"):
        (folder / name).mkdir()
    rng = np.random.default_rng(0)
    for net in ("shallow", "deep"):
        write_scores(folder / f"scores/{net}.csv", {name: rng.random(5) for name in dataset.names[:examples.COUNT]})
    for net in ("shallow", "deep"):
        write_json(folder / f"filters/{net}.json", {"layers": [asdict(layer) for layer in LAYERS]})
    np.save(folder / "filters/shallow.npy", rng.random((32, 5, 5, 3), np.float32))
    np.save(folder / "filters/deep.npy", rng.random((96, 7, 7, 3), np.float32))
    return folder


def draw(inputs, out, **changed):
    options = {"predictions": inputs / "maps", "scores": inputs / "scores", "runs-shallow": inputs / "runs/shallow",
               "runs-deep": inputs / "runs/deep", "filters": inputs / "filters", "out": out, **changed}
    return command("evaluation.figures", *(part for name, value in options.items() for part in (f"--{name}", value)))


def test_the_command_draws_every_figure(inputs, tmp_path):
    process = draw(inputs, tmp_path)
    assert process.returncode == 0 and process.stderr == "", process.stderr
    names = ["comparison.png", "comparison-maps.png", "examples", *ARCHITECTURES, "filters-shallow.png", "filters-deep.png", "curves-shallow.png",
             "curves-deep.png", "scatter.png"]
    assert process.stdout.split() == [str(tmp_path / name) for name in names]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    overlaid, maps = (pixels(tmp_path / name) for name in names[:2])
    assert overlaid.shape == maps.shape == (drawing.HEADER + examples.COUNT * (240 + drawing.GAP), 4 * 328 - 8, 3)
    first = maps[drawing.HEADER:drawing.HEADER + 240]
    np.testing.assert_array_equal(first[:, :320], overlaid[drawing.HEADER:drawing.HEADER + 240, :320])  # the image
    np.testing.assert_array_equal(first[:, 328:648], first[:, 656:976])  # ground truth, and the net whose maps equal it
    assert first[:, 328:648].max() > 200 and np.ptp(first[:, 328:648], axis=2).max() == 0  # grey
    assert first[:, 984:].max() == 0  # constant
    for net, other in (("shallow", "deep"), ("deep", "shallow")):
        sheet = pixels(tmp_path / f"curves-{net}.png")
        assert has_colour(sheet, figures.COLOURS[net]) and not has_colour(sheet, figures.COLOURS[other])


def test_without_a_net_the_figures_of_the_other_are_drawn(inputs, tmp_path):
    process = draw(inputs, tmp_path, **{"runs-deep": tmp_path / "no run", "predictions": tmp_path / "none"})
    assert process.returncode == 0 and "Traceback" not in process.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"filters-shallow.png", "filters-deep.png", "curves-shallow.png",
                                                          "scatter.png", *ARCHITECTURES}
    assert "curves-deep.png left out" in process.stderr and "make train-deep DATASET=synthetic" in process.stderr
    assert (f"python -m models.predict --net deep --weights '{tmp_path}/no run/weights.caffemodel' --dataset synthetic "
            f"--out {tmp_path}/none/deep") in process.stderr


def test_damaged_files_are_named_and_the_other_figures_drawn(inputs, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("shallow.npy", "deep.npy"):
        (broken / name).write_bytes(b"")
    np.save(broken / "deep.npy", np.zeros(5))
    (broken / "shallow.json").write_text('{"layers": [{"name": "conv1"}]}')
    (broken / "deep.json").write_text('{"net": "deep"}')
    write_scores(broken / "deep.csv", {"other": [1, 1, 1, 1, 1]})
    (broken / "shallow.csv").write_text("name,SIM\nimage0,1\n")
    (broken / "log.csv").write_text(",".join(COLUMNS["deep"]) + "\n")
    process = draw(inputs, tmp_path / "out", **{"filters": broken, "scores": broken, "runs-deep": broken})
    assert process.returncode == 1 and "Traceback" not in process.stderr
    assert "shallow.npy: cannot be read as an array" in process.stderr and "deep.npy: holds an array (5,)" in process.stderr
    assert "shallow.json: has no layers" in process.stderr and "deep.json: has no layers" in process.stderr
    assert "shallow.csv: has no readable scores of CC" in process.stderr and "contains no training" in process.stderr
    assert "examples left out: synthetic test: has no image 'other', which the scores name; score again" in process.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"curves-shallow.png"}


@pytest.mark.parametrize("change", [
    {"blobs": {"conv1": [1, 16, "8", 8]}}, {"blobs": {"conv1": [1, 16, 8.5, 8]}}, {"blobs": [1, 2]}, {"blobs": {"conv1": 5}},
    {"blobs": {"conv1": [[1]]}}, {"blobs": {"conv1": [None]}}, {"blobs": {"conv1": [1, 16, 0, 8]}},
    {"blobs": {"conv1": [1, -16, 8, 8]}}, {"blobs": {"conv1": [1, 16, 10 ** 400, 8]}}, {"blobs": {"conv1": [2] * 99}},
    {"weights": [[-3]]}, {"weights": [3]}, {"weights": [[10 ** 30]]}, {"kernel": [0, 0]}, {"pad": [-5, 1]}, {"pad": [True, 1]},
    {"multiply_adds": -1}, {"multiply_adds": 10 ** 400}, {"name": None}, {"type": ["a"]}])
def test_a_damaged_list_of_layers_is_one_line(tmp_path, change):
    layers = [asdict(layer) for layer in LAYERS]
    layers[1].update(change)
    write_json(tmp_path / "deep.json", {**NETS["deep"], "layers": layers})
    for read in (lambda: architecture.read_layers(tmp_path / "deep.json"), lambda: tables.read_nets(tmp_path)):
        with pytest.raises(UserError, match=r"deep\.json: .*; .*write"):
            read()


@pytest.mark.parametrize("name", ["$", "$x_", "a\nb", "\0", "😀", "conv1" * 1000, ""])
def test_any_name_of_a_layer_is_drawn(tmp_path, name):
    layers = [asdict(layer) for layer in LAYERS]
    layers[1].update(name=name, type=name)
    write_json(tmp_path / "deep.json", {"layers": layers})
    for suffix in ("svg", "png"):
        canvas.save(architecture.draw_architecture(architecture.read_layers(tmp_path / "deep.json"), "title"),
                    tmp_path / f"a.{suffix}")
    parse_xml((tmp_path / "a.svg").read_text(encoding="utf-8"))


def test_no_files_at_all_are_an_error(tmp_path):
    process = draw(tmp_path / "nothing", tmp_path / "out")
    assert process.returncode == 1 and process.stderr.splitlines()[-1].startswith("error: ")
    assert "no files to draw from" in process.stderr and not (tmp_path / "out").exists()


@pytest.mark.parametrize("count, size, across", [(32, 5, 8), (96, 7, 12), (7, 3, 7), (1, 1, 1)])
def test_filters_are_squares_of_pixels(count, size, across, tmp_path):
    values = np.random.default_rng(0).normal(size=(count, size, size, 3))
    figures.filters(values, tmp_path / "filters.png", "title")
    factor = figures.FILTER_WIDTH // size
    pitch = size * factor + figures.FILTER_GAP
    sheet = pixels(tmp_path / "filters.png")[drawing.HEADER:]
    assert sheet.shape == (count // across * pitch - figures.FILTER_GAP, across * pitch - figures.FILTER_GAP, 3)
    top, left = pitch * np.array(divmod(count - 1, across))
    last = sheet[top:top + size * factor, left:left + size * factor]
    for corner in (0, factor - 1):  # all pixels of a square are equal
        np.testing.assert_allclose(last[corner::factor, corner::factor] / 255,
                                   (values[-1] - values[-1].min()) / np.ptp(values[-1]), atol=1 / 255)
    assert (sheet[:, size * factor:size * factor + figures.FILTER_GAP] == 255).all()


def test_constant_filters_are_drawn_black(tmp_path):
    figures.filters(np.full((32, 5, 5, 3), 0.1), tmp_path / "filters.png", "constant")
    assert (pixels(tmp_path / "filters.png")[drawing.HEADER + 1, 1] == 0).all()


@pytest.mark.parametrize("net", COLUMNS)
@pytest.mark.parametrize("steps", [1, 3, 400])
def test_curves_of_any_length_are_drawn(net, steps, tmp_path):
    write_log(tmp_path / "run", net, steps)
    figures.curves(tmp_path / "run", tmp_path / "curves.png", net)
    sheet = pixels(tmp_path / "curves.png")
    assert sheet.shape == (4.5 * canvas.DPI, 8 * canvas.DPI, 3) and has_colour(sheet, figures.COLOURS[net])


@pytest.mark.parametrize("text, fault", [("", "has no column lr"), ("epoch,loss\n1,2\n", "has no column lr"),
                                         ("epoch,lr,loss,val_loss\n", "contains no training")])
def test_a_log_without_curves_is_an_error_that_deletes_nothing(tmp_path, text, fault):
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(UserError, match=f"{fault}; run make train-shallow$"):
        figures.curves(tmp_path, tmp_path / "curves.png", "shallow")


def test_the_fraction_is_of_the_images_scored_with_both_nets(tmp_path):
    rows = {f"image{i}": [0.1 * i] * 5 for i in range(10)}
    first = write_scores(tmp_path / "a.csv", rows)
    assert figures.fraction_better(*figures.paired_scores(first, first, "CC")) == "deep net better on 0% of 10 images"
    better = {**{name: np.add(values, 0.01 if name < "image3" else -0.01) for name, values in rows.items()},
              "image9": ["nan"] * 5, "another": [1] * 5}
    del better["image8"]
    second = write_scores(tmp_path / "b.csv", better)
    shallow, deep = figures.paired_scores(first, second, "AUC-Judd")
    np.testing.assert_allclose(shallow, np.arange(8) / 10)
    np.testing.assert_allclose(deep - shallow, [0.01] * 3 + [-0.01] * 5)
    assert figures.fraction_better(shallow, deep) == "deep net better on 38% of 8 images"


def test_points_have_the_colour_of_the_better_net(tmp_path):
    low = write_scores(tmp_path / "low.csv", {f"image{i}": [0.01 * i] * 5 for i in range(10)})
    high = write_scores(tmp_path / "high.csv", {f"image{i}": [0.01 * i + 0.5] * 5 for i in range(10)})
    counts = {}
    for name, first, second in (("deep", low, high), ("shallow", high, low), ("neither", low, low)):
        figures.scatter(first, second, tmp_path / f"{name}.png", ["CC"])
        sheet = pixels(tmp_path / f"{name}.png").astype(int)
        panel = sheet[sheet.shape[0] // 6:-sheet.shape[0] // 6, sheet.shape[1] // 5:]  # without titles and labels
        counts[name] = ((panel[..., 0] - panel[..., 2] > 60).sum(), (panel[..., 2] - panel[..., 0] > 60).sum())
    assert counts["deep"][0] == 0 < counts["deep"][1] and counts["shallow"][1] == 0 < counts["shallow"][0]
    assert counts["neither"] == (0, 0)


def test_undefined_scores_give_empty_panels(tmp_path):
    undefined = write_scores(tmp_path / "nan.csv", {"image0": ["nan"] * 5})
    figures.scatter(undefined, undefined, tmp_path / "scatter.png")  # empty panels
    assert figures.fraction_better(*figures.paired_scores(undefined, undefined, "CC")) == "undefined on every image"
    with pytest.raises(UserError, match="no image in common"):
        figures.scatter(undefined, write_scores(tmp_path / "b.csv", {"image1": [1] * 5}), tmp_path / "scatter.png")


def test_a_box_has_kernel_stride_shape_and_weights():
    groups = architecture.group_layers(LAYERS)
    assert [[layer.name for layer in group] for group in groups] == [["data"], ["conv1", "relu1"], ["fc"],
                                                                     ["slice1", "slice2"], ["loss"]]
    assert architecture.describe(groups[1]) == ["conv1, relu1", "Convolution", "16 × 8 × 8", "3 × 3, stride 1, pad 1",
                                                "448 weights"]
    assert architecture.describe(groups[4]) == ["loss", "EuclideanLoss", "1"]


@pytest.mark.parametrize("count", [1, 2, 7, 8, 23])
def test_no_text_of_an_architecture_overlaps(count):
    """Lay the figure out for several numbers of boxes with the widest text of our nets."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    layers = [Layer(f"conv{i}, relu{i}", "FeaturePoolLayer", [13, 13], [1, 1], [6, 6], {f"conv{i}": [1, 512, 240, 320]},
                    [[58_987_008]]) for i in range(1, count + 1)]
    figure = architecture.draw_architecture(layers, "title")
    figure_canvas = FigureCanvasAgg(figure)
    figure_canvas.draw()  # places the legend
    renderer = figure_canvas.get_renderer()
    axes, = figure.axes
    texts = [text for text in [*axes.texts, *axes.get_legend().get_texts()] if text.get_text()]
    extents = [text.get_window_extent(renderer) for text in texts]
    frame = figure.bbox
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1 for box in extents)
    assert not [(texts[i].get_text(), texts[j].get_text()) for i in range(len(texts)) for j in range(i)
                if extents[i].overlaps(extents[j])]


def test_the_same_layers_give_the_same_files_in_both_formats(tmp_path):
    for name in ("a.svg", "b.svg", "a.png"):
        canvas.save(architecture.draw_architecture(LAYERS, "Figure 2"), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert b"<svg" in (tmp_path / "a.svg").read_bytes() and pixels(tmp_path / "a.png").shape[1] >= 5 * 1.5 * canvas.DPI
    for kind in ("convolution", "dense"):
        assert has_colour(pixels(tmp_path / "a.png"), architecture.COLOURS[kind])


def test_the_table_of_layers_counts_every_blob_once():
    rows = layer_rows(LAYERS)
    assert rows[1] == ["conv1", "Convolution", "3 x 3", "1 x 1", "1 x 1", "1 x 16 x 8 x 8", "448", "27,648", "0.00"]
    assert rows[2][5] == "as input" and rows[6][5] == "one number"
    values = 3 * 64 + 16 * 64 + 10 + 5 + 5 + 1
    assert rows[-1] == ["total", "", "", "", "", "", "10,698", "27,648", f"{values * 4 / 2**20:.2f}"]
    two = layer_rows([Layer("data", "HDF5Data", blobs={"data": [2, 3], "label": [2]})])
    assert [row[0] for row in two] == ["data", "", "total"] and [row[5] for row in two] == ["2 x 3", "2", ""]
    assert len({len(line) for line in to_text(LAYERS).splitlines()}) == 1


def test_examples_have_evenly_spaced_ranks(tmp_path):
    scores = write_scores(tmp_path / "deep.csv", {f"image{i:02}": [0, i / 100, 0, 0, 0] for i in range(21)})
    chosen = examples.choose_examples(scores, 5)
    assert [(example["name"], example["rank"]) for example in chosen] == [
        ("image20", 1), ("image15", 6), ("image10", 11), ("image05", 16), ("image00", 21)]
    assert chosen[1]["score"] == pytest.approx(0.15) and {example["total"] for example in chosen} == {21}
    write_scores(scores, {"b": [1, 0.5, 1, 1, 1], "a": [1, 0.5, 1, 1, 1], "c": [1, "nan", 1, 1, 1]})
    assert [example["name"] for example in examples.choose_examples(scores)] == ["a", "b"]
    with pytest.raises(UserError, match="no image with a CC to choose examples by"):
        examples.choose_examples(write_scores(scores, {"c": ["nan"] * 5}))


def test_examples_are_written_small_for_the_report(tmp_path):
    image, density = np.full((1200, 1600, 3), 90, np.uint8), np.eye(1200, 1600, dtype=np.float32)
    small = np.full((1, 1, 3), 200, np.uint8), [np.ones((1, 1), np.float32)] * 3  # an image of one pixel
    chosen = [{"name": name, "score": 0.5, "rank": 1, "total": 2} for name in ("large", "pixel")]
    examples.write_examples(chosen, [(image, [density] * 3), small], tmp_path / "examples")
    assert pixels(tmp_path / "examples/0-truth.jpg").shape == (480, 640, 3) and pixels(tmp_path / "examples/1-deep.jpg").shape == (1, 1, 3)
    listed = read_json(tmp_path / "examples/examples.json")
    assert listed["examples"] == chosen and listed["rule"].startswith("2 of 2 test images at evenly spaced ranks of the deep net's CC")
    assert len(list((tmp_path / "examples").iterdir())) == 9
    figures.comparison([small], tmp_path / "comparison.png")
    assert pixels(tmp_path / "comparison.png").shape[0] == drawing.HEADER + 320 + drawing.GAP
