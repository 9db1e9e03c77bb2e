"""Applying merchants from YAML: idempotent, all or nothing, and strict about what it reads."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from yaml.constructor import ConstructorError

from recado.clock import Clock
from recado.db.models import YAML_SOURCE, Document, Merchant, MerchantUser
from recado.errors import ConfigurationError
from recado.merchants.channels import apply_channels, change, check_sharing
from recado.merchants.schemas import CheckTemplate, DocumentSpec, MerchantsFile, MerchantSpec
from recado.text import searchable

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
MAX_DEPTH = 20
"""How deeply a file may be nested, so that one that contains itself comes to an end."""


@dataclass
class Applied:
    """What an `apply` changed, one line each, and the merchants that the file names."""

    lines: list[str] = field(default_factory=list)
    merchants: list[Merchant] = field(default_factory=list)


class _Loader(yaml.SafeLoader):
    """The safe loader, strict about double keys and sure of the line of whatever it cannot read."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The value of a node. Raises ConstructorError."""
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in seen:
                    raise ConstructorError(None, None, f"the key {key.value!r} stands here twice", key.start_mark)
                seen.add(str(key.value))
        try:
            return super().construct_object(node, deep)
        except ValueError as error:  # such as a date that does not exist
            raise ConstructorError(None, None, str(error), node.start_mark) from error


def read_merchants(path: Path, check_template: CheckTemplate) -> MerchantsFile:
    """Read and check a YAML file; `check_template` knows which texts suit a template.

    Raises ConfigurationError, each problem with its line and reason.
    """
    root, data = _load(path)
    try:
        return MerchantsFile.model_validate(_fill(data, root, (), path), context=check_template)
    except ValidationError as error:
        problems = [
            f"{path}:{_line(root, found['loc'])}: {'.'.join(map(str, found['loc'])) or 'file'}: {found['msg']}"
            for found in error.errors()
        ]
        raise ConfigurationError("\n".join(problems)) from None


def _load(path: Path) -> tuple[yaml.Node | None, Any]:
    """The file's nodes, which know their lines, and its values."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        text = raw.decode("utf-8-sig")
        loader = _Loader(text)
        root = loader.get_single_node()
        return root, loader.construct_document(root) if root else None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path}:{line}: is no UTF-8 text: {error.reason}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigurationError(
            f"{path}:{line}: character {error.character:#x} is not allowed: {error.reason}"
        ) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigurationError(f"{path}:{line}: {error.problem}") from error
    except RecursionError as error:
        raise ConfigurationError(f"{path}:1: is nested too deeply") from error


def _fill(value: Any, root: yaml.Node | None, place: tuple[Any, ...], path: Path) -> Any:
    """Put environment variables where the file says `${NAME}`. `place` is where in the file `value` stands."""
    if len(place) > MAX_DEPTH:
        raise ConfigurationError(f"{path}:{_line(root, place)}: is nested too deeply")
    if isinstance(value, dict):
        return {key: _fill(inner, root, (*place, key), path) for key, inner in value.items()}
    if isinstance(value, list):
        return [_fill(inner, root, (*place, number), path) for number, inner in enumerate(value)]
    if not isinstance(value, str):
        return value
    missing = [name for name in _VARIABLE.findall(value) if name not in os.environ]
    if missing:
        raise ConfigurationError(
            f"{path}:{_line(root, place)}: set the environment variable {missing[0]}: the file refers to it"
        )
    return _VARIABLE.sub(lambda match: os.environ[match[1]], value)


def _line(node: yaml.Node | None, location: tuple[Any, ...]) -> int:
    """The line of the file that a validation error's location points to, as near as the file has it."""
    line = 1
    for step in location:
        found: tuple[yaml.Node, yaml.Node] | None = None
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(step)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            found = (node.value[step], node.value[step])
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line


async def apply_merchants(session: AsyncSession, clock: Clock, file: MerchantsFile) -> Applied:
    """Make the database say what the file says. What the file no longer names is deactivated (accounts, staff) or
    removed (documents that came from a file); answered questions stay. Raises ConfigurationError.
    """
    applied = Applied()
    for spec in file.merchants:
        merchant = await _apply_merchant(session, clock, spec, applied)
        applied.merchants.append(merchant)
        applied.lines += await apply_channels(session, clock, merchant, spec)
        await _apply_staff(session, merchant, spec, applied)
        await _apply_documents(session, clock, merchant, spec.documents, applied)
    await session.flush()
    for kind, address in sorted({(each.kind, each.address) for spec in file.merchants for each in spec.channels}):
        await check_sharing(session, kind, address)
    return applied


async def _apply_merchant(session: AsyncSession, clock: Clock, spec: MerchantSpec, applied: Applied) -> Merchant:
    values = spec.model_dump(
        include={
            "name",
            "local_id",
            "bot_id",
            "language",
            "timezone",
            "reminder_minutes",
            "escalation_minutes",
        }
    ) | {"template_texts": spec.templates or None}
    merchant = await session.scalar(select(Merchant).where(Merchant.sub_domain == spec.sub_domain))
    if merchant is None:
        merchant = Merchant(sub_domain=spec.sub_domain, created_at=clock.now(), **values)
        session.add(merchant)
        await session.flush()
        applied.lines.append(f"merchant {spec.sub_domain}: created")
    elif change(merchant, values):
        applied.lines.append(f"merchant {spec.sub_domain}: changed")
    return merchant


async def _apply_staff(session: AsyncSession, merchant: Merchant, spec: MerchantSpec, applied: Applied) -> None:
    query = select(MerchantUser).where(MerchantUser.merchant_id == merchant.id)
    present = {row.phone: row for row in await session.scalars(query)}
    for person in spec.staff:
        values = {"name": person.name, "types": person.types, "active": True}
        row = present.pop(person.phone, None)
        if row is None:
            session.add(MerchantUser(merchant_id=merchant.id, phone=person.phone, **values))
            applied.lines.append(f"staff {person.name}: created")
        elif change(row, values):
            applied.lines.append(f"staff {person.name}: changed")
    for row in present.values():
        if change(row, {"active": False}):
            applied.lines.append(f"staff {row.name}: deactivated")


async def _apply_documents(
    session: AsyncSession, clock: Clock, merchant: Merchant, specs: list[DocumentSpec], applied: Applied
) -> None:
    query = select(Document).where(Document.merchant_id == merchant.id, Document.source == YAML_SOURCE)
    present = {row.key: row for row in await session.scalars(query)}
    for spec in specs:
        key = f"{YAML_SOURCE}:{spec.category}:{spec.title}"
        row = present.pop(key, None)
        values = {
            "title": spec.title,
            "content": spec.content,
            "search_text": searchable(spec.title, spec.content),
        }
        if row is None:
            now = clock.now()
            session.add(
                Document(
                    merchant_id=merchant.id,
                    key=key,
                    category=spec.category,
                    source=YAML_SOURCE,
                    created_at=now,
                    updated_at=now,
                    **values,
                )
            )
            applied.lines.append(f"document {spec.title}: created")
        elif change(row, values):
            row.updated_at = clock.now()
            row.embedded_with = None  # the vector is of another text
            applied.lines.append(f"document {spec.title}: changed")
    if present:
        gone = [row.id for row in present.values()]
        await session.execute(delete(Document).where(Document.merchant_id == merchant.id, Document.id.in_(gone)))
        applied.lines.extend(f"document {row.title}: removed" for row in present.values())
