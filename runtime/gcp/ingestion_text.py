"""The text of a document, and the parts that it is found by. The same bytes always come to the same parts."""

import io
import re
import zipfile
from collections.abc import Callable
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pypdf

SIZE, OVERLAP = 1500, 200
"""Characters of a part, and of what it shares with the one before.

Embedding models take 2,048 tokens ("Autogenerating embeddings for Vector Search 2.0"); 1,500 characters are less in any script.
"""
LARGEST = 20 * 1024**2
"""Bytes of a document: it is read in memory."""
PARTS = 5000
"""Parts of a document, about 6 million characters."""
_PAGES = 3000
_UNPACKED = 100 * 1024**2
_BREAKS = ("\n\n", "\n", ". ", " ")
_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"


class UnreadableError(Exception):
    """The document holds nothing that can be read here; says why."""


class _Html(HTMLParser):
    """The text of a page, a line for each block."""

    HIDDEN = frozenset({"script", "style", "template", "noscript", "head"})
    BLOCKS = frozenset({"p", "div", "br", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "section", "table", "pre"})

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._hidden: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - the base class calls it so
        if tag in self.HIDDEN:
            self._hidden.append(tag)
        elif tag == "body":
            # A head that nobody closed ends here.
            self._hidden.clear()
        elif tag in self.BLOCKS:
            self.found.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._hidden:
            del self._hidden[self._hidden.index(tag) :]
        elif tag in self.BLOCKS:
            self.found.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.found.append(data)


def _plain(content: bytes) -> str:
    return content.decode("utf-8-sig")


def _html(content: bytes) -> str:
    page = _Html()
    page.feed(_plain(content))
    page.close()
    return "".join(page.found)


def _pdf(content: bytes) -> str:
    reader = pypdf.PdfReader(io.BytesIO(content))
    if reader.is_encrypted:
        raise UnreadableError("is encrypted")
    if len(reader.pages) > _PAGES:
        raise UnreadableError(f"has more than {_PAGES} pages")
    return "\n\n".join(page.extract_text() for page in reader.pages)


def _word(content: bytes) -> str:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if archive.getinfo("word/document.xml").file_size > _UNPACKED:
            raise UnreadableError(f"unpacks to more than {_UNPACKED} bytes")
        inner = archive.read("word/document.xml")
    if b"<!DOCTYPE" in inner:
        raise UnreadableError("declares entities")
    lines = ("".join(t.text or "" for t in p.iter(f"{_WORD}t")) for p in ET.fromstring(inner).iter(f"{_WORD}p"))  # noqa: S314 - no entities
    return "\n".join(lines)


READERS: dict[str, Callable[[bytes], str]] = {
    ".txt": _plain,
    ".md": _plain,
    ".csv": _plain,
    ".html": _html,
    ".docx": _word,
    ".pdf": _pdf,
}


def ending(name: str) -> str:
    """The ending of a name, by which it is read."""
    return "." + name.lower().rpartition(".")[2]


def refusal(name: str, size: int) -> str:
    """Why a document cannot be read, as far as its name and size tell; empty where it can."""
    if ending(name) not in READERS:
        return f"is none of {', '.join(READERS)}"
    if size == 0:
        return "is empty"
    return f"has {size} bytes, more than {LARGEST}" if size > LARGEST else ""


def parts(name: str, content: bytes) -> list[str]:
    """The parts of a document; raises UnreadableError where there are none, or far too many."""
    try:
        found = split(READERS[ending(name)](content))
    except UnreadableError:
        raise
    except Exception as error:  # noqa: BLE001 - what a reader raises of a broken file is anything
        raise UnreadableError(f"cannot be read: {type(error).__name__}") from None
    if not found:
        raise UnreadableError("holds no text")
    if len(found) > PARTS:
        raise UnreadableError(f"has more than {PARTS} parts")
    return found


def split(text: str) -> list[str]:
    """Text in parts of at most SIZE characters, cut between paragraphs, sentences or words where there are any."""
    # NUL is in no text, and no interface takes it; a half of a surrogate pair cannot be encoded.
    text = re.sub(r"[ \t]*\n[ \t]*", "\n", re.sub("\r\n?", "\n", re.sub("[\0\ud800-\udfff]", "", text))).strip()
    text = re.sub(r"\n{3,}", "\n\n", text)
    found: list[str] = []
    begin = 0
    while begin < len(text):
        end = _end(text, begin)
        if part := text[begin:end].strip():
            found.append(part)
        if end == len(text):
            break
        begin = _begin(text, begin, end)
    return found


def _end(text: str, begin: int) -> int:
    last = begin + SIZE
    if last >= len(text):
        return len(text)
    for mark in _BREAKS:
        # Not in the first half: parts would get too small.
        if (place := text.rfind(mark, begin + SIZE // 2, last)) >= 0:
            return place + len(mark)
    return last


def _begin(text: str, begin: int, end: int) -> int:
    """Where the next part begins: some words before the end of this one."""
    place = text.find(" ", end - OVERLAP, end)
    return max(begin + 1, end - OVERLAP if place < 0 else place + 1)
