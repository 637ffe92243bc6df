"""Itti, GBVS and BMS, the bottom-up models among the baselines of Tables 3 and 4, written from their papers.

Each takes an image and returns its map, float32 in [0, 1] and of the same size; none learns anything or draws
anything at random. Where a paper leaves a number open, it is that of its authors' toolbox.

Itti: Itti, Koch, Niebur: A model of saliency-based visual attention for rapid scene analysis (PAMI 1998);
    toolbox: Walther, Koch: Modeling attention to salient proto-objects (Neural Networks 2006).
GBVS: Harel, Koch, Perona: Graph-based visual saliency (NIPS 2006); toolbox: Harel's, of 2008.
BMS: Zhang, Sclaroff: Saliency detection: a Boolean map approach (ICCV 2013); toolbox: the authors'.
"""
import numpy as np

ROUNDING = 1e-5  # a grey level is 4e-3 in the units of the features: a range below this is rounding, not contrast

# Itti, section 2: levels are halvings, 0 the image itself
CENTRES, DELTAS = (2, 3, 4), (3, 4)  # centre c, surround c + delta
COARSEST = CENTRES[-1] + DELTAS[-1]  # nine levels
ADDED_AT = 4  # level at which maps are added
DARK = 0.1  # hue is not seen below this share of the highest intensity
ANGLES = (0, 45, 90, 135)  # degrees
GABOR = {"ksize": (9, 9), "sigma": 7 / 3, "lambd": 7, "gamma": 1}  # pixels; toolbox, defaultGaborParams
PHASES = (0, 90)  # degrees; same place
PEAK = 0.1  # share of the highest value above which a local maximum counts; toolbox, maxNormalizeLocalMax

# GBVS; lengths are shares of the grid's. Toolbox, makeGBVSParams; the paper: sigma about 0.1 to 0.2 of the width
GRID = 32  # nodes along the longer side
SIGMA_ACTIVATION, SIGMA_CONCENTRATION = 0.15, 0.06
BLUR = 0.02

# BMS, in pixels of the resized image: the authors' program
SIDE = 600  # the longer one
STEP = 8  # delta, between thresholds on 8 bits
OPENING, DILATION, LAST_DILATION = 5, 7, 23  # omega_o, omega_d1, omega_d2: sides of square kernels
LAST_BLUR = 20  # sigma


def itti(image):
    """Itti's model: centre-surround contrast of intensity, colour and orientation (1998, section 2).

    Colour differs from the letter of its equation 2, RG(c) - GR(s), which adds the two scales: it
    would find a uniform red contrasting with itself. Like the toolbox we take RG(c) - RG(s).

    Parameters
    ----------
    image : uint8 (H, W, 3), RGB

    Returns
    -------
    float32 (H, W) in [0, 1]; all zero for a uniform image
    """
    (intensity,), opponents, orientations = _features(image, COARSEST)
    conspicuity = (_contrast(intensity), sum(map(_contrast, opponents)),
                   sum(_promoted(_contrast(orientation)) for orientation in orientations))
    return _finished(sum(map(_promoted, conspicuity)) / 3, image.shape)


def gbvs(image):
    """Graph-based visual saliency: where two random walks over the feature maps spend their time (2006, section 2).

    The first walk's steps are to nodes that are near and unlike (activation), the second's to nodes that are near
    and active (concentration). Both stay longer in the middle, which has more near nodes than a corner.

    Unlikeness is the difference of the values. The paper's log of their ratio has no meaning for
    opponents, which may be zero or negative; the paper names the difference as the other choice, its toolbox
    makes it.

    Parameters
    ----------
    image : uint8 (H, W, 3), RGB

    Returns
    -------
    float32 (H, W) in [0, 1]; all zero for a uniform image
    """
    import cv2

    height, width = _with_longer_side(GRID, image.shape)
    far, near = (_closeness((height, width), share * (height + width) / 2)
                 for share in (SIGMA_ACTIVATION, SIGMA_CONCENTRATION))
    saliency = np.zeros(height * width)
    for channel in _features(image, CENTRES[-1]):
        # at quarter, eighth and sixteenth size, Itti's centres, as in the toolbox
        maps = [cv2.resize(feature[level], (width, height), interpolation=cv2.INTER_AREA)
                for feature in channel for level in CENTRES]
        saliency += np.mean([_concentration(_activation(one.ravel(), far), near) for one in maps], axis=0)
    saliency = cv2.GaussianBlur(saliency.reshape(height, width), (0, 0), BLUR * max(height, width))
    return _finished(saliency, image.shape)


