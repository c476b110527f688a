"""What a request must be to get anywhere."""

from __future__ import annotations

import pytest

from device.web.api import make_api
from device.web.app import make_plain
from device.web.body import MOST_BODY
from device.web.guard import HEADERS
from device.web.page_routes import make_pages
from tests.device.web.conftest import proof_in
from tests.device.web.stage import HOST, TOKEN, stage_bin

BEARER = {"authorization": f"Bearer {TOKEN}"}
LABEL = {"verdict": "class", "label": "red"}


def routes(staged, methods):
    """Every method and path of the application among `methods`, with numbers and names filled in."""
    all_ = [route for make in (make_api, make_pages, make_plain) for route in make(staged.bin).routes]
    found = {(method, route.path) for route in all_ for method in route.methods & methods}
    return sorted((method, path.replace("{number}", "1").replace("{name}", "page.css")) for method, path in found)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost:8080", "[::1]:8080", "192.168.1.9", "bin.example.org", "BIN.example.org."]
)
def test_the_bins_own_names_are_answered(tmp_path, tiny_bundle, host):
    staged = stage_bin(tmp_path, tiny_bundle, keeps=False, page={"names": ("bin.example.org",)})
    assert staged.client().get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil.example:8080", "[", "a b"]
)
def test_another_name_is_dns_rebinding_and_refused(staged, host):
    answer = staged.client().get("/api/status", headers={"host": host})
    assert answer.status_code == 421
    assert answer.headers["content-type"] == "application/problem+json"


def test_every_answer_has_the_security_headers(staged):
    client = staged.client()
    for path in (
        "/",
        "/nothing",
        "/static/page.css",
        "/api/status",
        "/api/nothing",
        "/metrics",
        "/healthz",
        "/label/999",
    ):
        headers = client.get(path).headers
        assert {name: headers[name] for name in HEADERS if name != "cache-control"} == {
            name: value for name, value in HEADERS.items() if name != "cache-control"
        }
        assert "server" not in headers
    assert "'unsafe" not in HEADERS["content-security-policy"]


def test_nothing_on_a_page_needs_what_its_policy_forbids(staged):
    client = staged.client()
    for path in ("/", "/label", "/history", "/counts", "/health", "/model", "/settings"):
        html = client.get(path).text
        for forbidden in (" style=", "<style", "onclick", "javascript:", 'src="http', 'href="http', 'action="http'):
            assert forbidden not in html, (path, forbidden)


def test_with_a_token_only_health_and_the_login_are_open(locked):
    client = locked.client()
    open_ = {path for _, path in routes(locked, {"GET"}) if client.get(path).status_code not in (401, 303)}
    assert open_ == {"/healthz", "/readyz", "/login", "/static/page.css"}
    assert client.get("/history").headers["location"] == "/login?next=%2Fhistory"


