"""Messages: one printable line, whatever a foreign file or the name of a file holds."""
import io
import pickle
import zipfile

import h5py
import numpy as np
import pytest
import scipy.io

from common.errors import LONGEST_MESSAGE, LONGEST_NAME, UserError, WrongFile, show_names, to_printable
from data.check import check
from tests.conftest import begin, command
from tests.data.test_folder import write_mat_73

ODD = "a\nb\r\x1b[31m\u202e\u2028\ud800"
LONG = "x" * 100_000


def check_line(message, longest=1000):
    assert message.isprintable() and len(message) < longest, ascii(message[:500])


def test_control_characters_are_replaced_and_other_scripts_are_not():
    assert to_printable(ODD) == "a\\nb\\r\\x1b[31m\\u202e\\u2028\\ud800"
    assert to_printable("می\u200cخواهم क्\u200dष") == "می\u200cخواهم क्\u200dष"
    assert to_printable("Übung 図 é\u202fAM\xa0b") == "Übung 図 é\u202fAM\xa0b"


def test_names_are_short_and_few():
    assert show_names("a" * LONGEST_NAME) == "a" * LONGEST_NAME
    assert show_names(LONG) == "x" * (LONGEST_NAME - 3) + "..." and len(show_names("\n" * 80)) == LONGEST_NAME
    assert show_names(["a", "b\n"]) == "a, b\\n" and show_names([]) == ""
    assert show_names(map(str, range(99))) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ..."


@pytest.mark.parametrize("kind", [UserError, WrongFile])
def test_an_error_is_one_line_with_its_beginning_and_its_remedy(kind):
    error = kind(f"file.mat: {ODD} {LONG}; copy it again")
    check_line(str(error), LONGEST_MESSAGE + 10)
    assert str(error).startswith("file.mat: a\\nb") and str(error).endswith("; copy it again")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize("size", [1, 200, 480])
def test_a_long_error_keeps_its_whole_remedy(size):
    remedy = "; give " + "y" * size
    text = str(UserError(f"file.mat: has no {LONG}{remedy}"))
    assert text.startswith("file.mat: has no xxx") and text.endswith(f"x ...{remedy}")
    assert LONGEST_MESSAGE <= len(text) <= LONGEST_MESSAGE + 10
    text = str(UserError(f"file.mat: bad; {LONG}{remedy}"[:-size] + LONG))
    assert text.startswith("file.mat: bad") and len(text) <= LONGEST_MESSAGE + 10


def test_an_error_of_the_system_is_one_line_too():
    process = begin("-c", "from common.errors import run\nrun(lambda: open('no\\nfile'))", stderr=-1)
    assert process.communicate()[1] == "error: no\\nfile: No such file or directory; check the path\n"


def mat_5(path, name):
    """Write a .mat whose variable has a name that MATLAB would not allow: SciPy does not check it in a file."""
    placeholder = "v" * len(name.encode())
    data = io.BytesIO()
    scipy.io.savemat(data, {placeholder: np.zeros((2, 2, 2)), "b": np.zeros((2, 2, 2))})
    path.write_bytes(data.getvalue().replace(placeholder.encode(), name.encode()))


def mat_73(path, name):
    write_mat_73(path, name, np.zeros((2, 2, 2)))


@pytest.mark.parametrize("write, name", [(mat_5, "a\nb\x1b[31m"), (mat_73, "a\nb\x1b[31m"), (mat_73, "x" * 60_000)])
def test_variables_of_a_mat_file_are_printable(tmp_path, write, name):
    from data.layouts import read_mat
    from data.points import read_points

    path = tmp_path / "a.mat"
    write(path, name)
    for read, argument in ((read_points, (48, 64)), (read_mat, "c")):
        with pytest.raises(UserError) as raised:
            read(path, argument)
        assert "it has" in str(raised.value) and show_names(name)[:70] in str(raised.value)
        check_line(str(raised.value), 500)


