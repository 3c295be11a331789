from html.parser import HTMLParser

from orchestrator.domain import ModelIdentity
from orchestrator.edge.web import docs_page

ADDRESS = "http://lab.example:8443"
MODEL = ModelIdentity("a & b", 7, None)

OPENAPI = {
    "info": {
        "title": "A & B",
        "version": "1.0",
        "summary": "Short.",
        "description": "Call `<this>`:\n\n```\ncurl -F file=@a.jpg\n```\n\nand **no more**.",
    },
    "paths": {
        "/things": {
            "post": {
                "operationId": "things",
                "tags": ["things of a kind", "other"],
                "description": "Does things.",
                "parameters": [{"name": "colour", "in": "query", "schema": {"type": "string"}}],
                "requestBody": {
                    "content": {
                        "multipart/form-data": {
                            "schema": {
                                "required": ["file"],
                                "properties": {
                                    "file": {"type": "string", "description": "An image."},
                                    "colour": {"enum": ["red", "blue"], "default": "red"},
                                    "exact": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
                                },
                            }
                        }
                    }
                },
                "responses": {
                    "200": {
                        "description": "Done.",
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}},
                    },
                    "400": {
                        "description": "Not done.",
                        "content": {
                            "application/problem+json": {"examples": {"a": {"value": {"status": 400}}}}
                        },
                    },
                },
            }
        },
        "/predict": {
            "post": {"operationId": "predict", "tags": ["cells"], "description": "Asks.", "responses": {}}
        },
    },
    "components": {
        "schemas": {
            "Thing": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "examples": ["left"]},
                    "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Part"}},
                    "kind": {"const": "thing"},
                    "mark": {"enum": ["a", "b"]},
                    "size": {"anyOf": [{"type": "number"}, {"type": "null"}]},
                    "whole": {"type": "boolean"},
                    "note": {"type": "string"},
                },
            },
            "Part": {"type": "object", "properties": {"weight": {"type": "integer", "default": 7}}},
        }
    },
}


class Text(HTMLParser):
    """Collects the text of each element that closes, and every element's name."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.elements: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 (the parser's signature)
        self.elements.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def rendered(model: ModelIdentity | None = MODEL) -> str:
    return docs_page.render(OPENAPI, ADDRESS, model)


def read(page: str) -> Text:
    text = Text()
    text.feed(page)
    return text


def test_operations_are_shown_with_their_form_query_and_answers():
    text = read(rendered()).text
    for shown in ("POST /things", "Does things.", "An image.", "(required)", "Done.", "Not done."):
        assert shown in text
    assert 'red, blue; default "red"' in text
    assert "may stand in the query instead" in text


def test_an_example_is_put_together_from_the_schema():
    text = read(rendered()).text
    example = (
        '{\n  "name": "left",\n  "parts": [\n    {\n      "weight": 7\n    }\n  ],\n  "kind": "thing",\n'
        '  "mark": "a",\n  "size": 1,\n  "whole": false,\n  "note": "..."\n}'
    )
    assert example in text
    assert '"status": 400' in text


def test_text_of_the_description_is_text_and_no_html():
    page = rendered()
    assert "A &amp; B" in page
    assert "<code>&lt;this&gt;</code>" in page
    assert "curl -F file=@a.jpg" in read(page).text
    assert "**" not in page


def test_it_says_which_model_answers_or_that_none_does():
    assert "<strong>a &amp; b</strong>, version 7" in rendered()
    assert "No model answers now" in rendered(None)


def test_the_contents_list_every_operation_below_its_first_tag():
    contents = rendered().partition("<nav")[2].partition("</nav>")[0]
    assert contents.index("Things of a kind") < contents.index('href="#things"') < contents.index("Cells")
    assert contents.index("Cells") < contents.index('href="#predict"')
    assert "Other" not in contents
    assert 'id="things"' in rendered()


def test_an_example_asks_the_address_that_the_page_has():
    page = rendered()
    assert f"{ADDRESS}/predict</pre>" in page
    assert page.count("<h3>Example</h3>") == 1, "an operation without one shows none"


def test_an_address_is_no_part_of_a_command():
    page = docs_page.render(OPENAPI, "http://x;reboot", MODEL)
    assert "'http://x;reboot/predict'" in read(page).text


def test_the_page_needs_no_script_and_no_other_file():
    assert not {"script", "link", "img", "iframe"} & read(rendered()).elements
