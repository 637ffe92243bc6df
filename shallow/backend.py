"""Import Theano 1.0 and Lasagne 0.1 so that they work together, on this NumPy, without warnings.

    from shallow.backend import lasagne, theano, tensor

Import these names from here, never from the packages. Three problems are solved here:

* Without `blas.ldflags`, Theano reads an attribute that NumPy no longer has.
* Lasagne 0.1 imports `theano.tensor.signal.downsample`, which is called `pool` in Theano 1.0.
* Both print warnings that only their authors could remove.

Without a C++ compiler, Theano falls back to Python code that fails on this NumPy. So a missing compiler is an
error.
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
    """Return THEANO_FLAGS: our settings, then the user's, which take precedence."""
    prefix_lib = Path(sys.base_prefix) / "lib"
    in_prefix = any(prefix_lib.glob("libopenblas*"))  # conda installs its own OpenBLAS
    blas = f"-L{prefix_lib} -Wl,-rpath,{prefix_lib} -lopenblas" if in_prefix else "-lopenblas"
    ours = {
        "device": "cpu",
        "floatX": "float32",
        "blas.ldflags": blas,
        "openmp": "True",  # element-wise operations on 64 million parameters use all cores
        "gcc.cxxflags": "-w",  # g++ 12 prints warnings about Theano's C code
        "base_compiledir": str(BUILD / "theano"),
    }
    return ",".join([*(f"{name}={value}" for name, value in ours.items()), os.environ.get("THEANO_FLAGS", "")])


def _import():
    """Import Theano and Lasagne, and provide the module that Lasagne misses."""
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
