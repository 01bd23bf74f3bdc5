// How a device was last received, by its modem's network and by its radio's.

import { h } from "./dom.js";
import { t, tx } from "./text.js";

const dbm = (n) => (n ? " " + t("devices.dbm", { n }) : "");

const modem = (c) => t("devices.cellular", { operator: c.operator, rat: c.rat.toUpperCase() }) + dbm(c.dbm);

// What is wrong stands before the name, which may be long.
const radio = (w) => (w.state === "joined" ? t("devices.wifi", { ssid: w.ssid }) + dbm(w.dbm) : t("devices.wifi_not", { state: tx("wifi", w.state), ssid: w.ssid }));

const piece = (text, className) => h("span", { class: className, title: text }, " · ", h("bdi", {}, text));

// networks returns a piece for each network that the device has, after a dot.
export const networks = ({ cellular: c, wireless: w }) => [
  c && piece(modem(c), "dim num"),
  w && piece(radio(w), w.state === "joined" ? "dim num" : "doubt"),
];
