// What the centre refused, in the page's language: the problem names a code and values,
// and its English is for programs.

import { boot, t, tx } from "./text.js";

// refusal is the sentence for a Refusal.
export function refusal(e) {
  const p = e.problem;
  if (e.status === 0) return t("error.unreachable");
  if (p.cause) return t("error.storage", { cause: tx("storage", p.cause) });
  if (boot.messages["refusal." + p.code]) return tx("refusal", p.code, values(p));
  const state = tx("state", p.state ?? "");
  if (e.status === 409 && p.state) return p.by ? t("error.taken", { state, by: p.by }) : t("error.conflict", { state });
  return t("error.refused", { status: e.status, detail: e.message });
}

const values = (p) => ({
  field: tx("field", p.field ?? ""), value: p.code === "role" ? tx("role", p.value) : p.value, want: p.code === "role" ? tx("role", p.want) : p.want,
  by: p.by || t("refusal_nobody"), who: p.who, asked: tx("step", p.asked ?? ""), detail: p.detail,
});
