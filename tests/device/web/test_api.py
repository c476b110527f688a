from __future__ import annotations

import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

from device.capture import CaptureCounts
from device.events import Event
from device.reload import Refusal
from device.samples.labels import SampleBook
from device.status import QueueCounts
from smartbin.bundle import read_bundle
from smartbin.errors import BundleError, ConfigError
from tests.device.web.stage import PASSED_OVER, decision, stage_bin, view
from tests.tiny_bundle import write_tiny_bundle


def test_the_status_says_what_the_bin_sees_and_thinks(staged):
    told = staged.client().get("/api/status").json()
    assert (told["lifecycle"], told["state"], told["item"], told["light"]) == ("RUNNING", "DECIDED", 2, "ok")
    assert (told["mean_luma"], told["gamma"], told["clipped_fraction"]) == (0.42, 1.0, 0.01)
    assert told["box"] == {"left": 0.25, "top": 0.25, "width": 0.5, "height": 0.5}
    assert (told["answer"]["kind"], told["answer"]["label"], told["answer"]["bin"]) == ("uncertain", "green", "general")
    assert told["probabilities"] == {"red": 0.4, "green": 0.5, "blue": 0.1}


def test_an_answer_is_told_only_while_its_item_is_there(staged):
    staged.status.frame(view(40))
    told = staged.client().get("/api/status").json()
    assert (told["answer"], told["box"], told["probabilities"]) == (None, None, {})


def test_of_a_lost_camera_no_old_answer_is_told(staged):
    staged.status.frame(view(40, 2, "DECIDED", "red"))
    staged.status.event(Event(staged.clock.wall(), "lifecycle", lifecycle="CAMERA_LOST", reason="camera:0: unplugged"))
    client = staged.client()
    told = client.get("/api/status").json()
    assert (told["answer"], told["box"], told["probabilities"]) == (None, None, {})
    html = client.get("/").text
    assert "data-headline>camera lost</p>" in html
    assert 'aria-current="step"' not in html


def test_events_come_newest_first_and_in_pages(staged):
    client = staged.client()
    page = client.get("/api/events?limit=2").json()
    assert [event["item"] for event in page["events"]] == [2, 1]
    rest = client.get(f"/api/events?limit=2&before={page['next']}").json()
    assert [event["state"] for event in rest["events"]] == ["RUNNING"]
    assert rest["next"] is None
    kinds = client.get("/api/events?kind=lifecycle").json()["events"]
    assert [event["kind"] for event in kinds] == ["lifecycle"]


def test_an_event_has_its_picture_and_its_probabilities(staged):
    client = staged.client()
    event = client.get("/api/events").json()["events"][0]
    assert client.get(f"/api/events/{event['id']}").json() == event
    assert client.get(f"/api/events?uid={event['uid']}").json() == {"events": [event], "next": None}
    assert client.get(f"/api/events?uid={'0' * 32}").json()["events"] == []
    assert client.get("/api/events?uid=nonsense").status_code == 422
    assert event["probabilities"] == {"red": 0.4, "green": 0.5, "blue": 0.1}
    assert event["age_ms"] == 21.0
    image = client.get(f"/api/samples/{event['picture']}/image")
    assert image.headers["content-type"] == "image/jpeg"
    picture = cv2.imdecode(np.frombuffer(image.content, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (240, 320, 3)
    again = {"if-none-match": image.headers["etag"]}
    assert client.get(f"/api/samples/{event['picture']}/image", headers=again).status_code == 304
    assert client.get(f"/api/samples/{3 - event['picture']}/image", headers=again).status_code == 200


def test_a_label_is_given_and_the_queue_gets_shorter(staged):
    client = staged.client()
    assert client.get("/api/samples").json()["waiting"] == 2
    given = client.put("/api/samples/1/label", json={"verdict": "class", "label": "blue"})
    assert (given.status_code, given.json()["label"]) == (200, "blue")
    (one,) = client.get("/api/samples").json()["samples"]
    assert one["id"] == 2
    client.put("/api/samples/2/label", json={"verdict": "none"})
    assert [sample.given.label for sample in SampleBook(staged.settings.store.paths).labelled()] == ["blue", None]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"verdict": "class", "label": "gold"}, 409),
        ({"verdict": "class"}, 422),
        ({"verdict": "skip", "label": "red"}, 422),
        ({"verdict": "perhaps"}, 422),
        ({"verdict": "skip", "more": 1}, 422),
        ([], 422),
    ],
)
def test_a_label_that_is_none_is_refused_as_a_problem(staged, body, status):
    answer = staged.client().put("/api/samples/1/label", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert set(answer.json()) == {"type", "title", "status", "detail"}
    assert answer.json()["detail"]


@pytest.mark.parametrize("path", ["/api/samples/99", "/api/samples/99/image", "/api/events/99", "/api/nothing"])
def test_what_is_not_there_is_not_found(staged, path):
    answer = staged.client().get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "before=0", f"before={2**60}", "kind=other", "limit=many"])
