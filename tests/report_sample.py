"""Reports to render in tests and screenshots: usual, with many cells, with nothing in it, hostile."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

from tests.cell_sample import make_cells

Plain = dict[str, Any]

INJECTION = "<script>document.title='taken'</script>"

_DIFFERENCES: dict[str, list[tuple[str, str, float, float, tuple[float, float], tuple[float, float]]]] = {
    # student: (arm, kind, macro-F1, AUROC, half widths of the intervals of their differences from the best
    # zero-token arm, macro-F1 and AUROC of that arm)
    "vectors:minilm": [
        ("nothing", "zero_token", 0.371, 0.969, (0.012, 0.002), (0.898, 0.969)),
        ("class_weights", "zero_token", 0.803, 0.966, (0.019, 0.003), (0.898, 0.969)),
        ("oversampling", "zero_token", 0.811, 0.966, (0.017, 0.003), (0.898, 0.969)),
        ("logit_adjustment", "zero_token", 0.898, 0.969, (0.0, 0.0), (0.898, 0.969)),
        ("balanced_bags", "zero_token", 0.893, 0.965, (0.008, 0.003), (0.898, 0.969)),
        ("embedding_zero_shot", "zero_token", 0.846, 0.928, (0.016, 0.011), (0.898, 0.969)),
        ("counterpoise", "ours", 0.915, 0.976, (0.010, 0.003), (0.898, 0.969)),
        ("unverified", "reference", 0.889, 0.967, (0.013, 0.004), (0.898, 0.969)),
        ("real_data", "reference", 0.946, 0.989, (0.011, 0.004), (0.898, 0.969)),
    ],
    "words": [
        ("nothing", "zero_token", 0.382, 0.866, (0.021, 0.012), (0.654, 0.870)),
        ("class_weights", "zero_token", 0.612, 0.868, (0.024, 0.006), (0.654, 0.870)),
        ("oversampling", "zero_token", 0.605, 0.863, (0.026, 0.008), (0.654, 0.870)),
        ("logit_adjustment", "zero_token", 0.654, 0.870, (0.0, 0.0), (0.654, 0.870)),
        ("balanced_bags", "zero_token", 0.641, 0.866, (0.022, 0.009), (0.654, 0.870)),
        ("embedding_zero_shot", "zero_token", 0.846, 0.928, (0.031, 0.016), (0.654, 0.870)),
        ("counterpoise", "ours", 0.736, 0.905, (0.029, 0.013), (0.654, 0.870)),
        ("unverified", "reference", 0.721, 0.897, (0.031, 0.015), (0.654, 0.870)),
        ("real_data", "reference", 0.918, 0.980, (0.024, 0.009), (0.654, 0.870)),
    ],
}


def sample_report() -> Plain:
    """Restaurant reviews, 300 against 15: three cells, two students, all sections filled."""
    return {
        "title": "reviews-1",
        "version": "0.1.0",
        "headline": "Adding 271 written reviews closed 35% of the gap that the best way without tokens "
        "leaves to real data",
        "advice": [
            "Train logistic regression on words on the result and once more on your own rows alone, and average the "
            "two: +0.031 (+0.012 to +0.050) macro-F1 over logit adjustment, the best way without tokens.",
        ],
        "recommendation": {
            "arm": "counterpoise",
            "student": "words",
            "way": "averaged",
            "uses_added": True,
            "baseline": "logit_adjustment",
            "macro_f1": _interval(0.761, 0.02),
            "macro_f1_difference": _interval(0.031, 0.019),
            "auroc": _interval(0.93, 0.01),
            "auroc_difference": _interval(0.004, 0.006),
            "code": "rows = 1 < 2",
        },
        "data": {
            "source": "data/cebab_skewed.csv",
            "rows": 315,
            "labels": {"positive": 300, "negative": 15},
            "held_out_rows": 431,
            "pool_rows": 0,
            "notes": [
                "12 texts are longer than the encoder's window of 256 tokens and were read in pieces.",
                "The job's sample setting made the data skewed: 15 of 1,284 negative reviews were kept.",
                "4 near-duplicate groups stand whole on one side of the split.",
            ],
        },
        "balance": {
            "before": [
                {"cell": "positive", "have": 300, "want": 300, "need": 0},
                {"cell": "negative", "have": 15, "want": 300, "need": 285},
                {"cell": "negative with service", "have": 6.5, "want": 112, "need": 106},
            ],
            "after": [
                {"cell": "positive", "have": 300, "want": 300, "need": 0},
                {"cell": "negative", "have": 286, "want": 300, "need": 14},
                {"cell": "negative with service", "have": 97, "want": 112, "need": 15},
            ],
            "score_before": 0.4524,
            "score_after": 0.0213,
        },
        "rounds": [
            {
                "round": 1,
                "reason": "no cost is known yet, so each cell gets a trial share",
                "items": [
                    _round_item("negative", count=80, requests=24, proposed=96, accepted=71, tokens=9_820),
                    _round_item("negative with service", 40, 12, 48, 29, 5_010),
                ],
            },
            {
                "round": 2,
                "reason": "most accepted records a token: negative",
                "items": [
                    _round_item("negative", 130, 42, 168, 124, 17_240),
                    _round_item("negative with service", 62, 24, 96, 47, 9_980),
                ],
            },
        ],
        "verdicts": {
            "accepted": 271,
            "rejected": {
                "label_too_unsure": 74,
                "near_duplicate_of_accepted": 31,
                "too_short": 14,
                "echoes_prompt": 11,
                "near_duplicate_of_data": 6,
                "refusal": 1,
            },
            "accepted_examples": [
                _example(
                    "We waited forty minutes for a table we had booked, and when the soup came it was cold. "
                    "Nobody apologised.",
                    "negative with service",
                    {"label_probability": 0.94, "nearest_similarity": 0.61, "concept_service": 0.88},
                    [
                        "The waiter forgot our order twice and the bill was wrong.",
                        f"Slow, rude, and they charged us for bread {INJECTION} we never asked for.",
                    ],
                ),
                _example(
                    "Overpriced for what it is: the fish was dry and the potatoes tasted of the freezer.",
                    "negative",
                    {"label_probability": 0.97, "nearest_similarity": 0.55},
                    ["Bland food, tiny portions, big prices. I won't be back."],
                ),
            ],
            "rejected_examples": [
                {
                    **_example(
                        f"The staff was lovely {INJECTION} and the desserts were the best this year.",
                        "negative",
                        {"label_probability": 0.04},
                        ["The desserts were stale and the staff could not have cared less."],
                    ),
                    "reason": "label_too_unsure",
                },
                {
                    **_example(
                        "Bland food, tiny portions and big prices. I will not be back."
                        + " Not once more." * 50,
                        "negative",
                        {"nearest_similarity": 0.98},
                        ["Bland food, tiny portions, big prices. I won't be back."],
                    ),
                    "reason": "near_duplicate_of_data",
                },
            ],
        },
        "scorers": [
            _audit(
                "label_classifier",
                "Which label does the text have?",
                315,
                0.93,
                0.95,
                "used",
                0,
                "Cross-fitted.",
            ),
            _audit("concept_similarity", "Does the text mention service?", 200, 0.81, 0.85, "used", 0, ""),
            _audit(
                "llm_judge",
                "Does the text mention service?",
                200,
                0.52,
                0.38,
                "refused",
                214_000,
                "Not better than chance; similarity is better and costs nothing.",
            ),
        ],
        "spend": {
            "used": 45_310,
            "paid": 42_050,
            "limit": 60_000,
            "by_purpose": {
                "write": {"requests": 102, "used": 42_050, "paid": 39_910},
                "audit": {"requests": 40, "used": 2_140, "paid": 2_140},
                "probe": {"requests": 12, "used": 1_120, "paid": 0},
            },
            "tokens_per_accepted": 167.2,
        },
        "validation": {
            "metric": "macro_f1",
            "rows": [
                _validation_row(student, arm, macro_f1 - 0.011, auroc - 0.004)
                for student, arms in _DIFFERENCES.items()
                for arm, kind, macro_f1, auroc, _, _ in arms
                if kind == "zero_token"
            ],
            "best_zero_token": {"vectors:minilm": "logit_adjustment", "words": "logit_adjustment"},
        },
        "worth": [
            {
                "student": student,
                "origin": origin,
                "n_records": n_records,
                "value": value and dict(zip(("mean", "low", "high"), value, strict=True)),
            }
            for student, origin, n_records, value in (
                ("vectors:minilm", "all", 271, (0.021, 0.0, 0.187)),
                ("words", "all", 271, (0.094, 0.011, 0.412)),
                ("words", "adopted", 20, None),
            )
        ],
        "held_out": {
            "n": 431,
            "n_seeds": 10,
            "rows": [_held_out_row(student, *arm) for student, arms in _DIFFERENCES.items() for arm in arms],
        },
        "held_out_cells": copy.deepcopy(_sample_cells()),
        "stopped": "the budget of the next round would not have covered one request.",
        "ending": {
            "kind": "budget",
            "why": "the budget does not reach for one more request",
            "short": [{"cell": "negative", "have": 271.0, "want": 300.0, "need": 29}],
            "proposed": 310,
            "refused": 39,
            "chief_reason": "copy_of_data",
            "chief_reason_count": 20,
            "tokens": 41_000,
            "tokens_needed": 4_400,
            "advice": "raise the budget",
            "sentence": "the budget does not reach for one more request: negative lacks 29.",
        },
        "settings": {
            "data": "data/cebab_skewed.csv",
            "text": "review",
            "label": "sentiment",
            "attributes": [],
            "concepts": {"service": "waiters and staff", "food": "what was eaten or drunk"},
            "target": "equal",
            "metric": "macro_f1",
            "llm": {"engine": "embedded"},
            "budget": {"tokens": 60_000, "minutes": None},
            "output": "runs/reviews-1",
        },
    }


def wide_report() -> Plain:
    """The sample with 40 cells, five labels, and differences that mean nothing."""
    report = sample_report()
    labels, concepts = (
        ["one star", "two stars", "three stars", "four stars", "five stars"],
        [
            "",
            "food",
            "service",
            "ambiance",
            "noise",
            "price and value for money",
            "parking",
            "vegetarian dishes",
        ],
    )
    before: list[Plain] = []
    after: list[Plain] = []
    for place, (label, concept) in enumerate((label, concept) for concept in concepts for label in labels):
        want = 1_200 if not concept else 1_200 // (2 + concepts.index(concept))
        have = max(3, want - (place * 37 % 11) * want // 11)
        filled = min(want, have + (want - have) * (7 + place % 4) // 10)
        name = f"{label} with {concept}" if concept else label
        before.append({"cell": name, "have": have, "want": want, "need": want - have})
        after.append({"cell": name, "have": filled, "want": want, "need": want - filled})
    report["title"] = "reviews with five labels and eight concepts"
    report["headline"] = "Do not generate: logit adjustment alone is as good"
    report["balance"] |= {"before": before, "after": after}
    report["data"]["labels"] = {label: 1_200 - 180 * place for place, label in enumerate(labels)}
    report["held_out"] = {
        "n": 1_900,
        "n_seeds": 5,
        "rows": [
            _held_out_row(
                "vectors:minilm", "nothing", "zero_token", 0.521, 0.842, (0.009, 0.004), (0.577, 0.845)
            ),
            _held_out_row(
                "vectors:minilm", "logit_adjustment", "zero_token", 0.577, 0.845, (0, 0), (0.577, 0.845)
            ),
            _held_out_row(
                "vectors:minilm", "counterpoise", "ours", 0.571, 0.841, (0.011, 0.003), (0.577, 0.845)
            ),
        ],
    }
    report["held_out_cells"] = copy.deepcopy(_wide_cells(tuple(labels), tuple(concepts[1:])))
    return report


@cache
def _sample_cells() -> Any:
    arms = {"nothing": 45, "logit_adjustment": 30, "counterpoise": 8, "unverified": 25}
    return make_cells(
        431,
        ("negative", "positive"),
        ("service", "food"),
        arms,
        "logit_adjustment",
        students=("vectors:minilm", "words"),
        n_seeds=10,
    )


@cache
def _wide_cells(labels: tuple[str, ...], concepts: tuple[str, ...]) -> Any:
    arms = {"nothing": 30, "logit_adjustment": 30}
    return make_cells(1_900, labels, concepts, arms, "logit_adjustment", students=("vectors:minilm",))


def empty_report() -> Plain:
    """A run that found nothing to do: no accepted, no pool, no held-out, figures missing or infinite."""
    report = sample_report()
    report |= {
        "headline": "The data is balanced: nothing was done",
        "advice": [],
        "rounds": [],
        "scorers": [],
        "validation": None,
        "worth": [],
        "held_out": None,
        "held_out_cells": None,
        "stopped": "",
        "settings": {},
    }
    report["verdicts"] = {"accepted": 0, "rejected": {}, "accepted_examples": [], "rejected_examples": []}
    report["balance"] = {"before": [], "after": [], "score_before": float("nan"), "score_after": None}
    report["spend"] = {
        "used": 0,
        "paid": 0,
        "limit": None,
        "by_purpose": {},
        "tokens_per_accepted": float("inf"),
    }
    report["data"] |= {"labels": {}, "held_out_rows": 0, "notes": []}
    return report


def make_hostile(report: Any) -> Any:
    """The report with markup in every free string and in every name that is a key."""
    fixed = {"kind", "role", "metric", "student", "best_zero_token", "severity", "method"}
    named = {"labels", "rejected", "scores", "by_purpose", "settings"}
    payload = f"{INJECTION}\"><img src=x onerror=\"document.title='taken'\">'&<!--"

    def poison(value: Any, key: str) -> Any:
        if key in fixed:
            return value
        if isinstance(value, str):
            return value + payload
        if isinstance(value, list):
            return [poison(item, "") for item in value]
        if isinstance(value, dict):
            return {
                name + payload if key in named else name: poison(item, name) for name, item in value.items()
            }
        return value

    return poison(report, "")


def _round_item(cell: str, count: int, requests: int, proposed: int, accepted: int, tokens: float) -> Any:
    return {
        "action": "minority",
        "cell": cell,
        "count": count,
        "requests": requests,
        "proposed": proposed,
        "accepted": accepted,
        "tokens": tokens,
    }


def _example(text: str, cell: str, scores: dict[str, float], parents: list[str]) -> Plain:
    return {
        "text": text,
        "label": "negative",
        "cell": cell,
        "kind": "minority",
        "scores": scores,
        "parents": [
            {"id": f"{0x5A17E0 + 7919 * place:x}-0", "text": parent, "label": "negative"}
            for place, parent in enumerate(parents, 1)
        ],
    }


def _audit(
    name: str, question: str, n: int, accuracy: float, auc: float, role: Any, price: float, note: str
) -> Plain:
    return {
        "name": name,
        "question": question,
        "n": n,
        "accuracy": accuracy,
        "low": accuracy - 0.04,
        "high": accuracy + 0.03,
        "kappa": 2 * accuracy - 1,
        "auc": auc,
        "auc_low": auc - 0.05,
        "auc_high": auc + 0.03,
        "role": role,
        "price_per_1000": price,
        "note": note,
    }


def _validation_row(student: str, arm: str, macro_f1: float, auroc: float) -> Plain:
    return {"arm": arm, "student": student, "macro_f1": macro_f1, "auroc": auroc, "kind": "zero_token"}


def _held_out_row(
    student: str,
    arm: str,
    kind: Any,
    macro_f1: float,
    auroc: float,
    widths: tuple[float, float],
    best: tuple[float, float],
) -> Plain:
    return {
        "arm": arm,
        "student": student,
        "kind": kind,
        "macro_f1": _interval(macro_f1, 0.013),
        "auroc": _interval(auroc, 0.005),
        "macro_f1_difference": _interval(macro_f1 - best[0], widths[0]),
        "auroc_difference": _interval(auroc - best[1], widths[1]),
    }


def _interval(mean: float, width: float) -> Plain:
    return {"mean": round(mean, 6), "low": round(mean - width, 6), "high": round(min(1.0, mean + width), 6)}
