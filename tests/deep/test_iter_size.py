"""iter_size: the gradients of several batches make one update, in both engines, also after an interruption."""
import pytest

from common.interrupts import Interrupts
from deep.caffe_engine import CaffeEngine
from deep.trainer import Run
from deep.weights import read_caffemodel
from tests.deep.conftest import assert_equal_to_rounding, run_folder


@pytest.fixture(params=["caffe", "torch"])
def engine(request):
    """Return the class of an engine, for the CPU."""
    if request.param == "caffe":
        return CaffeEngine
    pytest.importorskip("torch", reason="PyTorch is not installed: make torch")
    from deep.torch_engine import TorchEngine

    return lambda folder: TorchEngine(folder, device="cpu")


def final_weights(engine, path):
    engine.save(path)
    return read_caffemodel(path)


def test_two_batches_of_one_image_equal_one_batch_of_two(engine, tmp_path):
    """The loss is divided by the number of images of a batch, and the gradient by iter_size."""
    whole = engine(run_folder(tmp_path / "whole", "", batch_size=2))
    parts = engine(run_folder(tmp_path / "parts", "iter_size: 2", batch_size=1))
    for _ in range(8):  # 16 of 5 images: across shards, and from the beginning again
        (loss, weights, gradients), (other_loss, other_weights, other_gradients) = whole.step(), parts.step()
        assert other_loss == pytest.approx(loss, rel=1e-4)
        assert other_weights == pytest.approx(weights, rel=1e-4) and other_gradients == pytest.approx(gradients, rel=1e-3)
    assert whole.iteration == parts.iteration == 8
    first, second = (final_weights(each_engine, tmp_path / "w.caffemodel") for each_engine in (whole, parts))
    for name, arrays in first.items():
        for values, others in zip(arrays, second[name]):
            assert_equal_to_rounding(values, others, name)


def test_a_resumed_run_continues_at_the_right_image(engine, tmp_path):
    """Bit for bit, after 3 iterations of 2 batches of 2 images, of 5 images in all."""
    settings = "iter_size: 2 snapshot: 100"
    whole = run_folder(tmp_path / "whole", settings)
    broken = run_folder(tmp_path / "broken", settings)
    for folder in (whole, broken):
        (folder / "snapshots").mkdir()
        solver = folder / "solver.prototxt"
        solver.write_text(solver.read_text().replace(f"{folder}/snapshot", f"{folder}/snapshots/snapshot").replace(
            "max_iter: 100", "max_iter: 6"))
        (folder / "val.txt").write_text(f"{folder}/b.h5\n")
    stopped = Run(broken, engine(broken))
    for _ in range(3):
        stopped._iterate()
    stopped._snapshot()
    for folder in (whole, broken):
        with Interrupts() as interrupts:
            Run(folder, engine(folder)).train(interrupts)
    first, second = ((folder / "log.csv").read_text().splitlines() for folder in (whole, broken))
    assert len(first) == 7 and len(second) == 4  # this test logged nothing before the interruption
    for line, other in zip(first[4:], second[1:]):
        columns = first[0].split(",").index("seconds")
        assert [value for index, value in enumerate(line.split(",")) if index != columns] == [
            value for index, value in enumerate(other.split(",")) if index != columns]
