"""Plain words: docstrings begin with a verb, and one thing has one name. Add to the lists when a review finds more."""
import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, tracked_files

SOURCE = ("common", "data", "shallow", "deep", "models", "evaluation", "bench")
TEXT_SUFFIXES = (".md", ".sh", ".prototxt", ".txt", ".yml", ".toml", "")
# what a function's docstring may begin with
VERBS = set("""
    Abort Accept Add Adjust Allow Answer Append Apply Ask Assign Assert Average Begin Blur Bootstrap Build Call Cast
    Center Check Choose Clear Clip Close Collect Combine Compare Compile Compute Concatenate Configure Connect Continue
    Convert Convolve Copy Count Create Crop Cut Decode Define Delete Describe Divide Download Draw Drop Encode Enlarge
    Ensure Enter Escape Estimate Evaluate Exit Explain Export Extract Fetch Fill Filter Find Finish Fit Flush Format
    Fuse Generate Give Group Hash Hide Hold Ignore Implement Import Index Initialise Insert Install Iterate Join Keep
    Label Launch Leave Lay Limit List Load Locate Lock Log Look Make Map Mark Match Measure Merge Mirror Move Multiply
    Name Normalise Note Open Order Overlay Pack Pad Parse Pass Plot Pool Pop Predict Prepare Preprocess Print Process
    Promote Provide Push Put Quote Raise Read Record Redirect Reduce Release Remove Rename Render Repeat Replace Report
    Require Rescale Reserve Reset Reshape Resize Resolve Restore Restrict Resume Return Reverse Round Run Sample Save
    Scale Score Search Select Send Serve Set Share Show Shrink Shuffle Simulate Skip Smooth Solve Sort Split Square
    Squash Stack Start State Stop Store Stretch Subtract Sum Summarise Swap Sync Synthesise Take Test Time Train
    Transform Transplant Transpose Truncate Try Turn Undo Unite Unlock Unpack Update Upgrade Use Validate Verify Wait
    Walk Warn Weigh Wrap Write Yield Zero
""".split())
VAGUE = ("What", "Where", "How", "Whether", "Who", "Whose", "Which", "Why", "When", "Of", "If", "Have", "That")
# names of functions, classes, arguments and variables that say nothing, or have a better one in the glossary
NAMES = {
    "found": "what was found", "one": "the thing itself", "each": "the thing itself", "kept": "what was kept",
    "there": "what exists", "wanted": "expected_...", "whose": "observers", "looks": "fixations", "_looks": "_fixations",
    "watch": "simulate_fixations", "things": "objects", "thing": "object", "choose": "split_names",
    "inside": "clip_to_frame", "in_frame": "frame_mask", "points_from_one": "to_zero_based", "alone": "lock_folder",
    "share": "fraction", "natural_int": "non_negative_int", "fed": "net_input", "answer": "output",
    "answers": "outputs", "to_net": "preprocess", "from_net": "postprocess", "Arrays": "TrainingData",
    "batches_an_epoch": "batches_per_epoch", "fc1_norm": "fc1_max_norm", "boxes": "layer_outputs",
    "last_words": "fatal_message", "run_guarded": "run_in_subprocess", "OWNED": "RESERVED_FIELDS",
    "Thing": "PickledObject", "everyone": "all_counts", "everyone_else": "other_counts", "A_PART": "PART_SIZE",
    "SAMPLES_A_SHARD": "SHARD_SIZE", "TEST_SHARE": "TEST_FRACTION", "strangers": "unmatched", "strange": "foreign",
    "people": "fixations or density", "said": "given", "picture": "image", "pictures": "images", "films": "videos",
    "measure": "score_map", "measures": "metrics", "alarms": "monitor",
}
# words and phrases in docstrings, comments, messages and READMEs -> what to write
WORDS = {
    r"pictures?": "image", r"strangers?('s)?": "name the thing", r"of old": "classical",
    r"(the|a|each|every|nine|of|all|these|other|no|its) measures?": "metric", r"fed": "input", r"answers?|answered": "output",
    r"shares? (of|that)": "fraction of", r"says?|saying|said": "state, report, give", r"tells?|telling|told": "state, report",
    r"wants?|wanted": "expect, need", r"knows?|knew|known to": "contain, support", r"refuses?|refused|refusing": "reject, raise",
    r"one observer": "one human", r"(images|maps|samples|frames|times|steps|updates|Hz|MB|GB) an? (second|image|epoch|batch|update|layer)":
    "per", r"(line|row|file|folder|process|number|worker|map|task|product|column|path) an? (image|row|line|sample|observer|net|split|"
    r"layer|channel|epoch|model|second|run|test|number|core|batch|data set|key|case|figure)": "per",
    r"is to be (counted|found|drawn|kept|told|had)": "a plain verb", r"by itself alone": "alone", r"of its own accord": "",
    r"has it that|have it that": "", r"a cacheful": "a block that fits the cache", r"goes? on": "continue", r"went on": "continued",
    r"learned out": "has stopped falling", r"mend(ed|s)?": "correct, repair", r"for one\)": "for example",
    r"whoever|whomever": "rewrite", r"therein|thereof|whereof": "rewrite", r"befits?|begun": "start",
}
EXEMPT = {"tests/test_words.py", "LICENSE", "CITATION.cff"}


