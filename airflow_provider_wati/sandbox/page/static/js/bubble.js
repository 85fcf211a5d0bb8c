// One message: its parts, its ticks, and what can be tapped.

import { mediaAddress } from "./api.js";
import { foreign, h, icon } from "./dom.js";
import { count, dayAndHours, hours, size } from "./format.js";

const MOST_SHOWN = 5000;

const TICKS = /** @type {Record<string, {icon: "one"|"two", words: string}>} */ ({
  sent: { icon: "one", words: "Sent" },
  delivered: { icon: "two", words: "Delivered" },
  read: { icon: "two", words: "Read" },
  replied: { icon: "two", words: "Read and replied to" },
});
const WAITING = /** @type {Record<string, string>} */ ({
  pending: "Scheduled",
  queued: "Queued",
  sending: "Sending",
  stopped: "Cancelled",
});

/**
 * @param {import("./types.js").Bubble} message
 * @param {((text: string) => void)|null} tap sends the customer's answer; null if there is nobody to answer as
 */
export function drawMessage(message, tap) {
  const { campaign } = message;
  const bubble = h(
    "div",
    { class: "bubble" },
    h("span", { class: "unseen" }, message.from_business ? "From the business: " : "From the customer: "),
    campaign && h("p", { class: "from" }, "Campaign ", h("a", { href: `#/campaigns/${campaign.id}` }, foreign(campaign.name))),
    message.sender && h("p", { class: "from" }, foreign(message.sender)),
    message.header && h("p", { class: "head" }, foreign(message.header)),
    message.media && drawMedia(message.media),
    message.body && drawText(message.body),
    message.footer && h("p", { class: "foot" }, foreign(message.footer)),
    message.reason && h("p", { class: "reason" }, h("span", { class: "code" }, message.reason.code), ` ${message.reason.detail}`),
    h("div", { class: "meta" }, h("time", { title: `${dayAndHours(message.time)} UTC` }, hours(message.time)), message.from_business ? drawTicks(message.status) : null),
  );
  return h(
    "li",
    { class: message.from_business ? "message" : "message mine", "data-index": message.index, "data-status": message.status },
    bubble,
    message.buttons.length ? drawButtons(message.buttons, tap) : null,
    message.list && drawChoices(message.list, tap),
  );
}

/**
 * WhatsApp takes 4,096 characters. A word of 100,000 would keep the browser busy for many seconds.
 *
 * @param {string} text
 */
function drawText(text) {
  const shown = h("p", { class: "text", dir: "auto" }, text);
  if (text.length <= MOST_SHOWN) return shown;
  // Half of a character is not cut off.
  const end = /[\uD800-\uDBFF]/.test(text[MOST_SHOWN - 1]) ? MOST_SHOWN - 1 : MOST_SHOWN;
  shown.textContent = `${text.slice(0, end)}…`;
  const all = h("button", { type: "button", class: "all", on: { click: showAll } }, `Show all ${count(text.length)} characters`);
  function showAll() {
    shown.textContent = text;
    all.remove();
  }
  return h("div", {}, shown, all);
}

/** @param {string} status */
function drawTicks(status) {
  if (status === "failed") return h("span", { class: "ticks failed" }, "Not delivered");
  const tick = TICKS[status];
  if (!tick) return h("span", { class: "ticks" }, WAITING[status] || status);
  const box = tick.icon === "one" ? "2 0 10 12" : "0 0 17 12";
  return h(
    "span",
    { class: status === "read" || status === "replied" ? "ticks read" : "ticks", title: tick.words },
    icon(tick.icon, box),
    h("span", { class: "unseen" }, tick.words),
  );
}

/** @param {import("./types.js").MediaInfo} media */
function drawMedia(media) {
  const href = mediaAddress(media.message);
  if (media.is_image) {
    return h("div", { class: "media" }, h("img", { src: href, alt: `Image ${media.name}` }));
  }
  const about = `${media.type || "file"}, ${size(media.size)}`;
  return h(
    "a",
    { class: "file", href, download: "" },
    icon("file"),
    h("span", {}, foreign(media.name), h("span", {}, foreign(about))),
  );
}

/** @param {string[]} labels @param {((text: string) => void)|null} tap */
function drawButtons(labels, tap) {
  return h(
    "div",
    { class: "replies", role: "group", "aria-label": "Buttons of the message" },
    ...labels.map((label) => h("button", { type: "button", disabled: !tap, on: { click: () => tap?.(label) } }, foreign(label))),
  );
}

/** @param {import("./types.js").Choices} list @param {((text: string) => void)|null} tap */
function drawChoices(list, tap) {
  const choices = h(
    "details",
    { class: "choices" },
    h("summary", {}, foreign(list.button)),
    ...list.sections.flatMap((section) => [
      section.title && h("h3", {}, foreign(section.title)),
      ...section.rows.map((row) =>
        h("button", { type: "button", disabled: !tap, on: { click: () => choose(row.title) } }, foreign(row.title), row.description && h("small", {}, foreign(row.description))),
      ),
    ]),
  );
  /** @param {string} title */
  function choose(title) {
    choices.open = false;
    tap?.(title);
  }
  return choices;
}
