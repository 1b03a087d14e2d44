"""Text out of documents, and its parts."""

import io
import zipfile
from contextlib import suppress

import pypdf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.gcp import ingestion_text
from runtime.gcp.ingestion_text import OVERLAP, SIZE, UnreadableError, parts, refusal, split


def pdf(*pages: str) -> bytes:
    """A small file with a line of text on each page."""
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for n, text in enumerate(pages):
        stream = f"BT /F1 12 Tf 50 700 Td ({text}) Tj ET"
        objects += [
            f"<< /Type /Page /Parent 2 0 R /Contents {5 + 2 * n} 0 R /Resources << /Font << /F1 3 0 R >> >> >>",
            f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        ]
    out, places = "%PDF-1.4\n", []
    for number, inner in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{inner}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    size = len(objects) + 1
    out += f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer << /Size {size} /Root 1 0 R >>\nstartxref\n"
    return f"{out}{out.index('xref')}\n%%EOF".encode()


def docx(inner: str) -> bytes:
    space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", inner.replace("<w:document>", f"<w:document {space}>"))
    return file.getvalue()


def test_a_pdf_gives_the_text_of_its_pages() -> None:
    assert parts("a.PDF", pdf("First page", "Second page")) == ["First page\n\nSecond page"]


def test_an_encrypted_pdf_is_refused() -> None:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf("secret")))
    writer.encrypt("password", algorithm="RC4-128")
    file = io.BytesIO()
    writer.write(file)
    with pytest.raises(UnreadableError, match="is encrypted"):
        parts("a.pdf", file.getvalue())


def test_a_pdf_of_pictures_alone_is_refused() -> None:
    with pytest.raises(UnreadableError, match="holds no text"):
        parts("a.pdf", pdf(""))


def test_a_pdf_with_far_too_many_pages_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestion_text, "_PAGES", 1)
    with pytest.raises(UnreadableError, match="pages"):
        parts("a.pdf", pdf("one", "two"))


def test_a_page_gives_its_text_and_no_script() -> None:
    page = (
        b"<html><head><title>T</title><style>p{}</style></head><body><h1>Travel</h1><p>Pay &amp; per <b>diem</b></p>"
        b"<script>steal()</script><ul><li>one<li>two</ul></body></html>"
    )
    assert parts("a.html", page) == ["Travel\n\nPay & per diem\n\none\ntwo"]


def test_a_page_whose_head_nobody_closed_is_read() -> None:
    assert parts("a.html", b"<head><title>T<body>text") == ["text"]


def test_a_letter_gives_its_paragraphs() -> None:
    inner = "<w:document><w:body><w:p><w:r><w:t>Dear </w:t></w:r><w:r><w:t>Ann</w:t></w:r></w:p><w:p><w:r><w:t>Bye</w:t></w:r>"
    assert parts("a.docx", docx(f"{inner}</w:p></w:body></w:document>")) == ["Dear Ann\nBye"]


def test_a_letter_that_declares_entities_is_refused() -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><w:document><w:body/></w:document>'
    with pytest.raises(UnreadableError, match="entities"):
        parts("a.docx", docx(bomb))


def test_a_letter_that_unpacks_to_a_bomb_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestion_text, "_UNPACKED", 1000)
    with pytest.raises(UnreadableError, match="unpacks"):
        parts("a.docx", docx("<w:document>" + " " * 5000 + "</w:document>"))


def test_a_document_of_far_too_many_parts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestion_text, "PARTS", 2)
    with pytest.raises(UnreadableError, match="more than 2 parts"):
        parts("a.txt", b"word " * 2000)


def test_a_mark_of_byte_order_and_of_dos_are_no_text() -> None:
    assert parts("a.txt", "\ufeffone\r\ntwo\0".encode()) == ["one\ntwo"]


def test_sizes_at_the_edge() -> None:
    assert refusal("a.txt", ingestion_text.LARGEST) == ""
    assert "more than" in refusal("a.txt", ingestion_text.LARGEST + 1)


def test_parts_are_cut_between_paragraphs_where_they_can_be() -> None:
    paragraph = "Word " * 190 + "end."
    first, *_ = split("\n\n".join([paragraph] * 4))
    assert first == paragraph


TEXTS = st.text(st.sampled_from("ab é漢.\n "), max_size=6000) | st.text(max_size=3000)


@given(TEXTS)
def test_every_word_is_in_a_part_and_no_part_is_too_long(text: str) -> None:
    found = split(text)
    assert all(0 < len(part) <= SIZE for part in found)
    assert split(text) == found
    words = text.replace("\0", "").split()
    whole = "\n".join(found)
    assert all(word in whole for word in words if len(word) < OVERLAP)
    # Parts overlap a little, not much: nobody pays twice for a text.
    assert sum(map(len, found)) <= len(text) * SIZE / (SIZE // 2 - OVERLAP) + 1


@given(st.binary(max_size=400), st.sampled_from(sorted(ingestion_text.READERS)))
def test_whatever_a_file_holds_it_is_text_or_refused(content: bytes, ending: str) -> None:
    with suppress(UnreadableError):
        assert parts(f"a{ending}", content)
