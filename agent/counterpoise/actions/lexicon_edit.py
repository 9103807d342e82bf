"""The edit without a model: change or delete the words that speak for a record's label.

The lexicon is learned from the training rows: a logistic regression on words gives each word a weight for each label,
and a word that follows a negation counts as another word. To give a text another label its strongest words are taken
in turn: a negation is taken out, a word is replaced by the word of the other label that stands most often between the
same neighbours, and where there is none it is deleted, until the regression changes its mind.

After Yang, Li, Cunningham, Zhang, Smyth, Dong (2021), Exploring the Efficacy of Automatically Generated Counterfactuals
for Sentiment Analysis, whose replacements come from a masked language model and whose words from an opinion lexicon.

    >>> texts = ["good soup", "good bread", "bad soup", "bad bread"] * 5
    >>> lexicon = learn_lexicon(texts, [1, 1, 0, 0] * 5, 2)
    >>> lexicon.edit("A good bread", 0)
    'A bad bread'
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from counterpoise.core.records import Floats, Integers
from counterpoise.students.weights import balance_weights

MOST_EDIT_SHARE = 0.35
_WORD = re.compile(r"\w+(?:['’]\w+)*")
_NEGATIONS = frozenset({"not", "no", "never", "without", "hardly", "nothing"})
_FEWEST_TEXTS = 3  # that a word stands in
_N_REPLACEMENTS = 300  # strongest words of a label that may replace another
_FEWEST_SHARED = 2  # neighbours that word and replacement have in common
_LEAST_WEIGHT = 0.2  # log-odds that a word must be worth to be changed
_MARGIN = 0.5  # log-odds beyond the boundary at which an edit stops


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Words and what they say of the label.

    Args:
        weights: word -> (k,) weights; a word after a negation is written `not_word`.
        intercepts: (k,) of the regression.
        replacements: (word, label) -> the word of that label that takes its place.
    """

    weights: Mapping[str, Floats]
    intercepts: Floats
    replacements: Mapping[tuple[str, int], str]

    def score(self, text: str) -> Floats:
        """(k,) log-scores of a text, the label shares taken out."""
        total = self.intercepts.copy()
        for name in set(list_features(text)):
            if name in self.weights:
                total += self.weights[name]
        return total

    def edit(self, text: str, target: int) -> str | None:
        """The text with few words changed so that the lexicon holds it for `target`.

        Args:
            text: a record of another label.
            target: index of the label wanted.

        Returns:
            The edited text; None where a third of the words would not do.
        """
        n_most = max(1, int(MOST_EDIT_SHARE * len(_WORD.findall(text))))
        for _ in range(n_most):
            scores = self.score(text)
            rival = int(np.argmax(np.where(np.arange(len(scores)) == target, -np.inf, scores)))
            if scores[target] - scores[rival] >= _MARGIN:
                return text
            changed = self._change_one(text, target, rival)
            if changed is None:
                break
            text = changed
        scores = self.score(text)
        return text if int(scores.argmax()) == target else None

    def _change_one(self, text: str, target: int, rival: int) -> str | None:
        """The text with its strongest word for `rival` changed; None where no word speaks for it."""
        matches = list(_WORD.finditer(text))
        features = list_features(text)
        against = [
            float(self.weights[name][rival] - self.weights[name][target]) if name in self.weights else 0.0
            for name in features
        ]
        if not against or max(against) < _LEAST_WEIGHT:
            return None
        place = int(np.argmax(against))
        if features[place].startswith("not_"):
            return _cut(text, matches[place - 1])
        word = features[place]
        replacement = None if _is_negation(word) else self.replacements.get((word, target))
        if replacement is None:
            return _cut(text, matches[place])
        start, end = matches[place].span()
        written = replacement.capitalize() if text[start].isupper() else replacement
        return text[:start] + written + text[end:]


