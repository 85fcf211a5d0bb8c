// The form for a new fault; which fields it shows follows from the kind.

import { fill, h } from "./dom.js";

const ENDPOINTS = [
  { label: "Every call", path: "*" },
  { label: "Send a template", path: "*/messageTemplates/send" },
  { label: "Schedule a template", path: "*/messageTemplates/schedule" },
  { label: "Send a text", path: "*/conversations/messages/text" },
  { label: "Send buttons or a list", path: "*/conversations/messages/interactive" },
  { label: "Send a file", path: "*/conversations/messages/file*" },
  { label: "Contacts", path: "*/contacts*" },
  { label: "Campaigns", path: "*/broadcasts*" },
  { label: "Another path", path: "" },
];
const BODIES = ["html", "empty", "truncated", "cut"];
/** Which of the further fields a kind has. */
const FIELDS = /** @type {Record<string, string[]>} */ ({
  status: ["status", "retry_after", "when"],
  delay: ["seconds"],
  drop: ["when"],
  garbage: ["body", "when"],
  answer: ["answer", "when"],
  redirect: ["location"],
  refused_in_200: ["when"],
  recipient_errors: ["numbers"],
  omit_recipients: ["numbers"],
  slow_listing: ["seconds"],
});

/** @param {(body: Record<string, any>) => Promise<void>} add */
export function faultForm(add) {
  const kind = h("select", { on: { change: showFields } });
  const about = h("span", { class: "hint" });
  const endpoint = h("select", { on: { change: showFields } }, ...ENDPOINTS.map(({ label, path }) => h("option", { value: path }, label)));
  const path = h("input", { placeholder: "*/chatbots/start", autocomplete: "off" });
  const times = h("input", { type: "number", min: "1", step: "1", value: "1" });
  const skip = h("input", { type: "number", min: "0", step: "1", value: "0" });
  const percent = h("input", { type: "number", min: "0", max: "100", step: "any", value: "100", required: true });
  const inputs = {
    status: h("input", { type: "number", min: "200", max: "599", value: "500" }),
    retry_after: h("input", { type: "number", min: "0", step: "any", placeholder: "none" }),
    seconds: h("input", { type: "number", min: "0", step: "any", value: "5" }),
    body: h("select", {}, ...BODIES.map((each) => h("option", { value: each }, each))),
    answer: h("textarea", { rows: "4", spellcheck: "false", placeholder: '{"result": false}' }),
    when: h("select", {}, h("option", { value: "before" }, "Before the effect: nothing is sent"), h("option", { value: "after" }, "After the effect: it is sent all the same")),
    location: h("input", { placeholder: "https://elsewhere.example/", autocomplete: "off" }),
    numbers: h("input", { placeholder: "12025550143, 12025550144", autocomplete: "off" }),
  };
  const labels = { status: "HTTP status", retry_after: "Retry-After, seconds", seconds: "Seconds", body: "What it is", answer: "Answer, a JSON object", when: "When", location: "Location", numbers: "Phone numbers" };
  const wrong = h("p", { class: "badge bad", role: "alert", hidden: true });
  const fields = Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, field(labels[/** @type {keyof typeof labels} */ (name)], input)]));
  const pathField = field("Path, * for any text", path);
  const element = h(
    "form",
    { class: "fault-form" },
    h("h3", {}, "New fault"),
    h("label", { class: "field" }, h("span", {}, "What goes wrong"), kind, about),
    field("Endpoint", endpoint),
    pathField,
    ...Object.values(fields),
    h("div", { class: "pair" }, field("Times, empty: always", times), field("Skip the first", skip)),
    field("Of these calls, %", percent),
    wrong,
    h("button", { class: "primary", type: "submit" }, "Add fault"),
  );
  /** @type {Record<string, string>} */
  let words = {};

  /** @param {Record<string, string>} kinds with what each does */
  function setKinds(kinds) {
    if (kind.options.length) return;
    words = kinds;
    fill(kind, ...Object.keys(kinds).map((name) => h("option", { value: name }, name.replaceAll("_", " "))));
    showFields();
  }

  function showFields() {
    about.textContent = (words[kind.value] || "").replaceAll("`", "");
    const has = FIELDS[kind.value] || [];
    for (const [name, element] of Object.entries(fields)) element.hidden = !has.includes(name);
    pathField.hidden = endpoint.value !== "";
  }

  function bodyOf() {
    /** @type {Record<string, any>} */
    const body = { kind: kind.value, path: endpoint.value || path.value || "*", skip: Number(skip.value) || 0 };
    if (times.value) body.count = Number(times.value);
    if (Number(percent.value) < 100) body.probability = Number(percent.value) / 100;
    for (const name of FIELDS[kind.value] || []) {
      const { value, type } = /** @type {any} */ (inputs)[name];
      if (name === "numbers") body.numbers = value.split(",").map((/** @type {string} */ each) => each.trim()).filter(Boolean);
      else if (name === "answer") body.answer = answerOf(value);
      else if (value !== "") body[name] = type === "number" ? Number(value) : value;
    }
    return body;
  }

  element.addEventListener("submit", (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    wrong.hidden = true;
    send().catch((error) => {
      wrong.textContent = error instanceof Error ? error.message : String(error);
      wrong.hidden = false;
    });
  });

  async function send() {
    await add(bodyOf());
  }
  return { element, setKinds };
}

/**
 * Read the answer of a fault; nothing is `{}`, which lays nothing over the real one.
 * @param {string} text
 */
function answerOf(text) {
  /** @type {unknown} */
  let answer = {};
  try {
    if (text.trim()) answer = JSON.parse(text);
  } catch (error) {
    throw new Error(`The answer is no JSON: ${error instanceof Error ? error.message : error}`);
  }
  if (typeof answer !== "object" || answer === null || Array.isArray(answer)) throw new Error('The answer must be a JSON object, such as {"result": false}.');
  return answer;
}

/** @param {string} label @param {HTMLElement} control */
function field(label, control) {
  return h("label", { class: "field" }, h("span", {}, label), control);
}
