// The officer's screen: draws the state that the device tells, and takes what is pressed.
// Text always goes in as text.

import { $, apart, h, lang, parse, post, say, span, t, tx } from "./base.js";
import { draw as drawFingers } from "./fingers.js";
import { distance, draw as drawMap } from "./map.js";

// What is pressed is 15 mm: a millimetre of this screen in CSS pixels.
const inches = Number(document.documentElement.dataset.inches);
const diagonal = Math.hypot(screen.width, screen.height);
document.documentElement.style.setProperty("--mm", Math.min(12, Math.max(3.5, diagonal / (25.4 * inches))).toFixed(3) + "px");

for (const a of document.querySelectorAll(".bar nav a")) if (a.lang === lang) a.setAttribute("aria-current", "true");

const clockFormat = new Intl.DateTimeFormat(lang, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const clock = (at) => clockFormat.format(new Date(at));

// The state, and when it came by this machine's steady clock.

let state = null, came = 0, selected = null;
const seen = new Set(); // incidents that this screen has told of

// chime calls for a look, where the browser lets a page sound without a touch.
function chime() {
  try {
    const sound = new AudioContext(), tone = sound.createOscillator(), volume = sound.createGain();
    volume.gain.value = 0.3;
    tone.frequency.setValueAtTime(660, sound.currentTime);
    tone.frequency.setValueAtTime(880, sound.currentTime + 0.25);
    tone.connect(volume).connect(sound.destination);
    tone.start();
    tone.stop(sound.currentTime + 0.6);
    tone.onended = () => sound.close();
  } catch {
    // No sound here: the screen shows it.
  }
}

const deviceNow = () => (state?.now ? Date.parse(state.now) + performance.now() - came : null);

function draw() {
  const s = state;
  document.documentElement.classList.toggle("night", s.night);
  $("device").textContent = s.device;
  $("link").dataset.state = s.link;
  $("link").textContent = t("link." + s.link);
  // The device says since when: a page that was just loaded knows it as well.
  $("since").hidden = s.link === "live";
  $("since").textContent = s.link === "live" ? "" : s.lost_since ? t("link.since", { at: clock(s.lost_since), span: span(s.lost_s) }) : t("link.since_span", { span: span(s.lost_s) });
  const waiting = s.queue.alarm + s.queue.duty;
  $("queue").textContent = s.queue.alarm ? t("queue.alarm", { n: s.queue.alarm }) : waiting ? t("queue.some", { n: waiting }) : s.queue.track ? t("queue.track") : t("queue.none");
  drawFix(s);
  $("drill").hidden = !s.drill;
  $("officer").textContent = s.duty ? t("officer", { id: s.duty.officer }) : "";
  $("faults").hidden = s.faults.length === 0;
  $("faults").textContent = t("faults", { list: s.faults.map(fault).join(t("comma")) });
  $("sign-off").hidden = !s.duty;
  drawDoing(s);
  $("help-state").textContent = s.help ? t("help." + s.help.step, { unit: s.help.unit }) : "";
  const tasks = s.duty?.tasks ?? [];
  // What is new goes before what is over; what somebody is busy with stays.
  const fresh = tasks.filter((x) => x.state === "assigned" && !seen.has(x.incident));
  const now = tasks.find((x) => x.incident === selected);
  if (!now || (now.state !== "assigned" && fresh.length)) selected = (fresh[0] ?? tasks[0])?.incident ?? null;
  for (const x of fresh) {
    seen.add(x.incident);
    say(t("say.assigned", { what: tx("kind", x.kind) + " · " + apart(x.name || x.device) }));
    chime();
  }
  $("off").hidden = !!s.duty;
  $("idle").hidden = !s.duty || tasks.length > 0;
  $("task").hidden = !s.duty || tasks.length === 0;
  drawOff(s);
  drawFingers(s);
  if (selected) drawTask(tasks.find((x) => x.incident === selected), tasks);
  drawSheet();
}

function fault(code) {
  const [kind, part] = code.split(/:(.*)/, 2);
  return apart(tx("fault", kind)) + (part ? ` (${apart(part)})` : "");
}

function drawFix(s) {
  const f = s.fix;
  $("fix").className = "plain" + (f?.quality === "live" ? "" : " doubt");
  $("fix").textContent = !s.gps ? t("fix.no_receiver") : !f ? t("fix.searching")
    : f.quality === "live" ? t("fix.live", { mode: f.mode, within: f.within_m ? t("fix.within", { n: f.within_m }) : "" })
    : t("fix.old", { span: span(f.age_s) });
  $("fix").title = f?.text ?? "";
}

function drawOff(s) {
  $("off-finger").hidden = !s.reader;
  $("pin").hidden = !s.pin;
  $("off-waiting").hidden = s.waiting === 0;
  $("off-waiting").textContent = t("off.waiting", { n: s.waiting });
  for (const b of document.querySelectorAll("#keypad button")) b.disabled = s.locked_s > 0;
  if (s.locked_s > 0) pinFault(t("error.locked", { span: span(s.locked_s) }));
  else if (pinLocked) pinFault(null);
  pinLocked = s.locked_s > 0;
}
let pinLocked = false;

function drawTask(x, tasks) {
  $("tabs").hidden = tasks.length < 2;
  const label = (y) => tx("kind", y.kind) + " · " + apart(y.name || y.device || "#" + y.incident);
  const tab = (y) => (y.state === "assigned" ? label(y) : t("over.tab", { what: label(y) }));
  if (tasks.length > 1) {
    const key = JSON.stringify([selected, tasks.map((y) => [y.incident, tab(y)])]);
    if ($("tabs").dataset.key !== key) {
      $("tabs").dataset.key = key;
      $("tabs").replaceChildren(...tasks.map((y) => {
        const b = h("button", { type: "button", "aria-pressed": String(y.incident === selected), class: y.state === "assigned" ? null : "over" }, tab(y));
        b.addEventListener("click", () => { selected = y.incident; draw(); });
        return b;
      }));
    }
  }
  $("task-title").textContent = label(x);
  const over = x.state !== "assigned";
  $("task-badges").replaceChildren(...[
    h("span", { class: "badge" }, t("incident", { id: x.incident })),
    x.priority > 0 && h("span", { class: "badge p" + x.priority }, t("priority", { n: x.priority })),
    x.drill && h("span", { class: "badge drill" }, t("drill")),
    x.silent && h("span", { class: "badge p1" }, t("silent")),
    h("span", { class: "badge" + (over ? " over" : "") }, over ? t("task." + x.state) : tx("stage", x.stage)),
  ].filter(Boolean));
  $("over").hidden = !over;
  $("do").hidden = over;
  if (over) drawOver(x);
  const facts = [];
  const fact = (name, value, doubt) => facts.push(h("dt", {}, name), h("dd", { class: doubt ? "doubt" : null }, value));
  if (x.pressed) {
    const age = deviceNow() === null ? "" : " · " + t("ago", { span: span(Math.max(0, (deviceNow() - Date.parse(x.pressed)) / 1000)) });
    fact(t("fact.pressed"), clock(x.pressed) + (x.pressed_within_s >= 1 ? ` ± ${span(x.pressed_within_s)}` : "") + age, x.pressed_within_s >= 60);
  } else if (!over) fact(t("fact.pressed"), t("fact.unknown"), true);
  if (!x.place && over) { /* it was over before this device knew of it */ } else if (!x.place) fact(t("fact.place"), t("fact.unknown"), true);
  else fact(t("fact.place"), x.source === "surveyed" ? t("fact.surveyed") : t("fact.gnss", { span: span(x.place_age_s) }) + (x.within_m ? t("fix.within", { n: x.within_m }) : ""), x.source !== "surveyed" && x.place_age_s > 60);
  if (x.note) fact(t("fact.note"), x.note);
  $("task-facts").replaceChildren(...facts);
  const photos = new Map((state.duty.photos ?? []).map((p) => [p.id, p]));
  $("task-said").replaceChildren(...x.said.map((a) => h("li", {}, h("time", {}, clock(a.at)), h("b", {}, tx("answer", a.answer)),
    a.code && h("span", {}, tx("code", a.code)), a.note && h("span", { dir: "auto" }, a.note),
    h("span", { class: a.sent ? "dim" : "doubt" }, a.sent ? t("said.sent") : t("said.waiting")))).reverse(),
    ...x.photos.map((id) => h("li", {}, h("b", {}, t("photo.one")), h("span", { class: photos.has(id) ? "doubt" : "dim" },
      photos.has(id) ? t("photo.part", { n: photos.get(id).sent, of: photos.get(id).parts }) : t("said.sent")))));
  const done = new Set(x.said.map((a) => a.answer));
  const next = ["accepted", "en_route", "on_scene", "checked", "closed"].find((a) => !done.has(a) && !(a === "en_route" && done.has("on_scene")));
  for (const b of document.querySelectorAll("#do button")) {
    const answer = b.dataset.answer ?? b.dataset.open;
    b.disabled = over;
    b.classList.toggle("primary", answer === next && !over);
    b.toggleAttribute("data-done", done.has(answer));
  }
  $("metres").textContent = x.metres === null ? t("far.unknown") : distance(x.metres);
  $("bearing").textContent = x.bearing === null ? "" : `${Math.round(x.bearing)}° ${tx("wind", Math.round(x.bearing / 45) % 8)}`;
  drawMap(state, x);
}

// drawOver says plainly that there is nothing left to do there, why, and by whom.
function drawOver(x) {
  const refused = x.state === "withdrawn" && x.said.at(-1)?.answer === "refused";
  const by = x.by === "centre" ? t("over.centre") : x.by;
  $("over-what").textContent = refused ? t("over.refused") : x.code ? t("over.ended_as", { code: tx("code", x.code) }) : x.state === "ended" ? t("over.ended") : t("over.withdrawn");
  $("over-who").textContent = [by && !refused ? t("over.by", { by }) : "", x.over ? clock(x.over) : ""].filter(Boolean).join(" · ");
}
$("put-away").addEventListener("click", () => post(`tasks/${selected}/put-away`).catch(complain));

// Answers.

for (const b of document.querySelectorAll("#do [data-answer]")) {
  b.addEventListener("click", async () => {
    b.disabled = true;
    try {
      await post(`tasks/${selected}/answer`, { answer: b.dataset.answer });
      say(t("done", { what: b.textContent }));
    } catch (e) {
      complain(e);
    } finally {
      b.disabled = false;
    }
  });
}
function complain(e) {
  $("lost").textContent = e.message;
  $("lost").hidden = false;
  setTimeout(() => { if (live) $("lost").hidden = true; }, 8000);
}

// The sheet for what needs more than a press: checked, closed, refused.

let sheet = null, taken = [];
const dialog = $("sheet");
for (const b of document.querySelectorAll("#do [data-open]")) b.addEventListener("click", () => open(b.dataset.open));

function open(which) {
  sheet = { which, incident: selected };
  taken = [];
  $("sheet-title").textContent = t("sheet." + which);
  $("codes").hidden = which !== "closed";
  for (const r of document.querySelectorAll("#codes input")) r.checked = false;
  $("photo-label").hidden = which !== "checked";
  $("note").value = "";
  $("sheet-send").textContent = t("do." + which);
  sheetFault(null);
  $("phrases").replaceChildren(...[1, 2, 3].map((n) => {
    const text = t(`phrase.${which}.${n}`), b = h("button", { type: "button" }, text);
    b.addEventListener("click", () => { $("note").value = ($("note").value ? $("note").value + t("comma") : "") + text; });
    return b;
  }));
  drawSheet();
  dialog.showModal();
}
const sheetFault = (text) => { $("sheet-error").hidden = !text; $("sheet-error").textContent = text ?? ""; };

function drawSheet() {
  if (!sheet) return;
  const task = state?.duty?.tasks.find((x) => x.incident === sheet.incident);
  if (!task) { // signed off, or no longer this unit's
    dialog.close();
    return;
  }
  const photos = taken.length ? taken : [];
  $("sheet-photos").textContent = photos.length ? t("photo.taken", { n: photos.length }) : "";
}
dialog.addEventListener("close", () => { sheet = null; });
$("sheet-cancel").addEventListener("click", () => dialog.close());
$("photo").addEventListener("change", async (e) => {
  const file = e.target.files[0], incident = sheet?.incident;
  e.target.value = "";
  if (!file || !incident) return;
  try {
    const { id } = await post(`tasks/${incident}/photo`, await small(file), "image/jpeg");
    taken = [...new Set([...taken, id])];
    sheetFault(null);
  } catch (error) {
    sheetFault(error.message);
  }
  drawSheet();
});

// small returns a JPEG of at most 2 MB: the file itself where it is, else drawn smaller.
async function small(file) {
  const most = 2 << 20;
  if (file.type === "image/jpeg" && file.size <= most) return file;
  const image = await createImageBitmap(file);
  for (let side = 2048; side >= 512; side /= 2) {
    const scale = Math.min(1, side / Math.max(image.width, image.height));
    const canvas = new OffscreenCanvas(Math.round(image.width * scale), Math.round(image.height * scale));
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.8 });
    if (blob.size <= most) return blob;
  }
  throw new Error(t("error.photo"));
}