def test_queries_are_bounded(staged, query):
    assert staged.client().get(f"/api/events?{query}").status_code == 422


def test_a_picture_that_made_room_is_said_to_be_gone(staged):
    for file in staged.settings.store.paths.samples.iterdir():
        file.unlink()
    answer = staged.client().get("/api/samples/1/image")
    assert answer.status_code == 404
    assert "make room" in answer.json()["detail"]


def test_counts_of_days_and_the_accuracy(staged):
    client = staged.client()
    client.put("/api/samples/1/label", json={"verdict": "class", "label": "red"})
    counts = client.get("/api/counts?days=7").json()
    assert len(counts["days"]) == 7
    assert counts["days"][-1]["counts"] == {"red": 1, "uncertain": 1}
    assert counts["uncertain"] == 0.5
    assert (counts["accepted_right"]["share"], counts["accepted_right"]["labels"]) == (1.0, 1)


def test_the_accuracy_is_that_of_the_model_that_runs(staged):
    client = staged.client()
    client.put("/api/samples/1/label", json={"verdict": "class", "label": "red"})
    staged.status.session = replace(staged.status.session, model="tiny 2 (fp32)")
    assert client.get("/api/counts").json()["accepted_right"] is None
    assert "Right of tiny 2 (fp32), by the labels" in client.get("/counts").text


def test_where_nothing_is_kept_it_says_so(tmp_path, tiny_bundle):
    client = stage_bin(tmp_path, tiny_bundle, keeps=False).client()
    for path in ("/api/events", "/api/samples", "/api/counts"):
        answer = client.get(path)
        assert answer.status_code == 503
        assert "[store] enabled" in answer.json()["detail"]
    assert client.get("/api/status").status_code == 200


def test_a_damaged_store_is_a_problem_and_not_a_crash(staged):
    staged.settings.store.paths.database.write_bytes(b"not a database at all" * 100)
    answer = staged.client().get("/api/events")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert str(staged.settings.store.paths.folder) not in answer.text


def test_health_counts_what_waits_and_was_lost(staged):
    staged.status.watch(
        lambda: CaptureCounts(100, 7, 3, 2, (("torn", 4),), 6),
        lambda: 0.1,
        lambda: [QueueCounts("mqtt", 5, 1, 9, "broker away")],
    )
    health = staged.client().get("/api/health").json()
    assert (health["captured"], health["overwritten"], health["too_old"], health["reconnects"]) == (100, 7, 3, 2)
    assert (health["refused"], health["repeated"]) == ({"torn": 4}, 6)
    assert health["queues"] == [{"name": "mqtt", "waiting": 5, "dropped": 1, "failures": 9, "failing": "broker away"}]
    assert health["trouble"] == ["mqtt is failing: broker away"]
    assert health["load"]["memory_bytes"] > 0
    assert {disk["holds"] for disk in health["load"]["disks"]} == {"models", "store"}
    assert [stage["stage"] for stage in health["stages"]] == ["frame"]


