"""The pages as a browser without a script sees them."""

from __future__ import annotations

import shutil

import pytest

from device.samples.labels import SampleBook
from smartbin.bundle import read_bundle
from tests.device.web.conftest import proof_in
from tests.device.web.stage import HOST, stage_bin
from tests.tiny_bundle import write_tiny_bundle


def picture_in(html: str) -> str:
    """The name of the picture that a label form is for."""
    return html.split('name="picture" value="')[1].split('"')[0]


TABS = ("/", "/label", "/history", "/counts", "/health", "/model", "/settings")
OWN = {"origin": HOST, "sec-fetch-site": "same-origin"}


@pytest.mark.parametrize("path", TABS)
def test_every_tab_marks_itself_and_has_a_title(staged, path):
    html = staged.client().get(path).text
    assert f'<a href="{path}" aria-current="page">' in html
    assert html.count("<h1") == 1
    assert "– bin-7</title>" in html


@pytest.mark.parametrize("path", TABS)
def test_every_tab_is_there_where_nothing_is_kept(tmp_path, tiny_bundle, path):
    staged = stage_bin(tmp_path, tiny_bundle, keeps=False, items=())
    answer = staged.client().get(path)
    assert answer.status_code == 200
    if path in ("/label", "/history", "/counts"):
        assert "nothing is kept" in answer.text


@pytest.mark.parametrize("path", ["/label", "/history", "/counts"])
def test_a_store_that_cannot_be_read_is_told_on_its_pages(staged, path):
    staged.settings.store.paths.database.write_bytes(b"not a database at all" * 100)
    answer = staged.client().get(path)
    assert answer.status_code == 200
    assert "cannot be used" in answer.text


def test_the_live_page_shows_the_state_and_the_newest_decisions(staged):
    html = staged.client().get("/").text
    assert '<li data-step="DECIDED" class="now" aria-current="step">' in html
    assert 'class="headline uncertain" data-headline>Unsure' in html
    assert html.index("unsure</span>") < html.index("red</span>")
    assert 'aria-live="polite"' in html


def test_labelling_by_form_tells_what_was_done_and_shows_the_next(staged):
    client = staged.client()
    page = client.get("/label")
    assert "Picture 2," in page.text
    form = {"proof": proof_in(page.text), "picture": picture_in(page.text), "answer": "class:green"}
    given = client.post("/label/2", data=form, headers=OWN)
    assert given.headers["location"] == "/label"
    then = client.get("/label").text
    assert '<p class="notice" role="status">Picture 2 is green. <a href="/label/2">Change it</a></p>' in then
    assert "Picture 1," in then
    assert "Picture 2 is green" not in client.get("/label").text, "a notice is told once"
    assert SampleBook(staged.settings.store.paths).sample(2).given.label == "green"


def test_a_label_can_be_given_anew(staged):
    client = staged.client()
    page = client.get("/label/1").text
    for answer in ("skip", "class:blue"):
        form = {"proof": proof_in(page), "picture": picture_in(page), "answer": answer}
        client.post("/label/1", data=form, headers=OWN)
    assert SampleBook(staged.settings.store.paths).sample(1).given.label == "blue"
    assert "Labelled: blue" in client.get("/label/1").text


@pytest.mark.parametrize("answer", ["", "class:gold", "class:", "other", "class:<b>"])
def test_an_answer_that_is_none_is_refused(staged, answer):
    client = staged.client()
    page = client.get("/label/1").text
    form = {"proof": proof_in(page), "picture": picture_in(page), "answer": answer}
    given = client.post("/label/1", data=form, headers=OWN)
    assert given.status_code in (409, 422)
    assert "<b>" not in given.text


def test_a_label_is_for_the_picture_that_was_looked_at(staged):
    """A damaged store is put aside and a new one counts from 1 again: an open page must not label another picture."""
    client = staged.client()
    form = {"proof": proof_in(client.get("/label/1").text), "picture": "another.jpg", "answer": "class:red"}
    given = client.post("/label/1", data=form, headers=OWN)
    assert given.status_code == 409
    assert "another one now" in given.text
    assert SampleBook(staged.settings.store.paths).sample(1).given is None


def test_every_class_has_a_key(staged):
    html = staged.client().get("/label").text
    for number, name in enumerate(("red", "green", "blue"), 1):
        assert f'value="class:{name}"' in html
        assert f'data-key="{number}" aria-keyshortcuts="{number}"' in html


def test_the_history_in_pages(tmp_path, tiny_bundle):
    staged = stage_bin(tmp_path, tiny_bundle, items=("accepted",) * 30)
    client = staged.client()
    first = client.get("/history").text
    assert first.count('<div class="thumb">') == 24
    older = first.split("Older</a>")[0].rsplit('href="', 1)[1].split('"')[0].replace("&amp;", "&")
    assert client.get(older).text.count('<div class="thumb">') == 6
    assert "running" in client.get("/history?kind=lifecycle").text


def test_counts_are_a_plot_and_a_table(staged):
    html = staged.client().get("/counts?days=7").text
    for name in ("wide", "narrow"):
        chart = html.split(f'<div class="{name}">')[1].split("</svg>")[0]
        assert chart.count('<rect class="series-0" x=') == 1
        assert chart.count('<rect class="series-uncertain" x=') == 1
        assert 'aria-label="2 decisions in 7 days' in chart
    assert staged.client().get("/counts?days=10000000").status_code == 200


