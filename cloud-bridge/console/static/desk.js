// The dispatch desk: joins what the centre tells with the parts of the page.

import { Refusal, follow, get } from "./api.js";
import * as detail from "./detail.js";
import * as strip from "./devices.js";
import { $, typing } from "./dom.js";
import * as filter from "./filter.js";
import * as gaps from "./gaps.js";
import * as map from "./map.js";
import { devices, found, group, incidents, move, place, putDevice, putIncident, states } from "./model.js";
import * as queue from "./queue.js";
import * as sound from "./sound.js";
import * as steps from "./steps.js";
import { areas, boot, clock, now, setCentreClock, span, t, tickAll, tx } from "./text.js";

let selected = null; // an incident's id
let device = null; // or a device's
let loaded = false;
const wide = matchMedia("(min-width: 900px)");

const say = (text) => { $("say").textContent = text; };

// Drawing. Incidents are few and urgent: each change of one is drawn in the next frame.
// Devices can be thousands that report all the time: they are drawn once a second.

let frame = null, due = null;
function changed() {
  frame ??= requestAnimationFrame(drawIncidents);
  // A page that is not in sight gets no frames, and its title must tell all the same.
  if (document.hidden) title();
}

function drawIncidents() {
  frame = null;
  queue.draw(selected, choose);
  detail.draw(selected);
  gaps.draw(device);
  map.draw(selected);
  title();
  changedLater();
}

function changedLater() {
  due ??= setTimeout(drawDevices, 1000);
}

function drawDevices() {
  clearTimeout(due);
  due = null;
  strip.draw(device, chooseDevice);
  map.draw(selected);
  const unit = device ?? incidents.get(selected)?.dispatched?.unit;
  map.track(devices.has(unit) ? unit : null); // a unit may be no device of ours
}

filter.setUp(() => {
  changed();
  drawDevices();
});

function choose(id) {
  selected = id;
  device = null;
  history.replaceState(null, "", location.pathname + location.search + (id ? "#incident=" + id : ""));
  document.documentElement.classList.toggle("chosen", !!id);
  drawIncidents();
  map.show(incidents.get(id)?.position);
}

// chooseDevice shows a device's report until an incident is chosen: by a person, or by
// the next alarm.
function chooseDevice(id) {
  choose(null);
  device = id;
  history.replaceState(null, "", "#device=" + id);
  document.documentElement.classList.add("chosen");
  drawIncidents();
  drawDevices();
  if (devices.has(id)) map.show(place(devices.get(id)));
}

function title() {
  const open = group("open").filter((i) => !found(i));
  const lost = staleSince !== null ? t("title.lost") : storage.ok ? "" : t("title.storage");
  document.title = lost + (open.length ? t("title.open", { n: open.length, name: queue.name(open[0]) }) : t("app.title"));
}

// New alarms ring at once and again until somebody takes them.

let lastRing = 0;
function ring() {
  const open = group("open").filter((i) => !found(i)); // What the centre found itself is seen, and does not ring.
  if (!open.length || Date.now() - lastRing < 5000) return;
  lastRing = Date.now();
  sound.ring(open.every((i) => i.drill), Math.max(...open.map((i) => i.level ?? 0)));
}

function arrived(incident) {
  if (incident.state !== "open") return;
  if (Date.now() - lastRing > 1500) lastRing = 0; // Two rings at once would be noise.
  ring();
  say(t("say.alarm", { name: queue.name(incident) }));
  if (!selected && wide.matches) choose(incident.id);
}

function drawSound() {
  const button = $("sound");
  button.textContent = sound.audible() ? t("sound.on") : sound.blocked() ? t("sound.blocked") : t("sound.off");
  button.setAttribute("aria-pressed", sound.audible());
  button.classList.toggle("wanting", !sound.audible());
}
$("sound").addEventListener("click", async () => {
  await sound.toggle();
  drawSound();
  if (sound.audible()) sound.ring(true);
});
// Any first touch of the page frees a bell that was wanted before. It counts when it is
// over: the bar may break its lines anew, and what was touched must not slip away.
for (const gesture of ["click", "keydown"]) {
  document.addEventListener(gesture, async (e) => {
    if (e.target instanceof Node && $("sound").contains(e.target)) return;
    await sound.unlock();
    drawSound();
  }, { once: true });
}
drawSound();

// The link. What stands on the page is called live only while the centre is heard.

let staleSince = null, nextTry = 0, lastWarning = 0, outdated = false;

