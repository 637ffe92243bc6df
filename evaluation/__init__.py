"""Scores of saliency maps, and the paper's tables and figures. No net is loaded here: NumPy, SciPy, OpenCV."""
import common  # noqa: F401  from here on, Ctrl-C is one line
