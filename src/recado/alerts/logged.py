"""Alerts in the log, which is always there."""

import structlog

from recado.alerts.conditions import SeverityLevel
from recado.alerts.notice import Notice
from recado.alerts.wording import title_of
from recado.text import mask_phone, mask_phones

log = structlog.get_logger(__name__)


class LogChannel:
    """Tells the log: one line for each notice. Phone numbers are masked, a person's name is left out."""

    name = "log"

    async def send(self, notice: Notice) -> None:
        """Tell it."""
        known = {
            "conversation_id": notice.conversation_id,
            "store": notice.store_name,
            "phone": mask_phone(notice.customer.phone) if notice.customer.phone else None,
            "conversations": notice.spread[0] if notice.spread else None,
            "merchants": notice.spread[1] if notice.spread else None,
            "trace": notice.trace_url,
            "issue": notice.linear_identifier,
        }
        tell = {SeverityLevel.INFO: log.info, SeverityLevel.WARNING: log.warning}.get(notice.severity, log.error)
        tell(
            "alert told",
            kind=notice.kind,
            condition=notice.condition,
            title=mask_phones(title_of(notice)),
            description=mask_phones(notice.description),
            count=notice.count,
            first_at=notice.at.isoformat(),
            ids=dict(notice.ids),
            **{name: value for name, value in known.items() if value is not None},
        )

    async def close(self) -> None:
        """There is nothing to let go of."""
