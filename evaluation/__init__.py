"""Maps compared with people and with the paper's tables. No net is loaded here: NumPy, SciPy, OpenCV."""
