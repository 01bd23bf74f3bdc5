// The way there, drawn from what the car knows by itself: where it was in the last hour,
// where it is and how well that is known, the incident, and what the centre has said of the
// surroundings. North is up. There are no streets: no map data is on the device.

import { $, t, tx } from "./base.js";

export const distance = (m) => (m < 950 ? t("distance.m", { n: Math.round(m / 10) * 10 }) : t("distance.km", { n: (m / 1000).toFixed(1) }));

const metre = 111_320; // of a degree of latitude; the ground is taken as flat, which a few kilometres are
const oldestMark = 600; // seconds: the path is marked so often

// draw draws task x of state.
export function draw(state, x) {
  const canvas = $("map"), ratio = devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (!width || !height) return;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const c = canvas.getContext("2d"), css = getComputedStyle(document.documentElement);
  const colour = (name) => css.getPropertyValue("--" + name).trim();
  const size = 0.7 * parseFloat(getComputedStyle(document.body).fontSize);
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  c.clearRect(0, 0, width, height);
  c.font = `${size}px system-ui, sans-serif`;
  c.lineJoin = c.lineCap = "round";

  const car = state.duty?.fix, path = steps(state.duty?.path ?? []);
  const known = [x.place, car].filter(Boolean);
  if (!known.length) return;
  // Everything that matters is in sight: both ends, and of the path what is not far.
  const view = fit(known, path, { width, height, top: size * 3.2, left: size * 2.2, right: size * 2.2, bottom: size * 4.6 });

  grid(c, view, width, height, colour("edge"));
  const label = (at, text, align = "center", ink = "dim") => {
    if (align === "center") { // whole, also at the edge
      const half = c.measureText(text).width / 2 + 4;
      at = { x: Math.min(Math.max(at.x, half), width - half), y: at.y };
    }
    c.textAlign = align;
    c.lineWidth = 3;
    c.strokeStyle = colour("panel");
    c.strokeText(text, at.x, at.y);
    c.fillStyle = colour(ink);
    c.fillText(text, at.x, at.y);
  };
  drawPath(c, view, path, car, colour("green"));
  for (const l of x.near) {
    const at = view.at(l);
    if (at.x < 0 || at.y < 0 || at.x > width || at.y > height) continue;
    c.fillStyle = colour("blue");
    c.beginPath();
    c.arc(at.x, at.y, 4.5, 0, 7);
    c.fill();
    label({ x: at.x, y: at.y + size * 1.3 }, l.name);
  }
  if (x.place && car && x.state === "assigned") { // the line to it: no road, and dashed for that
    const from = view.at(car), to = view.at(x.place);
    c.strokeStyle = colour("red");
    c.lineWidth = 3;
    c.setLineDash([8, 8]);
    c.beginPath();
    c.moveTo(from.x, from.y);
    c.lineTo(to.x, to.y);
    c.stroke();
    c.setLineDash([]);
  }
  if (x.place) {
    const at = view.at(x.place);
    round(c, at, x.within_m * view.scale, colour("red"));
    c.fillStyle = c.strokeStyle = colour("red");
    c.lineWidth = 3;
    c.beginPath();
    c.arc(at.x, at.y, 9, 0, 7);
    c.fill();
    c.beginPath();
    c.arc(at.x, at.y, 15, 0, 7);
    c.stroke();
    label({ x: at.x, y: at.y - 21 }, x.name || x.device, "center", "text");
  }
  if (car) drawCar(c, view, state.fix, car, colour);
  drawScale(c, view, width, size, colour, label);
  label({ x: width - size * 1.3, y: size * 1.5 }, "▲ " + tx("wind", 0), "right", "text");
}

const steps = (flat) => Array.from({ length: flat.length / 3 }, (_, n) => ({ lat: flat[3 * n], lon: flat[3 * n + 1], age: flat[3 * n + 2] }));

