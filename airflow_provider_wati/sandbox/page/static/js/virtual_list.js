// A list box that holds elements for the rows in sight only, and asks for rows a page at a time.

import { h } from "./dom.js";

const PAGE = 50;
const MARGIN = 6;

/**
 * @template {{id: string}} Row
 */
export class VirtualList {
  /**
   * @param {object} options
   * @param {string} options.label
   * @param {number} options.rowHeight in pixels
   * @param {(skip: number, limit: number) => Promise<import("./types.js").Slice<Row>>} options.load
   * @param {(row: Row) => {className: string, label: string, children: Node[]}} options.draw
   * @param {(row: Row) => void} options.open
   */
  constructor(options) {
    this.options = options;
    this.total = 0;
    this.active = 0;
    this.opened = "";
    /** Counts the refreshes: an answer to an older question is out of date. */
    this.turn = 0;
    /** @type {Map<number, Row[]>} */
    this.pages = new Map();
    /** @type {Set<number>} */
    this.asking = new Set();
    /** @type {Map<number, {drawn: string, element: HTMLElement}>} */
    this.elements = new Map();
    this.room = h("div", { class: "listbox-room", role: "presentation" });
    this.element = h("div", { class: "listbox", role: "listbox", tabindex: "0", "aria-label": options.label }, this.room);
    this.element.addEventListener("scroll", () => this.show(), { passive: true });
    this.element.addEventListener("click", (/** @type {MouseEvent} */ event) => this.click(event));
    this.element.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.press(event));
    new ResizeObserver(() => this.show()).observe(this.element);
  }

  /** Load what is in sight again, and forget the rest. */
  async refresh() {
    this.turn += 1;
    const { turn } = this;
    const wanted = this.pagesInSight();
    const slices = await Promise.all(wanted.map((page) => this.options.load(page * PAGE, PAGE)));
    if (turn !== this.turn) return;
    const active = this.row(this.active)?.id;
    this.pages = new Map(slices.map((slice, i) => [wanted[i], slice.rows]));
    this.total = slices[0]?.total ?? 0;
    this.keepActive(active);
    this.show();
  }

  /** Go back to the top, for another search. */
  async restart() {
    this.element.scrollTop = 0;
    this.active = 0;
    this.pages.clear();
    await this.refresh();
  }

  /** @param {string} id of the row that is open, or none */
  markOpened(id) {
    this.opened = id;
    for (const page of this.pages.entries()) {
      const at = page[1].findIndex((row) => row.id === id);
      if (at >= 0) this.active = page[0] * PAGE + at;
    }
    this.show();
  }

  /** @param {number} index @returns {Row|undefined} */
  row(index) {
    return this.pages.get(Math.floor(index / PAGE))?.[index % PAGE];
  }

  /** A row that moved keeps being the active one. @param {string|undefined} id */
  keepActive(id) {
    this.active = Math.min(this.active, Math.max(this.total - 1, 0));
    if (id === undefined || this.row(this.active)?.id === id) return;
    for (const [page, rows] of this.pages) {
      const at = rows.findIndex((row) => row.id === id);
      if (at >= 0) this.active = page * PAGE + at;
    }
  }

  inSight() {
    const { scrollTop, clientHeight } = this.element;
    const height = this.options.rowHeight;
    const first = Math.max(0, Math.floor(scrollTop / height) - MARGIN);
    const last = Math.ceil((scrollTop + Math.max(clientHeight, height)) / height) + MARGIN;
    return { first, last };
  }

  pagesInSight() {
    const { first, last } = this.inSight();
    const pages = [];
    for (let page = Math.floor(first / PAGE); page <= Math.floor(last / PAGE); page += 1) {
      if (page === 0 || page * PAGE < Math.max(this.total, 1)) pages.push(page);
    }
    return pages;
  }

  show() {
    this.room.style.height = `${this.total * this.options.rowHeight}px`;
    const { first, last } = this.inSight();
    const until = Math.min(last, this.total);
    for (const [index, { element }] of this.elements) {
      if (index < first || index >= until || !this.row(index)) {
        element.remove();
        this.elements.delete(index);
      }
    }
    for (let index = first; index < until; index += 1) this.showRow(index);
    this.askForMissing();
    const active = this.elements.get(this.active)?.element;
    if (active) this.element.setAttribute("aria-activedescendant", active.id);
    else this.element.removeAttribute("aria-activedescendant");
  }

  /** @param {number} index */
  showRow(index) {
    const row = this.row(index);
    if (!row) return;
    const state = `${index === this.active}-${row.id === this.opened}-${this.total}`;
    const drawn = `${state}-${JSON.stringify(row)}`;
    const known = this.elements.get(index);
    if (known?.drawn === drawn) return;
    const { className, label, children } = this.options.draw(row);
    const element = h(
      "div",
      {
        id: `row-${index}`,
        class: index === this.active ? `${className} active` : className,
        role: "option",
        "aria-label": label,
        "aria-selected": String(row.id === this.opened),
        "aria-setsize": this.total,
        "aria-posinset": index + 1,
        "data-id": row.id,
      },
      ...children,
    );
    element.style.top = `${index * this.options.rowHeight}px`;
    if (known) known.element.replaceWith(element);
    else this.room.append(element);
    this.elements.set(index, { drawn, element });
  }

  askForMissing() {
    for (const page of this.pagesInSight()) {
      if (this.pages.has(page) || this.asking.has(page) || page * PAGE >= this.total) continue;
      this.asking.add(page);
      const { turn } = this;
      this.options
        .load(page * PAGE, PAGE)
        .then((slice) => {
          if (turn !== this.turn) return;
          this.pages.set(page, slice.rows);
          this.total = slice.total;
        })
        .catch(() => undefined)
        .finally(() => {
          this.asking.delete(page);
          if (this.pages.has(page) || turn !== this.turn) this.show();
        });
    }
  }

  // By its place and not by its element, which a refresh may have replaced since the button went down.
  /** @param {MouseEvent} event */
  click(event) {
    const from = this.element.getBoundingClientRect().top;
    this.choose(Math.floor((event.clientY - from + this.element.scrollTop) / this.options.rowHeight));
  }

  /** @param {number} index */
  choose(index) {
    const row = this.row(index);
    if (!row) return;
    this.active = index;
    this.options.open(row);
    this.show();
  }

  /** @param {KeyboardEvent} event */
  press(event) {
    const step = Math.max(1, Math.floor(this.element.clientHeight / this.options.rowHeight) - 1);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: step, PageUp: -step, Home: -this.total, End: this.total };
    if (event.key in moves) {
      event.preventDefault();
      this.moveTo(this.active + moves[/** @type {keyof typeof moves} */ (event.key)]);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.choose(this.active);
    }
  }

  /** @param {number} index */
  moveTo(index) {
    this.active = Math.max(0, Math.min(index, this.total - 1));
    const top = this.active * this.options.rowHeight;
    const { scrollTop, clientHeight } = this.element;
    if (top < scrollTop) this.element.scrollTop = top;
    else if (top + this.options.rowHeight > scrollTop + clientHeight) {
      this.element.scrollTop = top + this.options.rowHeight - clientHeight;
    }
    this.show();
  }
}
