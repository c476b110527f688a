// Makes the live view move and lets keys give labels. Everything else works without it.
"use strict";

const said = { accepted: "", uncertain: "Unsure", too_dark: "Too dark", too_bright: "Too bright" };
const waiting = { EMPTY: "nothing there", ARRIVING: "something comes", JUDGING: "judging…", WATCHING: "watching" };
const percent = (share) => `${Math.round(100 * share)}%`;
const sure = (share) => (share > 0.99 ? ">99%" : share < 0.01 ? "<1%" : percent(share)); // no network is certain

function live(root) {
  const find = (name) => root.querySelector(`[data-${name}]`);
  const image = find("picture"), overlay = find("overlay"), region = find("region"), note = find("note"), box = find("box"), camera = find("camera");
  const pause = find("pause"), recent = find("recent"), announce = find("announce");
  let stream = null, paused = false, again = 0, unseen = "", newest = Number(root.dataset.newest || 0);

  function look() {
    clearTimeout(again);
    if (paused || document.hidden) return;
    pictures();
    stream = new EventSource("/api/live");
    stream.onmessage = (event) => show(JSON.parse(event.data));
    stream.onerror = () => say("No connection to the bin; trying again.");
  }

  function pictures() {
    unseen = "";
    image.src = `/api/live.mjpg?${Date.now()}`;
  }

  function lookAway() {
    clearTimeout(again);
    image.removeAttribute("src");
    if (stream) stream.close();
    stream = null;
  }

  function say(text) {
    note.textContent = text;
    note.hidden = !text;
  }

  image.addEventListener("error", () => {
    if (paused || document.hidden) return;
    unseen = "No live picture: others may be looking already. Trying again.";
    say(unseen);
    again = setTimeout(pictures, 5000);
  });
  document.addEventListener("visibilitychange", () => (document.hidden ? lookAway() : look()));
  window.addEventListener("pagehide", lookAway);
  window.addEventListener("pageshow", (event) => { if (event.persisted) look(); });
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    if (paused) freeze(); else { camera.querySelector("canvas")?.remove(); look(); }
  });

  function freeze() {
    const still = document.createElement("canvas");
    [still.width, still.height] = [image.naturalWidth, image.naturalHeight];
    still.getContext("2d").drawImage(image, 0, 0);
    image.after(still);
    lookAway();
    say("Paused.");
  }

  function show(now) {
    const late = `no picture for ${now.without_frame_s.toFixed(0)} s`, running = now.lifecycle === "RUNNING";
    const lost = now.lifecycle === "CAMERA_LOST" ? `The camera is lost, ${late}: ${now.reason || "no reason given"}.`
      : !running ? `The bin is ${now.lifecycle.toLowerCase()}.` : now.without_frame_s > 2 ? `There is ${late}.` : "";
    say(lost || unseen);
    for (const step of root.querySelectorAll("[data-step]")) {
      const current = running && step.dataset.step === now.state;
      step.classList.toggle("now", current);
      if (current) step.setAttribute("aria-current", "step"); else step.removeAttribute("aria-current");
    }
    const answer = now.answer;
    const kind = answer ? answer.kind : running && now.light && now.light !== "ok" ? now.light : "none";
    const headline = find("headline");
    headline.className = `headline ${kind}`;
    headline.textContent = answer ? said[answer.kind] || answer.label : now.learning ? "learning the empty bin"
      : !running ? now.lifecycle.toLowerCase().replace("_", " ") : kind !== "none" ? said[kind] : waiting[now.state] || "";
    find("under").textContent = !answer ? "" : answer.kind === "accepted"
      ? `${sure(answer.confidence)} sure → ${answer.bin}`
      : answer.label ? `perhaps ${answer.label}, ${sure(answer.confidence)} → ${answer.bin}` : `→ ${answer.bin}`;
    camera.dataset.said = answer ? answer.kind : "";
    bars(now.probabilities);
    place(box, now.box);
    place(region, now.region);
    text("light", { ok: "good", too_dark: "too dark", too_bright: "too bright" }[now.light] || "–");
    text("luma", now.mean_luma?.toFixed(2) ?? "–");
    text("gamma", now.gamma == null ? "–" : now.gamma === 1 ? "1 (not corrected)" : now.gamma.toFixed(2));
    text("clipped", now.clipped_fraction == null ? "–" : percent(now.clipped_fraction));
    text("fps", now.fps.toFixed(1));
    text("frame", String(now.frame));
    if (answer && answer.time_ms > newest) { newest = answer.time_ms; tell(answer); }
  }

  function text(name, value) {
    const place = find(name);
    if (place.textContent !== value) place.textContent = value;
  }

  function bars(probabilities) {
    const best = Math.max(0, ...Object.values(probabilities));
    for (const bar of root.querySelectorAll("[data-class]")) {
      const told = probabilities[bar.dataset.class];
      const share = told ?? 0;
      const top = share > 0 && share === best;
      bar.value = share;
      bar.classList.toggle("top", top);
      bar.parentElement.previousElementSibling.classList.toggle("top", top);
      bar.parentElement.nextElementSibling.textContent = told == null ? "" : sure(share);
    }
  }

  function place(rect, where) {
    const [w, h] = [image.naturalWidth || 4, image.naturalHeight || 3];
    overlay.removeAttribute("hidden");
    overlay.setAttribute("viewBox", `0 0 ${w} ${h}`);
    const { left, top, width, height } = where || { left: 0, top: 0, width: 0, height: 0 };
    rect.setAttribute("x", left * w);
    rect.setAttribute("y", top * h);
    rect.setAttribute("width", width * w);
    rect.setAttribute("height", height * h);
  }

  function draw() {
    const details = find("drawing"), drawn = find("drawn");
    const fields = ["left", "top", "width", "height"].map((name) => details.querySelector(`[name=${name}]`));
    let from = null;
    const shown = () => fields.map((field) => Number(field.value) / 100);
    const show = () => {
      const [left, top, width, height] = shown();
      place(drawn, details.open ? { left, top, width, height } : null);
    };
    const at = (event) => {  // in parts of the picture, which may leave room at two sides of its place
      const area = camera.getBoundingClientRect(), [w, h] = [image.naturalWidth || 4, image.naturalHeight || 3];
      const scale = Math.min(area.width / w, area.height / h);
      const part = (value, start, room, size) => Math.min(1, Math.max(0, (value - start - (room - size) / 2) / size));
      return [part(event.clientX, area.left, area.width, w * scale), part(event.clientY, area.top, area.height, h * scale)];
    };
    details.addEventListener("toggle", () => { camera.classList.toggle("drawing", details.open); show(); });
    for (const field of fields) field.addEventListener("input", show);
    camera.addEventListener("pointerdown", (event) => {
      if (!details.open || event.target === pause) return;
      event.preventDefault();
      from = at(event);
      camera.setPointerCapture(event.pointerId);
    });
    camera.addEventListener("pointermove", (event) => {
      if (!from) return;
      const to = at(event);
      const values = [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1])];
      values.forEach((value, number) => { fields[number].value = (Math.floor(1000 * value) / 10).toFixed(1); });
      show();
    });
    for (const end of ["pointerup", "pointercancel"]) camera.addEventListener(end, () => { from = null; });
  }

  function tell(answer) {
    const word = answer.kind === "accepted" ? answer.label : said[answer.kind].toLowerCase();
    announce.textContent = `Item ${answer.item}: ${word}, to ${answer.bin}`;
    const item = document.createElement("li");
    const time = document.createElement("time");
    time.textContent = new Date(answer.time_ms).toLocaleTimeString("en-GB");
    const tag = document.createElement("span");
    tag.className = `tag ${answer.kind}`;
    tag.textContent = word;
    const rest = document.createElement("span");
    rest.textContent = `${answer.confidence ? sure(answer.confidence) + " " : ""}→ ${answer.bin}`;
    item.append(time, tag, rest);
    recent.prepend(item);
    find("no-decisions")?.remove();
    while (recent.children.length > 8) recent.lastElementChild.remove();
  }

  draw();
  if (document.readyState === "complete") look(); else window.addEventListener("load", look);
}

