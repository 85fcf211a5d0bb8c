// Calls of the sandbox: the page's own endpoints and the control API.

/** An answer that says no, in the sandbox's words. */
export class Refused extends Error {
  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * @param {string} path
 * @param {RequestInit} [options]
 */
async function call(path, options = {}) {
  const response = await fetch(`/_sandbox${path}`, { ...options, credentials: "omit" }).catch(() => {
    throw new Error("The sandbox does not answer. Is it still running?");
  });
  if (response.ok) return response.json();
  const body = await response.json().catch(() => ({}));
  throw new Refused(response.status, body.message || `The sandbox answered ${response.status}.`);
}

/**
 * @param {string} path below `/_sandbox`
 * @param {Record<string, any>} [query] empty values are left out
 * @returns {Promise<any>}
 */
export function get(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const params = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return call(params ? `${path}?${params}` : path);
}

/** @param {string} path @param {object} body @returns {Promise<any>} */
export function post(path, body) {
  return call(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

/** @param {string} path @returns {Promise<any>} */
export function remove(path) {
  return call(path, { method: "DELETE" });
}

/** @param {string} messageId */
export function mediaAddress(messageId) {
  return `/_sandbox/page/media/${encodeURIComponent(messageId)}`;
}
