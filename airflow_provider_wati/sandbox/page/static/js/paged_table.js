// A table with one page of rows and buttons to turn it.

import { h, fill } from "./dom.js";
import { count } from "./format.js";

const ROWS = 50;

/**
 * @template Row
 * @param {object} options
 * @param {string} options.label what the table holds
 * @param {{name: string, number?: boolean, wide?: boolean, draw: (row: Row) => (Node|string|null)[]}[]} options.columns
 * @param {(skip: number, limit: number) => Promise<import("./types.js").Slice<Row>>} options.load
 * @param {() => HTMLElement} options.none shown instead of a table without rows
 */
export function pagedTable(options) {
  let skip = 0;
  let drawn = "";
  let turns = 0;
  const body = h("tbody", { role: "rowgroup" });
  const head = options.columns.map((column) => h("th", { scope: "col", role: "columnheader", class: column.number ? "number" : null }, column.name));
  const table = h(
    "table",
    { role: "table", "aria-label": options.label },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...head)),
    body,
  );
  const back = h("button", { type: "button", on: { click: () => turn(-ROWS) } }, "Previous");
  const on = h("button", { type: "button", on: { click: () => turn(ROWS) } }, "Next");
  const where = h("span", { "aria-live": "polite" });
  const pager = h("div", { class: "pager", role: "group", "aria-label": `Pages of ${options.label}` }, where, h("span", { class: "turn" }, back, on));
  const none = h("div");
  const scroll = h("div", { class: "scroll" }, table);
  const element = h("div", {}, scroll, none, pager);

  /** @param {number} by */
  function turn(by) {
    skip = Math.max(0, skip + by);
    void refresh().then(() => element.scrollIntoView({ block: "start" }));
  }

  async function refresh() {
    turns += 1;
    const turn = turns;
    let slice = await options.load(skip, ROWS);
    if (!slice.rows.length && skip) {
      skip = 0;
      slice = await options.load(skip, ROWS);
    }
    const text = JSON.stringify(slice);
    // The answer to an older question is out of date.
    if (turn !== turns || text === drawn) return;
    drawn = text;
    fill(body, ...slice.rows.map((row) => drawRow(options.columns, row)));
    scroll.hidden = !slice.total;
    fill(none, slice.total ? null : options.none());
    where.textContent = slice.total ? `${count(skip + 1)}–${count(skip + slice.rows.length)} of ${count(slice.total)}` : "";
    pager.hidden = slice.total <= ROWS;
    back.disabled = skip === 0;
    on.disabled = skip + ROWS >= slice.total;
  }

  async function restart() {
    skip = 0;
    await refresh();
  }
  return { element, refresh, restart };
}

/**
 * @template Row
 * @param {{name: string, number?: boolean, wide?: boolean, draw: (row: Row) => (Node|string|null)[]}[]} columns
 * @param {Row} row
 */
function drawRow(columns, row) {
  return h(
    "tr",
    { role: "row" },
    ...columns.map((column) =>
      h("td", { role: "cell", "data-label": column.name, class: [column.number && "number", column.wide && "wide-cell"].filter(Boolean).join(" ") || null }, h("div", {}, ...column.draw(row))),
    ),
  );
}

/**
 * A search field that waits until typing pauses.
 *
 * @param {string} label
 * @param {() => void} search
 */
export function searchField(label, search) {
  let waiting = 0;
  return h("input", {
    type: "search",
    placeholder: label,
    "aria-label": label,
    autocomplete: "off",
    on: {
      input: () => {
        clearTimeout(waiting);
        waiting = setTimeout(search, 180);
      },
    },
  });
}
