// Times, names and sizes as people read them. All times are UTC, as in Airflow.

const DAY = 86_400;

/** @param {number} seconds */
function moment(seconds) {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? null : date;
}

/** @param {Intl.DateTimeFormatOptions} options */
function formatter(options) {
  const format = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", ...options });
  return (/** @type {number} */ seconds) => {
    const date = moment(seconds);
    return date ? format.format(date) : "far away";
  };
}

export const hours = formatter({ hour: "2-digit", minute: "2-digit" });
export const toTheSecond = formatter({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
export const day = formatter({ weekday: "short", day: "numeric", month: "short", year: "numeric" });
export const dayAndHours = formatter({ day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const shortDay = formatter({ day: "numeric", month: "short" });
const weekday = formatter({ weekday: "short" });

/**
 * The time of the latest message, as short as it is clear.
 *
 * @param {number} seconds @param {number} now
 */
export function recent(seconds, now) {
  if (day(seconds) === day(now)) return hours(seconds);
  return Math.abs(now - seconds) < 6 * DAY ? weekday(seconds) : shortDay(seconds);
}

/**
 * Time that is left, counted down to the second.
 *
 * @param {number} seconds
 */
export function left(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return parts.map((part) => String(part).padStart(2, "0")).join(":");
}

/** @param {number} count */
export function count(count) {
  return count.toLocaleString("en-GB");
}

/** @param {number} part @param {number} whole */
export function percent(part, whole) {
  return whole ? `${Math.round((100 * part) / whole)}%` : "";
}

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${(bytes / 1000).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** @param {{phone: string|null, bsuid: string|null}} person */
export function address(person) {
  return person.phone ? `+${person.phone}` : person.bsuid || "no number";
}

/**
 * Name a person to the control API.
 *
 * @param {{phone: string|null, bsuid: string|null}} person
 */
export function whom(person) {
  return person.phone ? { phone: person.phone } : { bsuid: person.bsuid };
}

/** @param {string} name */
export function initials(name) {
  // Whole characters: half of one would be a box.
  const words = name.trim().split(/\s+/).filter((word) => /\p{L}/u.test(word));
  return words.slice(0, 2).map((word) => (word.match(/\p{L}/u) || [""])[0].toUpperCase()).join("") || "#";
}

/** @param {string} text */
export function hue(text) {
  let sum = 0;
  for (const character of text) sum = (sum * 31 + (character.codePointAt(0) || 0)) % 997;
  return sum % 8;
}