function keys(root) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input, select, textarea")) return;
    const button = root.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
    if (!button || root.dataset.sent) return;
    event.preventDefault();
    button.click();
  });
  for (const form of root.querySelectorAll("form")) {
    form.addEventListener("submit", (event) => {
      if (root.dataset.sent) event.preventDefault();
      root.dataset.sent = "yes";
    });
  }
}

function upload(form) {
  const [file, button, progress] = ["input", "button", "progress"].map((name) => form.querySelector(name));
  const told = document.querySelector("[data-uploaded]"), label = button.textContent;
  form.hidden = false;

  function say(text, kind) {
    told.textContent = text;
    told.className = `notice ${kind}`;
    told.hidden = !text;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const bundle = file.files[0];
    if (!bundle || button.disabled) return;
    if (bundle.size > form.dataset.mostMb * 1e6) return say(`Nothing was changed: a bundle may have ${form.dataset.mostMb} MB at most.`, "bad");
    say("", "");
    [button.disabled, progress.hidden, progress.value] = [true, false, 0];
    button.textContent = "Sending…";
    const request = new XMLHttpRequest();
    request.open("POST", form.dataset.upload);
    request.setRequestHeader("content-type", "application/x-tar");
    request.setRequestHeader("x-csrf-token", form.dataset.proof);
    request.responseType = "json";
    request.upload.addEventListener("progress", (sent) => { progress.value = sent.loaded / sent.total; });
    request.upload.addEventListener("load", () => { button.textContent = "Testing…"; });
    request.addEventListener("loadend", () => {
      [button.disabled, progress.hidden, button.textContent] = [false, true, label];
      const answer = request.response || {};
      if (request.status === 200) say(answer.told, "good");
      else say(`Nothing was changed: ${answer.detail || "the connection to the bin ended"}.`, "bad");
    });
    request.send(bundle);
  });
}

for (const root of document.querySelectorAll("[data-live]")) live(root);
for (const form of document.querySelectorAll("[data-upload]")) upload(form);
for (const root of document.querySelectorAll("[data-keys]")) keys(root);
for (const chosen of document.querySelectorAll("select[data-go]")) {
  chosen.addEventListener("change", () => chosen.form.requestSubmit());
}
for (const button of document.querySelectorAll("button[data-busy]")) {
  button.form.addEventListener("submit", () => { button.textContent = button.dataset.busy; });
}
