"""What a run advises, as code that runs in its folder: plain scikit-learn on the rows of the result.

Where a way draws (bags, repeated rows), the code draws otherwise than the run did; everything else is the same model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from counterpoise.students.linear import INVERSE_REGULARISATION
from counterpoise.students.treatments import N_BAGS

_HEAD = """\
# Run it in the folder of the run, where dataset/ lies.
from glob import glob

import numpy as np
import pandas as pd
from scipy.special import log_softmax, logsumexp
{imports}
rows = pd.concat(map(pd.read_parquet, sorted(glob("dataset/train-*.parquet"))), ignore_index=True)
rows["content"] = rows[{text}].fillna("").astype(str).agg("\\n".join, axis=1)
own = rows[[source["kind"] in ("original", "relabelled") for source in rows["provenance"]]]
{setting}

def fit(part, weights, adjust):
    {make}
    model = LogisticRegression(C={c}, max_iter=1000).fit(encode(part["content"]), part[{label}], weights)
    mass = weights.groupby(part[{label}]).sum()
    prior = np.log(mass[model.classes_] / mass.sum()).to_numpy()
    return lambda texts: log_softmax(model.predict_log_proba(encode(texts)) - adjust * prior, axis=1)


def ones(part):
    return pd.Series(1.0, index=part.index)

"""

_WORDS_IMPORTS = """\
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
"""
_VECTORS_IMPORTS = """\
from sklearn.linear_model import LogisticRegression

from counterpoise.core.assets import find_cache_dir
from counterpoise.core.events import ignore
from counterpoise.data.encoders import make_encoder
"""
_WORDS_MAKE = """words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), dtype=np.float32, max_features=200_000)
    encode = words.fit(part["content"]).transform"""
_VECTORS_SETTING = """encoder = make_encoder({encoder}, find_cache_dir(), ignore)


def encode(texts):
    return encoder.encode(list(texts))

"""
_NEAR = """
descriptions = {descriptions}  # label: one line about it
names = sorted(descriptions)
anchors = encode([descriptions[name] for name in names])


def compare(texts):
    return log_softmax(20 * (encode(texts) @ anchors.T).astype(float), axis=1)


middle = np.mean([compare(own["content"][own[{label}] == name]).mean(axis=0) for name in names], axis=0)
"""
_DRAW = """
size = own[{label}].value_counts().{extreme}()


def draw(seed):
    return own.groupby({label}, group_keys=False).sample(n=size, replace={replace}, random_state=seed)


"""

_TAIL = """\
names = np.array(sorted(set(own[{label}])))
print(names[score(["a text to be labelled"]).argmax(axis=1)])
"""

_SCORE = "\n\ndef score(texts):\n    return "
_ADJUSTED = "plain = fit(own, ones(own), 1)\n"
_MORE = 'more = fit(rows, rows["weight"], 1)\n'
_WAYS: Mapping[str, str] = {
    "nothing": "score = fit(own, ones(own), 0)\n",
    "class_weights": "shares = own[{label}].map(own[{label}].value_counts())\n"
    "score = fit(own, len(own) / own[{label}].nunique() / shares, 0)\n",
    "oversampling": "score = fit(draw(0), ones(draw(0)), 0)\n",
    "downsampling": "score = fit(draw(0), ones(draw(0)), 0)\n",
    "logit_adjustment": "score = fit(own, ones(own), 1)\n",
    "balanced_bags": f"bags = [fit(draw(seed), ones(draw(seed)), 0) for seed in range({N_BAGS})]\n"
    f"{_SCORE}logsumexp([bag(texts) for bag in bags], axis=0)\n\n",
    "embedding_zero_shot": f"{_SCORE}compare(texts) - middle\n\n",
    "zero_shot_prior": f"{_ADJUSTED}{_SCORE}plain(texts) + compare(texts) - middle\n\n",
    "added_rows": 'score = fit(rows, rows["weight"], 1)\n',
    "added_rows_prior": f"{_MORE}{_SCORE}more(texts) + compare(texts) - middle\n\n",
    "averaged": f"{_ADJUSTED}{_MORE}{_SCORE}(plain(texts) + more(texts)) / 2\n\n",
    "averaged_prior": f"{_ADJUSTED}{_MORE}{_SCORE}sum(\n"
    "        log_softmax(part(texts) + compare(texts) - middle, axis=1) for part in (plain, more)\n    )\n\n",
}


def write_code(
    way: str,
    student: str,
    *,
    text: Sequence[str],
    label: str,
    descriptions: Mapping[Any, str],
    encoder: str = "",
) -> str:
    """Python that trains what a run advises and labels a text with it.

    Args:
        way: a name of `students.ARMS` or `students.MIXTURES`.
        student: a name of `students.STUDENTS`.
        text: the text columns.
        label: the label column.
        descriptions: value of the label column -> one line about it.
        encoder: folder of an encoder of the user's own, "" for the pinned one.
    """
    is_words = student == "tfidf_lr"
    body = _WAYS[way]
    parts = [
        _HEAD.replace("{imports}", _WORDS_IMPORTS if is_words else _VECTORS_IMPORTS)
        .replace("{text}", repr(list(text)))
        .replace("{setting}", "" if is_words else _VECTORS_SETTING.replace("{encoder}", repr(encoder)))
        .replace("{make}", _WORDS_MAKE if is_words else "# the vectors of a text are the same for every part")
        .replace("{c}", repr(INVERSE_REGULARISATION))
    ]
    if "compare(" in body:
        parts.append(_NEAR.replace("{descriptions}", repr(dict(descriptions))))
    if "draw(" in body:
        extreme, replace = ("max", "True") if way == "oversampling" else ("min", "False")
        parts.append(_DRAW.replace("{extreme}", extreme).replace("{replace}", replace))
    code = "\n".join([*parts, body, _TAIL]).replace("{label}", repr(label))
    return re.sub(r"\n{4,}", "\n\n\n", code)
