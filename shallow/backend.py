"""Theano 1.0 and Lasagne 0.1, made to work together and quiet. Imported before either.

    from shallow.backend import lasagne, theano, tensor

Three things stand between these two and a machine of today:

* Theano asks numpy for an attribute that is gone unless `blas.ldflags` is set;
* Lasagne 0.1 imports `theano.tensor.signal.downsample`, which Theano 1.0 calls `pool`;
* both warn about things that only their authors could change.

Theano without a C++ compiler falls back to Python code that fails on this numpy, so a compiler is
required, and its absence is said.
"""
import os
import shutil
import sys
import types
import warnings
from pathlib import Path

from common.errors import UserError
from common.machine import environment, load_blas

BUILD = Path(__file__).resolve().parents[1] / "build"


def _flags():
    """Theano's settings; what the user has put into THEANO_FLAGS wins."""
    prefix_lib = Path(sys.base_prefix) / "lib"
    in_prefix = any(prefix_lib.glob("libopenblas*"))  # conda brings its own
    blas = f"-L{prefix_lib} -Wl,-rpath,{prefix_lib} -lopenblas" if in_prefix else "-lopenblas"
    ours = {
        "device": "cpu",
        "floatX": "float32",
        "blas.ldflags": blas,
        "openmp": "True",  # element-wise updates of 64 million parameters on all cores
        "gcc.cxxflags": "-w",  # g++ 12 warns about Theano's C code
        "base_compiledir": str(BUILD / "theano"),
    }
    return ",".join([*(f"{name}={value}" for name, value in ours.items()), os.environ.get("THEANO_FLAGS", "")])


def _import():
    """Import both, with the module that Lasagne misses put in its place."""
    if not shutil.which("g++"):
        raise UserError("there is no C++ compiler (g++), which Theano needs; install it: apt-get install g++ "
                        "(`make doctor` lists everything)")
    load_blas()
    for module in (r"theano(\.|$)", r"lasagne(\.|$)"):
        warnings.filterwarnings("ignore", module=module)
    try:
        with warnings.catch_warnings(), environment(THEANO_FLAGS=_flags()):
            warnings.simplefilter("ignore")
            import theano
            import theano.tensor.signal.pool as pool

            downsample = types.ModuleType("theano.tensor.signal.downsample")
            downsample.max_pool_2d = pool.pool_2d
            sys.modules[downsample.__name__] = downsample
            theano.tensor.signal.downsample = downsample
            import lasagne
    except ImportError as error:
        raise UserError(f"Theano or Lasagne cannot be imported ({error}); run `make env`, "
                        "then use build/env/bin/python") from error
    return theano, lasagne


theano, lasagne = _import()
tensor = theano.tensor