// fit chooses middle and scale (CSS pixels a metre).
function fit(known, path, box) {
  const shrink = Math.max(0.01, Math.cos((known[0].lat * Math.PI) / 180));
  const flat = (p) => ({ x: (p.lon - known[0].lon) * metre * shrink, y: (p.lat - known[0].lat) * metre });
  const must = known.map(flat);
  const span = (list, key) => [Math.min(...list.map((p) => p[key])), Math.max(...list.map((p) => p[key]))];
  const reach = Math.max(150, ...must.map((p) => Math.hypot(p.x, p.y)));
  // The path takes no more than half as much again: the way there counts.
  const all = [...must, ...path.map(flat).filter((p) => must.some((m) => Math.hypot(p.x - m.x, p.y - m.y) < reach * 0.5))];
  const [west, east] = span(all, "x"), [south, north] = span(all, "y");
  const wide = box.width - box.left - box.right, high = box.height - box.top - box.bottom;
  const scale = Math.min(wide / Math.max(east - west, 200), high / Math.max(north - south, 200));
  const x0 = box.left + wide / 2 - ((west + east) / 2) * scale, y0 = box.top + high / 2 + ((south + north) / 2) * scale;
  return { scale, at: (p) => { const f = flat(p); return { x: x0 + f.x * scale, y: y0 - f.y * scale }; }, x0, y0 };
}

const round10 = (m) => { const p = 10 ** Math.floor(Math.log10(m)); return m >= 5 * p ? 5 * p : m >= 2 * p ? 2 * p : p; };

// bar is the length, in metres, that the scale shows and the grid is spaced by.
const bar = (view, width) => round10(width / 3.2 / view.scale);

function grid(c, view, width, height, ink) {
  const step = bar(view, width) * view.scale;
  c.strokeStyle = ink;
  c.globalAlpha = 0.35;
  c.lineWidth = 1;
  c.beginPath();
  for (let x = view.x0 % step; x < width; x += step) { c.moveTo(x, 0); c.lineTo(x, height); }
  for (let y = view.y0 % step; y < height; y += step) { c.moveTo(0, y); c.lineTo(width, y); }
  c.stroke();
  c.globalAlpha = 1;
}

// drawPath draws the last hour, the newest strongest, with a dot every ten minutes.
function drawPath(c, view, path, car, ink) {
  if (!path.length) return;
  const points = [...path, ...(car ? [{ ...car, age: 0 }] : [])].map((p) => ({ ...view.at(p), age: p.age }));
  c.strokeStyle = c.fillStyle = ink;
  c.lineWidth = 3;
  for (let n = 1; n < points.length; n++) {
    c.globalAlpha = Math.max(0.2, 0.8 - points[n].age / 4500);
    c.beginPath();
    c.moveTo(points[n - 1].x, points[n - 1].y);
    c.lineTo(points[n].x, points[n].y);
    c.stroke();
    if (Math.floor(points[n - 1].age / oldestMark) > Math.floor(points[n].age / oldestMark)) {
      c.beginPath();
      c.arc(points[n].x, points[n].y, 4, 0, 7);
      c.fill();
    }
  }
  c.globalAlpha = 1;
}

// round draws how far off a place may be, where that is wider than its mark.
function round(c, at, r, ink) {
  if (!(r > 16)) return;
  c.fillStyle = ink;
  c.globalAlpha = 0.15;
  c.beginPath();
  c.arc(at.x, at.y, r, 0, 7);
  c.fill();
  c.globalAlpha = 1;
}

// drawCar draws it in the direction in which it drives; hollow where the fix is old.
function drawCar(c, view, fix, car, colour) {
  const at = view.at(car), ink = fix.quality === "live" ? colour("green") : colour("amber");
  round(c, at, fix.within_m * view.scale, ink);
  c.save();
  c.translate(at.x, at.y);
  c.rotate(((fix.course ?? 0) * Math.PI) / 180);
  c.lineWidth = 3;
  c.fillStyle = fix.quality === "live" ? ink : colour("panel");
  c.strokeStyle = fix.quality === "live" ? colour("panel") : ink;
  c.beginPath();
  if (fix.course === null) c.arc(0, 0, 9, 0, 7);
  else for (const [px, py] of [[0, -16], [11, 13], [0, 7], [-11, 13]]) c.lineTo(px, py);
  c.closePath();
  c.fill();
  c.stroke();
  c.restore();
}

function drawScale(c, view, width, size, colour, label) {
  const length = bar(view, width), left = size * 0.8, right = left + length * view.scale, y = size * 1.7;
  c.strokeStyle = colour("text");
  c.lineWidth = 2;
  c.beginPath();
  c.moveTo(left, y - 6);
  c.lineTo(left, y);
  c.lineTo(right, y);
  c.lineTo(right, y - 6);
  c.stroke();
  label({ x: (left + right) / 2, y: y - 6 }, length < 1000 ? t("distance.m", { n: length }) : t("distance.km", { n: length / 1000 }), "center", "text");
}
