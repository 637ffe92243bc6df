import numpy as np
import pytest

from common import runs
from common.errors import UserError
from common.files import write_json
from data.maps import open_maps, write_maps


def test_a_run_continues_only_with_its_own_settings(tmp_path):
    runs.start(tmp_path / "run", "deep", {"seed": 1, "lr": 0.5}, {}, ())
    runs.start(tmp_path / "run", "deep", {"seed": 1, "lr": 0.5}, {}, ())
    with pytest.raises(UserError, match=r"lr 0\.5 -> 0\.1.*--restart"):
        runs.start(tmp_path / "run", "deep", {"seed": 1, "lr": 0.1}, {}, ())
    runs.start(tmp_path / "run", "deep", {"seed": 1, "lr": 0.1}, {}, (), restart=True)
    runs.start(tmp_path / "run", "deep", {"seed": 1, "lr": 0.1}, {}, (), resume=True)
    with pytest.raises(UserError, match="other: holds no run to resume"):
        runs.start(tmp_path / "other", "deep", {"seed": 1}, {}, (), resume=True)
    assert not (tmp_path / "other/config.json").exists()


def test_resuming_with_other_blas_settings_gives_a_warning(tmp_path, monkeypatch, capsys):
    """Both nets give differently rounded weights with other kernels or another number of threads (1 or 2)."""
    runs.start(tmp_path, "deep", {"seed": 1}, {}, ())
    runs.start(tmp_path, "deep", {"seed": 1}, {}, (), resume=True)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(runs, "load_blas", lambda: "OpenBLAS Nehalem, 7 threads")
    runs.start(tmp_path, "deep", {"seed": 1}, {}, (), resume=True)
    warning = capsys.readouterr().err
    assert warning.startswith(f"warning: {tmp_path}") and "Nehalem, 7 threads" in warning and warning.count("\n") == 1


def test_data_of_the_other_net_are_an_error(tmp_path):
    write_json(tmp_path / "manifest.json", {"net": "deep", "fingerprint": "1", "train": 9})
    assert runs.prepared_data(tmp_path, "deep") == {"net": "deep", "train": 9}
    with pytest.raises(UserError, match="holds no training data of the shallow net; give the folder .*shallow.prepare"):
        runs.prepared_data(tmp_path, "shallow")


def test_config_records_settings_and_versions(tmp_path):
    runs.start(tmp_path, "shallow", {"seed": 1}, {"longest_side": 128}, ())
    config = runs.read_config(tmp_path / "weights.npz", "shallow")
    assert config["settings"] == {"seed": 1} and config["predict"] == {"longest_side": 128}
    assert config["versions"]["numpy"] == "1.23.5" and config["versions"]["Theano"] == "1.0.5"
    with pytest.raises(UserError, match="of the shallow net"):
        runs.read_config(tmp_path / "weights.npz", "deep")


def test_config_records_with_what_a_run_resumes(tmp_path):
    """Each resumption with other versions is listed; equal ones, compared with those before, are not."""
    for after, engine in enumerate(({"engine": "caffe", "caffe": "1"}, {"engine": "torch"}, {"engine": "torch"},
                                    {"engine": "caffe", "caffe": "1"})):
        runs.start(tmp_path, "deep", {"seed": 1}, {}, (), {**engine, "device": "cpu"}, count=lambda count=after: count)
    config = runs.read_config(tmp_path / "weights.caffemodel", "deep")
    assert config["versions"]["engine"] == "caffe"
    assert config["resumed"] == [{"after": 1, "versions": {"engine": "torch", "caffe": None}},
                                 {"after": 3, "versions": {"engine": "caffe", "caffe": "1"}}]
    runs.start(tmp_path, "deep", {"seed": 1}, {}, (), {"engine": "torch"}, count=lambda: None)  # the run is complete
    assert runs.read_config(tmp_path / "weights.caffemodel", "deep") == config
    runs.start(tmp_path, "deep", {"seed": 1}, {}, (), {"engine": "torch"}, restart=True)
    assert "resumed" not in runs.read_config(tmp_path / "weights.caffemodel", "deep")


