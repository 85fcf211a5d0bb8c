// Starts the page: the frame with its views, the clock, and news from the sandbox.

import { calls } from "./calls.js";
import { campaigns } from "./campaigns.js";
import { clockPanel, setClock } from "./clock.js";
import { contacts } from "./contacts.js";
import { conversations } from "./conversations.js";
import { fill, h, icon } from "./dom.js";
import { faults } from "./faults.js";
import { count } from "./format.js";
import { follow } from "./live.js";
import { complain } from "./notices.js";
import { parity } from "./parity.js";

/** @typedef {import("./types.js").View} View */

const VIEWS = /** @type {const} */ ([
  { name: "conversations", label: "Conversations", short: "Chats", make: conversations },
  { name: "campaigns", label: "Campaigns", short: "Campaigns", make: campaigns },
  { name: "contacts", label: "Contacts", short: "Contacts", make: contacts },
  { name: "faults", label: "Faults", short: "Faults", make: faults },
  { name: "calls", label: "API calls", short: "Calls", make: calls },
  { name: "parity", label: "Parity", short: "Parity", make: parity },
]);
const COUNTED = /** @type {Record<string, string>} */ ({ calls: "requests" });

const main = /** @type {HTMLElement} */ (document.getElementById("view"));
/** @type {{name: string, view: View}|null} */
let current = null;

const links = VIEWS.map(({ name, label, short }) => {
  const number = h("span", { class: "count", "aria-hidden": "true" });
  const link = h("a", { href: `#/${name}` }, icon(name), h("span", { class: "long" }, label), h("span", { class: "short" }, short), number);
  return { name, link, number };
});

/** The view and the thing in it that the address names. */
function route() {
  const [, name = "", id] = location.hash.split("/");
  const known = VIEWS.find((view) => view.name === name) || VIEWS[0];
  return { known, id: id ? decodeURIComponent(id) : undefined };
}

/** @param {boolean} byHand whether somebody went there, and the focus should go along */
async function go(byHand) {
  const { known, id } = route();
  const isNew = current?.name !== known.name;
  if (isNew) {
    current?.view.close?.();
    current = { name: known.name, view: known.make() };
    fill(main, current.view.element);
    for (const { name, link } of links) {
      if (name === known.name) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    document.title = `${known.label} – WATI sandbox`;
  }
  const { view } = /** @type {{view: View}} */ (current);
  await Promise.all([isNew ? view.refresh() : undefined, view.follow?.(id, byHand)]);
  if (byHand && !view.element.contains(document.activeElement)) view.heading.focus({ preventScroll: true });
}

function start() {
  fill(/** @type {HTMLElement} */ (document.getElementById("views")), h("ul", {}, ...links.map(({ link }) => h("li", {}, link))));
  document.getElementById("skip")?.addEventListener("click", () => main.focus());
  const section = /** @type {HTMLElement} */ (document.getElementById("clock"));
  const showTime = clockPanel(section, () => void current?.view.refresh().catch(complain));
  window.addEventListener("hashchange", () => void go(true).catch(complain));
  setInterval(() => {
    showTime();
    current?.view.tick?.();
  }, 500);
  go(false).catch(complain);
  let epoch = 0;
  void follow(async (changes) => {
    setClock(changes.clock);
    showTime();
    for (const { name, number } of links) number.textContent = countOf(changes.counts[COUNTED[name] || name]);
    // After a reset the ids begin again, so what is open may be another thing now.
    if (epoch && changes.epoch !== epoch) location.reload();
    epoch = changes.epoch;
    await current?.view.refresh();
  }, complain);
}

/** @param {number|undefined} number */
function countOf(number) {
  return number ? count(number) : "";
}

start();
