"""The documentation as one plain page, made from the OpenAPI document: no script and nothing loaded from
elsewhere, so that it is there in a laboratory without a public network, too."""

import json
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any, Final

from orchestrator.domain import DISCLAIMER, ModelIdentity
from orchestrator.edge.web.request_examples import request_examples

Document = Mapping[str, Any]

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
}

_FORM: Final = "multipart/form-data"

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8886; --soft: #8881; --mark: #0a6b6f; }
@media (prefers-color-scheme: dark) { :root { --mark: #5fd0d4; } }
body { background: Canvas; color: CanvasText; font: 16px/1.5 system-ui, sans-serif;
max-width: 62rem; margin: 0 auto; padding: 1.5rem; }
h1, h2, h3 { line-height: 1.2; }
h2 { margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: 1.5rem; }
code, pre { font: 0.875rem/1.5 ui-monospace, monospace; }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: 6px;
padding: 0.75rem; overflow: auto; }
h2 code { font-size: 1.25rem; color: var(--mark); }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; vertical-align: top;
padding: 0.35rem 0.75rem 0.35rem 0; border-bottom: 1px solid var(--line); }
.disclaimer { border-left: 4px solid var(--mark); padding: 0.5rem 0.75rem; background: var(--soft); }
nav li { padding: 0.125rem 0; } nav code { overflow-wrap: anywhere; }
a { color: var(--mark); } summary { cursor: pointer; padding: 0.25rem 0; }
"""


def render(openapi: Document, address: str, model: ModelIdentity | None) -> str:
    """The page, as HTML, with examples that ask the service at ``address``; ``model`` is the one that
    answers, None while none does."""
    info = openapi["info"]
    examples = request_examples(address, None if model is None else model.version)
    operations = [
        (method, path, operation)
        for path, of_path in openapi["paths"].items()
        for method, operation in of_path.items()
    ]
    return "".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(info['title'])}: documentation</title>",
            f"<style>{_STYLE}</style></head><body><main>",
            f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>",
            f'<p class="disclaimer"><strong>{escape(DISCLAIMER)}</strong></p>',
            f'<p>{escape(info["summary"])} For people: <a href="./">the page</a>. '
            'For programs: <a href="openapi.json">openapi.json</a>.</p>',
            f"<p>{_model(model)}</p>",
            *_prose(info["description"]),
            *_contents(operations),
            *(
                part
                for method, path, operation in operations
                for part in _operation(
                    openapi, method, path, operation, examples.get(operation["operationId"])
                )
            ),
            "</main></body></html>",
        )
    )


def _model(model: ModelIdentity | None) -> str:
    if model is None:
        return "No model answers now."
    return f"The model that answers: <strong>{escape(model.name)}</strong>, version {model.version}."


def _contents(operations: Iterable[tuple[str, str, Document]]) -> Iterator[str]:
    """A table of contents: the operations below the first of their tags."""
    tagged: dict[str, list[str]] = {}
    for method, path, operation in operations:
        name = escape(operation["operationId"])
        link = f'<li><a href="#{name}"><code>{method.upper()} {escape(path)}</code></a>'
        tagged.setdefault(operation["tags"][0], []).append(link)
    yield '<nav aria-labelledby="contents"><h2 id="contents">Contents</h2><ul>'
    for tag, links in tagged.items():
        yield f"<li>{escape(tag.capitalize())}<ul>{''.join(links)}</ul>"
    yield "</ul></nav>"


def _prose(markdown: str) -> Iterator[str]:
    """Paragraphs and fenced code; other marks of Markdown are dropped."""
    for number, block in enumerate(markdown.split("```")):
        if number % 2:
            yield f'<pre tabindex="0">{escape(block.strip())}</pre>'
        else:
            yield from (
                f"<p>{_inline(paragraph)}</p>" for paragraph in block.split("\n\n") if paragraph.strip()
            )


def _inline(text: str) -> str:
    """Code between backticks."""
    parts = escape(text.strip().replace("**", "")).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))


def _operation(
    openapi: Document, method: str, path: str, operation: Document, example: str | None
) -> Iterator[str]:
    name = escape(operation["operationId"])
    yield f'<h2 id="{name}"><code>{method.upper()} {escape(path)}</code></h2>'
    yield from _prose(operation["description"])
    if example is not None:
        yield f'<h3>Example</h3><pre class="request" tabindex="0">{escape(example)}</pre>'
    body = operation.get("requestBody")
    in_the_form: set[str] = set()
    for media_type, content in body["content"].items() if body else ():
        schema = content["schema"]
        required = schema.get("required", ())
        is_form = media_type == _FORM
        yield f"<h3>{'Form' if is_form else 'Body'} <code>{escape(media_type)}</code></h3>"
        if properties := schema.get("properties"):
            yield from _table((field, field in required, of) for field, of in properties.items())
            in_the_form |= set(properties) if is_form else set()
    parameters = operation.get("parameters", ())
    if doubled := [parameter["name"] for parameter in parameters if parameter["name"] in in_the_form]:
        names = ", ".join(f"<code>{escape(parameter)}</code>" for parameter in doubled)
        yield f"<p>These may stand in the query instead: {names}.</p>"
    if others := [parameter for parameter in parameters if parameter["name"] not in in_the_form]:
        yield "<h3>Parameters</h3>"
        yield from _table(
            (
                f"{of['name']} ({of['in']})",
                of.get("required", False),
                {**of["schema"], "description": of.get("description", "")},
            )
            for of in others
        )
    yield "<h3>Answers</h3>"
    for status, response in operation["responses"].items():
        yield f"<details{' open' if status == '200' and body else ''}>"
        yield f"<summary><code>{status}</code> {escape(response['description'])}</summary>"
        for media_type, content in response.get("content", {}).items():
            yield f"<p><code>{escape(media_type)}</code></p>"
            for example in _examples(openapi, content):
                shown = json.dumps(example, indent=2, ensure_ascii=False)
                yield f'<pre tabindex="0">{escape(shown)}</pre>'
        yield "</details>"


def _table(rows: Iterable[tuple[str, bool, Document]]) -> Iterator[str]:
    yield '<table><thead><tr><th scope="col">Name<th scope="col">Values<th scope="col">Meaning</thead><tbody>'
    for name, required, schema in rows:
        mark = " (required)" if required else ""
        yield f'<tr><th scope="row"><code>{escape(name)}</code>{mark}<td>{escape(_values(schema))}'
        yield f"<td>{_inline(schema.get('description', ''))}"
    yield "</tbody></table>"


def _values(schema: Document) -> str:
    """What a parameter may be, in words: ``en, tr``, or ``boolean, default true``."""
    kinds = [kind for kind in schema.get("anyOf", (schema,)) if kind.get("type") != "null"]
    values = ", ".join(
        ", ".join(map(str, kind["enum"])) if "enum" in kind else str(kind.get("type", "")) for kind in kinds
    )
    default = schema.get("default")
    return values if default is None else f"{values}; default {json.dumps(default)}"


def _examples(openapi: Document, content: Document) -> Iterator[Any]:
    if examples := content.get("examples"):
        yield from (example["value"] for example in examples.values())
    elif content.get("schema"):
        yield _example(openapi, content["schema"])


def _example(openapi: Document, schema: Document) -> Any:
    """One value that the schema describes, put together from its examples and defaults."""
    if "$ref" in schema:
        return _example(openapi, openapi["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]])
    if examples := schema.get("examples"):
        return examples[0]
    for key in ("default", "const"):
        if key in schema:
            return schema[key]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _example(openapi, schema["anyOf"][0])
    match schema.get("type"):
        case "object":
            return {name: _example(openapi, of) for name, of in schema.get("properties", {}).items()}
        case "array":
            return [_example(openapi, schema["items"])]
        case "boolean":
            return False
        case "integer" | "number":
            return 1
        case _:
            return "..."
