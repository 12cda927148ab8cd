// The list: fetches its own rows again, and stops or deletes several at once, after a time to think better of it.
import { request } from './http.js';
import { keepFresh, say } from './page.js';
import { t } from './words.js';

const PAUSE = 6000; // milliseconds
const list = document.getElementById('sessions');
const bulk = document.getElementById('bulk');
const filters = document.getElementById('filters');
const chosen = new Set();
const going = new Set();

function show() {
  for (const box of list.querySelectorAll('input[type=checkbox]')) {
    box.checked = chosen.has(box.value);
    box.closest('li').classList.toggle('going', going.has(box.value));
  }
  bulk.hidden = !chosen.size;
  bulk.querySelector('[data-count]').textContent = t('chosen', { count: chosen.size });
}

list.addEventListener('change', (event) => {
  chosen[event.target.checked ? 'add' : 'delete'](event.target.value);
  show();
});

async function carryOut(kind, ids) {
  const asked = ids.map((id) => (kind === 'delete' ? request('DELETE', `/api/sessions/${id}`) : request('POST', `/api/sessions/${id}/${kind}`)));
  const failed = (await Promise.allSettled(asked)).filter((each) => each.status === 'rejected');
  for (const id of ids) going.delete(id);
  if (failed.length) say(failed[0].reason.message, null, null, 8000);
  look();
}

bulk.addEventListener('click', (event) => {
  const kind = event.target.closest('[data-bulk]')?.dataset.bulk;
  if (!kind) return;
  const ids = [...chosen];
  chosen.clear();
  if (kind === 'delete') ids.forEach((id) => going.add(id));
  show();
  const timer = setTimeout(() => {
    removeEventListener('pagehide', now);
    carryOut(kind, ids);
  }, PAUSE);
  // Whoever leaves meant it: the requests outlive the page.
  const now = () => {
    clearTimeout(timer);
    for (const id of ids) fetch(kind === 'delete' ? `/api/sessions/${id}` : `/api/sessions/${id}/${kind}`, { method: kind === 'delete' ? 'DELETE' : 'POST', keepalive: true });
  };
  addEventListener('pagehide', now, { once: true });
  const what = kind === 'delete' ? t('will_delete', { count: ids.length }) : t('will_stop', { count: ids.length });
  say(what, t('undo'), () => {
    clearTimeout(timer);
    removeEventListener('pagehide', now);
    ids.forEach((id) => going.delete(id));
    show();
  }, PAUSE);
});

filters.addEventListener('change', () => filters.requestSubmit());

const look = keepFresh(list, () => {
  const url = new URL(location.href);
  url.searchParams.set('fragment', 'true');
  return url;
}, 3, show);
