// Elements made of names, attributes and text. Nothing here reads text as markup.

const SVG = "http://www.w3.org/2000/svg";

/** Paths of the icons, drawn in a square of 24. */
const ICONS = {
  conversations: "M4 5h16v11H10l-4 4v-4H4z",
  campaigns: "M4 10v4h4l8 5V5l-8 5zM20 9v6",
  contacts: "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20c.5-4 3-6 6.5-6s6 2 6.5 6M16 5a3 3 0 0 1 0 6M18 14.5c2 .6 3.2 2.5 3.5 5.5",
  faults: "M12 3 2.5 20h19zM12 10v4.5M12 17.400v.1",
  calls: "M4 6h16M4 12h16M4 18h10",
  parity: "M4 12.5l5 5L20 6.5",
  back: "M15 5l-7 7 7 7",
  attach: "M19 11l-7.5 7.5a4.5 4.5 0 0 1-6.400-6.400L13 4.200a3 3 0 0 1 4.300 4.300l-7.700 7.700a1.5 1.5 0 0 1-2.100-2.100L14 7.5",
  file: "M6 3h8l5 5v13H6zM14 3v5h5",
  one: "M3 7l4 4 7-8",
  two: "M1 7l4 4 7-8M9 11l7-8",
};

/**
 * Make an element.
 *
 * @param {string} tag
 * @param {Record<string, any>} [attributes] `on` holds listeners by event; null, undefined and false leave an attribute out
 * @param {...(Node|string|number|null|undefined|false)} children texts become text
 * @returns {any}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, String(value));
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false).map(textOrNode));
  return element;
}

/** @param {Node|string|number} child */
function textOrNode(child) {
  return child instanceof Node ? child : String(child);
}

/**
 * Text that somebody else wrote: its direction and its marks stay inside it.
 *
 * @param {string} text
 * @param {string} [className]
 */
export function foreign(text, className = "") {
  return h("bdi", { class: className || null, dir: "auto" }, text);
}

/**
 * @param {keyof typeof ICONS} name
 * @param {string} [box]
 */
export function icon(name, box = "0 0 24 24") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("viewBox", box);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/**
 * Put children in the place of what an element holds.
 *
 * @param {Element} element
 * @param {...(Node|string|null|false|undefined)} children
 */
export function fill(element, ...children) {
  element.replaceChildren(...children.filter((child) => child !== null && child !== false && child !== undefined));
}

/**
 * Show nothing but a few words.
 *
 * @param {keyof typeof ICONS} picture
 * @param {string} title
 * @param {string} words
 */
export function empty(picture, title, words) {
  return h("div", { class: "empty" }, icon(picture), h("strong", {}, title), h("span", {}, words));
}
