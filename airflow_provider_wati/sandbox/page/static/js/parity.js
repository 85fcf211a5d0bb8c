// How each behaviour of the sandbox is known.

import { get } from "./api.js";
import { empty, fill, h } from "./dom.js";

const WORDS = /** @type {Record<string, string>} */ ({
  documented: "WATI says so in its documentation",
  observed: "seen at WATI",
  inferred: "WATI does not say; the sandbox has chosen",
});

/** @typedef {{area: string, behaviour: string, known: string, source: string, date: string}} Behaviour */

/** @returns {import("./types.js").View} */
export function parity() {
  const heading = h("h2", { tabindex: "-1" }, "Parity with WATI");
  const place = h("div");
  // Nothing in it takes the focus, so the view does, or no key would scroll it.
  const element = h("div", { class: "view", tabindex: "0", role: "region", "aria-label": "Parity" }, h("div", { class: "view-head" }, heading), place);
  let loaded = false;

  async function refresh() {
    if (loaded) return;
    const { behaviours } = await get("/page/parity");
    loaded = true;
    fill(place, behaviours.length ? drawLedger(behaviours) : empty("parity", "Nothing is listed", ""));
  }
  return { element, heading, refresh };
}

/** @param {Behaviour[]} behaviours */
function drawLedger(behaviours) {
  const heads = ["Behaviour", "Area", "Known", "Source"];
  return h(
    "div",
    {},
    h("dl", { class: "facts-list" }, ...Object.entries(WORDS).flatMap(([known, words]) => [h("dt", {}, knownBadge(known)), h("dd", { class: "muted small" }, words)])),
    h(
      "div",
      { class: "scroll" },
      h(
        "table",
        { role: "table", "aria-label": "Behaviours of the sandbox" },
        h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...heads.map((name) => h("th", { scope: "col", role: "columnheader" }, name)))),
        h("tbody", { role: "rowgroup" }, ...behaviours.map(drawBehaviour)),
      ),
    ),
  );
}

/** @param {Behaviour} each */
function drawBehaviour(each) {
  const cells = [
    ["Behaviour", h("div", {}, each.behaviour)],
    ["Area", h("div", {}, each.area)],
    ["Known", h("div", {}, knownBadge(each.known))],
    ["Source", h("div", { class: "small" }, each.source, h("span", { class: "under number" }, each.date))],
  ];
  return h("tr", { role: "row" }, ...cells.map(([label, cell]) => h("td", { role: "cell", "data-label": label }, cell)));
}

/** @param {string} known */
function knownBadge(known) {
  const looks = /** @type {Record<string, string>} */ ({ documented: "good", observed: "info", inferred: "wait" });
  return h("span", { class: `badge ${looks[known] || ""}` }, known);
}
