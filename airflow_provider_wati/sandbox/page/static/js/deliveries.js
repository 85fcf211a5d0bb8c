// Webhooks that the sandbox has sent: which event, where to, and how it ended.

import { get, post } from "./api.js";
import { empty, foreign, h } from "./dom.js";
import { toTheSecond } from "./format.js";
import { announce, shown } from "./notices.js";
import { pagedTable } from "./paged_table.js";

const MOST = 1000;
const LOOKS = /** @type {Record<string, string>} */ ({ delivered: "good", waiting: "wait", sending: "wait", retrying: "wait", failed: "bad", refused: "bad" });

/**
 * @typedef {{number: number, webhook_id: string, event_type: string, state: string, attempts: number,
 *   status: number|null, error: string|null, repeat: boolean, created: string}} Delivery
 */

export function deliveries() {
  /** @type {Map<string, string>} */
  const hosts = new Map();
  const table = pagedTable({
    label: "Webhooks sent",
    columns: [
      { name: "Time", draw: (/** @type {Delivery} */ row) => [h("span", { class: "number tight" }, toTheSecond(Date.parse(row.created) / 1000))] },
      { name: "Event", draw: (row) => [h("span", { class: "code" }, foreign(row.event_type)), row.repeat ? h("span", { class: "under" }, "sent again") : null] },
      { name: "To", draw: (row) => [foreign(hosts.get(row.webhook_id) || row.webhook_id)] },
      { name: "State", draw: (row) => [h("span", { class: `badge ${LOOKS[row.state] || ""}` }, row.state)] },
      { name: "Attempts", number: true, draw: (row) => [String(row.attempts)] },
      { name: "Answer", draw: (row) => [row.status === null ? null : h("span", { class: row.status === 200 ? "badge good" : "badge bad" }, String(row.status)), row.error ? h("span", { class: "under" }, foreign(row.error)) : null] },
      { name: "Again", draw: (row) => [h("button", { type: "button", class: "small", "aria-label": `Send ${row.event_type} ${row.number} again`, on: { click: shown(() => sendAgain(row)) } }, "Send again")] },
    ],
    load,
    none: () => empty("calls", "No webhooks yet", "Events appear here once a webhook is enabled and something happens."),
  });

  /** @param {number} skip @param {number} limit */
  async function load(skip, limit) {
    const [sent, known] = await Promise.all([get("/webhooks/deliveries", { limit: MOST }), get("/webhooks")]);
    for (const { id, url } of known.webhooks) hosts.set(id, hostOf(url));
    /** @type {Delivery[]} */
    const rows = sent.deliveries;
    return { total: rows.length, skip, rows: rows.slice(skip, skip + limit) };
  }

  /** @param {Delivery} row */
  async function sendAgain(row) {
    await post(`/webhooks/deliveries/${row.number}/redeliver`, {});
    announce(`${row.event_type} is sent again.`);
    await table.refresh();
  }
  return table;
}

/**
 * The host of an address: the rest may hold a secret.
 *
 * @param {string} url
 */
function hostOf(url) {
  try {
    return new URL(url).host;
  } catch {
    return "unreadable address";
  }
}
