// The log of API calls: what came, what was answered, and what the answer means.

import { get, remove } from "./api.js";
import { empty, foreign, h } from "./dom.js";
import { toTheSecond } from "./format.js";
import { announce, complain, shown } from "./notices.js";
import { pagedTable, searchField } from "./paged_table.js";

/** @typedef {import("./types.js").CallRow} Row */

/** @returns {import("./types.js").View} */
export function calls() {
  const heading = h("h2", { tabindex: "-1" }, "API calls");
  const search = searchField("Search method, path or status", () => void table.restart().catch(complain));
  const clear = h("button", { type: "button", on: { click: shown(empties) } }, "Clear");
  const table = pagedTable({
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

  async function empties() {
    await remove("/requests");
    announce("The log is empty.");
    await table.restart();
  }
  const element = h("div", { class: "view" }, h("div", { class: "view-head" }, heading, search, clear), table.element);
  return { element, heading, refresh: table.refresh };
}

/** @param {Row} row */
function statusOf(row) {
  if (row.status === null) return h("span", { class: "badge bad" }, "dropped");
  const look = row.status < 300 ? "good" : row.status === 429 || row.status < 400 ? "wait" : "bad";
  return h("span", { class: `badge ${look}` }, String(row.status));
}
