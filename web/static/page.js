// What every page does: times, the rail, look and language, keys, and short messages.
import { fragment } from './http.js';
import { showTimes, t, tick } from './words.js';

const root = document.documentElement;
const rail = document.getElementById('rail-sessions');
const help = document.getElementById('help');
const wide = matchMedia('(min-width: 60rem)');

export function showProblem(message) {
  const element = document.getElementById('problem');
  element.textContent = message;
  element.hidden = !message;
  if (message) element.scrollIntoView({ block: 'nearest' });
}

/** Does what somebody asked for, and shows why if it cannot be done. */
export async function attempt(act) {
  showProblem('');
  try {
    await act();
  } catch (error) {
    showProblem(error.message);
  }
}

let saying = 0;

/** A short message at the foot of the page, with an action if there is one. */
export function say(text, action, act, milliseconds = 2500) {
  const toast = document.getElementById('said');
  clearTimeout(saying);
  toast.textContent = text;
  if (action) {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = action;
    button.addEventListener('click', () => {
      toast.hidden = true;
      act();
    });
    toast.append(button);
  }
  toast.hidden = false;
  saying = setTimeout(() => { toast.hidden = true; }, milliseconds);
}

/** As long as its text is; the stylesheet sets the limit. */
export function grow(area) {
  const fit = () => {
    area.style.height = 'auto';
    area.style.height = `${area.scrollHeight + 2}px`;
  };
  area.addEventListener('input', fit);
  fit();
  return fit;
}

/** The key that sends: Enter with Ctrl or Command, but not while an input method composes a word. */
export function sendOnKey(area) {
  area.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey) || event.isComposing) return;
    event.preventDefault();
    area.form.requestSubmit();
  });
}

/** New HTML in the place of the old one; what had the focus gets it again. */
export function replace(element, html) {
  const focused = element.contains(document.activeElement) && document.activeElement.getAttribute('href');
  element.innerHTML = html;
  showTimes(element);
  if (focused) element.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
}

/** Fetches a fragment every few seconds, now and then while nobody looks at the page, and shows it if it changed. */
export function keepFresh(element, url, seconds, changed = () => {}) {
  let shown = null;
  let looked = 0;
  const look = async () => {
    if (document.hidden && Date.now() - looked < 30_000) return; // a tab in the background still counts its news
    looked = Date.now();
    const html = await fragment(url());
    if (html === null || html === shown) return;
    shown = html;
    replace(element, html);
    changed();
  };
  setInterval(look, seconds * 1000);
  document.addEventListener('visibilitychange', look);
  return look;
}

// --- look and language -------------------------------------------------------------------------------------

const keep = (name, value) => {
  document.cookie = `nightshift_${name}=${value}; path=/; max-age=31536000; samesite=lax${location.protocol === 'https:' ? '; secure' : ''}`;
};

const isDark = () => root.dataset.theme === 'dark' || (root.dataset.theme === 'auto' && matchMedia('(prefers-color-scheme: dark)').matches);

export function setTheme(theme) {
  keep('theme', root.dataset.theme = theme);
}

export function setLanguage(language) {
  keep('language', language);
  location.reload();
}

const acts = {
  theme: () => setTheme(isDark() ? 'light' : 'dark'),
  language: (button) => setLanguage(button.dataset.value),
  rail: () => {
    if (wide.matches) keep('rail', root.dataset.rail = root.dataset.rail === 'closed' ? 'open' : 'closed');
    else document.getElementById('rail').hidePopover();
  },
  'open-rail': () => wide.matches && acts.rail(),
  help: () => help.showModal(),
};

document.addEventListener('click', (event) => {
  const button = event.target.closest('[data-do]');
  if (button && acts[button.dataset.do]) {
    if (button.dataset.do === 'open-rail' && wide.matches) event.preventDefault(); // a drawer only where it is narrow
    acts[button.dataset.do](button);
  }
});

// --- keys --------------------------------------------------------------------------------------------------

function move(step) {
  const rows = [...rail.querySelectorAll('a')];
  const at = rows.findIndex((row) => row.hasAttribute('aria-current'));
  rows[at < 0 ? 0 : at + step]?.click();
}

const keys = {
  n: () => location.assign('/'),
  '/': () => document.getElementById('search')?.focus() ?? location.assign('/sessions'),
  j: () => move(1),
  k: () => move(-1),
  '[': () => wide.matches && acts.rail(),
  '?': acts.help,
};

addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.closest('input, textarea, select, dialog')) return;
  if (keys[event.key]) {
    event.preventDefault();
    keys[event.key]();
  }
});

// --- copying code --------------------------------------------------------------------------------------------

/** A button on each block of code. */
export function addCopyButtons(element) {
  for (const pre of element.querySelectorAll('.prose pre')) {
    if (pre.parentElement.classList.contains('code')) continue;
    const box = document.createElement('div');
    box.className = 'code';
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'copy';
    button.textContent = t('copy');
    button.addEventListener('click', async () => {
      await navigator.clipboard?.writeText(pre.textContent);
      say(t('copied'));
    });
    pre.replaceWith(box);
    box.append(pre, button);
  }
}

// --- going on ------------------------------------------------------------------------------------------------

const title = document.title;

/** How many sessions have news, before the page's title. */
function badge(name = document.title.replace(/^\(\d+\) /, '')) {
  const news = rail.querySelectorAll('.unread:not([aria-current])').length;
  document.title = news ? `(${news}) ${name}` : name;
}

export const setTitle = badge;

if (rail) {
  badge(title);
  keepFresh(rail, () => `/rail?current=${encodeURIComponent(rail.dataset.current)}`, 4, badge);
}
showTimes();
tick();
setInterval(showTimes, 30_000);
setInterval(tick, 1000);