def test_a_complete_run_gives_no_warning(tmp_path, monkeypatch, capsys):
    runs.start(tmp_path, "deep", {"seed": 1}, {}, (), {"engine": "caffe", "device": "cpu"})
    monkeypatch.setattr(runs, "load_blas", lambda: "OpenBLAS Nehalem, 7 threads")
    for count, warnings in ((lambda: None, 0), (lambda: 3, 2)):
        runs.start(tmp_path, "deep", {"seed": 1}, {}, (), {"engine": "torch", "device": "cuda"}, count=count)
        assert capsys.readouterr().err.count("the run started with") == warnings


def test_a_run_of_caffe_without_a_device_was_on_the_cpu(tmp_path, capsys):
    """So are those of earlier versions of this code, which could not use a card."""
    runs.start(tmp_path, "deep", {"seed": 1}, {}, (), {"engine": "caffe"})
    runs.start(tmp_path, "deep", {"seed": 1}, {}, (), {"engine": "caffe", "device": "cpu"})
    assert capsys.readouterr().err == "" and "resumed" not in runs.read_config(tmp_path / "weights.caffemodel", "deep")
    runs.start(tmp_path, "deep", {"seed": 1}, {}, (), {"engine": "caffe", "device": "gpu 0, GTX 980"}, count=lambda: 2)
    assert "started with device cpu and resumes with device gpu 0, GTX 980;" in capsys.readouterr().err
    config = runs.read_config(tmp_path / "weights.caffemodel", "deep")
    assert config["resumed"] == [{"after": 2, "versions": {"device": "gpu 0, GTX 980"}}]


def test_log_drops_rows_after_the_checkpoint_and_an_incomplete_row(tmp_path):
    path = tmp_path / "log.csv"
    log = runs.Log(path, ["step", "loss", "val"])
    for step in range(1, 6):
        log.write(step=step, loss=1 / step, val=0.5 if step == 2 else None)
    with open(path, "a") as handle:
        handle.write("6,0.1")  # killed while writing
    runs.Log(path, ["step", "loss", "val"], done=3).write(step=4, loss=0.25)
    rows = runs.read_log(path)
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert rows[1] == {"step": 2, "loss": 0.5, "val": 0.5} and rows[2]["val"] is None


def test_maps_round_trip_and_the_file_appears_only_when_complete(tmp_path):
    path = tmp_path / "predictions.h5"
    values = np.random.default_rng(0).random((5, 7), np.float32)
    with write_maps(path, "deep") as store:
        store("cat", values)
        assert not path.exists()
    maps = open_maps(path)
    assert maps.model == "deep" and "cat" in maps and "dog" not in maps
    np.testing.assert_array_equal(maps["cat"], values)
    with pytest.raises(UserError, match="no map 'dog'"):
        maps["dog"]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"predictions\.h5: not an HDF5 file"):
        open_maps(path)


def test_a_change_of_a_nested_setting_is_named_alone(tmp_path):
    runs.start(tmp_path, "deep", {"data": {"images": 400, "seed": 1}}, {}, ())
    with pytest.raises(UserError, match=r"holds a run with other settings \(data.images 400 -> 399\); delete"):
        runs.start(tmp_path, "deep", {"data": {"images": 399, "seed": 1}}, {}, ())


def test_a_damaged_log_is_read_as_far_as_possible(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b"epoch,loss\n1,0.5\n2,\xff\xf3\n3,0.25\n")
    assert runs.read_log(path) == [{"epoch": 1, "loss": 0.5}, {"epoch": 3, "loss": 0.25}]
    path.write_bytes(b'epoch,loss\n1,"' + b"x" * 200_000)
    with pytest.raises(UserError, match="log.csv: damaged .*; delete it, and run the same command again$"):
        runs.read_log(path)
    with pytest.raises(UserError, match="log.csv: damaged .*; run make train-deep$"):
        runs.read_log(path, remedy="run make train-deep")
    with pytest.raises(UserError, match="No such file"):
        runs.read_log(tmp_path / "none.csv")
