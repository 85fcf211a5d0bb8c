// The sandbox's clock: shown, moved, stopped, and how fast statuses change.

import { post } from "./api.js";
import { h, fill } from "./dom.js";
import { day, hours, toTheSecond } from "./format.js";
import { announce, shown } from "./notices.js";

/** @type {import("./types.js").ClockState} */
let state = { now: Date.now() / 1000, frozen: false, speed: 1 };
let asked = performance.now();

/** The time of the sandbox now, in seconds since 1970. */
export function now() {
  return state.frozen ? state.now : state.now + (performance.now() - asked) / 1000;
}

/** @param {import("./types.js").ClockState} given */
export function setClock(given) {
  state = given;
  asked = performance.now();
}

const MOVES = [
  { label: "+1 hour", seconds: 3600 },
  { label: "+1 day", seconds: 86_400 },
];
const SPEEDS = [1, 10, 60, 600];

/**
 * Build the clock.
 *
 * @param {HTMLElement} section
 * @param {() => void} afterwards called once the clock was changed
 * @returns {() => void} brings what is shown up to date
 */
export function clockPanel(section, afterwards) {
  const time = h("span", { class: "clock-time" });
  const date = h("span", { class: "clock-date" });
  const toggle = h("button", { type: "button", class: "clock-toggle", "aria-expanded": "false", "aria-controls": "clock-controls", on: { click: () => open(!section.classList.contains("open")) } });
  const freeze = h("button", { type: "button", class: "wide", on: { click: () => change({ frozen: !state.frozen }, state.frozen ? "The clock runs." : "The clock is frozen.") } });
  const speed = h("select", { on: { change: () => change({ speed: Number(speed.value) }, `Statuses change ${speed.value} times as fast.`) } });
  const change = shown(async (/** @type {object} */ body, /** @type {string} */ words) => {
    setClock(asState(await post("/clock", body)));
    announce(`${words} It is ${hours(state.now)} UTC, ${day(state.now)}.`);
    afterwards();
  });
  const controls = h(
    "div",
    { class: "clock-controls", id: "clock-controls", role: "group", "aria-label": "Move the clock" },
    ...MOVES.map(({ label, seconds }) => h("button", { type: "button", on: { click: () => change({ advance: seconds }, `Moved by ${label.slice(1)}.`) } }, label)),
    freeze,
    h("label", { class: "field wide" }, h("span", {}, "Speed of statuses"), speed),
  );
  fill(section, toggle, h("div", { class: "clock-face" }, time, date), controls);

  /** @param {boolean} opened */
  function open(opened) {
    section.classList.toggle("open", opened);
    toggle.setAttribute("aria-expanded", String(opened));
  }
  section.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && section.classList.contains("open")) {
      open(false);
      toggle.focus();
    }
  });
  document.addEventListener("pointerdown", (event) => {
    if (!section.contains(/** @type {Node} */ (event.target))) open(false);
  });
  return () => showClock({ time, date, toggle, freeze, speed, controls });
}

/** @param {Record<string, HTMLElement>} parts */
function showClock({ time, date, toggle, freeze, speed, controls }) {
  const at = now();
  time.textContent = toTheSecond(at);
  date.textContent = `${day(at)}, UTC${state.frozen ? ", frozen" : ""}`;
  toggle.textContent = `${hours(at)} UTC`;
  toggle.setAttribute("aria-label", `Clock: ${hours(at)} UTC${state.frozen ? ", frozen" : ""}`);
  controls.dataset.date = date.textContent;
  freeze.textContent = state.frozen ? "Let it run" : "Freeze";
  const select = /** @type {HTMLSelectElement} */ (speed);
  if (document.activeElement !== select || select.options.length === 0) {
    const speeds = SPEEDS.includes(state.speed) ? SPEEDS : [...SPEEDS, state.speed];
    if (select.options.length !== speeds.length) {
      fill(select, ...speeds.map((each) => h("option", { value: each }, each === 1 ? "as usual" : `${each} times faster`)));
    }
    select.value = String(state.speed);
  }
}

/** @param {{now: string, frozen: boolean, speed: number}} answer of the control API */
function asState(answer) {
  return { now: Date.parse(answer.now) / 1000, frozen: answer.frozen, speed: answer.speed };
}
