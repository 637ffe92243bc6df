"""The shallow net of section 3 of the paper, "JuntingNet", in Theano and Lasagne."""
import common  # noqa: F401  from here on, Ctrl-C is one line
