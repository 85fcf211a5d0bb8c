// How a person is shown in lists.

import { h, foreign } from "./dom.js";
import { address, hue, initials } from "./format.js";

/** @param {string} name @param {boolean} [small] */
export function avatar(name, small = false) {
  return h("span", { class: `avatar hue-${hue(name)}${small ? " small" : ""}`, "aria-hidden": "true" }, initials(name));
}

/**
 * A name with the number under it, as a link if there is a conversation.
 *
 * @param {{name: string, phone: string|null, bsuid: string|null}} person
 * @param {string|null|undefined} conversation
 */
export function nameAndNumber(person, conversation) {
  const name = foreign(person.name);
  const number = address(person);
  return [
    conversation ? h("a", { href: `#/conversations/${conversation}` }, name) : name,
    person.name === person.phone ? null : h("span", { class: "under number" }, number),
  ];
}

const LOOKS = /** @type {Record<string, string>} */ ({
  failed: "bad",
  stopped: "bad",
  cancelled: "bad",
  read: "info",
  replied: "info",
  delivered: "good",
  sent: "good",
  completed: "good",
  processing: "wait",
  scheduled: "wait",
  pending: "wait",
  queued: "wait",
  sending: "wait",
});

/** @param {string} status */
export function statusBadge(status) {
  return h("span", { class: `badge ${LOOKS[status] || ""}` }, status);
}
