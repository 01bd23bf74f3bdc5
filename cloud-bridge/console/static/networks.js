// How a device was last received, by its modem's network and by its radio's.

import { h } from "./dom.js";
import { t, tx } from "./text.js";

const dbm = (n) => (n ? " " + t("devices.dbm", { n }) : "");

// networks returns a piece for each network that the device has, after a dot.
export const networks = ({ cellular: c, wireless: w }) => [
  c && h("span", { class: "dim num" }, " · ", h("bdi", {}, t("devices.cellular", { operator: c.operator, rat: c.rat.toUpperCase() })), dbm(c.dbm)),
  w && h("span", { class: w.state === "joined" ? "dim num" : "doubt" }, " · ", h("bdi", {}, t("devices.wifi", { ssid: w.ssid })), w.state === "joined" ? dbm(w.dbm) : " " + tx("wifi", w.state)),
];
