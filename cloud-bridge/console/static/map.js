// The live map. It is a help, not a condition: where WebGL or the built assets are
// missing the rest of the page works and says so.
//
// Boxes are many and stand still, cars are few and move: each has a source of its own, and
// of the boxes only those that look different now are sent to the library's worker.

import { Refusal, get } from "./api.js";
import { $ } from "./dom.js";
import { devices, fixState, heardState, incidents, place } from "./model.js";
import { now, span, t, tx } from "./text.js";

let map = null, ready = false, fitted = false, font = null, onIncident = () => {}, onDevice = () => {};

// Above so many boxes, and so many cars, their names are drawn only from a zoom on at which few
// are in sight: to place them again at every move is most of what the map costs.
const crowd = 300, crowdCars = 100, crowdZoom = 13;

const colour = {
  ground: "#10171f", line: "#1d2936", lineText: "#5d7186",
  box: "#8fb7de", boxOld: "#6b7785", car: "#4cc38a", carRecent: "#f0b429", carOld: "#7d8894",
  open: "#ff6b57", acknowledged: "#f0b429", dispatched: "#58a6ff", drill: "#b794f6", text: "#dbe4ee", halo: "#0b1016",
};

// start loads the library and draws; onincident(id) and ondevice(id) are called when one is
// picked. styleURL is empty for the built-in backdrop.
export async function start({ assets, built, styleURL, onincident, ondevice }) {
  onIncident = onincident;
  onDevice = ondevice;
  if (!built) return note("map.not_built");
  if (!document.createElement("canvas").getContext("webgl2")) return note("map.no_webgl");
  let library;
  try {
    library = await import(`${assets}/dist/maplibre/maplibre-gl.mjs`);
    library.setWorkerUrl(new URL(`${assets}/dist/maplibre/maplibre-gl-worker.mjs`, location.href).href);
    map = new library.Map({
      container: "map",
      style: styleURL || backdrop(),
      center: [104, 35], zoom: 3, minZoom: 1, maxZoom: 19, maxPitch: 0,
      dragRotate: false, pitchWithRotate: false, touchPitch: false,
      attributionControl: styleURL ? {} : false,
      localIdeographFontFamily: "'Noto Sans SC', 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', sans-serif",
      locale: { "NavigationControl.ZoomIn": t("map.zoom_in"), "NavigationControl.ZoomOut": t("map.zoom_out"), "Map.Title": t("map.title") },
      fadeDuration: 0,
    });
  } catch (e) {
    console.warn(e);
    return note("map.no_webgl");
  }
  map.touchZoomRotate.disableRotation();
  map.addControl(new library.NavigationControl({ showCompass: false }), "top-right");
  map.addControl(new library.ScaleControl({ maxWidth: 120, unit: "metric" }), "bottom-right");
  map.on("error", (e) => {
    console.warn("map:", e.error?.message ?? e);
    if (styleURL && !ready) note("map.no_style");
  });
  map.on("load", () => {
    font = styleURL ? fontOf(map.getStyle()) : ["sans-serif"];
    addLayers(!styleURL);
    ready = true;
    $("map").dataset.ready = "true";
    draw();
  });
}

function note(key) {
  $("map-note").textContent = t(key);
  $("map-note").hidden = false;
}

// backdrop is the built-in style: ground and a graticule, nothing fetched from anywhere.
// Without a glyph server the labels are drawn from the machine's own fonts.
function backdrop() {
  return {
    version: 8,
    sources: { graticule: { type: "geojson", data: collection([]) } },
    layers: [
      { id: "ground", type: "background", paint: { "background-color": colour.ground } },
      { id: "graticule", type: "line", source: "graticule", filter: ["==", "$type", "LineString"], paint: { "line-color": colour.line, "line-width": 1 } },
    ],
  };
}

const collection = (features) => ({ type: "FeatureCollection", features });
const point = (at, properties) => ({ type: "Feature", geometry: { type: "Point", coordinates: [at.lon, at.lat] }, properties });

// fontOf finds a font that the style's own glyph server surely has.
function fontOf(style) {
  const layer = style.layers.find((l) => Array.isArray(l.layout?.["text-font"]));
  return layer ? layer.layout["text-font"] : style.glyphs ? null : ["sans-serif"];
}

