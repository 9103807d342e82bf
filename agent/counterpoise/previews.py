"""What a run would do first, without asking a model anything."""

from __future__ import annotations

from typing import Any

from counterpoise.events import Listener
from counterpoise.job import Job
from counterpoise.llm import ChatClient, ChatRequest, ScriptedChatClient, TokenBudget
from counterpoise.loop import measure_simple_ways, open_workshop
from counterpoise.preparation import prepare
from counterpoise.records import Action, Capabilities
from counterpoise.rounds import Ledger, choose_demonstrations, list_deficits, plan_round
from counterpoise.trust import audit_free_scorers

_MOST_PROMPTS = 2


async def make_preview(job: Job, listener: Listener) -> dict[str, Any]:
    """The fields of `api.Preview`.

    Prompts are those for a model that continues texts; one that follows instructions is told the same in words.
    """
    inputs = prepare(job, listener)
    scores, best = measure_simple_ways(inputs, job.metric, listener)
    trust = audit_free_scorers(inputs)
    shop = open_workshop(job, inputs, trust)
    ledger = Ledger()
    chat = ChatClient(ScriptedChatClient(_refuse), budget=TokenBudget(job.budget.tokens))
    capabilities = Capabilities(model=job.llm.model or job.llm.engine)
    plan = plan_round(
        shop, ledger, chat, capabilities, round_number=1, n_rounds=job.rounds, limit=job.budget.tokens
    )
    prompts: list[str] = []
    for item in plan.items:
        if item.action is Action.MINORITY and len(prompts) < _MOST_PROMPTS:
            shown = choose_demonstrations(shop, item.cell)
            prompts.append(shop.generator.make_requests(item, shown, capabilities)[0].prompt)
    advice = [
        f"Without a token: {arm.replace('_', ' ')} is the best way for {student}."
        for student, arm in best.items()
    ]
    n_adopted = sum(item.count for item in plan.items if item.action is Action.ADOPT)
    if n_adopted:
        advice.append(f"{n_adopted} records of the pool would be adopted before anything is written.")
    elif not len(inputs.pool):
        advice.append("A pool of unlabelled records would help more than writing: name it under `pool`.")
    return {
        "arms": [
            {"arm": score.arm, "student": score.student, "macro_f1": score.macro_f1, "auroc": score.auroc}
            for score in scores
        ],
        "best": best,
        "deficits": list_deficits(shop, ledger),
        "plan": list(plan.items),
        "prompts": prompts,
        "estimated_tokens": sum(item.reserved_tokens for item in plan.items),
        "notes": list(inputs.notes),
        "advice": advice,
    }


def _refuse(request: ChatRequest, index: int) -> str:
    raise AssertionError("a preview asks no model")