def test_names_in_archives_and_hdf5_are_printable(tmp_path):
    from data.maps import open_maps

    for name in (ODD[:-1], "x" * 60_000):
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr(f"{name}.npy", b"damaged")
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr(f"{name}.npy", b"damaged")
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file[name] = np.zeros(3)
        for file in ("a.npz", "a.zip", "a.h5"):
            maps = open_maps(tmp_path / file)
            with pytest.raises(UserError) as raised:
                maps[min(maps.names)]
            assert show_names(name)[:60] in str(raised.value)
            check_line(str(raised.value), 600)
            with pytest.raises(UserError, match="has no map of any of the 1 images") as raised:
                open_maps(tmp_path / file, ["image"])
            check_line(str(raised.value), 600)


def test_layers_and_settings_of_weights_are_printable(tmp_path):
    from deep.weights import check_weights, read_caffemodel, write_caffemodel
    from shallow.weights import assign

    write_caffemodel(tmp_path / "a.caffemodel", {ODD[:-1]: [np.zeros((1, 1, 1, 1))], LONG: [np.zeros((1, 1, 1, 1))]})
    with pytest.raises(UserError, match=r"no layer 'conv1', but a\\nb") as raised:
        check_weights(read_caffemodel(tmp_path / "a.caffemodel"), {"conv1": [(1,)]}, tmp_path / "a.caffemodel")
    check_line(str(raised.value), 500)
    with pytest.raises(UserError, match="not this net's weights") as raised:
        assign({}, {ODD: 1, LONG: 2}, "a.npz")
    check_line(str(raised.value), 500)


def test_a_long_name_in_a_remedy_is_whole(tmp_path):
    from models.released.pickled import read_pickle

    name = f"package.{'module' * 30}.Name"
    (tmp_path / "a.pickle").write_bytes(f"c{name.rpartition('.')[0]}\nName\n.".encode())
    with pytest.raises(WrongFile) as raised:
        read_pickle(tmp_path / "a.pickle")
    assert str(raised.value).endswith(f"--allow {name}") and f"the name {show_names(name)}," in str(raised.value)


def test_settings_of_a_released_pickle_are_printable():
    from models.released.shallow import to_text

    text = to_text({"settings": {ODD: LONG}, "schedules": [], "layers": {LONG: {}}, "history": []})
    assert len(text.splitlines()) == 3 and len(text) < 600 and "\x1b" not in text


def test_keys_of_json_are_printable(tmp_path):
    from common.files import read_json, write_json

    write_json(tmp_path / "a.json", {"a": {LONG: 1}})
    with pytest.raises(UserError, match="is of type int, not str") as raised:
        read_json(tmp_path / "a.json", {"a": {str: str}})
    check_line(str(raised.value), 500)


def test_file_names_with_line_feeds_stay_in_one_line(tmp_path, capsys):
    from PIL import Image

    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    (root / "fixations").mkdir()
    Image.new("RGB", (64, 48)).save(root / "images/a\nb.png")
    (root / "images/c\nd.png").write_bytes(b"damaged")
    for name in ("a\nb", "c\nd", "e\nf"):
        (root / f"fixations/{name}.csv").write_text("x,y\n1,2\n")
    assert check("folder+sigma=9", "all", root, tmp_path, None) > 0
    lines = capsys.readouterr().out.splitlines()
    assert any("c\\nd" in line and "cannot be read" in line for line in lines)
    assert any("e\\nf" in line for line in lines) and not any(line.startswith(("b", "d", "f.")) for line in lines), lines
    process = command("evaluation.score", "--baseline", "itti", "--dataset", "folder+sigma=9", "--data-root", root,
                      "--split", "all", "--out", tmp_path / "score")
    assert process.returncode == 1 and any(line.startswith("error: c\\nd: ") and line.endswith(
        "the folder") for line in process.stderr.splitlines()), process.stderr
