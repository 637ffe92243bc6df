"""Nets of users for training are checked, get the run's paths, and are compared with an earlier run's."""
import pytest

from common.errors import UserError
from common.files import write_json
from deep.backend import load_caffe
from deep.names import OLD, rename_in_run
from deep.prototxt import TRAIN_VAL, parse_prototxt
from deep.training_net import net_setting, read_training_net, with_paths
from tests.conftest import command, one_line

OURS = TRAIN_VAL.read_text()
caffe = load_caffe()


def write(path, *changes):
    """Write our net with changed text; return the path."""
    text = OURS
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path.write_text(text)
    return path


def test_ours_has_what_the_trainer_needs(tmp_path):
    net = read_training_net(TRAIN_VAL)
    assert net.batch_sizes == {"TRAIN": 2, "TEST": 2} and (net.output, net.loss) == ("deconv1", "loss")
    text = with_paths(net, tmp_path)
    assert text.count("#") == OURS.count("#")  # the comments stay
    parsed = caffe.proto.caffe_pb2.NetParameter()
    (tmp_path / "net.prototxt").write_text(text)
    sources = [layer.hdf5_data_param.source for layer in parse_prototxt(tmp_path / "net.prototxt", parsed).layer[:2]]
    assert sources == [f"{tmp_path}/train.txt", f"{tmp_path}/val.txt"]


@pytest.mark.parametrize("changes", [
    [('source: "build/data/salicon-paper-deep/train.txt"', 'source: "list"'), ('source: "build/data/salicon-paper-deep/val.txt"', 'source: "list"')],
    [('source: "build/data/salicon-paper-deep/train.txt"', "source: 'my' 'list'")]])
def test_other_ways_of_writing_a_source_are_replaced(tmp_path, changes):
    net = read_training_net(write(tmp_path / "net.prototxt", *changes))
    (tmp_path / "run.prototxt").write_text(with_paths(net, tmp_path))
    parsed = parse_prototxt(tmp_path / "run.prototxt", caffe.proto.caffe_pb2.NetParameter())
    assert [layer.hdf5_data_param.source for layer in parsed.layer[:2]] == [f"{tmp_path}/train.txt", f"{tmp_path}/val.txt"]


def test_other_names_of_output_and_loss_are_read(tmp_path):
    net = read_training_net(write(tmp_path / "net.prototxt", ('bottom: "label" top: "loss"', 'bottom: "label" top: "error"'),
                                  ('"deconv1"', '"enlarged"'), ("batch_size: 2  ", "batch_size: 1  ")))
    assert (net.output, net.loss, net.batch_sizes["TRAIN"]) == ("enlarged", "error", 1)


@pytest.mark.parametrize("before, after, fault", [
    ("phase: TEST", "phase: TRAIN", "one HDF5Data layer with the tops data and label for phase TRAIN, and no other input, but has HDF5Data 'data'.*HDF5Data"),
    ('top: "data" top: "label"', 'top: "data" top: "map"', r"but has HDF5Data 'data' \(data, map\); deep/train_val.prototxt shows how"),
    ('type: "HDF5Data"', 'type: "Data"', "for phase TRAIN, and no other input, but has Data 'data'"),
    ("include { phase: TEST }", 'include { phase: TEST } include { phase: TRAIN }', "for phase TRAIN, and no other input"),
    ('type: "EuclideanLoss"', 'type: "SigmoidCrossEntropyLoss"', "must have one loss, a EuclideanLoss between the output and label, but has Sigmoid"),
    ('layer { name: "loss"', '# layer { name: "loss"', "label, but has none"),
    ('bottom: "deconv1" bottom: "label"', 'bottom: "deconv1" bottom: "conv9"', "a EuclideanLoss between the output and label"),
    ('top: "loss" }', 'top: "loss" loss_weight: 2 }', "loss_weight of 'loss' must be 1"),
    ("    batch_size: 2  ", "    # batch_size: 2  ", "a data layer has no batch_size"),
    ("layer {", "layers {", "line 1?[0-9]|old format")])
