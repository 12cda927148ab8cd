// What every page uses: requests with readable errors, keys that make a retry harmless, times for people.
'use strict';

window.nightshift = (() => {
  // randomUUID exists on https and localhost only; a laptop's plain address in the office network is neither.
  const uuid = () => crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('');

  /** JSON of the answer, or null if it has none. Throws an Error whose message is the problem's `detail`. */
  async function request(method, url, body, key) {
    const headers = { Accept: 'application/json' };
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    if (key) headers['Idempotency-Key'] = key;
    let response;
    try {
      response = await fetch(url, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
    } catch {
      throw Object.assign(new Error('Nightshift cannot be reached. Check the connection and try again.'), { status: 0 });
    }
    const text = await response.text();
    let json = null;
    try {
      json = text ? JSON.parse(text) : null;
    } catch { /* a proxy's HTML page: the status says enough */ }
    if (response.ok) return json;
    const detail = typeof json?.detail === 'string' ? json.detail : json?.title;
    throw Object.assign(new Error(detail || `Nightshift answered ${response.status}. Try again.`), { status: response.status });
  }

  /** Posts a body under one key until it succeeds, so that trying again never does it twice. */
  function once() {
    let last = { body: null, key: null };
    return async (url, body) => {
      const text = JSON.stringify(body);
      if (last.body !== text) last = { body: text, key: uuid() };
      const answer = await request('POST', url, body, last.key);
      last = { body: null, key: null };
      return answer;
    };
  }

  const words = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'narrow' });
  const units = [['day', 86400], ['hour', 3600], ['minute', 60]];

  function showTimes(root = document) {
    for (const element of root.querySelectorAll('time')) {
      const time = new Date(element.dateTime);
      const seconds = (time - Date.now()) / 1000;
      const [unit, size] = units.find(([, size]) => Math.abs(seconds) >= size) ?? [];
      element.title = time.toLocaleString();
      element.textContent = !unit ? 'just now' : seconds < -7 * 86400 ? time.toLocaleDateString() : words.format(Math.round(seconds / size), unit);
    }
  }

  function showProblem(message) {
    const element = document.getElementById('problem');
    element.textContent = message;
    element.hidden = !message;
  }

  /** The key that sends: Enter with Ctrl or Command, but not while an input method composes a word. */
  function sendOnKey(area) {
    area.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey) || event.isComposing) return;
      event.preventDefault();
      area.form.requestSubmit();
    });
  }

  /** As high as its text; the stylesheet sets the limit. */
  function grow(area) {
    const fit = () => {
      area.style.height = 'auto';
      area.style.height = `${area.scrollHeight + 2}px`;
    };
    area.addEventListener('input', fit);
    return fit;
  }

  setInterval(showTimes, 30_000);
  showTimes();
  return { request, once, showTimes, showProblem, sendOnKey, grow };
})();
