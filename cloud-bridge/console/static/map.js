// The live map. It is a help, not a condition: where WebGL or the built assets are
// missing the rest of the page works and says so.

import { $ } from "./dom.js";
import { devices, fixState, heardState, incidents, place } from "./model.js";
import { now, span, t, tx } from "./text.js";

let map = null, ready = false, fitted = false, font = null, choose = () => {};

const colour = {
  ground: "#10171f", line: "#1d2936", lineText: "#5d7186",
  box: "#8fb7de", boxOld: "#6b7785", car: "#4cc38a", carRecent: "#f0b429", carOld: "#7d8894",
  open: "#ff6b57", acknowledged: "#f0b429", dispatched: "#58a6ff", drill: "#b794f6", text: "#dbe4ee", halo: "#0b1016",
};

// start loads the library and draws; onchoose(id) is called when an incident is picked.
// styleURL is empty for the built-in backdrop.
export async function start({ assets, built, styleURL, onchoose }) {
  choose = onchoose;
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
  for (const id of ["devices", "incidents"]) map.addSource(id, { type: "geojson", data: collection([]) });
  if (builtIn) {
    map.addSource("graticule-text", { type: "geojson", data: collection([]) });
    label("graticule-text", "graticule-text", { layout: { "text-size": 10, "text-anchor": "bottom-left", "text-offset": [0.3, -0.1] } });
    map.on("moveend", drawGraticule);
    drawGraticule();
  }
  for (const [name, filled] of [["car", true], ["car-old", false]]) map.addImage(name, arrow(filled), { sdf: false, pixelRatio: 2 });
  map.addLayer({
    id: "rings", type: "circle", source: "incidents",
    paint: { "circle-radius": ["case", ["get", "selected"], 20, 15], "circle-color": ["get", "ink"], "circle-opacity": 0.18, "circle-stroke-color": ["get", "ink"], "circle-stroke-width": ["case", ["get", "selected"], 3, 1.5] },
  });
  map.addLayer({
    id: "boxes", type: "circle", source: "devices", filter: ["==", ["get", "kind"], "alarm-box"],
    paint: { "circle-radius": 5, "circle-color": ["get", "fill"], "circle-stroke-color": ["get", "ink"], "circle-stroke-width": 1.5 },
  });
  map.addLayer({
    id: "cars", type: "symbol", source: "devices", filter: ["==", ["get", "kind"], "patrol-car"],
    layout: { "icon-image": ["get", "icon"], "icon-rotate": ["get", "course"], "icon-rotation-alignment": "map", "icon-allow-overlap": true, "icon-ignore-placement": true },
  });
  map.addLayer({
    id: "hearts", type: "circle", source: "incidents",
    paint: { "circle-radius": 6, "circle-color": ["get", "ink"], "circle-stroke-color": colour.halo, "circle-stroke-width": 2 },
  });
  label("device-names", "devices", { layout: { "text-variable-anchor": ["top", "right", "left", "bottom"], "text-radial-offset": ["get", "off"], "text-justify": "auto" } });
  label("incident-names", "incidents", { layout: { "text-anchor": "bottom", "text-offset": [0, -1.5], "text-size": 13, "text-allow-overlap": true } });
  for (const layer of ["rings", "hearts"]) {
    map.on("click", layer, (e) => choose(e.features[0].properties.id));
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

// draw brings the map up to what is known now.
export function draw(id = selected) {
  selected = id;
  if (!ready) return;
  const things = [];
  const near = new Set([...incidents.values()].filter((i) => i.state !== "closed" || i.id === selected).map((i) => i.device));
  for (const d of devices.values()) {
    const at = place(d);
    if (!at) continue;
    const off = near.has(d.id) ? 1.7 : 0.9; // The label keeps clear of an incident's ring.
    if (d.kind === "patrol-car") {
      const fix = fixState(d), fresh = fix === "live" || fix === "recent";
      const age = fix === "none" ? t("unit.no_fix") : t("map.age", { span: span(now() - Date.parse(d.last_fix.time)) });
      things.push(point(at, {
        kind: d.kind, off, icon: fresh ? "car" : "car-old", course: d.last_fix?.track ?? 0,
        label: (d.name || d.id) + (fix === "live" ? "" : "\n" + age), ink: { live: colour.text, recent: colour.carRecent }[fix] ?? colour.carOld,
      }));
    } else {
      const heard = heardState(d) === "ok";
      things.push(point(at, { kind: d.kind, off, label: d.name || d.id, ink: heard ? colour.box : colour.boxOld, fill: heard ? "#22374d" : colour.ground }));
    }
  }
  const alarms = [];
  for (const i of incidents.values()) {
    if (!i.position || (i.state === "closed" && i.id !== selected)) continue;
    const ink = i.state === "closed" ? colour.boxOld : i.drill ? colour.drill : colour[i.state];
    alarms.push(point(i.position, { id: i.id, selected: i.id === selected, ink, label: tx("kind", i.kind) }));
  }
  map.getSource("devices").setData(collection(things));
  map.getSource("incidents").setData(collection(alarms));
  if (!fitted && things.length) fit([...things, ...alarms]);
}

function fit(features) {
  fitted = true;
  const lons = features.map((f) => f.geometry.coordinates[0]), lats = features.map((f) => f.geometry.coordinates[1]);
  map.fitBounds([[Math.min(...lons), Math.min(...lats)], [Math.max(...lons), Math.max(...lats)]], { padding: 60, maxZoom: 15, animate: false });
}

// show moves the map to an incident, if it is not in sight already.
export function show(incident) {
  draw(incident.id);
  if (!ready || !incident.position) return;
  const at = [incident.position.lon, incident.position.lat];
  if (!map.getBounds().contains(at)) map.easeTo({ center: at, essential: false });
}

export const resize = () => map?.resize();

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
    words.push(point({ lon: n * step, lat: bounds.getSouth() }, { ink, label: degrees(n * step, digits, "E", "W") }));
  }
  for (let n = Math.ceil(south / step); n * step <= north; n++) {
    lines.push(line([west, n * step], [east, n * step]));
    words.push(point({ lon: bounds.getWest(), lat: n * step }, { ink, label: degrees(n * step, digits, "N", "S") }));
  }
  map.getSource("graticule").setData(collection(lines));
  map.getSource("graticule-text").setData(collection(words));
}

const degrees = (value, digits, plus, minus) => `${Math.abs(value).toFixed(digits)}°${value < 0 ? minus : plus}`;
