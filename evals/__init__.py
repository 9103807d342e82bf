"""Evaluations: `python -m evals list`, `python -m evals NAME --data DIR`. Never installed."""
