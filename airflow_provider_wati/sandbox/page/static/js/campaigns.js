// Campaigns with their funnels, and the recipients of one.

import { Refused, get } from "./api.js";
import { empty, fill, foreign, h } from "./dom.js";
import { count, dayAndHours, percent } from "./format.js";
import { complain } from "./notices.js";
import { pagedTable, searchField } from "./paged_table.js";
import { nameAndNumber, statusBadge } from "./person.js";

const SHOWN = 25;
const STAGES = ["sent", "delivered", "read", "replied", "failed"];
const STATUSES = ["pending", "queued", "sending", "sent", "delivered", "read", "replied", "failed", "stopped"];

/** @typedef {import("./types.js").CampaignRow} Row */

/** @returns {import("./types.js").View} */
export function campaigns() {
  const element = h("div", { class: "view" });
  const heading = h("h2", { tabindex: "-1" }, "Campaigns");
  /** @type {{element: HTMLElement, refresh: () => Promise<void>}} */
  let inside = overview(heading);
  fill(element, inside.element);

  /** @param {string|undefined} id */
  async function follow(id) {
    inside = id ? details(id, heading) : overview(heading);
    fill(element, inside.element);
    element.scrollTop = 0;
    await inside.refresh();
  }
  return { element, heading, refresh: () => inside.refresh(), follow };
}

/** @param {HTMLElement} heading */
function overview(heading) {
  let skip = 0;
  let drawn = "";
  let turns = 0;
  const search = searchField("Search campaign or template", () => turnTo(0));
  const list = h("div", { class: "campaigns" });
  const newer = h("button", { type: "button", on: { click: () => turnTo(skip - SHOWN) } }, "Newer");
  const older = h("button", { type: "button", on: { click: () => turnTo(skip + SHOWN) } }, "Older");
  const where = h("span");
  const pager = h("div", { class: "pager" }, where, h("span", { class: "turn" }, newer, older));
  heading.textContent = "Campaigns";
  const element = h("div", {}, h("div", { class: "view-head" }, heading, search), list, pager);

  /** @param {number} to */
  function turnTo(to) {
    skip = Math.max(0, to);
    refresh().catch(complain);
  }

  async function refresh() {
    turns += 1;
    const turn = turns;
    const slice = await get("/page/campaigns", { query: search.value, skip, limit: SHOWN });
    const text = JSON.stringify(slice);
    // The answer to an older question is out of date.
    if (turn !== turns || text === drawn) return;
    drawn = text;
    const none = empty("campaigns", search.value ? "No campaign fits" : "No campaigns yet", "A template that is sent to somebody makes one.");
    fill(list, ...(slice.rows.length ? slice.rows.map(drawCampaign) : [none]));
    where.textContent = `${count(skip + 1)}–${count(skip + slice.rows.length)} of ${count(slice.total)}`;
    pager.hidden = slice.total <= SHOWN;
    newer.disabled = skip === 0;
    older.disabled = skip + SHOWN >= slice.total;
  }
  return { element, refresh };
}

/** @param {Row} row */
function drawCampaign(row) {
  return h(
    "article",
    { class: "campaign", "data-id": row.id },
    h("div", {}, h("h3", {}, h("a", { href: `#/campaigns/${row.id}` }, foreign(row.name))), facts(row)),
    funnel(row),
  );
}

/** @param {Row} row */
function facts(row) {
  return h(
    "p",
    { class: "facts" },
    statusBadge(row.status),
    h("span", {}, "Template ", foreign(row.template)),
    h("span", {}, `Channel ${row.channel}`),
    h("span", { class: "number" }, `${dayAndHours(row.starts_at)} UTC`),
    h("span", { class: "number" }, `${count(row.recipients)} ${row.recipients === 1 ? "recipient" : "recipients"}`),
  );
}

/** @param {Row} row @param {string} [className] */
function funnel(row, className = "") {
  return h(
    "dl",
    { class: `funnel ${className}` },
    ...STAGES.flatMap((stage) => {
      const value = row.funnel[stage] || 0;
      const bar = h("div", { class: stage === "failed" ? "bar-fill failed" : "bar-fill" });
      bar.style.width = `${row.recipients ? (100 * value) / row.recipients : 0}%`;
      return [
        h("dt", {}, stage),
        h("dd", { class: "bar", "aria-hidden": "true" }, bar),
        h("dd", { class: "value", "data-stage": stage }, count(value), " ", h("span", { class: "share" }, percent(value, row.recipients))),
      ];
    }),
  );
}

/** @param {string} id @param {HTMLElement} heading */
function details(id, heading) {
  const top = h("div", { class: "campaign-head" });
  const status = h("select", { "aria-label": "Status of the recipients", on: { change: restart } }, h("option", { value: "" }, "Every status"));
  const search = searchField("Search name or number", restart);
  const table = pagedTable({
    label: "Recipients",
    columns: [
      { name: "Recipient", draw: (/** @type {import("./types.js").RecipientRow} */ row) => nameAndNumber(row, row.conversation) },
      { name: "Status", draw: (row) => [statusBadge(row.status)] },
      { name: "Reason", draw: (row) => (row.reason ? [h("span", { class: "code" }, row.reason.code), ` ${row.reason.detail}`] : [h("span", { class: "muted" }, "–")]) },
    ],
    load: (skip, limit) => get(`/page/campaigns/${id}/recipients`, { status: status.value, query: search.value, skip, limit }),
    none: () => empty("contacts", "No recipient fits", "Choose another status, or search for something else."),
  });
  const back = h("a", { class: "button", href: "#/campaigns" }, "All campaigns");
  const element = h("div", {}, h("div", { class: "view-head" }, heading, back), top, h("div", { class: "view-head" }, h("h3", {}, "Recipients"), status, search), table.element);

  function restart() {
    table.restart().catch(complain);
  }

  async function refresh() {
    try {
      /** @type {Row} */
      const row = await get(`/page/campaigns/${id}`);
      fill(heading, foreign(row.name));
      fill(top, facts(row), funnel(row, "big"));
      showStatuses(row);
      await table.refresh();
    } catch (error) {
      if (!(error instanceof Refused && error.status === 404)) throw error;
      location.hash = "#/campaigns";
    }
  }

  /** @param {Row} row */
  function showStatuses(row) {
    for (const name of STATUSES) {
      const value = row.now[name] || 0;
      const known = [...status.options].find((option) => option.value === name);
      const text = `${name} (${count(value)})`;
      if (known) known.textContent = text;
      else if (value) status.append(h("option", { value: name }, text));
    }
  }
  return { element, refresh };
}
