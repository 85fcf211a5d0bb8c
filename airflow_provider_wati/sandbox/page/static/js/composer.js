// The box to write as the customer.

import { post } from "./api.js";
import { foreign, h, icon } from "./dom.js";
import { whom } from "./format.js";
import { announce, complain } from "./notices.js";

const MOST_BYTES = 16_000_000;

/**
 * Say something as a customer.
 *
 * @param {{phone: string|null, bsuid: string|null, channel_phone: string}} talk
 * @param {object} message
 */
export function writeIn(talk, message) {
  return post("/inbound", { ...whom(talk), channel: talk.channel_phone, ...message });
}

/**
 * @param {import("./types.js").ConversationRow} talk
 * @param {() => void} afterwards
 */
export function composer(talk, afterwards) {
  const box = h("textarea", { rows: "1", "aria-label": `Write as ${talk.name}`, placeholder: "Write as the customer", maxlength: "4096", dir: "auto" });
  const send = h("button", { class: "primary", type: "submit" }, "Send");
  const file = h("input", { type: "file", "aria-label": "Send a file as the customer", tabindex: "0", on: { change: () => void sendFile() } });
  const element = h(
    "form",
    { class: "composer", "aria-label": "Write as the customer" },
    h("span", { class: "as" }, "You write as ", foreign(talk.name), ". STOP withdraws consent, START gives it back."),
    h("span", { class: "attach button icon" }, icon("attach"), file),
    box,
    send,
  );
  element.addEventListener("submit", (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    void sendText();
  });
  box.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      void sendText();
    }
  });
  box.addEventListener("input", grow);

  function grow() {
    box.style.height = "auto";
    box.style.height = `${Math.min(box.scrollHeight + 2, 120)}px`;
  }

  async function sendText() {
    const text = box.value;
    if (!text.trim()) return;
    box.value = "";
    grow();
    try {
      await writeIn(talk, { text });
      announce("Sent.");
      afterwards();
    } catch (error) {
      // What was typed is not lost.
      box.value = box.value || text;
      complain(error);
    }
  }

  async function sendFile() {
    const chosen = file.files?.[0];
    file.value = "";
    if (!chosen) return;
    if (chosen.size > MOST_BYTES) {
      complain("The file is larger than 16 MB.");
      return;
    }
    try {
      const media = { file_name: chosen.name, mime_type: chosen.type || "application/octet-stream", data: await base64(chosen) };
      await writeIn(talk, { text: box.value, media });
      box.value = "";
      announce("File sent.");
      afterwards();
    } catch (error) {
      complain(error);
    }
  }
  return { element, focus: () => box.focus() };
}

/** @param {File} file @returns {Promise<string>} */
function base64(file) {
  return new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => done(String(reader.result).split(",")[1] || "");
    reader.onerror = () => fail(reader.error);
    reader.readAsDataURL(file);
  });
}
