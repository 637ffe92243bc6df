"""The files that the authors published, read without running anything in them."""
