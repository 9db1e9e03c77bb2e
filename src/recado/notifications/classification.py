"""Whose business a support request is: said by the model, once for each reason and each state of the documents."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from recado.documents.service import SUPPORT_CLASSIFICATION
from recado.notifications.base import NotificationBase
from recado.notifications.recipients import ADMIN
from recado.notifications.schemas import Classification, SupportClassificationOutput
from recado.text import clean_text, comparable, shorten

TASK = "classify"
MAX_DOCUMENTS = 100
MAX_DESCRIPTION = 1_000
MAX_TYPE = 60

BASE_CLASSIFICATION = Classification(support_request_type="Admin", target_merchant_users=[ADMIN])
"""What holds without documents, and when the model fails: the admins look at everything that is nobody's."""


@dataclass(frozen=True, slots=True)
class ToClassify:
    """A reason with what it is classified against. `known`: what came of it before; then no model is needed."""

    reason_hash: str
    documents_hash: str
    user_types: Sequence[str]
    classifications: str
    known: Classification | None


class Classifying(NotificationBase):
    """Looks up what a support request is classified against, and keeps what came of it."""

    async def to_classify(self, reason: str) -> ToClassify:
        """The merchant's classification documents and what was said of this reason before, in one query."""
        reason_hash = _hash(comparable(reason))
        documents, cached = await self._requests.classifications(SUPPORT_CLASSIFICATION, reason_hash, MAX_DOCUMENTS)
        documents_hash = _hash(json.dumps(documents))
        known = None
        if not documents:
            known = BASE_CLASSIFICATION
        elif cached is not None and cached.documents_hash == documents_hash:
            known = _classification(cached.target_user_type, cached.support_request_type)
        return ToClassify(
            reason_hash=reason_hash,
            documents_hash=documents_hash,
            user_types=[title.strip() for title, _ in documents],
            classifications=_for_the_model(documents),
            known=known,
        )

    async def keep_classification(self, asked: ToClassify, said: SupportClassificationOutput) -> Classification:
        """Keep what the model said, as far as it is usable."""
        target = user_type_of(said, asked.user_types)
        readable = clean_text(said.support_request_type or "").strip()
        readable = shorten(" ".join(readable.split()) or readable_type(target), MAX_TYPE)
        await self._requests.keep_classification(
            asked.reason_hash,
            documents_hash=asked.documents_hash,
            target_user_type=target,
            support_request_type=readable,
            created_at=self._clock.now(),
        )
        return _classification(target, readable)


def user_type_of(said: SupportClassificationOutput, user_types: Sequence[str]) -> str | None:
    """The type that the model named, when it is one of those that it was offered. Anything else counts as none."""
    wanted = comparable(clean_text(said.target_user_type or ""))
    return next((name for name in user_types if wanted and comparable(name) == wanted), None)


def readable_type(user_type: str | None) -> str:
    """A type of staff as people read it: `order_returns` is "Order returns"."""
    name = " ".join((user_type or "").replace("_", " ").split())
    return name[:1].upper() + name[1:] or BASE_CLASSIFICATION["support_request_type"]


def _classification(target: str | None, readable: str | None) -> Classification:
    return Classification(
        support_request_type=readable or readable_type(target), target_merchant_users=[target] if target else []
    )


def _for_the_model(documents: Sequence[tuple[str, str]]) -> str:
    """The documents as the prompt lists them, each of the two on one line."""
    listed = [
        f"User type: {' '.join(title.split())}\nType description: {shorten(' '.join(content.split()), MAX_DESCRIPTION)}"
        for title, content in documents
    ]
    return "\n\n".join(listed)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
