"""What a run says at its end: one headline, and one thing to do with one number and its code.

Which way a run recommends was chosen on inner validation, before the sealed rows were opened (the arm *counterpoise*).
The sealed rows choose nothing; they may only speak against it: what is not measurably better there than the simple way
that was chosen is no reason to train on added records, and where the data as it is does measurably better, it stays so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from counterpoise.report.pages import format_decimal, format_name, format_signed
from counterpoise.report.schema import Interval, Recommendation
from counterpoise.students.held_out import HeldOutScore, MeanInterval
from counterpoise.students.treatments import MIXTURES, OWN_WAYS

METRIC_NAMES = {"macro_f1": "macro-F1", "auroc": "AUROC"}
_STUDENT_NAMES = {
    "minilm_lr": "logistic regression on sentence vectors",
    "tfidf_lr": "logistic regression on words",
}
_NOTHING = "doing nothing"
_ACTIONS = {
    "nothing": "Train {student} on your rows as they are",
    "embedding_zero_shot": "Give each text the label whose description is nearest to its vector; train nothing",
    "added_rows": "Train {student} on the result, with its `weight` column and the logits adjusted by the label shares",
    "averaged": "Train {student} on the result and once more on your own rows alone, and average the two",
}


@dataclass(frozen=True, slots=True)
class AddedRecords:
    """Accepted records by kind, and what they cost.

    Args:
        adopted: from the pool.
        written: by a model.
        proposed: proposals, refused ones included.
        reason: the most common reason of a refusal, "" where none was refused.
        tokens: used by the run.
    """

    adopted: int = 0
    written: int = 0
    proposed: int = 0
    reason: str = ""
    tokens: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.adopted + self.written

    def __str__(self) -> str:
        """`163 adopted and 84 written records`, `90 written records`."""
        named = [f"{count:,} {kind}" for kind in ("adopted", "written") if (count := getattr(self, kind))]
        return f"{' and '.join(named)} record{'s' if self.total != 1 else ''}"


@dataclass(frozen=True, slots=True)
class Choice:
    """What to do: a way of training one student.

    Args:
        arm: of the held-out table.
        student: of the held-out table.
        way: name of `students.ARMS` or `students.MIXTURES`.
        baseline: the best way without tokens for this student, on inner validation.
        row: its line of the held-out table.
    """

    arm: str
    student: str
    way: str
    baseline: str
    row: HeldOutScore

    @property
    def uses_added(self) -> bool:
        """Whether it trains on the added records."""
        return self.way in MIXTURES or self.way in OWN_WAYS


def choose(
    metric: str,
    table: Sequence[HeldOutScore],
    best: Mapping[str, str],
    chosen: Mapping[str, str],
    levels: Mapping[str, float],
) -> Choice:
    """The arm and student to recommend.

    Args:
        metric: what counts.
        table: the held-out table.
        best: student -> the best way without tokens on inner validation.
        chosen: student -> the way that the run recommends.
        levels: student -> what that best way scored on inner validation.
    """
    choices = {student: _choose_arm(metric, table, student, best[student], chosen) for student in best}
    # Of equals the first: sealed rows of one label have no AUROC, and so may a fold of inner validation.
    student = max(best, key=lambda name: levels[name] if levels[name] == levels[name] else -1.0)
    return choices[student]


def _choose_arm(
    metric: str, table: Sequence[HeldOutScore], student: str, simple: str, chosen: Mapping[str, str]
) -> Choice:
    """The simple way of a student, or what is measurably better: the run's own way, or the data as it is."""
    rows = {row.arm: row for row in table if row.student == student}
    arm = simple
    for other in ("nothing", "counterpoise"):
        way = chosen[student] if other == "counterpoise" else other
        may_win = other == "nothing" or way in MIXTURES or way in OWN_WAYS
        difference = rows[other].differences[metric] if other in rows else None
        gained = 0.0 if arm == simple else rows[arm].differences[metric].mean
        if may_win and difference is not None and difference.low > 0 and difference.mean > gained:
            arm = other
    way = chosen[student] if arm == "counterpoise" else arm
    return Choice(arm, student, way, simple, rows[arm])


def describe_action(choice: Choice, metric: str, added: AddedRecords) -> str:
    """One sentence: what to train on what, and one number with its interval."""
    name, student = METRIC_NAMES[metric], _STUDENT_NAMES.get(choice.student, choice.student)
    plain = choice.way.removesuffix("_prior")
    what = _ACTIONS.get(plain, f"Use {format_name(choice.way)} with {{student}}").format(student=student)
    if choice.way in ("averaged_prior", "added_rows_prior"):
        what += ", each with nearness to the labels' descriptions as a prior"
    if choice.uses_added:
        number = _write(choice.row.differences[metric], signed=True)
        return (
            f"{what}: {number} {name} over {format_name(choice.baseline)}, the best way without tokens, "
            "on the sealed rows."
        )
    idle = "; the added records do not improve on it" if added.total else ""
    return f"{what}: {name} {_write(choice.row.values[metric])} on the sealed rows{idle}."


