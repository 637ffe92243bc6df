"""Model cards: the list of trained weights, one .md file per model in this folder."""
import tomllib
from pathlib import Path

from common.errors import UserError

FOLDER = Path(__file__).parent
FIELDS = ("title", "net", "file", "size", "licence", "input", "scored")  # of every card, besides urls or make
README = FOLDER.parent / "README.md"
BEGIN, END = "<!-- from cards/*.md: python -m models.cards -->", "<!-- end -->"


def read_card(name):
    """Read a model card.

    Returns
    -------
    dict
        The front matter (TOML between two lines `+++`), and the rest as "text".

    Raises
    ------
    UserError
        There is no such model, or its card is damaged.
    """
    path = FOLDER / f"{name}.md"
    if path.parent != FOLDER or not path.is_file():
        raise UserError(f"there is no model {name!r}; choose one of: {', '.join(model_names())}")
    try:
        _, front, text = path.read_text(encoding="utf-8").split("+++\n", 2)
        card = {**tomllib.loads(front), "text": text.strip()}
        missing = [field for field in FIELDS if field not in card]
        if missing or not ("urls" in card or "make" in card):
            raise ValueError(f"no {', '.join(missing) or 'urls'}")
    except ValueError as error:
        raise UserError(f"{path}: not a model card ({error}); check it out again") from error
    return card


def model_names():
    """List the names of all models, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.md"))


def to_table():
    """Format all cards as the Markdown table of models/README.md."""
    lines = ["| name | model; where to get it | size | licence | scores |", "|---|---|---|---|---|"]
    for name in model_names():
        card = read_card(name)
        source = "`models.fetch`" if "urls" in card else card["make"]
        cells = [f"[`{name}`](cards/{name}.md)", f"{card['title']}; {source}",
                 card["size"], card["licence"], card["scored"]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def replace_table(text):
    """Replace the table in the text of models/README.md by that of the cards."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{to_table()}\n{END}{rest.split(END)[1]}"