function addLayers(builtIn) {
  const label = (id, source, more) => {
    if (!font) return;
    map.addLayer({
      id, type: "symbol", source, ...more.where,
      layout: { "text-field": ["get", "label"], "text-font": font, "text-size": 12, "text-optional": true, ...more.layout },
      paint: { "text-color": ["get", "ink"], "text-halo-color": colour.halo, "text-halo-width": 1.5, ...more.paint },
    });
  };
  for (const id of ["cars", "incidents", "track"]) map.addSource(id, { type: "geojson", data: collection([]) });
  map.addSource("grid", { type: "geojson", data: collection([]) });
  map.addLayer({ id: "grid-ground", type: "fill", source: "grid", filter: ["==", ["get", "level"], "cell"], paint: { "fill-color": colour.box, "fill-opacity": ["case", ["get", "alarmed"], 0.16, 0.03] } });
  map.addLayer({ id: "grid-lines", type: "line", source: "grid", paint: { "line-color": colour.lineText, "line-width": ["case", ["==", ["get", "level"], "cell"], 0.7, 1.6], "line-opacity": 0.7 } });
  map.addSource("boxes", { type: "geojson", data: collection([]), promoteId: "id" });
  if (builtIn) {
    map.addSource("graticule-text", { type: "geojson", data: collection([]) });
    label("graticule-text", "graticule-text", { layout: { "text-size": 10, "text-anchor": "bottom-left", "text-offset": [0.3, -0.1] } });
    map.on("moveend", drawGraticule);
    drawGraticule();
  }
  for (const [name, filled] of [["car", true], ["car-old", false]]) map.addImage(name, arrow(filled), { sdf: false, pixelRatio: 2 });
  map.addLayer({
    id: "track", type: "line", source: "track", layout: { "line-cap": "round", "line-join": "round" },
    paint: { "line-color": colour.car, "line-width": 2.5, "line-opacity": 0.65 },
  });
  map.addLayer({
    id: "rings", type: "circle", source: "incidents",
    paint: { "circle-radius": ["case", ["get", "selected"], 20, 15], "circle-color": ["get", "ink"], "circle-opacity": 0.18, "circle-stroke-color": ["get", "ink"], "circle-stroke-width": ["case", ["get", "selected"], 3, 1.5] },
  });
  map.addLayer({
    id: "boxes", type: "circle", source: "boxes",
    paint: { "circle-radius": ["interpolate", ["linear"], ["zoom"], 8, 2.5, 13, 5], "circle-color": ["get", "fill"], "circle-stroke-color": ["get", "ink"], "circle-stroke-width": 1.5 },
  });
  map.addLayer({
    id: "cars", type: "symbol", source: "cars",
    layout: { "icon-image": ["get", "icon"], "icon-rotate": ["get", "course"], "icon-rotation-alignment": "map", "icon-allow-overlap": true, "icon-ignore-placement": true },
  });
  map.addLayer({
    id: "hearts", type: "circle", source: "incidents",
    paint: { "circle-radius": 6, "circle-color": ["get", "ink"], "circle-stroke-color": colour.halo, "circle-stroke-width": 2 },
  });
  const names = { "text-variable-anchor": ["top", "right", "left", "bottom"], "text-radial-offset": ["get", "off"], "text-justify": "auto" };
  label("box-names", "boxes", { layout: names });
  label("car-names", "cars", { layout: names });
  label("incident-names", "incidents", { layout: { "text-anchor": "bottom", "text-offset": [0, -1.5], "text-size": 13, "text-allow-overlap": true } });
  for (const [layer, pick] of [["boxes", onDevice], ["cars", onDevice], ["rings", onIncident], ["hearts", onIncident]]) {
    map.on("click", layer, (e) => {
      if (e.originalEvent.picked) return; // by what lies above
      e.originalEvent.picked = true;
      const above = map.queryRenderedFeatures(e.point, { layers: ["hearts", "rings"] })[0];
      above ? onIncident(above.properties.id) : pick(e.features[0].properties.id);
    });
    map.on("mouseenter", layer, () => { map.getCanvas().style.cursor = "pointer"; });
    map.on("mouseleave", layer, () => { map.getCanvas().style.cursor = ""; });
  }
}

