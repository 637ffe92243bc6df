"""The shallow net of section 3, "JuntingNet", in Theano and Lasagne."""