def write_headline(choice: Choice, metric: str, table: Sequence[HeldOutScore], added: AddedRecords) -> str:
    """One honest sentence on what adding records was worth, and which of them helped.

    Gains count from the best way that costs no token, and only where the interval of the paired difference excludes
    zero.
    """
    name = METRIC_NAMES[metric]
    simple = _NOTHING if choice.arm == "nothing" else format_name(choice.arm)
    if not added.total:
        return _say_nothing_added(added, simple)
    found = {(row.arm, row.student): row.differences[metric] for row in table}
    if choice.uses_added:
        return _say_gain(choice, name, found, added)
    ours = {student: value for (arm, student), value in found.items() if arm == "added_rows"}
    better = [student for student, value in ours.items() if value.low > 0]
    worse = [student for student, value in ours.items() if value.high < 0]
    if better and worse:
        return (
            f"The {added} help {' and '.join(better)} and harm {' and '.join(worse)}: {simple} for {choice.student} "
            "is the choice, and costs no token"
        )
    if better:
        return (
            f"{added} raised {name} for {' and '.join(better)}, but {simple} for {choice.student} is the choice, "
            "and costs no token"
        )
    if worse:
        return f"Do not train on the {added}: {simple} is better, and costs no token"
    return f"{added} made no measurable difference in {name}: {simple} is as good"


def describe_recommendation(choice: Choice, code: str) -> Recommendation:
    """The recommendation with its figures and the code that does it."""
    values = {name: make_interval(value) for name, value in choice.row.values.items()}
    differences = {name: make_interval(value) for name, value in choice.row.differences.items()}
    return Recommendation(
        arm=choice.arm,
        student=choice.student,
        way=choice.way,
        uses_added=choice.uses_added,
        baseline=choice.baseline,
        macro_f1=values.get("macro_f1"),
        macro_f1_difference=differences.get("macro_f1"),
        auroc=values.get("auroc"),
        auroc_difference=differences.get("auroc"),
        code=code,
    )


def _say_nothing_added(added: AddedRecords, simple: str) -> str:
    best = "the best way that costs no token"
    use = f"{simple} is {best}" if simple == _NOTHING else f"use {simple}, {best}"
    if not added.tokens:
        return f"No record was added: {use}"
    why = f"all {added.proposed:,} proposals were refused, most as {format_name(added.reason)}"
    spent = f"{added.tokens:,} tokens were spent and no record was added"
    return f"{spent}: {why}; {use}" if added.reason else f"{spent}: {use}"


def _say_gain(
    choice: Choice, name: str, found: Mapping[tuple[str, str], MeanInterval], added: AddedRecords
) -> str:
    beyond = f"raised {name} beyond the best way that costs no token"
    students = {student: value for (arm, student), value in found.items() if arm == "counterpoise"}
    others = {student: value for student, value in students.items() if student != choice.student}
    whom = ""
    if not all(value.low > 0 for value in others.values()):
        harmed = [student for student, value in others.items() if value.high < 0]
        whom = f" for {choice.student}, " + (
            f"and lowered it for {' and '.join(harmed)}"
            if harmed
            else "with no measurable difference for the other student"
        )
    parts = {kind: found.get((kind, choice.student)) for kind in ("adopted", "written")}
    if any(part is None for part in parts.values()):
        return f"{added} {beyond}{whom}"
    helped = [kind for kind, part in parts.items() if part is not None and part.low > 0]
    if len(helped) == 1:
        other = "written" if helped == ["adopted"] else "adopted"
        part = parts[other]
        does = "lowered it" if part is not None and part.high < 0 else "made no measurable difference"
        return (
            f"{getattr(added, helped[0]):,} {helped[0]} records {beyond}{whom}; "
            f"the {getattr(added, other):,} {other} ones alone {does}"
        )
    return f"{added} {'each' if helped else 'together'} {beyond}{whom}"


def _write(value: MeanInterval, *, signed: bool = False) -> str:
    write = format_signed if signed else format_decimal
    return f"{write(value.mean)} ({write(value.low)} to {write(value.high)})"


def make_interval(value: MeanInterval) -> Interval:
    """An estimate as the report has it."""
    return Interval(value.mean, value.low, value.high)