// arrow draws a car: a filled arrowhead where it is, an empty one where it once was.
function arrow(filled) {
  const size = 44, canvas = document.createElement("canvas");
  canvas.width = canvas.height = size;
  const c = canvas.getContext("2d");
  c.translate(size / 2, size / 2);
  c.beginPath();
  c.moveTo(0, -17);
  c.lineTo(12, 14);
  c.lineTo(0, 8);
  c.lineTo(-12, 14);
  c.closePath();
  c.lineJoin = "round";
  c.lineWidth = 3;
  c.fillStyle = filled ? colour.car : colour.ground;
  c.strokeStyle = filled ? colour.halo : colour.carOld;
  c.fill();
  c.stroke();
  return c.getImageData(0, 0, size, size);
}

let selected = null;

// draw brings the map up to what is known now, with an incident chosen, or none.
export function draw(id = selected) {
  selected = id;
  if (!ready) return;
  const alarmed = new Set();
  const alarms = [];
  for (const i of incidents.values()) {
    if (i.state === "closed" && i.id !== selected) continue;
    alarmed.add(i.device);
    if (!i.position) continue;
    const ink = i.state === "closed" ? colour.boxOld : i.drill ? colour.drill : colour[i.state] ?? colour.dispatched;
    alarms.push(point(i.position, { id: i.id, selected: i.id === selected, ink, label: tx("kind", i.kind) }));
  }
  put("incidents", alarms);
  drawGrid();
  const cars = [];
  for (const d of devices.values()) if (d.kind !== "alarm-box") cars.push(...car(d, alarmed));
  put("cars", cars);
  if (font) map.setLayerZoomRange("car-names", cars.length > crowdCars ? crowdZoom : 0, 24);
  drawBoxes(alarmed);
  if (!fitted && (cars.length || drawn.size)) fit();
}

// put gives a source its features, unless it has the same already: the library would cut them
// into tiles and place all names anew.
const given = new Map();
function put(source, features) {
  const text = JSON.stringify(features);
  if (given.get(source) === text) return;
  given.set(source, text);
  map.getSource(source).setData(collection(features));
}

function car(d, alarmed) {
  const at = place(d);
  if (!at) return [];
  const fix = fixState(d), fresh = fix === "live" || fix === "recent";
  const age = fix === "none" ? t("unit.no_fix") : t("map.age", { span: span(now() - d.fixAt) });
  return [point(at, {
    id: d.id, off: alarmed.has(d.id) ? 1.7 : 0.9, icon: fresh ? "car" : "car-old", course: d.last_fix?.track ?? 0,
    label: (d.name || d.id) + (fix === "live" ? "" : "\n" + age), ink: { live: colour.text, recent: colour.carRecent }[fix] ?? colour.carOld,
  })];
}

const drawn = new Map(); // boxes: id → what they look like on the map

// alike says whether a box looks the same, but for what changes with time and incidents.
const alike = (a, b) => a.position?.lat === b.position?.lat && a.position?.lon === b.position?.lon && !a.faults.length === !b.faults.length && a.name === b.name &&
  (b.position || (a.last_fix?.lat === b.last_fix?.lat && a.last_fix?.lon === b.last_fix?.lon));

function drawBoxes(alarmed) {
  const add = [], remove = new Set(drawn.keys()), time = now();
  for (const d of devices.values()) {
    if (d.kind !== "alarm-box") continue;
    const at = place(d);
    if (!at) continue;
    remove.delete(d.id);
    const ok = heardState(d, time) === "ok", off = alarmed.has(d.id) ? 1.7 : 0.9; // The label keeps clear of an incident's ring.
    const was = drawn.get(d.id);
    if (was && was.ok === ok && was.off === off && (was.d === d || alike(was.d, d))) {
      was.d = d;
      continue;
    }
    drawn.set(d.id, { d, ok, off });
    add.push(point(at, {
      id: d.id, off, label: d.name || d.id, ink: ok ? (d.faults.length ? colour.carRecent : colour.box) : colour.boxOld, fill: ok ? "#22374d" : colour.ground,
    }));
  }
  for (const id of remove) drawn.delete(id);
  if (!add.length && !remove.size) return;
  map.getSource("boxes").updateData({ add, remove: [...remove] });
  if (font) map.setLayerZoomRange("box-names", drawn.size > crowd ? crowdZoom : 0, 24);
}

