"""
HTML made harmless: text, and bare tags that structure it.

Nothing is parsed into a tree and written out again. What comes out has `<` in no other place than in a tag of a
short list, without any attribute: no link, image, style, form or script can be in it, however a mail program reads
it. The work grows with the text alone.
"""

import re
from collections.abc import Iterator

_TAGS = frozenset(
    (
        *("b", "blockquote", "br", "center", "code", "div", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i"),
        *("li", "ol", "p", "pre", "small", "span", "strong", "sub", "sup"),
        *("table", "tbody", "td", "tfoot", "th", "thead", "tr", "u", "ul"),
    )
)
_UNSEEN = frozenset(
    {"script", "style", "title", "template", "svg", "math", "select", "object", "iframe", "noscript"}
)
_NAME = re.compile(r"(/?)([A-Za-z][A-Za-z0-9]*)(?![A-Za-z0-9:_-])")
_MARKUP = re.compile(r"[A-Za-z/!?]")  # what begins so behind `<` is no text
_CONTROLS = dict.fromkeys((*range(9), 11, 12, *range(14, 32), *range(127, 160)))


def harmless(text: str) -> str:
    """Give the HTML with nothing in it but text and its structure."""
    return "".join(_pieces("".join(_without_comments(text.translate(_CONTROLS)))))


def _without_comments(text: str) -> Iterator[str]:
    position = 0
    while (start := text.find("<!--", position)) >= 0:
        yield text[position:start]
        end = text.find("-->", start)
        if end < 0:
            return
        position = end + 3
    yield text[position:]


def _pieces(text: str) -> Iterator[str]:
    first, *rest = text.split("<")
    yield first
    unseen = ""  # the element whose content is left out
    for piece in rest:
        inside, closed, after = piece.partition(">")
        match = _NAME.match(inside)
        slash, name = (match[1], match[2].lower()) if match else ("", "")
        if unseen:
            if slash and name == unseen:
                unseen = ""
                yield after
        elif not closed or not _MARKUP.match(inside):
            yield "&lt;" + piece
        elif name in _UNSEEN and not slash:
            unseen = name
        else:
            if name in _TAGS:
                yield f"<{slash}{name}>"
            yield after
