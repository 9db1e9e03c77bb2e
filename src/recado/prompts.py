"""The prompts: one Markdown file per task of the model, filled in with Jinja2."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

_environment = Environment(undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True)  # noqa: S701 - Markdown
_environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt, filled in. `id` names the file and its content: `customer@0123456789ab`."""

    id: str
    text: str


@lru_cache
def _load(task: str) -> tuple[str, Template]:
    source = files("prompts").joinpath(f"{task}.md").read_text(encoding="utf-8")
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    return f"{task}@{digest}", _environment.from_string(source)


def render(task: str, **variables: Any) -> Prompt:
    """The prompt of a task. Raises jinja2.UndefinedError for a variable that is missing."""
    prompt_id, template = _load(task)
    return Prompt(prompt_id, template.render(variables).strip())
