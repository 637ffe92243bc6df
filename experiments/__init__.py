"""Run the experiments behind the paper's remarks, at a size that two cores can compute: `make claims`.

Each module has functions that train and predict with the project's own commands and return a Table;
evaluation/paper/claims.csv names the claims that they test, docs/experiments.md reports the results.
"""
import common  # noqa: F401  from here on, Ctrl-C is one line
