"""Tables of evaluation.tables as Markdown, LaTeX and CSV."""
import csv
import io

# names of data sets and models may hold characters that the formats read as commands
MARKDOWN = str.maketrans({**{character: f"\\{character}" for character in "\\|`*_<[]"}, "\n": " "})
LATEX = str.maketrans({**{character: f"\\{character}" for character in "&%#_${}"}, "\n": " ", "±": "$\\pm$",
                       "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}",
                       "<": "\\textless{}", ">": "\\textgreater{}"})


def to_markdown(table):
    """Format a table as Markdown."""
    def line(cells):
        return "| " + " | ".join(cell.translate(MARKDOWN) for cell in cells) + " |"

    header = table["header"]
    lines = [f"## {table['title'].translate(MARKDOWN)}", "", line(header), "|" + "---|" * len(header)]
    return "\n".join([*lines, *map(line, _cells(table)), "", table["caption"].translate(MARKDOWN), ""])


def to_latex(table):
    """Format a table as LaTeX for a paper; needs the booktabs package."""
    def escape(text):
        return text.translate(LATEX)

    text_columns = len(table["header"]) - len(table["columns"]) - len(table["notes"])
    lines = ["\\begin{table}", "\\centering", f"\\caption{{{escape(table['title'] + '. ' + table['caption'])}}}",
             f"\\begin{{tabular}}{{{'l' * text_columns}{'r' * len(table['columns'])}{'l' * len(table['notes'])}}}",
             "\\toprule", " & ".join(escape(cell) for cell in table["header"]) + " \\\\", "\\midrule"]
    previous = None
    for row, cells in zip(table["rows"], _cells(table), strict=True):
        if previous not in (None, row["name"]):
            lines.append("\\addlinespace")
        previous = row["name"]
        lines.append(" & ".join(escape(cell) for cell in cells) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}", ""])


def to_csv(tables):
    """Format all tables as one CSV: one line per number, with all digits, 95% interval and number of images."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", "model", "line", "column", "value", "low", "high", "n", "data", "source"])
    for table in tables:
        for row in table["rows"]:
            notes = dict(zip(table["notes"], row["notes"]))
            for column in table["columns"]:
                detail = row.get("details", {}).get(column, {})
                value = row["values"].get(column)
                writer.writerow([table["title"], row["name"], row["line"], column,
                                 row["cells"][column] if value is None else value, detail.get("low"),
                                 detail.get("high"), detail.get("n"), notes.get("Data", ""), notes.get("Source", "")])
    return text.getvalue()


def _cells(table):
    """Return the rows as lists of texts."""
    has_line_column = table["header"][1] == ""
    return [[row["name"], *([row["line"]] if has_line_column else []),
             *(row["cells"][column] for column in table["columns"]), *row["notes"]] for row in table["rows"]]
