"""Import Theano 1.0 and Lasagne 0.1 so that they work together, on this NumPy, without warnings.

    from shallow.backend import lasagne, theano, tensor

Import these names from here, never from the packages. Four problems are solved here:

* Without `blas.ldflags`, Theano reads an attribute that NumPy no longer has.
* Lasagne 0.1 imports `theano.tensor.signal.downsample`, which is called `pool` in Theano 1.0.
* Both print warnings that only their authors could remove.
* Each process compiles some of Theano's operations again (`_stable_versions`).

Without a C++ compiler, Theano falls back to Python code that fails on this NumPy. So a missing compiler is an
error.
"""
import functools
import hashlib
import os
import re
import shutil
import sys
import sysconfig
import types
import warnings
from pathlib import Path

from common.errors import UserError
from common.machine import environment, load_blas

BUILD = Path(__file__).resolve().parents[1] / "build"
CXX = os.environ.get("CXX", "")  # conda's activation sets it to NAME-c++, but Theano optimises only for a g++
COMPILER = next(filter(shutil.which, re.findall(r"(?:.*[-/])?g\+\+[-\d]*$", re.sub(r"-c\+\+$", "-g++", CXX))), "g++")


def _flags():
    """Return THEANO_FLAGS: our settings, then the user's, which take precedence."""
    ours = {
        "device": "cpu",
        "floatX": "float32",
        "cxx": COMPILER,
        "blas.ldflags": "-lopenblas",
        "openmp": "True",  # element-wise operations on 64 million parameters use all cores
        "gcc.cxxflags": "-w",  # g++ 12 prints warnings about Theano's C code
        "base_compiledir": str(BUILD / "theano"),
    }
    return ",".join([*(f"{name}={value}" for name, value in ours.items()), os.environ.get("THEANO_FLAGS", "")])


def _compiler_paths():
    """Return variables that name the headers and libraries of a Python outside /usr to the compiler.

    Such Pythons are conda's, uv's, and the one in build/debian12. In environment variables of the compiler, because
    Theano splits its flags at spaces, and THEANO_FLAGS at commas.
    """
    base = Path(sys.base_prefix)
    if base == Path("/usr"):
        return {}
    headers = [sysconfig.get_path("include"), base / "include"]
    libraries = [base / "lib", base / "lib" / (sysconfig.get_config_var("MULTIARCH") or "")]
    folders = {"CPLUS_INCLUDE_PATH": headers, "LIBRARY_PATH": libraries, "LD_RUN_PATH": libraries}
    return {name: os.pathsep.join(filter(None, [*map(str, paths), os.environ.get(name)]))
            for name, paths in folders.items()}


def _compile_with(paths):
    """Set these variables whenever Theano runs the compiler, and only then."""
    from theano.gof.cmodule import GCC_compiler

    compile_str = GCC_compiler.compile_str

    @functools.wraps(compile_str)
    def compile_with_paths(*args, **kwargs):
        with environment(**paths):
            return compile_str(*args, **kwargs)

    GCC_compiler.compile_str = staticmethod(compile_with_paths)


def _stable_versions(theano):
    """Make Theano find all operations in its cache; it compiles some again in each process, which takes seconds.

    If the code of an operation is in C files, its version is Python's hash of that code. Since Python 3.3, this hash
    differs between processes. And Theano takes an empty list of properties for a missing version; the property that
    these operations get here has no other effect.
    """
    def c_code_cache_version(self):
        code = hashlib.sha256("\0".join(self.func_codes).encode()).hexdigest()
        return (code, self.params_type.c_code_cache_version()) if hasattr(self, "params_type") else (code,)

    theano.gof.op.COp.c_code_cache_version = c_code_cache_version
    operations = [theano.Op]
    for operation in operations:  # grows by the subclasses
        operations += operation.__subclasses__()
        if getattr(operation, "__props__", None) == ():
            operation.__props__ = ("__module__",)


def _explain(error):
    """Return the UserError for an error of Theano when it is imported, or the error itself if it is another one."""
    text = str(error)
    if "Compilation failed" in text:
        fault = re.search(r"(fatal )?error: .*?(?=\.\s|$)", text)
        return UserError(f"Theano cannot compile with {COMPILER} ({fault[0] if fault else text}); "
                         "`make doctor` lists what is missing")
    if "compiledir" in text:
        return UserError(f"{BUILD / 'theano'}: Theano cannot write its compiled code there; make it writable, or "
                         "give another one: THEANO_FLAGS=base_compiledir=FOLDER")
    return error


def _import():
    """Import Theano and Lasagne, and provide the module that Lasagne misses."""
    if not shutil.which(COMPILER):
        raise UserError(f"there is no C++ compiler ({COMPILER}), which Theano needs; install it: apt-get install g++ "
                        "(`make doctor` lists everything)")
    load_blas()
    paths = _compiler_paths()
    for module in (r"theano(\.|$)", r"lasagne(\.|$)"):
        warnings.filterwarnings("ignore", module=module)
    try:
        with warnings.catch_warnings(), environment(THEANO_FLAGS=_flags(), **paths):
            warnings.simplefilter("ignore")
            import theano

            if paths:
                _compile_with(paths)
            import theano.tensor.signal.pool as pool

            downsample = types.ModuleType("theano.tensor.signal.downsample")
            downsample.max_pool_2d = pool.pool_2d
            sys.modules[downsample.__name__] = downsample
            theano.tensor.signal.downsample = downsample
            import lasagne

            _stable_versions(theano)
    except ImportError as error:
        raise UserError(f"Theano or Lasagne cannot be imported ({error}); run `make env`, "
                        "then use build/env/bin/python") from error
    except Exception as error:  # Theano raises nothing narrower
        raise _explain(error) from error
    return theano, lasagne


theano, lasagne = _import()
tensor = theano.tensor