// Whether the centre can store events: while it cannot, no new alarm comes to this page.
let storage = { ok: true };

function drawStorage() {
  $("storage").hidden = storage.ok;
  if (storage.ok) return;
  const text = t("storage.trouble", { cause: tx("storage", storage.cause) });
  if ($("storage-text").textContent !== text) $("storage-text").textContent = text; // said once
  $("storage-text").title = storage.detail;
  $("storage-since").replaceChildren(t("storage.since", { at: clock(storage.since) }));
}

// A person who does not look at the page must still learn that it would not ring.
function warn() {
  const since = staleSince ?? (storage.ok ? null : Date.parse(storage.since));
  if (since === null || now() - since < 5000 || Date.now() - lastWarning < 30_000) return;
  lastWarning = Date.now();
  sound.warn();
}

function drawLink() {
  const live = staleSince === null && loaded;
  const pill = $("link");
  pill.dataset.state = staleSince !== null ? "lost" : loaded ? "live" : "connecting";
  $("link-text").textContent = staleSince !== null ? t("link.lost") : loaded ? t("link.live") : t("link.connecting");
  document.documentElement.classList.toggle("old", !live);
  $("stale").hidden = staleSince === null;
  if (staleSince !== null) {
    $("stale-age").textContent = t("stale.age", { span: span(now() - staleSince) });
    const wait = Math.ceil((nextTry - Date.now()) / 1000);
    $("stale-next").textContent = wait > 0 ? t("stale.next", { n: wait }) : t("stale.trying");
  }
}

// While everything is being fetched, changes wait, so that none is undone by an answer
// that was written before it.
let waiting = null;

async function fetchAll() {
  const mine = [];
  waiting = mine;
  try {
    fetchGrid();
    const [open, closed, all, refused] = await Promise.all([
      get("/incidents?state=open,acknowledged,dispatched,en_route,on_scene,checked,suspended&limit=1000"),
      get("/incidents?state=closed&limit=20"),
      get("/devices"),
      boot.me.scope === "*" ? get("/refused") : { total: 0, by_reason: {}, recent: [] }, // it is of the whole district
    ]);
    if (waiting !== mine) return; // A later hello has taken over.
    const before = new Set([...incidents.values()].filter((i) => i.state === "open").map((i) => i.id));
    const list = [...open.incidents, ...closed.incidents];
    const have = new Set(list.map((i) => i.id));
    for (const id of incidents.keys()) if (!have.has(id) && id !== selected) incidents.delete(id);
    for (const i of list) putIncident(i);
    detail.told(selected);
    devices.clear();
    for (const d of all.devices) putDevice(d);
    strip.drawRefused(refused);
    waiting = null;
    const first = !loaded;
    loaded = true;
    staleSince = null;
    queue.loaded();
    for (const [kind, object] of mine) take(kind, object);
    if (device) gaps.changed(device);
    if (first) chooseFirst();
    for (const i of group("open")) if (!before.has(i.id)) arrived(i);
    drawIncidents();
    drawDevices();
    drawLink();
  } catch (e) {
    if (!(e instanceof Refusal)) throw e;
    if (waiting !== mine) return;
    setTimeout(() => { if (waiting === mine) fetchAll(); }, 2000);
  }
}

// A device whose faults or queue have changed is fetched as a whole, soon and in turn.
const stale = new Set();
let fetching = false;
async function fetchStale() {
  if (fetching) return;
  fetching = true;
  try {
    while (stale.size) {
      const id = stale.values().next().value;
      stale.delete(id);
      try {
        putDevice(await get("/devices/" + encodeURIComponent(id)));
        changedLater();
      } catch (e) {
        if (!(e instanceof Refusal)) throw e;
        // The next move will ask again.
      }
      await new Promise((done) => setTimeout(done, 50));
    }
  } finally {
    fetching = false;
  }
}

function moved({ at, moves, gone }) {
  const when = Date.parse(at);
  for (const id of gone) devices.delete(id);
  for (const row of moves) {
    if (!move(when, row)) stale.add(row[0]);
    if (row[0] === device) {
      stale.add(device);
      gaps.changed(device);
    }
  }
  fetchStale();
  changedLater();
}

// The grid: names of areas, their borders on the map, and what can be filtered by.
async function fetchGrid() {
  try {
    const grid = await get("/grid");
    areas.clear();
    for (const f of grid.features) areas.set(f.properties.id, f.properties);
    filter.options("tier", grid.features.filter((f) => f.properties.level !== "cell").map((f) => [f.properties.id, f.properties.name ?? f.properties.id]));
    map.grid(grid);
    changed();
  } catch (e) {
    if (!(e instanceof Refusal)) throw e; // the next hello asks again
  }
}