def bms(image):
    """Boolean map saliency: regions that another one surrounds, over all thresholds (2013, section 3).

    Parameters
    ----------
    image : uint8 (H, W, 3), RGB

    Returns
    -------
    float32 (H, W) in [0, 1]; all zero for a uniform image
    """
    import cv2

    height, width = _with_longer_side(SIDE, image.shape)
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    attention = np.zeros((height, width), np.float32)
    for channel in cv2.split(cv2.cvtColor(small, cv2.COLOR_RGB2LAB)):
        for threshold in range(channel.min(), channel.max(), STEP):
            above = (channel > threshold).astype(np.uint8)
            # The paper opens the map and its inverse. The opened inverse is the inverse of the closed map, and
            # what is surrounded in a map is so in its inverse.
            for operation in (cv2.MORPH_OPEN, cv2.MORPH_CLOSE):
                found = _surrounded(cv2.morphologyEx(above, operation, _square(OPENING)))
                found = cv2.dilate(found, _square(DILATION))
                area = cv2.countNonZero(found)
                if area:  # L2 norm: little in a map counts for more
                    attention += found * np.float32(area ** -0.5)
    attention = cv2.dilate(attention, _square(LAST_DILATION))
    return _finished(cv2.GaussianBlur(attention, (0, 0), LAST_BLUR), image.shape)


def _features(image, coarsest):
    """Intensity, colour and orientation: a list of features each, by level from 2 to `coarsest` (Itti, section 2).

    Returns
    -------
    three lists of dict {level: float32 (h, w)}: intensity; red-green and blue-yellow; energy at four angles
    """
    import cv2

    if (scale := 2 ** coarsest / min(image.shape[:2])) > 1:  # too small to be halved so often
        image = cv2.resize(image, None, fx=scale, fy=scale)
    image = image.astype(np.float32) / 255
    intensity = image.mean(axis=2)
    visible = intensity > DARK * intensity.max()
    hue = np.divide(image, intensity[..., None], out=np.zeros_like(image), where=visible[..., None])
    r, g, b = np.moveaxis(hue, 2, 0)
    red, green, blue = (np.maximum(one - (two + three) / 2, 0) for one, two, three in ((r, g, b), (g, r, b), (b, r, g)))
    yellow = np.maximum(np.minimum(r, g) - b, 0)  # (r + g) / 2 - |r - g| / 2 is the lesser of both
    light = _pyramid(intensity, coarsest)
    return ([light], [_pyramid(red - green, coarsest), _pyramid(blue - yellow, coarsest)],
            [{level: _energy(one, angle) for level, one in light.items()} for angle in ANGLES])


def _pyramid(channel, coarsest):
    """{level: float32 (h, w)}: each level blurred and half the size of the one before, from the finest centre on."""
    import cv2

    levels = [channel]
    for _ in range(coarsest):
        levels.append(cv2.pyrDown(levels[-1]))
    return dict(list(enumerate(levels))[CENTRES[0]:])


def _energy(intensity, angle):
    """What Gabor filters of one orientation answer: the sum over both phases of the magnitude."""
    import cv2

    energy = np.zeros_like(intensity)
    for phase in PHASES:
        kernel = cv2.getGaborKernel(theta=np.deg2rad(angle), psi=np.deg2rad(phase), **GABOR)
        kernel -= kernel.mean()  # no answer to uniform light
        energy += np.abs(cv2.filter2D(intensity, -1, kernel / np.linalg.norm(kernel)))
    return energy


