// The list of conversations, with one of them open.

import { get } from "./api.js";
import { now } from "./clock.js";
import { empty, fill, foreign, h } from "./dom.js";
import { address, count, recent } from "./format.js";
import { newCustomer } from "./new_customer.js";
import { announce, complain } from "./notices.js";
import { searchField } from "./paged_table.js";
import { avatar } from "./person.js";
import { thread } from "./thread.js";
import { VirtualList } from "./virtual_list.js";

const NARROW = window.matchMedia("(max-width: 859px)");

/** @typedef {import("./types.js").ConversationRow} Row */

/** @returns {import("./types.js").View} */
export function conversations() {
  /** @type {ReturnType<typeof thread>|null} */
  let opened = null;
  let openedId = "";
  let latest = "";

  const heading = h("h2", { tabindex: "-1" }, "Conversations");
  const search = searchField("Search name or number", restart);
  const unread = h("input", { type: "checkbox", on: { change: restart } });
  const shownCount = h("span", {});
  const none = h("div");
  const list = new VirtualList({
    label: "Conversations",
    rowHeight: 72,
    load: async (skip, limit) => {
      const slice = await get("/page/conversations", { query: search.value, unread: unread.checked || "", skip, limit });
      shownCount.textContent = `${count(slice.total)} ${search.value || unread.checked ? "found" : "in all"}`;
      if (skip === 0) tellNews(slice.rows[0]);
      return slice;
    },
    draw: drawRow,
    open: (/** @type {Row} */ row) => {
      if (row.id === openedId) opened?.focus();
      else location.hash = `#/conversations/${row.id}`;
    },
  });
  const add = h("button", { type: "button", on: { click: () => newCustomer(openPerson) } }, "New customer");
  const column = h(
    "section",
    { class: "talk-list", "aria-label": "Conversations" },
    h(
      "div",
      { class: "talk-list-head" },
      h("div", { class: "talk-list-title" }, heading, add),
      search,
      h("div", { class: "talk-filter" }, shownCount, h("label", { class: "check" }, unread, "Unread only")),
    ),
    list.element,
  );
  list.element.append(none);
  const place = h("div", { class: "no-thread" }, empty("conversations", "No conversation is open", "Choose one to see what arrived, and answer as the customer."));
  const element = h("div", { class: "talks" }, column, place);

  function restart() {
    list.restart().then(showNone).catch(complain);
  }

  function showNone() {
    const words = search.value || unread.checked ? "No conversation fits." : "When a DAG sends a message, it appears here.";
    fill(none, list.total ? null : empty("conversations", "Nothing here", words));
  }

  /** @param {Row|undefined} row the latest conversation */
  function tellNews(row) {
    if (!row || search.value || unread.checked) return;
    const state = `${row.id}-${row.messages}`;
    if (latest && latest !== state && row.unread && row.id !== openedId) announce(`New message to ${row.name}: ${row.preview}`);
    latest = state;
  }

  /** @param {string} address */
  async function openPerson(address) {
    const found = await get("/page/conversations", { query: address, limit: 1 });
    if (found.rows.length) location.hash = `#/conversations/${found.rows[0].id}`;
  }

  function leave() {
    location.hash = "#/conversations";
  }

  /** @param {string|undefined} id @param {boolean} byHand */
  async function follow(id, byHand) {
    if ((id || "") === openedId) return;
    openedId = id || "";
    opened = id ? thread(id, leave) : null;
    element.classList.toggle("reading", Boolean(opened));
    element.lastElementChild?.replaceWith(opened ? opened.element : place);
    list.markOpened(openedId);
    if (opened) {
      await opened.refresh();
      if (byHand) (NARROW.matches ? opened.heading : opened).focus();
    } else if (byHand) {
      list.element.focus();
    }
  }

  async function refresh() {
    await Promise.all([list.refresh(), opened?.refresh()]);
    list.markOpened(openedId);
    showNone();
  }

  return { element, heading, refresh, follow, tick: () => opened?.tick() };
}

/** @param {Row} row */
function drawRow(row) {
  const time = recent(row.time, now());
  const marks = row.unread ? `, ${row.unread} unread` : "";
  const failed = row.last_status === "failed" ? ", not delivered" : "";
  const status = row.last_status === "failed" ? h("span", { class: "badge bad" }, "failed") : h("span");
  return {
    className: row.unread ? "talk-row unread" : "talk-row",
    label: `${row.name}, ${address(row)}, ${row.channel}${marks}${failed}: ${row.preview}`,
    children: [
      avatar(row.name),
      h(
        "span",
        {},
        h("span", { class: "who" }, foreign(row.name), row.channel === "Default" ? null : h("span", { class: "badge channel" }, foreign(row.channel))),
        h("span", { class: "what" }, foreign(row.preview || "No message yet")),
      ),
      h("span", { class: "side" }, h("span", {}, time), row.unread ? h("span", { class: "unread-count" }, row.unread > 98 ? "99+" : String(row.unread)) : status),
    ],
  };
}
