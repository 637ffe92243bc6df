"""python -m models.cards: update the table of models/README.md from the cards."""
from common.files import write_text
from models.cards import README, replace_table

write_text(README, replace_table(README.read_text(encoding="utf-8")))
