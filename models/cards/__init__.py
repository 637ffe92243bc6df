"""Model cards: what there is of trained weights, read from the .md files of this folder."""
import tomllib
from pathlib import Path

from common.errors import UserError

FOLDER = Path(__file__).parent
FIELDS = ("title", "net", "file", "size", "licence", "input", "scored")  # of every card; and urls or make
README = FOLDER.parent / "README.md"
BEGIN, END = "<!-- from cards/*.md: python -m models.cards -->", "<!-- end -->"


def read_card(name):
    """A model's card: a dict of its front matter (TOML between two lines `+++`), and "text".

    Raises
    ------
    UserError
        There is no such model, or its card is damaged.
    """
    path = FOLDER / f"{name}.md"
    if path.parent != FOLDER or not path.is_file():
        raise UserError(f"there is no model {name!r}; choose one of: {', '.join(names())}")
    try:
        _, front, text = path.read_text(encoding="utf-8").split("+++\n", 2)
        card = {**tomllib.loads(front), "text": text.strip()}
        missing = [field for field in FIELDS if field not in card]
        if missing or not ("urls" in card or "make" in card):
            raise ValueError(f"no {', '.join(missing) or 'urls'}")
    except ValueError as error:
        raise UserError(f"{path}: not a model's card ({error}); check it out again") from error
    return card


def names():
    """Names of all models, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.md"))


def table():
    """The table of models/README.md, as Markdown."""
    lines = ["| name | what | size | licence | scored |", "|---|---|---|---|---|"]
    for name in names():
        card = read_card(name)
        got = "`models.fetch`" if "urls" in card else card["make"]
        lines.append(f"| [`{name}`](cards/{name}.md) | {card['title']}; {got} | {card['size']} | {card['licence']} | "
                     f"{card['scored']} |")
    return "\n".join(lines)


def with_table(text):
    """models/README.md with the table that the cards make."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"
