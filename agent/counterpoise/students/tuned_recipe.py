"""The lines of the recipe of ways that are tuned on rows left out, see `left_out`."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import indent

from counterpoise.students.left_out import OFFSET_SPREAD, SHARE_SPREAD
from counterpoise.students.recipe_lines import SCORE
from counterpoise.students.source_folds import N_FOLDS

_CODE = """
from scipy.optimize import minimize
from scipy.special import softmax

names, left_out, expected = sorted(set(own[{label}])), [], np.array(EXPECTED)


def tell(part, texts):
    return pd.DataFrame(fit(part, ones(part), 1)(texts), columns=sorted(set(part[{label}])))


def look(part, texts):
    logs = [tell(part, texts)]MORE
    filled = [one.reindex(columns=names).fillna(np.log(1e-9)) for one in logs]
    return np.stack([np.maximum(log_softmax(one, axis=1), np.log(1e-9)) for one in filled])


folds = OWN_FOLDS
for fold in folds.unique():
    part, others = own[folds != fold], own[folds == fold]
    others = others[others[{label}].isin(part[{label}])]
    if len(others):
        left_out.append((look(part, others["content"]), others[{label}]))
logs, truth = np.concatenate([one[0] for one in left_out], axis=1), pd.concat([one[1] for one in left_out])
alike = (1 / truth.map(truth.value_counts())).to_numpy()[:, None]
alike = alike / alike.sum()
hits = alike * (truth.to_numpy()[:, None] == np.array(names))
PICKfirm = (alike**2).sum() / np.array([SHARE_SPREAD] * len(expected) + [OFFSET_SPREAD] * len(names)) ** 2
start = np.concatenate([expected, np.zeros(len(names))])


def lose(values):
    mixed = np.tensordot(values[: len(expected)], logs, axes=1) + values[len(expected) :]
    errors, moved = alike * softmax(mixed, axis=1) - hits, values - start
    slope = np.concatenate([np.tensordot(logs, errors, axes=2), errors.sum(axis=0)])
    return firm @ moved**2 / 2 - (hits * log_softmax(mixed, axis=1)).sum(), slope + firm * moved


bounds = [(0, None)] * len(expected) + [(None, None)] * len(names)
found = minimize(lose, start, jac=True, method="L-BFGS-B", bounds=bounds).x
"""
NEAR_LINES = """
    near, labels = compare(part["content"]), part[{label}].to_numpy()
    centre = np.mean([near[labels == name].mean(axis=0) for name in sorted(set(labels))], axis=0)
    logs.append(pd.DataFrame(compare(texts) - centre, columns=names))"""
ADDED_LINES = """
    made, origin = rows.index.difference(own.index), rows["provenance"]
    out = set(origin[row]["id"] for row in own.index.difference(part.index))
    both = pd.concat([part, rows.loc[[row for row in made if out.isdisjoint(origin[row]["parents"])]]])
    logs.append(tell(both, texts))
    logs.append(pd.DataFrame(fit(both, both["weight"], 1)(texts), columns=sorted(set(both[{label}]))))"""
_PICK = """uses = np.array(USES)  # added rows like own ones, or as their column says: the likelier one takes part
losses = -(hits * logs[uses]).sum(axis=(1, 2))
kept = [place for place in range(len(expected)) if place != uses[losses.argmax()]]
logs, expected = logs[kept], expected[kept]
"""
_FOLDS = 'own.groupby({label})["content"].rank(method="dense") % FOLDS'
_IMPORT = "from counterpoise.students.added_recipe import divide_frame\n"
_SOURCE_FOLDS = "divide_frame(own, rows.drop(own.index), {label})"
SIMPLE_LINES = """
    logs.append(pd.DataFrame(simple(part)(texts), columns=sorted(set(part[{label}]))))"""
_MIDDLE = """\
parts = [compare(own["content"][own[{label}] == name]) for name in sorted(set(own[{label}]))]
middle = np.mean([part.mean(axis=0) for part in parts], axis=0)
"""
_MIX = (
    f"{SCORE}np.tensordot(found[: len(expected)], look(own, texts)KEPT, axes=1) + found[len(expected) :]\n\n"
)


def write_stacked_code(simple: str, shares: tuple[float, float, float], offset_spread: float) -> str:
    """Lines that define `score` of a way with added rows.

    Args:
        simple: lines of the way without added rows, "" for the student as it is.
        shares: before a row is seen: of that way, of the student on all rows, and of the descriptions (0 for none).
        offset_spread: see `left_out.tune`.
    """
    alone, added, near = shares
    more, expected = ADDED_LINES, [alone, added, added]
    if simple:
        more, expected = SIMPLE_LINES + more, [0.0, alone, added, added]
    uses = (len(expected) - 2, len(expected) - 1)
    if near:
        more, expected = more + NEAR_LINES, [*expected, near]
    lines = (_MIDDLE if "middle" in simple else "") + simple
    way = f"\n\ndef simple(own):\n{indent(lines, '    ')}\n    return score\n\n" if simple else ""
    return _IMPORT + way + write_tuned_code(expected, more, offset_spread, _SOURCE_FOLDS, uses)


def write_tuned_code(
    expected: Sequence[float],
    more: str = "",
    offset_spread: float = OFFSET_SPREAD,
    own_folds: str = _FOLDS,
    uses: Sequence[int] = (),
) -> str:
    """Lines that define `score`.

    Args:
        expected: the shares before a row is seen: of the student, and of what `more` adds.
        more: lines that add to the `logs` of `texts` what else is known: `ADDED_LINES`, `NEAR_LINES`.
        offset_spread: see `left_out.tune`.
        own_folds: an expression that gives a fold to each row of `own`.
        uses: places of shares of which the one whose scores are likelier takes part.
    """
    settings = {
        "OWN_FOLDS": own_folds,
        "EXPECTED": str(list(expected)),
        "MORE": more,
        "FOLDS": str(N_FOLDS),
        "SHARE_SPREAD": str(SHARE_SPREAD),
        "OFFSET_SPREAD": str(offset_spread),
        "PICK": _PICK.replace("USES", str(list(uses))) if uses else "",
        "KEPT": "[kept]" if uses else "",
    }
    code = _CODE + _MIX
    for name, value in settings.items():
        code = code.replace(name, value)
    return code
