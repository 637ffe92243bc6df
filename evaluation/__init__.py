"""Scores of saliency maps, and the paper's tables and figures. No net is loaded here: NumPy, SciPy, OpenCV."""
