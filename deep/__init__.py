"""The deep net of section 4, "SalNet", on BVLC Caffe."""
