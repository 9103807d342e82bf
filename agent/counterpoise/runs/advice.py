"""What a run says at its end: one headline, and one thing to do with one number and its code.

Which way a run recommends was chosen on inner validation, before the sealed rows were opened (the arm *counterpoise*).
The sealed rows choose nothing; they may only speak against it: what is not measurably better there than the simple way
that was chosen is no reason to train on added records, and where the data as it is does measurably better, it stays so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from counterpoise.report.arm_words import ADOPTED, OURS, WITH_ADDED, WRITTEN
from counterpoise.report.pages import format_decimal, format_name, format_signed
from counterpoise.report.schema import Recommendation
from counterpoise.report.schema_values import Interval
from counterpoise.runs.simple_ways import SimpleWays
from counterpoise.students.base import Student, Treatment
from counterpoise.students.held_out import HeldOutScore, MeanInterval
from counterpoise.students.metrics import METRIC_NAMES
from counterpoise.students.treatments import NOTHING
from counterpoise.students.validation import choose_by_loss

_NOTHING = "doing nothing"


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
        student: who is trained.
        way: how.
        baseline: the best way without tokens for this student, on inner validation.
        row: its line of the held-out table.
    """

    arm: str
    student: Student
    way: Treatment
    baseline: Treatment
    row: HeldOutScore

    @property
    def uses_added(self) -> bool:
        """Whether it trains on the added records."""
        return self.way.uses_added


def choose(
    metric: str,
    table: Sequence[HeldOutScore],
    simple: SimpleWays,
    chosen: Mapping[str, Treatment],
) -> Choice:
    """The arm and student to recommend.

    Args:
        metric: what counts.
        table: the held-out table.
        simple: the ways without tokens on inner validation.
        chosen: student -> the way that the run recommends.
    """
    student = _choose_student(metric, simple)
    return _choose_arm(metric, table, student, simple.best[student.name], chosen[student.name])


def _choose_student(metric: str, simple: SimpleWays) -> Student:
    """The student whose best simple way is best on inner validation; of equals the first.

    By macro-F1 those within one standard error of the highest count as equals, and the least log-loss decides: as among
    ways, the figures of a dozen rows of a label are mostly noise.
    """
    best = {score.student: score for score in simple.scores if score.arm == simple.best[score.student].name}

    def measure(student: Student) -> float:
        level = float(getattr(best[student.name], metric))
        return level if level == level else -1.0  # a fold of one label has no AUROC

    students = sorted(
        (student for student in simple.students if student.name in best), key=measure, reverse=True
    )
    if metric != "macro_f1":
        return students[0]
    chosen = choose_by_loss([best[student.name] for student in students], simple.counts).student
    return next(student for student in students if student.name == chosen)


def _choose_arm(
    metric: str, table: Sequence[HeldOutScore], student: Student, simple: Treatment, chosen: Treatment
) -> Choice:
    """The simple way of a student, or what is measurably better: the run's own way, or the data as it is."""
    rows = {row.arm: row for row in table if row.student == student.name}
    ways = {simple.name: simple, NOTHING.name: NOTHING} | ({OURS: chosen} if chosen.uses_added else {})
    arm = simple.name
    for other in (NOTHING.name, OURS):
        difference = rows[other].differences[metric] if other in rows else None
        gained = 0.0 if arm == simple.name else rows[arm].differences[metric].mean
        if other in ways and difference is not None and difference.low > 0 and difference.mean > gained:
            arm = other
    return Choice(arm, student, ways[arm], simple, rows[arm])


def describe_action(choice: Choice, metric: str, added: AddedRecords) -> str:
    """One sentence: what to train on what, and one number with its interval."""
    name, way = METRIC_NAMES[metric], choice.way
    what = (way.advice or f"Use {format_name(way.name)} with {{student}}").format(
        student=choice.student.meaning
    )
    if choice.uses_added:
        number = _write(choice.row.differences[metric], signed=True)
        return (
            f"{what}: {number} {name} over {format_name(choice.baseline.name)}, the best way without tokens, "
            "on the sealed rows."
        )
    idle = "; the added records do not improve on it" if added.total else ""
    return f"{what}: {name} {_write(choice.row.values[metric])} on the sealed rows{idle}."