$("sheet-send").addEventListener("click", async () => {
  const { which, incident } = sheet;
  const code = document.querySelector("#codes input:checked")?.value ?? "";
  if (which === "closed" && !code) return sheetFault(t("error.code"));
  if (which === "refused" && !$("note").value.trim()) return sheetFault(t("error.why"));
  $("sheet-send").disabled = true;
  try {
    await post(`tasks/${incident}/answer`, { answer: which, code: which === "closed" ? code : "", note: $("note").value.trim(), photos: taken });
    say(t("done", { what: t("do." + which) }));
    dialog.close();
  } catch (e) {
    sheetFault(e.message);
  } finally {
    $("sheet-send").disabled = false;
  }
});

// What the unit does beside its assignments: free, busy, out of service.

const doing = $("doing");
function drawDoing(s) {
  const b = $("doing-open"), d = s.duty?.doing, what = d?.state ?? "available";
  b.hidden = !s.duty;
  b.dataset.state = what;
  b.replaceChildren(h("span", {}, t("doing." + what)), ...(d ? [h("small", { class: d.sent ? null : "doubt" }, clock(d.at) + " · " + t(d.sent ? "said.sent" : "said.waiting"))] : []));
  if (!s.duty && doing.open) doing.close();
}
const doingFault = (text) => { $("doing-error").hidden = !text; $("doing-error").textContent = text ?? ""; };
$("doing-open").addEventListener("click", () => {
  for (const r of document.querySelectorAll("#doing input[type=radio]")) r.checked = r.value === (state?.duty?.doing?.state ?? "available");
  $("doing-reason").value = state?.duty?.doing?.reason ?? "";
  $("doing-phrases").replaceChildren(...[1, 2, 3].map((n) => {
    const text = t("phrase.doing." + n), b = h("button", { type: "button" }, text);
    b.addEventListener("click", () => { $("doing-reason").value = text; });
    return b;
  }));
  doingFault(null);
  doing.showModal();
});
$("doing-cancel").addEventListener("click", () => doing.close());
$("doing-send").addEventListener("click", async () => {
  const what = document.querySelector("#doing input[type=radio]:checked").value, free = what === "available";
  $("doing-send").disabled = true;
  try {
    await post("doing", { state: what, reason: free ? "" : $("doing-reason").value.trim() });
    say(t("done", { what: t("doing." + what) }));
    doing.close();
  } catch (e) {
    doingFault(e.message);
  } finally {
    $("doing-send").disabled = false;
  }
});

