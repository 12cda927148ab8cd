// The conversation: rows in order of seq, never doubled; a window of at most MOST rows, moved by whoever scrolls.
import { addCopyButtons } from './page.js';
import { fragment, request } from './http.js';
import { day, showTimes } from './words.js';

const MOST = 800;
const NEWEST = 1e12 - 1; // above every seq

const element = document.getElementById('log');
const main = document.getElementById('main');
const older = document.getElementById('older');
const latest = document.getElementById('latest');
const scroller = document.scrollingElement;
const page = `/sessions/${encodeURIComponent(main.dataset.session)}`;

let first = Number(main.dataset.first);
let last = Number(main.dataset.last);
let atEnd = true; // whether the window reaches to the newest item
let busy = false;

export const lastSeq = () => last;
const nearBottom = () => innerHeight + scroller.scrollTop >= scroller.scrollHeight - 80;

const seqOf = (row) => Number(row.dataset.seq ?? 0);

/** Puts rows, which come in order, where their seq belongs. One that is there already is replaced or left alone. */
function place(html, replace) {
  const template = document.createElement('template');
  template.innerHTML = html;
  showTimes(template.content);
  addCopyButtons(template.content);
  const rows = [...template.content.children];
  let before = element.lastElementChild;
  while (before && rows.length && seqOf(before) > seqOf(rows[0])) before = before.previousElementSibling;
  let added = 0;
  for (const row of rows) {
    const old = document.getElementById(row.id);
    if (old) {
      if (replace) swap(old, row);
      before = replace ? row : old;
      continue;
    }
    for (let next; (next = before ? before.nextElementSibling : element.firstElementChild) && seqOf(next) < seqOf(row);) before = next;
    if (before) before.after(row);
    else element.prepend(row);
    before = row;
    added += 1;
  }
  settle();
  return added;
}

function swap(old, row) {
  const was = old.querySelector('details');
  const is = row.querySelector('details');
  if (was && is) is.open = was.open;
  const focused = old.contains(document.activeElement);
  old.replaceWith(row);
  if (focused) is?.querySelector('summary').focus();
}

/** What rows say about their neighbours: a new day, and questions that were answered. */
function settle() {
  let before = '';
  let answered = false;
  for (const row of element.querySelectorAll('.item')) {
    const time = row.querySelector('time');
    if (!time) continue;
    const today = day(new Date(time.dateTime));
    if (today !== before) row.dataset.day = today;
    else delete row.dataset.day;
    before = today;
  }
  for (const row of [...element.querySelectorAll('.user_message, .item:has(.approval)')].reverse()) {
    if (row.classList.contains('user_message')) answered = true;
    else if (answered) row.querySelector('.approval').classList.add('settled');
  }
}

/** Takes rows away at one end, so that the page stays light however long somebody scrolls. */
function trim(end) {
  if (element.childElementCount <= MOST) return;
  while (element.childElementCount > MOST) (end === 'top' ? element.firstElementChild : element.lastElementChild).remove();
  const rows = [...element.querySelectorAll('.item')];
  if (end === 'top') {
    first = Number(rows[0].dataset.seq);
    older.hidden = first <= 1;
  } else {
    last = Number(rows.at(-1).dataset.seq);
    atEnd = false;
  }
}

/** Keeps what is looked at where it is while rows come or go above it. */
function holding(change) {
  const row = [...element.children].find((each) => each.getBoundingClientRect().bottom > 0);
  const was = row?.getBoundingClientRect().top;
  document.documentElement.style.overflowAnchor = 'none';
  change();
  if (row?.isConnected) scroller.scrollTop += row.getBoundingClientRect().top - was;
  requestAnimationFrame(() => { document.documentElement.style.overflowAnchor = ''; });
}

/** A change below what is read: whoever looks at the end goes on doing so. */
export function following(change) {
  const follow = nearBottom();
  change();
  if (follow) toBottom();
}

export function toBottom() {
  scroller.scrollTop = scroller.scrollHeight;
  latest.hidden = true;
}

/** Fetches what is new. Whoever reads further up is not disturbed: they are told. */
export async function fetchNew() {
  if (!atEnd) {
    const head = await request('GET', `${page}/fragment?after=${NEWEST}`);
    latest.hidden = false;
    return head;
  }
  const found = await request('GET', `${page}/fragment?after=${last}`);
  const follow = nearBottom();
  const added = place(found.html, true);
  last = Math.max(last, found.last_seq);
  if (follow) {
    trim('top');
    toBottom();
  } else if (added) {
    latest.hidden = false;
  }
  return found;
}

/** One page of rows in a direction; a screen reader is not told two hundred old items as news. */
async function load(query, then) {
  if (busy) return;
  busy = true;
  element.setAttribute('aria-live', 'off');
  try {
    const found = await request('GET', `${page}/fragment?${query}`);
    holding(() => then(found));
  } catch { /* the button is still there */ } finally {
    setTimeout(() => element.setAttribute('aria-live', 'polite'), 500);
    busy = false;
  }
}

export const loadOlder = () => load(`before=${first}`, (found) => {
  place(found.html, false);
  first = found.first_seq;
  older.hidden = !found.more;
  trim('bottom');
});

const loadNewer = () => load(`after=${last}`, (found) => {
  place(found.html, true);
  last = Math.max(last, found.last_seq);
  atEnd = !found.more;
  trim('top');
});

/** The newest page anew, when the window has moved away from it. */
async function toLatest() {
  if (!atEnd) {
    await load(`before=${NEWEST}`, (found) => {
      element.replaceChildren();
      place(found.html, false);
      ({ first_seq: first, last_seq: last } = found);
      older.hidden = !found.more;
      atEnd = true;
    });
  }
  toBottom();
}

older.addEventListener('click', loadOlder);
latest.addEventListener('click', toLatest);
addEventListener('scroll', () => {
  if (nearBottom()) {
    if (atEnd) latest.hidden = true;
    else loadNewer();
  } else if (scroller.scrollTop < 600 && !older.hidden) {
    loadOlder();
  }
}, { passive: true });

// A row's inside is fetched when it is opened, if it is long.
element.addEventListener('toggle', async (event) => {
  const inside = event.target.open && event.target.querySelector('[data-load]');
  if (!inside) return;
  const html = await fragment(`${page}/items/${inside.dataset.load}`);
  if (html === null) return;
  inside.innerHTML = html;
  delete inside.dataset.load;
}, true);

showTimes(element);
addCopyButtons(element);
settle();
const news = document.getElementById('news');
if (news && news.getBoundingClientRect().top < scroller.scrollHeight - innerHeight) news.scrollIntoView({ block: 'center' });
else toBottom();
