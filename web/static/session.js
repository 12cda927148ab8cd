// A session's page: wires the conversation, the composer, the panel and the buttons.
import { composer } from './composer.js';
import { drafts } from './drafts.js';
import { uploadTo } from './files.js';
import { fragment, request } from './http.js';
import { follow } from './live.js';
import { fetchNew, following, lastSeq, toBottom } from './log.js';
import { attempt, replace, setTitle } from './page.js';
import { t, tick } from './words.js';

const main = document.getElementById('main');
const log = document.getElementById('log');
const head = document.getElementById('head');
const panel = document.getElementById('now');
const dialog = document.getElementById('delete');
const connection = document.getElementById('connection');
const form = document.getElementById('composer');
const api = `/api/sessions/${encodeURIComponent(main.dataset.session)}`;

// --- what is so now ------------------------------------------------------------------------------------------

const shown = new Map();
let seen = Number(main.dataset.seen);

function show(element, html) {
  if (shown.get(element) === html) return false;
  shown.set(element, html);
  replace(element, html);
  return true;
}

async function refresh() {
  const found = await fetchNew();
  show(head, found.head_html);
  if (show(panel, found.panel_html)) lookBack();
  tick();
  setTitle(`${found.title} · Nightshift`);
  written.settle(found.phase === 'working');
  main.dataset.phase = found.phase;
  for (const button of document.querySelectorAll('[data-phases]')) {
    button.hidden = !button.dataset.phases.split(' ').includes(found.phase);
  }
  noteRead();
  return found;
}

function noteRead() {
  if (document.hidden || lastSeq() <= seen) return;
  seen = lastSeq();
  request('PUT', `${api}/read`, { seq: seen }).catch(() => { seen = 0; });
}

const written = drafts(document.getElementById('drafts'), (id) => log.querySelector(`[data-id="${CSS.escape(id)}"]`));

const look = follow(api, {
  refresh,
  onDraft: (draft) => following(() => written.show(draft)),
  isMoving: () => ['starting', 'stopping', 'deleting'].includes(main.dataset.phase),
  onState(state, error) {
    connection.textContent = { ok: '', gone: t('gone'), lost: error?.status ? error.message : t('lost') }[state];
  },
});

// --- what people do ------------------------------------------------------------------------------------------

const writing = composer(form, {
  key: main.dataset.session,
  take: (file) => uploadTo(main.dataset.session, file),
  async send(post, body) {
    await post(`${api}/messages`, body);
    toBottom();
    look();
  },
});

const act = (name) => attempt(async () => {
  if (name === 'delete') {
    await request('DELETE', api);
    location.assign('/');
  } else {
    await request('POST', `${api}/${name}`);
    look();
  }
});

document.addEventListener('click', (event) => {
  const name = event.target.closest('[data-action]')?.dataset.action;
  if (name === 'delete') dialog.showModal();
  else if (name) act(name);
});

/** A dialog that was closed with more than its refusal, which is the empty value. */
const answered = (box, then) => box.addEventListener('close', () => {
  if (box.returnValue) then();
  box.returnValue = '';
});

answered(dialog, () => act('delete'));

// --- the budget ----------------------------------------------------------------------------------------------

const budget = document.getElementById('budget');

panel.addEventListener('click', (event) => {
  const button = event.target.closest('[data-budget]');
  if (!button) return;
  budget.querySelector('input').value = button.dataset.budget;
  budget.showModal();
});
answered(budget, () => attempt(async () => {
  await request('POST', `${api}/budget`, { budget_usd: Number(budget.querySelector('input').value) });
  look();
}));

// --- the timeline and the history, while they are open -------------------------------------------------------

const folds = [...document.querySelectorAll('[data-part]')];
const lookBack = () => folds.forEach(async (fold) => {
  const html = fold.open && await fragment(`/sessions/${encodeURIComponent(main.dataset.session)}/${fold.dataset.part}`);
  if (html && show(fold.querySelector('div'), html)) tick();
});
for (const fold of folds) fold.addEventListener('toggle', lookBack);

log.addEventListener('click', (event) => {
  const button = event.target.closest('[data-do]');
  if (!button) return;
  const { do: what, say: text } = button.dataset;
  const card = button.closest('[data-approval]');
  if (text) attempt(async () => {
    const id = card.dataset.approval;
    card.classList.add('settled');
    await request('POST', `${api}/messages`, { text, ...(what === 'approve' && { approves: id }) }, { 'Idempotency-Key': `${id}-${what}` });
    look();
  });
  else if (card) form.elements.text.focus();
  if (what === 'again') writing.write(button.closest('.item').querySelector('.bubble').dataset.text);
});

addEventListener('keydown', (event) => {
  const elsewhere = document.querySelector('dialog[open], :popover-open');
  if (event.key === 'Escape' && !event.isComposing && !elsewhere && main.dataset.phase === 'working') act('interrupt');
  if (event.key === 'End' && event.target === document.body) toBottom();
});
document.addEventListener('visibilitychange', noteRead);
noteRead();