def test_a_net_without_what_the_trainer_needs_is_an_error_of_one_line(tmp_path, before, after, fault):
    with pytest.raises(UserError, match=fault) as error:
        read_training_net(write(tmp_path / "mine.prototxt", (before, after)))
    assert str(error.value).startswith(f"{tmp_path}/mine.prototxt: ") and "\n" not in str(error.value)


def test_the_command_names_the_fault_of_a_users_net(prepared, tmp_path):
    mine = write(tmp_path / "mine.prototxt", ('type: "EuclideanLoss"', 'type: "HingeLoss"'))
    arguments = ("deep.train", "--data", prepared, "--run", tmp_path / "run", "--train-val")
    assert f"{mine}: must have one loss" in one_line(command(*arguments, mine))
    assert "gone.prototxt" in one_line(command(*arguments, tmp_path / "gone.prototxt"))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_users_net_and_solver_file_train_and_cannot_be_exchanged_on_resuming(prepared, tmp_path):
    mine = write(tmp_path / "mine.prototxt", ('"deconv1"', '"enlarged"'), ("num_output: 128", "num_output: 16"))
    (tmp_path / "solver.prototxt").write_text(
        'net: "mine.prototxt" base_lr: 1e-7 momentum: 0.9 lr_policy: "fixed" weight_decay: 0 max_iter: 9 test_interval: 50 snapshot: 50')
    arguments = ["deep.train", "--data", prepared, "--run", tmp_path / "run", "--solver", tmp_path / "solver.prototxt",
                 "--iterations", "2"]
    process = command(*arguments, "--train-val", mine)
    assert process.returncode == 0 and "warning" not in process.stderr, process.stderr
    assert "num_output: 16" in (tmp_path / "run/train_val.prototxt").read_text()
    assert "weights_enlarged" in (tmp_path / "run/log.csv").read_text()
    process = command(*arguments)  # with ours
    assert "holds a run with other settings (train_val.prototxt 'sha256" in one_line(process)
    assert "names the net mine.prototxt, but this run trains" in process.stderr
    assert "already trained" in command(*arguments, "--train-val", mine).stdout


def test_comments_paths_and_the_old_name_do_not_make_another_net(tmp_path):
    net = read_training_net(TRAIN_VAL)
    new = net_setting(net, tmp_path)
    assert new == net_setting(net, None) and new.startswith("sha256 ")
    write_json(tmp_path / "config.json", {"settings": {"train_val.prototxt": "sha256 old"}})
    earlier = tmp_path / "train_val.prototxt"
    earlier.write_text("# a comment\n" + with_paths(net, tmp_path).replace('"deconv1"', f'"{OLD}"'))
    assert net_setting(net, tmp_path) == "sha256 old"
    earlier.write_text(earlier.read_text().replace("num_output: 128", "num_output: 64"))
    assert net_setting(net, tmp_path) == new
    earlier.write_text("layer {")
    assert net_setting(net, tmp_path) == new


def test_the_files_of_a_run_get_the_new_name(tmp_path):
    (tmp_path / "log.csv").write_text(f"iteration,weights_conv9,weights_{OLD},gradient_{OLD}\n1,2,3,4\n")
    (tmp_path / "snapshot.json").write_text(f'{{"monitor": {{"seen": ["zero {OLD}"]}}}}')
    (tmp_path / "train_val.prototxt").write_text(f'name: "{OLD}" type: "Deconvolution" # the {OLD}olution')
    for _ in range(2):  # and only once
        rename_in_run(tmp_path)
        assert (tmp_path / "log.csv").read_text() == "iteration,weights_conv9,weights_deconv1,gradient_deconv1\n1,2,3,4\n"
        assert (tmp_path / "snapshot.json").read_text() == '{"monitor": {"seen": ["zero deconv1"]}}'
        assert (tmp_path / "train_val.prototxt").read_text() == f'name: "deconv1" type: "Deconvolution" # the {OLD}olution'