def test_what_was_refused_is_said_wherever_one_would_look(staged):
    client = staged.client()
    assert "goes on as it was" not in client.get("/settings").text
    error = ConfigError("unknown configuration key", where="/etc/bin.toml, key page.prot", found="8080")
    staged.reloader.refusal = Refusal(error, staged.clock.wall())
    told = "unknown configuration key; /etc/bin.toml, key page.prot; 8080"
    health = client.get("/api/health").json()
    assert health["trouble"] == [f"what was to be read last was not taken: {told}"]
    assert health["ready"], "it goes on sorting"
    assert client.get("/readyz").status_code == 200
    for path in ("/settings", "/model", "/health"):
        assert told in client.get(path).text, path
    assert "smartbin_reload_refused 1.0" in client.get("/metrics").text


def test_ready_and_alive(staged):
    client = staged.client()
    assert client.get("/readyz").json() == {"ok": True, "trouble": []}
    staged.clock.advance(3)
    late = client.get("/readyz")
    assert (late.status_code, late.json()["trouble"]) == (503, ["no frame for 3.0 s"])
    assert client.head("/readyz").status_code == 503, "many checks ask for the head alone"
    assert client.get("/healthz").status_code == 200


def test_a_lost_camera_is_alive_but_not_ready(staged):
    staged.status.event(Event(staged.clock.wall(), "lifecycle", lifecycle="CAMERA_LOST", reason="cable"))
    client = staged.client()
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").json()["trouble"] == ["the daemon is CAMERA_LOST: cable"]


def test_a_loop_that_stands_still_is_not_alive(staged):
    staged.status.watch(CaptureCounts, lambda: 8.0, list)
    for path in ("/healthz", "/readyz"):
        assert staged.client().get(path).status_code == 503


def test_the_model_and_what_may_be_installed(staged, tiny_bundle):
    offered = staged.settings.page.bundles_from
    shutil.copytree(tiny_bundle, offered / "good")
    (offered / "damaged").mkdir()
    (offered / "damaged" / "manifest.json").write_text("{}")
    (offered / ".hidden").mkdir()
    model = staged.client().get("/api/model").json()
    assert model["passed_over"] == [PASSED_OVER]
    assert model["running"] == "tiny 1 (mean-colour, fp32)"
    assert model["offers"] == [{"name": "good", "told": "tiny 1 (mean-colour, fp32)"}]
    assert (model["installed"], model["previous"], model["fixed"]) == (None, None, False)
    assert model["card"] == "# tiny\n"


def test_install_and_roll_back(staged):
    offered = staged.settings.page.bundles_from
    for version in ("1", "2"):
        write_tiny_bundle(offered / f"v{version}", version=version)
    client = staged.client()
    for version in ("1", "2"):
        done = client.post("/api/model/install", json={"name": f"v{version}"})
        assert done.status_code == 200, done.text
        assert f"tiny {version} (mean-colour, fp32) is installed" in done.json()["told"]
    assert read_bundle(staged.settings.bundles.store.current).manifest.version == "2"
    assert staged.reloader.asked == 2  # each is taken at once
    back = client.post("/api/model/rollback")
    assert staged.reloader.asked == 3
    assert "tiny 1" in back.json()["told"]
    assert read_bundle(staged.settings.bundles.store.current).manifest.version == "1"
    assert client.get("/api/model").json()["previous"] == "tiny 2 (mean-colour, fp32)"


def test_reload(staged):
    assert "read again" in staged.client().post("/api/reload").json()["told"]
    assert staged.reloader.asked == 1


