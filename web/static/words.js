// The page's words for scripts, times and lengths of time, in the page's language.
const catalogue = JSON.parse(document.querySelector('meta[name=words]').content);
export const language = document.documentElement.lang;

/** The words of a key, with {names} filled in. */
export const t = (key, values = {}) => catalogue[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);

const relative = new Intl.RelativeTimeFormat(language, { numeric: 'auto', style: 'narrow' });
const units = [['day', 86400], ['hour', 3600], ['minute', 60]];
const full = new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short' });
const date = new Intl.DateTimeFormat(language, { dateStyle: 'medium' });
const weekday = new Intl.DateTimeFormat(language, { weekday: 'long', month: 'long', day: 'numeric' });
const tenth = new Intl.NumberFormat(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export const day = (time) => weekday.format(time);

/** 0.4 s, 12 s, 3:05, 2:03:05 */
export function length(seconds) {
  if (seconds < 10) return `${tenth.format(Math.max(0, seconds))} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
  if (!parts[0]) parts.shift();
  return parts.map((part, index) => (index ? String(part).padStart(2, '0') : part)).join(':');
}

/** Gives times their words, and rows that were measured their length. */
export function showTimes(root = document) {
  for (const element of root.querySelectorAll('time')) {
    const time = new Date(element.dateTime);
    const seconds = (time - Date.now()) / 1000;
    const [unit, size] = units.find(([, size]) => Math.abs(seconds) >= size) ?? [];
    element.title = full.format(time);
    const words = !unit ? t('now') : seconds < -7 * 86400 ? date.format(time) : relative.format(Math.round(seconds / size), unit);
    if (element.textContent !== words) element.textContent = words;
  }
  for (const element of root.querySelectorAll('[data-seconds]')) element.textContent = length(Number(element.dataset.seconds));
}

/** Clocks that run: since a moment, or until one. */
export function tick() {
  for (const element of document.querySelectorAll('[data-since], [data-until]')) {
    const { since, until } = element.dataset;
    const seconds = Math.floor(since ? (Date.now() - new Date(since)) / 1000 : (new Date(until) - Date.now()) / 1000);
    element.textContent = seconds < 0 ? '' : length(Math.max(seconds, 10)) === '10 s' ? `${seconds} s` : length(seconds);
  }
}
