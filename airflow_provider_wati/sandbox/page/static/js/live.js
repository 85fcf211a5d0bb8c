// Asks whether anything is new, and says so. The sandbox holds each question for up to a second.

import { get } from "./api.js";

const PAUSE_AFTER_FAILURE = 1500;
/** Between two refreshes at least: a campaign that is being sent is new all the time. */
const PAUSE = 250;

/**
 * Follow the sandbox for as long as the page is open; a hidden page asks nothing.
 *
 * @param {(changes: import("./types.js").Changes) => Promise<void>} tell
 * @param {(error: unknown) => void} fail
 */
export async function follow(tell, fail) {
  let known = null;
  for (;;) {
    await untilVisible();
    try {
      /** @type {import("./types.js").Changes} */
      const changes = await get("/page/changes", { known });
      if (changes.version !== known) {
        await tell(changes);
        known = changes.version;
        await sleep(PAUSE);
      }
    } catch (error) {
      fail(error);
      known = null;
      await sleep(PAUSE_AFTER_FAILURE);
    }
  }
}

/** @param {number} milliseconds */
function sleep(milliseconds) {
  return new Promise((done) => setTimeout(done, milliseconds));
}

/** @returns {Promise<void>} */
function untilVisible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((done) => {
    document.addEventListener("visibilitychange", () => done(), { once: true });
  });
}
