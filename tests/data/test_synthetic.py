import numpy as np

from data import load, synthetic
from evaluation import metrics


def test_contract():
    test = load("synthetic", "test")
    assert len(test) == 100 and len(load("synthetic", "train")) == 1000
    sample = test[3]
    assert sample.image.shape == (480, 640, 3) and sample.image.dtype == np.uint8
    assert sample.fixations.dtype == np.float32 and len(sample.fixations) > 50
    assert len(sample.observers) == len(sample.fixations) and set(sample.observers) == set(range(20))
    assert (sample.fixations >= 0).all() and (sample.fixations <= [639, 479]).all()
    assert sample.density.shape == (480, 640) and 0 <= sample.density.min() and sample.density.max() == 1
    assert [s.name for s in test[:2]] == test.names[:2]


def test_same_seed_same_picture_and_people():
    first, again = load("synthetic", "test")[7], load("synthetic", "test")[7]
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.fixations, again.fixations)


def test_splits_and_images_differ():
    names = {load("synthetic", split)[i].image.tobytes() for split in ("train", "test") for i in range(5)}
    assert len(names) == 10


def test_who_sees_the_things_beats_the_centre_prior():
    """The property the data set is made for, with a map drawn from where the things are."""
    test = load("synthetic", "test")
    prior = np.mean([sample.density for sample in load("synthetic", "train")[:150]], axis=0)
    y, x = np.mgrid[:480, :640]
    gains, centred = [], []
    for index in range(20):
        seen = sum(np.exp(-((x - thing["position"][0]) ** 2 + (y - thing["position"][1]) ** 2) / thing["radius"] ** 2)
                   for thing in synthetic.objects(np.random.default_rng((synthetic.SEED, 1, index))))
        centred.append(metrics.cc(prior, test[index].density))
        gains.append(metrics.cc(seen, test[index].density) - centred[-1])
    assert np.mean(gains) > 0.2
    assert np.mean(centred) > 0.2  # and the centre bias is there to be beaten