def write_headline(
    choice: Choice,
    metric: str,
    table: Sequence[HeldOutScore],
    added: AddedRecords,
    students: Sequence[Student],
) -> str:
    """One honest sentence on what adding records was worth, and which of them helped.

    Gains count from the best way that costs no token, and only where the interval of the paired difference excludes
    zero.

    Args:
        choice: what to do.
        metric: what counts.
        table: the held-out table.
        added: the accepted records.
        students: of the table.
    """
    name = METRIC_NAMES[metric]
    simple = _NOTHING if choice.way is NOTHING else format_name(choice.arm)
    if not added.total:
        return _say_nothing_added(added, simple)
    said = say_students(students)
    mine = said[choice.student.name]
    found = {(row.arm, row.student): row.differences[metric] for row in table}
    if choice.uses_added:
        return _say_gain(choice, name, found, added, said)
    ours = {student: value for (arm, student), value in found.items() if arm == WITH_ADDED}
    better = [said[student] for student, value in ours.items() if value.low > 0]
    worse = [said[student] for student, value in ours.items() if value.high < 0]
    if better and worse:
        return (
            f"The {added} help {' and '.join(better)} and harm {' and '.join(worse)}: {simple} for {mine} "
            "is the choice, and costs no token"
        )
    if better:
        return (
            f"{added} raised {name} for {' and '.join(better)}, but {simple} for {mine} is the choice, "
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
        student=choice.student.name,
        way=choice.way.name,
        uses_added=choice.uses_added,
        baseline=choice.baseline.name,
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
    choice: Choice,
    name: str,
    found: Mapping[tuple[str, str], MeanInterval],
    added: AddedRecords,
    said: Mapping[str, str],
) -> str:
    beyond = f"raised {name} beyond the best way that costs no token"
    mine = choice.student.name
    others = {student: value for (arm, student), value in found.items() if arm == OURS and student != mine}
    whom = ""
    if not all(value.low > 0 for value in others.values()):
        harmed = [said[student] for student, value in others.items() if value.high < 0]
        whom = f" for {said[mine]}, " + (
            f"and lowered it for {' and '.join(harmed)}"
            if harmed
            else "with no measurable difference for the other student"
            if len(others) == 1
            else "with no measurable difference for some of the others"
        )
    parts = {kind: found.get((kind, mine)) for kind in (ADOPTED, WRITTEN)}
    if any(part is None for part in parts.values()):
        return f"{added} {beyond}{whom}"
    helped = [kind for kind, part in parts.items() if part is not None and part.low > 0]
    if len(helped) == 1:
        other = WRITTEN if helped == [ADOPTED] else ADOPTED
        part = parts[other]
        does = "lowered it" if part is not None and part.high < 0 else "made no measurable difference"
        return (
            f"{getattr(added, helped[0]):,} {helped[0]} records {beyond}{whom}; "
            f"the {getattr(added, other):,} {other} ones alone {does}"
        )
    return f"{added} {'each' if helped else 'together'} {beyond}{whom}"


def say_students(students: Sequence[Student]) -> dict[str, str]:
    """Name of each student -> how sentences call it: by its meaning, by its name where two mean the same."""
    meanings = [student.meaning for student in students]
    return {
        student.name: student.meaning if meanings.count(student.meaning) == 1 else student.name
        for student in students
    }


def _write(value: MeanInterval, *, signed: bool = False) -> str:
    write = format_signed if signed else format_decimal
    return f"{write(value.mean)} ({write(value.low)} to {write(value.high)})"


def make_interval(value: MeanInterval) -> Interval:
    """An estimate as the report has it."""
    return Interval(value.mean, value.low, value.high)