def _contrast(feature):
    """Centre less surround in all six pairs of levels, promoted, added at `ADDED_AT`: a sum of N(|F(c) - F(s)|)."""
    import cv2

    total, size = 0, feature[ADDED_AT].shape[::-1]
    for centre in CENTRES:
        for delta in DELTAS:
            surround = cv2.resize(feature[centre + delta], feature[centre].shape[::-1])
            difference = _promoted(np.abs(feature[centre] - surround))
            total += cv2.resize(difference, size, interpolation=cv2.INTER_AREA)
    return total


def _promoted(feature):
    """Itti's N(.): a map with one peak is kept, one with many like it is suppressed.

    The map on the scale [0, 1], times the square of one less the mean of all local maxima but the highest.
    """
    import cv2

    low, high = feature.min(), feature.max()
    if high - low < ROUNDING:
        return np.zeros_like(feature)
    feature = (feature - low) / (high - low)
    peaks = feature[(feature == cv2.dilate(feature, _square(3))) & (feature > PEAK)]
    others = (peaks.sum() - 1) / max(peaks.size - 1, 1)
    return feature * (1 - others) ** 2


def _closeness(shape, sigma):
    """float64 (N, N): a Gaussian of the distance between any two of a grid's N nodes."""
    row, column = np.indices(shape).reshape(2, -1)
    distance = np.subtract.outer(row, row) ** 2 + np.subtract.outer(column, column) ** 2
    return np.exp(-distance / (2 * sigma ** 2))


# Both chains of GBVS are walks on undirected graphs, and such a walk is at each node in proportion to the weight of
# the node's edges: no power iteration is needed. Activation has the symmetric weights |M_i - M_j| F_ij.
# Concentration steps from i to j with weight A_j F_ij, which makes the same transition probabilities as the
# symmetric A_i A_j F_ij, since A_i is the same for all steps from i; its equilibrium is A * (F A).

def _activation(feature, closeness):
    """float64 (N,), sum 1: where the walk to unlike nodes spends its time; 0 if all nodes are alike."""
    if np.ptp(feature) < ROUNDING:
        return np.zeros(feature.size)
    feature = feature.astype(np.float64)
    return _distribution((np.abs(np.subtract.outer(feature, feature)) * closeness).sum(axis=1))


def _concentration(activation, closeness):
    """float64 (N,), sum 1: where the walk to active nodes spends its time; 0 if none is active."""
    return _distribution(activation * (closeness @ activation))


def _distribution(weights):
    return weights / (weights.sum() or 1)


def _surrounded(boolean):
    """uint8 (H, W): 1 in regions of ones, and of zeros, that do not touch the border; neighbours are 8."""
    import cv2

    found = np.zeros_like(boolean)
    for regions in (boolean, 1 - boolean):
        # a frame of ones joins all that touch the border, and is flooded with it
        framed = cv2.copyMakeBorder(regions, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
        cv2.floodFill(framed, None, (0, 0), 0, flags=8)
        found |= framed[1:-1, 1:-1]
    return found


def _square(side):
    return np.ones((side, side), np.uint8)


def _with_longer_side(side, shape):
    """(height, width) in the proportions of an image of this shape."""
    scale = side / max(shape[:2])
    return tuple(max(round(length * scale), 1) for length in shape[:2])


def _finished(saliency, shape):
    """At the image's size and on the scale from 0 to 1."""
    import cv2

    saliency = cv2.resize(saliency.astype(np.float32), shape[1::-1], interpolation=cv2.INTER_CUBIC)
    low, high = saliency.min(), saliency.max()
    return (saliency - low) / (high - low) if high > low else np.zeros_like(saliency)
