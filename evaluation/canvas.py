"""Create figures of matplotlib and write them, without its global state (pyplot)."""
import os
from pathlib import Path

from common.files import atomic
from common.machine import environment

BUILD = Path(__file__).resolve().parents[1] / "build"
DPI = 150


def new_figure(width, height, layout="constrained"):
    """Create an empty figure, width and height in inches."""
    # matplotlib writes its list of fonts to this folder
    with environment(MPLCONFIGDIR=os.environ.get("MPLCONFIGDIR", str(BUILD / "matplotlib"))):
        from matplotlib.figure import Figure

    return Figure((width, height), dpi=DPI, layout=layout)


def save(figure, path):
    """Write a figure of matplotlib as .png or .svg, by the suffix; the same figure gives the same bytes."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    with atomic(path) as scratch, rc_context({"svg.hashsalt": "0"}):
        if Path(path).suffix == ".svg":
            FigureCanvasSVG(figure).print_svg(scratch, metadata={"Date": None})
        else:
            FigureCanvasAgg(figure).print_png(scratch)