function chooseFirst() {
  const report = /^#device=([a-z0-9-]+)$/.exec(location.hash)?.[1];
  if (report && devices.has(report)) {
    chooseDevice(report);
    return;
  }
  const wanted = /^#incident=(\d+)$/.exec(location.hash)?.[1];
  if (wanted) {
    choose(wanted);
    if (!incidents.has(wanted)) detail.refresh(wanted).then(() => choose(wanted));
  } else if (!selected && wide.matches) {
    const first = states.slice(0, 3).flatMap((s) => group(s))[0];
    if (first) choose(first.id);
  }
}

function take(kind, object) {
  if (kind === "moves") moved(object);
  else if (kind === "grid") boot.me.scope === "*" ? fetchGrid() : fetchAll(); // what one sees is another part now
  else if (["unit", "group", "drill", "roster", "round"].includes(kind)) return; // other pages show these
  else if (kind === "device") {
    putDevice(object);
    gaps.changed(object.id);
    changedLater();
  } else if (kind === "incident") {
    const known = incidents.get(object.id);
    putIncident(object);
    detail.told(object.id);
    changed();
    if (!known || object.presses > known.presses) arrived(incidents.get(object.id));
  } else strip.drawRefused(object);
}

follow({
  hello(hello) {
    outdated = hello.version !== boot.version;
    fetchAll();
  },
  storage(state) {
    storage = state;
    drawStorage();
    title();
  },
  moves(all) {
    if (waiting) waiting.push(["moves", all]);
    else moved(all);
  },
  change(kind, object) {
    if (waiting) waiting.push([kind, object]);
    else take(kind, object);
  },
  lost(heard) {
    if (staleSince === null && loaded) {
      staleSince = now() - (heard === null ? 0 : Date.now() - heard);
      $("stale-text").textContent = t("stale.since", { at: clock(staleSince) });
    }
    drawLink();
    title();
  },
  retry(wait) {
    nextTry = Date.now() + wait;
    drawLink();
  },
});

// The keyboard. Shortcuts are single letters, off while text is being typed.

document.addEventListener("keydown", (e) => {
  if (typing() || e.ctrlKey || e.metaKey || e.altKey) return;
  const order = states.flatMap((s) => group(s)).filter(filter.incident).map((i) => i.id);
  const move = (by) => {
    const to = order[Math.min(order.length - 1, Math.max(0, order.indexOf(selected) + by))];
    if (to) choose(to);
    document.querySelector('.card[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
  };
  const keys = {
    j: () => move(1), k: () => move(-1), "/": () => $("filter-q").focus(), m: () => map.focus(),
    a: () => detail.press("acknowledge"), d: () => detail.press("dispatch"), c: () => detail.press("close"), p: () => print(),
    ...Object.fromEntries(Object.entries(steps.keys).map(([key, step]) => [key, () => detail.press(step)])),
  };
  const act = keys[e.key.toLowerCase()];
  if (act) {
    e.preventDefault();
    act();
  }
});

for (const button of document.querySelectorAll(".tabs button")) {
  button.addEventListener("click", () => {
    document.documentElement.dataset.tab = button.dataset.tab;
    choose(null);
    drawTabs();
    map.resize();
  });
}
const drawTabs = () => {
  for (const b of document.querySelectorAll(".tabs button")) b.setAttribute("aria-pressed", b.dataset.tab === document.documentElement.dataset.tab);
};
drawTabs();
for (const id of ["detail-back", "device-back"]) {
  $(id).addEventListener("click", () => {
    choose(null);
    $("queue").focus();
  });
}

// Time passes.

let seconds = 0;
setInterval(() => {
  $("clock").textContent = clock(now());
  tickAll();
  detail.tick();
  drawLink();
  ring();
  warn();
  // The centre was updated: so is the page, once nobody is in the middle of something.
  if (outdated && !typing() && !detail.unfinished()) location.reload();
  if (++seconds % 5 === 0) changed(); // What was live may have grown old; devices follow.
}, 1000);

setCentreClock(boot.time);
detail.setUp(changed);
drawLink();
map.start({ assets: boot.assets, built: boot.map_built, styleURL: boot.map_style, onincident: choose, ondevice: chooseDevice });
