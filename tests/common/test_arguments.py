import argparse

import pytest

from common import arguments, machine

DOC = """python -m some.command: a test.

More about it.
"""


@pytest.fixture
def parser():
    parser = arguments.Parser("some.command", DOC)
    parser.add_argument("--preset", choices=("demo", "paper"))
    parser.add_seed(2016)
    parser.add_jobs()
    return parser


@pytest.mark.parametrize("given, complaint", [
    (["--presets", "demo"], "unknown option --presets; did you mean --preset?"),
    (["--sed=1"], "unknown option --sed; did you mean --seed?"),
    (["--pre", "demo"], "unknown option --pre; did you mean --preset?"),  # no abbreviations
    (["file"], "unknown argument file (--help lists all)"),
    (["--seed", "-1"], "argument --seed: '-1' is not a whole number, 0 or above"),
    (["--jobs", "0"], "argument --jobs: '0' is not a whole number above 0"),
])
def test_a_wrong_command_line_exits_with_2_and_names_the_remedy(parser, capsys, given, complaint):
    with pytest.raises(SystemExit) as error:
        parser.parse_args(given)
    assert error.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"python -m some.command: error: {complaint}")


def test_shared_options_have_defaults(parser):
    args = parser.parse_args(["--preset", "paper"])
    assert (args.preset, args.seed, args.jobs) == ("paper", 2016, machine.count_cores())


def test_help_has_the_docstring(parser):
    text = parser.format_help()
    assert text.startswith("usage: python -m some.command") and text.rstrip().endswith("More about it.")


@pytest.mark.parametrize("convert, text, value", [
    (arguments.positive_int, "1", 1), (arguments.non_negative_int, "0", 0), (arguments.non_negative_float, "0", 0),
    (arguments.fraction, "0.25", 0.25), (arguments.option, "longest_side=128", ("longest_side", 128)),
    (arguments.option, "engine=opencv", ("engine", "opencv"))])
def test_types_convert(convert, text, value):
    assert convert(text) == value


@pytest.mark.parametrize("convert, text", [
    (arguments.positive_int, "0"), (arguments.positive_int, "1.5"), (arguments.non_negative_int, "-1"),
    (arguments.non_negative_float, "inf"), (arguments.non_negative_float, "nan"), (arguments.non_negative_float, "x"),
    (arguments.fraction, "1"), (arguments.option, "engine"), (arguments.option, "engine=")])
def test_types_reject_other_values_by_name(convert, text):
    with pytest.raises(argparse.ArgumentTypeError, match=f"'{text}' is not "):
        convert(text)
