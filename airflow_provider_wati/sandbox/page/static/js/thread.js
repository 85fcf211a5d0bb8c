// One conversation as on the customer's phone.

import { Refused, get, post } from "./api.js";
import { drawMessage } from "./bubble.js";
import { now } from "./clock.js";
import { composer, writeIn } from "./composer.js";
import { fill, foreign, h, icon } from "./dom.js";
import { address, day, left } from "./format.js";
import { announce, complain, shown } from "./notices.js";
import { avatar } from "./person.js";

const SLICE = 60;
const NEAR_THE_END = 80;
const HOUR = 3600;

/**
 * @param {string} id of the conversation
 * @param {() => void} leave goes back to the list
 */
export function thread(id, leave) {
  const path = `/page/conversations/${id}`;
  /** @type {Map<number, {drawn: string, choices: string, element: HTMLElement}>} */
  const elements = new Map();
  /** @type {import("./types.js").ConversationRow|null} */
  let talk = null;
  let first = 0;
  let total = -1;
  /** Whether the latest message stays in sight. */
  let follows = true;
  let lastTop = 0;
  let writing = /** @type {ReturnType<typeof composer>|null} */ (null);

  const heading = h("h2", { tabindex: "-1" });
  const about = h("div", { class: "about" });
  const face = h("span");
  const windowBox = h("div", { class: "window" });
  const back = h("button", { type: "button", class: "quiet icon back", "aria-label": "Back to the conversations", on: { click: leave } }, icon("back"));
  const head = h("header", { class: "thread-head" }, back, face, h("div", { class: "names" }, heading, about), windowBox);
  const earlier = h("button", { type: "button", class: "earlier", on: { click: shown(showEarlier) } }, "Show earlier messages");
  const list = h("ol", { "aria-label": "Messages" });
  const messages = h("div", { class: "messages", tabindex: "0", role: "region", "aria-label": "Messages of the conversation" }, earlier, list);
  messages.addEventListener("scroll", noteScrolling, { passive: true });
  // An image takes its room only once it has loaded.
  const growth = new ResizeObserver(() => follows && toTheEnd());
  growth.observe(list);
  growth.observe(messages);
  const foot = h("div");
  const element = h("section", { class: "thread", "aria-label": "Conversation" }, head, messages, foot);
  element.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Escape") leave();
  });

  async function refresh() {
    try {
      const start = total < 0 ? {} : { first: Math.max(first, total - SLICE), limit: 2 * SLICE };
      const answer = await get(path, total < 0 ? { limit: SLICE } : start);
      show(answer);
      // More came at once than one answer holds.
      if (total < answer.total) await refresh();
    } catch (error) {
      if (!(error instanceof Refused && error.status === 404)) throw error;
      leave();
    }
  }

  /** @param {{conversation: any, total: number, first: number, messages: import("./types.js").Bubble[]}} answer */
  function show(answer) {
    const isFirst = total < 0;
    const news = isFirst ? [] : answer.messages.filter((message) => message.index >= total);
    if (isFirst) first = answer.first;
    talk = answer.conversation;
    const last = answer.messages.at(-1);
    total = last ? last.index + 1 : answer.total;
    showHead(answer.conversation);
    if (!writing) {
      writing = composer(answer.conversation, () => void refresh().then(toTheEnd).catch(complain));
      fill(foot, writing.element);
    }
    answer.messages.forEach(put);
    earlier.hidden = first === 0;
    if (follows) toTheEnd();
    for (const message of news.filter((each) => each.from_business)) announce(`New message to ${answer.conversation.name}: ${message.body}`);
    if (answer.conversation.unread) post(`${path}/read`, { messages: total }).catch(complain);
  }

  /** @param {any} shownTalk */
  function showHead(shownTalk) {
    const { contact } = shownTalk;
    fill(heading, foreign(shownTalk.name));
    fill(face, avatar(shownTalk.name));
    fill(
      about,
      h("span", { class: "number" }, address(shownTalk)),
      h("span", {}, `on ${shownTalk.channel}, ${shownTalk.status}`),
      contact.allow_broadcast ? null : h("span", { class: "badge bad" }, "No consent to campaigns"),
      ...shownTalk.tags.map((/** @type {string} */ tag) => h("span", { class: "badge" }, foreign(tag))),
    );
    tick();
  }

  function tick() {
    if (!talk) return;
    const rest = talk.window_until === null ? 0 : talk.window_until - now();
    windowBox.classList.toggle("closed", rest <= 0);
    windowBox.classList.toggle("closing", rest > 0 && rest < HOUR);
    fill(windowBox, h("strong", {}, rest > 0 ? left(rest) : "Closed"), h("span", {}, "24-hour window"));
  }

  /** @param {import("./types.js").Bubble} message */
  function put(message) {
    const drawn = JSON.stringify(message);
    const known = elements.get(message.index);
    if (known?.drawn === drawn) return;
    const made = drawMessage(message, talk ? (text) => void tap(text) : null);
    const choices = JSON.stringify([message.buttons, message.list]);
    if (known?.choices === choices) {
      renew(known.element, made);
      elements.set(message.index, { drawn, choices, element: known.element });
      return;
    }
    if (known) known.element.replaceWith(made);
    else insert(made, message);
    elements.set(message.index, { drawn, choices, element: made });
  }

  /**
   * Show a message as it is now, and leave its buttons and its list alone: one that is pressed just then would not be tapped.
   *
   * @param {HTMLElement} element @param {HTMLElement} made
   */
  function renew(element, made) {
    const [old, bubble] = [element, made].map((each) => /** @type {HTMLElement} */ (each.querySelector(".bubble")));
    const held = focusables(old).indexOf(document.activeElement);
    old.replaceWith(bubble);
    if (held >= 0) focusables(bubble)[held]?.focus();
    element.className = made.className;
    element.dataset.status = made.dataset.status;
  }

  /** @param {HTMLElement} made @param {import("./types.js").Bubble} message */
  function insert(made, message) {
    const before = elements.get(message.index - 1)?.element;
    const after = elements.get(message.index + 1)?.element;
    const date = day(message.time);
    made.dataset.day = date;
    if (before) before.after(made);
    else if (after) after.before(made);
    else list.append(made);
    const previous = made.previousElementSibling;
    if (!(previous instanceof HTMLElement) || previous.dataset.day !== date) {
      made.before(h("li", { class: "day", "data-day": date }, date));
    }
  }

  async function showEarlier() {
    const until = first;
    first = Math.max(0, until - SLICE);
    const answer = await get(path, { first, limit: until - first });
    const height = messages.scrollHeight - messages.scrollTop;
    // From the end, so that each one finds the one after it.
    for (const message of [...answer.messages].reverse()) put(message);
    tidyDays();
    earlier.hidden = first === 0;
    messages.scrollTop = messages.scrollHeight - height;
  }

  /** Leave one mark for each day. */
  function tidyDays() {
    list.querySelectorAll(".day").forEach((/** @type {Element} */ mark) => mark.remove());
    let date = "";
    for (const item of [...list.children]) {
      if (item.dataset.day !== date) item.before(h("li", { class: "day", "data-day": item.dataset.day }, item.dataset.day));
      date = item.dataset.day;
    }
  }

  /** @param {string} text */
  async function tap(text) {
    if (!talk) return;
    try {
      await writeIn(talk, { text, type: "interactive" });
      announce(`Answered: ${text}`);
      await refresh();
      toTheEnd();
    } catch (error) {
      complain(error);
    }
  }

  /** Scrolling up lets the latest message go out of sight; reaching the end keeps it there again. */
  function noteScrolling() {
    const isUp = messages.scrollTop < lastTop;
    const isAtEnd = messages.scrollHeight - messages.scrollTop - messages.clientHeight < NEAR_THE_END;
    if (isUp || isAtEnd) follows = isAtEnd;
    lastTop = messages.scrollTop;
  }

  function toTheEnd() {
    follows = true;
    messages.scrollTop = messages.scrollHeight;
  }

  return { element, heading, refresh, tick, focus: () => writing?.focus() };
}

/** @param {Element} element @returns {any[]} */
function focusables(element) {
  return [...element.querySelectorAll("a, button, summary")];
}
