"""Run experiments with trained nets' maps: centre bias, resolution, aspect ratio, mouse against eyes, filters."""
import numpy as np

from common.errors import UserError
from data.dataset import load, scored_split
from data.maps import open_maps
from evaluation import metrics
from evaluation.baselines import centre_prior
from evaluation.figures import read_filters
from evaluation.imresize import imresize
from experiments.setup import Table, run

RESAMPLES = 2000  # bootstrap samples
SMALL_DETAIL = 24  # pixels per cycle: details smaller than this, one degree in OSIE
NETS = ("shallow", "deep")


def centre_bias(setup):
    """Compare the nets' maps, and people's, with the centre prior (section 5.3)."""
    dataset, maps = _test_images(setup), _predictions(setup)
    prior = centre_prior(load(setup.dataset, "train", setup.root), jobs=-1)
    scores = {name: [] for name in (*NETS, "ground truth")}
    for sample in dataset:
        small = imresize(prior, sample.shape)
        for net in NETS:
            scores[net].append(metrics.cc(imresize(maps[net][sample.name], sample.shape), small))
        scores["ground truth"].append(metrics.cc(sample.density, small))
    rows = [[name, *_interval(values)] for name, values in scores.items()]
    rows.append(["shallow - deep", *_interval(np.subtract(scores["shallow"], scores["deep"]))])
    return Table("Section 5.3: the shallow net is biased towards the centre.",
                 ["map", "CC with the centre prior", "low", "high"], rows,
                 f"Means over {len(dataset)} test images of {setup.dataset} with bootstrap 95% intervals, paired for "
                 "the difference. The centre prior is the mean density map of the training images.")


def resolution(setup):
    """Measure the fine detail and the smoothness of the maps, and what the detail is worth (sections 1, 3.1, 5.3)."""
    dataset, maps = _test_images(setup), _predictions(setup)
    detail = {name: [] for name in (*NETS, "ground truth")}
    steps = {name: [] for name in (*NETS, "ground truth")}
    coarse = []
    for sample in dataset:
        values = {net: imresize(maps[net][sample.name], sample.shape) for net in NETS}
        values["ground truth"] = sample.density
        for name, array in values.items():
            detail[name].append(_detail(array))
            steps[name].append(np.abs(np.diff(array, axis=1)).mean() / max(array.std(), 1e-12))
        shrunk = imresize(imresize(values["deep"], (48, 48)), sample.shape)
        coarse.append(metrics.cc(values["deep"], sample.density) - metrics.cc(shrunk, sample.density))
    rows = [[name, *_interval(np.multiply(detail[name], 100)), float(np.mean(steps[name]))] for name in detail]
    rows.append(["deep net's CC, less that of its map at 48x48", *_interval(coarse), ""])
    return Table("Sections 1, 3.1 and 5.3: maps are smooth; the deep net's have the higher spatial resolution, which "
                 "is why it scores better.",
                 ["map", f"power in details under {SMALL_DETAIL} px, %", "low", "high", "step of neighbours"], rows,
                 f"Means over {len(dataset)} test images of {setup.dataset} with bootstrap 95% intervals. Step: mean "
                 "absolute difference of neighbouring pixels, divided by the map's standard deviation.")


def blur(setup):
    """Score the shallow net's maps with the blur of section 3.1 and with the released one."""
    dataset, rows, scores = _test_images(setup), [], {}
    for smoothing in ("paper", "released"):
        out = setup.out / f"{setup.name}-blur-{smoothing}"
        run("models.predict", "--net", "shallow", "--weights", setup.weights["shallow"], *setup.source, "--out", out,
            "--option", f"smoothing={smoothing}")
        maps = open_maps(out)
        scores[smoothing] = _scores(maps, dataset)
        rows.append([smoothing, *_interval(scores[smoothing])])
    rows.append(["paper - released", *_interval(np.subtract(scores["paper"], scores["released"]))])
    return Table("Section 3.1: a Gaussian of sigma 2 after resizing compensates for the lost resolution.",
                 ["blur", "CC", "low", "high"], rows,
                 f"{len(dataset)} test images of {setup.dataset}, bootstrap 95% intervals. Paper: sigma 2 at the "
                 "image's size; released: sigma 3 at 48x48, before resizing.")


def aspect(setup):
    """Predict squashed images with the deep net, instead of images with their aspect ratio (section 5.3)."""
    import cv2

    import models

    dataset = _test_images(setup)
    predictor = models.load("deep", setup.weights["deep"])
    scores = {name: [] for name in ("kept", "squashed to a square")}
    for sample in dataset:
        height = min(sample.shape)
        squashed = cv2.resize(sample.image, (height, height), interpolation=cv2.INTER_AREA)
        for name, image in (("kept", sample.image), ("squashed to a square", squashed)):
            scores[name].append(metrics.cc(imresize(predictor.predict(image), sample.shape), sample.density))
    rows = [[name, *_interval(values)] for name, values in scores.items()]
    rows.append(["kept - squashed", *_interval(np.subtract(*scores.values()))])
    return Table("Section 5.3: the deep net is better because it keeps the aspect ratio.",
                 ["aspect ratio", "CC", "low", "high"], rows,
                 f"Deep net, {len(dataset)} test images of {setup.dataset}, bootstrap 95% intervals, paired for the "
                 "difference. The net was trained on images with their aspect ratio.")


