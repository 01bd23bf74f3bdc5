// What of the lists is shown. The choice stands in the address, so that it can be shared
// and survives a reload; ?lang and the rest of the address are left alone.

import { $ } from "./dom.js";
import { areaName, boot, tx } from "./text.js";
import { found, heardState } from "./model.js";

// The fields, by their names in the address. Empty is all.
const fields = ["q", "kind", "drill", "tier", "device"];
const chosen = Object.fromEntries(fields.map((f) => [f, ""]));

const folded = (text) => String(text ?? "").normalize("NFKC").toLocaleLowerCase(boot.lang);

function read() {
  const query = new URLSearchParams(location.search);
  for (const f of fields) chosen[f] = query.get(f) ?? "";
}

function write() {
  const url = new URL(location.href);
  for (const f of fields) chosen[f] ? url.searchParams.set(f, chosen[f]) : url.searchParams.delete(f);
  history.replaceState(null, "", url);
  // The other language shows the same choice.
  for (const a of document.querySelectorAll(".lang a")) {
    const to = new URL(url);
    to.searchParams.set("lang", a.lang);
    a.href = to.pathname + to.search + to.hash;
  }
}

// setUp joins the fields of the page with the address; changed() redraws the lists.
export function setUp(changed) {
  read();
  for (const f of fields) {
    const input = $("filter-" + f);
    if (!input) continue;
    input.value = chosen[f];
    if (input.value !== chosen[f]) chosen[f] = ""; // of another version, or nobody's
    input.addEventListener("input", () => {
      chosen[f] = input.value.trim();
      write();
      changed();
    });
    input.addEventListener("keydown", (e) => {
      if (e.key === "Escape") {
        if (input.value) clear(f);
        else input.blur();
      }
    });
  }
  const clear = (...which) => {
    for (const f of which) {
      chosen[f] = "";
      const input = $("filter-" + f);
      if (input) input.value = "";
    }
    write();
    changed();
  };
  $("filter-clear").addEventListener("click", () => clear(...fields));
  write();
}

// options puts the values that can be chosen into a select whose first option is all.
export function options(name, list) {
  const select = $("filter-" + name);
  const have = [...select.options].slice(1).map((o) => o.value + "\n" + o.textContent).join("\n");
  if (have === list.map(([value, text]) => value + "\n" + text).join("\n")) return;
  while (select.options.length > 1) select.remove(1);
  for (const [value, text] of list) select.add(new Option(text, value));
  select.value = chosen[name];
}

// active says whether some incidents may not be shown.
export const active = () => !!(chosen.q || chosen.kind || chosen.drill || chosen.tier);

// incident says whether an incident is shown.
export function incident(i) {
  if (chosen.kind && !(chosen.kind === "found" ? found(i) : i.kind === chosen.kind)) return false;
  if (chosen.drill && i.drill !== (chosen.drill === "only")) return false;
  if (chosen.tier && !Object.values(i.area ?? {}).includes(chosen.tier)) return false;
  return !chosen.q || words([i.id, "#" + i.id, i.device, i.device_name, tx("kind", i.kind), i.officer, i.acknowledged?.by, i.dispatched?.unit, i.closed?.note, i.owner, areaName(i.area ?? {})]);
}

// device says whether a device is shown.
export function device(d) {
  switch (chosen.device) {
    case "alarm-box": case "patrol-car": case "patrol-motorcycle": if (d.kind !== chosen.device) return false; break;
    case "silent": if (heardState(d) === "ok") return false; break;
    case "faults": if (!d.faults.length) return false; break;
    case "gaps": if (!Object.values(d.gap_count).some(Boolean)) return false; break;
  }
  return !chosen.q || words([d.id, d.name, d.officer, d.firmware, ...d.faults.map((f) => f.code)]);
}

// words says whether each word that was searched for is in one of the texts.
function words(texts) {
  const all = folded(texts.filter(Boolean).join("\n"));
  return folded(chosen.q).split(/\s+/).every((word) => all.includes(word));
}
