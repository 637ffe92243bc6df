"""Maps compared with people and with the paper's tables. NumPy and SciPy only: no net is loaded here."""
