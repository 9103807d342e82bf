"""The way to a model: requests, the client, the reply store, the budget, engines and servers."""

from __future__ import annotations

from counterpoise.llm.batches import answer_most, name_failure
from counterpoise.llm.budget import BudgetSpent, Spend, ThoughtsUnpaid, TokenBudget
from counterpoise.llm.chat import ChatRequest, Completion, Engine, Message, Sampling, Usage
from counterpoise.llm.client import ChatClient, RequestOutcome
from counterpoise.llm.engines.scripted import ScriptedChatClient
from counterpoise.llm.models import Models
from counterpoise.llm.reply_store import ReplyStore
from counterpoise.llm.retries import RetryPolicy

__all__ = [
    "BudgetSpent",
    "ChatClient",
    "ChatRequest",
    "Completion",
    "Engine",
    "Message",
    "Models",
    "ReplyStore",
    "RequestOutcome",
    "RetryPolicy",
    "Sampling",
    "ScriptedChatClient",
    "Spend",
    "ThoughtsUnpaid",
    "TokenBudget",
    "Usage",
    "answer_most",
    "name_failure",
]
