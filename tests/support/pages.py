"""An HTML page without JavaScript: its text, and its forms."""

import re
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser


@dataclass(frozen=True)
class Form:
    """A form, with the values that it sends if nothing is typed."""

    action: str
    method: str
    fields: dict[str, str]


@dataclass(frozen=True)
class Page:
    """The response to one request; `location` is the target of its redirect."""

    status: int
    text: str
    location: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def forms(self) -> list[Form]:
        """Every form on the page, in order."""
        reader = _FormReader()
        reader.feed(self.text)
        return reader.forms

    def form(self, action: str) -> Form:
        """The form with this action. If there is none, AssertionError lists the others."""
        found = [form for form in self.forms() if form.action == action]
        there = [form.action for form in self.forms()]
        assert found, f"no form goes to {action}; status {self.status}, forms go to {there}"
        return found[0]


def rows(page: Page, caption: str) -> list[list[str]]:
    """The rows of a table as text."""
    table = re.split(rf"<caption[^>]*>{caption}</caption>", page.text)[1].split("</table>")[0]
    body = table.split("<tbody>")[1]
    found = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    return [
        [as_text(cell).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in found
    ]


def as_text(html: str) -> str:
    """The text of the page: no tags, no entities."""
    return unescape(re.sub(r"<[^>]+>", "", html))


class _FormReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._inside = True
            self.forms.append(
                Form(values.get("action", ""), values.get("method", "get").lower(), {})
            )
        elif tag == "input" and self._inside and _is_sent(values):
            self.forms[-1].fields[values["name"]] = values.get("value", "on")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False


def _is_sent(values: dict[str, str]) -> bool:
    if "name" not in values or values.get("type") in {"submit", "button", "image", "reset"}:
        return False

    return values.get("type") not in {"radio", "checkbox"} or "checked" in values
