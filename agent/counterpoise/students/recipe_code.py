"""What a run advises, as code that runs in its folder: plain scikit-learn on the rows of the result.

Where a way draws (bags, repeated rows), the code draws otherwise than the run did; everything else is the same model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from counterpoise.students.base import Student, Treatment
from counterpoise.students.representations import SentenceVectors

_HEAD = """\
# Run it in the folder of the run, where dataset/ lies.
from glob import glob

import numpy as np
import pandas as pd
from scipy.special import log_softmax, logsumexp
{imports}
rows = pd.concat(map(pd.read_parquet, sorted(glob("dataset/train-*.parquet"))), ignore_index=True)
rows["content"] = rows[{text}].fillna("").astype(str).agg("\\n".join, axis=1)
own = rows[[source["kind"] in ("original", "relabelled", "answered") for source in rows["provenance"]]]
{setting}

def fit(part, weights, adjust):
    {make}
    model = {trained}
    mass = weights.groupby(part[{label}]).sum()
    prior = np.log(mass[model.classes_] / mass.sum()).to_numpy()
    return lambda texts: log_softmax({log_probabilities} - adjust * prior, axis=1)


def ones(part):
    return pd.Series(1.0, index=part.index)

"""

_NEAR = """
descriptions = {descriptions}  # label: one line about it
names = sorted(descriptions)
anchors = encode([descriptions[name] for name in names])


def compare(texts):
    return log_softmax(20 * (encode(texts) @ anchors.T).astype(float), axis=1)


middle = np.mean([compare(own["content"][own[{label}] == name]).mean(axis=0) for name in names], axis=0)
"""

_POOL = """
unlabelled = []  # the texts of your pool go here; without them this is logit adjustment
"""

_POOL_IMPORTS = "from counterpoise.students.pool_recipe import label_pool\n"

_TAIL = """\
names = np.array(sorted(set(own[{label}])))
print(names[score(["a text to be labelled"]).argmax(axis=1)])
"""

_SAVED = """
# The same as an object, saved and loaded; it draws as the run did (pip install "counterpoise[recipe]"):
# counterpoise.resume(".").recipe().fit().save("recipe.skops")
# counterpoise.load_recipe("recipe.skops").predict(["a text to be labelled"])
"""

_NO_CODE = "# The way '{name}' brings no code of its own: train as its documentation says.\n"


def write_code(
    way: Treatment,
    student: Student,
    *,
    text: Sequence[str],
    label: str,
    descriptions: Mapping[Any, str],
    encoder: str = "",
) -> str:
    """Python that trains what a run advises and labels a text with it.

    Args:
        way: how the student is trained.
        student: who is trained.
        text: the text columns.
        label: the label column.
        descriptions: value of the label column -> one line about it.
        encoder: folder of an encoder of the user's own, "" for the pinned one.
    """
    own = way.write_code(student)
    if not own:
        return _NO_CODE.replace("{name}", way.name) + _SAVED
    lines = student.write_code(encoder)
    imports, setting = lines.imports, lines.setting
    if way.uses_pool:
        imports += _POOL_IMPORTS
        if not student.uses_vectors:  # who labels the pool does
            vectors = SentenceVectors()
            imports, setting = vectors.join_imports(imports), vectors.write_setting(encoder) + setting
        setting += _POOL
    parts = [
        _HEAD.replace("{imports}", imports)
        .replace("{text}", repr(list(text)))
        .replace("{setting}", setting)
        .replace("{make}", lines.make)
        .replace("{trained}", lines.trained)
        .replace("{model}", lines.model)
        .replace("{log_probabilities}", lines.log_probabilities)
    ]
    if "compare" in own:
        parts.append(_NEAR)
    code = "\n".join([*parts, own, _TAIL]).replace("{descriptions}", repr(dict(descriptions)))
    code = code.replace("{label}", repr(label))
    return re.sub(r"\n{4,}", "\n\n\n", code) + _SAVED
