"""What a customer may be about: the vocabulary that the agent, the graphs and the conversation API share."""

from typing import Literal, get_args

from typing_extensions import TypedDict  # Pydantic, and so Studio's schemas, need this one before Python 3.12

Intent = Literal["menu", "order", "support", "info", "payment", "delivery", "idle"]
INTENTS: tuple[Intent, ...] = get_args(Intent)
"""The conversation API knows these alone: it saves nothing of a state with any other."""

WAITING_FOR_TEAM, ANSWERED = "waiting_for_team", "answered"
"""The steps of somebody who asked something: until the answer is there, and then."""


class Progress(TypedDict):
    """Where a person stands: what they are about, and how far they have come with it (`waiting_for_team`).

    None: that is not known.
    """

    intent: Intent | None
    step: str | None