TRACKED = [name for name in tracked_files() if name not in EXEMPT]
PYTHON = [name for name in TRACKED if name.endswith(".py")]
TEXT = [name for name in TRACKED if Path(name).suffix in TEXT_SUFFIXES or name.endswith(".py")]


def first_word(docstring):
    match = re.match(r"[A-Za-z]+", docstring.strip())
    return match[0] if match else docstring.strip()[:1]


def complaints_of_docstrings(text):
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) or not (doc := ast.get_docstring(node)):
            continue
        word, where = first_word(doc), f"line {getattr(node, 'lineno', 1)}: {doc.splitlines()[0][:80]}"
        if isinstance(node, ast.FunctionDef) and word not in VERBS or word in VAGUE:
            yield where


@pytest.mark.parametrize("name", [name for name in PYTHON if name.split("/")[0] in SOURCE])
def test_a_docstring_begins_with_a_verb(name):
    assert list(complaints_of_docstrings((REPOSITORY / name).read_text(encoding="utf-8"))) == []


def names_given(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno


@pytest.mark.parametrize("name", PYTHON)
def test_names_are_those_of_the_glossary(name):
    given = names_given((REPOSITORY / name).read_text(encoding="utf-8"))
    assert [f"line {line}: {word} -> {NAMES[word]}" for word, line in given if word in NAMES] == []


def prose(name):
    """Comments and strings of a Python file without its code; other files whole. (line, text) pairs."""
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    if not name.endswith(".py"):
        return list(enumerate(text.splitlines(), 1))
    pieces = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.STRING, tokenize.COMMENT):
            pieces += [(token.start[0] + offset, line) for offset, line in enumerate(token.string.splitlines())]
    return pieces


@pytest.mark.parametrize("name", TEXT)
def test_words_are_those_of_the_glossary(name):
    complaints = [f"line {number}: {match[0]!r} -> {better}" for number, line in prose(name)
                  for pattern, better in WORDS.items()
                  for match in re.finditer(rf"(?<![\w./-])(?:{pattern})(?![\w/-]|\.\w)", line, re.IGNORECASE)]
    assert complaints == []


def test_these_tests_can_fail():
    assert list(complaints_of_docstrings('def f():\n    """What it is."""\n')) == ["line 1: What it is."]
    assert list(complaints_of_docstrings('def f():\n    """Return it."""\n')) == []
    assert [word for word, _ in names_given("def f(x):\n    found = 1\n")] == ["f", "x", "found"]