def test_a_bundle_that_fails_its_self_test_is_not_installed(tmp_path, tiny_bundle):
    def fails(copy):
        raise BundleError("the bundle fails its self-test", found="another answer")

    staged = stage_bin(tmp_path, tiny_bundle, keeps=False, test=fails)
    shutil.copytree(tiny_bundle, staged.settings.page.bundles_from / "bad")
    answer = staged.client().post("/api/model/install", json={"name": "bad"})
    assert (answer.status_code, answer.json()["detail"]) == (409, "the bundle fails its self-test: another answer")
    assert staged.settings.bundles.store.current is None


def test_no_bundle_before_is_a_conflict(staged):
    assert staged.client().post("/api/model/rollback").status_code == 409


def test_one_change_of_the_model_at_a_time(staged, tiny_bundle):
    shutil.copytree(tiny_bundle, staged.settings.page.bundles_from / "good")
    shelf = staged.bin.shelf
    with shelf._changing:
        answer = staged.client().post("/api/model/install", json={"name": "good"})
    assert (answer.status_code, answer.json()["title"]) == (409, "Conflict")
    assert "at the moment" in answer.json()["detail"]


def test_an_unexpected_error_is_logged_and_told_without_details(staged, monkeypatch, caplog):
    monkeypatch.setattr(type(staged.bin.archive), "waiting_count", lambda self: 1 / 0)
    answer = staged.client(raise_server_exceptions=False).get("/api/samples")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "ZeroDivision" not in answer.text
    assert "ZeroDivisionError" in caplog.text


def test_a_newer_decision_is_the_one_told(staged):
    staged.status.event(Event(staged.clock.wall(), "decision", decision=replace(decision(3), bin="recycling")))
    staged.status.frame(view(60, 3, "DECIDED", "red"))
    assert staged.client().get("/api/status").json()["answer"]["bin"] == "recycling"


def test_another_part_of_the_picture(staged):
    client = staged.client()
    done = client.put("/api/region", json={"region": [0.1, 0.2, 0.5, 0.5]})
    assert "[presence] region = [0.100, 0.200, 0.500, 0.500]" in done.json()["told"]
    assert client.put("/api/region", json={"region": None}).status_code == 200
    assert staged.looked_at == [(0.1, 0.2, 0.5, 0.5), None]
    for wrong in ([0.9, 0, 0.5, 0.5], [0, 0, 0.01, 1]):
        assert client.put("/api/region", json={"region": wrong}).status_code == 409
    for wrong in ("all", [0, 0, 1], [0, 0, 1, 2], [-1, 0, 1, 1]):
        assert client.put("/api/region", json={"region": wrong}).status_code == 422
    assert len(staged.looked_at) == 2
    staged.status.frame(replace(view(9), region=(0.1, 0.2, 0.5, 0.5)))
    assert client.get("/api/status").json()["region"] == {"left": 0.1, "top": 0.2, "width": 0.5, "height": 0.5}


def region_setting(client):
    return next(one for one in client.get("/api/config").json() if one["key"] == "presence.region")


def test_a_drawn_region_is_shown_as_such_kept_and_given_up(staged, tmp_path):
    client = staged.client()
    assert region_setting(client)["origin"] == "default"
    client.put("/api/region", json={"region": [0.1, 0.2, 0.5, 0.5]})
    shown = region_setting(client)
    assert (shown["value"], shown["default"], shown["origin"]) == ("[0.100, 0.200, 0.500, 0.500]", "–", "page")
    assert staged.region_file.is_file()
    done = client.delete("/api/region")
    assert done.json()["told"].startswith("The bin looks at the whole picture")
    assert region_setting(client)["origin"] == "default"
    assert staged.looked_at == [(0.1, 0.2, 0.5, 0.5), None]


def test_a_region_that_cannot_be_kept_is_said_to_be_so(staged):
    staged.region_file.mkdir()
    told = staged.client().put("/api/region", json={"region": [0, 0, 0.5, 0.5]}).json()["told"]
    assert "until it is started again: it could not be kept" in told
