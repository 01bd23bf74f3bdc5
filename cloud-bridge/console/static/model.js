// What the page knows, and the judgements that its parts share: how old is too old, in
// what order, how far.

import { now } from "./text.js";

// A car sends its place every 5 s. Up to fixLive it is drawn as where the car is; up to
// fixUsable its age is stressed; beyond that it is only where the car once was, and no
// distance is worked out from it.
const fixLive = 15_000, fixUsable = 60_000;

// A device says something at least every 30 s.
const heardLate = 60_000, heardSilent = 90_000;

export const incidents = new Map(); // by id
export const devices = new Map(); // by id

// putIncident takes what was told of an incident, unless a later step is known already.
// Presses, a reset and the box's receipt come between steps; they only ever grow.
export function putIncident(incident) {
  const old = incidents.get(incident.id);
  if (old && old.rev > incident.rev) return;
  const next = { ...incident };
  if (old) {
    next.presses = Math.max(old.presses, incident.presses);
    next.cleared = incident.cleared ?? old.cleared;
    if ((old.shown?.rev ?? 0) > (incident.shown?.rev ?? 0)) next.shown = old.shown;
    if (!next.timeline && mark(next) === mark(old)) next.timeline = old.timeline;
  }
  incidents.set(incident.id, next);
}

// mark differs when something about an incident does.
export const mark = (i) => [i.id, i.rev, i.presses, i.shown?.rev ?? 0, i.cleared ? 1 : 0, i.sms ? (i.sms.only ? 2 : 1) : 0, i.pressed_at.time, i.pressed_at.uncertainty_ms].join("/");

// putDevice keeps the one that was heard later.
export function putDevice(device) {
  const old = devices.get(device.id);
  if (old?.last_heard && device.last_heard && old.last_heard > device.last_heard) return;
  devices.set(device.id, device);
}

// since is the moment from which an incident's age counts: the press, or where the box
// had no clock to trust, the arrival, before which the press must have been.
export const pressKnown = (i) => i.pressed_at.time !== null;
export const since = (i) => Math.min(Date.parse(i.pressed_at.time ?? i.received_at), Date.parse(i.received_at));

// roughly says that a press is dated too coarsely for its age to be taken to the second.
export const roughly = (i) => pressKnown(i) && i.pressed_at.uncertainty_ms >= 10_000;

// clockAhead says that a press claims to be later than its arrival: that clock is wrong.
export const clockAhead = (i) => pressKnown(i) && Date.parse(i.pressed_at.time) > Date.parse(i.received_at) + i.pressed_at.uncertainty_ms + 1000;

// A drill is never handled before what is real.
const byNeed = (a, b) => a.drill - b.drill || a.priority - b.priority || since(a) - since(b) || Number(a.id) - Number(b.id);

// group is the incidents in one state, those in most need first; the closed ones by the
// time they were closed, the last first.
export function group(state) {
  const list = [...incidents.values()].filter((i) => (listed[i.state] ?? i.state) === state);
  if (state === "closed") return list.sort((a, b) => Date.parse(b.closed?.at) - Date.parse(a.closed?.at)).slice(0, 20);
  return list.sort(byNeed);
}

// listed is where an incident of a state without a group of its own is listed.
const listed = { en_route: "dispatched", on_scene: "dispatched", checked: "dispatched", suspended: "acknowledged" };

export const states = ["open", "acknowledged", "dispatched", "closed"];

// found says that the centre found an incident itself: nobody has pressed a button.
export const found = (i) => ["offline", "twin", "district_link_lost"].includes(i.kind);

// sensed says that a box's own contact reported it: nobody has pressed a button, but
// somebody is there.
export const sensed = (i) => i.kind === "tamper";

// heardState is never, ok, late, silent or, when the centre could not hear, unsure.
export function heardState(device) {
  if (!device.last_heard) return "never";
  const judged = { suspect: "late", offline: "silent", unsure: "unsure" }[device.link.state];
  if (judged) return judged;
  const age = now() - Date.parse(device.last_heard);
  return age <= heardLate ? "ok" : age <= heardSilent ? "late" : "silent";
}

// fixState is live, recent, old or none.
export function fixState(device) {
  if (!device.last_fix || device.last_fix.mode === 1) return "none";
  const at = Date.parse(device.last_fix.time), age = now() - at;
  if (at > Date.parse(device.last_heard) + 10_000) return "none"; // A fix from the future is none.
  return age <= fixLive ? "live" : age <= fixUsable ? "recent" : "old";
}

// place is where a device is drawn: a car by its fix, a box where it was surveyed.
export function place(device) {
  if (device.kind === "alarm-box" && device.position) return device.position;
  return device.last_fix ?? device.position;
}

// metres between two places, on a sphere of the Earth's mean radius.
export function metres(a, b) {
  const rad = Math.PI / 180;
  const x = Math.sin(((b.lat - a.lat) * rad) / 2), y = Math.sin(((b.lon - a.lon) * rad) / 2);
  return 2 * 6_371_008.8 * Math.asin(Math.sqrt(x * x + Math.cos(a.lat * rad) * Math.cos(b.lat * rad) * y * y));
}

// units are the cars and motorcycles for an incident: those whose place is known now by distance, then
// the others by name, without one.
export function units(incident) {
  return [...devices.values()]
    .filter((d) => d.kind !== "alarm-box")
    .map((device) => {
      const fix = fixState(device);
      const near = (fix === "live" || fix === "recent") && incident.position;
      const busy = [...incidents.values()].find((i) => i.state === "dispatched" && i.id !== incident.id && i.dispatched?.unit === device.id);
      return { device, fix, busy, metres: near ? metres(device.last_fix, incident.position) : null };
    })
    .sort((a, b) => (a.metres ?? Infinity) - (b.metres ?? Infinity) || a.device.id.localeCompare(b.device.id));
}
