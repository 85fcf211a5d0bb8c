// Contacts with their attributes, teams and consent.

import { get, post } from "./api.js";
import { empty, foreign, h } from "./dom.js";
import { whom } from "./format.js";
import { announce, complain, shown } from "./notices.js";
import { pagedTable, searchField } from "./paged_table.js";
import { nameAndNumber } from "./person.js";

/** @typedef {import("./types.js").ContactRow} Row */

/** @returns {import("./types.js").View} */
export function contacts() {
  const heading = h("h2", { tabindex: "-1" }, "Contacts");
  const search = searchField("Search name or number", restart);
  const consent = h(
    "select",
    { "aria-label": "Consent", on: { change: restart } },
    h("option", { value: "" }, "With and without consent"),
    h("option", { value: "yes" }, "With consent"),
    h("option", { value: "no" }, "Without consent"),
  );
  const table = pagedTable({
    label: "Contacts",
    columns: [
      { name: "Contact", draw: (/** @type {Row} */ row) => nameAndNumber(row, row.conversations[0]) },
      { name: "Attributes", draw: (row) => drawAttributes(row.attributes) },
      { name: "Teams", draw: (row) => (row.teams.length ? row.teams.map((team) => h("span", { class: "badge" }, foreign(team))) : [h("span", { class: "muted" }, "–")]) },
      { name: "Campaigns", draw: drawConsent },
      { name: "Source", draw: (row) => [row.source] },
    ],
    load: (skip, limit) => get("/page/contacts", { query: search.value, consent: consent.value, skip, limit }),
    none: () => empty("contacts", "No contact fits", "Search for something else."),
  });
  const element = h("div", { class: "view" }, h("div", { class: "view-head" }, heading, consent, search), table.element);

  function restart() {
    table.restart().catch(complain);
  }

  /** @param {Row} row */
  function drawConsent(row) {
    const badge = h("span", { class: row.allow_broadcast ? "badge good" : "badge bad" }, row.allow_broadcast ? "Allowed" : "Not allowed");
    const words = row.allow_broadcast ? "Withdraw" : "Allow";
    const change = shown(async () => {
      await post("/contacts", { contacts: [{ ...whom(row), allow_broadcast: !row.allow_broadcast }] });
      announce(row.allow_broadcast ? `${row.name} gets no more campaigns.` : `${row.name} may get campaigns.`);
      await table.refresh();
    });
    return [badge, " ", h("button", { type: "button", class: "quiet small", "aria-label": `${words}: campaigns to ${row.name}`, on: { click: change } }, words)];
  }
  return { element, heading, refresh: table.refresh };
}

/** @param {[string, string][]} attributes */
function drawAttributes(attributes) {
  if (!attributes.length) return [h("span", { class: "muted" }, "–")];
  return [
    h("span", { class: "attributes" }, ...attributes.map(([name, value]) => h("span", { class: "attribute" }, h("b", {}, foreign(name)), " ", foreign(value)))),
  ];
}
