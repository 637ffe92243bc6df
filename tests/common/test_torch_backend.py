"""Faults of PyTorch and of its device are one line each."""
import pytest

from common.errors import UserError
from tests.conftest import command, one_line


@pytest.mark.parametrize("module", ["shallow.train", "deep.train"])
def test_a_missing_library_of_cuda_is_one_line(module, tmp_path, request):
    """A PyTorch for CUDA loads its libraries on import, and fails so if one is missing."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("import ctypes\nctypes.CDLL('libcudart.so.99')\n")
    data = request.getfixturevalue("data_of_" + module.partition(".")[0])
    process = command(module, "--data", data, "--run", tmp_path / "run", "--engine", "torch", PYTHONPATH=str(tmp_path))
    line = one_line(process)
    assert "PyTorch cannot be imported (libcudart.so.99: cannot open shared object file" in line
    assert "run `make torch`, or omit engine=torch" in line and not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def data_of_shallow(tmp_path_factory):
    from shallow.prepare import prepare

    out = tmp_path_factory.mktemp("prepared") / "shallow"
    prepare("synthetic", None, out, limit=10, jobs=1)
    return out


@pytest.fixture(scope="module")
def data_of_deep(tmp_path_factory):
    from deep.prepare import prepare

    out = tmp_path_factory.mktemp("prepared") / "deep"
    prepare("synthetic", None, out, limit=10, jobs=1)
    return out


@pytest.fixture
def backend():
    pytest.importorskip("torch", reason="PyTorch is not installed: make torch")
    from common import torch_backend

    return torch_backend


def test_too_little_memory_is_one_line(backend):
    with pytest.raises(UserError, match="^PyTorch: .*can't allocate memory.*; close other programs, or give smaller batches or images$") \
            as caught, backend.device_errors():
        backend.torch.empty(1 << 50)
    assert "\n" not in str(caught.value)


def test_a_precision_that_the_cpu_does_not_have_is_an_error(backend):
    with pytest.raises(UserError, match="precision tf32 is for graphics cards, and this run is on the CPU; give float32"):
        backend.prepare("cpu", "tf32")
    for precision in ("float32", "bfloat16"):
        assert backend.prepare("cpu", precision)[0]["precision"] == precision


def test_faults_of_the_program_keep_their_traceback(backend):
    with pytest.raises(RuntimeError, match="must match"), backend.device_errors():
        backend.torch.zeros(2) + backend.torch.zeros(3)


def test_devices_that_are_missing_are_one_line(backend):
    count = backend.torch.cuda.device_count()
    for name, fault in ((f"cuda:{count}", f"finds {count} graphics cards"), ("tpu9", "is not known"), ("meta", "is not supported")):
        with pytest.raises(UserError, match=f"^device .*{fault}.*; .*cpu"):
            backend.select_device(name)
    assert backend.select_device("cpu").type == "cpu"
    backend.check_cards("cpu", 8)
    with pytest.raises(UserError, match="is one card, but there are 2 processes; give device=cuda"):
        backend.check_cards("cuda:0", 2)
    with pytest.raises(UserError, match=f"{count + 1} processes need {count + 1} graphics cards"):
        backend.check_cards("cuda", count + 1)
