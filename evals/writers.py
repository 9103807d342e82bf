"""The ladder of writers: how the product uses texts of writers from the worthless to the perfect, none of it refused.

Texts are bought from the bank (`bank_store`; `python -m evals bank build` makes it): 15 own rows of each rare label,
and what a writer gave from them, as many as fill the label or as there are. No token is spent. An arm a writer:

- `real_rows`: real rows of the label that nobody has seen, the ceiling;
- `wrong_labels`: the same, of which three in ten are rows of other labels;
- `gpt4`, `gpt35`: what GPT-4 and GPT-3.5 wrote from rows of the draw (`gpt_written_tweets` only);
- `smol_continue`, `smol_headed`: the 135M model under the product's prompt and under another one;
- `plain_script`: the same model asked by a plain script, whatever it answers;
- `headings`: real rows of other labels, all under a rare one;
- `foreign`, `gibberish`, `copies`: texts in another language, words in random order, own rows with one word left out;
- and whoever was recorded (`bank record`).

Metrics are macro-F1 on the sealed rows in different uses: `simple` (the way without tokens that the run chooses),
`plain` (rows added as they are, logits adjusted), `before` (half and half with own rows, written ones at a weight of
0.2: how it was), `recommended` (what the product takes), `hindsight` (the best of these in the mean over draws).
`shortfall_points` is hindsight less recommended, `gain_points` recommended over simple. `accepted_wrong_ratio` is the
share of the texts used that are known to carry another label than theirs. A part `NAME+filters` uses what the product's
filters let pass alone; `accepted_ratio` is how much that is. What was measured is kept in the cache folder for as long
as neither texts nor code change, so that a stopped run goes on and parts may run side by side.

    python -m evals writers [--only cebab] [--only cebab+filters] [--seeds 10] [--quick]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from time import process_time

import numpy as np
from threadpoolctl import threadpool_limits

import counterpoise
from counterpoise.core.assets import find_cache_dir
from counterpoise.core.files import write_whole
from counterpoise.core.records import Floats
from counterpoise.runs.worth import list_helped, measure_origins
from counterpoise.students.added_ways import AVERAGED, find_mixture
from counterpoise.students.base import Treatment, fit_adjusted
from counterpoise.students.evidence import Evidence, parse_evidence, read_shipped
from counterpoise.students.fitting import predict_by_treatments
from counterpoise.students.metrics import compute_macro_f1
from counterpoise.students.registry import choose_students
from counterpoise.students.source_folds import assign_own_folds, mark_made
from counterpoise.students.treatments import TREATMENTS
from counterpoise.students.validation import (
    ArmScore,
    choose_best,
    predict_out_of_fold,
    recommend,
    score_arms,
    score_predictions,
)
from evals.bank_filters import accept, open_filters
from evals.bank_sets import BANK_SETS
from evals.bank_store import UNKNOWN, Bank, Texts, read_bank
from evals.common import Result, Settings, interval, resample_means
from evals.further_sets import list_kin
from evals.kept_students import KeptStudent, KeptWords, keep_students
from evals.simple_ways import Draw

PARTS = tuple(BANK_SETS)
FILTERED = "+filters"
N_SEEDS = 10
USES = ("simple", "plain", "before", "recommended")
RATIOS = ("accepted_ratio", "accepted_wrong_ratio")
Found = dict[tuple[str, str, str], float]
"""(writer, student, use) -> macro-F1 of one draw; (writer, "", ratio) -> the ratio."""

Scores = dict[tuple[str, str, str], list[float]]
"""The same of every draw."""


@dataclass(frozen=True)
class Ground:
    """What is the same for all writers of a draw.

    Args:
        bank: of the set.
        draw: own rows and sealed ones.
        seed: of the draw.
        students: who is trained.
        ways: the simple ways.
        scores: of these on inner validation.
        evidence: what these gave on other data sets.
    """

    bank: Bank
    draw: Draw
    seed: int
    students: Sequence[KeptStudent]
    ways: Sequence[Treatment]
    scores: Sequence[ArmScore]
    evidence: Evidence


def run(settings: Settings) -> Iterator[Result]:
    """All sets, or those named with `--only`."""
    found: dict[str, Scores] = {}
    parts = [part for part in settings.only if part.removesuffix(FILTERED) in BANK_SETS] or PARTS
    for part in parts[:1] if settings.quick else parts:
        bank, words = read_bank(settings, part.removesuffix(FILTERED)), KeptWords()
        for seed in range(1 if settings.quick else settings.seeds or N_SEEDS):
            started = process_time()
            drawn = run_draw(bank, seed, words, with_filters=part.endswith(FILTERED))
            for key, value in drawn.items():
                found.setdefault(part, {}).setdefault(key, []).append(value)
            n_writers = len({writer for writer, *_ in drawn})
            seconds = process_time() - started
            each = f"{seconds / n_writers:.2f} a writer"
            print(
                f"{part}: draw {seed + 1}, {n_writers} writers, {seconds:.1f} s of a core, {each}",
                file=sys.stderr,
                flush=True,
            )
        yield from summarise(part, [found[part]])
    if len(found) > 1:
        yield from summarise("all", list(found.values()))


def run_draw(bank: Bank, seed: int, words: KeptWords, *, with_filters: bool = False) -> Found:
    """One draw with all writers; what was measured of equal texts with equal code is read again.

    Args:
        bank: of the set.
        seed: of the draw.
        words: of the set, kept between draws.
        with_filters: whether the product's filters judge the texts first.
    """
    draw, found = bank.draw(seed), Found()
    find_ground = cache(lambda: prepare_ground(bank, draw, seed, words))
    find_filters = cache(lambda: open_filters(bank, draw, seed))
    for writer in bank.list_writers():
        texts = bank.buy(writer, draw)
        if not len(texts):
            continue
        place = (
            find_cache_dir() / "evals" / "writers" / f"{_hash(draw, texts, with_filters=with_filters)}.json"
        )
        if not place.is_file():
            passed = accept(find_filters(), bank, texts) if with_filters else np.ones(len(texts), np.bool_)
            measured = [
                *([["", "accepted_ratio", float(passed.mean())]] if with_filters else []),
                *([*key, value] for key, value in measure_uses(find_ground(), texts.take(passed)).items()),
            ]
            known = passed & (texts.truth != UNKNOWN)
            if known.any():
                wrong = float(np.mean(texts.truth[known] != texts.labels[known]))
                measured.append(["", "accepted_wrong_ratio", wrong])
            place.parent.mkdir(parents=True, exist_ok=True)
            write_whole(place, json.dumps(measured))
        for who, use, value in json.loads(place.read_text(encoding="utf-8")):
            found[writer, who, use] = value
    return found


def _hash(draw: Draw, texts: Texts, *, with_filters: bool) -> str:
    """Of everything that decides what is measured: the rows, the texts, and the code."""
    digest = sha256(f"{_hash_code(with_filters=with_filters)} {texts.writer}".encode())
    for rows in (draw.own, draw.test):
        digest.update(repr([*zip(rows.texts.tolist(), rows.labels.tolist(), strict=True)]).encode())
        digest.update(rows.zero_shot.tobytes())
    columns = (texts.texts, texts.labels, texts.truth, texts.parents)
    digest.update(repr([*zip(*(column.tolist() for column in columns), strict=True)]).encode())
    digest.update(draw.folds.tobytes())
    return digest.hexdigest()[:32]


@cache
def _hash_code(*, with_filters: bool) -> str:
    digest = sha256(Path(__file__).read_bytes())
    folders = ("students", "core", "filters", "scorers", "runs", "tasks")[: 6 if with_filters else 1]
    for path in sorted(
        path for folder in folders for path in (Path(counterpoise.__file__).parent / folder).rglob("*")
    ):
        if path.suffix in (".py", ".csv"):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def prepare_ground(bank: Bank, draw: Draw, seed: int, words: KeptWords) -> Ground:
    """Students for a draw, and the simple ways on it."""
    students = keep_students(choose_students(("default",), "minilm"), words)
    ways = [way for way in TREATMENTS.choose(["default"]) if not way.uses_pool]
    with threadpool_limits(1):
        scores = score_arms(draw.own, draw.folds, draw.n_labels, students, ways)
    return Ground(
        bank, draw, seed, students, ways, scores, parse_evidence(read_shipped(), list_kin(bank.name))
    )


def measure_uses(ground: Ground, texts: Texts) -> dict[tuple[str, str], float]:
    """(student, use) -> macro-F1 with some texts; with none, all uses are the simple way."""
    draw, students, ways, scores = ground.draw, ground.students, ground.ways, ground.scores
    counts = np.bincount(draw.own.labels, minlength=draw.n_labels)
    simple = choose_best(scores, "macro_f1", ways, counts, ground.evidence)
    used: dict[str, dict[str, Treatment]] = {"simple": simple}
    rows = ground.bank.join(draw, texts)[0]
    found: dict[tuple[str, str], float] = {}
    with threadpool_limits(1):
        if len(texts):
            folds = assign_own_folds(rows)
            made_of = mark_made(rows, folds)
            mixtures = {student.name: find_mixture(student, simple[student.name]) for student in students}
            mixed: list[ArmScore] = []
            helped: dict[str, bool] = {}
            own, origins = rows.original, [texts.writer] * len(texts)
            for student in students:
                mixture = mixtures[student.name]
                parts = mixture.list_parts(student, rows)
                scored = predict_out_of_fold(
                    rows, folds, draw.n_labels, [student], [*parts, mixture], made_of
                )
                said = {name: table[own] for (name, _), table in scored.items()}
                mixed += score_predictions(
                    {(mixture.name, student.name): said[mixture.name]}, rows.labels[own], draw.n_labels
                )
                helped |= list_helped(measure_origins(student, mixture, rows, origins, folds, made_of, said))
            used["recommended"] = recommend(
                scores, mixed, "macro_f1", counts, ways, mixtures, ground.evidence, helped
            )
            used["before"] = {student.name: AVERAGED for student in students}
        for student in students:
            mine = {use: chosen[student.name] for use, chosen in used.items()}
            tables = predict_by_treatments(
                mine.values(), student, rows, draw.test, draw.n_labels, ground.seed
            )
            answers = dict.fromkeys(USES, tables[mine["simple"].name])
            answers |= {use: tables[way.name] for use, way in mine.items()}
            if len(texts):
                answers["plain"] = fit_adjusted(student, rows, draw.test, draw.n_labels)
            for use, table in answers.items():
                found[student.name, use] = compute_macro_f1(
                    table.argmax(axis=1), draw.test.labels, draw.n_labels
                )
    return found


def summarise(name: str, sets: Sequence[Scores]) -> Iterator[Result]:
    """Lines of one set, or means over several: draws are resampled within each."""
    pairs = dict.fromkeys((writer, who) for scores in sets for writer, who, _ in scores)
    for writer, student in pairs:
        if student:
            yield from _describe(
                name, writer, student, [one for one in sets if (writer, student, "simple") in one]
            )
    for writer in dict.fromkeys(writer for writer, _ in pairs):
        for ratio in RATIOS:
            values = [one[writer, "", ratio] for one in sets if (writer, "", ratio) in one]
            if values:
                drawn = np.mean([resample_means(one, seed=place) for place, one in enumerate(values)], axis=0)
                mean = float(np.mean([np.mean(one) for one in values]))
                yield Result("writers", name, writer, ratio, mean, *interval(drawn), len(values[0]))


def _describe(name: str, writer: str, student: str, sets: Sequence[Scores]) -> Iterator[Result]:
    """One writer with one student."""
    data, key = f"{name}/{student}", (writer, student)

    def draw(use: str) -> Floats:
        parts = [resample_means(one[*key, use], seed=place) for place, one in enumerate(sets)]
        return np.asarray(np.mean(parts, axis=0))

    means = {use: float(np.mean([np.mean(one[*key, use]) for one in sets])) for use in USES}
    best, n = max(USES, key=means.__getitem__), len(sets[0][*key, "simple"])
    for use, taken in (*((use, use) for use in USES), ("hindsight", best)):
        extra = {"use": best} if use == "hindsight" else {}
        yield Result("writers", data, writer, use, means[taken], *interval(draw(taken)), n, extra=extra)
    for metric, one, other in (
        ("shortfall_points", best, "recommended"),
        ("gain_points", "recommended", "simple"),
        ("over_before_points", "recommended", "before"),
    ):
        drawn, value = 100 * (draw(one) - draw(other)), 100 * (means[one] - means[other])
        yield Result("writers", data, writer, metric, value, *interval(drawn), n, "points")