def test_the_bearer_token_opens_the_api_and_the_metrics(locked):
    client = locked.client()
    assert client.get("/api/status", headers=BEARER).status_code == 200
    assert client.get("/metrics", headers=BEARER).status_code == 200
    wrong = client.get("/api/status", headers={"authorization": "Bearer wrong"})
    assert (wrong.status_code, wrong.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(("told", "secure"), [({}, False), ({"x-forwarded-proto": "https"}, True)])
def test_behind_a_proxy_that_speaks_tls_the_cookie_is_for_tls_alone(locked, told, secure):
    client = locked.client()
    page = client.get("/login", headers=told)
    assert ("Secure" in page.headers["set-cookie"]) == secure
    cookie = {"cookie": page.headers["set-cookie"].partition(";")[0]}
    form = {"proof": proof_in(page.text), "token": TOKEN, "next": "/"}
    right = client.post("/login", data=form, headers=told | cookie)
    assert right.status_code == 303
    assert ("Secure" in right.headers["set-cookie"]) == secure


def test_signing_in_and_out(locked):
    client = locked.client()
    page = client.get("/login?next=/history")
    cookie = page.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    before = client.cookies["smartbin"]
    wrong = client.post("/login", data={"proof": proof_in(page.text), "token": "wrong", "next": "/history"})
    assert wrong.status_code == 403
    assert "not the token" in wrong.text
    right = client.post("/login", data={"proof": proof_in(page.text), "token": TOKEN, "next": "/history"})
    assert (right.status_code, right.headers["location"]) == (303, "/history")
    assert client.cookies["smartbin"] != before, "a session from before the login must not be the one after it"
    history = client.get("/history")
    assert history.status_code == 200
    client.post("/logout", data={"proof": proof_in(history.text)})
    assert client.get("/history").status_code == 303


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/nothing", "/logout"])
def test_nobody_is_sent_elsewhere_after_signing_in(locked, target):
    client = locked.client()
    proof = proof_in(client.get("/login").text)
    answer = client.post("/login", data={"proof": proof, "token": TOKEN, "next": target})
    assert answer.headers["location"] == "/"


def test_guessing_is_slowed_down_by_address_even_when_right(locked):
    client = locked.client()
    proof = proof_in(client.get("/login").text)
    for _ in range(3):
        client.post("/login", data={"proof": proof, "token": "wrong"})
    for _ in range(2):
        client.get("/api/status", headers={"authorization": "Bearer wrong"})
    blocked = client.post("/login", data={"proof": proof, "token": TOKEN})
    assert blocked.status_code == 429
    assert 0 < int(blocked.headers["retry-after"]) <= 61
    assert client.get("/api/status", headers=BEARER).status_code == 429
    assert locked.client(client=("10.0.0.8", 1)).get("/api/status", headers=BEARER).status_code == 200
    locked.clock.advance(61)
    assert client.get("/api/status", headers=BEARER).status_code == 200


def test_every_route_that_changes_something_refuses_another_site(staged):
    client = staged.client()
    client.get("/model")  # a session, as a browser has one
    changing = routes(staged, {"POST", "PUT", "PATCH", "DELETE"})
    assert len(changing) >= 7
    for method, path in changing:
        for headers in (
            {"origin": "https://evil.example"},
            {"sec-fetch-site": "cross-site"},
            {"origin": "null"},
            {"origin": "http://["},
        ):
            assert client.request(method, path, headers=headers).status_code == 403, (method, path, headers)


def test_every_route_that_changes_something_wants_the_proof_of_its_session(staged):
    client = staged.client()
    client.get("/model")
    for method, path in routes(staged, {"POST", "PUT", "PATCH", "DELETE"}):
        own = {"origin": HOST, "sec-fetch-site": "same-origin"}
        assert client.request(method, path, headers=own).status_code == 403, (method, path)


@pytest.mark.parametrize(
    "comes_from",
    [{"origin": HOST}, {"sec-fetch-site": "same-origin"}, {"origin": HOST, "sec-fetch-site": "same-origin"}],
    ids=["over the network", "a form without origin", "on the bin's own machine"],
)
def test_the_api_takes_the_proof_in_a_header(staged, comes_from):
    client = staged.client()
    proof = proof_in(client.get("/model").text)
    own = {**comes_from, "x-csrf-token": proof}
    assert client.put("/api/samples/1/label", json=LABEL, headers=own).status_code == 200


def test_a_program_without_a_browser_needs_no_proof_on_the_bins_own_machine(staged):
    assert staged.client().put("/api/samples/1/label", json=LABEL).status_code == 200


def test_a_program_with_the_token_needs_no_proof(locked):
    assert locked.client().put("/api/samples/1/label", json=LABEL).status_code == 401
    assert locked.client().put("/api/samples/1/label", json=LABEL, headers=BEARER).status_code == 200


def test_a_request_is_of_a_bounded_size(staged):
    client = staged.client()
    large = b"x" * (MOST_BODY + 1)
    assert client.put("/api/samples/1/label", content=large).status_code == 413
    told = client.put("/api/samples/1/label", content=iter([large[:40_000], large[40_000:]]))  # no length in front
    assert told.status_code == 413
    assert client.get("/api/status", headers={"content-length": "many"}).status_code == 413


def test_a_form_that_is_none_is_refused(staged):
    client = staged.client()
    client.get("/model")
    assert client.post("/model/rollback", content=b"\xff\xfe").status_code == 422
    assert client.post("/model/rollback", content="&".join(f"a{n}=1" for n in range(30))).status_code == 422


@pytest.mark.parametrize(
    "path",
    [
        "/static/..%2f..%2fsettings.py",
        "/static/%2e%2e/settings.py",
        "/static/%2Fetc%2Fpasswd",
        "/api/samples/..%2f..%2fevents.sqlite/image",
        "/api/samples/1%00/image",
        "/../../etc/passwd",
    ],
)
def test_no_path_reaches_the_file_system(staged, path):
    assert staged.client().get(path).status_code in (404, 422)


@pytest.mark.parametrize("name", ["../bundles", "/etc", "..", ".", "", "a/../b", "nothing", "\0"])
def test_a_bundle_is_named_and_not_located(staged, name):
    answer = staged.client().post("/api/model/install", json={"name": name})
    assert answer.status_code in (409, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_websockets_are_turned_away(staged):
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), staged.client().websocket_connect("/api/live"):
        pass


def sign_in(client, token: str = TOKEN) -> None:
    client.post("/login", data={"proof": proof_in(client.get("/login").text), "token": token})


def test_who_has_signed_in_stays_so_when_the_page_begins_anew(tmp_path, tiny_bundle):
    """After a reload the page is another one; its memory is the same."""
    before = stage_bin(tmp_path, tiny_bundle, token=TOKEN, keeps=False)
    client = before.client()
    sign_in(client)
    proof = proof_in(client.get("/model").text)
    for _ in range(5):
        before.client(client=("10.0.0.9", 1)).get("/api/status", headers={"authorization": "Bearer wrong"})
    after = stage_bin(tmp_path, tiny_bundle, token=TOKEN, keeps=False, memory=before.memory)
    follower = after.client(cookies=client.cookies)
    assert follower.get("/history").status_code == 200
    form = {"proof": proof}
    assert follower.post("/settings/reload", data=form, headers={"origin": HOST}).status_code == 303, "open forms, too"
    guesser = after.client(client=("10.0.0.9", 1))
    assert guesser.get("/api/status", headers=BEARER).status_code == 429, "nor are wrong guesses forgotten"


@pytest.mark.parametrize("then", ["another token that is long enough", None])
def test_another_token_signs_everybody_out(tmp_path, tiny_bundle, then):
    before = stage_bin(tmp_path, tiny_bundle, token=TOKEN, keeps=False)
    client = before.client()
    sign_in(client)
    without = stage_bin(tmp_path, tiny_bundle, token=then, keeps=False, memory=before.memory)
    again = stage_bin(tmp_path, tiny_bundle, token=TOKEN, keeps=False, memory=without.memory)
    assert again.client(cookies=client.cookies).get("/history").status_code == 303