def learn_lexicon(texts: Sequence[str], labels: Sequence[int] | Integers, n_labels: int) -> Lexicon:
    """Learn words and replacements from training rows.

    Args:
        texts: of the training rows.
        labels: their label indices, two or more different ones.
        n_labels: k.

    Raises:
        ValueError: one label only.
    """
    answers = np.asarray(labels, dtype=np.int64)
    present = np.unique(answers)
    if len(present) < 2:
        raise ValueError("a lexicon needs rows of two labels")
    fewest = min(_FEWEST_TEXTS, max(1, int(np.bincount(answers)[present].min()) // 4))
    vectoriser = CountVectorizer(analyzer=list_features, binary=True, min_df=fewest)
    counts = vectoriser.fit_transform(texts)
    model = LogisticRegression(C=1.0, max_iter=1000)
    model.fit(counts, answers, sample_weight=balance_weights(answers, n_labels))
    coefficients = np.full((n_labels, counts.shape[1]), 0.0)
    intercepts = np.full(n_labels, -np.inf)
    if len(present) == 2:
        coefficients[present] = np.stack([-model.coef_[0] / 2, model.coef_[0] / 2])
        intercepts[present] = [-model.intercept_[0] / 2, model.intercept_[0] / 2]
    else:
        coefficients[present] = model.coef_
        intercepts[present] = model.intercept_
    names = [str(name) for name in vectoriser.get_feature_names_out()]
    weights = {name: coefficients[:, column].copy() for column, name in enumerate(names)}
    return Lexicon(weights, intercepts, _find_replacements(texts, weights, [int(label) for label in present]))


def list_features(text: str) -> list[str]:
    """The words of a text in lower case; one that follows a negation begins with `not_`."""
    words = [match[0].casefold() for match in _WORD.finditer(text)]
    return [
        f"not_{word}" if place and _is_negation(words[place - 1]) else word
        for place, word in enumerate(words)
    ]


def _is_negation(word: str) -> bool:
    return word in _NEGATIONS or word.endswith(("n't", "n’t"))


def _find_replacements(
    texts: Sequence[str], weights: Mapping[str, Floats], labels: Sequence[int]
) -> dict[tuple[str, int], str]:
    """For every strong word of a label the strong word of each other label that has most neighbours in common."""
    neighbours: dict[str, Counter[tuple[str, str]]] = {}
    for text in texts:
        words = ["", *list_features(text), ""]
        for left, word, right in zip(words, words[1:], words[2:], strict=False):
            if word in weights and not word.startswith("not_"):
                neighbours.setdefault(word, Counter()).update([("<", left), (">", right)])
    strong = {label: _list_strong(weights, label, labels, neighbours) for label in labels}
    found = {}
    for target in labels:
        for label in labels:
            if label == target:
                continue
            for word in strong[label]:
                best = max(
                    strong[target],
                    key=lambda other: (_compare(neighbours[word], neighbours[other]), other),
                    default=None,
                )
                shared = sum((neighbours[word] & neighbours[best]).values()) if best else 0
                if best and shared >= _FEWEST_SHARED:
                    found[word, target] = best
    return found


def _list_strong(
    weights: Mapping[str, Floats],
    label: int,
    labels: Sequence[int],
    neighbours: Mapping[str, Counter[tuple[str, str]]],
) -> list[str]:
    others = [other for other in labels if other != label]
    margins = {word: float(weights[word][label] - weights[word][others].max()) for word in neighbours}
    ranked = sorted((word for word, margin in margins.items() if margin > 0), key=lambda word: -margins[word])
    return ranked[:_N_REPLACEMENTS]


def _compare(first: Counter[tuple[str, str]], second: Counter[tuple[str, str]]) -> float:
    """Cosine of two counts of neighbours."""
    small, large = sorted((first, second), key=len)
    product = sum(count * large[name] for name, count in small.items() if name in large)
    lengths = np.sqrt(sum(count**2 for count in first.values()) * sum(count**2 for count in second.values()))
    return float(product / lengths)


def _cut(text: str, match: re.Match[str]) -> str:
    """The text without one word and the space after it (or before it, at the end)."""
    before, after = text[: match.start()], text[match.end() :]
    if after.startswith(" "):
        after = after[1:]
    elif before.endswith(" "):
        before = before[:-1]
    return (before + after).strip()
