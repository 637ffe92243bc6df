import numpy as np

from data import load, synthetic
from evaluation import metrics


def test_samples_meet_the_contract():
    test = load("synthetic", "test")
    assert len(test) == 100 and len(load("synthetic", "train")) == 1000
    sample = test[3]
    assert sample.image.shape == (480, 640, 3) and sample.image.dtype == np.uint8
    assert sample.fixations.dtype == np.float32 and len(sample.fixations) > 50
    assert len(sample.observers) == len(sample.fixations) and set(sample.observers) == set(range(20))
    assert (sample.fixations >= 0).all() and (sample.fixations <= [639, 479]).all()
    assert sample.density.shape == (480, 640) and 0 <= sample.density.min() and sample.density.max() == 1
    assert [s.name for s in test[:2]] == test.names[:2]


def test_the_same_seed_gives_the_same_image_and_fixations():
    first, second = load("synthetic", "test")[7], load("synthetic", "test")[7]
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.fixations, second.fixations)


def test_splits_and_images_differ():
    images = {load("synthetic", split)[i].image.tobytes() for split in ("train", "test") for i in range(5)}
    assert len(images) == 10


def test_a_map_of_the_objects_beats_the_centre_prior():
    """Check the purpose of the data set: a net that uses the image can beat the centre prior."""
    test = load("synthetic", "test")
    prior = np.mean([sample.density for sample in load("synthetic", "train")[:150]], axis=0)
    y, x = np.mgrid[:480, :640]
    gains, centred = [], []
    for index in range(20):
        objects = synthetic.sample_objects(np.random.default_rng((synthetic.SEED, 1, index)))
        saliency = sum(np.exp(-((x - target["position"][0]) ** 2 + (y - target["position"][1]) ** 2) / target["radius"] ** 2)
                       for target in objects)
        centred.append(metrics.cc(prior, test[index].density))
        gains.append(metrics.cc(saliency, test[index].density) - centred[-1])
    assert np.mean(gains) > 0.2
    assert np.mean(centred) > 0.2  # the data set has a centre bias
