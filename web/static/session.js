// The chat: follows the log by hints of the live channel and by polling, sends messages, acts on the session.
'use strict';

(() => {
  const { request, once, showTimes, showProblem, sendOnKey, grow } = window.nightshift;
  const main = document.getElementById('main');
  const header = document.getElementById('header');
  const log = document.getElementById('log');
  const older = document.getElementById('older');
  const latest = document.getElementById('latest');
  const form = document.getElementById('composer');
  const area = form.elements.text;
  const dialog = document.getElementById('delete');
  const connection = document.getElementById('connection');
  const page = `/sessions/${encodeURIComponent(main.dataset.session)}`;
  const api = `/api${page}`;
  const post = once();
  const fit = grow(area);
  const scroller = document.scrollingElement;

  let first = Number(main.dataset.first);
  let last = Number(main.dataset.last);
  let shownHeader = null;
  let gone = false;

  // --- the log ------------------------------------------------------------------------------------------

  /** Puts rows where their seq belongs. A row that is there already is replaced, or left alone; never doubled. */
  function place(html, replace) {
    const template = document.createElement('template');
    template.innerHTML = html;
    showTimes(template.content);
    let added = 0;
    for (const row of [...template.content.children]) {
      const old = document.getElementById(row.id);
      if (old && replace) {
        swap(old, row);
      } else if (!old) {
        let before = log.lastElementChild;
        while (before && Number(before.dataset.seq) > Number(row.dataset.seq)) before = before.previousElementSibling;
        if (before) before.after(row);
        else log.prepend(row);
        added += 1;
      }
    }
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

  const atBottom = () => innerHeight + scroller.scrollTop >= scroller.scrollHeight - 60;

  function toBottom() {
    scroller.scrollTop = scroller.scrollHeight;
    latest.hidden = true;
  }

  function showHeader(fragment) {
    if (fragment.header_html !== shownHeader) {
      const open = document.getElementById('todo')?.open;
      const focused = document.activeElement?.closest?.('#todo');
      header.innerHTML = shownHeader = fragment.header_html;
      const todo = document.getElementById('todo');
      if (todo && open) todo.open = true;
      if (todo && focused) todo.querySelector('summary').focus();
    }
    document.title = `${fragment.title} · Nightshift`;
    if (main.dataset.phase !== fragment.phase) {
      main.dataset.phase = fragment.phase;
      for (const button of document.querySelectorAll('[data-action]')) {
        button.hidden = !button.dataset.phases.split(' ').includes(fragment.phase);
      }
    }
  }

  async function fetchNew() {
    const fragment = await request('GET', `${page}/fragment?after=${last}`);
    const follow = atBottom();
    const added = place(fragment.html, true);
    last = Math.max(last, fragment.last_seq);
    showHeader(fragment);
    if (follow) toBottom();
    else if (added) latest.hidden = false;
    return fragment.more;
  }

  let fetching = false;
  let again = false;

  /** Whoever asks while a fetch is under way gets one more after it: it may have missed what they know of. */
  async function refresh() {
    again = true;
    if (fetching || gone) return;
    fetching = true;
    try {
      while (again && !gone) {
        again = false;
        if (await fetchNew()) again = true;
      }
      connection.textContent = '';
    } catch (error) {
      gone = error.status === 404;
      connection.textContent = gone ? '· This session was deleted' : error.status ? `· ${error.message}` : '· Connection lost, trying again';
    } finally {
      fetching = false;
    }
  }

  older.addEventListener('click', async () => {
    older.disabled = true;
    try {
      const fragment = await request('GET', `${page}/fragment?before=${first}`);
      const fromEnd = scroller.scrollHeight - scroller.scrollTop;
      log.setAttribute('aria-live', 'off'); // two hundred old items are no news
      place(fragment.html, false);
      first = fragment.first_seq;
      older.hidden = !fragment.more;
      scroller.scrollTop = scroller.scrollHeight - fromEnd;
      setTimeout(() => log.setAttribute('aria-live', 'polite'), 500);
    } catch (error) {
      showProblem(error.message);
    } finally {
      older.disabled = false;
    }
  });

  latest.addEventListener('click', toBottom);
  addEventListener('scroll', () => {
    if (atBottom()) latest.hidden = true;
  }, { passive: true });

  // --- staying up to date -------------------------------------------------------------------------------

  let live = false;
  let attempt = 0;
  let timer = 0;

  async function connect() {
    try {
      const { url } = await request('GET', `${api}/live`);
      if (!url || gone) return; // no channel here: polling does
      const socket = new WebSocket(url, 'json.webpubsub.azure.v1');
      socket.onopen = () => {
        live = true;
        refresh(); // what came between the last fetch and now had no hint
        poll();
      };
      socket.onmessage = (event) => {
        attempt = 0;
        const { type, data } = JSON.parse(event.data);
        if (type === 'message' && !data.draft) refresh();
      };
      socket.onclose = () => {
        live = false;
        poll();
        reconnect();
      };
    } catch {
      reconnect();
    }
  }

  function reconnect() {
    if (!gone) setTimeout(connect, Math.min(30_000, 1000 * 2 ** attempt++) * (0.5 + Math.random()));
  }

  /** Hints tell of items. While the machine comes or goes the phase moves without any, so look more often. */
  function poll() {
    clearTimeout(timer);
    if (gone) return;
    const moving = ['starting', 'stopping', 'deleting'].includes(main.dataset.phase);
    timer = setTimeout(async () => {
      if (!document.hidden) await refresh();
      poll();
    }, live && !moving ? 15_000 : 3000);
  }

  document.addEventListener('visibilitychange', () => document.hidden || refresh());

  // --- what people do -----------------------------------------------------------------------------------

  let sending = false;

  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const text = area.value.trim();
    if (!text || sending) return;
    sending = true;
    showProblem('');
    area.value = '';
    fit();
    try {
      await post(`${api}/messages`, { text });
      toBottom();
      refresh();
    } catch (error) {
      area.value = area.value ? `${text}\n${area.value}` : text;
      fit();
      showProblem(error.message);
    } finally {
      sending = false;
      area.focus();
    }
  });

  async function act(name) {
    showProblem('');
    try {
      if (name === 'delete') {
        await request('DELETE', api);
        location.assign('/');
      } else {
        await request('POST', `${api}/${name}`);
        refresh();
      }
    } catch (error) {
      showProblem(error.message);
    }
  }

  for (const button of document.querySelectorAll('[data-action]')) {
    button.addEventListener('click', () => {
      if (button.dataset.action === 'delete') dialog.showModal();
      else act(button.dataset.action);
    });
  }

  dialog.addEventListener('close', () => {
    if (dialog.returnValue === 'delete') act('delete');
    dialog.returnValue = '';
  });

  addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && !event.isComposing && !dialog.open && main.dataset.phase === 'working') act('interrupt');
  });

  sendOnKey(area);
  toBottom();
  poll();
  connect();
})();
