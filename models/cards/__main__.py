"""python -m models.cards: write the table of models/README.md anew from the cards."""
from common.files import write_text
from models.cards import README, with_table

write_text(README, with_table(README.read_text(encoding="utf-8")))
