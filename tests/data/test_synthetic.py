import json
import os
import subprocess
import sys

import numpy as np
import pytest

from common.errors import UserError
from data import load, scenes, synthetic
from evaluation import metrics

PRINT_HASHES = """
import hashlib, json, sys
import cv2
from data import load
cv2.setNumThreads(int(sys.argv[1]))
samples = load("synthetic", "train")[:6]
print(json.dumps([hashlib.sha256(array.tobytes()).hexdigest()
                  for sample in samples for array in (sample.image, sample.fixations)]))
"""


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


def test_images_do_not_depend_on_threads_or_on_the_instructions_of_the_processor():
    plain = {**os.environ, "OPENCV_IPP": "disabled", "OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,FMA3,AVX,SSE4.2,SSE4.1,SSSE3",
             "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX2 FMA3 F16C "
                                       "AVX SSE42 POPCNT SSE41 SSSE3"}
    processes = [subprocess.run([sys.executable, "-W", "ignore", "-c", PRINT_HASHES, threads], env=environment,
                                capture_output=True, text=True, check=True)
                 for threads, environment in (("1", None), ("4", None), ("2", plain))]
    assert not any("unknown" in process.stderr for process in processes), processes[2].stderr
    hashes = [json.loads(process.stdout) for process in processes]
    assert hashes[0] == hashes[1] == hashes[2] and len(set(hashes[0])) == 12


def test_another_seed_gives_another_data_set():
    first, second = load("synthetic", "test"), load("synthetic+seed=7", "test")
    assert first.names == second.names and not np.array_equal(first[0].image, second[0].image)
    numbers = {load(f"synthetic+seed={seed}", "test").about["edition"] for seed in (1234567, 1234568)}
    assert numbers == {"edition 2, seed 1234567", "edition 2, seed 1234568"}
    assert "seed 7" in second.about["edition"] and load("synthetic", "test", seed=2016)[5].image.tobytes() == first[5].image.tobytes()


@pytest.mark.parametrize("option, message", [
    ("seed=-1", "from 0 to 4294967295"), ("seed=4294967296", "from 0 to"), ("seed=0.5", "from 0 to"),
    ("seed=nan", "from 0 to"), ("seed=x", "from 0 to"), ("edition=3", "give edition=1 or edition=2"),
    ("edition=x", "give edition=1 or edition=2")])
def test_a_seed_or_edition_that_does_not_exist_is_an_error(option, message):
    with pytest.raises(UserError, match=message):
        load(f"synthetic+{option}", "test")


def test_the_first_edition_is_unchanged():
    sample = load("synthetic+edition=1", "test")[7]
    green = [[29, 30, 33, 29], [40, 31, 31, 37], [57, 38, 33, 45], [36, 41, 30, 44]]  # recorded before the second edition
    np.testing.assert_allclose(sample.image[::120, ::160, 1].astype(int), green, atol=1)
    np.testing.assert_allclose(sample.fixations[:3], [[458.25107, 283.22009], [1.97788, 210.92982], [107.93727, 262.56738]],
                               atol=1e-3)
    assert len(sample.fixations) == 162


def amplitude_slope(grey):
    """Return the exponent of the amplitude spectrum of a square grey image, 480x480, fitted from 4 to 120 cycles."""
    window = np.hanning(480)
    amplitude = np.abs(np.fft.fftshift(np.fft.fft2((grey - grey.mean()) * window * window[:, None])))
    radius = np.hypot(*np.mgrid[-240:240, -240:240]).round().astype(int)
    mean = np.bincount(radius.ravel(), amplitude.ravel()) / np.bincount(radius.ravel())
    return np.polyfit(np.log(np.arange(4, 120)), np.log(mean[4:120]), 1)[0]


def test_the_spectrum_is_that_of_photographs():
    """Photographs have an amplitude spectrum that falls roughly with the frequency: exponents around -1."""
    slopes = [amplitude_slope(sample.image[:, 80:560].mean(2)) for sample in load("synthetic", "train")[:10]]
    assert -1.6 < np.mean(slopes) < -0.8
    assert -1.4 < amplitude_slope(scenes._render_texture(np.random.default_rng(0))[:, 80:560]) < -0.8


def test_observers_prefer_faces_and_writing_to_objects_of_equal_contrast():
    counts, contrasts = {}, {}
    for index in range(60):
        key = (synthetic.SEED, synthetic.STREAMS["test"], index)
        image, (points, _) = synthetic.render_image(key).astype(float), synthetic.simulate_fixations(key)
        for item in scenes.sample_scene(np.random.default_rng(key)).objects:
            x, y, radius = item.region
            near = np.hypot(*(points - (x, y)).T) < radius
            window = image[max(int(y - radius), 0):int(y + radius) + 1, max(int(x - radius), 0):int(x + radius) + 1]
            if window.size:
                counts.setdefault(item.kind, []).append(near.sum() / radius ** 2)
                contrasts.setdefault(item.kind, []).append(window.std((0, 1)).mean())
    density = {kind: np.mean(values) for kind, values in counts.items()}
    contrast = {kind: np.mean(values) for kind, values in contrasts.items()}
    for kind in ("building", "crate", "ball", "poster", "plant", "tree"):
        assert density["person"] > 2 * density[kind] and density["sign"] > 2 * density[kind]
    # equal or higher contrast; plants have a little less
    assert min(contrast[kind] for kind in ("building", "tree", "crate", "ball", "poster")) > 0.95 * contrast["person"]
    assert contrast["poster"] > 0.95 * contrast["sign"]


def test_objects_hide_no_face_and_no_writing():
    for index in range(100):
        objects = scenes.sample_scene(np.random.default_rng(index)).objects
        assert any(item.kind in ("person", "sign") for item in objects)
        for place, far in enumerate(objects):
            x, y, _ = far.region
            for near in objects[place + 1:]:
                half = far.width / 2 if far.kind == "sign" else 0
                covers = abs(x - near.x) < near.width / 2 + half and near.y - near.height < y < near.y
                assert not (covers and far.kind in ("person", "sign"))


def test_an_empty_scene_can_be_drawn_and_observed():
    empty = scenes.Scene(horizon=200.0, side=1, objects=[])
    assert scenes.render_scene(empty, np.random.default_rng(0)).shape == (480, 640, 3)
    points, observers = synthetic.observe(empty, np.random.default_rng(0))
    assert len(points) == len(observers) > 100 and set(observers) == set(range(20))


def test_a_map_of_faces_and_writing_beats_the_centre_prior():
    """Check the purpose of the data set: a net that uses the image can beat the centre prior."""
    test = load("synthetic", "test")
    prior = np.mean([sample.density for sample in load("synthetic", "train")[:150]], axis=0)
    y, x = np.mgrid[:480, :640]
    gains, centred = [], []
    for index in range(20):
        scene = scenes.sample_scene(np.random.default_rng((synthetic.SEED, synthetic.STREAMS["test"], index)))
        regions = [item.region for item in scene.objects if item.kind in synthetic.ATTRACTION]
        saliency = sum(np.exp(-((x - left) ** 2 + (y - top) ** 2) / (0.5 * radius ** 2 + 1000)) for left, top, radius in regions)
        centred.append(metrics.cc(prior, test[index].density))
        gains.append(metrics.cc(saliency, test[index].density) - centred[-1])
    assert np.mean(gains) > 0.2
    assert np.mean(centred) > 0.2  # the data set has a centre bias
