"""The deep net of section 4, "SalNet", on BVLC Caffe."""
import common  # noqa: F401  from here on, Ctrl-C is one line
