// The log of API calls: what came, what was answered, and what the answer means; and the webhooks that went out.

import { get, remove } from "./api.js";
import { deliveries } from "./deliveries.js";
import { empty, fill, foreign, h } from "./dom.js";
import { toTheSecond } from "./format.js";
import { announce, complain, shown } from "./notices.js";
import { pagedTable, searchField } from "./paged_table.js";

/** @typedef {import("./types.js").CallRow} Row */

/** @returns {import("./types.js").View} */
export function calls() {
  const heading = h("h2", { tabindex: "-1" }, "API calls");
  const search = searchField("Search method, path or status", () => void table.restart().catch(complain));
  const clear = h("button", { type: "button", on: { click: shown(emptyLog) } }, "Clear");
  const table = callTable(search);
  const sent = deliveries();
  const inLink = h("a", { class: "button", href: "#/calls" }, "Calls in");
  const outLink = h("a", { class: "button", href: "#/calls/webhooks" }, "Webhooks out");
  const place = h("div", {}, table.element);
  const element = h(
    "div",
    { class: "view" },
    h("div", { class: "view-head" }, heading, h("div", { class: "tabs", role: "group", "aria-label": "In or out" }, inLink, outLink), search, clear),
    place,
  );
  let isOut = false;

  /** @param {string|undefined} id */
  async function follow(id) {
    isOut = id === "webhooks";
    heading.textContent = isOut ? "Webhooks sent" : "API calls";
    inLink.toggleAttribute("data-chosen", !isOut);
    outLink.toggleAttribute("data-chosen", isOut);
    (isOut ? outLink : inLink).setAttribute("aria-current", "true");
    (isOut ? inLink : outLink).removeAttribute("aria-current");
    search.hidden = isOut;
    clear.hidden = isOut;
    fill(place, isOut ? sent.element : table.element);
    await refresh();
  }

  async function refresh() {
    await (isOut ? sent : table).refresh();
  }

  async function emptyLog() {
    await remove("/requests");
    announce("The log is empty.");
    await table.restart();
  }
  return { element, heading, refresh, follow };
}

/** @param {HTMLInputElement} search */
function callTable(search) {
  return pagedTable({
    label: "API calls",
    columns: [
      { name: "Time", draw: (/** @type {Row} */ row) => [h("span", { class: "number tight" }, toTheSecond(row.time))] },
      { name: "Call", draw: (row) => [h("span", { class: "code" }, h("strong", {}, row.method), " ", foreign(row.path), row.query ? h("span", { class: "muted" }, foreign(`?${row.query}`)) : null)] },
      { name: "Status", draw: (row) => [statusOf(row), row.fault ? h("span", { class: "under" }, `fault: ${row.fault.replaceAll("_", " ")}`) : null] },
      { name: "Took", number: true, draw: (row) => [h("span", { class: "number tight" }, `${row.milliseconds} ms`)] },
      { name: "What it means", draw: (row) => [h("span", { class: "small" }, row.answer)] },
    ],
    load: (skip, limit) => get("/page/calls", { query: search.value, skip, limit }),
    none: () => empty("calls", search.value ? "No call fits" : "No calls yet", "Each call of the API appears here, without its token and its body."),
  });
}

/** @param {Row} row */
function statusOf(row) {
  if (row.status === null) return h("span", { class: "badge bad" }, "dropped");
  const look = row.status < 300 ? "good" : row.status === 429 || row.status < 400 ? "wait" : "bad";
  return h("span", { class: `badge ${look}` }, String(row.status));
}