// Help: held for a second, so that a sleeve does not call. The keyboard calls at once.

let hold = null;
const help = $("help");
async function callHelp() {
  letGo();
  try {
    const task = state?.duty?.tasks.find((x) => x.state === "assigned");
    if (task) await post(`tasks/${task.incident}/answer`, { answer: "need_help" });
    else await post("help");
    say(t("help.stored"));
  } catch (e) {
    complain(e);
  }
}
function letGo() {
  clearTimeout(hold);
  hold = null;
  help.classList.remove("held");
}
help.addEventListener("pointerdown", () => {
  help.classList.add("held");
  hold = setTimeout(callHelp, 1000);
});
for (const e of ["pointerup", "pointerleave", "pointercancel"]) help.addEventListener(e, letGo);
help.addEventListener("contextmenu", (e) => e.preventDefault());
help.addEventListener("keydown", (e) => { if ((e.key === "Enter" || e.key === " ") && !e.repeat) callHelp(); });

// Signing on by PIN.

const fields = [$("pin-number"), $("pin-pin")];
let field = 0;
const pinFault = (text) => { $("pin-error").hidden = !text; $("pin-error").textContent = text ?? ""; };
for (const [n, input] of fields.entries()) input.addEventListener("focus", () => { field = n; });
for (const key of ["1", "2", "3", "back", "4", "5", "6", "next", "7", "8", "9", "0"]) {
  const b = h("button", { type: "button", "aria-label": key === "back" ? t("pin.back") : null }, key === "back" ? "⌫" : key === "next" ? t("pin.next") : key);
  b.addEventListener("click", () => {
    const input = fields[field];
    if (key === "back") input.value = input.value.slice(0, -1);
    else if (key !== "next") input.value += key;
    else if (field === 0) fields[1].focus();
    else signOn();
  });
  $("keypad").append(b);
}
$("pin").addEventListener("submit", (e) => { e.preventDefault(); signOn(); });
for (const input of fields) input.addEventListener("keydown", (e) => { if (e.key === "Enter") { e.preventDefault(); field === 0 ? fields[1].focus() : signOn(); } });
async function signOn() {
  try {
    await post("sign-on", { number: fields[0].value, pin: fields[1].value });
    pinFault(null);
    fields[0].value = "";
  } catch (e) {
    pinFault(e.message);
  }
  fields[1].value = "";
  field = 0;
}
$("sign-off").addEventListener("click", () => post("sign-off").catch(complain));

// The device's own word, all the time. What stands here is never shown as live without it.

let live = false;
function lose() {
  if (!live) return;
  live = false;
  $("lost").textContent = t("lost");
  $("lost").hidden = false;
}
let source = null;
function follow() {
  source?.close();
  source = new EventSource("/api/stream");
  source.onmessage = (e) => {
    state = parse(e.data);
    came = performance.now();
    if (!live) {
      live = true;
      $("lost").hidden = true;
    }
    draw();
    drawClock();
  };
}
follow();
function drawClock() {
  const at = deviceNow();
  $("clock").textContent = at === null ? "--:--" : clock(at);
}
setInterval(() => {
  drawClock();
  if (state && performance.now() - came > 4000) {
    lose();
    if (source.readyState === EventSource.CLOSED) follow();
  }
}, 500);
addEventListener("resize", () => { if (state) draw(); });
