"""What letters say, and that nothing which others chose becomes a link, a tag or a header in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.adapters.mail.logged import redacted
from auricle.identity.mailtexts import LETTERS, LONGEST_FACT, Facts, Letter, MailText, written

AT = datetime(2031, 2, 3, 4, 5, tzinfo=UTC)
TOKEN = "q7Yw2mK9xB4vN8sT1dF6hJ3kL5pR0cZa"
LINK = f"https://vault.example.org/account?a=1&token={TOKEN}"
HOSTILE = st.text(max_size=120) | st.sampled_from(
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "Ann\r\nBcc: all@example.org",
        "Ann\u202egnp.exe",
        "{0.__class__} %s ${x}",
        "</title></head><a href=http://evil.example>",
        "Win at http://evil.example/now",
        "www.evil.example",
        "evil.example/free",
        "x" * 500,
    ]
)
FACTS = st.builds(
    Facts,
    site=HOSTILE,
    link=st.just(LINK),
    at=st.just(AT),
    until=st.just(AT + timedelta(hours=1)),
    by=st.none() | HOSTILE,
    device=st.none() | HOSTILE,
    place=st.none() | HOSTILE,
)


def facts(**more: object) -> Facts:
    said: dict[str, object] = {"site": "Vault", "link": LINK, "at": AT, "until": AT + timedelta(hours=1), "by": "Bob"}
    return Facts(**said | {"device": "Firefox on Linux", "place": "192.0.2.7"} | more)  # type: ignore[arg-type]


class Page(HTMLParser):
    """What a mail program makes of HTML: paragraphs of text, tags and their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.paragraphs: list[str] = []
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "p":
            self.paragraphs.append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "p"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.paragraphs[-1] += data


def test_every_letter_has_its_words() -> None:
    assert set(LETTERS) == set(Letter)
    assert len({written(letter, facts()).subject for letter in Letter}) == len(Letter)


@pytest.mark.parametrize("letter", Letter)
@given(told=FACTS)
def test_text_and_html_say_the_same_whatever_the_facts(letter: Letter, told: Facts) -> None:
    words = written(letter, told)
    page = Page(words.html)
    label = next(index for index, paragraph in enumerate(page.paragraphs) if paragraph == LINK) - 1
    assert words.text.rstrip("\n").split("\n\n") == page.paragraphs[:label] + page.paragraphs[label + 1 :]


@pytest.mark.parametrize("letter", Letter)
@given(told=FACTS)
def test_nothing_is_fetched_run_or_followed_but_our_link(letter: Letter, told: Facts) -> None:
    page = Page(written(letter, told).html)
    assert {tag for tag, _ in page.tags} == {"html", "head", "meta", "title", "body", "p", "a"}
    assert [attributes for tag, attributes in page.tags if tag == "a"] == [{"href": LINK, "rel": "noreferrer"}]
    assert all(set(attributes) <= {"lang", "charset", "href", "rel"} for _, attributes in page.tags)


@pytest.mark.parametrize("letter", Letter)
@given(told=FACTS)
def test_a_letter_can_always_be_sent(letter: Letter, told: Facts) -> None:
    message = written(letter, told).to("ann@example.org", "key-1")
    assert len(message.subject.splitlines()) == 1
    assert all(line.isprintable() for line in message.text.split("\n"))


@pytest.mark.parametrize("letter", [Letter.INVITATION, Letter.APPROVAL_ASKED])
@pytest.mark.parametrize(
    "name",
    ["Win at http://evil.example/now", "www.evil.example", "evil.example", "ｗｗｗ．evil", "a/b", "", " \u200b", "mailto:x\\y"],
)
def test_a_name_that_would_become_a_link_is_left_out(letter: Letter, name: str) -> None:
    words = written(letter, facts(by=name))
    assert "evil" not in words.text
    assert "Somebody" in words.text


def test_a_name_is_said_as_it_is() -> None:
    assert "Änn O'Brien & Söhne invites you" in written(Letter.INVITATION, facts(by="Änn O'Brien & Söhne")).text


def test_a_long_name_is_cut() -> None:
    assert "x" * LONGEST_FACT not in written(Letter.INVITATION, facts(by="x" * 500)).text


@pytest.mark.parametrize(
    "link",
    ["javascript:alert(1)", "data:text/html,x", "//evil.example", "", "https://a b", 'https://a"b', "https://a\nb", "ftp://a"],
)
def test_a_link_that_is_none_of_ours_is_refused(link: str) -> None:
    with pytest.raises(ValueError, match="http"):
        written(Letter.RESET, facts(link=link))


@pytest.mark.parametrize(
    ("life", "said"),
    [
        (timedelta(hours=1), "for 1 hour:"),
        (timedelta(hours=24), "for 1 day:"),
        (timedelta(days=7), "for 7 days:"),
        (timedelta(minutes=90), "for 90 minutes:"),
        (timedelta(seconds=90), "until 2031-02-03 at 04:06 UTC:"),
    ],
)
def test_the_reader_is_told_how_long_the_link_works(life: timedelta, said: str) -> None:
    assert said in written(Letter.RESET, facts(until=AT + life)).text


@pytest.mark.parametrize("letter", [Letter.RESET, Letter.INVITATION, Letter.EMAIL_CHANGE])
def test_a_link_that_ends_needs_its_end(letter: Letter) -> None:
    with pytest.raises(ValueError, match="until when"):
        written(letter, facts(until=None))


def test_alerts_say_when_and_from_where() -> None:
    for letter in (Letter.NEW_DEVICE, Letter.REFRESH_REUSED):
        text = written(letter, facts()).text
        assert "2031-02-03 at 04:05 UTC" in text
        assert "Firefox on Linux (192.0.2.7)" in text
        assert "an unknown device" in written(letter, facts(device=None, place=None)).text


@pytest.mark.parametrize("letter", Letter)
def test_no_letter_in_a_log_opens_anything(letter: Letter) -> None:
    words = written(letter, facts())
    assert isinstance(words, MailText)
    assert TOKEN in words.text
    assert TOKEN not in redacted(words.text)
    assert TOKEN not in words.subject
