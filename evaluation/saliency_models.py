"""The classical models Itti, GBVS and BMS, baselines of Tables 3 and 4, implemented from their papers.

Each function takes an image and returns its saliency map, float32 in [0, 1] and of the same size. The models are not
trained and not random. Numbers that a paper does not state are those of its authors' toolbox.

Itti: Itti, Koch, Niebur: A model of saliency-based visual attention for rapid scene analysis (PAMI 1998);
    toolbox: Walther, Koch: Modeling attention to salient proto-objects (Neural Networks 2006).
GBVS: Harel, Koch, Perona: Graph-based visual saliency (NIPS 2006); toolbox: Harel's, of 2008.
BMS: Zhang, Sclaroff: Saliency detection: a Boolean map approach (ICCV 2013); toolbox: the authors'.
"""
import numpy as np

ROUNDING = 1e-5  # a range of feature values below this is rounding, not contrast: a grey level is 4e-3

# Itti, section 2; level 0 is the image, each further level has half the size
CENTRES, DELTAS = (2, 3, 4), (3, 4)  # centre c, surround c + delta
COARSEST = CENTRES[-1] + DELTAS[-1]  # nine levels
OUTPUT_LEVEL = 4  # all maps are resized to this level before they are added
DARK = 0.1  # pixels below this fraction of the highest intensity have no hue
ANGLES = (0, 45, 90, 135)  # degrees
GABOR = {"ksize": (9, 9), "sigma": 7 / 3, "lambd": 7, "gamma": 1}  # pixels; toolbox, defaultGaborParams
PHASES = (0, 90)  # degrees; same source
PEAK = 0.1  # fraction of the highest value above which a local maximum counts; toolbox, maxNormalizeLocalMax

# GBVS: toolbox, makeGBVSParams; the paper gives sigma as about 0.1 to 0.2 of the width
GRID = 32  # nodes along the longer side
SIGMA_ACTIVATION, SIGMA_CONCENTRATION = 0.15, 0.06  # fractions of the mean of the grid's height and width
BLUR = 0.02  # sigma as a fraction of the grid's longer side

# BMS, in pixels of the resized image: the authors' program
SIDE = 600  # longer side of the resized image
STEP = 8  # delta, step between thresholds on 8-bit channels
OPENING, DILATION, LAST_DILATION = 5, 7, 23  # omega_o, omega_d1, omega_d2: sides of square kernels
LAST_BLUR = 20  # sigma


def itti(image):
    """Predict with Itti's model: centre-surround contrast of intensity, colour and orientation (1998, section 2).

    Colour contrast is RG(c) - RG(s), as in the toolbox. Equation 2 of the paper, RG(c) - GR(s), adds the two scales:
    a uniform red image would have contrast with itself.

    Parameters
    ----------
    image : uint8 (H, W, 3), RGB

    Returns
    -------
    float32 (H, W) in [0, 1]; all zero for a uniform image
    """
    (intensity,), opponents, orientations = _features(image, COARSEST)
    conspicuity = (_contrast(intensity), sum(map(_contrast, opponents)),
                   sum(_normalised(_contrast(orientation)) for orientation in orientations))
    return _to_saliency_map(sum(map(_normalised, conspicuity)) / 3, image.shape)


def gbvs(image):
    """Predict with graph-based visual saliency: equilibrium of two random walks on the feature maps (2006, section 2).

    The first walk steps to near nodes with a different value (activation), the second to near nodes with a high
    activation (concentration). Both favour the centre, where a node has more near nodes than at a corner.

    Dissimilarity is the absolute difference of the values, the paper's second choice and that of the toolbox. The
    paper's first choice, the logarithm of their ratio, is not defined for colour opponents: they can be zero
    or negative.

    Parameters
    ----------
    image : uint8 (H, W, 3), RGB

    Returns
    -------
    float32 (H, W) in [0, 1]; all zero for a uniform image
    """
    import cv2

    height, width = _with_longer_side(GRID, image.shape)
    wide, narrow = (_closeness((height, width), sigma * (height + width) / 2)
                    for sigma in (SIGMA_ACTIVATION, SIGMA_CONCENTRATION))
    saliency = np.zeros(height * width)
    for channel in _features(image, CENTRES[-1]):
        # 1/4, 1/8 and 1/16 of the size, the levels of Itti's centres, as in the toolbox
        maps = [cv2.resize(feature[level], (width, height), interpolation=cv2.INTER_AREA)
                for feature in channel for level in CENTRES]
        saliency += np.mean([_concentration(_activation(values.ravel(), wide), narrow) for values in maps], axis=0)
    saliency = cv2.GaussianBlur(saliency.reshape(height, width), (0, 0), BLUR * max(height, width))
    return _to_saliency_map(saliency, image.shape)


