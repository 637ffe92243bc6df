"""The shallow net of section 3 of the paper, "JuntingNet", in Theano and Lasagne."""