// grid draws the borders of areas, or none.
let cells = null, alarmedCells = "";
export function grid(features) {
  cells = features;
  alarmedCells = "?";
  if (ready) drawGrid();
}

function drawGrid() {
  const alarmed = new Set([...incidents.values()].filter((i) => i.state !== "closed").map((i) => i.area?.cell).filter(Boolean));
  const key = [...alarmed].sort().join();
  if (key === alarmedCells) return;
  alarmedCells = key;
  map.getSource("grid").setData(collection((cells?.features ?? []).filter((f) => f.geometry).map((f) => ({
    type: "Feature", geometry: f.geometry, properties: { level: f.properties.level, alarmed: alarmed.has(f.properties.id) },
  }))));
}

// track draws where a device was in the last hour, or nothing for null.
let followed = null, asked = 0;
export async function track(id) {
  if (!ready || (id === followed && Date.now() - asked < 15_000)) return;
  if (id !== followed) map.getSource("track").setData(collection([]));
  followed = id;
  asked = Date.now();
  if (!id) return;
  try {
    const answer = await get(`/devices/${encodeURIComponent(id)}/track`);
    if (followed === id) map.getSource("track").setData(answer);
  } catch (e) {
    if (!(e instanceof Refusal)) throw e;
    // The next look will bring it.
  }
}

function fit() {
  fitted = true;
  const places = [...[...devices.values()].map(place), ...[...incidents.values()].map((i) => i.position)].filter(Boolean);
  const lons = places.map((p) => p.lon), lats = places.map((p) => p.lat);
  map.fitBounds([[Math.min(...lons), Math.min(...lats)], [Math.max(...lons), Math.max(...lats)]], { padding: 60, maxZoom: 15, animate: false });
}

// show moves the map to a place, if it is not in sight already.
export function show(at) {
  if (!ready || !at) return;
  const to = [at.lon, at.lat];
  if (!map.getBounds().contains(to)) map.easeTo({ center: to, essential: false });
}

export const resize = () => map?.resize();

// focus gives the map the keyboard: arrows move it, + and - change its scale.
export const focus = () => map?.getCanvas().focus();

// drawGraticule lays lines of latitude and longitude over what is in sight, at the
// finest round step that leaves them well apart.
function drawGraticule() {
  const bounds = map.getBounds(), steps = [30, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];
  const wide = bounds.getEast() - bounds.getWest();
  const step = steps.findLast((s) => wide / s <= 8) ?? 30, digits = Math.max(0, Math.ceil(-Math.log10(step)));
  const lines = [], words = [];
  const west = Math.max(-180, bounds.getWest() - wide), east = Math.min(180, bounds.getEast() + wide);
  const south = Math.max(-85, bounds.getSouth() - wide), north = Math.min(85, bounds.getNorth() + wide);
  const line = (from, to) => ({ type: "Feature", properties: {}, geometry: { type: "LineString", coordinates: [from, to] } });
  const ink = colour.lineText;
  for (let n = Math.ceil(west / step); n * step <= east; n++) {
    lines.push(line([n * step, south], [n * step, north]));
    // Half a word at the edge says nothing.
    if (n * step >= bounds.getWest() && n * step <= bounds.getEast() - 0.08 * wide) words.push(point({ lon: n * step, lat: bounds.getSouth() }, { ink, label: degrees(n * step, digits, "E", "W") }));
  }
  for (let n = Math.ceil(south / step); n * step <= north; n++) {
    lines.push(line([west, n * step], [east, n * step]));
    words.push(point({ lon: bounds.getWest(), lat: n * step }, { ink, label: degrees(n * step, digits, "N", "S") }));
  }
  map.getSource("graticule").setData(collection(lines));
  map.getSource("graticule-text").setData(collection(words));
}

const degrees = (value, digits, plus, minus) => `${Math.abs(value).toFixed(digits)}°${value < 0 ? minus : plus}`;
