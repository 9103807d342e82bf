"""The lines of code that students and treatments bring to a recipe (`recipe_code` puts them together).

In a treatment's lines `own` are the user's rows, `rows` these and the added ones, `fit(part, weights, adjust)` trains
the student and gives a function from texts to log-scores, `ones(part)` are weights of 1; they define `score(texts)`.
`{label}` stands for the label column. Lines that call `compare` get it, and `middle`: nearness to the labels'
descriptions.
"""

from __future__ import annotations

from dataclasses import dataclass

SCORE = "\n\ndef score(texts):\n    return "
ADJUSTED = "plain = fit(own, ones(own), 1)\n"
MORE = 'more = fit(rows, rows["weight"], 1)\n'

_DRAW = """
size = own[{label}].value_counts().{extreme}()


def draw(seed):
    return own.groupby({label}, group_keys=False).sample(n=size, replace={replace}, random_state=seed)


"""


def draw_lines(*, extreme: str, replace: bool) -> str:
    """Lines that define `draw(seed)`: so many of the user's rows of each label.

    Args:
        extreme: `max` for as many as the largest label has, `min` for the smallest.
        replace: whether rows are drawn with replacement.
    """
    return _DRAW.replace("{extreme}", extreme).replace("{replace}", str(replace)) + "\n"


@dataclass(frozen=True, slots=True)
class StudentCode:
    """A student's lines.

    Args:
        imports: lines of imports, each with its end.
        setting: lines before `fit` is defined, with what `encode(texts)` needs where that is learned from no row.
        make: the lines in `fit` that make `encode` from the rows in `part`, or a comment.
        model: an expression that is a classifier, not trained yet.
        trained: an expression that trains `{model}` on `part` with `weights`.
        log_probabilities: an expression for those of `texts` under the trained `model`.
    """

    imports: str
    setting: str
    make: str
    model: str
    trained: str = '{model}.fit(encode(part["content"]), part[{label}], weights)'
    log_probabilities: str = "model.predict_log_proba(encode(texts))"
