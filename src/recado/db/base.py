"""The declarative base and the column types that behave alike on SQLite and PostgreSQL."""

import base64
import hashlib
import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import JSON, DateTime, LargeBinary, MetaData
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

from recado.errors import ConfigurationError
from recado.settings import get_settings


class Base(DeclarativeBase):
    """All tables. Constraint names are fixed, so that migrations can name them on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {dict[str, Any]: JSON, list[str]: JSON, list[dict[str, Any]]: JSON}  # noqa: RUF012


class UtcDateTime(TypeDecorator[datetime]):
    """A timezone-aware datetime, in UTC whichever database holds it. Refuses a naive one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime cannot be stored: give it a timezone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


@lru_cache(maxsize=4)
def _fernet(secret: str) -> Fernet:
    # A fixed salt is fine: the secret is a random key, not a person's password.
    key = hashlib.scrypt(secret.encode(), salt=b"recado credentials", n=2**14, r=8, p=1, dklen=32)
    return Fernet(base64.urlsafe_b64encode(key))


class EncryptedJSON(TypeDecorator[dict[str, Any]]):
    """A JSON object that is encrypted at rest with `SECRET_KEY`."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: dict[str, Any] | None, dialect: Dialect) -> bytes | None:
        if value is None:
            return None
        return _fernet(get_settings().secret_key).encrypt(json.dumps(value).encode())

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> dict[str, Any] | None:
        if value is None:
            return None
        try:
            plain = _fernet(get_settings().secret_key).decrypt(value)
        except InvalidToken:
            raise ConfigurationError(
                "stored credentials cannot be read with this SECRET_KEY; set the one they were stored with, "
                "or run `recado apply` again"
            ) from None
        return dict(json.loads(plain))
