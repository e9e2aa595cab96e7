"""One line a request, with its id."""

import logging
from contextvars import ContextVar

from .errors import Unexpected

log = logging.getLogger("backend")
request_id: ContextVar[str] = ContextVar("request_id", default="-")


class OneLine(logging.Formatter):
    """Time, level, request and message; a traceback goes into the same line."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(request_id)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The line for a record."""
        record.request_id = request_id.get()
        return "".join(
            mark if mark.isprintable() else mark.encode("unicode_escape").decode()
            for mark in super().format(record).strip()
        )


def configure() -> None:
    """Send the service's log to stderr. Idempotent."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine())
    log.handlers = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False


def unexpected(traceback: str) -> Unexpected:
    """Log a fault; its client learns the id to look for."""
    log.error("%s", traceback)
    return Unexpected(
        f"unexpected error: look for {request_id.get()} in `docker compose logs backend`"
    )
