// What should go wrong: a form for a rule, and the rules with how often each was used.

import { get, post, remove } from "./api.js";
import { empty, fill, h } from "./dom.js";
import { faultForm } from "./fault_form.js";
import { count } from "./format.js";
import { announce, shown } from "./notices.js";

/** @typedef {import("./types.js").Fault} Fault */

/** Characters that are shown of an answer. */
const LONGEST = 60;

/** @returns {import("./types.js").View} */
export function faults() {
  const heading = h("h2", { tabindex: "-1" }, "Faults");
  const rules = h("div", {});
  const clear = h("button", { type: "button", class: "danger", hidden: true, on: { click: shown(removeAll) } }, "Remove all");
  const form = faultForm(async (body) => {
    await post("/faults", body);
    announce("The fault is in force.");
    await refresh();
  });
  const element = h(
    "div",
    { class: "view" },
    h("div", { class: "view-head" }, heading, clear),
    h("div", { class: "faults" }, h("section", { class: "panel", "aria-label": "New fault" }, form.element), h("section", { "aria-label": "Faults in force" }, rules)),
  );
  let drawn = "";

  async function refresh() {
    const answer = await get("/faults");
    form.setKinds(answer.kinds);
    const text = JSON.stringify(answer.faults);
    if (text === drawn) return;
    drawn = text;
    clear.hidden = !answer.faults.length;
    const none = empty("faults", "Everything works", "Add a fault, and the next call that fits it goes wrong.");
    fill(rules, answer.faults.length ? drawRules(answer.faults) : none);
  }

  /** @param {Fault[]} list */
  function drawRules(list) {
    const heads = ["What goes wrong", "Where", "Used", ""].map((name) => h("th", { scope: "col", role: "columnheader" }, name || h("span", { class: "unseen" }, "Remove")));
    return h(
      "div",
      { class: "scroll" },
      h("table", { role: "table", "aria-label": "Faults in force" }, h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...heads)), h("tbody", { role: "rowgroup" }, ...list.map(drawRule))),
    );
  }

  /** @param {Fault} fault */
  function drawRule(fault) {
    const take = h("button", { type: "button", "aria-label": `Remove the fault ${fault.kind} ${fault.id}`, on: { click: shown(() => removeOne(fault)) } }, "Remove");
    const spent = fault.count !== null && fault.fired >= fault.count;
    const cells = [
      ["What goes wrong", h("div", {}, h("strong", {}, whatOf(fault)), h("span", { class: "under" }, whenOf(fault)))],
      ["Where", h("div", { class: "code" }, fault.method === "*" ? fault.path : `${fault.method} ${fault.path}`)],
      ["Used", h("div", { class: "used" }, h("span", { class: fault.fired ? "badge wait" : "badge" }, usedOf(fault)), h("span", { class: "under" }, spent ? "spent" : `${count(fault.seen)} ${fault.seen === 1 ? "call" : "calls"} fitted`))],
    ];
    return h("tr", { role: "row", "data-id": fault.id }, ...cells.map(([label, cell]) => h("td", { role: "cell", "data-label": label }, cell)), h("td", { role: "cell", class: "wide-cell" }, h("div", {}, take)));
  }

  /** @param {Fault} fault */
  async function removeOne(fault) {
    await remove(`/faults/${fault.id}`);
    announce("The fault is removed.");
    await refresh();
    heading.focus();
  }

  async function removeAll() {
    await remove("/faults");
    announce("All faults are removed.");
    await refresh();
    heading.focus();
  }
  return { element, heading, refresh };
}

/** @param {Fault} fault */
function whatOf(fault) {
  if (fault.kind === "status" || fault.kind === "redirect") return `${fault.kind} ${fault.status}`;
  if (fault.kind === "garbage") return `garbage: ${fault.body}`;
  if (fault.kind === "answer") return `answer ${shortened(JSON.stringify(fault.answer))}`;
  return fault.kind.replaceAll("_", " ");
}

/** @param {string} text */
function shortened(text) {
  const characters = [...text];
  return characters.length > LONGEST ? `${characters.slice(0, LONGEST).join("")}…` : text;
}

/** @param {Fault} fault */
function whenOf(fault) {
  const parts = [fault.when === "after" ? "after the effect" : "before the effect"];
  if (fault.seconds) parts.push(`waits ${fault.seconds} s`);
  if (fault.skip) parts.push(`leaves the first ${count(fault.skip)} alone`);
  if (fault.probability < 1) parts.push(`${Number((fault.probability * 100).toPrecision(3))}% of calls`);
  return parts.join(", ");
}

/** @param {Fault} fault */
function usedOf(fault) {
  return fault.count === null ? `${count(fault.fired)} times` : `${count(fault.fired)} of ${count(fault.count)}`;
}
