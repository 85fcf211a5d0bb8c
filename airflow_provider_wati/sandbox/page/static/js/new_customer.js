// A form for somebody who has never written: a name, a number or a business-scoped user id, and the first words.

import { get, post } from "./api.js";
import { fill, h } from "./dom.js";
import { whom } from "./format.js";
import { announce, complain } from "./notices.js";

const BSUID = /^[A-Z]{2}\.[0-9]+$/;

/**
 * @param {(address: string) => void} afterwards
 */
export function newCustomer(afterwards) {
  const name = h("input", { name: "name", autocomplete: "off", required: true, dir: "auto" });
  const phone = h("input", { name: "phone", autocomplete: "off", required: true, placeholder: "12025550190" });
  const text = h("textarea", { name: "text", rows: "2", required: true, dir: "auto" });
  const channel = h("select", { name: "channel" });
  const wrong = h("p", { class: "badge bad", role: "alert", hidden: true });
  const form = h(
    "form",
    { method: "dialog" },
    h("h2", { id: "new-customer" }, "New customer"),
    field("Name", name),
    field("Phone number with country code, or BSUID", phone),
    field("First message", text),
    field("Channel", channel),
    wrong,
    h("div", { class: "actions" }, h("button", { type: "button", on: { click: () => dialog.close() } }, "Cancel"), h("button", { class: "primary", type: "submit" }, "Write in")),
  );
  const dialog = h("dialog", { "aria-labelledby": "new-customer" }, form);
  dialog.addEventListener("close", () => dialog.remove());
  form.addEventListener("submit", (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    void send();
  });

  async function send() {
    const given = phone.value.trim();
    const address = BSUID.test(given) ? given : given.replace(/[\s()+-]/g, "");
    try {
      await post("/inbound", { name: name.value, ...whom(BSUID.test(given) ? { phone: null, bsuid: address } : { phone: address, bsuid: null }), text: text.value, channel: channel.value });
      dialog.close();
      announce(`${name.value} wrote in.`);
      afterwards(address);
    } catch (error) {
      wrong.textContent = error instanceof Error ? error.message : String(error);
      wrong.hidden = false;
    }
  }

  document.body.append(dialog);
  dialog.showModal();
  get("/state")
    .then((state) => fill(channel, ...state.channels.map((/** @type {any} */ each) => h("option", { value: each.phone }, `${each.name} (${each.phone})`))))
    .catch(complain);
}

/** @param {string} label @param {HTMLElement} control */
function field(label, control) {
  return h("label", { class: "field" }, h("span", {}, label), control);
}
