"""Read the files that the authors published, without executing anything in them."""
