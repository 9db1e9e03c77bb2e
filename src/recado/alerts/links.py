"""Where an alert leads: the conversation, the logs of that minute, the trace. Each address is a setting."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from recado.settings import Settings

LOGS_AROUND = timedelta(seconds=30)
"""On both sides: the window is one minute."""

FindTrace = Callable[[str], Awaitable[str | None]]
"""The address of a trace, by its 32 hex digits. None: it has none, or it cannot be found now."""


async def no_trace(trace_id: str) -> str | None:
    """For where traces are not kept."""
    return None


@dataclass(frozen=True, slots=True)
class Links:
    """Builds them. `find_trace` is asked where no TRACE_URL is set."""

    settings: Settings
    find_trace: FindTrace = no_trace

    def conversation(self, conversation_id: int | str | None) -> str | None:
        """The conversation in the web app."""
        base = self.settings.webapp_base_url.rstrip("/")
        if not base or conversation_id in (None, ""):
            return None
        return base + self.settings.webapp_conversation_path.format(id=quote(str(conversation_id), safe=""))

    def logs(self, at: datetime) -> str | None:
        """Railway's logs of the minute around this moment. A naive one is taken for UTC.

        Railway documents no such link (docs.railway.com has its CLI's `--since` and `--until` only), so its form is a
        setting, RAILWAY_LOGS_URL.
        """
        settings, environment = self.settings, self._environment()
        if not settings.railway_project_id or not environment:
            return None
        moment = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
        places = {
            "project_id": settings.railway_project_id,
            "service_id": settings.railway_service_id,
            "environment_id": environment,
            "start": _iso(moment - LOGS_AROUND),
            "end": _iso(moment + LOGS_AROUND),
            "at": _iso(moment),
        }
        return settings.railway_logs_url.format(**{name: quote(value, safe="") for name, value in places.items()})

    async def trace(self, trace_id: str | None) -> str | None:
        """What was done and how long it took."""
        if trace_id is None:
            return None
        if self.settings.trace_url:
            return self.settings.trace_url.format(trace_id=trace_id)
        return await self.find_trace(trace_id)

    def _environment(self) -> str:
        """The id of the running environment: Railway's own variable, or by its name from the settings."""
        named = dict(pair.split("=", 1) for pair in self.settings.railway_environment_ids.split(",") if "=" in pair)
        by_name = {name.strip().lower(): found.strip() for name, found in named.items()}
        name = self.settings.railway_environment_name or self.settings.environment
        return self.settings.railway_environment_id or by_name.get(name.lower(), "")


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
