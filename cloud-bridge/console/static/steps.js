// The steps beside taking, sending and closing: each is a button with a key, and a form
// where it wants words. What is allowed in which state is the centre's to say; the page
// only keeps what can never work from being pressed.

import { Refusal, get } from "./api.js";
import { $, h, keyed } from "./dom.js";
import { devices, incidents } from "./model.js";
import { refusal } from "./refusal.js";
import { boot, clock, t, tx } from "./text.js";

const hand = ["acknowledged", "dispatched", "en_route", "on_scene", "checked", "suspended"];
const sent = ["dispatched", "en_route", "on_scene", "checked"];
let sounding = null; // the incident for which others were asked to sound, and have not stopped
const pressed = (i) => !!i.alarm && i.state !== "closed";

// Of each step: the states that it can be taken in, the fields of its form, its key.
const steps = {
  take_over: { in: hand, key: "t", when: (i) => !!i.owner },
  add_unit: { in: sent, fields: ["unit", "note"], key: "u" },
  en_route: { in: ["dispatched"], fields: ["from", "note"] },
  on_scene: { in: ["dispatched", "en_route"], fields: ["from", "note"], key: "o" },
  checked: { in: ["dispatched", "en_route", "on_scene"], fields: ["from", "note"], need: "note", key: "e" },
  note: { in: ["open", ...hand], fields: ["note"], need: "note", key: "n" },
  resume: { in: ["suspended"], fields: ["reason"] },
  suspend: { in: ["acknowledged", ...sent], fields: ["reason"], need: "reason" },
  return: { in: sent, fields: ["reason"], need: "reason" },
  cancel: { in: ["open", ...hand], fields: ["reason"], need: "reason" },
  sound: { in: ["open", ...hand], when: pressed, key: "g" },
  hush: { in: ["open", ...hand], when: (i) => pressed(i) && sounding === i.id },
};

export const names = Object.keys(steps);
export const keys = Object.fromEntries(Object.entries(steps).filter(([, s]) => s.key).map(([name, s]) => [s.key, name]));

let shown = null; // the incident's id
let open = null; // the step whose form is open
let act = async () => {};

// setUp wires the buttons. do(step, body) takes a step of the incident that is shown.
export function setUp(doStep) {
  act = doStep;
  $("more-steps").append(...names.map((name) => {
    const b = h("button", { type: "button", class: "quiet", "data-step": name, "aria-keyshortcuts": steps[name].key?.toUpperCase(), onclick: () => press(name) }, tx("step", name));
    if (steps[name].key) b.append(" ", h("kbd", {}, steps[name].key.toUpperCase()));
    return b;
  }));
  const form = $("form-step");
  form.querySelector("[data-cancel]").addEventListener("click", () => fold(null));
  form.addEventListener("keydown", (e) => { if (e.key === "Escape") fold(null); });
  form.addEventListener("submit", async (e) => {
    e.preventDefault();
    const s = steps[open], data = new FormData(form), body = {};
    if (s.fields.includes("note") || s.fields.includes("reason")) {
      const words = data.get("words").trim();
      if (s.need && !words) return fault(t("step.need_" + s.need));
      body[s.fields.includes("note") ? "note" : "reason"] = words;
    }
    if (s.fields.includes("unit") || s.fields.includes("from")) {
      body.unit = data.get("step_unit") ?? "";
      if (s.fields.includes("unit") && !body.unit) return fault(t("dispatch.choose"));
    }
    if (await act(open, body)) fold(null);
  });
  $("do-approve").addEventListener("click", () => act("approve", {}));
  $("do-deny").addEventListener("click", () => {
    $("deny-form").hidden = false;
    $("deny-reason").focus();
  });
  $("deny-form").addEventListener("submit", async (e) => {
    e.preventDefault();
    const reason = $("deny-reason").value.trim();
    if (!reason) return $("deny-reason").focus();
    if (await act("deny", { reason })) {
      $("deny-form").hidden = true;
      $("deny-reason").value = "";
    }
  });
}

const fault = (text) => {
  $("step-error").hidden = !text;
  $("step-error").textContent = text ?? "";
};

// Who takes steps, and who approves what another asked and hands out evidence; the centre
// judges it anew.
const acts = ["dispatcher", "supervisor", "admin"].includes(boot.me.role);
const approves = ["supervisor", "admin"].includes(boot.me.role);

// possible says whether a step's button is worth pressing.
function possible(name, i) {
  const s = steps[name];
  return acts && s.in.includes(i.state) && (!s.when || s.when(i)) && !(i.request && ["cancel", "suspend", "return"].includes(name));
}

// press does what a click on a step's button does, for the keyboard.
export function press(name) {
  const i = incidents.get(shown);
  if (!i || !possible(name, i)) return;
  if (name === "take_over") return act(name, { from: i.owner });
  if (!steps[name].fields) return act(name, {});
  fold(name);
}

// fold opens the form of a step, or none.
export function fold(name) {
  open = name;
  const form = $("form-step"), had = form.contains(document.activeElement);
  form.hidden = !name;
  fault(null);
  if (!name) {
    form.reset();
    if (had) $("detail").focus();
    return;
  }
  const s = steps[name], i = incidents.get(shown);
  $("step-title").textContent = tx("step", name);
  $("step-why").textContent = ["cancel", "suspend", "return"].includes(name) ? t("step.second_person") : "";
  $("step-words").hidden = !s.fields.includes("note") && !s.fields.includes("reason");
  $("step-words-label").textContent = s.fields.includes("reason") ? t("step.reason") : t("step.note_label");
  $("step-send").textContent = ["cancel", "suspend", "return"].includes(name) ? t("request.send") : tx("step", name);
  drawUnits(i);
  form.querySelector("input:not([disabled]), textarea")?.focus();
}

