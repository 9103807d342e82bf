"""Patches: made for a table, broken or not, applied and taken back; an undo gives the old bytes or says why not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from counterpoise.core.schema import TextClassification
from counterpoise.data.column_values import read_labels
from counterpoise.data.patches.values import LabelChange, LabelOutcome, Patch, write_patch
from counterpoise.data.reading import load_table, make_ids
from tests.fuzz.common import Ended, Source, break_bytes, call, dump_json, pack
from tests.fuzz.readers import SUFFIXES, make_rows, write_table


def fuzz_patches(source: Source, folder: Path) -> Iterator[Ended]:
    """A table, a patch of some of its rows, `apply`, perhaps a damage to what lies there, `undo`."""
    suffix = source.choice([suffix for suffix in SUFFIXES if suffix != ".json"])
    content = write_table(source, make_rows(source), suffix)
    if source.is_hit(0.3):
        content = break_bytes(source, content)
    is_packed = source.is_hit(0.2)
    data = folder / ("data" + suffix + (".gz" if is_packed else ""))
    data.write_bytes(pack(source, content) if is_packed else content)
    before = data.read_bytes()
    task = TextClassification(("text",), "label")
    changes: list[LabelChange] = []
    try:
        table = load_table(str(data), task=task)
        labels = [str(label or "") for label in read_labels(table, "label", "data")]
        spelled = sorted(set(labels)) or [""]
        for identity, label in zip(make_ids(table), labels, strict=True):
            if source.is_hit(0.4):
                after = source.choice((*spelled, "0", "1", "new", source.pick_string()))
                outcome = source.choice(list(LabelOutcome))
                if outcome is LabelOutcome.RELABEL and after in ("", label):
                    continue
                changes.append(LabelChange(str(identity), outcome, label, after, 0.9, "reason", "text"))
    except Exception:
        changes = [LabelChange("0" * 20, LabelOutcome.RELABEL, "good", "bad", 0.9)]
    patch = folder / "patch.jsonl"
    write_patch(patch, Patch(task, str(data), len(changes), tuple(changes)))
    if source.is_hit(0.3):
        lines = patch.read_text(encoding="utf-8").splitlines()
        place = source.randrange(len(lines))
        row = json.loads(lines[place])
        row[source.choice(list(row))] = source.pick_value()
        lines[place] = dump_json(source, row)
        patch.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    if source.is_hit(0.1):
        patch.write_bytes(break_bytes(source, patch.read_bytes()))
    if source.is_hit(0.1):
        yield call("diff", patch)
    output = folder / ("out" + suffix + (".gz" if is_packed else ""))
    ended = call("apply", patch, data, "--output", output)
    yield ended
    assert data.read_bytes() == before, "apply changed the file it was given"
    left = {path.name for path in folder.iterdir()}
    assert not {name for name in left if name.startswith(".")}, f"apply left {left}"
    if ended.code:
        assert not output.exists(), "apply failed and left an output"
        return
    receipt = folder / f"{output.name}.undo"
    is_damaged = source.is_hit(0.25)
    if is_damaged:
        target = source.choice((receipt, output))
        if target.exists():
            target.write_bytes(break_bytes(source, target.read_bytes()))
    back = folder / ("back" + suffix + (".gz" if is_packed else ""))
    undone = call("undo", output, "--output", back)
    yield undone
    if not is_damaged:
        assert undone.code == 0, f"undo ended with {undone.code}: {undone.said}"
        assert back.read_bytes() == before, "undo does not give the old bytes"