def test_install_and_roll_back_by_form(staged, tiny_bundle):
    offered = staged.settings.page.bundles_from
    for version in ("1", "2"):
        write_tiny_bundle(offered / f"v{version}", version=version)
    client = staged.client()
    page = client.get("/model").text
    assert "TensorRT is not used: there is no &lt;engine&gt;" in page
    proof = proof_in(page)
    for version in ("1", "2"):
        client.post("/model/install", data={"proof": proof, "name": f"v{version}"}, headers=OWN)
    page = client.get("/model").text
    assert "tiny 2 (mean-colour, fp32) is installed" in page
    client.post("/model/rollback", data={"proof": proof}, headers=OWN)
    assert "tiny 1 (mean-colour, fp32) is current again" in client.get("/model").text
    assert read_bundle(staged.settings.bundles.store.current).manifest.version == "1"


def test_what_cannot_be_done_changes_nothing_and_is_told(staged):
    client = staged.client()
    proof = proof_in(client.get("/model").text)
    client.post("/model/install", data={"proof": proof, "name": "nothing"}, headers=OWN)
    assert "Nothing was changed: no such bundle is offered" in client.get("/model").text


def test_a_model_card_cannot_bring_html_or_scripts(tmp_path, tiny_bundle):
    evil = shutil.copytree(tiny_bundle, tmp_path / "evil")
    staged = stage_bin(tmp_path, evil)
    (evil / "MODEL_CARD.md").write_text(
        "# <script>alert(1)</script>\n\n| a |\n| -: |\n| <img src=x onerror=alert(1)> |\n\n[x](javascript:alert(1))\n"
    )
    html = staged.client().get("/model").text
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert 'href="javascript' not in html
    assert "style=" not in html


def test_settings_show_where_each_value_came_from(staged):
    html = staged.client().get("/settings").text
    assert '<span class="origin set">command line</span>' in html
    opened = {
        part.split("<b>")[1].split("</b>")[0]
        for part in html.split("<details ")[1:]
        if part.split(">")[0].endswith("open")
    }
    assert opened == {"page"}, "what was set is seen at once, the rest when it is asked for"


def test_an_error_page_is_for_people(staged):
    answer = staged.client().get("/nothing")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "To the bin" in answer.text


def test_a_name_that_looks_like_html_stays_text(tmp_path, tiny_bundle):
    staged = stage_bin(tmp_path, tiny_bundle, decision={"uncertain_bin": "<script>x</script>"})
    assert "<script>x" not in staged.client().get("/settings").text


def test_a_region_by_numbers(staged):
    client = staged.client()
    proof = proof_in(client.get("/").text)
    part = {"left": "10", "top": "20.5", "width": "50", "height": "60", "what": "part"}
    client.post("/region", data={"proof": proof, **part}, headers=OWN)
    assert "[presence] region = [0.100, 0.205, 0.500, 0.600]" in client.get("/").text
    client.post("/region", data={"proof": proof, "what": "all"}, headers=OWN)
    assert "looks at the whole picture" in client.get("/").text
    assert staged.looked_at == [(0.1, 0.205, 0.5, 0.6), None]


def test_a_drawn_region_is_given_up_on_both_pages(staged):
    client = staged.client()
    proof = proof_in(client.get("/").text)
    assert "As configured" not in client.get("/").text
    assert "Look as configured" not in client.get("/settings").text
    part = {"left": "10", "top": "20", "width": "50", "height": "60", "what": "part"}
    for page, where in (("/", "live"), ("/settings", "settings")):
        client.post("/region", data={"proof": proof, **part}, headers=OWN)
        assert "As configured" in client.get("/").text
        assert "the configuration says the whole picture" in client.get("/settings").text
        answer = client.post("/region", data={"proof": proof, "what": "configured", "from": where}, headers=OWN)
        assert answer.headers["location"] == page
        assert "So says the configuration" in client.get(page).text
    assert staged.looked_at == [(0.1, 0.2, 0.5, 0.6), None] * 2


@pytest.mark.parametrize(
    "part", [{}, {"left": "x"}, {"width": "200"}, {"height": "1"}, {"left": "nan"}, {"left": "-1"}]
)
def test_a_region_that_is_none_changes_nothing(staged, part):
    client = staged.client()
    proof = proof_in(client.get("/").text)
    whole = {"left": "0", "top": "0", "width": "100", "height": "100"} if part else {}
    client.post("/region", data={"proof": proof, "what": "part", **whole, **part}, headers=OWN)
    assert "Nothing was changed: [x, y, width, height] in parts of the picture" in client.get("/").text.replace(
        "&#39;", "'"
    )
    assert staged.looked_at == []


@pytest.mark.parametrize(
    ("after_s", "told"), [(90, "90 seconds"), (600, "10 minutes"), (7200, "2 hours"), (40 * 86400, "40 days")]
)
def test_health_says_how_long_it_has_been_running(staged, after_s, told):
    staged.clock.advance(after_s)
    assert f"started {told} ago" in staged.client().get("/health").text