def mouse_eyes(setup):
    """Score mouse tracking as a prediction of eye tracking, and nets trained on either (section 5.2); OSIE only."""
    if setup.dataset != "osie":
        raise UserError("mouse-eyes: needs a data set with mouse and eye tracking of the same images: --dataset osie")
    mouse = load("osie+gaze=mouse", "test", setup.root)
    dataset, scores = _test_images(setup), {"mouse tracking": []}
    for sample in dataset:
        scores["mouse tracking"].append(metrics.cc(mouse.open(sample.name).density, sample.density))
    for gaze in ("mouse", "eyes"):
        own = type(setup)(f"osie+gaze={gaze}", setup.root, setup.build, setup.out)
        own.train("deep", "trained", own.data("deep"))
        out = setup.out / f"{own.name}-predictions"
        run("models.predict", "--net", "deep", "--weights", own.run_folder("trained") / "weights.caffemodel",
            *setup.source, "--out", out)
        scores[f"deep net trained on {gaze}"] = _scores(open_maps(out), dataset)
    rows = [[name, *_interval(values)] for name, values in scores.items()]
    rows.append(["trained on eyes - on mouse", *_interval(np.subtract(scores["deep net trained on eyes"],
                                                                     scores["deep net trained on mouse"]))])
    return Table("Section 5.2: crowd-sourced data are of lower quality than laboratory data.",
                 ["prediction", "CC with eyes", "low", "high"], rows,
                 f"{len(dataset)} test images of OSIE, bootstrap 95% intervals; deep net with the demo preset, the "
                 "same training images, one seed.")


def filters(setup):
    """Count the filters of both first layers that are smoother than chance (sections 3.2 and 4, Figure 3)."""
    rows = []
    for net in NETS:
        out = setup.out / f"{setup.name}-{net}"
        run("models.summary", "--net", net, "--weights", setup.weights[net], "--out", out)
        kernels = read_filters(out.with_suffix(".npy"))
        rng = np.random.default_rng(0)
        smooth = [_is_smooth(kernel, rng) for kernel in kernels]
        rows.append([net, len(kernels), int(np.sum(smooth)), round(0.05 * len(kernels), 1)])
    return Table("Section 3.2, Figure 3: edge detectors arise in the first layer; section 4: low layers respond to "
                 "colour and texture.",
                 ["net", "filters", "smoother than 95% of shuffled copies", "expected by chance"], rows,
                 "Correlation of neighbouring pixels of a filter, compared with 200 copies with shuffled pixels; "
                 "random initial weights give the last column.")


def _is_smooth(kernel, rng):
    """Return True if neighbouring pixels of a filter are more alike than in 95% of copies with shuffled pixels."""
    copies = (rng.permutation(kernel.reshape(-1, 3)).reshape(kernel.shape) for _ in range(200))
    return _neighbour_correlation(kernel) > np.percentile([_neighbour_correlation(copy) for copy in copies], 95)


def _scores(maps, dataset):
    """Return the CC of each map with the ground truth, list of float."""
    return [metrics.cc(imresize(maps[sample.name], sample.shape), sample.density) for sample in dataset]


def _test_images(setup):
    return load(setup.dataset, scored_split(setup.dataset), setup.root)


def _predictions(setup):
    """Predict the test images with both nets, if that is not done, and return their maps by net."""
    maps = {}
    for net in NETS:
        out = setup.out / f"{setup.name}-predictions-{net}"
        if not (out / "predictions.h5").is_file():
            run("models.predict", "--net", net, "--weights", setup.weights[net], *setup.source, "--out", out)
        maps[net] = open_maps(out)
    return maps


def _interval(values):
    """Return the mean and the limits of its bootstrap 95% interval, list of float."""
    values = np.asarray(values, float)
    values = values[~np.isnan(values)]
    draws = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    return [float(values.mean()), *(float(limit) for limit in np.percentile(values[draws].mean(axis=1), [2.5, 97.5]))]


def _detail(values):
    """Return the fraction of a map's power, without its mean, in details smaller than SMALL_DETAIL pixels."""
    power = np.abs(np.fft.fft2(values - values.mean())) ** 2
    frequency = np.hypot(np.fft.fftfreq(values.shape[0])[:, None], np.fft.fftfreq(values.shape[1]))
    return power[frequency > 1 / SMALL_DETAIL].sum() / max(power.sum(), 1e-12)


def _neighbour_correlation(kernel):
    """Return the mean correlation of neighbouring pixels, in rows and columns, of a filter (rows, columns, 3)."""
    pairs = ((kernel[:, :-1], kernel[:, 1:]), (kernel[:-1], kernel[1:]))
    return np.mean([np.corrcoef(first.ravel(), second.ravel())[0, 1] for first, second in pairs])