def bms(image):
    """Predict with Boolean map saliency: surrounded regions over all thresholds (2013, section 3).

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
            # The paper opens the map and its inverse. Opening the inverse gives the inverse of the closed map, and a
            # map has the same surrounded regions as its inverse.
            for operation in (cv2.MORPH_OPEN, cv2.MORPH_CLOSE):
                regions = _surrounded(cv2.morphologyEx(above, operation, _square(OPENING)))
                regions = cv2.dilate(regions, _square(DILATION))
                area = cv2.countNonZero(regions)
                if area:  # division by the L2 norm gives small regions more weight
                    attention += regions * np.float32(area ** -0.5)
    attention = cv2.dilate(attention, _square(LAST_DILATION))
    return _to_saliency_map(cv2.GaussianBlur(attention, (0, 0), LAST_BLUR), image.shape)


def _features(image, coarsest):
    """Compute the features intensity, colour and orientation at levels 2 to `coarsest` (Itti, section 2).

    Returns
    -------
    three lists of dict {level: float32 (h, w)}
        Intensity; red-green and blue-yellow; energy at four angles.
    """
    import cv2

    if (scale := 2 ** coarsest / min(image.shape[:2])) > 1:  # too small for the coarsest level
        image = cv2.resize(image, None, fx=scale, fy=scale)
    image = image.astype(np.float32) / 255
    intensity = image.mean(axis=2)
    visible = intensity > DARK * intensity.max()
    hue = np.divide(image, intensity[..., None], out=np.zeros_like(image), where=visible[..., None])
    r, g, b = np.moveaxis(hue, 2, 0)
    red, green, blue = np.maximum(r - (g + b) / 2, 0), np.maximum(g - (r + b) / 2, 0), np.maximum(b - (r + g) / 2, 0)
    yellow = np.maximum(np.minimum(r, g) - b, 0)  # (r + g) / 2 - |r - g| / 2 is the minimum of r and g
    intensities = _pyramid(intensity, coarsest)
    return ([intensities], [_pyramid(red - green, coarsest), _pyramid(blue - yellow, coarsest)],
            [{level: _energy(values, angle) for level, values in intensities.items()} for angle in ANGLES])


def _pyramid(channel, coarsest):
    """Build a Gaussian pyramid from the finest centre to `coarsest`, {level: float32 (h, w)}."""
    import cv2

    levels = [channel]
    for _ in range(coarsest):
        levels.append(cv2.pyrDown(levels[-1]))
    return dict(list(enumerate(levels))[CENTRES[0]:])


def _energy(intensity, angle):
    """Compute the response to Gabor filters of an orientation: sum of the magnitudes over both phases."""
    import cv2

    energy = np.zeros_like(intensity)
    for phase in PHASES:
        kernel = cv2.getGaborKernel(theta=np.deg2rad(angle), psi=np.deg2rad(phase), **GABOR)
        kernel -= kernel.mean()  # no response to uniform intensity
        energy += np.abs(cv2.filter2D(intensity, -1, kernel / np.linalg.norm(kernel)))
    return energy


def _contrast(feature):
    """Compute the sum of N(|F(c) - F(s)|) over all six pairs of centre c and surround s, at `OUTPUT_LEVEL`."""
    import cv2

    total, size = 0, feature[OUTPUT_LEVEL].shape[::-1]
    for centre in CENTRES:
        for delta in DELTAS:
            surround = cv2.resize(feature[centre + delta], feature[centre].shape[::-1])
            difference = _normalised(np.abs(feature[centre] - surround))
            total += cv2.resize(difference, size, interpolation=cv2.INTER_AREA)
    return total


def _normalised(feature):
    """Normalise by Itti's N(.), which suppresses a map with many similar peaks and keeps a map with a single peak.

    N(M) = M (1 - m)^2 with M scaled to [0, 1] and m the mean of its local maxima except the highest.
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
    """Compute F, the Gaussian of the distance between any two of a grid's N nodes, float64 (N, N)."""
    row, column = np.indices(shape).reshape(2, -1)
    distance = np.subtract.outer(row, row) ** 2 + np.subtract.outer(column, column) ** 2
    return np.exp(-distance / (2 * sigma ** 2))


# Both Markov chains of GBVS are walks on undirected graphs. The equilibrium of such a walk is proportional to the sum
# of the edge weights at each node: no power iteration is needed. Activation has the symmetric weights |M_i - M_j| F_ij.
# Concentration steps from i to j with weight A_j F_ij. The symmetric weights A_i A_j F_ij give the same transition
# probabilities, since A_i is the same for all steps from i; the equilibrium is A * (F A).

def _activation(feature, closeness):
    """Compute the equilibrium of the walk to dissimilar nodes, float64 (N,), sum 1; 0 if all nodes are equal."""
    if np.ptp(feature) < ROUNDING:
        return np.zeros(feature.size)
    feature = feature.astype(np.float64)
    return _distribution((np.abs(np.subtract.outer(feature, feature)) * closeness).sum(axis=1))


def _concentration(activation, closeness):
    """Compute the equilibrium of the walk to active nodes, float64 (N,), sum 1; 0 if no node is active."""
    return _distribution(activation * (closeness @ activation))


def _distribution(weights):
    return weights / (weights.sum() or 1)


def _surrounded(boolean):
    """Mark regions of ones, and of zeros, that do not touch the border (8-connected), uint8 (H, W)."""
    import cv2

    surrounded = np.zeros_like(boolean)
    for regions in (boolean, 1 - boolean):
        # a frame of ones connects all regions at the border, so one flood fill removes them
        framed = cv2.copyMakeBorder(regions, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
        cv2.floodFill(framed, None, (0, 0), 0, flags=8)
        surrounded |= framed[1:-1, 1:-1]
    return surrounded


def _square(side):
    return np.ones((side, side), np.uint8)


def _with_longer_side(side, shape):
    """Return (height, width) with this longer side and the proportions of an image of this shape."""
    scale = side / max(shape[:2])
    return tuple(max(round(length * scale), 1) for length in shape[:2])


def _to_saliency_map(saliency, shape):
    """Resize to the image's shape and scale to [0, 1]."""
    import cv2

    saliency = cv2.resize(saliency.astype(np.float32), shape[1::-1], interpolation=cv2.INTER_CUBIC)
    low, high = saliency.min(), saliency.max()
    return (saliency - low) / (high - low) if high > low else np.zeros_like(saliency)
