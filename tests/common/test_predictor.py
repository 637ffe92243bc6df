import numpy as np
import pytest

from common.predictor import Predictor


class Halves(Predictor):
    """A net whose output is half of the red channel."""

    def __init__(self):
        self.calls = []

    def preprocess(self, image):
        self.calls.append("preprocess")
        return image.astype(np.float32).transpose(2, 0, 1)

    def forward(self, batch):
        self.calls.append("forward")
        assert batch.shape == (1, 3, 4, 6)
        return batch[:, 0] / 2

    def postprocess(self, output, shape):
        self.calls.append("postprocess")
        assert output.shape == shape == (4, 6)
        return output / 255


def test_predict_runs_the_parts_in_order():
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    predictor = Halves()
    saliency = predictor.predict(image)
    assert predictor.calls == ["preprocess", "forward", "postprocess"] and predictor.batch_size == 1
    np.testing.assert_allclose(saliency, image[:, :, 0] / np.float32(510), rtol=1e-6)


@pytest.mark.parametrize("part", ["preprocess", "forward", "postprocess"])
def test_a_subclass_without_a_part_cannot_be_created(part):
    parts = {name: getattr(Halves, name) for name in ("preprocess", "forward", "postprocess") if name != part}
    with pytest.raises(TypeError, match=f"abstract method {part}"):
        type("Incomplete", (Predictor,), parts)()