export const unfinished = () => !!open;

async function drawUnits(i) {
  const s = steps[open], box = $("step-units");
  box.hidden = !s?.fields.includes("unit") && !s?.fields.includes("from");
  if (box.hidden) return;
  let list = [];
  if (s.fields.includes("from")) list = i.units.filter((u) => !["refused", "withdrawn"].includes(u.state)).map((u) => [u.unit, u.unit]);
  else {
    try {
      const choice = await get(`/incidents/${i.id}/units`);
      list = [...choice.near, ...choice.stale].filter((u) => !i.units.some((x) => x.device === u.device && !["refused", "withdrawn"].includes(x.state))).map((u) => [u.device, u.name || u.device]);
    } catch (e) {
      if (!(e instanceof Refusal)) throw e;
      return fault(refusal(e));
    }
  }
  if (!open) return;
  keyed(box, list.map(([id]) => id),
    (id) => h("label", {}, h("input", { type: "radio", name: "step_unit", value: id, required: true }), h("span", {}, h("bdi", {}, list.find(([x]) => x === id)[1]))),
    () => {});
  const first = box.querySelector("input");
  if (first && s.fields.includes("from")) first.checked = true;
  first?.focus();
  if (!list.length) box.replaceChildren(h("p", { class: "dim" }, t("unit.none")));
}

// draw shows what can be done with an incident, and what waits for a second person.
export function draw(i, busy) {
  if (shown !== i.id) {
    shown = i.id;
    fold(null);
    $("deny-form").hidden = true;
  }
  for (const b of $("more-steps").children) {
    const can = possible(b.dataset.step, i);
    b.hidden = !can;
    b.disabled = busy;
  }
  if (open && !possible(open, i)) fold(null);
  const r = i.request;
  $("request").hidden = !r;
  if (r) {
    $("request-text").replaceChildren(h("b", {}, t("request.asked", { by: r.by, what: tx("step", r.what) })), " ", h("span", { dir: "auto" }, r.reason), " ", h("time", { class: "dim" }, clock(r.at)));
    const own = r.by === boot.me.name; // nobody approves what they asked themselves
    $("do-approve").disabled = busy || !approves || own;
    $("do-deny").disabled = busy || !acts;
    $("do-deny").textContent = own ? t("request.take_back") : t("request.deny");
    $("do-approve").title = own ? t("step.second_person") : approves ? "" : t("request.supervisor");
    $("request-who").hidden = !own;
  }
  $("help-call").hidden = !i.help;
  if (i.help) $("help-call").textContent = t("help.call", { unit: i.help.unit, by: i.help.by, at: clock(i.help.at) });
  $("do-evidence").hidden = !approves;
  $("do-evidence").href = `/api/v1/incidents/${encodeURIComponent(i.id)}/evidence`;
}

// extras are what belongs to an incident and has a list of its own: which boxes of the
// group sound, and the files that units sent. They are fetched when the incident has changed.
let extrasOf = "";
export const told = () => { extrasOf = ""; };
export async function extras(i, mark) {
  if (extrasOf === mark) return;
  extrasOf = mark;
  try {
    const [sounds, files] = await Promise.all([get(`/incidents/${i.id}/sounds`), get(`/incidents/${i.id}/attachments`)]);
    if (extrasOf !== mark) return;
    const on = sounds.sounds.some((s) => s.on);
    if (on !== (sounding === i.id)) {
      sounding = on ? i.id : null;
      draw(i, false);
    }
    $("sounds").hidden = !sounds.sounds.length;
    $("sounds-rows").replaceChildren(...sounds.sounds.map((s) => h("li", {}, h("b", {}, h("bdi", {}, s.name || s.device)),
      h("span", { class: s.sounded_at ? "" : s.why ? "doubt" : "dim" },
        s.why ? t("sound.cannot", { why: tx("sound_why", s.why) }) : s.stopped_at ? t("sound.stopped", { at: clock(s.stopped_at) }) : s.sounded_at ? t("sound.since", { at: clock(s.sounded_at) }) : t("sound.asked", { at: clock(s.asked_at) })))));
    $("files").hidden = !files.attachments.length;
    $("files-rows").replaceChildren(...files.attachments.map((f) => h("li", {},
      f.state === "whole" ? h("a", { href: `/api/v1/attachments/${f.id}`, download: `${f.id}.jpg` }, h("img", { src: `/api/v1/attachments/${f.id}`, alt: t("file.photo", { device: devices.get(f.device)?.name || f.device }), loading: "lazy" })) : h("span", { class: "doubt" }, t("file.part", { n: f.parts, of: f.count })),
      h("span", { class: "dim" }, h("bdi", {}, devices.get(f.device)?.name || f.device), " ", h("time", { title: "SHA-256 " + f.sha256 }, clock(f.at))))));
  } catch (e) {
    if (!(e instanceof Refusal)) throw e;
    extrasOf = ""; // the next change asks again
  }
}
