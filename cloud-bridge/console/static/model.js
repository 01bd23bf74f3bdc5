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
  }
  incidents.set(incident.id, next);
}

// mark differs when something about an incident does.
export const mark = (i) => [i.id, i.rev, i.presses, i.shown?.rev ?? 0, i.cleared ? 1 : 0, i.sms ? (i.sms.only ? 2 : 1) : 0, i.pressed_at.time, i.pressed_at.uncertainty_ms, i.level, i.tier, i.owner, i.request?.at, i.help?.at, ...(i.units ?? []).map((u) => u.unit + u.state)].join("/");

// A device is never changed: another one takes its place. So what is worked out of one holds
// as long as it is the same one. There are thousands, looked at each second: their times are
// kept as numbers (heardAt, fixAt; NaN: never).
const timed = (device) => Object.assign(device, { heardAt: Date.parse(device.last_heard ?? NaN), fixAt: Date.parse(device.last_fix?.time ?? NaN) });

// putDevice keeps the one that was heard later.
export function putDevice(device) {
  const old = devices.get(device.id);
  if (old?.last_heard && device.last_heard && old.last_heard > device.last_heard) return;
  devices.set(device.id, timed(device));
}

// move brings a device up to what a move tells of it: id, link, ms since it was heard,
// officer, number of faults, events that wait, ms since its fix, lat, lon, m/s, degrees. It
// returns whether what the page has of it is the whole.
export function move(at, [id, link, heard, officer, faults, queue, fix, lat, lon, speed, track]) {
  const old = devices.get(id);
  if (!old) return false;
  const next = { ...old, link: { ...old.link, state: link }, officer };
  if (heard !== null) next.last_heard = new Date(next.heardAt = at - heard).toISOString();
  if (fix !== null) next.last_fix = { ...old.last_fix, lat, lon, time: new Date(next.fixAt = at - fix).toISOString(), speed, track };
  devices.set(id, next);
  const waiting = old.queue ? old.queue.alarm + old.queue.duty + old.queue.track : -1;
  return faults === old.faults.length && queue === waiting;
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
const byNeed = (a, b) => a.drill - b.drill || a.priority - b.priority || (b.level ?? 0) - (a.level ?? 0) || since(a) - since(b) || Number(a.id) - Number(b.id);

// group is the incidents in one state, those in most need first; the closed ones by the
// time they were closed, the last first.
export function group(state) {
  const list = [...incidents.values()].filter((i) => (listed[i.state] ?? i.state) === state);
  if (state === "closed") return list.sort((a, b) => Date.parse(b.closed?.at) - Date.parse(a.closed?.at)).slice(0, 20);
  return list.sort(byNeed);
}

// listed is where an incident of a state without a group of its own is listed.
export const listed = { en_route: "dispatched", on_scene: "dispatched", checked: "dispatched", suspended: "acknowledged" };

export const states = ["open", "acknowledged", "dispatched", "closed"];

// found says that the centre found an incident itself: nobody has pressed a button.
export const found = (i) => ["offline", "twin", "district_link_lost"].includes(i.kind);

// sensed says that a box's own contact reported it: nobody has pressed a button, but
// somebody is there.
export const sensed = (i) => i.kind === "tamper";

// heardState is never, ok, late, silent or, when the centre could not hear, unsure.
export function heardState(device, at = now()) {
  if (!device.last_heard) return "never";
  const judged = { suspect: "late", offline: "silent", unsure: "unsure" }[device.link.state];
  if (judged) return judged;
  const age = at - device.heardAt;
  return age <= heardLate ? "ok" : age <= heardSilent ? "late" : "silent";
}

// fixState is live, recent, old or none.
export function fixState(device, at = now()) {
  if (!device.last_fix || device.last_fix.mode === 1) return "none";
  const age = at - device.fixAt;
  if (device.fixAt > device.heardAt + 10_000) return "none"; // A fix from the future is none.
  return age <= fixLive ? "live" : age <= fixUsable ? "recent" : "old";
}

// place is where a device is drawn: a car by its fix, a box where it was surveyed.
export function place(device) {
  if (device.kind === "alarm-box" && device.position) return device.position;
  return device.last_fix ?? device.position;
}
