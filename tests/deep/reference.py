"""Reference implementation of the deep net in NumPy and SciPy, float64: output, and gradients of Caffe's loss."""
import numpy as np
from scipy.signal import correlate

CONVOLUTIONS = [f"conv{index}" for index in range(1, 10)]
LRN_SIZE, LRN_ALPHA, LRN_BETA = 5, 1e-4, 0.75  # k is 1
STRIDE, DECONV_PAD = 4, 2


def forward(params, image):
    """Compute the output of the net of Figure 4.

    Parameters
    ----------
    params : dict of str: list of arrays, weights (out, in, rows, columns) and biases (out,) per layer
    image : (3, h, w)

    Returns
    -------
    ((h', w'), list): output, and the values of every operation that `backward` needs
    """
    values, steps = np.asarray(image, np.float64), []
    for name in CONVOLUTIONS:
        windows, out = convolve(values, *params[name])
        steps.append((name, "conv", (windows, values.shape)))
        values = out
        if name != "conv9":
            steps.append((name, "relu", values > 0))
            values = np.maximum(values, 0)
        if name == "conv1":
            scale = 1 + LRN_ALPHA / LRN_SIZE * neighbours(values**2)
            steps.append((name, "lrn", (values, scale)))
            values = values * scale**-LRN_BETA
        if name in ("conv1", "conv2"):
            pooled, origin = pool(values)
            steps.append((name, "pool", (origin, values.shape)))
            values = pooled
    # deconvolution: insert zeros between the values, convolve, crop the padding
    sparse = np.zeros([STRIDE * (size - 1) + 1 for size in values.shape[1:]])
    sparse[::STRIDE, ::STRIDE] = values[0]
    steps.append(("deconv1", "deconv", values[0]))
    kernel = np.asarray(params["deconv1"][0], np.float64)[0, 0]
    full = correlate(np.pad(sparse, kernel.shape[0] - 1), kernel[::-1, ::-1], mode="valid", method="direct")
    return full[DECONV_PAD:-DECONV_PAD, DECONV_PAD:-DECONV_PAD], steps


def backward(params, steps, error):
    """Compute the gradients with respect to `params`, as a dict of lists, from that with respect to the output.

    Parameters
    ----------
    params : as for `forward`
    steps : list, as returned by `forward`
    error : (h', w')
        Gradient of the loss with respect to the output.
    """
    gradients = {}
    for name, kind, saved in reversed(steps):
        if kind == "deconv":
            kernel = np.asarray(params["deconv1"][0], np.float64)[0, 0]
            windows = np.lib.stride_tricks.sliding_window_view(
                np.pad(error, DECONV_PAD), kernel.shape)[::STRIDE, ::STRIDE]
            gradients[name] = [np.einsum("yx,yxab->ab", saved, windows)[None, None]]
            gradient = np.einsum("ab,yxab->yx", kernel, windows)[None]
        elif kind == "conv":
            windows, shape = saved
            gradients[name] = [np.tensordot(gradient, windows, axes=([1, 2], [1, 2])), gradient.sum(axis=(1, 2))]
            gradient = convolution_input_gradient(gradient, np.asarray(params[name][0], np.float64), shape)
        elif kind == "relu":
            gradient = gradient * saved
        elif kind == "lrn":
            values, scale = saved
            shared = neighbours(gradient * values * scale**(-LRN_BETA - 1))
            gradient = gradient * scale**-LRN_BETA - 2 * LRN_ALPHA * LRN_BETA / LRN_SIZE * values * shared
        else:
            origin, shape = saved
            back = np.zeros(np.prod(shape))
            np.add.at(back, origin.ravel(), gradient.ravel())
            gradient = back.reshape(shape)
    return gradients


def convolve(values, weights, biases):
    """Convolve with stride 1 and padding (k - 1) / 2; return windows (in, h, w, k, k) and result (out, h, w)."""
    weights = np.asarray(weights, np.float64)
    pad = weights.shape[2] // 2
    padded = np.pad(values, [(0, 0), (pad, pad), (pad, pad)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, weights.shape[2:], axis=(1, 2))
    out = np.tensordot(weights, windows, axes=([1, 2, 3], [0, 3, 4]))
    return windows, out + np.asarray(biases, np.float64)[:, None, None]


def convolution_input_gradient(gradient, weights, shape):
    """Compute the gradient with respect to a convolution's input from that with respect to its output."""
    pad, kernel = weights.shape[2] // 2, weights.shape[2]
    back = np.zeros((shape[0], shape[1] + 2 * pad, shape[2] + 2 * pad))
    for row in range(kernel):
        for column in range(kernel):
            back[:, row:row + shape[1], column:column + shape[2]] += np.tensordot(
                weights[:, :, row, column], gradient, axes=(0, 0))
    return back[:, pad:pad + shape[1], pad:pad + shape[2]]


def neighbours(values):
    """Sum over five neighbouring channels."""
    padded = np.pad(values, [(LRN_SIZE // 2, LRN_SIZE // 2), (0, 0), (0, 0)])
    return sum(padded[i:i + len(values)] for i in range(LRN_SIZE))


def pool(values):
    """Pool with 3x3 maxima, stride 2, sizes rounded up as in Caffe; return maxima and their flat indices."""
    channels, height, width = values.shape
    rows, columns = (-(-(size - 3) // 2) + 1 for size in (height, width))
    index = np.arange(values.size).reshape(values.shape)
    pooled, origin = (np.empty((channels, rows, columns), dtype) for dtype in (np.float64, int))
    for y in range(rows):
        for x in range(columns):
            window = (slice(None), slice(2 * y, 2 * y + 3), slice(2 * x, 2 * x + 3))
            inputs, indices = (array[window].reshape(channels, -1) for array in (values, index))
            best = inputs.argmax(axis=1)
            pooled[:, y, x], origin[:, y, x] = inputs[np.arange(channels), best], indices[np.arange(channels), best]
    return pooled, origin
