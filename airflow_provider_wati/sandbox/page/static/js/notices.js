// What the page tells: to a screen reader as it happens, and to everybody when something fails.

/** @param {string} text */
export function announce(text) {
  const region = /** @type {HTMLElement} */ (document.getElementById("announcer"));
  // The same words again are spoken only if the region was empty between.
  region.textContent = "";
  setTimeout(() => (region.textContent = text), 60);
}

let hiding = 0;

/**
 * Show what went wrong, for a while.
 *
 * @param {unknown} error
 */
export function complain(error) {
  const box = /** @type {HTMLElement} */ (document.getElementById("trouble"));
  box.textContent = error instanceof Error ? error.message : String(error);
  box.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => (box.hidden = true), 8000);
}

/**
 * Make a listener whose failure is shown.
 *
 * @template {any[]} Arguments
 * @param {(...given: Arguments) => Promise<void>} action
 */
export function shown(action) {
  return (/** @type {Arguments} */ ...given) => {
    action(...given).catch(complain);
  };
}
