"""Settings → adapters → services → compiled graphs → jobs. The only place that knows how everything fits."""

from recado.bootstrap.handlers import EMBEDDED_QUEUE, GRACE_SECONDS, make_handlers, open_worker
from recado.bootstrap.services import Services, connect, make_services

__all__ = [
    "EMBEDDED_QUEUE",
    "GRACE_SECONDS",
    "Services",
    "connect",
    "make_handlers",
    "make_services",
    "open_worker",
]
